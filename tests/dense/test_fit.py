import csv
import logging

import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.dense.augment import AugmentOptions
from hybridseg.dense.feed import Feed
from hybridseg.dense.fit import FitOptions, RunFolder, fit
from hybridseg.dense.schedules import Schedule
from hybridseg.errors import BadInput, OutputExists
from hybridseg.models.fcn import Fcn8s
from hybridseg.models.layers import make_dropout
from hybridseg.models.normalization import Normalization
from hybridseg.models.resunet import ResUnet
from hybridseg.models.startup import make_deterministic
from hybridseg.models.weightfile import load_weights

TABLE = ClassTable.from_names(["dark", "bright"])
RATE = Schedule(start=0.02, top=0.02, bottom=0.001, sustain_epochs=2, decay=0.5)
AUGMENT = AugmentOptions(rotation=10, zoom=0.1, flip_rows=True, brightness=0.1)


def build_small():
    """A network with everything that a run must remember: weights, moving statistics, a counter of dropout."""
    import tf_keras
    from tf_keras import layers

    pixels = tf_keras.Input((None, None, 1))
    x = layers.BatchNormalization(momentum=0.9)(layers.Conv2D(4, 3, padding="same", activation="relu")(pixels))
    return tf_keras.Model(pixels, layers.Conv2D(2, 1)(make_dropout(0.2, "drop")(x)))


NETWORKS = {
    "small": build_small,
    "resunet": lambda: ResUnet(n_bands=1, n_outputs=2, filters=1).build(),
    "resunet of one output": lambda: ResUnet(n_bands=1, n_outputs=1, filters=1).build(),
    "vgg16": lambda: Fcn8s(n_bands=1, n_outputs=2, backbone="vgg16", wide_channels=4).build(),
}


@pytest.fixture
def train(tmp_path, make_pairs):
    """Run some epochs in a folder: ``network, history = train("name", epochs=4)``."""

    def run(name="run", build=build_small, *, key="k", resume=False, watch=True, pairs=None, watched=None, **settings):
        hooks = {name: settings.pop(name) for name in ("on_epoch", "progress") if name in settings}
        make_deterministic(0)
        network = settings.pop("network", None) or build()
        pairs = pairs or make_pairs(5)
        feeds = {"batch_size": 2, "normalization": Normalization("image")}
        training = Feed(pairs, range(3), augment=AUGMENT, shuffle=True, seed=1, **feeds)
        validation = Feed(watched or pairs, [3, 4], **feeds) if watch else None
        history = fit(
            network, training, validation, table=TABLE, options=FitOptions(**{"schedule": RATE, **settings}),
            folder=RunFolder(tmp_path / name, key, resume), **hooks,
        )  # fmt: skip
        return network, history

    return run


def weights_of(network):
    return [weight.numpy() for weight in network.weights]


def same_weights(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def without_times(history):
    return [(h.epoch, h.rate, h.loss, h.mean_iou, h.dice, h.val_loss, h.val_mean_iou, h.val_dice) for h in history]


def stop_in(epoch, step):
    """A progress that is interrupted in the middle of an epoch."""

    def progress(items, *, label):
        for number, item in enumerate(items):
            if label.startswith(f"epoch {epoch} of") and number == step:
                raise KeyboardInterrupt
            yield item

    return progress


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "watch"), [("small", True), ("small", False), ("resunet", False), ("vgg16", False)])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(train, kind, watch):
    """Weights bit for bit: two and two epochs, or two and a third that is killed, are four."""
    build = NETWORKS[kind]
    whole, history = train("whole", build, epochs=4, watch=watch)
    assert len(history) == 4
    _, first = train("halves", build, epochs=2, watch=watch)
    halves, second = train("halves", build, epochs=4, watch=watch, resume=True)
    assert same_weights(weights_of(whole), weights_of(halves))
    assert without_times(second) == without_times(history) and second[:2] == first
    with pytest.raises(KeyboardInterrupt):
        train("killed", build, epochs=4, watch=watch, progress=stop_in(3, 1))
    killed, history_of_killed = train("killed", build, epochs=4, watch=watch, resume=True)
    assert same_weights(weights_of(whole), weights_of(killed))
    assert without_times(history_of_killed) == without_times(history)


def test_killed_in_the_first_epoch_it_begins_again(train, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train("killed", epochs=2, progress=stop_in(1, 1))
    assert not (tmp_path / "killed").exists()
    assert same_weights(weights_of(train("killed", epochs=2, resume=True)[0]), weights_of(train(epochs=2)[0]))


def test_dropout_draws_anew_at_every_step():
    layer = make_dropout(0.5, "drop")
    ones = np.ones((1, 4000), np.float32)
    draws = [layer(ones, training=True).numpy() for _ in range(2)]
    assert layer.count.numpy() == 2 and not np.array_equal(*draws)
    assert set(np.unique(draws[0])) == {0, 2} and abs(draws[0].mean() - 1) < 0.1
    assert np.array_equal(layer(ones), ones) and layer.count.numpy() == 2
    layer.count.assign(0)
    assert np.array_equal(layer(ones, training=True), draws[0])
    assert not np.array_equal(make_dropout(0.5, "other")(ones, training=True), draws[0])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["small", "resunet of one output"])
def test_it_learns(train, kind):
    _, history = train("run", NETWORKS[kind], epochs=16, schedule=Schedule(0.02, 0.02, 0.02))
    best = min(history, key=lambda row: row.val_loss)
    assert best.val_mean_iou > 0.85 and best.val_dice > 0.9 and history[-1].loss < history[0].loss / 2


def test_what_is_told_and_written_down(train, tmp_path):
    told, steps = [], []

    def progress(items, *, label):
        steps.append((label, len(items)))
        return items

    _, history = train("run", epochs=3, on_epoch=told.append, progress=progress)
    assert told == history and [row.epoch for row in history] == [1, 2, 3]
    assert [row.rate for row in history] == [RATE.rate(epoch) for epoch in range(3)]
    assert steps == [(f"epoch {epoch} of 3", 2) for epoch in (1, 2, 3)]
    assert all(row.images_per_second > 0 and 0 <= row.starved <= 0.5 for row in history)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["best.npz", "checkpoint.npz", "log.csv"]
    with (tmp_path / "run" / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(int(row["epoch"]), float(row["loss"]), float(row["val_mean_iou"])) for row in rows] == [
        (row.epoch, row.loss, row.val_mean_iou) for row in history
    ]


def test_scores_and_loss_are_those_of_the_validation_set(train, make_pairs):
    from hybridseg.confusion import count_confusion
    from hybridseg.models.losses import make_loss

    pairs = make_pairs(5)
    network, [row] = train("run", epochs=1, pairs=pairs)
    images = Normalization("image").apply_batch(pairs.images[3:].astype(np.float32))
    scores = network(images)
    confusion = count_confusion(pairs.labels[3:], scores.numpy().argmax(axis=-1).astype(np.uint8), TABLE)
    assert row.val_mean_iou == pytest.approx(confusion.macro("iou"))
    assert row.val_dice == pytest.approx(confusion.macro("f1"))
    assert row.val_loss == pytest.approx(float(make_loss("combo")(scores, pairs.labels[3:])), rel=1e-4)


def test_without_a_validation_set_its_cells_are_empty(train, tmp_path):
    _, [row] = train("run", epochs=1, watch=False)
    assert (row.val_loss, row.val_mean_iou, row.val_dice) == (None, None, None)
    header, line = (tmp_path / "run" / "log.csv").read_text().splitlines()
    assert dict(zip(header.split(","), line.split(","), strict=True))["val_loss"] == ""


def turn_labels(pairs):
    """Teach the contrary of what is watched: the longer it learns, the worse it gets."""
    pairs.labels = np.where(pairs.labels == 255, 255, 1 - pairs.labels).astype(np.uint8)
    return pairs


def test_patience_stops_and_the_best_weights_come_back(train, make_pairs, tmp_path):
    seen = []
    network = build_small()
    settings = {"pairs": make_pairs(5), "watched": turn_labels(make_pairs(5)), "patience": 2, "epochs": 9}
    _, history = train("run", network=network, on_epoch=lambda row: seen.append(weights_of(network)), **settings)
    best = int(np.argmin([row.val_loss for row in history]))
    assert len(history) == best + 3 < 9
    assert same_weights(weights_of(network), seen[best]) and not same_weights(seen[best], seen[-1])
    # Asked again, it neither goes on nor loses the best.
    network, again = train("run", resume=True, **settings)
    assert again == history and same_weights(weights_of(network), seen[best])
    # With more patience it goes on from the last epoch, not from the best.
    _, longer = train("run", resume=True, **settings | {"patience": 3})
    assert longer[: len(history)] == history and len(longer) == len(history) + 1


def test_numbered_checkpoints(train, tmp_path):
    network, seen = build_small(), []
    train(
        "run", network=network, epochs=5, checkpoint_interval=2, on_epoch=lambda row: seen.append(weights_of(network))
    )
    names = sorted(path.name for path in (tmp_path / "run").glob("*.h5"))
    assert names == ["epoch_0002.h5", "epoch_0004.h5"]
    assert RunFolder(tmp_path / "run", "k").weights_path(4) == tmp_path / "run" / "epoch_0004.h5"
    load_weights(network, tmp_path / "run" / "epoch_0002.h5")
    assert same_weights(weights_of(network), seen[1])


def test_runs_that_cannot_go_on(train, tmp_path):
    train("run", epochs=2)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(OutputExists, match="holds a training run; --resume goes on with it, --overwrite begins again"):
        train("run", epochs=2)
    with pytest.raises(BadInput, match="holds a run with other data or settings; give those again, or --overwrite"):
        train("run", epochs=2, key="other", resume=True)
    with pytest.raises(BadInput, match="holds a run of 2 epochs already; ask for at least as many"):
        train("run", epochs=1, resume=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before
    assert len(train("run", epochs=2, resume=True)[1]) == 2


def test_other_settings_of_another_network_are_no_damage(train):
    """The key is asked first: a run of another network is refused, not begun again."""
    train("run", epochs=1)
    with pytest.raises(BadInput, match="holds a run with other data or settings"):
        train("run", NETWORKS["resunet"], epochs=1, key="other", resume=True)


def test_a_damaged_checkpoint_begins_again(train, tmp_path, caplog):
    whole, _ = train("whole", epochs=2)
    train("run", epochs=1)
    path = tmp_path / "run" / "checkpoint.npz"
    path.write_bytes(path.read_bytes()[:-200])
    with caplog.at_level(logging.WARNING):
        network, history = train("run", epochs=2, resume=True)
    assert "checkpoint.npz is damaged" in caplog.text and "training starts again" in caplog.text
    assert len(history) == 2 and same_weights(weights_of(network), weights_of(whole))


def test_a_loss_that_is_no_number(train, tmp_path):
    network = build_small()
    network.layers[-1].bias.assign(np.full(2, np.nan, np.float32))
    with pytest.raises(BadInput, match="the loss is no number any more in epoch 1; give a smaller learning rate"):
        train("run", network=network, epochs=2)
    assert not (tmp_path / "run").exists(), "nothing is kept of it"


@pytest.mark.parametrize(("values", "message"), [
    ({"epochs": 0}, "epochs=0: give 1 or more"), ({"patience": -1}, "patience and checkpoint_interval are 0"),
    ({"checkpoint_interval": -1}, "patience and checkpoint_interval"), ({"loss": "l2"}, "there is no loss 'l2'"),
])  # fmt: skip
def test_options_that_cannot_work(values, message):
    with pytest.raises(BadInput, match=message):
        FitOptions(**values)
