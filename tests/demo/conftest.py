"""Scenes that take no time: three areas with wavy borders, small, but with pure tiles of 96 pixels."""

from __future__ import annotations

import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.io.images import write_image
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.matfiles import write_matfile

AREAS = ClassTable(("water", "sand", "cliff"), ((0, 0, 255), (255, 255, 0), (139, 0, 139)))


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """A folder of six scenes of 288 x 384 pixels with their label maps, for every test: none changes it."""
    folder = tmp_path_factory.mktemp("scenes")
    rows, cols = np.mgrid[:288, :384]
    for i in range(6):
        right = cols > 192 + 30 * np.sin(rows / 20 + i)
        below = rows > 192 + 8 * np.sin(cols / 15 + i)
        labels = np.where(below, 2, right).astype(np.uint8)
        noise = np.random.default_rng(i).normal(0, 25, (*labels.shape, 3))
        image = np.clip(np.array(AREAS.colors)[labels] * 0.5 + 60 + noise, 0, 255).astype(np.uint8)
        write_image(folder / f"scene_{i}.jpg", image)
        write_matfile(folder / f"scene_{i}_mres.mat", LabelMap(labels, AREAS))
    return folder
