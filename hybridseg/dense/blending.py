"""Overlapping windows of an image: where they lie, and how what is known of each becomes one result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hybridseg.batch.parts import Function, Work
from hybridseg.dense.pieces import Piece
from hybridseg.forecast import Weighted
from hybridseg.io.lazyimages import LazyImage
from hybridseg.progress import Progress, no_progress

_LEAST_WEIGHT = 1e-6
# Of a window, see docs/benchmarks.md.
PIXEL_SECONDS = 0.8e-6


@dataclass(frozen=True)
class WindowPlan:
    """The windows of an image, row by row.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the image, as the networks see it.
    height, width : int
        Of all windows.
    row_starts, col_starts : list of int
        See `plan_windows`.
    overlap : int
        Pixels that neighbours share, at the least.
    blend : bool
        See `hybridseg.dense.windows.DenseOptions`.
    """

    shape: tuple[int, int]
    height: int
    width: int
    row_starts: list[int]
    col_starts: list[int]
    overlap: int
    blend: bool = True

    @classmethod
    def of(cls, shape: tuple[int, int], *, window: int, overlap: int, stride: int, blend: bool = True) -> WindowPlan:
        """Return the windows of an image of these rows and columns."""
        (height, rows), (width, cols) = (
            plan_windows(side, window=window, overlap=overlap, stride=stride) for side in shape
        )
        return cls(shape, height, width, rows, cols, overlap, blend)

    def __len__(self) -> int:
        return len(self.row_starts) * len(self.col_starts)

    def find_first(self, n_done: int) -> int:
        """Return the first window that has an influence on what follows so many rows of them.

        Examples
        --------
        >>> plan = WindowPlan.of((100, 60), window=40, overlap=10, stride=10)
        >>> plan.row_starts, plan.col_starts, [plan.find_first(n) for n in range(4)]
        ([0, 30, 60], [0, 20], [0, 0, 2, 6])
        """
        top = [*self.row_starts, self.shape[0] + self.height][n_done]
        return sum(row + self.height <= top for row in self.row_starts) * len(self.col_starts)

    def count_kept(self) -> int:
        """Return how many windows have an influence on a row of them and what follows it, and are known once it is.

        Examples
        --------
        >>> WindowPlan.of((100, 60), window=40, overlap=10, stride=10).count_kept()
        4
        """
        return max((i + 1) * len(self.col_starts) - self.find_first(i) for i in range(len(self.row_starts)))


def blend_windows(
    images: Sequence[LazyImage],
    classify: Function,
    *,
    plan: WindowPlan,
    work: Work,
    n_done: int = 0,
    seconds: float = PIXEL_SECONDS,
    progress: Progress = no_progress,
) -> Iterator[Piece]:
    """Yield the class probabilities of an image at its own size, from overlapping windows.

    They start at multiples of the stride of the network, so that each sees the same grid as the whole image. Only the
    overlap with the windows below is kept for all columns.

    Parameters
    ----------
    images : sequence of LazyImage
        Views of the image, of one size.
    classify : callable
        Returns the probabilities, (rows, cols, n_classes), that networks give a window of each, (rows, cols, bands).
    n_done : int
        Leave out the pieces of so many rows of windows.
    seconds : float
        What a pixel takes.
    """
    (n_rows, n_cols), height, width = plan.shape, plan.height, plan.width
    row_starts, col_starts = plan.row_starts, plan.col_starts

    def cut(number: int) -> list[np.ndarray]:
        i, j = divmod(number, len(col_starts))
        return [cut_window(image, row_starts[i], col_starts[j], height, width) for image in images]

    parts = range(plan.find_first(n_done), len(plan))
    if not parts:
        return
    first_row = row_starts[parts[0] // len(col_starts)]
    weighted = Weighted(parts, height * width * seconds)
    steps = iter(progress(weighted, label="windows") if len(parts) > 1 else parts)
    found = work.compute(classify, cut, parts)
    weigh = _weigh if plan.blend else _weigh_middle
    # Weighted sums of probabilities, and last that of the weights: of what windows above know of these rows.
    above: np.ndarray | None = None
    for i, (row, next_row) in enumerate(zip(row_starts, [*row_starts[1:], n_rows], strict=True)):
        if row < first_row:
            continue
        row_weight = weigh(height, plan.overlap, is_first=row == 0, is_last=row == row_starts[-1])
        n_ready, beside = next_row - row, None
        for col, next_col in zip(col_starts, [*col_starts[1:], n_cols], strict=True):
            next(steps)
            col_weight = weigh(width, plan.overlap, is_first=col == 0, is_last=col == col_starts[-1])
            weight = np.minimum.outer(row_weight, col_weight)[..., None]
            probs = next(found)
            if above is None:
                rest = height - min(np.diff(row_starts), default=height)
                above = np.zeros((rest, col_starts[-1] + width, probs.shape[2] + 1), np.float32)
            sums = np.zeros((height, width, probs.shape[2] + 1), np.float32)
            n_known = 0 if beside is None else beside.shape[1]
            if beside is not None:
                sums[:, :n_known] = beside
            sums[: len(above), n_known:] = above[:, col + n_known : col + width]
            probs *= weight
            sums[..., :-1] += probs
            sums[..., -1:] += weight
            beside = sums[:, next_col - col :]
            done, below = sums[:n_ready, : next_col - col], sums[n_ready:, : next_col - col]
            if i >= n_done:
                yield Piece(row, col, done[..., :-1] / done[..., -1:])
            above[: len(below), col:next_col], above[len(below) :, col:next_col] = below[: len(above)], 0
    next(steps, None)


def plan_windows(n: int, *, window: int, overlap: int, stride: int) -> tuple[int, list[int]]:
    """Return the size of the windows that cover the `n` pixels of one side of an image, and where each starts.

    There are as few as possible, no larger than they must be to overlap. They start and end at multiples of `stride`;
    the last one ends less than a stride beyond the image.

    Examples
    --------
    >>> plan_windows(100, window=256, overlap=64, stride=32), plan_windows(500, window=256, overlap=64, stride=32)
    ((128, [0]), (224, [0, 128, 288]))
    """
    padded = -(-n // stride) * stride

    def count_steps(size: int) -> int:
        return -(-(padded - size) // max((size - overlap) // stride * stride, stride))

    size = min(-(-window // stride) * stride, padded)
    n_steps = count_steps(size)
    while size > stride and count_steps(size - stride) == n_steps:
        size -= stride
    # Spread evenly: the last two would otherwise overlap more than the others.
    starts = [round((padded - size) * i / max(n_steps, 1) / stride) * stride for i in range(n_steps + 1)]
    return size, starts


def _weigh(size: int, overlap: int, *, is_first: bool, is_last: bool) -> np.ndarray:
    """Return the weight of every pixel of a window along one side.

    It is next to nothing in a quarter of the overlap from a cut end, and then grows with each pixel. An end of the
    image itself is not cut.
    """
    far = np.full(size, max(overlap, 1), np.float32)
    before = far if is_first else np.arange(1, size + 1, dtype=np.float32)
    after = far if is_last else np.arange(size, 0, -1, dtype=np.float32)
    distance = np.minimum(np.minimum(before, after), far) - overlap // 4
    return np.maximum(distance, _LEAST_WEIGHT)


def _weigh_middle(size: int, overlap: int, *, is_first: bool, is_last: bool) -> np.ndarray:
    """Return the same where one window takes over from another in the middle of what they share."""
    weight = _weigh(size, overlap, is_first=is_first, is_last=is_last)
    return np.where(weight > overlap // 2 - overlap // 4, np.float32(1), np.float32(_LEAST_WEIGHT))


def cut_window(image: LazyImage, row: int, col: int, height: int, width: int) -> np.ndarray:
    """Return a window; beyond the border the image is mirrored."""
    window = image[row : row + height, col : col + width].copy()
    missing = [(0, height - window.shape[0]), (0, width - window.shape[1]), (0, 0)]
    return np.pad(window, missing, mode="symmetric") if any(n for _, n in missing) else window
