"""What the scribbles on other images of a session have taught, so that the next one needs fewer."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

# Samples of an image, and images, that are kept: in memory, never on disk.
_MAX_SAMPLES, _MAX_IMAGES = 300, 9
# Of each class: an image with as many learns by itself (docs/decisions/021-pixel-classifier.md).
_ENOUGH_STROKES = 2


class Experience:
    """Samples of the images that were labelled last, by the names of their classes."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[np.ndarray, list[str]]] = OrderedDict()
        self._lock = threading.Lock()

    def remember(self, image: str, features: np.ndarray, keys: Sequence[str]) -> None:
        """Keep samples of an image in place of those that it had: (n, features) standardized, and their class keys."""
        chosen = np.random.default_rng(0).permutation(len(features))[:_MAX_SAMPLES]
        with self._lock:
            self._known.pop(image, None)
            self._known[image] = features[chosen], [keys[i] for i in chosen]
            while len(self._known) > _MAX_IMAGES:
                self._known.popitem(last=False)

    def forget(self, image: str) -> None:
        """Drop the samples of an image."""
        with self._lock:
            self._known.pop(image, None)

    def recall(self, image: str) -> dict[str, tuple[np.ndarray, list[str]]]:
        """Return the samples of all other images."""
        with self._lock:
            return {other: samples for other, samples in self._known.items() if other != image}


@dataclass(frozen=True)
class Lessons:
    """The experience of a session for one image.

    Parameters
    ----------
    keys : sequence of str
        Of its classes, see `ClassTable.keys`.
    weight : float
        Of all samples of other images, beside 1 for all of its own, where each class has a single stroke.
    keeps : bool
        Whether its samples are remembered for the others.
    teachers : list of str
        The other images whose samples `add` has given last.
    """

    experience: Experience
    image: str
    keys: Sequence[str]
    weight: float
    keeps: bool
    teachers: list[str] = field(default_factory=list)

    def add(
        self, features: np.ndarray, class_ids: np.ndarray, *, n_strokes: float = 1.0
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return samples, (n, features), with those of other images of the same classes; and the weight of each.

        The more strokes a class has on this image, on average, the less the others count. Each image is standardized
        by itself: light and camera differ, and what sets classes apart remains.
        """
        mean, deviation = features.mean(axis=0), features.std(axis=0) + np.float32(1e-3)
        own = np.full(len(features), 1 / len(features), np.float32)
        names = {self.keys[i]: i for i in np.unique(class_ids)}
        parts = {
            image: (samples[used], [names[key] for key in np.array(keys)[used]])
            for image, (samples, keys) in self.experience.recall(self.image).items()
            if samples.shape[1] == features.shape[1] and (used := np.isin(keys, list(names))).any()
        }
        if self.keeps:
            keys = [self.keys[i] for i in class_ids]
            self.experience.remember(self.image, (features - mean) / deviation, keys)
        missing = np.clip((_ENOUGH_STROKES - n_strokes) / (_ENOUGH_STROKES - 1), 0, 1)
        weight = self.weight * float(missing) ** 2
        self.teachers[:] = parts if weight else ()
        if not self.teachers:
            return features, class_ids, own
        others, ids = (np.concatenate(some) for some in zip(*parts.values(), strict=True))
        weights = np.concatenate([own, np.full(len(others), weight / len(others), np.float32)])
        joined = np.concatenate([features, (others * deviation + mean).astype(np.float32)])
        return joined, np.concatenate([class_ids, ids]), weights
