"""Features of every pixel of an image, computed in windows and kept for a while."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hybridseg.learning.pyramids import Pyramid, sample_features, score_pixels
from hybridseg.learning.texture import N_MEASURES, measure_texture
from hybridseg.models.activations import CHANNELS, COARSEST, compute_activations
from hybridseg.progress import checkpoint

NONE, COLOR, DEEP = FEATURES = ("none", "color", "deep")
# Of a window, and of what it sees around it; the network takes about 0.4 GB for a window while it runs.
_MOST_SIDE, _HALO = 768, 64
_MAX_KEPT_BYTES = 128_000_000
# How much an activation counts, by its stride (docs/decisions/021-pixel-classifier.md): those of stride 16 are more
# than half of all, and blurred where classes meet.
_WEIGHTS = {2: 0.5, 4: 1.5, 8: 3.0, 16: 0.5}
# What the network takes; at which strides the texture of further bands joins its activations, and how much all
# of that weighs beside all of these.
_N_SEEN, _FURTHER_STRIDES, _FURTHER_WEIGHT = 3, (2, 4, 8), 2
# Pixels by which the deviation of each feature is measured, and the least: activations go from 0 to 6.
_N_MEASURED, _LEAST_DEVIATION = 2000, 0.05


@dataclass(frozen=True)
class _Window:
    """A part of an image, and what is computed for it: that, some pixels around it, and up to a multiple of 16."""

    rows: slice
    cols: slice
    top: int
    left: int
    bottom: int
    right: int


class PixelFeatures:
    """The features of the pixels of an image.

    Parameters
    ----------
    image : numpy.ndarray
        (rows, cols, bands) uint8: red, green, blue, and any further ones.
    kind : {"color", "deep"}
        Colour and texture at five scales, or the activations of the built-in network and the texture of further bands.
    keeps : bool
        Whether they are kept for a while, in place of those of other images.
    """

    def __init__(self, image: np.ndarray, kind: str, *, keeps: bool = True) -> None:
        self._image, self._kind, self._keeps = image, kind, keeps
        self.shape = (image.shape[0], image.shape[1])

    def _weigh(self) -> np.ndarray | float:
        """Return the importance of each feature.

        Those of the bands that the network does not see are few, and would be lost among its many.
        """
        if self._kind == COLOR:
            return 1.0
        n_further = (self._image.shape[2] - _N_SEEN) * N_MEASURES
        power = sum(n_own * _WEIGHTS[stride] ** 2 for stride, n_own in CHANNELS.items())
        share = _FURTHER_WEIGHT * np.sqrt(power / max(n_further * len(_FURTHER_STRIDES), 1))
        parts = [
            np.repeat([_WEIGHTS[stride], share], [n_own, n_further * (stride in _FURTHER_STRIDES)])
            for stride, n_own in CHANNELS.items()
        ]
        return np.concatenate(parts).astype(np.float32)

    def sample(self, rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the features of some pixels, and of others at random in the windows where these lie.

        Returns
        -------
        samples : numpy.ndarray
            (n, features) float32.
        around : numpy.ndarray
            (about 2,000, features) float32; from all windows when no pixel is asked for.
        """
        windows = self._list_windows(slice(0, self.shape[0]), slice(0, self.shape[1]))
        parts = [(window, _find_within(window, rows, cols)) for window in windows]
        parts = [(window, inside) for window, inside in parts if len(inside)] or parts
        rng, found, around, n_each = np.random.default_rng(0), [], [], -(-_N_MEASURED // len(parts))
        for window, inside in parts:
            pyramid = self._compute(window)
            found.append(sample_features(pyramid, rows[inside] - window.top, cols[inside] - window.left))
            down, across = (rng.integers(part.start, part.stop, n_each) for part in (window.rows, window.cols))
            around.append(sample_features(pyramid, down - window.top, across - window.left))
        order = np.argsort(np.concatenate([inside for _, inside in parts]))
        return np.concatenate(found)[order], np.concatenate(around)

    def measure_deviation(self, around: np.ndarray) -> np.ndarray:
        """Return by how much each feature varies in an image, (features,) float32, above 0.

        It is smaller for a feature that is to count for more.

        Parameters
        ----------
        around : numpy.ndarray
            (n, features) of pixels at random, see `sample`: strokes lie where a class is like itself.
        """
        return (np.maximum(around.std(axis=0), _LEAST_DEVIATION) / self._weigh()).astype(np.float32)

    def score(self, weights: np.ndarray, rows: slice, cols: slice) -> np.ndarray:
        """Return linear scores of the pixels of a part of the image, see `score_pixels`."""
        found = np.empty((rows.stop - rows.start, cols.stop - cols.start, weights.shape[1]), np.float32)
        for window in self._list_windows(rows, cols):
            down, across = _meet(rows, window.rows), _meet(cols, window.cols)
            found[_shift(down, rows.start), _shift(across, cols.start)] = score_pixels(
                self._compute(window), weights, _shift(down, window.top), _shift(across, window.left)
            )
        return found

    def _list_windows(self, rows: slice, cols: slice) -> Iterator[_Window]:
        """Yield the windows that overlap a part of the image."""
        cuts = [_cut(size) for size in self.shape]
        for down in (part for part in cuts[0] if _meet(part, rows).start < _meet(part, rows).stop):
            for across in (part for part in cuts[1] if _meet(part, cols).start < _meet(part, cols).stop):
                (top, bottom), (left, right) = (
                    (max(part.start - _HALO, 0), min(part.stop + _HALO, size))
                    for part, size in zip((down, across), self.shape, strict=True)
                )
                yield _Window(down, across, top, left, bottom, right)

    def _compute(self, window: _Window) -> Pyramid:
        part = self._image[window.top : window.bottom, window.left : window.right]
        padded = np.pad(part, ((0, -part.shape[0] % COARSEST), (0, -part.shape[1] % COARSEST), (0, 0)), mode="edge")
        return _KEPT.compute(padded, self._kind, keeps=self._keeps)


class _Kept:
    """The features of the last windows, by what is in their pixels."""

    def __init__(self) -> None:
        self._found: OrderedDict[tuple[str, tuple[int, ...], bytes], Pyramid] = OrderedDict()
        self._lock = threading.Lock()

    def compute(self, pixels: np.ndarray, kind: str, *, keeps: bool = True) -> Pyramid:
        """Return the features of an image whose sides `COARSEST` divides."""
        checkpoint()
        key = (kind, pixels.shape, hashlib.blake2b(pixels.tobytes(), digest_size=16).digest())
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
                return self._found[key]
        found = _compute_features(pixels, kind)
        if not keeps:
            return found
        with self._lock:
            self._found[key] = found
            # The last ones stay, however large they are: the next step needs them.
            while len(self._found) > 1 and sum(map(_count_bytes, self._found.values())) > _MAX_KEPT_BYTES:
                self._found.popitem(last=False)
        return found


_KEPT = _Kept()


def _compute_features(pixels: np.ndarray, kind: str) -> Pyramid:
    if kind == COLOR:
        return measure_texture(pixels)
    found = compute_activations(np.ascontiguousarray(pixels[..., :_N_SEEN]))
    if pixels.shape[2] == _N_SEEN:
        return found
    further = measure_texture(pixels[..., _N_SEEN:])
    return {
        stride: np.concatenate([values, further[stride]], axis=2) if stride in _FURTHER_STRIDES else values
        for stride, values in found.items()
    }


def _count_bytes(pyramid: Pyramid) -> int:
    return sum(values.nbytes for values in pyramid.values())


def _cut(size: int) -> list[slice]:
    """Cut a side into parts of equal size that begin at multiples of `COARSEST`."""
    n_parts = -(-size // _MOST_SIDE)
    step = -(-size // (n_parts * COARSEST)) * COARSEST
    return [slice(start, min(start + step, size)) for start in range(0, size, step)]


def _find_within(window: _Window, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    down, across = window.rows, window.cols
    return np.flatnonzero((rows >= down.start) & (rows < down.stop) & (cols >= across.start) & (cols < across.stop))


def _meet(one: slice, other: slice) -> slice:
    return slice(max(one.start, other.start), min(one.stop, other.stop))


def _shift(part: slice, by: int) -> slice:
    return slice(part.start - by, part.stop - by)
