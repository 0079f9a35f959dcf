"""COCO annotations: one JSON for many images, their areas as polygons or as run lengths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from hybridseg.errors import BadInput
from hybridseg.io.annotations.doodles import MAX_POINTS, Point, Stroke
from hybridseg.io.annotations.items import Annotations, Item, Mask, check_drawn_size, find_class
from hybridseg.io.jsonfiles import parse_number
from hybridseg.io.rasters import check_pixel_count

# Far more than the pixels of any image need, 5 bits in each letter.
_MAX_SHIFT = 40

Id = int | str


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
        """Number of pixels inside."""
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


def parse_coco(record: Mapping[str, Any], *, shape: tuple[int, int], image_name: str) -> Annotations:
    """Read what the JSON of a COCO file has of one image.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the image, which run lengths must have too.
    image_name : str
        Found by its name without folders, then by that without its suffix.

    Raises
    ------
    BadInput
        When it is damaged, or has no such image or more than one.

    Examples
    --------
    >>> record = {"images": [{"id": 1, "file_name": "a.jpg"}], "categories": [{"id": 7, "name": "sand"}],
    ...           "annotations": [{"image_id": 1, "category_id": 7, "segmentation": [[1, 1, 4, 1, 4, 3, 1, 3]]}]}
    >>> [item.name for item in parse_coco(record, shape=(5, 7), image_name="a.png").items]
    ['sand']
    """
    images = [(_parse_id(row, "id"), *_parse_image(row)) for row in _list_rows(record, "images")]
    _refuse_twice("image", [image_id for image_id, *_ in images])
    categories = [(_parse_id(row, "id"), _parse_name(row)) for row in _list_rows(record, "categories")]
    _refuse_twice("category", [category_id for category_id, _ in categories])
    rows = [
        (_parse_id(row, "image_id"), _parse_id(row, "category_id"), row) for row in _list_rows(record, "annotations")
    ]
    image_id, _, image_shape = images[_find_image([name for _, name, _ in images], image_name)]
    names = dict(categories)
    areas = []
    for owner, category_id, row in rows:
        if owner != image_id:
            continue
        if category_id not in names:
            raise BadInput(f"an annotation has the category {category_id!r}, which is not in `categories`")
        segmentation = row.get("segmentation")
        areas.append((_measure(segmentation, shape), find_class(names[category_id]), segmentation))
    # The largest lies lowest, so that small things on it are seen; equals keep their order.
    drawn = sorted((area for area in areas if area[0]), key=lambda area: -area[0])
    n_empty = len(areas) - len(drawn)
    return Annotations(
        image_shape,
        image_name,
        dict.fromkeys(name for name in map(find_class, names.values()) if name is not None),
        chain.from_iterable(_list_items(name, segmentation) for _, name, segmentation in drawn),
        (f"{n_empty} of its annotations have no area (only a box, or nothing) and were left out",) if n_empty else (),
    )


def _measure(segmentation: Any, shape: tuple[int, int]) -> float:
    """Return the area of an annotation; what the file says of it is not believed."""
    rle = parse_rle(segmentation)
    if rle is None:
        return sum(measure_polygon(points) for points in parse_polygons(segmentation))
    check_drawn_size(rle.shape, shape)
    return rle.n_inside


def _list_items(name: str | None, segmentation: Any) -> Iterator[Item]:
    """Unpack an annotation. Kept as it is until then: a small file can hold far more than fits in memory."""
    rle = parse_rle(segmentation)
    if rle is not None:
        yield Item(name, Mask(decode_rle(rle, rle.cols), (0, rle.cols.start)))
    for points in parse_polygons(segmentation):
        yield Item(name, Stroke("polygon", 0, 1.0, points, layer="result"))


def parse_polygons(parts: Any) -> tuple[tuple[Point, ...], ...]:
    """Read the polygons of a ``segmentation``.

    Returns
    -------
    tuple of tuple of (float, float)
        Rows and columns; (0, 0) is the centre of the first pixel, where the file counts from its corner. Polygons
        of fewer than three corners are left out; run lengths, or a box alone, have none.

    Raises
    ------
    BadInput

    Examples
    --------
    >>> parse_polygons([[1, 2, 4, 2, 4, 6]])
    (((1.5, 0.5), (1.5, 3.5), (5.5, 3.5)),)
    """
    if parts is None or isinstance(parts, dict):
        return ()
    if not isinstance(parts, list):
        raise BadInput("a `segmentation` is neither polygons nor run lengths; export it again")
    # Some programs write the one polygon of an object without the list around it.
    parts = [parts] if parts and not isinstance(parts[0], list) else parts
    polygons = (_parse_polygon(part) for part in parts)
    return tuple(polygon for polygon in polygons if len(polygon) >= 3)


def parse_rle(record: Any) -> Rle | None:
    """Read the run lengths of a ``segmentation``, packed in a text or not; None when it has none.

    Raises
    ------
    BadInput
    """
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
        raise BadInput("a run length is not a number of pixels; export it again")
    if sum(lengths) != rows * cols:
        raise BadInput(f"run lengths add up to {sum(lengths)} pixels, but the size is {rows} x {cols}; export it again")
    return Rle(np.array(lengths, np.int64), (rows, cols))


def decode_rle(rle: Rle, cols: slice | None = None) -> np.ndarray:
    """Return the pixels of run lengths.

    Parameters
    ----------
    cols : slice or None
        Only these columns; None: all.

    Returns
    -------
    numpy.ndarray
        (rows, cols) bool.

    Examples
    --------
    >>> rle = parse_rle({"size": [2, 3], "counts": [1, 3, 2]})
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
    """Return the area of a polygon in pixels.

    Examples
    --------
    >>> measure_polygon(((0, 0), (0, 4), (3, 4), (3, 0)))
    12.0
    """
    corners = np.array(points, float)
    ends = np.roll(corners, -1, axis=0)
    return float(abs((corners[:, 0] * ends[:, 1] - corners[:, 1] * ends[:, 0]).sum()) / 2)


def _find_image(file_names: Sequence[str], wanted: str) -> int:
    """Return the number of an image; folders are left out, whichever slash separates them."""
    base_names = [name.replace("\\", "/").rsplit("/", 1)[-1] for name in file_names]
    found = [i for i, name in enumerate(base_names) if name == wanted]
    found = found or [i for i, name in enumerate(base_names) if _cut_suffix(name) == _cut_suffix(wanted)]
    if len(found) > 1:
        raise BadInput(f"{wanted} could be any of {', '.join(file_names[i] for i in found[:5])}; take all but one out")
    if not found:
        names = ", ".join(file_names[:5]) or "none at all"
        more = f" and {len(file_names) - 5} others" if len(file_names) > 5 else ""
        raise BadInput(f"it has no image {wanted}; its images are {names}{more}")
    return found[0]


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


def _parse_image(row: Mapping[str, Any]) -> tuple[str, tuple[int, int] | None]:
    name, rows, cols = row.get("file_name"), row.get("height"), row.get("width")
    if not isinstance(name, str) or not name:
        raise BadInput("an image has no `file_name`; export it as COCO again")
    return name, None if rows is None or cols is None else _parse_size([rows, cols])


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
        raise BadInput(f"{str(size)[:60]} is not the size of an image; export it as COCO again")
    check_pixel_count("an image of it", rows, cols)
    return rows, cols


def _parse_polygon(values: Any) -> tuple[Point, ...]:
    if not isinstance(values, list) or len(values) % 2:
        raise BadInput("a polygon is not a list of x, y, x, y, ...; export it as COCO again")
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
