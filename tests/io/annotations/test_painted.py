import json

import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, MissingInput
from hybridseg.io.annotations.painted import paint_annotations

SHAPE = (4, 6)


def box(label, left, right):
    """A polygon over all rows, from one column to another."""
    return {"label": label, "points": [[left, 0], [right, 0], [right, 4], [left, 4]]}


def save(folder, *shapes, **more):
    path = folder / "a.json"
    path.write_text(json.dumps({"shapes": shapes, "imageHeight": 4, "imageWidth": 6, "imagePath": "a.jpg"} | more))
    return path


def test_later_areas_cover_earlier_ones_and_holes_stay_empty(tmp_path):
    path = save(tmp_path, box("sand", 0, 5), box("water", 2, 5), box("_background_", 4, 6), box("sand", 5, 6))
    found = paint_annotations(path, shape=SHAPE, image_name="a.jpg")
    assert found.table.names == ("sand", "water") and found.scribbles is None and found.warnings == ()
    assert found.areas.tolist() == [[1, 1, 2, 2, 0, 1]] * 4


def test_classes_are_those_that_are_wanted(tmp_path):
    path = save(tmp_path, box("Sand", 0, 3), box("water", 3, 6))
    table = ClassTable.from_names(["water", "rock", "sand"])
    found = paint_annotations(path, shape=SHAPE, image_name="a.jpg", table=table)
    assert found.table is table and found.areas.tolist() == [[3, 3, 3, 1, 1, 1]] * 4
    with pytest.raises(BadInput, match="no class is called 'Sand'"):
        paint_annotations(path, shape=SHAPE, image_name="a.jpg", table=ClassTable.from_names(["water"]))


def test_lines_and_areas_lie_on_layers_of_their_own(tmp_path):
    line = {"label": "water", "shape_type": "linestrip", "points": [[0.5, 0.5], [5.5, 0.5]]}
    found = paint_annotations(save(tmp_path, line, box("sand", 0, 6)), shape=SHAPE, image_name="a.jpg")
    assert found.scribbles[0].tolist() == [1] * 6 and not found.scribbles[2:].any() and (found.areas == 2).all()
    assert not found.is_derived


def test_masks_and_what_doodler_derived(tmp_path):
    doodles = np.zeros(SHAPE, np.uint8)
    doodles[1, 2] = 2
    labels = np.ones(SHAPE, np.uint8)
    np.savez(tmp_path / "a.npz", doodles=doodles, label=labels, classes=["water", "sand"])
    found = paint_annotations(tmp_path / "a.npz", shape=SHAPE, image_name="a.jpg")
    assert np.array_equal(found.scribbles, doodles) and np.array_equal(found.areas, labels + 1) and found.is_derived
    np.savez(tmp_path / "a.npz", label=labels, classes=["water", "sand"])
    assert not paint_annotations(tmp_path / "a.npz", shape=SHAPE, image_name="a.jpg").is_derived


def test_another_image_is_refused_or_told(tmp_path):
    path = save(tmp_path, box("sand", 0, 3), imagePath="b.jpg")
    found = paint_annotations(path, shape=SHAPE, image_name="a.jpg")
    assert found.warnings == ("it was drawn on b.jpg, but this is a.jpg",)
    with pytest.raises(BadInput, match=r"a.json: it was drawn on 4 x 6 pixels .*, but the image has 4 x 7"):
        paint_annotations(path, shape=(4, 7), image_name="a.jpg")
    with pytest.raises(BadInput, match="it names no class"):
        paint_annotations(save(tmp_path), shape=SHAPE, image_name="a.jpg")
    with pytest.raises(MissingInput):
        paint_annotations(tmp_path / "none.json", shape=SHAPE, image_name="a.jpg")
