"""The unary terms of the CRF, in the compact form that the engines take.

A `lane` is a class, or a group of classes with equal priors everywhere: under Potts compatibility these keep the same
probability in every iteration, so one lane represents all of them exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybridseg.classes import MAX_CLASSES, VOID
from hybridseg.errors import BadInput
from hybridseg.markup import count_of

_SOFTMAX_FLOOR = 1e-5


@dataclass(frozen=True, eq=False)
class Priors:
    """Prior probabilities of every lane, for each pixel.

    Parameters
    ----------
    table : numpy.ndarray
        (n, lanes) float32.
    row_of_pixel : numpy.ndarray or None
        (rows, cols) uint8, or int32 as the engines take it: the row of the table for each pixel. None: one row for
        each pixel, in raster order.
    shape : (int, int)
        Rows and columns of the image.
    multiplicity : numpy.ndarray
        (lanes,) float32: the number of classes in each lane.
    class_of_lane : numpy.ndarray
        (lanes,) uint8; VOID for the lane of the classes without seeds.
    floor : float
        Smaller probabilities are raised to this.
    """

    table: np.ndarray
    row_of_pixel: np.ndarray | None
    shape: tuple[int, int]
    multiplicity: np.ndarray
    class_of_lane: np.ndarray
    floor: float

    @property
    def n_lanes(self) -> int:
        """Number of lanes."""
        return len(self.multiplicity)

    def crop(self, rows: slice, cols: slice) -> Priors:
        """Return the priors of a part of the image, as the engines take them."""
        n_rows, n_cols = rows.stop - rows.start, cols.stop - cols.start
        table, row_of_pixel = self.table, self.row_of_pixel
        if row_of_pixel is None:
            whole = table.reshape(*self.shape, self.n_lanes)
            table = np.ascontiguousarray(whole[rows, cols]).reshape(-1, self.n_lanes)
        else:
            row_of_pixel = np.ascontiguousarray(row_of_pixel[rows, cols], np.int32)
        return Priors(table, row_of_pixel, (n_rows, n_cols), self.multiplicity, self.class_of_lane, self.floor)


def priors_from_seeds(seeds: np.ndarray, *, n_classes: int, gt_prob: float) -> Priors:
    """Return priors that trust each seed with `gt_prob`; the other classes share the rest, unseeded pixels are uniform.

    As in the classic program there is one more class, which is never seeded. It shares lane 0 with the classes that
    have no seed here: a pixel where that lane wins was reached by no seed.

    Parameters
    ----------
    seeds : numpy.ndarray
        (rows, cols) integers: 0 = unlabelled, class k is k + 1.

    Raises
    ------
    BadInput
        For seeds of other classes, or no seed at all.

    Examples
    --------
    >>> priors = priors_from_seeds(np.array([[0, 2]]), n_classes=3, gt_prob=0.7)
    >>> [[f"{p:.2f}" for p in row] for row in priors.table]
    [['0.25', '0.25'], ['0.10', '0.70']]
    >>> priors.class_of_lane.tolist(), priors.multiplicity.tolist()
    ([255, 1], [3.0, 1.0])
    """
    if not 1 <= n_classes < MAX_CLASSES:
        raise BadInput(f"n_classes={n_classes}: the CRF takes 1 to {MAX_CLASSES - 1} classes")
    if seeds.ndim != 2 or seeds.dtype.kind not in "iub":
        raise BadInput(f"seeds are whole numbers in (rows, cols), not {seeds.dtype} in {seeds.shape}")
    if not seeds.size:
        raise BadInput(f"the seeds are empty: {seeds.shape[0]} x {seeds.shape[1]} pixels")
    lowest, highest = int(seeds.min()), int(seeds.max())
    if lowest < 0 or highest > n_classes:
        wrong = lowest if lowest < 0 else highest
        raise BadInput(
            f"the seeds hold {wrong}, but with {count_of(n_classes, 'class')} they go from 0 (none) to {n_classes}"
        )
    if highest == 0:
        raise BadInput("there is not one seed, so there is nothing to spread; seed at least one pixel")
    seeded = np.flatnonzero(np.bincount(seeds.ravel().astype(np.uint8), minlength=n_classes + 1)[1:])
    n_labels = n_classes + 1
    table = np.full((len(seeded) + 1, len(seeded) + 1), (1 - gt_prob) / (n_labels - 1), np.float32)
    np.fill_diagonal(table, gt_prob)
    table[0] = 1 / n_labels
    lane_of_seed = np.zeros(n_classes + 1, np.uint8)
    lane_of_seed[seeded + 1] = np.arange(1, len(seeded) + 1)
    multiplicity = np.ones(len(seeded) + 1, np.float32)
    multiplicity[0] = n_labels - len(seeded)
    class_of_lane = np.concatenate([[VOID], seeded]).astype(np.uint8)
    shape = (seeds.shape[0], seeds.shape[1])
    return Priors(table, lane_of_seed[seeds.astype(np.uint8)], shape, multiplicity, class_of_lane, floor=1e-30)


def priors_from_probs(probs: np.ndarray) -> Priors:
    """Return priors from the class probabilities of a classifier.

    Parameters
    ----------
    probs : numpy.ndarray
        (rows, cols, classes) floats that sum to 1.

    Raises
    ------
    BadInput
        When these are not probabilities.
    """
    if probs.ndim != 3 or probs.dtype.kind != "f" or not probs.size:
        raise BadInput(f"probs are floats in (rows, cols, classes), not {probs.dtype} in {probs.shape}")
    n_classes = probs.shape[2]
    if n_classes > MAX_CLASSES:
        raise BadInput(f"probs are of {count_of(n_classes, 'class')}, the CRF takes up to {MAX_CLASSES}")
    sums = probs.sum(axis=2)
    # The comparison is written so that NaN fails it.
    if not (np.abs(sums - 1) < 1e-3).all() or float(probs.min()) < 0:
        raise BadInput("probs must be 0 or more and sum to 1 at every pixel; divide them by their sum")
    table = np.ascontiguousarray(probs, np.float32).reshape(-1, n_classes)
    ones, ids = np.ones(n_classes, np.float32), np.arange(n_classes, dtype=np.uint8)
    return Priors(table, None, (probs.shape[0], probs.shape[1]), ones, ids, _SOFTMAX_FLOOR)
