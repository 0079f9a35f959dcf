"""A labelling session: images, classes, strokes, results. All that the page does, without HTTP.

Every change is on disk when its method returns. A change says of which version of the image it was made; one that was
made of an older one is refused, so that two tabs (or two programs) cannot undo each other's work in silence.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hybridseg.errors import BadInput, MissingInput
from hybridseg.io.annotations.doodles import Stroke, parse_stroke
from hybridseg.io.pairing import find_strokes_file, image_stem
from hybridseg.labelling.album import Album
from hybridseg.labelling.drawing import Bounds
from hybridseg.labelling.maptiles import TILE_SIZE, count_levels, draw_map_tile, draw_picture_tile
from hybridseg.labelling.shelf import Conflict
from hybridseg.labelling.strokeimport import import_strokes
from hybridseg.labelling.strokes import find_area, mask_to_points
from hybridseg.labelling.work import ImageEntry, OpenImage
from hybridseg.progress import Progress, no_progress

_MAX_STROKE_POINTS = 20_000
_MAX_KEY_LETTERS = 40


class LabelSession(Album):
    """What a person can do with the images of an album."""

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

    def import_labels(
        self, image_id: str, version: int, path: Path, *, must_name_image: bool = False
    ) -> tuple[str, ...]:
        """Add what another program, or an earlier run, has drawn on an image. Gives warnings."""
        entry, opened = self.open(image_id)
        shape, name = opened.windows.shape, entry.path.name
        found = import_strokes(path, shape=shape, image_name=name, table=self.table, must_name_image=must_name_image)
        if not found.strokes:
            raise BadInput(f"{path.name} has nothing drawn on this image")

        def draw(opened: OpenImage) -> tuple[set[str], Bounds]:
            for stroke in found.strokes:
                opened.drawing.add(stroke)
            return {stroke.layer for stroke in found.strokes}, (slice(0, shape[0]), slice(0, shape[1]))

        with self._lock, self.hold(image_id) as (entry, _):
            self._check_version(entry, version)
            self._grow_classes(found.table, keeping=True)
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
                # One file for many images must tell them apart.
                is_shared = image_stem(found) != entry.path.stem and not found.stem.startswith(f"{entry.path.stem}_")
                warnings = self.import_labels(entry.id, entry.version, found, must_name_image=is_shared)
                lines += [f"{entry.path.name}: {text}" for text in warnings]
            except (BadInput, MissingInput) as error:
                lines.append(f"{entry.path.name}: not imported: {error}")
        n_kept = len(self._entries) - len(fresh)
        if n_kept:
            lines.append(f"{n_kept} images have work of yours already; nothing was imported for them")
        return lines

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
