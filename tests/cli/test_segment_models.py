"""Segmentation by a model that was trained: what is said of it, and models that cannot be used."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from hybridseg.io.images import write_image
from hybridseg.io.labels.formats import read_labelmap

CRF = ("--theta", 6, "--color-scale", 20, "--space-compat", 3, "--color-compat", 10)


@pytest.fixture
def real_model(tiny_model, tmp_path, monkeypatch):
    """A small trained model in the folder where the test is."""
    for name in ("model.pb", "model.json", "labels.txt"):
        shutil.copy(tiny_model.with_name(name), tmp_path)
    monkeypatch.chdir(tmp_path)


def test_from_a_real_model_to_pixels(run, real_model, tmp_path, paint_classes):
    write_image(tmp_path / "photo.png", paint_classes("sand", "water", "veg"))
    result = run("semseg", "photo.png", "--decimation", 1, "--scale", 0.5, *CRF, "--out", "out")
    assert result.exit_code == 0 and "wrote out/photo_ares_16.mat" in result.stdout
    assert "photo.png: sand 33" in result.stdout
    labels = read_labelmap(tmp_path / "out" / "photo_ares_16.mat").labels
    assert [np.unique(labels[:, start : start + 28]).tolist() for start in (2, 34, 66)] == [[0], [2], [1]]


def test_the_nine_words(run, real_model, tmp_path, paint_classes):
    write_image(tmp_path / "photo.jpg", paint_classes("sand", "water"))
    # In another order than the outputs of the model, as Windows writes it, with one colour for each line.
    (tmp_path / "l.txt").write_bytes(b"\xef\xbb\xbfWater\r\nveg\r\nsand\r\n")
    (tmp_path / "c.txt").write_bytes(b"\xef\xbb\xbf#010203\r\n#040506\r\n#070809\r\n")
    words = ["photo.jpg", "model.pb", "l.txt", "c.txt", 16, 0.4, 0.6, 1, 0.5]
    assert run("semseg", *words, *CRF, "--report").exit_code == 0
    labels = read_labelmap(tmp_path / "photo_ares_16_label.png")
    assert labels.table.names == ("sand", "veg", "water"), "as the outputs of the model are"
    with Image.open(tmp_path / "photo_ares_16_label.png") as picture:
        painted = np.asarray(picture.convert("RGB"))
    assert painted[5, 5].tolist() == [7, 8, 9] and painted[5, 60].tolist() == [1, 2, 3]
    settings = json.loads((tmp_path / "photo_ares_16_report.json").read_text())["settings"]
    asked = [settings["threshold"], settings["crf"]["gt_prob"], settings["decimation"], settings["scale"]]
    assert asked == [0.4, 0.6, 1, 0.5]

    for name in ("model.pb", "labels.txt"):
        (tmp_path / "old").mkdir(exist_ok=True)
        shutil.copy(name, tmp_path / "old")
    # A .pb of the classic script has no card: its labels.txt gives the order of the outputs.
    words = ["photo.jpg", "old/model.pb", "old/labels.txt", "c.txt", 16, 0.5, 0.5, 1, 0.5]
    assert run("semseg", *words, *CRF, "--out", "classic").exit_code == 0
    with Image.open(tmp_path / "classic" / "photo_ares_16_label.png") as picture:
        assert picture.convert("RGB").getpixel((5, 5)) == (1, 2, 3)

    (tmp_path / "other.txt").write_text("lava\nveg\nsand\n")
    refused = run("semseg", "photo.jpg", "model.pb", "other.txt", "c.txt", 16, 0.5, 0.5, 1, 0.5)
    assert refused.exit_code == 1 and "other.txt lists lava, veg, sand but model.pb was trained on" in refused.stderr
    refused = run("semseg", "photo.jpg", "model.pb", "l.txt", "c.txt", 96, 0.5, 0.5, 1, 0.5)
    assert refused.exit_code == 1 and "takes tiles of 16 pixels, not 96" in refused.stderr


def test_models_that_cannot_be_used(run, real_model, tmp_path, paint_classes):
    write_image(tmp_path / "photo.png", paint_classes("sand"))
    (tmp_path / "empty.pb").touch()
    assert "there is no model none.pb" in run("semseg", "photo.png", "--model", "none.pb").stderr
    refused = run("semseg", "photo.png", "--model", "empty.pb", "--labels", "labels.txt")
    assert refused.exit_code == 1 and "empty.pb is an empty file" in refused.stderr
    for path, what in ((tmp_path, "is a folder"), ("/", "is a folder"), ("/dev/zero", "is a pipe or device")):
        refused = run("semseg", "photo.png", "--model", path)
        assert refused.exit_code == 1 and what in refused.stderr
    (tmp_path / "labels.txt").unlink()
    (tmp_path / "model.json").unlink()
    assert "give its labels: --labels" in run("semseg", "photo.png").stderr
