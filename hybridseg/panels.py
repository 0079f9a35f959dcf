"""Pictures of one photo side by side: what is painted in them, what the colours mean, and how they fill a page."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hybridseg.classes import VOID, ClassTable, color_labels, seeds_to_labels
from hybridseg.palette import Color
from hybridseg.resample import reduce_shape, resize_nearest, shrink_image

Legend = tuple[tuple[str, Color], ...]
"""Names, each with its colour."""

# Inches: the text width of a page of a journal, and a height that leaves room for a caption.
PAGE_WIDTH, _PAGE_HEIGHT = 7.1, 4.5
GAP = 0.06
# Panels are easiest to compare side by side; they are stacked only where that makes them so many times larger.
_MUCH_LARGER = 1.27
# A longer strip is drawn wider than it is, or it would be a thin line.
_MAX_ASPECT = 40.0
_TINT, _TINT_ROWS = 0.6, 256
# Easily told from all colours of `hybridseg.palette` and from the greys of right pixels.
_WRONG: Color = (135, 0, 255)
_RIGHT: Color = (195, 195, 195)
_NO_CLASS: Color = (0, 0, 0)
_DARKENED: Color = (70, 70, 70)


@dataclass(frozen=True, eq=False)
class PictureRow:
    """Pictures side by side, (rows, cols, 3) uint8 each, with a title to their left, and one above each."""

    title: str
    pictures: Sequence[np.ndarray]
    heads: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Panels:
    """Pictures of one photo, all of one size, (rows, cols, 3) uint8 each.

    Parameters
    ----------
    heads : tuple of str
        What each picture shows.
    legend : Legend
        The colours that occur.
    """

    heads: tuple[str, ...]
    pictures: tuple[np.ndarray, ...]
    legend: Legend
    title: str = ""

    def arrange(self) -> tuple[list[PictureRow], float]:
        """Return the pictures in rows, and their width in inches: as large as they fit on a page."""
        rows, cols = self.pictures[0].shape[:2]
        n_cols, width = _arrange((rows, cols), len(self.pictures))
        starts = range(0, len(self.pictures), n_cols)
        return [PictureRow("", self.pictures[i : i + n_cols], self.heads[i : i + n_cols]) for i in starts], width


def fit_page(shape: tuple[int, int], n_panels: int, *, dpi: int) -> tuple[int, int]:
    """Return the rows and columns that a panel has at most, of so many of a photo of this shape on a page.

    Examples
    --------
    >>> fit_page((2000, 3000), 4, dpi=200), fit_page((100, 3000), 4, dpi=200), fit_page((20, 30), 4, dpi=200)
    ((444, 666), (47, 1420), (20, 30))
    """
    n_cols, width = _arrange(shape, n_panels)
    rows, (cols, *_) = fit_row([limit_aspect(shape)] * n_cols, round(width * dpi), gap=round(GAP * dpi))
    return min(shape[0], rows), min(shape[1], cols)


def fit_row(aspects: Sequence[float], width: int, *, gap: int) -> tuple[int, list[int]]:
    """Return the height of pictures of these aspects that fill a row together, and the width of each: whole pixels."""
    height = (width - (len(aspects) - 1) * gap) / sum(aspects)
    return max(1, round(height)), [max(1, int(height * aspect)) for aspect in aspects]


def limit_aspect(shape: tuple[int, ...]) -> float:
    """Return the width of a picture in units of its height, as it is drawn."""
    return min(max(shape[1] / shape[0], 1 / _MAX_ASPECT), _MAX_ASPECT)


def _arrange(shape: tuple[int, int], n_panels: int) -> tuple[int, float]:
    """Return in how many columns panels stand, so that they are large and no place is blank, and the width of all."""
    aspect = limit_aspect(shape)
    best, best_width = n_panels, 0.0
    for n_cols in range(n_panels, 0, -1):
        n_rows, rest = divmod(n_panels, n_cols)
        if not rest:
            height = (_PAGE_HEIGHT - (n_rows - 1) * GAP) / n_rows
            width = min((PAGE_WIDTH - (n_cols - 1) * GAP) / n_cols, height * aspect)
            if width > _MUCH_LARGER * best_width:
                best, best_width = n_cols, width
    return best, best * (best_width + GAP) - GAP


def list_legend(table: ClassTable, *maps: np.ndarray, void: str = "") -> Legend:
    """Return the names and colours of the classes that occur in label maps, uint8; `void` names what has none.

    Examples
    --------
    >>> table = ClassTable(("a", "b", "c"), ((1, 1, 1), (2, 2, 2), (3, 3, 3)))
    >>> list_legend(table, np.array([[2, 255]], np.uint8), np.array([[0]], np.uint8))
    (('a', (1, 1, 1)), ('c', (3, 3, 3)))
    >>> list_legend(table, np.array([[2, 255]], np.uint8), void="no class")
    (('c', (3, 3, 3)), ('no class', (0, 0, 0)))
    """
    present = np.zeros(256, bool)
    for labels in maps:
        present[np.unique(labels)] = True
    legend = tuple((table.names[i], table.colors[i]) for i in np.flatnonzero(present[: len(table)]))
    return (*legend, (void, _NO_CLASS)) if void and present[VOID] else legend


def join_legends(legends: Iterable[Legend], table: ClassTable) -> Legend:
    """Return each item of several legends once, the classes first.

    Examples
    --------
    >>> table = ClassTable(("a", "b"), ((1, 1, 1), (2, 2, 2)))
    >>> a, b, wrong = ("a", (1, 1, 1)), ("b", (2, 2, 2)), ("wrong", (3, 3, 3))
    >>> [name for name, _ in join_legends([(b, wrong), (a, b)], table)]
    ['a', 'b', 'wrong']
    """
    found = dict.fromkeys(item for legend in legends for item in legend)
    order = {name: i for i, name in enumerate(table.names)}
    return tuple(sorted(found, key=lambda item: order.get(item[0], len(order))))


def show_result(
    image: np.ndarray,
    labels: np.ndarray,
    table: ClassTable,
    *,
    shape: tuple[int, int],
    heads: tuple[str, ...],
    seeds: np.ndarray | None = None,
) -> Panels:
    """Show an image, its seeds where they are given, and the class of every pixel laid over it.

    Parameters
    ----------
    image : numpy.ndarray
        (any, any, 3) uint8.
    labels, seeds : numpy.ndarray
        (rows, cols) uint8.
    shape : (int, int)
        Rows and columns of the panels, as of `fit_page`.
    """
    small, labels = shrink_image(image, *shape), resize_nearest(labels, shape)
    maps, pictures = [labels], [small]
    more: Legend = ()
    if seeds is not None:
        seeds = resize_nearest(seeds, shape)
        maps.append(seeds_to_labels(seeds))
        pictures.append(np.where((seeds > 0)[..., None], tint_image(small, maps[1], table), small // 2))
        more = () if seeds.all() else (("no seed (darkened)", _DARKENED),)
    return Panels(heads, (*pictures, tint_image(small, labels, table)), list_legend(table, *maps) + more)


def show_errors(
    image: np.ndarray,
    truth: np.ndarray,
    result: np.ndarray,
    table: ClassTable,
    *,
    shape: tuple[int, int],
    ignored: Collection[int] = (),
    title: str = "",
) -> Panels:
    """Show an image, its mask, the result, and where they differ; pixels that the mask leaves out are black.

    Parameters
    ----------
    image : numpy.ndarray
        (any, any, 3) uint8.
    truth, result : numpy.ndarray
        (rows, cols) uint8.
    shape : (int, int)
        Rows and columns of the panels, as of `fit_page`.
    ignored : collection of int
        True classes that are not compared.
    """
    small = shrink_image(image, *shape)
    truth, result = resize_nearest(truth, shape), resize_nearest(result, shape)
    known = (truth != VOID) & ~np.isin(truth, list(ignored))
    wrong = known & (truth != result)
    # So light that no grey is taken for the colour of an error, whatever eyes see it.
    errors = np.repeat(small.mean(axis=2, keepdims=True) * 0.4 + 150, 3, axis=2).astype(np.uint8)
    errors[wrong], errors[~known] = _WRONG, _NO_CLASS
    legend = list_legend(table, truth, result)
    more = {
        ("right", _RIGHT): known & ~wrong,
        ("wrong", _WRONG): wrong,
        ("no class or not compared", _NO_CLASS): ~known | (result == VOID),
    }
    legend += tuple(item for item, where in more.items() if where.any())
    pictures = (small, color_labels(truth, table), color_labels(result, table), errors)
    return Panels(("image", "truth", "result", "errors"), pictures, legend, title)


def shrink_to(shape: tuple[int, int], longest: int) -> tuple[int, int]:
    """Return the rows and columns of an image whose longer side is reduced to so many pixels at most."""
    return reduce_shape(shape, min(1.0, longest / max(shape)))


def tint_image(image: np.ndarray, labels: np.ndarray, table: ClassTable) -> np.ndarray:
    """Blend the colours of labels, (rows, cols) whole numbers, with an image, (rows, cols, 3) uint8."""
    tinted = np.empty_like(image)
    for start in range(0, len(image), _TINT_ROWS):  # In strips: the products are eight times as large as the image.
        rows = slice(start, start + _TINT_ROWS)
        colors = color_labels(labels[rows].astype(np.uint8), table)
        tinted[rows] = image[rows] * (1 - _TINT) + colors * _TINT
    return tinted
