"""Colours and texture of each pixel at several scales: features that need no network."""

from __future__ import annotations

import numpy as np

STRIDES = (1, 2, 4, 8, 16)
N_MEASURES = 5
"""Of each band, at each scale."""


def measure_texture(image: np.ndarray) -> dict[int, np.ndarray]:
    """Return smoothed bands, their gradient, the curvature along both axes of it, and the deviation, at five scales.

    Parameters
    ----------
    image : numpy.ndarray
        (rows, cols, bands) uint8, with sides that the last of `STRIDES` divides.

    Returns
    -------
    dict of int to numpy.ndarray
        Of each stride (rows / stride, cols / stride, 5 * bands) float32.
    """
    from scipy.ndimage import gaussian_filter

    found, level = {}, image.astype(np.float32) / 255
    for stride in STRIDES:
        smooth = gaussian_filter(level, (1, 1, 0))
        down, across = (_slope(smooth, axis) for axis in (0, 1))
        bend, twist, lean = _slope(down, 0), _slope(down, 1), _slope(across, 1)
        half, root = (bend + lean) / 2, np.sqrt(((bend - lean) / 2) ** 2 + twist**2)
        mean, square = (gaussian_filter(values, (1.5, 1.5, 0)) for values in (level, level**2))
        spread = np.sqrt(np.maximum(square - mean**2, 0))
        found[stride] = np.concatenate([smooth, np.hypot(down, across), half + root, half - root, spread], axis=2)
        level = smooth[::2, ::2]
    return found


def _slope(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the change from pixel to pixel along an axis; a map of one row or column has none."""
    return np.gradient(values, axis=axis) if values.shape[axis] > 1 else np.zeros_like(values)
