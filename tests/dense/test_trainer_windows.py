"""Trainings on windows of photos at their own resolution."""

import copy
import csv
from dataclasses import replace

import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.confusion import count_confusion
from hybridseg.dense.augment import AugmentOptions
from hybridseg.dense.crops import CropOptions
from hybridseg.dense.feed import WindowFeed
from hybridseg.dense.fit import FitOptions
from hybridseg.dense.pairs import FolderPairs
from hybridseg.dense.photos import PhotoPairs
from hybridseg.dense.plan import TrainingPlan, make_feeds
from hybridseg.dense.trainer import TrainingPaths, train_dense
from hybridseg.errors import BadInput
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.pairing import Pair
from hybridseg.models.bundles import load_dense
from hybridseg.models.encoders import ENCODERS
from hybridseg.models.fcn import Fcn8s
from hybridseg.models.normalization import Normalization
from hybridseg.models.views import View

# They share a training.
pytestmark = pytest.mark.slow

WINDOWS = TrainingPlan(
    Fcn8s(3, 11), Normalization("photo"), batch_size=3, validation_share=0.5,
    augment=AugmentOptions(rotation=5, flip_cols=True), fit=FitOptions(3, checkpoint_interval=1),
    crops=CropOptions((32, 32), (0.5, 2.0), n_crops=3, balance=True),
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _small(make_small_encoder):
    """A network that is built in no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ENCODERS, "mobilenet_v2", make_small_encoder())
        yield


def read_losses(folder):
    with (folder / "run/log.csv").open() as file:
        return [row["loss"] for row in csv.DictReader(file)]


def train(folder, pairs, *, plan=WINDOWS, epochs=3, **settings):
    paths = TrainingPaths(folder / "net.h5", folder / "run", **settings)
    return train_dense(pairs, replace(plan, fit=replace(plan.fit, epochs=epochs)), paths)


@pytest.fixture(scope="module")
def photos(_coast_originals):
    """Four photos of 64 x 96 with their labels, for windows of 32 x 32."""
    pairs = [Pair(path.with_name(f"{path.stem}_mres.mat"), path) for path in sorted(_coast_originals.glob("*.jpg"))]
    table = ClassTable.from_names(map(str, range(11)))
    return PhotoPairs(pairs, lambda path: read_labelmap(path).labels, table=table, size=(32, 32))


@pytest.fixture(scope="module")
def windowed(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("windowed")
    return folder, train(folder, photos, tensorboard_dir=folder / "tb")


def test_a_training_on_windows_predicts_in_windows(photos, windowed):
    folder, result = windowed
    card = load_dense(folder / "net.h5").card
    assert card.view == View(True, (0.5, 2.0), (64, 96)) and card.size == (32, 32)
    crops = {"crop": [32, 32], "crop_scale": [0.5, 2.0], "n_crops": 3, "balance": True, "scale": None}
    assert card.training["crops"] == crops
    assert (result.n_training, result.n_validation, len(result.photos)) == (2, 2, 2)
    assert all(path.exists() for path in result.written) and len(result.written) == 13
    held_out = [photos.sources.index(name) for name in card.training["held_out"]]
    found = []
    for index in held_out:
        image, labels = photos.read(index)
        # The whole photo in one window, at its own size.
        predicted = result.model.predict(card.normalization.apply(image)[None])[0].argmax(axis=-1)
        found.append(count_confusion(labels, predicted.astype(np.uint8), card.table))
    assert [one.counts.tolist() for one in result.photos] == [one.counts.tolist() for one in found]


def test_a_training_on_windows_resumes_as_if_it_was_never_stopped(photos, windowed, tmp_path):
    train(tmp_path, photos, epochs=2, plots=False)
    train(tmp_path, photos, resume=True, plots=False)
    weights, expected = (
        load_dense(f / "run/checkpoints/CP_epoch3.h5").network.weights for f in (tmp_path, windowed[0])
    )
    assert all(np.array_equal(a, b) for a, b in zip(weights, expected, strict=True))
    assert len(read_losses(tmp_path)) == 3 and read_losses(tmp_path) == read_losses(windowed[0])
    other = replace(WINDOWS, crops=replace(WINDOWS.crops, n_crops=2))
    with pytest.raises(BadInput, match=r"a run with other settings \(crops=.*\); "):
        train(tmp_path, photos, plan=other, epochs=4, resume=True, plots=False)


def test_windows_are_validated_side_by_side_on_photos_of_their_own(photos):
    training, validation = make_feeds(photos, None, WINDOWS)
    assert isinstance(training, WindowFeed) and (training.n_samples, training.batch_size) == (6, 3)
    # All of each photo; the pixels of an epoch, 6 windows of 32 x 32, are just as many as one.
    assert (validation.shape, validation.n_samples, validation.batch_size) == ((64, 96), 2, 1)
    assert not set(training.indices) & set(validation.indices)
    for (images, labels), index in zip(validation.batches(), validation.indices, strict=True):
        image, own = photos.read(index)
        np.testing.assert_allclose(images[0], WINDOWS.normalization.apply(image), atol=1e-5)
        assert np.array_equal(labels[0], own)
    other = make_feeds(photos, renamed(photos), WINDOWS)
    assert [len(feed.indices) for feed in other] == [4, 4]


def renamed(photos):
    """The same photos under other names."""
    others = copy.copy(photos)
    others.sources = [f"other {name}" for name in photos.sources]
    return others


def test_whole_photos_are_known_by_their_size(photos, tmp_path):
    pairs = FolderPairs(photos.pairs, lambda path: read_labelmap(path).labels, table=photos.table, size=(32, 64))
    plan = replace(WINDOWS, crops=CropOptions())
    card = train(tmp_path, pairs, plan=plan, epochs=1, plots=False).model.card
    assert (card.view.windows, card.view.photo) == (False, (64, 96)) and "crops" not in card.training
    assert card.view.scale == pytest.approx((0.577, 0.577), abs=1e-3)


@pytest.mark.parametrize("crops", [CropOptions(balance=True), CropOptions(n_crops=3), CropOptions(crop_scale=(1, 1))])
def test_without_windows_nothing_is_said_about_them(crops):
    with pytest.raises(BadInput, match="are for windows of photos: give --crop"):
        replace(WINDOWS, crops=crops)
