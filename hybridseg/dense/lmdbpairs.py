"""A database of labelled images as pairs to train on, and the batches that readers make of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.classes import VOID, ClassTable
from hybridseg.dense.machines import Share
from hybridseg.dense.policy import Policy
from hybridseg.errors import BadInput, located
from hybridseg.io.jsonfiles import parse_whole
from hybridseg.io.lmdbstore import Database
from hybridseg.io.tfrecords import SAMPLE_TYPES
from hybridseg.markup import count_of
from hybridseg.models.cards import hash_bytes
from hybridseg.models.normalization import Normalization
from hybridseg.models.views import View


class LmdbPairs:
    """The pairs of a database that `hybridseg.data.buildlmdb` wrote; none is read before it is asked for.

    Parameters
    ----------
    n_classes : int or None
        More than the database knows are numbered; None: as many as it knows.

    Raises
    ------
    MissingInput, BadInput
        When there is no finished database, it contradicts itself, or it has ids beyond the classes.
    """

    def __init__(self, path: Path, *, n_classes: int | None = None) -> None:
        self.path, self._database = path, Database(path)
        manifest = self._database.manifest
        try:
            rows, cols = (parse_whole(side, low=1) for side in manifest["size"])
            self.size, self.n_bands = (rows, cols), parse_whole(manifest["bands"], low=1)
            if manifest["dtype"] not in SAMPLE_TYPES:
                raise ValueError(f"samples of type {manifest['dtype']!r}")
            self.dtype = np.dtype(manifest["dtype"])
            names, shapes = zip(*((str(one["name"]), tuple(one["shape"])) for one in manifest["sources"]), strict=True)
            resolutions = [one["resolution"] for one in manifest["sources"]]
            self.sources = tuple(names[record[0]] for record in manifest["records"])
            # Ids and numbers of pixels in turn.
            self.pixels = [dict(zip(found[::2], found[1::2], strict=True)) for found in manifest["pixels"]]
            if not all(type(key) is type(n) is int for found in self.pixels for key, n in found.items()):
                raise ValueError("its numbers of pixels are none")
            known = ClassTable.from_records(manifest["classes"])
            if len(self.pixels) != len(self.sources) or not self.sources:
                raise ValueError("its records and their classes do not fit")
            median = tuple(int(side) for side in np.median(np.array(shapes), axis=0).round())
            resolution = float(np.median(resolutions)) if None not in resolutions else None
            self.view = View(True, (1.0, 1.0), (median[0], median[1]), resolution)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise BadInput(f"{path} is damaged ({error}); make it again with unet build-lmdb") from error
        with located(path):
            self.table = _fit_table(known, n_classes)
            self._check_ids()
        text = json.dumps(manifest, sort_keys=True).encode("utf-8", "surrogateescape")
        self.fingerprint = hash_bytes(text + repr(self.table).encode("utf-8", "surrogateescape"))

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return an image and its labels."""
        sample = self._database.read(index)
        if sample.image.shape != (*self.size, self.n_bands) or sample.image.dtype != self.dtype:
            raise BadInput(f"{self.path} (record {index}) is another one than its manifest says; make it again")
        return sample.image, sample.mask.astype(np.uint8)

    def _check_ids(self) -> None:
        for source, found in zip(self.sources, self.pixels, strict=True):
            strange = sorted(found.keys() - {VOID} - set(range(len(self.table))))
            if strange:
                raise BadInput(
                    f"{source} has the class id {strange[0]}, and there are {count_of(len(self.table), 'class')}: give "
                    f"--number_classes {strange[-1] + 1} or more"
                )


def _fit_table(known: ClassTable, n_classes: int | None) -> ClassTable:
    """Return the first classes, or more of them."""
    n_classes = len(known) if n_classes is None else n_classes
    if n_classes <= len(known):
        return ClassTable(known.names[:n_classes], known.colors[:n_classes])
    more = ClassTable.from_names([*known.names, *(f"class {number}" for number in range(len(known), n_classes))])
    return ClassTable(more.names, (*known.colors, *more.colors[len(known) :]))


@dataclass(frozen=True)
class BatchMaker:
    """Makes the batches of a training: what it makes depends on the seed and the number of the batch alone.

    It holds no open file, so that it can be sent to another process.

    Parameters
    ----------
    balance : bool
        Draw a class first, each as often, then one of the records that have it.
    share : Share
        Make this part of every batch only.
    """

    path: Path
    n_classes: int
    batch_size: int
    normalization: Normalization
    policy: Policy
    seed: int
    balance: bool = False
    share: Share = Share()

    @property
    def own(self) -> range:
        """The images of a batch that it makes."""
        return range(*self.share.of(self.batch_size))

    @cached_property
    def pairs(self) -> LmdbPairs:
        """The pairs, which are opened in each process when they are first asked for."""
        return LmdbPairs(self.path, n_classes=self.n_classes)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open file out."""
        return {name: value for name, value in self.__dict__.items() if name not in ("pairs", "_records_of")}

    def choose(self, number: int) -> list[int]:
        """Return the records of a batch."""
        if not self.balance:
            n, places = len(self.pairs.sources), range(number * self.batch_size, (number + 1) * self.batch_size)
            return [int(_shuffle(n, place // n, self.seed)[place % n]) for place in places]
        draws = np.random.default_rng((self.seed, number))
        classes = draws.integers(0, len(self._records_of), self.batch_size)
        return [int(draws.choice(self._records_of[k])) for k in classes]

    def make(self, number: int, images: np.ndarray, labels: np.ndarray) -> None:
        """Fill arrays, (n, rows, cols, bands) float32 and (n, rows, cols) uint8, with its share of a batch."""
        white, chosen = 255.0 if self.pairs.dtype == np.uint8 else None, self.choose(number)
        for slot in self.own:
            index = chosen[slot]
            image, own = self.pairs.read(index)
            changed, moved = self.policy.change_array(
                image.astype(np.float32), own, seed=(self.seed, number, slot), white=white
            )
            images[slot - self.own.start], labels[slot - self.own.start] = self.normalization.apply(changed), moved

    @cached_property
    def _records_of(self) -> Sequence[np.ndarray]:
        """The records that have each class which occurs."""
        found = [[i for i, pixels in enumerate(self.pairs.pixels) if pixels.get(k)] for k in range(self.n_classes)]
        if not any(found):
            raise BadInput(f"{self.path} has no pixel of any class, so there is nothing to train on")
        return [np.array(records) for records in found if records]


@lru_cache(maxsize=2)
def _shuffle(n: int, turn: int, seed: int) -> np.ndarray:
    return np.random.default_rng((seed, turn)).permutation(n)
