"""Class probabilities of every pixel, learned from strokes on some: what the CRF begins with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hybridseg.learning.experience import Lessons
from hybridseg.learning.features import PixelFeatures
from hybridseg.learning.softmax import LinearClassifier, fit_softmax

# More samples change the result little, and take longer; a class keeps at least the second number, if it has as many.
_MAX_SAMPLES, _LEAST_SAMPLES = 2000, 50
# Of a part of the image that is not in view, which is kept in memory.
_MAX_ELSEWHERE, _N_AROUND = 600, 150
# Of all guesses of a model, beside 1 for all strokes (docs/decisions/021-pixel-classifier.md).
_GUESS_WEIGHT = 0.03


@dataclass(frozen=True, eq=False)
class Guesses:
    """Pixels, and the class that a model holds each for: (n,) rows, columns and class ids."""

    rows: np.ndarray
    cols: np.ndarray
    ids: np.ndarray


@dataclass(frozen=True, eq=False)
class Samples:
    """What some seeded pixels of another part of the image are like.

    Parameters
    ----------
    rows, cols, ids : numpy.ndarray
        (n,), in no order: where they lie in that part, and their class ids.
    features : numpy.ndarray
        (n, features) floating.
    around : numpy.ndarray
        (m, features) floating: of pixels at random in the same part.
    n_seeded, n_strokes : float
        For how many seeded pixels they stand, and for how many strokes.
    """

    rows: np.ndarray
    cols: np.ndarray
    ids: np.ndarray
    features: np.ndarray
    around: np.ndarray
    n_seeded: float
    n_strokes: float

    def keep(self, kept: np.ndarray) -> Samples:
        """Return those of which `kept`, (n,) bool, holds."""
        rows, cols, ids, features = (values[kept] for values in (self.rows, self.cols, self.ids, self.features))
        share = float(kept.mean())
        return Samples(rows, cols, ids, features, self.around, self.n_seeded * share, self.n_strokes * share)


@dataclass(frozen=True, eq=False)
class LearnedProbs:
    """Probabilities of the seeded classes: computed where they are indexed by two slices, as `refine_probs` does it.

    Parameters
    ----------
    class_ids : numpy.ndarray
        (classes,) uint8: those that have seeds.
    """

    class_ids: np.ndarray
    _features: PixelFeatures
    _classifier: LinearClassifier
    _seeds: np.ndarray
    _gt_prob: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns and classes."""
        return (*self._features.shape, len(self.class_ids))

    def __getitem__(self, part: tuple[slice, slice]) -> np.ndarray:
        """Return (rows, cols, classes) float32; a seeded pixel has its class with `gt_prob`."""
        probs = self.guess(part)
        plant_seeds(probs, self._seeds[part], self.class_ids, gt_prob=self._gt_prob)
        return probs

    def guess(self, part: tuple[slice, slice]) -> np.ndarray:
        """Return the same without the seeds: what the classifier says of every pixel."""
        return self._classifier.predict(self._features.score(self._classifier.weights, *part))


def learn_probs(
    image: np.ndarray,
    seeds: np.ndarray,
    *,
    kind: str,
    gt_prob: float,
    lessons: Lessons | None = None,
    guesses: Guesses | None = None,
    elsewhere: Sequence[Samples] = (),
) -> LearnedProbs:
    """Train a classifier on the seeded pixels of an image, and let it say what the others are.

    Parameters
    ----------
    image : numpy.ndarray
        (rows, cols, bands) uint8, see `PixelFeatures`.
    seeds : numpy.ndarray
        (rows, cols) uint8: 0 = unlabelled, class k is k + 1. With what is known from elsewhere, or guessed, at least
        two classes.
    kind : {"color", "deep"}
        What it knows of a pixel.
    gt_prob : float
        How far the seeds are trusted.
    lessons : Lessons or None
        What other images have taught.
    guesses : Guesses or None
        What a model holds some pixels for: it teaches a little, too.
    elsewhere : sequence of Samples
        Of other parts of the image: all seeded pixels count the same, wherever they lie.
    """
    features, n_own = PixelFeatures(image, kind), int(np.count_nonzero(seeds))
    n_seeded = n_own + sum(other.n_seeded for other in elsewhere)
    rows, cols = _choose_samples(seeds, round(_MAX_SAMPLES * n_own / n_seeded) if n_own else 0)
    samples, around = features.sample(rows, cols)
    sample_ids, weights = seeds[rows, cols] - np.uint8(1), None
    if elsewhere:
        n_each = [max(round(_MAX_SAMPLES * other.n_seeded / n_seeded), _LEAST_SAMPLES) for other in elsewhere]
        pairs = list(zip(elsewhere, n_each, strict=True))
        samples = np.concatenate([samples, *(other.features[:n] for other, n in pairs)])
        sample_ids = np.concatenate([sample_ids, *(other.ids[:n] for other, n in pairs)])
        around = np.concatenate([_thin(around), *(other.around for other in elsewhere)])
    deviation = features.measure_deviation(around)
    if lessons is not None:
        n_strokes = count_strokes(seeds) + sum(other.n_strokes for other in elsewhere)
        n_strokes /= len(np.unique(sample_ids))
        samples, sample_ids, weights = lessons.add(samples, sample_ids, n_strokes=n_strokes)
    if guesses is not None:
        own = np.full(len(samples), 1 / len(samples), np.float32) if weights is None else weights
        weights = np.concatenate([own, np.full(len(guesses.ids), _GUESS_WEIGHT / len(guesses.ids), np.float32)])
        samples = np.concatenate([samples, features.sample(guesses.rows, guesses.cols)[0]])
        sample_ids = np.concatenate([sample_ids, guesses.ids])
    class_ids, targets = np.unique(sample_ids, return_inverse=True)
    classifier = fit_softmax(samples, targets, n_classes=len(class_ids), weights=weights, deviation=deviation)
    return LearnedProbs(class_ids.astype(np.uint8), features, classifier, seeds, gt_prob)


def sample_seeds(image: np.ndarray, seeds: np.ndarray, kind: str) -> Samples:
    """Return what some seeded pixels of a part of an image are like, see `learn_probs`.

    Examples
    --------
    >>> image, seeds = np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32), np.uint8)
    >>> seeds[4:8, 4:8] = 2
    >>> found = sample_seeds(image, seeds, "color")
    >>> found.ids.tolist() == [1] * 16, found.n_seeded
    (True, 16)
    """
    rows, cols = _choose_samples(seeds, _MAX_ELSEWHERE)
    order = np.random.default_rng(0).permutation(len(rows))
    rows, cols = rows[order], cols[order]
    features, around = (values.astype(np.float16) for values in PixelFeatures(image, kind).sample(rows, cols))
    n_seeded, ids = int(np.count_nonzero(seeds)), seeds[rows, cols] - np.uint8(1)
    return Samples(rows, cols, ids, features, _thin(around), n_seeded, count_strokes(seeds))


def sample_whole(image: np.ndarray, seeds: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the samples from which `learn_probs` learns without anything else, (n, features) float32; and class ids.

    The features are not kept: nobody is at work on this image.
    """
    rows, cols = _choose_samples(seeds, _MAX_SAMPLES)
    return PixelFeatures(image, kind, keeps=False).sample(rows, cols)[0], seeds[rows, cols] - np.uint8(1)


def count_strokes(seeds: np.ndarray) -> int:
    """Return how many pieces the classes of seeds, (rows, cols) uint8, have together: strokes that touch are one.

    Examples
    --------
    >>> count_strokes(np.array([[1, 1, 0, 2], [0, 0, 1, 2], [2, 0, 0, 2]], np.uint8))
    3
    """
    from scipy import ndimage

    rows, cols = np.nonzero(seeds)
    if not len(rows):
        return 0
    part = seeds[rows.min() : rows.max() + 1, cols.min() : cols.max() + 1]
    return sum(int(ndimage.label(part == seed, np.ones((3, 3)))[1]) for seed in np.unique(part[part > 0]))


def plant_seeds(probs: np.ndarray, seeds: np.ndarray, class_ids: np.ndarray, *, gt_prob: float) -> None:
    """Give the class of each seeded pixel `gt_prob`, and share the rest equally among the others.

    Parameters
    ----------
    probs : numpy.ndarray
        (rows, cols, classes) float32, which is changed.
    seeds : numpy.ndarray
        (rows, cols) uint8: 0 = unlabelled, class k is k + 1.
    class_ids : numpy.ndarray
        (classes,) uint8, ascending: all that have seeds, and at least two.
    """
    rows, cols = np.nonzero(seeds)
    lanes = np.searchsorted(class_ids, seeds[rows, cols] - 1)
    probs[rows, cols] = (1 - gt_prob) / (len(class_ids) - 1)
    probs[rows, cols, lanes] = gt_prob


def _thin(around: np.ndarray) -> np.ndarray:
    return around[:: max(len(around) // _N_AROUND, 1)]


def _choose_samples(seeds: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and columns of seeded pixels: all, or of more than `most` some of each class at random."""
    rows, cols = np.nonzero(seeds)
    classes, rng = seeds[rows, cols], np.random.default_rng(0)
    kept = []
    for class_id in np.unique(classes):
        own = np.flatnonzero(classes == class_id)
        n_kept = max(most * len(own) // len(rows), _LEAST_SAMPLES)
        kept.append(rng.permutation(own)[:n_kept] if len(rows) > most else own)
    chosen = np.concatenate(kept) if kept else np.zeros(0, int)
    return rows[chosen], cols[chosen]
