"""How the progress of a command is shown on standard error: bars on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import click

from hybridseg.forecast import Forecast, Span
from hybridseg.progress import Item, describe_seconds

# Between two lines, at least; and this share of the time since the first work began: long work has fewer of them.
_SECONDS_BETWEEN_LINES, _SHARE_BETWEEN_LINES = 5.0, 0.1
# Lines that follow one another faster than this cannot be read.
_LEAST_SECONDS = 1.0


@dataclass
class _Lines:
    """When something was printed, by a command and by those that it runs."""

    started: float | None = None
    printed: float = 0.0

    def are_due(self, now: float) -> bool:
        """Return whether it is time for a line."""
        if self.started is None:
            self.started = self.printed = now
        return now - self.printed >= max(_SECONDS_BETWEEN_LINES, _SHARE_BETWEEN_LINES * (now - self.started))

    def print(self, text: str, now: float) -> None:
        """Print a line."""
        self.printed = now
        click.echo(text, err=True)


@dataclass
class Meter:
    """Shows how far the work of a command is, and how much time is left of all."""

    forecast: Forecast = field(default_factory=lambda: Forecast(clock=lambda: time.monotonic()))
    lines: _Lines = field(default_factory=_Lines)

    def make_inner(self) -> Meter:
        """Return the meter of a command that this one runs."""
        return Meter(Forecast(self.forecast, self.forecast.clock), self.lines)

    def show(self, items: Sequence[Item], label: str) -> Iterable[Item]:
        """Yield the items and show how many are done."""
        on_terminal = sys.stderr is not None and sys.stderr.isatty()
        return (self._show_bar if on_terminal else self._show_lines)(items, label)

    def _show_bar(self, items: Sequence[Item], label: str) -> Iterator[Item]:
        from tqdm import tqdm

        # The time that is left is that of all work, where tqdm would tell that of these items.
        shape = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"
        bar = tqdm(total=len(items), desc=label, leave=False, dynamic_ncols=True, bar_format=shape)
        with self.forecast.span(items) as span, bar:
            for item in items:
                yield item
                span.finish_item(self.forecast.clock())
                bar.set_postfix_str(self._describe(span), refresh=False)
                bar.update()

    def _show_lines(self, items: Sequence[Item], label: str) -> Iterator[Item]:
        with self.forecast.span(items) as span:
            started = self.forecast.clock()
            self.lines.are_due(started)
            for item in items:
                yield item
                span.finish_item(self.forecast.clock())
                if span.n_done < len(items) and self.lines.are_due(span.since):
                    more = self._describe(span)
                    self.lines.print(f"{label}: {span.n_done} of {len(items)}{more and f', {more}'}", span.since)
            is_outermost = self.forecast.depth == 1
        self._show_end(label, span, started, is_outermost=is_outermost)

    def _show_end(self, label: str, span: Span, started: float, *, is_outermost: bool) -> None:
        """Say that work of more than some seconds is done, once for all that was done within it."""
        took = span.since - started
        if is_outermost and took >= _SECONDS_BETWEEN_LINES and span.since - self.lines.printed >= _LEAST_SECONDS:
            self.lines.print(f"{label}: {span.n_done} in {describe_seconds(took)}", span.since)

    def _describe(self, span: Span) -> str:
        """Return what is noted of some items, and how much time is left of all."""
        left = self.forecast.tell_left()
        note = span.items.note() if span.items.note else ""
        return ", ".join(filter(None, (note, "" if left is None else f"{describe_seconds(left)} left")))


def pause_bars() -> AbstractContextManager[Any]:
    """Return a context in which no progress bar is on the terminal, so that a line can be printed."""
    if "tqdm" not in sys.modules:
        return nullcontext()
    from tqdm import tqdm

    return tqdm.external_write_mode(file=sys.stdout)
