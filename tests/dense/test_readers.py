"""Readers make the batches that this process would make, in the same order, and leave nothing behind."""

import logging
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hybridseg.dense.lmdbpairs import BatchMaker
from hybridseg.dense.policy import Policy, read_policy
from hybridseg.dense.readers import FED, STARVED, ReaderFeed, ReaderOptions, Readers, _share
from hybridseg.errors import BadInput
from hybridseg.io.lmdbstore import DATA_NAME
from hybridseg.models.normalization import Normalization


@pytest.fixture
def maker(cells):
    path = cells / "data/train-cells.lmdb"
    return BatchMaker(path, 3, 2, Normalization("image"), read_policy("nist"), seed=3, balance=True)


def list_shared(pid):
    """List the names of the shared memory that a process uses; other tests have some of their own meanwhile."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return sorted({line.split(maxsplit=5)[5] for line in lines if "/dev/shm/" in line and "/sem." not in line})


def list_children():
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return [pid for pid in children if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]


@pytest.mark.slow
def test_batches_are_those_of_one_process_in_their_order(maker, caplog):
    caplog.set_level(logging.INFO, "hybridseg.progress")
    feed = ReaderFeed(maker, ReaderOptions(4, reader_count=2))
    plain = [list(feed.batches(first_epoch=epoch)) for epoch in (0, 1)]
    with feed.reading():
        read = [list(feed.batches(first_epoch=epoch)) for epoch in (0, 1)]
        assert len(list_children()) == 2
        # What is asked for out of turn is made here.
        (images, _), *_ = feed.batches(first_epoch=0)
        assert (images.numpy() == plain[0][0][0].numpy()).all()
    assert list_children() == [] and list_shared(os.getpid()) == []
    assert re.fullmatch(r"input queue: starved (once|[0234] times), in \d of 8 steps", caplog.messages[-1])
    for epoch in (0, 1):
        assert len(read[epoch]) == len(plain[epoch]) == 4
        for (images, labels), (wanted, truth) in zip(read[epoch], plain[epoch], strict=True):
            assert images.dtype == "float32" and labels.dtype == "uint8" and images.shape == (2, 32, 32, 2)
            assert (images.numpy() == wanted.numpy()).all() and (labels.numpy() == truth.numpy()).all()
    assert not (read[0][0][0].numpy() == read[1][0][0].numpy()).all()


@pytest.mark.parametrize("balance", [False, True])
def test_the_sources_of_an_epoch_are_those_of_its_batches(maker, balance):
    maker = replace(maker, balance=balance, batch_size=5, policy=read_policy("none"))
    feed = ReaderFeed(maker, ReaderOptions(3))
    for epoch in (0, 1):
        sources = feed.list_sources(epoch)
        assert len(sources) == 3 * 5, "more than the 8 records"
        images = np.concatenate([images.numpy() for images, _ in feed.batches(first_epoch=epoch)])
        for image, source in zip(images, sources, strict=True):
            record = maker.pairs.read(maker.pairs.sources.index(source))[0]
            assert (image == maker.normalization.apply(record.astype(np.float32))).all()


@pytest.mark.slow
def test_readers_begin_where_a_run_goes_on(maker):
    with Readers(maker, 1, first=6) as readers:
        images, _ = readers.get()
        assert readers.next == 7
    wanted = np.zeros((2, 32, 32, 2), np.float32)
    maker.make(6, wanted, np.zeros((2, 32, 32), np.uint8))
    assert (images == wanted).all()


@pytest.mark.slow
def test_batches_that_were_handed_over_stay(maker):
    with Readers(maker, 1, first=0) as readers:
        first, _ = readers.get()
        kept = first.copy()
        for _ in range(8):
            readers.get()
    assert (first == kept).all()


@pytest.mark.slow
def test_readers_load_no_tensorflow(maker):
    with Readers(maker, 1, first=0) as readers:
        readers.get()
        (pid,) = list_children()
        assert "tensorflow" not in Path(f"/proc/{pid}/maps").read_text()


@pytest.mark.slow
def test_a_reader_that_dies_is_an_error(maker):
    with Readers(maker, 2, first=0) as readers:
        readers.get()
        os.kill(int(list_children()[0]), signal.SIGKILL)
        with pytest.raises(BadInput, match=r"a reader was killed \(exit code -9\), .* --resume goes on after the last"):
            for _ in range(50):
                readers.get()
    assert list_children() == []


def test_a_record_that_cannot_be_read(maker, cells, tmp_path):
    path = tmp_path / "train.lmdb"
    path.mkdir()
    data = bytearray((maker.path / DATA_NAME).read_bytes())
    # The pixels of every image, not the tree.
    for i in range(8):
        place = data.find(b'{"source":"cell_%02d"' % i)
        data[place + 400] ^= 255
    (path / DATA_NAME).write_bytes(data)
    damaged = BatchMaker(path, 3, 2, Normalization("image"), Policy(), seed=0)
    message = r"train.lmdb \(record \d\): the record is damaged \(its checksum differs\)"
    with Readers(damaged, 1, first=0) as readers, pytest.raises(BadInput, match=message):
        readers.get()
    feed = ReaderFeed(damaged, ReaderOptions(2))
    with pytest.raises(BadInput, match="its checksum differs"):
        next(feed.batches())


@pytest.mark.slow
def test_starvation_is_said_once_each_time(maker, caplog):
    with Readers(maker, 1, first=0) as readers, caplog.at_level(logging.WARNING):
        readers.get()
        # Faster than anybody could read, then slower.
        for _ in range(30):
            readers.get()
        assert caplog.messages[0] == STARVED and readers.starved_steps >= readers.times_starved
        deadline = time.monotonic() + 60
        while caplog.messages[-1] != FED:
            time.sleep(0.3)
            readers.get()
            assert time.monotonic() < deadline
        # Each is said once, and then the other.
        assert caplog.messages == [STARVED, FED] * readers.times_starved
        n_starved = readers.starved_steps
        time.sleep(2)
        readers.get()
        assert readers.starved_steps == n_starved


def test_shared_memory_never_has_a_name():
    """So that nothing is left of it when all processes are killed at once, at whatever moment."""
    with _share(1000) as memory:
        assert os.fstat(memory).st_nlink == 0 and os.fstat(memory).st_size == 1000


def test_too_little_shared_memory(maker, monkeypatch):
    monkeypatch.setattr("hybridseg.dense.readers.shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(BadInput, match=r"the readers need 0 MB of shared memory, and /dev/shm has 0; give a smaller"):
        Readers(maker, 1, first=0)


SCRIPT = """
import sys, time
from pathlib import Path
from hybridseg.dense.lmdbpairs import BatchMaker
from hybridseg.dense.policy import Policy
from hybridseg.dense.readers import Readers
from hybridseg.models.normalization import Normalization

def main():
    maker = BatchMaker(Path(sys.argv[1]), 3, 2, Normalization("image"), Policy(), seed=0)
    with Readers(maker, 2, first=0) as readers:
        readers.get()
        print("ready", flush=True)
        while True:
            readers.get()
            time.sleep(0.01)

{start}
"""


def start_script(launch, tmp_path, maker, start):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT.format(start=start))
    return launch([sys.executable, path, maker.path])


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_a_training_that_ends(launch, tmp_path, maker, how):
    process = start_script(launch, tmp_path, maker, 'if __name__ == "__main__":\n    main()')
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    readers = [pid for pid in children if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]
    shared = list_shared(process.pid)
    assert len(readers) == 2 and shared and all(name.endswith(" (deleted)") for name in shared)
    if how == signal.SIGINT:
        # As from a keyboard, to all of them.
        for pid in readers:
            os.kill(int(pid), signal.SIGINT)
    process.send_signal(how)
    _, errors = process.communicate(timeout=30)
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in readers):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # The readers say nothing; the process itself was interrupted.
    assert errors.count("Traceback") == (how == signal.SIGINT) and "leaked" not in errors


@pytest.mark.slow
def test_a_script_without_a_guard_is_told(launch, tmp_path, maker):
    process = start_script(launch, tmp_path, maker, "main()")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert 'in a script, put what trains below `if __name__ == "__main__":`' in errors


@pytest.mark.slow
def test_the_guard_of_a_usual_program(maker):
    """Where readers are started by ``python -c``, as here, there is no script to import."""
    code = SCRIPT.format(start="").replace("while True:", "for _ in range(2):") + "\nmain()"
    done = subprocess.run([sys.executable, "-c", code, maker.path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "Error" not in done.stderr and "warn" not in done.stderr
