"""What a model suggests for an image, by the classes of a session: in cells, so that any image takes the same memory.

How a model is applied is not known here: it is given as a function.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.classes import ClassTable, match_names
from hybridseg.progress import Progress, no_progress

Predict = Callable[[Path, slice, slice, tuple[int, int]], np.ndarray]
"""``predict(path, rows, cols, shape)`` returns the probabilities in a part of an image, (*shape, classes) float32."""

# Pixels of the image along the side of a cell; and what is kept of all cells, as float16.
_CELL_SIDE = 768
_MAX_KEPT_BYTES = 128_000_000
# Of a class that the model lacks, or holds for impossible.
_LEAST = 1e-3


@dataclass(frozen=True, eq=False)
class Suggester:
    """A model, or several that vote.

    Parameters
    ----------
    table : ClassTable
        The classes of the model, in the order of its probabilities.
    predict : callable
        See `Predict`.
    describe : callable
        Returns the record of how an image of some rows and columns is seen: hashes of the models, and settings.
    """

    table: ClassTable
    predict: Predict
    describe: Callable[[tuple[int, int]], dict[str, Any]]
    kept: _Kept = field(default_factory=lambda: _Kept(), repr=False)

    def match(self, table: ClassTable) -> tuple[str, ...]:
        """Return the classes of a session that the model lacks.

        Raises
        ------
        BadInput
            When they have no name in common; the message shows both lists.
        """
        return match_names(table.names, self.table.names, first_is="the list in use", second_is="the model")[0]

    def look(self, path: Path, shape: tuple[int, int], size: tuple[int, int], table: ClassTable) -> Suggestion:
        """Return what is suggested for an image.

        Parameters
        ----------
        shape : (int, int)
            Rows and columns of the image.
        size : (int, int)
            Rows and columns at which the CRF works on all of it.
        table : ClassTable
            The classes of the session.
        """
        self.match(table)
        return Suggestion(self, path, shape, size, table, np.arange(size[0]), np.arange(size[1]))


@dataclass(frozen=True, eq=False)
class Suggestion:
    """Probabilities of the classes of a session, computed where they are indexed by two slices.

    Parameters
    ----------
    rows, cols : numpy.ndarray
        Which rows and columns of the image, at the size of the CRF, these are the probabilities of.
    """

    suggester: Suggester
    path: Path
    image_shape: tuple[int, int]
    size: tuple[int, int]
    table: ClassTable
    rows: np.ndarray
    cols: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns and classes."""
        return len(self.rows), len(self.cols), len(self.table)

    def cut(self, rows: slice, cols: slice, shape: tuple[int, int]) -> Suggestion:
        """Return the suggestion for a part of the image, in its pixels, at a shape."""
        places = (
            np.minimum(((part.start + (np.arange(n) + 0.5) * ((part.stop - part.start) / n)) * new / old), new - 1)
            for part, n, new, old in zip((rows, cols), shape, self.size, self.image_shape, strict=True)
        )
        down, across = (found.astype(int) for found in places)
        return Suggestion(self.suggester, self.path, self.image_shape, self.size, self.table, down, across)

    def __getitem__(self, part: tuple[slice, slice]) -> np.ndarray:
        """Return (rows, cols, classes) float32 that sum to 1."""
        rows, cols = self.rows[part[0]], self.cols[part[1]]
        own = np.empty((len(rows), len(cols), len(self.suggester.table)), np.float32)
        for down, across in self._list_cells(rows, cols):
            chosen = [(some >= cell.start) & (some < cell.stop) for some, cell in ((rows, down), (cols, across))]
            cell = self._ask(down, across)
            own[np.ix_(*chosen)] = cell[np.ix_(rows[chosen[0]] - down.start, cols[chosen[1]] - across.start)]
        return self._rename(own)

    @property
    def known(self) -> np.ndarray:
        """The classes of the session that the model knows, (classes,) bool."""
        return np.isin(self.table.keys, self.suggester.table.keys)

    def sample(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Return the probabilities of some pixels, (n, classes) float32."""
        rows, cols = self.rows[rows], self.cols[cols]
        own = np.empty((len(rows), len(self.suggester.table)), np.float32)
        for down, across in self._list_cells(rows, cols):
            inside = (rows >= down.start) & (rows < down.stop) & (cols >= across.start) & (cols < across.stop)
            if inside.any():
                own[inside] = self._ask(down, across)[rows[inside] - down.start, cols[inside] - across.start]
        return self._rename(own)

    def _rename(self, own: np.ndarray) -> np.ndarray:
        """Return probabilities of the classes of the model as those of the classes of the session."""
        probs = np.full((*own.shape[:-1], len(self.table)), _LEAST, np.float32)
        for k, key in enumerate(self.suggester.table.keys):
            if key in self.table.keys:
                probs[..., self.table.keys.index(key)] += own[..., k]
        probs /= probs.sum(axis=-1, keepdims=True)
        return probs

    def prepare(self, progress: Progress = no_progress) -> None:
        """Ask the model about all of it, so that a person sees how far it is."""
        for down, across in progress(list(self._list_cells(self.rows, self.cols)), label="asking the model"):
            self._ask(down, across)

    def _list_cells(self, rows: np.ndarray, cols: np.ndarray) -> Iterator[tuple[slice, slice]]:
        """Yield the cells, of the image at the size of the CRF, in which some of its rows and columns lie."""
        cuts = []
        for places, new, old in zip((rows, cols), self.size, self.image_shape, strict=True):
            side = max(round(_CELL_SIDE * new / old), 16)
            cuts.append([slice(int(k) * side, min(int(k + 1) * side, new)) for k in np.unique(places // side)])
        return ((down, across) for down in cuts[0] for across in cuts[1])

    def _ask(self, down: slice, across: slice) -> np.ndarray:
        """Return what the model says of a cell, (rows, cols, classes of the model)."""
        facts = self.path.stat()
        key = self.path, facts.st_mtime_ns, facts.st_size, self.size, down.start, across.start

        def compute() -> np.ndarray:
            own = [
                slice(part.start * old // new, max(-(-part.stop * old // new), part.start * old // new + 1))
                for part, new, old in zip((down, across), self.size, self.image_shape, strict=True)
            ]
            shape = down.stop - down.start, across.stop - across.start
            return self.suggester.predict(self.path, own[0], own[1], shape).astype(np.float16)

        return self.suggester.kept.find(key, compute)


class _Kept:
    """The cells that were asked for last."""

    def __init__(self) -> None:
        self._found: OrderedDict[tuple[Any, ...], np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, key: tuple[Any, ...], compute: Callable[[], np.ndarray]) -> np.ndarray:
        """Return what is kept under a key, or compute it."""
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
                return self._found[key]
        found = compute()
        with self._lock:
            self._found[key] = found
            while len(self._found) > 1 and sum(cell.nbytes for cell in self._found.values()) > _MAX_KEPT_BYTES:
                self._found.popitem(last=False)
        return found
