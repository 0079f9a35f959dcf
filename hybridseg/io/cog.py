"""One band as a Cloud Optimized GeoTIFF: in tiles, compressed, with overviews, written strip by strip."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.io.atomic import atomic_path, explain_writing
from hybridseg.io.damage import list_damage
from hybridseg.io.locks import is_full, own_partial
from hybridseg.io.rasters import GeoReference, quiet_rasterio

_BLOCK = 512
_WHAT_FAILED = "the disk did not take all of it"


@contextmanager
def writing_band(
    path: str | os.PathLike[str],
    shape: tuple[int, int],
    georeference: GeoReference | None,
    *,
    nodata: int,
    palette: Sequence[tuple[int, int, int]] = (),
    tags: Callable[[int], Mapping[str, str]] = lambda _: {},
    sidecars: Mapping[Path, str] = {},
) -> Iterator[Callable[[np.ndarray], None]]:
    """Write one band of bytes, whole or not at all.

    What GDAL derived from an earlier raster of this name (statistics, overviews) is removed.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns.
    nodata : int
        The value of pixels without a value.
    palette : sequence of (int, int, int)
        Colours of the values from 0 on.
    tags : callable
        Returns those of the band, given the CRC-32 of all values.
    sidecars : mapping of pathlib.Path to str
        Texts of small files that belong to it: where the raster is, they are too, and never those of another one.

    Yields
    ------
    callable
        Writes the next rows, (any, cols) uint8, from top to bottom. Once all are written, and the block of code ends,
        the file is there.
    """
    import rasterio

    path, profile = Path(path), _set_up(shape, nodata, georeference)
    with ExitStack() as stack:
        # The raster is renamed last.
        temporary = stack.enter_context(atomic_path(path))
        changed = [sidecar for sidecar, text in sidecars.items() if not _holds(sidecar, text.encode())]
        for sidecar in changed:
            stack.enter_context(atomic_path(sidecar)).write_text(sidecars[sidecar], encoding="utf-8")
        # What fails from here on is the raster, not what belongs to it.
        stack.enter_context(explain_writing(path))
        # Its overviews come first in the file, so that they are made of a raster that is there already.
        plain = stack.enter_context(own_partial(path.parent, ".tif"))
        with quiet_rasterio(), rasterio.open(plain, "w", **profile) as dataset:
            strips = _Strips(path, dataset)
            yield strips.write
            if palette:
                dataset.write_colormap(1, {i: (*color, 255) for i, color in enumerate(palette)})
            dataset.update_tags(1, **tags(strips.checksum))
            if georeference and georeference.gcps:
                crs = rasterio.crs.CRS.from_user_input(georeference.crs) if georeference.crs else None
                dataset.gcps = (list(georeference.gcps), crs)
            if georeference and georeference.rpcs:
                dataset.rpcs = georeference.rpcs
        _arrange(plain, temporary)
        _check_written(temporary, strips.checksum)
        outdated = {path.with_name(path.name + ending) for ending in (".aux.xml", ".ovr")}.difference(sidecars)
        for old in (*outdated, *((path,) if changed else ())):
            old.unlink(missing_ok=True)


def write_band(
    path: str | os.PathLike[str], values: np.ndarray, georeference: GeoReference | None, **settings: Any
) -> None:
    """Write a band that is in memory, (rows, cols) uint8, as `writing_band` does."""
    with writing_band(path, (values.shape[0], values.shape[1]), georeference, **settings) as write:
        write(values)


def _set_up(shape: tuple[int, int], nodata: int, georeference: GeoReference | None) -> dict[str, Any]:
    """Return what a raster is created with, before it is arranged; control points it gets when it is there."""
    import rasterio

    profile: dict[str, Any] = {
        "driver": "GTiff", "height": shape[0], "width": shape[1], "count": 1, "dtype": np.uint8, "nodata": nodata,
        "compress": "deflate", "zlevel": 1, "bigtiff": "if_safer",
        "tiled": True, "blockxsize": _BLOCK, "blockysize": _BLOCK,
    }  # fmt: skip
    if georeference and georeference.transform:
        profile["transform"] = rasterio.Affine(*georeference.transform)
    if georeference and georeference.crs and not georeference.gcps:
        profile["crs"] = rasterio.crs.CRS.from_user_input(georeference.crs)
    return profile


class _Strips:
    """The strips of a raster as they come, written in whole rows of blocks, so that none is compressed twice."""

    def __init__(self, path: Path, dataset: Any) -> None:
        self._path, self._dataset = path, dataset
        self._waiting: list[np.ndarray] = []
        self._n_written = 0
        self.checksum = 0

    def write(self, values: np.ndarray) -> None:
        """Take the next rows."""
        self.checksum = zlib.crc32(np.ascontiguousarray(values), self.checksum)
        self._waiting.append(values)
        n_waiting = sum(map(len, self._waiting))
        is_last = self._n_written + n_waiting == self._dataset.height
        n_ready = n_waiting if is_last else n_waiting - n_waiting % _BLOCK
        if n_ready:
            ready = self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting)
            rows = self._n_written, self._n_written + n_ready
            with _noticing(self._path):
                self._dataset.write(ready[:n_ready], 1, window=(rows, (0, self._dataset.width)))
            self._waiting, self._n_written = [ready[n_ready:]], rows[1]


def _arrange(plain: Path, target: Path) -> None:
    """Copy a raster so that a part of it at any size lies together. In overviews the commonest value stands for all."""
    import rasterio.shutil

    layout = {"BLOCKSIZE": _BLOCK, "COMPRESS": "DEFLATE", "OVERVIEW_RESAMPLING": "MODE", "BIGTIFF": "IF_SAFER"}
    with quiet_rasterio(), _noticing(target):
        rasterio.shutil.copy(plain, target, driver="COG", **layout)


@contextmanager
def _noticing(path: Path) -> Iterator[None]:
    """Turn what GDAL raises while it writes into an OSError."""
    try:
        yield
    except list_damage() as error:
        raise _explain(path) from error


def _explain(path: Path) -> OSError:
    """Return the error for a raster that is not whole: GDAL does not say why."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) if is_full(path.parent) else OSError(_WHAT_FAILED)


def _check_written(path: Path, checksum: int) -> None:
    """Raise OSError unless a raster holds what was written: on a full disk, GDAL does not say so."""
    import rasterio

    found = 0
    try:
        with quiet_rasterio(), rasterio.open(path) as dataset:
            for row in range(0, dataset.height, _BLOCK):
                part = (row, min(row + _BLOCK, dataset.height)), (0, dataset.width)
                found = zlib.crc32(dataset.read(1, window=part), found)
    except list_damage():
        found = checksum + 1
    if found != checksum:
        raise _explain(path)


def _holds(path: Path, data: bytes) -> bool:
    return path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data
