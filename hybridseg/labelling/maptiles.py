"""The tiles from which the page assembles an image: level L is the image reduced by 2**L."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from hybridseg.classes import ClassTable
from hybridseg.errors import MissingInput
from hybridseg.io.images import encode_image
from hybridseg.io.labels.labelpng import encode_overlay
from hybridseg.io.windows import ImageWindows
from hybridseg.resample import resize_nearest

TILE_SIZE = 512
_JPEG_QUALITY = 90


def count_levels(shape: tuple[int, int]) -> int:
    """Return the number of levels of an image; the last fits into one tile.

    Examples
    --------
    >>> count_levels((512, 512)), count_levels((513, 4)), count_levels((4912, 7360))
    (1, 2, 5)
    """
    return max(math.ceil(math.log2(max(shape) / TILE_SIZE)), 0) + 1


def locate_tile(shape: tuple[int, int], level: int, row: int, col: int) -> tuple[slice, slice]:
    """Return the rows and columns of the image that a tile shows.

    Raises
    ------
    MissingInput
        When there is no such tile.
    """
    step = TILE_SIZE << level if 0 <= level < count_levels(shape) else 0
    if not (step and 0 <= row * step < shape[0] and 0 <= col * step < shape[1]):
        raise MissingInput("the image has no such tile; reload the page")
    return slice(row * step, min((row + 1) * step, shape[0])), slice(col * step, min((col + 1) * step, shape[1]))


def draw_picture_tile(windows: ImageWindows, level: int, row: int, col: int) -> bytes:
    """Return a tile of an image as JPEG."""
    rows, cols = locate_tile(windows.shape, level, row, col)
    shape = _reduce(rows, level), _reduce(cols, level)
    picture = windows.read(rows, cols, shape)
    if (valid := windows.valid()) is not None:
        picture = np.where(resize_nearest(valid[rows, cols], shape)[..., None], picture, _hatch(shape))
    return encode_image(picture, suffix=".jpg", quality=_JPEG_QUALITY)


def _hatch(shape: tuple[int, int]) -> np.ndarray:
    """Return a pattern for nodata that nobody takes for land or water."""
    row, col = np.ogrid[: shape[0], : shape[1]]
    return np.where((row + col) % 16 < 8, 44, 60).astype(np.uint8)[..., None]


def draw_map_tile(
    view: Callable[[slice, slice], np.ndarray],
    shape: tuple[int, int],
    table: ClassTable,
    tile: tuple[int, int, int],
    *,
    keep_thin: bool,
) -> bytes:
    """Return a tile of a map as PNG, transparent where it is unlabelled.

    Parameters
    ----------
    view : callable
        Returns part of the map as seeds.
    shape : tuple of int
        Rows and columns of the image.
    tile : tuple of int
        Level, row, column.
    keep_thin : bool
        Let a pixel of the tile show any class that lies in it, so that no thin line is lost, instead of the class at
        its centre.
    """
    level = tile[0]
    seeds = view(*locate_tile(shape, *tile))
    if keep_thin and level:
        for axis in (0, 1):
            seeds = np.maximum.reduceat(seeds, np.arange(0, seeds.shape[axis], 1 << level), axis=axis)
    elif level:
        rows, cols = (np.minimum(np.arange(0, n, 1 << level) + (1 << level) // 2, n - 1) for n in seeds.shape)
        seeds = seeds[np.ix_(rows, cols)]
    return encode_overlay(np.ascontiguousarray(seeds), table)


def _reduce(part: slice, level: int) -> int:
    return -(-(part.stop - part.start) >> level)
