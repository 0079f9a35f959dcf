"""The hook through which long work tells how far it is: a wrapper around an iterable.

The library calls it and knows nothing of terminals; the bars live in `hybridseg.cli`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Progress(Protocol):
    """Wraps a sequence of work items; `label` says what is being done to them."""

    def __call__(self, items: Sequence[Item], *, label: str) -> Iterable[Item]:
        """Give the items back one by one."""
        ...


def no_progress(items: Sequence[Item], *, label: str) -> Iterable[Item]:
    """Tell nobody: the default of every library function."""
    return items


class StopWatch:
    """Seconds of every step."""

    def __init__(self) -> None:
        """Start."""
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def restart(self) -> None:
        """Leave out the time since the last step."""
        self._since = time.perf_counter()

    def lap(self, step: str) -> None:
        """End a step."""
        now = time.perf_counter()
        self.seconds[step] = self.seconds.get(step, 0.0) + now - self._since
        self._since = now
