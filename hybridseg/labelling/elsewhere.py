"""What the scribbles outside the window in view teach its live result: in the end they decide there, too."""

from __future__ import annotations

import math
from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice
from weakref import WeakKeyDictionary

import numpy as np

from hybridseg.io.annotations.doodles import Stroke
from hybridseg.io.annotations.strokes import find_bounds
from hybridseg.labelling.entries import OpenImage
from hybridseg.labelling.spreading import reduce_seeds
from hybridseg.learning.classify import Samples, sample_seeds
from hybridseg.learning.features import NONE
from hybridseg.resample import reduce_shape

Part = tuple[slice, slice]
# Side of a cell of the image, and what is seen around it, at the size at which the CRF works.
_SIDE, _HALO = 384, 64
# Cells that are looked at for one result, each a quarter of a second; and those that are remembered, 1.5 MB each.
_MOST_NEW, _MOST_KEPT = 3, 40


@dataclass(frozen=True)
class _Cell:
    """A part of an image that strokes touch."""

    part: Part
    strokes: tuple[Stroke, ...]

    @property
    def ids(self) -> set[int]:
        return {stroke.class_id for stroke in self.strokes if stroke.tool != "erase"}


class Elsewhere:
    """Samples of the scribbles on open images, cell by cell, as long as these stay open and the scribbles the same."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[OpenImage, OrderedDict[object, tuple[_Cell, Samples]]] = WeakKeyDictionary()

    def sample(
        self, opened: OpenImage, window: Part, *, kind: str, scale: float, usual_scale: float
    ) -> tuple[list[Samples], bool]:
        """Return what the scribbles outside a window are like, as far as that is known or can be seen at once.

        Cells whose classes nothing else shows are looked at first, then the nearest ones.

        Parameters
        ----------
        kind : str
            Of the features; with none nothing is learned.
        scale, usual_scale : float
            Of the window, and of the image as a whole, see `SpreadOptions`.

        Returns
        -------
        samples : list of Samples
        is_all : bool
            Whether nothing is left to look at for the next time.
        """
        if kind == NONE:
            return [], True
        # In steps, so that not every zoom begins anew.
        scale = usual_scale * 2 ** (round(2 * math.log2(scale / usual_scale)) / 2)
        with opened.lock:
            strokes = [stroke for stroke in opened.drawing.log.seen if stroke.layer == "scribbles"]
        known = self._known.setdefault(opened, OrderedDict())
        found, unknown = [], []
        cells = _list_cells(strokes, window, opened.windows.shape, scale)
        seeds = opened.drawing.seeds["scribbles"]
        for cell in islice((cell for cell in cells if seeds[cell.part].any()), _MOST_KEPT):
            key = (kind, scale, cell.part[0].start, cell.part[1].start)
            if key in known and known[key][0] == cell:
                known.move_to_end(key)
                found.append(known[key][1])
            else:
                unknown.append((key, cell))
        for _ in range(min(_MOST_NEW, len(unknown))):
            shown = {class_id for samples in found for class_id in samples.ids}
            # Of those that are alike the first one, which is the nearest.
            key, cell = unknown.pop(next((i for i, (_, cell) in enumerate(unknown) if not cell.ids <= shown), 0))
            known[key] = cell, _look_at(opened, cell.part, kind, scale)
            found.append(known[key][1])
        while len(known) > _MOST_KEPT:
            known.popitem(last=False)
        outside = [_leave_out(samples, window) for samples in found]
        return [samples for samples in outside if len(samples.ids)], not unknown


def _list_cells(strokes: Iterable[Stroke], window: Part, shape: tuple[int, int], scale: float) -> list[_Cell]:
    """Return the cells of an image that strokes touch and that do not lie in the window, the nearest first."""
    step, touched = max(round(_SIDE / scale), 1), defaultdict(list)
    for stroke in strokes:
        rows, cols = find_bounds(stroke, shape)
        for top in range(rows.start - rows.start % step, rows.stop, step):
            for left in range(cols.start - cols.start % step, cols.stop, step):
                touched[top, left].append(stroke)
    cells = []
    for (top, left), own in touched.items():
        part = slice(top, min(top + step, shape[0])), slice(left, min(left + step, shape[1]))
        if not all(_contains(whole, one) for whole, one in zip(window, part, strict=True)):
            cells.append(_Cell(part, tuple(own)))
    return sorted(cells, key=lambda cell: math.dist(_find_middle(cell.part), _find_middle(window)))


def _find_middle(part: Part) -> tuple[float, float]:
    rows, cols = part
    return (rows.start + rows.stop) / 2, (cols.start + cols.stop) / 2


def _contains(whole: slice, part: slice) -> bool:
    return whole.start <= part.start and part.stop <= whole.stop


def _look_at(opened: OpenImage, part: Part, kind: str, scale: float) -> Samples:
    """Return samples of the scribbles in a part of an image, by their place in the image."""
    halo, shape = round(_HALO / scale), opened.windows.shape
    rows, cols = (
        slice(max(one.start - halo, 0), min(one.stop + halo, size)) for one, size in zip(part, shape, strict=True)
    )
    seeds = np.zeros((rows.stop - rows.start, cols.stop - cols.start), np.uint8)
    inner = tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(part, (rows, cols), strict=True))
    with opened.lock:
        seeds[inner] = opened.drawing.seeds["scribbles"][part]
    image = opened.windows.read_all(rows, cols, reduce_shape((seeds.shape[0], seeds.shape[1]), scale))
    found = sample_seeds(image, reduce_seeds(seeds, (image.shape[0], image.shape[1])), kind)
    down, across = (
        outer.start + (places + 0.5) * size / n - 0.5
        for outer, places, size, n in zip(
            (rows, cols), (found.rows, found.cols), seeds.shape, image.shape[:2], strict=True
        )
    )
    return replace(found, rows=down, cols=across)


def _leave_out(samples: Samples, window: Part) -> Samples:
    rows, cols = window
    inside = (samples.rows >= rows.start) & (samples.rows < rows.stop)
    inside &= (samples.cols >= cols.start) & (samples.cols < cols.stop)
    return samples.keep(~inside) if inside.any() else samples
