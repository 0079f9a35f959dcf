"""A folder of tiles: their names and classes, and the photo that each was cut from."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridseg.classes import ClassTable, class_key
from hybridseg.errors import BadInput, MissingInput
from hybridseg.hybrid.tiles import read_tile
from hybridseg.io.images import IMAGE_SUFFIXES
from hybridseg.io.pairing import MANIFEST_NAME, list_files
from hybridseg.io.tables import read_csv

logger = logging.getLogger(__name__)

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
        One class for each folder, in the order of the folder names.
    """

    root: Path
    names: tuple[str, ...]
    class_ids: np.ndarray
    sources: tuple[str, ...]
    table: ClassTable

    def count_tiles(self) -> dict[str, int]:
        """Count the tiles of each class."""
        counts = np.bincount(self.class_ids, minlength=len(self.table))
        return dict(zip(self.table.names, counts.tolist(), strict=True))

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


def list_class_folders(root: Path) -> list[Path]:
    """List the folders of tiles in a folder; MissingInput when there is no such folder."""
    if not root.is_dir():
        raise MissingInput(f"there is no folder {root}; give the folder that `hybridseg retile` wrote (tile_96)")
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


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
    by_folder: dict[str, list[str]] = {}
    for folder in list_class_folders(root):
        tiles = [path.name for path in list_files(folder, IMAGE_SUFFIXES)]
        if tiles:
            by_folder[folder.name] = tiles
    _check_counts(root, by_folder)
    names = [f"{folder}/{tile}" for folder, tiles in by_folder.items() for tile in tiles]
    class_ids = np.repeat(np.arange(len(by_folder)), [len(tiles) for tiles in by_folder.values()])
    return TileFolder(root, tuple(names), class_ids, find_sources(root, names), _make_table(root, list(by_folder)))


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


def _make_table(root: Path, folders: list[str]) -> ClassTable:
    try:
        # As the classic program names them: in lower case, words separated by one space.
        return ClassTable.from_names(class_key(folder) for folder in folders)
    except BadInput as error:
        raise BadInput(f"the class folders of {root}: {error}") from error


def _read_sources(root: Path) -> dict[str, str]:
    manifest = root / MANIFEST_NAME
    if not manifest.exists():
        return {}
    return {row["tile"]: Path(row["source"]).stem for row in read_csv(manifest, ("tile", "source"))}


def _check_counts(root: Path, by_folder: dict[str, list[str]]) -> None:
    if len(by_folder) < 2:
        found = f"only {next(iter(by_folder))!r}" if by_folder else "none"
        raise BadInput(f"{root} needs a folder of tiles for each of at least two classes; it has {found}")
    too_few = [f"{name} ({len(tiles)})" for name, tiles in by_folder.items() if len(tiles) < MIN_TILES]
    if too_few:
        raise BadInput(
            f"{root}: every class needs at least {MIN_TILES} tiles; too few in {', '.join(too_few)}. "
            "Label more of it, lower the purity of `hybridseg retile -a`, or remove the folder"
        )
    for name, tiles in by_folder.items():
        if len(tiles) < FEW_TILES:
            logger.warning("the class %r has only %d tiles: expect poor accuracy for it", name, len(tiles))
