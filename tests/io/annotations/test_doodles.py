import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, MissingInput
from hybridseg.io.annotations.doodles import Stroke, StrokeLog, parse_stroke, read_stage, read_strokes, write_strokes

PEN = Stroke("pen", 0, 3.5, ((1.0, 2.25), (-4.0, 7.0)), 1e9)
NUMBER = st.floats(-1e6, 1e6)


@pytest.fixture
def doodles(table):
    polygon = Stroke("polygon", 2, 1.0, ((0.0, 0.0), (5.0, 0.0), (5.0, 5.0)), 12.5)
    return StrokeLog("my photo.jpg", (40, 60), table, (PEN, polygon, Stroke("erase", 0, 9.0, ((2.0, 2.0),))), 61.5)


@pytest.mark.parametrize("name", ["my photo.jpg", "caf\u00e9.jpg", "not utf-8 \udce9.jpg"])
def test_what_is_written_is_read_again(doodles, tmp_path, name):
    named = replace(doodles, image_name=name)
    write_strokes(tmp_path / "a_doodles.json", named)
    assert read_strokes(tmp_path / "a_doodles.json") == named


@given(st.lists(st.tuples(NUMBER, NUMBER), min_size=1, max_size=9), st.floats(0.01, 1e4))
def test_a_stroke_keeps_every_bit(points, width):
    stroke = Stroke("pen", 3, width, tuple(points), 5.0)
    row = {"tool": "pen", "class": 3, "width": width, "time": 5.0, "points": [list(p) for p in points]}
    assert parse_stroke(json.loads(json.dumps(row))) == stroke


@pytest.mark.parametrize("change", [
    {"tool": "spray"}, {"width": 0.0}, {"width": float("nan")}, {"width": 1e9}, {"points": ()},
    {"points": ((float("inf"), 0.0),)}, {"points": ((float("nan"), 0.0),)}, {"time": float("nan")},
    {"tool": "polygon"},
], ids=str)  # fmt: skip
def test_strokes_that_cannot_be_drawn(change):
    with pytest.raises(BadInput):
        replace(PEN, **change)


@pytest.mark.parametrize("class_id", [3, -1])
def test_a_stroke_of_no_class(table, class_id):
    with pytest.raises(BadInput, match=f"has the class {class_id}; the classes are 0 to 2"):
        StrokeLog("a.jpg", (4, 4), table, (replace(PEN, class_id=class_id),))


@pytest.mark.parametrize("change", [
    lambda r: r.pop("strokes"), lambda r: r.update(format=2), lambda r: r.update(kind="other"),
    lambda r: r.update(size=[4]), lambda r: r.update(size="wide"), lambda r: r.update(classes=[]),
    lambda r: r.update(classes=5), lambda r: r.update(strokes=[5]), lambda r: r.update(seconds="long"),
    lambda r: r["strokes"][0].pop("points"), lambda r: r["strokes"][0].update(points=[[1]]),
    lambda r: r["strokes"][0].update(points=[["a", "b"]]), lambda r: r["strokes"][0].update(width=10**400),
])  # fmt: skip
def test_damaged_files(doodles, tmp_path, change):
    path = tmp_path / "a_doodles.json"
    write_strokes(path, doodles)
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    with pytest.raises(BadInput, match=r"a_doodles\.json"):
        read_strokes(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"5", b"{", b"\xff\xfe", b"[" * 100_000])
def test_files_that_are_no_doodles(tmp_path, content):
    path = tmp_path / "a_doodles.json"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"a_doodles\.json"):
        read_strokes(path)
    with pytest.raises(MissingInput):
        read_strokes(tmp_path / "none.json")


def test_undone_strokes_and_the_mark_of_being_done_are_kept(doodles, tmp_path):
    path = tmp_path / "a_doodles.json"
    drawn = replace(doodles, undone=(replace(PEN, layer="result"),), done=True)
    write_strokes(path, drawn)
    assert read_strokes(path) == drawn
    assert read_stage(path) == "done"
    write_strokes(path, doodles)
    assert read_stage(path) == "working"
    assert read_stage(tmp_path / "none.json") == "working"
    imported = replace(doodles, strokes=(replace(PEN, group="a1"),), keys=("k1", "k2"))
    write_strokes(path, imported)
    assert read_strokes(path) == imported and read_stage(path) == "imported"


def test_a_name_cannot_pretend_to_be_done(doodles, tmp_path):
    path = tmp_path / "a_doodles.json"
    write_strokes(path, replace(doodles, image_name='"done": true'))
    assert read_stage(path) == "working"


def test_a_region_is_pairs_of_points():
    with pytest.raises(BadInput, match="pairs"):
        Stroke("region", 0, 1.0, ((0.0, 0.0), (0.0, 1.0), (1.0, 1.0)))


def test_strokes_find_their_classes_by_name(doodles):
    other = ClassTable(("cliff", "new", "Water"), ((1, 1, 1), (2, 2, 2), (3, 3, 3)))
    assert [s.class_id for s in doodles.with_table(other).strokes[:2]] == [2, 0]
    assert doodles.used_ids == [0, 2]
    with pytest.raises(BadInput, match="no class is called 'cliff'"):
        doodles.with_table(ClassTable.from_names(["water", "sand"]))


def test_too_many_points_for_an_image(doodles, monkeypatch):
    monkeypatch.setattr("hybridseg.io.annotations.doodles.MAX_POINTS", 5)
    with pytest.raises(BadInput, match="are not kept for an image"):
        replace(doodles, strokes=(PEN, PEN, PEN))


@pytest.mark.parametrize("size", ["[1000000000, 1000000000]", "[-5, 6]", "[0, 6]", "[1e400, 5]"])
def test_an_image_of_no_size(tmp_path, size):
    """Maps of this size are made of it."""
    path = tmp_path / "a_doodles.json"
    write_strokes(path, StrokeLog("a.jpg", (4, 6), ClassTable.from_names(["water"])))
    path.write_text(re.sub(r"(?s)\[\s*4,\s*6\s*\]", size, path.read_text()))
    with pytest.raises(BadInput):
        read_strokes(path)
