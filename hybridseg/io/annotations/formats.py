"""One call to read what was labelled with any tool: the content of a file decides its format, never its name."""

from __future__ import annotations

import os
from itertools import chain
from pathlib import Path

from hybridseg.classes import ClassTable, seeds_to_labels
from hybridseg.errors import BadInput, located
from hybridseg.io.annotations.coco import parse_coco
from hybridseg.io.annotations.doodler import read_doodler
from hybridseg.io.annotations.doodles import KIND, StrokeLog, read_strokes
from hybridseg.io.annotations.items import Annotations, Item, split_labels
from hybridseg.io.annotations.labelme import parse_labelme
from hybridseg.io.jsonfiles import MAX_FILE_BYTES, read_json_object
from hybridseg.io.labels.formats import LABELMAP_SUFFIXES, read_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.rasters import check_regular


def read_annotations(
    path: str | os.PathLike[str], *, shape: tuple[int, int], image_name: str, table: ClassTable | None = None
) -> Annotations:
    """Read a label map, a JSON of labelme or COCO, a ``.npz`` of Doodler, or our ``NAME_doodles.json``.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the image: arrays and run lengths of another size are refused before they are unpacked.
    image_name : str
        Name of the image, without folders; it is looked up in a COCO file.
    table : ClassTable or None
        The classes of a file that does not name them.

    Raises
    ------
    MissingInput, BadInput
        When there is no such file, it is of no known format, damaged, or has no such image.
    """
    path = check_regular(path)
    try:
        n_bytes = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(1024)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}") from error
    if n_bytes > MAX_FILE_BYTES:
        raise BadInput(f"{path} is larger than {MAX_FILE_BYTES // 1_000_000} MB; split it into smaller files")
    if head.startswith(b"PK\x03\x04"):
        return read_doodler(path, shape=shape, image_name=image_name, table=table)
    if head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"["):
        return _read_json(path, shape, image_name)
    if path.suffix.lower() in LABELMAP_SUFFIXES and head:
        return _split_labelmap(path, read_labelmap(path, table=table), image_name)
    raise BadInput(
        f"{path} is {'empty' if not head else 'of no format that can be read'}; give a label map (.mat, .png, .tif), "
        "NAME_doodles.json, a JSON of labelme or COCO, or a .npz of Doodler"
    )


def is_stroke_log(path: Path) -> bool:
    """Return whether a file is our ``NAME_doodles.json``."""
    return path.suffix.lower() == ".json" and find_json_tool(path) == "hybridseg"


def find_json_tool(path: Path) -> str | None:
    """Return which tool a JSON file is of, ours, labelme or COCO, which is for many images; None for any other."""
    try:
        # The name of a photo, which ours have, need not be UTF-8.
        record = read_json_object(path, errors="surrogateescape")
    except BadInput:
        return None
    if record.get("kind") == KIND:
        return "hybridseg"
    return "labelme" if "shapes" in record else "coco" if "annotations" in record and "images" in record else None


def _read_json(path: Path, shape: tuple[int, int], image_name: str) -> Annotations:
    try:
        record = read_json_object(path)
    except BadInput:
        if find_json_tool(path) != "hybridseg":
            raise
        record = {"kind": KIND}
    if record.get("kind") == KIND:
        return _list_strokes(read_strokes(path), image_name)
    with located(path):
        if "shapes" in record:
            return parse_labelme(record, shape=shape)
        if "annotations" in record and "images" in record:
            return parse_coco(record, shape=shape, image_name=image_name)
        keys = ", ".join(key[:30] for key in list(record)[:8]) or "nothing"
        raise BadInput(f"it is neither of labelme (`shapes`) nor COCO (`images`, `annotations`): it has {keys}")


def _list_strokes(log: StrokeLog, image_name: str) -> Annotations:
    names = log.table.names
    items = (Item(None if stroke.tool == "erase" else names[stroke.class_id], stroke) for stroke in log.seen)
    return Annotations(log.shape, image_name, dict(zip(names, log.table.colors, strict=True)), items)


def _split_labelmap(path: Path, found: LabelMap, image_name: str) -> Annotations:
    table = found.require_table(path)
    items = split_labels(found.labels, table.names, layer="result")
    if found.seeds is not None:
        items = chain(split_labels(seeds_to_labels(found.seeds), table.names, layer="scribbles"), items)
    shape = found.labels.shape[0], found.labels.shape[1]
    classes = dict(zip(table.names, table.colors, strict=True))
    return Annotations(shape, image_name, classes, items, is_derived=found.seeds is not None)
