"""The normalization of pixels: from stored values to those that a network is trained on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridseg.errors import BadInput
from hybridseg.options import Span, check_options, option

KINDS = ("unit", "image", "photo", "dataset")

# A band whose deviation is below this, or below this share of its mean, is constant: the rest is rounding.
_LEAST_DEVIATION, _LEAST_SHARE = 1e-6, 1e-5
# Those of a data set; beyond them 32-bit floats would become infinite, or all results the same.
_DEVIATIONS, _MEANS = Span(_LEAST_DEVIATION / 2, 1e12), Span(-1e12, 1e12)
# About those of the photographs of ImageNet.
_PHOTO_MEAN, _PHOTO_DEVIATION = 0.45, 0.225


@dataclass(frozen=True)
class Normalization:
    """A rule from stored to normalized values, band by band.

    ``unit`` divides by `scale`; ``image`` brings every band of every image to mean 0 and standard deviation 1;
    ``photo`` brings it to the mean and standard deviation of photographs in 0..1; ``dataset`` subtracts `means` and
    divides by `deviations`, the same ones for all images, so that how bright an image is, and of how much contrast, is
    still seen.
    """

    kind: str = option(help="Rule of the normalization.", choices=KINDS)
    scale: float = option(255.0, "Value that becomes 1 under unit.", span=Span(1e-6, 1e12, below=True))
    means: tuple[float, ...] = ()
    deviations: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_options(self)
        n_bands = len(self.means)
        fits = n_bands == len(self.deviations) and all(value in _DEVIATIONS for value in self.deviations)
        if not fits or (n_bands > 0) != (self.kind == "dataset") or not all(value in _MEANS for value in self.means):
            raise BadInput(f"means={self.means}, deviations={self.deviations} are not those of a data set")

    @classmethod
    def unit_of(cls, dtype: np.dtype) -> Normalization:
        """Return the rule that brings the values of an unsigned type to 0..1; floats are there already.

        Examples
        --------
        >>> Normalization.unit_of(np.dtype(np.uint16)).scale
        65535.0
        """
        return cls("unit", float(np.iinfo(dtype).max) if dtype.kind in "iu" else 1.0)

    @classmethod
    def of_dataset(cls, measured: Iterable[tuple[np.ndarray, np.ndarray]], *, as_photo: bool = False) -> Normalization:
        """Return the rule that brings every band of all images of a data set to mean 0 and standard deviation 1.

        Parameters
        ----------
        measured : iterable
            What ``image`` measures of each image.
        as_photo : bool
            To the mean and standard deviation of photographs in 0..1 instead.

        Examples
        --------
        >>> each = [Normalization("image").measure(np.array([[[low], [low + 60]]])) for low in (1000, 1160)]
        >>> rule = Normalization.of_dataset(each)
        >>> rule.means, [round(value, 3) for value in rule.deviations]
        ((1110.0,), [85.44])
        """
        mean, factor = (np.array(values, np.float64) for values in zip(*measured, strict=True))
        deviation = np.sqrt((1 / factor**2).mean(0) + mean.var(0))
        mean = mean.mean(0)
        if as_photo:
            deviation /= _PHOTO_DEVIATION
            mean -= _PHOTO_MEAN * deviation
        return cls("dataset", means=tuple(mean.tolist()), deviations=tuple(deviation.tolist()))

    def measure(self, image: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return offset and factor of each band of an image, an array or a `LazyImage`, (bands,) float32 each.

        Examples
        --------
        >>> offset, factor = Normalization("image").measure(np.array([[[0], [4]]], np.uint8))
        >>> offset.tolist(), round(float(factor[0]), 3)
        ([2.0], 0.5)
        """
        n_bands = image.shape[2]
        if self.kind == "unit":
            return np.zeros(n_bands, np.float32), np.full(n_bands, 1 / self.scale, np.float32)
        if self.kind == "dataset":
            return np.array(self.means, np.float32), 1 / np.array(self.deviations, np.float32)
        mean, square = np.zeros(n_bands), np.zeros(n_bands)
        for row in range(0, image.shape[0], 32):  # In strips that fit the cache, band by band.
            bands = np.moveaxis(image[row : row + 32], 2, 0).astype(np.float64, order="C").reshape(n_bands, -1)
            mean += bands.sum(1)
            square += np.einsum("ij,ij->i", bands, bands)
        n_pixels = image.shape[0] * image.shape[1]
        mean /= n_pixels
        deviation = np.sqrt(np.maximum(square / n_pixels - mean**2, 0))
        factor = 1 / np.maximum(deviation, np.maximum(np.abs(mean) * _LEAST_SHARE, _LEAST_DEVIATION))
        if self.kind == "photo":
            factor *= _PHOTO_DEVIATION
            mean -= _PHOTO_MEAN / factor
        return mean.astype(np.float32), factor.astype(np.float32)

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Return an image, (rows, cols, bands) of any real type, normalized as float32."""
        offset, factor = self.measure(image)
        return (image.astype(np.float32) - offset) * factor

    def apply_batch(self, images: Any) -> Any:
        """Return a batch, (n, rows, cols, bands) float32, normalized inside a TensorFlow graph."""
        import tensorflow as tf

        if self.kind == "unit":
            return images / self.scale
        if self.kind == "dataset":
            return (images - np.array(self.means, np.float32)) / np.array(self.deviations, np.float32)
        # Relative to one pixel: sums of large values lose their last digits in float32.
        origin = images[:, :1, :1]
        shifted = images - origin
        mean, variance = tf.nn.moments(shifted, (1, 2), keepdims=True)
        least = tf.maximum(tf.abs(origin + mean) * _LEAST_SHARE, _LEAST_DEVIATION)
        standard = (shifted - mean) / tf.maximum(tf.sqrt(variance), least)
        return standard * _PHOTO_DEVIATION + _PHOTO_MEAN if self.kind == "photo" else standard
