"""Photographs with their labels at their own resolution: whole, or a window of one, of which no more is decoded."""

from __future__ import annotations

import tempfile
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hybridseg.classes import VOID, ClassTable
from hybridseg.dense.pairs import MEMORY_LIMIT, FolderPairs
from hybridseg.io.images import LoadedImage
from hybridseg.io.labelled import ReadLabels, fit_labels, load_labelled, void_invalid
from hybridseg.io.lazyimages import can_read_parts, read_part
from hybridseg.io.pairing import Pair
from hybridseg.models.normalization import Normalization
from hybridseg.resample import reduce_shape, resize_image, resize_labels

# Of the memory that is kept for photographs: a larger one is read in parts, if its format allows that.
_LARGE_SHARE = 1 / 4
# Less sharp than they could be, photographs are kept only where that saves much.
_FAR_BELOW = 0.5
# The sides of the copy on which a photograph that is read in parts is measured.
_MEASURED_SIDE = 2048


@dataclass(frozen=True)
class Window:
    """A part of a photograph, in its own pixels; it may reach beyond the border."""

    row: int
    col: int
    height: int
    width: int


@dataclass(frozen=True, eq=False)
class _Photo:
    """What is kept of a photograph; no pixels where they are read in parts."""

    pixels: np.ndarray | None
    labels: np.ndarray

    @property
    def n_bytes(self) -> int:
        n_bytes = self.labels.nbytes if type(self.labels) is np.ndarray else 0
        return n_bytes + (0 if self.pixels is None else self.pixels.nbytes)


class PhotoPairs(FolderPairs):
    """Pairs of files at their own resolution, for training on windows of them.

    A photograph is decoded once and kept, until others need its place. A TIFF that would take more than a quarter of
    the limit is read window by window; its labels are decoded once, into a temporary file.

    Parameters
    ----------
    size : tuple of int
        Rows and columns of the windows, as the network sees them.
    scale : float
        The largest at which windows are read: where it is far below 1, photographs are kept at that scale.
    limit : int
        Bytes of decoded photographs that are kept.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        read_labels: ReadLabels,
        *,
        table: ClassTable,
        size: tuple[int, int],
        scale: float = 1.0,
        limit: int = MEMORY_LIMIT,
    ) -> None:
        super().__init__(pairs, read_labels, table=table, size=size)
        self.limit, self._scale = limit, scale if scale < _FAR_BELOW else 1.0
        self._kept: OrderedDict[int, _Photo] = OrderedDict()
        self._measured: dict[tuple[int, Normalization], tuple[np.ndarray, np.ndarray]] = {}
        self._lock = threading.Lock()

    def count_bytes(self, index: int) -> int:
        """Return the bytes that a photograph takes when it is kept."""
        rows, cols = reduce_shape(self.infos[index].shape, self._scale)
        n_bytes = rows * cols * (self.n_bands * self.dtype.itemsize + 1)
        return 0 if self._is_read_in_parts(index, n_bytes) else n_bytes

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return all of a photograph and its labels, at its own size."""
        with self._lock:
            photo = self._kept.get(index)
        if photo is not None and photo.pixels is not None and self._scale == 1:
            return photo.pixels, photo.labels
        image, labels = load_labelled(self.pairs[index], self._read_labels)
        return image.fill_colors(), labels

    def read_window(self, index: int, window: Window, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Return a window of a photograph and its labels, resized to a shape.

        The image is resized with antialiasing; a label that is reduced is that of most of its area. Beyond the border
        the image is mirrored, and there are no labels.
        """
        photo, window = self._load(index), self._reduce(index, window)
        n_rows, n_cols = photo.labels.shape
        rows, cols = _clip(window.row, window.height, n_rows), _clip(window.col, window.width, n_cols)
        labels = np.asarray(photo.labels[rows, cols])
        if photo.pixels is not None:
            pixels = photo.pixels[rows, cols]
        else:
            part = read_part(self.infos[index], rows, cols)
            pixels, labels = _fill(part), void_invalid(labels, part.valid)
        beyond = (
            (rows.start - window.row, window.row + window.height - rows.stop),
            (cols.start - window.col, window.col + window.width - cols.stop),
        )
        if any(map(any, beyond)):
            pixels = np.pad(pixels, (*beyond, (0, 0)), mode="symmetric")
            labels = np.pad(labels, beyond, constant_values=VOID)
        return resize_image(np.ascontiguousarray(pixels), shape), resize_labels(labels, shape)

    def read_labels(self, index: int) -> np.ndarray:
        """Return the labels of a photograph as they are kept, (any, any) uint8."""
        return self._load(index).labels

    def measure(self, index: int, normalization: Normalization) -> tuple[np.ndarray, np.ndarray]:
        """Return offset and factor by which all of a photograph is normalized, see `Normalization.measure`."""
        key = (index, normalization)
        if key not in self._measured:
            info, pixels = self.infos[index], self._load(index).pixels
            if normalization.kind in ("unit", "dataset"):
                pixels = np.zeros((1, 1, self.n_bands), self.dtype)
            elif pixels is None:
                shape = reduce_shape(info.shape, min(_MEASURED_SIDE / max(info.shape), 1.0))
                pixels = _fill(read_part(info, slice(0, info.rows), slice(0, info.cols), shape))
            elif self._scale < 1:
                pixels = self.read(index)[0]
            self._measured[key] = normalization.measure(pixels)
        return self._measured[key]

    def _reduce(self, index: int, window: Window) -> Window:
        """Return a window in the pixels that are kept."""
        if self._scale == 1:
            return window
        info = self.infos[index]
        by_row, by_col = np.array(reduce_shape(info.shape, self._scale)) / info.shape
        row, col, height, width = (
            window.row * by_row,
            window.col * by_col,
            window.height * by_row,
            window.width * by_col,
        )
        return Window(round(row), round(col), max(round(height), 1), max(round(width), 1))

    def _is_read_in_parts(self, index: int, n_bytes: int) -> bool:
        return n_bytes > self.limit * _LARGE_SHARE and can_read_parts(self.infos[index])

    def _load(self, index: int) -> _Photo:
        with self._lock:
            if index in self._kept:
                self._kept.move_to_end(index)
                return self._kept[index]
        # Outside of the lock: several photographs are decoded at once.
        photo = self._decode(index)
        with self._lock:
            self._kept[index] = photo
            while len(self._kept) > 1 and sum(kept.n_bytes for kept in self._kept.values()) > self.limit:
                # Those that take no memory stay.
                del self._kept[next(i for i, kept in self._kept.items() if kept.n_bytes)]
        return photo

    def _decode(self, index: int) -> _Photo:
        pair, info = self.pairs[index], self.infos[index]
        if self.count_bytes(index):
            image, labels = load_labelled(pair, self._read_labels)
            shape = reduce_shape(info.shape, self._scale)
            return _Photo(resize_image(image.fill_colors(), shape), resize_labels(labels, shape))
        labels = fit_labels(self._read_labels(pair.labels_path), pair.labels_path, info, None)
        with tempfile.TemporaryFile() as file:
            labels.tofile(file)
            return _Photo(None, np.memmap(file, np.uint8, "r", shape=labels.shape))


def _clip(start: int, length: int, side: int) -> slice:
    """Return the part of a window that lies within a side; one pixel at least."""
    first = min(max(start, 0), side - 1)
    return slice(first, max(min(start + length, side), first + 1))


def _fill(image: LoadedImage) -> np.ndarray:
    """Return the pixels of a part, which may have no valid one at all."""
    if image.valid is None or image.valid.any():
        return image.fill_colors()
    return np.zeros_like(image.pixels[..., : image.info.n_colors])
