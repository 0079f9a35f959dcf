import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hybridseg.errors import BadInput
from hybridseg.io.annotations import strokes
from hybridseg.io.annotations.doodles import Stroke
from hybridseg.io.annotations.strokes import draw_stroke, draw_strokes, find_area, find_bounds, mask_to_points


def pen(*points, width=1.0, class_id=0):
    return Stroke("pen", class_id, width, points)


def test_a_dot_is_a_disk():
    assert draw_strokes((5, 5), [pen((2.0, 2.0), width=4.0)]).tolist() == [
        [0, 0, 1, 0, 0],
        [0, 1, 1, 1, 0],
        [1, 1, 1, 1, 1],
        [0, 1, 1, 1, 0],
        [0, 0, 1, 0, 0],
    ]


def test_later_strokes_cover_earlier_ones_and_the_eraser_takes_away():
    seeds = draw_strokes((1, 6), [
        pen((0.0, 0.0), (0.0, 5.0)),
        pen((0.0, 1.0), (0.0, 2.0), class_id=4),
        Stroke("erase", 0, 1.0, ((0.0, 5.0),)),
    ])  # fmt: skip
    assert seeds.tolist() == [[1, 5, 5, 1, 1, 0]]


def test_the_thinnest_pen_leaves_no_gap():
    seeds = draw_strokes((40, 40), [pen((0.0, 0.0), (39.0, 13.0), width=0.01)])
    assert (seeds.sum(axis=1) >= 1).all()


def test_outside_of_the_image_nothing_is_drawn():
    assert not draw_strokes((5, 5), [pen((-50.0, 2.0), (-20.0, 2.0), width=9.0), pen((90.0, 90.0))]).any()
    through = draw_strokes((5, 5), [pen((2.0, -1e6), (2.0, 1e6))])
    assert through.tolist() == [[0] * 5, [0] * 5, [1] * 5, [0] * 5, [0] * 5]


def test_a_polygon_is_filled_and_a_hole_of_it_is_not():
    square = Stroke("polygon", 1, 1.0, ((1.0, 1.0), (1.0, 4.0), (3.0, 4.0), (3.0, 1.0)))
    assert draw_strokes((5, 6), [square]).tolist() == [
        [0, 0, 0, 0, 0, 0],
        [0, 2, 2, 2, 2, 0],
        [0, 2, 2, 2, 2, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
    ]
    bow = Stroke("polygon", 0, 1.0, ((0.0, 0.0), (8.0, 8.0), (8.0, 0.0), (0.0, 8.0)))
    drawn = draw_strokes((9, 9), [bow])
    assert drawn[1, 4] == drawn[7, 4] == 1 and drawn[4, 1] == drawn[4, 7] == 0


def test_a_polygon_covers_the_pixels_whose_centres_are_inside():
    box = Stroke("polygon", 0, 1.0, ((-0.5, 0.6), (-0.5, 3.4), (2.5, 3.4), (2.5, 0.6)))
    assert draw_strokes((3, 5), [box]).tolist() == [[0, 1, 1, 1, 0]] * 3


COORDINATE = st.floats(-20, 60)


@settings(deadline=None)
@given(st.lists(st.tuples(COORDINATE, COORDINATE), min_size=1, max_size=4), st.floats(0.1, 30))
def test_pixels_are_those_within_the_radius(points, width):
    found = draw_strokes((40, 50), [pen(*points, width=width)]) > 0
    row, col = np.mgrid[:40, :50]
    nearest = np.full((40, 50), np.inf)
    for (r0, c0), (r1, c1) in zip(points, points[1:] or points[:1], strict=False):
        length = (r1 - r0) ** 2 + (c1 - c0) ** 2
        share = np.clip(((row - r0) * (r1 - r0) + (col - c0) * (c1 - c0)) / length, 0, 1) if length > 1e-300 else 0.0
        nearest = np.minimum(nearest, np.hypot(row - r0 - share * (r1 - r0), col - c0 - share * (c1 - c0)))
    radius = max(width / 2, 0.5)
    assert found[nearest < radius - 1e-6].all() and not found[nearest > radius + 1e-6].any()


@pytest.mark.parametrize("tool", ["pen", "polygon"])
def test_one_stroke_after_the_other_is_the_same_as_all_at_once(tool):
    rng = np.random.default_rng(0)
    strokes = [
        Stroke(tool, i % 3, 5.0, tuple((float(r), float(c)) for r, c in rng.uniform(-5, 45, (5, 2)))) for i in range(9)
    ]
    seeds = np.zeros((40, 40), np.uint8)
    for stroke in strokes:
        draw_stroke(seeds, stroke)
    assert (seeds == draw_strokes((40, 40), strokes)).all() and seeds.any()


TOOL = st.sampled_from(["pen", "erase", "polygon"])


@settings(deadline=None)
@given(
    TOOL, st.lists(st.tuples(COORDINATE, COORDINATE), min_size=3, max_size=6), st.floats(0.5, 20),
    st.tuples(st.integers(0, 20), st.integers(0, 20)),
)  # fmt: skip
def test_a_part_is_drawn_as_in_the_whole(tool, points, width, origin):
    stroke = Stroke(tool, 3, width, tuple(points))
    whole, part = np.ones((40, 50), np.uint8), np.ones((15, 20), np.uint8)
    draw_stroke(whole, stroke)
    draw_stroke(part, stroke, origin=origin)
    assert (part == whole[origin[0] : origin[0] + 15, origin[1] : origin[1] + 20]).all()
    rows, cols = find_bounds(stroke, (40, 50))
    whole[rows, cols] = 1
    assert (whole == 1).all()


@settings(deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_a_mask_becomes_a_region_that_covers_it(mask):
    if mask.any():
        region = Stroke("region", 1, 1.0, mask_to_points(mask))
        assert ((draw_strokes(mask.shape, [region]) == 2) == mask).all()


def test_a_region_that_does_not_fit_is_cut():
    region = Stroke("region", 0, 1.0, ((-1.0, 0.0), (-1.0, 3.0), (1.0, -5.0), (1.0, 1.0), (2.0, 2.0), (2.0, 99.0)))
    assert draw_strokes((3, 4), [region]).tolist() == [[0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1]]


def test_an_area_that_is_too_ragged(monkeypatch):
    monkeypatch.setattr("hybridseg.io.annotations.strokes.MAX_POINTS", 7)
    with pytest.raises(BadInput, match=r"too ragged.* 8 points"):
        mask_to_points(np.eye(4, dtype=bool))


def test_the_area_around_a_pixel_does_not_leak_over_corners():
    assert find_area(np.array([[1, 0], [0, 1]]), (0, 0)).tolist() == [[True, False], [False, False]]


def test_what_would_take_hours_is_refused_and_draws_nothing():
    """A pen of 10,000 pixels, moved 20,000 times; a polygon whose sides cross every row."""
    shape = (4000, 5000)
    seeds = np.zeros(shape, np.uint8)
    zigzag = tuple((float(i % 2 * 3999), i / 4) for i in range(20_000))
    for stroke in (Stroke("pen", 0, 10_000.0, zigzag), Stroke("polygon", 0, 1.0, zigzag)):
        with pytest.raises(BadInput, match="several strokes"):
            draw_stroke(seeds, stroke)
    assert not seeds.any()
    # Where it is drawn outside of the image it costs nothing.
    draw_stroke(seeds, Stroke("pen", 0, 10_000.0, tuple((-(10.0**6) - i % 2, c) for i, (_, c) in enumerate(zigzag))))
    assert not seeds.any()


@pytest.mark.parametrize("cols", [(2.0, 4.0), (4.0, 2.0), (2.0, 3.0, 4.0)])
def test_pixels_at_the_radius_exactly(cols):
    """Along a row, and along a column."""
    points = [(2.0, col) for col in cols]
    expected = [
        [0, 0, 0, 0, 0, 0, 0],
        [0, 0, 1, 1, 1, 0, 0],
        [0, 1, 1, 1, 1, 1, 0],
        [0, 0, 1, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ]
    assert draw_strokes((5, 7), [pen(*points, width=2.0)]).tolist() == expected
    turned = [(col, row) for row, col in points]
    assert draw_strokes((7, 5), [pen(*turned, width=2.0)]).T.tolist() == expected


def test_a_fill_reads_no_more_than_it_takes(monkeypatch):
    """It grows until the area lies within what was read; where that would be too much, it is refused."""
    monkeypatch.setattr(strokes, "_FILL_REACH", 4)
    values = np.zeros((200, 300), np.uint8)
    values[90:121, 100:141] = 3
    values[:, :20] = 5
    parts = []

    def read(rows, cols):
        parts.append((rows, cols))
        return values[rows, cols]

    for place, value in (((100, 110), 3), ((0, 0), 5), ((199, 299), 0)):
        points = strokes.fill_area(read, values.shape, place)
        filled = draw_strokes(values.shape, [Stroke("region", 0, 1.0, points)])
        assert ((filled > 0) == strokes.find_area(values, place)).all() and values[place] == value
    assert [rows.stop - rows.start for rows, _ in parts[:2]] == [8, 16]
    parts.clear()
    monkeypatch.setattr(strokes, "_MAX_FILLED", 3000)
    with pytest.raises(BadInput, match="too many to fill at once"):
        strokes.fill_area(read, values.shape, (150, 200))
    assert max((rows.stop - rows.start) * (cols.stop - cols.start) for rows, cols in parts) <= 3000
