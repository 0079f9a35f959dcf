"""labelme files (the tool by Kentaro Wada): polygons, lines, points and masks on one image, in JSON."""

from __future__ import annotations

import base64
import binascii
import io
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridseg.errors import BadInput, located
from hybridseg.io.annotations.canvas import Mask
from hybridseg.io.annotations.doodles import Point, Stroke
from hybridseg.io.annotations.items import Annotations, Item, find_class
from hybridseg.io.jsonfiles import parse_number, parse_whole
from hybridseg.io.labels.pngcheck import check_png_stream
from hybridseg.io.pictures import list_strips, open_picture
from hybridseg.io.rasters import check_pixel_count

AREA_KINDS = ("polygon", "rectangle", "oriented_rectangle", "circle", "mask")
LINE_KINDS = ("line", "linestrip", "point", "points")

_PNG_HEAD = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_MAX_CORNERS = 1000
# Of lines and points, which have none of their own.
_LINE_WIDTH = 3.0


@dataclass(frozen=True)
class _Shape:
    """What was drawn with one class: strokes, or a PNG in base64 with its box."""

    name: str | None
    strokes: tuple[Stroke, ...]
    mask: str | None = None
    box: tuple[Point, ...] | None = None


def parse_labelme(record: Mapping[str, Any], *, shape: tuple[int, int]) -> Annotations:
    """Read the JSON of a labelme file; its masks must lie in an image of a shape.

    Raises
    ------
    BadInput
        Naming the shape that is damaged.

    Examples
    --------
    >>> row = {"label": "sand", "shape_type": "point", "points": [[3, 2]]}
    >>> [item.drawn.points for item in parse_labelme({"shapes": [row]}, shape=(4, 6)).items]
    [((1.5, 2.5),)]
    """
    rows = record.get("shapes")
    if not isinstance(rows, list):
        raise BadInput("it has no list of `shapes`; save it in labelme again")
    shapes = []
    for number, row in enumerate(rows, start=1):
        with located(f"shape {number}"):
            shapes.append(_parse_shape(row))
    name = record.get("imagePath")
    base_name = name.replace("\\", "/").rsplit("/", 1)[-1] if isinstance(name, str) else ""
    n_empty = sum(found.box is None and not found.strokes for found in shapes)
    return Annotations(
        _parse_size(record),
        base_name or None,
        {found.name: None for found in shapes if found.name is not None},
        _list_items(shapes, shape),
        (f"{n_empty} of its shapes have too few points and were left out",) if n_empty else (),
    )


def _list_items(shapes: Sequence[_Shape], size: tuple[int, int]) -> Iterator[Item]:
    for number, found in enumerate(shapes, start=1):
        yield from (Item(found.name, stroke) for stroke in found.strokes)
        if found.box is not None:
            with located(f"shape {number}"):
                mask = _decode_mask(found, size)
            yield Item(found.name, mask)


def _decode_mask(shape: _Shape, size: tuple[int, int]) -> Mask:
    """Unpack the mask of a shape, after its size was checked."""
    if shape.mask is None or shape.box is None or len(shape.box) != 2:
        raise BadInput("a mask has no picture or no box; save it in labelme again")
    (top, left), (bottom, right) = ((math.floor(row + 0.5), math.floor(col + 0.5)) for row, col in shape.box)
    if not (0 <= top <= bottom < size[0] and 0 <= left <= right < size[1]):
        raise BadInput(f"a mask lies outside of the image of {size[0]} x {size[1]} pixels; save it in labelme again")
    try:
        data = base64.b64decode(shape.mask, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadInput(f"a mask is not base64 ({error}); save it in labelme again") from error
    if not data.startswith(_PNG_HEAD) or len(data) < 33:
        raise BadInput("a mask is not a PNG; save it in labelme again")
    n_cols, n_rows = struct.unpack(">II", data[16:24])
    if (n_rows, n_cols) != (bottom - top + 1, right - left + 1):
        raise BadInput(
            f"a mask has {n_rows} x {n_cols} pixels, its box {bottom - top + 1} x {right - left + 1}; save it in "
            "labelme again"
        )
    return Mask(_decode_png(data), (top, left))


def _decode_png(data: bytes) -> np.ndarray:
    told = {"where": "the PNG of a mask", "remedy": "save it in labelme again"}
    with open_picture(data, formats=("PNG",), **told) as picture:
        # Pillow overlooks damage.
        check_png_stream(io.BytesIO(data))
        if picture.mode not in ("1", "L", "P"):
            raise BadInput(f"a mask is a PNG of mode {picture.mode}, not of one band; save it in labelme again")
        inside = np.empty((picture.height, picture.width), bool)
        for rows, strip in list_strips(picture):
            inside[rows] = strip != 0
    return inside


def _parse_shape(row: Any) -> _Shape:
    if not isinstance(row, dict):
        raise BadInput("it is not an object; save it in labelme again")
    # Files from before there were other kinds do not name it.
    kind = row.get("shape_type") or "polygon"
    if kind not in AREA_KINDS + LINE_KINDS:
        known = ", ".join(AREA_KINDS + LINE_KINDS)
        raise BadInput(f"its shape_type is {str(kind)[:40]!r}; known are {known}: draw it as one of these")
    label, mask, places = row.get("label"), row.get("mask"), row.get("points")
    if label is None:
        raise BadInput("it has no label; give it one in labelme")
    if not isinstance(label, str):
        label = f"{parse_number(label):g}"
    if not isinstance(places, list) or not all(isinstance(place, list) and len(place) == 2 for place in places):
        raise BadInput("its `points` are not a list of x, y; save it in labelme again")
    points = tuple((parse_number(y) - 0.5, parse_number(x) - 0.5) for x, y in places)
    if kind == "circle" and len(points) != 2:
        raise BadInput("a circle is its centre and a point on its rim; draw it again")
    name = find_class(label)
    if kind == "mask":
        return _Shape(name, (), mask if isinstance(mask, str) else None, points)
    return _Shape(name, _make_strokes(name, kind, points))


def _make_strokes(name: str | None, kind: str, points: tuple[Point, ...]) -> tuple[Stroke, ...]:
    """Return what covers the same pixels; nothing where there are too few points."""
    if kind in LINE_KINDS:
        # A point stands alone, a line goes through all of its points.
        parts = [(point,) for point in points] if kind.startswith("point") else [points]
        tool = "pen" if name is not None else "erase"
        return tuple(Stroke(tool, 0, _LINE_WIDTH, part) for part in parts if part)
    if kind == "circle":
        points = _outline_circle(points)
    elif kind == "rectangle" and len(points) == 2:
        (top, left), (bottom, right) = points
        points = ((top, left), (top, right), (bottom, right), (bottom, left))
    return (Stroke("polygon", 0, 1.0, points, layer="result"),) if len(points) >= 3 else ()


def _parse_size(record: Mapping[str, Any]) -> tuple[int, int] | None:
    rows, cols = record.get("imageHeight"), record.get("imageWidth")
    if rows is None or cols is None:
        return None
    with located("imageHeight and imageWidth"):
        size = parse_whole(rows), parse_whole(cols)
    check_pixel_count("its image", *size)
    return size


def _outline_circle(points: tuple[Point, ...]) -> tuple[Point, ...]:
    """Return as many corners as keep its sides within a tenth of a pixel of the circle."""
    (row, col), (rim_row, rim_col) = points
    radius = math.hypot(rim_row - row, rim_col - col)
    n_corners = min(max(16, math.ceil(math.pi * math.sqrt(5 * radius))), _MAX_CORNERS)
    angles = (2 * math.pi * i / n_corners for i in range(n_corners))
    return tuple((row + radius * math.sin(angle), col + radius * math.cos(angle)) for angle in angles)
