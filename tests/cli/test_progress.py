"""How progress is shown, by a clock that the tests turn."""

import io
import re
import sys
from itertools import pairwise

import pytest

from hybridseg.cli.console import Console
from hybridseg.cli.progress import Meter
from hybridseg.forecast import Forecast, Weighted
from hybridseg.progress import describe_seconds


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def console(clock):
    return Console(meter=Meter(Forecast(clock=clock)))


@pytest.fixture
def lines(clock, monkeypatch):
    """The lines on standard error, which is no terminal, each with its time."""
    found = []
    monkeypatch.setattr("click.echo", lambda text, err: found.append((clock.now, text)))
    return found


def work(console, items, seconds, label="training"):
    for item in console.progress(items, label=label):
        console.meter.forecast.clock.now += seconds
        yield item


def test_a_line_now_and_then_tells_the_time_that_is_left(console, lines):
    assert list(work(console, range(30), 1.0)) == list(range(30))
    assert lines == [
        (5.0, "training: 5 of 30, 25 s left"),
        (10.0, "training: 10 of 30, 20 s left"),
        (15.0, "training: 15 of 30, 15 s left"),
        (20.0, "training: 20 of 30, 10 s left"),
        (25.0, "training: 25 of 30, 5 s left"),
        (30.0, "training: 30 in 30 s"),
    ]


def test_short_work_says_nothing(console, lines):
    for _ in range(3):
        list(work(console, range(100), 0.01))
    assert lines == []


def test_long_work_has_fewer_lines(console, lines):
    list(work(console, range(36_000), 1.0))
    pauses = [after - before for (before, _), (after, _) in pairwise(lines)]
    assert min(pauses[:-1]) >= 5 and 60 < len(lines) < 100 and "left" in lines[-2][1]
    assert all(pause <= 1.5 + 0.11 * time for pause, (time, _) in zip(pauses[9:], lines[10:], strict=True))


def test_never_more_than_a_line_a_second(console, lines):
    """Whatever follows or contains whatever, and whichever commands are run."""
    for i in console.progress(range(20), label="photos"):
        list(work(console, range(40), 0.05 * i, label="windows"))
        inner = Console(meter=console.meter.make_inner())
        list(work(inner, range(3), 1.9, label="drawing"))
    times = [time for time, _ in lines]
    assert len(lines) > 20 and all(after - before >= 1 for before, after in pairwise(times))
    assert lines[-1][1].startswith("photos: 20 in ")
    assert sum(" in " in line and "windows" in line for _, line in lines) == 0, "one end for all that is within"


def test_there_are_no_control_characters(console, lines):
    list(work(console, range(1000), 1.0))
    assert lines and all(re.fullmatch(r"[ -~]+", line) for _, line in lines)


@pytest.mark.parametrize("after", [0.0, 600.0])
def test_the_bar_tells_what_is_left_of_all(console, monkeypatch, clock, after):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr("tqdm.std.time", clock)
    list(work(console, Weighted(range(20), 5.0, after=after), 5.0))
    shown = re.findall(r"training: +(\d+)%[^\r]*?\[\d+:\d+, ([^\]]*) left\]", terminal.getvalue())
    assert len(shown) > 10
    for percent, left in shown:
        assert left == (describe_seconds(100 - int(percent) + after))


def test_a_command_within_another_tells_what_is_left_of_both(console, lines, clock):
    for _ in console.progress(Weighted("ab", [30.0, 300.0]), label="steps"):
        inner = Console(meter=console.meter.make_inner())
        list(work(inner, range(30), 1.0, label="reading"))
    texts = [line for _, line in lines]
    assert texts[0] == "reading: 5 of 30, 5 min left" and texts[5:7] == ["steps: 1 of 2", "reading: 5 of 30, 25 s left"]
    assert texts[-1] == "steps: 2 in 60 s", "once for all"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_quiet_shows_nothing(capsys, monkeypatch, clock, is_terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    list(work(Console(quiet=True, meter=Meter(Forecast(clock=clock))), range(1000), 1.0))
    assert capsys.readouterr() == ("", "")


def test_what_is_noted_of_the_work_is_in_the_line(console, lines):
    for _ in work(console, Weighted(range(8), note=lambda: "3 a minute"), 1.0, label="images"):
        pass
    assert lines[0] == (5.0, "images: 5 of 8, 3 a minute, 3 s left")
