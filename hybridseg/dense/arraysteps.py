"""What the steps of an augmentation do with NumPy arrays: random numbers, filters, and images that are moved."""

from __future__ import annotations

from typing import Any

import numpy as np

from hybridseg.classes import VOID


class ArrayDraws:
    """Random numbers that follow from a seed, as `hybridseg.dense.steps.Draws` has them for tensors."""

    def __init__(self, seed: tuple[int, ...]) -> None:
        self._seed, self._draws = seed, np.random.default_rng(seed)

    def fork(self, number: int) -> ArrayDraws:
        """Return the draws of a numbered part."""
        return ArrayDraws((*self._seed, number))

    def uniform(self, low: float, high: float) -> np.float32:
        """Draw from `low` to below `high`."""
        return np.float32(self._draws.uniform(low, high))

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        """Draw with mean 0 and standard deviation 1."""
        return self._draws.standard_normal(shape, np.float32)


def filter_array(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Filter every band of an image, (rows, cols, bands) float32; beyond the border it is mirrored."""
    from scipy.ndimage import correlate, correlate1d

    if kernel.shape[1] == 1:
        return correlate1d(image, kernel[:, 0], axis=0)
    if kernel.shape[0] == 1:
        return correlate1d(image, kernel[0], axis=1)
    return correlate(image, kernel[..., None])


def warp_array(image: np.ndarray, labels: np.ndarray, transform: Any, *, mirror: bool) -> tuple[np.ndarray, np.ndarray]:
    """Move the pixels of an image and its labels; the labels are never interpolated.

    Parameters
    ----------
    transform : sequence of 8 numbers
        From a place (col, row) in the new image to one in the old: of each three for columns and for rows, and two
        that must be 0.
    mirror : bool
        Beyond the border lies the mirror image; False: nothing, black and void.
    """
    from scipy.ndimage import affine_transform

    a, b, col_shift, c, d, row_shift, *_ = transform
    settings = {"matrix": ((d, c), (b, a)), "offset": (row_shift, col_shift)}
    mode = "reflect" if mirror else "grid-constant"
    moved = np.empty_like(image)
    for band in range(image.shape[2]):
        moved[..., band] = affine_transform(np.ascontiguousarray(image[..., band]), **settings, order=1, mode=mode)
    return moved, affine_transform(labels, **settings, order=0, mode=mode, cval=VOID, output=np.uint8)
