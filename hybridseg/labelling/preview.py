"""The dense result in a window of an image, while a person draws: the newest request wins."""

from __future__ import annotations

import math
import threading
from dataclasses import replace

import numpy as np

from hybridseg.errors import BadInput
from hybridseg.io.labels.labelpng import encode_overlay
from hybridseg.labelling.spread import SpreadOptions, reduce_seeds, spread_seeds
from hybridseg.labelling.work import OpenImage
from hybridseg.resample import reduce_shape, resize_nearest

# So many pixels take the CRF about a second on two cores (docs/benchmarks.md). Of a wider window a smaller image is
# taken.
_MAX_CRF_PIXELS = 400_000


class Previewer:
    """Computes one preview at a time, and drops those that were overtaken."""

    def __init__(self, options: SpreadOptions) -> None:
        """Keep how scribbles are spread."""
        self._options = options
        self._newest = 0
        self._counting, self._computing = threading.Lock(), threading.Lock()

    def preview(self, opened: OpenImage, window: tuple[int, int, int, int]) -> bytes | None:
        """Spread the scribbles in a window of an image.

        Parameters
        ----------
        opened : OpenImage
        window : tuple of int
            First row and column, rows, columns.

        Returns
        -------
        bytes or None
            A PNG of the window in a reduced size. None when a newer request came in between, or nothing is scribbled
            there.

        Raises
        ------
        BadInput
            When the window lies outside of the image.
        """
        with self._counting:
            self._newest += 1
            mine = self._newest
        with self._computing:
            if mine != self._newest:
                return None
            picture = _draw_preview(opened, _clip(opened, window), self._options)
        return picture if mine == self._newest else None


def _clip(opened: OpenImage, window: tuple[int, int, int, int]) -> tuple[slice, slice]:
    ends = zip(window[:2], window[2:], opened.windows.shape, strict=True)
    rows, cols = (slice(max(first, 0), min(first + size, whole)) for first, size, whole in ends)
    if rows.start >= rows.stop or cols.start >= cols.stop:
        raise BadInput("that window lies outside of the image; move back to it")
    return rows, cols


def _draw_preview(opened: OpenImage, inner: tuple[slice, slice], options: SpreadOptions) -> bytes | None:
    # Scribbles near the window speak in it too, as far as the CRF reaches.
    usual_scale = options.scale_for(opened.windows.shape)
    margin = round(options.crf.reach / usual_scale)
    outer = _widen(inner[0], margin, opened.windows.shape[0]), _widen(inner[1], margin, opened.windows.shape[1])
    with opened.lock:
        seeds = opened.drawing.maps["scribbles"][outer].copy()
        painted = opened.drawing.maps["result"][inner].copy()
        table = opened.drawing.doodles.table
    if not seeds.any():
        return None
    scale = min(usual_scale, math.sqrt(_MAX_CRF_PIXELS / seeds.size))
    image = opened.windows.read(*outer, reduce_shape((seeds.shape[0], seeds.shape[1]), scale))
    # Distances stay what they are on the image itself.
    theta = options.crf.theta * scale / usual_scale
    small_seeds = reduce_seeds(seeds, (image.shape[0], image.shape[1]))
    labels = spread_seeds(image, small_seeds, n_classes=len(table), options=replace(options.crf, theta=max(theta, 1.0)))
    shape = reduce_shape((painted.shape[0], painted.shape[1]), scale)
    rows, cols = (
        _find_samples(part, whole, n_new, n_old)
        for part, whole, n_new, n_old in zip(inner, outer, shape, labels.shape, strict=True)
    )
    values = labels[np.ix_(rows, cols)] + np.uint8(1)
    painted = resize_nearest(painted, shape)
    values = np.where(painted > 0, painted, values)
    if (valid := opened.windows.valid()) is not None:
        values[~resize_nearest(valid[inner], shape)] = 0
    return encode_overlay(values, table)


def _widen(part: slice, margin: int, size: int) -> slice:
    return slice(max(part.start - margin, 0), min(part.stop + margin, size))


def _find_samples(inner: slice, outer: slice, n_new: int, n_old: int) -> np.ndarray:
    """Say in which of the outer window's pixels each pixel of the inner one's picture has its centre."""
    centres = inner.start - outer.start + (np.arange(n_new) + 0.5) * ((inner.stop - inner.start) / n_new)
    return np.minimum((centres * (n_old / (outer.stop - outer.start))).astype(int), n_old - 1)
