"""Draw strokes as seeds: which pixels a pen, a polygon, a region or an eraser covers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import pairwise

import numpy as np

from hybridseg.errors import BadInput
from hybridseg.io.annotations.canvas import Canvas, Runs
from hybridseg.io.annotations.doodles import MAX_POINTS, Point, Stroke

# Takes a second or two. A stroke by hand has some thousands; a pen of 10,000 pixels could otherwise take hours.
MAX_RUNS = 10_000_000
# A bound on memory.
_RUNS_AT_ONCE = 1 << 17
# How far around a click an area is looked for first, and the most pixels: about 1.5 GB.
_FILL_REACH, _MAX_FILLED = 2048, 150_000_000
# So few are drawn faster than compared.
_FEW_LINES = 8


def draw_strokes(shape: tuple[int, int], strokes: Iterable[Stroke]) -> np.ndarray:
    """Return the seeds, uint8 of a shape (rows, cols), that strokes make in their order.

    Examples
    --------
    >>> draw_strokes((3, 5), [Stroke("pen", 1, 1.0, ((1.0, 1.0), (1.0, 3.0)))]).tolist()
    [[0, 0, 0, 0, 0], [0, 2, 2, 2, 0], [0, 0, 0, 0, 0]]
    """
    seeds = np.zeros(shape, np.uint8)
    with Canvas(seeds) as canvas:
        for stroke in strokes:
            put_stroke(canvas, stroke)
    return seeds


def draw_stroke(seeds: np.ndarray, stroke: Stroke, *, origin: tuple[int, int] = (0, 0)) -> None:
    """Draw one more stroke on seeds, in place; `origin` is the place of their first pixel in the image."""
    with Canvas(seeds, origin) as canvas:
        put_stroke(canvas, stroke)


def put_stroke(canvas: Canvas, stroke: Stroke, value: int | None = None) -> None:
    """Put a stroke on a canvas of seeds; a `value` takes the place of its class."""
    if value is None:
        value = 0 if stroke.tool == "erase" else stroke.class_id + 1
    points = np.array(stroke.points)
    if stroke.tool == "region":
        rows, firsts, _, lasts = points.round().astype(int).reshape(-1, 4).T
        canvas.add((rows, firsts, lasts), value)
        return
    cover: Callable[..., Runs]
    if stroke.tool == "polygon":
        starts, ends, cover = points, np.roll(points, -1, axis=0), _cover_polygon
        # A corner belongs to the side below it, so that no row crosses it twice.
        tops = np.ceil(np.minimum(starts[:, 0], ends[:, 0]))
        bottoms = np.ceil(np.maximum(starts[:, 0], ends[:, 0])) - 1
    else:
        # The thinnest pen still draws a line without gaps.
        radius = max(stroke.width / 2, 0.5)
        # A dot is a line from a point to itself; where a pen goes to and fro it draws nothing new.
        lines = np.hstack([points[: max(len(points) - 1, 1)], points[1 - len(points) :]])
        lines = np.unique(lines, axis=0) if len(lines) > _FEW_LINES else lines
        starts, ends, cover = lines[:, :2], lines[:, 2:], partial(_cover_lines, radius)
        tops = np.ceil(np.minimum(starts[:, 0], ends[:, 0]) - radius)
        bottoms = np.floor(np.maximum(starts[:, 0], ends[:, 0]) + radius)
    first, last = canvas.origin[0], canvas.origin[0] + canvas.values.shape[0] - 1
    tops, bottoms = np.clip(tops, first, last + 1).astype(int), np.clip(bottoms, first - 1, last).astype(int)
    for number, (lines, rows) in enumerate(_walk_rows(tops, bottoms)):
        canvas.add(cover(rows, starts[lines], ends[lines]), value, is_same=number > 0)


def find_bounds(stroke: Stroke, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Return the rows and columns of the image outside of which a stroke changes nothing."""
    top, left, bottom, right = stroke.extent
    reach = 1.0 if stroke.tool in ("polygon", "region") else max(stroke.width / 2, 0.5) + 1
    ends = (top - reach, bottom + reach + 1, shape[0]), (left - reach, right + reach + 1, shape[1])
    rows, cols = (slice(int(min(max(low, 0), size)), int(min(max(high, 0), size))) for low, high, size in ends)
    return rows, cols


def mask_to_points(mask: np.ndarray) -> tuple[Point, ...]:
    """Return the points of the region that covers exactly the true pixels of a mask, (rows, cols) bool.

    Raises
    ------
    BadInput
        When its outline takes too many points.

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
            f"the outline of an area is too ragged: it takes {len(rows):,} points, and the limit is {MAX_POINTS:,}; "
            "smooth the label map first"
        )
    # The mask changes at the first pixel of a run, and one past its last.
    cols = cols - (np.arange(len(cols)) % 2)
    return tuple(zip(rows.astype(float).tolist(), cols.astype(float).tolist(), strict=True))


def fill_area(
    read: Callable[[slice, slice], np.ndarray], shape: tuple[int, int], place: tuple[int, int]
) -> tuple[Point, ...]:
    """Return the points of the region that `find_area` finds around a pixel, reading no more of the map than it takes.

    Parameters
    ----------
    read : callable
        Returns the part of the map within two slices.

    Raises
    ------
    BadInput
        When the area is too large to be filled at once, or too ragged.
    """
    reach = _FILL_REACH
    while True:
        rows, cols = (slice(max(p - reach, 0), min(p + reach, n)) for p, n in zip(place, shape, strict=True))
        if (rows.stop - rows.start) * (cols.stop - cols.start) > _MAX_FILLED:
            raise BadInput(
                f"that area extends over more than {_MAX_FILLED:,} pixels, too many to fill at once; divide it with a "
                "stroke, or draw a polygon"
            )
        area = find_area(read(rows, cols), (place[0] - rows.start, place[1] - cols.start))
        edges = ((rows, 0, shape[0]), (cols, 1, shape[1]))
        if not any(
            (part.start > 0 and area.take(0, axis).any()) or (part.stop < size and area.take(-1, axis).any())
            for part, axis, size in edges
        ):
            return tuple((row + rows.start, col + cols.start) for row, col in mask_to_points(area))
        reach *= 2


def find_area(values: np.ndarray, place: tuple[int, int]) -> np.ndarray:
    """Return the connected area of equal value around a pixel, (rows, cols) bool, as the fill of a paint program does.

    Examples
    --------
    >>> find_area(np.array([[0, 1, 0], [0, 1, 0]]), (0, 2)).astype(int).tolist()
    [[0, 0, 1], [0, 0, 1]]
    """
    from scipy.ndimage import label

    areas, _ = label(values == values[place])
    return areas == areas[place]


def _walk_rows(tops: np.ndarray, bottoms: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield pairs of a line and a row that it crosses, as two arrays, some rows of all lines at a time."""
    lines = np.flatnonzero(tops <= bottoms)
    tops, bottoms = tops[lines], bottoms[lines]
    if int((bottoms - tops + 1).sum()) > MAX_RUNS:
        raise BadInput(
            "one stroke covers the image too many times over; draw it as several strokes, or with a thinner pen"
        )
    if not len(lines):
        return
    first, n_rows = int(tops.min()), int(bottoms.max() - tops.min()) + 1
    begins, ends = np.bincount(tops - first, minlength=n_rows + 1), np.bincount(bottoms - first + 1)
    n_pairs = np.cumsum(np.cumsum(begins - ends))[:-1]
    cuts = np.flatnonzero(np.diff(n_pairs // _RUNS_AT_ONCE)) + 1
    for top, bottom in pairwise([0, *cuts.tolist(), n_rows]):
        low, high = np.maximum(tops, first + top), np.minimum(bottoms, first + bottom - 1)
        counts = np.maximum(high - low + 1, 0)
        places = np.repeat(np.arange(len(lines)), counts)
        rows = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts) + low[places]
        yield lines[places], rows


def _cover_lines(radius: float, rows: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> Runs:
    """Return the run of pixels of a row whose centres are no farther than the radius from a line."""
    row, col = rows - starts[:, 0], starts[:, 1]
    way_row, way_col = (ends - starts).T
    length = np.hypot(way_row, way_col)
    with np.errstate(invalid="ignore", over="ignore"):
        # Around its two ends; NaN where the row is too far from them.
        near_start = np.sqrt(radius**2 - row**2)
        near_end = np.sqrt(radius**2 - (rows - ends[:, 0]) ** 2)
        # Beside the line: between its ends, and within the radius on either side.
        between = _solve(-row * way_row, length**2 - row * way_row, way_col)
        beside = _solve(row * way_col - radius * length, row * way_col + radius * length, way_row)
        low, high = col + np.maximum(between[0], beside[0]), col + np.minimum(between[1], beside[1])
        is_strip = (low <= high) & (length > 0)
        low, high = np.where(is_strip, low, np.nan), np.where(is_strip, high, np.nan)
        low = np.fmin(np.fmin(col - near_start, ends[:, 1] - near_end), low)
        high = np.fmax(np.fmax(col + near_start, ends[:, 1] + near_end), high)
    found = np.isfinite(low)
    return rows[found], np.ceil(low[found]), np.floor(high[found])


def _solve(low: np.ndarray, high: np.ndarray, factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the greatest x for which low <= factor * x <= high."""
    divisor = np.where(factor == 0, 1, factor)
    first, last = low / divisor, high / divisor
    first, last = np.minimum(first, last), np.maximum(first, last)
    # Any x, or none.
    edge = np.where((low <= 0) & (high >= 0), np.inf, -np.inf)
    return np.where(factor == 0, -edge, first), np.where(factor == 0, edge, last)


def _cover_polygon(rows: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> Runs:
    """Return the runs of pixels of a row whose centres are inside a polygon, by the even-odd rule."""
    cols = starts[:, 1] + (rows - starts[:, 0]) / (ends[:, 0] - starts[:, 0]) * (ends[:, 1] - starts[:, 1])
    order = np.lexsort((cols, rows))
    rows, cols = rows[order], cols[order]
    return rows[::2], np.ceil(cols[::2]), np.floor(cols[1::2])
