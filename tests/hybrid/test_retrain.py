"""Training from end to end on small tiles, and a run that is killed at any moment."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from hybridseg.errors import BadInput, OutputExists
from hybridseg.hybrid.classifier import RetrainOptions, RetrainPaths
from hybridseg.hybrid.distort import DistortOptions, distort_tiles
from hybridseg.hybrid.finetune import FineTuneOptions
from hybridseg.hybrid.head import HeadOptions
from hybridseg.hybrid.retrain import retrain
from hybridseg.io.images import read_image, write_image
from hybridseg.models.store import load_classifier, read_card

SIZE = 16
FAST = RetrainOptions(input_size=32, head=HeadOptions(how_many_training_steps=150))


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """Three classes told apart by colour and stripes, from five photos."""
    root = tmp_path_factory.mktemp("tiles") / "tile_16"
    rng = np.random.default_rng(0)
    for photo in range(5):
        for k, name in enumerate(("foam", "sand", "water")):
            for j in range(5):
                tile = rng.integers(0, 60, (SIZE, SIZE, 3)) + 60 * k
                if k == 0:
                    tile[::4] += 150
                path = root / name / f"p{photo}_r{j}_c0.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_image(path, np.clip(tile, 0, 255).astype(np.uint8))
    return root


def paths_in(folder, tiles, **more):
    return RetrainPaths(tiles, folder / "model.pb", folder / "labels.txt", folder / "bottlenecks", **more)


def test_from_tiles_to_a_model(tiles, tmp_path):
    paths = paths_in(
        tmp_path, tiles, summaries_dir=tmp_path / "sums", saved_model_dir=tmp_path / "saved",
        intermediate_output_graphs_dir=tmp_path / "mid", intermediate_store_frequency=50,
    )  # fmt: skip
    result = retrain(paths, options=FAST)
    assert sum(result.counts.values()) == 75 and min(result.counts.values()) == 15
    assert result.scores["n_photos"] == 1 and result.scores["accuracy"] > 0.8
    assert (tmp_path / "labels.txt").read_text() == "foam\nsand\nwater\n"
    card = read_card(tmp_path / "model.pb")
    assert card.tile_size == SIZE and card.input_size == 32 and card.scores == result.scores
    classifier = load_classifier(tmp_path / "model.pb")
    stack = np.stack([read_image(tiles / name / "p0_r0_c0.png") for name in classifier.table.names])
    assert classifier.classify(stack).argmax(axis=1).tolist() == [0, 1, 2]
    assert sorted(path.name for path in (tmp_path / "mid").iterdir()) == [
        f"intermediate_{n}.pb" for n in (100, 150, 50)
    ]
    assert list((tmp_path / "sums" / "train").glob("events*")) and list(
        (tmp_path / "sums" / "validation").glob("events*")
    )
    import tensorflow as tf

    restored = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"]
    answer = next(iter(restored(tf.constant(stack.astype(np.float32) / 255)).values())).numpy()
    assert np.abs(answer - classifier.classify(stack)).max() < 1e-4
    again = retrain(paths_in(tmp_path / "again", tiles), options=FAST)
    assert (tmp_path / "again" / "model.pb").read_bytes() == (tmp_path / "model.pb").read_bytes()
    assert again.scores == result.scores
    with pytest.raises(OutputExists, match="saved holds files already"):
        retrain(paths, options=FAST)


def test_nothing_is_claimed_without_a_held_out_photo(tiles, tmp_path):
    result = retrain(paths_in(tmp_path, tiles), options=RetrainOptions(
        input_size=32, testing_percentage=0, validation_percentage=0, head=HeadOptions(how_many_training_steps=20)
    ))  # fmt: skip
    assert result.scores == {} and result.counts["training"] == 75
    assert all(m.validation_accuracy is None for m in result.curve)


def test_distorted_tiles_are_learned_from(tiles, tmp_path):
    options = RetrainOptions(
        input_size=32,
        head=HeadOptions(how_many_training_steps=8, train_batch_size=16),
        distort=DistortOptions(flip_left_right=True, random_crop=10, random_scale=10, random_brightness=10),
    )
    retrain(paths_in(tmp_path / "a", tiles), options=options)
    plain = RetrainOptions(input_size=32, head=options.head)
    retrain(paths_in(tmp_path / "b", tiles), options=plain)
    assert (tmp_path / "a" / "model.pb").read_bytes() != (tmp_path / "b" / "model.pb").read_bytes()


def test_each_distortion_does_what_it_says():
    rng = np.random.default_rng(0)
    tiles = rng.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    plain = tiles / np.float32(255)
    assert np.array_equal(distort_tiles(tiles, DistortOptions(), rng), plain)
    flipped = distort_tiles(tiles, DistortOptions(flip_left_right=True), rng)
    mirrored = [np.array_equal(a, b[:, ::-1]) for a, b in zip(flipped, plain, strict=True)]
    kept = [np.array_equal(a, b) for a, b in zip(flipped, plain, strict=True)]
    assert 8 < sum(mirrored) < 32 and sum(mirrored) + sum(kept) == 40
    bright = distort_tiles(np.full_like(tiles, 100), DistortOptions(random_brightness=50), rng)
    levels = bright[:, 0, 0, 0] * 255
    assert levels.min() < 70 and levels.max() > 130 and levels.min() >= 50 and levels.max() <= 150
    ramp = (
        np.arange(8, dtype=np.uint8).repeat(8).reshape(8, 8).T[None, ..., None].repeat(3, axis=3).repeat(40, axis=0)
        * 30
    )
    for options in (DistortOptions(random_crop=50), DistortOptions(random_scale=50)):
        changed = distort_tiles(ramp, options, rng)
        span = changed[:, 0, -1, 0] - changed[:, 0, 0, 0]
        assert changed.shape == (40, 8, 8, 3) and span.min() < 0.72 * 210 / 255 and span.max() <= 210 / 255 + 1e-6
    with pytest.raises(BadInput, match="random_crop=101"):
        DistortOptions(random_crop=101)


def test_fine_tuning_changes_the_backbone_and_more_epochs_go_on_from_fewer(tiles, tmp_path):
    def options(epochs):
        return RetrainOptions(
            input_size=32,
            fine_tune=True,
            head=HeadOptions(how_many_training_steps=50),
            tuning=FineTuneOptions(epochs=epochs),
        )

    retrain(paths_in(tmp_path / "a", tiles), options=options(2))
    retrain(paths_in(tmp_path / "b", tiles), options=options(1))
    one_epoch = (tmp_path / "b" / "model.pb").read_bytes()
    [checkpoint] = (tmp_path / "b" / "bottlenecks").glob("fine_tune_*.npz")
    before = checkpoint.stat().st_mtime_ns
    retrain(paths_in(tmp_path / "b", tiles), options=options(1))
    assert checkpoint.stat().st_mtime_ns == before, "an epoch that is done is not done again"
    retrain(paths_in(tmp_path / "b", tiles), options=options(2))
    assert (tmp_path / "a" / "model.pb").read_bytes() == (tmp_path / "b" / "model.pb").read_bytes()
    retrain(paths_in(tmp_path / "b", tiles), options=options(1))
    assert (tmp_path / "b" / "model.pb").read_bytes() == one_epoch, "fewer epochs after more begin again"
    checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
    retrain(paths_in(tmp_path / "b", tiles), options=options(1))
    assert (tmp_path / "b" / "model.pb").read_bytes() == one_epoch, "so they do after a damaged checkpoint"
    retrain(
        paths_in(tmp_path / "c", tiles),
        options=RetrainOptions(input_size=32, head=HeadOptions(how_many_training_steps=50)),
    )
    assert (tmp_path / "c" / "model.pb").read_bytes() != (tmp_path / "a" / "model.pb").read_bytes()


def run_and_kill(command, wait_for):
    """Start a command and kill it, without a chance to clean up, as soon as a condition holds."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while process.poll() is None and not wait_for() and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_result(tiles, tmp_path):
    def command(folder):
        words = ["--image_dir", tiles, "--output_graph", folder / "model.pb", "--bottleneck_dir", folder / "b"]
        more = ["--input-size", "64", "--how_many_training_steps", "50", "--fine-tune", "--fine-tune-epochs", "2"]
        return [sys.executable, "-m", "hybridseg", "--quiet", "retrain", *map(str, words), *more]

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command(whole), check=True, stderr=subprocess.DEVNULL)
    done_path = lambda: next((killed / "b").glob("*/done.npy"), None)  # noqa: E731
    run_and_kill(command(killed), lambda: done_path() and np.load(done_path()).sum() > 0)
    run_and_kill(command(killed), lambda: list((killed / "b").glob("fine_tune_*.npz")))
    assert not (killed / "model.pb").exists()
    subprocess.run(command(killed), check=True, stderr=subprocess.DEVNULL)
    assert (killed / "model.pb").read_bytes() == (whole / "model.pb").read_bytes()
    records = [json.loads((folder / "model.json").read_text()) for folder in (whole, killed)]
    assert records[0] == records[1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"test_batch_size": 0}, "test_batch_size=0"),
        ({"final_tensor_name": "a b"}, "give a plain name"),
        ({"final_tensor_name": "_x"}, "give a plain name"),
        ({"validation_percentage": 0, "head": HeadOptions(patience=3)}, "patience needs a validation set"),
    ],
)
def test_options_that_cannot_work(values, message):
    with pytest.raises(BadInput, match=message):
        RetrainOptions(**values)


def test_paths_that_cannot_work(tiles, tmp_path):
    with pytest.raises(BadInput, match=r"name it with the suffix .pb"):
        retrain(RetrainPaths(tiles, tmp_path / "model", tmp_path / "l.txt", tmp_path / "b"))
    with pytest.raises(BadInput, match="need each other; give both"):
        retrain(paths_in(tmp_path, tiles, intermediate_store_frequency=5))
