"""What a command prints: results on standard output, progress and problems on standard error."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import click

from hybridseg.classes import class_key
from hybridseg.confusion import Confusion
from hybridseg.errors import Problem
from hybridseg.progress import Item, describe_seconds
from hybridseg.verdict import NextSteps, Verdict

_SECONDS_BETWEEN_LINES = 10.0
_MOST_OF_ONE_REASON = 5


@dataclass(frozen=True)
class Console:
    """Prints for a command; with `quiet` only problems."""

    quiet: bool = False

    def say(self, text: str = "") -> None:
        """Print a line of the result."""
        if self.quiet:
            return
        with _pause_bars():
            click.echo(printable(text))

    def insist(self, text: str) -> None:
        """Print what is needed to go on, even when quiet, such as an address; flushed, also into a pipe."""
        click.echo(printable(text))
        sys.stdout.flush()

    def say_all(self, lines: Iterable[str]) -> None:
        """Say several lines."""
        for line in lines:
            self.say(line)

    def warn(self, text: str) -> None:
        """Print what a person should look at, even when quiet."""
        with _pause_bars():
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

    def conclude(self, verdict: Verdict | None, steps: NextSteps) -> None:
        """Print what the scores mean and what to do next: the last lines of a result."""
        if verdict is not None:
            self.say(f"\n{verdict.text}\nNext: {verdict.choose_step(steps)}")

    def finish(self, problems: Sequence[Problem], *, n_done: int = 1) -> None:
        """End a command on many files: list those that failed, and exit with 1 if there are any.

        Parameters
        ----------
        n_done : int
            Files that could be used.
        """
        if not problems:
            return
        noun = "file" if len(problems) == 1 else "files"
        others = ", the others are done" if n_done else ""
        click.echo(f"\n{len(problems)} {noun} could not be used{others}:", err=True)
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
        """Run another command in this process, as quietly as this one."""
        # Imported on use: the commands import this module.
        from hybridseg.cli.main import main

        main.main([*(["--quiet"] if self.quiet else []), *words], prog_name="hybridseg", standalone_mode=False)

    def progress(self, items: Sequence[Item], *, label: str) -> Iterable[Item]:
        """Show the progress of long work: a bar on a terminal, a line every few seconds elsewhere."""
        if self.quiet or not len(items):
            return items
        if sys.stderr is not None and sys.stderr.isatty():
            from tqdm import tqdm

            # The mean of all steps tells the time that is left best: every epoch ends with a slow one.
            return tqdm(items, desc=label, unit="", leave=False, dynamic_ncols=True, smoothing=0)
        return _print_progress(items, label)


def printable(text: str) -> str:
    """Return a text in which the bytes of a file name that are not UTF-8 are replaced."""
    return text.encode("utf-8", "replace").decode()


def _pause_bars() -> AbstractContextManager[None]:
    """Return a context in which no progress bar is on the terminal, so that a line can be printed."""
    if "tqdm" not in sys.modules:
        return nullcontext()
    from tqdm import tqdm

    return tqdm.external_write_mode(file=sys.stdout)


def _print_progress(items: Sequence[Item], label: str) -> Iterable[Item]:
    started = printed = time.monotonic()
    for i, item in enumerate(items):
        yield item
        now = time.monotonic()
        if i == 0:
            # The first takes far longer than the others where something is loaded or compiled for it.
            started = now
        if now - printed > _SECONDS_BETWEEN_LINES:
            printed = now
            left = f", {describe_seconds((now - started) / i * (len(items) - i - 1))} left" if i else ""
            click.echo(f"{label}: {i + 1} of {len(items)}{left}", err=True)


pass_console = click.make_pass_decorator(Console, ensure=True)
