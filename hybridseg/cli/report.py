"""What a command reports to a program: one JSON object, described in docs/formats.md."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from hybridseg import __version__
from hybridseg.errors import Problem, escape_controls
from hybridseg.verdict import Verdict

INTERRUPTED = 130


@dataclass
class Report:
    """What a command did; it is filled in while the command runs.

    Parameters
    ----------
    words : sequence of str
        The command line, without the name of the program.
    result : dict
        What the command found besides scores: each has its own keys.
    steps : list of Report
        The commands that this one ran.
    """

    words: tuple[str, ...] = ()
    status: str = "done"
    written: list[Path] = field(default_factory=list)
    scores: Mapping[str, Any] | None = None
    verdict: Verdict | None = None
    next_step: str | None = None
    result: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    error: str | None = None
    seconds: float = 0.0
    steps: list[Report] = field(default_factory=list)

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Note how long what follows takes, and how it ends; nothing is caught."""
        started, self.status = time.monotonic(), "failed"
        try:
            yield
            self.status = "done"
        except (KeyboardInterrupt, click.Abort):
            self.status = "interrupted"
            raise
        except SystemExit as stop:
            self.status = "interrupted" if stop.code == INTERRUPTED else "failed" if stop.code else "done"
            raise
        except click.ClickException as error:
            # A group without a command is answered with its whole help.
            is_help = type(error).__name__ == "NoArgsIsHelpError"
            self.error = "Missing command." if is_help else error.format_message()
            raise
        except Exception as error:
            self.error = f"{type(error).__name__}: {error}"
            raise
        finally:
            self.seconds = round(time.monotonic() - started, 3)

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return {
            "command": self.words,
            "status": self.status,
            "written": self.written,
            "scores": self.scores,
            "verdict": self.verdict.to_record() if self.verdict else None,
            "next": self.next_step,
            "result": self.result,
            "warnings": self.warnings,
            "problems": [{"path": problem.where, "message": problem.message} for problem in self.problems],
            "error": self.error,
            "seconds": self.seconds,
            "steps": [step.to_record() for step in self.steps],
        }

    def to_json(self) -> str:
        """Return the text for standard output: ASCII, whatever the terminal takes, and no NaN, which is no JSON."""
        record = {"program": "hybridseg", "version": __version__, **self.to_record()}
        return json.dumps(_make_plain(record), indent=2, allow_nan=False)


def printable(text: str) -> str:
    """Return a text for a terminal: bytes that are not UTF-8 are replaced, control characters escaped."""
    return escape_controls(_replace_bytes(text))


def _replace_bytes(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _make_plain(value: Any) -> Any:
    """Return what JSON holds of a value: paths as text, NumPy's numbers as numbers, NaN as null.

    Examples
    --------
    >>> _make_plain({"path": Path("a"), "f1": (0.5, float("nan"))})
    {'path': 'a', 'f1': [0.5, None]}
    """
    if isinstance(value, Mapping):
        return {_replace_bytes(str(name)): _make_plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_make_plain(inner) for inner in value]
    if hasattr(value, "tolist"):
        return _make_plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int) else _replace_bytes(str(value))
