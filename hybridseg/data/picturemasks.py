"""Masks that are pictures: blurred colours or grey values become classes, with a count of what was not exact."""

from __future__ import annotations

import numpy as np

from hybridseg.classes import VOID, ClassTable
from hybridseg.errors import BadInput
from hybridseg.io.labels.labelmaps import match_colors
from hybridseg.markup import count_of
from hybridseg.palette import count_colors

# A grey picture that was saved in colours, also as JPEG, has channels that differ by less.
_MOST_TINT, _MOST_TINTED = 32, 0.01
# Farther than JPEG moves a colour, but for the edges of areas.
_FAR = 60
_COLORS_AT_ONCE = 1 << 16


def nearest_classes(rgb: np.ndarray, table: ClassTable) -> tuple[np.ndarray, int, int]:
    """Return the class of the nearest colour for each pixel; black means no class unless a class is black.

    Parameters
    ----------
    rgb : numpy.ndarray
        (rows, cols, 3) uint8.

    Returns
    -------
    labels : numpy.ndarray
        (rows, cols) uint8.
    n_inexact, n_far : int
        Number of pixels whose colour no class has, and of those that are far from any, as in a mask in other colours.

    Raises
    ------
    BadInput
        When two classes share a colour.

    Examples
    --------
    >>> table = ClassTable(("a", "b"), ((255, 0, 0), (0, 0, 255)))
    >>> labels, *counts = nearest_classes(np.array([[[0, 0, 255], [250, 3, 9], [0, 200, 2]]], np.uint8), table)
    >>> labels.tolist(), counts
    ([[1, 0, 255]], [2, 1])
    """
    own = np.array(table.colors, np.uint8)
    # Read as a painted map, it tells whether two classes share a colour.
    ids = match_colors(own[None], table)[0]
    if (0, 0, 0) not in table.colors:
        own, ids = np.vstack([own, np.zeros((1, 3), np.uint8)]), np.append(ids, np.uint8(VOID))
    colors, places, counts = count_colors(rgb)
    found = np.empty(len(colors), np.uint8)
    n_inexact = n_far = 0
    for start in range(0, len(colors), _COLORS_AT_ONCE):
        part = slice(start, start + _COLORS_AT_ONCE)
        distances = ((colors[part, None].astype(np.int32) - own.astype(np.int32)) ** 2).sum(axis=2)
        best = distances.argmin(axis=1)
        found[part] = ids[best]
        n_inexact += int(counts[part][distances.min(axis=1) > 0].sum())
        n_far += int(counts[part][distances.min(axis=1) > _FAR**2].sum())
    return found[places], n_inexact, n_far


def threshold_grey(pixels: np.ndarray, threshold: int) -> np.ndarray:
    """Return class 1 where a grey picture is brighter than a threshold, and class 0 elsewhere.

    Parameters
    ----------
    pixels : numpy.ndarray
        (rows, cols, bands); the mean of three or four equal bands is their grey value.

    Raises
    ------
    BadInput
        When the picture is in colours.

    Examples
    --------
    >>> threshold_grey(np.array([[[3], [250]]], np.uint8), 127).tolist()
    [[0, 1]]
    """
    if pixels.shape[2] in (3, 4):
        pixels = pixels[..., :3]
        tint = pixels.max(axis=2).astype(np.int32) - pixels.min(axis=2)
        if (tint > _MOST_TINT).mean() > _MOST_TINTED:
            raise BadInput("it is in colours, so a threshold means nothing; give --nearest-color")
    elif pixels.shape[2] != 1:
        raise BadInput(
            f"it has {count_of(pixels.shape[2], 'band')}; a mask has one of grey values, or is a picture in colours"
        )
    return (pixels.mean(axis=2) > threshold).astype(np.uint8)
