"""Photographs and scientific rasters as arrays: JPEG, PNG, TIFF and GeoTIFF, 8 to 32 bits, any number of bands.

rasterio decodes them, with little memory and at full depth, except 8-bit PNG: there imageio detects damage
that rasterio ignores. imageio also writes the pictures.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.errors import BadInput, check_path
from hybridseg.io.atomic import write_bytes
from hybridseg.io.labels.pngcheck import check_png
from hybridseg.io.pictures import open_picture, read_orientation, unpack_picture
from hybridseg.io.rasters import (
    GeoReference,
    check_pixel_count,
    check_unpacking,
    open_raster,
    quiet_rasterio,
    read_gaps,
    read_georeference,
    sniff_format,
)

logger = logging.getLogger(__name__)

_METRES_PER_DEGREE = 111_320.0
_STRIP_VALUES = 1 << 20


@dataclass(frozen=True)
class ImageInfo:
    """The header of an image file; `rows` and `cols` are those of the upright image.

    `taken` is when a photo was taken, as EXIF says it in a JPEG: ``2018:10:06 13:56:01``; else empty. An image that
    `has_alpha` says with its last band how opaque each pixel is.
    """

    path: Path
    format: str
    rows: int
    cols: int
    bands: int
    dtype: str
    orientation: int
    georeference: GeoReference | None
    taken: str = ""
    has_alpha: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.cols

    @property
    def n_colors(self) -> int:
        """Bands that show something: all but that of the transparency."""
        return self.bands - self.has_alpha


@dataclass(frozen=True, eq=False)
class LoadedImage:
    """A decoded image, upright as its EXIF orientation says.

    Parameters
    ----------
    pixels : numpy.ndarray
        (rows, cols, bands), in the file's own sample type. A palette becomes red, green, blue.
    valid : numpy.ndarray or None
        (rows, cols) bool: where there is a picture (not nodata, transparent, masked out or NaN); None: everywhere.
    """

    info: ImageInfo
    pixels: np.ndarray
    valid: np.ndarray | None

    def filled(self, *, in_place: bool = False) -> LoadedImage:
        """Return the image with the mean of its valid pixels in place of the others, `in_place` without a copy.

        Raises
        ------
        BadInput
            When no pixel is valid.
        """
        if self.valid is None:
            return self
        if not self.valid.any():
            raise BadInput(f"{self.info.path} holds no picture: all of its pixels are nodata")
        pixels = self.pixels if in_place else self.pixels.copy()
        total = np.sum([pixels[rows][self.valid[rows]].sum(0, np.float64) for rows in cut_rows(pixels)], axis=0)
        mean = total / np.count_nonzero(self.valid)
        for rows in cut_rows(pixels):
            pixels[rows][~self.valid[rows]] = mean if pixels.dtype.kind == "f" else mean.round().astype(pixels.dtype)
        return replace(self, pixels=pixels)

    def fill_colors(self) -> np.ndarray:
        """Return the pixels that a network is trained on: filled, and without the band of the transparency."""
        return np.ascontiguousarray(self.filled().pixels[..., : self.info.n_colors])

    def as_rgb8(self, *, step: int = 1) -> np.ndarray:
        """Return every `step`-th row and column as 8-bit RGB, see `as_rgb8`."""
        valid = None if self.valid is None else self.valid[::step, ::step]
        return as_rgb8(self.pixels[::step, ::step], valid=valid)


def describe_image(path: str | os.PathLike[str]) -> ImageInfo:
    """Read the header of an image, without decoding it.

    Raises
    ------
    MissingInput, BadInput
        When there is no such file, or it is not a JPEG, PNG or TIFF.
    """
    with open_raster(path) as dataset:
        return _read_header(Path(path), dataset)


def load_image(path: str | os.PathLike[str]) -> LoadedImage:
    """Read the header, the pixels and the valid mask of an image, which is opened once.

    Raises
    ------
    MissingInput, BadInput
        When there is no such file, it is damaged or cut short, or it has more pixels than the cap
        (checked before decoding).

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "grey.png"
    >>> write_image(path, np.zeros((4, 6, 3), np.uint8))
    >>> load_image(path).pixels.shape
    (4, 6, 3)
    """
    with open_raster(path) as dataset:
        info = _read_header(Path(path), dataset)
        pixels = _decode(info, dataset)
        valid = _decode_valid(info, dataset)
    return mask_image(info, pixels, valid)


def mask_image(info: ImageInfo, pixels: np.ndarray, valid: np.ndarray | None) -> LoadedImage:
    """Return decoded pixels as an image; those that are not numbers are not valid either."""
    if pixels.dtype.kind == "f":
        finite = np.empty(pixels.shape[:2], bool)
        for rows in cut_rows(pixels):
            finite[rows] = np.isfinite(pixels[rows]).all(axis=2)
        if valid is None:
            valid = None if finite.all() else finite
        else:
            valid &= finite
    return LoadedImage(info, pixels, valid)


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """Return the pixels of an image alone, as `load_image` does."""
    check_path(path)
    with open_raster(path) as dataset:
        return _decode(_read_header(Path(path), dataset), dataset)


def read_rgb8(path: str | os.PathLike[str]) -> np.ndarray:
    """Return an image as 8-bit RGB, see `as_rgb8`."""
    return load_image(path).as_rgb8()


def read_valid(path: str | os.PathLike[str]) -> np.ndarray | None:
    """Return the valid mask of an image alone, as `load_image` does, but without NaN."""
    with open_raster(path) as dataset:
        info = _read_header(Path(path), dataset)
        check_pixel_count(path, info.rows, info.cols)
        check_unpacking(path, dataset, n_bytes=info.rows * info.cols)
        return _decode_valid(info, dataset)


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


def _read_header(path: Path, dataset: Any) -> ImageInfo:
    georeference = read_georeference(dataset)
    # Scientific rasters (many bands, or a place on the Earth) are upright.
    is_photo = georeference is None and dataset.count <= 4
    tags = dataset.tags() if is_photo else {}
    orientation = _read_orientation(path, tags) if is_photo else 1
    rows, cols = dataset.shape
    if orientation >= 5:
        rows, cols = cols, rows
    kinds = set(dataset.dtypes)
    if len(kinds) != 1 or kinds & {"complex64", "complex128", "complex_int16"}:
        raise BadInput(f"{path} has samples of type {', '.join(sorted(kinds))}; give real numbers of one type")
    taken = tags.get("EXIF_DateTimeOriginal", "")
    has_alpha = dataset.colorinterp[-1].name == "alpha"
    return ImageInfo(
        path, dataset.driver, rows, cols, dataset.count, kinds.pop(), orientation, georeference, taken, has_alpha
    )  # fmt: skip


def _decode(info: ImageInfo, dataset: Any) -> np.ndarray:
    pixel_bytes = info.bands * np.dtype(info.dtype).itemsize
    check_pixel_count(info.path, info.rows, info.cols, pixel_bytes=pixel_bytes)
    check_unpacking(info.path, dataset, n_bytes=info.rows * info.cols * pixel_bytes)
    logger.debug("reading %s: %d x %d x %d %s", info.path, info.rows, info.cols, info.bands, info.dtype)
    if info.format == "PNG":
        check_png(info.path)
    if info.format == "PNG" and info.dtype == "uint8":
        return _turn_upright(_decode_png8(info.path, dataset), info.orientation)
    return _turn_upright(_decode_raster(dataset), info.orientation)


def _decode_valid(info: ImageInfo, dataset: Any) -> np.ndarray | None:
    valid = read_gaps(dataset)
    return None if valid is None else _turn_upright(valid[..., None], info.orientation)[..., 0]


def write_image(path: str | os.PathLike[str], image: np.ndarray, *, durable: bool = True) -> None:
    """Write an 8-bit picture as JPEG (quality 95) or PNG, whole or not at all.

    Parameters
    ----------
    path : path-like
        Its suffix chooses the format.
    image : numpy.ndarray
        (rows, cols, 3) uint8.
    durable : bool
        See `hybridseg.io.atomic.atomic_path`.
    """
    write_bytes(path, encode_image(image, suffix=Path(path).suffix), durable=durable)


def encode_image(image: np.ndarray, *, suffix: str, quality: int = 95) -> bytes:
    """Encode an (rows, cols, 3) uint8 picture as the bytes of a ``.jpg`` or ``.png`` file."""
    import imageio.v3 as iio

    settings: dict[str, Any] = {"quality": quality} if suffix in (".jpg", ".jpeg") else {"compress_level": 6}
    return iio.imwrite("<bytes>", image, extension=suffix, plugin="pillow", **settings)


def as_rgb8(
    image: np.ndarray, *, valid: np.ndarray | None = None, levels: tuple[float, float] | None = None
) -> np.ndarray:
    """Return any image as 8-bit RGB, the form of pictures and tiles.

    Parameters
    ----------
    image : numpy.ndarray
        (rows, cols, bands) of any real type. One band (or one and alpha) is shown as grey; of more, the
        first three are taken. Wider types than bytes are stretched between their 1st and 99th percentile,
        the same for all bands, so that colours keep their balance.
    valid : numpy.ndarray or None
        (rows, cols) bool: the pixels of which these are the percentiles; None: all.
    levels : (float, float) or None
        The values that become black and white instead, from `measure_levels`: for a part of an image.

    Returns
    -------
    numpy.ndarray
        (rows, cols, 3) uint8.

    Examples
    --------
    >>> as_rgb8(np.array([[[0], [1000]]], np.uint16))[..., 0].tolist()
    [[0, 255]]
    """
    bands = image[..., : 3 if image.shape[2] >= 3 else 1]
    shown = bands if bands.dtype == np.uint8 else _stretch(bands, *(levels or measure_levels(image, valid)))
    return np.ascontiguousarray(shown if shown.shape[2] == 3 else shown.repeat(3, axis=2))


def _stretch(bands: np.ndarray, low: float, high: float) -> np.ndarray:
    scale = 255.0 / max(high - low, 1e-30)
    # What is too far apart for the difference of two float32 takes float64; what exceeds that is white or black.
    first, factor = np.array((low, scale), np.float32 if high - low < 1e38 else np.float64)
    shown = np.empty(bands.shape, np.uint8)
    for rows in cut_rows(bands):
        with np.errstate(over="ignore", invalid="ignore"):
            stretched = (bands[rows].astype(first.dtype) - first) * factor
        shown[rows] = np.clip(np.nan_to_num(stretched, nan=0.0, posinf=255.0, neginf=0.0), 0, 255).round()
    return shown


def cut_rows(values: np.ndarray) -> Iterator[slice]:
    """Yield slices of the rows of an array, of about a million values each: what is worked out of a strip is small."""
    step = max(_STRIP_VALUES * len(values) // max(values.size, 1), 1)
    for start in range(0, len(values), step):
        yield slice(start, min(start + step, len(values)))


def sample_step(shape: tuple[int, ...]) -> int:
    """Return every how many rows and columns a pixel is taken, so that about a million are; of those, each is."""
    return max(1, int(np.sqrt(shape[0] * shape[1] / 1e6)))


def measure_levels(image: np.ndarray, valid: np.ndarray | None = None) -> tuple[float, float]:
    """Return the 1st and 99th percentile of the bands of an image, (rows, cols, bands), that are shown.

    Only of the pixels that are valid: a nodata value such as -9999 would make all others white.
    """
    bands = image[..., :3] if image.shape[2] >= 3 else image[..., :1]
    # A sample of the pixels is enough.
    step = sample_step(bands.shape)
    sample = bands[::step, ::step]
    sample = (sample if valid is None else sample[valid[::step, ::step]]).astype(np.float32)
    sample = sample[np.isfinite(sample)]
    low, high = np.percentile(sample, (1, 99)) if sample.size else (0.0, 1.0)
    return float(low), float(high)


def _read_orientation(path: Path, tags: dict[str, str]) -> int:
    """Return the EXIF orientation, 1 (upright) to 8."""
    if "EXIF_Orientation" in tags:
        orientation = int(tags["EXIF_Orientation"]) if tags["EXIF_Orientation"].isdigit() else 1
    elif sniff_format(path) == "JPEG":
        orientation = 1
    else:
        orientation = read_orientation(path)
    return orientation if 1 <= orientation <= 8 else 1


def _decode_png8(path: Path, dataset: Any) -> np.ndarray:
    is_plain = dataset.colorinterp[0].name != "palette" and "NBITS" not in dataset.tags(1, ns="IMAGE_STRUCTURE")
    if is_plain:
        return _decode_raster(dataset)
    with open_picture(path) as picture:
        image = unpack_picture(picture)
    if image.dtype == bool:
        image = image.astype(np.uint8) * 255
    return image[..., None] if image.ndim == 2 else image


def _decode_raster(dataset: Any) -> np.ndarray:
    image = np.empty((*dataset.shape, dataset.count), dataset.dtypes[0])
    # Decoded straight into the interleaved array: no second copy.
    dataset.read(out=image.transpose(2, 0, 1))
    if dataset.count == 1 and dataset.colorinterp[0].name == "palette":
        return _apply_palette(image[..., 0], dataset.colormap(1))
    return image


def _apply_palette(indices: np.ndarray, colormap: dict[int, tuple[int, int, int, int]]) -> np.ndarray:
    table = np.zeros((max(int(indices.max()), *colormap) + 1, 3), np.uint8)
    for index, color in colormap.items():
        table[index] = color[:3]
    return table[indices]


def _turn_upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation."""
    if orientation in (2, 3):
        image = image[:, ::-1]
    if orientation in (3, 4):
        image = image[::-1]
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in (6, 7):
        image = image[:, ::-1]
    if orientation in (7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)
