"""Records as pairs to train on: the index is checked when they are opened, each record when it is read."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.classes import VOID, ClassTable
from hybridseg.errors import BadInput, HybridSegError, MissingInput
from hybridseg.io.jsonfiles import parse_whole, read_json_object
from hybridseg.io.rasters import check_regular
from hybridseg.io.tfrecords import SAMPLE_TYPES, RecordPlace, read_record
from hybridseg.models.cards import hash_bytes
from hybridseg.models.startup import import_tensorflow

FORMAT_VERSION = 1
KIND = "hybridseg records"
INDEX_NAME = "index.json"
# What reading a record of something else may raise.
DAMAGE = (OSError, ValueError, TypeError, LookupError, AttributeError)

_AGAIN = "run make-tfrecords again"
_parse_size = partial(parse_whole, low=0, high=2**63 - 1)


class RecordPairs:
    """The pairs of records whose ``index.json`` holds `index`; `open_records` reads it.

    No record is read before it is asked for.

    Raises
    ------
    MissingInput, BadInput, ValueError, TypeError, LookupError
        When the index contradicts itself, or a shard is missing or cut short.
    """

    def __init__(self, folder: Path, index: dict[str, Any]) -> None:
        rows, cols = (parse_whole(side, low=1) for side in index["size"])
        self.folder, self.size = folder, (rows, cols)
        self.n_bands, self.table = parse_whole(index["bands"], low=1), ClassTable.from_records(index["classes"])
        if index["dtype"] not in SAMPLE_TYPES:
            raise ValueError(f"samples of type {index['dtype']!r}")
        self.dtype = np.dtype(index["dtype"])
        # The ids that values of the label maps were given; None where an earlier version did not write it down.
        self.remap = _parse_remap(index["remap"]) if "remap" in index else None
        photographs = [_read_text(name) for name in index["sources"]]
        self._entries = [entry for shard in index["shards"] for entry in _parse_shard(folder, shard, photographs)]
        if not self._entries:
            raise ValueError("it lists no record")
        self.sources = tuple(source for _, _, source, _ in self._entries)
        self.fingerprint = hash_bytes(json.dumps(index, sort_keys=True).encode())

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return an image and its labels."""
        path, place, source, copy = self._entries[index]
        try:
            record = read_record(path, place)
            found = (record.source, record.copy, record.image.shape, record.image.dtype)
            if found != (source, copy, (*self.size, self.n_bands), self.dtype):
                raise BadInput(f"{path} holds another record than {INDEX_NAME} says")
            check_ids(record.labels, self.table, where=path)
        except HybridSegError as error:
            raise type(error)(f"{error}; {_AGAIN}") from error
        return record.image, record.labels


def open_records(folder: str | os.PathLike[str]) -> RecordPairs:
    """Open the records that `make_records` wrote.

    Raises
    ------
    MissingInput, BadInput
        When the index or a shard is missing or damaged: the message says to run make-tfrecords again.
    """
    folder = Path(folder).resolve()
    path = folder / INDEX_NAME
    if not path.exists():
        raise MissingInput(f"{folder} has no {INDEX_NAME}, so it holds no finished records; {_AGAIN}")
    try:
        record = read_json_object(path, errors="surrogateescape", remedy=_AGAIN)
        if record.get("format") != FORMAT_VERSION or record.get("kind") != KIND:
            raise BadInput(f"{path} was not written by this version of hybridseg; {_AGAIN}")
        pairs = RecordPairs(folder, record)
    except (*DAMAGE, HybridSegError) as error:
        if _AGAIN in str(error):
            raise
        raise BadInput(f"{path} is damaged ({error}); {_AGAIN}") from error
    import_tensorflow(start=False)
    return pairs


def check_ids(labels: np.ndarray, table: ClassTable, *, where: object) -> None:
    """Raise BadInput for labels that are neither a class id nor VOID."""
    strange = (labels >= len(table)) & (labels != VOID)
    if strange.any():
        raise BadInput(f"{where} has the label {labels[strange][0]}; the classes go from 0 to {len(table) - 1}")


def _parse_shard(folder: Path, shard: Any, photographs: list[str]) -> list[tuple[Path, RecordPlace, str, int]]:
    """List the records of a shard, after checking its file."""
    name = _read_text(shard["name"])
    # A name from a file never leads out of the folder.
    if "/" in name or "\\" in name or name.startswith(".") or not name.endswith(".tfrec"):
        raise ValueError(f"{name!r} is not the name of a shard")
    path = folder / name
    if not path.exists():
        raise MissingInput(f"{path} is missing, which {INDEX_NAME} lists; {_AGAIN}")
    if check_regular(path).stat().st_size != _parse_size(shard["bytes"]):
        raise BadInput(f"{path} is not as long as {INDEX_NAME} says: it is cut short or another file; {_AGAIN}")
    entries = []
    for row in shard["records"]:
        place = RecordPlace(_parse_size(row["offset"]), _parse_size(row["length"]), _parse_size(row["crc32"]))
        entries.append((path, place, photographs[_parse_size(row["source"])], _parse_size(row["copy"])))
    if sum(place.length for _, place, _, _ in entries) != shard["bytes"]:
        raise ValueError(f"it does not list all records of {name}")
    return entries


def _parse_remap(record: dict[str, Any]) -> dict[int, int]:
    return {parse_whole(int(old), low=0, high=VOID): parse_whole(new, low=0, high=VOID) for old, new in record.items()}


def _read_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} where a text should be")
    return value
