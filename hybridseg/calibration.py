"""How far the confidence of a model can be trusted: its accuracy at each level of confidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_N_BINS = 10


@dataclass(frozen=True, eq=False)
class Calibration:
    """Accuracy against confidence, in ten bins.

    Parameters
    ----------
    confidence, accuracy : numpy.ndarray
        (10,) means of each bin; NaN where it is empty.
    counts : numpy.ndarray
        (10,) tiles or pixels of each bin.
    error : float
        Expected calibration error: the mean distance of the two, weighted by the counts.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    counts: np.ndarray
    error: float


def measure_calibration(confidence: np.ndarray, right: np.ndarray) -> Calibration:
    """Compare confidence with accuracy, in ten bins.

    Parameters
    ----------
    confidence : numpy.ndarray
        (n,) probability of the winning class.
    right : numpy.ndarray
        (n,) bool: whether it is the true one.

    Examples
    --------
    >>> measure_calibration(np.array([0.75, 0.75]), np.array([True, False])).error
    0.25
    """
    confidence = confidence.astype(np.float64)
    bins = np.minimum((confidence * _N_BINS).astype(int), _N_BINS - 1)
    counts = np.bincount(bins, minlength=_N_BINS)
    filled = np.where(counts, counts, np.nan)
    mean_confidence = np.bincount(bins, weights=confidence, minlength=_N_BINS) / filled
    accuracy = np.bincount(bins, weights=right, minlength=_N_BINS) / filled
    error = float(np.nansum(np.abs(mean_confidence - accuracy) * counts) / len(right))
    return Calibration(mean_confidence, accuracy, counts, error)


def measure_entropy(probs: np.ndarray) -> np.ndarray:
    """Return how undecided class probabilities are: 0 where one class has all, 1 where all classes have the same.

    Parameters
    ----------
    probs : numpy.ndarray
        (..., n_classes).

    Returns
    -------
    numpy.ndarray
        (...) float32: the entropy, divided by the logarithm of the number of classes.

    Examples
    --------
    >>> measure_entropy(np.array([[0.5, 0.5], [1.0, 0.0], [0.9, 0.1]])).round(3).tolist()
    [1.0, 0.0, 0.4690000116825104]
    """
    sure = np.maximum(probs, np.float32(1e-12))
    most = np.log(max(probs.shape[-1], 2))
    return (-(sure * np.log(sure)).sum(axis=-1) / most).clip(0, 1).astype(np.float32)
