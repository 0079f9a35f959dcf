"""Several tile classifiers that vote together: other tile sizes see other things."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput
from hybridseg.models.store import TileClassifier


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Classifiers of the same classes; the first one gives its name, its colours and the order of the classes.

    Parameters
    ----------
    members : tuple of TileClassifier

    Raises
    ------
    BadInput
        When there is none, or their classes differ.
    """

    members: tuple[TileClassifier, ...]

    def __post_init__(self) -> None:
        """Refuse classifiers of other classes."""
        if not self.members:
            raise BadInput("an ensemble needs at least one classifier")
        for other in self.members[1:]:
            if sorted(other.table.keys) != sorted(self.table.keys):
                raise BadInput(
                    f"{other.path} has the classes {', '.join(other.table.names)}, but {self.path} has "
                    f"{', '.join(self.table.names)}; models that vote together need the same classes"
                )

    @property
    def path(self) -> Path:
        """Of the first."""
        return self.members[0].path

    @property
    def table(self) -> ClassTable:
        """Of the first."""
        return self.members[0].table

    @property
    def tile_size(self) -> int:
        """Of the first."""
        return self.members[0].tile_size


AnyClassifier = TileClassifier | Ensemble


def list_members(classifier: AnyClassifier) -> tuple[TileClassifier, ...]:
    """Give the classifiers of an ensemble, or the one that there is."""
    return classifier.members if isinstance(classifier, Ensemble) else (classifier,)


def order_columns(probs: np.ndarray, own: ClassTable, wanted: ClassTable) -> np.ndarray:
    """Bring the probabilities of one classifier, (n, n_classes), into the order of another's classes, by name."""
    return probs if own.keys == wanted.keys else probs[..., [own.keys.index(key) for key in wanted.keys]]
