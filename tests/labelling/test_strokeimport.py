import base64
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput
from hybridseg.io.annotations.strokes import draw_stroke
from hybridseg.labelling import strokeimport
from hybridseg.labelling.strokeimport import import_strokes
from hybridseg.palette import NATURAL_COLORS

SHAPE = (5, 7)


def square(label: str, left: int, top: int, right: int, bottom: int, **changes) -> dict:
    points = [[left, top], [right, top], [right, bottom], [left, bottom]]
    return {"label": label, "shape_type": "polygon", "points": points, **changes}


@pytest.fixture
def read_json(tmp_path):
    """Write a record and read it as strokes of ``a.jpg``, 5 x 7."""

    def read(record, **settings):
        path = tmp_path / "a.json"
        path.write_text(json.dumps(record))
        return import_strokes(path, **{"shape": SHAPE, "image_name": "a.jpg", **settings})

    return read


@pytest.fixture
def read_shapes(read_json):
    def read(*shapes, **settings):
        return read_json({"shapes": list(shapes), "imageHeight": 5, "imageWidth": 7}, **settings)

    return read


def make_coco(*annotations, **changes) -> dict:
    return {
        "images": [{"id": 1, "file_name": "x/a.jpg", "height": 5, "width": 7}, {"id": 2, "file_name": "b.jpg"}],
        "categories": [{"id": 5, "name": "sand"}, {"id": 3, "name": "rock"}, {"id": 9, "name": "__background__"}],
        "annotations": [{"image_id": 1, "category_id": 5, **annotation} for annotation in annotations],
        **changes,
    }


# labelme


def test_areas_of_labelme_go_to_the_result_and_lines_to_the_scribbles(draw_layer, read_shapes):
    found = read_shapes(
        square("sand", 1, 1, 4, 3),
        {"label": "rock", "shape_type": "point", "points": [[5.5, 3.5]]},
        {"label": "Sand", "shape_type": "line", "points": [[0.5, 0.5], [2.5, 0.5]]},
    )
    assert found.table.names == ("sand", "rock") and found.warnings == ()
    assert draw_layer(found, "result") == [
        [0, 0, 0, 0, 0, 0, 0],
        [0, 1, 1, 1, 0, 0, 0],
        [0, 1, 1, 1, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ]
    # A pen of 3 pixels: what is not farther than 1.5 from the line.
    assert draw_layer(found, "scribbles") == [
        [1, 1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0],
        [0, 0, 0, 0, 2, 2, 2],
        [0, 0, 0, 0, 2, 2, 2],
        [0, 0, 0, 0, 2, 2, 2],
    ]


def test_points_stand_alone_and_a_strip_is_joined(draw_layer, read_shapes):
    ends = [[0.5, 0.5], [6.5, 0.5]]
    points = read_shapes({"label": "a", "shape_type": "points", "points": ends})
    strip = read_shapes({"label": "a", "shape_type": "linestrip", "points": ends})
    assert draw_layer(points, "scribbles")[0] == [1, 1, 0, 0, 0, 1, 1]
    assert draw_layer(strip, "scribbles")[0] == [1] * 7


def test_masks_of_labelme(draw_layer, read_shapes):
    buffer = io.BytesIO()
    Image.fromarray(np.array([[1, 0, 1], [0, 1, 0]], np.uint8)).save(buffer, format="PNG")
    mask = base64.b64encode(buffer.getvalue()).decode()
    found = read_shapes({"label": "a", "shape_type": "mask", "points": [[3, 1], [5, 2]], "mask": mask})
    assert draw_layer(found, "result")[:3] == [[0] * 7, [0, 0, 0, 1, 0, 1, 0], [0, 0, 0, 0, 1, 0, 0]]


@pytest.mark.parametrize("label", ["_background_", "__ignore__", "Ignore"])
def test_what_means_no_class_cuts_out_of_what_lies_below(draw_layer, read_shapes, label):
    hole = square(label, 2, 1, 4, 3)
    corner = {"label": "rock", "shape_type": "point", "points": [[6.5, 4.5]]}
    found = read_shapes(square("sand", 1, 0, 5, 3), hole, corner, square("rock", 3, 2, 6, 4))
    assert found.table.names == ("sand", "rock")
    assert draw_layer(found, "scribbles") == [*[[0] * 7] * 3, *[[0, 0, 0, 0, 0, 2, 2]] * 2]
    assert draw_layer(found, "result") == [
        [0, 1, 1, 1, 1, 0, 0],
        [0, 1, 0, 0, 1, 0, 0],
        [0, 1, 0, 2, 2, 2, 0],
        [0, 0, 0, 2, 2, 2, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ]
    # With nothing below it, it changes nothing.
    assert [s.tool for s in read_shapes(hole, square("rock", 3, 2, 6, 4)).strokes] == ["polygon"]
    line = {"label": label, "shape_type": "line", "points": [[0, 1.5], [7, 1.5]]}
    dot = {"label": "a", "shape_type": "point", "points": [[3.5, 2.5]]}
    assert draw_layer(read_shapes(dot, line), "scribbles") == [*[[0] * 7] * 3, [0, 0, 1, 1, 1, 0, 0], [0] * 7]


def test_a_class_that_is_called_background_is_one(read_shapes):
    assert read_shapes(square("background", 1, 1, 4, 3)).table.names == ("background",)


def test_labelme_of_another_size_or_image(read_json):
    record = {"shapes": [square("sand", 1, 1, 4, 3)], "imageHeight": 7, "imageWidth": 5}
    with pytest.raises(BadInput, match="it was drawn on 7 x 5 pixels"):
        read_json(record)
    found = read_json({**record, "imageHeight": 5, "imageWidth": 7, "imagePath": "../b.jpg"})
    assert found.warnings == ("it was drawn on b.jpg, but this is a.jpg",)
    assert "does not say the size" in read_json({"shapes": record["shapes"]}).warnings[0]


def test_shapes_of_too_few_points_are_left_out(read_shapes):
    flat = {"label": "a", "points": [[1, 1], [2, 2]]}
    empty = {"label": "a", "shape_type": "line", "points": []}
    found = read_shapes(flat, square("sand", 1, 1, 4, 3), empty)
    assert len(found.strokes) == 1
    assert found.warnings == ("2 of its shapes have too few points and were left out",)


def test_an_error_names_the_shape(read_shapes):
    with pytest.raises(BadInput, match=r"a\.json: shape 2: a point of a stroke is not a position"):
        read_shapes(square("a", 0, 0, 3, 3), square("a", 0, 0, 10**8, 3))


# COCO


def test_the_largest_area_of_coco_lies_lowest(draw_layer, read_json):
    small, large = [[2, 1, 4, 1, 4, 3, 2, 3]], [[1, 0, 6, 0, 6, 4, 1, 4]]
    # What a file says of its areas is not believed.
    found = read_json(make_coco({"segmentation": small, "area": 9e9}, {"category_id": 3, "segmentation": large}))
    assert found.table.names == ("sand", "rock")
    assert draw_layer(found, "result") == [
        [0, 2, 2, 2, 2, 2, 0],
        [0, 2, 1, 1, 2, 2, 0],
        [0, 2, 1, 1, 2, 2, 0],
        [0, 2, 2, 2, 2, 2, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ]


# Packed: 6, 2, 8, then 3 is 2 + 1, and 16 is 8 + 8.
@pytest.mark.parametrize("counts", [[6, 2, 8, 3, 16], "62818"])
def test_run_lengths_of_coco(draw_layer, read_json, counts):
    found = read_json(make_coco({"segmentation": {"size": [5, 7], "counts": counts}, "iscrowd": 1}))
    assert draw_layer(found, "result") == [
        [0, 0, 0, 0, 0, 0, 0],
        [0, 1, 0, 1, 0, 0, 0],
        [0, 1, 0, 1, 0, 0, 0],
        [0, 0, 0, 1, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ]
    with pytest.raises(BadInput, match="it was drawn on 7 x 5 pixels"):
        read_json(make_coco({"segmentation": {"size": [7, 5], "counts": [6, 2, 27]}}))


def test_only_this_image_of_coco(read_json):
    polygon = {"segmentation": [[1, 1, 4, 1, 4, 3, 1, 3]]}
    record = make_coco(
        polygon, {**polygon, "image_id": 2}, {"segmentation": []}, {"segmentation": "broken", "image_id": 2}
    )
    found = read_json(record)
    assert len(found.strokes) == 1
    assert found.warnings == ("1 of its annotations have no area (only a box, or nothing) and were left out",)
    with pytest.raises(BadInput, match=r"no image c\.jpg; its images are x/a\.jpg, b\.jpg"):
        read_json(record, image_name="c.jpg")
    found = read_json(make_coco())
    assert found.strokes == () and found.warnings == ("it has no labels for this image",)


def test_annotations_that_do_not_fit(read_json):
    polygon = {"segmentation": [[1, 1, 4, 1, 4, 3, 1, 3]]}
    for record in (
        make_coco({**polygon, "category_id": 77}),
        make_coco(polygon, images=[{"id": 1, "file_name": "a.jpg", "height": 6, "width": 7}]),
        make_coco(polygon, categories=[{"id": 5, "name": "?!"}]),
        make_coco(polygon, categories=[{"id": 5, "name": "a" * 201}]),
        make_coco(polygon, categories=[{"id": 5, "name": "a\ud800"}]),
        make_coco({"segmentation": [[1, 1, 4, 1], ["a"] * 8]}),
    ):
        with pytest.raises(BadInput, match=r"a\.json: "):
            read_json(record)


def test_more_categories_than_classes(read_json):
    names = [{"id": i, "name": f"class {i}"} for i in range(300)]
    found = read_json(make_coco({"segmentation": [[1, 1, 4, 1, 4, 3, 1, 3]]}, categories=names))
    assert found.table.names == ("class 5",)


# Classes


def test_classes_meet_by_name_and_new_ones_come_last(read_shapes, table):
    found = read_shapes(
        square("SAND", 0, 0, 1, 1), square("dune_veg", 1, 1, 2, 2), square("Dune veg", 2, 2, 3, 3), table=table
    )
    assert [s.class_id for s in found.strokes] == [1, 3, 3]
    assert found.table.names == (*table.names, "dune_veg") and found.table.colors[:3] == table.colors
    assert len(set(found.table.colors)) == 4
    assert found.warnings == ("dune_veg is a new class at the end of the list",)


def test_a_new_class_has_a_colour_of_its_own(read_shapes):
    beach = NATURAL_COLORS["beach"]
    found = read_shapes(square("beach", 0, 0, 1, 1), square("x", 0, 0, 1, 1), table=ClassTable(("a",), (beach,)))
    assert len(set(found.table.colors)) == 3
    assert read_shapes(square("beach", 0, 0, 1, 1)).table.colors == (beach,)
    assert found.warnings == ("beach, x are new classes at the end of the list",)


def test_classes_of_the_file_that_are_not_used_are_not_added(read_json, table):
    found = read_json(make_coco({"segmentation": [[1, 1, 4, 1, 4, 3, 1, 3]]}), table=table)
    assert found.table == table and found.strokes[0].class_id == 1


def test_too_many_classes(read_shapes):
    full = ClassTable.from_names([f"class {i}" for i in range(255)])
    assert read_shapes(square("class 7", 0, 0, 1, 1), table=full).strokes[0].class_id == 7
    with pytest.raises(BadInput, match="there are 256, but the limit is 255"):
        read_shapes(square("one more", 0, 0, 1, 1), table=full)
    with pytest.raises(BadInput, match="there are 300, but the limit is 255"):
        read_shapes(*(square(f"class {i}", 0, 0, 1, 1) for i in range(300)))


def test_no_class_at_all(read_shapes, table):
    with pytest.raises(BadInput, match="names no class; give a class list"):
        read_shapes()
    assert read_shapes(table=table).table == table


# Files without end, and of any content


def test_the_points_of_a_file_are_counted_together(read_shapes, monkeypatch):
    shapes = [square("a", 0, 0, 2, 2)] * 3
    monkeypatch.setattr(strokeimport, "MAX_POINTS", 12)
    assert len(read_shapes(*shapes).strokes) == 3
    with pytest.raises(BadInput, match="too ragged"):
        read_shapes(*shapes, square("a", 0, 0, 2, 2))
    monkeypatch.setattr(strokeimport, "MAX_STROKES", 2)
    with pytest.raises(BadInput, match="more than 2 areas and lines"):
        read_shapes(*shapes)


def test_masks_that_cover_the_image_without_end(read_json, monkeypatch):
    monkeypatch.setattr(strokeimport, "_MAX_COVERS", 2)
    everything = {"segmentation": {"size": [5, 7], "counts": [0, 35]}}
    assert len(read_json(make_coco(*[everything] * 2)).strokes) == 2
    with pytest.raises(BadInput, match="cover the image"):
        read_json(make_coco(*[everything] * 3))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["size", "counts", "id"]), inner),
    max_leaves=12,
)


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["label", "shape_type", "points", "mask", "segmentation", "category_id", "image_id"])),
    st.sampled_from(["polygon", "rectangle", "circle", "mask", "line", "points"]),
    JSON,
    st.sampled_from(["shapes", "annotations", "categories"]),
)
def test_any_json_is_read_or_refused(draw_layer, tmp_path_factory, keys, kind, value, place):
    path = tmp_path_factory.getbasetemp() / "any.json"
    shape = {**square("sand", 1, 1, 4, 3, shape_type=kind), **dict.fromkeys(keys, value)}
    annotation = {"segmentation": [[1, 1, 4, 1, 4, 3]], **dict.fromkeys(keys, value)}
    records = {
        "shapes": {"shapes": [shape]},
        "annotations": make_coco(annotation),
        "categories": make_coco(categories=[value], images=[value]),
    }
    path.write_text(json.dumps(records[place]))
    try:
        found = import_strokes(path, shape=SHAPE, image_name="a.jpg")
    except BadInput as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)
    else:
        draw_layer(found, "result")


# Real files


@pytest.mark.real
def test_real_buildings(real_data):
    path = real_data / "geotiff" / "coco_sample_2.json"
    found = import_strokes(path, shape=(900, 900), image_name="sample_geotiff.tif")
    assert len(found.strokes) == 43 and found.table.names == ("1", "0") and found.warnings == ()
    stated = sum(row["area"] for row in json.loads(path.read_text())["annotations"])
    n_drawn = 0
    for stroke in found.strokes:
        canvas = np.zeros((900, 900), np.uint8)
        draw_stroke(canvas, stroke)
        n_drawn += np.count_nonzero(canvas)
    assert n_drawn == pytest.approx(stated, rel=0.005)
    with pytest.raises(BadInput, match=r"its images are sample_geotiff\.tif$"):
        import_strokes(path, shape=(900, 900), image_name="other.tif")
