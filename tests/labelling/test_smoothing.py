"""Smoother borders and no specks: constants that a person sets on the page, or for a command."""

import io
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import label

from hybridseg.io.annotations.doodles import read_strokes
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.labelling.preview import Previewer
from hybridseg.labelling.spreading import SPREAD_CRF, SpreadOptions, spread_seeds

WINDOW = (0, 0, 60, 90)


@pytest.fixture(scope="module")
def speckled():
    """Dark to the left and bright to the right, with specks of the other brightness; and a stroke on either side."""
    rng = np.random.default_rng(0)
    is_bright = (np.arange(120) >= 60) ^ (rng.random((80, 120)) < 0.04)
    image = (np.where(is_bright, 130, 100)[..., None] + rng.integers(0, 20, (80, 120, 3))).astype(np.uint8)
    seeds = np.zeros((80, 120), np.uint8)
    seeds[20:60, 8:12], seeds[20:60, 100:104] = 1, 2
    return image, seeds


def spread(speckled, **more):
    image, seeds = speckled
    options = SpreadOptions(crf=SPREAD_CRF, features="none", **more)
    return spread_seeds(image, seeds, n_classes=2, options=options.constants, specks=options.specks)


def measure_areas(labels):
    return sorted(size for k in range(2) for size in np.bincount(label(labels == k)[0].ravel())[1:])


@pytest.mark.parametrize("features", ["none", "color"])
def test_each_step_leaves_shorter_borders(features, speckled):
    """Also the first ones, whatever comes before the CRF: none is without effect."""
    rng, (_, seeds), lengths = np.random.default_rng(0), speckled, []
    # Specks of any contrast.
    shift = (rng.random((80, 120)) < 0.1) * rng.random((80, 120)) * np.where(np.arange(120) < 60, 1, -1)
    grey = np.where(np.arange(120) < 60, 100, 130) + 40 * shift
    image = (grey[..., None] + rng.integers(0, 20, (80, 120, 3))).astype(np.uint8)
    for smoothness in range(7):
        options = SpreadOptions(features=features, smoothness=smoothness)
        labels = spread_seeds(image, seeds, n_classes=2, options=options.constants, features=features)
        lengths.append((labels[1:] != labels[:-1]).sum() + (labels[:, 1:] != labels[:, :-1]).sum())
    assert all(before > after for before, after in pairwise(lengths)), lengths


def test_no_area_is_smaller_than_asked_for(speckled):
    plain, clean = spread(speckled), spread(speckled, specks=30)
    assert measure_areas(plain)[0] < 5 and measure_areas(clean)[0] >= 30
    assert (plain != clean).mean() < 0.1


@pytest.mark.usefixtures("quick_panels")
def test_a_session_and_the_command_give_the_same(session, jobs, first, draw, wait_for_job, photos, run, tmp_path):
    session.add_stroke(first, 1, draw(0, (10, 5), (50, 30)))
    session.add_stroke(first, 2, draw(2, (10, 60), (50, 80)))
    jobs.start(first, 3, "run")
    assert not wait_for_job(session, first)["stale"]
    session.set_smoothing(3, 50)
    assert session.describe(first)["stale"]
    jobs.start(first, 3, "accept")
    assert wait_for_job(session, first)["state"] == "done"
    constants = ["-s", "0.5", "--theta", "8", "--color-scale", "10", "--threads", "1"]
    how = ["--features", session.options.features, "--smoothness", "3", "--specks", "50"]
    done = run("crf", photos / "a.png", photos / "a_doodles.json", "--out", tmp_path / "out", *constants, *how)
    assert done.exit_code == 0, done.output
    there = read_labelmap(tmp_path / "out" / "a_mres.mat").labels
    assert (read_labelmap(photos / "a_mres.mat").labels == there).all()
    # What was accepted stays as it is.
    session.set_smoothing(0, 0)
    state = session.describe(first)
    assert state["state"] == "done" and not state["stale"] and read_strokes(photos / "a_doodles.json").done


def test_the_preview_knows(session, first, draw):
    session.add_stroke(first, 1, draw(0, (10, 5), (50, 30)))
    session.add_stroke(first, 2, draw(2, (10, 60), (50, 80)))
    # A speck that is not removed, because a person drew it.
    session.add_stroke(first, 3, draw(1, (30, 70)))
    opened, previewer = session.album.open(first)[1], Previewer()
    session.set_smoothing(0, 2000)
    found = previewer.preview(opened, WINDOW, session.options)
    shape = Image.open(io.BytesIO(found.picture)).size[::-1]
    assert sum(found.counts) == shape[0] * shape[1] and 0 < found.counts[1] < 20
