"""The strokes on one image, in order, with undo and redo; and the seeds that they make."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from hybridseg.classes import ClassTable, remap
from hybridseg.io.annotations.canvas import Canvas
from hybridseg.io.annotations.doodles import LAYERS, Stroke, StrokeLog
from hybridseg.io.annotations.strokes import find_bounds, put_stroke

Bounds = tuple[slice, slice]


class Drawing:
    """The strokes of an image, and the seeds of each layer that they make.

    Seeds are kept up to date beside the strokes, so that a stroke or an undo only touches the part that it changes.
    Memory where nothing is drawn is never written, and so not taken.

    Parameters
    ----------
    log : StrokeLog
        The strokes so far.
    valid : numpy.ndarray or None
        (rows, cols) bool: where the image holds a picture. Elsewhere strokes leave nothing.

    Attributes
    ----------
    seeds : dict
        (rows, cols) uint8 by layer: 0 = unlabelled, class k is k + 1.
    """

    def __init__(self, log: StrokeLog, valid: np.ndarray | None = None) -> None:
        self._log, self._valid = log, valid
        self.seeds = {layer: np.zeros(log.shape, np.uint8) for layer in LAYERS}
        self._n_runs = dict.fromkeys(LAYERS, 0)
        for layer in LAYERS:
            self._draw(layer, *self._list(layer))
        for layer in LAYERS:
            self._clear_void(layer, (slice(None), slice(None)))

    @property
    def log(self) -> StrokeLog:
        """The strokes, as they are kept on disk."""
        return self._log

    def add(self, stroke: Stroke) -> Bounds:
        """Draw one more stroke and forget what could be redone. Return the part that changed."""
        # Raises for a class that is not in the list, before anything is drawn.
        log = replace(self._log, strokes=(*self._log.strokes, stroke), undone=(), done=False)
        self._draw(stroke.layer, stroke)
        self._log = log
        bounds = find_bounds(stroke, log.shape)
        self._clear_void(stroke.layer, bounds)
        return bounds

    def undo(self) -> tuple[set[str], Bounds] | None:
        """Undo the last stroke. Return its layer and the part that changed; None when there is no stroke."""
        if not self._log.strokes:
            return None
        *kept, last = self._log.strokes
        self._log = replace(self._log, strokes=tuple(kept), undone=(*self._log.undone, last), done=False)
        bounds = find_bounds(last, self._log.shape)
        self._redraw(last.layer, bounds)
        return {last.layer}, bounds

    def redo(self) -> tuple[set[str], Bounds] | None:
        """Redo the stroke that was undone last. Return what `undo` returns; None when nothing was undone."""
        if not self._log.undone:
            return None
        *undone, stroke = self._log.undone
        bounds = self.add(stroke)
        self._log = replace(self._log, undone=tuple(undone))
        return {stroke.layer}, bounds

    def mark(self, *, done: bool | None = None, seconds: float | None = None) -> None:
        """Record that the result was accepted, or how long the work has taken."""
        done = self._log.done if done is None else done
        seconds = self._log.seconds if seconds is None else seconds
        self._log = replace(self._log, done=done, seconds=seconds)

    def restore(self, log: StrokeLog) -> None:
        """Return to the strokes before the last change, which could not be saved."""
        before, now = log.strokes, self._log.strokes
        # A change adds to the end of the strokes, or removes from it.
        n_kept = min(len(before), len(now))
        self._log = log
        for stroke in before[n_kept:] + now[n_kept:]:
            self._redraw(stroke.layer, find_bounds(stroke, log.shape))

    def use_classes(self, table: ClassTable) -> None:
        """Switch to another class list, which has all classes of the strokes."""
        lut = remap(self._log.table, table, drop=True, seeds=True)
        self._log = self._log.with_table(table)
        for layer in LAYERS:
            self.seeds[layer] = lut[self.seeds[layer]]

    def _redraw(self, layer: str, bounds: Bounds) -> None:
        fresh = np.zeros_like(self.seeds[layer][bounds])
        with Canvas(fresh, (bounds[0].start, bounds[1].start)) as canvas:
            for stroke in self._list(layer):
                if _overlap(find_bounds(stroke, self._log.shape), bounds):
                    put_stroke(canvas, stroke)
        self.seeds[layer][bounds] = fresh
        self._clear_void(layer, bounds)

    def _draw(self, layer: str, *strokes: Stroke) -> None:
        """Draw strokes; more than could be drawn again when the image is opened are refused at once."""
        with Canvas(self.seeds[layer], n_runs=self._n_runs[layer]) as canvas:
            for stroke in strokes:
                put_stroke(canvas, stroke)
        self._n_runs[layer] = canvas.n_runs

    def _list(self, layer: str) -> Iterator[Stroke]:
        return (stroke for stroke in self._log.strokes if stroke.layer == layer)

    def _clear_void(self, layer: str, bounds: Bounds) -> None:
        if self._valid is not None:
            self.seeds[layer][bounds][~self._valid[bounds]] = 0


def _overlap(first: Bounds, second: Bounds) -> bool:
    return all(a.start < b.stop and b.start < a.stop for a, b in zip(first, second, strict=True))
