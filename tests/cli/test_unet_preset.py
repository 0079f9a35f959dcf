"""``unet train`` as the users of image_segmentation_pytorch know it."""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from hybridseg.cli.main import main
from hybridseg.dense.programs.unet import PRESETS
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.models.bundles import load_dense

PRESET = ("--preset", "image-segmentation-pytorch", "--widths", "4,3")


def invoke(*words):
    result = CliRunner().invoke(main, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def trained(tmp_path_factory, _coast_originals):
    """A training with the preset on four scenes, one of them smaller: its folder of runs, and what it printed."""
    folder = tmp_path_factory.mktemp("pytorch")
    (folder / "photos").mkdir()
    (folder / "masks").mkdir()
    for number, path in enumerate(sorted(_coast_originals.glob("*.jpg"))):
        labels = read_labelmap(path.with_name(f"{path.stem}_mres.mat"))
        image, mask = Image.open(path), Image.fromarray(labels.labels)
        if number == 0:
            image, mask = image.crop((0, 0, 80, 64)), mask.crop((0, 0, 80, 64))
        image.save(folder / "photos" / f"{path.stem}.png")
        mask.save(folder / "masks" / f"{path.stem}.png")
    (folder / "labels.txt").write_text("\n".join(labels.table.names))
    more = ("-s", 0.5, "--tensorboard-dir", folder / "logs", "--runs-dir", folder / "runs")
    return folder, invoke("unet", "train", *places(folder), *PRESET, *more)


def places(folder):
    return "--images", folder / "photos", "--masks", folder / "masks", "--labels", folder / "labels.txt"


@pytest.mark.slow
def test_what_the_log_says_at_the_start(trained):
    _, result = trained
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith(("device: CPU, ", "device: GPU, ")) and lines[1] == "U-Net with random weights"
    assert lines[2].startswith("network: 3 bands in, 11 classes out, bilinear upsampling, ")
    assert (
        "images: 3 to train on, 1 to validate on; all of each at scale 0.5, 32 x 64 pixels; smaller ones lie within "
        "their mirror image, which has no labels" in lines
    )
    settings = "2 epochs, batches of 2, learning rate up to 0.01, loss dice, a checkpoint every epoch"
    assert f"settings: {settings}" in lines
    assert "(highest validation Dice)" in result.stdout


@pytest.mark.slow
def test_what_it_leaves(trained, tmp_path):
    folder, _ = trained
    run_dir = folder / "runs/unet"
    record = json.loads((run_dir / "model.card.json").read_text())
    network, fit = record["architecture"], record["training"]["options"]
    assert (network["upsample"], network["widths"], network["encoder"]) == ("bilinear", [4, 3], "none")
    assert record["training"]["crops"]["scale"] == 0.5 and record["view"]["scale"] == [0.5, 0.5]
    assert (fit["loss"]["loss"], fit["best_by"], fit["validations_per_epoch"]) == ("dice", "dice", 2)
    names = [f"CP_epoch{i}.{suffix}" for i in (1, 2) for suffix in ("card.json", "h5")]
    assert sorted(path.name for path in (run_dir / "checkpoints").iterdir()) == names
    with (run_dir / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [0 <= float(row["val_dice_within"]) <= 1 for row in rows] == [True, True]
    # A new photo is seen at half its size, as those of the training were.
    words = ("--runs-dir", folder / "runs", "--name", "unet", "--images", folder / "photos")
    assert invoke("unet", "infer", *words, "--checkpoint", 2, "--out", tmp_path / "a").exit_code == 0
    again = invoke("unet", "infer", *words, "--checkpoint", 2, "--native", "--scale", 0.5, "--out", tmp_path / "b")
    assert again.exit_code == 0 and "objects look" not in again.stderr
    found, same = (read_labelmap(tmp_path / place / "scene_01_predseg.png").labels for place in "ab")
    assert found.shape == (64, 96) and np.array_equal(found, same)


@pytest.mark.slow
def test_tensorboard_has_histograms_of_so_few_epochs(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = {}
    for run in ("train", "validation"):
        found[run] = EventAccumulator(str(trained[0] / "logs" / run), size_guidance={"tensors": 0})
        found[run].Reload()
    for kind in ("weights", "gradients"):
        assert [event.step for event in found["train"].Tensors(f"{kind}/down1_conv1/kernel:0")] == [2]
    events = found["validation"].Tensors("multi-label Dice of each validation")
    assert [event.step for event in events] == [1, 2, 3, 4] and found["train"].Tags()["graph"]
    assert [event.step for event in found["validation"].Tensors("image, truth, prediction")] == [1, 2]


@pytest.mark.slow
def test_it_starts_from_a_checkpoint(trained):
    folder, _ = trained
    load = folder / "runs/unet/checkpoints/CP_epoch1.h5"
    words = ("-s", 0.5, "-f", load, "-e", 1, "-b", 3, "-l", 1e-9, "--runs-dir", folder / "runs")
    result = invoke("unet", "train", *places(folder), *PRESET, "--name", "more", *words)
    assert result.exit_code == 0 and f"starting from the weights of {load}" in result.stdout, result.output
    start, end = (load_dense(path).network for path in (load, folder / "runs/more/model.h5"))
    for before, after in zip(start.trainable_weights, end.trainable_weights, strict=True):
        assert np.allclose(before, after, atol=1e-6)
    record = json.loads((folder / "runs/more/model.card.json").read_text())["training"]
    assert record["load"]["file"] == "CP_epoch1.h5" and record["batch_size"] == 3
    other = folder / "runs/unet/checkpoints/CP_epoch2.h5"
    refused = invoke("unet", "train", *places(folder), *PRESET, "--name", "more", *words, "-f", other, "--resume")
    assert refused.exit_code == 1 and "holds a run with other settings (weights of --load)" in refused.stderr


@pytest.mark.parametrize(("words", "message"), [
    (("-s", 0.5, "--size", "64x64"), "--scale shrinks whole photos to a share of their own size; --size resizes"),
    (("-s", 0.5, "--balance"), "--balance are for windows of them: give one or the other"),
    (("-f", "a.h5", "--encoder-weights", "none", "--encoder", "mobilenet_v2"), "give one of them"),
    (("-s", 2), "--scale=2.0: give a number above 0 and up to 1"),
    (("-s", 0.1), "at the scale 0.1 these, of 64 to 96, have 6 to 10; give a --scale from 0.5 to 1"),
], ids=str)  # fmt: skip
def test_what_does_not_go_together(coast, tmp_path, words, message):
    result = invoke("unet", "train", "--images", coast, "--runs-dir", tmp_path / "runs", *PRESET, *words)
    assert result.exit_code in (1, 2) and message in " ".join(result.stderr.split()), result.output
    assert not (tmp_path / "runs").exists()


def test_both_networks_have_a_preset():
    small, deep = PRESETS["image-segmentation-pytorch"], PRESETS["image-segmentation-pytorch-deep"]
    assert {name for name in small if small[name] != deep[name]} == {"widths"} and small.keys() == deep.keys()
    assert (len(small["widths"]), len(deep["widths"])) == (2, 4)
