"""Strokes become seeds: which pixels a pen, a polygon or an eraser covers."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from hybridseg.io.doodles import Point, Stroke


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


def draw_stroke(seeds: np.ndarray, stroke: Stroke) -> None:
    """Draw one more stroke on seeds, (rows, cols) uint8, in place."""
    value = 0 if stroke.tool == "erase" else stroke.class_id + 1
    if stroke.tool == "polygon":
        _fill_polygon(seeds, stroke.points, value)
        return
    for start, end in zip(stroke.points, stroke.points[1:] or stroke.points[:1], strict=False):
        _draw_line(seeds, start, end, stroke.width / 2, value)


def _draw_line(seeds: np.ndarray, start: Point, end: Point, radius: float, value: int) -> None:
    """Set every pixel whose centre is not farther than the radius from a line; the nearest pixel in any case."""
    # The thinnest pen still leaves a line without gaps.
    radius = max(radius, 0.5)
    rows, cols = (_clip(start[i], end[i], radius, seeds.shape[i]) for i in (0, 1))
    if rows.start >= rows.stop or cols.start >= cols.stop:
        return
    row = np.arange(rows.start, rows.stop)[:, None] - start[0]
    col = np.arange(cols.start, cols.stop)[None] - start[1]
    way = (end[0] - start[0], end[1] - start[1])
    length = way[0] ** 2 + way[1] ** 2
    share = np.clip((row * way[0] + col * way[1]) / length, 0, 1) if length else np.zeros((1, 1))
    distance = (row - share * way[0]) ** 2 + (col - share * way[1]) ** 2
    seeds[rows, cols][distance <= radius**2] = value


def _clip(first: float, last: float, radius: float, size: int) -> slice:
    low, high = min(first, last) - radius, max(first, last) + radius
    return slice(max(int(np.ceil(low)), 0), min(int(np.floor(high)) + 1, size))


def _fill_polygon(seeds: np.ndarray, points: tuple[Point, ...], value: int) -> None:
    """Set every pixel whose centre is inside, by the even-odd rule: row by row, between the crossings of its sides."""
    corners = np.array(points)
    ends = np.roll(corners, -1, axis=0)
    top, bottom = max(int(np.ceil(corners[:, 0].min())), 0), min(int(np.floor(corners[:, 0].max())), len(seeds) - 1)
    for row in range(top, bottom + 1):
        # A corner belongs to the side that goes down from it, so that no row crosses it twice.
        crosses = (corners[:, 0] <= row) != (ends[:, 0] <= row)
        a, b = corners[crosses], ends[crosses]
        cols = np.sort(a[:, 1] + (row - a[:, 0]) / (b[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1]))
        for left, right in zip(cols[::2], cols[1::2], strict=True):
            seeds[row, max(int(np.ceil(left)), 0) : max(int(np.floor(right)) + 1, 0)] = value
