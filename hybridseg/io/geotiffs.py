"""Mosaics (VRT), JPEG 2000, Imagine and ENVI files as temporary GeoTIFFs: each is one more file like any other."""

from __future__ import annotations

import hashlib
import math
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.errors import BadInput, DiskFull, HybridSegError, WriteFailed, located
from hybridseg.io.damage import refuse_damage
from hybridseg.io.imgcheck import find_format, measure_jpeg2000, read_header
from hybridseg.io.labels.pngcheck import check_png
from hybridseg.io.mosaics import Mosaic, Piece, is_within, read_mosaic
from hybridseg.io.rasters import (
    IMAGE_SUFFIXES,
    GeoReference,
    check_beside,
    check_pixel_count,
    check_unpacking,
    open_raster,
    quiet_rasterio,
)
from hybridseg.markup import describe_bytes

_VRT, _JPEG2000 = ".vrt", (".jp2", ".j2k")
COPIED_SUFFIXES = (_VRT, *_JPEG2000, ".img", ".dat", ".bsq", ".bil", ".bip")
"""Suffixes of files that are copied before they are read; ENVI files may have any."""

_BLOCK = 256
# About how many bytes are put together, or copied, at a time.
_PART_BYTES = 16 << 20


def is_copied(path: Path) -> bool:
    """Return whether a file is read from a copy: a mosaic or a JPEG 2000 file by its name, others by what they are."""
    suffix = path.suffix.lower()
    return suffix in (_VRT, *_JPEG2000) or (suffix not in IMAGE_SUFFIXES and find_format(path) is not None)


def copy_geotiff(path: Path, target: Path) -> None:
    """Write such a file as a tiled GeoTIFF.

    Raises
    ------
    MissingInput, BadInput, WriteFailed
        The last where the disk may not have the room: DiskFull, unless it never has.
    """
    suffix = path.suffix.lower()
    if suffix == _VRT:
        _copy_mosaic(read_mosaic(path), target)
    elif suffix in _JPEG2000:
        _copy_jpeg2000(path, target)
    else:
        _copy_raster(path, target)


def measure_file(path: Path) -> tuple[tuple[int, int], int]:
    """Return rows and columns of such a file, of which nothing is decoded, and the bytes of its pixels.

    Raises
    ------
    MissingInput, BadInput
    """
    suffix = path.suffix.lower()
    if suffix == _VRT:
        mosaic = read_mosaic(path)
        return (mosaic.rows, mosaic.cols), mosaic.n_bytes
    if suffix in _JPEG2000:
        return measure_jpeg2000(path)
    header = read_header(path)
    shape = header.rows, header.cols
    return shape, header.n_bytes or math.prod(shape) * sum(np.dtype(kind).itemsize for _, kind in header.layout)


def list_files(path: Path) -> Sequence[Path]:
    """Return the files with the pixels of such a file."""
    if path.suffix.lower() in _JPEG2000:
        return [path]
    return read_mosaic(path).sources if path.suffix.lower() == _VRT else read_header(path).files


def make_tag(path: Path) -> str:
    """Return what tells whether such a file has changed, or any other of its pixels or a mask: sizes and times."""
    try:
        text = [path.read_bytes()] if path.suffix.lower() == _VRT else []
        stamps = [*text, *map(_stamp, list_files(path))]
    except (HybridSegError, OSError):
        return "unreadable"
    return hashlib.sha256(b"\n".join(stamps)).hexdigest()


def _stamp(path: Path) -> bytes:
    """Return sizes and times of a file and of a mask beside it."""
    return b" ".join(_stamp_one(path.with_name(path.name + ending)) for ending in ("", ".msk", ".MSK"))


def _stamp_one(path: Path) -> bytes:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return b"missing"
    return b"%d %d" % (status.st_size, status.st_mtime_ns)


def _set_up(rows: int, cols: int) -> dict[str, Any]:
    """Return the settings of a copy; of a low or narrow image, the tiles are as low or narrow, not mostly empty."""
    block_rows, block_cols = (min(_BLOCK, math.ceil(side / 16) * 16) for side in (rows, cols))
    return {
        "driver": "GTiff", "tiled": True, "blockxsize": block_cols, "blockysize": block_rows, "compress": "deflate",
        "zlevel": 1, "bigtiff": "if_safer",
    }  # fmt: skip


def _describe_copy(rows: int, cols: int, n_bands: int, dtype: str) -> dict[str, Any]:
    """Return the same with the size and the kind of its pixels."""
    return _set_up(rows, cols) | {
        "height": rows, "width": cols, "count": n_bands, "dtype": dtype,
        "interleave": "pixel" if n_bands <= 4 else "band",
    }  # fmt: skip


def count_room(n_bytes: int) -> int:
    """Return the bytes of a GeoTIFF of so many of pixels, where nothing can be compressed, and the list of blocks."""
    return n_bytes + n_bytes // 50 + 1_000_000


def _check_room(path: Path, target: Path, n_bytes: int) -> None:
    usage, needed = shutil.disk_usage(target.parent), count_room(n_bytes)
    text = f"{path} takes up to {describe_bytes(needed)} as a GeoTIFF, and {target.parents[1]} has "
    advice = "set TMPDIR to a folder that has more"
    if needed > usage.total:
        # The other images may fit.
        raise WriteFailed(f"{text}only {describe_bytes(usage.total)}; {advice}")
    if needed > usage.free:
        raise DiskFull(f"{text}{describe_bytes(usage.free)} free; free some space there, or {advice}")


def _copy_jpeg2000(path: Path, target: Path) -> None:
    import rasterio
    import rasterio.shutil

    # What is left of a copy tells that the disk is full.
    settings = {"GDAL_TIFF_INTERNAL_MASK": True, "GDAL_NUM_THREADS": "1", "GTIFF_DELETE_ON_ERROR": "NO"}
    with refuse_damage(path), quiet_rasterio(), rasterio.Env(**settings):
        (rows, cols), _ = measure_jpeg2000(path)
        check_beside(path)
        with rasterio.open(path, driver="JP2OpenJPEG") as dataset:
            _check_room(path, target, rows * cols * sum(np.dtype(kind).itemsize for kind in dataset.dtypes))
            rasterio.shutil.copy(dataset, target, **_set_up(rows, cols))


def _copy_raster(path: Path, target: Path) -> None:
    """Write an Imagine or an ENVI file as a GeoTIFF, whatever else it holds besides an image."""
    import rasterio

    with refuse_damage(path), quiet_rasterio():
        header = read_header(path)
        check_beside(path)
        # Nothing may ask for smaller versions, for which GDAL would open other files that it names.
        with rasterio.open(path, driver=header.driver) as dataset:
            header.check_same(dataset)
            write_copy(path, dataset, target)


def write_copy(path: Path, dataset: Any, target: Path) -> None:
    """Write an open dataset, which a path stands for, as a tiled GeoTIFF, some rows at a time."""
    import rasterio
    from rasterio.dtypes import in_dtype_range
    from rasterio.windows import Window

    dtype, nodata = _check_bands(path, dataset)
    n_rows, n_cols, n_bands = dataset.height, dataset.width, dataset.count
    pixel_bytes = n_bands * np.dtype(dtype).itemsize
    _check_room(path, target, n_rows * n_cols * pixel_bytes)
    profile = _describe_copy(n_rows, n_cols, n_bands, dtype) | {"crs": dataset.crs}
    if not dataset.transform.is_identity:
        profile["transform"] = dataset.transform
    if nodata is not None and in_dtype_range(nodata, dtype):
        profile["nodata"] = nodata
    is_masked = {flag.name for flag in dataset.mask_flag_enums[0]}.isdisjoint(("all_valid", "nodata", "alpha"))
    part_rows, part_cols = _plan_parts(n_cols, pixel_bytes)
    settings = {"GDAL_TIFF_INTERNAL_MASK": True, "GDAL_NUM_THREADS": "1", "GDAL_PAM_ENABLED": "NO"}
    with rasterio.Env(**settings), rasterio.open(target, "w", **profile) as copy:
        copy.colorinterp = dataset.colorinterp
        if dataset.gcps[0]:
            copy.gcps = dataset.gcps
        if dataset.rpcs:
            copy.rpcs = dataset.rpcs
        for top in range(0, n_rows, part_rows):
            for left in range(0, n_cols, part_cols):
                window = Window(left, top, min(part_cols, n_cols - left), min(part_rows, n_rows - top))
                copy.write(dataset.read(window=window), window=window)
                if is_masked:
                    copy.write_mask(dataset.dataset_mask(window=window) != 0, window=window)


def _check_bands(path: Path, dataset: Any) -> tuple[str, float | None]:
    """Return the type of all samples, and the nodata value of all bands."""
    kinds = sorted(set(dataset.dtypes))
    if len(kinds) > 1 or "complex" in kinds[0]:
        raise BadInput(f"{path} has samples of type {', '.join(kinds)}; give real numbers of one type")
    if "palette" in {color.name for color in dataset.colorinterp}:
        raise BadInput(
            f"{path} has a palette, as maps of classes have; if it is an image, make one in colours of it: "
            f"gdal_translate -expand rgb {path.name} {path.stem}.tif"
        )
    # As texts, for NaN equals nothing.
    if len({str(value) for value in dataset.nodatavals}) > 1:
        raise BadInput(
            f"{path} has bands with several nodata values; write it with one: "
            f"gdal_translate -a_nodata VALUE {path.name} {path.stem}.tif"
        )
    return kinds[0], dataset.nodata


def _copy_mosaic(mosaic: Mosaic, target: Path) -> None:
    import rasterio
    from rasterio.enums import ColorInterp
    from rasterio.windows import Window

    path, n_bands = mosaic.path, len(mosaic.colors)
    pieces_of: dict[Path, list[Piece]] = {source: [] for source in mosaic.sources}
    for piece in mosaic.pieces:
        pieces_of[piece.path].append(piece)
    for source, pieces in pieces_of.items():
        with located(path):
            _check_source(source, pieces, mosaic.dtype)
    _check_room(path, target, mosaic.n_bytes)
    profile = _describe_copy(mosaic.rows, mosaic.cols, n_bands, mosaic.dtype)
    profile |= {"nodata": mosaic.nodata, "sparse_ok": True}
    with refuse_damage(path, what="cannot be put together", remedy="see that all of its images can be read"):
        profile |= _place(mosaic.georeference) if mosaic.georeference else {}
        with (
            quiet_rasterio(),
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(target, "w", **profile) as dataset,
        ):
            dataset.colorinterp = [ColorInterp[color] for color in mosaic.colors]
            for rows, cols, pieces in _cut(mosaic):
                canvas = np.full((n_bands + mosaic.has_mask, rows[1] - rows[0], cols[1] - cols[0]), mosaic.fill or 0,
                                 mosaic.dtype)  # fmt: skip
                canvas[n_bands:] = 0
                for piece in pieces:
                    with located(path):
                        _draw(piece, canvas, rows[0], cols[0])
                window = Window(cols[0], rows[0], canvas.shape[2], canvas.shape[1])
                dataset.write(canvas[:n_bands], window=window)
                if mosaic.has_mask:
                    dataset.write_mask(canvas[n_bands] != 0, window=window)


def _place(georeference: GeoReference) -> dict[str, Any]:
    """Return where on Earth a mosaic says that it is, as rasterio takes it."""
    import rasterio

    place = {}
    if georeference.transform:
        place["transform"] = rasterio.Affine(*georeference.transform)
    if georeference.crs:
        # Of any other name, or an address, GDAL would read the file.
        known = re.fullmatch(r"EPSG:(\d{1,6})", georeference.crs)
        crs = rasterio.crs.CRS
        place["crs"] = crs.from_epsg(int(known[1])) if known else crs.from_wkt(georeference.crs)
    return place


def _cut(mosaic: Mosaic) -> Iterator[tuple[tuple[int, int], tuple[int, int], list[Piece]]]:
    """Yield parts of a mosaic, whole blocks, with what lies in them; where nothing does, there is none."""
    pixel_bytes = math.ceil(mosaic.n_bytes / (mosaic.rows * mosaic.cols))
    n_rows, n_cols = _plan_parts(mosaic.cols, pixel_bytes)
    places = np.array([piece.place for piece in mosaic.pieces]).reshape(-1, 4)
    ends = places[:, :2] + places[:, 2:]
    for top in range(0, mosaic.rows, n_rows):
        bottom = min(top + n_rows, mosaic.rows)
        in_rows = np.flatnonzero((places[:, 1] < bottom) & (ends[:, 1] > top))
        starts = range(0, mosaic.cols, n_cols) if len(in_rows) else ()
        for left in starts:
            right = min(left + n_cols, mosaic.cols)
            found = in_rows[(places[in_rows, 0] < right) & (ends[in_rows, 0] > left)]
            if len(found):
                yield (top, bottom), (left, right), [mosaic.pieces[i] for i in found]


def _plan_parts(cols: int, pixel_bytes: int) -> tuple[int, int]:
    """Return rows and columns of the parts of so wide an image that are put together at a time."""
    n_cols = min(cols, _fit_blocks(_BLOCK * pixel_bytes))
    return _fit_blocks(n_cols * pixel_bytes), n_cols


def _fit_blocks(n_bytes: int) -> int:
    """Return the side of so many blocks as have about `_PART_BYTES`, where a row of pixels has so many."""
    return max(_PART_BYTES // n_bytes // _BLOCK, 1) * _BLOCK


def _check_source(source: Path, pieces: list[Piece], dtype: str) -> None:
    with open_raster(source) as dataset:
        check_unpacking(source, dataset, n_bytes=_PART_BYTES)
        if dataset.driver != "GTiff":
            # It may be decoded as a whole.
            check_pixel_count(source, dataset.height, dataset.width, pixel_bytes=dataset.count)
        if dataset.driver == "PNG":
            check_png(source)
        for piece in pieces:
            if max(piece.origins) > dataset.count:
                raise BadInput(f"{source} has no band {max(piece.origins)}; make the mosaic again")
            kinds = {dataset.dtypes[origin - 1] for origin in piece.origins}
            if kinds != {dtype} and not piece.from_mask and piece.value is None:
                raise BadInput(f"{source} has samples of the type {', '.join(kinds)}, and the mosaic {dtype}")
            if not is_within(piece.taken, dataset.height, dataset.width):
                raise BadInput(f"{source} is smaller than the mosaic says; make the mosaic again")


def _draw(piece: Piece, canvas: np.ndarray, top: int, left: int) -> None:
    """Draw what an image gives to a part of a mosaic, (bands, rows, cols), which begins at a row and a column."""
    with open_raster(piece.path) as dataset:
        (to_cols, cols), (to_rows, rows) = (
            _match(piece, axis, start, canvas.shape[2 - axis], (dataset.width, dataset.height)[axis])
            for axis, start in enumerate((left, top))
        )
        if not (len(cols) and len(rows)):
            return
        window = (rows[0], rows[-1] + 1), (cols[0], cols[-1] + 1)

        def thin(values: np.ndarray) -> np.ndarray:
            """Take the rows and columns that are wanted of all that were read."""
            if len(rows) == values.shape[1] and len(cols) == values.shape[2]:
                return values
            return values[:, rows - rows[0]][:, :, cols - cols[0]]

        origins = list(piece.origins)
        given = thin((dataset.read_masks if piece.from_mask else dataset.read)(origins, window=window))
        valid = np.ones(given.shape, bool)
        if piece.nodata is not None:
            valid &= ~np.isnan(given) if math.isnan(piece.nodata) else given != given.dtype.type(piece.nodata)
        if piece.is_masked:
            # The transparency has no mask but itself.
            is_alpha = np.array([dataset.colorinterp[origin - 1].name == "alpha" for origin in origins])
            masks = thin(dataset.read_masks(origins, window=window))
            valid &= np.where(is_alpha[:, None, None], given, masks) != 0
        if piece.value is not None:
            given = np.full_like(given, piece.value)
        for i, band in enumerate(piece.bands):
            np.copyto(canvas[band, to_rows, to_cols], given[i], where=valid[i], casting="unsafe")


def _match(piece: Piece, axis: int, start: int, length: int, n_pixels: int) -> tuple[slice, np.ndarray]:
    """Return the columns (0) or rows (1) of a part of a mosaic that an image covers, and what they are in the image.

    Those are covered whose middle is; a little less, so that two images that touch one another leave no gap.
    """
    offset, size = piece.place[axis], piece.place[axis + 2]
    first, last = (math.ceil(end - 0.5 - 1e-3) for end in (offset, offset + size))
    first, last = max(first, start), min(last, start + length)
    middles = np.arange(first, max(first, last)) + 0.5
    found = (middles - offset) * (piece.taken[axis + 2] / size) + piece.taken[axis]
    return slice(first - start, max(first, last) - start), np.floor(found + 1e-6).astype(int).clip(0, n_pixels - 1)
