"""The hybrid of Buscombe and Ritchie (2018) on one image: some tiles are classified and seed a dense CRF.

Arrays in, arrays out; `hybridseg.hybrid.semseg` is the same with files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hybridseg.batch.parts import Work
from hybridseg.classes import VOID
from hybridseg.crf.guard import find_lost_classes
from hybridseg.crf.options import CrfOptions
from hybridseg.crf.refine import PIXEL_SECONDS, Refinement, refine_labels, refine_probs
from hybridseg.errors import BadInput, NoPicture, TooLittleMemory
from hybridseg.forecast import followed_by
from hybridseg.hybrid.segmented import Segmentation, leave_void
from hybridseg.hybrid.tiles import PATTERNS, TileGrid, choose_pattern, leave_out_empty, plan_tiles
from hybridseg.hybrid.votes import TILE_SECONDS, SpreadCells, TileVotes, average_votes, classify_tiles, merge_votes
from hybridseg.io.lazyimages import ROOM, LazyImage, as_lazy
from hybridseg.machine import GIB
from hybridseg.markup import count_of
from hybridseg.models.ensemble import AnyClassifier, list_members, order_columns
from hybridseg.options import Span, check_options, option
from hybridseg.progress import Progress, StopWatch, no_progress
from hybridseg.resample import fit_scale, reduce_shape, shrink_image, take_nearest

SEED_SOURCES = ("labels", "probabilities")

# Chosen on held-out photos of the Outer Banks and mosaics of them (docs/benchmarks.md).
# Picture, labels, seeds, confidence and priors of a pixel at the size of the CRF, beside what that takes for a block.
_PIXEL_BYTES = 12

_USUAL_SCALE, _MOST_CRF_PIXELS, _MOST_TILES = 0.5, 2_000_000, 5000


@dataclass(frozen=True)
class HybridOptions:
    """How an image is segmented; the defaults are the best settings for a model that was not tuned.

    What is None follows from the size of the image. The scale is 0.5, but more where that would leave fewer than
    250,000 pixels, and less where it would leave more than 2 million; the widths of the kernels in `crf` are then those
    at a scale of 0.5, and change with it. Tiles overlap by half, but less where that would make more than 5,000. They
    are picked row by row, unless that would leave more than half of the columns without any.

    Classifiers of other tile sizes that vote along keep the same overlap as the first one. `class_weights` multiply
    the probabilities of the tiles, a weight for each class; `tune-crf` finds them.
    """

    threshold: float = option(
        0.5,
        "Lowest probability at which a tile is a seed of its class; with soft seeds it only decides which are drawn.",
        span=Span(0, 1),
    )
    decimation: int = option(1, "Classify every Nth tile.", span=Span(1))
    scale: float | None = option(
        None, "Size of the image on which the CRF works, as a share of its own.", span=Span(0, 1, above=True)
    )
    stride: int | None = option(None, "Pixels from one tile to the next.", span=Span(1))
    pattern: str | None = option(
        None, "How the tiles are picked: row by row, or spread evenly over the image.", choices=PATTERNS
    )
    seed_from: str = option(
        "probabilities",
        "Seed the CRF with the class of each tile, or with the probabilities of all classes (without a threshold).",
        choices=SEED_SOURCES,
    )
    class_weights: tuple[float, ...] = ()
    crf: CrfOptions = CrfOptions(theta=30.0, color_scale=4.0, space_compat=5.0, color_compat=50.0)

    def __post_init__(self) -> None:
        check_options(self)
        if not all(0 < weight < float("inf") for weight in self.class_weights):
            raise BadInput(f"class_weights={self.class_weights}: give numbers above 0")

    def fit(self, shape: tuple[int, int], tile_size: int) -> HybridOptions:
        """Return the options for an image of these rows and columns, nothing of which is left to its size.

        Examples
        --------
        >>> fitted = HybridOptions(decimation=8).fit((614, 768), 96)
        >>> round(fitted.scale, 3), round(fitted.crf.theta, 1), fitted.stride, fitted.pattern
        (0.728, 43.7, 48, 'raster')
        """
        scale, stride = self.scale_for(shape, tile_size), self.stride_for(shape, tile_size)
        crf = self.crf if self.scale else self.crf.widen(scale / _USUAL_SCALE)
        return replace(self, scale=scale, stride=stride, pattern=self.pattern_for(shape, tile_size), crf=crf)

    def scale_for(self, shape: tuple[int, int], tile_size: int) -> float:
        """Return the scale for an image of these rows and columns."""
        usual = fit_scale(shape, _USUAL_SCALE, n_most=_MOST_CRF_PIXELS)
        # No tile becomes smaller than a pixel.
        return self.scale or max(usual, 1 / tile_size)

    def stride_for(self, shape: tuple[int, int], tile_size: int) -> int:
        """Return the pixels from one tile to the next for an image of these rows and columns."""
        least = math.ceil(math.sqrt(shape[0] * shape[1] / _MOST_TILES))
        return self.stride or min(max(tile_size // 2, least, 1), tile_size)

    def pattern_for(self, shape: tuple[int, int], tile_size: int) -> str:
        """Return the way in which tiles are picked of an image of these rows and columns."""
        stride = self.stride_for(shape, tile_size)
        return self.pattern or choose_pattern(shape, tile_size=tile_size, stride=stride, decimation=self.decimation)


def classic_options(tile_size: int) -> HybridOptions:
    """Return the settings and constants of Buscombe and Ritchie (2018): tiles side by side, every eighth of them."""
    return HybridOptions(decimation=8, scale=0.25, stride=tile_size, seed_from="labels", crf=CrfOptions())


def segment_image(
    image: np.ndarray | LazyImage,
    classifier: AnyClassifier,
    *,
    options: HybridOptions = HybridOptions(),
    valid: np.ndarray | None = None,
    want_confidence: bool = False,
    room: int = ROOM,
    work: Work | None = None,
    progress: Progress = no_progress,
) -> Segmentation:
    """Compute the class of every pixel of an image; of one without any picture all are VOID.

    Parameters
    ----------
    image : numpy.ndarray or LazyImage
        (rows, cols, 3) uint8.
    valid : numpy.ndarray or None
        (rows, cols) bool: the pixels of an array that hold a picture. The others stay VOID, and tiles that are mostly
        others are not classified.
    room : int
        Bytes that may be taken.
    work : Work or None
        What classifies the tiles; None: this process.

    Raises
    ------
    BadInput
        When no tile reaches the threshold, or an option does not fit the image or the memory.
    MissingPackage
        When there is no CRF engine.
    """
    image = as_lazy(image, valid)
    shape = image.shape[:2]
    options = options.fit(shape, classifier.tile_size)
    scale = options.scale_for(shape, classifier.tile_size)
    if scale * classifier.tile_size < 1:
        raise BadInput(
            f"scale={scale:g} makes a tile of {classifier.tile_size} pixels smaller than one pixel; give at "
            f"least {1 / classifier.tile_size:.3f}"
        )
    n_pixels = math.prod(reduce_shape(shape, scale))
    if n_pixels * _PIXEL_BYTES > room // 2:
        raise TooLittleMemory(
            f"the CRF works on {n_pixels / 1e6:,.0f} megapixels at scale={scale:g}, which takes "
            f"{2 * n_pixels * _PIXEL_BYTES / GIB:.1f} GiB, and {room / GIB:.1f} are left for it; give a smaller scale, "
            "or more memory (--max-memory)"
        )
    watch = StopWatch()
    try:
        votes, n_tiles = vote_on_tiles(
            image, classifier, options=options, work=work, progress=followed_by(progress, n_pixels * PIXEL_SECONDS)
        )
    except NoPicture:
        return leave_void(image, options, reduce_shape(shape, scale), len(classifier.table), want_confidence)
    watch.lap("classify tiles")
    small = image.shrink(reduce_shape(shape, scale))
    watch.lap("reduce image")
    limited = replace(options, crf=options.crf.fit_room(room))
    refinement, cell_seeds = refine_votes(
        small, votes, options=limited, want_confidence=want_confidence, progress=progress
    )
    watch.lap("spread by CRF")
    known = refinement.labels != VOID
    if not known.any():
        raise BadInput("the CRF labelled no pixel; trust the seeds more: a larger gt_prob (semseg --prob)")
    small_labels = take_nearest(refinement.labels, known)
    lost = find_lost_classes(votes.spread(cell_seeds, reduce_shape(shape, scale)), small_labels)
    result = Segmentation(
        options, image, small, votes, cell_seeds, small_labels, n_tiles, 1 - float(known.mean()), lost, refinement,
        watch.seconds,
    )  # fmt: skip
    watch.lap("fill")
    return result


def vote_on_tiles(
    image: np.ndarray | LazyImage,
    classifier: AnyClassifier,
    *,
    options: HybridOptions,
    valid: np.ndarray | None = None,
    work: Work | None = None,
    progress: Progress = no_progress,
) -> tuple[TileVotes, int]:
    """Classify tiles of an image.

    Parameters
    ----------
    work : Work or None
        What classifies them; None: this process.

    Returns
    -------
    votes : TileVotes
        Of all classifiers together.
    n_tiles : int
        Number of classified tiles.
    """
    image = as_lazy(image, valid)
    grids, votes = [], []
    for grid in plan_votes(image.shape[:2], classifier, options):
        grids.append(leave_out_empty(grid, image))
    n_tiles = n_ahead = sum(len(grid.chosen) for grid in grids)
    for i, (member, grid) in enumerate(zip(list_members(classifier), grids, strict=True)):
        n_ahead -= len(grid.chosen)
        hook = followed_by(progress, n_ahead * TILE_SECONDS)
        probs = classify_tiles(image, classifier, grid, member=i, work=work, progress=hook)
        votes.append(average_votes(grid, order_columns(probs, member.table, classifier.table)))
    return merge_votes(votes), n_tiles


def plan_votes(shape: tuple[int, int], classifier: AnyClassifier, options: HybridOptions) -> list[TileGrid]:
    """Return the tiles of an image of these rows and columns for each classifier."""
    stride, pattern = options.stride_for(shape, classifier.tile_size), options.pattern_for(shape, classifier.tile_size)
    return [
        plan_tiles(
            shape,
            tile_size=member.tile_size,
            stride=max(1, round(stride * member.tile_size / classifier.tile_size)),
            decimation=options.decimation,
            pattern=pattern,
        )
        for member in list_members(classifier)
    ]


def reduce_image(image: np.ndarray, scale: float) -> np.ndarray:
    """Return the image at the size at which the CRF works."""
    return shrink_image(image, *reduce_shape((image.shape[0], image.shape[1]), scale))


def refine_votes(
    small_image: np.ndarray,
    votes: TileVotes,
    *,
    options: HybridOptions,
    want_confidence: bool = False,
    progress: Progress = no_progress,
) -> tuple[Refinement, np.ndarray]:
    """Run the CRF from the votes of the tiles.

    Parameters
    ----------
    small_image : numpy.ndarray
        (rows, cols, 3) uint8, from `reduce_image`.
    votes : TileVotes
        Of the image at its full size.

    Returns
    -------
    refinement : Refinement
        Of the size of `small_image`.
    cell_seeds : numpy.ndarray
        (n_cell_rows, n_cell_cols) uint8, from `TileVotes.find_seeds`.
    """
    shape = (small_image.shape[0], small_image.shape[1])
    if options.class_weights:
        if len(options.class_weights) != votes.probs.shape[2]:
            raise BadInput(
                f"{count_of(len(options.class_weights), 'class weight')} for "
                f"{count_of(votes.probs.shape[2], 'class')}; give one for each"
            )
        votes = votes.reweigh(options.class_weights)
    cell_seeds = votes.find_seeds(options.threshold)
    wanted: dict[str, Any] = {"want_confidence": want_confidence, "progress": progress}
    if options.seed_from == "probabilities":
        probs = SpreadCells(votes, votes.fill_probs(), shape)
        return refine_probs(small_image, probs, options=options.crf, **wanted), cell_seeds
    if not cell_seeds.any():
        raise BadInput(
            f"no tile reaches the threshold: the highest probability is {votes.probs.max():.2f}, and the threshold is "
            f"{options.threshold:g}; lower it"
        )
    seeds = votes.spread(cell_seeds, shape)
    n_classes = votes.probs.shape[2]
    if options.crf.gt_prob <= 1 / (n_classes + 1):
        raise BadInput(
            f"gt_prob={options.crf.gt_prob:g} (semseg --prob) gives a seed of {n_classes} classes no weight; give more "
            f"than {1 / (n_classes + 1):.3f}"
        )
    return refine_labels(small_image, seeds, n_classes=n_classes, options=options.crf, **wanted), cell_seeds
