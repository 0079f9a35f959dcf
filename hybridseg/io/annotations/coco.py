"""COCO annotations: one JSON for many images, their areas as polygons or as run lengths."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridseg.errors import BadInput, located
from hybridseg.io.annotations.doodles import MAX_POINTS, Point
from hybridseg.io.jsonfiles import parse_number, read_json_object
from hybridseg.io.rasters import check_pixel_count

# Far more than the pixels of any image need, 5 bits in each letter.
_MAX_SHIFT = 40

Id = int | str


@dataclass(frozen=True)
class CocoImage:
    """An image of the set; `shape` is rows and columns, None when the file does not tell."""

    image_id: Id
    file_name: str
    shape: tuple[int, int] | None

    @property
    def base_name(self) -> str:
        """Its name without folders, whichever way they are parted."""
        return self.file_name.replace("\\", "/").rsplit("/", 1)[-1]


@dataclass(frozen=True)
class CocoAnnotation:
    """One object on an image; `segmentation` is as the file has it: see `annotation_polygons`, `annotation_rle`."""

    image_id: Id
    category_id: Id
    segmentation: Any
    is_crowd: bool = False


@dataclass(frozen=True)
class CocoSet:
    """Images, the name of each category, and what was drawn."""

    images: tuple[CocoImage, ...]
    categories: Mapping[Id, str]
    annotations: tuple[CocoAnnotation, ...]

    def find_image(self, name: str) -> CocoImage:
        """Find an image by its name without folders, then by that without its suffix.

        Raises
        ------
        BadInput
            When there is none, or more than one.
        """
        stem = _cut_suffix(name)
        found = [image for image in self.images if image.base_name == name]
        found = found or [image for image in self.images if _cut_suffix(image.base_name) == stem]
        if len(found) > 1:
            names = ", ".join(image.file_name for image in found[:5])
            raise BadInput(f"{name} could be any of {names}; take all but one out of the file")
        if not found:
            names = ", ".join(image.file_name for image in self.images[:5]) or "none at all"
            more = f" and {len(self.images) - 5} others" if len(self.images) > 5 else ""
            raise BadInput(f"it has no image {name}; its images are {names}{more}")
        return found[0]

    def list_annotations(self, image: CocoImage) -> list[CocoAnnotation]:
        """List what was drawn on an image, in the order of the file."""
        return [annotation for annotation in self.annotations if annotation.image_id == image.image_id]


@dataclass(frozen=True, eq=False)
class Rle:
    """An area as run lengths.

    Parameters
    ----------
    counts : numpy.ndarray
        (n,) int64: pixels outside and inside by turns, column after column from the first pixel on.
    shape : tuple of int
        Rows and columns of the image.
    """

    counts: np.ndarray
    shape: tuple[int, int]

    @property
    def n_inside(self) -> int:
        """How many pixels are inside."""
        return int(self.counts[1::2].sum())

    @property
    def cols(self) -> slice:
        """The columns outside of which it has no pixel."""
        ends = np.cumsum(self.counts)
        inside = np.flatnonzero(self.counts[1::2])
        if not len(inside):
            return slice(0, 0)
        first, last = ends[2 * inside[0]], ends[2 * inside[-1] + 1] - 1
        return slice(int(first) // self.shape[0], int(last) // self.shape[0] + 1)


def read_coco(path: str | os.PathLike[str]) -> CocoSet:
    """Read a COCO file.

    Raises
    ------
    MissingInput, BadInput
        When there is no such file, or it is not what it should be.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "a.json")
    >>> _ = path.write_text('{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [], "categories": []}')
    >>> read_coco(path).find_image("a.jpg").image_id
    1
    """
    record = read_json_object(path)
    with located(path):
        return parse_coco(record)


def parse_coco(record: Mapping[str, Any]) -> CocoSet:
    """Make a set of the JSON of a COCO file.

    Raises
    ------
    BadInput
    """
    images = tuple(_parse_image(row) for row in _list_rows(record, "images"))
    _refuse_twice("image", [image.image_id for image in images])
    categories = [(_parse_id(row, "id"), _parse_name(row)) for row in _list_rows(record, "categories")]
    _refuse_twice("category", [category_id for category_id, _ in categories])
    annotations = tuple(
        CocoAnnotation(
            _parse_id(row, "image_id"),
            _parse_id(row, "category_id"),
            row.get("segmentation"),
            row.get("iscrowd") in (1, True),
        )
        for row in _list_rows(record, "annotations")
    )
    return CocoSet(images, dict(categories), annotations)


def annotation_polygons(annotation: CocoAnnotation) -> tuple[tuple[Point, ...], ...]:
    """Give the polygons of an annotation.

    Returns
    -------
    tuple of tuple of (float, float)
        Rows and columns; (0, 0) is the centre of the first pixel, where the file counts from its corner. None when
        it is drawn as run lengths, or only boxed. What has less than three corners is left out.

    Raises
    ------
    BadInput

    Examples
    --------
    >>> annotation_polygons(CocoAnnotation(1, 1, [[1, 2, 4, 2, 4, 6]]))
    (((1.5, 0.5), (1.5, 3.5), (5.5, 3.5)),)
    """
    parts = annotation.segmentation
    if parts is None or isinstance(parts, dict):
        return ()
    if not isinstance(parts, list):
        raise BadInput("a `segmentation` is neither polygons nor run lengths; export it again")
    # Some programs write the one polygon of an object without the list around it.
    parts = [parts] if parts and not isinstance(parts[0], list) else parts
    polygons = (_parse_polygon(part) for part in parts)
    return tuple(polygon for polygon in polygons if len(polygon) >= 3)


def annotation_rle(annotation: CocoAnnotation) -> Rle | None:
    """Give the run lengths of an annotation, packed in a text or not; None when it has none.

    Raises
    ------
    BadInput
    """
    record = annotation.segmentation
    if not isinstance(record, dict):
        return None
    rows, cols = _parse_size(record.get("size"))
    counts = record.get("counts")
    if isinstance(counts, str):
        lengths = _unpack_counts(counts, most=rows * cols)
    elif isinstance(counts, list):
        lengths = counts
    else:
        raise BadInput("run lengths (`counts`) are neither a list nor a text; export it again")
    if len(lengths) > MAX_POINTS:
        raise BadInput(f"an area of more than {MAX_POINTS:,} run lengths is too ragged; smooth it and export it again")
    if not all(type(length) is int and 0 <= length <= rows * cols for length in lengths):
        raise BadInput("a run length is no number of pixels; export it again")
    if sum(lengths) != rows * cols:
        raise BadInput(f"run lengths make {sum(lengths)} pixels, but {rows} x {cols} were said; export it again")
    return Rle(np.array(lengths, np.int64), (rows, cols))


def decode_rle(rle: Rle, cols: slice | None = None) -> np.ndarray:
    """Give the pixels of run lengths.

    Parameters
    ----------
    rle : Rle
    cols : slice or None
        Only these columns; None: all.

    Returns
    -------
    numpy.ndarray
        (rows, cols) bool.

    Examples
    --------
    >>> rle = annotation_rle(CocoAnnotation(1, 1, {"size": [2, 3], "counts": [1, 3, 2]}))
    >>> decode_rle(rle).astype(int).tolist()
    [[0, 1, 0], [1, 1, 0]]
    """
    n_rows, n_cols = rle.shape
    cols = cols or slice(0, n_cols)
    first = cols.start * n_rows
    ends = np.clip(np.cumsum(rle.counts), first, cols.stop * n_rows)
    inside = np.repeat(np.arange(len(ends)) % 2 == 1, np.diff(ends, prepend=first))
    return inside.reshape(cols.stop - cols.start, n_rows).T


def measure_polygon(points: tuple[Point, ...]) -> float:
    """Give the area of a polygon in pixels.

    Examples
    --------
    >>> measure_polygon(((0, 0), (0, 4), (3, 4), (3, 0)))
    12.0
    """
    corners = np.array(points, float)
    ends = np.roll(corners, -1, axis=0)
    return float(abs((corners[:, 0] * ends[:, 1] - corners[:, 1] * ends[:, 0]).sum()) / 2)


def _cut_suffix(name: str) -> str:
    return name.rsplit(".", 1)[0]


def _list_rows(record: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    rows = record.get(key)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadInput(f"it has no list of objects `{key}`; export it as COCO again")
    return rows


def _parse_id(row: Mapping[str, Any], key: str) -> Id:
    value = row.get(key)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise BadInput(f"`{key}` is {str(value)[:40]!r}, not a number; export it as COCO again")
    return value


def _refuse_twice(what: str, ids: list[Id]) -> None:
    twice = [key for key, n in Counter(ids).items() if n > 1]
    if twice:
        raise BadInput(f"more than one {what} has the id {twice[0]}; export it as COCO again")


def _parse_image(row: Mapping[str, Any]) -> CocoImage:
    name, rows, cols = row.get("file_name"), row.get("height"), row.get("width")
    if not isinstance(name, str) or not name:
        raise BadInput("an image has no `file_name`; export it as COCO again")
    shape = None if rows is None or cols is None else _parse_size([rows, cols])
    return CocoImage(_parse_id(row, "id"), name, shape)


def _parse_name(row: Mapping[str, Any]) -> str:
    name = row.get("name")
    if isinstance(name, str):
        return name
    # Names that are numbers lose their quotes in some programs.
    return f"{parse_number(name):g}"


def _parse_size(size: Any) -> tuple[int, int]:
    """Read the rows and columns of an image, before anything is made of this size."""
    sides = size if isinstance(size, list) and len(size) == 2 else (None, None)
    rows, cols = (int(s) if type(s) is int or (isinstance(s, float) and s.is_integer()) else 0 for s in sides)
    if rows < 1 or cols < 1:
        raise BadInput(f"{str(size)[:60]} is no size of an image; export it as COCO again")
    check_pixel_count("an image of it", rows, cols)
    return rows, cols


def _parse_polygon(values: Any) -> tuple[Point, ...]:
    if not isinstance(values, list) or len(values) % 2:
        raise BadInput("a polygon is no list of x, y, x, y, ...; export it as COCO again")
    numbers = [parse_number(value) for value in values]
    return tuple((y - 0.5, x - 0.5) for x, y in zip(numbers[::2], numbers[1::2], strict=True))


def _unpack_counts(text: str, *, most: int) -> list[int]:
    """Unpack run lengths: 5 bits a letter, the lowest first; from the fourth on the change to the last but one."""
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > _MAX_SHIFT:
            raise BadInput("packed run lengths are damaged; export it again")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        value += counts[-2] if len(counts) > 2 else 0
        if not 0 <= value <= most or len(counts) >= MAX_POINTS:
            raise BadInput("packed run lengths are damaged, or far too many; export it again")
        counts.append(value)
        value = shift = 0
    if shift:
        raise BadInput("packed run lengths are cut short; export it again")
    return counts
