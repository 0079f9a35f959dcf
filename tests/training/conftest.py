"""What the tests of training share: pairs that live in memory."""

from __future__ import annotations

import numpy as np
import pytest


class ArrayPairs:
    """A source of pairs; it notes what was read."""

    def __init__(self, images, labels, sources=None):
        self.images, self.labels, self.was_read = images, labels, []
        self.sources = sources or [f"photo_{i}" for i in range(len(images))]
        self.n_bands, self.dtype, self.fingerprint = images.shape[-1], images.dtype, "abc"

    def read(self, index):
        self.was_read.append(index)
        return self.images[index], self.labels[index]


@pytest.fixture
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
