"""Areas as polygons that go along the edges of their pixels, with the holes in them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

# (n, 2) rows and columns of the corners of pixels, (0, 0) is that of the first one; the last is the first again.
Ring = np.ndarray


def trace_regions(regions: np.ndarray) -> Iterator[tuple[int, list[Ring]]]:
    """Yield each region of numbered pixels with its rings: around it, then around each of its holes.

    Parameters
    ----------
    regions : numpy.ndarray
        (rows, cols) int32 or uint8; 0 is no region. Pixels of one number that touch at a corner only are two regions.

    Examples
    --------
    >>> [(n, ring.tolist()) for n, (ring,) in trace_regions(np.array([[0, 7], [0, 7]], np.int32))]
    [(7, [[0.0, 1.0], [2.0, 1.0], [2.0, 2.0], [0.0, 2.0], [0.0, 1.0]])]
    """
    from rasterio.features import shapes

    for outline, number in shapes(regions, mask=regions > 0, connectivity=4):
        yield int(number), [np.array(ring)[:, ::-1] for ring in outline["coordinates"]]


def join_rings(rings: Sequence[Ring]) -> np.ndarray:
    """Return one polygon, (n, 2), that goes around a region and its holes, for formats that have no holes.

    It goes to each hole and back on one way, which bounds no pixel; along edges, so that it meets no centre of a pixel.

    Examples
    --------
    >>> square = np.array([[0, 0], [3, 0], [3, 3], [0, 3], [0, 0]])
    >>> join_rings([square, np.array([[1, 1], [1, 2], [2, 2], [2, 1], [1, 1]])]).tolist()
    [[0, 0], [0, 1], [1, 1], [1, 2], [2, 2], [2, 1], [1, 1], [0, 1], [0, 0], [3, 0], [3, 3], [0, 3]]
    """
    outer, *holes = rings
    corners = outer[:-1]
    if not holes:
        return corners
    from scipy.spatial import cKDTree

    _, nearest = cKDTree(corners).query([hole[0] for hole in holes])
    ways: dict[int, list[np.ndarray]] = defaultdict(list)
    for place, hole in zip(nearest.tolist(), holes, strict=True):
        bend = np.array([[corners[place, 0], hole[0, 1]]])
        ways[place] += [bend, hole, bend, corners[place : place + 1]]
    parts, start = [], 0
    for place in sorted(ways):
        parts += [corners[start : place + 1], *ways[place]]
        start = place + 1
    polygon = np.concatenate([*parts, corners[start:]])
    return polygon[(polygon != np.roll(polygon, 1, axis=0)).any(axis=1)]


def remove_pieces(regions: np.ndarray, n_pixels: int) -> np.ndarray:
    """Return numbered regions, (rows, cols) int32, where each piece of fewer pixels joins its largest neighbour.

    Examples
    --------
    >>> remove_pieces(np.array([[1, 1, 1], [1, 2, 1], [1, 1, 1]], np.int32), 2)[1].tolist()
    [1, 1, 1]
    """
    from rasterio.features import sieve

    # The library takes no more pixels than the map has.
    n_pixels = min(n_pixels, regions.size - 1)
    return sieve(regions, n_pixels, connectivity=4) if n_pixels > 1 else regions
