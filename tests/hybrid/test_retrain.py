"""Training from end to end on small tiles, and a run that is killed at any moment."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, OutputExists
from hybridseg.hybrid.classifier import RetrainOptions, RetrainPaths
from hybridseg.hybrid.finetune import FineTuneOptions
from hybridseg.hybrid.head import HeadOptions
from hybridseg.hybrid.imagesets import TESTING, assign_sets
from hybridseg.hybrid.retrain import retrain
from hybridseg.hybrid.tilefolder import open_tile_folder
from hybridseg.io.images import read_image
from hybridseg.models.store import load_classifier, read_card


def paths_in(folder, tile_dir, **more):
    return RetrainPaths(tile_dir, folder / "model.pb", bottleneck_dir=folder / "bottlenecks", **more)


@pytest.fixture
def tiny(tiny_module):
    """Options of a training that takes no time."""
    head = HeadOptions(how_many_training_steps=30, learning_rate=0.3, train_batch_size=10)
    return RetrainOptions(tfhub_module=str(tiny_module), input_size=32, head=head)


@pytest.fixture
def train(tile_dir, tmp_path):
    """Train in a folder and return the result and the bytes of the model."""

    def run(options, *, folder="a", colors=None, **paths):
        own = paths_in(tmp_path / folder, tile_dir, **paths)
        return retrain(own, options=options, colors=colors), own.output_graph.read_bytes()

    return run


@pytest.mark.slow
def test_from_tiles_to_a_model_on_the_built_in_backbone(tile_dir, tmp_path):
    paths = paths_in(tmp_path, tile_dir, saved_model_dir=tmp_path / "saved")
    options = RetrainOptions(input_size=32, head=HeadOptions(how_many_training_steps=150))
    result = retrain(paths, options=options)
    assert result.scores["n_photos"] == 1 and result.scores["accuracy"] > 0.8
    card = read_card(tmp_path / "model.pb")
    assert card.tile_size == 16 and card.input_size == 32 and card.scores == result.scores and not card.fine_tuned
    classifier = load_classifier(tmp_path / "model.pb")
    stack = read_one_of_each(tile_dir, classifier)
    assert classifier.classify(stack).argmax(axis=1).tolist() == [0, 1, 2]
    assert np.abs(run_saved(tmp_path / "saved", stack) - classifier.classify(stack)).max() < 1e-4


def read_one_of_each(tile_dir, classifier):
    return np.stack([read_image(tile_dir / name / "p0_r0_c0.png") for name in classifier.table.names])


def run_saved(folder, tiles):
    import tensorflow as tf

    restored = tf.saved_model.load(str(folder)).signatures["serving_default"]
    return next(iter(restored(tf.constant(tiles.astype(np.float32) / 255)).values())).numpy()


def test_everything_that_is_written(train, tile_dir, tiny, tmp_path):
    folders = {"saved_model_dir": tmp_path / "saved", "intermediate_output_graphs_dir": tmp_path / "mid"}
    options = replace(tiny, validation_percentage=0)
    result, model = train(options, **folders, intermediate_store_frequency=10)
    folder = tmp_path / "a"
    assert list(result.written) == [
        folder / "model.pb",
        folder / "labels.txt",
        folder / "model.json",
        tmp_path / "saved",
    ]
    assert (folder / "labels.txt").read_text() == "sand\nveg\nwater\n"
    assert sum(result.counts.values()) == 45 and result.counts["validation"] == 0
    middle = [(tmp_path / "mid" / f"intermediate_{step}.pb").read_bytes() for step in (10, 20, 30)]
    assert len(set(middle)) == 3 == len(list((tmp_path / "mid").iterdir())) and middle[-1] == model
    classifier = load_classifier(folder / "model.pb")
    stack = read_one_of_each(tile_dir, classifier)
    assert np.abs(run_saved(tmp_path / "saved", stack) - classifier.classify(stack)).max() < 1e-5
    with pytest.raises(OutputExists, match="saved holds files already"):
        train(options, **folders, intermediate_store_frequency=10)
    again, same = train(options, folder="b")
    assert same == model and again.scores == result.scores and again.curve == result.curve


def test_labels_and_colours(train, tiny, tmp_path):
    colors = ClassTable(("Water", "sand", "lava", "veg"), ((1, 2, 3), (4, 5, 6), (7, 8, 9), (10, 11, 12)))
    train(tiny, output_labels=tmp_path / "names.txt", colors=colors)
    assert (tmp_path / "names.txt").read_text() == "sand\nveg\nwater\n"
    assert read_card(tmp_path / "a" / "model.pb").colors == ((4, 5, 6), (10, 11, 12), (1, 2, 3))


@pytest.mark.parametrize(
    "change",
    [
        {"head": {"learning_rate": 0.1}},
        {"head": {"train_batch_size": 5}},
        {"head": {"how_many_training_steps": 20}},
        {"head": {"class_weights": "balanced"}},
        {"head": {"seed": 1}},
        {"distort": {"flip_left_right": True}},
        {"distort": {"random_crop": 50}},
        {"distort": {"random_scale": 50}},
        {"distort": {"random_brightness": 50}},
        {"input_size": 48},
        {"testing_percentage": 40},
        {"validation_percentage": 40},
        {"final_tensor_name": "my_answer"},
        {"fine_tune": True},
    ],
    ids=lambda change: str(next(iter(change.values()))),
)
def test_every_option_changes_the_model(train, tiny, change):
    parts = {name: replace(getattr(tiny, name), **change[name]) for name in ("head", "distort") if name in change}
    _, plain = train(tiny)
    _, changed = train(replace(tiny, **{**change, **parts}), folder="b")
    assert changed != plain
    if "final_tensor_name" in change:
        assert b"my_answer" in changed and b"my_answer" not in plain


def test_options_of_the_measurements(train, tiny):
    result, _ = train(tiny)
    assert [m.step for m in result.curve] == [10, 20, 30]
    n_validation = result.counts["validation"]
    assert n_validation == result.counts["testing"] == result.scores["n_tiles"] == 9
    every, _ = train(replace(tiny, head=replace(tiny.head, eval_step_interval=7)))
    assert [m.step for m in every.curve] == [7, 14, 21, 28, 30]
    single = replace(tiny, head=replace(tiny.head, validation_batch_size=1))
    losses = [m.validation_cross_entropy for m in train(single)[0].curve]
    assert losses != [m.validation_cross_entropy for m in result.curve]
    assert {m.validation_accuracy for m in train(single)[0].curve} <= {0.0, 1.0}
    whole = replace(tiny, head=replace(tiny.head, validation_batch_size=-1))
    assert train(whole)[0].curve == result.curve, "100 are more than there are"
    few, _ = train(replace(tiny, test_batch_size=4))
    assert few.scores["n_tiles"] == 4


def test_patience_ends_a_training_that_gets_no_better(train, tiny):
    wild = replace(tiny.head, learning_rate=900.0, how_many_training_steps=400)
    patient, _ = train(replace(tiny, head=wild))
    impatient, _ = train(replace(tiny, head=replace(wild, patience=2)))
    assert len(patient.curve) == 40 and len(impatient.curve) < 40
    assert impatient.curve == patient.curve[: len(impatient.curve)]


def test_nothing_is_claimed_without_a_held_out_photo(train, tiny):
    result, _ = train(replace(tiny, testing_percentage=0, validation_percentage=0))
    assert result.scores == {} and result.misclassified == () and result.counts["training"] == 45
    assert all(m.validation_accuracy is None for m in result.curve)


def test_wrong_answers_are_listed(train, tiny):
    result, _ = train(replace(tiny, head=replace(tiny.head, how_many_training_steps=1, learning_rate=0.001)))
    n_wrong = round((1 - result.scores["accuracy"]) * result.scores["n_tiles"])
    assert len(result.misclassified) == n_wrong
    for name, predicted in result.misclassified:
        assert predicted in ("sand", "veg", "water") and not name.startswith(predicted)


def test_what_tensorboard_shows(train, tiny, tmp_path):
    import tensorflow as tf

    weak = replace(tiny, fine_tune=True, tuning=FineTuneOptions(epochs=2))
    result, _ = train(weak, summaries_dir=tmp_path / "sums")
    found = {"train": [], "validation": []}
    for run, entries in found.items():
        for path in (tmp_path / "sums" / run).glob("events*"):
            for event in tf.compat.v1.train.summary_iterator(str(path)):
                for value in event.summary.value:
                    if value.tag != "misclassified_test_tiles":
                        entries.append((value.tag, event.step, pytest.approx(float(tf.make_ndarray(value.tensor)))))
    for run, entries in found.items():
        curve = [(name, m.step, value) for m in result.curve for name, value in m.by_set()[run].items()]
        assert curve == entries[: len(curve)]
        rest = [(tag, step) for tag, step, _ in entries[len(curve) :]]
        assert rest == ([("fine_tune_cross_entropy", 1), ("fine_tune_cross_entropy", 2)] if run == "train" else [])


def test_fine_tuning_goes_on_from_fewer_epochs(train, tiny, tmp_path):
    def options(epochs):
        return replace(tiny, fine_tune=True, tuning=FineTuneOptions(epochs=epochs, learning_rate=0.01))

    _, whole = train(options(2))
    _, one = train(options(1), folder="b")
    [checkpoint] = (tmp_path / "b" / "bottlenecks").glob("fine_tune_*.npz")
    before = checkpoint.stat().st_mtime_ns
    train(options(1), folder="b")
    assert checkpoint.stat().st_mtime_ns == before, "an epoch that is done is not done again"
    _, resumed = train(options(2), folder="b")
    assert resumed == whole != one
    assert read_card(tmp_path / "b" / "model.pb").fine_tuned


def test_the_score_of_a_fine_tuned_model_is_its_own(train, tile_dir, tiny, tmp_path):
    """It is not measured on the features on disk, which are those of the backbone before."""
    tuning = FineTuneOptions(epochs=2, learning_rate=0.3)
    result, _ = train(replace(tiny, fine_tune=True, tuning=tuning, testing_percentage=40))
    folder = open_tile_folder(tile_dir)
    sets = assign_sets(folder.sources, folder.class_ids, testing_percentage=40, validation_percentage=10)
    tested = np.flatnonzero(sets == TESTING)
    classifier = load_classifier(tmp_path / "a" / "model.pb")
    predicted = classifier.classify(folder.read_tiles(tested, tile_size=16)).argmax(axis=1)
    wrong = [(folder.names[i], folder.table.names[k]) for i, k in zip(tested, predicted, strict=True)
             if folder.class_ids[i] != k]  # fmt: skip
    assert list(result.misclassified) == wrong


def run_and_kill(command, wait_for):
    """Start a command and kill it, without a chance to clean up, as soon as a condition holds."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while process.poll() is None and not wait_for() and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_result(tile_dir, tiny_module, tmp_path):
    def command(folder):
        words = ["--image_dir", tile_dir, "--output_graph", folder / "model.pb", "--bottleneck_dir", folder / "b"]
        more = ["--tfhub_module", tiny_module, "--how_many_training_steps", "50", "--fine-tune"]
        tuning = ["--fine-tune-epochs", "30", "--fine-tune-rate", "0.01"]
        return [sys.executable, "-m", "hybridseg", "--quiet", "retrain", *map(str, words + more + tuning)]

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


def test_paths_that_cannot_work(tile_dir, tmp_path):
    with pytest.raises(BadInput, match=r"name it with the suffix .pb"):
        retrain(RetrainPaths(tile_dir, tmp_path / "model"))
    with pytest.raises(BadInput, match="need each other; give both"):
        retrain(paths_in(tmp_path, tile_dir, intermediate_store_frequency=5))
    with pytest.raises(BadInput, match="intermediate_store_frequency=-1"):
        paths_in(tmp_path, tile_dir, intermediate_store_frequency=-1)
