"""Polygons that get another shape: as one change, which can be undone and is on disk."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput
from hybridseg.io.annotations.doodles import Stroke, StrokeLog, read_strokes, write_strokes
from hybridseg.io.annotations.strokes import draw_strokes
from hybridseg.labelling.drawing import Drawing

TABLE = ClassTable.from_names(["water", "sand", "cliff"])
SQUARE = ((10.0, 10.0), (10.0, 30.0), (30.0, 30.0), (30.0, 10.0))
TALL = ((10.0, 10.0), (10.0, 30.0), (38.0, 30.0), (38.0, 10.0))


def polygon(points=SQUARE, class_id=1, **more):
    return Stroke("polygon", class_id, 1.0, points, **more)


def test_a_new_shape_lies_where_the_old_one_lay():
    drawing = Drawing(StrokeLog("a.jpg", (40, 50), TABLE))
    for stroke in (polygon(), Stroke("pen", 2, 6.0, ((20.0, 5.0), (20.0, 45.0)))):
        drawing.add(stroke)
    rows = drawing.add(polygon(TALL, replaces=0))[0]
    seeds = drawing.seeds["scribbles"]
    assert seeds[35, 20] == 2 and seeds[20, 20] == 3 and rows.stop > 38
    drawing.add(polygon(SQUARE[:3], replaces=0))
    assert seeds[28, 12] == seeds[35, 20] == 0 and seeds[12, 28] == 2 and seeds[20, 12] == 3
    # The part that has changed is the old shape and the new one.
    assert drawing.undo()[1][0].stop > 38 and seeds[35, 20] == 2
    assert drawing.undo() and seeds[35, 20] == 0 and seeds[28, 12] == 2
    assert drawing.redo() and seeds[35, 20] == 2 and seeds[20, 20] == 3


CHANGE = st.one_of(
    st.sampled_from(["undo", "redo", "pen"]),
    st.tuples(st.integers(0, 5), st.lists(st.tuples(st.integers(-5, 45), st.integers(-5, 55)), min_size=3, max_size=5)),
)


@settings(deadline=None)
@given(st.lists(CHANGE, max_size=14))
def test_maps_are_always_those_of_the_strokes_that_are_seen(changes):
    drawing = Drawing(StrokeLog("a.jpg", (40, 50), TABLE))
    drawing.add(polygon())
    for change in changes:
        if change in ("undo", "redo"):
            getattr(drawing, change)()
        elif change == "pen":
            drawing.add(Stroke("pen", 2, 5.0, ((15.0, 5.0), (25.0, 45.0))))
        else:
            number, points = change
            strokes = drawing.log.strokes
            known = number < len(strokes) and strokes[number].tool == "polygon" and strokes[number].replaces is None
            drawing.add(polygon(tuple(points), class_id=number % 3, replaces=number if known else None))
        assert (drawing.seeds["scribbles"] == draw_strokes((40, 50), drawing.log.seen)).all()
    # And the same when it is opened again.
    assert (Drawing(drawing.log).seeds["scribbles"] == drawing.seeds["scribbles"]).all()


@pytest.mark.parametrize(
    "strokes",
    [
        (polygon(replaces=0),),
        (polygon(), polygon(replaces=1)),
        (polygon(), polygon(replaces=-1)),
        (Stroke("pen", 0, 1.0, SQUARE), polygon(replaces=0)),
        (polygon(), Stroke("pen", 0, 1.0, SQUARE, replaces=0)),
        (polygon(), polygon(layer="result", replaces=0)),
        (polygon(), polygon(replaces=0), polygon(replaces=1)),
    ],
)
def test_what_cannot_be_replaced_is_refused(strokes):
    with pytest.raises(BadInput, match="replaces"):
        StrokeLog("a.jpg", (40, 50), TABLE, strokes)


def test_shapes_are_read_as_they_were_written(tmp_path):
    log = StrokeLog("a.jpg", (40, 50), TABLE, (polygon(), polygon(TALL, replaces=0)), undone=(polygon(replaces=0),))
    write_strokes(tmp_path / "a_doodles.json", log)
    assert read_strokes(tmp_path / "a_doodles.json") == log
    assert log.seen == (polygon(TALL),)


def test_a_session_reshapes_the_polygon_that_was_meant(session, first, photos):
    record = {"tool": "polygon", "layer": "scribbles", "class": 1, "points": SQUARE}
    session.add_stroke(first, 1, record)
    session.add_stroke(first, 2, {**record, "tool": "pen", "points": [(50, 50)]})
    assert session.describe(first)["polygon"] is None and session.find_polygon(first, "scribbles", 35, 20) is None
    found = session.find_polygon(first, "scribbles", 20, 20)
    assert (found["replaces"], found["class"], found["points"]) == (0, 1, SQUARE)
    change = {"tool": "polygon", "points": TALL, "replaces": 0, "drawn": found["drawn"], "key": "k"}
    session.add_stroke(first, 3, change)
    # Sent again, because its answer was lost: it is not made twice.
    session.add_stroke(first, 3, change)
    log = read_strokes(photos / "a_doodles.json")
    assert [s.replaces for s in log.strokes] == [None, None, 0] and log.strokes[2].class_id == 1
    assert session.describe(first)["polygon"] == {**found, "points": TALL}
    assert session.find_polygon(first, "scribbles", 35, 20)["replaces"] == 0
    with pytest.raises(BadInput, match="no longer there"):
        session.add_stroke(first, 4, {**change, "drawn": 1.0, "key": "l"})
    with pytest.raises(BadInput, match="no longer there"):
        session.add_stroke(first, 4, {**change, "replaces": 7, "key": "m"})
    assert session.describe(first)["version"] == 4
    session.undo(first, 4)
    assert session.find_polygon(first, "scribbles", 20, 20) == found
    assert replace(log, strokes=log.strokes[:2]).seen == log.strokes[:2]
