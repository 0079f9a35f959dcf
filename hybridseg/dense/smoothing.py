"""Smooth the prediction of a dense network: a CRF that follows the edges of the image, then a majority filter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybridseg.classes import VOID, labels_to_seeds
from hybridseg.crf.options import CrfOptions
from hybridseg.crf.refine import refine_labels, refine_probs
from hybridseg.majority import filter_majority
from hybridseg.options import Span, check_options, option
from hybridseg.progress import Progress, no_progress
from hybridseg.resample import take_nearest

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
    image: np.ndarray, probs: np.ndarray, *, options: SmoothingOptions, progress: Progress = no_progress
) -> np.ndarray:
    """Turn class probabilities into a class for every pixel.

    Parameters
    ----------
    image : numpy.ndarray
        (rows, cols, 3) uint8, of the same size.
    probs : numpy.ndarray
        (rows, cols, n_classes) float32.

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
    """Remove the seeds of a random share of the rows, and of the columns.

    Parameters
    ----------
    seeds : numpy.ndarray
        (rows, cols) uint8: 0 = unlabelled, class k is k + 1.

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
