"""Label maps as arrays, whatever file they come from: ``.mat``, paletted PNG, GeoTIFF.

Every reader returns a `LabelMap` and every writer takes one. The formats themselves are in `matfiles`, `labelpng`
and `labeltiff`; `formats` chooses among them by suffix.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridseg.classes import MAX_CLASSES, VOID, ClassTable, measure_shares, remap
from hybridseg.errors import BadInput, join_names, located
from hybridseg.io.images import cut_rows
from hybridseg.io.jsonfiles import parse_json
from hybridseg.io.labels.picture import draw_labels
from hybridseg.io.rasters import GeoReference
from hybridseg.markup import count_of, name_some
from hybridseg.palette import Color, ColorIds

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
            return f"{count_of(len(np.unique(self.labels[self.labels != VOID])), 'id')} without names"
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


@dataclass(frozen=True, eq=False)
class Ids:
    """Whole numbers of a map as bytes, whatever type they had.

    Parameters
    ----------
    values : numpy.ndarray
        uint8; VOID also in place of those that are no bytes.
    n_outside : int
        How many those are.
    ends : (int, int)
        The least and the greatest of those.
    """

    values: np.ndarray
    n_outside: int = 0
    ends: tuple[int, int] = (VOID, 0)

    def span(self, *, with_void: bool = True) -> tuple[int, int]:
        """Return the least and the greatest value."""
        shown = {} if with_void else {"where": self.values != VOID, "initial": 0}
        return min(int(self.values.min()), self.ends[0]), max(int(self.values.max(**shown)), self.ends[1])


def gather_ids(
    shape: tuple[int, ...], parts: Iterable[tuple[Any, np.ndarray]], *, where: object, nodata: float | None = None
) -> Ids:
    """Make bytes of whole numbers of any real type or bool, part by part: a wide type is never in memory as a whole.

    Parameters
    ----------
    parts : iterable of (index, numpy.ndarray)
        The place of each part in an array of the shape, and its values.
    where : object
        Named in the message.
    nodata : float or None
        The value that becomes VOID, whatever it is.

    Raises
    ------
    BadInput
        For fractions, NaN and infinity.

    Examples
    --------
    >>> found = gather_ids((2, 2), [(0, np.array([1.0, 2.0])), (1, np.array([-9999, 7]))], where="x")
    >>> found.values.tolist(), found.n_outside, found.span()
    ([[1, 2], [255, 7]], 1, (-9999, 255))
    """
    values, n_outside, (low, high) = np.empty(shape, np.uint8), 0, (VOID, 0)
    for place, part in parts:
        empty = None
        if nodata is not None and (nodata != VOID or part.dtype != np.uint8):
            # Masked first: a nodata value such as -9999 or 0 is not a class.
            empty = np.isnan(part) if np.isnan(nodata) else part == nodata
            part = np.where(empty, part.dtype.type(0), part)
        _check_whole_numbers(part, where=where)
        if part.dtype != np.uint8 and (int(part.min()) < 0 or int(part.max()) > VOID):
            outside = (part < 0) | (part > VOID)
            n_outside += int(np.count_nonzero(outside))
            low, high = min(low, int(part[outside].min())), max(high, int(part[outside].max()))
            with np.errstate(invalid="ignore"):
                part = part.astype(np.uint8)
            part[outside] = VOID
        values[place] = part
        if empty is not None:
            values[place][empty] = VOID
    return Ids(values, n_outside, (low, high))


def narrow_labels(
    values: np.ndarray | Ids, table: ClassTable | None, *, where: object, none_after_last: bool = False
) -> np.ndarray:
    """Convert class ids of any numeric type to bytes.

    Parameters
    ----------
    values : numpy.ndarray or Ids
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
    ids = _as_ids(values, where=where)
    labels = np.ascontiguousarray(ids.values)
    n_classes = len(table) if table else MAX_CLASSES
    n_allowed = n_classes + (table is not None and none_after_last)
    if ids.n_outside or int(labels.max()) >= n_allowed:
        n_unknown = ids.n_outside + int(np.count_nonzero((labels >= n_allowed) & (labels != VOID)))
        if n_unknown:
            (low, _), (_, high) = ids.span(), ids.span(with_void=False)
            names = f"0 to {n_classes - 1}" + (f" ({join_names(table.names)})" if table else "")
            raise BadInput(
                f"{where} holds class ids from {low} to {high}, but the classes are {names}: "
                f"{n_unknown / labels.size:.1%} of the pixels have an id without a name; give the class file that it "
                "was made with, with the name of every class: --labels labels.txt"
            )
    return labels if n_allowed == n_classes else _void_none(labels, n_classes, where)


def _as_ids(values: np.ndarray | Ids, *, where: object) -> Ids:
    if isinstance(values, Ids):
        return values
    if values.ndim != 2 or values.size == 0:
        raise BadInput(f"{where} is of shape {values.shape}, not (rows, cols)")
    if values.dtype == np.uint8:
        return Ids(values)
    return gather_ids(values.shape, ((rows, values[rows]) for rows in cut_rows(values)), where=where)


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


def narrow_seeds(values: np.ndarray | Ids, table: ClassTable | None, *, where: object) -> np.ndarray:
    """Convert scribbles (0 = unlabelled, class k is k+1) of any numeric type to bytes.

    Raises
    ------
    BadInput
        For another shape, fractions, or a value above the number of classes.
    """
    ids = _as_ids(values, where=where)
    (low, high), highest = ids.span(), len(table) if table else MAX_CLASSES
    if ids.n_outside or high > highest:
        raise BadInput(
            f"{where} holds scribbles from {low} to {high}, "
            f"but with {highest} classes they go from 0 (none) to {highest}"
        )
    return np.ascontiguousarray(ids.values)


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
    ids = ColorIds(_ids_by_color(table.names, table.colors))
    labels = ids.find(rgb)
    ids.refuse_unknown()
    return labels


def match_painted(
    parts: Iterable[tuple[slice, np.ndarray]], table: ClassTable | None, *, shape: tuple[int, int], where: object
) -> np.ndarray:
    """Convert a picture in the colours of classes to class ids, (rows, cols) uint8.

    Parameters
    ----------
    parts : iterable of (slice, numpy.ndarray)
        Some rows each, and their pixels, (rows, cols, 3) uint8.

    Raises
    ------
    BadInput
        When there is no table, a colour belongs to no class, or the picture is a photograph.
    """
    with located(where):
        ids = ColorIds(_ids_by_color(table.names, table.colors) if table else {})
    labels = np.empty(shape, np.uint8)
    for rows, rgb in parts:
        labels[rows] = ids.find(rgb)
    if not ids.n_unknown:
        return labels
    if ids.n_colors > MAX_CLASSES:
        raise BadInput(
            f"{where} has {ids.n_colors:,} colours: it is a photograph and no mask, or a mask with blurred edges; give "
            "the mask, or turn what is blurred into classes: hybridseg convert --nearest-color"
        )
    if table is None:
        raise BadInput(f"{where} is a colour picture; give the colours of its classes: --labels labeldefs.txt")
    with located(where):
        ids.refuse_unknown()
    return labels


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
