"""The images of a labelling session and their classes: listed, opened, closed again, and kept in step.

Who needs the lock of the album and that of an image takes that of the album first.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, MissingInput
from hybridseg.io.annotations.doodles import read_doodles
from hybridseg.io.labels.classfiles import read_class_files, write_class_files
from hybridseg.io.rasters import check_regular
from hybridseg.labelling.shelf import Conflict, Shelf
from hybridseg.labelling.spread import SpreadOptions
from hybridseg.labelling.work import ImageEntry, OpenImage, name_opaquely

# Photos of 36 megapixels take 0.3 GB each while they are open.
_MAX_OPEN = 2


class Album:
    """The images that a person labels, in one run of the program.

    Parameters
    ----------
    image_paths : sequence of pathlib.Path
    table : ClassTable or None
        None: the classes that were saved here before, or those of earlier work; otherwise the page asks for them.
    out_dir : pathlib.Path or None
        None: results go beside each image.
    options : SpreadOptions
        How scribbles are spread.
    window : int
        Side of the window that walks over an image.

    Raises
    ------
    MissingInput, BadInput
        When an image is not there, or two would write the same files.
    """

    def __init__(
        self,
        image_paths: Sequence[Path],
        *,
        table: ClassTable | None = None,
        out_dir: Path | None = None,
        options: SpreadOptions = SpreadOptions(),
        window: int = 500,
    ) -> None:
        """Look which images were labelled before; none is opened."""
        if not 50 <= window <= 10_000:
            raise BadInput(f"a window of {window} pixels cannot walk over an image; give 50 to 10000")
        for path in image_paths:
            check_regular(path)
        self.shelf, self.options, self.window = Shelf(out_dir), options, window
        _refuse_same_targets(image_paths, self.shelf)
        self._class_dir = out_dir or image_paths[0].parent
        self.table = table or _read_saved_classes(self._class_dir)
        self.classes_version = 1
        self._entries = {
            entry.id: entry
            for entry in (ImageEntry(name_opaquely(p), p, self.shelf.tell_state(p)) for p in image_paths)
        }
        self._recent: list[str] = []
        self._lock = threading.RLock()

    def list_images(self) -> list[dict[str, str]]:
        """Tell of every image its id, its name and how far it is."""
        return [{"id": e.id, "name": e.path.name, "state": e.state} for e in self._entries.values()]

    def open(self, image_id: str) -> tuple[ImageEntry, OpenImage]:
        """Open an image, or give it when it is open.

        Raises
        ------
        MissingInput, BadInput
            When there is no such image, or it, or what was kept of it, cannot be read.
        """
        entry = self._entries.get(image_id)
        if entry is None:
            raise MissingInput("there is no such image in this session; choose one from the list")
        opened = entry.opened
        if opened is not None and self._recent[-1:] == [image_id]:
            return entry, opened
        with self._lock:
            opened = entry.opened
            if opened is None:
                opened, table = self.shelf.load(entry.path, self.table)
                entry.unpark(opened)
                self._grow_classes(table)
                entry.update_state()
            self._recent = [*(i for i in self._recent if i != image_id), image_id]
            self._close_others()
        return entry, opened

    @contextmanager
    def hold(self, image_id: str) -> Iterator[tuple[ImageEntry, OpenImage]]:
        """Open an image and keep all others from changing or closing it meanwhile."""
        while True:
            entry, opened = self.open(image_id)
            with opened.lock:
                # It can have been closed, and opened anew, before the lock was free.
                if entry.opened is opened:
                    yield entry, opened
                    return

    def set_classes(self, version: int, table: ClassTable) -> None:
        """Change the list of classes. Classes that were drawn with keep their names; all else is free.

        Raises
        ------
        Conflict
            When the list has changed since, or a class that was drawn with would be lost.
        WriteFailed
        """
        with self._lock, ExitStack() as held:
            # No stroke may come between looking which classes are in use and going over to the new ones.
            for entry in self._entries.values():
                if entry.opened is not None:
                    held.enter_context(entry.opened.lock)
            if version != self.classes_version:
                raise Conflict("the classes were changed in another tab; look at them again")
            lost = set(self.table.keys if self.table else ()) - set(table.keys)
            for entry in self._entries.values() if lost else ():
                used = lost & self._find_used_keys(entry)
                if used:
                    raise Conflict(
                        f"{entry.path.name} is labelled with {', '.join(sorted(used))}; a class that was drawn with "
                        "keeps its name (undo what was drawn with it first)"
                    )
            if self.table is not None and table.keys[: len(self.table)] != self.table.keys:
                # What was parked, or drawn in a tab, counts on the places that classes had.
                for entry in self._entries.values():
                    entry.parked = None
                    entry.version += entry.opened is None
            self._grow_classes(table, keeping=True)

    def close(self) -> None:
        """Stop all work. Strokes need no saving: they are on disk."""
        for entry in self._entries.values():
            if entry.job is not None:
                entry.job.cancelled = True

    # How it is done.

    def _grow_classes(self, table: ClassTable | None, *, keeping: bool = False) -> None:
        """Go over to another table in all images that are open; keeping: the next start is to find it too."""
        if table is None or table == self.table:
            return
        if keeping:
            write_class_files(
                table, labels_path=self._class_dir / "labels.txt", colors_path=self._class_dir / "colors.txt"
            )
        self.table = table
        self.classes_version += 1
        for entry in self._entries.values():
            opened = entry.opened
            if opened is not None and opened.drawing.doodles.table != table:
                with opened.lock:
                    opened.rename(table)
                    entry.version += 1
                    entry.result_version += 1

    def _find_used_keys(self, entry: ImageEntry) -> set[str]:
        """Tell which classes an image is labelled with."""
        if entry.opened is not None:
            table, ids = entry.opened.drawing.doodles.table, set(entry.opened.drawing.doodles.used_ids)
            if entry.opened.dense is not None:
                ids |= set((np.unique(entry.opened.dense[entry.opened.dense > 0]) - 1).tolist())
        else:
            path = self.shelf.doodles_path(entry.path)
            if not path.exists():
                return set()
            doodles = read_doodles(path)
            table, ids = doodles.table, set(doodles.used_ids)
        return {table.keys[i] for i in ids}

    def _close_others(self) -> None:
        """Close the images that were not looked at for longest; never one on which work goes on."""
        for image_id in self._recent[:-_MAX_OPEN]:
            entry = self._entries[image_id]
            if (opened := entry.opened) is not None:
                with opened.lock:
                    if entry.job is None and entry.opened is opened:
                        entry.park()
        self._recent = [i for i in self._recent if self._entries[i].opened is not None]


def _refuse_same_targets(image_paths: Sequence[Path], shelf: Shelf) -> None:
    taken: dict[Path, Path] = {}
    for path in image_paths:
        target = shelf.doodles_path(path).resolve()
        if target in taken:
            raise BadInput(
                f"{taken[target]} and {path} would both be saved as {target.name}; give one of them another name, or "
                "label them apart"
            )
        taken[target] = path


def _read_saved_classes(folder: Path) -> ClassTable | None:
    labels_path, colors_path = folder / "labels.txt", folder / "colors.txt"
    if not labels_path.exists():
        return None
    return read_class_files(labels_path, colors_path if colors_path.exists() else None)
