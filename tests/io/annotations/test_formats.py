import json
import os

import numpy as np
import pytest

from hybridseg.classes import VOID, ClassTable
from hybridseg.errors import BadInput
from hybridseg.io.annotations.canvas import Mask
from hybridseg.io.annotations.doodles import Stroke, StrokeLog, write_strokes
from hybridseg.io.annotations.formats import find_json_tool, is_stroke_log, read_annotations
from hybridseg.io.annotations.items import clean_name, find_class
from hybridseg.io.labels.formats import write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap

SHAPE = (2, 3)
TABLE = ClassTable(("water", "sand"), ((0, 0, 255), (255, 255, 0)))
LABELS = np.array([[0, 1, VOID], [1, 1, 0]], np.uint8)
SQUARE = [[0, 0], [2, 0], [2, 2], [0, 2]]


def write_labelme(path):
    path.write_text(json.dumps({"shapes": [{"label": "sand", "points": SQUARE}], "imagePath": "a.jpg"}))


def write_coco(path):
    area = {"image_id": 1, "category_id": 5, "segmentation": [[value for point in SQUARE for value in point]]}
    categories = [{"id": 4, "name": "water"}, {"id": 5, "name": "sand"}]
    image = {"id": 1, "file_name": "a.jpg", "height": 2, "width": 3}
    path.write_text(json.dumps({"images": [image], "categories": categories, "annotations": [area]}))


def write_doodler(path):
    np.savez(path, label=(LABELS[..., None] == np.arange(2)).astype(np.uint8), classes=["water", "sand"])


def write_own(path):
    write_strokes(path, StrokeLog("a.jpg", SHAPE, TABLE, (Stroke("pen", 1, 3.0, ((0.0, 1.0),)),)))


def write_map(path):
    write_labelmap(path, LabelMap(LABELS, TABLE))


@pytest.mark.parametrize(
    ("name", "write", "classes", "kinds"),
    [
        ("a.json", write_labelme, ["sand"], ["polygon"]),
        ("a.json", write_coco, ["water", "sand"], ["polygon"]),
        ("a.npz", write_doodler, ["water", "sand"], ["mask", "mask"]),
        ("a.json", write_own, ["water", "sand"], ["pen"]),
        ("a.mat", write_map, ["water", "sand"], ["mask", "mask"]),
    ],
)
def test_every_format_gives_the_same_shape(tmp_path, name, write, classes, kinds):
    write(tmp_path / name)
    found = read_annotations(tmp_path / name, shape=SHAPE, image_name="a.jpg")
    assert list(found.classes) == classes and found.image_name == "a.jpg" and found.warnings == ()
    assert found.shape == (None if write is write_labelme else SHAPE)
    items = list(found.items)
    assert [item.drawn.tool if isinstance(item.drawn, Stroke) else "mask" for item in items] == kinds
    assert items[-1].name == "sand"
    if isinstance(items[-1].drawn, Mask):
        assert [item.name for item in items] == classes
        assert np.array_equal(items[-1].drawn.pixels, LABELS == 1) and items[-1].drawn.layer == "result"


def test_strokes_of_a_photo_whose_name_is_not_utf8(tmp_path):
    path, image_name = tmp_path / "a_doodles.json", os.fsdecode(b"d\xfcne.jpg")
    write_strokes(path, StrokeLog(image_name, SHAPE, TABLE, (Stroke("pen", 1, 3.0, ((0.0, 1.0),)),)))
    assert b"d\xfcne" in path.read_bytes() and is_stroke_log(path)
    [item] = read_annotations(path, shape=SHAPE, image_name=image_name).items
    assert item.name == "sand"
    # Files of others are text in UTF-8.
    path.write_bytes(b'{"shapes": [{"label": "d\xfcne", "points": [[0, 0], [2, 0], [2, 2]]}], "imagePath": "a.jpg"}')
    assert find_json_tool(path) == "labelme"
    with pytest.raises(BadInput, match="not JSON in UTF-8"):
        read_annotations(path, shape=SHAPE, image_name="a.jpg")


def test_names_of_classes():
    assert clean_name("  wet \n sand ") == "wet sand"
    assert find_class("_Background_") is None and find_class("background") == "background"
    for name in ("?!", "", "a" * 201, "a\u0007", "a\u202eb"):
        with pytest.raises(BadInput, match="the class name"):
            clean_name(name)
