"""Class ids of 8 to 32 bits: masks of scientific images, in any form."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from hybridseg.classes import VOID, ClassTable
from hybridseg.errors import BadInput
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.rasters import check_pixel_count, open_raster
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
                check_pixel_count(path, *dataset.shape, pixel_bytes=8)
                values, nodata = dataset.read(1), dataset.nodata
                return _narrow(values, None if nodata is None else _is_value(values, nodata), path)
    try:
        found = read_labelmap(path, with_seeds=False)
    except BadInput:
        if table is None:
            raise
        found = read_labelmap(path, table=table, with_seeds=False)
    return found.labels if table is None else found.labels_as(table)


def _is_value(values: np.ndarray, value: float) -> np.ndarray:
    return np.isnan(values) if math.isnan(value) else values == value


def _narrow(values: np.ndarray, empty: np.ndarray | None, path: Path) -> np.ndarray:
    """Return ids as one of `MASK_TYPES`, VOID where they are empty."""
    if empty is not None and empty.any():
        values = np.where(empty, values.dtype.type(VOID), values)
    with np.errstate(invalid="ignore"):
        odd = (values < 0) | (values > np.iinfo(np.int32).max) | (np.floor(values) != values)
    if odd.any():
        value = values[odd].flat[0]
        raise BadInput(f"{path} has the value {value:g}; class ids are whole numbers from 0")
    return values if values.dtype.name in MASK_TYPES else values.astype(np.int32)
