"""A photo, and a job that other processes can import."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hybridseg.batch.jobs import Outputs, run_jobs
from hybridseg.batch.manifest import Manifest
from hybridseg.io.images import write_image
from hybridseg.io.remote import find_tag

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


@pytest.fixture
def survey(job, tmp_path):
    """Segment images into a folder with a manifest, as `segment` does."""

    def run(paths, out=tmp_path / "out"):
        find_tag.cache_clear()
        manifest = Manifest.read(out)
        one = replace(job, outputs=Outputs(out_dir=out, figures=None))
        with manifest.writing():
            manifest.begin(paths, job=one.fingerprint(), settings=one.describe(), engine="this process")
            return run_jobs(paths, one, manifest=manifest)

    return run
