"""One open image: its pixels, what was drawn on it, what the CRF made of that, and the work that goes on."""

from __future__ import annotations

import hashlib
import threading
import time
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hybridseg.classes import ClassTable
from hybridseg.io.annotations.doodles import LAYERS
from hybridseg.io.windows import ImageWindows
from hybridseg.labelling.drawing import Drawing, find_new_values
from hybridseg.progress import Item

# A pause longer than this is not counted as work on an image.
_MAX_PAUSE_SECONDS = 60.0


@dataclass
class Job:
    """Long work on an image; `tell` is called between its steps."""

    kind: str
    label: str = ""
    done: int = 0
    total: int = 1
    cancelled: bool = False

    def tell(self, label: str, done: int, total: int) -> None:
        """Say what is being done now, and stop when that was asked for."""
        self.label, self.done, self.total = label, done, total
        if self.cancelled:
            raise JobCancelled

    def watch(self, items: Sequence[Item], *, label: str) -> Iterator[Item]:
        """Give the parts of a step one by one, and stop between them when that was asked for."""
        for item in items:
            self.tell(self.label, self.done, self.total)
            yield item


class JobCancelled(Exception):
    """A person does not want the result any more."""


@dataclass(eq=False)
class OpenImage:
    """An image that is being worked on.

    Parameters
    ----------
    windows : ImageWindows
    drawing : Drawing
    dense : numpy.ndarray or None
        (rows, cols) uint8, what the CRF made of the scribbles: 0 = void, class k is k + 1.
    n_scribblings : int
        How often the scribbles changed.
    dense_after : int
        After how many of these changes `dense` was made.
    on_disk : tuple or None
        What the file of strokes looked like when it was last read or written.
    lock : threading.RLock
        Held for every change.
    """

    windows: ImageWindows
    drawing: Drawing
    dense: np.ndarray | None = None
    n_scribblings: int = 0
    dense_after: int = 0
    on_disk: tuple[int, ...] | None = None
    last_active: float = 0.0
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def stale(self) -> bool:
        """Scribbles changed since the CRF looked at them."""
        return self.dense is None or self.dense_after != self.n_scribblings

    def note_activity(self) -> None:
        """Count the time since the last change as work, unless it was a pause."""
        now = time.monotonic()
        if self.last_active:
            spent = min(now - self.last_active, _MAX_PAUSE_SECONDS)
            self.drawing.mark(seconds=self.drawing.doodles.seconds + spent)
        self.last_active = now

    def view(self, layer: str, rows: slice, cols: slice) -> np.ndarray:
        """Give a part of a layer as it is seen: painted parts lie over what the CRF made."""
        drawn = self.drawing.maps[layer][rows, cols]
        if layer == LAYERS[0] or self.dense is None:
            return drawn
        return np.where(drawn > 0, drawn, self.dense[rows, cols])

    def rename(self, table: ClassTable) -> None:
        """Go over to another class table."""
        if self.dense is not None:
            self.dense = find_new_values(self.drawing.doodles.table, table)[self.dense]
        self.drawing.rename(table)


@dataclass(frozen=True)
class Parked:
    """What the CRF made of an image that is closed, in little memory; and what it was made of."""

    data: bytes
    shape: tuple[int, int]
    stale: bool
    on_disk: tuple[int, ...] | None


@dataclass
class ImageEntry:
    """An image of the list, open or not.

    Parameters
    ----------
    id : str
        By which the page knows it; says nothing of where it lies.
    path : pathlib.Path
    state : {"untouched", "working", "done"}
    version : int
        Counts the changes: a change that was made of an older one is refused.
    result_version : int
        Counts the changes of the result that is seen.
    parked : Parked or None
        What the CRF made, while the image is not open.
    keys : collections.deque
        Of the last changes, by which a change that comes again is known.
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
    keys: deque[str] = field(default_factory=lambda: deque(maxlen=200))

    def update_state(self) -> None:
        """Tell how far the work on the open image is."""
        assert self.opened is not None
        doodles = self.opened.drawing.doodles
        self.state = "done" if doodles.done else "working" if doodles.strokes or doodles.undone else "untouched"

    def park(self) -> None:
        """Close the image. Its strokes are on disk; what the CRF made is kept in little memory."""
        opened, self.opened = self.opened, None
        if opened is not None and opened.dense is not None:
            self.parked = Parked(
                zlib.compress(opened.dense, 1),
                opened.windows.shape,
                opened.stale,
                opened.on_disk,
            )

    def unpark(self, opened: OpenImage) -> None:
        """Open the image again."""
        parked, self.parked = self.parked, None
        # The image, or its strokes, can be others by now.
        if parked is not None and (parked.shape, parked.on_disk) == (opened.windows.shape, opened.on_disk):
            values = np.frombuffer(zlib.decompress(parked.data), np.uint8).reshape(parked.shape)
            opened.dense = values.copy()
            opened.dense_after = opened.n_scribblings - parked.stale
        self.opened = opened


def name_opaquely(path: Path) -> str:
    """Give an image a name that is always the same, and says nothing of where it lies."""
    return hashlib.blake2b(str(path.resolve()).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
