"""Spread seeds to every pixel of an image in memory: a classifier that they train, and a dense CRF."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hybridseg.classes import VOID, seeds_to_labels
from hybridseg.crf.options import CrfOptions
from hybridseg.crf.refine import refine_labels, refine_probs
from hybridseg.errors import BadInput
from hybridseg.learning.classify import LearnedProbs, Samples, learn_probs
from hybridseg.learning.correction import CorrectedProbs, Suggested, guess_some
from hybridseg.learning.experience import Lessons
from hybridseg.learning.features import DEEP, FEATURES, NONE
from hybridseg.majority import remove_specks
from hybridseg.options import Span, check_options, option
from hybridseg.progress import Progress, no_progress
from hybridseg.resample import fit_scale, resize_nearest, take_nearest

# The classic scale, made for photos of 36 megapixels (docs/benchmarks.md).
_USUAL_SCALE = 0.2
SPREAD_CRF = CrfOptions(color_scale=5.0, gt_prob=0.9)
# A classifier knows what is far away already: the CRF finds the borders, and blocks need little overlap.
LEARNED_CRF = replace(SPREAD_CRF, theta=30.0, color_compat=30.0, max_memory=0.5)
# Of the nearness kernel of smooth borders: how far it reaches, in pixels of the reduced image, and its weight beside
# that of colour, before the first step; and by what each step changes them
# (docs/decisions/021-pixel-classifier.md).
_SMOOTH_THETA, _THETA_STEP = 2.0, 0.5
_SMOOTH_WEIGHT, _WEIGHT_STEP = 0.3, 1.5


@dataclass(frozen=True)
class SpreadOptions:
    """How scribbles are spread over an image.

    Without a `scale` it is 0.2, and more where that would leave fewer than 250,000 pixels. Without a `crf` it is
    `SPREAD_CRF`, or `LEARNED_CRF` where a classifier comes before it.
    """

    scale: float | None = option(
        None, "Size at which the CRF works, as a share of the image's own.", span=Span(0, 1, above=True)
    )
    crf: CrfOptions | None = None
    features: str = option(
        DEEP,
        "What a classifier trained on the scribbles knows of each pixel before the CRF: colour and texture, or the "
        "activations of the built-in network; none leaves it out.",
        choices=FEATURES,
    )
    others: float = option(
        0.1,
        "Weight of the scribbles on other images of the session that were labelled before, relative to 1 for those on "
        "the image itself, where each class has a single stroke; the more they have, the less it is, and nothing from "
        "two on average. Give 0 to learn each image by itself.",
        span=Span(0, 100),
    )
    smoothness: int = option(
        0,
        "How smooth borders are, from 0 (the constants of the CRF as they are) to 6: each step raises the weight of "
        "nearness within a few pixels by half, relative to that of colour.",
        span=Span(0, 6),
    )
    specks: int = option(0, "Areas of fewer pixels take the class around them.", span=Span(0, 1_000_000))

    def __post_init__(self) -> None:
        check_options(self)

    def scale_for(self, shape: tuple[int, int]) -> float:
        """Return the scale for an image of these rows and columns.

        Examples
        --------
        >>> SpreadOptions().scale_for((4912, 7360)), SpreadOptions().scale_for((500, 500))
        (0.2, 1.0)
        >>> SpreadOptions(scale=0.3).scale_for((500, 500))
        0.3
        """
        return self.scale or fit_scale(shape, _USUAL_SCALE)

    @property
    def plain_constants(self) -> CrfOptions:
        """The constants of the CRF before `smoothness`."""
        return self.crf or (SPREAD_CRF if self.features == NONE else LEARNED_CRF)

    @property
    def constants(self) -> CrfOptions:
        """The constants of the CRF."""
        crf = self.plain_constants
        if not self.smoothness:
            return crf
        near_theta = min(_SMOOTH_THETA + _THETA_STEP * self.smoothness, crf.near_theta)
        weight = crf.color_compat * _SMOOTH_WEIGHT * _WEIGHT_STEP**self.smoothness
        return replace(crf, space_theta=near_theta, space_compat=max(weight, crf.space_compat))


def spread_seeds(
    image: np.ndarray,
    seeds: np.ndarray,
    *,
    n_classes: int,
    options: CrfOptions = SPREAD_CRF,
    features: str = NONE,
    specks: float = 0.0,
    lessons: Lessons | None = None,
    suggested: Suggested | None = None,
    elsewhere: Sequence[Samples] = (),
    progress: Progress = no_progress,
) -> np.ndarray:
    """Compute the class of every pixel from seeds on some.

    Parameters
    ----------
    image : numpy.ndarray
        (any, any, bands) uint8: the image at the size at which the CRF works, not larger than the seeds. It sees the
        first three bands, a classifier all.
    seeds : numpy.ndarray
        (rows, cols) uint8.
    features : {"none", "color", "deep"}
        Of the classifier from whose probabilities the CRF starts; with none it starts from the seeds alone.
    specks : float
        Areas of fewer pixels than this, in those of the seeds, take the class around them.
    lessons : Lessons or None
        What other images have taught the classifier.
    suggested : Suggested or None
        What a model says of the image, of all classes: the seeds may then be none, and correct it.
    elsewhere : sequence of Samples
        Of the seeds on other parts of a larger image, from which a classifier learns, too.

    Returns
    -------
    numpy.ndarray
        (rows, cols) uint8 class ids. Seeded pixels keep their class.

    Examples
    --------
    >>> image = np.zeros((20, 30, 3), np.uint8)
    >>> image[:, 15:] = 200
    >>> seeds = np.zeros((20, 30), np.uint8)
    >>> seeds[5, 3], seeds[5, 25] = 1, 2
    >>> spread_seeds(image, seeds, n_classes=2, options=CrfOptions(theta=10))[0, ::5].tolist()
    [0, 0, 0, 1, 1, 1]
    """
    small_seeds, picture = reduce_seeds(seeds, (image.shape[0], image.shape[1])), image[..., :3]
    learned = None
    if features != NONE and len(list_seeded(small_seeds, elsewhere)) > (suggested is None):
        guesses = guess_some(suggested) if suggested is not None else None
        learned = learn_probs(
            image, small_seeds, kind=features, gt_prob=options.gt_prob, lessons=lessons, guesses=guesses,
            elsewhere=elsewhere,
        )  # fmt: skip
    probs: LearnedProbs | CorrectedProbs | None = learned
    if suggested is not None:
        probs = CorrectedProbs.of(suggested, learned, small_seeds, gt_prob=options.gt_prob)
    if probs is not None:
        found = probs.class_ids[refine_probs(picture, probs, options=options, progress=progress).labels]
    else:
        found = refine_labels(picture, small_seeds, n_classes=n_classes, options=options, progress=progress).labels
    known = found != VOID
    if not known.any():
        raise BadInput("the CRF gave no pixel a class; trust the scribbles more (--gt-prob)")
    found = remove_specks(take_nearest(found, known), specks * found.size / seeds.size)
    return paint_over(resize_nearest(found, (seeds.shape[0], seeds.shape[1])), seeds)


def list_seeded(seeds: np.ndarray, elsewhere: Sequence[Samples]) -> np.ndarray:
    """Return the class ids of seeds, (rows, cols) uint8, and of those elsewhere: each once."""
    return np.unique(np.concatenate([seeds[seeds > 0] - np.uint8(1), *(other.ids for other in elsewhere)]))


def reduce_seeds(seeds: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Reduce seeds, (rows, cols) uint8, to a shape: each pixel gets its most frequent class, so no thin line is lost.

    Examples
    --------
    >>> reduce_seeds(np.array([[0, 0, 3, 3], [0, 1, 3, 2]], np.uint8), (1, 2)).tolist()
    [[1, 3]]
    """
    rows, cols = np.nonzero(seeds)
    cells = (rows * shape[0] // seeds.shape[0]) * shape[1] + cols * shape[1] // seeds.shape[1]
    pairs, counts = np.unique(cells * 256 + seeds[rows, cols], return_counts=True)
    # The last one written to a cell stays: among equal counts the lowest id.
    order = np.lexsort((-(pairs % 256), counts))
    small = np.zeros(shape, np.uint8)
    small.flat[pairs[order] // 256] = pairs[order] % 256
    return small


def paint_over(labels: np.ndarray, seeds: np.ndarray | None) -> np.ndarray:
    """Return labels covered by seeds: a person knows better than the CRF."""
    return labels if seeds is None else np.where(seeds > 0, seeds_to_labels(seeds), labels)
