"""``NAME_doodles.json``: every stroke that a person drew on an image, in order. It replays to the same seeds."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from typing import Any

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, located
from hybridseg.io.rasters import check_regular
from hybridseg.io.tables import write_json

FORMAT_VERSION = 1
KIND = "hybridseg doodles"
TOOLS = ("pen", "polygon", "erase")

MAX_STROKES, MAX_POINTS = 100_000, 2_000_000
_MAX_FILE_BYTES = 200_000_000
_MAX_WIDTH = 10_000.0
# Strokes may begin a little outside of the image.
_MAX_COORDINATE = 1e7

Point = tuple[float, float]


@dataclass(frozen=True)
class Stroke:
    """One movement of the pen.

    Parameters
    ----------
    tool : {"pen", "polygon", "erase"}
    class_id : int
        Of what was drawn; of no meaning for ``erase``.
    width : float
        Of the pen, in pixels of the image; of no meaning for ``polygon``.
    points : tuple of (float, float)
        Rows and columns in the image; (0, 0) is the centre of its first pixel.
    time : float
        Seconds since 1970 when it ended.

    Raises
    ------
    BadInput
        For a value out of range.
    """

    tool: str
    class_id: int
    width: float
    points: tuple[Point, ...]
    time: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        if self.tool not in TOOLS:
            raise BadInput(f"there is no tool {self.tool!r}; known are {', '.join(TOOLS)}")
        if not 0 < self.width <= _MAX_WIDTH:
            raise BadInput(f"a pen is {self.width} pixels wide; give more than 0 and at most {_MAX_WIDTH:.0f}")
        least = 3 if self.tool == "polygon" else 1
        if not least <= len(self.points) <= MAX_POINTS:
            raise BadInput(f"a stroke of the {self.tool} has {len(self.points)} points, not {least} to {MAX_POINTS}")
        if not all(abs(value) <= _MAX_COORDINATE for point in self.points for value in point):
            raise BadInput("a point of a stroke is no place in an image")
        if not math.isfinite(self.time):
            raise BadInput("the time of a stroke is no number")


@dataclass(frozen=True)
class Doodles:
    """All that was drawn on an image.

    Parameters
    ----------
    image_name : str
    shape : tuple of int
        Rows and columns of the image.
    table : ClassTable
    strokes : tuple of Stroke
        In the order in which they were drawn: later ones cover earlier ones.
    seconds : float
        That a person has worked on it.
    """

    image_name: str
    shape: tuple[int, int]
    table: ClassTable
    strokes: tuple[Stroke, ...] = ()
    seconds: float = 0.0

    def __post_init__(self) -> None:
        """Refuse strokes of classes that there are not."""
        if len(self.strokes) > MAX_STROKES:
            raise BadInput(f"{len(self.strokes)} strokes are more than {MAX_STROKES}")
        wrong = [s.class_id for s in self.strokes if s.tool != "erase" and not 0 <= s.class_id < len(self.table)]
        if wrong:
            raise BadInput(f"a stroke has the class {wrong[0]}; the classes are 0 to {len(self.table) - 1}")


def write_doodles(path: str | os.PathLike[str], doodles: Doodles) -> None:
    """Write all strokes, whole or not at all."""
    rows = [
        {"tool": s.tool, "class": s.class_id, "width": s.width, "time": s.time, "points": [list(p) for p in s.points]}
        for s in doodles.strokes
    ]
    table = doodles.table
    record = {
        "format": FORMAT_VERSION,
        "kind": KIND,
        "image": doodles.image_name,
        "size": list(doodles.shape),
        "classes": [{"name": n, "color": list(c)} for n, c in zip(table.names, table.colors, strict=True)],
        "seconds": doodles.seconds,
        "strokes": rows,
    }
    write_json(path, record)


def read_doodles(path: str | os.PathLike[str]) -> Doodles:
    """Read the strokes of an image.

    Raises
    ------
    MissingInput, BadInput
        When there is no such file, or it is not what `write_doodles` writes.

    Examples
    --------
    >>> import tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "a_doodles.json")
    >>> doodles = Doodles("a.jpg", (4, 6), ClassTable.from_names(["water"]), (Stroke("pen", 0, 3.0, ((1.0, 2.5),)),))
    >>> write_doodles(path, doodles)
    >>> read_doodles(path) == doodles
    True
    """
    path = check_regular(path)
    with located(path):
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise BadInput("it is far too large for the strokes of a person")
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            if record["format"] != FORMAT_VERSION or record["kind"] != KIND:
                raise BadInput("it does not hold doodles of this version of hybridseg")
            return _parse(record)
        except BadInput:
            raise
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
            raise BadInput(f"it is damaged ({error}); take it away, or copy it again") from error


def _parse(record: dict[str, Any]) -> Doodles:
    rows, cols = record["size"]
    classes = record["classes"]
    colors = tuple((int(r), int(g), int(b)) for r, g, b in (row["color"] for row in classes))
    strokes = tuple(parse_stroke(row) for row in record["strokes"])
    table = ClassTable(tuple(str(row["name"]) for row in classes), colors)
    return Doodles(str(record["image"]), (int(rows), int(cols)), table, strokes, float(record["seconds"]))


def parse_stroke(row: dict[str, Any]) -> Stroke:
    """Make a stroke of its record; what is not exactly one is refused.

    Raises
    ------
    BadInput
    """
    try:
        points = tuple((float(r), float(c)) for r, c in row["points"])
        return Stroke(str(row["tool"]), int(row["class"]), float(row["width"]), points, float(row["time"]))
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"a stroke is not as it must be ({error})") from error
