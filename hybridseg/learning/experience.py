"""What the scribbles on other images of a session have taught, so that the next one needs fewer."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

# Samples of an image, and images, that are kept: in memory, never on disk.
_MAX_SAMPLES, _MAX_IMAGES = 300, 9
# Of each class: an image with as many learns by itself (docs/decisions/021-pixel-classifier.md).
_ENOUGH_STROKES = 2


Found = tuple[np.ndarray, Sequence[str]]


class Experience:
    """Samples of the images that were labelled last, by the names of their classes.

    Parameters
    ----------
    earlier : sequence of str
        Images that were labelled before the program was started, the latest first.
    look : callable
        Returns what `remember` takes of one of these, or None where it teaches nothing. That takes long, so it is
        called once their samples are needed.
    """

    def __init__(self, earlier: Sequence[str] = (), look: Callable[[str], Found | None] = lambda image: None) -> None:
        self._known: OrderedDict[str, Found] = OrderedDict()
        self._earlier, self._look = list(earlier), look
        self._lock = threading.Lock()

    def remember(self, image: str, features: np.ndarray, keys: Sequence[str]) -> None:
        """Keep samples of an image in place of those that it had: (n, features), and their class keys."""
        found = _choose(features, keys)
        with self._lock:
            self._drop(image)
            self._known[image] = found
            while len(self._known) > _MAX_IMAGES:
                self._known.popitem(last=False)

    def forget(self, image: str) -> None:
        """Drop the samples of an image."""
        with self._lock:
            self._drop(image)

    def look_back(self, image: str, most: int | None = None) -> bool:
        """Look at the earlier images that teach an image, at most so many, the latest first; return whether at all."""
        while (other := self._find_earlier(image)) is not None and most != 0:
            found = self._look(other)
            chosen = _choose(*found) if found else None
            most = None if most is None else most - 1
            with self._lock:
                # It may have been forgotten, or labelled anew, meanwhile.
                if other in self._earlier:
                    self._earlier.remove(other)
                    if chosen and len(self._known) < _MAX_IMAGES:
                        self._known[other] = chosen
                        self._known.move_to_end(other, last=False)
        return other is None

    def recall(self, image: str) -> dict[str, Found]:
        """Return the samples of all other images, (n, features) standardized, as far as they were looked at."""
        with self._lock:
            return {other: samples for other, samples in self._known.items() if other != image}

    def _find_earlier(self, image: str) -> str | None:
        with self._lock:
            # The image itself is not looked at, but is one of those that are kept.
            room = _MAX_IMAGES - len(self._known)
            return next((other for other in self._earlier[:room] if other != image), None)

    def _drop(self, image: str) -> None:
        self._known.pop(image, None)
        if image in self._earlier:
            self._earlier.remove(image)


@dataclass
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
    n_looks : int or None
        How many images of earlier sessions `add` may look at, see `Experience`; None: all that it needs.
    teachers : list of str
        The other images whose samples `add` has given last.
    is_all : bool
        Whether `add` would give no more if it might look at more.
    """

    experience: Experience
    image: str
    keys: Sequence[str]
    weight: float
    keeps: bool
    n_looks: int | None = None
    teachers: list[str] = field(default_factory=list)
    is_all: bool = True

    def add(
        self, features: np.ndarray, class_ids: np.ndarray, *, n_strokes: float = 1.0
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return samples, (n, features), with those of other images of the same classes; and the weight of each.

        The more strokes a class has on this image, on average, the less the others count. Each image is standardized
        by itself: light and camera differ, and what sets classes apart remains.
        """
        missing = np.clip((_ENOUGH_STROKES - n_strokes) / (_ENOUGH_STROKES - 1), 0, 1)
        weight = self.weight * float(missing) ** 2
        self.is_all = not weight or self.experience.look_back(self.image, self.n_looks)
        own = np.full(len(features), 1 / len(features), np.float32)
        names = {self.keys[i]: i for i in np.unique(class_ids)}
        parts = {
            image: (samples[used], [names[key] for key in np.array(keys)[used]])
            for image, (samples, keys) in self.experience.recall(self.image).items()
            if samples.shape[1] == features.shape[1] and (used := np.isin(keys, list(names))).any()
        }
        if self.keeps:
            self.experience.remember(self.image, features, [self.keys[i] for i in class_ids])
        self.teachers[:] = parts if weight else ()
        if not self.teachers:
            return features, class_ids, own
        mean, deviation = _measure(features)
        others, ids = (np.concatenate(some) for some in zip(*parts.values(), strict=True))
        weights = np.concatenate([own, np.full(len(others), weight / len(others), np.float32)])
        joined = np.concatenate([features, (others * deviation + mean).astype(np.float32)])
        return joined, np.concatenate([class_ids, ids]), weights


def _choose(features: np.ndarray, keys: Sequence[str]) -> Found:
    """Return some samples at random, standardized, and their keys."""
    mean, deviation = _measure(features)
    chosen = np.random.default_rng(0).permutation(len(features))[:_MAX_SAMPLES]
    return ((features - mean) / deviation)[chosen], [keys[i] for i in chosen]


def _measure(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return features.mean(axis=0), features.std(axis=0) + np.float32(1e-3)
