"""Several tile classifiers that vote together, such as one for each tile size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridseg.classes import ClassTable
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


AnyClassifier = TileClassifier | Ensemble


def list_members(classifier: AnyClassifier) -> tuple[TileClassifier, ...]:
    """Return the members of an ensemble, or a single classifier as the only member."""
    return classifier.members if isinstance(classifier, Ensemble) else (classifier,)


def order_columns(probs: np.ndarray, own: ClassTable, wanted: ClassTable) -> np.ndarray:
    """Return the probabilities of one classifier, (..., n_classes), in the order of another's classes, by name."""
    return probs if own.keys == wanted.keys else probs[..., [own.keys.index(key) for key in wanted.keys]]
