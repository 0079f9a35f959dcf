"""A photo, and a job that other processes can import."""

import sys
from pathlib import Path

import numpy as np
import pytest

from hybridseg.io.images import write_image

# Other processes search where this one does.
sys.path.append(str(Path(__file__).parent))

from thresholdjob import ThresholdJob


@pytest.fixture
def job(tmp_path):
    model = tmp_path / "model.bin"
    model.write_bytes(b"model")
    return ThresholdJob((model,))


@pytest.fixture
def photo(tmp_path):
    image = np.zeros((6, 8, 3), np.uint8)
    image[:, 2:] = 200
    write_image(tmp_path / "photo.png", image)
    return tmp_path / "photo.png"
