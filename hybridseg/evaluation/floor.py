"""What the colour of each pixel alone would get right: a floor that a method which sees more should exceed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hybridseg.classes import VOID

_MOST_PIXELS = 50_000


@dataclass(frozen=True, eq=False)
class ColorSample:
    """Some pixels of a photo: their colours, (n, 3) float32, and their true classes, (n,) uint8 without VOID."""

    colors: np.ndarray
    labels: np.ndarray
    n_pixels: int
    """Labelled pixels of the whole photo."""


def take_sample(image: np.ndarray, labels: np.ndarray) -> ColorSample:
    """Take evenly spaced pixels of an image, (rows, cols, 3) uint8, and of its labels, (rows, cols) uint8."""
    step = max(1, round((labels.size / _MOST_PIXELS) ** 0.5))
    some, colors = labels[::step, ::step], image[::step, ::step]
    known = some != VOID
    return ColorSample(colors[known].astype(np.float32), some[known], int(np.count_nonzero(labels != VOID)))


def measure_floor(samples: Sequence[ColorSample], *, n_classes: int) -> float | None:
    """Return the share of the pixels that have the class with the nearest mean colour in the other photos.

    None for fewer than two photos.

    Examples
    --------
    >>> red, blue = np.full((4, 4, 3), (200, 0, 0), np.uint8), np.full((4, 4, 3), (0, 0, 200), np.uint8)
    >>> image, labels = np.vstack([red, blue]), np.repeat([0, 1], 16).reshape(8, 4).astype(np.uint8)
    >>> measure_floor([take_sample(image, labels)] * 2, n_classes=2)
    1.0
    """
    samples = [sample for sample in samples if len(sample.labels)]
    if len(samples) < 2:
        return None
    counts = np.array([np.bincount(s.labels, minlength=n_classes) for s in samples], np.float64)
    sums = np.array([[np.bincount(s.labels, c, n_classes) for c in s.colors.T] for s in samples]).transpose(0, 2, 1)
    n_right = 0.0
    for i, sample in enumerate(samples):
        others = counts.sum(axis=0) - counts[i]
        seen = np.flatnonzero(others)
        means = (sums.sum(axis=0) - sums[i])[seen] / others[seen, None]
        nearest = seen[((sample.colors[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)]
        n_right += float((nearest == sample.labels).mean()) * sample.n_pixels
    return n_right / sum(sample.n_pixels for sample in samples)
