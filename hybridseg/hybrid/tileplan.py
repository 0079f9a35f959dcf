"""Which windows of labelled images become tiles, how they are drawn, and what they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.classes import ClassTable, name_folders, remap
from hybridseg.draw import count_share, shuffle_names
from hybridseg.hybrid.tilefolder import CLASSES_NAME
from hybridseg.io.labelled import describe_lone_class
from hybridseg.io.pairing import MANIFEST_NAME, Pair, image_stem
from hybridseg.options import Span, check_options, option

MANIFEST_COLUMNS = ("tile", "class", "source", "row", "col", "purity", "kept")

# A class of at least this share of the pixels, and of so many times fewer of the windows, is worth a warning.
_MUCH, _TIMES_FEWER = 0.01, 4


@dataclass(frozen=True)
class RetileOptions:
    """How tiles are cut; `seed` chooses those that are kept."""

    tile_size: int = option(96, "Side of a tile, in pixels; windows lie half a tile apart.", span=Span(8))
    purity: float = option(
        0.9, "A window is a tile when one class covers more than this share of it.", span=Span(0, 1, below=True)
    )
    keep: float = option(0.5, "Random share of the tiles of each class that is kept.", span=Span(0, 1, above=True))
    min_keep: int = option(60, "A class with no more tiles than this keeps them all.", span=Span(0))
    format: str = option("jpg", "Format of the tiles; jpg has quality 95.", choices=("jpg", "png"))
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def stride(self) -> int:
        """Distance between neighbouring windows."""
        return self.tile_size // 2


@dataclass(frozen=True, eq=False)
class PlannedImage:
    """The pure windows of one image: (n,) arrays of first row, first column, class id and purity.

    `n_pixels`, (n_classes,) int64, counts the labelled pixels of each class.
    """

    pair: Pair
    table: ClassTable
    rows: np.ndarray
    cols: np.ndarray
    class_ids: np.ndarray
    purities: np.ndarray
    n_pixels: np.ndarray

    def tile_names(self, suffix: str) -> list[str]:
        """Name the tile of each window after its image and its place."""
        stem = image_stem(self.pair.image_path)
        return [f"{stem}_r{row}_c{col}.{suffix}" for row, col in zip(self.rows, self.cols, strict=True)]


@dataclass(frozen=True)
class ClassCount:
    """One class in all label maps: its labelled pixels, its pure windows, and those that are kept as tiles."""

    name: str
    n_pixels: int
    n_found: int
    n_kept: int


def warn_of_shares(counts: Sequence[ClassCount], options: RetileOptions) -> list[str]:
    """Describe the classes that purity shuts out: they cover much of the photos, and hardly any window is theirs alone.

    Examples
    --------
    >>> counts = [ClassCount("water", 84, 9935, 50), ClassCount("building", 16, 65, 50)]
    >>> warn_of_shares(counts, RetileOptions())[0]
    'building is 16.0 % of the labelled pixels but 0.65 % of the pure windows'
    """
    n_pixels, n_found = (sum(getattr(count, name) for count in counts) for name in ("n_pixels", "n_found"))
    lines = []
    for count in counts:
        of_pixels, of_windows = count.n_pixels / n_pixels, count.n_found / n_found
        if of_pixels >= _MUCH and of_windows < of_pixels / _TIMES_FEWER:
            found = f"{100 * of_windows:.2f} % of the pure windows" if count.n_found else "no window is pure"
            lines.append(f"{count.name} is {100 * of_pixels:.1f} % of the labelled pixels but {found}")
    if lone := describe_lone_class({count.name: count.n_pixels for count in counts}):
        return [lone]
    if lines:
        these = "these classes" if len(lines) > 1 else "this class"
        lines.append(
            f"few {options.tile_size}-pixel windows contain only {these}, and a classifier learns from tiles alone: "
            "cut smaller tiles (-t), lower the purity (-a), or train a dense network, which needs no tiles "
            "(hybridseg fcn)"
        )
    return lines


@dataclass(frozen=True, eq=False)
class TilePlan:
    """The pure windows of all images, and which of them become tiles.

    Parameters
    ----------
    kept : tuple of numpy.ndarray
        For each image, (n,) bool.
    folders : Mapping
        The folder of each class, by its key.
    """

    images: tuple[PlannedImage, ...]
    kept: tuple[np.ndarray, ...]
    folders: Mapping[str, str]
    options: RetileOptions

    @classmethod
    def draw(cls, images: Sequence[PlannedImage], options: RetileOptions) -> TilePlan:
        """Draw the tiles that are kept: of each class larger than `min_keep`, the share `keep`."""
        places: dict[str, dict[str, tuple[int, int]]] = {}
        for i, image in enumerate(images):
            keys = image.table.keys
            for j, (name, class_id) in enumerate(zip(image.tile_names(options.format), image.class_ids, strict=True)):
                places.setdefault(keys[class_id], {})[name] = (i, j)
        kept = tuple(np.zeros(len(image.rows), bool) for image in images)
        for tiles in places.values():
            n_kept = count_share(len(tiles), options.keep) if len(tiles) > options.min_keep else len(tiles)
            for name in shuffle_names(tiles, seed=options.seed)[:n_kept]:
                i, j = tiles[name]
                kept[i][j] = True
        names = (name for image in images for name in image.table.names)
        folders = name_folders(names, taken=(MANIFEST_NAME, CLASSES_NAME))
        return cls(tuple(images), kept, folders, options)

    @property
    def table(self) -> ClassTable:
        """The classes of all label maps: those of the first in its order, then those that only later ones have."""
        return reduce(ClassTable.union, (image.table for image in self.images))

    def count_classes(self) -> list[ClassCount]:
        """Count pixels, windows and tiles of every class."""
        table = self.table
        counts = np.zeros((3, len(table)), np.int64)
        for image, keep in zip(self.images, self.kept, strict=True):
            ids = remap(image.table, table)
            counts[0, ids[: len(image.table)]] += image.n_pixels
            for row, chosen in ((1, image.class_ids), (2, image.class_ids[keep])):
                counts[row] += np.bincount(ids[chosen], minlength=len(table))
        return [ClassCount(name, *numbers) for name, numbers in zip(table.names, counts.T.tolist(), strict=True)]

    def place_tiles(self, image: PlannedImage, tiles_dir: Path) -> list[Path]:
        """Return the file of each tile of one image."""
        keys, names = image.table.keys, image.tile_names(self.options.format)
        return [tiles_dir / self.folders[keys[k]] / name for name, k in zip(names, image.class_ids, strict=True)]

    def list_rows(self, tiles_dir: Path) -> list[dict[str, Any]]:
        """Make the rows of the manifest: every pure window, kept or not."""
        rows = [
            {
                "tile": path.relative_to(tiles_dir).as_posix(),
                "class": path.parent.name,
                "source": image.pair.image_path.name,
                "row": int(image.rows[j]),
                "col": int(image.cols[j]),
                "purity": round(float(image.purities[j]), 4),
                "kept": int(keep[j]),
            }
            for image, keep in zip(self.images, self.kept, strict=True)
            for j, path in enumerate(self.place_tiles(image, tiles_dir))
        ]
        return sorted(rows, key=lambda row: (row["class"], row["source"], row["row"], row["col"]))
