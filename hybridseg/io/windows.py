"""Parts of an image at any size for the label page and its CRF, without decoding all of it."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import numpy as np

from hybridseg.errors import BadInput
from hybridseg.io.images import ImageInfo, as_rgb8, describe_image, load_image, measure_levels, read_valid
from hybridseg.io.lazyimages import MAX_DECODED_PIXELS, can_read_parts
from hybridseg.io.pictures import open_picture
from hybridseg.io.rasters import check_pixel_count, open_raster, read_gaps
from hybridseg.resample import reduce_shape, shrink_image

_OVERVIEW_SIDE = 4096
_STRIP_ROWS = 256
_N_SHOWN = 3


@dataclass(frozen=True, eq=False)
class ImageWindows:
    """An open image.

    Parameters
    ----------
    valid : callable
        Returns (rows, cols) bool of the whole image, or None when all pixels are valid.
    read : callable
        ``read(rows, cols, shape)`` returns the part within two slices, reduced to a shape: (*shape, 3) uint8. Each of
        its pixels is about the mean of those that it covers.
    further : callable
        Returns the image opened for its bands beyond those, up to three at a time, and how many these are.
    """

    path: Path
    info: ImageInfo
    valid: Callable[[], np.ndarray | None]
    read: Callable[[slice, slice, tuple[int, int]], np.ndarray]
    further: Callable[[], list[tuple[ImageWindows, int]]] = list

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the image."""
        return self.info.shape

    def read_all(self, rows: slice, cols: slice, shape: tuple[int, int]) -> np.ndarray:
        """Read a part as `read` does, with all bands that are no transparency: (*shape, 3 or more) uint8."""
        parts = [self.read(rows, cols, shape)]
        parts += [windows.read(rows, cols, shape)[..., :n_bands] for windows, n_bands in self.further()]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)


def open_windows(path: str | os.PathLike[str], *, bands: tuple[int, int, int] | None = None) -> ImageWindows:
    """Open an image for reading parts of it.

    Parameters
    ----------
    bands : tuple of int or None
        Numbers, from 1, of the bands that are red, green and blue. None: the first three, or the only one.

    Raises
    ------
    MissingInput, BadInput
        When it cannot be read, has more pixels than the cap, or no such bands.

    Examples
    --------
    >>> import tempfile
    >>> from hybridseg.io.images import write_image
    >>> path = Path(tempfile.mkdtemp()) / "a.png"
    >>> write_image(path, np.full((40, 60, 3), 7, np.uint8))
    >>> open_windows(path).read(slice(0, 40), slice(20, 60), (4, 4))[0, 0].tolist()
    [7, 7, 7]
    """
    info = describe_image(path)
    check_pixel_count(path, info.rows, info.cols)
    if bands is not None and not all(1 <= band <= info.bands for band in bands):
        raise BadInput(f"{path} has the bands 1 to {info.bands}; choose among them")
    further = cache(partial(_open_further, info)) if bands is None else list
    if info.rows * info.cols > MAX_DECODED_PIXELS and can_read_parts(info):
        source = _LargeRaster(info, bands)
        return ImageWindows(info.path, info, cache(source.find_valid), source.read, further)
    image = load_image(path).filled(in_place=True)
    pixels = image.pixels if bands is None else image.pixels[..., [band - 1 for band in bands]]
    valid, pyramid = image.valid, _Pyramid([as_rgb8(pixels, valid=image.valid)])
    return ImageWindows(info.path, info, lambda: valid, pyramid.read, further)


def _open_further(info: ImageInfo) -> list[tuple[ImageWindows, int]]:
    numbers = range(_N_SHOWN + 1, info.n_colors + 1)
    groups = [numbers[i : i + _N_SHOWN] for i in range(0, len(numbers), _N_SHOWN)]
    return [(open_windows(info.path, bands=(g[0], g[min(1, len(g) - 1)], g[-1])), len(g)) for g in groups]


def read_small(path: str | os.PathLike[str], side: int) -> np.ndarray:
    """Read an image at a size of at most `side` pixels, (rows, cols, 3) uint8, decoding as little as its format allows.

    Raises
    ------
    MissingInput, BadInput
        As `open_windows`.
    """
    info = describe_image(path)
    check_pixel_count(path, info.rows, info.cols)
    shape = reduce_shape(info.shape, min(1.0, side / max(info.shape)))
    if info.format == "JPEG":
        from PIL import ImageOps

        with open_picture(info.path) as picture:
            # A JPEG is decoded at an eighth of its size in a fraction of the time.
            picture.draft("RGB", (2 * side, 2 * side))
            upright = ImageOps.exif_transpose(picture)
            return np.asarray(upright.convert("RGB").resize(shape[::-1], reducing_gap=2.0))
    if can_read_parts(info):
        raster = _LargeRaster(info, None)
        return as_rgb8(raster.decode(slice(0, info.rows), slice(0, info.cols), shape), valid=raster.find_valid(shape))
    return open_windows(path).read(slice(0, info.rows), slice(0, info.cols), shape)


@dataclass
class _Pyramid:
    """A decoded image and its halves, made on demand: a wide view of 36 megapixels takes milliseconds."""

    levels: list[np.ndarray]
    lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, rows: slice, cols: slice, shape: tuple[int, int]) -> np.ndarray:
        """Read a part from the smallest level that has enough pixels for the shape."""
        factor = min((rows.stop - rows.start) / shape[0], (cols.stop - cols.start) / shape[1])
        level = max(int(math.log2(max(factor, 1.0) + 1e-9)), 0)
        whole_shape = self.levels[0].shape[:2]
        whole = (rows.start, cols.start, rows.stop, cols.stop) == (0, 0, *whole_shape)
        # Halves of an odd side are slightly off: the whole image is reduced in one step, so that the CRF always
        # gets the same image.
        if whole or not all(_fits(part, level, size) for part, size in zip((rows, cols), whole_shape, strict=True)):
            level = 0
        image = self._level(level)
        part = image[_reduce(rows, level, image.shape[0]), _reduce(cols, level, image.shape[1])]
        return shrink_image(np.ascontiguousarray(part), *shape)

    def _level(self, wanted: int) -> np.ndarray:
        # A browser requests several tiles at once: two threads must not halve the same level.
        with self.lock:
            while len(self.levels) <= wanted:
                last = self.levels[-1]
                self.levels.append(shrink_image(last, -(-last.shape[0] // 2), -(-last.shape[1] // 2)))
            return self.levels[wanted]


def copy_middle(image: Path, part: Path, side: int) -> None:
    """Write the middle of a raster, of at most this side, as a GeoTIFF of its own."""
    import rasterio
    from rasterio.windows import Window

    with open_raster(image) as source:
        rows, cols = min(source.height, side), min(source.width, side)
        top, left = (source.height - rows) // 2, (source.width - cols) // 2
        profile = source.profile | {
            "driver": "GTiff", "height": rows, "width": cols, "tiled": True, "blockxsize": 256, "blockysize": 256,
            "transform": source.window_transform(Window(left, top, cols, rows)), "compress": "deflate",
        }  # fmt: skip
        with rasterio.open(part, "w", **profile) as target:
            for row in range(0, rows, _STRIP_ROWS):
                height = min(_STRIP_ROWS, rows - row)
                strip = source.read(window=Window(left, top + row, cols, height))
                target.write(strip, window=Window(0, row, cols, height))


def _fits(part: slice, level: int, size: int) -> bool:
    """Return whether a part begins and ends between pixels of a level."""
    return not part.start % 2**level and (not part.stop % 2**level or part.stop == size)


def _reduce(part: slice, level: int, size: int) -> slice:
    return slice(part.start >> level, min(-(-part.stop >> level), size))


class _LargeRaster:
    """A TIFF of which only the requested part is decoded.

    Wide views come from one reduced copy: without overviews in the file each would read all of it.
    """

    def __init__(self, info: ImageInfo, bands: tuple[int, int, int] | None) -> None:
        self._info = info
        self._bands = list(bands or ((1, 2, 3) if info.bands >= 3 else (1,)))
        self._level = max(math.ceil(math.log2(max(info.rows, info.cols) / _OVERVIEW_SIDE)), 0)
        self._lock = threading.Lock()
        self._overview: _Pyramid | None = None
        self._black_and_white: tuple[float, float] | None = None

    def read(self, rows: slice, cols: slice, shape: tuple[int, int]) -> np.ndarray:
        """Decode a part, or read it from the reduced copy when that is fine enough."""
        with self._lock:
            if self._overview is None:
                self._overview = self._read_overview()
        factor = min((rows.stop - rows.start) / shape[0], (cols.stop - cols.start) / shape[1])
        level = self._level
        if factor >= 2**level and _fits(rows, level, self._info.rows) and _fits(cols, level, self._info.cols):
            size = self._overview.levels[0].shape
            return self._overview.read(_reduce(rows, level, size[0]), _reduce(cols, level, size[1]), shape)
        return as_rgb8(self.decode(rows, cols, shape), levels=self._black_and_white)

    def find_valid(self, shape: tuple[int, int] | None = None) -> np.ndarray | None:
        """Read the valid mask, thinned out to a shape."""
        if shape is None:
            return read_valid(self._info.path)
        with open_raster(self._info.path) as dataset:
            return read_gaps(dataset, shape=shape)

    def _read_overview(self) -> _Pyramid:
        shape = -(-self._info.rows >> self._level), -(-self._info.cols >> self._level)
        image = self.decode(slice(0, self._info.rows), slice(0, self._info.cols), shape)
        if image.dtype != np.uint8:
            # Measured once, so that all parts have the same brightness.
            self._black_and_white = measure_levels(image, self.find_valid(shape))
        return _Pyramid([as_rgb8(image, levels=self._black_and_white)])

    def decode(self, rows: slice, cols: slice, shape: tuple[int, int]) -> np.ndarray:
        """Decode a part at a shape, in the file's own sample type."""
        from rasterio.enums import Resampling

        window = (rows.start, rows.stop), (cols.start, cols.stop)
        with open_raster(self._info.path) as dataset:
            bands = dataset.read(
                self._bands, window=window, out_shape=(len(self._bands), *shape), resampling=Resampling.average
            )
        return np.ascontiguousarray(bands.transpose(1, 2, 0))
