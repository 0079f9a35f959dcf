"""What other programs make of scribbles, restated: their features and classifiers, for comparison in one run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import ndimage
from sklearn.ensemble import RandomForestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hybridseg.crf.refine import refine_probs
from hybridseg.labelling.spreading import LEARNED_CRF, reduce_seeds
from hybridseg.resample import resize_nearest

DOODLER_SIGMAS = (1.0, 2.0, 4.0, 8.0, 16.0)
ILASTIK_SIGMAS = (0.3, 0.7, 1.0, 1.6, 3.5, 5.0, 10.0)
# Doodler trains on a part of the stroked pixels too.
MAX_SAMPLES = 3000
Measure = Callable[[np.ndarray], np.ndarray]
_FOUND: dict[tuple[str, int, int], tuple[np.ndarray, np.ndarray]] = {}


def run_doodler(image: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Colour, edges, texture and place at five scales, a network of 100 and 60, then a CRF (ours)."""
    network = MLPClassifier([100, 60], alpha=1, early_stopping=True, max_iter=2000, random_state=1)
    return _classify(image, seeds, _doodler_features, make_pipeline(StandardScaler(), network), crf=True)


def run_ilastik(image: np.ndarray, seeds: np.ndarray, *, crf: bool) -> np.ndarray:
    """All filters of its pixel classification at seven scales, and a forest of 100 trees; ilastik has no CRF."""
    forest = RandomForestClassifier(100, random_state=1)
    return _classify(image, seeds, _ilastik_features, forest, crf=crf)


def _classify(image: np.ndarray, seeds: np.ndarray, measure: Measure, model: Any, *, crf: bool) -> np.ndarray:
    small = reduce_seeds(seeds, image.shape[:2])
    # With and without a CRF the classifier is the same.
    key = (measure.__name__, hash(image.tobytes()), hash(small.tobytes()))
    if key not in _FOUND:
        _FOUND[key] = _learn(image, small, measure(image), model)
    class_seeds, probs = _FOUND[key]
    lanes = refine_probs(image, probs, options=LEARNED_CRF).labels if crf else probs.argmax(axis=2)
    labels = (class_seeds[lanes] - 1).astype(np.uint8)
    return np.where(seeds > 0, seeds - 1, resize_nearest(labels, seeds.shape))


def _learn(image: np.ndarray, seeds: np.ndarray, features: np.ndarray, model: Any) -> tuple[np.ndarray, np.ndarray]:
    rows, cols = np.nonzero(seeds)
    chosen = np.random.default_rng(0).permutation(len(rows))[:MAX_SAMPLES]
    model.fit(features[rows[chosen], cols[chosen]], seeds[rows[chosen], cols[chosen]])
    probs = model.predict_proba(features.reshape(-1, features.shape[2])).reshape(*seeds.shape, -1).astype(np.float32)
    return model.classes_, probs / probs.sum(axis=2, keepdims=True)


def _hessian(band: np.ndarray, sigma: float) -> list[np.ndarray]:
    rr, rc, cc = (ndimage.gaussian_filter(band, sigma, order=order) for order in ((2, 0), (1, 1), (0, 2)))
    return _eigenvalues(rr, rc, cc)


def _eigenvalues(rr: np.ndarray, rc: np.ndarray, cc: np.ndarray) -> list[np.ndarray]:
    middle, root = (rr + cc) / 2, np.sqrt(((rr - cc) / 2) ** 2 + rc**2)
    return [middle + root, middle - root]


def _doodler_features(image: np.ndarray) -> np.ndarray:
    found = list(np.indices(image.shape[:2], np.float32))
    for band in np.moveaxis(image.astype(np.float32) / 255, 2, 0):
        for sigma in DOODLER_SIGMAS:
            smooth = ndimage.gaussian_filter(band, sigma)
            edges = np.hypot(ndimage.sobel(smooth, 0), ndimage.sobel(smooth, 1))
            found += [smooth, edges, *_hessian(band, sigma)]
    return np.stack(found, axis=2)


def _ilastik_features(image: np.ndarray) -> np.ndarray:
    found = []
    for band in np.moveaxis(image.astype(np.float32) / 255, 2, 0):
        for sigma in ILASTIK_SIGMAS:
            smooth = ndimage.gaussian_filter(band, sigma)
            down, across = (ndimage.gaussian_filter(band, sigma, order=order) for order in ((1, 0), (0, 1)))
            tensor = (
                ndimage.gaussian_filter(a * b, sigma / 2) for a, b in ((down, down), (down, across), (across, across))
            )
            found += [smooth, ndimage.gaussian_laplace(band, sigma), np.hypot(down, across)]
            found += [
                smooth - ndimage.gaussian_filter(band, sigma * 0.66),
                *_eigenvalues(*tensor),
                *_hessian(band, sigma),
            ]
    return np.stack(found, axis=2)
