"""Label maps as single-band GeoTIFF: class ids, a colour table, and the georeference of the image."""

from __future__ import annotations

import os
import zlib
from typing import Any

import numpy as np

from hybridseg.classes import VOID, ClassTable
from hybridseg.errors import BadInput, located
from hybridseg.io.labels.labelmaps import LabelMap, decode_names, encode_names, match_painted, narrow_labels
from hybridseg.io.rasters import check_pixel_count, open_raster, read_georeference, write_band

_NAMES_TAG = "CLASS_NAMES"
_CHECKSUM_TAG = "LABELS_CRC32"
_MADE_BY_TAG = "MADE_BY"


def write_labeltiff(path: str | os.PathLike[str], labelmap: LabelMap) -> None:
    """Write a label map as a tiled, compressed GeoTIFF, whole or not at all. VOID is its nodata value."""
    table = labelmap.require_table(path)
    tags = {_NAMES_TAG: encode_names(table), _CHECKSUM_TAG: _sum_labels(labelmap.labels)}
    if labelmap.made_by is not None:
        tags[_MADE_BY_TAG] = labelmap.made_by
    write_band(
        path,
        labelmap.labels,
        labelmap.georeference,
        nodata=VOID,
        palette=table.colors,
        tags=tags,
    )


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
        if dataset.count in (3, 4) and set(dataset.dtypes) == {"uint8"}:
            rgb = np.moveaxis(dataset.read((1, 2, 3)), 0, 2)
            labels = match_painted(rgb, table, where=path)
            return LabelMap(labels, table, georeference=read_georeference(dataset))
        if dataset.count != 1:
            raise BadInput(
                f"{path} has {dataset.count} bands of {dataset.dtypes[0]}; a label map has one band of class ids, or "
                "is painted in 8-bit colours"
            )
        values = dataset.read(1)
        checksum, made_by = (dataset.tags(1).get(tag) for tag in (_CHECKSUM_TAG, _MADE_BY_TAG))
        if checksum is not None and checksum != _sum_labels(values):
            raise BadInput(f"{path} is damaged (its checksum is wrong); copy it again from its source")
        own_table = _read_classes(path, dataset)
        nodata = dataset.nodata
        georeference = read_georeference(dataset)
    table = own_table or table
    if nodata is not None:
        # Masked first: a nodata value such as -9999 or 0 is not a class.
        empty = np.isnan(values) if np.isnan(nodata) else values == nodata
        kept = narrow_labels(np.where(empty, 0, values), table, where=path)
        labels = np.where(empty, np.uint8(VOID), kept)
    else:
        labels = narrow_labels(values, table, where=path)
    return LabelMap(labels, table, georeference=georeference, made_by=made_by)


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


def _sum_labels(values: np.ndarray) -> str:
    """Return a checksum: a damaged block may still unpack, to other labels."""
    return f"{zlib.crc32(np.ascontiguousarray(values)):08x}"
