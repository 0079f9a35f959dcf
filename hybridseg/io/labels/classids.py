"""Class ids of 8 to 32 bits: masks of scientific images, in any form."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.classes import VOID, ClassTable
from hybridseg.errors import BadInput
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.rasters import check_pixel_count, check_unpacking, open_raster, read_strips
from hybridseg.io.samples import MASK_TYPES


def read_class_ids(path: Path, table: ClassTable | None) -> np.ndarray:
    """Return the class ids of a mask, (rows, cols) of one of `hybridseg.io.samples.MASK_TYPES`; 255 is void.

    Parameters
    ----------
    table : ClassTable or None
        The classes; a mask that names its own is matched by name.

    Raises
    ------
    MissingInput, BadInput
        When it is not a mask, or has negative or fractional values.
    """
    if path.suffix.lower() != ".mat":
        with open_raster(path) as dataset:
            if dataset.count == 1 and dataset.dtypes[0] != "uint8":
                return _read_ids(path, dataset)
    try:
        found = read_labelmap(path, with_seeds=False)
    except BadInput:
        if table is None:
            raise
        found = read_labelmap(path, table=table, with_seeds=False)
    return found.labels if table is None else found.labels_as(table)


def _read_ids(path: Path, dataset: Any) -> np.ndarray:
    """Return the ids of a band as one of `MASK_TYPES`, VOID where it has no data."""
    check_pixel_count(path, *dataset.shape, pixel_bytes=8)
    kind, nodata = dataset.dtypes[0], dataset.nodata
    ids = np.empty(dataset.shape, kind if kind in MASK_TYPES else np.int32)
    check_unpacking(path, dataset, n_bytes=ids.nbytes)
    for rows, values in read_strips(dataset, 1):
        empty = np.zeros((), bool) if nodata is None else np.isnan(values) if math.isnan(nodata) else values == nodata
        with np.errstate(invalid="ignore"):
            odd = (values < 0) | (values > np.iinfo(np.int32).max) | (np.floor(values) != values)
            ids[rows] = values
        if (odd & ~empty).any():
            value = values[odd & ~empty].flat[0]
            raise BadInput(f"{path} has the value {value:g}; class ids are whole numbers from 0")
        if empty.any():
            ids[rows][empty] = VOID
    return ids
