"""Class probabilities of an image of any size: as a whole or in overlapping windows, in bounded memory.

Arrays in, arrays out; `hybridseg.dense.predict` is the same with files.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from hybridseg.batch.parts import Here, Work
from hybridseg.classes import ClassTable
from hybridseg.dense.blending import PIXEL_SECONDS, WindowPlan, blend_windows
from hybridseg.dense.pieces import Piece, enlarge_strips, join_pieces
from hybridseg.errors import BadInput, join_names
from hybridseg.forecast import UNKNOWN, followed_by
from hybridseg.io.bands import match_bands
from hybridseg.io.images import ImageInfo
from hybridseg.io.lazyimages import LazyImage, as_lazy
from hybridseg.models.bundles import DenseModel, card_path
from hybridseg.models.engines import LiteEngine
from hybridseg.models.ensemble import find_differences, order_columns
from hybridseg.options import Span, check_options, option
from hybridseg.progress import Progress, no_progress
from hybridseg.resample import reduce_shape

# Pixels to which a card may enlarge an image by itself.
_MOST_ENLARGED = 100_000_000


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
    shape = find_size(image.shape, models[0], options)
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
    work: Work | None = None,
    n_done: int = 0,
    with_differences: bool = False,
    progress: Progress = no_progress,
) -> Iterator[Piece]:
    """Yield the class probabilities piece by piece, so that those of a large image need not be held at once.

    Parameters
    ----------
    image, models, options, progress
        As for `predict_probs`.
    shape : tuple of int
        Rows and columns of the result.
    work : Work or None
        What computes the windows, where `plan_image` finds a plan; None: this process.
    n_done : int
        Leave out the pieces of the first rows of windows of such a plan, if it is of this shape.
    with_differences : bool
        Add a layer to the probabilities: how far the networks differ, see `find_differences`.
    """
    for model in models:
        _check_fit(image, model, models[0])
    whole = as_lazy(image)
    sights = [(find_size(whole.shape, model, options), options.choose_scale(model) is not None) for model in models]
    # Where all see the image alike, they share its windows.
    groups = [list(models)] if len(set(sights)) == 1 else [[model] for model in models]
    hooks = [progress if len(groups) == 1 else followed_by(progress, UNKNOWN), *[no_progress] * (len(groups) - 1)]
    found = [
        _predict_group(
            whole,
            members,
            size,
            table=models[0].table,
            in_windows=in_windows,
            options=options,
            hook=hook,
            work=work if work and len(groups) == 1 else Here(members),
            n_done=n_done,
            with_differences=with_differences and len(groups) == 1,
        )
        for members, (size, in_windows), hook in zip(groups, sights, hooks, strict=False)
    ]
    if len(found) == 1 and sights[0][0] == shape:
        yield from found[0]
        return
    predictions = [
        enlarge_strips(join_pieces(pieces, size[1]), size, shape)
        for pieces, (size, _) in zip(found, sights, strict=False)
    ]
    for strips in zip(*predictions, strict=True):
        votes = [strip for _, strip in strips]
        yield Piece(strips[0][0], 0, votes[0] if len(votes) == 1 else _join_votes(votes, with_differences))


def _join_votes(votes: list[np.ndarray], with_differences: bool) -> np.ndarray:
    """Return the mean prediction of some networks, and in a last layer, where that is wanted, how far they differ."""
    mean = _average(votes)
    if not with_differences:
        return mean
    classes = [probs.argmax(axis=2).astype(np.uint8) for probs in votes]
    return np.concatenate([mean, find_differences(classes)[..., None]], axis=2)


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
    work: Work,
    n_done: int,
    with_differences: bool,
) -> Iterator[Piece]:
    """Yield the mean prediction of networks that see an image at one size."""
    images, rules = [], []
    for model in models:
        own, _ = match_bands(whole, model.card.architecture.n_bands, model=model.path.name)
        fitted = own.resize(size)
        images.append(fitted)
        # As in training: windows are normalized as the whole photograph is, at its own size.
        rules.append(model.card.normalization.measure(own if in_windows else fitted))
    classify = partial(classify_views, rules=rules, table=table, flips=options.flips, with_differences=with_differences)
    plan = _plan_windows(size, models, options)
    seconds = PIXEL_SECONDS * len(models)
    return blend_windows(images, classify, plan=plan, work=work, n_done=n_done, seconds=seconds, progress=hook)


def classify_views(
    models: Sequence[DenseModel],
    views: Sequence[np.ndarray],
    *,
    rules: Sequence[tuple[np.ndarray, np.ndarray]],
    table: ClassTable,
    flips: bool,
    with_differences: bool = False,
) -> np.ndarray:
    """Return the mean prediction of a window, which each network sees in its own way, see `_join_votes`."""
    votes = []
    for view, model, (offset, factor) in zip(views, models, rules, strict=True):
        pixels = view.astype(np.float32)
        pixels -= offset
        pixels *= factor
        votes.append(order_columns(_classify(pixels, model, flips=flips), model.table, table))
    return _join_votes(votes, with_differences)


def _plan_windows(size: tuple[int, int], models: Sequence[DenseModel], options: DenseOptions) -> WindowPlan:
    """Return the windows in which networks see an image of this size.

    They start at multiples of the stride of the networks, so that these see the same grid as in the whole image.
    """
    stride = math.lcm(*(model.card.architecture.stride for model in models))
    return WindowPlan.of(size, window=options.window, overlap=options.overlap, stride=stride, blend=options.blend)


def plan_image(shape: Sequence[int], models: Sequence[DenseModel], options: DenseOptions) -> WindowPlan | None:
    """Return the windows of an image; None for networks that do not see it alike."""
    sights = {(find_size(shape, model, options), options.choose_scale(model) is None) for model in models}
    return _plan_windows(sights.pop()[0], models, options) if len(sights) == 1 else None


def find_size(shape: Sequence[int], model: DenseModel, options: DenseOptions) -> tuple[int, int]:
    """Return the rows and columns at which a network sees an image, which begins with its own in `shape`.

    Raises
    ------
    BadInput
        When its card enlarges the image to more pixels than can be meant.
    """
    scale = options.choose_scale(model)
    if scale is None:
        return model.card.size
    rows, cols = reduce_shape((shape[0], shape[1]), scale)
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
    needed = 0
    for model in models:
        plan = _plan_windows(find_size(image.shape, model, options), models, options)
        n_pixels = plan.height * plan.width
        # A window, the next one and its copy; the probabilities of two, their sums and those that are done.
        n_layers = len(model.table) + (len(models) > 1)
        n_numbers = 3 * model.card.architecture.n_bands + 5 * (n_layers + 1)
        needed += 4 * n_numbers * n_pixels
        if isinstance(model.engine, LiteEngine):
            needed += model.engine.count_bytes(n_pixels)
    return needed


def count_held(models: Sequence[DenseModel]) -> int:
    """Return about how many of these bytes networks have since their last window."""
    return sum(model.engine.count_bytes() for model in models if isinstance(model.engine, LiteEngine))


def _classify(pixels: np.ndarray, model: DenseModel, *, flips: bool) -> np.ndarray:
    if not flips:
        return model.predict(pixels[None])[0]
    # Mirroring a second time undoes the first.
    axes: list[tuple[int, ...]] = [(), (0,), (1,), (0, 1)]
    views = [np.flip(model.predict(np.flip(pixels, way)[None])[0], way) for way in axes]
    return _average(views)


def _average(votes: list[np.ndarray]) -> np.ndarray:
    return votes[0] if len(votes) == 1 else np.stack(votes).mean(axis=0)
