"""Probabilities that a model suggests, corrected by strokes: the seeds themselves, and what they have taught."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hybridseg.learning.classify import Guesses, LearnedProbs, plant_seeds

# Smaller probabilities of the classifier count as this much.
_LEAST = 1e-3
_N_GUESSES = 600


class Suggested(Protocol):
    """Class probabilities by a model, computed where they are asked for."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns and classes."""
        ...

    @property
    def known(self) -> np.ndarray:
        """The classes of which the model knows anything, (classes,) bool."""
        ...

    def __getitem__(self, part: tuple[slice, slice], /) -> np.ndarray:
        """Return those of a part, (rows, cols, classes) float32."""
        ...

    def sample(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Return those of some pixels, (n, classes) float32."""
        ...


def guess_some(suggested: Suggested) -> Guesses:
    """Return what a model holds some pixels for, always the same ones."""
    rng = np.random.default_rng(0)
    rows, cols = (rng.integers(0, side, _N_GUESSES) for side in suggested.shape[:2])
    return Guesses(rows, cols, suggested.sample(rows, cols).argmax(axis=1).astype(np.uint8))


@dataclass(frozen=True, eq=False)
class CorrectedProbs:
    """What a model suggests where nothing is drawn, and the seeds where something is; see `LearnedProbs`.

    Where strokes and model have trained a classifier, its log probabilities and those of the model are averaged. Of a
    class that the model does not know the classifier alone decides.

    Parameters
    ----------
    class_ids : numpy.ndarray
        (classes,) uint8: all.
    """

    class_ids: np.ndarray
    _suggested: Suggested
    _learned: LearnedProbs | None
    _seeds: np.ndarray
    _gt_prob: float

    @classmethod
    def of(
        cls, suggested: Suggested, learned: LearnedProbs | None, seeds: np.ndarray, *, gt_prob: float
    ) -> CorrectedProbs:
        """Return the probabilities of all classes of a suggestion, which the seeds are of, too."""
        return cls(np.arange(suggested.shape[2], dtype=np.uint8), suggested, learned, seeds, gt_prob)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns and classes."""
        return self._suggested.shape

    def __getitem__(self, part: tuple[slice, slice]) -> np.ndarray:
        """Return (rows, cols, classes) float32."""
        probs = self._suggested[part]
        if self._learned is not None:
            learned = np.full_like(probs, _LEAST)
            learned[..., self._learned.class_ids] = np.maximum(self._learned.guess(part), _LEAST)
            probs = np.where(self._suggested.known, np.sqrt(learned * probs), learned)
            probs /= probs.sum(axis=2, keepdims=True)
        if len(self.class_ids) > 1:
            plant_seeds(probs, self._seeds[part], self.class_ids, gt_prob=self._gt_prob)
        return probs
