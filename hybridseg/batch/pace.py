"""How fast a run is."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """Counts what was done since a run began.

    Parameters
    ----------
    clock : callable
        Seconds.

    Examples
    --------
    >>> now = iter((0.0, 30.0))
    >>> pace = Pace(clock=lambda: next(now))
    >>> pace.add(12.0)
    >>> pace.describe()
    '2.0 images, 24.0 megapixels a minute'
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._start = clock, clock()
        self._n_images, self._megapixels = 0, 0.0

    def add(self, megapixels: float) -> None:
        """Count an image that was done; 0 megapixels where nobody measured it."""
        self._n_images += 1
        self._megapixels += megapixels

    def describe(self) -> str:
        """Return the pace in words; empty before the first image."""
        minutes = (self._clock() - self._start) / 60
        if not self._n_images or minutes <= 0:
            return ""
        images = f"{self._n_images / minutes:,.1f} images"
        megapixels = f", {self._megapixels / minutes:,.1f} megapixels" if self._megapixels else ""
        return f"{images}{megapixels} a minute"
