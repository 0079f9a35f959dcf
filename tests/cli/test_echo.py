"""No message echoes more than 200 characters of what stands on a command line, or is given to a function.

What files hold is made long by `make fuzz`.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import click
import pytest

import hybridseg as hs
from hybridseg.cli.main import find_commands
from hybridseg.errors import MAX_ECHO, HybridSegError
from tests.robustness.writers import MADE, WRITERS

# A letter that no message of ours has.
ECHOED = "Ж"
LONG = f"{ECHOED} " * 1500
COMMANDS = {name: command for name, command in find_commands().items() if not isinstance(command, click.Group)}


def find_words(name):
    """Return the words of a command that writes, as a user gives them, without its name."""
    found = (one.words.removeprefix(name) for one in WRITERS if one.is_named(name))
    return shlex.split(next(found, "photos"))


def list_lines(name, command):
    """Yield command lines in which one word, or one more option, is long."""
    words = find_words(name)
    for i, word in enumerate(words):
        if not word.startswith("-"):
            yield [*words[:i], LONG, *words[i + 1 :]]
    for option in command.params:
        if isinstance(option, click.Option) and not option.is_flag and not set(option.opts) & set(words):
            yield [*words, option.opts[0], LONG]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("echo")
    for name in ("photos", "seeds.png", "labeldefs.txt", "config.json"):
        MADE[name](folder / name)
    return folder


def count_echoed(text):
    return max((line.count(ECHOED) for line in text.splitlines()), default=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_on_a_command_line(name, home, run, monkeypatch):
    monkeypatch.chdir(home)
    results = [run(*name.split(), *words) for words in list_lines(name, COMMANDS[name])]
    for result in results:
        assert count_echoed(result.output) <= MAX_ECHO and result.exit_code in (1, 2), result.output
    assert not results or any(ECHOED in result.output for result in results)


@pytest.mark.parametrize("call", [
    lambda: hs.split(LONG), lambda: hs.split("photos", masks=Path(LONG)), lambda: hs.retile(["photos", LONG]),
    lambda: hs.convert("photos", labels=LONG), lambda: hs.open_model(LONG), lambda: hs.read_image(LONG),
    lambda: hs.read_labelmap(LONG), lambda: hs.split("photos", group_by=LONG + "("),
    lambda: hs.evaluate("photos", prediction=LONG),
])  # fmt: skip
def test_in_a_call(call, home, monkeypatch):
    monkeypatch.chdir(home)
    with pytest.raises(HybridSegError) as refused:
        call()
    assert 0 < count_echoed(str(refused.value)) <= MAX_ECHO
