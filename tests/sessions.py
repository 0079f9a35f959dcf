"""A labelling session over two photos, for the tests of labelling and of its page."""

from __future__ import annotations

import shutil
import time

import numpy as np
import pytest

from hybridseg.crf.options import CrfOptions
from hybridseg.io.images import write_image
from hybridseg.labelling.album import Album
from hybridseg.labelling.jobs import JobRunner
from hybridseg.labelling.session import LabelSession
from hybridseg.labelling.spreading import SpreadOptions

# One thread: for so few pixels more of them cost more than they save.
NEAR = SpreadOptions(scale=0.5, crf=CrfOptions(theta=8.0, color_scale=10.0, gt_prob=0.9, n_threads=1), features="none")


@pytest.fixture
def draw():
    """Make the record of a stroke: `draw(0, (10, 5), (10, 20))` is a pen of 3 pixels of the first class."""

    def make(class_id=0, *points, **more) -> dict:
        points = [list(point) for point in points or ((10, 5), (10, 20))]
        return {"layer": "scribbles", "tool": "pen", "class": class_id, "width": 3.0, "points": points, **more}

    return make


@pytest.fixture
def near():
    """How the sessions of these tests spread scribbles."""
    return NEAR


@pytest.fixture(scope="session")
def _photo_originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("session")
    for i, name in enumerate(("a.png", "b.png")):
        image = np.random.default_rng(i).integers(20, 40, (60, 90, 3)).astype(np.uint8)
        image[:, 45:] += 180
        write_image(folder / name, image)
    return folder


@pytest.fixture
def photos(_photo_originals, tmp_path):
    """Two photos of 60 x 90 pixels, dark to the left of column 45 and bright to its right."""
    return shutil.copytree(_photo_originals, tmp_path / "photos")


@pytest.fixture
def make_session(photos, table):
    def make(names=("a.png", "b.png"), *, table=table, out_dir=None) -> LabelSession:
        album = Album([photos / name for name in names], table=table, out_dir=out_dir)
        return LabelSession(album, options=NEAR)

    return make


@pytest.fixture
def session(make_session):
    return make_session()


@pytest.fixture
def jobs(session):
    runner = JobRunner(session)
    yield runner
    runner.close()


@pytest.fixture
def first(session):
    """The id of the first image."""
    return session.album.list_images()[0]["id"]


@pytest.fixture
def wait_for_job():
    """Wait until the work on an image is done, and give its state."""

    def wait(session: LabelSession, image_id: str) -> dict:
        deadline = time.monotonic() + 60
        while (state := session.describe(image_id))["job"] is not None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return state

    return wait
