import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput
from hybridseg.io.annotations import canvas as module
from hybridseg.io.annotations.canvas import Canvas
from hybridseg.io.annotations.doodles import Stroke, StrokeLog
from hybridseg.io.annotations.strokes import draw_strokes
from hybridseg.labelling.drawing import Drawing

RUN = st.tuples(st.integers(-2, 12), st.integers(-3, 40), st.integers(-3, 40))
THING = st.tuples(st.lists(RUN, min_size=1, max_size=6), st.integers(0, 255), st.booleans())


def as_runs(runs):
    rows, firsts, lasts = np.array(runs).T
    return rows, firsts, lasts


@settings(deadline=None)
@given(
    st.lists(THING, max_size=12), st.tuples(st.integers(1, 9), st.integers(1, 37)),
    st.tuples(st.integers(0, 3), st.integers(0, 3)), st.sampled_from([1, 64, 1 << 21]), st.sampled_from([1, 4, 999]),
)  # fmt: skip
def test_every_run_lies_on_those_before(things, shape, origin, strip, most):
    """As one run after the other is painted, whatever is painted at a time."""
    expected = np.full(shape, 7, np.uint8)
    for runs, value, by_cols in things:
        (top, left), image = (origin[::-1], expected.T) if by_cols else (origin, expected)
        for row, first, last in runs:
            if 0 <= row - top < len(image):
                image[row - top, max(first - left, 0) : max(last - left + 1, 0)] = value
    found = np.full(shape, 7, np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_STRIP_VALUES", strip)
        patch.setattr(module, "_MOST_RUNS", most)
        with Canvas(found, origin) as canvas:
            for runs, value, by_cols in things:
                canvas.add(as_runs(runs), value, by_cols=by_cols)
    assert np.array_equal(found, expected)


def test_more_things_than_a_byte_can_number():
    seeds = np.zeros((2, 300), np.uint8)
    with Canvas(seeds) as canvas:
        for col in range(300):
            canvas.add(as_runs([(0, col, 299), (1, 0, 299 - col)]), col % 251)
    assert (seeds[0] == np.arange(300) % 251).all() and (seeds[1] == np.arange(299, -1, -1) % 251).all()


def test_what_fails_is_not_painted():
    seeds = np.zeros((2, 3), np.uint8)
    with pytest.raises(KeyError), Canvas(seeds) as canvas:
        canvas.add(as_runs([(0, 0, 2)]), 1)
        raise KeyError
    assert not seeds.any()


def test_a_pen_that_goes_to_and_fro_draws_each_way_once(monkeypatch):
    ways = ((0.0, 0.0), (30.0, 40.0)) * 500
    once = draw_strokes((31, 41), [Stroke("pen", 0, 9.0, ways[:3])])
    monkeypatch.setattr("hybridseg.io.annotations.strokes._RUNS_AT_ONCE", 50)
    monkeypatch.setattr(module, "MAX_TOTAL_RUNS", 100)
    assert np.array_equal(draw_strokes((31, 41), [Stroke("pen", 0, 9.0, ways)]), once) and once.any()


def test_a_drawing_that_would_not_open_again_is_not_drawn(monkeypatch):
    """All that is drawn on one image is limited, and the page says so when it is drawn, not the next day."""
    monkeypatch.setattr(module, "MAX_TOTAL_RUNS", 50)
    drawing = Drawing(StrokeLog("a.jpg", (20, 30), ClassTable.from_names(["water"]), (), 0.0))
    stroke = Stroke("pen", 0, 21.0, ((10.0, 10.0), (10.0, 20.0)))
    for _ in range(2):
        drawing.add(stroke)
    with pytest.raises(BadInput, match="covers the image far too many times over"):
        drawing.add(stroke)
    assert np.array_equal(Drawing(drawing.log).seeds["scribbles"], drawing.seeds["scribbles"])


@pytest.mark.slow
def test_two_thousand_large_polygons_on_twelve_megapixels():
    """Each alone took a tenth of a second; together they take a second or two, and little memory."""
    import time

    around = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    strokes = []
    for i in range(2000):
        rows, cols = 1500 + 1490 * np.sin(around + i), 2000 + 1990 * np.cos(around + i)
        strokes.append(Stroke("polygon", i % 5, 1.0, tuple(zip(rows.tolist(), cols.tolist(), strict=True))))
    # Of this process, because other tests may run beside it.
    began = time.process_time()
    seeds = draw_strokes((3000, 4000), strokes)
    assert time.process_time() - began < 5 and seeds[1500, 2000] == 1999 % 5 + 1
