"""A database of labelled images in LMDB: many records in one file, read in place by any number of processes.

A database is written in transactions, each of which depends on nothing but
what is in the file already, so a build that was killed ends with the same bytes; its manifest, written last, says
that it is whole.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hybridseg.errors import BadInput, HybridSegError, MissingInput, WriteFailed, located
from hybridseg.io.atomic import check_nothing_lost
from hybridseg.io.lmdbpages import check_pages
from hybridseg.io.samples import Sample, decode_json, decode_sample, describe_sample, encode_json

FORMAT_VERSION = 1
KIND = "hybridseg lmdb"
DATA_NAME, LOCK_NAME = "data.mdb", "lock.mdb"
# Behind the head of the first page.
_MAGIC_PLACE, _MAGIC = 16, bytes.fromhex("dec0efbe")

# Sorted before the numbers of the records, which are appended.
_PLAN_KEY, _MANIFEST_KEY = b"#plan", b"#manifest"
_LEAST_MAP_BYTES = 1 << 20
# A file of no more than two pages, which describe it, holds nothing.
_PAGE_BYTES = 4096
_EMPTY_BYTES = 2 * _PAGE_BYTES


class Database:
    """A finished database, open for reading; threads and processes may share the file.

    Raises
    ------
    MissingInput, BadInput
        When there is none, its build was never finished, or it is damaged or cut short.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not (self.path / DATA_NAME).is_file():
            raise MissingInput(f"{path} is no LMDB database (a folder with {DATA_NAME}); make one with unet build-lmdb")
        with located(self.path), _explain_reading():
            self._environment = _open_reader(self.path)
            manifest = self._get(_MANIFEST_KEY)
            if manifest is None:
                raise BadInput(
                    "its build was not finished; give the build-lmdb command again, which goes on where it stopped"
                    if self._get(_PLAN_KEY)
                    else "it was not made by hybridseg; make it with unet build-lmdb"
                )
            self.manifest = decode_json(manifest)
            if (self.manifest.get("kind"), self.manifest.get("format")) != (KIND, FORMAT_VERSION):
                raise BadInput("it is of another version of hybridseg; make it again with unet build-lmdb")

    def read(self, number: int) -> Sample:
        """Read one record."""
        where, begin = f"{self.path} (record {number})", self._environment.begin
        with located(where), _explain_reading(), begin(buffers=True) as transaction:
            data = transaction.get(_key(number))
            if data is None:
                raise BadInput("there is no such record")
            # Before the transaction ends: the bytes are those of the file itself.
            return decode_sample(data)

    def _get(self, key: bytes) -> bytes | None:
        with self._environment.begin() as transaction:
            found: bytes | None = transaction.get(key)
            return found


def is_empty(path: Path) -> bool:
    """Return whether a folder holds nothing, or no more than a build that was killed in its first transaction."""
    import lmdb

    for entry in path.iterdir():
        if entry.name != DATA_NAME:
            return False
        if not looks_begun(entry):
            return False
        if entry.stat().st_size > _EMPTY_BYTES:
            # Its pages may be there, and what makes them count is not.
            try:
                return bool(_open_reader(path).stat()["entries"] == 0)
            except (lmdb.Error, BadInput):
                return False
    return True


def looks_begun(path: Path) -> bool:
    """Return whether a file begins as one of LMDB does, or holds nothing yet."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(_MAGIC_PLACE + len(_MAGIC))
    return not any(head) or head[_MAGIC_PLACE:] in (_MAGIC, _MAGIC[::-1])


def remove_database(path: Path) -> None:
    """Remove a database, whose folder may hold nothing else.

    Raises
    ------
    OutputExists
    """
    check_nothing_lost(path, lambda place: place.name in (DATA_NAME, LOCK_NAME))
    _close_reader(path)
    shutil.rmtree(path)


def describe_database(path: Path) -> tuple[dict[str, Any] | None, bool]:
    """Return the plan of a database that was begun, None where there is none, and whether it is finished."""
    if is_empty(path) or not (path / DATA_NAME).exists():
        return None, False
    with located(path), _explain_reading():
        with _open_reader(path).begin() as transaction:
            plan, manifest = transaction.get(_PLAN_KEY), transaction.get(_MANIFEST_KEY)
        return None if plan is None else decode_json(plan), manifest is not None


class DatabaseWriter:
    """Writes a database in transactions; whoever is killed finds all of those that were finished.

    Parameters
    ----------
    plan : mapping
        What is being written, as JSON holds it; that of a database that was begun stays.
    map_bytes : int
        Largest size of the file.

    Raises
    ------
    WriteFailed
        When it cannot be written: a full disk, no permission, or more than `map_bytes`.
    """

    def __init__(self, path: Path, plan: Mapping[str, Any], *, map_bytes: int) -> None:
        self.path, self._map_bytes = path, map_bytes
        path.mkdir(parents=True, exist_ok=True)
        if describe_database(path)[0] is None:
            remove_database(path)
            path.mkdir()
            self._write({_PLAN_KEY: encode_json(plan)})
        with located(self.path), _explain_reading():
            # One entry is the plan.
            self._n_records = int(_open_reader(self.path).stat()["entries"]) - 1

    def count(self) -> int:
        """Return how many records there are."""
        return self._n_records

    def add(self, records: Sequence[bytes]) -> None:
        """Append records in one transaction."""
        start = self._n_records
        self._write({_key(start + i): record for i, record in enumerate(records)}, append=True)
        self._n_records += len(records)

    def describe(self) -> Iterator[Sample]:
        """Yield what the header of each record says."""
        n_records = self.count()
        with located(self.path), _explain_reading(), _open_reader(self.path).begin(buffers=True) as transaction:
            for number in range(n_records):
                yield describe_sample(transaction.get(_key(number)))

    def finish(self, manifest: Mapping[str, Any]) -> None:
        """Write the manifest, with which the database is whole."""
        self._write({_MANIFEST_KEY: encode_json({"kind": KIND, "format": FORMAT_VERSION, **manifest})})

    def _write(self, entries: Mapping[bytes, bytes], *, append: bool = False) -> None:
        """Write entries in a transaction.

        The file is opened for it alone: nothing that an earlier one left in memory gets into its pages, so they are
        the same whether or not the program was killed in between.
        """
        _close_reader(self.path)
        with (
            _explain_writing(self.path),
            _open(self.path, map_size=self._map_bytes) as environment,
            environment.begin(write=True) as transaction,
        ):
            for key, value in entries.items():
                transaction.put(key, value, append=append)


def count_map_bytes(lengths: Iterable[int]) -> int:
    """Return a size that suffices for a database of records of so many bytes of pixels, each in pages of its own.

    Examples
    --------
    >>> count_map_bytes([5000, 5000]) - count_map_bytes([])
    24576
    """
    return _LEAST_MAP_BYTES + sum(_PAGE_BYTES * (2 + length // _PAGE_BYTES) for length in lengths)


def _key(number: int) -> bytes:
    return b"%010d" % number


def _open(path: Path, **settings: Any) -> Any:
    import lmdb

    # Nobody but us writes, one at a time (`hybridseg.io.locks.lock_output`), and what is finished never changes.
    return lmdb.open(os.fspath(path), create=not settings.get("readonly"), lock=False, **settings)


# Of each file one is open for reading: a process may not open it twice.
_readers: dict[Path, tuple[os.stat_result, Any]] = {}
_readers_lock = threading.Lock()


def _open_reader(path: Path) -> Any:
    """Open a database for reading, or return it if it is open; one that was replaced since is opened anew."""
    path = path.resolve()
    with _readers_lock:
        status = (path / DATA_NAME).stat()
        known = _readers.get(path)
        if known is not None and os.path.samestat(known[0], status) and known[0].st_mtime_ns == status.st_mtime_ns:
            return known[1]
        if known is not None:
            known[1].close()
        check_pages(path / DATA_NAME)
        environment = _open(path, readonly=True)
        _readers[path] = status, environment
        return environment


def _close_reader(path: Path) -> None:
    with _readers_lock:
        known = _readers.pop(path.resolve(), None)
        if known is not None:
            known[1].close()


@contextmanager
def _explain_reading() -> Iterator[None]:
    import lmdb

    try:
        yield
    except lmdb.Error as error:
        raise BadInput(
            f"it cannot be read as an LMDB database ({error}); make it again with unet build-lmdb"
        ) from error


@contextmanager
def _explain_writing(path: Path) -> Iterator[None]:
    import lmdb

    try:
        yield
    except lmdb.MapFullError as error:
        raise WriteFailed(f"could not write {path}: the records are larger than the room that was set aside") from error
    except (lmdb.Error, OSError) as error:
        if isinstance(error, HybridSegError):
            raise
        raise WriteFailed(
            f"could not write {path} ({error}); check the free space and your permission there, then give the same "
            "command again: it goes on where it stopped"
        ) from error
