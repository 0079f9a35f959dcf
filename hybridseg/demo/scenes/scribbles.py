"""Sparse strokes on a label map, as a person would draw them."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

_COARSE_ROWS = 192
_STROKE_WIDTH = 0.006  # of the image height
_LEAST_SHARE = 0.004  # of the image: smaller pieces get no stroke of their own
_MOST_PIECES = 5  # per class
_EMPTY = np.zeros((0, 2), np.float32)


def draw_scribbles(labels: np.ndarray, *, rng: np.random.Generator) -> np.ndarray:
    """Draw a few thin strokes inside each large piece of each class.

    Parameters
    ----------
    labels : numpy.ndarray
        (rows, cols) class ids from 0.

    Returns
    -------
    numpy.ndarray
        (rows, cols) uint8 seeds: 0 = unlabelled, class k is stored as k+1. No stroke touches another class.

    Examples
    --------
    >>> labels = np.repeat(np.uint8([0, 1]), 32)[:, None].repeat(64, axis=1)
    >>> seeds = draw_scribbles(labels, rng=np.random.default_rng(0))
    >>> sorted(set(seeds.ravel().tolist()))
    [0, 1, 2]
    """
    rows = labels.shape[0]
    stride = max(1, rows // _COARSE_ROWS)
    coarse = labels[::stride, ::stride]
    seeds = np.zeros(labels.shape, np.uint8)
    room = _measure_room(coarse)
    for class_id in np.unique(coarse):
        for piece in _find_large_pieces(coarse == class_id):
            for path in _plan_strokes(np.where(piece, room, 0.0), rng):
                _draw_stroke(seeds, labels, path * stride, int(class_id))
    return seeds


def _measure_room(labels: np.ndarray) -> np.ndarray:
    """Measure how far each pixel is from another class, in pixels."""
    edge = np.zeros(labels.shape, bool)
    differs_down, differs_right = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    edge[1:] |= differs_down
    edge[:-1] |= differs_down
    edge[:, 1:] |= differs_right
    edge[:, :-1] |= differs_right
    if not edge.any():
        return np.full(labels.shape, float(max(labels.shape)))
    return ndimage.distance_transform_edt(~edge) + 0.5


def _find_large_pieces(mask: np.ndarray) -> list[np.ndarray]:
    """List the connected pieces worth a stroke, largest first; at least one."""
    pieces, n_pieces = ndimage.label(mask)
    sizes = np.bincount(pieces.ravel(), minlength=n_pieces + 1)[1:]
    order = np.argsort(-sizes, kind="stable")[:_MOST_PIECES]
    large = [piece for piece in order if sizes[piece] >= _LEAST_SHARE * mask.size]
    return [pieces == piece + 1 for piece in large or order[:1]]


def _plan_strokes(room: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Plan strokes in one piece: more for a larger piece, each begun where there is space."""
    share = np.count_nonzero(room) / room.size
    n_strokes = 1 + int(share > 0.04) + int(share > 0.12)
    spacious = np.argwhere(room >= 0.55 * room.max())
    length = 0.30 * room.shape[0]
    starts = spacious[rng.integers(len(spacious), size=n_strokes)]
    return [_wander(room, start, length, rng) for start in starts]


def _wander(room: np.ndarray, start: np.ndarray, length: float, rng: np.random.Generator) -> np.ndarray:
    """Walk a gently curving line from `start` both ways, keeping clear of the piece's edge."""
    keep_clear = min(2.0, 0.6 * float(room[tuple(start)]))
    heading = _find_roomiest_heading(room, start, rng)
    halves = [
        _walk(room, start, heading + turn, rng.normal(0.0, 0.02), length / 2, keep_clear) for turn in (0.0, np.pi)
    ]
    return np.concatenate([halves[1][::-1], np.array([start], np.float32), halves[0]])


def _find_roomiest_heading(room: np.ndarray, start: np.ndarray, rng: np.random.Generator) -> float:
    """Choose, of a few headings, the one along which the piece stretches farthest."""
    headings = rng.uniform(0.0, np.pi, 6)
    reaches = [len(_walk(room, start, turn, 0.0, 40.0, 1.0)) for turn in headings]
    reaches_back = [len(_walk(room, start, turn + np.pi, 0.0, 40.0, 1.0)) for turn in headings]
    return float(headings[int(np.argmax(np.add(reaches, reaches_back)))])


def _walk(
    room: np.ndarray, start: np.ndarray, heading: float, curl: float, length: float, keep_clear: float
) -> np.ndarray:
    """Walk until the way gets too narrow; return the (n, 2) points passed, in pixels."""
    points: list[tuple[float, float]] = []
    row, col = float(start[0]), float(start[1])
    while len(points) < length:
        row, col, heading = row + np.sin(heading), col + np.cos(heading), heading + curl
        inside = 0 <= row < room.shape[0] - 0.5 and 0 <= col < room.shape[1] - 0.5
        if not inside or room[round(row), round(col)] < keep_clear:
            break
        points.append((row, col))
    return np.array(points, np.float32) if points else _EMPTY


def _draw_stroke(seeds: np.ndarray, labels: np.ndarray, path: np.ndarray, class_id: int) -> None:
    """Draw a round brush along a path, clipped to the class."""
    radius = max(0.5, 0.5 * _STROKE_WIDTH * labels.shape[0])
    n_points = max(2, int(len(path) * max(1.0, labels.shape[0] / _COARSE_ROWS / radius)))
    at = np.linspace(0, len(path) - 1, n_points)
    known = np.arange(len(path))
    reach = int(np.ceil(radius))
    offset = np.arange(-reach, reach + 1)
    for row, col in zip(np.interp(at, known, path[:, 0]), np.interp(at, known, path[:, 1]), strict=True):
        rows = np.clip(offset + round(row), 0, labels.shape[0] - 1)[:, None]
        cols = np.clip(offset + round(col), 0, labels.shape[1] - 1)[None, :]
        under = (rows - round(row)) ** 2 + (cols - round(col)) ** 2 <= radius**2
        seeds[rows, cols] = np.where(under & (labels[rows, cols] == class_id), class_id + 1, seeds[rows, cols])
