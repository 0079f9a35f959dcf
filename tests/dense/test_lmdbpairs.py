"""A database as pairs, and batches that depend on their number alone."""

import json
import pickle

import numpy as np
import pytest

from hybridseg.dense.lmdbpairs import BatchMaker, LmdbPairs
from hybridseg.dense.policy import Policy, read_policy
from hybridseg.dense.programs.unet import UnetOptions
from hybridseg.errors import BadInput, MissingInput
from hybridseg.io.images import read_image
from hybridseg.io.lmdbstore import DatabaseWriter
from hybridseg.io.samples import Sample, encode_sample
from hybridseg.models.normalization import Normalization


@pytest.fixture
def train_path(cells):
    return cells / "data/train-cells.lmdb"


def make_maker(path, **settings):
    defaults = {"n_classes": 3, "batch_size": 4, "normalization": Normalization("image"), "policy": Policy(), "seed": 0}
    return BatchMaker(path, **{**defaults, **settings})


def make_batch(maker, number):
    images = np.zeros((maker.batch_size, *maker.pairs.size, maker.pairs.n_bands), np.float32)
    labels = np.zeros(images.shape[:3], np.uint8)
    maker.make(number, images, labels)
    return images, labels


def test_pairs_are_those_of_the_files(cells, train_path):
    pairs = LmdbPairs(train_path)
    assert (pairs.size, pairs.n_bands, pairs.dtype) == ((32, 32), 2, np.uint16)
    assert sorted(pairs.sources) == [f"cell_{i:02}" for i in range(8)]
    assert pairs.table.names == ("background", "class 1", "class 2")
    for index, source in enumerate(pairs.sources):
        image, labels = pairs.read(index)
        assert (image == read_image(cells / f"images/{source}.tif")).all() and image.dtype == np.uint16
        assert (labels == read_image(cells / f"masks/{source}.tif")[..., 0]).all() and labels.dtype == np.uint8
    assert pairs.view.windows and pairs.view.photo == (32, 32) and pairs.view.usual_scale == 1


def test_a_number_of_classes(train_path):
    pairs = LmdbPairs(train_path, n_classes=5)
    assert pairs.table.names == ("background", "class 1", "class 2", "class 3", "class 4")
    assert len(set(pairs.table.colors)) == 5 and pairs.fingerprint != LmdbPairs(train_path).fingerprint
    with pytest.raises(BadInput, match=r"train-cells.lmdb: cell_03 has the class id 2, and there are 2 classes: give "
                       r"--number_classes 3 or more"):  # fmt: skip
        LmdbPairs(train_path, n_classes=2)


def test_how_a_network_wants_the_images_of_a_database(train_path):
    """By default each by itself; on an encoder by the mean and deviation of all, which it sees as those of photos."""
    pairs = LmdbPairs(train_path)
    stack = np.stack([pairs.read(i)[0] for i in range(8)]).astype(float)
    plain = {"encoder": "none", "block": "plain"}
    assert UnetOptions(**plain).choose_normalization(pairs) == Normalization("image")
    assert UnetOptions(normalization="image").choose_normalization(pairs) == Normalization("photo")
    rule = UnetOptions(**plain, normalization="dataset").choose_normalization(pairs)
    assert rule.kind == "dataset" and rule.means == pytest.approx(stack.mean((0, 1, 2)))
    assert rule.deviations == pytest.approx(stack.std((0, 1, 2)))
    found = UnetOptions().choose_normalization(pairs).apply(stack[0])
    expected = 0.45 + 0.225 * (stack[0] - stack.mean((0, 1, 2))) / stack.std((0, 1, 2))
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_manifest_that_contradicts_itself(tmp_path, train_path):
    manifest = LmdbPairs(train_path)._database.manifest
    for number, change in enumerate(({"size": [0, 32]}, {"dtype": "object"}, {"pixels": []}, {"sources": 7})):
        path = tmp_path / f"{number}.lmdb"
        writer = DatabaseWriter(path, {}, map_bytes=1 << 20)
        writer.finish({**json.loads(json.dumps(manifest)), **change})
        with pytest.raises(BadInput, match=r"is damaged .*; make it again with unet build-lmdb"):
            LmdbPairs(path)
    with pytest.raises(MissingInput, match="is no LMDB database"):
        LmdbPairs(tmp_path / "none.lmdb")


def test_a_record_of_another_size(tmp_path, train_path):
    writer = DatabaseWriter(tmp_path / "a.lmdb", {}, map_bytes=1 << 20)
    writer.add([encode_sample(Sample(np.zeros((2, 2, 2), np.uint16), np.zeros((2, 2), np.uint8), "a"))] * 8)
    writer.finish(LmdbPairs(train_path)._database.manifest)
    with pytest.raises(BadInput, match=r"a.lmdb \(record 3\) is another one than its manifest says"):
        LmdbPairs(tmp_path / "a.lmdb").read(3)


def test_every_record_comes_once_in_each_turn(train_path):
    maker = make_maker(train_path)
    found = [maker.choose(number) for number in range(6)]
    assert sorted(found[0] + found[1]) == sorted(found[2] + found[3]) == list(range(8))
    assert found[0] + found[1] != found[2] + found[3]
    # A batch may reach into the next turn.
    other = make_maker(train_path, batch_size=3)
    chosen = [index for number in range(8) for index in other.choose(number)]
    assert sorted(chosen[:8]) == sorted(chosen[8:16]) == list(range(8))
    assert make_maker(train_path, seed=1).choose(0) != found[0]


def test_balanced_draws_show_rare_classes_as_often(train_path):
    maker = make_maker(train_path, balance=True, batch_size=300)
    rare = maker.pairs.sources.index("cell_03")
    share = maker.choose(0).count(rare) / 300
    # All of the draws of class 2, and an eighth of the others.
    assert abs(share - (1 / 3 + 2 / 3 / 8)) < 0.09
    plain = make_maker(train_path, batch_size=300).choose(0).count(rare) / 300
    assert abs(plain - 1 / 8) < 0.01
    # Classes that no record has are not drawn.
    assert max(make_maker(train_path, balance=True, n_classes=9).choose(1)) < 8


def test_a_batch_follows_from_its_number(train_path):
    maker = make_maker(train_path, policy=read_policy("nist"))
    images, labels = make_batch(maker, 5)
    assert np.abs(images.mean((1, 2))).max() < 1e-4 and np.allclose(images.std((1, 2)), 1, atol=1e-3)
    again = pickle.loads(pickle.dumps(maker))
    for found, wanted in zip(make_batch(again, 5), (images, labels), strict=True):
        assert (found == wanted).all()
    assert not (make_batch(maker, 6)[0] == images).all() and not (make_batch(maker, 5 + 2)[0] == images).all()
    # What is bright is still what has the class.
    assert images[..., 0][labels == 1].mean() > images[..., 0][labels == 0].mean() + 1
