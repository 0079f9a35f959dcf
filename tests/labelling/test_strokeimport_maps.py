"""Label maps, results of Doodler and our own as strokes, and files that are none of these."""

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
from hybridseg.io.images import write_image
from hybridseg.io.labels.formats import read_labelmap, write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.labelpng import write_labelpng
from hybridseg.labelling import strokeimport
from hybridseg.labelling.strokeimport import import_strokes

LABELS = np.array([[0, 0, 1, 1, 1, VOID, 2], [0] * 7, [VOID] * 7, [1] * 7, [2, 0, 2, 0, 2, 0, 2]], np.uint8)
SEEDS = np.array([[0, 3, 0, 0, 0, 0, 0], [0] * 7, [1, 1, 0, 0, 0, 0, 1], [0] * 7, [0] * 7], np.uint8)
SHAPE = LABELS.shape


@pytest.mark.parametrize("name", ["a.mat", "a.png", "a.tif"])
def test_a_label_map_is_the_same_again(draw_layer, tmp_path, table, name):
    write_labelmap(tmp_path / name, LabelMap(LABELS, table, SEEDS))
    found = import_strokes(tmp_path / name, shape=SHAPE, image_name="a.jpg")
    assert found.table == table and found.warnings == ()
    assert np.array_equal(draw_layer(found, "result"), LABELS + np.uint8(1))
    assert np.array_equal(draw_layer(found, "scribbles"), SEEDS if name == "a.mat" else 0 * SEEDS)
    assert {stroke.tool for stroke in found.strokes} == {"region"}


@pytest.mark.parametrize(
    ("name", "made_by", "is_drawn"),
    [
        ("a_ares_96.mat", None, False),
        ("a.mat", '{"command": "semseg", "models": []}', False),
        ("a_mres.mat", '{"command": "label", "suggested_by": {"models": []}}', True),
        ("a_mres.mat", "by hand", True),
    ],
)
def test_seeds_of_a_model_are_no_scribbles(draw_layer, tmp_path, table, name, made_by, is_drawn):
    """Nobody drew the tiles of the hybrid method; what a person drew stays."""
    write_labelmap(tmp_path / name, LabelMap(LABELS, table, SEEDS, made_by=made_by))
    found = import_strokes(tmp_path / name, shape=SHAPE, image_name="a.jpg")
    assert np.array_equal(draw_layer(found, "result"), LABELS + np.uint8(1))
    assert np.array_equal(draw_layer(found, "scribbles"), SEEDS if is_drawn else 0 * SEEDS)


@settings(deadline=None)
@given(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.sampled_from([0, 1, VOID]))
)
def test_any_label_map_is_the_same_again(draw_layer, tmp_path_factory, labels):
    path = tmp_path_factory.getbasetemp() / "any.png"
    write_labelpng(path, LabelMap(labels, ClassTable.from_names(["a", "b"])))
    found = import_strokes(path, shape=labels.shape, image_name="a.jpg")
    assert np.array_equal(draw_layer(found, "result", labels.shape), labels + np.uint8(1))


def test_the_last_class_of_all(tmp_path):
    table = ClassTable.from_names([f"class {i}" for i in range(255)])
    labels = np.full(SHAPE, 254, np.uint8)
    write_labelmap(tmp_path / "a.mat", LabelMap(labels, table, labels + np.uint8(1)))
    found = import_strokes(tmp_path / "a.mat", shape=SHAPE, image_name="a.jpg")
    assert [(s.layer, s.class_id) for s in found.strokes] == [("scribbles", 254), ("result", 254)]


def test_label_maps_meet_a_table_by_name(draw_layer, tmp_path, table):
    other = ClassTable(("cliff", "Ignore", "water"), ((1, 2, 3), (4, 5, 6), (7, 8, 9)))
    write_labelmap(tmp_path / "a.png", LabelMap(LABELS, other))
    found = import_strokes(tmp_path / "a.png", shape=SHAPE, image_name="a.jpg", table=table)
    assert found.table.names == (*table.names, "Ignore") and found.table.colors[3] == (4, 5, 6)
    assert draw_layer(found, "result")[0] == [3, 3, 4, 4, 4, 0, 1]


def test_ids_take_the_names_of_the_table(draw_layer, tmp_path, table):
    Image.fromarray(LABELS).save(tmp_path / "a.png")
    found = import_strokes(tmp_path / "a.png", shape=SHAPE, image_name="a.jpg", table=table)
    assert np.array_equal(draw_layer(found, "result"), LABELS + np.uint8(1)) and found.table == table
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


# Doodler, our own, and what is none of them


def save_doodler(path: Path, **changes) -> None:
    label = (LABELS[..., None] == np.arange(3)).astype(np.uint8)
    np.savez(path, **{"doodles": SEEDS, "label": label, "classes": ["water", "sand", "cliff"], **changes})


def test_doodles_and_labels_of_doodler(draw_layer, tmp_path):
    # Its name tells nothing.
    path = tmp_path / "a.json"
    save_doodler(tmp_path / "a.npz")
    (tmp_path / "a.npz").rename(path)
    found = import_strokes(path, shape=SHAPE, image_name="a.jpg")
    assert found.table.names == ("water", "sand", "cliff")
    assert np.array_equal(draw_layer(found, "scribbles"), SEEDS)
    assert np.array_equal(draw_layer(found, "result"), LABELS + np.uint8(1))
    with pytest.raises(BadInput, match="the image of 7 x 5"):
        import_strokes(path, shape=(7, 5), image_name="a.jpg")


def test_pickled_names_of_doodler_are_taken_from_the_table(draw_layer, tmp_path, table):
    path = tmp_path / "a.npz"
    save_doodler(path, classes=np.array(["x", "y", "z"], object))
    found = import_strokes(path, shape=SHAPE, image_name="a.jpg", table=table)
    assert found.table == table and "taken from the class list" in found.warnings[0]
    assert np.array_equal(draw_layer(found, "result"), LABELS + np.uint8(1))
    with pytest.raises(BadInput, match="or only pickled; give the class list"):
        import_strokes(path, shape=SHAPE, image_name="a.jpg")
    save_doodler(path, classes=["water", "sand"])
    with pytest.raises(BadInput, match="it uses 3 classes, but the names are water, sand"):
        import_strokes(path, shape=SHAPE, image_name="a.jpg")


def test_doodles_of_another_session(draw_layer, tmp_path, table):
    other = ClassTable(("sand", "foam"), ((9, 9, 9), (8, 8, 8)))
    strokes = (
        Stroke("pen", 0, 1.0, ((0.0, 0.0), (0.0, 6.0)), 5.0),
        Stroke("erase", 0, 1.0, ((0.0, 2.0),), 6.0),
        Stroke("region", 1, 1.0, ((2.0, 1.0), (2.0, 3.0)), 7.0, layer="result"),
    )
    write_strokes(tmp_path / "a.json", StrokeLog("a.jpg", SHAPE, other, strokes))
    found = import_strokes(tmp_path / "a.json", shape=SHAPE, image_name="a.jpg", table=table)
    assert draw_layer(found, "scribbles")[0] == [2, 2, 0, 2, 2, 2, 2]
    assert draw_layer(found, "result")[2] == [0, 4, 4, 4, 0, 0, 0]
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
        BadInput, match=r"a\.png: .*% of the pixels \(35\) have colours that no class has, such as \(77, 77, 77\); give"
    ):
        import_strokes(tmp_path / "a.png", shape=SHAPE, image_name="a.jpg", table=table)


@pytest.mark.real
@pytest.mark.slow
def test_a_real_label_map_with_scribbles(draw_layer, real_data):
    path = real_data / "dl_tools" / "mat" / "RGBraster_geotiff_mres.mat"
    labelmap = read_labelmap(path)
    shape = labelmap.labels.shape
    found = import_strokes(path, shape=shape, image_name="RGBraster_geotiff.tif")
    assert found.table == labelmap.table
    assert np.array_equal(draw_layer(found, "result", shape), labelmap.labels + np.uint8(1))
    assert np.array_equal(draw_layer(found, "scribbles", shape), labelmap.seeds)
