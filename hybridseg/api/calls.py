"""What makes a function of the library one for people: its help tells every option, its errors speak Python."""

from __future__ import annotations

import functools
import inspect
import re
import sys
import textwrap
from collections.abc import Callable
from typing import Any, TypeVar, cast

from hybridseg.cli.console import Console
from hybridseg.errors import HybridSegError
from hybridseg.options import describe_range, setting_of, type_of
from hybridseg.progress import Progress

F = TypeVar("F", bound=Callable[..., Any])

_FLAG = re.compile(r"(?<![\w-])--([a-z][a-z-]*)(?:[ =](?=\S))?")
_SHORT_FLAG = re.compile(r" \(-\w\)")


def for_people(*owners: Any) -> Callable[[F], F]:
    """Add to the docstring what the fields of options classes say of its parameters, and let errors speak Python.

    A parameter that is called like a field has its meaning and its range; its default is given in the signature, as
    that of the field.
    """

    def decorate(function: F) -> F:
        names = list(inspect.signature(function).parameters)
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
                error.args = (speak_python(str(error), names),)
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


def speak_python(message: str, names: list[str]) -> str:
    """Return a message that names options of the command line as it names parameters of a function.

    Options of commands that are mentioned stay as they are typed.

    Examples
    --------
    >>> speak_python("give --overwrite to replace it, or --out for another place", ["out", "overwrite"])
    'give overwrite= to replace it, or out= for another place'
    >>> speak_python("first: hybridseg convert --to png", ["out"])
    'first: hybridseg convert --to png'
    """

    def rename(match: re.Match[str]) -> str:
        name = match[1].replace("-", "_")
        found = next((known for known in (name, f"n_{name}") if known in names), None)
        return match[0].replace(f"--{match[1]}", f"{found}=", 1) if found else match[0]

    return _SHORT_FLAG.sub("", _FLAG.sub(rename, message))


def show_progress() -> Progress:
    """Return the hook of the command line where a person is watching, in a terminal or a notebook; else none."""
    watched = "ipykernel" in sys.modules or (sys.stderr is not None and sys.stderr.isatty())
    return Console(quiet=not watched).progress
