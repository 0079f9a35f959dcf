"""What the tests of dense networks share: a network that needs no TensorFlow, and pairs in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.models.bundles import DenseCard
from hybridseg.models.normalization import Normalization
from hybridseg.models.resunet import ResUnet


class FakeDense:
    """Classifies pixels by their strongest band; with `by_place` the scores depend on the place in the window too."""

    def __init__(self, names=("cliff", "veg", "water"), *, size=(32, 48), order=(0, 1, 2), n_bands=3, by_place=False):
        card = DenseCard(
            ResUnet(n_bands=n_bands, n_outputs=len(names)), ClassTable.from_names(names), size, Normalization("unit")
        )
        self.path, self.card, self.order, self.by_place = Path(f"{names[0]}.h5"), card, list(order), by_place
        self.seen, self.engine = [], None

    @property
    def table(self):
        return self.card.table

    def predict(self, pixels):
        assert pixels.ndim == 4 and pixels.dtype == np.float32 and len(pixels) == 1
        assert pixels.shape[1] % 32 == pixels.shape[2] % 32 == 0, "the stride divides the sides"
        self.seen.append(pixels.shape[1:3])
        scores = np.exp(10 * pixels[..., self.order[: len(self.table)]])
        if self.by_place:
            scores[..., 0] *= np.linspace(1, 9, pixels.shape[2])
            scores[..., 1] *= np.linspace(5, 1, pixels.shape[1])[:, None]
        return (scores / scores.sum(axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture
def fake_dense():
    """Make such a network: red is cliff, green is veg, blue is water."""
    return FakeDense


class ArrayPairs:
    """A source of pairs; it records what was read."""

    table = ClassTable.from_names(["dark", "bright"])

    def __init__(self, images, labels):
        self.images, self.labels, self.size, self.was_read = images, labels, images.shape[1:3], []
        self.sources = [f"photo_{i}" for i in range(len(images))]
        self.n_bands, self.dtype, self.fingerprint = images.shape[-1], images.dtype, "abc"

    def read(self, index):
        self.was_read.append(index)
        return self.images[index], self.labels[index]


@pytest.fixture(scope="session")
def make_pairs():
    """Make some pairs of 32 x 32 pixels in which the brighter side is class 1, with a few void pixels."""

    def make(n=5, *, side=32, n_bands=1, dtype=np.uint8):
        rng = np.random.default_rng(0)
        images = rng.integers(0, 60, (n, side, side, n_bands)).astype(dtype)
        labels = np.zeros((n, side, side), np.uint8)
        for i in range(n):
            border = rng.integers(side // 4, 3 * side // 4)
            images[i, :, border:] += 120
            labels[i, :, border:] = 1
        labels[:, :2, :3] = 255
        return ArrayPairs(images, labels)

    return make


@pytest.fixture
def stop_at():
    """Make a progress that is interrupted at a step, of those that are left."""

    def make(step):
        def progress(items, *, label):
            for number, item in enumerate(items):
                if number == step:
                    raise KeyboardInterrupt
                yield item

        return progress

    return make
