"""What all public functions share: every option is explained in their help, and errors name parameters, not flags."""

from __future__ import annotations

import errno
import functools
import inspect
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import is_dataclass, replace
from typing import Any, TypeVar, cast

import click

from hybridseg.api.wording import speak_python
from hybridseg.cli.console import Console
from hybridseg.cli.report import INTERRUPTED
from hybridseg.data.faults import Fault
from hybridseg.dense.policy import POLICY_HELP
from hybridseg.errors import HybridSegError, Problem, check_path, is_too_long
from hybridseg.options import describe_range, setting_of, type_of
from hybridseg.progress import Progress

F = TypeVar("F", bound=Callable[..., Any])

# Parameters that many functions have; those that stand together are explained together.
_SHARED = {
    ("masks",): "The folder of the masks, if they are not beside their photos.",
    ("seed",): "Of every random choice.",
    (
        "labels",
        "colors",
    ): "The classes of masks that do not name theirs (a class file, a ClassTable or a list of "
    "names), and a file of their colours.",
    ("labels",): "The classes of masks that do not name theirs: a class file, a ClassTable or a list of names.",
    ("augmentation",): POLICY_HELP,
    ("tensorboard_dir", "histogram_interval"): "The folder of logs for TensorBoard, and every which epoch they have "
    "histograms (0: none; by default 10).",
    ("resume", "overwrite"): "Continue after the last finished epoch of a training that is there, or start it over.",
    ("figures",): "FigureOptions: resolution and format of the figures.",
    ("machines",): "MachineOptions: several graphics cards, or several machines that train together.",
    ("progress",): "Wraps what is worked on, as `tqdm` does; by default shown where a person is watching.",
}
# In annotations of parameters whose text may be a path.
_PATHS = re.compile(r"\b(PathLike|Labels|Config)\b")
_given: ContextVar[frozenset[str]] = ContextVar("given", default=frozenset())


def is_given(name: str) -> bool:
    """Return whether the public function that runs was called with this parameter."""
    return name in _given.get()


def public_function(*owners: Any) -> Callable[[F], F]:
    """Complete the docstring of a function from options classes, and let its errors name its parameters.

    A parameter with the name of a field gets the help and the range of the field, unless the docstring explains it; one
    that many functions have is explained here.
    """

    def decorate(function: F) -> F:
        defaults = list_defaults(function)
        names = list(defaults)
        signature = inspect.signature(function)
        paths = [name for name, found in signature.parameters.items() if _PATHS.search(str(found.annotation))]
        described = {
            name: _describe(name, owner)
            for name in names
            for owner in owners
            if name in owner.__dataclass_fields__ and "setting" in owner.__dataclass_fields__[name].metadata
        }
        described |= {", ".join(shared): text for shared, text in _SHARED.items() if set(shared) <= set(names)}
        if "colors" in names:
            described.pop("labels", None)
        function.__doc__ = _add_parameters(inspect.cleandoc(function.__doc__ or ""), names, described)

        @functools.wraps(function)
        def call(*args: Any, **settings: Any) -> Any:
            token = _given.set(frozenset(settings))
            try:
                given = signature.bind_partial(*args, **settings).arguments
                _check_paths(given[name] for name in paths if name in given)
                return _speak_result(function(*args, **settings), defaults)
            except HybridSegError as error:
                error.args = (speak_python(str(error), defaults),)
                raise
            except OSError as error:
                if error.errno == errno.ENAMETOOLONG:
                    raise is_too_long(error.filename) from error
                raise
            finally:
                _given.reset(token)

        return cast("F", call)

    return decorate


def _check_paths(values: Iterable[Any]) -> None:
    for value in values:
        for path in value if isinstance(value, list | tuple) else [value]:
            if isinstance(path, str | os.PathLike):
                check_path(path)


def _speak_result(result: Any, defaults: Mapping[str, Any]) -> Any:
    """Return a result whose problems and warnings name parameters, as errors do."""
    told: dict[str, Any] = {}
    for name in ("problems", "warnings", "notes", "faults"):
        found = getattr(result, name, ()) if is_dataclass(result) else ()
        spoken = tuple(_speak_item(item, defaults) for item in found)
        if spoken != tuple(found):
            told[name] = spoken
    return replace(result, **told) if told else result


def _speak_item(item: Any, defaults: Mapping[str, Any]) -> Any:
    if isinstance(item, Problem):
        return replace(item, message=speak_python(item.message, defaults))
    if isinstance(item, Fault):
        problems = tuple(_speak_item(problem, defaults) for problem in item.problems)
        return replace(item, mend=speak_python(item.mend, defaults), problems=problems)
    return speak_python(item, defaults)


def list_defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the default of each parameter."""
    return {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}


def _add_parameters(doc: str, names: list[str], described: Mapping[str, str]) -> str:
    """Add entries to the section of parameters, in the order of the signature."""
    before, mark, after = doc.partition("\nParameters\n----------\n")
    section, gap, rest = after.partition("\n\n")
    entries = re.split(r"\n(?=\S)", section)
    own = {name for entry in entries for name in entry.partition("\n")[0].split(", ")}
    entries += [
        f"{name}\n{textwrap.indent(textwrap.fill(text, 114), '    ')}"
        for name, text in described.items()
        if not own & set(name.split(", "))
    ]
    entries = [entry for entry in entries if entry]
    entries.sort(key=lambda entry: names.index(re.split(r"\W", entry)[0]))
    return before + mark + "\n".join(entries) + gap + rest


def _describe(name: str, owner: Any) -> str:
    setting, (kind, _) = setting_of(owner, name), type_of(owner, name)
    is_limited = kind is not bool and (setting.span or setting.choices)
    wanted = f" {describe_range(owner, name).capitalize()}." if is_limited else ""
    return setting.help + wanted


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
