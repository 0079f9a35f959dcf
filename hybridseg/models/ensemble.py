"""Several models that vote together, such as tile classifiers of several tile sizes, and how far they differ."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from hybridseg.classes import VOID, ClassTable
from hybridseg.errors import BadInput, join_names
from hybridseg.models.store import TileClassifier


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Classifiers of the same classes; path, class table and tile size are those of the first.

    Raises
    ------
    BadInput
        When there is none, or their classes differ.
    """

    members: tuple[TileClassifier, ...]

    def __post_init__(self) -> None:
        if not self.members:
            raise BadInput("an ensemble needs at least one classifier")
        for other in self.members[1:]:
            if sorted(other.table.keys) != sorted(self.table.keys):
                raise BadInput(
                    f"{other.path} has the classes {join_names(other.table.names)}, but {self.path} has "
                    f"{join_names(self.table.names)}; models that vote together need the same classes"
                )

    @property
    def path(self) -> Path:
        """Path of the weights."""
        return self.members[0].path

    @property
    def table(self) -> ClassTable:
        """Classes, in the order of the probabilities."""
        return self.members[0].table

    @property
    def tile_size(self) -> int:
        """Side of the tiles, in pixels."""
        return self.members[0].tile_size


def check_votes(paths: Sequence[Path]) -> None:
    """Raise BadInput where a model is given twice: its vote would count twice."""
    given: set[str] = set()
    for path in paths:
        if (real := os.path.realpath(path)) in given:
            raise BadInput(f"{path} is given twice; models that vote have one vote each: leave one out")
        given.add(real)


AnyClassifier = TileClassifier | Ensemble


def list_members(classifier: AnyClassifier) -> tuple[TileClassifier, ...]:
    """Return the members of an ensemble, or a single classifier as the only member."""
    return classifier.members if isinstance(classifier, Ensemble) else (classifier,)


def order_columns(probs: np.ndarray, own: ClassTable, wanted: ClassTable) -> np.ndarray:
    """Return the probabilities of one classifier, (..., n_classes), in the order of another's classes, by name."""
    return probs if own.keys == wanted.keys else probs[..., [own.keys.index(key) for key in wanted.keys]]


def find_differences(votes: Sequence[np.ndarray]) -> np.ndarray:
    """Return what share of the pairs of voters give each place different classes; NaN where fewer than two give one.

    Parameters
    ----------
    votes : sequence of numpy.ndarray
        uint8 class ids of one shape; VOID where there is none.

    Examples
    --------
    >>> find_differences(np.uint8([[0, 0, 0], [0, 1, 1], [0, 1, VOID]])).tolist()
    [0.0, 0.6666666865348816, 1.0]
    """
    n_differ, n_pairs = np.zeros((2, *votes[0].shape), np.float32)
    for one, other in combinations(votes, 2):
        both = (one != VOID) & (other != VOID)
        n_pairs += both
        n_differ += both & (one != other)
    return np.divide(n_differ, n_pairs, out=np.full_like(n_pairs, np.nan), where=n_pairs > 0)
