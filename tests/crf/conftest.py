"""What the tests of the CRF share: the reference engine where it can be had, pictures, and seeds as `semseg` sows."""

from __future__ import annotations

import numpy as np
import pytest

from hybridseg.crf.engines import choose_engine
from hybridseg.demo.scenes.scene import make_scene
from hybridseg.errors import MissingPackage


@pytest.fixture(scope="session")
def reference():
    """The function that runs pydensecrf; a test that wants it is skipped where it cannot be had (Python 3.13)."""
    try:
        return choose_engine("pydensecrf")[1]
    except MissingPackage as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def sow():
    """Seed every eighth cell of 24 px with the class that most of its pixels have."""

    def sow_cells(labels: np.ndarray, *, every: int = 8) -> np.ndarray:
        seeds = np.zeros(labels.shape, np.uint8)
        for i, row in enumerate(range(0, labels.shape[0], 24)):
            for j, col in enumerate(range(0, labels.shape[1], 24)):
                if (i + 3 * j) % every == 0:
                    cell = np.s_[row : row + 24, col : col + 24]
                    seeds[cell] = np.bincount(labels[cell].ravel()).argmax() + 1
        return seeds

    return sow_cells


@pytest.fixture(scope="session")
def coasts(sow):
    """Two coast scenes of 168 x 224: (image, seeds, n_classes)."""
    scenes = [make_scene(seed, rows=168, cols=224) for seed in (0, 4)]
    return [(scene.image, sow(scene.labels), 11) for scene in scenes]


@pytest.fixture(scope="session")
def paint():
    """Paint a picture of a kind: ``flat``, ``noisy``, ``smooth`` (waves, a little noise) or ``steps`` of 3 levels."""

    def paint_image(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        rows, cols, bands = shape
        if kind == "flat":
            return np.broadcast_to(rng.integers(0, 256, (1, 1, bands)), shape).astype(np.uint8)
        if kind == "noisy":
            return rng.integers(0, 256, shape, np.uint8)
        if kind == "steps":
            return (rng.integers(0, 3, shape) * 100).astype(np.uint8)
        waves = np.sin(np.arange(rows)[:, None, None] / 19 + np.arange(cols)[:, None] / 13 + np.arange(bands))
        return np.clip(127 + 100 * waves + rng.normal(0, 2, shape), 0, 255).astype(np.uint8)

    return paint_image


@pytest.fixture(scope="session")
def scatter():
    """Scatter seeds of all classes; at least one, in the first pixel."""

    def scatter_seeds(shape: tuple[int, int], n_classes: int, density: float, rng: np.random.Generator) -> np.ndarray:
        seeds = rng.integers(1, n_classes + 1, shape) * (rng.random(shape) < density)
        seeds[0, 0] = n_classes
        return seeds.astype(np.uint8)

    return scatter_seeds


@pytest.fixture
def cut_at(monkeypatch):
    """Let blocks with their halo have sides of so many pixels from now on."""
    return lambda side: monkeypatch.setattr("hybridseg.crf.blocks._SIDE", side)
