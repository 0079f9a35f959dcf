"""The tiles of an image: which cover it, which of them are classified, their pixels; and pictures that are tiles."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter

import numpy as np

from hybridseg.errors import BadInput, NoPicture
from hybridseg.hybrid.purity import cover_windows, mirror_index
from hybridseg.io.images import as_rgb8, read_image
from hybridseg.io.lazyimages import LazyImage
from hybridseg.resample import resize_bilinear

logger = logging.getLogger(__name__)

PATTERNS = ("raster", "checker")
HALF = 0.5
"""Share of valid pixels from which on a tile is classified, where the image has such tiles."""
_MAX_SLANT = 1000


@dataclass(frozen=True, eq=False)
class TileGrid:
    """The tiles that cover an image, and those of them that are classified.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the image.
    rows, cols : numpy.ndarray
        (n_rows,) and (n_cols,): first row and first column of the tiles.
    chosen : numpy.ndarray
        (n, 2): row and column in the grid of each tile to classify, in raster order.
    shown : float
        Share of valid pixels of the tile that has most of them.
    """

    shape: tuple[int, int]
    tile_size: int
    rows: np.ndarray
    cols: np.ndarray
    chosen: np.ndarray
    shown: float = 1.0

    def cut(self, image: LazyImage, i: int, j: int) -> np.ndarray:
        """Return a tile by its row and column in the grid; beyond the edges of the image that is mirrored."""
        top, left, size = int(self.rows[i]), int(self.cols[j]), self.tile_size
        if top + size <= image.shape[0] and left + size <= image.shape[1]:
            return image[top : top + size, left : left + size]
        rows = mirror_index(top, top + size, image.shape[0])
        cols = mirror_index(left, left + size, image.shape[1])
        first, before = rows.min(), cols.min()
        part = image[first : rows.max() + 1, before : cols.max() + 1]
        return part[np.ix_(rows - first, cols - before)]


def plan_tiles(
    shape: tuple[int, int],
    *,
    tile_size: int,
    stride: int | None = None,
    decimation: int = 1,
    pattern: str = "raster",
) -> TileGrid:
    """Cover an image with tiles and choose every Nth.

    Parameters
    ----------
    stride : int or None
        Pixels from one tile to the next; default: `tile_size`, so that they do not overlap.
    decimation : int
        The N: 1 chooses every tile.
    pattern : {"raster", "checker"}
        Count the tiles row by row, as the classic program does, which can leave columns without any; or spread the
        same number evenly.

    Raises
    ------
    BadInput
        For a stride out of range.

    Examples
    --------
    >>> plan_tiles((20, 30), tile_size=10, decimation=4).chosen.tolist()
    [[0, 0], [1, 1]]
    """
    stride = tile_size if stride is None else stride
    if not 1 <= stride <= tile_size:
        raise BadInput(
            f"stride={stride} must be from 1 to the size of the tiles, {tile_size}, or pixels are left uncovered"
        )
    rows = cover_windows(shape[0], tile_size=tile_size, stride=stride)
    cols = cover_windows(shape[1], tile_size=tile_size, stride=stride)
    n_tiles = len(rows) * len(cols)
    decimation = min(decimation, n_tiles)
    if pattern == "raster":
        numbers = np.arange(0, n_tiles, decimation)
    else:
        numbers = _spread_evenly(len(rows), len(cols), decimation)
    return TileGrid(shape, tile_size, rows, cols, np.stack(np.divmod(numbers, len(cols)), axis=1))


def choose_pattern(shape: tuple[int, int], *, tile_size: int, stride: int, decimation: int) -> str:
    """Return ``raster``, or ``checker`` where that would leave more than half of the columns without a tile.

    Examples
    --------
    >>> [choose_pattern((900, cols), tile_size=10, stride=10, decimation=8) for cols in (80, 90)]
    ['checker', 'raster']
    """

    def count_columns(pattern: str) -> int:
        grid = plan_tiles(shape, tile_size=tile_size, stride=stride, decimation=decimation, pattern=pattern)
        return len(np.unique(grid.chosen[:, 1]))

    n_cols = len(cover_windows(shape[1], tile_size=tile_size, stride=stride))
    is_sparse = decimation > 1 and 2 * count_columns("raster") < n_cols
    return "checker" if is_sparse and count_columns("checker") > count_columns("raster") else "raster"


def leave_out_empty(grid: TileGrid, image: LazyImage) -> TileGrid:
    """Keep only tiles of which at least half is valid, or, where there is none, those with most valid pixels.

    Raises
    ------
    NoPicture
        When the image has no valid pixel.
    BadInput
        When none lies in a chosen tile.
    """
    if not image.has_gaps:
        return grid
    size, shares = grid.tile_size, []
    for i, tiles in groupby(grid.chosen, key=itemgetter(0)):
        valid = image.find_valid(slice(int(grid.rows[i]), int(grid.rows[i]) + size))
        for _, j in tiles:
            left = int(grid.cols[j])
            shares.append(1.0 if valid is None else valid[:, left : left + size].mean())
    shown = max(shares)
    if shown == 0:
        raise _explain_none(image)
    return replace(grid, chosen=grid.chosen[np.array(shares) >= min(shown, HALF)], shown=float(shown))


def _explain_none(image: LazyImage) -> BadInput:
    shown = (image.find_valid(rows) for rows in image.list_rows())
    if not any(valid is None or valid.any() for valid in shown):
        return NoPicture("it has no valid pixel (all are nodata or transparent); leave it out")
    return BadInput("every tile that was chosen is nodata or transparent; give a smaller decimation")


def _spread_evenly(n_rows: int, n_cols: int, decimation: int) -> np.ndarray:
    """Choose every Nth tile on a slanted lattice, as far from one another as possible."""
    n_tiles = n_rows * n_cols
    row, col = np.indices((n_rows, n_cols))
    turn = (col + _find_slant(n_rows, n_cols, decimation) * row).ravel() % decimation
    # At the edges a lattice hits a few tiles more or fewer: take one that hits enough, and drop the surplus.
    n_wanted, n_hits = -(-n_tiles // decimation), np.bincount(turn, minlength=decimation)
    best = np.where(n_hits >= n_wanted, n_hits, n_tiles + 1).argmin()
    return np.flatnonzero(turn == best)[np.arange(n_wanted) * n_hits[best] // n_wanted]


def _find_slant(n_rows: int, n_cols: int, decimation: int) -> int:
    """Return the shift of each row against the one above that gives the widest spacing."""
    steps = np.arange(1, min(decimation, n_rows - 1) + 1)

    def measure_spacing(slant: int) -> float:
        shifts = slant * steps % decimation
        shifts = np.minimum(shifts, decimation - shifts)
        return float(np.where(shifts < n_cols, steps**2 + shifts**2, np.inf).min(initial=np.inf))

    # The first candidate is the slant of the raster; small ones are enough for a wide spacing.
    return max([n_cols % decimation, *range(1, min(decimation, _MAX_SLANT) + 1)], key=measure_spacing)


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
