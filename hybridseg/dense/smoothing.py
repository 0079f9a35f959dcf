"""Smooth the prediction of a dense network: a CRF that follows the edges of the image, then a majority filter."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hybridseg.classes import VOID, labels_to_seeds
from hybridseg.crf.blocks import HALO_DEVIATIONS, Block, cut_side, find_step, plan_blocks
from hybridseg.crf.options import CrfOptions
from hybridseg.crf.refine import refine_labels, refine_probs
from hybridseg.errors import TooLittleMemory
from hybridseg.io.lazyimages import ROOM, LazyImage
from hybridseg.machine import GIB
from hybridseg.majority import filter_majority
from hybridseg.options import Span, check_options, option
from hybridseg.progress import Progress, no_progress
from hybridseg.resample import take_nearest

# Of a pixel beside its probabilities: picture, labels, seeds, and where the nearest known one is.
_PIXEL_BYTES = 32
# Of a band, beside those that are only there for their influence.
_LEAST_ROWS = 32

CRF_SOURCES = ("none", "labels", "probabilities")


@dataclass(frozen=True)
class SmoothingOptions:
    """How a prediction is smoothed.

    The CRF starts from the best class of some pixels, as the classic FCN program does (``labels``), or from the
    probabilities of all.
    """

    crf_from: str = option("none", "What the dense CRF starts from; none leaves it out.", choices=CRF_SOURCES)
    thinning: float = option(
        0.5,
        "Share of the rows, and of the columns, drawn at random, that seed nothing when the CRF starts from labels.",
        span=Span(0, 1, below=True),
    )
    radius: int = option(0, "Radius of the majority filter, in pixels; 0 and 1 leave it out.", span=Span(0, 100))
    seed: int = 0
    crf: CrfOptions = CrfOptions()

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def any(self) -> bool:
        """Whether anything is done at all."""
        return self.crf_from != "none" or self.radius > 1


# As the classic FCN program does after its network.
FCN_SMOOTHING = SmoothingOptions(
    crf_from="labels", radius=3, crf=CrfOptions(theta=60.0, space_theta=5.0, n_iterations=40, tolerance=0.0)
)
# Softer, since probabilities say where the network is unsure; docs/benchmarks.md has what it adds.
PROBS_SMOOTHING = SmoothingOptions(
    crf_from="probabilities", crf=CrfOptions(theta=30.0, color_scale=4.0, space_compat=5.0, color_compat=20.0)
)
# What was best after the U-Net, on validation photos of the coast.
UNET_SMOOTHING = SmoothingOptions(
    crf_from="probabilities",
    crf=CrfOptions(theta=60.0, color_scale=4.0, space_theta=3.0, space_compat=3.0, color_compat=10.0),
)


def find_smoothing(crf_from: str, architecture: str) -> SmoothingOptions:
    """Return the usual settings of a CRF that starts from `crf_from` after a network of some architecture.

    Examples
    --------
    >>> find_smoothing("none", "unet") == SmoothingOptions(), find_smoothing("probabilities", "unet").crf.theta
    (True, 60.0)
    """
    from_probs = UNET_SMOOTHING if architecture == "unet" else PROBS_SMOOTHING
    return {"none": SmoothingOptions(), "labels": FCN_SMOOTHING, "probabilities": from_probs}[crf_from]


def smooth_probs(
    image: np.ndarray,
    probs: np.ndarray,
    *,
    options: SmoothingOptions,
    first: int = 0,
    n_rows: int | None = None,
    progress: Progress = no_progress,
) -> np.ndarray:
    """Turn class probabilities into a class for every pixel.

    Parameters
    ----------
    image : numpy.ndarray
        (rows, cols, 3) uint8, of the same size.
    probs : numpy.ndarray
        (rows, cols, n_classes) float32.
    first, n_rows : int
        The first of these rows, and how many there are, when they are some of a larger image.

    Returns
    -------
    numpy.ndarray
        (rows, cols) uint8 class ids.

    Examples
    --------
    >>> probs = np.zeros((5, 5, 2), np.float32)
    >>> probs[..., 0] = 1
    >>> probs[2, 2] = 0, 1
    >>> smooth_probs(np.zeros((5, 5, 3), np.uint8), probs, options=SmoothingOptions(radius=2)).max()
    np.uint8(0)
    """
    labels = probs.argmax(axis=2).astype(np.uint8)
    place: dict[str, Any] = {"origin": (first, 0), "progress": progress}
    if options.crf_from == "labels":
        seeds = labels_to_seeds(labels)
        seeds = thin_seeds(seeds, share=options.thinning, seed=options.seed, first=first, n_rows=n_rows)
        found = refine_labels(image, seeds, n_classes=probs.shape[2], options=options.crf, **place).labels
        labels = take_nearest(found, found != VOID)
    elif options.crf_from == "probabilities":
        labels = refine_probs(image, probs, options=options.crf, **place).labels
    return filter_majority(labels, radius=options.radius) if options.radius > 1 else labels


def smooth_strips(
    image: LazyImage,
    strips: Iterable[tuple[int, np.ndarray]],
    *,
    n_classes: int,
    options: SmoothingOptions,
    room: int = ROOM,
    progress: Progress = no_progress,
) -> Iterator[tuple[int, np.ndarray]]:
    """Smooth an image that does not fit into memory in bands, each with as many rows around it as have an influence.

    Parameters
    ----------
    image : LazyImage
        (rows, cols, 3) uint8.
    strips : iterable of (int, numpy.ndarray)
        Its class probabilities from top to bottom, (any, cols, n_classes) float32 each.
    room : int
        Bytes that may be taken.

    Yields
    ------
    start : int
    labels : numpy.ndarray
        (rows of the band, cols) uint8.

    Raises
    ------
    BadInput
        When there is room for too few rows.
    """
    n_rows, n_cols = image.shape[:2]
    halo, bands = plan_bands((n_rows, n_cols), n_classes, options=options, room=room)
    options = replace(options, crf=options.crf.fit_room(room))
    outers = [slice(max(start - halo, 0), min(stop + halo, n_rows)) for start, stop in bands]
    known = np.empty((max(outer.stop - outer.start for outer in outers), n_cols, n_classes), np.float32)
    incoming, waiting = iter(strips), np.empty((0, n_cols, n_classes), np.float32)
    top = bottom = 0
    for (start, stop), outer in zip(bands, outers, strict=True):
        # What the band before saw of this one, and then the strips that follow.
        n_kept = bottom - outer.start
        known[:n_kept] = known[outer.start - top : bottom - top]
        top = outer.start
        while bottom < outer.stop:
            waiting = waiting if len(waiting) else next(incoming)[1]
            n_taken = min(len(waiting), outer.stop - bottom)
            known[bottom - top : bottom - top + n_taken] = waiting[:n_taken]
            waiting, bottom = waiting[n_taken:], bottom + n_taken
        probs = known[: bottom - top]
        labels = smooth_probs(image[outer], probs, options=options, first=top, n_rows=n_rows, progress=progress)
        yield start, labels[start - top : stop - top]


def plan_bands(
    shape: tuple[int, int], n_classes: int, *, options: SmoothingOptions, room: int
) -> tuple[int, list[tuple[int, int]]]:
    """Return how many rows around a band have an influence on it, and where the bands of an image begin and end.

    With a CRF they are the rows of its blocks, however much memory there is, unless that is too little.

    Raises
    ------
    BadInput
        When there is room for too few rows.
    """
    n_rows, n_cols = shape
    row_bytes = n_cols * (4 * n_classes + _PIXEL_BYTES)
    has_crf = options.crf_from != "none"
    halo = (math.ceil(HALO_DEVIATIONS * options.crf.reach) if has_crf else 0) + options.radius
    n_fit = room // 2 // row_bytes
    if has_crf:
        whole = Block(0, n_rows, 0, n_cols, halo, shape)
        bands = [(0, n_rows)] if len(plan_blocks(whole)) == 1 else cut_side(n_rows, halo)
        if (n_rows if len(bands) == 1 else find_step(halo) + 2 * halo) <= n_fit:
            return halo, bands
    height = n_rows if n_rows <= n_fit else max(n_fit - 2 * halo, 0)
    if height < min(_LEAST_ROWS, n_rows):
        raise TooLittleMemory(
            f"smoothing takes {2 * row_bytes * (2 * halo + _LEAST_ROWS) / GIB:.1f} GiB for {n_cols} columns, and "
            f"{room / GIB:.1f} are left for it; give more (--max-memory), or leave the CRF out"
        )
    return halo, [(start, min(start + height, n_rows)) for start in range(0, n_rows, height)]


def judge_room(shape: tuple[int, int], n_classes: int, *, options: SmoothingOptions, room: int) -> str:
    """Return a warning where the bands follow from the memory, see `plan_bands`; empty where they do not."""
    bands = [plan_bands(shape, n_classes, options=options, room=each)[1] for each in (room, 1 << 62)]
    if options.crf_from == "none" or bands[0] == bands[1]:
        return ""
    return (
        "memory was short, so the CRF worked in smaller parts than usual; a few pixels in a thousand may differ; to "
        "avoid that, remove the result and give more (--max-memory)"
    )


def thin_seeds(seeds: np.ndarray, *, share: float, seed: int, first: int = 0, n_rows: int | None = None) -> np.ndarray:
    """Remove the seeds of a random share of the rows, and of the columns.

    Parameters
    ----------
    seeds : numpy.ndarray
        (rows, cols) uint8: 0 = unlabelled, class k is k + 1.
    first, n_rows : int
        As for `smooth_probs`.

    Examples
    --------
    >>> int(thin_seeds(np.ones((10, 20), np.uint8), share=0.5, seed=0).sum())
    50
    """
    rng = np.random.default_rng(seed)
    is_kept = [np.ones(side, bool) for side in (n_rows or len(seeds), seeds.shape[1])]
    for kept in is_kept:
        kept[rng.permutation(len(kept))[: int(len(kept) * share)]] = False
    rows, cols = is_kept[0][first : first + len(seeds)], is_kept[1]
    return np.where(rows[:, None] & cols, seeds, np.uint8(0))
