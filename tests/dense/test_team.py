"""Two processes train one network over the loopback: what they learn, who writes, and what they say of one another."""

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow

# Of ten photos two are held out.
COMMAND = (
    "unet train --images photos --masks masks --labels labels.txt --encoder none --widths 4,4,3,3 --size 32x64 "
    "--epochs 3 --batch-size 2 --schedule constant --learning-rate 0.0005 --loss combo --validation-share 0.2 "
    "--patience 3 --name net"
)
SCORES = ("loss", "mean_iou", "val_loss", "val_dice")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("machines")
    draws = np.random.default_rng(0)
    for name in ("photos", "masks"):
        (folder / name).mkdir()
    for i in range(10):
        labels = np.zeros((32, 64), np.uint8)
        labels[draws.integers(10, 22) :] = 1
        colors = np.array([[40, 80, 160], [200, 180, 120]])[labels] + draws.normal(0, 20, (32, 64, 3))
        Image.fromarray(colors.clip(0, 255).astype(np.uint8)).save(folder / f"photos/p{i}.png")
        Image.fromarray(labels).save(folder / f"masks/p{i}.png")
    (folder / "labels.txt").write_text("water\nsand\n")
    return folder


class Machine:
    """A process that trains, and the file of what it says."""

    def __init__(self, work, runs, *more):
        self.path = work / f"{runs}.txt"
        with self.path.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hybridseg", *COMMAND.split(), "--runs-dir", runs, *more], cwd=work, stdout=file,
                stderr=file, stdin=subprocess.DEVNULL, env=os.environ, start_new_session=True,
                # Whoever runs the tests in the background may have it ignored.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )  # fmt: skip

    @property
    def text(self):
        return self.path.read_text()

    def wait(self, seconds=300):
        return self.process.wait(seconds)

    def wait_for(self, text, seconds=300):
        until = time.monotonic() + seconds
        while text not in self.text:
            assert self.process.poll() is None and time.monotonic() < until, self.text
            time.sleep(0.1)


@contextmanager
def two_machines(work, first, second, *more, only_second=()):
    """Start a chief and another worker; none is left in the end."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    cluster = ",".join(f"127.0.0.1:{one.getsockname()[1]}" for one in sockets)
    for one in sockets:
        one.close()
    shared = ["--strategy", "multiworker", "--cluster", cluster, "--start-timeout", "120", *more]
    machines = [
        Machine(work, first, *shared, "--worker", "0"),
        Machine(work, second, *shared, "--worker", "1", *only_second),
    ]
    try:
        yield machines
    finally:
        for machine in machines:
            if machine.process.poll() is None:
                machine.process.kill()
            machine.process.wait()


def read_log(work, runs):
    with (work / runs / "net/log.csv").open() as file:
        return [{name: float(row[name]) for name in SCORES} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def whole(work):
    """A training on two machines from beginning to end."""
    with two_machines(work, "two", "helper") as machines:
        assert [machine.wait() for machine in machines] == [0, 0], machines[0].text + machines[1].text
    return machines


def test_two_machines_learn_what_one_does(work, whole):
    alone = Machine(work, "one")
    assert alone.wait() == 0, alone.text
    one, two = read_log(work, "one"), read_log(work, "two")
    assert len(one) == len(two) == 3 and one[2]["loss"] < one[0]["loss"]
    for first, second in zip(one, two, strict=True):
        # Rounding tells more with every step.
        assert second == pytest.approx(first, abs=5e-3)
    assert two[0]["loss"] == pytest.approx(one[0]["loss"], abs=1e-4)


def test_the_chief_alone_writes(work, whole):
    chief, helper = (machine.text for machine in whole)
    assert "(the chief, 127.0.0.1:" in chief and "this one writes the result, 1 more help" in chief
    assert "wrote two/net/model.h5" in chief and (work / "two/net/model.h5").exists()
    assert "the chief writes the result" in helper and "wrote" not in helper.replace("has written", "")
    assert not (work / "helper").exists()
    # Both tell the same scores.
    assert (
        chief.partition("validated on")[2].partition("wrote")[0].split()[:30]
        == (helper.partition("validated on")[2].split()[:30])
    )


def test_a_killed_machine_is_missed_and_the_training_goes_on(work, whole):
    with two_machines(work, "killed", "gone") as (chief, helper):
        chief.wait_for("epoch   1")
        helper.process.kill()
        since = time.monotonic()
        assert chief.wait() == 1 and time.monotonic() - since < 60
        assert "worker 1 (127.0.0.1:" in chief.text and "--resume" in chief.text.splitlines()[-1]
        assert "Traceback" not in chief.text
    with two_machines(work, "killed", "gone", "--resume") as machines:
        assert [machine.wait() for machine in machines] == [0, 0], machines[0].text + machines[1].text
        assert all("resuming after epoch" in machine.text for machine in machines)
    assert read_log(work, "killed") == read_log(work, "two")
    for name in ("model.h5", "best.npz"):
        assert (work / "killed/net" / name).read_bytes() == (work / "two/net" / name).read_bytes()


def test_a_machine_that_is_interrupted_says_so_to_the_others(work):
    # So many that it cannot have ended before.
    with two_machines(work, "stopped", "stopper", "--epochs", "500", "--patience", "500") as (chief, helper):
        helper.wait_for("epoch   1")
        helper.process.send_signal(signal.SIGINT)
        assert helper.wait(60) == 130 and chief.wait(60) == 1
    assert "is gone: it was interrupted; the training stops on all machines" in chief.text
    assert "Traceback" not in chief.text + helper.text


def test_other_settings_and_other_images_are_told_on_all(work, tmp_path):
    with two_machines(work, "first", "other", only_second=["--learning-rate", "0.001"]) as machines:
        assert [machine.wait() for machine in machines] == [1, 1]
    for machine in machines:
        assert "differs from the chief, which has learning_rate=0.0005" in machine.text.splitlines()[-1]
    assert not (work / "first/net/log.csv").exists()
