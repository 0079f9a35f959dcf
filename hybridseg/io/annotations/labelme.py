"""labelme files (the tool by Kentaro Wada): polygons, lines, points and masks on one image, in JSON."""

from __future__ import annotations

import base64
import binascii
import io
import math
import os
import struct
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.errors import BadInput, located
from hybridseg.io.annotations.doodles import Point
from hybridseg.io.images import pillow_cap_lifted
from hybridseg.io.jsonfiles import parse_number, read_json_object
from hybridseg.io.labels.pngcheck import check_png
from hybridseg.io.rasters import check_pixel_count

AREA_KINDS = ("polygon", "rectangle", "oriented_rectangle", "circle", "mask")
LINE_KINDS = ("line", "linestrip", "point", "points")

_PNG_HEAD = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_MAX_CORNERS = 1000


@dataclass(frozen=True)
class LabelmeShape:
    """One thing that was drawn.

    Parameters
    ----------
    label : str
    kind : str
        One of AREA_KINDS and LINE_KINDS.
    points : tuple of (float, float)
        Rows and columns; (0, 0) is the centre of the first pixel, where the file counts from its corner.
    mask : str or None
        Of kind ``mask``: a PNG in base64, see `decode_mask`.
    """

    label: str
    kind: str
    points: tuple[Point, ...]
    mask: str | None = None


@dataclass(frozen=True)
class LabelmeFile:
    """All that was drawn, and on what; `shape` and `image_name` are None when the file does not tell."""

    shapes: tuple[LabelmeShape, ...]
    image_name: str | None
    shape: tuple[int, int] | None


def read_labelme(path: str | os.PathLike[str]) -> LabelmeFile:
    """Read a labelme file.

    Raises
    ------
    MissingInput, BadInput
        When there is no such file, or it is not what it should be.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "a.json")
    >>> _ = path.write_text('{"shapes": [{"label": "sand", "shape_type": "point", "points": [[3, 2]]}]}')
    >>> read_labelme(path).shapes
    (LabelmeShape(label='sand', kind='point', points=((1.5, 2.5),), mask=None),)
    """
    record = read_json_object(path)
    with located(path):
        return parse_labelme(record)


def parse_labelme(record: Mapping[str, Any]) -> LabelmeFile:
    """Make the content of the JSON of a labelme file.

    Raises
    ------
    BadInput
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
    return LabelmeFile(tuple(shapes), base_name or None, _parse_size(record))


def outline_shape(shape: LabelmeShape) -> tuple[Point, ...]:
    """Give the corners of an area that is no mask; less than three when it covers nothing.

    Examples
    --------
    >>> outline_shape(LabelmeShape("sand", "rectangle", ((1.0, 2.0), (4.0, 8.0))))
    ((1.0, 2.0), (1.0, 8.0), (4.0, 8.0), (4.0, 2.0))
    """
    if shape.kind == "circle":
        return _outline_circle(shape.points)
    if shape.kind == "rectangle" and len(shape.points) == 2:
        (top, left), (bottom, right) = shape.points
        return (top, left), (top, right), (bottom, right), (bottom, left)
    return shape.points


def decode_mask(shape: LabelmeShape, size: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int]]:
    """Unpack the mask of a shape; its size is checked before.

    Parameters
    ----------
    shape : LabelmeShape
        Of kind ``mask``.
    size : tuple of int
        Rows and columns of the image in which it must lie.

    Returns
    -------
    mask : numpy.ndarray
        (rows, cols) bool, only of its box.
    origin : tuple of int
        Row and column of its first pixel in the image.

    Raises
    ------
    BadInput
    """
    if shape.mask is None or len(shape.points) != 2:
        raise BadInput("a mask has no picture or no box; save it in labelme again")
    (top, left), (bottom, right) = ((math.floor(row + 0.5), math.floor(col + 0.5)) for row, col in shape.points)
    if not (0 <= top <= bottom < size[0] and 0 <= left <= right < size[1]):
        raise BadInput(f"a mask lies outside of the image of {size[0]} x {size[1]} pixels; save it in labelme again")
    try:
        data = base64.b64decode(shape.mask, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadInput(f"a mask is no base64 ({error}); save it in labelme again") from error
    if not data.startswith(_PNG_HEAD) or len(data) < 33:
        raise BadInput("a mask is no PNG; save it in labelme again")
    n_cols, n_rows = struct.unpack(">II", data[16:24])
    if (n_rows, n_cols) != (bottom - top + 1, right - left + 1):
        raise BadInput(
            f"a mask has {n_rows} x {n_cols} pixels, its box {bottom - top + 1} x {right - left + 1}; save it in "
            "labelme again"
        )
    return _decode_png(data), (top, left)


def _decode_png(data: bytes) -> np.ndarray:
    from PIL import Image

    try:
        # As a file, because that is what is checked: Pillow passes over damage.
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "mask.png")
            path.write_bytes(data)
            check_png(path)
        with pillow_cap_lifted(), Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            if picture.mode in ("1", "L", "P"):
                return np.asarray(picture) != 0
            mode = picture.mode
    except (OSError, ValueError, SyntaxError, EOFError, struct.error) as error:
        raise BadInput("the PNG of a mask is damaged; save it in labelme again") from error
    raise BadInput(f"a mask is a PNG of mode {mode}, not of one band; save it in labelme again")


def _parse_shape(row: Any) -> LabelmeShape:
    if not isinstance(row, dict):
        raise BadInput("it is no object; save it in labelme again")
    # Files from before there were other kinds do not tell it.
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
        raise BadInput("its `points` are no list of x, y; save it in labelme again")
    points = tuple((parse_number(y) - 0.5, parse_number(x) - 0.5) for x, y in places)
    if kind == "circle" and len(points) != 2:
        raise BadInput("a circle is its centre and a point on its rim; draw it again")
    return LabelmeShape(label, kind, points, mask if isinstance(mask, str) else None)


def _parse_size(record: Mapping[str, Any]) -> tuple[int, int] | None:
    rows, cols = record.get("imageHeight"), record.get("imageWidth")
    if rows is None or cols is None:
        return None
    if type(rows) is not int or type(cols) is not int:
        raise BadInput("imageHeight and imageWidth are no numbers of pixels; save it in labelme again")
    check_pixel_count("its image", rows, cols)
    return rows, cols


def _outline_circle(points: tuple[Point, ...]) -> tuple[Point, ...]:
    """Give as many corners as keep its sides within a tenth of a pixel of the circle."""
    (row, col), (rim_row, rim_col) = points
    radius = math.hypot(rim_row - row, rim_col - col)
    n_corners = min(max(16, math.ceil(math.pi * math.sqrt(5 * radius))), _MAX_CORNERS)
    angles = (2 * math.pi * i / n_corners for i in range(n_corners))
    return tuple((row + radius * math.sin(angle), col + radius * math.cos(angle)) for angle in angles)
