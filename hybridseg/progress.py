"""The hook by which long work reports its progress: a wrapper around a sequence.

The library calls it and knows nothing of terminals; the bars live in `hybridseg.cli`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Progress(Protocol):
    """Wraps a sequence of work items; `label` describes the work."""

    def __call__(self, items: Sequence[Item], *, label: str) -> Iterable[Item]:
        """Yield the items one by one."""
        ...


def no_progress(items: Sequence[Item], *, label: str) -> Iterable[Item]:
    """Report nothing: the default of every library function."""
    return items


class StopWatch:
    """Measures the seconds that each step takes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def restart(self) -> None:
        """Exclude the time since the last step."""
        self._since = time.perf_counter()

    def lap(self, step: str) -> None:
        """Add the time since the last lap to a step."""
        now = time.perf_counter()
        self.seconds[step] = self.seconds.get(step, 0.0) + now - self._since
        self._since = now
