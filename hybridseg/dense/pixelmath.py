"""What the steps of an augmentation compute, with NumPy arrays or with tensors, which they are given.

TensorFlow is loaded for tensors alone.
"""

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

    def uniform(self, low: float, high: float, shape: tuple[int, ...] = ()) -> np.ndarray:
        """Draw from `low` to below `high`."""
        return np.asarray(self._draws.uniform(low, high, shape), np.float32)

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        """Draw with mean 0 and standard deviation 1."""
        return self._draws.standard_normal(shape, np.float32)


def library_of(values: Any) -> Any:
    """Return NumPy for an array and TensorFlow for a tensor: what they call alike is computed alike."""
    if isinstance(values, np.ndarray):
        return np
    import tensorflow as tf

    return tf


def shape_of(values: Any) -> Any:
    """Return the shape of an array or a tensor."""
    library = library_of(values)
    return values.shape if library is np else library.shape(values)


def measure_sides(labels: Any) -> list[Any]:
    """Return rows and columns as floats."""
    library = library_of(labels)
    if library is np:
        return [float(side) for side in labels.shape]
    return [library.cast(side, library.float32) for side in library.unstack(library.shape(labels))]


def average(values: Any, axes: tuple[int, ...]) -> Any:
    """Return the mean along some axes, which stay."""
    library = library_of(values)
    return (np.mean if library is np else library.reduce_mean)(values, axes, keepdims=True)


def clip(values: Any) -> Any:
    """Return values that are not below 0 nor above 1."""
    library = library_of(values)
    return values.clip(0.0, 1.0) if library is np else library.clip_by_value(values, 0.0, 1.0)


def convolve(image: Any, kernel: Any) -> Any:
    """Filter every band; beyond the border the image is mirrored."""
    if library_of(image) is np:
        return clip(_filter_array(image, kernel))
    import tensorflow as tf

    down, across = (side // 2 for side in kernel.shape)
    padded = tf.pad(image, [[down, down], [across, across], [0, 0]], "SYMMETRIC")
    kernels = tf.repeat(tf.convert_to_tensor(kernel)[:, :, None, None], image.shape[-1], axis=2)
    return clip(tf.nn.depthwise_conv2d(padded[None], kernels, (1, 1, 1, 1), "VALID")[0])


def warp(image: Any, labels: Any, transform: Any, border: str) -> tuple[Any, Any]:
    """Move the pixels of an image and its labels; the labels are never interpolated.

    Parameters
    ----------
    transform : 8 numbers
        From a place (col, row) in the new image to one in the old: of each three for columns and for rows, and two for
        the perspective, which must be 0 for arrays.
    border : {"void", "mirror"}
        What lies beyond the image: nothing, black and void, or its mirror image.
    """
    if library_of(image) is np:
        return _warp_array(image, labels, transform, mirror=border != "void")
    import tensorflow as tf

    def move(values: Any, interpolation: str, fill: float) -> Any:
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=values[None],
            transforms=transform[None],
            output_shape=tf.shape(labels),
            interpolation=interpolation,
            fill_mode="CONSTANT" if border == "void" else "REFLECT",
            fill_value=fill,
        )[0]

    return move(image, "BILINEAR", 0.0), move(labels[..., None], "NEAREST", float(VOID))[..., 0]


def _filter_array(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    from scipy.ndimage import correlate, correlate1d

    if kernel.shape[1] == 1:
        return correlate1d(image, kernel[:, 0], axis=0)
    if kernel.shape[0] == 1:
        return correlate1d(image, kernel[0], axis=1)
    return correlate(image, kernel[..., None])


def _warp_array(
    image: np.ndarray, labels: np.ndarray, transform: Any, *, mirror: bool
) -> tuple[np.ndarray, np.ndarray]:
    from scipy.ndimage import affine_transform

    a, b, col_shift, c, d, row_shift, *_ = transform
    settings = {"matrix": ((d, c), (b, a)), "offset": (row_shift, col_shift)}
    mode = "reflect" if mirror else "grid-constant"
    moved = np.empty_like(image)
    for band in range(image.shape[2]):
        moved[..., band] = affine_transform(np.ascontiguousarray(image[..., band]), **settings, order=1, mode=mode)
    return moved, affine_transform(labels, **settings, order=0, mode=mode, cval=VOID, output=np.uint8)
