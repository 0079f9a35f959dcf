"""What a command prints: results on standard output, progress and problems on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import click

from hybridseg.errors import Problem
from hybridseg.progress import Item

_SECONDS_BETWEEN_LINES = 10.0


@dataclass(frozen=True)
class Console:
    """Prints for a command; with `quiet` only problems."""

    quiet: bool = False

    def say(self, text: str = "") -> None:
        """Print a line of the result."""
        if not self.quiet:
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

    def finish(self, problems: Sequence[Problem]) -> None:
        """End a command on many files: list those that failed, and exit with 1 if there are any."""
        if not problems:
            return
        noun = "file" if len(problems) == 1 else "files"
        click.echo(f"\n{len(problems)} {noun} could not be used, the others are done:", err=True)
        for problem in problems:
            click.echo(printable(f"  {problem}"), err=True)
        sys.exit(1)

    def progress(self, items: Sequence[Item], *, label: str) -> Iterable[Item]:
        """Show the progress of long work: a bar on a terminal, a line every few seconds elsewhere."""
        if self.quiet or not len(items):
            return items
        if sys.stderr is not None and sys.stderr.isatty():
            from tqdm import tqdm

            return tqdm(items, desc=label, unit="", leave=False, dynamic_ncols=True)
        return _print_progress(items, label)


def printable(text: str) -> str:
    """Return a text in which the bytes of a file name that are not UTF-8 are replaced."""
    return text.encode("utf-8", "replace").decode()


def _print_progress(items: Sequence[Item], label: str) -> Iterable[Item]:
    printed = time.monotonic()
    for i, item in enumerate(items, 1):
        yield item
        if time.monotonic() - printed > _SECONDS_BETWEEN_LINES:
            printed = time.monotonic()
            click.echo(f"{label}: {i} of {len(items)}", err=True)


pass_console = click.make_pass_decorator(Console, ensure=True)
