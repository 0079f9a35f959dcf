"""The manifest of a folder of results: one line of JSON for each image, written as soon as it is done or has failed.

It says of each what it was made of, by which model and settings, what that cost, and how it ended. A second run does
only what is missing or changed.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from hybridseg import __version__
from hybridseg.batch.parts import drop_kept, list_parts
from hybridseg.batch.results import ImageResult
from hybridseg.errors import BadInput, HybridSegError, MissingInput, Problem, WriteFailed, located
from hybridseg.io.images import describe_image
from hybridseg.io.jsonfiles import parse_json_object
from hybridseg.io.labels.labeltiff import list_sidecars
from hybridseg.io.locks import lock_output
from hybridseg.io.marks import is_ours
from hybridseg.io.rasters import check_regular
from hybridseg.io.remote import find_tag
from hybridseg.io.sources import describe_source, is_remote, needs_copy
from hybridseg.io.trusted import PREFIX
from hybridseg.machine import read_peak
from hybridseg.models.cards import hash_file, parse_fields, stamp_file

MANIFEST_NAME = "manifest.jsonl"
DONE, FAILED = "done", "failed"
_FORMAT = 1
_MAX_BYTES = 2_000_000_000
_MAX_LINE = 100_000_000
# Of megapixels, megabytes, bytes and seconds.
_LEAST_AMOUNT, _MOST_AMOUNT = 1e-12, 1e18
_REMEDY = "move it away and run again"
# What entries of earlier versions lack.
_NEWER = "measures", "remark"


@dataclass(frozen=True)
class Start:
    """The beginning of a run: the images that were asked for, and with what they are segmented."""

    images: tuple[str, ...]
    job: str
    settings: dict[str, Any]
    engine: str
    refused: dict[str, str] = field(default_factory=dict)
    """Those of them that are not even tried, with the reason."""
    format: int = _FORMAT
    version: str = __version__
    time: str = ""


@dataclass(frozen=True)
class ImageFacts:
    """The file of an image, as it was when it was done, and what that took.

    Parameters
    ----------
    size, mtime_ns, sha256
        None where it cannot be read.
    peak_mb : float
        The most memory that the process held meanwhile.
    tag : str
        Of an image that is copied first, what tells whether it has changed, see `hybridseg.io.remote.find_tag`.
    n_workers : int
        That shared its parts.
    """

    size: int | None = None
    mtime_ns: int | None = None
    sha256: str | None = None
    megapixels: float = 0.0
    peak_mb: float = 0.0
    tag: str = ""
    n_workers: int = 1

    def __post_init__(self) -> None:
        _check_amounts(self.megapixels, self.peak_mb, self.n_workers)


@dataclass(frozen=True)
class Entry:
    """The outcome of one image.

    Parameters
    ----------
    image : str
        Its absolute path.
    result : str
        `DONE` or `FAILED`.
    job : str
        The fingerprint of models and settings.
    written : tuple of str
        The files, from the folder of the manifest.
    reason : str
        Why it has failed.
    measures : dict
        How sure the result is, see `hybridseg.batch.results.ImageResult`.
    remark : str
        See the same.
    """

    image: str
    result: str
    job: str
    facts: ImageFacts
    written: tuple[str, ...] = ()
    reason: str = ""
    warnings: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    bytes_written: int = 0
    measures: dict[str, float] = field(default_factory=dict)
    remark: str = ""
    version: str = __version__
    time: str = ""

    def __post_init__(self) -> None:
        _check_amounts(self.bytes_written, *self.seconds.values())


@dataclass
class Manifest:
    """The manifest of a folder: the last run, and the last entry of each image.

    Parameters
    ----------
    path : pathlib.Path
        ``manifest.jsonl``.
    asked : dict of str to str
        Every image that any run was asked for, and the fingerprint of what the last of these was to do with it.
    refused : dict of str to str
        Those of them that the last run would not try, with the reason.
    """

    path: Path
    start: Start | None = None
    entries: dict[str, Entry] = field(default_factory=dict)
    asked: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    _whole_bytes: int = 0
    _parts: dict[str, list[Path]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of a folder; an empty one where there is none.

        A last line that was cut when the machine died is left out.

        Raises
        ------
        BadInput
            When it is damaged, or the folder is a file.
        """
        manifest = cls(folder / MANIFEST_NAME)
        if folder.is_file():
            raise BadInput(f"{folder} is a file; give a folder for the results, such as results")
        try:
            check_regular(manifest.path)
        except MissingInput:
            return manifest
        with located(manifest.path):
            if manifest.path.stat().st_size > _MAX_BYTES:
                raise BadInput(f"it is larger than {_MAX_BYTES // 1_000_000} MB; {_REMEDY}")
            with manifest.path.open("rb") as file:
                for number, line in enumerate(iter(lambda: file.readline(_MAX_LINE), b""), 1):
                    if line.endswith(b"\n"):
                        manifest._take_line(line, number)
                        manifest._whole_bytes += len(line)
                    elif file.read(1):
                        raise BadInput(f"line {number} is longer than {_MAX_LINE:,} bytes; {_REMEDY}")
        return manifest

    def _take_line(self, line: bytes, number: int) -> None:
        with located(f"line {number}"):
            record = parse_json_object(line, errors="surrogateescape", remedy=_REMEDY)
            try:
                if "images" in record:
                    start = parse_fields(Start, record, what="a run", newer=("refused",))
                    _check_time(start.time)
                    if start.format != _FORMAT:
                        raise BadInput(f"it was written by another version of hybridseg; {_REMEDY}")
                    self._take_start(start)
                else:
                    facts = parse_fields(
                        ImageFacts, record.pop("facts", None), what="the facts of an image", newer=("tag", "n_workers")
                    )
                    entry = parse_fields(Entry, {**record, "facts": facts}, what="an image", newer=_NEWER)
                    _check_time(entry.time)
                    self.entries[entry.image] = entry
            except BadInput:
                raise
            except (TypeError, ValueError) as error:
                raise BadInput(f"it is damaged ({error}); {_REMEDY}") from error

    def _take_start(self, start: Start) -> None:
        self.start = start
        self.asked.update(dict.fromkeys(start.images, start.job))
        self.refused = {image: why for image, why in self.refused.items() if image not in start.images} | start.refused

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep others from writing to the same folder, and drop a last line that was cut when a machine died.

        Raises
        ------
        OutputExists
            When another run works there.
        """
        with lock_output(self.path):
            if self.path.exists():
                with self.path.open("r+b") as file:
                    file.truncate(self._whole_bytes)
            self._parts = list_parts(self.path.parent)
            yield

    def begin(
        self,
        images: Sequence[Path],
        *,
        job: str,
        settings: Mapping[str, Any],
        engine: str,
        refused: Mapping[Path, Problem] = {},
    ) -> None:
        """Note what is asked for, and what of it will not be tried."""
        reasons = {find_key(image): problem.message for image, problem in refused.items()}
        start = Start(tuple(map(find_key, images)), job, dict(settings), engine, reasons, time=_now())
        self._take_start(start)
        self._append(start)

    def add(self, image: Path, outcome: ImageResult | Problem, facts: ImageFacts | None, *, job: str) -> None:
        """Record the outcome of an image."""
        about: dict[str, Any]
        if isinstance(outcome, Problem):
            about = {"result": FAILED, "reason": outcome.message}
        else:
            written = [*outcome.written, *chain.from_iterable(map(list_sidecars, outcome.written))]
            n_bytes = sum(path.stat().st_size for path in written)
            about = {"result": DONE, "written": tuple(map(self._shorten, written)), "bytes_written": n_bytes}
            about |= {"warnings": outcome.warnings, "seconds": outcome.seconds}
            about |= {"measures": outcome.measures, "remark": outcome.remark}
            self._remove_older(find_key(image), written)
            # Those of other settings, under the names of their results.
            for folder in self._parts.pop(find_key(image), ()):
                drop_kept(folder)
        entry = Entry(find_key(image), job=job, facts=facts or ImageFacts(), time=_now(), **about)
        self.entries[entry.image] = entry
        self._append(entry)

    def _remove_older(self, image: str, written: Sequence[Path]) -> None:
        """Remove what other settings made of an image and these do not, such as figures: it would seem to belong."""
        before, folder = self.entries.get(image), self.path.parent
        older = [folder / name for name in before.written] if before else []
        # Of earlier versions, entries do not name what lies beside a GeoTIFF.
        beside = chain.from_iterable(map(list_sidecars, older))
        for path in {*older, *beside}.difference(folder / self._shorten(path) for path in written):
            # What lies elsewhere, a manifest may name by mistake.
            if ".." not in path.parts and path.is_relative_to(folder) and is_ours(path):
                path.unlink()

    def find_label_map(self, entry: Entry) -> Path:
        """Return the label map of an image that is done."""
        return self.path.parent / entry.written[0]

    def list_owners(self) -> dict[Path, Entry]:
        """Return the entry of each image that is done by its label map."""
        return {self.find_label_map(entry): entry for entry in self.entries.values() if entry.result == DONE}

    def _shorten(self, path: Path) -> str:
        folder = self.path.parent
        return str(path.relative_to(folder) if path.is_relative_to(folder) else path.absolute())

    def _append(self, record: Start | Entry) -> None:
        line = json.dumps(asdict(record), ensure_ascii=False).encode("utf-8", "surrogateescape") + b"\n"
        try:
            with self.path.open("ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise WriteFailed(
                f"could not write {self.path}: {error.strerror or error}; check the free space"
            ) from error

    def find_reason(self, image: Path, job: str, targets: Sequence[Path]) -> str:
        """Return why an image has to be done; empty where its result is there and what it was made of is the same."""
        entry = self.entries.get(find_key(image))
        if entry is None:
            return "new"
        if entry.job != job:
            return "other settings or another model"
        if not is_same(image, entry.facts):
            return "the image has changed"
        if entry.result == FAILED:
            return FAILED
        # What is written depends on the image, too; of one that is copied first nothing else is known.
        wanted = {self.path.parent / name for name in entry.written}.union(() if needs_copy(image) else targets)
        # What a full disk or a dead machine left empty is missing, too.
        return "" if all(map(_is_filled, wanted)) else "a result is missing"


def _is_filled(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def find_key(image: Path) -> str:
    """Return by what an image is known in a manifest, from whatever folder it is named."""
    if is_remote(image):
        return describe_source(image)
    path = image.absolute()
    # Otherwise links stay as they were typed.
    return str(path.parent.resolve() / path.name if ".." in path.parts else path)


def is_other(image: Path, entry: Entry) -> bool:
    """Return whether an entry is of another image, which was not moved since and is no copy."""
    if entry.image == find_key(image):
        return False
    # All images of an archive have one tag, as all of a file of GDAL; those of a store have none.
    return is_there(entry.image) and (is_remote(image) or not is_same(image, entry.facts))


def is_there(key: str) -> bool:
    """Return whether the image of a key is where it was; of one that lies elsewhere this is taken for granted."""
    return "://" in key or key.startswith(("/vsi", PREFIX)) or Path(key).exists()


def is_same(image: Path, facts: ImageFacts) -> bool:
    """Return whether the file of an image is as it was; it is read only where its time has changed.

    One that is copied first is the same where nobody can tell.
    """
    if needs_copy(image):
        return facts.sha256 is not None and find_tag(image) in ("", facts.tag)
    stamp = stamp_file(image)
    if stamp == (facts.size, facts.mtime_ns):
        return True
    return stamp is not None and stamp[0] == facts.size and hash_file(image) == facts.sha256


def is_copy(path: Path, entry: Entry) -> bool:
    """Return whether a copy is of what an entry was made of; it is read only where it is older than the entry."""
    if entry.facts.sha256 is None or path.stat().st_mtime > datetime.fromisoformat(entry.time).timestamp():
        return True
    return hash_file(path) == entry.facts.sha256


def measure_image(image: Path, *, tag: str = "", n_workers: int = 1) -> ImageFacts:
    """Return the facts of an image, or of its copy, that this process has just worked on."""
    pixels = 0
    with suppress(HybridSegError):
        pixels = math.prod(describe_image(image).shape)
    return replace(identify(image), megapixels=pixels / 1e6, peak_mb=read_peak(), tag=tag, n_workers=n_workers)


def identify(image: Path) -> ImageFacts:
    """Return by what the file of an image is known again; nothing in it is decoded."""
    size, mtime_ns = stamp_file(image) or (None, None)
    return ImageFacts(size, mtime_ns, hash_file(image))


def _check_amounts(*amounts: float) -> None:
    """Raise ValueError for what nothing can have been measured to be."""
    if wrong := [amount for amount in amounts if amount and not _LEAST_AMOUNT <= amount <= _MOST_AMOUNT]:
        raise ValueError(f"it cannot have taken {wrong[0]:g}")


def _check_time(text: str) -> None:
    """Raise ValueError for what is no time as `_now` says it: with an offset, or two could not be compared."""
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError(f"the time {text!r} has no offset")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
