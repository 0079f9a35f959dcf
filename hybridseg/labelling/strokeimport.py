"""Import labels of other tools as strokes, which can be viewed, corrected and spread like one's own.

Lines and points become scribbles, areas become the result, which can be painted over. Classes are matched by name.
The seeds of a model are no scribbles: nobody drew them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hybridseg.batch.madeby import names_model
from hybridseg.classes import MAX_CLASSES, ClassTable, class_key, seeds_to_labels
from hybridseg.errors import BadInput, HybridSegError, join_names, located
from hybridseg.io.annotations.canvas import Mask
from hybridseg.io.annotations.doodles import MAX_POINTS, MAX_STROKES, Stroke
from hybridseg.io.annotations.formats import read_annotations
from hybridseg.io.annotations.items import Item, check_image, clean_name, extend_table, split_labels
from hybridseg.io.annotations.runlengths import Rle
from hybridseg.io.annotations.strokes import draw_strokes, mask_to_points
from hybridseg.io.labels.formats import read_made_by
from hybridseg.io.pairing import machine_ending
from hybridseg.palette import Color

# Limit on the masks of all objects together, in areas of the image: real ones hardly overlap.
_MAX_COVERS = 1000


@dataclass(frozen=True)
class Imported:
    """What a file of another tool has for one image.

    Parameters
    ----------
    strokes : tuple of Stroke
        Later ones cover earlier ones.
    table : ClassTable
        The given classes, then those that only the file has. It names the ids of the strokes.
    warnings : tuple of str
        Sentences for the person.
    """

    strokes: tuple[Stroke, ...]
    table: ClassTable
    warnings: tuple[str, ...] = ()


def import_strokes(
    path: str | os.PathLike[str],
    *,
    shape: tuple[int, int],
    image_name: str,
    table: ClassTable | None = None,
    must_name_image: bool = False,
) -> Imported:
    """Return what was labelled on an image with another tool, or in another session, as strokes.

    Parameters
    ----------
    path : path-like
        A label map (``.mat``, ``.png``, ``.tif``), a labelme or COCO JSON, a ``.npz`` of Doodler, or our
        ``NAME_doodles.json``.
    shape : tuple of int
        Rows and columns of the image. A file for another size is refused: a scale is never guessed.
    image_name : str
        Name of the image, without folders; it is looked up in a COCO file.
    table : ClassTable or None
        The classes so far. None: those of the file.
    must_name_image : bool
        Refuse a file that names another image, or none. Otherwise that is a warning.

    Raises
    ------
    MissingInput, BadInput
        When the file is missing, of no known format, damaged, for another image, or too ragged.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp(), "a.json")
    >>> _ = path.write_text('{"shapes": [{"label": "sand", "points": [[0, 0], [4, 0], [4, 2], [0, 2]]}]}')
    >>> found = import_strokes(path, shape=(3, 5), image_name="a.jpg")
    >>> found.table.names, found.strokes[0].layer
    (('sand',), 'result')
    >>> from hybridseg.io.annotations.strokes import draw_strokes
    >>> draw_strokes((3, 5), found.strokes).tolist()
    [[1, 1, 1, 1, 0], [1, 1, 1, 1, 0], [0, 0, 0, 0, 0]]
    """
    found = read_annotations(path, shape=shape, image_name=image_name, table=table)
    with located(path):
        warnings = [*check_image(found, shape, image_name, must_name_image=must_name_image), *found.warnings]
        drafts = _Drafts(shape)
        # Only in a label map can a model have left seeds.
        is_drawn = not found.is_derived or not _is_by_model(Path(path))
        for item in found.items:
            if is_drawn or item.drawn.layer == "result":
                drafts.add(item)
        if not drafts.strokes:
            warnings.append("it has no labels for this image")
        return _resolve(drafts, found.classes, table, warnings)


def _is_by_model(path: Path) -> bool:
    """Return whether a label map is the result of a model, by its name or by its record."""
    if machine_ending(path):
        return True
    try:
        return names_model(read_made_by(path))
    except HybridSegError:
        # Of another tool, or with a record written by hand.
        return False


class _Drafts:
    """Strokes with the name of their class (None removes labels) in place of its id, within limits on their number."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.strokes: list[tuple[str | None, Stroke]] = []
        self.shape = shape
        self._n_points = self._n_masked = 0

    def add(self, item: Item) -> None:
        """Put a stroke or an area on top of the others."""
        drawn = item.drawn if isinstance(item.drawn, Stroke) else self._trace(item.drawn)
        if drawn is not None:
            self._count(len(drawn.points))
            self._n_points += len(drawn.points)
            self.strokes.append((item.name, drawn))

    def _trace(self, mask: Mask | Rle) -> Stroke | None:
        """Turn a mask into a region; None when it is empty."""
        pixels = mask.pixels
        self._n_masked += pixels.size
        if self._n_masked > _MAX_COVERS * self.shape[0] * self.shape[1]:
            raise BadInput("its masks cover the image far too many times over; leave some of its objects out")
        self._count(2 * _count_runs(pixels))
        points = mask_to_points(pixels)
        if any(mask.origin):
            points = tuple((row + mask.origin[0], col + mask.origin[1]) for row, col in points)
        return Stroke("region", 0, 1.0, points, layer=mask.layer) if points else None

    def _count(self, n_points: int) -> None:
        if self._n_points + n_points > MAX_POINTS:
            raise BadInput(
                f"it is too ragged: it takes more than {MAX_POINTS:,} points; smooth it first, with the majority "
                "filter (hybridseg fcn make-labels --radius 3) or in the program that made it"
            )
        if len(self.strokes) >= MAX_STROKES:
            raise BadInput(f"it has more than {MAX_STROKES:,} areas and lines; leave some of them out")


def _count_runs(mask: np.ndarray) -> int:
    """Return the number of horizontal runs of true pixels."""
    starts = mask[:, 1:] & ~mask[:, :-1]
    return int(np.count_nonzero(mask[:, :1]) + np.count_nonzero(starts))


def _resolve(
    drafts: _Drafts, classes: Mapping[str, Color | None], table: ClassTable | None, warnings: list[str]
) -> Imported:
    """Turn class names into ids of the table, extended by the new ones."""
    used = {class_key(name) for name, _ in drafts.strokes if name is not None}
    names = dict.fromkeys(map(clean_name, classes))
    if table is not None or len(names) > MAX_CLASSES:
        names = {name: None for name in names if class_key(name) in used}
    full = extend_table(table, names, {class_key(name): color for name, color in classes.items() if color})
    if table is not None and len(full) > len(table):
        new = full.names[len(table) :]
        warnings.append(
            f"{join_names(new)} {'is a new class' if len(new) == 1 else 'are new classes'} at the end of the list"
        )
    ids = {key: i for i, key in enumerate(full.keys)}
    strokes = []
    for name, stroke in drafts.strokes:
        # The id of an eraser is ignored.
        unnamed = 0 if stroke.tool == "erase" else -1
        strokes.append(replace(stroke, class_id=unnamed if name is None else ids[class_key(name)]))
    return Imported(tuple(_apply_unlabelled(strokes, full, drafts.shape)), full, tuple(warnings))


def _apply_unlabelled(strokes: list[Stroke], table: ClassTable, shape: tuple[int, int]) -> list[Stroke]:
    """Apply the areas that mean "no class" (their id is -1), as no stroke can: return regions with them cut out."""
    cut = [i for i, stroke in enumerate(strokes) if stroke.class_id < 0]
    if not cut:
        return strokes
    below = [stroke for stroke in strokes[: cut[-1]] if stroke.layer == "result"]
    if not any(stroke.class_id >= 0 for stroke in below):
        return [stroke for stroke in strokes if stroke.class_id >= 0]
    seeds = draw_strokes(shape, (stroke for stroke in strokes if stroke.layer == "result"))
    drawn = _Drafts(shape)
    for item in split_labels(seeds_to_labels(seeds), table.names, layer="result"):
        drawn.add(item)
    scribbles = [stroke for stroke in strokes if stroke.layer == "scribbles"]
    return scribbles + [replace(s, class_id=table.names.index(str(name))) for name, s in drawn.strokes]
