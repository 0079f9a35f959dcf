from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from hybridseg.classes import ClassTable
from hybridseg.confusion import pool_confusions
from hybridseg.dense.augment import AugmentOptions
from hybridseg.dense.feed import Feed
from hybridseg.dense.fit import FitOptions
from hybridseg.dense.pairs import FolderPairs, hash_pairs
from hybridseg.dense.plan import TrainingPlan, make_feeds
from hybridseg.dense.runs import CHECKPOINT_NAME
from hybridseg.dense.schedules import Schedule
from hybridseg.dense.scoring import evaluate_feed
from hybridseg.dense.trainer import TrainingPaths, train_dense
from hybridseg.errors import BadInput, OutputExists
from hybridseg.io.images import write_image
from hybridseg.io.locks import lock_output
from hybridseg.io.pairing import Pair
from hybridseg.models.architectures import ARCHITECTURES
from hybridseg.models.bundles import load_dense
from hybridseg.models.catalog import read_entry
from hybridseg.models.normalization import Normalization

# They share a training.
pytestmark = pytest.mark.slow

SIZE = (32, 48)
TABLE = ClassTable(("dark", "bright"), ((0, 0, 200), (250, 220, 0)))
SOURCES = tuple("aabbccddee")
PLOTS = ("train_sample_batch", "val_sample_batch", "learning_rate", "training", "examples", "worst")


@dataclass(frozen=True)
class Tiny:
    """A network that is made in no time, with everything that a run must remember."""

    name: ClassVar[str] = "tiny"
    stride: ClassVar[int] = 1
    n_bands: int
    n_outputs: int

    def build(self):
        import tf_keras
        from tf_keras import layers

        pixels = tf_keras.Input((None, None, self.n_bands))
        x = layers.Conv2D(4, 3, padding="same", activation="relu", name="near")(pixels)
        x = layers.BatchNormalization(momentum=0.9, name="norm")(x)
        return tf_keras.Model(pixels, layers.Conv2D(self.n_outputs, 1, name="scores")(x))

    def start(self, network, weights=None):
        if weights is None:
            return "random weights"
        network.get_layer("scores").bias.assign(np.loadtxt(weights))
        return f"weights of {weights.name}"

    def choose_weights(self, weights=None):
        return weights or "none"

    def find_encoder(self, network):
        return []


class ArrayPairs:
    """Pairs in memory, two of each photograph: the brighter side is class 1; a corner has no class."""

    n_bands, dtype, sources, table, size = 3, np.dtype(np.uint8), SOURCES, TABLE, SIZE

    def __init__(self, sources=SOURCES, fingerprint="abc"):
        self.sources, self.fingerprint = sources, fingerprint
        rng = np.random.default_rng(0)
        self.images = rng.integers(0, 90, (len(sources), *SIZE, 3)).astype(np.uint8)
        self.labels = np.zeros((len(sources), *SIZE), np.uint8)
        for image, labels in zip(self.images, self.labels, strict=True):
            border = rng.integers(10, 38)
            image[:, border:] += 60
            labels[:, border:] = 1
        self.labels[:, :2, :3] = 255

    def read(self, index):
        return self.images[index], self.labels[index]


PLAN = TrainingPlan(
    Tiny(3, 2), Normalization("image"), batch_size=3, validation_share=0.4,
    augment=AugmentOptions(rotation=5, flip_cols=True),
    fit=FitOptions(3, schedule=Schedule(0.01, 0.01, 0.001, decay=0.5), checkpoint_interval=1),
)  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _known():
    ARCHITECTURES["tiny"] = Tiny
    yield
    del ARCHITECTURES["tiny"]


def train(folder, *, epochs=3, plan=PLAN, pairs=None, plots=False, **settings):
    hooks = {
        name: settings.pop(name)
        for name in ("on_epoch", "validation_pairs", "test_pairs", "score_sets", "on_start")
        if name in settings
    }
    paths = TrainingPaths(folder / "net.h5", folder / "run", plots=plots, **settings)
    plan = replace(plan, fit=replace(plan.fit, epochs=epochs))
    return train_dense(pairs or ArrayPairs(), plan, paths, **hooks)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of three epochs with everything that is written of it: its folder, and its result."""
    folder = tmp_path_factory.mktemp("trained")
    reported = []
    result = train(folder, plots=True, on_epoch=reported.append, tensorboard_dir=folder / "tb", histogram_interval=2)
    assert reported == list(result.history)
    return folder, result


def weights_of(path):
    return [weight.numpy() for weight in load_dense(path).network.weights]


def same_weights(first, second):
    return all(np.array_equal(a, b) for a, b in zip(weights_of(first), weights_of(second), strict=True))


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read_log(folder):
    with (folder / "run/log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_what_a_run_leaves(trained):
    folder, result = trained
    names = ["net.h5", "net.card.json", "net.tflite", "MODEL_CARD.md", "net.mlm.json", "run/log.csv"]
    names += ["net_by_image.csv", *(f"net_{name}.png" for name in PLOTS)]
    assert [path.relative_to(folder).as_posix() for path in result.written] == names
    for path in result.written[7:]:
        picture = np.asarray(Image.open(path).convert("RGB"))
        assert min(picture.shape[:2]) > 100 and picture.std() > 10, path
        assert len(np.unique(picture.astype(int) @ (1 << 16, 1 << 8, 1))) > 20, path
    epochs = [f"CP_epoch{i}.{suffix}" for i in (1, 2, 3) for suffix in ("card.json", "h5")]
    assert sorted(path.name for path in (folder / "run/checkpoints").iterdir()) == epochs
    names = ["best.npz", "checkpoint.npz", "checkpoints", "log.csv"]
    assert sorted(path.name for path in (folder / "run").iterdir()) == names
    rows = read_log(folder)
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3]
    for row, epoch in zip(rows, result.history, strict=True):
        assert (float(row["loss"]), float(row["val_loss"])) == (epoch.loss, epoch.val_loss)
    assert [float(row["rate"]) for row in rows] == [PLAN.fit.schedule.learning_rate(epoch) for epoch in range(3)]
    assert (result.n_training, result.n_validation) == (6, 4)


def test_examples_show_the_colours_of_the_classes(trained):
    picture = np.asarray(Image.open(trained[0] / "net_train_sample_batch.png").convert("RGB")).reshape(-1, 3)
    for color in TABLE.colors:
        assert (np.abs(picture.astype(int) - color).max(axis=1) < 3).sum() > 500


def test_what_tensorboard_shows(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    folder, result = trained
    found = {}
    for run in ("train", "validation"):
        found[run] = EventAccumulator(str(folder / "tb" / run), size_guidance={"tensors": 0, "images": 0})
        found[run].Reload()
    assert {"loss", "mean_iou", "dice", "rate", "images_per_second"} <= set(found["train"].Tags()["tensors"])
    for run, tag, field in (("train", "loss", "loss"), ("validation", "loss", "val_loss"),
                            ("validation", "mean_iou", "val_mean_iou")):  # fmt: skip
        events = found[run].Tensors(tag)
        assert [event.step for event in events] == [1, 2, 3]
        values = [float(make_ndarray(event.tensor_proto)) for event in events]
        assert values == pytest.approx([getattr(epoch, field) for epoch in result.history], rel=1e-5)
    panels = found["validation"].Tensors("image, truth, prediction")
    assert [event.step for event in panels] == [1, 2, 3]
    # Every second epoch, of every weight that is trained.
    names = ("near/kernel:0", "near/bias:0", "norm/gamma:0", "norm/beta:0", "scores/kernel:0", "scores/bias:0")
    for kind in ("weights", "gradients"):
        for name in names:
            [event] = found["train"].Tensors(f"{kind}/{name}")
            bins = make_ndarray(event.tensor_proto)
            assert event.step == 2 and np.abs(bins[:, :2]).max() > 1e-8, f"{kind}/{name}"
    assert found["train"].Tags()["graph"]
    width, height, *pictures = make_ndarray(panels[2].tensor_proto).tolist()
    assert (int(width), int(height), len(pictures)) == (3 * SIZE[1], SIZE[0], 4)
    panel = np.asarray(Image.open(io.BytesIO(pictures[0])))
    image, truth, prediction = np.split(panel, 3, axis=1)
    assert image.std() > 10 and {tuple(c) for c in prediction.reshape(-1, 3)} <= set(TABLE.colors)
    assert {tuple(c) for c in truth.reshape(-1, 3)} == {*TABLE.colors, (0, 0, 0)}


def test_the_scores_of_the_card_are_those_of_a_recount(trained):
    folder, result = trained
    pairs, model = ArrayPairs(), load_dense(folder / "net.h5")
    held_out = make_feeds(pairs, None, PLAN)[1].indices
    images = pairs.images[held_out].astype(np.float64)
    pixels = (images - images.mean((1, 2), keepdims=True)) / images.std((1, 2), keepdims=True)
    found, truth = model.predict(pixels.astype(np.float32)).argmax(axis=-1), pairs.labels[held_out]
    known = truth != 255
    scores = json.loads((folder / "net.card.json").read_text())["scores"]
    assert scores["n_pixels"] == known.sum() == 4 * (32 * 48 - 6)
    counts = [[int(((truth == i) & (found == j)).sum()) for j in (0, 1)] for i in (0, 1)]
    assert np.abs(np.array(scores["confusion"]) - counts).sum() <= 4, "but for rounding"
    assert scores["accuracy"] == pytest.approx((found == truth)[known].mean(), abs=1e-3)
    best = min(result.history, key=lambda epoch: epoch.val_loss)
    assert scores["macro"]["iou"] == pytest.approx(best.val_mean_iou) == pytest.approx(result.confusion.macro("iou"))
    dices = [float(row["dice"]) for row in csv.DictReader((folder / "net_by_image.csv").read_text().splitlines())]
    assert dices == [image.dice for image in result.images] == sorted(photo.macro("f1") for photo in result.photos)
    assert len(dices) == 2 and scores["image_dice"] == pytest.approx(np.mean(dices))


def test_the_card_says_where_the_network_comes_from(trained):
    training = json.loads((trained[0] / "net.card.json").read_text())["training"]
    expected = {"started_from": "random weights", "n_photographs": 5, "n_pairs": 10, "epochs": 3, "batch_size": 3}
    expected["pretrained"] = "none"
    assert {name: training[name] for name in expected} == expected
    held_out = make_feeds(ArrayPairs(), None, PLAN)[1].indices
    assert training["validation_sha256"] == hash_pairs(ArrayPairs(), held_out)
    assert training["data_sha256"] == hash_pairs(ArrayPairs(), range(10)) != training["validation_sha256"]
    entry = read_entry(trained[0] / "net.h5")
    assert entry.measured[0].sha256 == training["validation_sha256"] and entry.measured[0].n_photos == 2
    assert training["augmentation"]["rotation"] == 5 and training["options"]["checkpoint_interval"] == 1


def test_checkpoints_are_bundles_and_the_best_of_them_is_the_result(trained):
    folder, result = trained
    losses = [epoch.val_loss for epoch in result.history]
    best = folder / "run" / f"checkpoints/CP_epoch{1 + int(np.argmin(losses))}.h5"
    assert same_weights(best, folder / "net.h5")
    assert not same_weights(folder / "run/checkpoints/CP_epoch1.h5", folder / "run/checkpoints/CP_epoch2.h5")
    card = load_dense(folder / "run/checkpoints/CP_epoch2.h5").card
    assert (card.table, card.size, card.normalization) == (TABLE, SIZE, PLAN.normalization)


@pytest.mark.parametrize("share", [0.05, 0.4, 0.95])
@pytest.mark.parametrize("seed", range(4))
def test_no_photograph_is_in_both_sets(share, seed):
    plan = replace(PLAN, validation_share=share, fit=replace(PLAN.fit, seed=seed))
    training, validation = ({SOURCES[i] for i in feed.indices} for feed in make_feeds(ArrayPairs(), None, plan))
    assert training and validation and not training & validation and training | validation == set(SOURCES)


def test_a_training_of_too_few_steps_for_its_running_averages(tmp_path, caplog):
    """Of momentum 0.9 they hold a hundredth of their beginning after 44 steps, and an epoch has 2."""
    text = "the training had 42 steps, and the running averages of its normalization lag behind until about 44: "
    train(tmp_path, epochs=21)
    assert [message for message in caplog.messages if message.startswith(text)]
    caplog.clear()
    train(tmp_path, epochs=22, resume=True)
    assert not [message for message in caplog.messages if "running averages" in message]


def test_a_validation_set_of_its_own(tmp_path):
    with pytest.raises(BadInput, match="a, b are in the training set and in the validation set; take them out"):
        train(tmp_path / "shared", validation_pairs=ArrayPairs(("z", "b", "a", "a")))
    with pytest.raises(BadInput, match="there is only one photograph"):
        train(tmp_path / "one", pairs=ArrayPairs(("a", "a")))
    result = train(tmp_path / "own", epochs=1, validation_pairs=ArrayPairs(("x", "y")))
    assert (result.n_training, result.n_validation) == (10, 2)


def test_the_scores_of_all_sets(tmp_path):
    """Without augmentation; what is in the test set has no part in the training."""
    with pytest.raises(BadInput, match="a, b are in the test set and would be trained on; take them out"):
        train(tmp_path / "leak", test_pairs=ArrayPairs(("a", "b", "z")), score_sets=True)
    assert not contents(tmp_path)
    test = ArrayPairs(("y", "z"))
    result = train(tmp_path, epochs=1, test_pairs=test, score_sets=True)
    assert list(result.sets) == ["training", "validation", "test"]
    plain = replace(PLAN, augment=AugmentOptions())
    training, validation = make_feeds(ArrayPairs(), None, plain)
    tested = Feed(test, [0, 1], batch_size=2, normalization=PLAN.normalization)
    for name, feed in (("training", training), ("validation", validation), ("test", tested)):
        confusion, found = pool_confusions(list(evaluate_feed(result.model, feed).values())), result.sets[name]
        expected = (confusion.accuracy, *(confusion.macro(score) for score in ("iou", "f1", "recall")))
        assert [found[s] for s in ("accuracy", "mean_iou", "dice", "recall")] == pytest.approx(expected, abs=2e-3)
    assert result.sets["validation"]["loss"] == pytest.approx(result.history[0].val_loss, rel=1e-3)
    card = json.loads((tmp_path / "net.card.json").read_text())
    assert card["scores"]["sets"] == result.sets and train(tmp_path / "two", epochs=1).sets == {}


def test_images_of_other_bands(tmp_path):
    with pytest.raises(BadInput, match="the images have 3 bands, but the network takes 4"):
        train(tmp_path, plan=replace(PLAN, architecture=Tiny(4, 2)))
    assert not contents(tmp_path)


def test_a_run_starts_from_the_weights_that_are_given(tmp_path):
    np.savetxt(tmp_path / "bias.txt", [40.0, -40.0])
    told = []
    result = train(
        tmp_path, epochs=1, plan=replace(PLAN, fit=replace(PLAN.fit, schedule=Schedule(1e-9, 1e-9, 1e-9))),
        pretrained=tmp_path / "bias.txt", on_start=told.append,
    )  # fmt: skip
    assert told[0].startswith("device: ") and told[1] == "weights of bias.txt" and len(told) == 4
    assert told[2] == "images: 6 to train on, 4 to validate on; all of each at 32 x 48 pixels"
    assert result.confusion.counts[:, 1].sum() == 0


def test_a_run_that_resumes_ends_as_one_that_was_never_stopped(trained, tmp_path):
    def stop(epoch):
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    whole, result = trained
    train(tmp_path, epochs=1)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, resume=True, on_epoch=stop)
    # What only looks at the network may be another setting.
    watched = replace(PLAN, fit=replace(PLAN.fit, validations_per_epoch=2))
    resumed = train(tmp_path, resume=True, plots=True, plan=watched)
    assert same_weights(tmp_path / "net.h5", whole / "net.h5")
    assert same_weights(tmp_path / "run/checkpoints/CP_epoch3.h5", whole / "run/checkpoints/CP_epoch3.h5")
    assert [e.val_loss for e in resumed.history] == [e.val_loss for e in result.history]
    assert resumed.confusion.to_record() == result.confusion.to_record()
    again = train(tmp_path, resume=True)
    assert len(again.history) == 3 and same_weights(tmp_path / "net.h5", whole / "net.h5")


def test_a_run_that_is_stopped_has_no_result_yet(tmp_path):
    def stop(epoch):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, on_epoch=stop)
    assert not (tmp_path / "net.h5").exists() and len(read_log(tmp_path)) == 1


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of that run."""
    return shutil.copytree(trained[0], tmp_path / "copy")


def test_overwrite_starts_over_and_removes_only_files_of_a_run(trained, folder):
    foreign = [folder / "run" / name for name in ("notes.txt", "epoch_final.h5", "epoch_1.json", "my_checkpoint.npz")]
    foreign += [folder / "run/checkpoints" / name for name in ("CP_epoch.h5", "CP_epoch1.json", "my_CP_epoch1.h5")]
    for path in foreign:
        path.write_text("precious")
    before = contents(folder)
    with pytest.raises(OutputExists, match=r"net\.h5 is there already; --resume .*, --overwrite"):
        train(folder)
    with pytest.raises(BadInput, match=r"--resume .* --overwrite .*; give one of them"):
        train(folder, resume=True, overwrite=True)
    faster = replace(PLAN, batch_size=2, fit=replace(PLAN.fit, schedule=Schedule(0.02, 0.02, 0.002, decay=0.5)))
    with pytest.raises(BadInput, match=r"other settings \(batch_size=3, learning_rate=0.01\); .* --overwrite"):
        train(folder, resume=True, plan=faster)
    with pytest.raises(BadInput, match=r"other settings \(images and masks, validation images and masks\); "):
        train(folder, resume=True, pairs=ArrayPairs(fingerprint="abd"))
    assert contents(folder) == before
    result = train(folder, epochs=1, overwrite=True)
    assert all(path.read_text() == "precious" for path in foreign)
    assert len(result.history) == 1 and not (folder / "run/checkpoints/CP_epoch2.h5").exists()
    assert same_weights(folder / "run/checkpoints/CP_epoch1.h5", trained[0] / "run/checkpoints/CP_epoch1.h5")


def test_a_run_without_its_weights_is_not_lost_either(folder):
    """As an interrupted one leaves it: no figure is drawn before it is refused."""
    (folder / "net.h5").unlink()
    before = contents(folder)
    with pytest.raises(OutputExists, match=r"checkpoint\.npz is there already; --resume"):
        train(folder, plots=True)
    assert contents(folder) == before
    (folder / "run" / CHECKPOINT_NAME).rename(folder / "net.h5")
    with pytest.raises(BadInput, match=r"there is no .*checkpoint\.npz to resume from; --overwrite trains"):
        train(folder, resume=True)


def test_two_runs_at_the_same_time(tmp_path):
    with lock_output(tmp_path / "run" / CHECKPOINT_NAME), pytest.raises(OutputExists, match="another run is writing"):
        train(tmp_path, plots=True)
    assert [path.name for path in contents(tmp_path)] == []
    assert train(tmp_path, epochs=1).history, "and once the other has ended it can"


def test_the_fingerprint_of_the_data_changes_with_every_file(tmp_path):
    for name in ("a.png", "b.png", "a_mask.png", "b_mask.png"):
        write_image(tmp_path / name, np.full((8, 8, 3), 50, np.uint8))
    pairs = [Pair(tmp_path / f"{stem}_mask.png", tmp_path / f"{stem}.png") for stem in "ab"]

    def fingerprint(pairs, size=(8, 8)):
        return FolderPairs(pairs, lambda path: None, table=TABLE, size=size).fingerprint

    first = fingerprint(pairs)
    assert first == fingerprint(pairs)
    others = {fingerprint(pairs[:1]), fingerprint(pairs, (8, 16))}
    write_image(tmp_path / "b_mask.png", np.full((8, 8, 3), 51, np.uint8))
    others.add(fingerprint(pairs))
    assert len(others | {first}) == 4
