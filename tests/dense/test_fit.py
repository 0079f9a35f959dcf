import csv
import logging
import shutil
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from hybridseg.confusion import count_confusion
from hybridseg.dense.augment import AugmentOptions
from hybridseg.dense.feed import Feed
from hybridseg.dense.fit import FitOptions, _Run, fit
from hybridseg.dense.runs import RunFolder
from hybridseg.dense.schedules import Schedule
from hybridseg.errors import BadInput, OutputExists
from hybridseg.models import resunet, vgg16
from hybridseg.models.engines import class_scores
from hybridseg.models.fcn import Fcn8s
from hybridseg.models.layers import make_dropout
from hybridseg.models.losses import LossOptions, make_loss
from hybridseg.models.normalization import Normalization
from hybridseg.models.resunet import ResUnet
from hybridseg.models.startup import make_deterministic
from hybridseg.models.weightfile import load_weights

# What TensorFlow says of the feed, which stays a graph.
pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config:UserWarning")

RATE = Schedule(start=0.02, top=0.02, bottom=0.001, sustain_epochs=1, decay=0.5)
AUGMENT = AugmentOptions(flip_rows=True, brightness=0.1)
FEED = {"batch_size": 2, "normalization": Normalization("image")}


def build_small(n_outputs=2, n_filters=4):
    """A network with everything that a run must remember: weights, moving statistics, a counter of dropout."""
    import tf_keras
    from tf_keras import layers

    pixels = tf_keras.Input((None, None, 1))
    x = layers.Conv2D(n_filters, 3, padding="same", activation="relu", name="near")(pixels)
    x = layers.BatchNormalization(momentum=0.9, name="norm")(x)
    return tf_keras.Model(pixels, layers.Conv2D(n_outputs, 1, name="scores")(make_dropout(0.2, "drop")(x)))


def train_feed(pairs):
    return Feed(pairs, range(3), augment=AUGMENT, shuffle=True, seed=1, **FEED)


def run_fit(
    path, pairs, *, key=1, resume=False, validate=True, validation_pairs=None, network=None, in_graphs=False, **settings
):
    """Run some epochs in a folder, so few that making graphs takes longer; return the network and its history."""
    import tensorflow as tf

    hooks = {name: settings.pop(name) for name in ("on_epoch", "progress", "encoder") if name in settings}
    make_deterministic(0)
    network = network or build_small()
    validation = Feed(validation_pairs or pairs, [3, 4], **FEED) if validate else None
    options = FitOptions(**{"schedule": RATE, **settings})
    folder = RunFolder(path, {"batch_size": key}, resume)
    tf.config.run_functions_eagerly(not in_graphs)
    try:
        return network, fit(network, train_feed(pairs), validation, options=options, folder=folder, **hooks)
    finally:
        tf.config.run_functions_eagerly(False)


@pytest.fixture
def train(tmp_path, make_pairs):
    """Run some epochs in a folder of this test: ``network, history = train("name", epochs=4)``."""
    return lambda name="run", pairs=None, **settings: run_fit(tmp_path / name, pairs or make_pairs(5), **settings)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, make_pairs):
    """A run of three epochs: its folder, history, weights after each epoch, and what was reported of it."""
    folder, weights, reported, steps = tmp_path_factory.mktemp("fit") / "run", [], [], []
    make_deterministic(0)
    network = build_small()

    def report(row):
        reported.append(row)
        weights.append(weights_of(network))

    def progress(items, *, label):
        for item in items:
            steps.append((label, item, len(items)))
            yield item

    settings = {"epochs": 3, "checkpoint_interval": 2, "on_epoch": report, "progress": progress}
    _, history = run_fit(folder, make_pairs(5), network=network, **settings)
    return SimpleNamespace(
        folder=folder, network=network, history=history, weights=weights, reported=reported, steps=steps
    )


@pytest.fixture
def folder(whole, tmp_path):
    """A copy of the folder of that run."""
    return shutil.copytree(whole.folder, tmp_path / "run")


def weights_of(network):
    return [weight.numpy() for weight in network.weights]


def same_weights(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def read_log(folder):
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def without_times(history):
    return [(h.epoch, h.rate, h.loss, h.mean_iou, h.dice, h.val_loss, h.val_mean_iou, h.val_dice) for h in history]


def best_of(history):
    return int(np.argmin([row.val_loss for row in history]))


@pytest.mark.slow
@pytest.mark.parametrize("validate", [True, False])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(train, whole, stop_at, validate):
    """Weights bit for bit: an epoch, another and half of the third, and the third are three."""
    _, first = train("parts", epochs=1, validate=validate)
    with pytest.raises(KeyboardInterrupt):
        train("parts", epochs=3, validate=validate, resume=True, progress=stop_at(4 if validate else 3))
    network, history = train("parts", epochs=3, validate=validate, resume=True)
    assert len(history) == 3 and history[:1] == first
    best = best_of(whole.history) if validate else 2
    assert same_weights(weights_of(network), whole.weights[best])
    n = 8 if validate else 5
    assert [row[:n] for row in without_times(history)] == [row[:n] for row in without_times(whole.history)]


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [
    ResUnet(n_bands=1, n_outputs=1, filters=1), Fcn8s(n_bands=1, n_outputs=2, backbone="vgg16", wide_channels=4),
], ids=lambda architecture: architecture.name)  # fmt: skip
def test_a_checkpoint_restores_all_that_the_next_epoch_depends_on(architecture, make_pairs, tmp_path, monkeypatch):
    """Bit for bit: the epoch after it comes out the same, though the network has gone on in the meantime."""
    # Every kind of layer, in few levels and channels.
    monkeypatch.setattr(resunet, "_N_LEVELS", 2)
    monkeypatch.setattr(vgg16, "_BLOCKS", ((4, 1), (5, 1), (6, 1), (7, 1), (8, 1)))
    make_deterministic(0)
    network, pairs = architecture.build(), make_pairs(5)
    run = _Run(network, pairs.table, FitOptions(epochs=2, schedule=RATE), RunFolder(tmp_path, resume=True))
    feed = train_feed(pairs)

    def train_epoch(number):
        row = run.train_epoch(feed, number, range(feed.n_steps), 0.01)
        return (row.loss, row.mean_iou), row, weights_of(network)

    _, row, before = train_epoch(0)
    run.save([row], keep=lambda path: None)
    scores, _, after = train_epoch(1)
    assert run.restore() == [row] and same_weights(weights_of(network), before) and not same_weights(before, after)
    again, _, restored = train_epoch(1)
    assert again == scores and same_weights(restored, after)


@pytest.mark.slow
def test_killed_in_the_first_epoch_it_starts_over(train, whole, stop_at, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train("killed", epochs=1, progress=stop_at(1))
    assert not (tmp_path / "killed").exists()
    network, _ = train("killed", epochs=1, resume=True)
    assert same_weights(weights_of(network), whole.weights[0])
    # Killed between the checkpoint and the log of the last epoch, of which no one is trained then.
    log = (tmp_path / "killed/log.csv").read_text()
    (tmp_path / "killed/log.csv").unlink()
    train("killed", epochs=1, resume=True)
    assert (tmp_path / "killed/log.csv").read_text() == log


@pytest.mark.slow
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_it_learns(train, n_outputs):
    _, history = train(network=build_small(n_outputs), epochs=6, schedule=Schedule(0.06, 0.06, 0.06), in_graphs=True)
    best = min(history, key=lambda row: row.val_loss)
    assert best.val_mean_iou > 0.85 and best.val_dice > 0.9 and history[-1].loss < history[0].loss / 2


@pytest.mark.slow
def test_what_is_reported_and_written(whole):
    history = whole.history
    assert whole.reported == history and [row.epoch for row in history] == [1, 2, 3]
    assert [row.rate for row in history] == [RATE.learning_rate(epoch) for epoch in range(3)]
    # One progress for all epochs and their validation, so that it tells the time that is left for all of them.
    assert whole.steps == [("steps of the training, epochs 1 to 3", number, 9) for number in range(9)]
    assert all(row.images_per_second > 0 and 0 <= row.starved <= 0.5 for row in history)
    names = ["best.npz", "checkpoint.npz", "checkpoints", "checkpoints/CP_epoch2.h5", "log.csv"]
    assert sorted(path.relative_to(whole.folder).as_posix() for path in whole.folder.rglob("*")) == names
    rows = [(int(row["epoch"]), float(row["loss"]), float(row["val_mean_iou"])) for row in read_log(whole.folder)]
    assert rows == [(row.epoch, row.loss, row.val_mean_iou) for row in history]


def test_dropout_is_on_in_training_alone(whole):
    assert whole.network.get_layer("drop").count.numpy() == 2 * (best_of(whole.history) + 1)
    assert not np.allclose(whole.network.get_layer("norm").moving_mean, 0)


def test_scores_and_loss_are_those_of_the_validation_set(whole, make_pairs):
    pairs, row = make_pairs(5), whole.history[best_of(whole.history)]
    scores = class_scores(whole.network(Normalization("image").apply_batch(pairs.images[3:].astype(np.float32))))
    confusion = count_confusion(pairs.labels[3:], scores.numpy().argmax(axis=-1).astype(np.uint8), pairs.table)
    assert row.val_mean_iou == pytest.approx(confusion.macro("iou"))
    assert row.val_dice == pytest.approx(confusion.macro("f1"))
    assert row.val_loss == pytest.approx(float(make_loss(LossOptions())(scores, pairs.labels[3:])), rel=1e-4)


@pytest.mark.slow
def test_scores_of_the_training_are_those_of_its_steps(train, make_pairs):
    """With a learning rate of next to nothing the network stays as it was made; its moving statistics take no part."""
    import tf_keras

    pixels = tf_keras.Input((None, None, 1))
    network = tf_keras.Model(pixels, tf_keras.layers.Conv2D(2, 3, padding="same")(pixels))
    pairs = make_pairs(5)
    before = network(Normalization("image").apply_batch(pairs.images[:3].astype(np.float32))).numpy()
    rates = Schedule(1e-12, 1e-12, 1e-12)
    _, [row] = train(network=network, epochs=1, validate=False, schedule=rates, in_graphs=True)
    feed = train_feed(pairs)
    found = [network(images).numpy().argmax(axis=-1) for images, _ in feed.batches()]
    truth = [labels.numpy() for _, labels in feed.batches()]
    confusion = count_confusion(np.concatenate(truth), np.concatenate(found).astype(np.uint8), pairs.table)
    assert before.shape[-1] == 2 and row.mean_iou == pytest.approx(confusion.macro("iou"))
    assert row.dice == pytest.approx(confusion.macro("f1"))


def test_without_a_validation_set_its_cells_are_empty(train, tmp_path):
    _, [row] = train("run", epochs=1, validate=False)
    assert (row.val_loss, row.val_mean_iou, row.val_dice) == (None, None, None)
    assert read_log(tmp_path / "run")[0]["val_loss"] == ""


def turn_labels(pairs):
    """Teach the contrary of what is validated: the longer it trains, the worse it gets."""
    pairs.labels = np.where(pairs.labels == 255, 255, 1 - pairs.labels).astype(np.uint8)
    return pairs


@pytest.mark.slow
def test_patience_stops_and_the_best_weights_come_back(train, make_pairs, tmp_path):
    seen = []
    network = build_small()
    settings = {"pairs": make_pairs(5), "validation_pairs": turn_labels(make_pairs(5)), "patience": 2, "epochs": 9}
    _, history = train("run", network=network, on_epoch=lambda row: seen.append(weights_of(network)), **settings)
    best = best_of(history)
    assert len(history) == best + 3 < 9
    assert same_weights(weights_of(network), seen[best]) and not same_weights(seen[best], seen[-1])
    # Asked again, it neither goes on nor loses the best.
    network, again = train("run", resume=True, **settings)
    assert again == history and same_weights(weights_of(network), seen[best])
    # With more patience it goes on from the last epoch, not from the best.
    _, longer = train("run", resume=True, **settings | {"patience": 3})
    assert longer[: len(history)] == history and len(longer) == len(history) + 1


@pytest.mark.parametrize(("best_by", "best"), [("mean_iou", 2), pytest.param("loss", 1, marks=pytest.mark.slow)])
def test_the_weights_of_the_best_epoch_are_kept(train, make_pairs, best_by, best):
    make_deterministic(0)
    seen, network = [], build_small()
    _, history = train(
        network=network, epochs=2, schedule=Schedule(0.2, 0.2, 0.2), validation_pairs=turn_labels(make_pairs(5)),
        best_by=best_by, on_epoch=lambda row: seen.append(weights_of(network)),
    )  # fmt: skip
    assert history[1].val_mean_iou > history[0].val_mean_iou and history[1].val_loss > history[0].val_loss
    assert same_weights(weights_of(network), seen[best - 1])


@pytest.mark.slow
def test_validations_within_an_epoch(train, whole, tmp_path, caplog):
    """They are the same scores as at its end, and change nothing that is learned."""
    seen, steps = [], []

    def progress(items, *, label):
        steps.append(len(items))
        return items

    with caplog.at_level(logging.INFO, "hybridseg.progress"):
        network, [row] = train(epochs=1, validations_per_epoch=2, on_epoch=seen.append, progress=progress)
    first = whole.history[0]
    assert (row.loss, row.val_loss, row.val_dice) == (first.loss, first.val_loss, first.val_dice)
    assert same_weights(weights_of(network), whole.weights[0]) and seen == [row]
    [within] = row.val_dice_within
    assert 0 <= within <= 1 and within != row.val_dice
    assert f"epoch 1, step 1 of 2: Dice of the validation images {within:.3f}, mean over the classes" in caplog.text
    # Two steps of the training, and twice one of the validation.
    assert steps == [4]
    assert read_log(tmp_path / "run")[0]["val_dice_within"] == f"{within:.3f}"
    _, again = train(epochs=2, resume=True)
    assert again[0] == row and again[1].val_dice_within == []


def test_numbered_checkpoints(whole):
    run = RunFolder(whole.folder)
    assert run.weights_path(2) == whole.folder / "checkpoints/CP_epoch2.h5" and list(run.list_checkpoints()) == [2]
    network = build_small()
    load_weights(network, whole.folder / "checkpoints/CP_epoch2.h5")
    assert same_weights(weights_of(network), whole.weights[1])


@pytest.mark.slow
def test_runs_that_cannot_resume(train, folder):
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    with pytest.raises(OutputExists, match=r"holds a training run; --resume .*, --overwrite"):
        train(epochs=3)
    with pytest.raises(BadInput, match=r"holds a run with other settings \(batch_size=1\); .* --overwrite"):
        train(epochs=3, key=2, resume=True)
    with pytest.raises(BadInput, match="holds a run of 3 epochs already; ask for at least as many"):
        train(epochs=2, resume=True)
    # The settings are compared first: a run of another network is refused, not taken for a damaged one.
    with pytest.raises(BadInput, match="holds a run with other settings"):
        train(network=build_small(n_filters=5), epochs=3, key=2, resume=True)
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == before
    assert len(train(epochs=3, resume=True)[1]) == 3


@pytest.mark.slow
def test_a_damaged_checkpoint_starts_over(train, whole, folder, caplog):
    path = folder / "checkpoint.npz"
    path.write_bytes(path.read_bytes()[:-200])
    with caplog.at_level(logging.WARNING):
        network, history = train(epochs=1, resume=True)
    assert "checkpoint.npz is damaged" in caplog.text and "training starts again" in caplog.text
    assert len(history) == 1 and same_weights(weights_of(network), whole.weights[0])


@pytest.mark.slow
@pytest.mark.parametrize(("frozen_epochs", "n_frozen"), [(1, 1), (-1, 2)])
def test_the_encoder_is_trained_after_its_frozen_epochs(train, frozen_epochs, n_frozen):
    network = build_small()
    near, scores = network.get_layer("near"), network.get_layer("scores")
    seen = [(near.get_weights()[0], scores.get_weights()[0])]
    settings = {"epochs": 2, "frozen_epochs": frozen_epochs, "encoder": [near]}

    def watch(row):
        seen.append((near.get_weights()[0], scores.get_weights()[0]))

    train(network=network, on_epoch=watch, **settings)
    for epoch, (before, after) in enumerate(pairwise(seen)):
        assert np.array_equal(before[0], after[0]) == (epoch < n_frozen)
        assert not np.array_equal(before[1], after[1]), "all else is trained"


@pytest.mark.slow
def test_the_encoder_learns_at_a_rate_of_its_own(train):
    """The first step of Adam is as large as the learning rate, whatever the gradient."""
    network = build_small()
    near, scores = network.get_layer("near"), network.get_layer("scores")
    before = near.get_weights()[0], scores.get_weights()[0]
    settings = {"epochs": 1, "encoder_rate": 0.1, "schedule": Schedule(0.01, 0.01, 0.01), "validate": False}
    train(network=network, encoder=[near], **settings)
    steps = [np.abs(layer.get_weights()[0] - old).max() for layer, old in zip((near, scores), before, strict=True)]
    # Two steps.
    assert steps[0] == pytest.approx(0.002, rel=0.3) and steps[1] == pytest.approx(0.02, rel=0.3)


@pytest.mark.slow
def test_a_plateau_lowers_the_learning_rate(train, make_pairs):
    settings = {"pairs": make_pairs(5), "validation_pairs": turn_labels(make_pairs(5)), "plateau_patience": 2}
    rates = Schedule(0.02, 0.02, 0.02)
    _, history = train(epochs=6, schedule=rates, **settings)
    best = best_of(history)
    expected = [0.02 / 10 ** max((i - best - 1) // 2, 0) for i in range(6)]
    assert [row.rate for row in history] == pytest.approx(expected) and best < 3


@pytest.mark.slow
@pytest.mark.parametrize("validate", [True, False])
def test_a_loss_that_is_not_finite_later_on(train, whole, caplog, validate):
    """It ends there, with the weights of the best epoch until then."""

    def spoil(row):
        if row.epoch == 2:
            network.layers[-1].bias.assign(np.full(2, np.nan, np.float32))

    with caplog.at_level(logging.WARNING):
        make_deterministic(0)
        network = build_small()
        _, history = train(network=network, epochs=5, on_epoch=spoil, validate=validate)
    assert "not finite any more in epoch 3: training stops here, and the best weights" in caplog.text
    assert len(history) == 2
    best = best_of(history) if validate else 1
    assert same_weights(weights_of(network), whole.weights[best])


@pytest.mark.slow
def test_a_loss_that_is_not_finite(train, tmp_path):
    network = build_small()
    network.layers[-1].bias.assign(np.full(2, np.nan, np.float32))
    with pytest.raises(BadInput, match="the loss is not finite any more in epoch 1; give a smaller learning rate"):
        train("run", network=network, epochs=2)
    assert not (tmp_path / "run").exists(), "nothing is kept of it"
