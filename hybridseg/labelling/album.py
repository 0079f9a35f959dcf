"""The images of a labelling session and their class list: which are open, and how a new list reaches all of them.

Lock order: that of the album before that of an image.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, Conflict, MissingInput, join_names
from hybridseg.io.annotations.doodles import read_strokes
from hybridseg.io.labels.classfiles import read_class_files, write_class_files
from hybridseg.io.locks import remove_leftovers
from hybridseg.io.rasters import check_regular
from hybridseg.labelling.copies import Copies
from hybridseg.labelling.entries import ImageEntry, OpenImage, name_opaquely
from hybridseg.labelling.shelf import Shelf
from hybridseg.labelling.thumbnails import Thumbnails

# Photos of 36 megapixels take 0.3 GB each while they are open.
_MAX_OPEN = 2

# The class list as the page saves it, and as a user writes it: that one is only read.
_SAVED_NAMES, _USUAL_NAMES = ("page_labels.txt", "page_colors.txt"), ("labels.txt", "colors.txt")


class Album:
    """The images that a person labels in one run of the program.

    Parameters
    ----------
    image_paths : sequence of pathlib.Path
        None is opened until it is needed.
    table : ClassTable or None
        None: the classes that were saved here before, or those of earlier work; otherwise the page asks for them.
    out_dir : pathlib.Path or None
        None: results go beside each image.
    person : pathlib.Path
        The folder of one person, below that; the class list is kept above it, for all of them.
    copies : Copies
        Which of the images are copied when they are opened.

    Raises
    ------
    MissingInput, BadInput
        When an image is missing, or two would write the same files.

    Attributes
    ----------
    entries : dict
        The images by id, open or not, in the order of the list.
    classes_version : int
        Counts the changes of the class list.
    lock : threading.RLock
        Held while the class list or the set of open images changes.
    """

    def __init__(
        self,
        image_paths: Sequence[Path],
        *,
        table: ClassTable | None = None,
        out_dir: Path | None = None,
        person: Path = Path(),
        copies: Copies | None = None,
    ) -> None:
        self._copies = copies or Copies()
        for path in image_paths:
            if not self._copies.lacks(path):
                check_regular(path)
        self.shelf = Shelf(out_dir, person)
        _refuse_same_targets(image_paths, self.shelf)
        for home in {self.shelf.home(path) for path in image_paths}:
            remove_leftovers(home)
        self._class_dir = out_dir or image_paths[0].parent
        self.table = table or _read_saved_classes(self._class_dir)
        self.classes_version = 1
        entries = (ImageEntry(name_opaquely(path), path, self.shelf.read_state(path)) for path in image_paths)
        self.entries = {entry.id: entry for entry in entries}
        self.lock = threading.RLock()
        self.thumbnails = Thumbnails()
        self._recent: list[str] = []

    def list_images(self) -> list[dict[str, str]]:
        """Return the id, the name and the state of every image."""
        return [{"id": e.id, "name": e.path.name, "state": e.state} for e in self.entries.values()]

    def draw_thumbnail(self, image_id: str) -> bytes:
        """Return a small JPEG of an image, open or not; raise what `open` raises."""
        return self.thumbnails.draw(self._find(image_id).path)

    @property
    def n_done(self) -> int:
        """Number of images whose result is accepted."""
        return sum(entry.state == "done" for entry in self.entries.values())

    def list_accepted(self) -> list[str]:
        """Return the ids of the images that are done and have strokes on disk, the latest first."""
        times = {e.id: self.shelf.read_time(e.path) for e in self.entries.values() if e.state == "done"}
        return sorted((image_id for image_id, time in times.items() if time), key=times.__getitem__, reverse=True)

    def open(self, image_id: str) -> tuple[ImageEntry, OpenImage]:
        """Return an image, opened if it was closed; others may be closed for it.

        Raises
        ------
        MissingInput, BadInput
            When there is no such image, or it or its saved work cannot be read.
        """
        entry = self._find(image_id)
        opened = entry.opened
        if opened is not None and self._recent[-1:] == [image_id]:
            return entry, opened
        self._copies.fetch(entry.path)
        with self.lock:
            opened = entry.opened
            if opened is None:
                opened, table = self.shelf.load(entry.path, self.table)
                entry.unpark(opened)
                self.use_classes(table, save=False)
                entry.update_state()
            self._recent = [*(i for i in self._recent if i != image_id), image_id]
            self._close_others()
        return entry, opened

    def _find(self, image_id: str) -> ImageEntry:
        if image_id not in self.entries:
            raise MissingInput("there is no such image in this session; choose one from the list")
        return self.entries[image_id]

    @contextmanager
    def hold(self, image_id: str) -> Iterator[tuple[ImageEntry, OpenImage]]:
        """Open an image, and let no other thread change or close it meanwhile."""
        while True:
            entry, opened = self.open(image_id)
            with opened.lock:
                # It may have been closed and reopened before the lock was free.
                if entry.opened is opened:
                    yield entry, opened
                    return

    def set_classes(self, version: int, table: ClassTable) -> None:
        """Replace the class list. Classes in use keep their names; everything else may change.

        Raises
        ------
        Conflict
            When the list has changed since `version`, or a class in use would be lost.
        WriteFailed
        """
        with self.lock, ExitStack() as held:
            # No stroke may be added between the check for classes in use and the change.
            for entry in self.entries.values():
                if entry.opened is not None:
                    held.enter_context(entry.opened.lock)
            if version != self.classes_version:
                raise Conflict("the classes were changed in another tab; check them again")
            lost = set(self.table.keys if self.table else ()) - set(table.keys)
            for entry in self.entries.values() if lost else ():
                used = lost & self._find_used_keys(entry)
                if used:
                    raise Conflict(
                        f"{entry.path.name} is labelled with {join_names(sorted(used))}; a class that is in use keeps "
                        "its name (undo its strokes first)"
                    )
            if self.table is not None and table.keys[: len(self.table)] != self.table.keys:
                # Ids change: those in parked labels, and in strokes that a tab has yet to send, are no longer valid.
                for entry in self.entries.values():
                    entry.parked = None
                    entry.version += entry.opened is None
            self.use_classes(table, save=True)

    def use_classes(self, table: ClassTable | None, *, save: bool) -> None:
        """Switch to a class list that has all classes in use; None changes nothing.

        Parameters
        ----------
        save : bool
            Save it, so that the next start finds it.
        """
        with self.lock:
            if table is None or table == self.table:
                return
            if save:
                labels_path, colors_path = (self._class_dir / name for name in _SAVED_NAMES)
                write_class_files(table, labels_path=labels_path, colors_path=colors_path)
            self.table = table
            self.classes_version += 1
            for entry in self.entries.values():
                opened = entry.opened
                if opened is not None and opened.table != table:
                    with opened.lock:
                        opened.use_classes(table)
                        entry.version += 1
                        entry.result_version += 1

    def _find_used_keys(self, entry: ImageEntry) -> set[str]:
        if entry.opened is not None:
            table, ids = entry.opened.table, entry.opened.used_ids
        else:
            path = self.shelf.strokes_path(entry.path)
            if not path.exists():
                return set()
            log = read_strokes(path)
            table, ids = log.table, set(log.used_ids)
        return {table.keys[i] for i in ids}

    def _close_others(self) -> None:
        """Close the images that were used least recently, except those with a running job."""
        for image_id in self._recent[:-_MAX_OPEN]:
            entry = self.entries[image_id]
            if (opened := entry.opened) is not None:
                with opened.lock:
                    if entry.job is None and entry.opened is opened:
                        entry.park()
        self._recent = [i for i in self._recent if self.entries[i].opened is not None]


def _refuse_same_targets(image_paths: Sequence[Path], shelf: Shelf) -> None:
    taken: dict[Path, Path] = {}
    for path in image_paths:
        target = shelf.strokes_path(path).resolve()
        if target in taken:
            raise BadInput(
                f"{taken[target]} and {path} would both be saved as {target.name}; give one of them another name, or "
                "label them apart"
            )
        taken[target] = path


def _read_saved_classes(folder: Path) -> ClassTable | None:
    for labels_path, colors_path in ([folder / name for name in names] for names in (_SAVED_NAMES, _USUAL_NAMES)):
        if labels_path.exists():
            return read_class_files(labels_path, colors_path if colors_path.exists() else None)
    return None
