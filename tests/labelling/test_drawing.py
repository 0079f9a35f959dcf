from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput
from hybridseg.io.annotations import canvas
from hybridseg.io.annotations.doodles import Stroke, StrokeLog
from hybridseg.io.annotations.strokes import draw_strokes
from hybridseg.labelling.drawing import Drawing

TABLE = ClassTable.from_names(["water", "sand", "cliff"])
COORDINATE = st.floats(-10, 60).map(lambda value: round(value * 64) / 64)
STROKE = st.builds(
    Stroke,
    tool=st.sampled_from(["pen", "erase", "polygon"]),
    class_id=st.integers(0, 2),
    width=st.floats(0.5, 20),
    points=st.lists(st.tuples(COORDINATE, COORDINATE), min_size=3, max_size=5).map(tuple),
    layer=st.sampled_from(["scribbles", "result"]),
)


def blank():
    return Drawing(StrokeLog("a.jpg", (40, 50), TABLE))


def check_maps(drawing):
    for layer, values in drawing.seeds.items():
        expected = draw_strokes((40, 50), (s for s in drawing.log.strokes if s.layer == layer))
        assert (values == expected).all()


@settings(deadline=None)
@given(st.lists(st.one_of(STROKE, st.sampled_from(["undo", "redo"])), max_size=12))
def test_maps_are_always_those_of_the_strokes(steps):
    drawing = blank()
    for step in steps:
        before = {layer: values.copy() for layer, values in drawing.seeds.items()}
        if isinstance(step, Stroke):
            layers, bounds = {step.layer}, drawing.add(step)
        else:
            layers, bounds = getattr(drawing, step)() or (set(), (slice(0, 0), slice(0, 0)))
        # Nothing changed outside of what it says.
        for layer, values in drawing.seeds.items():
            if layer in layers:
                before[layer][bounds] = values[bounds]
            assert (before[layer] == values).all()
    check_maps(drawing)


@settings(deadline=None)
@given(st.lists(STROKE, min_size=1, max_size=6))
def test_all_that_was_undone_can_be_redone(strokes):
    drawing = blank()
    for stroke in strokes:
        drawing.add(stroke)
    for _ in strokes:
        assert drawing.undo()
    assert drawing.undo() is None and not any(values.any() for values in drawing.seeds.values())
    for _ in strokes:
        assert drawing.redo()
    assert drawing.redo() is None and drawing.log.strokes == tuple(strokes)
    check_maps(drawing)


@settings(deadline=None)
@given(st.lists(STROKE, max_size=4), st.lists(STROKE, max_size=3))
def test_a_change_can_be_taken_back(kept, dropped):
    drawing = blank()
    for stroke in kept:
        drawing.add(stroke)
    before = drawing.log
    for stroke in dropped:
        drawing.add(stroke)
    drawing.restore(before)
    assert drawing.log == before
    check_maps(drawing)


@settings(deadline=None)
@given(st.lists(STROKE, max_size=4), st.lists(STROKE, max_size=4))
def test_strokes_at_once_are_strokes_one_by_one(before, strokes):
    at_once, one_by_one = blank(), blank()
    for stroke in before:
        at_once.add(stroke)
        one_by_one.add(stroke)
    at_once.add(*strokes)
    for stroke in strokes:
        one_by_one.add(stroke)
    assert at_once.log == one_by_one.log
    check_maps(at_once)


def test_thousands_at_once_are_checked_once(monkeypatch):
    """An import, or its redo, of 12,000 polygons took minutes when all of them were checked again for each."""
    drawing, checks, check = blank(), [], StrokeLog.__post_init__
    monkeypatch.setattr(StrokeLog, "__post_init__", lambda log: (checks.append(len(log.strokes)), check(log)))
    strokes = [Stroke("pen", k % 3, 2.0, ((k % 40, k % 50),), group="a") for k in range(500)]
    drawing.add(*strokes)
    drawing.undo()
    drawing.redo()
    assert len(checks) < 6 and drawing.log.strokes == tuple(strokes)
    check_maps(drawing)


def test_strokes_that_cover_too_much_leave_nothing(monkeypatch):
    monkeypatch.setattr(canvas, "MAX_TOTAL_RUNS", 100)
    monkeypatch.setattr(canvas, "_MOST_THINGS", 3)
    drawing = blank()
    drawing.add(Stroke("pen", 0, 4.0, ((5.0, 5.0),)))
    with pytest.raises(BadInput, match="too many times over"):
        drawing.add(*(Stroke("pen", 1, 4.0, ((5.0, 5.0 + k),)) for k in range(40)))
    assert len(drawing.log.strokes) == 1
    check_maps(drawing)


def test_a_stroke_after_undo_forgets_what_was_undone():
    drawing = blank()
    pen = Stroke("pen", 0, 2.0, ((5.0, 5.0),))
    drawing.add(pen)
    drawing.undo()
    drawing.add(replace(pen, class_id=1))
    assert drawing.redo() is None and drawing.seeds["scribbles"][5, 5] == 2


def test_a_stroke_of_no_class_changes_nothing():
    drawing = blank()
    with pytest.raises(BadInput, match="has the class 7"):
        drawing.add(Stroke("pen", 7, 2.0, ((5.0, 5.0),)))
    assert not drawing.seeds["scribbles"].any() and not drawing.log.strokes


def test_another_list_of_classes():
    drawing = blank()
    drawing.add(Stroke("pen", 2, 2.0, ((5.0, 5.0),)))
    drawing.use_classes(ClassTable.from_names(["cliff", "new"]))
    assert np.unique(drawing.seeds["scribbles"]).tolist() == [0, 1]
    check_maps(drawing)


def test_scribbles_under_what_is_painted_decide_nothing():
    drawing = blank()

    def draw(layer, *points):
        return drawing.add(Stroke(tool="pen", class_id=1, width=3.0, points=points, layer=layer))

    bounds = draw("scribbles", (5.0, 5.0), (5.0, 20.0))
    draw("result", (30.0, 5.0), (30.0, 20.0))
    assert not drawing.hides_scribbles(bounds)
    draw("result", (2.0, 10.0), (20.0, 10.0))
    assert drawing.hides_scribbles(bounds)
