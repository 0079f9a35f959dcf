"""Label maps as single-band GeoTIFF: class ids, a colour table, and the georeference of the image.

Two small files beside it tell GIS programs what the classes are called.
"""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import reduce
from pathlib import Path
from typing import Any
from xml.etree import ElementTree  # nosec B405 # it writes XML and never reads any

import numpy as np

from hybridseg.classes import VOID, ClassTable, hex_color
from hybridseg.errors import BadInput, located
from hybridseg.io.cog import writing_band
from hybridseg.io.labels.labelmaps import (
    LabelMap,
    decode_names,
    encode_names,
    gather_ids,
    match_painted,
    narrow_labels,
)
from hybridseg.io.marks import is_ours
from hybridseg.io.rasters import (
    GeoReference,
    check_pixel_count,
    check_unpacking,
    open_raster,
    read_georeference,
    read_strips,
)
from hybridseg.markup import count_of

logger = logging.getLogger(__name__)

_NAMES_TAG = "CLASS_NAMES"
_CHECKSUM_TAG = "LABELS_CRC32"
_MADE_BY_TAG = "MADE_BY"

# A style that QGIS saved has no such first line, and is the user's.
_STYLE_HEAD = "<!-- Replaced whenever hybridseg writes the label map; a style saved by QGIS is kept. -->\n"
# Name, type (0 whole number, 2 text) and usage (5 value, 2 name, 6 to 8 colours) as GDAL numbers them.
_COLUMNS = (("Value", 0, 5), ("Class_Name", 2, 2), ("Red", 0, 6), ("Green", 0, 7), ("Blue", 0, 8))


def write_labeltiff(path: str | os.PathLike[str], labelmap: LabelMap) -> None:
    """Write a label map as a Cloud Optimized GeoTIFF, whole or not at all. VOID is its nodata value.

    Beside it stand ``NAME.tif.aux.xml`` with the names of the classes, for programs on GDAL, and the style
    ``NAME.qml``, which QGIS applies by itself. A style of the user's is kept.
    """
    labels, table = labelmap.labels, labelmap.require_table(path)
    shape = (labels.shape[0], labels.shape[1])
    with writing_labels(path, shape, table, labelmap.georeference, made_by=labelmap.made_by) as write:
        write(labels)


def writing_labels(
    path: str | os.PathLike[str],
    shape: tuple[int, int],
    table: ClassTable,
    georeference: GeoReference | None,
    *,
    made_by: str | None = None,
) -> AbstractContextManager[Callable[[np.ndarray], None]]:
    """Write the same of labels that are not in memory together, as `hybridseg.io.cog.writing_band` does."""
    path = Path(path)

    def describe(checksum: int) -> dict[str, str]:
        tags = {_NAMES_TAG: encode_names(table), _CHECKSUM_TAG: f"{checksum:08x}"}
        return tags if made_by is None else {**tags, _MADE_BY_TAG: made_by}

    classes_path, style_path = _place_sidecars(path)
    sidecars = {classes_path: _describe_classes(table)}
    if _is_of_user(style_path):
        logger.warning("%s is a style of your own and is kept; remove it if %s has other classes", style_path, path)
    else:
        sidecars[style_path] = _STYLE_HEAD + _style_classes(table)
    return writing_band(path, shape, georeference, nodata=VOID, palette=table.colors, tags=describe, sidecars=sidecars)


def list_sidecars(path: Path) -> list[Path]:
    """List what lies beside a label map and was written with it; a style of the user's was not."""
    there = filter(Path.is_file, _place_sidecars(path)) if path.suffix == ".tif" else ()
    return [sidecar for sidecar in there if not _is_of_user(sidecar)]


def _place_sidecars(path: Path) -> tuple[Path, Path]:
    return path.with_name(f"{path.name}.aux.xml"), path.with_suffix(".qml")


def _describe_classes(table: ClassTable) -> str:
    """Return the category names and the raster attribute table of GDAL, as its XML."""
    root = ElementTree.Element("PAMDataset")
    band = ElementTree.SubElement(root, "PAMRasterBand", band="1")
    names = ElementTree.SubElement(band, "CategoryNames")
    attributes = ElementTree.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    for i, column in enumerate(_COLUMNS):
        definition = ElementTree.SubElement(attributes, "FieldDefn", index=str(i))
        for key, value in zip(("Name", "Type", "Usage"), column, strict=True):
            ElementTree.SubElement(definition, key).text = str(value)
    for i, (name, color) in enumerate(zip(table.names, table.colors, strict=True)):
        ElementTree.SubElement(names, "Category").text = name
        row = ElementTree.SubElement(attributes, "Row", index=str(i))
        for value in (i, name, *color):
            ElementTree.SubElement(row, "F").text = str(value)
    return _format_xml(root)


def _style_classes(table: ClassTable) -> str:
    """Return a style of QGIS: each class in its colour under its name, and nothing else."""
    root = ElementTree.Element("qgis", version="3.0.0", styleCategories="Symbology")
    pipe = ElementTree.SubElement(root, "pipe")
    renderer = ElementTree.SubElement(pipe, "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1")
    palette = ElementTree.SubElement(renderer, "colorPalette")
    for i, (name, color) in enumerate(zip(table.names, table.colors, strict=True)):
        entry = {"value": str(i), "color": hex_color(color), "alpha": "255", "label": name}
        ElementTree.SubElement(palette, "paletteEntry", entry)
    return _format_xml(root)


def _is_of_user(path: Path) -> bool:
    try:
        return path.is_file() and not is_ours(path)
    except OSError:
        return True


def _format_xml(root: ElementTree.Element) -> str:
    ElementTree.indent(root, " ")
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def read_labeltiff(path: str | os.PathLike[str], *, table: ClassTable | None = None) -> LabelMap:
    """Read a TIFF label map with its georeference: one band of class ids, or a picture in the colours of the classes.

    Parameters
    ----------
    table : ClassTable or None
        The classes of a file that does not name them; needed for a colour picture. A file's own names always win.

    Raises
    ------
    MissingInput, BadInput
        When the file is not a TIFF, damaged, or holds ids or colours without a class.
    """
    with open_raster(path) as dataset:
        if dataset.driver != "GTiff":
            raise BadInput(f"{path} is a {dataset.driver} file named .tif; give the original label map")
        check_pixel_count(path, *dataset.shape)
        check_unpacking(path, dataset, n_bytes=dataset.width * dataset.height)
        if dataset.count in (3, 4) and set(dataset.dtypes) == {"uint8"}:
            labels = match_painted(read_strips(dataset, (1, 2, 3)), table, shape=dataset.shape, where=path)
            return LabelMap(labels, table, georeference=read_georeference(dataset))
        if dataset.count != 1:
            raise BadInput(
                f"{path} has {count_of(dataset.count, 'band')} of {dataset.dtypes[0]}; a label map has one band of "
                "class ids, or is painted in 8-bit colours"
            )
        sums, strips = [0], read_strips(dataset, 1)
        ids = gather_ids(dataset.shape, _sum_up(strips, sums), where=path, nodata=dataset.nodata)
        checksum, made_by = (dataset.tags(1).get(tag) for tag in (_CHECKSUM_TAG, _MADE_BY_TAG))
        _check_sum(path, checksum, sums[0])
        table = _read_classes(path, dataset) or table
        georeference = read_georeference(dataset)
    return LabelMap(narrow_labels(ids, table, where=path), table, georeference=georeference, made_by=made_by)


def read_tiff_record(path: str | os.PathLike[str]) -> str | None:
    """Return how a label map was made, None where it does not say, as `read_labeltiff` but of one of any size."""
    with open_raster(path) as dataset:
        if dataset.driver == "GTiff" and dataset.dtypes == ("uint8",):
            check_unpacking(path, dataset, n_bytes=0)
            found = reduce(lambda found, part: zlib.crc32(part[1], found), read_strips(dataset, 1), 0)
            checksum, made_by = (dataset.tags(1).get(tag) for tag in (_CHECKSUM_TAG, _MADE_BY_TAG))
            _check_sum(path, checksum, found)
            return None if made_by is None else str(made_by)
    return read_labeltiff(path).made_by


def _check_sum(path: str | os.PathLike[str], wanted: str | None, found: int) -> None:
    # A damaged block may still unpack, to other labels.
    if wanted is not None and wanted != f"{found:08x}":
        raise BadInput(f"{path} is damaged (its checksum is wrong); copy it again from its source")


def _sum_up(parts: Iterable[tuple[slice, np.ndarray]], sums: list[int]) -> Iterator[tuple[slice, np.ndarray]]:
    """Pass on parts of an array, and add them to a checksum."""
    for rows, values in parts:
        sums[0] = zlib.crc32(np.ascontiguousarray(values), sums[0])
        yield rows, values


def _read_classes(path: str | os.PathLike[str], dataset: Any) -> ClassTable | None:
    text = dataset.tags(1).get(_NAMES_TAG)
    if text is None:
        return None
    with located(path):
        table = ClassTable.from_names(decode_names(text))
    try:
        colormap = dataset.colormap(1)
    except ValueError:
        return table
    if any(i not in colormap for i in range(len(table))):
        return table
    return ClassTable(table.names, tuple(tuple(colormap[i][:3]) for i in range(len(table))))
