"""Assign a class to every pixel, from seeds or from probabilities: one call, two engines, any size of image."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridseg.classes import VOID
from hybridseg.crf.blocks import Block, plan_blocks
from hybridseg.crf.engines import GIB, Engine, MeanField, NeedsMoreMemory, choose_engine
from hybridseg.crf.options import CrfOptions
from hybridseg.crf.priors import Priors, priors_from_probs, priors_from_seeds
from hybridseg.errors import BadInput, TooLittleMemory
from hybridseg.forecast import Weighted
from hybridseg.markup import count_of
from hybridseg.progress import Progress, no_progress

_MAX_BANDS = 4
# Of a pixel at the size at which the CRF works, see docs/benchmarks.md.
PIXEL_SECONDS = 2e-6


@dataclass(frozen=True, eq=False)
class Refinement:
    """The result of the CRF for an image.

    Parameters
    ----------
    labels : numpy.ndarray
        (rows, cols) uint8 class ids; VOID where no seed reached.
    probs : numpy.ndarray or None
        (rows, cols, classes) float32 that sum to 1; None unless requested.
    n_iterations : int
        Iterations run: the most of any block.
    n_blocks : int
        1 when the image was refined as a whole.
    confidence : numpy.ndarray or None
        (rows, cols) float32: the largest of the probabilities; None unless requested.
    n_planned : int
        The blocks of an image of this size; more are halves, for lack of memory.
    """

    labels: np.ndarray
    probs: np.ndarray | None
    engine: str
    n_iterations: int
    n_blocks: int
    confidence: np.ndarray | None = None
    n_planned: int = 1


def refine_labels(
    image: np.ndarray,
    seeds: np.ndarray,
    *,
    n_classes: int,
    options: CrfOptions = CrfOptions(),
    want_probs: bool = False,
    want_confidence: bool = False,
    origin: tuple[int, int] = (0, 0),
    progress: Progress = no_progress,
) -> Refinement:
    """Spread seeds to every pixel.

    Parameters
    ----------
    image : numpy.ndarray
        (rows, cols) or (rows, cols, bands) with up to 4 bands: uint8; uint16, which is scaled to 0..255; or floats,
        which are taken as levels of 0..255.
    seeds : numpy.ndarray
        (rows, cols) integers: 0 = unlabelled, class k is k + 1.
    origin : (int, int)
        First row and column, when this is a part of a larger image.

    Raises
    ------
    BadInput
        For arrays of different sizes, seeds of other classes or no seed at all, NaN, an empty image, or an option that
        does not fit the image.
    MissingPackage
        When no engine is installed.

    Examples
    --------
    >>> image = np.zeros((20, 30, 3), np.uint8)
    >>> image[:, 15:] = 200
    >>> seeds = np.zeros((20, 30), np.uint8)
    >>> seeds[5, 3], seeds[5, 25] = 1, 2
    >>> refine_labels(image, seeds, n_classes=2, options=CrfOptions(theta=10)).labels[0, ::5].tolist()
    [0, 0, 0, 1, 1, 1]
    """
    image = _prepare_image(image)
    priors = priors_from_seeds(seeds, n_classes=n_classes, gt_prob=options.gt_prob)
    wanted = _Wanted(n_classes, want_probs, want_confidence, origin)
    return _refine(image, priors.crop, priors.shape, wanted, options, progress)


def refine_probs(
    image: np.ndarray,
    probs: Any,
    *,
    options: CrfOptions = CrfOptions(),
    want_probs: bool = False,
    want_confidence: bool = False,
    origin: tuple[int, int] = (0, 0),
    progress: Progress = no_progress,
) -> Refinement:
    """Make probabilities agree with the edges of an image.

    Parameters
    ----------
    image : numpy.ndarray
        As for `refine_labels`.
    probs : numpy.ndarray
        (rows, cols, classes) floats that sum to 1; smaller ones are raised to 1e-5. Or what has such a shape, and
        gives parts of them when it is indexed by two slices.
    options : CrfOptions
        `gt_prob` has no effect here.
    origin : (int, int)
        As for `refine_labels`.

    Raises
    ------
    BadInput, MissingPackage
        As for `refine_labels`.

    Examples
    --------
    >>> image = np.zeros((8, 8, 3), np.uint8)
    >>> probs = np.full((8, 8, 2), 0.5, np.float32)
    >>> probs[2, 2] = 0.2, 0.8
    >>> refine_probs(image, probs).labels.min()
    np.uint8(1)
    """
    image = _prepare_image(image)
    wanted = _Wanted(probs.shape[-1], want_probs, want_confidence, origin)
    return _refine(
        image, lambda rows, cols: priors_from_probs(probs[rows, cols]), probs.shape[:2], wanted, options, progress
    )


def _prepare_image(image: np.ndarray) -> np.ndarray:
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim != 3 or not 1 <= image.shape[2] <= _MAX_BANDS:
        raise BadInput(
            f"the CRF takes images of 1 to {_MAX_BANDS} bands in (rows, cols, bands), not an array of {image.shape}; "
            "choose the bands that tell the classes apart"
        )
    if not image.size:
        raise BadInput(f"the image is empty: {image.shape[0]} x {image.shape[1]} pixels")
    if image.dtype == np.uint8:
        return np.ascontiguousarray(image)
    if image.dtype == np.uint16:
        return np.ascontiguousarray(image, np.float32) / np.float32(257)
    if image.dtype.kind != "f":
        raise BadInput(f"the CRF takes images of uint8, uint16 or floats in 0..255, not {image.dtype}")
    image = np.ascontiguousarray(image, np.float32)
    n_bad = image.size - int(np.isfinite(image).sum())
    if n_bad:
        raise BadInput(
            f"{count_of(n_bad, 'value')} of the image {'is' if n_bad == 1 else 'are'} NaN or infinite; fill them "
            "first, for example with 0"
        )
    if image.min() < 0 or image.max() > 255:
        raise BadInput(
            f"values of the image go from {image.min():g} to {image.max():g}; scale them to 0..255, in which "
            "color_scale counts"
        )
    return image


_MakePriors = Callable[[slice, slice], Priors]


@dataclass(frozen=True)
class _Wanted:
    """What is returned beside the labels, and of which part of a larger image."""

    n_classes: int
    probs: bool
    confidence: bool
    origin: tuple[int, int]


def _refine(
    image: np.ndarray,
    make_priors: _MakePriors,
    shape: tuple[int, int],
    wanted: _Wanted,
    options: CrfOptions,
    progress: Progress,
) -> Refinement:
    sample = make_priors(slice(0, 1), slice(0, 1))
    if image.shape[:2] != shape:
        raise BadInput(
            f"the image has {image.shape[0]} x {image.shape[1]} pixels, its seeds or probabilities "
            f"{shape[0]} x {shape[1]}; give both at the same size"
        )
    name, engine = choose_engine(options.engine)
    labels = np.empty(shape, np.uint8)
    probs = np.empty((*shape, wanted.n_classes), np.float32) if wanted.probs else None
    confidence = np.empty(shape, np.float32) if wanted.confidence else None
    n_iterations = n_blocks = 0
    whole = Block.whole(shape, theta=options.reach)
    planned = [whole] if options.reference_geometry else plan_blocks(whole)
    seconds = [block.n_outer_pixels * PIXEL_SECONDS for block in planned]
    for part in progress(Weighted(planned, seconds), label="spreading classes"):
        for block, field in _run_block(part, image, make_priors, options, wanted, engine):
            inner = block.inner_of_outer
            labels[block.inner] = sample.class_of_lane[field.lanes[inner]]
            if field.probs is not None:
                spread = _spread_lanes(field.probs[inner], sample, wanted.n_classes)
                if probs is not None:
                    probs[block.inner] = spread
                if confidence is not None:
                    confidence[block.inner] = spread.max(axis=2)
            n_iterations, n_blocks = max(n_iterations, field.n_iterations), n_blocks + 1
    return Refinement(labels, probs, name, n_iterations, n_blocks, confidence, len(planned))


def _run_block(
    block: Block, image: np.ndarray, make_priors: _MakePriors, options: CrfOptions, wanted: _Wanted, engine: Engine
) -> Iterator[tuple[Block, MeanField]]:
    """Run the engine on a block; when that takes too much memory, on halves of it."""
    rows, cols = block.outer
    origin = (wanted.origin[0] + rows.start, wanted.origin[1] + cols.start)
    part, want_probs = np.ascontiguousarray(image[rows, cols]), wanted.probs or wanted.confidence
    try:
        yield block, engine(part, make_priors(rows, cols), options=options, origin=origin, want_probs=want_probs)
    except NeedsMoreMemory as error:
        halves = [] if options.reference_geometry else block.split()
        if not halves:
            # A block at a corner has less halo than others of its size.
            n_bytes = error.n_bytes * block.n_inland_pixels / block.n_outer_pixels
            reason = "no blocks with reference_geometry: " if options.reference_geometry else ""
            raise _memory_refusal(options, n_bytes, reason) from error
        for half in halves:
            yield from _run_block(half, image, make_priors, options, wanted, engine)


def _memory_refusal(options: CrfOptions, n_bytes: float, reason: str) -> TooLittleMemory:
    # Rounded up: the number in the message must be enough when it is given.
    needed = math.ceil(n_bytes / GIB * 1000 + 1) / 1000
    return TooLittleMemory(
        f"{reason}the CRF needs {needed:.3f} GiB here, and max_memory={options.max_memory:g} allows less; "
        "give it more (--max-memory), or a smaller scale or theta"
    )


def _spread_lanes(probs: np.ndarray, priors: Priors, n_classes: int) -> np.ndarray:
    """Return the probability of every class from that of its lane; the share of the unseeded extra class is divided."""
    spread = np.empty((*probs.shape[:2], n_classes), np.float32)
    named: Sequence[int] = priors.class_of_lane.tolist()
    if VOID in named:
        spread[:] = probs[..., [0]]
    for lane, class_id in enumerate(named):
        if class_id != VOID:
            spread[..., class_id] = probs[..., lane]
    return spread / spread.sum(axis=2, keepdims=True)
