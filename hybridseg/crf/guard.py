"""A check after the CRF for classes that lost most of their seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybridseg.classes import VOID, ClassTable

_NOTABLE_SHARE = 0.05
_KEPT_SHARE = 0.5


@dataclass(frozen=True)
class LostClass:
    """A class that held a notable share of the seeds, and lost most of them.

    Parameters
    ----------
    seed_share : float
        Its share of all seeds.
    kept_share : float
        The share of its seeds that still have its class.
    taken_by : int
        The class that most of the others have now; VOID when that is none.
    taken_share : float
        The share of its seeds that have this class now.
    """

    class_id: int
    seed_share: float
    kept_share: float
    taken_by: int
    taken_share: float

    def describe(self, table: ClassTable) -> str:
        """Return the finding as a sentence."""
        winner = "no class" if self.taken_by == VOID else table.names[self.taken_by]
        return (
            f"{table.names[self.class_id]} had {self.seed_share:.0%} of the seeds and keeps {self.kept_share:.0%} "
            f"of them after the CRF; {self.taken_share:.0%} became {winner}"
        )


def find_lost_classes(seeds: np.ndarray, labels: np.ndarray) -> list[LostClass]:
    """Find the classes that vanished or were replaced by another where they had been seeded.

    Parameters
    ----------
    seeds : numpy.ndarray
        (rows, cols) uint8: 0 = unlabelled, class k is k + 1.
    labels : numpy.ndarray
        (rows, cols) uint8 class ids after the CRF.

    Returns
    -------
    list of LostClass
        Those that had at least 5 % of the seeds and keep less than half of theirs.

    Examples
    --------
    >>> seeds = np.array([[1, 1, 2, 2, 0]], np.uint8)
    >>> find_lost_classes(seeds, np.array([[0, 0, 0, 0, 0]], np.uint8))[0].describe(
    ...     ClassTable.from_names(["water", "sand"]))
    'sand had 50% of the seeds and keeps 0% of them after the CRF; 100% became water'
    """
    seeded = seeds > 0
    pairs = np.bincount((seeds[seeded].astype(np.int64) - 1) * 256 + labels[seeded], minlength=256 * 256)
    counts = pairs.reshape(256, 256)
    n_seeds = counts.sum(axis=1)
    lost = []
    for class_id in np.flatnonzero(n_seeds >= max(_NOTABLE_SHARE * n_seeds.sum(), 1)).tolist():
        shares = counts[class_id] / n_seeds[class_id]
        kept = float(shares[class_id])
        if kept < _KEPT_SHARE:
            shares[class_id] = 0
            taker = int(shares.argmax())
            seed_share = float(n_seeds[class_id] / n_seeds.sum())
            lost.append(LostClass(class_id, seed_share, kept, taker, float(shares[taker])))
    return lost
