"""What is done to the answer of a dense network: a CRF that follows the edges of the image, then a majority filter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybridseg.classes import VOID, labels_to_seeds
from hybridseg.crf.options import CrfOptions
from hybridseg.crf.refine import refine_labels, refine_probs
from hybridseg.errors import BadInput
from hybridseg.majority import filter_majority
from hybridseg.progress import Progress, no_progress
from hybridseg.resample import take_nearest

CRF_SOURCES = ("none", "labels", "probabilities")


@dataclass(frozen=True)
class SmoothingOptions:
    """How an answer is smoothed.

    Parameters
    ----------
    crf_from : {"none", "labels", "probabilities"}
        No CRF; one that begins from the best class of some pixels, as the classic FCN program does; or one that
        begins from the probabilities of all.
    thinning : float
        Share of the rows, and of the columns, that seed nothing, of ``labels``; which ones is drawn.
    radius : int
        Of the disk of the majority filter, in pixels; 0 or 1 leaves it out.
    seed : int
    crf : CrfOptions

    Raises
    ------
    BadInput
        For a value out of range.
    """

    crf_from: str = "none"
    thinning: float = 0.5
    radius: int = 0
    seed: int = 0
    crf: CrfOptions = CrfOptions()

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if self.crf_from not in CRF_SOURCES:
            raise BadInput(f"crf_from={self.crf_from!r}: choose one of {', '.join(CRF_SOURCES)}")
        if not 0 <= self.thinning < 1:
            raise BadInput(f"thinning={self.thinning} is a share of the rows and columns, from 0 to below 1")
        if not 0 <= self.radius <= 100:
            raise BadInput(f"radius={self.radius} of the majority filter: give 0 to 100 pixels")

    @property
    def any(self) -> bool:
        """Tell whether anything is done at all."""
        return self.crf_from != "none" or self.radius > 1


# What the classic FCN program does after its network.
FCN_SMOOTHING = SmoothingOptions(
    crf_from="labels", radius=3, crf=CrfOptions(theta=60.0, space_theta=5.0, n_iterations=40, tolerance=0.0)
)
# Softer, since probabilities know where they are unsure; docs/benchmarks.md says what it adds.
PROBS_SMOOTHING = SmoothingOptions(
    crf_from="probabilities", crf=CrfOptions(theta=30.0, color_scale=4.0, space_compat=5.0, color_compat=20.0)
)


def smooth_probs(
    image: np.ndarray, probs: np.ndarray, *, options: SmoothingOptions, progress: Progress = no_progress
) -> np.ndarray:
    """Turn class probabilities into a class for every pixel.

    Parameters
    ----------
    image : numpy.ndarray
        (rows, cols, 3) uint8, of the same size.
    probs : numpy.ndarray
        (rows, cols, n_classes) float32.
    options : SmoothingOptions
    progress : Progress

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
    if options.crf_from == "labels":
        seeds = thin_seeds(labels_to_seeds(labels), share=options.thinning, seed=options.seed)
        found = refine_labels(image, seeds, n_classes=probs.shape[2], options=options.crf, progress=progress).labels
        labels = take_nearest(found, found != VOID)
    elif options.crf_from == "probabilities":
        labels = refine_probs(image, probs, options=options.crf, progress=progress).labels
    return filter_majority(labels, radius=options.radius) if options.radius > 1 else labels


def thin_seeds(seeds: np.ndarray, *, share: float, seed: int) -> np.ndarray:
    """Take the seeds of a random share of the rows, and of the columns, away.

    Parameters
    ----------
    seeds : numpy.ndarray
        (rows, cols) uint8: 0 = unlabelled, class k is k + 1.
    share : float
    seed : int

    Returns
    -------
    numpy.ndarray
        (rows, cols) uint8.

    Examples
    --------
    >>> int(thin_seeds(np.ones((10, 20), np.uint8), share=0.5, seed=0).sum())
    50
    """
    rng = np.random.default_rng(seed)
    thinned = seeds.copy()
    for axis, side in enumerate(seeds.shape):
        gone = rng.permutation(side)[: int(side * share)]
        thinned[(slice(None),) * axis + (gone,)] = 0
    return thinned
