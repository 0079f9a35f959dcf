"""How much time is left of all, while work of several parts is done.

The library says what it expects: `Weighted` items, `followed_by` others. `Forecast` corrects that by the pace so far.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import Any

from hybridseg.progress import Item, Progress

UNKNOWN = math.inf

# What was expected counts like so many seconds of experience.
_TRUST = 5.0


class Weighted(Sequence[Item]):
    """Items of work and how long they are expected to take; to a hook that does not look, a sequence like any other.

    Parameters
    ----------
    each : float, sequence of float or None
        Seconds of an item on two cores; None: as much as any other, nobody knows how long.
    after : float
        Seconds of the work that follows; `UNKNOWN` if nobody can tell.
    note : callable or None
        Returns what else a person is told of the work so far, such as its pace.

    Examples
    --------
    >>> [Weighted("ab", each=each).cost(2) for each in (None, 3.0, (1.0, 0.5))]
    [2.0, 6.0, 1.5]
    """

    def __init__(
        self,
        items: Sequence[Item],
        each: float | Sequence[float] | None = None,
        after: float = 0.0,
        note: Callable[[], str] | None = None,
    ) -> None:
        self.items, self.each, self.after, self.note = items, each, after, note
        self._sums = [0.0, *accumulate(each)] if isinstance(each, Sequence) else None

    @staticmethod
    def of(items: Sequence[Item]) -> Weighted[Item]:
        """Return the items as they are if they are weighted, otherwise as alike."""
        return items if isinstance(items, Weighted) else Weighted(items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> Any:
        return self.items[index]

    def cost(self, n: int) -> float:
        """Return what the first `n` items are expected to take."""
        if self._sums is not None:
            return self._sums[n]
        return float(n if self.each is None else n * self.each)  # type: ignore[operator]


def followed_by(progress: Progress, seconds: float) -> Progress:
    """Say of whatever is reported to a hook that other work follows, and how long that is expected to take.

    Examples
    --------
    >>> seen = []
    >>> hook = followed_by(lambda items, label: seen.append(items) or items, 30.0)
    >>> list(hook(range(2), label="reading")), seen[0].after
    ([0, 1], 30.0)
    """

    def report(items: Sequence[Item], *, label: str) -> Iterable[Item]:
        own = Weighted.of(items)
        return progress(Weighted(own.items, own.each, own.after + seconds, own.note), label=label)

    return report


class Span:
    """Items that are being worked on, one of them or none at the moment."""

    def __init__(self, items: Weighted[Any], now: float) -> None:
        self.items, self.n_done, self.since = items, 0, now
        # From where the pace is measured: the first item takes far longer where something is loaded or compiled for it.
        self._start = (now, 0.0)

    @property
    def is_known(self) -> bool:
        """Whether it was said how long the items take."""
        return self.items.each is not None

    def finish_item(self, now: float) -> None:
        """Note that an item is done."""
        self.n_done, self.since = self.n_done + 1, now
        if self.n_done == 1:
            self._start = (now, self.items.cost(1))

    def measure(self, now: float, reached: float) -> tuple[float, float]:
        """Return the seconds that were taken, and those that were expected, up to some cost."""
        return now - self._start[0], reached - self._start[1]

    def tell_left(self, now: float, inner: float | None, pace: float) -> float | None:
        """Return the seconds that are left of these items and of what follows them; None if nobody can tell.

        Parameters
        ----------
        inner : float or None
            Seconds that are left of the item at the moment; None between two items.
        pace : float
            By what expectations were exceeded before.
        """
        done, own = self.items.cost(self.n_done), 0.0
        reached = done
        if inner is not None:
            own = self.items.cost(min(self.n_done + 1, len(self.items))) - done
            spent = now - self.since
            reached += own * spent / max(spent + inner, 1e-9)
        taken, expected = self.measure(now, reached)
        ahead = self.items.cost(len(self.items)) - done - own
        if self.is_known and inner is not None:
            rate = (_TRUST + taken) / (_TRUST + expected)
        elif expected > 0:
            rate = taken / expected
        elif ahead > 0:
            return None
        else:
            rate = pace
        left = (inner or 0.0) + rate * ahead + pace * self.items.after
        return left if math.isfinite(left) else None


class Forecast:
    """What is left of all work of a command: of the items at the moment, of those around them, and of what follows.

    Parameters
    ----------
    outer : Forecast or None
        Of the command that runs this one.
    clock : callable
        Seconds.
    """

    def __init__(self, outer: Forecast | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self._outer = clock, outer
        self._spans: list[Span] = []
        self._taken = self._expected = 0.0

    @property
    def depth(self) -> int:
        """How many sequences of items are being worked on, each within an item of the one before."""
        return len(self._spans) + (self._outer.depth if self._outer else 0)

    @contextmanager
    def span(self, items: Sequence[Any]) -> Iterator[Span]:
        """Begin a sequence of items; call `Span.finish_item` after each."""
        span = Span(Weighted.of(items), self.clock())
        self._spans.append(span)
        try:
            yield span
        finally:
            self._spans.remove(span)
            self._taken, self._expected = self._sum_up(span)

    def _sum_up(self, *spans: Span) -> tuple[float, float]:
        """Return the seconds of all items that are done and, where that is known, were expected to take some time."""
        known = [span.measure(span.since, span.items.cost(span.n_done)) for span in spans if span.is_known]
        return self._taken + sum(taken for taken, _ in known), self._expected + sum(expected for _, expected in known)

    def _measure_pace(self) -> float:
        """Return by what expectations were exceeded so far."""
        taken, expected = self._sum_up(*self._spans)
        return (_TRUST + taken) / (_TRUST + expected)

    def tell_left(self, inner: float | None = None) -> float | None:
        """Return the seconds that are left of all; None if nobody can tell."""
        if not self._spans:
            return None
        now, pace = self.clock(), self._measure_pace()
        for span in reversed(self._spans):
            inner = span.tell_left(now, inner, pace)
            if inner is None:
                return None
        return self._outer.tell_left(inner) if self._outer else inner
