"""Resizing of images and maps, and filling of unknown pixels from their neighbours."""

from __future__ import annotations

import math
from functools import reduce

import numpy as np

_LEAST_CRF_PIXELS = 250_000


def shrink_image(image: np.ndarray, rows: int, cols: int) -> np.ndarray:
    """Return a picture reduced in size; each new pixel is the mean of those that it covers.

    Parameters
    ----------
    image : numpy.ndarray
        (any, any, 3) uint8, at least as large.

    Returns
    -------
    numpy.ndarray
        (rows, cols, 3) uint8.

    Examples
    --------
    >>> shrink_image(np.array([[[0, 0, 0], [100, 0, 0]]], np.uint8), 1, 1).tolist()
    [[[50, 0, 0]]]
    """
    from PIL import Image

    if image.shape[:2] == (rows, cols):
        return image
    return np.asarray(Image.fromarray(image).resize((cols, rows), Image.Resampling.BOX))


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
    from PIL import Image

    if image.shape[:2] == shape:
        return image
    size = (shape[1], shape[0])
    if image.dtype == np.uint8 and image.shape[2] == 3:
        return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    resized = np.empty((*shape, image.shape[2]), np.float32)
    for band in range(image.shape[2]):
        plane = Image.fromarray(np.ascontiguousarray(image[..., band], np.float32))
        resized[..., band] = np.asarray(plane.resize(size, Image.Resampling.BILINEAR))
    return resized.astype(image.dtype) if image.dtype.kind == "f" else resized.round().astype(image.dtype)


def resize_nearest(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return a map at another size: each new pixel has the value of the old one in which its centre lies.

    Examples
    --------
    >>> resize_nearest(np.array([[3, 7]]), (1, 5)).tolist()
    [[3, 3, 7, 7, 7]]
    """
    rows, cols = (
        ((np.arange(new) + 0.5) * (old / new)).astype(int) for new, old in zip(shape, values.shape[:2], strict=True)
    )
    return np.take(np.take(values, rows, axis=0), cols, axis=1)


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
