"""Maps of features at several strides: their values at single pixels, and linear scores of all pixels.

Value i of a map of stride s belongs to pixel i * s; between them it is linear. So a linear score can be computed where
the features are, on far fewer pixels, and only the scores are enlarged: the result is the same.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

# (rows, cols, channels) float32 by stride; the smallest stride first, and each divides the next.
Pyramid = Mapping[int, np.ndarray]


def sample_features(pyramid: Pyramid, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Return the features of some pixels, (n, channels) float32.

    Examples
    --------
    >>> values = np.array([[[0], [10]], [[20], [30]]], np.float32)
    >>> sample_features({2: values}, np.array([0, 1, 2]), np.array([1, 0, 3])).ravel().tolist()
    [5.0, 10.0, 30.0]
    """
    parts = []
    for stride, values in pyramid.items():
        (top, bottom, down), (left, right, across) = (
            _place(places, stride, size) for places, size in zip((rows, cols), values.shape[:2], strict=True)
        )
        above = values[top, left] * (1 - across) + values[top, right] * across
        below = values[bottom, left] * (1 - across) + values[bottom, right] * across
        parts.append(above * (1 - down) + below * down)
    return np.concatenate(parts, axis=1)


def score_pixels(pyramid: Pyramid, weights: np.ndarray, rows: slice, cols: slice) -> np.ndarray:
    """Return linear scores of the pixels of a part of the image.

    Parameters
    ----------
    weights : numpy.ndarray
        (channels, n) float32, in the order of `sample_features`.

    Returns
    -------
    numpy.ndarray
        (rows, cols, n) float32.

    Examples
    --------
    >>> values = np.array([[[0], [10]], [[20], [30]]], np.float32)
    >>> score_pixels({2: values}, np.ones((1, 1), np.float32), slice(0, 2), slice(1, 4))[..., 0].tolist()
    [[5.0, 10.0, 10.0], [15.0, 20.0, 20.0]]
    """
    coarsest = max(pyramid)
    # From a pixel that has a value at every stride to one beyond the last.
    top, left = (part.start // coarsest * coarsest for part in (rows, cols))
    ends, scores, coarse = np.cumsum([values.shape[2] for values in pyramid.values()]), None, 1
    for (stride, values), own in reversed(list(zip(pyramid.items(), np.split(weights, ends[:-1]), strict=True))):
        bottom, right = (-(-part.stop // stride) + 1 for part in (rows, cols))
        finer = values[top // stride : bottom, left // stride : right] @ own
        if scores is not None:
            finer += _enlarge(scores, coarse // stride)[: finer.shape[0], : finer.shape[1]]
        scores, coarse = finer, stride
    assert scores is not None
    return _enlarge(scores, coarse)[rows.start - top : rows.stop - top, cols.start - left : cols.stop - left]


def _place(places: np.ndarray, stride: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the values before and after each place, and how far it is on the way to the latter."""
    before, rest = np.divmod(places, stride)
    before = np.minimum(before, size - 1)
    return before, np.minimum(before + 1, size - 1), (rest / np.float32(stride)).astype(np.float32)[:, None]


def _enlarge(values: np.ndarray, factor: int) -> np.ndarray:
    """Return a map at so many times its size, a power of two; beyond its last value it stays the same."""
    while factor > 1:
        for axis in (0, 1):
            values = np.moveaxis(values, axis, 0)
            larger = np.empty((2 * len(values), *values.shape[1:]), values.dtype)
            larger[::2] = values
            larger[1:-1:2] = (values[:-1] + values[1:]) / 2
            larger[-1] = values[-1]
            values = np.moveaxis(larger, 0, axis)
        factor //= 2
    return values
