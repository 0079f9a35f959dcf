"""``NAME_doodles.json``: every stroke that a person drew on an image, in order. It replays to the same seeds."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, HybridSegError, located
from hybridseg.io.atomic import atomic_path
from hybridseg.io.jsonfiles import read_json_object
from hybridseg.io.rasters import check_pixel_count, check_regular

FORMAT_VERSION = 1
KIND = "hybridseg doodles"
TOOLS = ("pen", "polygon", "erase", "region")
LAYERS = ("scribbles", "result")

MAX_STROKES, MAX_POINTS = 100_000, 2_000_000
_MAX_WIDTH = 10_000.0
# Strokes may start slightly outside of the image.
_MAX_COORDINATE = 1e7
# Of a group of strokes, and of the key of a change.
MAX_KEY_CHARACTERS = 40
_MAX_KEYS = 200

Point = tuple[float, float]


@dataclass(frozen=True)
class Stroke:
    """One movement of the pen.

    Parameters
    ----------
    tool : {"pen", "polygon", "erase", "region"}
    class_id : int
        The class that was drawn; ignored for ``erase``.
    width : float
        Width of the pen, in pixels of the image; ignored for ``polygon`` and ``region``.
    points : tuple of (float, float)
        Rows and columns in the image; (0, 0) is the centre of its first pixel. Those of a region come in
        pairs: the first and the last pixel of a run in a row.
    time : float
        Seconds since 1970 when it ended.
    layer : {"scribbles", "result"}
        What was drawn on: seeds for the CRF, or its result.
    group : str
        Strokes that follow one another and share it came in one import: they are undone together.
    replaces : int or None
        The number of the polygon, among the strokes, of which this is a newer shape; it lies where that one lay.

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
    layer: str = "scribbles"
    group: str = ""
    replaces: int | None = None

    def __post_init__(self) -> None:
        if self.tool not in TOOLS:
            raise BadInput(f"unknown tool {self.tool!r}; known are {', '.join(TOOLS)}")
        if self.layer not in LAYERS:
            raise BadInput(f"unknown layer {self.layer!r}; known are {', '.join(LAYERS)}")
        if not 0 < self.width <= _MAX_WIDTH:
            raise BadInput(f"a pen is {self.width} pixels wide; give more than 0 and at most {_MAX_WIDTH:.0f}")
        least = {"polygon": 3, "region": 2}.get(self.tool, 1)
        if not least <= len(self.points) <= MAX_POINTS:
            raise BadInput(f"a stroke of the {self.tool} has {len(self.points)} points, not {least} to {MAX_POINTS}")
        if self.tool == "region" and len(self.points) % 2:
            raise BadInput("a region is pairs of points: the first and the last pixel of each run")
        if not all(abs(value) <= _MAX_COORDINATE for point in self.points for value in point):
            raise BadInput("a point of a stroke is not a position in an image")
        if not math.isfinite(self.time):
            raise BadInput("the time of a stroke is not a number")
        if len(self.group) > MAX_KEY_CHARACTERS:
            raise BadInput(f"the group of a stroke has more than {MAX_KEY_CHARACTERS} characters")

    @cached_property
    def extent(self) -> tuple[float, float, float, float]:
        """First row and column, last row and column of its points."""
        rows, cols = zip(*self.points, strict=True)
        return min(rows), min(cols), max(rows), max(cols)

    @cached_property
    def json(self) -> bytes:
        """Its record in a file. Cached: the file is written after every stroke, with all the earlier ones in it."""
        row = {"tool": self.tool, "layer": self.layer, "class": self.class_id, "width": self.width, "time": self.time}
        more: dict[str, Any] = {"group": self.group} if self.group else {}
        if self.replaces is not None:
            more["replaces"] = self.replaces
        return json.dumps({**row, **more, "points": self.points}).encode()


@dataclass(frozen=True)
class StrokeLog:
    """All that was drawn on an image.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the image.
    strokes : tuple of Stroke
        In the order in which they were drawn: later ones cover earlier ones.
    seconds : float
        Working time of a person.
    undone : tuple of Stroke
        Undone strokes that can be redone, the next one last.
    done : bool
        The result was accepted, and nothing has been drawn since.
    keys : tuple of str
        Keys of the latest changes, by which one that is sent again is recognised.
    """

    image_name: str
    shape: tuple[int, int]
    table: ClassTable
    strokes: tuple[Stroke, ...] = ()
    seconds: float = 0.0
    undone: tuple[Stroke, ...] = ()
    done: bool = False
    keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        strokes = self.strokes + self.undone
        if len(strokes) > MAX_STROKES or sum(len(s.points) for s in strokes) > MAX_POINTS:
            raise BadInput(f"more than {MAX_STROKES:,} strokes, or {MAX_POINTS:,} points, are not kept for an image")
        if not math.isfinite(self.seconds):
            raise BadInput("the working time is not a number")
        n_classes = len(self.table)
        wrong = [s.class_id for s in strokes if s.tool != "erase" and not 0 <= s.class_id < n_classes]
        if wrong:
            raise BadInput(f"a stroke has the class {wrong[0]}; the classes are 0 to {n_classes - 1}")
        in_order = self.strokes + self.undone[::-1]
        for number, stroke in enumerate(in_order):
            if stroke.replaces is not None:
                first = in_order[stroke.replaces] if 0 <= stroke.replaces < number else stroke
                kinds = {(one.tool, one.layer) for one in (stroke, first)}
                if first.replaces is not None or kinds != {("polygon", stroke.layer)}:
                    raise BadInput(f"stroke {number} replaces {stroke.replaces}, which is no polygon before it")

    @property
    def seen(self) -> tuple[Stroke, ...]:
        """The strokes as they cover one another: a polygon that was reshaped has its last shape."""
        shapes = {stroke.replaces: stroke for stroke in self.strokes if stroke.replaces is not None}
        if not shapes:
            return self.strokes
        return tuple(
            replace(shapes[number], replaces=None) if number in shapes else stroke
            for number, stroke in enumerate(self.strokes)
            if stroke.replaces is None
        )

    @property
    def is_imported(self) -> bool:
        """Whether all of it came from another tool: nobody has drawn here yet."""
        return bool(self.strokes) and all(stroke.group for stroke in self.strokes)

    @property
    def stage(self) -> str:
        """How far the work is, in the words of `read_stage`."""
        if self.done or self.is_imported:
            return "done" if self.done else "imported"
        # Where nothing is drawn there is all to do. What was undone is kept, and redo brings it back and the state too.
        return "working" if self.strokes else "untouched"

    @property
    def drawn_ids(self) -> list[int]:
        """The classes of its strokes."""
        return sorted({s.class_id for s in self.strokes if s.tool != "erase"})

    def with_key(self, key: str) -> StrokeLog:
        """Return it with one more key; the oldest are forgotten."""
        return replace(self, keys=(*self.keys, key)[-_MAX_KEYS:])

    @property
    def used_ids(self) -> list[int]:
        """The classes that were drawn with, also in what was undone."""
        return sorted({s.class_id for s in self.strokes + self.undone if s.tool != "erase"})

    def with_table(self, table: ClassTable) -> StrokeLog:
        """Return the same strokes with the class ids of another table, matched by name.

        Raises
        ------
        BadInput
            When it lacks a class that was drawn with.
        """
        new_ids = {i: table.index(self.table.names[i]) for i in self.used_ids}
        # The id of an eraser is ignored, but must be valid.
        strokes, undone = (
            tuple(replace(s, class_id=new_ids.get(s.class_id, 0)) for s in some) for some in (self.strokes, self.undone)
        )
        return replace(self, table=table, strokes=strokes, undone=undone)


def write_strokes(path: str | os.PathLike[str], log: StrokeLog) -> None:
    """Write all strokes, whole or not at all."""
    record = {
        "format": FORMAT_VERSION,
        "kind": KIND,
        # Early in the file: `read_stage` reads only its beginning.
        "done": log.done,
        "imported": log.is_imported,
        "untouched": log.stage == "untouched",
        "image": log.image_name,
        "size": list(log.shape),
        "classes": log.table.to_records(),
        "seconds": log.seconds,
        "keys": log.keys,
    }
    head = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False).removesuffix("\n}")
    # File names that are not UTF-8 keep their bytes. Nothing is joined: a day's work is 20 MB, at every stroke.
    parts = [head.encode("utf-8", "surrogateescape")]
    for name, strokes in ((b"strokes", log.strokes), (b"undone", log.undone)):
        parts.append(b',\n  "%s": [' % name)
        for i, stroke in enumerate(strokes):
            parts += (b",\n    " if i else b"\n    ", stroke.json)
        parts.append(b"]")
    with atomic_path(path) as temporary, temporary.open("wb", buffering=1 << 20) as file:
        file.writelines([*parts, b"\n}\n"])


def read_strokes(path: str | os.PathLike[str]) -> StrokeLog:
    """Read the strokes of an image.

    Raises
    ------
    MissingInput, BadInput
        When there is no such file, or it is not what `write_strokes` writes.

    Examples
    --------
    >>> import tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "a_doodles.json")
    >>> log = StrokeLog("a.jpg", (4, 6), ClassTable.from_names(["water"]), (Stroke("pen", 0, 3.0, ((1.0, 2.5),)),))
    >>> write_strokes(path, log)
    >>> read_strokes(path) == log
    True
    """
    remedy = "take it away, or copy it again"
    record = read_json_object(path, errors="surrogateescape", remedy=remedy)
    with located(path):
        try:
            if record["format"] != FORMAT_VERSION or record["kind"] != KIND:
                raise BadInput("it does not hold strokes of this version of hybridseg")
            log = _parse(record)
            # Maps of this size are allocated later.
            check_pixel_count("its image", *log.shape)
            return log
        except BadInput:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise BadInput(f"it is damaged ({error}); {remedy}") from error


def read_stage(path: str | os.PathLike[str]) -> str:
    """Return how far the work on an image is, from the first bytes: thousands are checked at once.

    It is ``done`` (accepted), ``imported`` (from another tool, and not touched since), ``untouched`` (all was undone)
    or ``working``.
    """
    try:
        with check_regular(path).open("rb") as file:
            head = file.read(200)
    except (HybridSegError, OSError):
        return "working"
    stages = ("done", "imported", "untouched")
    return next((stage for stage in stages if b'"%s": true' % stage.encode() in head), "working")


def _parse(record: dict[str, Any]) -> StrokeLog:
    rows, cols = record["size"]
    strokes = tuple(parse_stroke(row) for row in record["strokes"])
    undone = tuple(parse_stroke(row) for row in record.get("undone", ()))
    table = ClassTable.from_records(record["classes"])
    shape = (int(rows), int(cols))
    keys = tuple(str(key)[:MAX_KEY_CHARACTERS] for key in record.get("keys", ()))[-_MAX_KEYS:]
    done = record.get("done") is True
    return StrokeLog(str(record["image"]), shape, table, strokes, float(record["seconds"]), undone, done, keys)


def parse_stroke(row: dict[str, Any]) -> Stroke:
    """Make a stroke from its record, strictly.

    Raises
    ------
    BadInput
    """
    try:
        points = tuple((float(r), float(c)) for r, c in row["points"])
        layer, group = str(row.get("layer", "scribbles")), str(row.get("group", ""))
        first = row.get("replaces")
        return Stroke(
            str(row["tool"]), int(row["class"]), float(row["width"]), points, float(row["time"]), layer, group,
            None if first is None else int(first),
        )  # fmt: skip
    except BadInput:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise BadInput(f"a stroke is malformed ({error})") from error
