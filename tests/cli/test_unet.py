import csv
import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from hybridseg.cli.main import main
from hybridseg.dense.policy import read_policy
from hybridseg.dense.predict import predict_labels
from hybridseg.io.images import read_image, write_image
from hybridseg.io.labels.formats import read_labelmap, write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.models.bundles import load_dense
from hybridseg.models.encoders import ENCODERS

# They share a training.
pytestmark = pytest.mark.slow

WIDTHS = ("--widths", "6,5,4,3")
SETS = ("training", "validation", "test")


def invoke(*words):
    result = CliRunner().invoke(main, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module", autouse=True)
def _small(make_small_encoder):
    """Encoders that are built in no time."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("mobilenet_v2", "efficientnet_b4"):
            patch.setitem(ENCODERS, name, make_small_encoder())
        yield


@pytest.fixture(scope="module")
def project(tmp_path_factory, _coast_originals):
    """Three scenes of 64 x 96 to train on and one to test: the folder, and what a training of two epochs printed."""
    folder = tmp_path_factory.mktemp("unet")
    shutil.copytree(_coast_originals, folder / "photos")
    (folder / "test").mkdir()
    for path in (folder / "photos").glob("scene_03*"):
        path.rename(folder / "test" / path.name)
    words = ("--epochs", 2, "--batch-size", 3, "--size", "60x90", "--checkpoint-interval", 1, "--learning-rate", 0.02)
    return folder, train(folder, "coast", *words, "--test-images", folder / "test")


def train(folder, name, *more):
    words = ("--name", name, "--images", folder / "photos", "--runs-dir", folder / "runs", *WIDTHS)
    return invoke("unet", "train", *words, *more)


def read_card(folder, name):
    return json.loads((folder / f"runs/{name}/model.card.json").read_text())


def test_what_a_training_prints_and_leaves(project):
    folder, result = project
    assert result.exit_code == 0, result.output
    assert "U-Net on random weights of a small encoder" in result.stdout
    assert "1/16 of the size: 2 x 3 x 6 is enlarged to 4 x 6 x 6 and joined with 4 x 6 x 6: 4 x 6 x 6" in result.stdout
    assert "trained on 2 images, validated on 1; best epoch " in result.stdout
    assert " (lowest validation loss), whose scores on the validation images are:" in result.stdout
    run_dir = folder / "runs/coast"
    plots = ("network", "train_sample_batch", "val_sample_batch", "learning_rate", "training", "examples")
    for name in ("model.h5", "model.card.json", *(f"model_{plot}.png" for plot in plots)):
        assert (run_dir / name).stat().st_size > 1000 and f"wrote {run_dir / name}" in result.stdout
    picture = np.asarray(Image.open(run_dir / "model_network.png").convert("RGB"))
    assert picture.shape[0] > 300 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
    card = load_dense(run_dir / "model.h5").card
    assert card.size == (60, 90) and (card.architecture.encoder, card.architecture.block) == (
        "mobilenet_v2",
        "separable",
    )
    with (run_dir / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["rate"]) for row in rows] == pytest.approx([0.002, 0.011])
    assert all(0 <= float(row[name]) <= 1 for row in rows for name in ("accuracy", "recall", "val_recall", "val_dice"))


def test_every_score_of_every_set(project):
    folder, result = project
    sets, card = read_card(folder, "coast")["scores"]["sets"], read_card(folder, "coast")
    assert tuple(sets) == SETS and all(len(scores) == 5 for scores in sets.values())
    header, *lines = result.stdout.split("At the size of the training:\n")[1].splitlines()[:6]
    assert header.split() == list(SETS)
    names = {"loss": "loss", "accuracy": "pixel accuracy", "mean_iou": "IoU, mean", "dice": "Dice, mean",
             "recall": "true-positive rate, mean"}  # fmt: skip
    for line, (name, text) in zip(lines, names.items(), strict=True):
        assert line.startswith(text)
        assert line.split()[-3:] == [f"{sets[part][name]:.3f}" for part in SETS]
    # Of the validation set they are those of the best epoch.
    assert sets["validation"]["mean_iou"] == pytest.approx(card["scores"]["macro"]["iou"], abs=1e-3)
    assert sets["validation"]["recall"] == pytest.approx(card["scores"]["macro"]["recall"], abs=1e-3)


def test_a_test_image_that_is_trained_on(project):
    folder, _ = project
    result = train(folder, "leak", "--epochs", 1, "--test-images", folder / "photos")
    assert result.exit_code == 1 and "are in the test set and would be trained on; take them out" in result.stderr
    assert not list((folder / "runs/leak").glob("*.*"))


def test_segmented_images_pixel_by_pixel(project, tmp_path):
    folder, _ = project
    words = ("--runs-dir", folder / "runs", "--images", folder / "test", "--out", tmp_path)
    result = invoke("unet", "infer", "--name", "coast", *words)
    assert result.exit_code == 0, result.output
    model = load_dense(folder / "runs/coast/model.h5")
    found = read_labelmap(tmp_path / "scene_03_predseg.png")
    expected, _ = predict_labels(read_image(folder / "test/scene_03.jpg"), [model])
    assert found.table == model.table and found.labels.shape == (64, 96)
    assert (found.labels == expected).mean() > 0.999 and len(np.unique(expected)) > 1
    for more in (("--crf",), ("--checkpoint", 1), ("--native",)):
        assert invoke("unet", "infer", "--name", "coast", *words, *more).exit_code == 0
    assert (tmp_path / "scene_03_predseg_crf.png").exists()
    result = invoke("unet", "infer", "--name", "none", *words)
    assert result.exit_code == 1 and "train it with `hybridseg unet train --name none ...`" in result.stderr


def test_numbers_that_a_training_never_comes_to(project):
    """They are told; those of a preset or by default are not."""
    folder, _ = project
    given = ("--ramp-epochs", 3, "--patience", 5, "--frozen-epochs", -1, "--encoder-rate", 0.5)
    result = train(folder, "late", "--epochs", 1, "--size", "32x32", *given)
    assert result.exit_code == 0, result.output
    assert [line for line in result.stderr.splitlines() if line.startswith("warning")] == [
        "warning: with --ramp-epochs 3 the learning rate reaches its peak in epoch 4, and the training ends after "
        "epoch 1",
        "warning: --patience 5 has its first effect in epoch 7, and the training ends after epoch 1",
        "warning: --encoder-rate 0.5 has no effect: the encoder keeps its weights to the end",
    ]


def test_a_finished_training_goes_on_for_more_epochs(project):
    """The length of the cosine follows from the epochs; all else is as it was, or refused."""
    folder, _ = project
    rates = []

    def go_on(epochs, *more):
        words = ("--epochs", epochs, "--batch-size", 3, "--size", "32x32", "--resume")
        result = train(folder, "longer", *words, *more)
        with (folder / "runs/longer/log.csv").open(newline="") as file:
            rates[:] = [float(row["rate"]) for row in csv.DictReader(file)]
        return result

    first = go_on(2)
    assert first.exit_code == 0, first.output
    assert f"there is no training in {folder / 'runs/longer'} to resume: a new one starts" in first.stdout
    second = go_on(4)
    assert second.exit_code == 0, second.output
    assert "resuming after epoch 2 of 4\n" in second.stdout and "to resume" not in second.stdout
    peak, first_epochs = [3e-4, 1.65e-3], [3e-3, 1.5e-3]
    assert rates == pytest.approx(peak + first_epochs)
    third = go_on(8)
    assert "resuming after epoch 4 of 8; the learning rate goes on by the schedule of 8 epochs\n" in third.stdout
    assert rates[:4] == pytest.approx(peak + first_epochs)
    assert rates[4:] == pytest.approx([3e-3 * (1 + np.cos(np.pi * i / 6)) / 2 for i in range(2, 6)])
    for words, named in (((9, "--seed", 5), "(seed=0)"), ((9, "--first-restart", 6), "(no first_restart)")):
        refused = go_on(*words)
        assert refused.exit_code == 1 and f"holds a run with other settings {named}; " in refused.stderr


def test_the_published_program(project):
    """Its settings, but for those that are given; the encoder stays as it was."""
    folder, _ = project
    given = ("--preset", "efficientnet-blog", "--epochs", 1, "--batch-size", 2, "--size", "64x64")
    result = train(folder, "blog", *given)
    assert result.exit_code == 0, result.output
    card = read_card(folder, "blog")
    network, training = card["architecture"], card["training"]
    assert (network["encoder"], network["block"], network["dropout"]) == ("efficientnet_b4", "none", 0.2)
    assert network["widths"] == [6, 5, 4, 3] and card["size"] == [64, 64]
    fit = training["options"]
    assert fit["loss"]["dice_share"] == 0.95 and fit["loss"]["dice_over"] == "image" and fit["frozen_epochs"] == -1
    assert fit["schedule"] == {
        "top": 0.005,
        "first_epochs": 50,
        "t_mul": 1.0,
        "m_mul": 0.7,
        "alpha": 0.1,
        "ramp_epochs": 0,
    }
    assert (fit["epochs"], fit["patience"], fit["plateau_patience"], fit["seed"]) == (1, 66, 20, 108241)
    assert training["augmentation"] == read_policy("efficientnet-blog").to_record()
    assert training["n_photographs"] == 3 and len(training["held_out"]) == 1


def test_two_classes_are_one_output(project, tmp_path):
    """And the scores of the sets are those of the class that is looked for."""
    table = read_labelmap(next((project[0] / "photos").glob("*.mat"))).table
    table = type(table)(table.names[:2], table.colors[:2])
    for i in range(3):
        labels = np.zeros((40, 50), np.uint8)
        labels[:, 20 + 5 * i :] = 1
        noise = np.random.default_rng(i).integers(0, 40, (40, 50, 3))
        write_image(tmp_path / f"photos/p{i}.png", (labels[..., None] * 180 + noise).astype(np.uint8))
        write_labelmap(tmp_path / f"masks/p{i}.png", LabelMap(labels, table))
    words = ("--masks", tmp_path / "masks", "--encoder", "none", "--epochs", 2, "--learning-rate", 0.05)
    words = (*words, "--size", "40x50")
    result = train(tmp_path, "two", *words, "--schedule", "constant", "--augmentation", "none", "--batch-size", 1)
    assert result.exit_code == 0, result.output
    assert f"Dice of {table.names[1]}" in result.stdout
    card = read_card(tmp_path, "two")
    assert card["architecture"]["n_outputs"] == 1 and card["size"] == [40, 50]
    assert card["normalization"]["kind"] == "image" and "U-Net with random weights" in result.stdout
    scores, classes = card["scores"]["sets"]["validation"], card["scores"]["classes"]
    assert scores["recall"] == pytest.approx(classes[1]["recall"], abs=1e-3)
    assert scores["dice"] == pytest.approx(classes[1]["f1"], abs=1e-3)


def test_photos_are_seen_in_windows(project):
    """At their own resolution, unless a size is given; as the network is used afterwards, too."""
    folder, _ = project
    result = train(folder, "windows", "--epochs", 1, "--test-images", folder / "test")
    assert result.exit_code == 0, result.output
    card, record = load_dense(folder / "runs/windows/model.h5").card, read_card(folder, "windows")
    assert card.view.windows and card.size == (64, 96) and tuple(record["scores"]["sets"]) == SETS
    assert record["training"]["crops"] == {
        "crop": [64, 96], "crop_scale": [0.84, 1.68], "n_crops": 4, "balance": True, "scale": None,
    }  # fmt: skip


def test_a_policy_of_the_users_own(project, tmp_path):
    folder, _ = project
    (tmp_path / "own.toml").write_text('[[step]]\ndo = "blurr"\n')
    result = train(folder, "own", "--epochs", 1, "--augmentation", tmp_path / "own.toml")
    assert result.exit_code == 1 and 'own.toml: step 1: there is no step "blurr"' in result.stderr
    assert "did you mean blur?" in result.stderr
    (tmp_path / "own.toml").write_text('[[step]]\ndo = "blur"\nchance = 0.5\n')
    result = train(folder, "own", "--epochs", 1, "--size", "32x32", "--augmentation", tmp_path / "own.toml")
    assert result.exit_code == 0, result.output
    assert read_card(folder, "own")["training"]["augmentation"] == {"step": [{"do": "blur", "side": 3, "chance": 0.5}]}


@pytest.mark.parametrize(("words", "exit_code", "message"), [
    (["--schedule", "ramp", "--t-mul", 2], 2, "--t-mul is for --schedule=cosine, and this is --schedule=ramp."),
    (["--m-mul", 0.5], 2, "--m-mul is for restarts, and there are none without --first-restart."),
    (["--schedule", "cosine", "--decay", 0.5], 2, "--decay is for --schedule=ramp, and this is --schedule=cosine."),
    (["--dice-over", "image"], 2, "--dice-over is for --loss=dice or combo, and this is --loss=cross-entropy."),
    (["--encoder", "none", "--frozen-epochs", 1], 2, "--frozen-epochs is for an encoder, and this is --encoder=none."),
    (["--encoder-weights", "none", "--frozen-epochs", 1], 2, "is of no use as it is"),
    (["--test-masks", "masks"], 2, "--test-masks is given without --test-images."),
    (["--widths", "8,b"], 2, "'8,b' is not a list of whole numbers; write them like 256,128,64,32"),
    (["--widths", "8,4"], 1, "--widths=8,4: give 4 whole numbers, such as 256,128,64,32"),
    (["--size", "31x64"], 1, "--size=31x64: give ROWSxCOLS, each a whole number from 32 to 8,192"),
    (["--size", "64x64", "--crop", "64x64"], 2, "give one or the other"),
    (["--encoder", "none", "--block", "none"], 1, "a network without an encoder needs convolutions"),
    (["--histogram-interval", 5], 1, "--histogram-interval is for the logs of TensorBoard; give --tensorboard-dir"),
    (["--size", "64x64", "--balance"], 2, "are for windows of them: give one or the other"),
    (["--augmentation", "wild"], 1, "there is no augmentation policy wild"),
], ids=str)  # fmt: skip
def test_what_cannot_be_trained(project, words, exit_code, message):
    result = train(project[0], "refused", "--epochs", 1, *words)
    assert result.exit_code == exit_code and message in " ".join(result.stderr.split()), result.output
    assert not list((project[0] / "runs/refused").glob("*.*")), "and nothing is left"


def test_the_sheet_of_the_augmentation(project, tmp_path):
    folder, _ = project
    words = ("--images", folder / "photos", "--masks", folder / "photos", "--photos", 2, "--versions", 2)
    (tmp_path / "own.toml").write_text('[[step]]\ndo = "flip-rows"\n\n[[step]]\ndo = "blur"\n')
    given = ("--augmentation", tmp_path / "own.toml", "--out", tmp_path / "sheet.png")
    result = invoke("unet", "show-augmentation", *words, *given)
    assert result.exit_code == 0 and f"wrote {tmp_path / 'sheet.png'}" in result.stdout, result.output
    sheet = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))
    # Two photos and their labels; of the steps the flip with labels, and the blur without.
    assert sheet.shape[0] / sheet.shape[1] == pytest.approx(7 * 64 / (3 * 96), rel=0.3)
    water = read_labelmap(next((folder / "photos").glob("*.mat"))).table.colors[1]
    assert (np.abs(sheet.astype(int) - water).max(-1) < 3).sum() > 1000
    again = invoke("unet", "show-augmentation", *words, *given)
    assert again.exit_code == 1 and "sheet.png is there already; --overwrite replaces it" in again.stderr
    nothing = invoke("unet", "show-augmentation", *words, "--augmentation", "none")
    assert nothing.exit_code == 1 and "nothing to show" in nothing.stderr
