"""Resizing of images and maps, and filling of unknown pixels from their neighbours."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import reduce

import numpy as np

_LEAST_CRF_PIXELS = 250_000
# Pillow weighs 8-bit pixels by whole numbers of so many bits.
_WEIGHT_BITS = 22
_STRIP_ROWS = 128


def shrink_image(image: np.ndarray, rows: int, cols: int) -> np.ndarray:
    """Return a picture reduced in size; each new pixel is the mean of those that it covers.

    Parameters
    ----------
    image : numpy.ndarray
        (any, any, bands) uint8, at least as large.

    Returns
    -------
    numpy.ndarray
        (rows, cols, bands) uint8.

    Examples
    --------
    >>> shrink_image(np.array([[[0, 0, 0], [100, 0, 0]]], np.uint8), 1, 1).tolist()
    [[[50, 0, 0]]]
    """
    return _resize(image, (rows, cols), mean=True)


def resize_image(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return an image of any type and number of bands at another size.

    Bilinear with antialiasing: when it is reduced, a pixel is a weighted mean of all that it covers.

    Parameters
    ----------
    image : numpy.ndarray
        (any, any, bands).

    Returns
    -------
    numpy.ndarray
        (*shape, bands), of the same type.

    Examples
    --------
    >>> resize_image(np.array([[[0], [40]]], np.uint16), (1, 1)).tolist()
    [[[20]]]
    """
    return _resize(image, shape, mean=False)


def _resize(image: np.ndarray, shape: tuple[int, int], *, mean: bool) -> np.ndarray:
    old = (image.shape[0], image.shape[1])
    if old == shape:
        return image
    strips = (image[row : row + _STRIP_ROWS] for row in range(0, old[0], _STRIP_ROWS))
    resized, row = np.empty((*shape, image.shape[2]), image.dtype), 0
    for strip in resize_strips(strips, old, shape, mean=mean):
        resized[row : row + len(strip)] = strip
        row += len(strip)
    return resized


def resize_strips(
    strips: Iterable[np.ndarray], old: tuple[int, int], new: tuple[int, int], *, mean: bool = False
) -> Iterator[np.ndarray]:
    """Resize an image that need not be in memory as a whole: how it is cut changes nothing.

    Columns are resized before rows; Pillow chooses the order by size and version, which changes a grey level here and
    there.

    Parameters
    ----------
    strips : iterable of numpy.ndarray
        The rows of the image from top to bottom, (any, cols, bands) each.
    old, new : tuple of int
        Rows and columns of the image, and of the result.
    mean : bool
        As `shrink_image`; otherwise as `resize_image`.

    Yields
    ------
    numpy.ndarray
        The rows of the result that are known with each strip, (any, new cols, bands).

    Examples
    --------
    >>> rows = [np.full((1, 2, 3), value, np.uint8) for value in (0, 100, 50, 60)]
    >>> [strip[..., 0].tolist() for strip in resize_strips(rows, (4, 2), (2, 1), mean=True)]
    [[[50]], [[55]]]
    """
    if old == new:
        yield from strips
        return
    first, weights = _weigh_rows(old[0], new[0], mean=mean)
    last = np.minimum(first + weights.shape[1], old[0])
    kept, top, n_done = [], 0, 0
    for strip in strips:
        kept.append(_resize_cols(strip, new[1], mean=mean))
        bottom = top + sum(map(len, kept))
        n_known = int(np.searchsorted(last, bottom, side="right"))
        if n_known == n_done:
            continue
        rows = kept[0] if len(kept) == 1 else np.concatenate(kept)
        resized = rows
        if old[0] != new[0]:
            resized = _sum_rows(rows, first[n_done:n_known] - top, weights[n_done:n_known])
        yield resized if resized.dtype == strip.dtype else _narrow(resized, strip.dtype)
        n_done = n_known
        begin = int(first[n_done]) if n_done < new[0] else bottom
        kept, top = [rows[begin - top :]], begin


def _weigh_rows(old: int, new: int, *, mean: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the first row that each new one is made of, and the weights of it and of those below, as Pillow has them.

    Weights beyond the last row are 0.
    """
    if old == new:
        return np.arange(new), np.ones((new, 1))
    scale = old / new
    width = max(scale, 1.0)
    support = width * (0.5 if mean else 1.0)
    centres = (np.arange(new) + 0.5) * scale
    first = np.maximum((centres - support + 0.5).astype(int), 0)
    end = np.minimum((centres + support + 0.5).astype(int), old)
    steps = np.arange(int((end - first).max()))
    places = (steps + first[:, None] - centres[:, None] + 0.5) * (1 / width)
    weights = ((places > -0.5) & (places <= 0.5)) * 1.0 if mean else np.maximum(1 - np.abs(places), 0.0)
    weights[steps >= (end - first)[:, None]] = 0
    # One after the other, as there: the sum of numpy is another in the last digit.
    return first, weights / np.cumsum(weights, axis=1)[:, -1:]


def _sum_rows(rows: np.ndarray, first: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return weighted sums of rows, of bytes as bytes."""
    is_byte = rows.dtype == np.uint8
    if is_byte:
        weights = (weights * (1 << _WEIGHT_BITS) + 0.5).astype(np.int32)
    total = np.zeros((len(first), *rows.shape[1:]), weights.dtype)
    for step, column in enumerate(weights.T):
        total += rows[np.minimum(first + step, len(rows) - 1)] * column[:, None, None]
    if is_byte:
        return ((total + (1 << (_WEIGHT_BITS - 1))) >> _WEIGHT_BITS).astype(np.uint8)
    return total.astype(np.float32)


def _resize_cols(image: np.ndarray, cols: int, *, mean: bool) -> np.ndarray:
    """Return an image of fewer or more columns: of bytes in three bands as bytes, else as float32."""
    from PIL import Image

    way = Image.Resampling.BOX if mean else Image.Resampling.BILINEAR
    size = (cols, len(image))
    if image.dtype == np.uint8 and image.shape[2] == 3:
        return np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize(size, way))
    planes = (Image.fromarray(np.ascontiguousarray(image[..., i], np.float32)) for i in range(image.shape[2]))
    return np.stack([np.asarray(plane.resize(size, way)) for plane in planes], axis=2)


def _narrow(resized: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return resized.astype(dtype) if dtype.kind == "f" else resized.round().astype(dtype)


def resize_nearest(values: np.ndarray, shape: tuple[int, int], rows: slice = slice(None)) -> np.ndarray:
    """Return a map at another size: each new pixel has the value of the old one in which its centre lies.

    Parameters
    ----------
    rows : slice
        Only these rows of the result.

    Examples
    --------
    >>> resize_nearest(np.array([[3, 7]]), (1, 5)).tolist()
    [[3, 3, 7, 7, 7]]
    """
    rows_of, cols_of = (find_nearest(old, new) for new, old in zip(shape, values.shape[:2], strict=True))
    return np.take(np.take(values, rows_of[rows], axis=0), cols_of, axis=1)


def find_nearest(old: int, new: int) -> np.ndarray:
    """Return which old pixel each new one is taken from, (new,), where a side is resized to the nearest."""
    return ((np.arange(new) + 0.5) * (old / new)).astype(int)


def resize_labels(labels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return a label map at another size, where a pixel that covers several has the label of most of their area.

    A side that is not reduced is resized to the nearest. Of several that cover as much, the lowest label is taken.

    Parameters
    ----------
    labels : numpy.ndarray
        (rows, cols) uint8; VOID is a label like the others.

    Examples
    --------
    >>> resize_labels(np.array([[3, 7, 7, 7, 3, 3]], np.uint8), (1, 2)).tolist()
    [[7, 3]]
    """
    # Sides that grow are left for last.
    reduced = min(shape[0], labels.shape[0]), min(shape[1], labels.shape[1])
    return resize_nearest(labels if reduced == labels.shape else _take_commonest(labels, reduced), shape)


def _take_commonest(labels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return for each of fewer pixels the commonest label of those whose centres it covers, the lowest of several."""
    sides = list(zip(labels.shape, shape, strict=True))
    starts = [(2 * np.arange(new) * old + new) // (2 * new) for old, new in sides]
    lengths = [np.diff(start, append=old) for start, (old, _) in zip(starts, sides, strict=True)]
    least = greatest = labels
    for axis, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        places = [start + np.minimum(i, length - 1) for i in range(length.max())]
        least = reduce(np.minimum, (least.take(place, axis) for place in places))
        greatest = reduce(np.maximum, (greatest.take(place, axis) for place in places))
    # Only where classes meet is there anything to count.
    row, col = np.nonzero(least != greatest)
    at, inside = [], []
    for start, length, mixed, old in zip(starts, lengths, (row, col), labels.shape, strict=True):
        steps = np.arange(length.max())[:, None]
        at.append(np.minimum(start[mixed] + steps, old - 1))
        inside.append(steps < length[mixed])
    own = labels[at[0][:, None], at[1]]
    is_inside = inside[0][:, None] & inside[1]
    most = np.zeros(len(row), np.int64)
    for label in np.flatnonzero(np.bincount(own.ravel())):
        n = np.count_nonzero((own == label) & is_inside, axis=(0, 1))
        is_more = n > most
        least[row[is_more], col[is_more]] = label
        most[is_more] = n[is_more]
    return least


def take_nearest(labels: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return labels where each unknown pixel has the label of the nearest known one.

    Parameters
    ----------
    labels : numpy.ndarray
        (rows, cols).
    known : numpy.ndarray
        (rows, cols) bool, true somewhere.

    Examples
    --------
    >>> take_nearest(np.array([[7, 0, 0, 9]]), np.array([[True, False, False, True]])).tolist()
    [[7, 7, 9, 9]]
    """
    if known.all():
        return labels
    from scipy.ndimage import distance_transform_edt

    rows, cols = distance_transform_edt(~known, return_distances=False, return_indices=True)
    return labels[rows, cols]


def fit_scale(shape: tuple[int, int], usual: float, *, n_most: float = math.inf) -> float:
    """Return the scale at which a CRF works on an image of these rows and columns.

    It is the usual one, but more where that would leave fewer than 250,000 pixels: a small image would turn into
    blocks. It is less where that would leave more than `n_most`.

    Examples
    --------
    >>> [fit_scale((side, side), 0.2, n_most=1_000_000) for side in (400, 1000, 4000, 10_000)]
    [1.0, 0.5, 0.2, 0.1]
    """
    n_pixels = shape[0] * shape[1]
    return min(max(usual, math.sqrt(_LEAST_CRF_PIXELS / n_pixels)), math.sqrt(n_most / n_pixels), 1.0)


def reduce_shape(shape: tuple[int, int], scale: float) -> tuple[int, int]:
    """Return the rows and columns of an image at another scale."""
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def resize_bilinear(image: np.ndarray, rows: int, cols: int) -> np.ndarray:
    """Return a picture, (any, any, bands) uint8, at another size, with pixel centres aligned as in TensorFlow.

    Examples
    --------
    >>> resize_bilinear(np.array([[[0], [100]]], np.uint8), 1, 4)[0, :, 0].tolist()
    [0, 25, 75, 100]
    """
    (top, bottom, down), (left, right, across) = (
        find_neighbours(image.shape[0], rows),
        find_neighbours(image.shape[1], cols),
    )
    values = image.astype(np.float32)
    lines = values[top] + (values[bottom] - values[top]) * down[:, None, None]
    resized = lines[:, left] + (lines[:, right] - lines[:, left]) * across[None, :, None]
    return resized.round().astype(np.uint8)


def find_neighbours(old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the two old pixels around each new one, and how far it lies between them."""
    centres = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    first = np.floor(centres).astype(int)
    return first, np.minimum(first + 1, old - 1), (centres - first).astype(np.float32)
