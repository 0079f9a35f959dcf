"""What is kept of class probabilities: the class of each pixel, how sure it is, and how far several networks differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from hybridseg.batch.parts import Strip
from hybridseg.batch.results import ResultRows
from hybridseg.calibration import measure_entropy
from hybridseg.dense.pieces import Piece
from hybridseg.io.lazyimages import LazyImage

# What strips of a result hold beside the class, and what `ResultRows` calls it.
_FIELDS = {"sure": "confidence", "vague": "entropy", "differ": "differences"}


def take_rows(labels: np.ndarray, decided: np.ndarray | None) -> ResultRows:
    """Return some rows of a result, with what `decide` found of them beside the class."""
    names = () if decided is None else decided.dtype.names or ()
    fields = {field: decided[name] for name, field in _FIELDS.items() if decided is not None and name in names}
    return ResultRows(labels, **fields)


def decide(piece: Piece, want_confidence: bool, has_differences: bool) -> Piece:
    """Return the class of every pixel as ``label``, and what is known of it under the other names of `_FIELDS`."""
    probs = piece.probs[..., :-1] if has_differences else piece.probs
    found = {"label": probs.argmax(axis=2).astype(np.uint8)}
    if want_confidence:
        found |= {"sure": probs.max(axis=2), "vague": measure_entropy(probs)}
    if has_differences:
        found["differ"] = piece.probs[..., -1]
    decided = np.empty(probs.shape[:2], [(name, values.dtype) for name, values in found.items()])
    for name, values in found.items():
        decided[name] = values
    return Piece(piece.row, piece.col, decided)


class Differences:
    """Takes from strips of probabilities the layer that says how far the networks differ, and keeps it for a while.

    Parameters
    ----------
    picture : LazyImage
        The image at the size of the strips: where it holds no picture, what is kept is NaN.
    """

    def __init__(self, picture: LazyImage) -> None:
        self._picture = picture
        self._kept: list[np.ndarray] = []

    def take_from(self, strips: Iterable[Strip]) -> Iterator[Strip]:
        """Yield the strips without that layer."""
        for top, strip in strips:
            valid = self._picture.find_valid(slice(top, top + len(strip)))
            self._kept.append(np.where(True if valid is None else valid, strip[..., -1], np.float32(np.nan)))
            yield top, strip[..., :-1]

    def take(self) -> np.ndarray | None:
        """Return what came in since the last time."""
        kept, self._kept = self._kept, []
        return np.concatenate(kept) if kept else None
