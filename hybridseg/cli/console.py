"""What a command prints: results on standard output, progress and problems on standard error."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

import click

from hybridseg.classes import class_key
from hybridseg.cli.progress import Meter, pause_bars
from hybridseg.cli.report import Report, printable
from hybridseg.confusion import Confusion
from hybridseg.errors import Problem, one_line, tidy
from hybridseg.markup import count_of
from hybridseg.progress import Item
from hybridseg.ranking import ImageScore, tell_worst
from hybridseg.verdict import NextSteps, Verdict

_MOST_OF_ONE_REASON = 5


class _LogFormatter(logging.Formatter):
    """Says what the library reports as the command says its own messages."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(tidy(super().format(record)))


@dataclass
class Console:
    """Prints for a command, with `quiet` only problems, and reports to a program what it did."""

    quiet: bool = False
    verbose: bool = False
    report: Report = field(default_factory=Report)
    meter: Meter = field(default_factory=Meter)
    can_resume: bool = False
    """Whether the command that runs has the option --resume."""

    def set_logging(self) -> None:
        """Let the library say as much as the command: what is slow to start, every step, or nothing."""
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_LogFormatter("%(message)s"))
        logging.basicConfig(handlers=[handler])
        logging.getLogger("hybridseg").setLevel(logging.DEBUG if self.verbose else logging.WARNING)
        logging.getLogger("hybridseg.progress").setLevel(logging.WARNING if self.quiet else logging.INFO)
        # What GDAL says of an odd file: what is wrong with it is told where it is refused.
        logging.getLogger("rasterio").setLevel(logging.WARNING if self.verbose else logging.CRITICAL)

    def say(self, text: str = "") -> None:
        """Print a line of the result."""
        if self.quiet:
            return
        with pause_bars():
            click.echo(printable(text))

    def insist(self, text: str) -> None:
        """Print what is needed to go on, even when quiet, such as an address; flushed, also into a pipe."""
        click.echo(printable(text))
        sys.stdout.flush()

    def say_all(self, lines: Iterable[str]) -> None:
        """Say several lines."""
        for line in lines:
            self.say(line)

    def wrote(self, *paths: Path, text: str | None = None) -> None:
        """Report files or folders that were written: a line for each, or `text` for all."""
        self.report.written += paths
        self.say_all([text] if text is not None else [f"wrote {one_line(path)}" for path in paths])

    def record(self, **found: Any) -> None:
        """Report to a program what was found besides files and scores."""
        self.report.result |= found

    def warn(self, text: str) -> None:
        """Print what a person should look at, even when quiet."""
        text = tidy(text)
        self.report.warnings.append(text)
        with pause_bars():
            click.echo(printable(f"warning: {text}"), err=True)

    def table(self, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print a table, its first column aligned to the left and the others to the right."""
        cells = [[str(cell) for cell in row] for row in (header, *rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
        for row in cells:
            first, *rest = (
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            self.say("  ".join([first, *rest]).rstrip())

    def say_left_out(self, confusion: Confusion, ignored: Sequence[str] = ()) -> None:
        """Name the classes that the means leave out, but for those that the user told to ignore."""
        known = {class_key(name) for name in ignored}
        names = [name for name in confusion.left_out if class_key(name) not in known]
        if names:
            self.say(f"not in the truth, so left out of the means: {', '.join(names)}")

    def tell_worst(self, images: Sequence[ImageScore]) -> None:
        """List the images with the lowest multi-label Dice, where there are several."""
        title, header, rows = tell_worst(images)
        self.record(worst_images=[image.to_record() for image in images[: len(rows)]])
        if len(images) > 1:
            self.say(f"{title}:")
            self.table(header, rows)
            self.say()

    def conclude(self, scores: Mapping[str, Any] | None, verdict: Verdict | None, steps: NextSteps) -> None:
        """Report scores, and print what they mean and what to do next: the last lines of a result."""
        self.report.scores, self.report.verdict = scores, verdict
        if verdict is not None:
            self.report.next_step = verdict.choose_step(steps)
            self.say(f"\n{verdict.text}\nNext: {self.report.next_step}")

    def finish(self, problems: Sequence[Problem], *, n_done: int = 1, lead: str = "") -> None:
        """End a command on many files: list those that failed, and exit with 1 if there are any.

        Parameters
        ----------
        n_done : int
            Files that could be used.
        lead : str
            The line before the list; empty: how many files could not be used.
        """
        self.report.problems += problems
        if not problems:
            return
        others = ", the others are done" if n_done else ""
        n_files = count_of(len(problems), "file")
        click.echo(f"\n{lead or f'{n_files} could not be used{others}:'}", err=True)
        shown: Counter[str] = Counter()
        for problem in problems:
            shown[problem.message] += 1
            if shown[problem.message] <= _MOST_OF_ONE_REASON:
                click.echo(printable(f"  {problem}"), err=True)
        for reason, n in shown.items():
            if n > _MOST_OF_ONE_REASON:
                click.echo(printable(f"  and {n - _MOST_OF_ONE_REASON} more: {reason}"), err=True)
        sys.exit(1)

    def run_command(self, words: list[str]) -> None:
        """Run another command in this process, as quietly as this one; its report becomes a part of this one's."""
        # Imported on use: the commands import this module.
        from hybridseg.cli.main import main

        step = Console(self.quiet, self.verbose, Report(tuple(words)), self.meter.make_inner())
        self.report.steps.append(step.report)
        try:
            with step.report.watch():
                main.main(words, prog_name="hybridseg", standalone_mode=False, obj=step)
        finally:
            self.report.warnings += step.report.warnings

    def progress(self, items: Sequence[Item], *, label: str) -> Iterable[Item]:
        """Show the progress of long work, and how much time is left of all."""
        if self.quiet or not len(items):
            return items
        return self.meter.show(items, label)


def _set_manner(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    """Set one of the options of every command, which may stand before or after its name."""
    if value:
        console = context.ensure_object(Console)
        setattr(console, str(parameter.name), True)
        console.set_logging()


def add_manners(function: Any) -> Any:
    """Add the options that every command and every group has."""
    for flag, text in (
        ("--verbose", "Also print what is being done, step by step."),
        # `Report` is printed where the command line ends, see `hybridseg.cli.main`.
        ("--json", "Print the result as one JSON object in place of text."),
        ("--quiet", "Print nothing but errors and warnings."),
    ):
        callback = None if flag == "--json" else _set_manner
        function = click.option(flag, is_flag=True, expose_value=False, is_eager=True, callback=callback, help=text)(
            function
        )
    return function


def pass_console(function: Callable[..., None]) -> Callable[..., None]:
    """Pass a command its console, and add the options of every command, the last in its help."""

    @wraps(function)
    def run(console: Console, *arguments: Any, **settings: Any) -> None:
        parameters = click.get_current_context().command.params
        shown = (parameter for parameter in parameters if not getattr(parameter, "hidden", False))
        console.can_resume = any("--resume" in parameter.opts for parameter in shown)
        function(console, *arguments, **settings)

    return add_manners(click.make_pass_decorator(Console, ensure=True)(run))
