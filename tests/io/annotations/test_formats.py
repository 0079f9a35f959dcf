import json

import numpy as np
import pytest

from hybridseg.classes import VOID, ClassTable
from hybridseg.errors import BadInput
from hybridseg.io.annotations.doodles import Stroke, StrokeLog, write_strokes
from hybridseg.io.annotations.formats import read_annotations
from hybridseg.io.annotations.items import Mask, clean_name, find_class
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


def test_names_of_classes():
    assert clean_name("  wet \n sand ") == "wet sand"
    assert find_class("_Background_") is None and find_class("background") == "background"
    for name in ("?!", "", "a" * 101, "a\u0007"):
        with pytest.raises(BadInput, match="not a name for a class"):
            clean_name(name)
