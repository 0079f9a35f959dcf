"""The config file of the residual U-Net on the command line, and what is refused before any work."""

import json
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hybridseg.dense.programs.config import read_config
from hybridseg.dense.programs.resunetdata import choose_table
from hybridseg.io.images import write_image
from hybridseg.models import resunet
from hybridseg.models.bundles import DenseCard, save_dense
from hybridseg.models.normalization import Normalization
from hybridseg.models.resunet import ResUnet

PUBLISHED = Path(__file__).parents[1] / "dense/programs/data/watermask_oblique_2class_batch_4.json"
SMALL = {
    "TARGET_SIZE": [32, 64], "NCLASSES": 1, "N_DATA_BANDS": 3, "USEMASK": True, "AUG_COPIES": 1, "MAX_EPOCHS": 60,
    "PATIENCE": 60, "BATCH_SIZE": 1, "DOPLOT": False,
}  # fmt: skip


def write_pairs(folder, n, values=(0, 1)):
    for number in range(n):
        image = np.random.default_rng(number).integers(0, 200, (32, 64, 3)).astype(np.uint8)
        write_image(folder / f"images/p{number}.jpg", image)
        (folder / "masks").mkdir(exist_ok=True)
        labels = np.repeat([values], 64 // len(values), axis=1).repeat(32, axis=0).astype(np.uint8)
        Image.fromarray(labels).save(folder / f"masks/p{number}_mask.png")


def write_config(path, record):
    path.write_text(json.dumps(record))
    return path


def sources(folder):
    return "--images", folder / "images", "--labels", folder / "masks"


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """A network of few levels, which is built in no time."""
    monkeypatch.setattr(resunet, "_N_LEVELS", 2)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Records as the published example makes them of two photographs whose five classes become two."""
    from click.testing import CliRunner

    from hybridseg.cli.main import main

    folder = tmp_path_factory.mktemp("published")
    write_pairs(folder, 2, values=(0, 1, 3, 4))
    words = ("resunet", "make-tfrecords", "--config", PUBLISHED, *sources(folder), "--out", folder / "records")
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    assert "wrote 6 images in 1 shard, " in result.stdout
    assert (folder / "records/watermask-oblique-data-0001-of-0001.tfrec").exists()
    return folder


@pytest.mark.slow
def test_the_published_config_without_weights(run, published):
    weights = published / "none.h5"
    result = run("resunet", "train", "--config", PUBLISHED, "--data", published / "records", "--weights-out", weights)
    assert result.exit_code == 1
    assert f"DO_TRAIN is false and there are no weights {weights}; set it to true to train them" in result.stderr
    assert not weights.exists() and not (published / "none_run").exists()


@pytest.mark.slow
def test_the_published_config_evaluates_and_trains_nothing(run, published, tmp_path):
    """Of 768 x 1024 pixels and with kernels of 7 x 7, as it says."""
    network = ResUnet(3, 1, (7, 7), 1)
    card = DenseCard(network, choose_table(read_config(PUBLISHED)), (768, 1024), Normalization("image"))
    save_dense(tmp_path / "net.h5", network.build(), card)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    words = ("--config", PUBLISHED, "--data", published / "records", "--weights-out", tmp_path / "net.h5")
    result = run("resunet", "train", *words)
    assert result.exit_code == 0, result.output
    assert "nothing was trained (DO_TRAIN is false); the scores on 3 images:" in result.stdout
    assert "learning rate" not in result.stdout
    assert "foreground" in result.stdout and "pixel accuracy 0." in result.stdout
    assert f"wrote {tmp_path}/net_examples.png" in result.stdout
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.suffix != ".png"} == before
    config = write_config(tmp_path / "other.json", json.loads(PUBLISHED.read_text()) | {"KERNEL_SIZE": 3})
    result = run("resunet", "train", "--config", config, *words[2:])
    assert result.exit_code == 1 and "was trained with KERNEL_SIZE (7, 7) and not (3, 3)" in result.stderr


def test_a_proposed_config_can_be_used(run, tmp_path):
    write_pairs(tmp_path, 4)
    config = tmp_path / "config.json"
    words = ("resunet", "init-config", tmp_path / "images", "--labels", tmp_path / "masks", "--out", config)
    result = run(*words)
    assert result.exit_code == 0 and f"wrote {config}" in result.stdout
    record = json.loads(config.read_text())
    assert (record["TARGET_SIZE"], record["NCLASSES"], record["N_DATA_BANDS"]) == ([32, 64], 1, 3)
    assert record["USEMASK"] is True and len(record) == 30
    assert "TARGET_SIZE = [32, 64]: The median image has 32 x 64 pixels" in result.stdout
    # What a user has changed is not lost.
    config.write_text("mine")
    result = run(*words)
    assert result.exit_code == 1 and "config.json is there already; --overwrite replaces it" in result.stderr
    assert config.read_text() == "mine"
    assert run(*words, "--overwrite").exit_code == 0 and json.loads(config.read_text()) == record
    made = run("resunet", "make-tfrecords", "--config", config, *sources(tmp_path), "--out", tmp_path / "records")
    assert made.exit_code == 0 and f"wrote {4 * record['AUG_COPIES']} images" in made.stdout
    again = run("resunet", "make-tfrecords", "--config", config, *sources(tmp_path), "--out", tmp_path / "records")
    assert again.exit_code == 0 and "there already and left alone: " in again.stdout
    result = run("resunet", "init-config", tmp_path / "none", "--out", tmp_path / "c.json")
    assert result.exit_code == 1 and not (tmp_path / "c.json").exists()


def test_every_key_is_explained(run):
    result = run("resunet", "explain-config")
    keys = json.loads(PUBLISHED.read_text())
    assert result.exit_code == 0 and len(keys) == 30
    assert all(f"\n{key}: " in f"\n{result.stdout}" for key in keys)
    assert max(map(len, result.stdout.splitlines())) < 200
    one = run("resunet", "explain-config", "KERNEL_SIZE")
    assert (
        one.stdout.startswith("KERNEL_SIZE: one number or [rows, cols], each a whole number from 3 to 15, odd")
        and "default: [3, 3]" in one.stdout
    )
    assert len(one.stdout.splitlines()) == 2


def test_a_key_that_is_not_quite_one(run):
    assert run("resunet", "explain-config", "kernel_size").stdout.startswith("KERNEL_SIZE: ")
    for name, advice in (("KERNEL", "did you mean KERNEL_SIZE?"), ("qq", "explain-config without a key lists all")):
        result = run("resunet", "explain-config", name)
        assert result.exit_code == 2 and f"there is no key '{name}'; {advice}" in result.stderr


@pytest.mark.parametrize(("change", "messages"), [
    ({"TARGET_SIZE": [30, 64], "BATCH_SIZ": 3}, ["TARGET_SIZE=[30, 64]", "did you mean BATCH_SIZE?"]),
    ({"MIN_LR": 1, "MAX_LR": 0.1}, ["MIN_LR=1 must be below MAX_LR=0.1"]),
    ({"REMAP_CLASSES": {"255": 2}}, ["REMAP_CLASSES makes 2 of 255"]),
])  # fmt: skip
def test_a_config_that_cannot_be(run, tmp_path, change, messages):
    write_pairs(tmp_path, 2)
    config = write_config(tmp_path / "config.json", SMALL | change)
    result = run("resunet", "make-tfrecords", "--config", config, *sources(tmp_path), "--out", tmp_path / "records")
    assert result.exit_code == 1 and all(message in result.stderr for message in messages)
    assert not (tmp_path / "records").exists()


def test_wrong_pairs_are_named_and_nothing_is_written(run, tmp_path):
    write_pairs(tmp_path, 3, values=(0, 255))
    config = write_config(tmp_path / "config.json", SMALL)
    words = ("resunet", "make-tfrecords", "--config", config, *sources(tmp_path), "--out", tmp_path / "records")
    result = run(*words)
    assert (
        result.exit_code == 1 and 'p0_mask.png: holds 0 and 255 only; add "REMAP_CLASSES": {"255": 1}' in result.stderr
    )
    for name in ("p0_mask.png", "p2_mask.png"):
        (tmp_path / "masks" / name).unlink()
    Image.new("L", (60, 32)).save(tmp_path / "masks/p0_mask.png")
    result = run(*words)
    assert result.exit_code == 1 and "p2.jpg: has no label map" in result.stderr
    (tmp_path / "images/p2.jpg").unlink()
    result = run(*words)
    assert result.exit_code == 1 and "p0_mask.png: has 32 x 60 pixels, but p0.jpg has 32 x 64" in result.stderr
    assert not (tmp_path / "records").exists() and "Traceback" not in result.output


def test_records_that_are_not_there(run, tmp_path):
    config = write_config(tmp_path / "config.json", SMALL)
    result = run("resunet", "train", "--config", config, "--data", tmp_path, "--weights-out", tmp_path / "net.h5")
    assert result.exit_code == 1 and "run make-tfrecords again" in result.stderr
    result = run("resunet", "evaluate", "--config", config, "--data", tmp_path, "--weights", tmp_path / "net.h5")
    assert result.exit_code == 1 and "there is no network" in result.stderr


@pytest.mark.parametrize("words", [
    [], ["--data", "r", "--images", "i"], ["--masks", "m"], ["--labels", "l"], ["--data", "r", "--labels", "l"],
])  # fmt: skip
def test_what_to_evaluate_on_must_be_clear(run, tmp_path, words):
    given = ("--config", write_config(tmp_path / "net.json", SMALL), "--weights", tmp_path / "net.h5")
    result = run("resunet", "evaluate", *given, *words)
    assert result.exit_code == 2 and "give either --data, or --images with --masks" in result.stderr


@pytest.mark.slow
def test_a_real_ctrl_c(run, tmp_path, launch):
    """Sent to a process in the middle of its training, once."""
    write_pairs(tmp_path, 3)
    endless = SMALL | {"MAX_EPOCHS": 600, "PATIENCE": 600}
    config = write_config(tmp_path / "config.json", endless)
    records = ("--out", tmp_path / "records")
    assert run("resunet", "make-tfrecords", "--config", config, *sources(tmp_path), *records).exit_code == 0
    words = ("--config", config, "--data", records[1], "--weights-out", tmp_path / "net.h5", "--filters", 1)
    train = ["resunet", "train", *(str(word) for word in words)]
    log = tmp_path / "net_run/log.csv"
    start = "from hybridseg.models import resunet; resunet._N_LEVELS = 2; from hybridseg.cli.main import main; main()"
    with launch([sys.executable, "-c", start, *train]) as process:
        since = time.monotonic()
        while not log.exists() and process.poll() is None and time.monotonic() - since < 300:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 130 and "Stopped. Every file that was written is" in errors
    assert "Traceback" not in errors and not list(tmp_path.rglob("*.partial*"))
    n_done = len(log.read_text().splitlines()) - 1
    assert 1 <= n_done < 600 and not (tmp_path / "net.h5").exists()
    # What it left is a run that can be taken up: here without a further epoch.
    write_config(config, endless | {"MAX_EPOCHS": n_done})
    done = run(*train, "--resume")
    assert done.exit_code == 0 and "validated on" in done.stdout, done.output
    assert json.loads((tmp_path / "net.card.json").read_text())["training"]["epochs"] == n_done
