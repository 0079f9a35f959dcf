"""Multinomial logistic regression on few samples of many features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

# Weight of the squared coefficients beside the mean loss, and the most steps: further ones change few classes.
_RIDGE, _MAX_STEPS, _TOLERANCE = 1 / 30, 30, 1e-4


@dataclass(frozen=True, eq=False)
class LinearClassifier:
    """Scores of classes, linear in features: ``features @ weights + bias``.

    Parameters
    ----------
    weights : numpy.ndarray
        (features, classes) float32.
    bias : numpy.ndarray
        (classes,) float32.
    """

    weights: np.ndarray
    bias: np.ndarray

    def predict(self, scores: np.ndarray) -> np.ndarray:
        """Return the probabilities, (..., classes) float32, of scores without the bias; changes `scores`."""
        scores += self.bias
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        return scores


def fit_softmax(
    features: np.ndarray,
    targets: np.ndarray,
    *,
    n_classes: int,
    weights: np.ndarray | None = None,
    deviation: np.ndarray | None = None,
) -> LinearClassifier:
    """Fit a classifier to samples, with a penalty on the coefficients of features divided by their deviation.

    Parameters
    ----------
    features : numpy.ndarray
        (n, features) float32.
    targets : numpy.ndarray
        (n,) class ids; every class occurs.
    weights : numpy.ndarray or None
        (n,) float32 of the samples; None: all weigh the same.
    deviation : numpy.ndarray or None
        (features,) float32, above 0; None: all are alike.

    Examples
    --------
    >>> features = np.array([[0.0], [1.0], [5.0], [6.0]], np.float32)
    >>> found = fit_softmax(features, np.array([0, 0, 1, 1]), n_classes=2)
    >>> found.predict(features @ found.weights).argmax(axis=1).tolist()
    [0, 0, 1, 1]
    """
    from scipy.optimize import minimize

    shares = np.ones(len(features), np.float32) if weights is None else weights.astype(np.float32)
    shares = (shares / shares.sum())[:, None]
    mean = (shares * features).sum(axis=0)
    deviation = np.ones(features.shape[1], np.float32) if deviation is None else deviation
    x, n_features = (features - mean) / deviation, features.shape[1]
    is_class = targets[:, None] == np.arange(n_classes)

    def measure(flat: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the penalized loss and its gradient."""
        found = flat.reshape(n_features + 1, n_classes).astype(np.float32)
        scores = x @ found[:-1] + found[-1]
        scores -= scores.max(axis=1, keepdims=True)
        powers = np.exp(scores)
        sums = powers.sum(axis=1, keepdims=True)
        loss = float((shares * (np.log(sums) - scores[is_class][:, None])).sum()) + float(
            _RIDGE / 2 * np.square(found[:-1], dtype=np.float64).sum()
        )
        errors = shares * (powers / sums - is_class)
        slopes = np.concatenate([x.T @ errors + np.float32(_RIDGE) * found[:-1], errors.sum(axis=0, keepdims=True)])
        return loss, slopes.ravel().astype(np.float64)

    start = np.zeros((n_features + 1) * n_classes)
    options = {"maxiter": _MAX_STEPS, "gtol": _TOLERANCE}
    # The matrices are small: several threads would spend most of their time waiting for one another.
    with threadpool_limits(1, user_api="blas"):
        best = minimize(measure, start, jac=True, method="L-BFGS-B", options=options).x
    best = best.reshape(n_features + 1, n_classes)
    own = (best[:-1] / deviation[:, None]).astype(np.float32)
    return LinearClassifier(own, (best[-1] - mean @ own).astype(np.float32))
