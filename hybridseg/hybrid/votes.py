"""What the classified tiles of an image say: the mean of their probabilities at every pixel.

Tiles may overlap. Their edges cut the image into cells; all pixels of a cell lie in the same tiles, so their mean
probabilities are computed once per cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from hybridseg.batch.parts import Here, Work
from hybridseg.calibration import measure_entropy
from hybridseg.classes import VOID, labels_to_seeds
from hybridseg.forecast import Weighted
from hybridseg.hybrid.purity import find_edges
from hybridseg.hybrid.tiles import TileGrid
from hybridseg.io.lazyimages import LazyImage, as_lazy
from hybridseg.models.ensemble import AnyClassifier, find_differences, list_members
from hybridseg.progress import Progress, no_progress
from hybridseg.resample import take_nearest

_BATCH = 64
# See docs/benchmarks.md.
TILE_SECONDS = 0.004


@dataclass(frozen=True, eq=False)
class TileVotes:
    """The mean probabilities of the classified tiles, cell by cell.

    Parameters
    ----------
    row_edges, col_edges : numpy.ndarray
        Cell (i, j) is rows row_edges[i] .. row_edges[i + 1] - 1 and the columns likewise.
    probs : numpy.ndarray
        (n_cell_rows, n_cell_cols, n_classes) float32; 0 in a cell that lies in no classified tile.
    n_votes : numpy.ndarray
        (n_cell_rows, n_cell_cols): number of classified tiles that cover the cell.
    differences : numpy.ndarray or None
        (n_cell_rows, n_cell_cols): how far several classifiers differ, see `find_differences`.
    shown : float
        Share of valid pixels of the classified tile that has most of them.
    """

    row_edges: np.ndarray
    col_edges: np.ndarray
    probs: np.ndarray
    n_votes: np.ndarray
    differences: np.ndarray | None = None
    shown: float = 1.0

    def find_seeds(self, threshold: float) -> np.ndarray:
        """Return the seeds, (n_cell_rows, n_cell_cols) uint8: 0 = below the threshold, class k is k + 1."""
        is_sure = (self.n_votes > 0) & (self.probs.max(axis=2) >= threshold)
        return labels_to_seeds(np.where(is_sure, self.probs.argmax(axis=2), VOID).astype(np.uint8))

    def find_labels(self) -> np.ndarray:
        """Return the class of every cell, (n_cell_rows, n_cell_cols) uint8; without votes, that of the nearest.

        VOID where no cell has any.
        """
        known = self.n_votes > 0
        if not known.any():
            return np.full(known.shape, VOID, np.uint8)
        return take_nearest(self.probs.argmax(axis=2).astype(np.uint8), known)

    def fill_probs(self) -> np.ndarray:
        """Return the probabilities of every cell; they are equal in a cell without votes."""
        return np.where(self.n_votes[..., None] > 0, self.probs, np.float32(1 / self.probs.shape[2]))

    def find_entropy(self) -> np.ndarray:
        """Return how undecided the tiles are in every cell, see `measure_entropy`; NaN in a cell without votes."""
        return np.where(self.n_votes > 0, measure_entropy(self.probs), np.float32(np.nan))

    def reweigh(self, class_weights: Sequence[float]) -> TileVotes:
        """Multiply the probability of every class by its weight, against a bias of the classifier.

        Examples
        --------
        >>> votes = TileVotes(np.array([0, 1]), np.array([0, 1]), np.array([[[0.8, 0.2]]]), np.array([[1]]))
        >>> votes.reweigh([1.0, 4.0]).probs.tolist()
        [[[0.5, 0.5]]]
        """
        weighted = self.probs * np.asarray(class_weights, self.probs.dtype)
        return replace(self, probs=weighted / np.maximum(weighted.sum(axis=2, keepdims=True), 1e-30))

    def spread(self, cells: np.ndarray, shape: tuple[int, int], rows: slice = slice(None)) -> np.ndarray:
        """Return the values of the cells at the pixels of an image of any size that shows the same scene.

        Parameters
        ----------
        cells : numpy.ndarray
            (n_cell_rows, n_cell_cols, ...).
        shape : (int, int)
            Rows and columns of the image; a pixel gets the cell in which its centre lies.
        rows : slice
            Only of these.
        """
        return SpreadCells(self, cells, shape)[rows, :]


class SpreadCells:
    """The values of cells at the pixels of an image, see `TileVotes.spread`, of which parts are made when indexed."""

    def __init__(self, votes: TileVotes, cells: np.ndarray, shape: tuple[int, int]) -> None:
        self.shape = (*shape, *cells.shape[2:])
        self._cells = cells
        self._places = _find_cells(votes.row_edges, shape[0]), _find_cells(votes.col_edges, shape[1])

    def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
        """Return a part, (rows, cols, ...)."""
        rows, cols = (places[part] for places, part in zip(self._places, key, strict=True))
        return np.take(np.take(self._cells, rows, axis=0), cols, axis=1)


def classify_tiles(
    image: np.ndarray | LazyImage,
    classifier: AnyClassifier,
    grid: TileGrid,
    *,
    member: int = 0,
    work: Work | None = None,
    progress: Progress = no_progress,
) -> np.ndarray:
    """Classify the chosen tiles of an image.

    Parameters
    ----------
    image : numpy.ndarray or LazyImage
        (rows, cols, 3) uint8.
    member : int
        Which classifier of an ensemble.
    work : Work or None
        What classifies them; None: this process.

    Returns
    -------
    numpy.ndarray
        (n, n_classes) float32: a row for each chosen tile.
    """
    image = as_lazy(image)
    batches = [grid.chosen[i : i + _BATCH] for i in range(0, len(grid.chosen), _BATCH)]

    def cut(number: int) -> np.ndarray:
        return np.stack([grid.cut(image, i, j) for i, j in batches[number]])

    found = (work or Here(classifier)).compute(
        partial(_classify, member=member), cut, range(len(batches)), name=f"tiles{member}"
    )
    steps = progress(Weighted(batches, _BATCH * TILE_SECONDS), label="classifying tiles")
    return np.concatenate([probs for _, probs in zip(steps, found, strict=True)])


def count_batches(grid: TileGrid) -> int:
    """Return in how many calls the chosen tiles are classified."""
    return -(-len(grid.chosen) // _BATCH)


def _classify(classifier: AnyClassifier, tiles: np.ndarray, *, member: int) -> np.ndarray:
    return list_members(classifier)[member].classify(tiles)


def average_votes(grid: TileGrid, probs: np.ndarray) -> TileVotes:
    """Average the probabilities of the tiles that cover each cell.

    Parameters
    ----------
    probs : numpy.ndarray
        (n, n_classes): a row for each chosen tile.

    Examples
    --------
    >>> from hybridseg.hybrid.tiles import plan_tiles
    >>> grid = plan_tiles((4, 6), tile_size=4, stride=2)
    >>> votes = average_votes(grid, np.array([[1, 0], [0, 1]]))
    >>> votes.col_edges.tolist(), votes.probs[0, :, 0].tolist()
    ([0, 2, 4, 6], [1.0, 0.5, 0.0])
    """
    row_edges = find_edges(grid.rows, grid.tile_size, grid.shape[0])
    col_edges = find_edges(grid.cols, grid.tile_size, grid.shape[1])
    tops = np.searchsorted(row_edges, grid.rows)
    bottoms = np.searchsorted(row_edges, np.minimum(grid.rows + grid.tile_size, grid.shape[0]))
    lefts = np.searchsorted(col_edges, grid.cols)
    rights = np.searchsorted(col_edges, np.minimum(grid.cols + grid.tile_size, grid.shape[1]))
    sums = np.zeros((len(row_edges) - 1, len(col_edges) - 1, probs.shape[1]), np.float32)
    n_votes = np.zeros(sums.shape[:2], np.int32)
    for (i, j), row in zip(grid.chosen, probs, strict=True):
        cells = slice(tops[i], bottoms[i]), slice(lefts[j], rights[j])
        sums[cells] += row
        n_votes[cells] += 1
    means = sums / np.maximum(n_votes, 1)[..., None]
    return TileVotes(row_edges, col_edges, means, n_votes, shown=grid.shown)


def merge_votes(votes: Sequence[TileVotes]) -> TileVotes:
    """Average the votes of several classifiers on one image, each with the same weight where it has any.

    What results says how far they differ.

    Examples
    --------
    >>> one = TileVotes(np.array([0, 2]), np.array([0, 4]), np.array([[[1.0, 0.0]]]), np.array([[1]]))
    >>> two = TileVotes(np.array([0, 2]), np.array([0, 2, 4]), np.array([[[0.0, 1.0], [0.0, 0.0]]]), np.array([[3, 0]]))
    >>> merge_votes([one, two]).probs.tolist()
    [[[0.5, 0.5], [1.0, 0.0]]]
    """
    if len(votes) == 1:
        return votes[0]
    row_edges = np.unique(np.concatenate([v.row_edges for v in votes]))
    col_edges = np.unique(np.concatenate([v.col_edges for v in votes]))
    shape = len(row_edges) - 1, len(col_edges) - 1
    sums = np.zeros((*shape, votes[0].probs.shape[2]), np.float32)
    n_votes, n_voters = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    classes = []
    for own in votes:
        rows = np.searchsorted(own.row_edges, row_edges[:-1], side="right") - 1
        cols = np.searchsorted(own.col_edges, col_edges[:-1], side="right") - 1
        cells = np.ix_(rows, cols)
        sums += own.probs[cells]
        n_votes += own.n_votes[cells]
        n_voters += own.n_votes[cells] > 0
        classes.append(np.where(own.n_votes > 0, own.probs.argmax(axis=2), VOID).astype(np.uint8)[cells])
    probs = sums / np.maximum(n_voters, 1)[..., None]
    return TileVotes(row_edges, col_edges, probs, n_votes, find_differences(classes), max(v.shown for v in votes))


def _find_cells(edges: np.ndarray, n_pixels: int) -> np.ndarray:
    centres = (np.arange(n_pixels) + 0.5) * (edges[-1] / n_pixels)
    return np.searchsorted(edges, centres, side="right") - 1
