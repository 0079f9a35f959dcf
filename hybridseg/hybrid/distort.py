"""Data augmentation of tiles: the four random changes of the classic script."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybridseg.options import Span, check_options, option


@dataclass(frozen=True)
class DistortOptions:
    """Random changes of the training tiles; the names are those of the classic script."""

    flip_left_right: bool = option(False, "Mirror half of the training tiles at random.")
    random_crop: float = option(0, "Crop training tiles by up to this margin, in percent.", span=Span(0, 100))
    random_scale: float = option(0, "Enlarge training tiles by up to this much, in percent.", span=Span(0, 100))
    random_brightness: float = option(0, "Darken or brighten by up to this much, in percent.", span=Span(0, 100))

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def any(self) -> bool:
        """Whether anything is changed at all."""
        return self.flip_left_right or bool(self.random_crop or self.random_scale or self.random_brightness)


def distort_tiles(tiles: np.ndarray, options: DistortOptions, rng: np.random.Generator) -> np.ndarray:
    """Change tiles at random.

    Parameters
    ----------
    tiles : numpy.ndarray
        (n, size, size, 3) uint8.

    Returns
    -------
    numpy.ndarray
        The same shape, float32 in 0..1.
    """
    import tensorflow as tf

    n, size = tiles.shape[:2]
    pixels = tiles.astype(np.float32) / np.float32(255)
    if options.flip_left_right:
        mirrored = rng.random(n) < 0.5
        pixels[mirrored] = pixels[mirrored, :, ::-1]
    if options.random_crop or options.random_scale:
        side = 1 / (1 + options.random_crop / 100) / rng.uniform(1, 1 + options.random_scale / 100, size=(n,))
        corners = rng.random((n, 2)) * (1 - side)[:, None]
        boxes = np.concatenate([corners, corners + side[:, None]], axis=1).astype(np.float32)
        pixels = tf.image.crop_and_resize(pixels, boxes, np.arange(n), (size, size)).numpy()
    if options.random_brightness:
        share = options.random_brightness / 100
        pixels = pixels * rng.uniform(1 - share, 1 + share, (n, 1, 1, 1)).astype(np.float32)
    return np.clip(pixels, 0, 1)
