import matplotlib.colors
import pytest

from hybridseg.errors import BadInput, MissingInput
from hybridseg.io.labels.classfiles import parse_color, read_class_files, write_class_files

LETTERS = list("bgrcmykw")
OTHERS = ["C0", "C9", "C13", "tab:blue", "tab:olive", "0.5", "0", "1", ".25", "#fff", "#556B2F", "#12345678", "Gray"]


@pytest.mark.parametrize("text", [*LETTERS, *OTHERS, *sorted(matplotlib.colors.CSS4_COLORS)])
def test_colours_mean_what_they_mean_to_matplotlib(text):
    expected = tuple(round(channel * 255) for channel in matplotlib.colors.to_rgb(text))
    assert max(abs(a - b) for a, b in zip(parse_color(text), expected, strict=True)) <= 1


@pytest.mark.parametrize("text", ["", "rde", "1.5", "#12", "#ggg", "rgb(1,2,3)", "C", "tab:", ".", "-1"])
def test_what_is_no_colour_is_refused(text):
    with pytest.raises(BadInput, match="is not a colour"):
        parse_color(text)


def test_labels_and_colours(tmp_path):
    (tmp_path / "l.txt").write_text("water\n\n  dry sand \r\ncliff", encoding="utf-8")
    (tmp_path / "c.txt").write_text("b\ny\n#8B008B", encoding="utf-8")
    table = read_class_files(tmp_path / "l.txt", tmp_path / "c.txt")
    assert table.names == ("water", "dry sand", "cliff")
    assert table.colors == ((0, 0, 255), (191, 191, 0), (139, 0, 139))


def test_labeldefs_with_stray_spaces_and_a_byte_order_mark(tmp_path):
    (tmp_path / "d.txt").write_bytes(b"\xef\xbb\xbfdune, 233, 150, 122 \nfoam,255,255,255")
    table = read_class_files(tmp_path / "d.txt")
    assert table.names == ("dune", "foam") and table.colors[0] == (233, 150, 122)


def test_round_trip(tmp_path, table):
    paths = {name: tmp_path / f"{name}.txt" for name in ("labels_path", "colors_path", "labeldefs_path")}
    write_class_files(table, **paths)
    assert read_class_files(paths["labels_path"], paths["colors_path"]) == table
    assert read_class_files(paths["labeldefs_path"]) == table


@pytest.mark.parametrize(
    ("labels", "colors", "message"),
    [
        ("", None, "is empty; write one class a line"),
        ("a\na\n", None, "l.txt: the class name 'a' is given twice; rename one"),
        ("a\nb\n", "r\n", "has 2 classes but .*c.txt has 1 colour;"),
        ("a\nb\n", "r\nbleu\n", "c.txt, line 2: 'bleu' is not a colour"),
        ("a, 1, 2\n", None, "line 1: 'a, 1, 2' is not `name, r, g, b`"),
        ("a, 1, 2, 256\n", None, "numbers from 0 to 255"),
        ("a,b,c\n", None, "for names alone write one per line, without commas"),
    ],
)
def test_mistakes_are_named_with_file_and_line(tmp_path, labels, colors, message):
    (tmp_path / "l.txt").write_text(labels)
    if colors is not None:
        (tmp_path / "c.txt").write_text(colors)
    with pytest.raises(BadInput, match=message):
        read_class_files(tmp_path / "l.txt", tmp_path / "c.txt" if colors is not None else None)


def test_files_that_are_no_class_files(tmp_path):
    with pytest.raises(MissingInput, match="there is no file"):
        read_class_files(tmp_path / "none.txt")
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(BadInput, match="is not a text file in UTF-8; save it as UTF-8"):
        read_class_files(tmp_path / "b.txt")
    (tmp_path / "big.txt").write_bytes(b"a\n" * 600_000)
    with pytest.raises(BadInput, match="larger than 1 MB"):
        read_class_files(tmp_path / "big.txt")
    with pytest.raises(BadInput, match="is a folder, not a file"):
        read_class_files(tmp_path)


def test_the_sets_in_labels_can_be_read():
    from pathlib import Path

    folder = Path(__file__).parents[3] / "labels"
    sets = sorted(folder.glob("*_labels.txt"))
    assert len(sets) >= 5
    for path in sets:
        table = read_class_files(path, path.with_name(path.name.replace("_labels", "_colors")))
        assert len(set(table.colors)) == len(table), path


def test_colours_by_name(tmp_path):
    from hybridseg.classes import ClassTable
    from hybridseg.io.labels.classfiles import read_colors

    table = ClassTable(("water", "Dry sand"), ((0, 0, 1), (0, 0, 2)))
    path = tmp_path / "defs.txt"
    for content, colors in (
        ("dry_sand, 4, 5, 6\nWATER, 1, 2, 3\n", ((1, 2, 3), (4, 5, 6))),
        ("dry sand, 4, 5, 6\n", ((0, 0, 1), (4, 5, 6))),
        ("lava, 7, 8, 9\ndry sand, 4, 5, 6\nwater, 1, 2, 3\n", ((1, 2, 3), (4, 5, 6))),
    ):
        path.write_text(content)
        assert read_colors(path, table, owner="m.pb") == ClassTable(table.names, colors)
    path.write_text("water, 1, 2, 3\ndrysand, 4, 5, 6\n")
    with pytest.raises(BadInput, match=r"defs.txt: no class is called 'drysand'; the classes are water, Dry sand"):
        read_colors(path, table, owner="m.pb")
    path.write_text("water, 1, 2, 3\nr\n")
    with pytest.raises(BadInput, match=r"defs.txt: line 2: 'r' is not `name, r, g, b`"):
        read_colors(path, table, owner="m.pb")
