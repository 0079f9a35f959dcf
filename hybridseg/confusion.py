"""One confusion matrix, counted once; every score is derived from it.

The scores are those of scikit-learn for the classes that are in the truth, with ``zero_division=0``: a class that is in
the truth and never predicted has precision 0. A class that is nowhere in the truth has no scores: they are None, and
are left out of means. Predicting it lowers the recall of the true classes, and the accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridseg.classes import VOID, ClassTable, remap
from hybridseg.errors import BadInput
from hybridseg.markup import count_of, render_table

SCORES = ("precision", "recall", "f1", "iou")


@dataclass(frozen=True, eq=False)
class Confusion:
    """How often each true class was predicted as each class.

    Parameters
    ----------
    counts : numpy.ndarray
        (n_classes, n_classes) int64; rows are the truth, columns the prediction.
    n_unpredicted : numpy.ndarray
        (n_classes,) int64: pixels of each true class for which there is no prediction. They count as missed.

    Examples
    --------
    >>> table = ClassTable.from_names(["water", "sand"])
    >>> truth, prediction = np.array([[0, 0, 1, 1]]), np.array([[0, 1, 1, 1]])
    >>> confusion = count_confusion(truth, prediction, table)
    >>> confusion.accuracy, confusion.scores("recall")
    (0.75, [0.5, 1.0])
    """

    table: ClassTable
    counts: np.ndarray
    n_unpredicted: np.ndarray

    def __repr__(self) -> str:
        accuracy, f1 = (_show(value) for value in (self.accuracy, self.macro("f1")))
        return (
            f"<Confusion: {count_of(len(self.table), 'class')}, {self.n_pixels:,} compared, accuracy {accuracy}, mean "
            f"F1 {f1}>"
        )

    def _repr_html_(self) -> str:
        rows = [
            (name, *(_show(self.scores(score)[i]) for score in SCORES), f"{self.support[i]:,}")
            for i, name in enumerate(self.table.names)
            if self.support[i]
        ]
        rows.append(("mean", *(_show(self.macro(score)) for score in SCORES), ""))
        return render_table(("class", "precision", "recall", "F1", "IoU", "compared"), rows)

    @property
    def support(self) -> np.ndarray:
        """Pixels of each class in the truth, (n_classes,) int64."""
        return self.counts.sum(axis=1) + self.n_unpredicted

    @property
    def n_pixels(self) -> int:
        """Pixels that were compared."""
        return int(self.support.sum())

    @property
    def accuracy(self) -> float | None:
        """Share of the compared pixels whose class is right."""
        return float(np.trace(self.counts)) / self.n_pixels if self.n_pixels else None

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa: 1 for full agreement, 0 for that of chance; None where there is nothing to compare.

        Examples
        --------
        >>> table, first = ClassTable.from_names(["water", "sand"]), np.array([[0, 0, 0, 1]])
        >>> count_confusion(first, np.array([[0, 0, 1, 1]]), table).kappa
        0.5
        """
        counts = self.counts / max(self.counts.sum(), 1)
        by_chance = float(counts.sum(axis=1) @ counts.sum(axis=0))
        if self.accuracy is None or by_chance == 1:
            # All pixels have one class in both: no chance is left to agree by.
            return None
        return round((float(np.trace(counts)) - by_chance) / (1 - by_chance), 12)

    def scores(self, name: str) -> list[float | None]:
        """Return one of `SCORES` for every class; None for one that is not in the truth."""
        hits = np.diag(self.counts)
        truth, predicted = self.support, self.counts.sum(axis=0)
        of = {
            "precision": (hits, predicted),
            "recall": (hits, truth),
            "f1": (2 * hits, truth + predicted),
            "iou": (hits, truth + predicted - hits),
        }
        above, below = of[name]
        return [int(a) / max(int(b), 1) if n else None for a, b, n in zip(above, below, truth, strict=True)]

    def image_dice(self) -> list[float | None]:
        """Return the Dice of each class that the truth or the prediction has; None for one that neither has.

        It is the F1 of a class of the truth, and 0 for one that was only predicted: of one image, such a class is an
        error to see, while over all images its F1 has no meaning.
        """
        predicted = self.counts.sum(axis=0)
        return [0.0 if f1 is None and n else f1 for f1, n in zip(self.scores("f1"), predicted, strict=True)]

    @property
    def left_out(self) -> tuple[str, ...]:
        """The classes that are nowhere in the truth: they have no scores, and the means leave them out."""
        return tuple(name for name, n in zip(self.table.names, self.support, strict=True) if not n)

    def macro(self, name: str) -> float | None:
        """Return the mean of a score over the classes that are in the truth."""
        values = [value for value in self.scores(name) if value is not None]
        return sum(values) / len(values) if values else None

    def weighted(self, name: str) -> float | None:
        """Return the mean of a score over the classes that are in the truth, weighted by their pixels there."""
        rows = [(v, int(n)) for v, n in zip(self.scores(name), self.support, strict=True) if v is not None]
        return sum(v * n for v, n in rows) / self.n_pixels if rows else None

    def without(self, names: tuple[str, ...]) -> Confusion:
        """Return the matrix without pixels of these TRUE classes; predicting one of them elsewhere stays an error."""
        counts, n_unpredicted = self.counts.copy(), self.n_unpredicted.copy()
        for name in names:
            counts[self.table.index(name)] = 0
            n_unpredicted[self.table.index(name)] = 0
        return Confusion(self.table, counts, n_unpredicted)

    def to_record(self) -> dict[str, Any]:
        """Return every score as plain numbers and None, for a table or JSON."""
        per_class = [
            {"class": name, "support": int(self.support[i]), **{s: self.scores(s)[i] for s in SCORES}}
            for i, name in enumerate(self.table.names)
        ]
        return {
            "n_pixels": self.n_pixels,
            "accuracy": self.accuracy,
            "macro": {name: self.macro(name) for name in SCORES},
            "weighted": {name: self.weighted(name) for name in SCORES},
            "left_out": list(self.left_out),
            "classes": per_class,
            "confusion": self.counts.tolist(),
            "unpredicted": self.n_unpredicted.tolist(),
        }


def count_confusion(truth: np.ndarray, prediction: np.ndarray, table: ClassTable) -> Confusion:
    """Count a confusion matrix in one pass.

    Parameters
    ----------
    truth, prediction : numpy.ndarray
        Class ids of the same table, of the same shape. Pixels whose `truth` is VOID are ignored; where only
        `prediction` is VOID the pixel counts as missed.

    Raises
    ------
    BadInput
        When the shapes differ.
    """
    if truth.shape != prediction.shape:
        raise BadInput(f"the truth is {_by(truth.shape)} pixels but the prediction is {_by(prediction.shape)}")
    # An extra row and column hold the void pixels of either side.
    n = len(table) + 1
    lut = np.full(VOID + 1, len(table), np.int64)
    lut[: len(table)] = np.arange(len(table))
    flat_truth, flat_prediction = truth.ravel(), prediction.ravel()
    counts = np.zeros(n * n, np.int64)
    step = 1 << 22  # In pieces: the int64 indices of a large image would fill the memory.
    for start in range(0, flat_truth.size, step):
        piece = slice(start, start + step)
        counts += np.bincount(lut[flat_truth[piece]] * n + lut[flat_prediction[piece]], minlength=n * n)
    square = counts.reshape(n, n)
    return Confusion(table, square[:-1, :-1].copy(), square[:-1, -1].copy())


def count_by_photo(
    truth: np.ndarray, prediction: np.ndarray, photos: Sequence[str], table: ClassTable
) -> list[Confusion]:
    """Count a confusion matrix for each photo, in the order of their names.

    Parameters
    ----------
    truth, prediction : numpy.ndarray
        (n, ...) class ids, as for `count_confusion`.
    photos : sequence of str
        The photo that each of the n comes from.

    Examples
    --------
    >>> table = ClassTable.from_names(["water", "sand"])
    >>> found = count_by_photo(np.array([0, 1, 1]), np.array([0, 1, 0]), ["a", "b", "a"], table)
    >>> [confusion.accuracy for confusion in found]
    [0.5, 1.0]
    """
    names, owner = np.unique(np.asarray(photos, dtype=object), return_inverse=True)
    return [count_confusion(truth[owner == i], prediction[owner == i], table) for i in range(len(names))]


def pool_confusions(confusions: Sequence[Confusion]) -> Confusion:
    """Return the sum of confusion matrices, classes matched by name.

    Raises
    ------
    BadInput
        When the list is empty.
    """
    if not confusions:
        raise BadInput("there is no confusion matrix to pool")
    table = confusions[0].table
    for confusion in confusions[1:]:
        table = table.union(confusion.table)
    counts = np.zeros((len(table), len(table)), np.int64)
    n_unpredicted = np.zeros(len(table), np.int64)
    for confusion in confusions:
        ids = remap(confusion.table, table)[: len(confusion.table)]
        counts[np.ix_(ids, ids)] += confusion.counts
        n_unpredicted[ids] += confusion.n_unpredicted
    return Confusion(table, counts, n_unpredicted)


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(str(side) for side in shape)
