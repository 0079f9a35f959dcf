import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridseg.classes import ClassTable
from hybridseg.demo.demoscenes import demo_table
from hybridseg.palette import _WORD_COLORS, NATURAL_COLORS, NEAR, choose_colors, color_distance


def measure_least(colors):
    """The least distance between two of some colours, in CIELAB, for the eye that tells them apart the worst."""
    pairs = itertools.combinations(np.array(colors, float), 2)
    return min(float(color_distance(first, second)) for first, second in pairs)


def test_names_have_the_colours_of_what_they_mean():
    assert choose_colors(["water", "cliff"]) == [NATURAL_COLORS["water"], NATURAL_COLORS["cliff"]]
    deep, wet, land = choose_colors(["deep water", "wet or shallow", "dry land"])
    assert deep == NATURAL_COLORS["water"] and wet[2] > wet[0] and land[0] > land[2], "blue, light blue, brown"
    sea, lake = choose_colors(["sea", "lake"])
    assert sea == NATURAL_COLORS["water"] and lake != sea and lake[2] > lake[0], "two shades of blue"
    assert choose_colors(["null", "water"])[0] == (0, 0, 0)


def test_a_known_name_keeps_its_colour_whatever_comes_before():
    assert choose_colors(["ocean", "water"])[1] == NATURAL_COLORS["water"]
    assert choose_colors(["water"], [NATURAL_COLORS["water"]]) != [NATURAL_COLORS["water"]]


@given(st.lists(st.text("abcdefgh ", min_size=1, max_size=9).filter(str.strip), unique=True, min_size=2, max_size=30))
def test_unknown_names_are_told_apart(names):
    keys = list(dict.fromkeys(" ".join(name.split()) for name in names))
    assert len(keys) == 1 or measure_least(choose_colors(keys)) >= NEAR


def test_colours_by_meaning_are_told_apart_without_cones_of_one_kind():
    """By all four kinds of eyes: the colours of different meanings are 10 apart in CIELAB, or more."""
    assert NEAR == 10
    assert measure_least(list({*NATURAL_COLORS.values(), *_WORD_COLORS.values()})) >= NEAR
    assert measure_least(demo_table().colors) >= NEAR


@pytest.mark.parametrize(("first", "second", "seen"), [
    # By hand: the difference of lightness of black and white, for any eye.
    ((0, 0, 0), (255, 255, 255), 100.0),
    # Red and the green that an eye without cones for long waves takes for it; and the same colour.
    ((220, 30, 40), (20, 90, 40), 2.7), ((9, 9, 9), (9, 9, 9), 0.0),
])  # fmt: skip
def test_how_far_two_colours_look_apart(first, second, seen):
    assert float(color_distance(np.array(first), np.array(second))) == pytest.approx(seen, abs=0.2)


def test_meanings_have_their_hue():
    colors = {name: np.array(color) for name, color in (NATURAL_COLORS | _WORD_COLORS).items()}
    for name in ("water", "sea", "shallow", "sky"):
        assert colors[name].argmax() == 2, name
    for name in ("veg", "forest", "duneveg", "shrubland", "marsh", "agricultural", "grass"):
        assert colors[name].argmax() == 1, name
    for name in ("drysand", "beach", "sand", "wetsand", "sediment", "dune"):
        assert list(colors[name]) == sorted(colors[name], reverse=True), name


def test_many_classes_have_a_colour_each():
    table = ClassTable.from_names(f"class {i}" for i in range(255))
    assert len(set(table.colors)) == 255 and all(0 <= channel <= 255 for color in table.colors for channel in color)
