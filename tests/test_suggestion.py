"""Any model as one that suggests labels: the same in a window as of the whole image, and the commands that use it."""

import json
from functools import partial

import numpy as np
import pytest
from PIL import Image

from hybridseg.apply import Model
from hybridseg.classes import ClassTable
from hybridseg.dense.windowprobs import look_by_networks
from hybridseg.dense.windows import DenseOptions, predict_probs
from hybridseg.hybrid.segmentation import HybridOptions, vote_on_tiles
from hybridseg.hybrid.windowprobs import look_by_tiles
from hybridseg.io.images import write_image
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.lazyimages import LazyImage
from hybridseg.suggestion import open_suggester
from tests.dense.conftest import FakeDense

WHOLE = slice(0, 160), slice(0, 240)


@pytest.fixture
def coast_picture(paint_coast):
    return paint_coast(160, 240, border=100)


@pytest.mark.parametrize("options", [DenseOptions(native=True, window=64, overlap=32), DenseOptions()])
def test_networks_say_the_same_of_a_window(options, coast_picture):
    models = [FakeDense(), FakeDense(("water", "veg", "cliff"), order=(2, 1, 0))]
    image = LazyImage.of(coast_picture)
    look = look_by_networks(image, models, options=options)
    part = look(slice(32, 96), slice(64, 192), (64, 128))
    assert part.shape == (64, 128, 3) and np.allclose(part.sum(axis=2), 1, atol=1e-4)
    assert (part[:, :30].argmax(axis=2) == 0).all() and (part[:, 42:].argmax(axis=2) == 2).all()
    if options.native:
        whole = predict_probs(coast_picture, models, options=options)
        assert np.allclose(part, whole[32:96, 64:192], atol=1e-5)
    small = look(*WHOLE, (16, 24))
    assert small.shape == (16, 24, 3) and (small[:, :9].argmax(axis=2) == 0).all()


def test_tiles_of_a_window_are_those_of_the_image(coast_picture, by_color):
    options = HybridOptions(stride=8)
    votes, _ = vote_on_tiles(coast_picture, by_color, options=options)
    whole = votes.spread(votes.fill_probs(), (160, 240))
    look = look_by_tiles(LazyImage.of(coast_picture), by_color, options=options)
    assert np.allclose(look(slice(37, 90), slice(71, 150), (53, 79)), whole[37:90, 71:150], atol=1e-5)
    # Where there is no picture nothing is suggested.
    valid = np.zeros((160, 240), bool)
    look = look_by_tiles(LazyImage.of(coast_picture, valid), by_color, options=options)
    assert np.allclose(look(slice(0, 32), slice(0, 32), (4, 4)), 1 / 3)


@pytest.mark.usefixtures("quick_panels")
def test_the_command_corrects_what_a_model_suggests(tiny_model, run, tmp_path):
    """Sand, vegetation and water in stripes; the sand is scribbled on as road, which the model does not know."""
    colors = np.array([(230, 200, 120), (40, 120, 40), (30, 70, 160)])
    noise = np.random.default_rng(0).integers(-40, 41, (96, 240, 3))
    image = (colors[np.arange(240) // 80][None] + noise).clip(0, 255).astype(np.uint8)
    write_image(tmp_path / "a.png", image)
    table = ClassTable.from_names(["Water", "road", "veg", "sand"])
    (tmp_path / "labels.txt").write_text("\n".join(table.names))
    seeds = np.full((96, 240), 255, np.uint8)
    seeds[::16, 5:75] = table.index("road")
    Image.fromarray(seeds).save(tmp_path / "seeds.png")
    words = ["--labels", tmp_path / "labels.txt", "--model", tiny_model, "--out", tmp_path / "out", "--smoothness", "1"]
    done = run("crf", tmp_path / "a.png", tmp_path / "seeds.png", *words)
    assert done.exit_code == 0, done.output
    found = read_labelmap(tmp_path / "out" / "a_mres.mat")
    shown = [table.names[np.bincount(part.ravel()).argmax()] for part in np.split(found.labels, 3, axis=1)]
    assert shown == ["road", "veg", "Water"]
    record = json.loads(found.made_by)
    assert record["settings"]["smoothness"] == 1 and record["settings"]["features"] == "deep"
    assert len(record["suggested_by"]["models"][0]) == 64
    (tmp_path / "labels.txt").write_text("lava\nash\n")
    seeds[::16, 5:75] = 0
    Image.fromarray(seeds).save(tmp_path / "seeds.png")
    failed = run("crf", tmp_path / "a.png", tmp_path / "seeds.png", *words, "--overwrite")
    assert failed.exit_code == 1 and "lava, ash" in failed.output and "sand, veg, water" in failed.output


def test_the_classes_and_the_record_of_a_model(tiny_model, tmp_path):
    suggester = open_suggester(Model((tiny_model,)))
    assert sorted(suggester.table.names) == ["sand", "veg", "water"]
    told = suggester.describe((96, 240))
    assert set(told) == {"models", "settings"} and "crf" not in json.dumps(told)
    write_image(tmp_path / "a.png", np.full((40, 60, 3), (30, 70, 160), np.uint8))
    look = partial(suggester.predict, tmp_path / "a.png", slice(0, 40), slice(0, 60), (20, 30))
    assert (look().argmax(axis=2) == suggester.table.index("water")).all()
    # The file was replaced while it was open.
    write_image(tmp_path / "a.png", np.full((40, 60, 3), (40, 120, 40), np.uint8))
    assert (look().argmax(axis=2) == suggester.table.index("veg")).all()
