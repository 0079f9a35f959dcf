"""What `segment_image` finds in one image: the class of every pixel, and the steps towards it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from hybridseg.batch.results import ResultRows
from hybridseg.classes import VOID
from hybridseg.crf.guard import LostClass
from hybridseg.crf.refine import Refinement
from hybridseg.hybrid.votes import TileVotes
from hybridseg.io.lazyimages import LazyImage
from hybridseg.resample import resize_nearest

if TYPE_CHECKING:
    from hybridseg.hybrid.segmentation import HybridOptions


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The class of every pixel, and the steps towards it.

    Parameters
    ----------
    options : HybridOptions
        Those that were used, with everything that follows from the size of the image.
    image : LazyImage
        The image.
    picture : numpy.ndarray
        (small rows, small cols, 3) uint8: the image as the CRF saw it.
    votes : TileVotes
        Of the tiles.
    cell_seeds : numpy.ndarray
        (n_cell_rows, n_cell_cols) uint8: 0 = unlabelled, class k is k + 1; from the tiles above the threshold.
    small_labels : numpy.ndarray
        (small rows, small cols) uint8 class ids after the CRF.
    n_tiles : int
        Number of classified tiles; 0 where the image has no picture at all.
    filled_share : float
        Share of the pixels that the CRF left unlabelled; they take the class of the nearest labelled one.
    lost : list of LostClass
        Classes that the CRF may have wiped out.
    refinement : Refinement
        The result of the CRF, at its own scale.
    seconds : dict
        Time that each step took.
    """

    options: HybridOptions
    image: LazyImage
    picture: np.ndarray
    votes: TileVotes
    cell_seeds: np.ndarray
    small_labels: np.ndarray
    n_tiles: int
    filled_share: float
    lost: list[LostClass]
    refinement: Refinement
    seconds: dict[str, float]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the image."""
        return self.image.shape[:2]

    def list_rows(self) -> Iterator[ResultRows]:
        """Yield the result at the size of the image from top to bottom, with seeds and what the tiles alone say."""
        confidence, votes = self.refinement.confidence, self.votes
        cells = votes.find_entropy(), votes.find_labels(), votes.differences
        for rows in self.image.list_rows():
            sure = None if confidence is None else resize_nearest(confidence, self.shape, rows)
            seeds = votes.spread(self.cell_seeds, self.shape, rows)
            more = [None if values is None else votes.spread(values, self.shape, rows) for values in cells]
            found = ResultRows(resize_nearest(self.small_labels, self.shape, rows), sure, seeds, *more)
            yield found.blank(self.image.find_valid(rows))

    def list_tile_rows(self) -> Iterator[ResultRows]:
        """Yield the same for the class of the tiles alone; between classified tiles that of the nearest."""
        labels = self.votes.find_labels()
        for rows in self.image.list_rows():
            found, seeds = (self.votes.spread(cells, self.shape, rows) for cells in (labels, self.cell_seeds))
            yield ResultRows(found, None, seeds).blank(self.image.find_valid(rows))

    @cached_property
    def labels(self) -> np.ndarray:
        """The class of every pixel, (rows, cols) uint8; VOID where there is no picture."""
        return np.concatenate([rows.labels for rows in self.list_rows()])

    @cached_property
    def tile_labels(self) -> np.ndarray:
        """The class of the tiles alone, (rows, cols) uint8."""
        return np.concatenate([rows.labels for rows in self.list_tile_rows()])

    @cached_property
    def seeds(self) -> np.ndarray:
        """The seeds, (rows, cols) uint8: 0 = unlabelled, class k is k + 1."""
        return np.concatenate([rows.seeds for rows in self.list_tile_rows() if rows.seeds is not None])

    @cached_property
    def confidence(self) -> np.ndarray | None:
        """The probability of each class, (rows, cols) float32, when it was asked for; NaN where there is no picture."""
        if self.refinement.confidence is None:
            return None
        return np.concatenate([rows.confidence for rows in self.list_rows() if rows.confidence is not None])


def leave_void(
    image: LazyImage, options: HybridOptions, small: tuple[int, int], n_classes: int, want_confidence: bool
) -> Segmentation:
    """Return the result for an image without any picture.

    Parameters
    ----------
    small : (int, int)
        Rows and columns of the image as the CRF would see it.
    """
    rows, cols = (np.array([0, side]) for side in image.shape[:2])
    votes = TileVotes(rows, cols, np.zeros((1, 1, n_classes), np.float32), np.zeros((1, 1), np.int32))
    labels, confidence = np.full(small, VOID, np.uint8), np.full(small, np.nan, np.float32)
    refinement = Refinement(labels, None, "", 0, 0, confidence if want_confidence else None, 0)
    cell_seeds = votes.find_seeds(options.threshold)
    return Segmentation(
        options, image, image.shrink(small), votes, cell_seeds, labels, 0, 0.0, [], refinement, seconds={}
    )
