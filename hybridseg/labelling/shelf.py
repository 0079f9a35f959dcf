"""What is kept on disk of an image that is being labelled, and how it is opened again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hybridseg.classes import ClassTable, remap
from hybridseg.errors import HybridSegError, WriteFailed
from hybridseg.io.annotations.doodles import Doodles, Stroke, is_done, read_doodles, write_doodles
from hybridseg.io.labelled import check_size
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.windows import open_windows
from hybridseg.labelling.drawing import Drawing
from hybridseg.labelling.spread import ground_truth_path
from hybridseg.labelling.strokeimport import import_strokes
from hybridseg.labelling.strokes import mask_to_points
from hybridseg.labelling.work import OpenImage

# Of a drawing without strokes, as long as nobody has named a class.
_NO_CLASSES = ClassTable(("unnamed",), ((128, 128, 128),))
# What to do with work on an image of another size.
_ADVICE = "take it away, or give --out another folder"


class Conflict(HybridSegError):
    """Somebody else changed what was to be changed."""


@dataclass(frozen=True)
class Shelf:
    """Where results lie: in a folder of their own, or beside each image."""

    out_dir: Path | None

    def doodles_path(self, image_path: Path) -> Path:
        """Name the file of an image's strokes."""
        return (self.out_dir or image_path.parent) / f"{image_path.stem}_doodles.json"

    def tell_state(self, image_path: Path) -> str:
        """Tell how far an image is, without opening it: untouched, working, or done."""
        path = self.doodles_path(image_path)
        try:
            if look_at(path):
                return "done" if is_done(path) else "working"
            return "done" if look_at(ground_truth_path(image_path, self.out_dir)) else "untouched"
        except WriteFailed:
            # It says so when it is opened; the others can be worked on.
            return "untouched"

    def load(self, image_path: Path, table: ClassTable | None) -> tuple[OpenImage, ClassTable | None]:
        """Open an image with all that was done on it before.

        Parameters
        ----------
        image_path : pathlib.Path
        table : ClassTable or None
            The classes so far.

        Returns
        -------
        opened : OpenImage
        table : ClassTable or None
            The classes, with those added that earlier work on this image has beside them.

        Raises
        ------
        MissingInput, BadInput
            When the image, or what was kept of it, cannot be read or is of another size.
        """
        windows = open_windows(image_path)
        doodles_path = self.doodles_path(image_path)
        seen = look_at(doodles_path)
        doodles = Doodles(image_path.name, windows.shape, table or _NO_CLASSES)
        if seen:
            found = read_doodles(doodles_path)
            check_size(doodles_path, found.shape, windows.info, advice=_ADVICE)
            table = _add_classes(table, found.table, found.used_ids)
            doodles = found.with_table(table or _NO_CLASSES)
        dense = None
        truth_path = ground_truth_path(image_path, self.out_dir)
        if truth_path.exists():
            truth = read_labelmap(truth_path, table=table)
            check_size(truth_path, truth.labels.shape, windows.info, advice=_ADVICE)
            own = truth.require_table(truth_path)
            table = own if table is None else table.union(own)
            doodles = doodles.with_table(table)
            if not seen:
                doodles = replace(doodles, strokes=_strokes_of(truth, truth_path, doodles), done=True)
            if seen or truth.seeds is not None:
                dense = truth.labels_as(table) + np.uint8(1)
        opened = OpenImage(windows, Drawing(doodles, windows.valid()), dense=dense, on_disk=seen)
        # Only what was accepted is known to come of these scribbles.
        opened.dense_after = 0 if doodles.done else -1
        return opened, table

    def save(self, image_path: Path, opened: OpenImage) -> None:
        """Write the strokes of an image.

        Raises
        ------
        Conflict
            When another program has written them since.
        WriteFailed
        """
        path = self.doodles_path(image_path)
        # One that is gone (a disk was taken off, say) is written anew: all that was in it is here.
        if look_at(path) not in (None, opened.on_disk):
            raise Conflict(f"{path.name} was changed by another program; look at the image again")
        write_doodles(path, opened.drawing.doodles)
        opened.on_disk = look_at(path)


def look_at(path: Path) -> tuple[int, ...] | None:
    """Give what changes when a file is written anew; None when there is none."""
    try:
        facts = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise WriteFailed(
            f"cannot look at {path}: {error.strerror or error}; mend its name or its permissions, or give --out "
            "another folder"
        ) from error
    return facts.st_mtime_ns, facts.st_size, facts.st_ino


def _add_classes(table: ClassTable | None, other: ClassTable, ids: list[int]) -> ClassTable | None:
    """Add those classes of another table to one that it lacks."""
    if table is None or not ids:
        return table or (other if ids else None)
    return table.union(ClassTable(tuple(other.names[i] for i in ids), tuple(other.colors[i] for i in ids)))


def _strokes_of(truth: LabelMap, path: Path, doodles: Doodles) -> tuple[Stroke, ...]:
    """Turn a label map into strokes: its scribbles where it has some, otherwise all of it, as painted."""
    if truth.seeds is None:
        return import_strokes(path, shape=doodles.shape, image_name=doodles.image_name, table=doodles.table).strokes
    lut = remap(truth.require_table(path), doodles.table)
    ids = (np.unique(truth.seeds[truth.seeds > 0]) - 1).tolist()
    return tuple(Stroke("region", int(lut[k]), 1.0, mask_to_points(truth.seeds == k + 1)) for k in ids)
