"""Images of any size: parts of them are decoded, or worked out, where something takes them, as from an array."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from hybridseg.errors import NoPicture, TooLittleMemory
from hybridseg.io.images import (
    ImageInfo,
    LoadedImage,
    as_rgb8,
    describe_image,
    load_image,
    mask_image,
    measure_levels,
    sample_step,
)
from hybridseg.io.rasters import open_raster, read_gaps
from hybridseg.machine import GIB
from hybridseg.resample import find_nearest, resize_image, resize_nearest, resize_strips

# A larger TIFF is read in parts; a smaller one is decoded at once, as every other format must be.
MAX_DECODED_PIXELS = 50_000_000
ROOM = 4 * GIB
"""Bytes that may be taken for an image where nobody says."""
_PASS_ROWS = 128
# What decoding takes, in units of the pixels: another copy where Pillow does it.
_DECODING = 2

Part = tuple[np.ndarray, np.ndarray | None]
"""Pixels, (rows, cols, bands), and which of them hold a picture, (rows, cols) bool; None: all."""


@dataclass(frozen=True, eq=False)
class LazyImage:
    """An image whose parts are decoded, or worked out, when it is indexed by slices of its rows and columns.

    Parameters
    ----------
    shape : (int, int, int)
        Rows, columns and bands.
    read : callable
        Returns a part, given two slices within the image.
    has_gaps : bool
        Whether there may be pixels without a picture.
    read_valid : callable or None
        Returns what `read` does of the picture of all columns, where that has a reader of its own: its rows are asked
        for later than the pixels.
    whole : Part or None
        The image where it is in memory.
    name : object
        What it is called in a message.

    Examples
    --------
    >>> image = LazyImage.of(np.arange(24, dtype=np.uint8).reshape(4, 2, 3))
    >>> image[1:2, 0:1].tolist(), image.see(lambda pixels: pixels[..., :1], 1)[3:, :].tolist()
    ([[[6, 7, 8]]], [[[18], [21]]])
    """

    shape: tuple[int, int, int]
    read: Callable[[slice, slice], Part]
    has_gaps: bool = True
    read_valid: Callable[[slice], np.ndarray | None] | None = None
    whole: Part | None = None
    name: object = "the image"

    @classmethod
    def of(cls, pixels: np.ndarray, valid: np.ndarray | None = None, *, name: object = "the image") -> LazyImage:
        """Return an image that is in memory."""

        def cut(rows: slice, cols: slice) -> Part:
            return pixels[rows, cols], None if valid is None else valid[rows, cols]

        rows, cols, bands = pixels.shape
        return cls((rows, cols, bands), cut, valid is not None, None, (pixels, valid), name)

    def __getitem__(self, key: slice | tuple[slice, slice]) -> np.ndarray:
        """Return the pixels of a part, (rows, cols, bands)."""
        rows, cols = key if isinstance(key, tuple) else (key, slice(None))
        return self._cut(rows, cols)[0]

    def find_valid(self, rows: slice = slice(None)) -> np.ndarray | None:
        """Return which pixels of some rows hold a picture; None: all of them."""
        if not self.has_gaps:
            return None
        rows = slice(*rows.indices(self.shape[0]))
        return self._cut(rows, slice(None))[1] if self.read_valid is None else self.read_valid(rows)

    def _cut(self, rows: slice, cols: slice) -> Part:
        return self.read(slice(*rows.indices(self.shape[0])), slice(*cols.indices(self.shape[1])))

    def list_rows(self) -> Iterator[slice]:
        """Yield the rows from top to bottom, some at a time: always the same, so that sums are the same."""
        for row in range(0, self.shape[0], _PASS_ROWS):
            yield slice(row, min(row + _PASS_ROWS, self.shape[0]))

    def see(self, view: Callable[[np.ndarray], np.ndarray], n_bands: int) -> LazyImage:
        """Return the image as a function shows its pixels, which works on each by itself."""
        if self.whole is not None:
            return LazyImage.of(view(self.whole[0]), self.whole[1], name=self.name)

        def look(rows: slice, cols: slice) -> Part:
            pixels, valid = self.read(rows, cols)
            return view(pixels), valid

        return replace(self, shape=(*self.shape[:2], n_bands), read=look)

    def as_rgb8(self) -> LazyImage:
        """Return the image as `hybridseg.io.images.as_rgb8` shows it."""
        if self[0:1, 0:1].dtype == np.uint8:
            return self.see(as_rgb8, 3)
        sample = np.concatenate([self._sample(rows) for rows in self.list_rows()])
        return self.see(partial(as_rgb8, levels=measure_levels(sample[None])), 3)

    def _sample(self, rows: slice) -> np.ndarray:
        """Return a few pixels of some rows that hold a picture, (pixels, bands)."""
        step, (pixels, valid) = sample_step(self.shape), self._cut(rows, slice(None))
        few = slice(-rows.start % step, None, step), slice(None, None, step)
        return pixels[few].reshape(-1, self.shape[2]) if valid is None else pixels[few][valid[few]]

    def fill(self) -> LazyImage:
        """Return the image with the mean of the other pixels in place of those without a picture.

        Raises
        ------
        NoPicture
            When no pixel has one.
        """
        mean = self._measure_mean() if self.has_gaps else None
        if mean is None:
            return replace(self, has_gaps=False)

        def look(rows: slice, cols: slice) -> Part:
            pixels, valid = self.read(rows, cols)
            filling = mean if pixels.dtype.kind == "f" else mean.round()
            return _fill(pixels, valid, filling.astype(pixels.dtype)), valid

        filled = replace(self, read=look, whole=None)
        return filled if self.whole is None else LazyImage.of(filled[:], self.whole[1], name=self.name)

    def _measure_mean(self) -> np.ndarray | None:
        total: Any = 0.0
        n_valid = 0
        for rows in self.list_rows():
            pixels, valid = self._cut(rows, slice(None))
            kept = pixels.reshape(-1, pixels.shape[2]) if valid is None else pixels[valid]
            total += kept.sum(0, dtype=np.float64)
            n_valid += len(kept)
        if not n_valid:
            raise NoPicture(f"{self.name} holds no picture: all of its pixels are nodata")
        return total / n_valid if n_valid < self.shape[0] * self.shape[1] else None

    def shrink(self, shape: tuple[int, int]) -> np.ndarray:
        """Return all of the image reduced, as `shrink_image` does."""
        strips = (self[rows] for rows in self.list_rows())
        return np.concatenate(list(resize_strips(strips, self.shape[:2], shape, mean=True)))

    def resize(self, shape: tuple[int, int]) -> LazyImage:
        """Return the image at another size, as `resize_image` does, to be read from top to bottom.

        Where there is a picture is taken from the nearest pixel.
        """
        if shape == self.shape[:2]:
            return self
        if self.whole is not None:
            pixels, valid = self.whole
            valid = None if valid is None else resize_nearest(valid, shape)
            return LazyImage.of(resize_image(pixels, shape), valid, name=self.name)
        sources, cols_of = (find_nearest(old, new) for old, new in zip(self.shape[:2], shape, strict=True))

        def find_valid(rows: slice) -> np.ndarray | None:
            first, end = sources[rows.start], sources[rows.stop - 1] + 1
            valid = self.find_valid(slice(first, end))
            return None if valid is None else valid[np.ix_(sources[rows] - first, cols_of)]

        return LazyImage((*shape, self.shape[2]), _RollingRows(self, shape), self.has_gaps, find_valid, name=self.name)

    @classmethod
    def stack(cls, images: Sequence[LazyImage]) -> LazyImage:
        """Return images of one size as the bands of one, with a picture where all have one."""
        rows, cols = images[0].shape[:2]

        def read(rows: slice, cols: slice) -> Part:
            parts = [image.read(rows, cols) for image in images]
            return np.concatenate([pixels for pixels, _ in parts], axis=2), _meet([valid for _, valid in parts])

        shape, has_gaps = (rows, cols, sum(image.shape[2] for image in images)), any(i.has_gaps for i in images)
        stacked = cls(
            shape, read, has_gaps, lambda rows: _meet([image.find_valid(rows) for image in images]),
            name=images[0].name,
        )  # fmt: skip
        if any(image.whole is None for image in images):
            return stacked
        return cls.of(*read(slice(0, rows), slice(0, cols)), name=stacked.name)


def as_lazy(image: np.ndarray | LazyImage, valid: np.ndarray | None = None) -> LazyImage:
    """Return an image that may be in memory, (rows, cols, bands), as one that is read where it is indexed."""
    return image if isinstance(image, LazyImage) else LazyImage.of(image, valid)


def _meet(masks: Sequence[np.ndarray | None]) -> np.ndarray | None:
    known = [mask for mask in masks if mask is not None]
    return np.logical_and.reduce(known) if known else None


def _fill(pixels: np.ndarray, valid: np.ndarray | None, filling: np.ndarray) -> np.ndarray:
    return pixels if valid is None else np.where(valid[..., None], pixels, filling)


def open_lazily(path: str | os.PathLike[str], *, room: int = ROOM) -> LazyImage:
    """Open an image of any size: a large TIFF is read where it is indexed, any other is decoded at once.

    Parameters
    ----------
    room : int
        Bytes that may be taken.

    Raises
    ------
    MissingInput, BadInput
        When it cannot be read, holds no picture, or can only be decoded at once and is too large for that.
    """
    info = describe_image(path)
    n_bytes = info.rows * info.cols * info.bands * np.dtype(info.dtype).itemsize
    if info.rows * info.cols > MAX_DECODED_PIXELS or n_bytes > room // 4:
        how = _find_obstacle(info, room)
        if not how:
            return open_parts(info, room // 6)
        if n_bytes * _DECODING > room:
            raise TooLittleMemory(
                f"{path} has {info.rows * info.cols / 1e6:,.0f} megapixels and {how}, which takes "
                f"{n_bytes * _DECODING / GIB:.1f} GiB, and {room / GIB:.1f} are left for it; give more (--max-memory), "
                "or convert it to a tiled GeoTIFF, such as gdal_translate -of COG makes"
            )
    loaded = load_image(path)
    return LazyImage.of(loaded.pixels, loaded.valid, name=path)


def open_parts(info: ImageInfo, limit: int) -> LazyImage:
    """Open an image for which `can_read_parts` holds, of which no more bytes than a limit are kept."""
    masks = _Bands(info, limit // 2)
    return LazyImage(
        (*info.shape, info.bands),
        _Bands(info, limit),
        has_gaps=not _is_all_valid(info),
        read_valid=lambda rows: masks(rows, slice(0, info.cols))[1],
        name=info.path,
    )


class _Bands:
    """Decodes parts of a file; rows of all columns are kept where they fit, so that parts side by side share them."""

    def __init__(self, info: ImageInfo, limit: int) -> None:
        self._info, self._limit = info, limit
        with open_raster(info.path) as dataset:
            self._step = dataset.block_shapes[0][0]
        self._rows = slice(0, 0)
        self._kept: Part = (np.empty(0), None)

    def __call__(self, rows: slice, cols: slice) -> Part:
        if not (self._rows.start <= rows.start and rows.stop <= self._rows.stop):
            wanted = slice(
                rows.start - rows.start % self._step, min(-(-rows.stop // self._step) * self._step, self._info.rows)
            )
            row_bytes = self._info.cols * (self._info.bands * np.dtype(self._info.dtype).itemsize + 1)
            if (wanted.stop - wanted.start) * row_bytes > self._limit:
                return self._decode(rows, cols)
            self._advance(wanted)
        pixels, valid = self._kept
        own = slice(rows.start - self._rows.start, rows.stop - self._rows.start)
        return pixels[own, cols], None if valid is None else valid[own, cols]

    def _advance(self, wanted: slice) -> None:
        """Keep these rows; those that are kept already are not decoded again."""
        every, old, (pixels, valid) = slice(0, self._info.cols), self._rows, self._kept
        if not old.start <= wanted.start < old.stop:
            self._rows, self._kept = wanted, self._decode(wanted, every)
            return
        shared = slice(wanted.start - old.start, old.stop - old.start)
        more, more_valid = self._decode(slice(old.stop, wanted.stop), every)
        masks = None
        if valid is not None or more_valid is not None:
            shared_valid = np.ones(pixels[shared].shape[:2], bool) if valid is None else valid[shared]
            masks = np.concatenate([shared_valid, np.ones(more.shape[:2], bool) if more_valid is None else more_valid])
        self._rows, self._kept = wanted, (np.concatenate([pixels[shared], more]), masks)

    def _decode(self, rows: slice, cols: slice) -> Part:
        found = read_part(self._info, rows, cols)
        return found.pixels, found.valid


class _RollingRows:
    """Reads parts of an image that is resized on the way from top to bottom."""

    def __init__(self, image: LazyImage, shape: tuple[int, int]) -> None:
        self._image, self._shape = image, shape
        self._start()

    def _start(self) -> None:
        strips = (self._image[rows] for rows in self._image.list_rows())
        self._strips = resize_strips(strips, self._image.shape[:2], self._shape)
        self._top, self._kept = 0, next(self._strips)

    def __call__(self, rows: slice, cols: slice) -> Part:
        if rows.start < self._top:
            self._start()
        parts = [self._kept]
        bottom = self._top + len(self._kept)
        while bottom < rows.stop:
            parts.append(next(self._strips))
            bottom += len(parts[-1])
            while len(parts) > 1 and self._top + len(parts[0]) <= rows.start:
                self._top += len(parts.pop(0))
        kept = parts[0] if len(parts) == 1 else np.concatenate(parts)
        self._kept, self._top = kept[rows.start - self._top :], rows.start
        return self._kept[: rows.stop - rows.start, cols], None


def _is_all_valid(info: ImageInfo) -> bool:
    """Return whether the header of an image says that every pixel is valid; floats may be no numbers all the same."""
    with open_raster(info.path) as dataset:
        flags = [{flag.name for flag in flags} for flags in dataset.mask_flag_enums]
    return np.dtype(info.dtype).kind != "f" and all("all_valid" in names for names in flags)


def can_read_parts(info: ImageInfo) -> bool:
    """Return whether a part of an image can be decoded without the rest: of a TIFF that is upright and no palette."""
    return not _find_obstacle(info, ROOM)


def _find_obstacle(info: ImageInfo, room: int) -> str:
    """Return in words why an image can only be decoded at once; nothing where its parts can be read."""
    if info.format != "GTiff":
        return f"a {info.format} can only be decoded at once"
    if info.orientation != 1:
        return "lies on its side, so that it can only be decoded at once"
    with open_raster(info.path) as dataset:
        # Palette indices cannot be averaged.
        if dataset.colorinterp[0].name == "palette":
            return "has a palette, so that it can only be decoded at once"
        block_rows, block_cols = dataset.block_shapes[0]
        if block_rows * block_cols * info.bands * np.dtype(info.dtype).itemsize > room // 4:
            return f"is stored in blocks of {block_rows} x {block_cols} pixels, which can only be decoded at once"
    return ""


def read_part(info: ImageInfo, rows: slice, cols: slice, shape: tuple[int, int] | None = None) -> LoadedImage:
    """Decode a part of an image for which `can_read_parts` holds, with all bands as they are stored.

    Parameters
    ----------
    rows, cols : slice
        Within the image.
    shape : (int, int) or None
        The part is thinned out to these rows and columns.
    """
    window = (rows.start, rows.stop), (cols.start, cols.stop)
    with open_raster(info.path) as dataset:
        valid = read_gaps(dataset, rows, cols, shape=shape)
        pixels = np.empty((*(shape or (rows.stop - rows.start, cols.stop - cols.start)), info.bands), info.dtype)
        dataset.read(window=window, out=pixels.transpose(2, 0, 1))
    return mask_image(info, pixels, valid)
