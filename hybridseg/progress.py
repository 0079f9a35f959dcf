"""The hook by which long work reports its progress, a wrapper around a sequence; and a line for slow single steps.

The library calls it and knows nothing of terminals; the bars live in `hybridseg.cli`.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar

logger = logging.getLogger(__name__)

SECONDS_OF_SILENCE = 1.0

Item = TypeVar("Item")


class Progress(Protocol):
    """Wraps a sequence of work items; `label` describes the work."""

    def __call__(self, items: Sequence[Item], *, label: str) -> Iterable[Item]:
        """Yield the items one by one."""
        ...


def no_progress(items: Sequence[Item], *, label: str) -> Iterable[Item]:
    """Report nothing: the default of every library function."""
    return items


@contextmanager
def say_if_slow(text: str) -> Iterator[None]:
    """Write a line to standard error if what follows takes longer than a second.

    Only where the logger of this module is set to INFO, as the command line does unless it is to be quiet. The line
    appears even while standard error is held back, as when TensorFlow starts.
    """
    try:
        terminal = os.dup(2) if logger.isEnabledFor(logging.INFO) else None
    except OSError:  # Standard error is closed.
        terminal = None
    if terminal is None:
        yield
        return
    timer = threading.Timer(SECONDS_OF_SILENCE, os.write, (terminal, f"{text} ...\n".encode()))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        os.close(terminal)


def describe_seconds(seconds: float) -> str:
    """Return a time in words, as exactly as an estimate deserves.

    Examples
    --------
    >>> describe_seconds(9.6), describe_seconds(600), describe_seconds(9000)
    ('10 s', '10 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


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
