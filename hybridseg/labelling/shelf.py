"""What is on disk of an image that is being labelled: loaded when it is opened, saved after every change."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np

from hybridseg.classes import VOID, ClassTable, remap, seeds_to_labels
from hybridseg.errors import Conflict, WriteFailed
from hybridseg.figures import FIGURE_FORMATS, FigureOptions
from hybridseg.io.annotations.doodles import Stroke, StrokeLog, read_stage, read_strokes, write_strokes
from hybridseg.io.annotations.strokes import mask_to_points
from hybridseg.io.labelled import check_size
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.locks import lock_output
from hybridseg.io.marks import is_ours
from hybridseg.io.windows import open_windows
from hybridseg.labelling.drawing import Drawing
from hybridseg.labelling.entries import OpenImage
from hybridseg.labelling.spread import MARKS_OF_EARLIER, TRUTH_ENDINGS, ground_truth_path
from hybridseg.labelling.strokeimport import import_strokes

# Stands in for the class list of an image without strokes until there is one.
_NO_CLASSES = ClassTable(("unnamed",), ((128, 128, 128),))
# Beside the results: accepted results that no longer hold, and work that was cleared away.
TRASH = ".trash"
# Where files were, and where they are now.
Moved = dict[Path, Path]
# What to do with work on an image of another size.
_ADVICE = "take it away, or give --out another folder"


@dataclass(frozen=True)
class Shelf:
    """Where the work is kept.

    Parameters
    ----------
    out_dir : pathlib.Path or None
        None: beside each image.
    person : pathlib.Path
        The folder of one person, below that.
    """

    out_dir: Path | None
    person: Path = Path()

    def home(self, image_path: Path) -> Path:
        """Return the folder of an image's work."""
        return (self.out_dir or image_path.parent) / self.person

    def strokes_path(self, image_path: Path) -> Path:
        """Return the path of an image's strokes file."""
        return self.home(image_path) / f"{image_path.stem}_doodles.json"

    def truth_path(self, image_path: Path) -> Path:
        """Return the path of an image's accepted result."""
        return ground_truth_path(image_path, self.home(image_path))

    def list_results(self, image_path: Path) -> list[Path]:
        """List the files that work on an image has left: its strokes, and its label map in every form."""
        folder, stem = self.home(image_path), image_path.stem
        paths = [folder / f"{stem}_{ending}" for ending in ("doodles.json", "mres.mat", *TRUTH_ENDINGS)]
        paths += [FigureOptions(figure_format=kind).place(folder, f"{stem}_mres") for kind in FIGURE_FORMATS]
        return [path for path in paths if path.exists()]

    def read_state(self, image_path: Path) -> str:
        """Return the state of an image without opening it: untouched, imported, working, or done."""
        path = self.strokes_path(image_path)
        try:
            if _read_stamp(path):
                stage = read_stage(path)
                return "working" if stage == "done" and not self.has_result(image_path) else stage
            return "done" if self.has_result(image_path) else "untouched"
        except WriteFailed:
            # Raised again when this image is opened; the others are fine.
            return "untouched"

    def has_result(self, image_path: Path) -> bool:
        """Return whether the accepted result of an image is on disk."""
        return _read_stamp(self.truth_path(image_path)) is not None

    def read_time(self, image_path: Path) -> int:
        """Return when the strokes of an image were written, in nanoseconds; 0 when there are none."""
        stamp = _read_stamp(self.strokes_path(image_path))
        return stamp[0] if stamp else 0

    def put_aside(self, image_path: Path, *, strokes: bool = False) -> Moved:
        """Move the accepted result of an image, or its strokes too, into a folder of their own in ``.trash``.

        Files beside it that were not written here stay.

        Raises
        ------
        WriteFailed
            When they cannot be moved; then all are where they were.
        """
        truth_path, strokes_path = self.truth_path(image_path), self.strokes_path(image_path)
        always = {truth_path, strokes_path} if strokes else {truth_path}
        paths = [
            path for path in self.list_results(image_path)
            if path in always or (path != strokes_path and is_ours(path, marks=MARKS_OF_EARLIER))
        ]  # fmt: skip
        trash = truth_path.parent / TRASH
        stamp = time.strftime("%Y%m%d-%H%M%S")
        names = (f"{image_path.stem}_{stamp}{f'-{k}' if k else ''}" for k in count())
        folder = next(trash / name for name in names if not (trash / name).exists())
        moved = {path: folder / path.relative_to(truth_path.parent) for path in paths}
        _move(moved)
        return moved

    def put_back(self, moved: Moved) -> None:
        """Move files back to where `put_aside` found them.

        Raises
        ------
        WriteFailed
            When there are others by now, or they cannot be moved.
        """
        taken = [path for path in moved if path.exists()]
        if taken:
            raise WriteFailed(f"{taken[0]} is there again, so the accepted result stays in {TRASH}; accept it again")
        _move({there: path for path, there in moved.items()})
        emptied = {parent for there in moved.values() for parent in there.parents if TRASH in parent.parts}
        for folder in sorted(emptied, reverse=True):
            with suppress(OSError):
                folder.rmdir()

    def load(self, image_path: Path, table: ClassTable | None) -> tuple[OpenImage, ClassTable | None]:
        """Open an image with all earlier work on it.

        Parameters
        ----------
        table : ClassTable or None
            The class list so far.

        Returns
        -------
        opened : OpenImage
        table : ClassTable or None
            The class list, followed by the classes that only the earlier work on this image has.

        Raises
        ------
        MissingInput, BadInput
            When the image, or the earlier work, cannot be read, or their sizes differ.
        """
        windows = open_windows(image_path)
        strokes_path = self.strokes_path(image_path)
        seen = _read_stamp(strokes_path)
        log = StrokeLog(image_path.name, windows.shape, table or _NO_CLASSES)
        if seen:
            found = read_strokes(strokes_path)
            check_size(strokes_path, found.shape, windows.info, advice=_ADVICE)
            table = _add_classes(table, found.table, found.used_ids)
            log = found.with_table(table or _NO_CLASSES)
        labels = made_by = None
        truth_path = self.truth_path(image_path)
        if log.done and not truth_path.exists():
            log = replace(log, done=False)
        if truth_path.exists():
            truth = read_labelmap(truth_path, table=table)
            check_size(truth_path, truth.labels.shape, windows.info, advice=_ADVICE)
            own = truth.require_table(truth_path)
            table = own if table is None else table.union(own)
            log = log.with_table(table)
            if not seen:
                log = replace(log, strokes=_strokes_of(truth, truth_path, log), done=True)
            if seen or truth.seeds is not None:
                labels, made_by = truth.labels_as(table), truth.made_by
        # Only accepted labels are known to come from these scribbles.
        opened = OpenImage(
            windows, Drawing(log, windows.valid()), labels, made_by, labels_after=0 if log.done else -1, on_disk=seen
        )
        return opened, table

    def save(self, image_path: Path, opened: OpenImage) -> None:
        """Write the strokes of an image.

        Raises
        ------
        Conflict
            When another program has written them since.
        WriteFailed
        """
        path = self.strokes_path(image_path)
        with lock_output(path, wait=True):
            # A file that is gone (a disk was unplugged, say) is written anew: everything that was in it is in memory.
            if _read_stamp(path) not in (None, opened.on_disk):
                raise Conflict(f"{path.name} was changed by another program; check the image again")
            write_strokes(path, opened.drawing.log)
            opened.on_disk = _read_stamp(path)


def _move(moved: Moved) -> None:
    """Move files, all or none."""
    done: list[Path] = []
    try:
        for path, there in moved.items():
            there.parent.mkdir(parents=True, exist_ok=True)
            path.rename(there)
            done.append(path)
    except OSError as error:
        for path in done:
            moved[path].rename(path)
        raise WriteFailed(f"cannot move {path} to {there}: {error.strerror or error}; check the folder") from error


def _read_stamp(path: Path) -> tuple[int, ...] | None:
    """Return what differs once a file is written again (time, size, inode); None when there is no file."""
    try:
        facts = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise WriteFailed(
            f"cannot read {path}: {error.strerror or error}; fix its name or its permissions, or choose another "
            "folder with --out"
        ) from error
    return facts.st_mtime_ns, facts.st_size, facts.st_ino


def _add_classes(table: ClassTable | None, other: ClassTable, ids: list[int]) -> ClassTable | None:
    """Add to a table those classes of another one, of the given ids, that it lacks."""
    if table is None or not ids:
        return table or (other if ids else None)
    return table.union(ClassTable(tuple(other.names[i] for i in ids), tuple(other.colors[i] for i in ids)))


def _strokes_of(truth: LabelMap, path: Path, log: StrokeLog) -> tuple[Stroke, ...]:
    """Turn a label map into strokes: its scribbles where it has some, otherwise all of it, as painted."""
    if truth.seeds is None:
        return import_strokes(path, shape=log.shape, image_name=log.image_name, table=log.table).strokes
    lut = remap(truth.require_table(path), log.table)
    scribbled = seeds_to_labels(truth.seeds)
    ids = np.unique(scribbled[scribbled != VOID]).tolist()
    return tuple(Stroke("region", int(lut[k]), 1.0, mask_to_points(scribbled == k)) for k in ids)
