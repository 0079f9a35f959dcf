import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridseg.classes import (
    VOID,
    ClassTable,
    class_key,
    color_labels,
    labels_to_seeds,
    measure_shares,
    name_folders,
    remap,
    seeds_to_labels,
)
from hybridseg.errors import BadInput
from hybridseg.io.labels.labelmaps import match_colors

names_lists = st.lists(st.text("abcdefghij", min_size=1, max_size=6), min_size=1, max_size=20, unique_by=class_key)


def test_table_refuses_what_could_mislabel():
    for names, message in [
        ([], "name at least one class"),
        (["a", " A "], "are the same"),
        (["wet_sand", "Wet sand"], "are the same"),
        (["--"], "no letter or digit"),
        ([f"c{i}" for i in range(256)], "this one has 256"),
    ]:
        with pytest.raises(BadInput, match=message):
            ClassTable.from_names(names)
    with pytest.raises(BadInput, match="2 class names but 1 colour:"):
        ClassTable(("a", "b"), ((0, 0, 0),))
    with pytest.raises(BadInput, match="not three numbers"):
        ClassTable(("a",), ((0, 0, 256),))


@pytest.mark.parametrize(("name", "reason"), [
    *((f"sand{char}dune", f"holds U\\+{ord(char):04X}, which no class file can") for char in
      "\t\n\r\x00\x0b\x0c\x1b\x1c\x1e\x7f\x85\x9b\u2028\u2029\u202e\u2066\ud800\udcff\ufeff\uffff"),
    *((name, "begins or ends with a blank") for name in (" sand", "sand ", "\u3000sand", "sand\xa0")),
    *((name, "no letter or digit") for name in ("", "--", "\U0001f3d6")),
    ("a" * 201, "has 201 characters; give it one of at most 200"),
    (5, "is not a text"),
])  # fmt: skip
def test_what_no_class_can_be_called(name, reason):
    records = [{"name": "water", "color": [0, 0, 1]}, {"name": name, "color": [0, 0, 2]}]
    with pytest.raises(BadInput, match=reason) as caught:
        ClassTable(("water", name), ((0, 0, 1), (0, 0, 2)))
    assert len(str(caught.value)) < 160 and str(caught.value).isprintable()
    with pytest.raises(BadInput, match=reason if isinstance(name, str) else "where the name of a class should be"):
        ClassTable.from_records(records)


def test_folders_of_long_names_differ():
    folders = name_folders(["é" * 150, "é" * 151, "e" * 200])
    assert len(set(folders.values())) == 3 and all(len(name.encode()) <= 210 for name in folders.values())


def test_names_are_compared_in_one_unicode_form_with_their_marks():
    assert class_key("d\u00fcne") == class_key("du\u0308ne") != class_key("dune")
    assert class_key("\u0915\u093f") != class_key("\u0915\u0940")


def test_known_names_get_their_natural_colours_and_all_differ():
    table = ClassTable.from_names(["water", "something", "drysand", "other"])
    assert table.colors[0] == (25, 90, 190)
    assert len(set(table.colors)) == 4


def test_index_names_the_classes_there_are(table):
    assert table.index("SAND") == 1
    with pytest.raises(BadInput, match="no class is called 'snad'; the classes are water, sand, cliff"):
        table.index("snad")


def test_remap_matches_by_name_in_any_order():
    a = ClassTable.from_names(["dune", "dry_sand", "water"])
    b = ClassTable.from_names(["Dry sand", "water", "DUNE", "road"])
    labels = np.array([[0, 1], [2, VOID]], np.uint8)
    assert remap(a, b)[labels].tolist() == [[2, 0], [1, VOID]]
    with pytest.raises(BadInput, match="the classes road are not among"):
        remap(b, a)


@given(names_lists, st.randoms(use_true_random=False))
def test_remap_there_and_back_is_the_identity(names, random):
    shuffled = names.copy()
    random.shuffle(shuffled)
    a, b = ClassTable.from_names(names), ClassTable.from_names(shuffled)
    ids = np.arange(len(names))
    assert remap(b, a)[remap(a, b)[ids]].tolist() == ids.tolist()
    assert [shuffled[i] for i in remap(a, b)[ids]] == names


def test_union_keeps_order_and_spelling():
    a = ClassTable.from_names(["water", "sand"])
    assert a.union(ClassTable.from_names(["Sand", "rock"])).names == ("water", "sand", "rock")


def test_painting_and_matching_are_inverse(table):
    labels = np.array([[0, 1, 2], [2, VOID, 0]], np.uint8)
    assert match_colors(color_labels(labels, table), table).tolist() == labels.tolist()


def test_matching_names_the_stray_colour_and_how_many_pixels(table):
    rgb = color_labels(np.zeros((2, 3), np.uint8), table)
    rgb[0, :2] = (1, 2, 3)
    with pytest.raises(BadInput, match=r"33.33% of the pixels \(2\) have colours .*, such as \(1, 2, 3\)"):
        match_colors(rgb, table)
    twins = ClassTable(("a", "b"), ((9, 9, 9), (9, 9, 9)))
    with pytest.raises(BadInput, match="'a' and 'b' share the colour"):
        match_colors(rgb, twins)


def test_records_hold_names_and_colours():
    table = ClassTable(("water", "dry sand"), ((0, 10, 255), (255, 255, 0)))
    assert table.to_records() == [
        {"name": "water", "color": [0, 10, 255]},
        {"name": "dry sand", "color": [255, 255, 0]},
    ]
    assert [record["color"] for record in table.to_records(as_hex=True)] == ["#000aff", "#ffff00"]
    for as_hex in (False, True):
        assert ClassTable.from_records(table.to_records(as_hex=as_hex)) == table


@pytest.mark.parametrize("records", [
    None, {}, "water", [], ["water"], [{}], [{"name": "water"}], [{"name": 5, "color": [1, 2, 3]}],
    [{"name": "water", "color": "red"}], [{"name": "water", "color": "#12345"}],
    [{"name": "water", "color": [1, 2]}], [{"name": "water", "color": [1, 2, 3.0]}],
    [{"name": "water", "color": [1, 2, True]}], [{"name": "water", "color": [1, 2, 256]}],
    [{"name": "water", "color": [1, 2, 3]}] * 2,
], ids=str)  # fmt: skip
def test_records_that_cannot_be(records):
    with pytest.raises(BadInput):
        ClassTable.from_records(records)


def test_seeds_and_labels_say_the_same():
    labels = np.arange(256, dtype=np.uint8)
    seeds = labels_to_seeds(labels)
    assert seeds[[0, 254, VOID]].tolist() == [1, 255, 0] and seeds.dtype == np.uint8
    assert (seeds_to_labels(seeds) == labels).all()
    with pytest.raises(TypeError):
        labels_to_seeds(np.array([0, 1]))


def test_seeds_change_their_classes_as_labels_do():
    old, new = ClassTable.from_names(["water", "sand", "cliff"]), ClassTable.from_names(["cliff", "Water"])
    with pytest.raises(BadInput, match="sand"):
        remap(old, new, seeds=True)
    assert remap(old, new, drop=True)[[0, 1, 2, 3, VOID]].tolist() == [1, VOID, 0, VOID, VOID]
    assert remap(old, new, drop=True, seeds=True)[[0, 1, 2, 3, 4]].tolist() == [0, 2, 0, 1, 0]


def test_shares_by_hand(table):
    labels = np.array([[2, 2, 0, 2, 255]], np.uint8)
    assert list(measure_shares(labels, table).items()) == [("cliff", 0.75), ("water", 0.25)]
