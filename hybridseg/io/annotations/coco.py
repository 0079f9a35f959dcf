"""COCO annotations: one JSON for many images, their areas as polygons or as run lengths."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np

from hybridseg.errors import BadInput, join_names
from hybridseg.io.annotations.canvas import Canvas
from hybridseg.io.annotations.doodles import Point, Stroke
from hybridseg.io.annotations.items import Annotations, Item, check_drawn_size, find_class
from hybridseg.io.annotations.runlengths import Rle, parse_rle, parse_size
from hybridseg.io.jsonfiles import parse_number
from hybridseg.io.nameforms import compose

Id = int | str


@dataclass(frozen=True)
class CocoImage:
    """An image of the file; `shape` (rows, cols) where the file says it, `urls` where it can be had."""

    id: Id
    file_name: str
    shape: tuple[int, int] | None
    urls: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[str, ...]:
        """The folders of its path and its name, whichever slash separates them."""
        return tuple(self.file_name.replace("\\", "/").split("/"))

    @property
    def name(self) -> str:
        """Its name without folders."""
        return self.parts[-1]


@dataclass(frozen=True, eq=False)
class Area:
    """An annotation.

    Parameters
    ----------
    name : str or None
        Its class; None for the names that mean "no class".
    size : float
        Pixels; 0 when it is only a box, or nothing.
    bounds : tuple of float
        First and last row, first and last column, that it reaches, also outside of the image.
    segmentation : Any
        As it is in the file, for a small file can hold far more than fits in memory; but run lengths that are not
        packed are read once.
    """

    name: str | None
    is_crowd: bool
    size: float
    bounds: tuple[float, float, float, float]
    segmentation: Any

    def list_items(self) -> Iterator[Item]:
        """Unpack it, part by part."""
        rle = parse_rle(self.segmentation)
        if rle is not None:
            yield Item(self.name, rle)
        for stroke in _read_strokes(self.segmentation):
            yield Item(self.name, stroke)

    def put_on(self, canvas: Canvas, value: int) -> None:
        """Put its parts on top of what a canvas has."""
        for item in self.list_items():
            item.put_on(canvas, value)


@dataclass(frozen=True, eq=False)
class CocoFile:
    """All of a file.

    Parameters
    ----------
    classes : mapping of Id to (str or None)
        The class of each category.
    rows : mapping of Id to list
        The annotations of each image, as they are in the file.
    """

    images: tuple[CocoImage, ...]
    classes: Mapping[Id, str | None]
    rows: Mapping[Id, list[dict[str, Any]]]

    @property
    def n_strays(self) -> int:
        """Number of annotations of images that the file does not list."""
        return sum(map(len, self.rows.values())) - sum(len(self.rows.get(image.id, ())) for image in self.images)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of the file."""
        return tuple(dict.fromkeys(name for name in self.classes.values() if name is not None))

    @cached_property
    def _by_name(self) -> tuple[Mapping[str, list[CocoImage]], Mapping[str, list[CocoImage]]]:
        """The images by their name without folders, and by that without its suffix."""
        by_name: dict[str, list[CocoImage]] = defaultdict(list)
        by_stem: dict[str, list[CocoImage]] = defaultdict(list)
        for image in self.images:
            by_name[compose(image.name)].append(image)
            by_stem[_cut_suffix(compose(image.name))].append(image)
        return by_name, by_stem

    def has_any(self, image: CocoImage, categories: Container[Id]) -> bool:
        """Return whether an image has an annotation of some categories."""
        return any(_parse_id(row, "category_id") in categories for row in self.rows.get(image.id, ()))

    def find_image(self, wanted: str) -> CocoImage:
        """Find an image by its name without folders, then by that without its suffix.

        Raises
        ------
        BadInput
            When there is no such image or more than one.
        """
        by_name, by_stem = self._by_name
        name = compose(wanted)
        found = by_name.get(name) or by_stem.get(_cut_suffix(name)) or []
        if len(found) > 1:
            names = join_names(image.file_name for image in found)
            raise BadInput(f"{wanted} could be any of {names}; take all but one out")
        if not found:
            names = join_names(image.file_name for image in self.images) or "none at all"
            raise BadInput(f"it has no image {wanted}; its images are {names}")
        return found[0]

    def list_areas(self, image: CocoImage, shape: tuple[int, int]) -> list[Area]:
        """List the annotations of an image of a shape (rows, cols), the largest first; equals keep their order.

        Raises
        ------
        BadInput
            When one is damaged, of no category, or of run lengths of another shape.
        """
        return sorted((self._read_area(row, shape) for row in self.rows.get(image.id, ())), key=lambda area: -area.size)

    def _read_area(self, row: Mapping[str, Any], shape: tuple[int, int]) -> Area:
        category_id = _parse_id(row, "category_id")
        if category_id not in self.classes:
            raise BadInput(f"an annotation has the category {category_id!r}, which is not in `categories`")
        segmentation = row.get("segmentation")
        rle = parse_rle(segmentation)
        # What the file says of its area and box is not believed.
        if rle is not None:
            check_drawn_size(rle.shape, shape)
            size, bounds = float(rle.n_inside), (0.0, shape[0] - 1.0, 0.0, shape[1] - 1.0)
            segmentation = rle if isinstance(row["segmentation"].get("counts"), list) else segmentation
        else:
            strokes = _read_strokes(segmentation)
            size = sum(measure_polygon(stroke.points) for stroke in strokes)
            corners = np.array([point for stroke in strokes for point in stroke.points], float).reshape(-1, 2)
            ends = (corners.min(axis=0), corners.max(axis=0)) if len(corners) else np.zeros((2, 2))
            bounds = float(ends[0][0]), float(ends[1][0]), float(ends[0][1]), float(ends[1][1])
        return Area(self.classes[category_id], row.get("iscrowd") in (1, True), size, bounds, segmentation)


def open_coco(record: Mapping[str, Any]) -> CocoFile:
    """Read the JSON of a COCO file.

    Raises
    ------
    BadInput
        When it is damaged. The annotations are read, and what is wrong with them is found, image by image.
    """
    images = tuple(_parse_image(row) for row in _list_rows(record, "images"))
    _refuse_twice("image", [image.id for image in images])
    categories = [(_parse_id(row, "id"), _parse_name(row)) for row in _list_rows(record, "categories")]
    _refuse_twice("category", [category_id for category_id, _ in categories])
    rows: dict[Id, list[dict[str, Any]]] = defaultdict(list)
    for row in _list_rows(record, "annotations"):
        _parse_id(row, "category_id")
        rows[_parse_id(row, "image_id")].append(row)
    return CocoFile(images, {category_id: find_class(name) for category_id, name in categories}, rows)


def parse_coco(record: Mapping[str, Any], *, shape: tuple[int, int], image_name: str) -> Annotations:
    """Read what the JSON of a COCO file has of one image.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the image, which run lengths must have too.
    image_name : str
        See `CocoFile.find_image`.

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
    file = open_coco(record)
    image = file.find_image(image_name)
    areas = file.list_areas(image, shape)
    # The largest lies lowest, so that small things on it are seen.
    drawn = [area for area in areas if area.size]
    n_empty = len(areas) - len(drawn)
    return Annotations(
        image.shape,
        image_name,
        dict.fromkeys(file.class_names),
        chain.from_iterable(area.list_items() for area in drawn),
        (f"{n_empty} of its annotations have no area (only a box, or nothing) and were left out",) if n_empty else (),
    )


def _read_strokes(segmentation: Any) -> list[Stroke]:
    return [Stroke("polygon", 0, 1.0, points, layer="result") for points in parse_polygons(segmentation)]


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
    if parts is None or isinstance(parts, dict | Rle):
        return ()
    if not isinstance(parts, list):
        raise BadInput("a `segmentation` is neither polygons nor run lengths; export it again")
    # Some programs write the one polygon of an object without the list around it.
    parts = [parts] if parts and not isinstance(parts[0], list) else parts
    polygons = (_parse_polygon(part) for part in parts)
    return tuple(polygon for polygon in polygons if len(polygon) >= 3)


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
    shape = None if rows is None or cols is None else parse_size([rows, cols])
    urls = (row.get(key) for key in ("coco_url", "flickr_url"))
    return CocoImage(_parse_id(row, "id"), name, shape, tuple(url for url in urls if isinstance(url, str) and url))


def _parse_name(row: Mapping[str, Any]) -> str:
    name = row.get("name")
    if isinstance(name, str):
        return name
    # Names that are numbers lose their quotes in some programs.
    return f"{parse_number(name):g}"


def _parse_polygon(values: Any) -> tuple[Point, ...]:
    if not isinstance(values, list) or len(values) % 2:
        raise BadInput("a polygon is not a list of x, y, x, y, ...; export it as COCO again")
    numbers = [parse_number(value) for value in values]
    return tuple((y - 0.5, x - 0.5) for x, y in zip(numbers[::2], numbers[1::2], strict=True))
