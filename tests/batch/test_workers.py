import math
import os
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing.connection import Connection

import pytest

from hybridseg.batch import workers
from hybridseg.batch.workers import SerialPool, map_calls, open_pool
from hybridseg.errors import BadInput


def test_calls_in_this_process_come_one_by_one_in_order():
    called = []
    with closing(map_calls(called.append, [1, 2, 3], n_jobs=1)) as results:
        next(results)
        assert called == [1], "no call before its result is asked for"
    assert called == [1]
    assert list(map_calls(math.sqrt, [9, 4], n_jobs=1)) == [3, 2]


def test_the_serial_pool_keeps_an_error_until_it_is_asked_for():
    future = SerialPool().submit(math.sqrt, -1)
    with pytest.raises(ValueError, match="math domain"):
        future.result()
    future = SerialPool().submit(pow, 2, 5)
    assert not future.done(), "the caller shows its progress when it asks for results"
    assert future.result() == future.result() == 32


def test_calls_in_other_processes():
    assert sorted(map_calls(math.sqrt, [9.0, 4.0, 1.0], n_jobs=2)) == [1, 2, 3]
    with pytest.raises(ValueError, match="math domain"):
        list(map_calls(math.sqrt, [-1.0], n_jobs=2))
    with open_pool(2) as pool:
        assert pool.submit(os.getpid).result() != os.getpid()


def test_calls_that_have_not_begun_are_dropped(tmp_path):
    commands = [["sh", "-c", f"sleep 0.1; touch {tmp_path}/{i}"] for i in range(60)]
    with closing(map_calls(subprocess.call, commands, n_jobs=2)) as results:
        assert next(results) == 0
    assert 1 <= len(list(tmp_path.iterdir())) < 60


def test_an_interrupted_pool_drops_calls_that_have_not_begun(tmp_path):
    with pytest.raises(KeyboardInterrupt), open_pool(2) as pool:
        calls = [pool.submit(subprocess.call, ["sh", "-c", f"sleep 0.1; touch {tmp_path}/{i}"]) for i in range(60)]
        calls[0].result()
        raise KeyboardInterrupt
    assert 1 <= len(list(tmp_path.iterdir())) < 60


def test_only_the_parent_hears_ctrl_c():
    with open_pool(2) as pool:
        assert pool.submit(signal.getsignal, signal.SIGINT).result() == signal.SIG_IGN


def test_a_killed_process_is_reported():
    with pytest.raises(BadInput, match="worker process was killed"):
        list(map_calls(os._exit, [9], n_jobs=2))


def test_a_call_whose_process_is_killed_is_made_again(tmp_path):
    """The first time it ends its process, and the second time it does not."""
    commands = [f"import os, pathlib; p = pathlib.Path({str(tmp_path)!r}, {str(i)!r}); q = p.exists(); p.touch(); "
                f"q or {i} != 3 or os._exit(9)" for i in range(6)]  # fmt: skip
    assert list(map_calls(exec, commands, n_jobs=2, on_death=lambda *_: "dead")) == [None] * 6


def die(*_):
    os._exit(9)


@pytest.mark.slow
def test_a_process_that_is_killed_while_it_starts_in_the_place_of_another_stops_nothing(tmp_path, monkeypatch):
    start, starters = workers._Worker._start, [workers._start_worker, die, workers._start_worker]

    def start_next(self):
        monkeypatch.setattr(workers, "_start_worker", starters.pop(0))
        start(self)

    monkeypatch.setattr(workers._Worker, "_start", start_next)
    code = f"import os, pathlib; p = pathlib.Path({str(tmp_path / 'x')!r}); q = p.exists(); p.touch(); q or os._exit(9)"
    assert list(map_calls(exec, [code], n_jobs=2, on_death=lambda *_: "dead")) == [None] and not starters


@pytest.mark.slow
def test_what_waits_behind_a_call_is_not_to_blame(tmp_path):
    """Each call is made until it has ended its process three times; the next one waits there already."""
    (tmp_path / "n").mkdir()
    code = (
        "import os, pathlib, uuid; i = {}; pathlib.Path({!r}, f'{{i}}_{{uuid.uuid4()}}').touch(); i % 2 or os._exit(9)"
    )
    found = list(
        map_calls(
            exec, range(6), n_jobs=2, prepare=lambda i: code.format(i, str(tmp_path / "n")),
            on_death=lambda i, how: (i, how),
        )
    )  # fmt: skip
    died = [one for one in found if one]
    assert sorted(died) == [(i, "ended with exit code 9") for i in (0, 2, 4)] and len(found) == 6
    made = sorted(int(path.name[0]) for path in (tmp_path / "n").iterdir())
    assert made == [0, 0, 0, 1, 2, 2, 2, 3, 4, 4, 4, 5]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("import os; os._exit(7)", "ended with exit code 7"),
        ("import os; os.kill(os.getpid(), 9)", "was killed, probably because memory ran out"),
        ("import os; os.kill(os.getpid(), 11)", "crashed (SIGSEGV)"),
        ("import os; os.kill(os.getpid(), 15)", "was told to end (SIGTERM)"),
    ],
)
def test_how_a_process_ended(code, how):
    assert list(map_calls(exec, [code], n_jobs=2, on_death=lambda item, how: how)) == [how]


def test_what_had_begun_when_the_work_was_interrupted_is_handed_over(tmp_path):
    commands = [["sh", "-c", f"sleep 0.2; touch {tmp_path}/{i}; exit {i}"] for i in range(20)]
    late = []
    with closing(map_calls(subprocess.call, commands, n_jobs=2, on_late=late.append)) as results:
        first = next(results)
    assert {str(i) for i in [first, *late]} == {path.name for path in tmp_path.iterdir()} and late


@pytest.mark.parametrize("n_jobs", [0, -3])
def test_a_number_of_jobs_that_means_nothing(n_jobs):
    with pytest.raises(BadInput, match="number of jobs"):
        list(map_calls(abs, [1], n_jobs=n_jobs))


def test_a_second_interrupt_does_not_disturb_the_end_of_the_processes(monkeypatch, hears_ctrl_c):
    """It would leave them waiting for work for ever, and this process for them."""
    end, seen = ProcessPoolExecutor.shutdown, []

    def shutdown(pool, **settings):
        seen.append(signal.getsignal(signal.SIGINT))
        end(pool, **settings)

    monkeypatch.setattr(ProcessPoolExecutor, "shutdown", shutdown)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), open_pool(2):
        raise KeyboardInterrupt
    assert len(seen) == 1 and seen[0] is not before and signal.getsignal(signal.SIGINT) == before


def die_while_sending(_):
    send = Connection._send

    def send_half(self, data, *rest):
        send(self, data[: len(data) // 2], *rest)
        os.kill(os.getpid(), signal.SIGKILL)

    Connection._send = send_half
    return bytes(100_000)


@pytest.mark.slow
def test_a_process_that_is_killed_while_it_sends_its_result_is_not_waited_for():
    assert list(map_calls(die_while_sending, [1], n_jobs=2, on_death=lambda item, how: how)) == [
        "was killed, probably because memory ran out"
    ]


@pytest.mark.slow
def test_a_second_ctrl_c_ends_what_has_begun(launch, tmp_path):
    """Such as the question to a server that never answers."""
    (script := tmp_path / "script.py").write_text(
        "import logging, sys, time\n"
        "from hybridseg.batch.workers import map_calls\n"
        "def wait(n):\n    print('begun', flush=True)\n    time.sleep(100)\n"
        "if __name__ == '__main__':\n"
        "    logging.basicConfig(level=logging.INFO)\n"
        "    list(map_calls(wait, [1, 2, 3], n_jobs=2))\n"
    )
    process = launch([sys.executable, str(script)])
    assert [process.stdout.readline() for _ in range(2)] == ["begun\n"] * 2
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline() == "finishing what is under way; press Ctrl-C again to stop at once ...\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert out == "" and err.rstrip().endswith("KeyboardInterrupt") and "leaked" not in err


@pytest.mark.slow
def test_a_script_that_starts_processes_when_it_is_imported_is_told_so(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from hybridseg.batch.workers import map_calls\n"
        "for value in map_calls(abs, [-1, -2], n_jobs=2):\n    print('done', value)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1 and done.stdout == ""
    # A warning of Python itself may follow.
    assert (
        'no process could start; in a script, put what calls this below `if __name__ == "__main__":`, or work in one '
        "process (--jobs 1)\n"
    ) in done.stderr


def is_shielded(_):
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.slow
def test_processes_never_hear_ctrl_c_however_early():
    with open_pool(2) as pool:
        assert all(pool.map(is_shielded, range(4)))
    assert all(map_calls(is_shielded, range(2), n_jobs=2)) and not is_shielded(None)
