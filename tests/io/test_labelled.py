from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import hybridseg.io.images as images
from hybridseg.classes import VOID, ClassTable
from hybridseg.errors import BadInput
from hybridseg.io.images import describe_image, load_image, read_image, read_valid, write_image
from hybridseg.io.labelled import check_size, load_labelled
from hybridseg.io.labels.formats import read_labelmap, write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.pairing import Pair

TABLE = ClassTable.from_names(["water", "sand"])


def read_labels(path):
    return read_labelmap(path).labels


def test_labels_are_void_where_the_image_is_transparent(tmp_path):
    rgba = np.full((4, 6, 4), 255, np.uint8)
    rgba[1, 2:, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "a.png")
    write_labelmap(tmp_path / "a_mres.mat", LabelMap(np.ones((4, 6), np.uint8), TABLE))
    image, labels = load_labelled(Pair(tmp_path / "a_mres.mat", tmp_path / "a.png"), read_labels)
    assert np.array_equal(image.pixels, rgba) and image.info.shape == (4, 6)
    assert np.argwhere(labels == VOID).tolist() == [[1, 2], [1, 3], [1, 4], [1, 5]]
    assert (labels[labels != VOID] == 1).all()


def test_labels_of_another_size_are_refused(tmp_path):
    write_image(tmp_path / "a.png", np.zeros((4, 6, 3), np.uint8))
    write_labelmap(tmp_path / "a_mres.mat", LabelMap(np.ones((6, 4), np.uint8), TABLE))
    with pytest.raises(BadInput, match=r"a_mres\.mat has 6 x 4 pixels, but a\.png has 4 x 6; give") as raised:
        load_labelled(Pair(tmp_path / "a_mres.mat", tmp_path / "a.png"), read_labels)
    assert "EXIF" not in str(raised.value)
    turned = replace(describe_image(tmp_path / "a.png"), orientation=6)
    with pytest.raises(BadInput, match=r"turned by its EXIF orientation 6.*; take it away"):
        check_size("a", (6, 4), turned, advice="take it away")


def test_classes_meet_by_name():
    labels = np.array([[0, 1, VOID]], np.uint8)
    other = ClassTable.from_names(["Sand", "dune", "WATER"])
    assert LabelMap(labels, TABLE).labels_as(other).tolist() == [[2, 0, VOID]]
    assert LabelMap(labels, None).labels_as(other) is labels
    with pytest.raises(BadInput, match="sand"):
        LabelMap(labels, TABLE).labels_as(ClassTable.from_names(["water", "cliff"]))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_an_image_is_opened_once(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(np.full((4, 6, 3), 90, np.uint8)).save(path)
    opened = []

    def open_and_count(path):
        opened.append(path)
        return original(path)

    original = images.open_raster
    monkeypatch.setattr(images, "open_raster", open_and_count)
    image = load_image(path)
    assert opened == [path]
    assert image.info == describe_image(path) and image.valid is read_valid(path) is None
    assert np.array_equal(image.pixels, read_image(path))
