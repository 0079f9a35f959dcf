"""Class files: ``labels.txt`` (names), ``colors.txt`` (colours) and ``labeldefs.txt`` (name, r, g, b), one per line.

A name with a comma stands in quotes, as in CSV.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence

from hybridseg.classes import ClassTable, class_key, hex_color
from hybridseg.errors import BadInput, join_names, located
from hybridseg.io.atomic import write_text
from hybridseg.io.textfiles import read_lines
from hybridseg.markup import count_of
from hybridseg.palette import Color

# matplotlib's one-letter colours; its green, cyan, magenta and yellow differ from those of CSS.
_LETTERS: dict[str, Color] = {
    "b": (0, 0, 255),
    "g": (0, 128, 0),
    "r": (255, 0, 0),
    "c": (0, 191, 191),
    "m": (191, 0, 191),
    "y": (191, 191, 0),
    "k": (0, 0, 0),
    "w": (255, 255, 255),
}
_TABLEAU: dict[str, str] = {
    "blue": "#1f77b4",
    "orange": "#ff7f0e",
    "green": "#2ca02c",
    "red": "#d62728",
    "purple": "#9467bd",
    "brown": "#8c564b",
    "pink": "#e377c2",
    "gray": "#7f7f7f",
    "grey": "#7f7f7f",
    "olive": "#bcbd22",
    "cyan": "#17becf",
}
_MAX_FILE_BYTES = 1_000_000


def read_class_files(
    labels_path: str | os.PathLike[str], colors_path: str | os.PathLike[str] | None = None
) -> ClassTable:
    """Read the classes from ``labels.txt`` and, when given, ``colors.txt``; or from one ``labeldefs.txt``.

    Parameters
    ----------
    labels_path : path-like
        One name per line, or ``name, r, g, b``; a comma in the first line, outside of quotes, decides which.
    colors_path : path-like or None
        As `read_colors`.

    Raises
    ------
    MissingInput, BadInput
        When a file is missing or empty, a line is malformed (the message has its number), or the colours
        do not fit the names.
    """
    lines = _read_lines(labels_path)
    with located(labels_path):
        if _has_cells(lines[0][1]):
            table = _parse_labeldefs(lines)
        else:
            table = ClassTable.from_names(_unquote(text) for _, text in lines)
    return table if colors_path is None else read_colors(colors_path, table, owner=labels_path)


def find_table(labels: str | os.PathLike[str] | ClassTable | Sequence[str]) -> ClassTable:
    """Return the classes that were given in any form: a class file, a class list, or names in the order of their ids.

    Examples
    --------
    >>> find_table(["water", "sand"])
    <ClassTable: water, sand>
    """
    if isinstance(labels, ClassTable):
        return labels
    if isinstance(labels, str | os.PathLike):
        return read_class_files(labels)
    if not isinstance(labels, Sequence) or not all(isinstance(name, str) for name in labels):
        raise BadInput(f"{labels!r} are no classes; give a class file, a ClassTable or a list of names")
    return ClassTable.from_names(labels)


def read_colors(path: str | os.PathLike[str], table: ClassTable, *, owner: object) -> ClassTable:
    """Return a class list in the colours of a file.

    Parameters
    ----------
    path : path-like
        One matplotlib colour per line, in the order of the classes; or ``name, r, g, b``, matched by name: a class
        that has no line keeps its colour.
    owner : object
        Whose classes these are, for the message.

    Raises
    ------
    MissingInput, BadInput
        When the file is missing or empty, a line is malformed, the number of colours is not that of the classes, or a
        name is of no class while a class has no line (lines of classes beyond the list are passed over).
    """
    lines = _read_lines(path)
    if _has_cells(lines[0][1]):
        with located(path):
            named = _parse_labeldefs(lines)
            strangers = [name for name in named.names if class_key(name) not in table.keys]
            if strangers and not set(table.keys) <= set(named.keys):
                table.index(strangers[0])
        return table.with_colors_of(named)
    if len(lines) != len(table):
        raise BadInput(
            f"{owner} has {count_of(len(table), 'class')} but {path} has {count_of(len(lines), 'colour')}; give one "
            f"colour for each class in this order ({join_names(table.names)}), or lines of name, r, g, b"
        )
    colors = []
    for number, text in lines:
        with located(f"{path}, line {number}"):
            colors.append(parse_color(text))
    return ClassTable(table.names, tuple(colors))


def write_class_files(
    table: ClassTable,
    *,
    labels_path: str | os.PathLike[str] | None = None,
    colors_path: str | os.PathLike[str] | None = None,
    labeldefs_path: str | os.PathLike[str] | None = None,
) -> None:
    """Write a class table as any of the three class files."""
    if labels_path:
        write_text(labels_path, "".join(f"{_quote(name)}\n" for name in table.names))
    if colors_path:
        write_text(colors_path, "".join(f"{hex_color(color).upper()}\n" for color in table.colors))
    if labeldefs_path:
        rows = zip(table.names, table.colors, strict=True)
        write_text(labeldefs_path, "".join(f"{_quote(name)}, {r}, {g}, {b}\n" for name, (r, g, b) in rows))


def parse_color(text: str) -> Color:
    """Read a colour as matplotlib writes it: ``#556B2F``, ``#fff``, ``r``, ``gray``, ``tab:blue``, ``C3``, ``0.5``.

    Raises
    ------
    BadInput
        When it is none of these.

    Examples
    --------
    >>> parse_color("y"), parse_color("gray"), parse_color("#FF0080")
    ((191, 191, 0), (128, 128, 128), (255, 0, 128))
    """
    from PIL import ImageColor

    name = text.strip()
    lower = name.lower()
    if name in _LETTERS:
        return _LETTERS[name]
    if lower.startswith("tab:") and lower[4:] in _TABLEAU:
        return parse_color(_TABLEAU[lower[4:]])
    if re.fullmatch(r"C[0-9]{1,3}", name):
        cycle = [value for key, value in _TABLEAU.items() if key != "grey"]
        return parse_color(cycle[int(name[1:]) % len(cycle)])
    if re.fullmatch(r"[01]?\.\d*|[01]", name) and name != "." and float(name) <= 1:
        level = round(float(name) * 255)
        return (level, level, level)
    if lower in ImageColor.colormap or re.fullmatch(r"#([0-9a-f]{3}|[0-9a-f]{4}|[0-9a-f]{6}|[0-9a-f]{8})", lower):
        red, green, blue = ImageColor.getrgb(lower)[:3]
        return (red, green, blue)
    raise BadInput(f"{text!r} is not a colour; write it like #556B2F, r, gray or tab:blue")


def _read_lines(path: str | os.PathLike[str]) -> list[tuple[int, str]]:
    """Return the lines that are not blank, with their numbers."""
    found = read_lines(path, most=_MAX_FILE_BYTES, remedy="give a text file with one class a line")
    lines = [(number, line.strip()) for number, line in enumerate(found, 1) if line.strip()]
    if not lines:
        raise BadInput(f"{path} is empty; write one class a line")
    return lines


def _quote(name: str) -> str:
    """Return a name as a cell of CSV has it."""
    return '"' + name.replace('"', '""') + '"' if "," in name or name.startswith('"') else name


def _split_cells(line: str) -> list[str]:
    try:
        return next(csv.reader([line], skipinitialspace=True))
    except csv.Error:
        return [line]


def _unquote(line: str) -> str:
    """Return the name of a line; what only happens to have quotes keeps them."""
    name = _split_cells(line)[0]
    return name if _quote(name) == line else line


def _has_cells(line: str) -> bool:
    return "," in line and _unquote(line) == line


def _parse_labeldefs(lines: list[tuple[int, str]]) -> ClassTable:
    names, colors = [], []
    for number, line in lines:
        name, *channels = (cell.strip() for cell in _split_cells(line))
        if len(channels) != 3 or not all(
            re.fullmatch(r"[0-9]{1,3}", channel) and int(channel) <= 255 for channel in channels
        ):
            raise BadInput(
                f"line {number}: {line!r} is not `name, r, g, b` with numbers from 0 to 255; for names alone write one "
                "per line, without commas"
            )
        names.append(name)
        colors.append((int(channels[0]), int(channels[1]), int(channels[2])))
    return ClassTable(tuple(names), tuple(colors))
