"""Reading tiles, and whole pictures that serve as tiles."""

from __future__ import annotations

import logging
import os

import numpy as np

from hybridseg.io.images import as_rgb8, read_image
from hybridseg.resample import resize_bilinear

logger = logging.getLogger(__name__)


def read_tile(path: str | os.PathLike[str], *, tile_size: int) -> np.ndarray:
    """Read a picture as a tile; one of another size is resized, and the log says so.

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
