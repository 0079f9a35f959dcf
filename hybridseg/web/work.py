"""One open image: its pixels, what was drawn on it, what the CRF made of that, and the work that goes on."""

from __future__ import annotations

import hashlib
import threading
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hybridseg.classes import ClassTable
from hybridseg.io.doodles import LAYERS
from hybridseg.io.windows import ImageWindows
from hybridseg.web.drawing import Drawing, find_new_values

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
    parked : bytes or None
        `dense`, compressed, while the image is not open.
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
    parked: tuple[bytes, bool] | None = None

    def update_state(self) -> None:
        """Tell how far the work on the open image is."""
        assert self.opened is not None
        doodles = self.opened.drawing.doodles
        self.state = "done" if doodles.done else "working" if doodles.strokes or doodles.undone else "untouched"

    def park(self) -> None:
        """Close the image. Its strokes are on disk; what the CRF made is kept in little memory."""
        opened, self.opened = self.opened, None
        if opened is not None and opened.dense is not None:
            self.parked = zlib.compress(opened.dense, 1), opened.stale

    def unpark(self, opened: OpenImage) -> None:
        """Open the image again."""
        if self.parked is not None:
            data, stale = self.parked
            opened.dense_after = opened.n_scribblings - stale
            opened.dense = np.frombuffer(zlib.decompress(data), np.uint8).reshape(opened.windows.shape).copy()
            self.parked = None
        self.opened = opened


def name_opaquely(path: Path) -> str:
    """Give an image a name that is always the same, and says nothing of where it lies."""
    return hashlib.blake2b(str(path.resolve()).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
