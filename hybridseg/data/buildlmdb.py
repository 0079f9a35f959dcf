"""Build a training and a test database from images and masks: every image is in one of the two, whole or as tiles."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.classes import ClassTable
from hybridseg.data.lmdbplan import (
    PARTS,
    LmdbOptions,
    check_images,
    check_masks,
    describe_images,
    find_names,
    find_pairs,
    number_classes,
    split_pairs,
)
from hybridseg.errors import HybridSegError, OutputExists
from hybridseg.io.atomic import claim_folder
from hybridseg.io.images import ImageInfo, load_image, measure_resolution
from hybridseg.io.labelled import check_size, describe_alpha, void_invalid
from hybridseg.io.labels.classids import read_class_ids
from hybridseg.io.lmdbstore import (
    DATA_NAME,
    DatabaseWriter,
    count_map_bytes,
    describe_database,
    is_empty,
    looks_begun,
    remove_database,
)
from hybridseg.io.locks import lock_output
from hybridseg.io.pairing import Pair
from hybridseg.io.samples import Sample, encode_sample
from hybridseg.progress import Progress, no_progress

logger = logging.getLogger(__name__)

# A transaction ends with the record that reaches this: so much is made again after an interruption.
_TRANSACTION_BYTES = 32 << 20
_MASK_BYTES = 4


@dataclass(frozen=True)
class LmdbResult:
    """The two databases: their paths, how many images and records each has, and whether it was finished before."""

    paths: tuple[Path, ...]
    n_images: tuple[int, ...]
    n_records: tuple[int, ...]
    were_finished: tuple[bool, ...]
    table: ClassTable

    def __repr__(self) -> str:
        first, second = (path.name for path in self.paths)
        return f"<LmdbResult: {first} and {second}, records: {self.n_records[0]} and {self.n_records[1]}>"

    @property
    def train_path(self) -> Path:
        """The database for training."""
        return self.paths[0]

    @property
    def test_path(self) -> Path:
        """The database for testing."""
        return self.paths[1]


@dataclass(frozen=True)
class _Place:
    """A record that is to be written: a part of an image."""

    number: int
    row: int
    col: int
    rows: int
    cols: int


def build_lmdb(
    images_dir: Path,
    masks_dir: Path,
    out_dir: Path,
    *,
    options: LmdbOptions,
    table: ClassTable | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> LmdbResult:
    """Write ``train-NAME.lmdb`` and ``test-NAME.lmdb``.

    After an interruption the same call goes on where it stopped, and ends with the same bytes.

    Parameters
    ----------
    images_dir : pathlib.Path
        JPEG, PNG or TIFF of any number of bands, all of one kind and, without tiles, of one size.
    masks_dir : pathlib.Path
        A mask for each, in any form: class ids of 8 to 32 bits, colours, label maps.
    table : ClassTable or None
        The classes; None: those that the first mask names, or numbered ones.
    overwrite : bool
        Replace databases of these names that hold another data set.

    Raises
    ------
    MissingInput, BadInput
        Naming each image without a mask, and each mask that has another size than its image, or is not of class ids.
    OutputExists
        When a database of that name holds another data set.
    WriteFailed
    """
    pairs = find_pairs(images_dir, masks_dir, options.image_format)
    infos = describe_images(pairs)
    check_images(infos, options)
    if alpha := describe_alpha(infos):
        logger.warning("%s", alpha)
    chosen = split_pairs(pairs, options)
    paths = tuple(out_dir / f"{part}-{options.dataset_name}.lmdb" for part in PARTS)
    plans = [_plan(pairs, numbers, options, table) for numbers in chosen]
    with lock_output(paths[0]):
        claim_folder(out_dir)
        states = [_find_state(path, plan, overwrite=overwrite) for path, plan in zip(paths, plans, strict=True)]
        known = next((state for state in states if state), None)
        own = ClassTable.from_records(known["classes"]) if known else None
        if own is None:
            named = table or find_names(pairs[0])
            n_classes = check_masks(pairs, infos, named, progress)
            own = named or number_classes(n_classes)
        finished, counts = [], []
        for path, plan, numbers in zip(paths, plans, chosen, strict=True):
            finished.append(path.is_dir() and describe_database(path)[1])
            builder = _Builder(path, plan | {"classes": own.to_records()}, pairs, infos, numbers, options, own)
            counts.append(len(builder.places) if finished[-1] else builder.build(progress))
    return LmdbResult(paths, tuple(map(len, chosen)), tuple(counts), tuple(finished), own)


def _plan(
    pairs: Sequence[Pair], numbers: Sequence[int], options: LmdbOptions, table: ClassTable | None
) -> dict[str, Any]:
    """Return everything that a database depends on, as JSON holds it."""
    files = [[*_stamp(pairs[i].image_path), *_stamp(pairs[i].labels_path)] for i in numbers]
    tile = options.tile_size if options.use_tiling else None
    given = table.to_records() if table else None
    return {"name": options.dataset_name, "tile_size": tile, "given_classes": given, "files": files}


def _stamp(path: Path) -> tuple[str, int, int]:
    status = path.stat()
    return path.name, status.st_size, status.st_mtime_ns


def _find_state(path: Path, plan: Mapping[str, Any], *, overwrite: bool) -> dict[str, Any] | None:
    """Return the plan of a database that is there and is this very one; remove another one if that is wanted."""
    if not os.path.lexists(path):
        return None
    if not path.is_dir():
        raise OutputExists(f"{path} is no folder; move it away, or give another --dataset_name or --output_folder")
    if is_empty(path):
        return None
    try:
        found, _ = describe_database(path)
    except HybridSegError:
        # A damaged one is ours by its name.
        found = {} if looks_begun(path / DATA_NAME) else None
    if found is not None:
        differing = [key for key in plan if found.get(key) != plan[key]]
        if not differing:
            return found
        if not overwrite:
            words = {"tile_size": "other tiles", "given_classes": "other classes", "files": "other or changed images"}
            what = words.get(differing[0], "something else")
            raise OutputExists(f"{path} holds {what}; --overwrite replaces it, another --dataset_name keeps it")
        remove_database(path)
        return None
    raise OutputExists(f"{path} holds other files; give another --dataset_name or --output_folder")


class _Builder:
    """Writes one database."""

    def __init__(
        self,
        path: Path,
        plan: dict[str, Any],
        pairs: Sequence[Pair],
        infos: Sequence[ImageInfo],
        numbers: Sequence[int],
        options: LmdbOptions,
        table: ClassTable,
    ) -> None:
        self._path, self._plan, self._pairs, self._infos, self._table = path, plan, pairs, infos, table
        tile = options.tile_size if options.use_tiling else None
        self.places = [place for number in numbers for place in _lay_tiles(number, infos[number], tile)]
        self._load = lru_cache(maxsize=1)(self._read)

    def build(self, progress: Progress) -> int:
        """Write what is missing, and return the number of records."""
        lengths = [self._count_bytes(place) for place in self.places]
        writer = DatabaseWriter(self._path, self._plan, map_bytes=count_map_bytes(lengths))
        n_done = writer.count()
        groups = [group for group in _cut(lengths) if group.start >= n_done]
        for group in progress(groups, label=f"writing {self._path.name}"):
            writer.add([encode_sample(self._make(place)) for place in self.places[group]])
        writer.finish(self._describe(writer))
        return len(self.places)

    def _count_bytes(self, place: _Place) -> int:
        info = self._infos[place.number]
        return place.rows * place.cols * (info.n_colors * np.dtype(info.dtype).itemsize + _MASK_BYTES)

    def _read(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        pair = self._pairs[number]
        image = load_image(pair.image_path)
        mask = read_class_ids(pair.labels_path, self._table)
        check_size(pair.labels_path, mask.shape, image.info)
        mask = mask if image.valid is None else void_invalid(mask, image.valid).astype(mask.dtype)
        return image.fill_colors(), mask

    def _make(self, place: _Place) -> Sample:
        image, mask = self._load(place.number)
        part = slice(place.row, place.row + place.rows), slice(place.col, place.col + place.cols)
        return Sample(image[part], mask[part], self._pairs[place.number].image_path.stem, place.row, place.col)

    def _describe(self, writer: DatabaseWriter) -> dict[str, Any]:
        """Return the manifest: all that a training asks for before it reads a record."""
        sources = {place.number: None for place in self.places}
        index = {number: i for i, number in enumerate(sources)}
        infos = [self._infos[number] for number in sources]
        first = self.places[0]
        return {
            "name": self._plan["name"],
            "size": [first.rows, first.cols],
            "bands": infos[0].n_colors,
            "dtype": infos[0].dtype,
            "classes": self._table.to_records(),
            "sources": [
                {"name": info.path.stem, "shape": info.shape, "resolution": measure_resolution(info.georeference)}
                for info in infos
            ],
            "records": [[index[place.number], place.row, place.col] for place in self.places],
            "pixels": [sum(sorted(sample.classes.items()), ()) for sample in writer.describe()],
        }


def _lay_tiles(number: int, info: ImageInfo, tile: int | None) -> Iterator[_Place]:
    """Yield the parts of an image: all of it, or tiles that cover every pixel."""
    if tile is None:
        yield _Place(number, 0, 0, info.rows, info.cols)
        return
    for row in _lay_starts(info.rows, tile):
        for col in _lay_starts(info.cols, tile):
            yield _Place(number, row, col, tile, tile)


def _lay_starts(side: int, tile: int) -> list[int]:
    """Return where the tiles of a side begin.

    Examples
    --------
    >>> _lay_starts(100, 32), _lay_starts(64, 32)
    ([0, 32, 64, 68], [0, 32])
    """
    return sorted({min(start, side - tile) for start in range(0, side, tile)})


def _cut(lengths: Sequence[int]) -> Iterator[slice]:
    """Cut records of so many bytes into transactions."""
    start, room = 0, _TRANSACTION_BYTES
    for number, length in enumerate(lengths):
        room -= length
        if room <= 0 or number == len(lengths) - 1:
            yield slice(start, number + 1)
            start, room = number + 1, _TRANSACTION_BYTES
