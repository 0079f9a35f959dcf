"""What a person drew on one image: strokes in order, undo and redo, and the maps that the strokes make."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hybridseg.classes import ClassTable
from hybridseg.io.annotations.doodles import LAYERS, Doodles, Stroke
from hybridseg.labelling.strokes import draw_stroke, find_bounds

Bounds = tuple[slice, slice]


class Drawing:
    """The strokes of an image and their maps, (rows, cols) uint8: 0 = nothing there, class k is k + 1.

    Maps are kept beside the strokes, so that a stroke or an undo only touches the part that it changes. Memory that
    nothing was drawn on is never written, and so not taken.

    Parameters
    ----------
    doodles : Doodles
        What was drawn before.
    valid : numpy.ndarray or None
        (rows, cols) bool: where the image holds a picture. Elsewhere strokes leave nothing.
    """

    def __init__(self, doodles: Doodles, valid: np.ndarray | None = None) -> None:
        """Draw what was drawn before."""
        self._doodles, self._valid = doodles, valid
        self.maps = {layer: np.zeros(doodles.shape, np.uint8) for layer in LAYERS}
        for stroke in doodles.strokes:
            draw_stroke(self.maps[stroke.layer], stroke)
        for layer in LAYERS:
            self._clear_void(layer, (slice(None), slice(None)))

    @property
    def doodles(self) -> Doodles:
        """What is kept of it on disk."""
        return self._doodles

    def add(self, stroke: Stroke) -> Bounds:
        """Draw one more stroke; what was undone before can no longer be redone. Gives the part that changed."""
        # This refuses a stroke of no class, before anything is drawn.
        doodles = replace(self._doodles, strokes=(*self._doodles.strokes, stroke), undone=(), done=False)
        draw_stroke(self.maps[stroke.layer], stroke)
        self._doodles = doodles
        bounds = find_bounds(stroke, self._doodles.shape)
        self._clear_void(stroke.layer, bounds)
        return bounds

    def undo(self) -> tuple[set[str], Bounds] | None:
        """Take the last stroke back. Gives the layer and the part that changed, or None when there is none."""
        if not self._doodles.strokes:
            return None
        *kept, last = self._doodles.strokes
        self._doodles = replace(self._doodles, strokes=tuple(kept), undone=(*self._doodles.undone, last), done=False)
        bounds = find_bounds(last, self._doodles.shape)
        self._draw_again(last.layer, bounds)
        return {last.layer}, bounds

    def redo(self) -> tuple[set[str], Bounds] | None:
        """Draw again what was taken back last."""
        if not self._doodles.undone:
            return None
        *undone, stroke = self._doodles.undone
        bounds = self.add(stroke)
        self._doodles = replace(self._doodles, undone=tuple(undone))
        return {stroke.layer}, bounds

    def mark(self, *, done: bool | None = None, seconds: float | None = None) -> None:
        """Note that the result was accepted, or how long the work has taken."""
        kept = self._doodles
        self._doodles = replace(
            kept, done=kept.done if done is None else done, seconds=kept.seconds if seconds is None else seconds
        )

    def restore(self, doodles: Doodles) -> None:
        """Go back to what it was before the last change, when that could not be saved."""
        before, now = doodles.strokes, self._doodles.strokes
        # A change is at the end of one of the two.
        n_kept = min(len(before), len(now))
        self._doodles = doodles
        for stroke in before[n_kept:] + now[n_kept:]:
            self._draw_again(stroke.layer, find_bounds(stroke, doodles.shape))

    def rename(self, table: ClassTable) -> None:
        """Go over to another class table, which has all classes that were drawn with."""
        lut = find_new_values(self._doodles.table, table)
        self._doodles = self._doodles.with_table(table)
        for layer in LAYERS:
            self.maps[layer] = lut[self.maps[layer]]

    def _draw_again(self, layer: str, bounds: Bounds) -> None:
        fresh = np.zeros_like(self.maps[layer][bounds])
        origin = (bounds[0].start, bounds[1].start)
        for stroke in self._doodles.strokes:
            if stroke.layer == layer and _meet(find_bounds(stroke, self._doodles.shape), bounds):
                draw_stroke(fresh, stroke, origin=origin)
        self.maps[layer][bounds] = fresh
        self._clear_void(layer, bounds)

    def _clear_void(self, layer: str, bounds: Bounds) -> None:
        if self._valid is not None:
            self.maps[layer][bounds][~self._valid[bounds]] = 0


def _meet(first: Bounds, second: Bounds) -> bool:
    return all(a.start < b.stop and b.start < a.stop for a, b in zip(first, second, strict=True))


def find_new_values(old: ClassTable, new: ClassTable) -> np.ndarray:
    """Give the value in a map (class k is k + 1) of every value before, (256,) uint8; 0 for what is gone."""
    places = {key: i + 1 for i, key in enumerate(new.keys)}
    lut = np.zeros(256, np.uint8)
    lut[1 : len(old) + 1] = [places.get(key, 0) for key in old.keys]
    return lut
