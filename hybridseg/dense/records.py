"""Write augmented copies of labelled images into shards of TFRecords: made once, trained on many times.

The originals are not among them: they are held out for evaluation. ``plan.json`` says what is being made, so that an
interrupted run can resume; ``index.json``, written last, says where each record lies.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.dense.augment import AugmentOptions, augment_batch
from hybridseg.dense.pairs import PairSource
from hybridseg.dense.recordpairs import DAMAGE, FORMAT_VERSION, INDEX_NAME, KIND, check_ids
from hybridseg.draw import shuffle_names
from hybridseg.errors import BadInput, HybridSegError, OutputExists, WriteFailed
from hybridseg.io.atomic import claim_folder
from hybridseg.io.jsonfiles import read_json_object
from hybridseg.io.locks import lock_output
from hybridseg.io.tables import write_json
from hybridseg.io.tfrecords import SAMPLE_TYPES, Record, RecordPlace, choose_encoding, scan_shard, write_shard
from hybridseg.markup import count_of, short_path
from hybridseg.models.cards import hash_bytes
from hybridseg.models.startup import import_tensorflow
from hybridseg.options import PREFIX_WORDS, Span, check_options, is_prefix, option
from hybridseg.progress import Progress, no_progress

PLAN_NAME = "plan.json"

_SHARD_NAME = r"-[0-9]{4,}-of-[0-9]{4,}\.tfrec"


@dataclass(frozen=True)
class RecordOptions:
    """Everything that the records depend on, besides the pairs."""

    copies: int = option(1, "Copies of each pair.", span=Span(1))
    loops: int = option(1, "Portions in which they are made: only the images of one are in memory.", span=Span(1))
    per_shard: int = option(50, "Records in a file.", span=Span(1))
    prefix: str = option("records", "Prefix of the names of the files.")
    augment: AugmentOptions = AugmentOptions()
    seed: int = option(0, "Seed of every random choice.", span=Span(0, 1 << 63, below=True))

    def __post_init__(self) -> None:
        check_options(self)
        if not is_prefix(self.prefix):
            raise BadInput(f"prefix={self.prefix!r}: give {PREFIX_WORDS}")


@dataclass(frozen=True)
class RecordsResult:
    """Where the records are, how many there are, and how many shards an earlier run had made already."""

    index_path: Path
    shard_paths: tuple[Path, ...]
    n_records: int
    n_skipped: int

    def __repr__(self) -> str:
        n_shards = len(self.shard_paths) + self.n_skipped
        where = short_path(self.index_path.parent)
        return f"<RecordsResult: {count_of(self.n_records, 'image')} in {count_of(n_shards, 'shard')} of {where}>"


def make_records(
    pairs: PairSource,
    out_dir: str | os.PathLike[str],
    *,
    options: RecordOptions,
    remap: Mapping[int, int] = {},
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> RecordsResult:
    """Write augmented copies of all pairs into shards ``PREFIX-0001-of-0010.tfrec``, and ``index.json``.

    After an interruption the same call resumes where it stopped. A copy depends on the seed, the name of its
    photograph and its number alone, so the same call gives the same bytes.

    Parameters
    ----------
    remap : mapping
        The new ids that the pairs give values of their label maps; the records remember them.
    overwrite : bool
        Replace records in `out_dir` that are complete, or were made from other pairs or with other options.

    Raises
    ------
    OutputExists
        When other records are in `out_dir` and `overwrite` is not set.
    MissingInput, BadInput
        When a pair cannot be read, has another size than its source says, or labels that are not class ids.
    WriteFailed
    """
    out_dir = Path(out_dir).resolve()
    plan = _plan_records(pairs, options, remap)
    with lock_output(out_dir, inside=PLAN_NAME):
        _prepare_folder(out_dir, plan, overwrite=overwrite)
        import_tensorflow()
        maker = _CopyMaker(pairs, plan, options)
        shards, n_skipped = [], 0
        for number in progress(range(plan.n_shards), label="writing records"):
            path, wanted = out_dir / plan.name_shard(number), plan.list_shard(number)
            places = _find_whole(path, wanted, pairs.sources)
            n_skipped += places is not None
            if places is None:
                # No index is better than one that describes another file.
                _remove([out_dir / INDEX_NAME])
                places = write_shard(path, maker.make(wanted))
            shards.append(_describe_shard(path, places, wanted))
        write_json(out_dir / INDEX_NAME, _describe_records(pairs, plan) | {"shards": shards})
    paths = tuple(out_dir / plan.name_shard(number) for number in range(plan.n_shards))
    return RecordsResult(out_dir / INDEX_NAME, paths, len(plan.order), n_skipped)


@dataclass(frozen=True)
class _Plan:
    """The copies to make, (pair, number of the copy), in their order, and a record of all they depend on."""

    record: dict[str, Any]
    names: list[str]
    groups: list[int]
    order: list[tuple[int, int]]
    prefix: str
    per_shard: int

    @property
    def hash(self) -> str:
        return hash_bytes(json.dumps(self.record, sort_keys=True).encode())

    @property
    def n_shards(self) -> int:
        return -(-len(self.order) // self.per_shard)

    def name_shard(self, number: int) -> str:
        return f"{self.prefix}-{number + 1:04d}-of-{self.n_shards:04d}.tfrec"

    def list_shard(self, number: int) -> list[tuple[int, int]]:
        return self.order[number * self.per_shard : (number + 1) * self.per_shard]


def _plan_records(pairs: PairSource, options: RecordOptions, remap: Mapping[int, int]) -> _Plan:
    if pairs.dtype.name not in SAMPLE_TYPES:
        raise BadInput(f"records cannot hold samples of type {pairs.dtype}; convert the images to float32")
    names = _name_pairs(pairs.sources)
    number_of = {name: number for number, name in enumerate(names)}
    shuffled = shuffle_names(names, seed=options.seed)
    groups, order = [0] * len(names), []
    for group in range(min(options.loops, len(names))):
        members = shuffled[group :: options.loops]
        for name in members:
            groups[number_of[name]] = group
        copies = {_name_copy(n, copy): (number_of[n], copy) for n in members for copy in range(1, options.copies + 1)}
        order += [copies[key] for key in shuffle_names(copies, seed=options.seed)]
    record = {
        "format": FORMAT_VERSION,
        "kind": KIND,
        "options": {"size": list(pairs.size), **asdict(options)},
        "pairs": pairs.fingerprint,
        "remap": {str(old): new for old, new in sorted(remap.items())},
        "bands": pairs.n_bands,
        "dtype": pairs.dtype.name,
        "classes": pairs.table.to_records(),
    }
    return _Plan(record, names, groups, order, options.prefix, options.per_shard)


def _name_pairs(sources: Sequence[str]) -> list[str]:
    """Return a unique name for every pair: that of its photograph, with a number from the second one on."""
    seen: Counter[str] = Counter()
    names = []
    for source in sources:
        # No file name has a NUL, so these are never the name of another photograph.
        names.append(f"{source}\0{seen[source]}" if seen[source] else source)
        seen[source] += 1
    return names


def _name_copy(name: str, copy: int) -> str:
    return f"{copy}\0{name}"


class _CopyMaker:
    """Makes copies one by one, and keeps the images of one portion in memory meanwhile."""

    def __init__(self, pairs: PairSource, plan: _Plan, options: RecordOptions) -> None:
        self._pairs, self._plan, self._options = pairs, plan, options
        self._group = -1
        self._kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def make(self, wanted: Iterable[tuple[int, int]]) -> Iterator[Record]:
        for number, copy in wanted:
            image, labels = self._read(number)
            seed = _draw_seed(self._plan.names[number], copy)
            changed = _change_pair(image, labels, self._options.augment, seed=(np.int64(self._options.seed), seed))
            yield Record(*changed, self._pairs.sources[number], copy)

    def _read(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        if self._plan.groups[number] != self._group:
            self._group, self._kept = self._plan.groups[number], {}
        if number not in self._kept:
            image, labels = self._pairs.read(number)
            where = self._pairs.sources[number]
            expected = (*self._pairs.size, self._pairs.n_bands)
            if image.shape != expected or labels.shape != self._pairs.size:
                raise BadInput(f"{where} has the shape {image.shape}, not {expected}")
            check_ids(labels, self._pairs.table, where=where)
            self._kept[number] = image, labels
        return self._kept[number]


def _draw_seed(name: str, copy: int) -> np.int64:
    # Some file systems give the same name in another Unicode form.
    text = unicodedata.normalize("NFC", _name_copy(name, copy))
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    return np.int64(int.from_bytes(digest[:8], "little") >> 1)


def _change_pair(
    image: np.ndarray, labels: np.ndarray, options: AugmentOptions, *, seed: tuple[np.int64, np.int64]
) -> tuple[np.ndarray, np.ndarray]:
    """Return an augmented image, of the type that it had, and its labels."""
    if not options.any:
        return image, labels
    import tensorflow as tf

    # Small work, and a graphics card would round differently.
    with tf.device("CPU:0"):
        pixels = tf.constant(image[None].astype(np.float32))
        images, maps = augment_batch(pixels, tf.constant(labels[None]), options, seed=seed)
    return _round_to(images[0].numpy(), image.dtype), maps[0].numpy()


def _round_to(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if dtype.kind == "f":
        return values.astype(dtype)
    # The largest 32-bit integers do not fit a float32.
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values.astype(np.float64)), limits.min, limits.max).astype(dtype)


def _prepare_folder(out_dir: Path, plan: _Plan, *, overwrite: bool) -> None:
    """Keep the shards of this very plan, of an interrupted run or a finished one; remove others if asked to."""
    known, index_path = _read_plan(out_dir), out_dir / INDEX_NAME
    is_same = known is not None and known[0] == plan.hash
    finished = index_path.exists()
    claim_folder(out_dir)
    if not is_same or (overwrite and finished):
        prefixes = {plan.prefix, known[1]} if known else {plan.prefix}
        old = [path for path in sorted(out_dir.iterdir()) if _is_shard(path.name, prefixes)]
        if (old or finished) and not overwrite:
            raise OutputExists(
                f"{out_dir} holds records of other images or options; give --overwrite to replace them, "
                "or another folder"
            )
        # In this order an interruption leaves the old plan with fewer shards, or the new one with none.
        _remove([index_path, *old])
        write_json(out_dir / PLAN_NAME, plan.record | {"plan": plan.hash})


def _read_plan(out_dir: Path) -> tuple[str, str] | None:
    """Return the hash and prefix of the records in a folder; foreign files of these names are never touched."""
    for name in (PLAN_NAME, INDEX_NAME):
        path = out_dir / name
        if not path.exists():
            continue
        try:
            record = read_json_object(path, errors="surrogateescape")
            if record["kind"] != KIND:
                raise ValueError
            if name == PLAN_NAME:
                # Beside our plan a damaged index is ours.
                return str(record["plan"]), str(record["options"]["prefix"])
        except (*DAMAGE, HybridSegError):
            raise OutputExists(
                f"{path} was not written by this command, or is damaged; move it away, or choose another folder"
            ) from None
    return None


def _is_shard(name: str, prefixes: Iterable[str]) -> bool:
    return any(re.fullmatch(re.escape(prefix) + _SHARD_NAME, name) for prefix in prefixes)


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise WriteFailed(f"could not remove {path}: {error.strerror or error}; remove it yourself") from error


def _find_whole(path: Path, wanted: list[tuple[int, int]], sources: Sequence[str]) -> list[RecordPlace] | None:
    """Return the places of the records of a shard that an earlier run has made; None if it must be made."""
    if not path.exists():
        return None
    try:
        found = scan_shard(path)
    except HybridSegError:
        return None
    is_whole = [(source, copy) for _, source, copy in found] == [(sources[number], copy) for number, copy in wanted]
    return [place for place, _, _ in found] if is_whole else None


def _describe_records(pairs: PairSource, plan: _Plan) -> dict[str, Any]:
    return {
        "format": FORMAT_VERSION,
        "kind": KIND,
        "plan": plan.hash,
        "remap": plan.record["remap"],
        "size": list(pairs.size),
        "bands": pairs.n_bands,
        "dtype": pairs.dtype.name,
        "encoding": choose_encoding((*pairs.size, pairs.n_bands), pairs.dtype),
        "classes": pairs.table.to_records(),
        "sources": list(pairs.sources),
    }


def _describe_shard(path: Path, places: list[RecordPlace], wanted: list[tuple[int, int]]) -> dict[str, Any]:
    records = [
        asdict(place) | {"source": number, "copy": copy} for place, (number, copy) in zip(places, wanted, strict=True)
    ]
    return {"name": path.name, "bytes": path.stat().st_size, "records": records}
