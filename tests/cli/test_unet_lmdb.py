"""The three commands of the published program for scientific images, as its users type them."""

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hybridseg.dense.fit import FitOptions
from hybridseg.dense.lmdbpairs import LmdbPairs
from hybridseg.dense.policy import read_policy
from hybridseg.dense.predict import predict_labels
from hybridseg.dense.programs.unet import UnetOptions
from hybridseg.dense.programs.unetlmdb import train_on_databases
from hybridseg.dense.readers import ReaderOptions
from hybridseg.dense.schedules import Schedule
from hybridseg.dense.trainer import TrainingPaths
from hybridseg.io.images import read_image
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.lmdbstore import Database
from hybridseg.models.bundles import load_dense
from hybridseg.models.losses import LossOptions

# They share a training.
pytestmark = pytest.mark.slow

SMALL = ("--widths", "4,4,3,3", "--block", "plain")


@pytest.fixture(scope="module")
def invoke():
    from click.testing import CliRunner

    from hybridseg.cli.main import main

    def run(*words):
        result = CliRunner().invoke(main, [str(word) for word in words])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


def train(invoke, cells, output_dir, *more):
    databases = ("--train_database", cells / "data/train-cells.lmdb", "--test_database", cells / "data/test-cells.lmdb")
    return invoke("unet", "train", *databases, "--output_dir", output_dir, *SMALL, *more)


STEPS, RATE = 30, 0.02


@pytest.fixture(scope="module")
def trained(invoke, cells, tmp_path_factory):
    """The folder of a training, and what it printed."""
    folder = tmp_path_factory.mktemp("nist") / "run"
    words = ("--test_every_n_steps", STEPS, "--epochs", 3, "--learning_rate", RATE, "--reader_count", 2)
    more = ("--balance_classes", 1, "--number_classes", 4, "--early_stopping", 7)
    return folder, train(invoke, cells, folder, *words, *more)


def test_what_a_training_leaves(trained, cells):
    folder, result = trained
    assert result.exit_code == 0, result.output
    card = json.loads((folder / "model.card.json").read_text())
    assert card["normalization"]["kind"] == "dataset" and card["size"] == [32, 32] and len(card["classes"]) == 4
    assert card["view"] == {"windows": True, "scale": [1.0, 1.0], "photo": [32, 32], "resolution": None}
    training = card["training"]
    assert training["readers"] == {"test_every_n_steps": STEPS, "balance_classes": True, "reader_count": 2}
    assert training["held_out"] == ["cell_08", "cell_09"] and card["architecture"]["encoder"] == "none"
    # The settings of the published program, but for those that were given.
    assert [one["do"] for one in training["augmentation"]["step"]][2] == "shift-scale-rotate"
    assert training["batch_size"] == 4 and training["options"]["patience"] == 7
    with (folder / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 and {float(row["rate"]) for row in rows} == {RATE}
    # The best test is what was kept, and what is bright is easily told.
    best = min(rows, key=lambda row: float(row["val_loss"]))
    assert card["scores"]["macro"]["iou"] == pytest.approx(float(best["val_mean_iou"]), abs=1e-3)
    assert card["scores"]["accuracy"] > 0.9
    assert f"wrote {folder / 'saved_model'}" in result.stdout


def test_the_same_run_whatever_the_number_of_readers(trained, cells, tmp_path):
    """Interrupted after the first test, and resumed by other readers."""
    folder, _ = trained
    paths = TrainingPaths(tmp_path / "model.h5", tmp_path, plots=False)
    for epochs, n_readers in ((1, 1), (3, 2)):
        fit = FitOptions(epochs, LossOptions("cross-entropy"), Schedule(RATE, RATE, RATE), patience=7)
        policy = read_policy("nist")
        options = UnetOptions(
            "none", "plain", (4, 4, 3, 3), normalization="dataset", batch_size=4, fit=fit, augment=policy
        )
        train_on_databases(
            cells / "data/train-cells.lmdb", cells / "data/test-cells.lmdb", options=options, n_classes=4,
            paths=replace(paths, resume=epochs > 1), readers=ReaderOptions(STEPS, True, n_readers),
        )  # fmt: skip
    assert (tmp_path / "model.h5").read_bytes() == (folder / "model.h5").read_bytes()


SERVE = """
import sys
import numpy as np
import tensorflow as tf
served = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
image = np.load(sys.argv[2])
found = served(image=tf.constant(image[None].astype(np.float32)))
np.savez(sys.argv[3], **{name: value.numpy() for name, value in found.items()})
assert not [name for name in sys.modules if name.startswith(("hybridseg", "tf_keras"))]
"""


def test_tensorflow_alone_serves_it(trained, cells, tmp_path):
    folder, _ = trained
    image = read_image(cells / "images/cell_08.tif")[:27]
    np.save(tmp_path / "image.npy", image)
    command = [sys.executable, "-c", SERVE, folder / "saved_model", tmp_path / "image.npy", tmp_path / "found.npz"]
    # Nor Keras of any version.
    env = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "found.npz")
    labels, _ = predict_labels(image, [load_dense(folder / "model.h5")])
    assert found["classes"].shape == (1, 27, 32) and (found["classes"][0] == labels).mean() > 0.999
    assert found["probabilities"].shape == (1, 27, 32, 4) and np.allclose(found["probabilities"].sum(-1), 1, atol=1e-5)


def test_masks_of_a_folder(trained, invoke, cells, tmp_path):
    folder, _ = trained
    model = load_dense(folder / "model.h5")
    for name, words in (("a", ("--saved_model_filepath", folder / "saved_model")), ("b", ("--model", folder))):
        out = ("--image_folder", cells / "images", "--output_folder", tmp_path / name, "--image_format", "tif")
        result = invoke("unet", "infer", *words, *out)
        assert result.exit_code == 0 and "10 images done" in result.stdout, result.output
        for i in range(10):
            found = read_labelmap(tmp_path / name / f"cell_{i:02}.tif")
            labels, _ = predict_labels(read_image(cells / f"images/cell_{i:02}.tif"), [model])
            assert (found.labels == labels).mean() > 0.999 and found.table == model.table
            truth = read_image(cells / f"masks/cell_{i:02}.tif")[..., 0]
            assert (found.labels == truth).mean() > 0.9
    # A network that sees images at another scale; no folder is left.
    shutil.copytree(folder, tmp_path / "scaled")
    card = json.loads((tmp_path / "scaled/model.card.json").read_text())
    card["view"]["scale"] = [0.5, 0.5]
    (tmp_path / "scaled/model.card.json").write_text(json.dumps(card))
    result = invoke("unet", "infer", "--model", tmp_path / "scaled", *out[:3], tmp_path / "none")
    advice = f"use it with `hybridseg segment PHOTOS --model {tmp_path / 'scaled/model.h5'} --out DIR`"
    assert result.exit_code == 1 and advice in result.stderr and not (tmp_path / "none").exists()
    assert "skipped (--resume): 10" in invoke("unet", "infer", *words, *out, "--resume").stdout
    # Masks made by hand may have the names of the images.
    shutil.copytree(cells / "masks", tmp_path / "masks")
    result = invoke("unet", "infer", *words, *out[:3], tmp_path / "masks")
    assert result.exit_code == 1 and "cell_00.tif is there and is no result of a model" in result.stderr
    for path in (cells / "masks").iterdir():
        assert (tmp_path / "masks" / path.name).read_bytes() == path.read_bytes()


def test_without_augmentation(invoke, cells, tmp_path):
    result = train(invoke, cells, tmp_path / "run", "--use_augmentation", 0, "--test_every_n_steps", 1, "--epochs", 1)
    assert result.exit_code == 0, result.output
    card = json.loads((tmp_path / "run/model.card.json").read_text())
    assert card["training"]["augmentation"] == {"step": []} and len(card["classes"]) == 3
    assert card["training"]["options"]["schedule"]["top"] == 3e-4 and card["training"]["options"]["patience"] == 10


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--images", "photos"), "--images is for a training on a folder of images, and this is one on"),
        (("--name", "a"), "--name is for a training on a folder of images"),
        (("--number_classes", "1"), "1 is not in the range 2<=x<=255"),
        (("--use_augmentation", "yes"), "'yes' is neither 0 (no) nor 1 (yes)"),
    ],
)
def test_words_that_do_not_go_together(invoke, cells, tmp_path, words, message):
    result = train(invoke, cells, tmp_path / "run", *words)
    assert result.exit_code == 2 and message in result.stderr


def test_settings_that_are_refused(invoke, cells, tmp_path):
    result = train(invoke, cells, tmp_path / "run", "--number_classes", 2)
    assert result.exit_code == 1 and "cell_03 has the class id 2, and there are 2 classes" in result.stderr
    result = train(invoke, cells, tmp_path / "run", "--augmentation", "efficientnet-blog")
    assert result.exit_code == 1 and "perspective of the augmentation is not there for images" in result.stderr
    result = invoke("unet", "train", "--train_database", cells / "data/train-cells.lmdb", "--output_dir", tmp_path)
    assert result.exit_code == 2 and "--test_database is missing" in result.stderr
    result = invoke("unet", "train", "--reader_count", 2, "--name", "a", "--images", cells)
    assert result.exit_code == 2 and "--reader_count is for a training on a database" in result.stderr
    assert "--images is missing, or --train_database" in invoke("unet", "train", "--name", "cells").stderr
    words = ("--test_database", cells / "data/train-cells.lmdb", "--output_dir", tmp_path / "run")
    result = invoke("unet", "train", "--train_database", cells / "data/train-cells.lmdb", *words)
    assert result.exit_code == 1 and "are in the training set and in the validation set" in result.stderr
    for more, message in (
        (("--name", "a", "--model", "b"), "Give the network once: --name, --model or --saved_model_filepath"),
        ((), "Give the network once"),
        (("--model", "b", "--crf"), "--crf is for a network that is given by --name"),
        (("--model", "b"), "--output_folder is missing"),
        (("--name", "a", "--image_format", "tif"), "--image_format is for --model"),
    ):
        result = invoke("unet", "infer", "--images", cells / "images", *more)
        assert result.exit_code == 2 and message in result.stderr


def test_a_savedmodel_of_another_program(invoke, cells, tmp_path):
    out = ("--image_folder", cells / "images", "--output_folder", tmp_path / "out")
    result = invoke("unet", "infer", "--saved_model_filepath", tmp_path, *out)
    assert result.exit_code == 1 and "is no SavedModel (it has no saved_model.pb)" in result.stderr
    (tmp_path / "saved_model.pb").write_bytes(b"")
    result = invoke("unet", "infer", "--saved_model_filepath", tmp_path, *out)
    assert result.exit_code == 1 and "is a SavedModel of another program, which could run any code" in result.stderr


def test_a_build_as_it_is_typed(invoke, cells, tmp_path):
    words = ("--image_folder", cells / "images", "--mask_folder", cells / "masks", "--output_folder", tmp_path)
    more = ("--dataset_name", "x", "--train_fraction", "0.7", "--image_format", "tif", "--use_tiling", 1)
    more += ("--tile_size", 32)
    result = invoke("unet", "build-lmdb", *words, *more)
    assert result.exit_code == 0 and "train: 7 records of 7 images" in result.stdout, result.output
    assert "classes: background, class 1, class 2" in result.stdout
    assert len(LmdbPairs(tmp_path / "train-x.lmdb").sources) == 7
    assert Database(tmp_path / "test-x.lmdb").manifest["name"] == "x"
    assert f"{tmp_path / 'train-x.lmdb'} was there already" in invoke("unet", "build-lmdb", *words, *more).stdout


def test_the_page_from_a_folder_to_a_result(invoke, cells, tmp_path, monkeypatch):
    """What it shows, with less of everything."""
    for name in ("images", "masks"):
        shutil.copytree(cells / name, tmp_path / name)
    (tmp_path / "labels.txt").write_text("background\nclass 1\nclass 2\n")
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs/scientific.md").read_text(encoding="utf-8")
    less = {
        "--tile_size 256": "--tile_size 32 --overwrite",
        "500 --reader_count 2": "2 --epochs 1 --widths 4,4,3,3",
        "test_every_n_steps=500": "test_every_n_steps=2, epochs=1, widths=(4, 4, 3, 3)",
    }
    for kind, block in re.findall(r"```(sh|python)\n(.*?)```", page, re.DOTALL):
        for old, new in less.items():
            block = block.replace(old, new)
        if kind == "python":
            exec(block.replace("300, 1)", "300, 2)"), {})
            continue
        result = invoke(*shlex.split(block)[1:])
        assert result.exit_code == 0, result.output
    assert len(list(Path("results").glob("*.tif"))) == 10 and Path("run/saved_model").is_dir()
    assert len(json.loads(Path("eval_pixels.json").read_text())["pairs"]) == 10


@pytest.mark.real
@pytest.mark.parametrize("name", ["nist", "satshore4", "water12"])
def test_real_images_from_a_folder_to_masks(invoke, real_data, tmp_path, name):
    """One band of 16 bits, four of 8 in many sizes, twelve of signed 16."""
    folder = real_data / name
    tiles = ("--use_tiling", 1, "--tile_size", 64) if name == "satshore4" else ()
    places = ("--image_folder", folder / "images", "--mask_folder", folder / "masks", "--output_folder", tmp_path)
    result = invoke("unet", "build-lmdb", *places, "--dataset_name", name, *tiles)
    assert result.exit_code == 0, result.output
    paths = TrainingPaths(tmp_path / "run/model.h5", tmp_path / "run", plots=False)
    fit = FitOptions(1, LossOptions("cross-entropy"), Schedule(RATE, RATE, RATE))
    options = UnetOptions("none", "plain", (4, 4, 3, 3), batch_size=2, fit=fit, augment=read_policy("nist"))
    databases = (tmp_path / f"{part}-{name}.lmdb" for part in ("train", "test"))
    train_on_databases(*databases, paths=paths, options=options, readers=ReaderOptions(3))
    out = ("--image_folder", folder / "images", "--output_folder", tmp_path / "out")
    assert invoke("unet", "infer", "--saved_model_filepath", tmp_path / "run/saved_model", *out).exit_code == 0
    images = sorted((folder / "images").iterdir())
    for path in images[:3]:
        assert read_labelmap(tmp_path / "out" / path.name).labels.shape == read_image(path).shape[:2]
    assert len(list((tmp_path / "out").glob("*.tif"))) == len(images)
