import sys
from pathlib import Path

import pytest
from tqdm import tqdm

from hybridseg.cli.console import Console
from hybridseg.errors import Problem


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


def test_a_line_break_in_a_name_is_none_of_the_line(capsys):
    Console().wrote(Path("a\nb_predseg.png"), Path("c.png"))
    assert capsys.readouterr().out == "wrote a\\nb_predseg.png\nwrote c.png\n"


def test_one_reason_of_many_files_is_said_a_few_times(capsys):
    problems = [Problem(f"photo_{i:03}.jpg", "is damaged") for i in range(100)] + [Problem("x.jpg", "is empty")]
    with pytest.raises(SystemExit):
        Console().finish(problems, n_done=3)
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[0] == "101 files could not be used, the others are done:" and len(lines) == 8
    assert lines[6] == "  x.jpg: is empty" and lines[7] == "  and 95 more: is damaged"
