"""Class probabilities of every pixel, learned from strokes on some: what the CRF begins with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybridseg.learning.experience import Lessons
from hybridseg.learning.features import PixelFeatures
from hybridseg.learning.softmax import LinearClassifier, fit_softmax

# More samples change the result little, and take longer; a class keeps at least the second number, if it has as many.
_MAX_SAMPLES, _LEAST_SAMPLES = 2000, 50
# Of all guesses of a model, beside 1 for all strokes (docs/decisions/021-pixel-classifier.md).
_GUESS_WEIGHT = 0.03


@dataclass(frozen=True, eq=False)
class Guesses:
    """Pixels, and the class that a model holds each for: (n,) rows, columns and class ids."""

    rows: np.ndarray
    cols: np.ndarray
    ids: np.ndarray


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
) -> LearnedProbs:
    """Train a classifier on the seeded pixels of an image, and let it say what the others are.

    Parameters
    ----------
    image : numpy.ndarray
        (rows, cols, bands) uint8, see `PixelFeatures`.
    seeds : numpy.ndarray
        (rows, cols) uint8 with at least two classes, or one and guesses: 0 = unlabelled, class k is k + 1.
    kind : {"color", "deep"}
        What it knows of a pixel.
    gt_prob : float
        How far the seeds are trusted.
    lessons : Lessons or None
        What other images have taught.
    guesses : Guesses or None
        What a model holds some pixels for: it teaches a little, too.
    """
    features = PixelFeatures(image, kind)
    rows, cols = _choose_samples(seeds)
    samples, deviation = features.sample(rows, cols)
    sample_ids, weights = seeds[rows, cols] - np.uint8(1), None
    if lessons is not None:
        samples, sample_ids, weights = lessons.add(samples, sample_ids)
    if guesses is not None:
        own = np.full(len(samples), 1 / len(samples), np.float32) if weights is None else weights
        weights = np.concatenate([own, np.full(len(guesses.ids), _GUESS_WEIGHT / len(guesses.ids), np.float32)])
        samples = np.concatenate([samples, features.sample(guesses.rows, guesses.cols)[0]])
        sample_ids = np.concatenate([sample_ids, guesses.ids])
    class_ids, targets = np.unique(sample_ids, return_inverse=True)
    classifier = fit_softmax(samples, targets, n_classes=len(class_ids), weights=weights, deviation=deviation)
    return LearnedProbs(class_ids.astype(np.uint8), features, classifier, seeds, gt_prob)


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


def _choose_samples(seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and columns of seeded pixels: all, or of too many of a class some at random."""
    rows, cols = np.nonzero(seeds)
    classes, rng = seeds[rows, cols], np.random.default_rng(0)
    kept = []
    for class_id in np.unique(classes):
        own = np.flatnonzero(classes == class_id)
        n_kept = max(_MAX_SAMPLES * len(own) // len(rows), _LEAST_SAMPLES)
        kept.append(rng.permutation(own)[:n_kept] if len(rows) > _MAX_SAMPLES else own)
    chosen = np.concatenate(kept)
    return rows[chosen], cols[chosen]
