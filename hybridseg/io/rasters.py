"""The one way to open a raster file, and what it carries besides its pixels.

The first bytes of a file decide its format, never its name, and only JPEG, PNG and TIFF are opened:
GDAL has formats that read other files or fetch from the network. So are the files that it opens along with one.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.errors import BadInput, MissingInput
from hybridseg.io.damage import hush, refuse_damage
from hybridseg.io.tiffcheck import check_tiff, measure_packed

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")
DEFAULT_MAX_PIXELS = 1_000_000_000

_CACHE_BYTES = 32 << 20
_WINDOW_BYTES = 4 << 20
# What reading may take besides twice the bytes that it returns, and of that what it takes anyhow.
_MOST_BESIDES, _ALWAYS = 256_000_000, 16_000_000

# What GDAL opens along with a raster of this name.
_OPENED_ALONG = (".msk", ".MSK", ".ovr", ".OVR")
# What else it looks for beside one, by its name and by that without its ending; in some, each line takes it longer.
_NAMES_ALONG = """
    .aux .tfw .tifw .jgw .jpgw .jpw .pgw .pngw .wld .tab .rpc .txt .xml .pass _rpc.txt _metadata.txt _metadata.xml
    _mtl.txt _METADATA.txt _MTL.txt
"""
_READ_ALONG = (*_NAMES_ALONG.split(), *_NAMES_ALONG.upper().split())
_SLOW_ALONG, _MAX_SLOW_BYTES = (".imd", ".IMD", ".rpb", ".RPB", ".pvl", ".PVL"), 256_000

ERDAS_MAGIC = b"EHFA_HEADER_TAG"
"""How a file of ERDAS Imagine begins, and a `.aux` that GDAL opens."""

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"II*\x00", "GTiff"),
    (b"MM\x00*", "GTiff"),
    (b"II+\x00", "GTiff"),
    (b"MM\x00+", "GTiff"),
)
FORMATS = tuple(dict.fromkeys(name for _, name in _SIGNATURES))
"""What is read, as GDAL calls it."""


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
    if head.startswith(b"PK\3\4"):
        raise BadInput(
            f"{path} is an archive; unpack it, and give the images in it (`hybridseg segment` also takes "
            f"/vsizip/{path})"
        )
    # A file named like a JPEG, PNG or TIFF is probably damaged, not of another format.
    other = "" if path.suffix.lower() in IMAGE_SUFFIXES else f"; if GDAL reads it, {advise_conversion(path)}"
    raise BadInput(f"{path} is not a JPEG, PNG or TIFF image{other or '; give one that is'}")


def advise_conversion(path: Path) -> str:
    """Return how an image is used that GDAL reads, and this program does not of itself.

    Examples
    --------
    >>> advise_conversion(Path("survey/depth.nc"))
    'make a GeoTIFF of it: gdal_translate depth.nc depth.tif (`hybridseg segment` also takes gdal:survey/depth.nc)'
    """
    command = shlex.join(["gdal_translate", path.name, f"{path.stem}.tif"])
    return f"make a GeoTIFF of it: {command} (`hybridseg segment` also takes {shlex.quote(f'gdal:{path}')})"


def begins_as_image(head: bytes) -> bool:
    """Return whether these are the first bytes of a JPEG, PNG or TIFF image."""
    return any(head.startswith(signature) for signature, _ in _SIGNATURES)


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
    if driver == "GTiff":
        check_tiff(Path(path))
    check_beside(Path(path))
    # Without its smaller versions, for which GDAL would open that file and any that it names.
    options = {"OVERVIEW_LEVEL": "NONE"} if _has_erdas_beside(Path(path)) else {}
    with refuse_damage(path), quiet_rasterio(), rasterio.open(path, driver=driver, **options) as dataset:
        # GDAL looks for a mask only now, in all directories of a TIFF, and what it finds damaged is raised by the next
        # question: whether the file is refused would depend on what the caller asks first.
        _ = dataset.mask_flag_enums, dataset.colorinterp
        _check_blocks(path, dataset)
        yield dataset


def _check_blocks(path: str | os.PathLike[str], dataset: Any) -> None:
    """Raise BadInput where a tile or strip is too large: GDAL unpacks it as a whole, however little of it is read."""
    block_rows, block_cols = dataset.block_shapes[0]
    if block_rows > 1:
        n_bands, sample_bytes = _measure_pixel(dataset)
        check_pixel_count(f"a block of {path}", block_rows, block_cols, pixel_bytes=n_bands * sample_bytes)


def _measure_pixel(dataset: Any) -> tuple[int, int]:
    """Return how many bands of a pixel lie side by side, and the bytes of one."""
    n_bands = dataset.count if getattr(dataset.interleaving, "value", "") == "PIXEL" else 1
    # The one type that numpy does not know; it is refused later.
    return n_bands, np.dtype(dataset.dtypes[0].replace("complex_int16", "complex64")).itemsize


def check_unpacking(path: str | os.PathLike[str], dataset: Any, *, n_bytes: int) -> None:
    """Raise BadInput where the tiles or strips of a TIFF are too large for what is read of it.

    GDAL holds one as it is in the file, all of it unpacked, and once more what one band has of it.

    Parameters
    ----------
    n_bytes : int
        What the caller returns of the file; reading takes at most twice that and a constant.
    """
    if dataset.driver != "GTiff":
        return
    (block_rows, block_cols), (n_bands, sample_bytes) = dataset.block_shapes[0], _measure_pixel(dataset)
    band_bytes = block_rows * block_cols * sample_bytes
    unpacked = max(band_bytes, _CACHE_BYTES) + (n_bands * band_bytes if n_bands > 1 else 0)
    # What is not compressed is read straight to its place.
    packed = measure_packed(Path(path)) if "COMPRESSION" in dataset.tags(ns="IMAGE_STRUCTURE") else 0
    needed, most = unpacked + packed + _ALWAYS, n_bytes + _MOST_BESIDES
    if needed > most:
        raise BadInput(
            f"{path} is stored in strips or tiles each of which takes {needed / 1e6:,.0f} MB to unpack, and what is "
            f"read of it may take {most / 1e6:,.0f}; save it in smaller tiles: "
            "rio convert IN.tif OUT.tif --co TILED=YES --co BLOCKXSIZE=256 --co BLOCKYSIZE=256"
        )


def check_beside(path: Path) -> None:
    """Raise BadInput where a mask or an overview beside a raster is no TIFF, or another file would never end.

    GDAL opens them by itself, a mask as whatever it is: it might name any file and any address.
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
            check_tiff(beside, is_beside=True)
            check_beside(beside)
            # GDAL finds the files of the raster for its mask, too; overviews beside it are left alone then.
            if _has_erdas_beside(beside) or (ending.lower() == ".msk" and _has_erdas_beside(path)):
                raise BadInput(f"{beside} has a .aux of ERDAS Imagine beside it, which may name others; move that away")
    for beside in list_beside(path, (*_READ_ALONG, *_SLOW_ALONG)):
        try:
            status = beside.stat()
        except (OSError, ValueError):
            continue
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise BadInput(f"{beside} beside it is a pipe or device, not a file; move it away")
        if beside.name.endswith(_SLOW_ALONG) and status.st_size > _MAX_SLOW_BYTES:
            raise BadInput(f"{beside} beside it is far larger than the description of an image; move it away")


def list_beside(path: Path, endings: Sequence[str]) -> list[Path]:
    """Return the names of files beside one: with each ending added to its name, and to that without its own.

    Examples
    --------
    >>> [beside.name for beside in list_beside(Path("a/b.dat"), (".hdr", ".HDR"))]
    ['b.dat.hdr', 'b.dat.HDR', 'b.hdr', 'b.HDR']
    """
    return [Path(f"{home}{ending}") for home in (path, path.with_suffix("")) for ending in endings]


def _has_erdas_beside(path: Path) -> bool:
    """Return whether a file of ERDAS Imagine describes a raster; `check_beside` has seen that it ends."""
    for beside in list_beside(path, (".aux", ".AUX")):
        try:
            with beside.open("rb") as file:
                if file.read(len(ERDAS_MAGIC)).upper() == ERDAS_MAGIC:
                    return True
        except (OSError, ValueError):
            continue
    return False


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
    read = dataset.dataset_mask
    if dataset.colorinterp[-1].name == "alpha" and "nodata" in {flag.name for flag in dataset.mask_flag_enums[0]}:
        # GDAL would look at the nodata value alone, also in the transparency, which says more.
        read = partial(dataset.read, dataset.count)
    if shape is None:
        valid = np.empty((rows.stop - rows.start, cols.stop - cols.start), bool)
        # In parts, because rasterio makes eight bytes of each pixel.
        for window in _list_windows(dataset, pixel_bytes=8 + 2 * dataset.count, rows=rows, cols=cols):
            top = window.row_off - rows.start
            valid[top : top + window.height] = read(window=window) > 0
    else:
        valid = read(window=((rows.start, rows.stop), (cols.start, cols.stop)), out_shape=shape) > 0
    return None if valid.all() else valid


def read_georeference(dataset: Any) -> GeoReference | None:
    """Return the georeference of an open dataset, if any."""
    gcps, gcp_crs = dataset.gcps
    crs = dataset.crs or (gcp_crs if gcps else None)
    found = _find_transform(dataset)
    transform = None if found.is_identity else tuple(found)[:6]
    if crs is None and transform is None and not gcps and dataset.rpcs is None:
        return None
    return GeoReference(crs.to_wkt() if crs else None, transform, tuple(gcps), dataset.rpcs)


def _find_transform(dataset: Any) -> Any:
    """Return the transform of an open dataset, the identity where it has none."""
    if not dataset.options:
        return dataset.transform
    # Without its smaller versions, rasterio takes whatever is in memory for a transform that is not there.
    import rasterio

    with rasterio.open(dataset.name, driver=dataset.driver) as plain:
        return plain.transform
