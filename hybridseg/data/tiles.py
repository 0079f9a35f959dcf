"""Reading tiles, and whole pictures that serve as tiles."""

from __future__ import annotations

import logging
import os

import numpy as np

from hybridseg.io.images import as_rgb8, read_image

logger = logging.getLogger(__name__)


def read_tile(path: str | os.PathLike[str], *, tile_size: int) -> np.ndarray:
    """Read a picture as a tile; one of another size is resized, and said so.

    Parameters
    ----------
    path : path-like
    tile_size : int

    Returns
    -------
    numpy.ndarray
        (tile_size, tile_size, 3) uint8.

    Raises
    ------
    MissingInput, BadInput
        When there is no such picture, or it is damaged.
    """
    tile = as_rgb8(read_image(path))
    if tile.shape[:2] == (tile_size, tile_size):
        return tile
    logger.info("%s is %d x %d pixels and is resized to %d", path, *tile.shape[:2], tile_size)
    return resize_bilinear(tile, tile_size, tile_size)


def resize_bilinear(image: np.ndarray, rows: int, cols: int) -> np.ndarray:
    """Resize a picture, (any, any, bands) uint8, pixel centres kept in place as TensorFlow does.

    Examples
    --------
    >>> resize_bilinear(np.array([[[0], [100]]], np.uint8), 1, 4)[0, :, 0].tolist()
    [0, 25, 75, 100]
    """
    (top, bottom, down), (left, right, across) = _place(image.shape[0], rows), _place(image.shape[1], cols)
    values = image.astype(np.float32)
    lines = values[top] + (values[bottom] - values[top]) * down[:, None, None]
    resized = lines[:, left] + (lines[:, right] - lines[:, left]) * across[None, :, None]
    return resized.round().astype(np.uint8)


def _place(old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give the two old pixels around each new one, and how far it lies between them."""
    centres = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    first = np.floor(centres).astype(int)
    return first, np.minimum(first + 1, old - 1), (centres - first).astype(np.float32)
