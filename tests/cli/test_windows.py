"""Both dense networks trained on windows of photos at their own resolution, by their commands."""

import json

import numpy as np
import pytest
from PIL import Image

from hybridseg.io.images import read_image, write_image
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.models import resunet
from hybridseg.models.bundles import load_dense
from hybridseg.models.fcn import Fcn8s


@pytest.fixture(autouse=True)
def _small(small_encoder, monkeypatch):
    """Networks that are built in no time, and whose scores do not begin at 0."""
    from tf_keras import layers

    monkeypatch.setattr(resunet, "_N_LEVELS", 2)
    score = lambda self, features, name: layers.Conv2D(self.n_outputs, 1, name=name)(features)  # noqa: E731
    monkeypatch.setattr(Fcn8s, "_score", score)


def predict_whole(path, image):
    model = load_dense(path)
    return model.predict(model.card.normalization.apply(image)[None])[0].argmax(axis=-1)


@pytest.mark.slow
def test_fcn_on_windows(run, coast, tmp_path):
    folder = ("--name", "net", "--runs-dir", tmp_path)
    windows = ("--crop", "32x64", "--crop-scale", ".5-1.5", "--crops", 2, "--balance")
    result = run("fcn", "train", *folder, "--images", coast, *windows, "--epochs", 1)
    assert result.exit_code == 0 and "trained on 3 images, validated on 1" in result.stdout, result.output
    card = json.loads((tmp_path / "net/model.card.json").read_text())
    assert card["size"] == [32, 64] and card["scores"]["n_pixels"] == 64 * 96, "the photo, at its own size"
    assert card["view"] == {"windows": True, "scale": [0.5, 1.5], "photo": [64, 96], "resolution": None}

    photo = coast / "scene_00.jpg"
    infer = ("fcn", "infer", *folder, "--samples-dir", photo, "--output-dir")
    result = run(*infer, tmp_path / "plain")
    assert result.exit_code == 0 and "larger" not in result.output
    found = read_labelmap(tmp_path / "plain/scene_00_predseg.png").labels
    assert np.array_equal(found, predict_whole(tmp_path / "net/model.h5", read_image(photo)))
    assert (
        run(*infer, tmp_path / "native", "--native").exit_code
        == run(*infer, tmp_path / "fit", "--fitted").exit_code
        == 0
    )
    same, other = (read_labelmap(tmp_path / f"{name}/scene_00_predseg.png").labels for name in ("native", "fit"))
    assert np.array_equal(same, found) and not np.array_equal(other, found)

    with Image.open(photo) as picture:
        write_image(tmp_path / "close.png", np.asarray(picture.resize((96 * 5, 64 * 5))))
    close = ("fcn", "infer", *folder, "--samples-dir", tmp_path / "close.png", "--output-dir", tmp_path)
    result = run(*close)
    assert result.exit_code == 0 and "its objects look 3.3 times larger than any" in result.stderr
    assert "try --native --scale 0.2" in result.stderr
    result = run(*close, "--scale", 0.2)
    assert result.exit_code == 0 and "larger" not in result.stderr


@pytest.mark.slow
def test_resunet_on_windows(run, coast, tmp_path):
    config, weights = tmp_path / "config.json", tmp_path / "net.h5"
    record = {"TARGET_SIZE": [32, 32], "NCLASSES": 10, "N_DATA_BANDS": 3, "MAX_EPOCHS": 1, "AUG_COPIES": 2}
    config.write_text(json.dumps(record))
    train = ("resunet", "train", "--config", config, "--weights-out", weights, "--filters", 1)
    result = run(*train, "--images", coast, "--crop-scale", "1-2")
    assert result.exit_code == 0, result.output
    card = load_dense(weights).card
    assert card.view.windows and card.view.scale == (1.0, 2.0) and card.view.photo == (64, 96)
    assert card.training["crops"]["n_crops"] == 2 and card.training["augmentation"]["rotation"] == 10
    use = ("--config", config, "--weights", weights)
    assert run("resunet", "segment", *use, "--images", coast, "--out", tmp_path / "out").exit_code == 0
    found = read_labelmap(tmp_path / "out/scene_01_predseg.png").labels
    assert np.array_equal(found, predict_whole(weights, read_image(coast / "scene_01.jpg")))
    result = run("resunet", "evaluate", *use, "--images", coast)
    assert result.exit_code == 0 and "pixel accuracy" in result.stdout
    result = run("resunet", "evaluate", *use, "--data", coast)
    assert result.exit_code == 1 and "was trained on windows of photos, not on records: give --images" in result.stderr
    # Without a training, the weights are scored as they were at its end.
    config.write_text(json.dumps(record | {"DO_TRAIN": False, "DOPLOT": False}))
    result = run(*train, "--images", coast, "--resume")
    assert result.exit_code == 0 and "the scores on 1 image:" in result.stdout, result.output
    accuracy = card.scores["accuracy"]
    assert f"pixel accuracy {accuracy:.3f}" in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("words", "windows", "size", "scale"), [
    ((), True, [64, 96], [0.84, 1.68]), (("--crop", "32x32"), True, [32, 32], [0.5, 2.0]),
    (("--balance", "--crop-scale", "1-1"), True, [64, 96], [1.0, 1.0]), (("--size", "32x32"), False, [32, 32], None),
])  # fmt: skip
def test_what_fcn_is_trained_on(run, coast, tmp_path, words, windows, size, scale):
    result = run("fcn", "train", "--name", "n", "--runs-dir", tmp_path, "--images", coast, "--epochs", 1, *words)
    assert result.exit_code == 0, result.output
    card = json.loads((tmp_path / "n/model.card.json").read_text())
    assert (card["view"]["windows"], card["size"]) == (windows, size)
    assert card["view"]["scale"] == (scale or [pytest.approx(0.408, abs=1e-3)] * 2)


@pytest.mark.parametrize(("words", "code", "message"), [
    (("--crop", "64x64", "--size", "64x64"), 1, "--size resizes whole photos; --crop, --crop-scale,"),
    (("--crop", "60x64"), 1, "--crop=60x64: give ROWSxCOLS, each a whole number from 32 to 8,192, a multiple of 32"),
    (("--crop", "64x64", "--crop-scale", "2-1"), 1, "--crop-scale=2.0-1.0: give the smaller scale first"),
    (("--crop", "64x64", "--crop-scale", "0-1"), 1, "--crop-scale=0.0-1.0: give LOW-HIGH, each a number from 0.01 to"),
    (("--crop", "64x64", "--crop-scale", "2"), 2, "'2' is not a range; write its ends like 0.5-2"),
    (("--size", "64x64", "--balance"), 1, "are for windows of them: give one or the other"),
])  # fmt: skip
def test_windows_that_cannot_be(run, coast, tmp_path, words, code, message):
    result = run("fcn", "train", "--name", "n", "--runs-dir", tmp_path / "runs", "--images", coast, *words)
    assert result.exit_code == code and message in result.stderr, result.output
    assert not (tmp_path / "runs").exists()


def test_records_have_no_windows(run, tmp_path):
    (tmp_path / "config.json").write_text('{"TARGET_SIZE": [32, 32], "NCLASSES": 1, "N_DATA_BANDS": 3}')
    train = ("resunet", "train", "--config", tmp_path / "config.json", "--weights-out", tmp_path / "net.h5")
    result = run(*train, "--data", tmp_path, "--balance")
    assert result.exit_code == 1 and "give --images in place of --data" in result.stderr
    for words in ((), ("--data", tmp_path, "--images", tmp_path), ("--masks", tmp_path)):
        result = run(*train, *words)
        assert result.exit_code == 2 and "give either --data, or --images with --masks" in result.stderr
