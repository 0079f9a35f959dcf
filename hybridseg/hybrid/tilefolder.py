"""A folder of tiles: their names and classes, and the photo that each was cut from.

``classes.json`` in it holds the class list of the label maps: names as their author wrote them, in their order. A
folder without it is a folder of class folders, whose names are the classes.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridseg.classes import ClassTable, class_key
from hybridseg.errors import BadInput, MissingInput, join_names, located
from hybridseg.hybrid.tiles import read_tile
from hybridseg.io.jsonfiles import read_json_object
from hybridseg.io.pairing import MANIFEST_NAME, list_files
from hybridseg.io.rasters import IMAGE_SUFFIXES
from hybridseg.io.tables import read_csv, write_json

logger = logging.getLogger(__name__)

CLASSES_NAME = "classes.json"
_KIND, _FORMAT = "hybridseg tiles", 1

MIN_TILES = 2
FEW_TILES = 20

# IMAGE_rROW_cCOL.jpg, as `retile` names its tiles
_TILE_NAME = re.compile(r"^(?P<source>.+)_r\d+_c\d+$")


@dataclass(frozen=True, eq=False)
class TileFolder:
    """The tiles of a folder, sorted by name.

    Parameters
    ----------
    names : tuple of str
        Path of each tile below `root`.
    class_ids : numpy.ndarray
        (n,) int64.
    sources : tuple of str
        The photo of each tile; its own name where that is not known.
    table : ClassTable
        The classes that have tiles, in the order of the class list; without one, in that of the folder names.
    listed : ClassTable
        The same with the classes that have no tiles.
    """

    root: Path
    names: tuple[str, ...]
    class_ids: np.ndarray
    sources: tuple[str, ...]
    table: ClassTable
    listed: ClassTable

    def read_tiles(self, indices: np.ndarray, *, tile_size: int) -> np.ndarray:
        """Read tiles, (n, tile_size, tile_size, 3) uint8; pictures of another size are resized.

        Raises
        ------
        BadInput
            When one is damaged.
        """
        tiles = np.empty((len(indices), tile_size, tile_size, 3), np.uint8)
        for i, index in enumerate(indices):
            tiles[i] = read_tile(self.root / self.names[index], tile_size=tile_size)
        return tiles


@dataclass(frozen=True)
class ClassList:
    """The class list of a folder of tiles, and the class of each of its folders by id."""

    table: ClassTable
    folders: Mapping[str, int]

    def name_of(self, folder: str) -> str | None:
        """Return the class of a folder; of one that was made by hand, the class of that name, if any."""
        class_id = self.folders.get(folder)
        if class_id is None and class_key(folder) in self.table.keys:
            class_id = self.table.index(folder)
        return None if class_id is None else self.table.names[class_id]


def write_class_list(root: Path, classes: ClassList, *, made_from: str | None = None) -> None:
    """Write the class list of a folder of tiles: name, colour and folder of each class (null where it has none).

    Parameters
    ----------
    made_from : str or None
        What tells whether other photos or settings would give other tiles.
    """
    folders = {class_id: folder for folder, class_id in classes.folders.items()}
    records = [{**record, "folder": folders.get(i)} for i, record in enumerate(classes.table.to_records())]
    write_json(root / CLASSES_NAME, {"format": _FORMAT, "kind": _KIND, "classes": records, "made_from": made_from})


def read_made_from(root: Path) -> str | None:
    """Return what `write_class_list` was told that the tiles were made from; None where nothing says it."""
    path, is_ours = root / CLASSES_NAME, (root / MANIFEST_NAME).is_file()
    made_from = read_json_object(path).get("made_from") if is_ours and path.exists() else None
    return made_from if isinstance(made_from, str) else None


def read_class_list(root: Path) -> ClassList | None:
    """Read the class list of a folder of tiles; None where it has none, or a ``classes.json`` of another program.

    Raises
    ------
    BadInput
        When the file is damaged or of another version.
    """
    path = root / CLASSES_NAME
    if not path.exists():
        return None
    record = read_json_object(path)
    if record.get("kind") != _KIND:
        logger.warning("%s is not of hybridseg and is left aside: the classes are named after their folders", path)
        return None
    with located(path):
        if record.get("format") != _FORMAT:
            raise BadInput("it was written by another version of hybridseg; run `hybridseg retile` again")
        table = ClassTable.from_records(record.get("classes"))
        places = [part.get("folder") for part in record["classes"]]
        if not all(isinstance(place, str | None) for place in places):
            raise BadInput("the folder of a class is not a name; run `hybridseg retile` again")
    return ClassList(table, {place: i for i, place in enumerate(places) if place is not None})


def list_class_folders(root: Path, classes: ClassList | None) -> dict[Path, str | None]:
    """List the folders of tiles in a folder, each with its class in the list, if it has one there.

    Raises
    ------
    MissingInput
        When there is no such folder.
    """
    if root.is_file():
        raise BadInput(f"{root} is a file; give the folder that `hybridseg retile` wrote (tile_96)")
    if not root.is_dir():
        raise MissingInput(f"there is no folder {root}; give the folder that `hybridseg retile` wrote (tile_96)")
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    return {path: classes.name_of(path.name) if classes else None for path in folders}


def open_tile_folder(image_dir: str | os.PathLike[str]) -> TileFolder:
    """List the tiles of every class folder.

    Parameters
    ----------
    image_dir : path-like
        A folder that `retile` wrote, or any folder of class folders.

    Raises
    ------
    MissingInput, BadInput
        When there is no such folder, it has fewer than two classes, or a class has fewer than 2 tiles.
    """
    root = Path(image_dir)
    classes = read_class_list(root)
    by_folder: dict[str, list[str]] = {}
    class_names: list[str] = []
    for folder, class_name in list_class_folders(root, classes).items():
        tiles = [path.name for path in list_files(folder, IMAGE_SUFFIXES)]
        if tiles:
            by_folder[folder.name] = tiles
            # Outside the list as the classic program names them: in lower case, words separated by one space.
            class_names.append(class_name or class_key(folder.name))
    _check_counts(root, by_folder)
    with located(f"the class folders of {root}"):
        found = ClassTable.from_names(class_names)
    listed = classes.table.union(found) if classes else found
    table = listed.only(found.keys)
    _report_empty(listed, table)
    names = [f"{folder}/{tile}" for folder, tiles in by_folder.items() for tile in tiles]
    class_ids = np.repeat([table.index(name) for name in class_names], [len(tiles) for tiles in by_folder.values()])
    return TileFolder(root, tuple(names), class_ids, find_sources(root, names), table, listed)


def find_sources(root: Path, names: Iterable[str]) -> tuple[str, ...]:
    """Return the photo of each tile, from the ``tiles.csv`` of its folder or from its name."""
    listed = _read_sources(root)
    return tuple(listed.get(name) or find_source(Path(name)) for name in names)


def find_source(path: Path) -> str:
    """Return the photo of a tile from its name; a tile that is named otherwise is its own source.

    Examples
    --------
    >>> find_source(Path("sand/photo_7_r48_c96.jpg")), find_source(Path("sand/holiday.jpg"))
    ('photo_7', 'holiday')
    """
    match = _TILE_NAME.match(path.stem)
    return match["source"] if match else path.stem


def _report_empty(listed: ClassTable, table: ClassTable) -> None:
    empty = [name for name in listed.names if name not in table.names]
    if empty:
        logger.warning("classes that have no tiles are left out of the classifier: %s", ", ".join(empty))


def _read_sources(root: Path) -> dict[str, str]:
    manifest = root / MANIFEST_NAME
    if not manifest.exists():
        return {}
    return {row["tile"]: Path(row["source"]).stem for row in read_csv(manifest, ("tile", "source"))}


def _check_counts(root: Path, by_folder: dict[str, list[str]]) -> None:
    if len(by_folder) < 2:
        found = f"only {next(iter(by_folder))!r}" if by_folder else "none"
        raise BadInput(
            f"{root} needs a folder of tiles for each of at least two classes; it has {found}. Give the folder that "
            "`hybridseg retile` wrote (tile_96)"
        )
    too_few = [f"{name} ({len(tiles)})" for name, tiles in by_folder.items() if len(tiles) < MIN_TILES]
    if too_few:
        raise BadInput(
            f"{root}: every class needs at least {MIN_TILES} tiles; too few in {join_names(too_few)}. "
            "Label more of it, lower the purity of `hybridseg retile -a`, or remove the folder"
        )
    for name, tiles in by_folder.items():
        if len(tiles) < FEW_TILES:
            logger.warning("the class %r has only %d tiles: expect poor accuracy for it", name, len(tiles))
