"""The hook by which long work reports its progress, a wrapper around a sequence; and a line for slow single steps.

The library calls it and knows nothing of terminals; the bars live in `hybridseg.cli`. Work that takes long without a
step to report looks at `checkpoint`, so that it can be ended.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
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


def say(text: str) -> None:
    """Write a line to standard error that whoever waits should know, as `say_if_slow` does."""
    logger.info("%s", text)


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


def _go_on() -> None:
    """Let all work go on to its end."""


_check: ContextVar[Callable[[], None]] = ContextVar("check", default=_go_on)


@contextmanager
def ended_by(check: Callable[[], None]) -> Iterator[None]:
    """Let long work call a function now and then meanwhile: what it raises ends the work soon.

    Examples
    --------
    >>> def check():
    ...     raise TimeoutError
    >>> with ended_by(check):
    ...     checkpoint()
    Traceback (most recent call last):
    TimeoutError
    """
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)


def checkpoint() -> None:
    """Raise what ends the work that is under way, see `ended_by`. Long work calls it wherever it can be left."""
    _check.get()()


_clock: ContextVar[Callable[[], float]] = ContextVar("clock", default=time.perf_counter)


@contextmanager
def timed_by(clock: Callable[[], float]) -> Iterator[None]:
    """Let every stop watch that is started meanwhile go by another clock, such as `time.process_time`."""
    token = _clock.set(clock)
    try:
        yield
    finally:
        _clock.reset(token)


class StopWatch:
    """Measures the seconds that each step takes, by the clock on the wall unless another one is given."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self._clock = clock or _clock.get()
        self._since = self._clock()

    def restart(self) -> None:
        """Exclude the time since the last step."""
        self._since = self._clock()

    def lap(self, step: str) -> None:
        """Add the time since the last lap to a step."""
        now = self._clock()
        self.seconds[step] = self.seconds.get(step, 0.0) + now - self._since
        self._since = now
