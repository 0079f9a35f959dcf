"""Strokes become maps: which pixels a pen, a polygon, a region or an eraser covers, and where that can be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from hybridseg.errors import BadInput
from hybridseg.io.doodles import MAX_POINTS, Point, Stroke


def draw_strokes(shape: tuple[int, int], strokes: Iterable[Stroke]) -> np.ndarray:
    """Draw strokes in their order.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the image.
    strokes : iterable of Stroke

    Returns
    -------
    numpy.ndarray
        (rows, cols) uint8 seeds: 0 = unlabelled, class k is k + 1.

    Examples
    --------
    >>> draw_strokes((3, 5), [Stroke("pen", 1, 1.0, ((1.0, 1.0), (1.0, 3.0)))]).tolist()
    [[0, 0, 0, 0, 0], [0, 2, 2, 2, 0], [0, 0, 0, 0, 0]]
    """
    seeds = np.zeros(shape, np.uint8)
    for stroke in strokes:
        draw_stroke(seeds, stroke)
    return seeds


def draw_stroke(seeds: np.ndarray, stroke: Stroke, *, origin: tuple[int, int] = (0, 0)) -> None:
    """Draw one more stroke on seeds, in place.

    Parameters
    ----------
    seeds : numpy.ndarray
        (rows, cols) uint8.
    stroke : Stroke
    origin : tuple of int
        Where in the image its first pixel lies, when the array is a part of it.
    """
    value = 0 if stroke.tool == "erase" else stroke.class_id + 1
    part = _Part(seeds, origin)
    if stroke.tool == "polygon":
        _fill_polygon(part, stroke.points, value)
    elif stroke.tool == "region":
        _draw_runs(part, stroke.points, value)
    else:
        for start, end in zip(stroke.points, stroke.points[1:] or stroke.points[:1], strict=False):
            _draw_line(part, start, end, stroke.width / 2, value)


def find_bounds(stroke: Stroke, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Give rows and columns of the image outside of which a stroke changes nothing."""
    top, left, bottom, right = stroke.extent
    reach = 1.0 if stroke.tool in ("polygon", "region") else max(stroke.width / 2, 0.5) + 1
    ends = (top - reach, bottom + reach + 1, shape[0]), (left - reach, right + reach + 1, shape[1])
    rows, cols = (slice(int(min(max(low, 0), size)), int(min(max(high, 0), size))) for low, high, size in ends)
    return rows, cols


def mask_to_points(mask: np.ndarray) -> tuple[Point, ...]:
    """Give the points of the region that covers exactly the true pixels of a mask.

    Parameters
    ----------
    mask : numpy.ndarray
        (rows, cols) bool.

    Returns
    -------
    tuple of (float, float)

    Raises
    ------
    BadInput
        When its edge is too ragged to be kept.

    Examples
    --------
    >>> mask_to_points(np.array([[False, True, True], [True, False, True]]))
    ((0.0, 1.0), (0.0, 2.0), (1.0, 0.0), (1.0, 0.0), (1.0, 2.0), (1.0, 2.0))
    """
    padded = np.zeros((mask.shape[0], mask.shape[1] + 2), bool)
    padded[:, 1:-1] = mask
    rows, cols = np.nonzero(padded[:, 1:] != padded[:, :-1])
    if len(rows) > MAX_POINTS:
        raise BadInput(
            f"an area has an edge so ragged that it takes {len(rows):,} points, and {MAX_POINTS:,} are kept; smooth "
            "the label map first"
        )
    # Where it begins to be true is the first pixel of a run; where it ends, one behind the last.
    cols = cols - (np.arange(len(cols)) % 2)
    return tuple(zip(rows.astype(float).tolist(), cols.astype(float).tolist(), strict=True))


def find_area(values: np.ndarray, place: tuple[int, int]) -> np.ndarray:
    """Find the connected area of one value around a pixel, as the fill of a paint program does.

    Parameters
    ----------
    values : numpy.ndarray
        (rows, cols).
    place : tuple of int

    Returns
    -------
    numpy.ndarray
        (rows, cols) bool.

    Examples
    --------
    >>> find_area(np.array([[0, 1, 0], [0, 1, 0]]), (0, 2)).astype(int).tolist()
    [[0, 0, 1], [0, 0, 1]]
    """
    from scipy.ndimage import label

    areas, _ = label(values == values[place])
    return areas == areas[place]


@dataclass(frozen=True, eq=False)
class _Part:
    """Some rows and columns of a map. Strokes are reckoned where they lie in the whole, so that none is a hair off."""

    values: np.ndarray
    origin: tuple[int, int]

    def clip(self, axis: int, low: float, high: float) -> slice:
        """Give the whole numbers from low to high that the part has."""
        first = self.origin[axis]
        return slice(max(int(np.ceil(low)), first), min(int(np.floor(high)) + 1, first + self.values.shape[axis]))

    def view(self, rows: slice, cols: slice) -> np.ndarray:
        """Give what lies at these rows and columns of the whole."""
        row, col = self.origin
        return self.values[rows.start - row : rows.stop - row, cols.start - col : cols.stop - col]


def _draw_line(part: _Part, start: Point, end: Point, radius: float, value: int) -> None:
    """Set every pixel whose centre is not farther than the radius from a line; the nearest pixel in any case."""
    # The thinnest pen still leaves a line without gaps.
    radius = max(radius, 0.5)
    rows, cols = (part.clip(i, min(start[i], end[i]) - radius, max(start[i], end[i]) + radius) for i in (0, 1))
    if rows.start >= rows.stop or cols.start >= cols.stop:
        return
    row = np.arange(rows.start, rows.stop)[:, None] - start[0]
    col = np.arange(cols.start, cols.stop)[None] - start[1]
    way = (end[0] - start[0], end[1] - start[1])
    length = way[0] ** 2 + way[1] ** 2
    share = np.clip((row * way[0] + col * way[1]) / length, 0, 1) if length else np.zeros((1, 1))
    distance = (row - share * way[0]) ** 2 + (col - share * way[1]) ** 2
    part.view(rows, cols)[distance <= radius**2] = value


def _draw_runs(part: _Part, points: tuple[Point, ...], value: int) -> None:
    for row, first, _, last in np.array(points).round().astype(int).reshape(-1, 4).tolist():
        rows, cols = part.clip(0, row, row), part.clip(1, first, last)
        if rows.start < rows.stop and cols.start < cols.stop:
            part.view(rows, cols)[:] = value


def _fill_polygon(part: _Part, points: tuple[Point, ...], value: int) -> None:
    """Set every pixel whose centre is inside, by the even-odd rule: row by row, between the crossings of its sides."""
    corners = np.array(points)
    ends = np.roll(corners, -1, axis=0)
    inside = part.clip(0, corners[:, 0].min(), corners[:, 0].max())
    for row in range(inside.start, inside.stop):
        # A corner belongs to the side that goes down from it, so that no row crosses it twice.
        crosses = (corners[:, 0] <= row) != (ends[:, 0] <= row)
        a, b = corners[crosses], ends[crosses]
        sides = np.sort(a[:, 1] + (row - a[:, 0]) / (b[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1]))
        for left, right in zip(sides[::2], sides[1::2], strict=True):
            cols = part.clip(1, left, right)
            if cols.start < cols.stop:
                part.view(slice(row, row + 1), cols)[:] = value
