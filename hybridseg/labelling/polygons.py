"""Polygons that were closed, and can have another shape: the latest one, or one at a point of the image."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hybridseg.errors import BadInput
from hybridseg.io.annotations.doodles import Point, Stroke, StrokeLog

# More corners than a hand can move one by one.
_MAX_CORNERS = 2000


def describe_latest(log: StrokeLog) -> dict[str, Any] | None:
    """Return the polygon that the last change drew or reshaped, for the page; None for any other change."""
    if not log.strokes or log.strokes[-1].tool != "polygon" or log.strokes[-1].group:
        return None
    last = log.strokes[-1]
    return _describe(log, len(log.strokes) - 1 if last.replaces is None else last.replaces, last)


def describe_at(log: StrokeLog, layer: str, place: Point) -> dict[str, Any] | None:
    """Return the topmost polygon of a layer around a row and column, for the page; None where there is none."""
    firsts = [number for number, stroke in enumerate(log.strokes) if stroke.replaces is None]
    for number, shape in reversed(list(zip(firsts, log.seen, strict=True))):
        if shape.tool == "polygon" and shape.layer == layer and _is_inside(shape, place):
            return _describe(log, number, shape)
    return None


def reshape(log: StrokeLog, shape: Stroke, drawn: Any) -> Stroke:
    """Return a new shape of a polygon with all else that the polygon has.

    Parameters
    ----------
    shape : Stroke
        Its `replaces` is the number of the polygon.
    drawn : float
        When that was drawn: another one may have its number by now.

    Raises
    ------
    BadInput
        When there is no such polygon any more.
    """
    number = shape.replaces
    first = log.strokes[number] if number is not None and 0 <= number < len(log.strokes) else None
    if first is None or first.time != drawn:
        raise BadInput("that polygon is no longer there; double-click on one to change it")
    return replace(first, points=shape.points, time=shape.time, group="", replaces=number)


def _describe(log: StrokeLog, number: int, shape: Stroke) -> dict[str, Any] | None:
    if len(shape.points) > _MAX_CORNERS:
        return None
    first = log.strokes[number]
    return {
        "replaces": number, "drawn": first.time, "layer": shape.layer, "class": shape.class_id, "points": shape.points
    }  # fmt: skip


def _is_inside(polygon: Stroke, place: Point) -> bool:
    """Return whether a point is inside, by the even-odd rule."""
    row, col = place
    points, inside = polygon.points, False
    for (row0, col0), (row1, col1) in zip(points, (*points[1:], points[0]), strict=True):
        if (row0 > row) != (row1 > row) and col < col0 + (row - row0) / (row1 - row0) * (col1 - col0):
            inside = not inside
    return inside
