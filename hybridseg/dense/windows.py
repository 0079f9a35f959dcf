"""Class probabilities of an image of any size: as a whole or in overlapping windows, in bounded memory.

Arrays in, arrays out; `hybridseg.dense.predict` is the same with files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from hybridseg.errors import BadInput, join_names
from hybridseg.forecast import UNKNOWN, Weighted, followed_by
from hybridseg.io.bands import match_bands
from hybridseg.models.bundles import DenseModel, card_path
from hybridseg.models.ensemble import order_columns
from hybridseg.options import Span, check_options, option
from hybridseg.progress import Progress, no_progress
from hybridseg.resample import find_neighbours, reduce_shape, resize_image

_STRIP_ROWS = 256
_LEAST_WEIGHT = 1e-6
# Pixels to which a card may enlarge an image by itself.
_MOST_ENLARGED = 100_000_000
# Of a window, see docs/benchmarks.md.
PIXEL_SECONDS = 0.8e-6


@dataclass(frozen=True)
class DenseOptions:
    """How an image is presented to the networks."""

    native: bool | None = option(
        None, "Predict at the size of the image itself, in windows, or resize the whole image to the training size."
    )
    scale: float | None = option(
        None,
        "Scale at which an image is predicted in windows: 0.5 halves its sides, for one whose objects are twice as "
        "large as in training.",
        span=Span(0.01, 16),
    )
    window: int = option(1024, "Side of a window, in pixels; a smaller image is predicted as a whole.", span=Span(32))
    overlap: int = option(
        256, "Pixels that neighbouring windows share; the weight of a window falls towards its border.", span=Span(0)
    )
    flips: bool = option(False, "Average over the image and its mirror images: four times slower, a little better.")

    def __post_init__(self) -> None:
        check_options(self)
        if self.overlap >= self.window:
            raise BadInput(f"overlap={self.overlap} must be smaller than the window of {self.window} pixels")

    def choose_scale(self, model: DenseModel) -> float | None:
        """Return the scale of the windows that a network predicts; None: the image is resized to its training size.

        Raises
        ------
        BadInput
            When a scale was given and there are no windows.
        """
        view = model.card.view
        if self.native if self.native is not None else view is not None and view.windows:
            return self.scale or (view.usual_scale if view is not None and view.windows else 1.0)
        if self.scale is not None:
            remedy = "add --native" if self.native is None else "leave --fitted or --scale out"
            raise BadInput(f"{model.path.name} is given whole images, and --scale is for windows: {remedy}")
        return None


def predict_probs(
    image: np.ndarray,
    models: Sequence[DenseModel],
    *,
    options: DenseOptions = DenseOptions(),
    progress: Progress = no_progress,
) -> np.ndarray:
    """Return the class probabilities of every pixel, at the size at which the first network sees the image.

    Parameters
    ----------
    image : numpy.ndarray
        (rows, cols, bands), in the type of the training images.
    models : sequence of DenseModel
        The probabilities of several are averaged; classes are matched by name.

    Returns
    -------
    numpy.ndarray
        (rows, cols, n_classes) float32 that sum to 1.

    Raises
    ------
    BadInput
        When the image does not have the bands that the network takes (see `hybridseg.io.bands.match_bands`), or the
        networks differ in their classes.
    """
    shape = find_size(image, models[0], options)
    probs = np.empty((*shape, len(models[0].table)), np.float32)
    for start, strip in predict_strips(image, models, shape=shape, options=options, progress=progress):
        probs[start : start + len(strip)] = strip
    return probs


def predict_strips(
    image: np.ndarray,
    models: Sequence[DenseModel],
    *,
    shape: tuple[int, int],
    options: DenseOptions = DenseOptions(),
    progress: Progress = no_progress,
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the class probabilities from top to bottom, so that those of a large image need not be held at once.

    Parameters
    ----------
    image, models, options, progress
        As for `predict_probs`.
    shape : tuple of int
        Rows and columns of the result.

    Yields
    ------
    start : int
        The first row of a strip.
    probs : numpy.ndarray
        (strip rows, cols, n_classes) float32.
    """
    table = models[0].table
    for model in models:
        _check_fit(image, model, models[0])
    # At the size of the image they take turns, strip by strip, so the first stands for all.
    take_turns = all(options.choose_scale(model) == 1 for model in models)
    first = progress if take_turns or len(models) == 1 else followed_by(progress, UNKNOWN)
    hooks = [first, *[no_progress] * (len(models) - 1)]
    predictions = [_predict_one(image, model, shape, options, hook) for model, hook in zip(models, hooks, strict=True)]
    for strips in zip(*predictions, strict=True):
        start = strips[0][0]
        votes = [order_columns(s, m.table, table) for (_, s), m in zip(strips, models, strict=True)]
        yield start, _average(votes)


def _check_fit(image: np.ndarray, model: DenseModel, first: DenseModel) -> None:
    if image.ndim != 3:
        raise BadInput(f"an image is (rows, cols, bands), not {image.shape}")
    if sorted(model.table.keys) != sorted(first.table.keys):
        raise BadInput(
            f"{model.path.name} has the classes {join_names(model.table.names)}, {first.path.name} has "
            f"{join_names(first.table.names)}; networks that vote together need the same classes"
        )


def _predict_one(
    image: np.ndarray, model: DenseModel, shape: tuple[int, int], options: DenseOptions, progress: Progress
) -> Iterator[tuple[int, np.ndarray]]:
    image, _ = match_bands(image, model.card.architecture.n_bands, model=model.path.name)
    size = find_size(image, model, options)
    fitted, in_windows = resize_image(image, size), options.choose_scale(model) is not None
    # As in training: windows are normalized as the whole photograph is, at its own size.
    measured = model.card.normalization.measure(image if in_windows else fitted)
    strips = predict_windows(fitted, model, measured=measured, options=options, progress=progress)
    if size == shape == image.shape[:2] and in_windows:
        yield from even_strips(strips)
    else:
        yield from enlarge_strips(np.concatenate([strip for _, strip in strips]), shape)


def find_size(image: np.ndarray, model: DenseModel, options: DenseOptions) -> tuple[int, int]:
    """Return the rows and columns at which a network sees an image.

    Raises
    ------
    BadInput
        When its card enlarges the image to more pixels than can be meant.
    """
    scale = options.choose_scale(model)
    if scale is None:
        return model.card.size
    rows, cols = reduce_shape((image.shape[0], image.shape[1]), scale)
    if options.scale is None and scale > 1 and rows * cols > _MOST_ENLARGED:
        raise BadInput(
            f"{card_path(model.path).name} enlarges images {scale:g} times, this one to {rows:,} x {cols:,} pixels; if "
            "that is meant, give --scale"
        )
    return rows, cols


def predict_windows(
    image: np.ndarray,
    model: DenseModel,
    *,
    measured: tuple[np.ndarray, np.ndarray],
    options: DenseOptions = DenseOptions(),
    progress: Progress = no_progress,
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the class probabilities of an image at its own size, strip by strip, from overlapping windows.

    They start at multiples of the stride of the network, so that each sees the same grid as the whole image.

    Parameters
    ----------
    image : numpy.ndarray
        (rows, cols, bands).
    measured : (numpy.ndarray, numpy.ndarray)
        Offset and factor of each band, see `Normalization.measure`.

    Yields
    ------
    start : int
    probs : numpy.ndarray
        (strip rows, cols, n_classes) float32.
    """
    stride = model.card.architecture.stride
    offset, factor = measured
    n_rows, n_cols = image.shape[:2]
    height, row_starts = plan_windows(n_rows, window=options.window, overlap=options.overlap, stride=stride)
    width, col_starts = plan_windows(n_cols, window=options.window, overlap=options.overlap, stride=stride)
    shape = (height, col_starts[-1] + width)
    total = np.zeros((*shape, len(model.table)), np.float32)
    weights = np.zeros((*shape, 1), np.float32)
    n_windows = len(row_starts) * len(col_starts)
    work = Weighted(range(n_windows), height * width * PIXEL_SECONDS)
    steps = iter(progress(work, label="windows") if n_windows > 1 else range(n_windows))

    def cut(row: int, col: int) -> np.ndarray:
        pixels = cut_window(image, row, col, height, width)
        pixels -= offset
        pixels *= factor
        return pixels

    windows = (cut(row, col) for row in row_starts for col in col_starts)
    found = _compute_ahead(partial(_classify, model=model, flips=options.flips), windows)
    for row, next_row in zip(row_starts, [*row_starts[1:], n_rows], strict=True):
        row_weight = _weigh(height, options.overlap, is_first=row == 0, is_last=row == row_starts[-1])
        for col in col_starts:
            next(steps)
            col_weight = _weigh(width, options.overlap, is_first=col == 0, is_last=col == col_starts[-1])
            weight = np.minimum.outer(row_weight, col_weight)[..., None]
            probs = next(found)
            probs *= weight
            total[:, col : col + width] += probs
            weights[:, col : col + width] += weight
        n_done = next_row - row
        yield row, (total[:n_done] / weights[:n_done])[:, :n_cols]
        for sums in (total, weights):
            sums[: height - n_done] = sums[n_done:].copy()
            sums[height - n_done :] = 0
    next(steps, None)


def _compute_ahead(compute: Callable[[np.ndarray], np.ndarray], windows: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield what is computed of each window; while it is used, and the next is read, another thread goes on."""
    with ThreadPoolExecutor(1) as pool:
        current = pool.submit(compute, next(windows))
        for window in windows:
            done, current = current, pool.submit(compute, window)
            yield done.result()
        yield current.result()


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


def even_strips(strips: Iterable[tuple[int, np.ndarray]]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the same rows in strips of one height, whatever the windows: those of several networks are averaged.

    Examples
    --------
    >>> rows = np.zeros((400, 1, 1), np.float32)
    >>> [(start, len(strip)) for start, strip in even_strips([(0, rows[:100]), (100, rows[100:])])]
    [(0, 256), (256, 144)]
    """
    done, left = 0, []
    for _, strip in strips:
        left.append(strip)
        while sum(map(len, left)) >= _STRIP_ROWS:
            rows = left[0] if len(left) == 1 else np.concatenate(left)
            yield done, rows[:_STRIP_ROWS]
            done, left = done + _STRIP_ROWS, [rows[_STRIP_ROWS:]]
    rows = np.concatenate(left)
    if len(rows):
        yield done, rows


def enlarge_strips(probs: np.ndarray, shape: tuple[int, int]) -> Iterator[tuple[int, np.ndarray]]:
    """Resize probabilities bilinearly, strip by strip.

    Parameters
    ----------
    probs : numpy.ndarray
        (rows, cols, n_classes) float32.
    shape : tuple of int
        Rows and columns of the result.

    Yields
    ------
    start : int
    probs : numpy.ndarray
        (strip rows, cols, n_classes) float32.

    Examples
    --------
    >>> [(start, strip)] = enlarge_strips(np.array([[[0.0], [1.0]]], np.float32), (1, 4))
    >>> strip[..., 0].tolist()
    [[0.0, 0.25, 0.75, 1.0]]
    """
    if probs.shape[:2] == shape:
        for start in range(0, shape[0], _STRIP_ROWS):
            yield start, probs[start : start + _STRIP_ROWS]
        return
    left, right, col_share = find_neighbours(probs.shape[1], shape[1])
    upper, lower, row_share = find_neighbours(probs.shape[0], shape[0])
    for start in range(0, shape[0], _STRIP_ROWS):
        rows = slice(start, start + _STRIP_ROWS)
        # No more is widened than a strip needs.
        first = upper[rows][0]
        near = probs[first : lower[rows][-1] + 1]
        wide = near[:, left] + (near[:, right] - near[:, left]) * col_share[:, None]
        above = wide[upper[rows] - first]
        yield start, above + (wide[lower[rows] - first] - above) * row_share[rows, None, None]


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


def cut_window(image: np.ndarray, row: int, col: int, height: int, width: int) -> np.ndarray:
    """Return a window as float32; beyond the border the image is mirrored."""
    window = image[row : row + height, col : col + width].astype(np.float32)
    missing = [(0, height - window.shape[0]), (0, width - window.shape[1]), (0, 0)]
    return np.pad(window, missing, mode="symmetric") if any(n for _, n in missing) else window


def _classify(pixels: np.ndarray, model: DenseModel, *, flips: bool) -> np.ndarray:
    if not flips:
        return model.predict(pixels[None])[0]
    # Mirroring a second time undoes the first.
    axes: list[tuple[int, ...]] = [(), (0,), (1,), (0, 1)]
    views = [np.flip(model.predict(np.flip(pixels, way)[None])[0], way) for way in axes]
    return _average(views)


def _average(votes: list[np.ndarray]) -> np.ndarray:
    return votes[0] if len(votes) == 1 else np.stack(votes).mean(axis=0)
