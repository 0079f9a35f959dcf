"""The images of the list: open or closed, with their strokes, the labels spread from them, and the job that runs."""

from __future__ import annotations

import hashlib
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from hybridseg.classes import VOID, ClassTable, labels_to_seeds, remap
from hybridseg.errors import BadInput, Conflict
from hybridseg.io.annotations.doodles import Stroke
from hybridseg.io.jsonfiles import parse_json_object
from hybridseg.io.windows import ImageWindows, open_windows
from hybridseg.labelling.drawing import Drawing
from hybridseg.progress import Item

# A longer pause does not count as work on an image.
_MAX_PAUSE_SECONDS = 60.0


@dataclass
class Job:
    """Long work on an image: which step it is at, and whether it should stop."""

    kind: str
    label: str = ""
    done: int = 0
    total: int = 1
    cancelled: bool = False
    droppable: bool = False

    def begin(self, label: str, done: int, total: int, *, droppable: bool = False) -> None:
        """Report the step that begins; raise `JobCancelled` when the job was cancelled.

        A step that is `droppable` changes nothing: who cancels it need not wait for its end.
        """
        self.label, self.done, self.total, self.droppable = label, done, total, droppable
        self.check()

    def check(self) -> None:
        """Raise `JobCancelled` when the job was cancelled."""
        if self.cancelled:
            raise JobCancelled

    def watch(self, items: Sequence[Item], *, label: str) -> Iterator[Item]:
        """Yield the parts of a step (a `Progress` hook); raise `JobCancelled` between them when cancelled."""
        for item in items:
            self.begin(self.label, self.done, self.total, droppable=self.droppable)
            yield item


class JobCancelled(Exception):
    """The person no longer wants the result."""


@dataclass(frozen=True, eq=False)
class Aside:
    """An accepted result that was put aside by a change: where its files are, and what it was made of."""

    moved: dict[Path, Path]
    strokes: tuple[Stroke, ...]
    labels: np.ndarray | None


@dataclass(eq=False)
class OpenImage:
    """An image that is open.

    Parameters
    ----------
    labels : numpy.ndarray or None
        (rows, cols) uint8 class ids, VOID outside the picture: the scribbles spread over the image, before anything is
        painted over them.
    labels_by : str or None
        The record of how the labels were made; None: not known.
    n_changes : int
        Counts the changes of the scribbles.
    labels_after : int
        The count from which `labels` were made; -1: not known.
    on_disk : tuple or None
        State of the strokes file when it was last read or written.
    aside : Aside or None
        The result that the last changes put aside: it comes back when they are undone.
    shown, shown_bands
        The image in other bands than the usual ones, once someone looks at those.
    lock : threading.RLock
        Held for every change.
    """

    windows: ImageWindows
    drawing: Drawing
    labels: np.ndarray | None = None
    labels_by: str | None = None
    n_changes: int = 0
    labels_after: int = 0
    on_disk: tuple[int, ...] | None = None
    last_active: float = 0.0
    aside: Aside | None = None
    shown: ImageWindows | None = None
    shown_bands: tuple[int, int, int] | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def table(self) -> ClassTable:
        """The classes of its strokes and labels."""
        return self.drawing.log.table

    @property
    def used_ids(self) -> set[int]:
        """The classes that its strokes or labels have."""
        found = set(self.drawing.log.used_ids)
        return found if self.labels is None else found | set(np.unique(self.labels[self.labels != VOID]).tolist())

    @property
    def stale(self) -> bool:
        """Whether the scribbles changed since they were spread."""
        return self.labels is None or self.labels_after != self.n_changes

    @property
    def is_suggested(self) -> bool:
        """Whether a model suggested the labels, as far as their record says."""
        return '"suggested_by"' in (self.labels_by or "")

    @property
    def taught_by(self) -> list[str]:
        """The other images that taught the labels, as far as their record says."""
        try:
            found = parse_json_object(self.labels_by or "{}").get("taught_by")
        except BadInput:
            return []
        return [str(name) for name in found] if isinstance(found, list) and self.labels is not None else []

    def show(self, bands: tuple[int, int, int] | None) -> ImageWindows:
        """Return the image as it is looked at: in these bands, the usual ones for None."""
        if bands is None:
            return self.windows
        with self.lock:
            if self.shown is None or self.shown_bands != bands:
                self.shown, self.shown_bands = open_windows(self.windows.path, bands=bands), bands
            return self.shown

    def note_activity(self) -> None:
        """Add the time since the last change to the time of work, unless it was a pause."""
        now = time.monotonic()
        if self.last_active:
            spent = min(now - self.last_active, _MAX_PAUSE_SECONDS)
            self.drawing.mark(seconds=self.drawing.log.seconds + spent)
        self.last_active = now

    def view(self, layer: str, rows: slice, cols: slice) -> np.ndarray:
        """Return part of a layer as the page shows it, as seeds: in the result, painted pixels cover the labels."""
        drawn = self.drawing.seeds[layer][rows, cols]
        if layer == "scribbles" or self.labels is None:
            return drawn
        seeds = labels_to_seeds(self.labels[rows, cols])
        np.copyto(seeds, drawn, where=drawn > 0)
        return seeds

    def use_classes(self, table: ClassTable) -> None:
        """Switch to another class list, which has all classes of the strokes."""
        if self.labels is not None:
            self.labels = remap(self.table, table, drop=True)[self.labels]
        self.drawing.use_classes(table)


@dataclass(frozen=True)
class Parked:
    """The labels of an image that is closed, compressed; and what they were made from."""

    data: bytes
    shape: tuple[int, int]
    made_by: str | None
    stale: bool
    on_disk: tuple[int, ...] | None


@dataclass
class ImageEntry:
    """An image of the list, open or not.

    Parameters
    ----------
    id : str
        Opaque: the page never learns the path.
    state : {"untouched", "imported", "working", "done"}
    version : int
        Counts the changes: one that was made on an older version is refused.
    result_version : int
        Counts the changes of the result as the page shows it.
    parked : Parked or None
        Its labels while it is closed.
    """

    id: str
    path: Path
    state: str = "untouched"
    version: int = 1
    result_version: int = 1
    opened: OpenImage | None = None
    job: Job | None = None
    message: str | None = None
    message_kind: str | None = None
    written: tuple[str, ...] = ()
    parked: Parked | None = None

    def check_version(self, version: int) -> None:
        """Raise `Conflict` unless this is the current version."""
        if version != self.version:
            raise Conflict("this image was changed in another tab or program meanwhile; check it, then try again")

    def update_state(self) -> None:
        """Set the state from the strokes of the open image."""
        assert self.opened is not None
        self.state = self.opened.drawing.log.stage

    def spoil_labels(self) -> None:
        """Note that the labels are no longer what spreading the scribbles would give."""
        if self.opened is not None:
            with self.opened.lock:
                self.opened.n_changes += 1
        if self.parked is not None:
            self.parked = replace(self.parked, stale=True)

    def park(self) -> None:
        """Close the image. Its strokes are on disk; its labels are kept compressed."""
        opened, self.opened = self.opened, None
        if opened is not None and opened.labels is not None:
            data = zlib.compress(opened.labels, 1)
            self.parked = Parked(data, opened.windows.shape, opened.labels_by, opened.stale, opened.on_disk)

    def unpark(self, opened: OpenImage) -> None:
        """Install the opened image, with the labels that were parked if they still belong to it."""
        parked, self.parked = self.parked, None
        # The image or its strokes may have been replaced meanwhile.
        if parked is not None and (parked.shape, parked.on_disk) == (opened.windows.shape, opened.on_disk):
            opened.labels = np.frombuffer(zlib.decompress(parked.data), np.uint8).reshape(parked.shape).copy()
            opened.labels_by, opened.labels_after = parked.made_by, opened.n_changes - parked.stale
        self.opened = opened


def name_opaquely(path: Path) -> str:
    """Return a name for a path that is always the same and does not reveal it."""
    return hashlib.blake2b(str(path.resolve()).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
