"""The classes of a label map: names and colours, and how two lists of classes are matched BY NAME."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridseg.errors import BadInput, join_names, shorten
from hybridseg.markup import count_of, render_legend
from hybridseg.palette import Color, choose_colors

VOID = 255
"""The label of a pixel that has no class."""

MAX_CLASSES = 255
"""Ids 0..254 name classes, so that a label fits one byte beside VOID."""

MAX_NAME_CHARACTERS = 200
"""Of the name of a class."""

# What ends a line in some file or program, is no character of UTF-8 or XML, or shows a name as another one.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]")
# A folder may be called so, with what is added to that.
_MAX_FOLDER_BYTES = 200


def split_names(texts: Iterable[str], known: Collection[str]) -> list[str]:
    """Return the names that texts hold: one where all of a text is known, else those between its commas.

    Examples
    --------
    >>> split_names(["sand, dry veg,", "Gravel, wet"], ["sand", "dry veg", "gravel, wet"])
    ['sand', 'dry veg', 'Gravel, wet']
    """
    parts = ([text] if text.strip().lower() in map(str.lower, known) else text.split(",") for text in texts)
    return [name.strip() for names in parts for name in names if name.strip()]


def check_name(name: str) -> None:
    """Raise BadInput for what no class may be called: a file of classes could not hold it, or show it as it is.

    Examples
    --------
    >>> check_name("gravel, wet")
    >>> check_name("sand\u2028dune")
    Traceback (most recent call last):
    hybridseg.errors.BadInput: the class name 'sand\\u2028dune' holds U+2028, which no class file can; rename the class
    """
    if not isinstance(name, str):
        raise BadInput(f"the class name {str(name)!r} is not a text; give names")
    shown = repr(shorten(name, 60))
    if len(name) > MAX_NAME_CHARACTERS:
        raise BadInput(
            f"the class name {shown} has {len(name):,} characters; give it one of at most {MAX_NAME_CHARACTERS}"
        )
    if unfit := _UNFIT.search(name):
        raise BadInput(f"the class name {shown} holds U+{ord(unfit[0]):04X}, which no class file can; rename the class")
    if name != name.strip():
        raise BadInput(f"the class name {shown} begins or ends with a blank; take the blank away")
    if not class_key(name):
        raise BadInput(f"the class name {shown} has no letter or digit; give every class a name")


def class_key(name: str) -> str:
    """Return the form of a class name that is compared: lower case, punctuation as single spaces.

    Examples
    --------
    >>> class_key("  Wet_Sand ") == class_key("wet sand")
    True
    """
    composed = unicodedata.normalize("NFC", name)
    # Letters, digits and their marks (accents, vowel signs) make a name; everything else separates words.
    kept = (char if unicodedata.category(char)[0] in "LNM" else " " for char in composed)
    return " ".join("".join(kept).casefold().split())


def hex_color(color: Color) -> str:
    """Return a colour as ``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*color)


@dataclass(frozen=True)
class ClassTable:
    """An ordered list of class names with a colour each; the id of a class is its position.

    Parameters
    ----------
    names : tuple of str
        Unique once case and punctuation are set aside.
    colors : tuple of (int, int, int)
        Red, green, blue, 0..255, one for each name.

    Raises
    ------
    BadInput
        For an empty list, a repeated or unfit name (`check_name`), a wrong number of colours, or too many classes.

    Examples
    --------
    >>> table = ClassTable.from_names(["water", "sand"])
    >>> table.index("Water"), len(table)
    (0, 2)
    """

    names: tuple[str, ...]
    colors: tuple[Color, ...]

    def __post_init__(self) -> None:
        if not self.names:
            raise BadInput("the class list is empty; name at least one class")
        if len(self.names) > MAX_CLASSES:
            most = count_of(MAX_CLASSES, "name")
            raise BadInput(f"a class list can have at most {most}, but this one has {len(self.names)}; leave some out")
        if len(self.colors) != len(self.names):
            raise BadInput(
                f"{count_of(len(self.names), 'class name')} but {count_of(len(self.colors), 'colour')}: give one "
                "colour for each name"
            )
        for color in self.colors:
            if len(color) != 3 or not all(0 <= channel <= 255 for channel in color):
                raise BadInput(f"the colour {color} is not three numbers from 0 to 255")
        seen: dict[str, str] = {}
        for name in self.names:
            check_name(name)
            key = class_key(name)
            if key in seen:
                both = f"names {seen[key]!r} and {name!r} are the same"
                fault = f"name {name!r} is given twice" if name == seen[key] else both
                raise BadInput(f"the class {fault}; rename one of them")
            seen[key] = name

    @classmethod
    def from_names(cls, names: Iterable[str]) -> ClassTable:
        """Make a table with colours that suit the names, see `hybridseg.palette`."""
        names = tuple(name.strip() for name in names)
        return cls(names, tuple(choose_colors([class_key(name) for name in names])))

    @classmethod
    def from_records(cls, records: Any) -> ClassTable:
        """Make a table of JSON records: a ``name`` and a ``color``, [red, green, blue] or ``#rrggbb``.

        Raises
        ------
        BadInput
            For anything else, and as for any table.

        Examples
        --------
        >>> table = ClassTable(("water", "sand"), ((0, 0, 255), (255, 255, 0)))
        >>> ClassTable.from_records(table.to_records()) == table
        True
        """
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            raise BadInput("the classes are not a list of names with colours")
        for record in records:
            if not isinstance(record.get("name"), str):
                raise BadInput(f"{str(record.get('name'))[:60]!r} stands where the name of a class should be")
        return cls(tuple(record["name"] for record in records), tuple(_parse_color(r.get("color")) for r in records))

    def to_records(self, *, as_hex: bool = False) -> list[dict[str, Any]]:
        """Return the classes as JSON holds them; `as_hex`: with colours as ``#rrggbb``, as HTML has them."""
        colors = (hex_color(color) if as_hex else list(color) for color in self.colors)
        return [{"name": name, "color": color} for name, color in zip(self.names, colors, strict=True)]

    def __iter__(self) -> Iterator[str]:
        """Return the names in their order."""
        return iter(self.names)

    def __len__(self) -> int:
        """Count the classes."""
        return len(self.names)

    def __repr__(self) -> str:
        return f"<ClassTable: {', '.join(self.names)}>"

    def _repr_html_(self) -> str:
        return render_legend(zip(self.names, map(hex_color, self.colors), strict=True))

    @property
    def keys(self) -> tuple[str, ...]:
        """The names in the form that is compared."""
        return tuple(class_key(name) for name in self.names)

    def index(self, name: str) -> int:
        """Return the id of a class.

        Raises
        ------
        BadInput
            When no class has this name; the message lists the ones there are.
        """
        try:
            return self.keys.index(class_key(name))
        except ValueError:
            raise BadInput(f"no class is called {name!r}; the classes are {join_names(self.names)}") from None

    def union(self, other: ClassTable) -> ClassTable:
        """Return this table followed by the classes that only the other one has.

        Examples
        --------
        >>> ClassTable.from_names(["water"]).union(ClassTable.from_names(["sand", "WATER"])).names
        ('water', 'sand')
        """
        mine = set(self.keys)
        extra = [i for i, key in enumerate(other.keys) if key not in mine]
        return ClassTable(
            self.names + tuple(other.names[i] for i in extra),
            self.colors + tuple(other.colors[i] for i in extra),
        )

    def only(self, keys: Collection[str]) -> ClassTable:
        """Return the classes of these keys, in the order of this table."""
        kept = [i for i, key in enumerate(self.keys) if key in keys]
        return ClassTable(tuple(self.names[i] for i in kept), tuple(self.colors[i] for i in kept))

    def with_colors_of(self, other: ClassTable) -> ClassTable:
        """Return the same classes, with the colours that another table has for them.

        Examples
        --------
        >>> ClassTable.from_names(["sand"]).with_colors_of(ClassTable(("Sand",), ((1, 2, 3),))).colors
        ((1, 2, 3),)
        """
        colors = dict(zip(other.keys, other.colors, strict=True))
        return ClassTable(self.names, tuple(colors.get(k, c) for k, c in zip(self.keys, self.colors, strict=True)))

    def palette(self) -> np.ndarray:
        """Return the colour of every byte value, (256, 3) uint8; a value without a class is black."""
        palette = np.zeros((256, 3), np.uint8)
        palette[: len(self)] = self.colors
        return palette


def name_folders(names: Iterable[str], *, taken: Collection[str] = ()) -> dict[str, str]:
    """Return a folder for each class, by key: its first spelling, without anything that a path could mean.

    Parameters
    ----------
    taken : collection of str
        Names of other files there.

    Examples
    --------
    >>> name_folders(["wet sand", "a/b", "Wet_Sand"])
    {'wet sand': 'wet sand', 'a b': 'a_b'}
    """
    folders: dict[str, str] = {}
    for name in names:
        key = class_key(name)
        if key not in folders:
            safe = re.sub(r"[^\w. -]+", "_", name).strip(". ") or key
            safe = safe.encode()[:_MAX_FOLDER_BYTES].decode(errors="ignore").strip()
            # Names may differ only in what is replaced, such as the vowel signs of some scripts.
            while safe in folders.values() or safe in taken:
                safe += "_"
            folders[key] = safe
    return folders


def labels_to_seeds(labels: np.ndarray) -> np.ndarray:
    """Return the seeds that say the same as labels, uint8: class k becomes k + 1, VOID becomes 0 (unlabelled).

    Examples
    --------
    >>> labels_to_seeds(np.array([[0, 1, VOID]], np.uint8)).tolist()
    [[1, 2, 0]]
    """
    return np.add(labels, 1, dtype=np.uint8)  # VOID is the largest byte: it wraps around to 0.


def seeds_to_labels(seeds: np.ndarray) -> np.ndarray:
    """Return the labels that say the same as seeds, uint8: class k + 1 becomes k, 0 (unlabelled) becomes VOID.

    Examples
    --------
    >>> seeds_to_labels(np.array([[1, 2, 0]], np.uint8)).tolist()
    [[0, 1, 255]]
    """
    return np.subtract(seeds, 1, dtype=np.uint8)  # 0 wraps around to the largest byte, VOID.


def match_names(
    first: Iterable[str], second: Iterable[str], *, first_is: str = "one list", second_is: str = "the other"
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Match two lists of classes by name.

    Parameters
    ----------
    first_is, second_is : str
        What each list is, for the message.

    Returns
    -------
    only_first, only_second : tuple of str
        The classes that only one of the lists has.

    Raises
    ------
    BadInput
        When they have no name in common; the message shows both.

    Examples
    --------
    >>> match_names(["water", "Wet_Sand"], ["wet sand", "dune"])
    (('water',), ('dune',))
    """
    mine, theirs = ({class_key(name): name for name in names} for names in (first, second))
    if not mine.keys() & theirs.keys():
        raise BadInput(
            f"no class has the same name in both: {first_is} has {join_names(mine.values()) or 'none'}; "
            f"{second_is} has {join_names(theirs.values()) or 'none'}. Classes are matched by name: rename those of one"
        )
    only_first = tuple(name for key, name in mine.items() if key not in theirs)
    return only_first, tuple(name for key, name in theirs.items() if key not in mine)


def remap(from_table: ClassTable, to_table: ClassTable, *, drop: bool = False, seeds: bool = False) -> np.ndarray:
    """Return the id in one table of every id in another, matched by name.

    Parameters
    ----------
    drop : bool
        Turn classes that `to_table` lacks into VOID, instead of raising.
    seeds : bool
        Return the table for seeds rather than for labels.

    Returns
    -------
    numpy.ndarray
        (256,) uint8: ``lut[labels]`` translates a label map. VOID, and ids without a class, stay VOID.

    Raises
    ------
    BadInput
        Without `drop`, when a class of `from_table` is not in `to_table`.

    Examples
    --------
    >>> a, b = ClassTable.from_names(["water", "sand"]), ClassTable.from_names(["sand", "water"])
    >>> remap(a, b)[np.array([[0, 1, 255]])].tolist()
    [[1, 0, 255]]
    >>> remap(a, b, seeds=True)[np.array([[1, 2, 0]])].tolist()
    [[2, 1, 0]]
    """
    position = {key: i for i, key in enumerate(to_table.keys)}
    if not drop:
        names = from_table.names, to_table.names
        if missing := match_names(*names, first_is="the label map", second_is="the list in use")[0]:
            raise BadInput(
                f"the classes {join_names(missing)} are not among {join_names(to_table.names)}; "
                "add them to the class list or rename them"
            )
    lut = np.full(256, VOID, np.uint8)
    lut[: len(from_table)] = [position.get(key, VOID) for key in from_table.keys]
    return labels_to_seeds(lut[seeds_to_labels(np.arange(256, dtype=np.uint8))]) if seeds else lut


def color_labels(labels: np.ndarray, table: ClassTable) -> np.ndarray:
    """Paint a label map, (rows, cols) uint8, in the colours of its classes: (rows, cols, 3) uint8."""
    return table.palette()[labels]


def measure_shares(labels: np.ndarray, table: ClassTable) -> dict[str, float]:
    """Return the share of each class that occurs, of all labelled pixels, the largest first."""
    return share_out(count_labels(labels), table)


def count_labels(labels: np.ndarray) -> np.ndarray:
    """Return how many pixels have each label, (256,)."""
    parts = np.array_split(labels.ravel(), 1 + labels.size // 2**20)  # NumPy makes 8 bytes of each before it counts.
    counts: np.ndarray = np.sum([np.bincount(part, minlength=256) for part in parts], axis=0)
    return counts


def share_out(counts: np.ndarray, table: ClassTable) -> dict[str, float]:
    """Return the same as `measure_shares` of what `count_labels` found."""
    counts = counts[: len(table)]
    order = sorted(np.flatnonzero(counts).tolist(), key=lambda i: -counts[i])
    return {table.names[i]: float(counts[i] / counts.sum()) for i in order}


def _parse_color(value: Any) -> Color:
    if isinstance(value, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", value):
        value = list(bytes.fromhex(value[1:]))
    if not isinstance(value, list) or len(value) != 3 or not all(type(channel) is int for channel in value):
        raise BadInput(f"{str(value)[:60]!r} stands where the colour of a class should be")
    return value[0], value[1], value[2]
