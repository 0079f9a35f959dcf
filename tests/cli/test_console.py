import sys

import pytest
from tqdm import tqdm

from hybridseg.cli import console as module
from hybridseg.cli.console import Console


def test_a_line_every_few_seconds_tells_the_time_that_is_left(monkeypatch, capsys):
    clock = iter([0, 4, 8, 12, 16, 20, 24])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    assert list(Console().progress(range(6), label="training")) == list(range(6))
    assert capsys.readouterr().err == "training: 3 of 6, 12 s left\ntraining: 6 of 6, 0 s left\n"


@pytest.mark.parametrize("quiet", [False, True])
def test_a_line_of_the_result_does_not_run_into_a_bar(monkeypatch, capsys, quiet):
    console, cleared = Console(quiet=quiet), []
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(tqdm, "clear", lambda self, **_: cleared.append(self.desc))
    for step in console.progress(range(2), label="training"):
        console.say(f"epoch {step}")
    shown = capsys.readouterr()
    assert shown.out == ("" if quiet else "epoch 0\nepoch 1\n") and ("training" in shown.err) is not quiet
    assert cleared == ([] if quiet else ["training", "training"])
