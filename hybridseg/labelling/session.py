"""A labelling session: everything that the page does, without HTTP.

Every change is on disk when its method returns. A change names the version of the image that it was made on; one made
on an older version is refused, so that two tabs (or two programs) cannot silently undo each other's work.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hybridseg.classes import ClassTable, count_labels
from hybridseg.errors import BadInput, Conflict, HybridSegError, MissingInput, join_names
from hybridseg.figures import FigureOptions
from hybridseg.io.annotations.doodles import MAX_KEY_CHARACTERS, Stroke, parse_stroke
from hybridseg.io.annotations.strokes import fill_area
from hybridseg.io.masks import ANNOTATIONS, MASKS, describe_wanted, find_annotations
from hybridseg.io.pairing import image_stem, list_files
from hybridseg.labelling.accepted import without_result
from hybridseg.labelling.album import Album
from hybridseg.labelling.drawing import Bounds
from hybridseg.labelling.entries import ImageEntry, OpenImage
from hybridseg.labelling.maptiles import TILE_SIZE, count_levels, draw_map_tile, draw_picture_tile
from hybridseg.labelling.polygons import describe_at, describe_latest, reshape
from hybridseg.labelling.spread import sample_file
from hybridseg.labelling.spreading import SpreadOptions
from hybridseg.labelling.strokeimport import import_strokes
from hybridseg.labelling.suggesting import Suggester
from hybridseg.labelling.wand import View
from hybridseg.learning.experience import Experience, Found, Lessons
from hybridseg.models.sam import Sam
from hybridseg.progress import Progress, no_progress

_MAX_STROKE_POINTS = 20_000


class LabelSession:
    """What a person can do with the images of an album.

    Parameters
    ----------
    window : int
        Side of the window in which the page walks over an image, in pixels.
    sam : Sam or None
        Networks that find the area of a click.
    suggester : Suggester or None
        A model that suggests labels before the first stroke.
    """

    def __init__(
        self,
        album: Album,
        *,
        options: SpreadOptions = SpreadOptions(),
        window: int = 500,
        figures: FigureOptions = FigureOptions(),
        sam: Sam | None = None,
        suggester: Suggester | None = None,
    ) -> None:
        if not 50 <= window <= 10_000:
            raise BadInput(f"a window of {window} pixels cannot walk over an image; give 50 to 10000")
        self.album, self.options, self.window, self.figures = album, options, window, figures
        self.sam, self._suggester = sam, suggester
        self._experience = Experience(album.list_accepted(), self._look_at)

    def teach(self, entry: ImageEntry, table: ClassTable, *, keeps: bool, n_looks: int | None = None) -> Lessons:
        """Return what the other images have taught, for an image; with `keeps` they learn from it too."""
        return Lessons(self._experience, entry.id, table.keys, self.options.others, keeps, n_looks)

    def forget(self, image_id: str) -> None:
        """Let an image teach the others no more, until it is labelled as a whole again."""
        self._experience.forget(image_id)

    def _look_at(self, image_id: str) -> Found | None:
        """Return what the scribbles on disk of an image teach; None where they cannot be read."""
        path, least = self.album.entries[image_id].path, 2 if self._suggester is None else 1
        try:
            return sample_file(path, self.album.shelf.strokes_path(path), self.options, least=least)
        except (HybridSegError, MemoryError):
            return None

    def suggester_for(self, opened: OpenImage) -> Suggester | None:
        """Return the model that suggests labels for an image; none does for imported labels without a change."""
        return None if opened.drawing.log.is_imported else self._suggester

    def describe(self, image_id: str) -> dict[str, Any]:
        """Return all that the page shows about an image; opens it."""
        entry, opened = self.album.open(image_id)
        log, info, job = opened.drawing.log, opened.windows.info, entry.job
        return {
            "id": entry.id,
            "name": entry.path.name,
            "rows": info.rows,
            "cols": info.cols,
            "bands": info.n_colors,
            "levels": count_levels(opened.windows.shape),
            "tile_size": TILE_SIZE,
            "version": entry.version,
            "result_version": entry.result_version,
            "classes_version": self.album.classes_version,
            "state": entry.state,
            "n_strokes": len(log.strokes),
            "drawn": log.drawn_ids,
            "polygon": describe_latest(log),
            "has_scribbles": any(stroke.layer == "scribbles" for stroke in log.strokes),
            "can_undo": bool(log.strokes),
            "can_redo": bool(log.undone),
            "ends_with_import": bool(log.strokes and log.strokes[-1].group),
            "seconds": log.seconds,
            "has_result": opened.labels is not None or any(s.layer == "result" for s in log.strokes),
            "stale": opened.stale,
            "suggested": self.suggester_for(opened) is not None if opened.stale else opened.is_suggested,
            "taught_by": opened.taught_by,
            "transform": info.georeference and info.georeference.transform,
            "job": job and {"kind": job.kind, "label": job.label, "done": job.done, "total": job.total},
            "message": entry.message,
            "message_kind": entry.message_kind,
            "written": list(entry.written),
        }

    def draw_tile(
        self, image_id: str, layer: str, tile: tuple[int, int, int], *, bands: tuple[int, int, int] | None = None
    ) -> bytes:
        """Return a tile of the ``picture`` (JPEG) in some bands, or of the layer ``scribbles`` or ``result`` (PNG).

        Raises
        ------
        MissingInput, BadInput
            When there is no such tile, or there are no such bands.
        """
        _, opened = self.album.open(image_id)
        if layer == "picture":
            return draw_picture_tile(opened.show(bands), *tile)
        # A new class list changes the ids: the seeds and their table must be read together.
        with opened.lock:
            return draw_map_tile(
                partial(opened.view, layer), opened.windows.shape, opened.table, tile, keep_thin=layer == "scribbles"
            )

    def open_ahead(self) -> None:
        """Open the image that the page shows first, and reduce it to the size of a screen: while the browser starts."""
        # What cannot be read is told when the page asks for it.
        with suppress(HybridSegError, MemoryError):
            with self.album.lock:
                # The page may ask for another one first, whose classes must not change under the first stroke.
                if not self.album.entries or any(entry.opened for entry in self.album.entries.values()):
                    return
                image_id = next(iter(self.album.entries))
                level = max(self.describe(image_id)["levels"] - 2, 0)
            self.draw_tile(image_id, "picture", (level, 0, 0))

    def find_polygon(self, image_id: str, layer: str, row: float, col: float) -> dict[str, Any] | None:
        """Return the topmost polygon of a layer around a point, whose shape `add_stroke` can replace; or None."""
        return describe_at(self.album.open(image_id)[1].drawing.log, layer, (row, col))

    # Changes. Each returns the part of the image to be redrawn.

    def add_stroke(self, image_id: str, version: int, record: dict[str, Any]) -> Bounds | None:
        """Draw a stroke that the page sends; a ``fill`` becomes the region that it fills, a ``wand`` a polygon.

        A polygon that `replaces` another one (with `drawn`, the time of that one) is a new shape of it.

        Parameters
        ----------
        version : int
            Version of the image on which it was drawn.
        record : dict
            As in ``NAME_doodles.json``, without the time; and its `key`, see `_change`. The points of a ``wand`` are
            runs of pixels of a `View`, of which it has `window` and `shape`.

        Raises
        ------
        MissingInput, BadInput
            When the image does not exist, or the record is not a stroke of a class of this session.
        Conflict
            When the image has changed since.
        """
        _, seen = self.album.open(image_id)
        if self.album.table is None:
            raise BadInput("there are no classes yet; add some first (Edit classes)")
        record = {"class": 0, "width": 1.0, **record, "time": round(time.time(), 3)}
        tool = record.get("tool")
        is_fill = tool == "fill"
        sent_as = {"fill": "pen", "wand": "region"}.get(tool, tool) if isinstance(tool, str) else tool
        stroke = replace(_round_points(parse_stroke({**record, "tool": sent_as})), group="")
        if len(stroke.points) > _MAX_STROKE_POINTS:
            raise BadInput(f"a stroke may not have more than {_MAX_STROKE_POINTS} points; lift the pen now and then")
        if tool == "wand":
            corners = View.parse(record, seen.windows.shape).outline(stroke.points)
            stroke = replace(stroke, tool="polygon", points=corners)

        def draw(opened: OpenImage) -> tuple[set[str], Bounds]:
            fresh = _fill(opened, stroke) if is_fill else stroke
            if stroke.replaces is not None:
                fresh = reshape(opened.drawing.log, stroke, record.get("drawn"))
            return {fresh.layer}, opened.drawing.add(fresh)

        return self._change(image_id, version, draw, record.get("key"))

    def hides_scribbles(self, image_id: str, bounds: Bounds) -> bool:
        """Return whether part of the scribbles decides nothing, since the result is painted over it."""
        _, opened = self.album.open(image_id)
        with opened.lock:
            return opened.drawing.hides_scribbles(bounds)

    def undo(self, image_id: str, version: int, *, key: Any = None) -> Bounds | None:
        """Undo the last stroke; None when there is none."""
        return self._change(image_id, version, lambda opened: opened.drawing.undo(), key)

    def redo(self, image_id: str, version: int, *, key: Any = None) -> Bounds | None:
        """Redo the stroke that was undone last; None when there is none."""
        return self._change(image_id, version, lambda opened: opened.drawing.redo(), key)

    def set_smoothing(self, smoothness: int, specks: int) -> None:
        """Spread scribbles in another way from now on, see `SpreadOptions`; what was accepted stays as it is."""
        options = replace(self.options, smoothness=smoothness, specks=specks)
        with self.album.lock:
            if options == self.options:
                return
            self.options = options
            for entry in self.album.entries.values():
                if entry.state != "done":
                    entry.spoil_labels()

    def import_labels(
        self, image_id: str, version: int, path: Path, *, must_name_image: bool = False
    ) -> tuple[str, ...]:
        """Add what was labelled on an image with another tool, or in another session. Return warnings."""
        entry, opened = self.album.open(image_id)
        shape, name, table = opened.windows.shape, entry.path.name, self.album.table
        found = import_strokes(path, shape=shape, image_name=name, table=table, must_name_image=must_name_image)
        if not found.strokes:
            raise BadInput(f"{path.name} has no labels for this image")

        # They are undone together.
        group = secrets.token_hex(4)

        def draw(opened: OpenImage) -> tuple[set[str], Bounds]:
            opened.drawing.add(*(replace(stroke, group=group) for stroke in found.strokes))
            return {stroke.layer for stroke in found.strokes}, (slice(0, shape[0]), slice(0, shape[1]))

        with self.album.lock, self.album.hold(image_id) as (entry, _):
            entry.check_version(version)
            self.album.use_classes(found.table, save=True)
            # A longer class list is a change of its own, so the version may have moved on.
            self._change(image_id, entry.version, draw)
        return found.warnings

    def import_all(self, path: Path, *, masks_only: bool = False, progress: Progress = no_progress) -> list[str]:
        """Import the labels of another tool for every image that has no strokes yet, and none that were undone.

        Parameters
        ----------
        path : pathlib.Path
            A file, or a folder in which each image's file is found by its name.
        masks_only : bool
            Only take masks made by hand, see `hybridseg.io.masks.find_masks`, of a folder.

        Raises
        ------
        MissingInput, BadInput
            When there is no such file or folder.

        Returns
        -------
        list of str
            What the person should know, a line each.
        """
        if masks_only:
            list_files(path, ())
        elif not path.exists():
            raise MissingInput(f"there is no file or folder {path} to import")
        lines = []
        order = MASKS if masks_only else ANNOTATIONS
        entries, drawn_path = self.album.entries.values(), self.album.shelf.strokes_path
        fresh = [entry for entry in entries if entry.state == "untouched" and not drawn_path(entry.path).exists()]
        missing: list[str] = []
        for entry in progress(fresh, label="importing labels"):
            try:
                found = find_annotations(path, entry.path, order=order) if path.is_dir() else path
                # One file for many images must say which image it is for.
                is_shared = image_stem(found) != entry.path.stem and not found.stem.startswith(f"{entry.path.stem}_")
                warnings = self.import_labels(entry.id, entry.version, found, must_name_image=is_shared)
                lines += [f"{entry.path.name}: {text}" for text in warnings]
            except (BadInput, MissingInput) as error:
                lines.append(f"{entry.path.name}: not imported: {error}")
                missing += [entry.path.name] if isinstance(error, MissingInput) else []
        n_kept = len(entries) - len(fresh)
        if path.is_dir() and len(missing) == len(entries):
            what = describe_wanted("NAME", order=order)
            raise MissingInput(
                f"{path} has no labels for any of these images ({join_names(missing)}); looked for {what}"
            )
        if n_kept:
            has, them = ("has", "it") if n_kept == 1 else ("have", "them")
            lines.append(f"{n_kept} of {len(entries)} already {has} strokes, so nothing was imported for {them}")
        return lines

    def measure_shares(self, image_id: str) -> list[int] | None:
        """Return the number of pixels of each class in the result as the page shows it; None without a result."""
        _, opened = self.album.open(image_id)
        with opened.lock:
            if opened.labels is None and not opened.drawing.seeds["result"].any():
                return None
            rows, cols = opened.windows.shape
            seeds, n_classes = opened.view("result", slice(0, rows), slice(0, cols)), len(opened.table)
        return count_labels(seeds)[1 : n_classes + 1].tolist()

    def mark_accepted(self, entry: ImageEntry, opened: OpenImage, version: int) -> bool:
        """Record that the result of an image is on disk. Return False when it has changed since `version`."""
        with opened.lock:
            if entry.version != version or entry.opened is not opened:
                return False
            before = opened.drawing.log
            opened.drawing.mark(done=True)
            try:
                self.album.shelf.save(entry.path, opened)
            except BaseException:
                opened.drawing.restore(before)
                raise
            entry.update_state()
            return True

    def _change(
        self,
        image_id: str,
        version: int,
        act: Callable[[OpenImage], tuple[set[str], Bounds] | None],
        key: Any = None,
    ) -> Bounds | None:
        """Make a change and save it; undo it when it cannot be saved.

        The page gives each change a key. When an answer is lost it sends the change again; a change with a known key
        is not made twice, and all of the image counts as changed.
        """
        if key is not None and not (isinstance(key, str) and len(key) <= MAX_KEY_CHARACTERS):
            raise BadInput(f"the key of a change is a text of up to {MAX_KEY_CHARACTERS} characters")
        with self.album.hold(image_id) as (entry, opened):
            if key is not None and key in opened.drawing.log.keys:
                rows, cols = opened.windows.shape
                return slice(0, rows), slice(0, cols)
            entry.check_version(version)
            before = opened.drawing.log
            try:
                changed = act(opened)
                if changed is None:
                    return None
                layers, bounds = changed
                opened.note_activity()
                opened.drawing.mark(key=key)
                with without_result(self.album.shelf, entry, opened, before):
                    self.album.shelf.save(entry.path, opened)
            except Conflict:
                # The file is the truth now: it is read again.
                entry.version += 1
                entry.opened = None
                raise
            except BaseException:
                opened.drawing.restore(before)
                raise
            opened.n_changes += "scribbles" in layers
            entry.result_version += "result" in layers
            if opened.drawing.log.done and opened.aside is not None:
                opened.labels, opened.labels_after, opened.aside = opened.aside.labels, opened.n_changes, None
                entry.result_version += 1
            entry.version += 1
            entry.message = None
            entry.update_state()
            return bounds


def _round_points(stroke: Stroke) -> Stroke:
    """Round to a sixty-fourth of a pixel: no hand is steadier, and files stay small."""
    return replace(stroke, points=tuple((round(r * 64) / 64, round(c * 64) / 64) for r, c in stroke.points))


def _fill(opened: OpenImage, click: Stroke) -> Stroke:
    """Return the stroke that covers the connected area of equal value around a point."""
    rows, cols = opened.windows.shape
    row, col = (round(value) for value in click.points[0])
    if not (0 <= row < rows and 0 <= col < cols):
        raise BadInput("that point lies outside of the image; click inside")
    points = fill_area(partial(opened.view, click.layer), (rows, cols), (row, col))
    return replace(click, tool="region", width=1.0, points=points)
