"""What makes a photo unsuited to training: blur, darkness, light that is cut off, no picture, and unlike the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from hybridseg.io.images import as_rgb8

# A photo is shown to these measures in so many pixels at most, cut out of its middle: a smaller copy would be sharp.
_SIDE = 1536
_BOX = 9
_DARK, _BRIGHT = 24, 250
# Of a photo: more that is dark, cut off or empty is worth a look.
_MUCH_DARK, _MUCH_BRIGHT, _MUCH_EMPTY = 0.6, 0.4, 0.5
# Of 565 photos of five collections the most blurred has 0.47; blurred by two pixels they have 0.51 (docs/review.md).
_BLURRED, _TIMES_AS_BLURRED = 0.5, 1.6
_FAMILY, _FAR, _LEAST_SPREAD = 8, 6.0, 0.04


@dataclass(frozen=True)
class Suitability:
    """Measures of one photo, all from 0 to 1.

    Parameters
    ----------
    blur : float
        How little is lost when it is blurred again, after Crete et al. (2007): 0 is sharp.
    dark, bright : float
        Share of the pixels that are nearly black, or as bright as the type or the sensor can tell, in every band. Of
        wider types than bytes none is dark: what black is, they do not tell.
    empty : float
        Share of the pixels without a picture: nodata, or 0 in every band.
    look : tuple of float
        Mean and standard deviation of the brightness, of red less green and of blue less green, by which it is compared
        with the others: photos of one kind differ more in their brightness than in these.
    """

    blur: float
    dark: float
    bright: float
    empty: float
    look: tuple[float, ...]


def measure_suitability(pixels: np.ndarray, valid: np.ndarray | None = None) -> Suitability:
    """Measure a photo.

    Parameters
    ----------
    pixels : numpy.ndarray
        (rows, cols, bands) of any real type.
    valid : numpy.ndarray or None
        (rows, cols) bool: where there is a picture; None: everywhere.

    Examples
    --------
    >>> found = measure_suitability(np.full((8, 8, 3), 255, np.uint8))
    >>> found.bright, found.dark, found.empty, found.blur
    (1.0, 0.0, 0.0, 1.0)
    """
    inner = tuple(slice(max(0, (n - _SIDE) // 2), max(0, (n - _SIDE) // 2) + _SIDE) for n in pixels.shape[:2])
    part = pixels[inner]
    # Band by band: over a last axis of three NumPy takes twenty times as long.
    planes = [part[..., band] for band in range(part.shape[2])]
    there = reduce(np.logical_or, (plane != 0 for plane in planes))
    if valid is not None:
        there &= valid[inner]
    n = int(np.count_nonzero(there))
    if not n:
        return Suitability(1.0, 0.0, 0.0, 1.0, (0.0,) * 6)
    is_byte = part.dtype == np.uint8
    top = _BRIGHT if is_byte else max(plane[there].max() for plane in planes)
    bright = int(np.count_nonzero(reduce(np.minimum, planes)[there] >= top)) / n
    dark = int(np.count_nonzero(reduce(np.maximum, planes)[there] <= _DARK)) / n if is_byte else 0.0
    rgb = as_rgb8(part, valid=there)
    red, green, blue = (rgb[..., band].astype(np.int32) for band in range(3))
    grey = red + green + blue
    look = [
        measure(plane[there]) / 765 for plane in (grey, 3 * (red - green), 3 * (blue - green))
        for measure in (np.mean, np.std)
    ]  # fmt: skip
    grey[~there] = int(grey[there].mean())
    return Suitability(
        measure_blur(grey), dark, bright, 1 - n / there.size, tuple(round(float(value), 4) for value in look)
    )


def measure_blur(grey: np.ndarray) -> float:
    """Return how blurred a picture is, (rows, cols) int32: 0 is sharp, 1 is blurred or of one colour.

    The measure of Crete et al. (2007): the steps between neighbours of a sharp picture vanish when it is blurred,
    those of a blurred one stay. It is the same for smooth water and rough stone.
    """
    found = []
    for picture in (grey, np.ascontiguousarray(grey.T)):
        width = _BOX // 2
        sums = np.cumsum(np.pad(picture, ((width + 1, width), (0, 0)), mode="edge"), axis=0, dtype=np.int32)
        steps = _BOX * np.abs(np.diff(picture, axis=0))
        left = np.abs(np.diff(sums[_BOX:] - sums[:-_BOX], axis=0))
        total = int(steps.sum(dtype=np.int64))
        if total:
            found.append(1 - int(np.maximum(steps - left, 0).sum(dtype=np.int64)) / total)
    return round(max(found, default=1.0), 4)


def judge_photos(measures: Sequence[Suitability]) -> list[dict[str, str]]:
    """Say for each photo why it may be unsuited: a word, and the reason with its number. None of most.

    Whether a photo is blurred, or unlike the others, depends on those: it is judged by their median.

    Examples
    --------
    >>> sharp, dim = (Suitability(0.2, dark, 0.0, 0.0, (0.5,) * 6) for dark in (0.0, 0.9))
    >>> judge_photos([sharp, sharp, dim])
    [{}, {}, {'dark': '90 % of it is nearly black'}]
    """
    usual = float(np.median([one.blur for one in measures])) if measures else 0.0
    distances = _measure_distances(measures)
    reasons: list[dict[str, str]] = []
    for one, far in zip(measures, distances, strict=True):
        found = {}
        if one.empty >= _MUCH_EMPTY:
            found["empty"] = f"{one.empty:.0%} of it is nodata or 0 in every band"
        if one.dark >= _MUCH_DARK:
            found["dark"] = f"{one.dark:.0%} of it is nearly black"
        if one.bright >= _MUCH_BRIGHT:
            found["over-exposed"] = f"{one.bright:.0%} of it is as bright as can be"
        is_plain = not any(one.look[1::2])
        if not found and not is_plain and one.blur >= max(_BLURRED, _TIMES_AS_BLURRED * usual):
            found["blurred"] = f"blur {one.blur:.2f}, where {usual:.2f} is usual"
        if not found and is_plain:
            found["of one colour"] = "all of its pixels are the same"
        if not found and far >= _FAR:
            found["unlike the others"] = f"its colours are {far:.0f} times as far from the usual as is common"
        reasons.append({word: text.replace("%", " %") for word, text in found.items()})
    return reasons


def _measure_distances(measures: Sequence[Suitability]) -> np.ndarray:
    """Return how far the colours of each photo are from the median, in units of the usual distance."""
    if len(measures) < _FAMILY:
        return np.zeros(len(measures))
    looks = np.array([one.look for one in measures])
    off = np.abs(looks - np.median(looks, axis=0))
    # The median of the distances, as a standard deviation; all but equal photos differ by something, too.
    usual = np.maximum(1.4826 * np.median(off, axis=0), _LEAST_SPREAD)
    return (off / usual).max(axis=1)
