"""Smoother label maps: the majority filter, a median filter for ids that have no order; and maps without specks."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from hybridseg.classes import VOID, count_labels
from hybridseg.errors import BadInput
from hybridseg.resample import take_nearest

MAX_RADIUS = 500
# Small enough for the cache and to have few classes, and large compared with its margin.
_BLOCK_SHAPE = (128, 512)


def remove_specks(labels: np.ndarray, least: float) -> np.ndarray:
    """Return labels in which each connected area of fewer pixels takes the class of the nearest larger area.

    VOID pixels stay VOID. Where no area is large enough, nothing changes.

    Examples
    --------
    >>> remove_specks(np.array([[0, 0, 0, 1, 1, 1], [0, 2, 0, 1, 1, 1]], np.uint8), 2).tolist()
    [[0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1]]
    """
    if least <= 1:
        return labels
    from scipy.ndimage import label

    is_speck = np.zeros(labels.shape, bool)
    for class_id in np.flatnonzero(count_labels(labels)[:VOID]):
        areas, _ = label(labels == class_id)
        is_small = np.bincount(areas.ravel()) < least
        is_small[0] = False
        is_speck |= is_small[areas]
    known = ~is_speck & (labels != VOID)
    return np.where(labels == VOID, labels, take_nearest(labels, known)) if known.any() else labels


def filter_majority(labels: np.ndarray, *, radius: int) -> np.ndarray:
    """Replace every pixel by the most frequent class in the disk around it.

    With two classes this is the median filter. Where several classes tie, a pixel keeps its own if that is among
    them, and else takes the lowest id. VOID pixels stay VOID and have no vote. At the border of the map only the
    pixels inside vote.

    Parameters
    ----------
    labels : numpy.ndarray
        (rows, cols) uint8 class ids, or VOID.
    radius : int
        Radius of the disk, in pixels, up to MAX_RADIUS; a pixel counts when its centre is within it. 0 changes
        nothing.

    Returns
    -------
    numpy.ndarray
        (rows, cols) uint8, a new array.

    Raises
    ------
    BadInput
        When `labels` is not a label map, or `radius` is out of range.

    Examples
    --------
    >>> labels = np.array([[0, 0, 0, 1, 1], [0, 3, 0, 1, 1], [0, 0, 0, 1, 1]], np.uint8)
    >>> filter_majority(labels, radius=1).tolist()
    [[0, 0, 0, 1, 1], [0, 0, 0, 1, 1], [0, 0, 0, 1, 1]]
    """
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise BadInput(f"a label map is an array of (rows, cols) bytes, not {labels.shape} of {labels.dtype}")
    check_radius(radius)
    filtered = labels.copy()
    if radius == 0:
        return filtered
    for rows, cols in _list_blocks(labels.shape):
        block = _cut_with_margin(labels, rows, cols, radius)
        ids = np.flatnonzero(np.bincount(block.ravel(), minlength=VOID)[:VOID])
        if len(ids) > 1:
            filtered[rows, cols] = _choose_winners(block, ids, radius)
    return filtered


def check_radius(radius: int) -> None:
    """Raise BadInput for a radius out of range."""
    if not 0 <= radius <= MAX_RADIUS:
        raise BadInput(f"radius={radius} of the majority filter must be from 0 (no change) to {MAX_RADIUS} pixels")


def _list_blocks(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    height, width = _BLOCK_SHAPE
    for row in range(0, shape[0], height):
        for col in range(0, shape[1], width):
            yield slice(row, min(row + height, shape[0])), slice(col, min(col + width, shape[1]))


def _cut_with_margin(labels: np.ndarray, rows: slice, cols: slice, margin: int) -> np.ndarray:
    """Cut a block with its surroundings; beyond the map they are VOID, which has no vote."""
    top, left = rows.start - margin, cols.start - margin
    block = np.full((rows.stop + margin - top, cols.stop + margin - left), VOID, np.uint8)
    there = labels[max(top, 0) : rows.stop + margin, max(left, 0) : cols.stop + margin]
    row, col = max(-top, 0), max(-left, 0)
    block[row : row + there.shape[0], col : col + there.shape[1]] = there
    return block


def _choose_winners(block: np.ndarray, ids: np.ndarray, radius: int) -> np.ndarray:
    """Return the most frequent class around every pixel of a block except its margin."""
    own = block[radius:-radius, radius:-radius]
    best, best_count = own.copy(), np.zeros(own.shape, np.int32)
    for class_id in ids:
        count = _count_in_disk(block == class_id, radius)
        # Ids ascend: the first of equals wins, unless the pixel's own is among them.
        better = (count > best_count) | ((count == best_count) & (own == class_id))
        np.copyto(best, np.uint8(class_id), where=better)
        np.copyto(best_count, count, where=better)
    np.copyto(best, np.uint8(VOID), where=own == VOID)
    return best


def _count_in_disk(is_class: np.ndarray, radius: int) -> np.ndarray:
    """Count the pixels of a class around every pixel except the margin, row by row of the disk.

    The count within a part of a row is the difference of two cumulative sums.
    """
    n_rows, n_cols = is_class.shape[0] - 2 * radius, is_class.shape[1] - 2 * radius
    sums = np.zeros((is_class.shape[0], is_class.shape[1] + 1), np.int32)
    np.cumsum(is_class, axis=1, out=sums[:, 1:])
    count = np.zeros((n_rows, n_cols), np.int32)
    for distance in range(radius + 1):
        reach = math.isqrt(radius * radius - distance * distance)
        first, end = radius - reach, radius + reach + 1
        pieces = sums[:, end : end + n_cols] - sums[:, first : first + n_cols]
        count += pieces[radius - distance : radius - distance + n_rows]
        if distance:
            count += pieces[radius + distance : radius + distance + n_rows]
    return count
