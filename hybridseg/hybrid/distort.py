"""Random changes to tiles, so that a classifier learns what stays: the four of the classic script."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybridseg.errors import BadInput


@dataclass(frozen=True)
class DistortOptions:
    """Which changes are made; the names are those of the classic script.

    Parameters
    ----------
    flip_left_right : bool
        Mirror half of the tiles.
    random_crop : float
        Percent by which the margin around a crop may be cut away.
    random_scale : float
        Percent by which a tile may be enlarged.
    random_brightness : float
        Percent by which a tile may become darker or brighter.
    """

    flip_left_right: bool = False
    random_crop: float = 0
    random_scale: float = 0
    random_brightness: float = 0

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        for name in ("random_crop", "random_scale", "random_brightness"):
            if not 0 <= getattr(self, name) <= 100:
                raise BadInput(f"{name}={getattr(self, name)}: give a percentage from 0 to 100")

    @property
    def any(self) -> bool:
        """Tell whether anything is changed at all."""
        return self.flip_left_right or bool(self.random_crop or self.random_scale or self.random_brightness)


def distort_tiles(tiles: np.ndarray, options: DistortOptions, rng: np.random.Generator) -> np.ndarray:
    """Change tiles at random.

    Parameters
    ----------
    tiles : numpy.ndarray
        (n, size, size, 3) uint8.
    options : DistortOptions
    rng : numpy.random.Generator

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
