"""Where strokes and areas are drawn, later ones over earlier ones: many at a time, however large they are."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType

import numpy as np

from hybridseg.errors import BadInput

# Runs of pixels: (n,) row, first and last column of each; or column, first and last row.
Runs = tuple[np.ndarray, np.ndarray, np.ndarray]

# What waits to be painted at most: some 30 MB of runs, of as many things as two bytes can number.
_MOST_RUNS, _MOST_THINGS = 1 << 20, (1 << 16) - 1
# Values of a strip, with all of its levels.
_STRIP_VALUES = 1 << 21
# Runs of all that is drawn on one canvas: that takes some ten seconds, and nobody draws so much by hand.
MAX_TOTAL_RUNS = 50_000_000


class Canvas:
    """Paints runs of pixels on an array when it is closed, or earlier; what failed meanwhile is not painted.

    To paint 2,000 areas that each cover the image takes hardly longer than to paint 20: of all that wait, only the
    uppermost is painted at each pixel.

    Parameters
    ----------
    values : numpy.ndarray
        (rows, cols) uint8, changed in place.
    origin : (int, int)
        The place of its first pixel in the image.
    n_runs : int
        Those that were painted on it before: all together are limited.

    Examples
    --------
    >>> values = np.zeros((2, 6), np.uint8)
    >>> with Canvas(values) as canvas:
    ...     canvas.add((np.array([0, 1]), np.array([0, 2]), np.array([4, 9])), 7)
    ...     canvas.add((np.array([0]), np.array([2]), np.array([2])), 0)
    >>> values.tolist()
    [[7, 7, 0, 7, 7, 0], [0, 0, 7, 7, 7, 7]]
    """

    def __init__(self, values: np.ndarray, origin: tuple[int, int] = (0, 0), *, n_runs: int = 0) -> None:
        self.values, self.origin, self.n_runs = values, origin, n_runs
        self._waiting: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
        self._colors: list[int] = []
        self._n_waiting, self._by_cols = 0, False

    def __enter__(self) -> Canvas:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.paint()

    def add(self, runs: Runs, value: int, *, is_same: bool = False, by_cols: bool = False) -> None:
        """Put runs on top of all others; those that `is_same` belong to the thing before, and `by_cols` go down."""
        rows, firsts, lasts = runs
        self.n_runs += len(rows)
        if self.n_runs > MAX_TOTAL_RUNS:
            raise BadInput(
                "what is drawn covers the image far too many times over; leave some of it out, or use thinner pens"
            )
        if len(self._colors) >= _MOST_THINGS or self._n_waiting >= _MOST_RUNS or by_cols != self._by_cols:
            self.paint()
            self._by_cols = by_cols
        if not is_same or not self._colors:
            self._colors.append(value)
        (top, left), (n_rows, n_cols) = (part[::-1] if by_cols else part for part in (self.origin, self.values.shape))
        rows = rows - top
        firsts, lasts = np.maximum(firsts - left, 0), np.minimum(lasts - left, n_cols - 1)
        kept = (firsts <= lasts) & (rows >= 0) & (rows < n_rows)
        whole = (part[kept].astype(np.int32) for part in (rows, firsts, lasts))
        self._waiting.append((*whole, np.full(np.count_nonzero(kept), len(self._colors), np.uint16)))
        self._n_waiting += len(self._waiting[-1][0])

    def paint(self) -> None:
        """Paint what waits."""
        colors = np.array([0, *self._colors], np.uint8)
        if self._n_waiting:
            rows, firsts, lasts, numbers = map(np.concatenate, zip(*self._waiting, strict=True))
            order = np.argsort(rows, kind="stable")
            self._paint(rows[order], firsts[order], lasts[order], numbers[order], colors)
        self._waiting, self._colors, self._n_waiting = [], [], 0

    def _paint(
        self, rows: np.ndarray, firsts: np.ndarray, lasts: np.ndarray, numbers: np.ndarray, colors: np.ndarray
    ) -> None:
        """Paint runs in the order of their rows, those of a row in the order in which they lie on top of each other."""
        kind, values = np.uint8 if len(colors) <= 256 else np.uint16, self.values.T if self._by_cols else self.values
        # A run is two that overlap, of the largest power of two that fits.
        levels = np.frexp(lasts - firsts + 1)[1] - 1
        left, width = int(firsts.min()), int(lasts.max() - firsts.min()) + 1
        n_levels, top, bottom = int(levels.max()) + 1, int(rows[0]), int(rows[-1]) + 1
        step = max(_STRIP_VALUES // (width * n_levels), 1)
        cuts = np.searchsorted(rows, np.arange(top, bottom + step, step))
        for number, (i, j) in enumerate(pairwise(cuts.tolist())):
            if i == j:
                continue
            first = top + number * step
            height = min(step, bottom - first)
            shown = np.zeros((n_levels, height, width), kind)
            level, own = levels[i:j], numbers[i:j]
            starts = (level.astype(np.int64) * height + rows[i:j] - first) * width - left
            places = np.stack([starts + firsts[i:j], starts + lasts[i:j] + 1 - (1 << level)], axis=1)
            # Of several at one place the last one stays: it is the uppermost.
            shown.reshape(-1)[places.reshape(-1)] = own.repeat(2)
            for k in range(n_levels - 1, 0, -1):
                half = 1 << (k - 1)
                np.maximum(shown[k - 1], shown[k], out=shown[k - 1])
                below = shown[k - 1][:, half:]
                np.maximum(below, shown[k][:, : width - half], out=below)
            part = values[first : first + height, left : left + width]
            np.copyto(part, colors[shown[0]], where=shown[0] > 0)


@dataclass(frozen=True, eq=False)
class Mask:
    """An area as pixels: (rows, cols) bool of its box, whose first pixel is at `origin` (row, col) in the image."""

    pixels: np.ndarray
    origin: tuple[int, int] = (0, 0)
    layer: str = "result"

    def put_on(self, canvas: Canvas, value: int) -> None:
        """Put it on top of what a canvas of the image has."""
        canvas.paint()
        (row, col), (rows, cols) = self.origin, self.pixels.shape
        canvas.values[row : row + rows, col : col + cols][self.pixels] = value
