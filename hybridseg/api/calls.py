"""What all public functions share: every option is explained in their help, and errors name parameters, not flags."""

from __future__ import annotations

import functools
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import click

from hybridseg.cli.console import Console
from hybridseg.cli.report import INTERRUPTED
from hybridseg.errors import HybridSegError
from hybridseg.options import describe_range, setting_of, type_of
from hybridseg.progress import Progress

F = TypeVar("F", bound=Callable[..., Any])

# A flag, and its value if it looks like one: DIR, labels.txt, '*_ares_96.mat'.
_FLAG = re.compile(r"(?<![\w-])--([a-z][a-z-]*)(?: ('[^']*'|[A-Z]{2,}\b|\d+\b|[\w*]+\.\w+))?")
# What the commands call otherwise.
_OTHER_NAMES = {"images": "photos", "test": "test_list"}
_SHORT_FLAG = re.compile(r" \(-\w\)")


def public_function(*owners: Any) -> Callable[[F], F]:
    """Complete the docstring of a function from options classes, and let its errors name its parameters.

    A parameter with the name of a field gets the help and the range of the field.
    """

    def decorate(function: F) -> F:
        parameters = inspect.signature(function).parameters
        names, defaults = list(parameters), {name: parameter.default for name, parameter in parameters.items()}
        described = [
            (name, owner)
            for name in names
            for owner in owners
            if name in owner.__dataclass_fields__ and "setting" in owner.__dataclass_fields__[name].metadata
        ]
        function.__doc__ = _add_parameters(inspect.cleandoc(function.__doc__ or ""), names, described)

        @functools.wraps(function)
        def call(*args: Any, **settings: Any) -> Any:
            try:
                return function(*args, **settings)
            except HybridSegError as error:
                error.args = (speak_python(str(error), defaults),)
                raise

        return cast("F", call)

    return decorate


def _add_parameters(doc: str, names: list[str], described: list[tuple[str, Any]]) -> str:
    """Add entries to the section of parameters, in the order of the signature."""
    before, mark, after = doc.partition("\nParameters\n----------\n")
    section, gap, rest = after.partition("\n\n")
    entries = re.split(r"\n(?=\S)", section)
    entries += [f"{name}\n{textwrap.indent(_describe(name, owner), '    ')}" for name, owner in described]
    entries.sort(key=lambda entry: names.index(re.split(r"\W", entry)[0]))
    return before + mark + "\n".join(entries) + gap + rest


def _describe(name: str, owner: Any) -> str:
    setting, (kind, _) = setting_of(owner, name), type_of(owner, name)
    is_limited = kind is not bool and (setting.span or setting.choices)
    wanted = f" {describe_range(owner, name).capitalize()}." if is_limited else ""
    return textwrap.fill(setting.help + wanted, 114)


def speak_python(message: str, defaults: Mapping[str, Any]) -> str:
    """Return a message that names options of the command line as it names parameters of a function.

    Options of commands that are mentioned stay as they are typed.

    Parameters
    ----------
    defaults : mapping of str to object
        The parameters with their defaults.

    Examples
    --------
    >>> speak_python("give --overwrite to replace it, or --out DIR", {"out": None, "overwrite": False})
    'give overwrite=True to replace it, or out=DIR'
    >>> speak_python("say --labels labels.txt (-t), or hybridseg convert --to png", {"labels": None})
    "say labels='labels.txt', or hybridseg convert --to png"
    """

    def rename(match: re.Match[str]) -> str:
        name, value = match[1].replace("-", "_"), match[2] or ""
        name = next((known for known in (name, f"n_{name}", _OTHER_NAMES.get(name)) if known in defaults), "")
        if not name:
            return match[0]
        if defaults[name] is False:
            return f"{name}=True" + match[0].removeprefix(f"--{match[1]}")
        return f"{name}=" + (f"'{value}'" if "." in value and "'" not in value else value)

    return _SHORT_FLAG.sub("", _FLAG.sub(rename, message))


def show_progress() -> Progress:
    """Return the hook of the command line where a person is watching, in a terminal or a notebook; else none."""
    watched = "ipykernel" in sys.modules or (sys.stderr is not None and sys.stderr.isatty())
    return Console(quiet=not watched).progress


def run_command(console: Console, words: list[str]) -> None:
    """Run a command in this process; what would end the program becomes an error.

    Raises
    ------
    HybridSegError
        When the command fails.
    KeyboardInterrupt
    """
    try:
        console.run_command(words)
    except click.ClickException as error:
        raise HybridSegError(error.message) from error
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            raise KeyboardInterrupt from None
        if stop.code:
            raise HybridSegError(f"hybridseg {' '.join(words)} could not use all files; see what it printed") from None
