from hypothesis import given
from hypothesis import strategies as st

from hybridseg.classes import ClassTable
from hybridseg.palette import NATURAL_COLORS, choose_colors


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


@given(st.lists(st.text("abcdefgh ", min_size=1, max_size=9).filter(str.strip), unique=True, max_size=30))
def test_unknown_names_are_told_apart(names):
    colors = choose_colors([" ".join(name.split()) for name in dict.fromkeys(" ".join(n.split()) for n in names)])
    for i, first in enumerate(colors):
        assert all(sum((a - b) ** 2 for a, b in zip(first, other, strict=True)) >= 3600 for other in colors[:i])


def test_many_classes_have_a_colour_each():
    table = ClassTable.from_names(f"class {i}" for i in range(255))
    assert len(set(table.colors)) == 255 and all(0 <= channel <= 255 for color in table.colors for channel in color)
