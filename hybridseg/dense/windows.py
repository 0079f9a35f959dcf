"""Class probabilities of an image of any size: as a whole or in overlapping windows, in bounded memory.

Arrays in, arrays out; `hybridseg.dense.predict` is the same with files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridseg.classes import ClassTable
from hybridseg.dense.pieces import Piece, enlarge_strips, join_pieces
from hybridseg.errors import BadInput, join_names
from hybridseg.forecast import UNKNOWN, Weighted, followed_by
from hybridseg.io.bands import match_bands
from hybridseg.io.images import ImageInfo
from hybridseg.io.lazyimages import LazyImage, as_lazy
from hybridseg.models.bundles import DenseModel, card_path
from hybridseg.models.engines import LiteEngine
from hybridseg.models.ensemble import order_columns
from hybridseg.options import Span, check_options, option
from hybridseg.progress import Progress, no_progress
from hybridseg.resample import reduce_shape

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
    blend: bool = True
    """False: one window takes over from another in the middle of their overlap, however wide that is."""

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
    image: np.ndarray | LazyImage,
    models: Sequence[DenseModel],
    *,
    options: DenseOptions = DenseOptions(),
    progress: Progress = no_progress,
) -> np.ndarray:
    """Return the class probabilities of every pixel, at the size at which the first network sees the image.

    Parameters
    ----------
    image : numpy.ndarray or LazyImage
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
    for piece in predict_pieces(image, models, shape=shape, options=options, progress=progress):
        rows, cols = piece.probs.shape[:2]
        probs[piece.row : piece.row + rows, piece.col : piece.col + cols] = piece.probs
    return probs


def predict_strips(
    image: np.ndarray | LazyImage, models: Sequence[DenseModel], *, shape: tuple[int, int], **settings: Any
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield what `predict_pieces` does in strips of all columns, each after its first row."""
    return join_pieces(predict_pieces(image, models, shape=shape, **settings), shape[1])


def predict_pieces(
    image: np.ndarray | LazyImage,
    models: Sequence[DenseModel],
    *,
    shape: tuple[int, int],
    options: DenseOptions = DenseOptions(),
    progress: Progress = no_progress,
) -> Iterator[Piece]:
    """Yield the class probabilities piece by piece, so that those of a large image need not be held at once.

    Parameters
    ----------
    image, models, options, progress
        As for `predict_probs`.
    shape : tuple of int
        Rows and columns of the result.
    """
    for model in models:
        _check_fit(image, model, models[0])
    whole = as_lazy(image)
    # Those that see the image alike share their windows.
    groups: dict[tuple[tuple[int, int], bool], list[DenseModel]] = {}
    for model in models:
        key = find_size(whole, model, options), options.choose_scale(model) is not None
        groups.setdefault(key, []).append(model)
    hooks = [progress if len(groups) == 1 else followed_by(progress, UNKNOWN), *[no_progress] * (len(groups) - 1)]
    found = [
        _predict_group(whole, members, size, table=models[0].table, in_windows=in_windows, options=options, hook=hook)
        for ((size, in_windows), members), hook in zip(groups.items(), hooks, strict=True)
    ]
    sizes = [size for size, _ in groups]
    if len(found) == 1 and sizes[0] == shape:
        yield from found[0]
        return
    counts = np.array([len(members) for members in groups.values()], np.float32)
    predictions = [
        enlarge_strips(join_pieces(pieces, size[1]), size, shape) for pieces, size in zip(found, sizes, strict=True)
    ]
    for strips in zip(*predictions, strict=True):
        votes = [strip * count for (_, strip), count in zip(strips, counts / counts.sum(), strict=True)]
        yield Piece(strips[0][0], 0, votes[0] if len(votes) == 1 else np.sum(votes, axis=0))


def _check_fit(image: np.ndarray | LazyImage, model: DenseModel, first: DenseModel) -> None:
    if len(image.shape) != 3:
        raise BadInput(f"an image is (rows, cols, bands), not {image.shape}")
    if sorted(model.table.keys) != sorted(first.table.keys):
        raise BadInput(
            f"{model.path.name} has the classes {join_names(model.table.names)}, {first.path.name} has "
            f"{join_names(first.table.names)}; networks that vote together need the same classes"
        )


def _predict_group(
    whole: LazyImage,
    models: Sequence[DenseModel],
    size: tuple[int, int],
    *,
    table: ClassTable,
    in_windows: bool,
    options: DenseOptions,
    hook: Progress,
) -> Iterator[Piece]:
    """Yield the mean prediction of networks that see an image at one size."""
    images, rules = [], []
    for model in models:
        own, _ = match_bands(whole, model.card.architecture.n_bands, model=model.path.name)
        fitted = own.resize(size)
        images.append(fitted)
        # As in training: windows are normalized as the whole photograph is, at its own size.
        rules.append(model.card.normalization.measure(own if in_windows else fitted))

    def classify(views: Sequence[np.ndarray]) -> np.ndarray:
        votes = []
        for pixels, model, (offset, factor) in zip(views, models, rules, strict=True):
            pixels -= offset
            pixels *= factor
            votes.append(order_columns(_classify(pixels, model, flips=options.flips), model.table, table))
        return _average(votes)

    stride = math.lcm(*(model.card.architecture.stride for model in models))
    seconds = PIXEL_SECONDS * len(models)
    return blend_windows(images, classify, stride=stride, options=options, seconds=seconds, progress=hook)


def find_size(image: np.ndarray | LazyImage | ImageInfo, model: DenseModel, options: DenseOptions) -> tuple[int, int]:
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


def count_needed(image: LazyImage | ImageInfo, models: Sequence[DenseModel], options: DenseOptions) -> int:
    """Return about how many bytes networks take for a window of an image, with the arrays around it.

    Of what TensorFlow runs only these arrays are counted.
    """
    stride = math.lcm(*(model.card.architecture.stride for model in models))
    plan = {"window": options.window, "overlap": options.overlap, "stride": stride}
    needed = 0
    for model in models:
        n_pixels = math.prod(plan_windows(side, **plan)[0] for side in find_size(image, model, options))
        # A window, the next one and its copy; the probabilities of two, their sums and those that are done.
        n_numbers = 3 * model.card.architecture.n_bands + 5 * (len(model.table) + 1)
        needed += 4 * n_numbers * n_pixels
        if isinstance(model.engine, LiteEngine):
            needed += model.engine.count_bytes(n_pixels)
    return needed


def count_held(models: Sequence[DenseModel]) -> int:
    """Return about how many of these bytes networks have since their last window."""
    return sum(model.engine.count_bytes() for model in models if isinstance(model.engine, LiteEngine))


def blend_windows(
    images: Sequence[LazyImage],
    classify: Callable[[Sequence[np.ndarray]], np.ndarray],
    *,
    stride: int,
    options: DenseOptions,
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
        Returns the probabilities, (rows, cols, n_classes), of a window of each, (rows, cols, bands) float32.
    seconds : float
        What a pixel takes.
    """
    n_rows, n_cols = images[0].shape[:2]
    plan = {"window": options.window, "overlap": options.overlap, "stride": stride}
    (height, row_starts), (width, col_starts) = (plan_windows(side, **plan) for side in (n_rows, n_cols))
    n_windows = len(row_starts) * len(col_starts)
    work = Weighted(range(n_windows), height * width * seconds)
    steps = iter(progress(work, label="windows") if n_windows > 1 else range(n_windows))
    windows = (
        [cut_window(image, row, col, height, width) for image in images] for row in row_starts for col in col_starts
    )
    found = _compute_ahead(classify, windows)
    weigh = _weigh if options.blend else _weigh_middle
    # Weighted sums of probabilities, and last that of the weights: of what windows above know of these rows.
    above: np.ndarray | None = None
    for row, next_row in zip(row_starts, [*row_starts[1:], n_rows], strict=True):
        row_weight = weigh(height, options.overlap, is_first=row == 0, is_last=row == row_starts[-1])
        n_done, beside = next_row - row, None
        for col, next_col in zip(col_starts, [*col_starts[1:], n_cols], strict=True):
            next(steps)
            col_weight = weigh(width, options.overlap, is_first=col == 0, is_last=col == col_starts[-1])
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
            done, below = sums[:n_done, : next_col - col], sums[n_done:, : next_col - col]
            yield Piece(row, col, done[..., :-1] / done[..., -1:])
            above[: len(below), col:next_col], above[len(below) :, col:next_col] = below[: len(above)], 0
    next(steps, None)


def _compute_ahead(
    compute: Callable[[Sequence[np.ndarray]], np.ndarray], windows: Iterator[Sequence[np.ndarray]]
) -> Iterator[np.ndarray]:
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
