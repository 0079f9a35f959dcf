"""Labels that were made with other tools become strokes: they can be looked at, mended and spread like one's own.

What a file is, is told by its content. Lines and points become scribbles; areas become the dense result, on which one
goes on painting. Classes are matched by name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.classes import (
    MAX_CLASSES,
    NATURAL_COLORS,
    VOID,
    ClassTable,
    Color,
    class_key,
    seeds_to_labels,
    spread_colors,
)
from hybridseg.errors import BadInput, located
from hybridseg.io.annotations.coco import (
    CocoAnnotation,
    annotation_polygons,
    annotation_rle,
    decode_rle,
    measure_polygon,
    parse_coco,
)
from hybridseg.io.annotations.doodler import read_doodlernpz
from hybridseg.io.annotations.doodles import KIND, MAX_POINTS, MAX_STROKES, Stroke, read_doodles
from hybridseg.io.annotations.labelme import LINE_KINDS, decode_mask, outline_shape, parse_labelme
from hybridseg.io.jsonfiles import MAX_FILE_BYTES, read_json_object
from hybridseg.io.labels.formats import LABELMAP_SUFFIXES, read_labelmap
from hybridseg.io.rasters import check_regular
from hybridseg.labelling.strokes import draw_stroke, mask_to_points

# Of lines and points, which have none of their own.
_LINE_WIDTH = 3.0
_UNLABELLED = {"__background__", "_background_", "__ignore__", "_ignore_", "ignore"}
_MAX_NAME_LETTERS = 100
# Masks of all objects together, in pixels of the image: real ones hardly overlap.
_MAX_COVERS = 1000


@dataclass(frozen=True)
class Imported:
    """What a file of another tool holds for one image.

    Parameters
    ----------
    strokes : tuple of Stroke
        In the order in which they cover each other.
    table : ClassTable
        The given classes, then those that only the file has; their ids are those of the strokes.
    warnings : tuple of str
        What a person should know: sentences.
    """

    strokes: tuple[Stroke, ...]
    table: ClassTable
    warnings: tuple[str, ...] = ()


def import_strokes(
    path: str | os.PathLike[str],
    *,
    shape: tuple[int, int],
    image_name: str,
    table: ClassTable | None = None,
    must_name_image: bool = False,
) -> Imported:
    """Read what was labelled on an image with another tool, or in another session.

    Parameters
    ----------
    path : path-like
        A label map (``.mat``, ``.png``, ``.tif``), a labelme or COCO JSON, a ``.npz`` of Doodler, or doodles of ours.
    shape : tuple of int
        Rows and columns of the image. What was drawn at another size is refused: a scale is never guessed.
    image_name : str
        Name of the image, without folders; it is looked up in a COCO file.
    table : ClassTable or None
        The classes so far. None: those of the file.
    must_name_image : bool
        Refuse a file that says it is of another image, or does not say of which. Otherwise that is a warning.

    Returns
    -------
    Imported

    Raises
    ------
    MissingInput, BadInput
        When there is no such file, it is of no known kind, damaged, for another image, or too ragged.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "a.json")
    >>> _ = path.write_text('{"shapes": [{"label": "sand", "points": [[0, 0], [4, 0], [4, 2], [0, 2]]}]}')
    >>> found = import_strokes(path, shape=(3, 5), image_name="a.jpg")
    >>> found.table.names, found.strokes[0].layer
    (('sand',), 'result')
    >>> from hybridseg.labelling.strokes import draw_strokes
    >>> canvas = np.zeros((3, 5), np.uint8)
    >>> draw_stroke(canvas, found.strokes[0])
    >>> canvas.tolist()
    [[1, 1, 1, 1, 0], [1, 1, 1, 1, 0], [0, 0, 0, 0, 0]]
    """
    path = check_regular(path)
    drafts = _Drafts(shape, must_name_image=must_name_image)
    take = _choose_kind(path)
    if take is _take_labelmap or take is _take_doodler:
        take(drafts, path, image_name, table)
    else:
        with located(path):
            take(drafts, path, image_name, table)
    with located(path):
        if not drafts.items:
            drafts.warn("it holds nothing that was drawn on this image")
        return _resolve(drafts, table)


class _Drafts:
    """Strokes whose classes are names yet, or None where labels are taken away; they are counted as they come."""

    def __init__(self, shape: tuple[int, int], *, must_name_image: bool = False) -> None:
        self.shape, self.must_name_image = shape, must_name_image
        self.items: list[tuple[str | None, Stroke]] = []
        self.names: list[str] = []
        self.colors: dict[str, Color] = {}
        self.warnings: list[str] = []
        self._n_points = self._n_masked = 0

    def check_name(self, found: str | None, image_name: str) -> None:
        """Notice what was drawn on an image of another name."""
        if found is None and self.must_name_image:
            raise BadInput(f"it does not say of which image it is; give it the name of {image_name}")
        # The file may come from Windows.
        if found is None or Path(found.replace("\\", "/")).stem == Path(image_name).stem:
            return
        text = f"it was drawn on {found}, and this is {image_name}"
        if self.must_name_image:
            raise BadInput(text)
        self.warn(text)

    def add(self, name: str | None, stroke: Stroke) -> None:
        """Put a stroke on top of the others; its class id is set later."""
        self._count(len(stroke.points))
        self.items.append((name, stroke))

    def add_mask(self, name: str | None, mask: np.ndarray, *, layer: str, origin: tuple[int, int] = (0, 0)) -> None:
        """Put a region on top, from a mask, (rows, cols) bool, whose first pixel is at `origin` in the image."""
        self._n_masked += mask.size
        if self._n_masked > _MAX_COVERS * self.shape[0] * self.shape[1]:
            raise BadInput("its masks cover the image far too often; leave some of its objects out")
        self._count(2 * _count_runs(mask), planned=True)
        points = mask_to_points(mask)
        if any(origin):
            points = tuple((row + origin[0], col + origin[1]) for row, col in points)
        if points:
            self.add(name, Stroke("region", 0, 1.0, points, layer=layer))

    def add_map(self, values: np.ndarray, names: Sequence[str], *, outside: int, layer: str) -> None:
        """Put a region for each class of a map, (rows, cols) uint8, whose class k is `names[k]`."""
        present = np.zeros(256, bool)
        for row in values:
            present[row] = True
        for value in np.flatnonzero(present).tolist():
            if value != outside:
                self.add_mask(names[value], values == value, layer=layer)

    def add_classes(self, names: Iterable[str], colors: Iterable[Color] = ()) -> None:
        """Take over the class list of the file: the order of its classes, and their colours."""
        self.names = [_clean_name(name) for name in names]
        self.colors = dict(zip(map(class_key, self.names), colors, strict=False))

    def warn(self, sentence: str) -> None:
        """Keep what a person should know."""
        self.warnings.append(sentence)

    def check_shape(self, found: tuple[int, ...] | None) -> None:
        """Refuse what was drawn on an image of another size."""
        if found is None:
            self.warn("it does not tell the size of its image, so it was not checked whether it belongs to this one")
        elif tuple(found) != self.shape:
            sizes = [f"{rows} x {cols}" for rows, cols in (found, self.shape)]
            raise BadInput(
                f"it was drawn on {sizes[0]} pixels (rows, columns), but the image has {sizes[1]}; give the image at "
                "the size at which it was labelled"
            )

    def _count(self, n_points: int, *, planned: bool = False) -> None:
        if self._n_points + n_points > MAX_POINTS:
            raise BadInput(
                f"it is too ragged: it takes more than {MAX_POINTS:,} points; smooth it before, by the majority filter "
                "(hybridseg fcn make-labels --radius 3) or in the program that made it"
            )
        if len(self.items) >= MAX_STROKES:
            raise BadInput(f"it has more than {MAX_STROKES:,} areas and lines; leave some of them out")
        if not planned:
            self._n_points += n_points


_Take = Callable[["_Drafts", Path, str, ClassTable | None], None]


def _choose_kind(path: Path) -> _Take:
    """Tell by the first bytes of a file what it is."""
    try:
        n_bytes = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(1024)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}") from error
    if n_bytes > MAX_FILE_BYTES:
        raise BadInput(f"{path} is larger than {MAX_FILE_BYTES // 1_000_000} MB; split it into smaller files")
    if head.startswith(b"PK\x03\x04"):
        return _take_doodler
    if head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"["):
        return _take_json
    if path.suffix.lower() in LABELMAP_SUFFIXES and head:
        return _take_labelmap
    raise BadInput(
        f"{path} is {'empty' if not head else 'of no kind that can be read'}; give a label map (.mat, .png, .tif), a "
        "JSON of labelme or COCO, or a .npz of Doodler"
    )


def _take_labelmap(drafts: _Drafts, path: Path, _image_name: str, table: ClassTable | None) -> None:
    found = read_labelmap(path, table=table)
    own = found.require_table(path)
    with located(path):
        drafts.check_shape(found.labels.shape)
        drafts.add_classes(own.names, own.colors)
        if found.seeds is not None:
            drafts.add_map(seeds_to_labels(found.seeds), own.names, outside=VOID, layer="scribbles")
        drafts.add_map(found.labels, own.names, outside=VOID, layer="result")


def _take_doodler(drafts: _Drafts, path: Path, _image_name: str, table: ClassTable | None) -> None:
    found = read_doodlernpz(path, shape=drafts.shape)
    with located(path):
        names = found.names
        if names is None:
            if table is None:
                raise BadInput("it does not name its classes, or only pickled; give the class list it was made with")
            names = table.names
            drafts.warn("it does not name its classes: they were taken from the class list, in its order")
        drafts.add_classes(names)
        seeds = None if found.doodles is None else seeds_to_labels(found.doodles)
        for values, layer in ((seeds, "scribbles"), (found.labels, "result")):
            if values is None:
                continue
            highest = int(np.max(values, where=values != VOID, initial=0))
            if highest >= len(names):
                raise BadInput(
                    f"it uses {highest + 1} classes, but the names are {', '.join(names[:20]) or 'none'}; give the "
                    "class list it was made with"
                )
            drafts.add_map(values, names, outside=VOID, layer=layer)


def _take_json(drafts: _Drafts, path: Path, image_name: str, _table: ClassTable | None) -> None:
    record = read_json_object(path)
    if record.get("kind") == KIND:
        _take_own(drafts, path)
    elif "shapes" in record:
        _take_labelme(drafts, record, image_name)
    elif "annotations" in record and "images" in record:
        _take_coco(drafts, record, image_name)
    else:
        keys = ", ".join(key[:30] for key in list(record)[:8]) or "nothing"
        raise BadInput(f"it is neither of labelme (`shapes`) nor COCO (`images`, `annotations`): it has {keys}")


def _take_own(drafts: _Drafts, path: Path) -> None:
    doodles = read_doodles(path)
    drafts.check_shape(doodles.shape)
    drafts.add_classes(doodles.table.names, doodles.table.colors)
    for stroke in doodles.strokes:
        drafts.add(None if stroke.tool == "erase" else doodles.table.names[stroke.class_id], stroke)


def _take_labelme(drafts: _Drafts, record: Mapping[str, Any], image_name: str) -> None:
    found = parse_labelme(record)
    drafts.check_shape(found.shape)
    drafts.check_name(found.image_name, image_name)
    n_empty = 0
    for number, shape in enumerate(found.shapes, start=1):
        with located(f"shape {number}"):
            name = _find_class(shape.label)
            if name is not None:
                drafts.names.append(name)
            if shape.kind == "mask":
                mask, origin = decode_mask(shape, drafts.shape)
                drafts.add_mask(name, mask, layer="result", origin=origin)
            elif shape.kind in LINE_KINDS:
                # A point stands alone, a line goes through all of its points.
                parts = [(p,) for p in shape.points] if shape.kind.startswith("point") else [shape.points]
                n_empty += not shape.points
                tool = "pen" if name is not None else "erase"
                for part in parts if shape.points else ():
                    drafts.add(name, Stroke(tool, 0, _LINE_WIDTH, part))
            else:
                points = outline_shape(shape)
                n_empty += len(points) < 3
                if len(points) >= 3:
                    drafts.add(name, Stroke("polygon", 0, 1.0, points, layer="result"))
    if n_empty:
        drafts.warn(f"{n_empty} of its shapes have too few points and were left out")


def _take_coco(drafts: _Drafts, record: Mapping[str, Any], image_name: str) -> None:
    found = parse_coco(record)
    image = found.find_image(image_name)
    drafts.check_shape(image.shape)
    drafts.add_classes(name for name in found.categories.values() if _find_class(name) is not None)
    annotations = found.list_annotations(image)
    # Sorting keeps the order of equals. The largest lies lowest, so that small things on it are seen.
    sized = sorted(((_measure(a), a) for a in annotations), key=lambda pair: -pair[0])
    for area, annotation in sized:
        if annotation.category_id not in found.categories:
            raise BadInput(f"an annotation has the category {annotation.category_id!r}, which is not in `categories`")
        if area:
            _add_annotation(drafts, _find_class(found.categories[annotation.category_id]), annotation)
    n_empty = sum(not area for area, _ in sized)
    if n_empty:
        drafts.warn(f"{n_empty} of its annotations have no area (only a box, or nothing) and were left out")


def _measure(annotation: CocoAnnotation) -> float:
    """Give the area of an annotation; what the file says of it is not believed."""
    rle = annotation_rle(annotation)
    return rle.n_inside if rle else sum(measure_polygon(points) for points in annotation_polygons(annotation))


def _add_annotation(drafts: _Drafts, name: str | None, annotation: CocoAnnotation) -> None:
    rle = annotation_rle(annotation)
    if rle is not None:
        drafts.check_shape(rle.shape)
        drafts.add_mask(name, decode_rle(rle, rle.cols), layer="result", origin=(0, rle.cols.start))
    for points in annotation_polygons(annotation):
        drafts.add(name, Stroke("polygon", 0, 1.0, points, layer="result"))


def _find_class(name: str) -> str | None:
    """Give a name as a class list can hold it; None for what these tools call "no class"."""
    text = _clean_name(name)
    return None if text.casefold() in _UNLABELLED else text


def _clean_name(name: str) -> str:
    text = " ".join(name.split())
    if not class_key(text) or len(text) > _MAX_NAME_LETTERS or not text.isprintable():
        raise BadInput(f"{text[:60]!a} is no name for a class; rename it in the program that wrote the file")
    return text


def _count_runs(mask: np.ndarray) -> int:
    """Count the horizontal runs of true pixels."""
    starts = mask[:, 1:] & ~mask[:, :-1]
    return int(np.count_nonzero(mask[:, :1]) + np.count_nonzero(starts))


def _resolve(drafts: _Drafts, table: ClassTable | None) -> Imported:
    """Turn names into ids: of the table, and for new ones at its end."""
    used = {class_key(name) for name, _ in drafts.items if name is not None}
    names = dict.fromkeys(drafts.names)
    if table is not None or len(names) > MAX_CLASSES:
        names = {name: None for name in names if class_key(name) in used}
    full = _extend_table(table, names, drafts.colors)
    if table is not None and len(full) > len(table):
        new = full.names[len(table) :]
        drafts.warn(
            f"{', '.join(new)} {'is a new class' if len(new) == 1 else 'are new classes'} at the end of the list"
        )
    ids = {key: i for i, key in enumerate(full.keys)}
    strokes = []
    for name, stroke in drafts.items:
        # The id of an eraser is of no meaning.
        unnamed = 0 if stroke.tool == "erase" else -1
        strokes.append(replace(stroke, class_id=unnamed if name is None else ids[class_key(name)]))
    return Imported(tuple(_apply_unlabelled(strokes, full, drafts.shape)), full, tuple(drafts.warnings))


def _extend_table(table: ClassTable | None, names: Iterable[str], colors: Mapping[str, Color]) -> ClassTable:
    """Put the names that a table lacks at its end, each in a colour that no other class has."""
    found = dict(zip(table.names, table.colors, strict=True)) if table else {}
    keys = set(table.keys) if table else set()
    new: dict[str, str] = {}
    for name in names:
        if class_key(name) not in keys:
            new.setdefault(class_key(name), name)
    if len(found) + len(new) > MAX_CLASSES:
        raise BadInput(
            f"with its classes there are {len(found) + len(new)}, and {MAX_CLASSES} can be; merge some of them"
        )
    if not found and not new:
        raise BadInput("it names no class; give a class list")
    taken = set(found.values())
    free = iter(spread_colors(4 * MAX_CLASSES))
    for key, name in new.items():
        color = colors.get(key) or NATURAL_COLORS.get(key)
        while color is None or color in taken:
            color = next(free)
        taken.add(color)
        found[name] = color
    return ClassTable(tuple(found), tuple(found.values()))


def _apply_unlabelled(strokes: list[Stroke], table: ClassTable, shape: tuple[int, int]) -> list[Stroke]:
    """Cut out the areas that mean "no class" (their id is -1): there is no stroke that does it."""
    cut = [i for i, stroke in enumerate(strokes) if stroke.class_id < 0]
    if not cut:
        return strokes
    below = [stroke for stroke in strokes[: cut[-1]] if stroke.layer == "result"]
    if not any(stroke.class_id >= 0 for stroke in below):
        return [stroke for stroke in strokes if stroke.class_id >= 0]
    canvas = np.zeros(shape, np.uint8)
    for stroke in strokes:
        if stroke.layer == "result":
            draw_stroke(canvas, stroke)
    drawn = _Drafts(shape)
    drawn.add_map(seeds_to_labels(canvas), table.names, outside=VOID, layer="result")
    scribbles = [stroke for stroke in strokes if stroke.layer == "scribbles"]
    return scribbles + [replace(s, class_id=table.names.index(str(name))) for name, s in drawn.items]
