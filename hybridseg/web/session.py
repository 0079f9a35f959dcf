"""A labelling session: images, classes, strokes, results. All that the page does, without HTTP.

Every change is on disk when its method returns. A change says of which version of the image it was made; one that was
made of an older one is refused, so that two tabs (or two programs) cannot undo each other's work in silence.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.classes import ClassTable
from hybridseg.data.strokeimport import import_strokes
from hybridseg.data.strokes import find_area, mask_to_points
from hybridseg.errors import BadInput, MissingInput
from hybridseg.inference.spread import SpreadOptions
from hybridseg.io.classfiles import parse_color, read_class_files, write_class_files
from hybridseg.io.doodles import Stroke, parse_stroke, read_doodles
from hybridseg.io.pairing import find_strokes_file
from hybridseg.io.rasters import check_regular
from hybridseg.progress import Progress, no_progress
from hybridseg.web.drawing import Bounds
from hybridseg.web.shelf import Conflict, Shelf
from hybridseg.web.tiles import TILE_SIZE, count_levels, draw_map_tile, draw_picture_tile
from hybridseg.web.work import ImageEntry, OpenImage, name_opaquely

# Photos of 36 megapixels take 0.3 GB each while they are open.
_MAX_OPEN = 2
_MAX_STROKE_POINTS = 20_000
_MAX_KEY_LETTERS = 40


class LabelSession:
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

    # What there is.

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
        """Open an image and keep all others from changing or closing it meanwhile.

        Who needs the lock of the session too takes that first.
        """
        while True:
            entry, opened = self.open(image_id)
            with opened.lock:
                # It can have been closed, and opened anew, before the lock was free.
                if entry.opened is opened:
                    yield entry, opened
                    return

    def describe(self, image_id: str) -> dict[str, Any]:
        """Tell all that the page shows of an image; opens it."""
        entry, opened = self.open(image_id)
        doodles, info, job = opened.drawing.doodles, opened.windows.info, entry.job
        return {
            "id": entry.id,
            "name": entry.path.name,
            "rows": info.rows,
            "cols": info.cols,
            "levels": count_levels(opened.windows.shape),
            "tile_size": TILE_SIZE,
            "version": entry.version,
            "result_version": entry.result_version,
            "classes_version": self.classes_version,
            "state": entry.state,
            "n_strokes": len(doodles.strokes),
            "can_undo": bool(doodles.strokes),
            "can_redo": bool(doodles.undone),
            "seconds": doodles.seconds,
            "has_result": opened.dense is not None or any(s.layer == "result" for s in doodles.strokes),
            "stale": opened.stale,
            "georeferenced": info.georeference is not None,
            "job": job and {"kind": job.kind, "label": job.label, "done": job.done, "total": job.total},
            "message": entry.message,
            "message_kind": entry.message_kind,
            "written": list(entry.written),
        }

    def draw_tile(self, image_id: str, layer: str, tile: tuple[int, int, int]) -> bytes:
        """Draw a tile of the ``picture`` (JPEG), of the ``scribbles`` or of the ``result`` (PNG).

        Raises
        ------
        MissingInput
            When there is no such tile.
        """
        _, opened = self.open(image_id)
        if layer == "picture":
            return draw_picture_tile(opened.windows, *tile)
        # Other classes have other numbers: the map and its table must be of one moment.
        with opened.lock:
            return draw_map_tile(
                partial(opened.view, layer), opened.windows.shape, opened.drawing.doodles.table, tile,
                keep_thin=layer == "scribbles",
            )  # fmt: skip

    # Changes. Each gives the part of the image that is to be drawn again.

    def add_stroke(self, image_id: str, version: int, record: dict[str, Any]) -> Bounds | None:
        """Draw a stroke that the page sends; a ``fill`` becomes the region that it fills.

        Parameters
        ----------
        image_id : str
        version : int
            Of the image when it was drawn.
        record : dict
            As in a file of doodles, without the time; and its `key`, see `_change`.

        Raises
        ------
        MissingInput, BadInput
            When it is no stroke of a class on an image of this session.
        Conflict
            When the image has changed since.
        """
        self.open(image_id)
        if self.table is None:
            raise BadInput("there are no classes yet; name some first (Edit classes)")
        record = {"class": 0, "width": 1.0, **record, "time": round(time.time(), 3)}
        is_fill = record.get("tool") == "fill"
        stroke = _round_points(parse_stroke({**record, "tool": "pen"} if is_fill else record))
        if len(stroke.points) > _MAX_STROKE_POINTS:
            raise BadInput(f"a stroke of more than {_MAX_STROKE_POINTS} points is not taken; lift the pen now and then")

        def draw(opened: OpenImage) -> tuple[set[str], Bounds]:
            fresh = _fill(opened, stroke) if is_fill else stroke
            return {fresh.layer}, opened.drawing.add(fresh)

        return self._change(image_id, version, draw, record.get("key"))

    def undo(self, image_id: str, version: int, *, key: Any = None) -> Bounds | None:
        """Take the last stroke back; None when there is none."""
        return self._change(image_id, version, lambda opened: opened.drawing.undo(), key)

    def redo(self, image_id: str, version: int, *, key: Any = None) -> Bounds | None:
        """Draw again what was taken back last; None when nothing was."""
        return self._change(image_id, version, lambda opened: opened.drawing.redo(), key)

    def import_labels(self, image_id: str, version: int, path: Path) -> tuple[str, ...]:
        """Add what another program, or an earlier run, has drawn on an image. Gives warnings."""
        entry, opened = self.open(image_id)
        shape = opened.windows.shape
        found = import_strokes(path, shape=shape, image_name=entry.path.name, table=self.table)
        if not found.strokes:
            raise BadInput(f"{path.name} has nothing drawn on this image")

        def draw(opened: OpenImage) -> tuple[set[str], Bounds]:
            for stroke in found.strokes:
                opened.drawing.add(stroke)
            return {stroke.layer for stroke in found.strokes}, (slice(0, shape[0]), slice(0, shape[1]))

        with self._lock, self.hold(image_id) as (entry, _):
            self._check_version(entry, version)
            self._grow_classes(found.table)
            # More classes are a change too, and this one.
            self._change(image_id, entry.version, draw)
        return found.warnings

    def import_all(self, path: Path, *, progress: Progress = no_progress) -> list[str]:
        """Begin all images that nothing was drawn on with what another tool has of them.

        Parameters
        ----------
        path : pathlib.Path
            A file, or a folder in which each image's file is found by its name.
        progress : Progress

        Returns
        -------
        list of str
            What a person should know, a line each.
        """
        lines = []
        fresh = [entry for entry in self._entries.values() if entry.state == "untouched"]
        for entry in progress(fresh, label="importing labels"):
            try:
                found = find_strokes_file(path, entry.path) if path.is_dir() else path
                lines += [f"{entry.path.name}: {text}" for text in self.import_labels(entry.id, entry.version, found)]
            except (BadInput, MissingInput) as error:
                lines.append(f"{entry.path.name}: not imported: {error}")
        n_kept = len(self._entries) - len(fresh)
        if n_kept:
            lines.append(f"{n_kept} images have work of yours already; nothing was imported for them")
        return lines

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
            self._grow_classes(table, replacing=True)

    def close(self) -> None:
        """Stop all work. Strokes need no saving: they are on disk."""
        for entry in self._entries.values():
            if entry.job is not None:
                entry.job.cancelled = True

    def mark_accepted(self, entry: ImageEntry, opened: OpenImage, version: int) -> bool:
        """Note that the result of an image is on disk. Does nothing when it has changed since."""
        with opened.lock:
            if entry.version != version or entry.opened is not opened:
                return False
            before = opened.drawing.doodles
            opened.drawing.mark(done=True)
            try:
                self.shelf.save(entry.path, opened)
            except BaseException:
                opened.drawing.restore(before)
                raise
            entry.update_state()
            return True

    # How it is done.

    def _change(
        self,
        image_id: str,
        version: int,
        act: Callable[[OpenImage], tuple[set[str], Bounds] | None],
        key: Any = None,
    ) -> Bounds | None:
        """Do a change and save it; when it cannot be saved it is taken back.

        The page gives each change a key of its own. When an answer is lost on the way it sends the change once more;
        one that was made before is not made again, and all of the image counts as changed.
        """
        if key is not None and not (isinstance(key, str) and len(key) <= _MAX_KEY_LETTERS):
            raise BadInput(f"the key of a change is a text of up to {_MAX_KEY_LETTERS} letters")
        with self.hold(image_id) as (entry, opened):
            if key is not None and key in entry.keys:
                rows, cols = opened.windows.shape
                return slice(0, rows), slice(0, cols)
            self._check_version(entry, version)
            before = opened.drawing.doodles
            try:
                changed = act(opened)
                if changed is None:
                    return None
                layers, bounds = changed
                opened.note_activity()
                self.shelf.save(entry.path, opened)
            except Conflict:
                # What lies on disk is the truth now.
                entry.version += 1
                entry.opened = None
                raise
            except BaseException:
                opened.drawing.restore(before)
                raise
            opened.n_scribblings += "scribbles" in layers
            entry.result_version += "result" in layers
            entry.version += 1
            entry.message = None
            entry.update_state()
            if key is not None:
                entry.keys.append(key)
            return bounds

    def _check_version(self, entry: ImageEntry, version: int) -> None:
        if version != entry.version:
            raise Conflict("this image was changed in another tab or program, so this was not saved; look at it again")

    def _grow_classes(self, table: ClassTable | None, *, replacing: bool = False) -> None:
        """Go over to a table that has more classes (or, replacing, others), in all images that are open."""
        if table is None or table == self.table:
            return
        if replacing:
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


def _round_points(stroke: Stroke) -> Stroke:
    """Keep a sixty-fourth of a pixel: no hand is steadier, and files stay small."""
    return replace(stroke, points=tuple((round(r * 64) / 64, round(c * 64) / 64) for r, c in stroke.points))


def _fill(opened: OpenImage, click: Stroke) -> Stroke:
    """Make the stroke that covers the connected area of one value around a point."""
    rows, cols = opened.windows.shape
    row, col = (round(value) for value in click.points[0])
    if not (0 <= row < rows and 0 <= col < cols):
        raise BadInput("that point lies outside of the image; click inside")
    values = opened.view(click.layer, slice(0, rows), slice(0, cols))
    return replace(click, tool="region", width=1.0, points=mask_to_points(find_area(values, (row, col))))


def parse_classes(rows: Iterable[Any]) -> ClassTable:
    """Read a list of classes as the page sends it: ``name`` and ``color`` as ``#rrggbb``.

    Raises
    ------
    BadInput
    """
    try:
        pairs = [(str(row["name"]).strip(), parse_color(str(row["color"]))) for row in rows]
    except (TypeError, KeyError) as error:
        raise BadInput("a class is a name and a colour; load the page again") from error
    return ClassTable(tuple(name for name, _ in pairs), tuple(color for _, color in pairs))
