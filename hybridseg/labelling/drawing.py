"""The strokes on one image, in order, with undo and redo; and the seeds that they make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import takewhile

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

    def add(self, *strokes: Stroke) -> Bounds:
        """Draw more strokes, all or none, and forget what could be redone. Return the part that changed."""
        # Raises for a class that is not in the list, before anything is drawn.
        log = replace(self._log, strokes=(*self._log.strokes, *strokes), undone=(), done=False)
        try:
            for layer in LAYERS:
                self._draw(layer, *(stroke for stroke in strokes if stroke.layer == layer))
        except BaseException:
            self._redraw_all(strokes)
            raise
        self._log = log
        if any(stroke.replaces is not None for stroke in strokes):
            return self._redraw_all(strokes)[1]
        bounds = _span([find_bounds(stroke, log.shape) for stroke in strokes])
        for layer in {stroke.layer for stroke in strokes}:
            self._clear_void(layer, bounds)
        return bounds

    def hides_scribbles(self, bounds: Bounds) -> bool:
        """Return whether part of the scribbles lies under painted pixels of the result, where it decides nothing."""
        return bool(((self.seeds["scribbles"][bounds] > 0) & (self.seeds["result"][bounds] > 0)).any())

    def undo(self) -> tuple[set[str], Bounds] | None:
        """Undo the last stroke, or an import as a whole.

        Returns
        -------
        tuple or None
            The layers and the part that changed; None when there is no stroke.
        """
        strokes = self._log.strokes
        if not strokes:
            return None
        n_kept = len(strokes) - _count_last(strokes)
        self._log = replace(
            self._log, strokes=strokes[:n_kept], undone=(*self._log.undone, *reversed(strokes[n_kept:])), done=False
        )
        return self._redraw_all(strokes[n_kept:])

    def redo(self) -> tuple[set[str], Bounds] | None:
        """Redo what was undone last. Return what `undo` returns; None when nothing was undone."""
        undone = self._log.undone
        if not undone:
            return None
        n_kept = len(undone) - _count_last(undone)
        again = undone[n_kept:][::-1]
        bounds = self.add(*again)
        self._log = replace(self._log, undone=undone[:n_kept])
        return {stroke.layer for stroke in again}, bounds

    def mark(self, *, done: bool | None = None, seconds: float | None = None, key: str | None = None) -> None:
        """Record that the result was accepted, how long the work has taken, or the key of a change."""
        done = self._log.done if done is None else done
        seconds = self._log.seconds if seconds is None else seconds
        log = self._log if key is None else self._log.with_key(key)
        self._log = replace(log, done=done, seconds=seconds)

    def restore(self, log: StrokeLog) -> None:
        """Return to the strokes before the last change, which could not be saved."""
        before, now = log.strokes, self._log.strokes
        # A change adds to the end of the strokes, or removes from it.
        n_kept = min(len(before), len(now))
        self._log = log
        self._redraw_all(before[n_kept:] + now[n_kept:])

    def use_classes(self, table: ClassTable) -> None:
        """Switch to another class list, which has all classes of the strokes."""
        lut = remap(self._log.table, table, drop=True, seeds=True)
        self._log = self._log.with_table(table)
        for layer in LAYERS:
            self.seeds[layer] = lut[self.seeds[layer]]

    def _redraw_all(self, strokes: Sequence[Stroke]) -> tuple[set[str], Bounds]:
        """Draw anew what lies where strokes were or are. Return their layers and the part that they cover."""
        layers = {stroke.layer for stroke in strokes}
        # Where a polygon has another shape, its earlier ones are to be seen again, or no longer.
        reshaped = {stroke.replaces for stroke in strokes} - {None}
        strokes = [
            *strokes,
            *(s for number, s in enumerate(self._log.strokes) if number in reshaped or s.replaces in reshaped),
        ]
        parts = {layer: [find_bounds(s, self._log.shape) for s in strokes if s.layer == layer] for layer in layers}
        for layer in layers:
            self._redraw(layer, _span(parts[layer]))
        return layers, _span([bounds for some in parts.values() for bounds in some])

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
        return (stroke for stroke in self._log.seen if stroke.layer == layer)

    def _clear_void(self, layer: str, bounds: Bounds) -> None:
        if self._valid is not None:
            self.seeds[layer][bounds][~self._valid[bounds]] = 0


def _count_last(strokes: Sequence[Stroke]) -> int:
    """Return how many of the last strokes are one step: those of an import, or a single one."""
    group = strokes[-1].group
    return sum(1 for _ in takewhile(lambda stroke: stroke.group == group, reversed(strokes))) if group else 1


def _span(parts: Sequence[Bounds]) -> Bounds:
    """Return the smallest part that holds all of these."""
    if not parts:
        return slice(0, 0), slice(0, 0)
    rows, cols = zip(*parts, strict=True)
    return (
        slice(min(part.start for part in rows), max(part.stop for part in rows)),
        slice(min(part.start for part in cols), max(part.stop for part in cols)),
    )


def _overlap(first: Bounds, second: Bounds) -> bool:
    return all(a.start < b.stop and b.start < a.stop for a, b in zip(first, second, strict=True))
