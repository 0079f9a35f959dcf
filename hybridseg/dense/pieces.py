"""Class probabilities as they come: piece by piece, joined to strips of all columns, resized strip by strip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from hybridseg.resample import find_neighbours

# Of probabilities that are resized.
_STRIP_ROWS, _STRIP_PIXELS = 256, 1 << 21
# Of what several networks, or a network and a CRF, say of one image.
_EVEN_ROWS = 128


@dataclass(frozen=True, eq=False)
class Piece:
    """Class probabilities of a part of an image: (rows, cols, n_classes) float32, from a row and a column on.

    Pieces come from left to right, and then from top to bottom.
    """

    row: int
    col: int
    probs: np.ndarray


def join_pieces(pieces: Iterable[Piece], n_cols: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the same in strips of all columns, each after its first row.

    Examples
    --------
    >>> halves = [Piece(0, col, np.full((2, 3, 1), col, np.float32)) for col in (0, 3)]
    >>> [(row, strip[0, :, 0].tolist()) for row, strip in join_pieces(halves, 6)]
    [(0, [0.0, 0.0, 0.0, 3.0, 3.0, 3.0])]
    """
    strip = np.empty(0, np.float32)
    for piece in pieces:
        (rows, cols), end = piece.probs.shape[:2], piece.col + piece.probs.shape[1]
        if cols == n_cols:
            yield piece.row, piece.probs
            continue
        if piece.col == 0:
            strip = np.empty((rows, n_cols, *piece.probs.shape[2:]), piece.probs.dtype)
        strip[:, piece.col : end] = piece.probs
        if end == n_cols:
            yield piece.row, strip


def even_strips(strips: Iterable[tuple[int, np.ndarray]], step: int = _EVEN_ROWS) -> Iterator[np.ndarray]:
    """Yield the same rows in strips of one height.

    Examples
    --------
    >>> rows = np.zeros((200, 1))
    >>> [len(strip) for strip in even_strips([(0, rows[:150]), (150, rows[150:])])]
    [128, 72]
    """
    left: list[np.ndarray] = []
    for _, strip in strips:
        left.append(strip)
        if sum(map(len, left)) >= step:
            rows = left[0] if len(left) == 1 else np.concatenate(left)
            end = len(rows) - len(rows) % step
            yield from (rows[row : row + step] for row in range(0, end, step))
            left = [rows[end:]]
    rows = np.concatenate(left)
    if len(rows):
        yield rows


def enlarge_strips(
    strips: Iterable[tuple[int, np.ndarray]], old: tuple[int, int], new: tuple[int, int]
) -> Iterator[tuple[int, np.ndarray]]:
    """Resize probabilities bilinearly, strip by strip; those of one size always have the same rows.

    Parameters
    ----------
    strips : iterable of (int, numpy.ndarray)
        From top to bottom, (any, cols, n_classes) float32 each.
    old, new : tuple of int
        Rows and columns of all of them, and of the result.

    Yields
    ------
    start : int
    probs : numpy.ndarray
        (strip rows, cols, n_classes) float32.

    Examples
    --------
    >>> [(start, strip)] = enlarge_strips([(0, np.array([[[0.0], [1.0]]], np.float32))], (1, 2), (1, 4))
    >>> strip[..., 0].tolist()
    [[0.0, 0.25, 0.75, 1.0]]
    """
    left, right, col_share = find_neighbours(old[1], new[1])
    upper, lower, row_share = find_neighbours(old[0], new[0])
    step = min(max(_STRIP_PIXELS // new[1], 1), _STRIP_ROWS)
    incoming, parts, top = iter(strips), list[np.ndarray](), 0
    for start in range(0, new[0], step):
        rows = slice(start, start + step)
        first, end = upper[rows][0], lower[rows][-1] + 1
        while top + sum(map(len, parts)) < end:
            parts.append(next(incoming)[1])
        known = parts[0] if len(parts) == 1 else np.concatenate(parts)
        parts, top = [known[first - top :]], first
        near = parts[0][: end - first]
        # No more is widened than a strip needs.
        wide = near if old[1] == new[1] else near[:, left] + (near[:, right] - near[:, left]) * col_share[:, None]
        strip = wide[upper[rows] - first]
        if old[0] != new[0]:
            strip += (wide[lower[rows] - first] - strip) * row_share[rows, None, None]
        yield start, strip
