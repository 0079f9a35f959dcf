"""The smart wand: superpixels of a window of an image, and the polygon that goes around some of its pixels.

A window is looked at in the size in which the page shows it; the polygon lies on the pixels of the image.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridseg.errors import BadInput
from hybridseg.io.annotations.doodles import Point, Stroke
from hybridseg.io.annotations.outlines import join_rings, remove_pieces, trace_regions
from hybridseg.io.annotations.strokes import draw_strokes
from hybridseg.io.jsonfiles import parse_whole
from hybridseg.io.windows import ImageWindows
from hybridseg.models.sam import Prompt, Sam

MIN_SCALE, MAX_SCALE = 6, 200
MAX_PROMPTS = 200
# A wider window is looked at in so many pixels: superpixels take half a second then (docs/decisions/022).
MAX_PIXELS = 600_000
_COMPACTNESS, _N_STEPS, _BLUR = 12.0, 4, 1.0
# Smaller pieces of a superpixel, as a share of its area, go to a neighbour.
_LEAST_PIECE = 0.1
_NEAR = [(down, across) for down in (-1, 0, 1) for across in (-1, 0, 1)]


@dataclass(frozen=True)
class View:
    """A window of an image, and in how many pixels it is seen; rows and columns."""

    window: tuple[slice, slice]
    shape: tuple[int, int]

    @classmethod
    def parse(cls, record: Mapping[str, Any], whole: tuple[int, int]) -> View:
        """Make a view from the `window` (first row and column, rows, columns) and the `shape` that the page sends.

        Raises
        ------
        BadInput
            When they are no such numbers, or the window does not lie in the image.
        """
        window, shape = record.get("window"), record.get("shape")
        if not (isinstance(window, list) and isinstance(shape, list) and (len(window), len(shape)) == (4, 2)):
            raise BadInput("a view is a window, of four whole numbers, and a shape, of two")
        row, col, rows, cols = map(parse_whole, window)
        seen_rows, seen_cols = map(parse_whole, shape)
        if not (0 <= row < row + rows <= whole[0] and 0 <= col < col + cols <= whole[1]):
            raise BadInput("that window lies outside of the image; move back to the image")
        if min(seen_rows, seen_cols) < 1:
            raise BadInput("a window is seen in one pixel or more")
        return cls((slice(row, row + rows), slice(col, col + cols)), (seen_rows, seen_cols))

    @property
    def sides(self) -> tuple[int, int]:
        """Rows and columns of the window in pixels of the image."""
        rows, cols = (part.stop - part.start for part in self.window)
        return rows, cols

    @property
    def map_shape(self) -> tuple[int, int]:
        """Rows and columns of maps of the window: as it is seen, but no finer than the image, and of bounded size."""
        rows, cols = (min(pair) for pair in zip(self.shape, self.sides, strict=True))
        share = min(math.sqrt(MAX_PIXELS / (rows * cols)), 1.0)
        rows = max(int(rows * share), 1)
        return rows, max(min(int(cols * share), MAX_PIXELS // rows), 1)

    def outline(self, runs: Sequence[Point]) -> tuple[Point, ...]:
        """Return the corners of the polygon in the image that covers what runs of pixels cover of a map of the window.

        Parameters
        ----------
        runs : sequence of (float, float)
            The first and the last pixel of each run in a row.

        Raises
        ------
        BadInput
            When they cover no pixel.

        Examples
        --------
        >>> View((slice(10, 14), slice(0, 8)), (2, 4)).outline(((0, 1), (0, 2)))
        ((9.5, 1.5), (11.5, 1.5), (11.5, 5.5), (9.5, 5.5))
        """
        mask = draw_strokes(self.map_shape, [Stroke("region", 0, 1.0, tuple(runs))])
        rings = [ring for _, some in trace_regions(mask.astype(np.int32)) for ring in some]
        if not rings:
            raise BadInput("that area covers no pixel; choose a larger one")
        factors = np.divide(self.sides, self.map_shape)
        first = [part.start for part in self.window]
        # Corners of pixels of the image, so that the way from one ring to another meets the centre of none.
        corners = np.round(join_rings(rings) * factors) + first - 0.5
        return tuple(map(tuple, corners.tolist()))

    def locate(self, point: Sequence[Any]) -> tuple[float, float]:
        """Return where a point of the image, (row, column), lies in maps of the window.

        Raises
        ------
        BadInput
            When it is no point, or not in the window.
        """
        row, col = (
            (_parse_number(value) + 0.5 - part.start) * size / side
            for value, part, size, side in zip(point, self.window, self.map_shape, self.sides, strict=True)
        )
        if not (0 <= row <= self.map_shape[0] and 0 <= col <= self.map_shape[1]):
            raise BadInput("that point lies outside of the window in view")
        return row - 0.5, col - 0.5

    def parse_prompt(self, record: Mapping[str, Any]) -> Prompt:
        """Make a prompt for a network from the `points` ([row, column, 1 or 0]) and the `box` that the page sends.

        Raises
        ------
        BadInput
            When there are none, too many, or they are not in the window.
        """
        points, box = record.get("points"), record.get("box")
        if not isinstance(points, list) or not all(isinstance(point, list) and len(point) == 3 for point in points):
            raise BadInput("points are lists of a row, a column, and 1 or 0")
        if not (box is None or (isinstance(box, list) and len(box) == 4)):
            raise BadInput("a box is four numbers")
        if not 0 < len(points) + (box is not None) <= MAX_PROMPTS:
            raise BadInput(f"give 1 to {MAX_PROMPTS} points or a box; apply the area and begin a new one")
        inside = tuple((*self.locate(point[:2]), _parse_number(point[2]) > 0) for point in points)
        if box is None:
            return Prompt(inside)
        (top, left), (bottom, right) = self.locate(box[:2]), self.locate(box[2:])
        return Prompt(inside, (min(top, bottom), min(left, right), max(top, bottom), max(left, right)))


def _parse_number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadInput("a position is two numbers")
    return float(value)


def segment_in(windows: ImageWindows, view: View, sam: Sam, prompt: Prompt, *, key: Hashable) -> np.ndarray:
    """Return the area that networks find in a view of an image, (rows, cols) uint16: 1 where it is."""
    image = windows.read(*view.window, view.map_shape)
    return sam.segment(image, prompt, key=key).astype(np.uint16)


def find_superpixels_in(windows: ImageWindows, view: View, scale: int) -> np.ndarray:
    """Return the superpixels of a view of an image, see `find_superpixels`."""
    return find_superpixels(windows.read(*view.window, view.map_shape), scale)


def find_superpixels(image: np.ndarray, scale: int) -> np.ndarray:
    """Return the superpixels of an image: connected areas of similar colour, by simple linear iterative clustering.

    Each begins as a square and only competes with the eight around it, so that time and memory grow with the number
    of pixels alone.

    Parameters
    ----------
    image : numpy.ndarray
        (rows, cols, 3) uint8.
    scale : int
        Side of a superpixel in pixels, on average.

    Returns
    -------
    numpy.ndarray
        (rows, cols) uint16: the number of the superpixel that a pixel belongs to.

    Raises
    ------
    BadInput
        When the scale is out of range, or the image too large.

    Examples
    --------
    >>> image = np.zeros((12, 24, 3), np.uint8)
    >>> image[:, 14:] = 255
    >>> find_superpixels(image, 12)[5].tolist()
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    """
    if not MIN_SCALE <= scale <= MAX_SCALE:
        raise BadInput(f"superpixels of {scale} pixels cannot be made; give {MIN_SCALE} to {MAX_SCALE}")
    rows, cols = image.shape[:2]
    if rows * cols > 2 * MAX_PIXELS:
        raise BadInput(f"superpixels are made of up to {2 * MAX_PIXELS:,} pixels at once")
    down, across = -(-rows // scale), -(-cols // scale)
    pixels = _to_cells(_describe_pixels(image, scale), (down, across), scale)
    near, is_there = _find_neighbours(down, across)
    cells = np.arange(down * across)
    members = np.repeat(cells, scale * scale)
    for _ in range(_N_STEPS):
        centres = _average(pixels, members, len(cells))
        # The distance to a centre, without the part that is the same for all of them.
        far = np.where(is_there, (centres**2).sum(axis=1)[near], np.inf).astype(np.float32)
        scores = pixels @ (-2 * centres[near]).transpose(0, 2, 1)
        scores += far[:, None]
        members = np.take_along_axis(near, scores.argmin(axis=2), axis=1).ravel()
    found = members.reshape(down, across, scale, scale).swapaxes(1, 2).reshape(down * scale, across * scale)
    whole = remove_pieces(found[:rows, :cols].astype(np.int32), round(_LEAST_PIECE * scale * scale))
    return whole.astype(np.uint16)


def _describe_pixels(image: np.ndarray, scale: int) -> np.ndarray:
    """Return what makes pixels alike, (rows, cols, 5) float32: their colours, smoothed, and where they are."""
    from scipy.ndimage import gaussian_filter

    rows, cols = image.shape[:2]
    found = np.empty((rows, cols, 5), np.float32)
    gaussian_filter(image.astype(np.float32), (_BLUR, _BLUR, 0), output=found[..., :3])
    found[..., 3] = np.arange(rows)[:, None] * (_COMPACTNESS / scale)
    found[..., 4] = np.arange(cols) * (_COMPACTNESS / scale)
    return found


def _to_cells(pixels: np.ndarray, grid: tuple[int, int], scale: int) -> np.ndarray:
    """Return the pixels of each square of a grid, (squares, pixels, features); the last squares repeat the border."""
    rows, cols, n_features = pixels.shape
    more = (0, grid[0] * scale - rows), (0, grid[1] * scale - cols), (0, 0)
    padded = np.pad(pixels, more, mode="edge")
    cells = padded.reshape(grid[0], scale, grid[1], scale, n_features).swapaxes(1, 2)
    return np.ascontiguousarray(cells.reshape(grid[0] * grid[1], scale * scale, n_features))


def _find_neighbours(down: int, across: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the nine squares around and at each square of a grid, and which of these there are."""
    row, col = (place.reshape(-1, 1) for place in np.indices((down, across)))
    rows, cols = (place + np.array(steps) for place, steps in zip((row, col), zip(*_NEAR, strict=True), strict=True))
    is_there = (rows >= 0) & (rows < down) & (cols >= 0) & (cols < across)
    return np.where(is_there, rows * across + cols, row * across + col), is_there


def _average(pixels: np.ndarray, members: np.ndarray, n_cells: int) -> np.ndarray:
    """Return the mean of the pixels of each superpixel, (superpixels, features) float32."""
    counts = np.maximum(np.bincount(members, minlength=n_cells), 1)
    flat = pixels.reshape(-1, pixels.shape[2])
    sums = [np.bincount(members, flat[:, k], minlength=n_cells) for k in range(flat.shape[1])]
    return (np.stack(sums, axis=1) / counts[:, None]).astype(np.float32)
