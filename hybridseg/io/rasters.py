"""The one way to open a raster file, and what it carries besides its pixels.

The first bytes of a file decide its format, never its name, and only JPEG, PNG and TIFF are opened:
GDAL has formats that read other files or fetch from the network. So are the files that it opens along with one.
"""

from __future__ import annotations

import math
import os
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.errors import BadInput, MissingInput
from hybridseg.io.atomic import atomic_path
from hybridseg.io.damage import hush, refuse_damage

DEFAULT_MAX_PIXELS = 1_000_000_000

_METRES_PER_DEGREE = 111_320.0
_CACHE_BYTES = 32 << 20
_WINDOW_BYTES = 4 << 20

# What GDAL opens along with a raster of this name.
_OPENED_ALONG = (".msk", ".MSK", ".ovr", ".OVR")

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"II*\x00", "GTiff"),
    (b"MM\x00*", "GTiff"),
    (b"II+\x00", "GTiff"),
    (b"MM\x00+", "GTiff"),
)


@dataclass(frozen=True)
class GeoReference:
    """Where a raster lies on the Earth.

    Parameters
    ----------
    crs : str or None
        Coordinate reference system as WKT; a code such as ``EPSG:32611`` is accepted for writing.
    transform : tuple of 6 floats or None
        Affine coefficients a, b, c, d, e, f: x = a*col + b*row + c, y = d*col + e*row + f.
    gcps : tuple
        Ground control points (rasterio's), for rasters that have these instead of a transform.
    rpcs : object or None
        Rational polynomial coefficients (rasterio's), for satellite images that have these.
    """

    crs: str | None
    transform: tuple[float, float, float, float, float, float] | None
    gcps: tuple[Any, ...] = ()
    rpcs: Any = None


def max_pixels() -> int:
    """Return the largest number of pixels that is decoded at once; HYBRIDSEG_MAX_PIXELS changes it."""
    text = os.environ.get("HYBRIDSEG_MAX_PIXELS", str(DEFAULT_MAX_PIXELS))
    try:
        cap = int(float(text))
    except (ValueError, OverflowError):
        cap = 0
    if cap < 1:
        raise BadInput(f"HYBRIDSEG_MAX_PIXELS={text!r} is not a number of pixels; unset it or give a whole number")
    return cap


def check_pixel_count(path: str | os.PathLike[str], rows: int, cols: int, *, pixel_bytes: int = 3) -> None:
    """Raise BadInput for a raster that is empty or too large to decode, before memory is taken for it.

    The cap is for pixels of three bytes; one with more bands or wider samples counts for more.

    Raises
    ------
    BadInput
        With the size, the cap and how to raise it.
    """
    if rows < 1 or cols < 1:
        raise BadInput(f"{path} is empty ({rows} x {cols} pixels)")
    if rows * cols * max(pixel_bytes, 3) > max_pixels() * 3:
        what = f" of {pixel_bytes} bytes" if pixel_bytes > 3 else ""
        raise BadInput(
            f"{path} has {rows} x {cols} pixels{what}, more than the cap of {max_pixels():,}; "
            "set the environment variable HYBRIDSEG_MAX_PIXELS higher if you trust the file and have the memory"
        )


def check_regular(path: str | os.PathLike[str]) -> Path:
    """Raise unless a path is a regular file: a pipe or a device would be read forever.

    Raises
    ------
    MissingInput, BadInput
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise MissingInput(f"there is no file {path}") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not stat.S_ISREG(mode):
        raise BadInput(f"{path} is {'a folder' if stat.S_ISDIR(mode) else 'a pipe or device'}, not a file")
    return path


def sniff_format(path: str | os.PathLike[str]) -> str:
    """Return the format of a raster, by its first bytes: ``JPEG``, ``PNG`` or ``GTiff`` (any TIFF).

    Raises
    ------
    MissingInput
        When there is no such file.
    BadInput
        When it is a folder, unreadable, empty or of another format.
    """
    path = check_regular(path)
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}") from error
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return name
    if not head:
        raise BadInput(f"{path} is empty; give a JPEG, PNG or TIFF image")
    raise BadInput(f"{path} is not a JPEG, PNG or TIFF image; give one that is")


@contextmanager
def open_raster(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open a raster for reading as a rasterio dataset.

    Raises
    ------
    MissingInput, BadInput
        As `sniff_format`, and when the file is damaged (also while the caller reads from it).
    """
    # Imported on use: this takes longer than the rest of a light command.
    import rasterio

    driver = sniff_format(path)
    _check_beside(Path(path))
    with refuse_damage(path), quiet_rasterio(), rasterio.open(path, driver=driver) as dataset:
        yield dataset


def _check_beside(path: Path) -> None:
    """Raise BadInput where a mask or an overview beside a raster is no TIFF.

    GDAL opens it by itself, as whatever it is: it might name any file and any address.
    """
    for ending in _OPENED_ALONG:
        beside = path.with_name(path.name + ending)
        if os.path.lexists(beside):
            try:
                is_tiff = sniff_format(beside) == "GTiff"
            except (MissingInput, BadInput):
                is_tiff = False
            if not is_tiff:
                raise BadInput(f"{beside} beside it is not a TIFF, as masks and overviews are; move it away")
            _check_beside(beside)


@contextmanager
def quiet_rasterio() -> Iterator[None]:
    """Let rasterio write no side files, treat damage as an error, and accept photos without a georeference.

    It keeps no more decoded blocks than some rows of tiles have: by default GDAL takes a share of the memory.
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    settings = {
        "GDAL_PAM_ENABLED": "NO",
        "GDAL_ERROR_ON_LIBJPEG_WARNING": "TRUE",
        # Files beside a raster are looked for by name: the folder may hold thousands.
        "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE",
    }
    with rasterio.Env(**settings, GDAL_CACHEMAX=_CACHE_BYTES), hush(NotGeoreferencedWarning):
        try:
            yield
        except UnicodeEncodeError as error:
            # GDAL accepts no other names.
            raise BadInput(f"{error.object} has a name that is not UTF-8; give it another") from error


def _list_windows(dataset: Any, *, pixel_bytes: int, rows: slice, cols: slice) -> Iterator[Any]:
    """Yield windows from top to bottom, each of some megabytes and of whole blocks where several lie side by side."""
    from rasterio.windows import Window

    (block_rows, block_cols), n_cols = dataset.block_shapes[0], cols.stop - cols.start
    if block_cols >= dataset.width:
        block_rows = 1
    step = max(_WINDOW_BYTES // (n_cols * pixel_bytes) // block_rows, 1) * block_rows
    top = rows.start
    while top < rows.stop:
        bottom = min(top - top % block_rows + step, rows.stop)
        yield Window(cols.start, top, n_cols, bottom - top)
        top = bottom


def read_strips(dataset: Any, bands: int | Sequence[int]) -> Iterator[tuple[slice, np.ndarray]]:
    """Decode a band, (rows, cols), or some, (rows, cols, bands), from top to bottom, some rows at a time."""
    pixel_bytes = np.dtype(dataset.dtypes[0]).itemsize * (1 if isinstance(bands, int) else len(bands))
    rows, cols = slice(0, dataset.height), slice(0, dataset.width)
    for window in _list_windows(dataset, pixel_bytes=pixel_bytes, rows=rows, cols=cols):
        values = dataset.read(bands, window=window)
        place = slice(window.row_off, window.row_off + window.height)
        yield place, values if values.ndim == 2 else np.moveaxis(values, 0, 2)


def read_gaps(
    dataset: Any, rows: slice | None = None, cols: slice | None = None, *, shape: tuple[int, int] | None = None
) -> np.ndarray | None:
    """Return where a raster holds a picture, (rows, cols) bool; None: everywhere.

    Parameters
    ----------
    rows, cols : slice or None
        Only of this part.
    shape : (int, int) or None
        The part is thinned out to these rows and columns.
    """
    if all("all_valid" in {flag.name for flag in flags} for flags in dataset.mask_flag_enums):
        return None
    rows, cols = rows or slice(0, dataset.height), cols or slice(0, dataset.width)
    if shape is None:
        valid = np.empty((rows.stop - rows.start, cols.stop - cols.start), bool)
        # In parts, because rasterio makes eight bytes of each pixel.
        for window in _list_windows(dataset, pixel_bytes=8 + 2 * dataset.count, rows=rows, cols=cols):
            top = window.row_off - rows.start
            valid[top : top + window.height] = dataset.dataset_mask(window=window) > 0
    else:
        window = (rows.start, rows.stop), (cols.start, cols.stop)
        valid = dataset.dataset_mask(window=window, out_shape=shape) > 0
    return None if valid.all() else valid


def read_georeference(dataset: Any) -> GeoReference | None:
    """Return the georeference of an open dataset, if any."""
    gcps, gcp_crs = dataset.gcps
    crs = dataset.crs or (gcp_crs if gcps else None)
    transform = None if dataset.transform.is_identity else tuple(dataset.transform)[:6]
    if crs is None and transform is None and not gcps and dataset.rpcs is None:
        return None
    return GeoReference(crs.to_wkt() if crs else None, transform, tuple(gcps), dataset.rpcs)


def measure_resolution(georeference: GeoReference | None) -> float | None:
    """Return about how many metres a side of a pixel covers; None where that is not known.

    Examples
    --------
    >>> measure_resolution(GeoReference("EPSG:32611", (0.5, 0.0, 4e5, 0.0, -0.5, 4e6)))
    0.5
    """
    if georeference is None or georeference.crs is None or georeference.transform is None:
        return None
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    a, b, _, d, e, north = georeference.transform
    side = math.sqrt(abs(a * e - b * d))
    with quiet_rasterio():
        try:
            crs = CRS.from_user_input(georeference.crs)
            if crs.is_projected:
                return side * float(crs.linear_units_factor[1])
        except CRSError:
            return None
    if not crs.is_geographic:
        return None
    # Degrees: those of longitude shrink towards the poles.
    return side * _METRES_PER_DEGREE * math.sqrt(math.cos(math.radians(min(abs(north), 89))))


@dataclass(frozen=True)
class Strips:
    """Values that are not in memory together.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of all of them.
    parts : iterable of (int, numpy.ndarray)
        From top to bottom, each after the number of its first row.
    """

    shape: tuple[int, int]
    parts: Iterable[tuple[int, np.ndarray]]
    dtype: Any = np.uint8


def write_band(
    path: str | os.PathLike[str],
    values: np.ndarray | Strips,
    georeference: GeoReference | None,
    *,
    nodata: int,
    palette: Sequence[tuple[int, int, int]] = (),
    tags: Callable[[], Mapping[str, str]] = dict,
    sidecars: Mapping[Path, str] | None = None,
) -> None:
    """Write one band as a tiled, compressed GeoTIFF, whole or not at all.

    What GDAL derived from an earlier raster of this name (statistics, overviews) is removed.

    Parameters
    ----------
    values : numpy.ndarray or Strips
        (rows, cols) uint8.
    nodata : int
        The value of pixels without a value.
    palette : sequence of (int, int, int)
        Colours of the values from 0 on.
    tags : callable
        Returns those of the band, once all values are written.
    sidecars : mapping of pathlib.Path to str
        Texts of small files that belong to it: where the raster is, they are too, and never those of another one.
    """
    import rasterio

    path = Path(path)
    sidecars = sidecars or {}

    if isinstance(values, np.ndarray):
        values = Strips((values.shape[0], values.shape[1]), [(0, values)], values.dtype)
    rows, cols = values.shape
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "height": rows,
        "width": cols,
        "count": 1,
        "dtype": values.dtype,
        "nodata": nodata,
        "compress": "deflate",
        "bigtiff": "if_safer",
    }
    if rows >= 256 and cols >= 256:
        profile.update(tiled=True, blockxsize=256, blockysize=256)
    if georeference and georeference.transform:
        profile["transform"] = rasterio.Affine(*georeference.transform)
    if georeference and georeference.crs and not georeference.gcps:
        profile["crs"] = rasterio.crs.CRS.from_user_input(georeference.crs)
    with ExitStack() as stack:
        # The raster is renamed last.
        temporary = stack.enter_context(atomic_path(path))
        changed = [sidecar for sidecar, text in sidecars.items() if not _holds(sidecar, text.encode())]
        for sidecar in changed:
            stack.enter_context(atomic_path(sidecar)).write_text(sidecars[sidecar], encoding="utf-8")
        with quiet_rasterio(), rasterio.open(temporary, "w", **profile) as dataset:
            places, checksum = [], 0
            for row, part in values.parts:
                places.append(((row, row + len(part)), (0, cols)))
                dataset.write(part, 1, window=places[-1])
                checksum = zlib.crc32(np.ascontiguousarray(part, values.dtype), checksum)
            if palette:
                dataset.write_colormap(1, {i: (*color, 255) for i, color in enumerate(palette)})
            dataset.update_tags(1, **tags())
            if georeference and georeference.gcps:
                crs = rasterio.crs.CRS.from_user_input(georeference.crs) if georeference.crs else None
                dataset.gcps = (list(georeference.gcps), crs)
            if georeference and georeference.rpcs:
                dataset.rpcs = georeference.rpcs
        _check_written(temporary, places, checksum)
        outdated = {path.with_name(path.name + ending) for ending in (".aux.xml", ".ovr")}.difference(sidecars)
        for old in (*outdated, *((path,) if changed else ())):
            old.unlink(missing_ok=True)


def _check_written(path: Path, places: list[Any], checksum: int) -> None:
    """Raise OSError unless a raster holds what was written: on a full disk, GDAL does not say so."""
    import rasterio
    from rasterio.errors import RasterioError

    try:
        with quiet_rasterio(), rasterio.open(path) as dataset:
            found = reduce(lambda found, place: zlib.crc32(dataset.read(1, window=place), found), places, 0)
    except RasterioError:
        found = None
    if found != checksum:
        raise OSError("the disk did not take all of it")


def _holds(path: Path, data: bytes) -> bool:
    return path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data
