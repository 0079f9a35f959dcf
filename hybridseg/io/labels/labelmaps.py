"""Label maps as arrays, whatever file they come from: ``.mat``, paletted PNG, GeoTIFF.

Every reader returns a `LabelMap` and every writer takes one. The formats themselves are in `matfiles`, `labelpng`
and `labeltiff`; `formats` chooses among them by suffix.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hybridseg.classes import MAX_CLASSES, VOID, ClassTable, measure_shares, remap
from hybridseg.errors import BadInput, join_names, located
from hybridseg.io.jsonfiles import parse_json
from hybridseg.io.labels.picture import draw_labels
from hybridseg.io.rasters import GeoReference
from hybridseg.markup import name_some
from hybridseg.palette import Color, count_colors

logger = logging.getLogger(__name__)

# The share of pixels with a class that no program should have found, from which a person is told.
_MUCH = 0.01
_MOST_NAMED = 4


@dataclass(frozen=True, eq=False)
class LabelMap:
    """A class for each pixel, with the metadata of its file.

    Parameters
    ----------
    labels : numpy.ndarray
        (rows, cols) uint8, class ids from 0; VOID where there is none.
    table : ClassTable or None
        None when the file does not name its classes.
    seeds : numpy.ndarray or None
        (rows, cols) uint8 scribbles: 0 unlabelled, class k is k+1.
    made_by : str or None
        How a program made it: JSON, see `hybridseg.batch.madeby`.
    """

    labels: np.ndarray
    table: ClassTable | None = None
    seeds: np.ndarray | None = None
    georeference: GeoReference | None = None
    made_by: str | None = None

    def __repr__(self) -> str:
        rows, cols = self.labels.shape
        return f"<{type(self).__name__}: {rows} x {cols} pixels, {self._describe_classes()}>"

    def _describe_classes(self) -> str:
        """Say in a line which classes occur, and how many pixels they have, or how many ids that have no names."""
        if self.table is None:
            return f"{len(np.unique(self.labels[self.labels != VOID]))} ids without names"
        return name_some((f"{name} {share:.0%}" for name, share in self.shares.items()), _MOST_NAMED) or "no class"

    def _repr_png_(self) -> bytes:
        return draw_labels(self.labels, self.table)

    @property
    def shares(self) -> dict[str, float]:
        """Share of the labelled pixels of each class that occurs, the largest first."""
        return {} if self.table is None else measure_shares(self.labels, self.table)

    def require_table(self, where: object) -> ClassTable:
        """Return the class table.

        Raises
        ------
        BadInput
            When the file has none: ids without names are never guessed.
        """
        if self.table is None:
            raise BadInput(
                f"{where} does not name its classes; give the class file it was made with: --labels labels.txt"
            )
        return self.table

    def labels_as(self, wanted: ClassTable) -> np.ndarray:
        """Return the labels as ids of another table, matched by name; ids without names are taken as they are.

        Raises
        ------
        BadInput
            When a class is not in `wanted`.
        """
        if self.table is None or self.table.keys == wanted.keys:
            return self.labels
        return remap(self.table, wanted)[self.labels]


def narrow_labels(
    values: np.ndarray, table: ClassTable | None, *, where: object, none_after_last: bool = False
) -> np.ndarray:
    """Convert class ids of any numeric type to bytes.

    Parameters
    ----------
    values : numpy.ndarray
        (rows, cols), whole numbers in any real type or bool.
    table : ClassTable or None
        When given, an id must be one of its classes, or 255: VOID.
    where : object
        Named in the message.
    none_after_last : bool
        The id just after the last class means "none of them" and becomes VOID, as in the ``.mat`` of the classic
        programs. In any other file it is a class that the list lacks.

    Returns
    -------
    numpy.ndarray
        (rows, cols) uint8, C-contiguous.

    Raises
    ------
    BadInput
        For another shape, fractions, or an id without a class.

    Examples
    --------
    >>> narrow_labels(np.array([[0, 255]]), ClassTable.from_names(["a", "b"]), where="x").tolist()
    [[0, 255]]
    """
    _check_whole_numbers(values, where=where)
    n_classes = len(table) if table else MAX_CLASSES
    n_allowed = n_classes + (table is not None and none_after_last)
    if int(values.min()) < 0 or int(values.max()) >= n_allowed:
        is_id = values != VOID
        unknown = is_id & ((values < 0) | (values >= n_allowed))
        if unknown.any():
            names = f"0 to {n_classes - 1}" + (f" ({join_names(table.names)})" if table else "")
            raise BadInput(
                f"{where} holds class ids from {int(values.min())} to {int(values[is_id].max())}, but the classes are "
                f"{names}: {unknown.mean():.1%} of the pixels have an id without a name; give the class file that it "
                "was made with, with the name of every class: --labels labels.txt"
            )
    labels = np.ascontiguousarray(values, dtype=np.uint8)
    return labels if n_allowed == n_classes else _void_none(labels, n_classes, where)


def _void_none(labels: np.ndarray, n_classes: int, where: object) -> np.ndarray:
    """Return labels with the id just after the last class as VOID, and say so where that is much."""
    none = labels == n_classes
    share = np.count_nonzero(none) / none.size
    if share >= _MUCH:
        logger.warning(
            '%s: %.1f %% of the pixels have the id %d, one more than its %d classes; in a .mat that is "none of them", '
            "so they become void; if they are of a class, its name is missing from the list (--labels)",
            *(where, 100 * share, n_classes, n_classes),
        )
    # Not in place: `ascontiguousarray` may have returned the caller's own array.
    return np.where(none, np.uint8(VOID), labels) if share else labels


def narrow_seeds(values: np.ndarray, table: ClassTable | None, *, where: object) -> np.ndarray:
    """Convert scribbles (0 = unlabelled, class k is k+1) of any numeric type to bytes.

    Raises
    ------
    BadInput
        For another shape, fractions, or a value above the number of classes.
    """
    _check_whole_numbers(values, where=where)
    highest = len(table) if table else MAX_CLASSES
    if int(values.min()) < 0 or int(values.max()) > highest:
        raise BadInput(
            f"{where} holds scribbles from {int(values.min())} to {int(values.max())}, "
            f"but with {highest} classes they go from 0 (none) to {highest}"
        )
    return np.ascontiguousarray(values, dtype=np.uint8)


def match_colors(rgb: np.ndarray, table: ClassTable) -> np.ndarray:
    """Convert a painted label map to class ids.

    Parameters
    ----------
    rgb : numpy.ndarray
        (rows, cols, 3) uint8. Black is unlabelled unless a class is black.
    table : ClassTable
        Its colours must differ from one another.

    Returns
    -------
    numpy.ndarray
        (rows, cols) uint8.

    Raises
    ------
    BadInput
        When the colour of a pixel belongs to no class, or to two.

    Examples
    --------
    >>> table = ClassTable(("a", "b"), ((255, 0, 0), (0, 0, 255)))
    >>> match_colors(np.array([[[0, 0, 255], [255, 0, 0]]], np.uint8), table).tolist()
    [[1, 0]]
    """
    by_color = _ids_by_color(table.names, table.colors)
    found, places, counts = count_colors(rgb)
    colors = list(map(tuple, found.tolist()))
    unknown = [i for i, color in enumerate(colors) if color not in by_color]
    if unknown:
        n_pixels = int(counts[unknown].sum())
        raise BadInput(
            f"{n_pixels:,} pixels ({n_pixels / places.size:.2%}) have colours that no class has, such as "
            f"{colors[unknown[0]]}; give the colours of the mask (--labels with `name, r, g, b`, or --colors), or, if "
            "they are only blurred, turn it into a label map first: hybridseg convert --nearest-color"
        )
    return np.array([by_color[color] for color in colors], np.uint8)[places]


def match_painted(rgb: np.ndarray, table: ClassTable | None, *, where: object) -> np.ndarray:
    """Convert a picture in the colours of classes, (rows, cols, 3) uint8, to class ids.

    Raises
    ------
    BadInput
        When there is no table, a colour belongs to no class, or the picture is a photograph.
    """
    try:
        if table is None:
            raise BadInput(f"{where} is a colour picture; give the colours of its classes: --labels labeldefs.txt")
        with located(where):
            return match_colors(rgb, table)
    except BadInput as error:
        n_colors = len(np.unique(rgb.reshape(-1, 3), axis=0))
        if n_colors <= MAX_CLASSES:
            raise
        raise BadInput(
            f"{where} has {n_colors:,} colours: it is a photograph and no mask, or a mask with blurred edges; give the "
            "mask, or turn what is blurred into classes: hybridseg convert --nearest-color"
        ) from error


def encode_names(table: ClassTable) -> str:
    """Encode class names as one line of text, for PNG and TIFF label maps."""
    return json.dumps(table.names, ensure_ascii=False)


def decode_names(text: str) -> list[str]:
    """Decode what `encode_names` encoded.

    Raises
    ------
    BadInput
        When the text is not a list of names.

    Examples
    --------
    >>> decode_names('["water", "sand"]')
    ['water', 'sand']
    """
    try:
        names = parse_json(text)
    except BadInput:
        names = None
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise BadInput(f"its list of class names is damaged: {text[:60]!r}")
    return names


def _check_whole_numbers(values: np.ndarray, *, where: object) -> None:
    if values.ndim != 2 or values.size == 0:
        raise BadInput(f"{where} is of shape {values.shape}, not (rows, cols)")
    if values.dtype.kind not in "biuf":
        raise BadInput(f"{where} holds {values.dtype}, not numbers")
    if values.dtype.kind == "f" and not (np.isfinite(values).all() and (values == np.floor(values)).all()):
        raise BadInput(f"{where} holds fractions or NaN; a label map holds whole class ids")


def _ids_by_color(names: Sequence[str], colors: Sequence[Color]) -> dict[Color, int]:
    by_color: dict[Color, int] = {}
    for i, color in enumerate(colors):
        if color in by_color:
            raise BadInput(
                f"the classes {names[by_color[color]]!r} and {names[i]!r} share the colour {color}, "
                "so a painted label map cannot be read; change one of them"
            )
        by_color[color] = i
    by_color.setdefault((0, 0, 0), VOID)
    return by_color
