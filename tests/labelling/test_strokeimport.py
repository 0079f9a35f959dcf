import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from hybridseg.classes import VOID, ClassTable
from hybridseg.errors import BadInput, MissingInput
from hybridseg.io.annotations.doodles import Stroke, StrokeLog, write_strokes
from hybridseg.io.annotations.strokes import draw_stroke
from hybridseg.io.images import write_image
from hybridseg.io.labels.formats import read_labelmap, write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.labelpng import write_labelpng
from hybridseg.labelling import strokeimport
from hybridseg.labelling.strokeimport import import_strokes
from hybridseg.palette import NATURAL_COLORS

SHAPE = (5, 7)


def draw(found, layer: str, shape=SHAPE) -> list[list[int]]:
    """The names are seen as numbers: 0 none, class k is k + 1."""
    canvas = np.zeros(shape, np.uint8)
    for stroke in found.strokes:
        if stroke.layer == layer:
            draw_stroke(canvas, stroke)
    return canvas.tolist()


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


def test_areas_of_labelme_go_to_the_result_and_lines_to_the_scribbles(read_shapes):
    found = read_shapes(
        square("sand", 1, 1, 4, 3),
        {"label": "rock", "shape_type": "point", "points": [[5.5, 3.5]]},
        {"label": "Sand", "shape_type": "line", "points": [[0.5, 0.5], [2.5, 0.5]]},
    )
    assert found.table.names == ("sand", "rock") and found.warnings == ()
    assert draw(found, "result") == [
        [0, 0, 0, 0, 0, 0, 0],
        [0, 1, 1, 1, 0, 0, 0],
        [0, 1, 1, 1, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ]
    # A pen of 3 pixels: what is not farther than 1.5 from the line.
    assert draw(found, "scribbles") == [
        [1, 1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0],
        [0, 0, 0, 0, 2, 2, 2],
        [0, 0, 0, 0, 2, 2, 2],
        [0, 0, 0, 0, 2, 2, 2],
    ]


def test_points_stand_alone_and_a_strip_is_joined(read_shapes):
    ends = [[0.5, 0.5], [6.5, 0.5]]
    points = read_shapes({"label": "a", "shape_type": "points", "points": ends})
    strip = read_shapes({"label": "a", "shape_type": "linestrip", "points": ends})
    assert draw(points, "scribbles")[0] == [1, 1, 0, 0, 0, 1, 1]
    assert draw(strip, "scribbles")[0] == [1] * 7


def test_masks_of_labelme(read_shapes):
    buffer = io.BytesIO()
    Image.fromarray(np.array([[1, 0, 1], [0, 1, 0]], np.uint8)).save(buffer, format="PNG")
    mask = base64.b64encode(buffer.getvalue()).decode()
    found = read_shapes({"label": "a", "shape_type": "mask", "points": [[3, 1], [5, 2]], "mask": mask})
    assert draw(found, "result")[:3] == [[0] * 7, [0, 0, 0, 1, 0, 1, 0], [0, 0, 0, 0, 1, 0, 0]]


@pytest.mark.parametrize("label", ["_background_", "__ignore__", "Ignore"])
def test_what_means_no_class_cuts_out_of_what_lies_below(read_shapes, label):
    hole = square(label, 2, 1, 4, 3)
    corner = {"label": "rock", "shape_type": "point", "points": [[6.5, 4.5]]}
    found = read_shapes(square("sand", 1, 0, 5, 3), hole, corner, square("rock", 3, 2, 6, 4))
    assert found.table.names == ("sand", "rock")
    assert draw(found, "scribbles") == [*[[0] * 7] * 3, *[[0, 0, 0, 0, 0, 2, 2]] * 2]
    assert draw(found, "result") == [
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
    assert draw(read_shapes(dot, line), "scribbles") == [*[[0] * 7] * 3, [0, 0, 1, 1, 1, 0, 0], [0] * 7]


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


def test_the_largest_area_of_coco_lies_lowest(read_json):
    small, large = [[2, 1, 4, 1, 4, 3, 2, 3]], [[1, 0, 6, 0, 6, 4, 1, 4]]
    # What a file says of its areas is not believed.
    found = read_json(make_coco({"segmentation": small, "area": 9e9}, {"category_id": 3, "segmentation": large}))
    assert found.table.names == ("sand", "rock")
    assert draw(found, "result") == [
        [0, 2, 2, 2, 2, 2, 0],
        [0, 2, 1, 1, 2, 2, 0],
        [0, 2, 1, 1, 2, 2, 0],
        [0, 2, 2, 2, 2, 2, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ]


# Packed: 6, 2, 8, then 3 is 2 + 1, and 16 is 8 + 8.
@pytest.mark.parametrize("counts", [[6, 2, 8, 3, 16], "62818"])
def test_run_lengths_of_coco(read_json, counts):
    found = read_json(make_coco({"segmentation": {"size": [5, 7], "counts": counts}, "iscrowd": 1}))
    assert draw(found, "result") == [
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
        make_coco(polygon, categories=[{"id": 5, "name": "a" * 101}]),
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


# Label maps

LABELS = np.array([[0, 0, 1, 1, 1, VOID, 2], [0] * 7, [VOID] * 7, [1] * 7, [2, 0, 2, 0, 2, 0, 2]], np.uint8)
SEEDS = np.array([[0, 3, 0, 0, 0, 0, 0], [0] * 7, [1, 1, 0, 0, 0, 0, 1], [0] * 7, [0] * 7], np.uint8)


@pytest.mark.parametrize("name", ["a.mat", "a.png", "a.tif"])
def test_a_label_map_is_the_same_again(tmp_path, table, name):
    write_labelmap(tmp_path / name, LabelMap(LABELS, table, SEEDS))
    found = import_strokes(tmp_path / name, shape=SHAPE, image_name="a.jpg")
    assert found.table == table and found.warnings == ()
    assert np.array_equal(draw(found, "result"), LABELS + np.uint8(1))
    assert np.array_equal(draw(found, "scribbles"), SEEDS if name == "a.mat" else 0 * SEEDS)
    assert {stroke.tool for stroke in found.strokes} == {"region"}


@settings(deadline=None)
@given(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.sampled_from([0, 1, VOID]))
)
def test_any_label_map_is_the_same_again(tmp_path_factory, labels):
    path = tmp_path_factory.getbasetemp() / "any.png"
    write_labelpng(path, LabelMap(labels, ClassTable.from_names(["a", "b"])))
    found = import_strokes(path, shape=labels.shape, image_name="a.jpg")
    assert np.array_equal(draw(found, "result", labels.shape), labels + np.uint8(1))


def test_the_last_class_of_all(tmp_path):
    table = ClassTable.from_names([f"class {i}" for i in range(255)])
    labels = np.full(SHAPE, 254, np.uint8)
    write_labelmap(tmp_path / "a.mat", LabelMap(labels, table, labels + np.uint8(1)))
    found = import_strokes(tmp_path / "a.mat", shape=SHAPE, image_name="a.jpg")
    assert [(s.layer, s.class_id) for s in found.strokes] == [("scribbles", 254), ("result", 254)]


def test_label_maps_meet_a_table_by_name(tmp_path, table):
    other = ClassTable(("cliff", "Ignore", "water"), ((1, 2, 3), (4, 5, 6), (7, 8, 9)))
    write_labelmap(tmp_path / "a.png", LabelMap(LABELS, other))
    found = import_strokes(tmp_path / "a.png", shape=SHAPE, image_name="a.jpg", table=table)
    assert found.table.names == (*table.names, "Ignore") and found.table.colors[3] == (4, 5, 6)
    assert draw(found, "result")[0] == [3, 3, 4, 4, 4, 0, 1]


def test_ids_take_the_names_of_the_table(tmp_path, table):
    Image.fromarray(LABELS).save(tmp_path / "a.png")
    found = import_strokes(tmp_path / "a.png", shape=SHAPE, image_name="a.jpg", table=table)
    assert np.array_equal(draw(found, "result"), LABELS + np.uint8(1)) and found.table == table
    with pytest.raises(BadInput, match=r"a\.png does not name its classes"):
        import_strokes(tmp_path / "a.png", shape=SHAPE, image_name="a.jpg")
    with pytest.raises(BadInput, match="it was drawn on 5 x 7 pixels"):
        import_strokes(tmp_path / "a.png", shape=(7, 5), image_name="a.jpg", table=table)


def test_too_ragged_maps(tmp_path, table, monkeypatch):
    """Of 6 x 6 pixels in a row-wise pattern each is a run: 36 runs, 72 points."""
    labels = np.tile(np.array([0, 1], np.uint8), (6, 3))
    write_labelmap(tmp_path / "a.png", LabelMap(labels, table))
    monkeypatch.setattr(strokeimport, "MAX_POINTS", 72)
    assert len(import_strokes(tmp_path / "a.png", shape=(6, 6), image_name="a.jpg").strokes) == 2
    monkeypatch.setattr(strokeimport, "MAX_POINTS", 71)
    with pytest.raises(BadInput, match=r"a\.png: it is too ragged.*majority filter.*make-labels"):
        import_strokes(tmp_path / "a.png", shape=(6, 6), image_name="a.jpg")


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


# Doodler, our own, and what is none of them


def save_doodler(path: Path, **changes) -> None:
    label = (LABELS[..., None] == np.arange(3)).astype(np.uint8)
    np.savez(path, **{"doodles": SEEDS, "label": label, "classes": ["water", "sand", "cliff"], **changes})


def test_doodles_and_labels_of_doodler(tmp_path):
    # Its name tells nothing.
    path = tmp_path / "a.json"
    save_doodler(tmp_path / "a.npz")
    (tmp_path / "a.npz").rename(path)
    found = import_strokes(path, shape=SHAPE, image_name="a.jpg")
    assert found.table.names == ("water", "sand", "cliff")
    assert np.array_equal(draw(found, "scribbles"), SEEDS)
    assert np.array_equal(draw(found, "result"), LABELS + np.uint8(1))
    with pytest.raises(BadInput, match="the image of 7 x 5"):
        import_strokes(path, shape=(7, 5), image_name="a.jpg")


def test_pickled_names_of_doodler_are_taken_from_the_table(tmp_path, table):
    path = tmp_path / "a.npz"
    save_doodler(path, classes=np.array(["x", "y", "z"], object))
    found = import_strokes(path, shape=SHAPE, image_name="a.jpg", table=table)
    assert found.table == table and "taken from the class list" in found.warnings[0]
    assert np.array_equal(draw(found, "result"), LABELS + np.uint8(1))
    with pytest.raises(BadInput, match="or only pickled; give the class list"):
        import_strokes(path, shape=SHAPE, image_name="a.jpg")
    save_doodler(path, classes=["water", "sand"])
    with pytest.raises(BadInput, match="it uses 3 classes, but the names are water, sand"):
        import_strokes(path, shape=SHAPE, image_name="a.jpg")


def test_doodles_of_another_session(tmp_path, table):
    other = ClassTable(("sand", "foam"), ((9, 9, 9), (8, 8, 8)))
    strokes = (
        Stroke("pen", 0, 1.0, ((0.0, 0.0), (0.0, 6.0)), 5.0),
        Stroke("erase", 0, 1.0, ((0.0, 2.0),), 6.0),
        Stroke("region", 1, 1.0, ((2.0, 1.0), (2.0, 3.0)), 7.0, layer="result"),
    )
    write_strokes(tmp_path / "a.json", StrokeLog("a.jpg", SHAPE, other, strokes))
    found = import_strokes(tmp_path / "a.json", shape=SHAPE, image_name="a.jpg", table=table)
    assert draw(found, "scribbles")[0] == [2, 2, 0, 2, 2, 2, 2]
    assert draw(found, "result")[2] == [0, 4, 4, 4, 0, 0, 0]
    assert [stroke.time for stroke in found.strokes] == [5.0, 6.0, 7.0]
    with pytest.raises(BadInput, match="it was drawn on 5 x 7"):
        import_strokes(tmp_path / "a.json", shape=(9, 9), image_name="a.jpg")


@pytest.mark.parametrize(("name", "content"), [
    ("a.json", b""), ("a.png", b""), ("a.txt", b"hello"), ("a.jpg", b"\xff\xd8\xff"), ("a.json", b"hello"),
    ("a.json", b"{}"), ("a.json", b"[]"), ("a.json", b'{"kind": "hybridseg doodles"}'), ("a.json", b'{"shapes": 5}'),
    ("a.json", b'{"images": 5, "annotations": []}'), ("a.npz", b"PK\x03\x04"), ("a.npz", b"PK\x05\x06" + b"\0" * 18),
    ("a.mat", b"MATLAB 7.3"), ("a.png", b"\x89PNG\r\n\x1a\n"), ("a.tif", b"II*\0"), ("a.mat", b"\0" * 500),
    ("a.png", b"[" * 5000),
])  # fmt: skip
def test_files_that_are_none_of_these(tmp_path, table, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BadInput, match=name):
        import_strokes(path, shape=SHAPE, image_name="a.jpg", table=table)


def test_files_that_are_not_there_or_far_too_large(tmp_path, table):
    with pytest.raises(MissingInput):
        import_strokes(tmp_path / "a.json", shape=SHAPE, image_name="a.jpg")
    with pytest.raises(BadInput, match="is a folder"):
        import_strokes(tmp_path, shape=SHAPE, image_name="a.jpg")
    for name, head in (("a.json", b"{"), ("a.npz", b"PK\x03\x04"), ("a.mat", b"MATLAB")):
        with (tmp_path / name).open("wb") as file:
            file.write(head)
            file.truncate(200_000_001)
        with pytest.raises(BadInput, match="larger than 200 MB"):
            import_strokes(tmp_path / name, shape=SHAPE, image_name="a.jpg")


def test_a_photograph_is_no_label_map(tmp_path, table):
    write_image(tmp_path / "a.png", np.full((*SHAPE, 3), 77, np.uint8))
    with pytest.raises(
        BadInput, match=r"a\.png: 35 pixels \(.*%\) have colours that no class has, such as \(77, 77, 77\); give"
    ):
        import_strokes(tmp_path / "a.png", shape=SHAPE, image_name="a.jpg", table=table)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["size", "counts", "id"]), inner),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["label", "shape_type", "points", "mask", "segmentation", "category_id", "image_id"])),
    st.sampled_from(["polygon", "rectangle", "circle", "mask", "line", "points"]),
    JSON,
    st.sampled_from(["shapes", "annotations", "categories"]),
)
def test_any_json_is_read_or_refused(tmp_path_factory, keys, kind, value, place):
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
        draw(found, "result")


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


@pytest.mark.real
@pytest.mark.slow
def test_a_real_label_map_with_scribbles(real_data):
    path = real_data / "dl_tools" / "mat" / "RGBraster_geotiff_mres.mat"
    labelmap = read_labelmap(path)
    shape = labelmap.labels.shape
    found = import_strokes(path, shape=shape, image_name="RGBraster_geotiff.tif")
    assert found.table == labelmap.table
    assert np.array_equal(draw(found, "result", shape), labelmap.labels + np.uint8(1))
    assert np.array_equal(draw(found, "scribbles", shape), labelmap.seeds)
