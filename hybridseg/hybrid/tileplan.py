"""Which windows of labelled images become tiles, how they are drawn, and what they are called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.classes import ClassTable, class_key
from hybridseg.draw import count_share, shuffle_names
from hybridseg.io.pairing import Pair, image_stem
from hybridseg.options import Span, check_options, option

MANIFEST_COLUMNS = ("tile", "class", "source", "row", "col", "purity", "kept")


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
    """The pure windows of one image: (n,) arrays of first row, first column, class id and purity."""

    pair: Pair
    table: ClassTable
    rows: np.ndarray
    cols: np.ndarray
    class_ids: np.ndarray
    purities: np.ndarray

    def tile_names(self, suffix: str) -> list[str]:
        """Name the tile of each window after its image and its place."""
        stem = image_stem(self.pair.image_path)
        return [f"{stem}_r{row}_c{col}.{suffix}" for row, col in zip(self.rows, self.cols, strict=True)]


def choose_tiles(plans: Sequence[PlannedImage], options: RetileOptions) -> list[np.ndarray]:
    """Draw the tiles that are kept: of each class larger than `min_keep`, the share `keep`.

    Returns
    -------
    list of numpy.ndarray
        For each image, (n,) bool.
    """
    places: dict[str, dict[str, tuple[int, int]]] = {}
    for i, plan in enumerate(plans):
        keys = plan.table.keys
        for j, (name, class_id) in enumerate(zip(plan.tile_names(options.format), plan.class_ids, strict=True)):
            places.setdefault(keys[class_id], {})[name] = (i, j)
    kept = [np.zeros(len(plan.rows), bool) for plan in plans]
    for tiles in places.values():
        n_kept = count_share(len(tiles), options.keep) if len(tiles) > options.min_keep else len(tiles)
        for name in shuffle_names(tiles, seed=options.seed)[:n_kept]:
            i, j = tiles[name]
            kept[i][j] = True
    return kept


def name_folders(plans: Sequence[PlannedImage]) -> dict[str, str]:
    """Return the folder of each class, by key: its first spelling, without anything that a path could mean."""
    folders: dict[str, str] = {}
    for plan in plans:
        for name in plan.table.names:
            safe = re.sub(r"[^\w. -]+", "_", name).strip(". ")
            folders.setdefault(class_key(name), safe or class_key(name))
    return folders


def place_tiles(plan: PlannedImage, folders: dict[str, str], tiles_dir: Path, options: RetileOptions) -> list[Path]:
    """Return the file of each tile of one image."""
    keys = plan.table.keys
    names = plan.tile_names(options.format)
    return [tiles_dir / folders[keys[k]] / name for name, k in zip(names, plan.class_ids, strict=True)]


def list_rows(
    plans: Sequence[PlannedImage],
    kept: Sequence[np.ndarray],
    folders: dict[str, str],
    tiles_dir: Path,
    options: RetileOptions,
) -> list[dict[str, Any]]:
    """Make the rows of the manifest: every pure window, kept or not."""
    rows = []
    for plan, keep in zip(plans, kept, strict=True):
        for j, path in enumerate(place_tiles(plan, folders, tiles_dir, options)):
            rows.append(
                {
                    "tile": path.relative_to(tiles_dir).as_posix(),
                    "class": path.parent.name,
                    "source": plan.pair.image_path.name,
                    "row": int(plan.rows[j]),
                    "col": int(plan.cols[j]),
                    "purity": round(float(plan.purities[j]), 4),
                    "kept": int(keep[j]),
                }
            )
    return sorted(rows, key=lambda row: (row["class"], row["source"], row["row"], row["col"]))
