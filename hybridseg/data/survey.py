"""What is known of every photo and every mask of a data set, each read once: the facts that a review judges."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg import __version__
from hybridseg.batch.workers import map_calls
from hybridseg.classes import VOID, ClassTable, count_labels
from hybridseg.data.likeness import Look, look_at
from hybridseg.data.suitability import Suitability, measure_suitability
from hybridseg.errors import HybridSegError, MissingInput, Problem, WriteFailed
from hybridseg.io.images import ImageInfo, LoadedImage, describe_image, encode_image, load_image
from hybridseg.io.jsonfiles import read_json_object
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.locks import remove_leftovers
from hybridseg.io.pairing import JPEG_SUFFIXES
from hybridseg.io.rasters import check_regular
from hybridseg.io.tables import write_json
from hybridseg.models.cards import hash_file
from hybridseg.panels import shrink_to
from hybridseg.progress import Progress, no_progress
from hybridseg.resample import resize_nearest, shrink_image

# The longer side of a small picture, in pixels.
_PICTURE_SIDE = 240
# To start another process takes as long as to read so many files.
_FILES_PER_PROCESS = 24
# Of the facts that are kept: raised when they are measured in another way.
_EDITION = 2


@dataclass(frozen=True, eq=False)
class PhotoFacts:
    """What is known of a photo.

    Parameters
    ----------
    low, high, mean : tuple of float
        Of the valid pixels of each band; empty where there are none.
    nodata : float
        Share of the pixels that are not valid.
    picture : bytes
        A small copy as JPEG.
    """

    sha256: str
    info: ImageInfo
    low: tuple[float, ...]
    high: tuple[float, ...]
    mean: tuple[float, ...]
    nodata: float
    suitability: Suitability
    look: Look
    picture: bytes

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON holds it, without its place in the file system or on Earth."""
        info = {name: getattr(self.info, name) for name in _INFO}
        view = base64.b64encode(self.look.view.astype("<f4").tobytes()).decode()
        more = {"view": view, "picture": base64.b64encode(self.picture).decode()}
        return {"info": info, **{name: getattr(self, name) for name in _MEASURES}, **more,
                "suitability": asdict(self.suitability)}  # fmt: skip

    @classmethod
    def from_record(cls, path: Path, sha256: str, record: Mapping[str, Any]) -> PhotoFacts:
        """Make it of a record of a file with the same content, which may have had another name."""
        info = ImageInfo(path=path, georeference=None, **record["info"])
        measures = {name: tuple(record[name]) for name in ("low", "high", "mean")}
        judged = Suitability(**{**record["suitability"], "look": tuple(record["suitability"]["look"])})
        view = np.frombuffer(base64.b64decode(record["view"]), "<f4")
        look = Look.of(path.name, info.taken, view)
        picture = base64.b64decode(record["picture"])
        return cls(sha256, info, **measures, nodata=record["nodata"], suitability=judged, look=look, picture=picture)


_INFO = ("format", "rows", "cols", "bands", "dtype", "orientation", "taken", "has_alpha")
_MEASURES = ("low", "high", "mean", "nodata")


@dataclass(frozen=True, eq=False)
class MaskFacts:
    """What is known of a mask.

    Parameters
    ----------
    names : ClassTable or None
        The classes that the file names itself; None: its ids are those of a list.
    counts : dict of int to int
        Pixels of each id that occurs, VOID among them.
    dtype : str
        Type of the samples in the file; empty for one that is no picture.
    small : numpy.ndarray
        (rows, cols) uint8, a small copy.
    """

    sha256: str
    shape: tuple[int, int]
    dtype: str
    names: ClassTable | None
    counts: dict[int, int]
    small: np.ndarray

    @property
    def ids(self) -> list[int]:
        """The ids of classes that occur."""
        return [i for i in self.counts if i != VOID]

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        small = base64.b64encode(zlib.compress(self.small.tobytes())).decode()
        names = self.names and self.names.to_records()
        return {"shape": self.shape, "dtype": self.dtype, "names": names, "counts": list(self.counts.items()),
                "small": [*self.small.shape, small]}  # fmt: skip

    @classmethod
    def from_record(cls, path: Path, sha256: str, record: Mapping[str, Any]) -> MaskFacts:
        """Make it of a record."""
        rows, cols, text = record["small"]
        # No more than such a picture has, whatever it unpacks to.
        unpacked = zlib.decompressobj().decompress(base64.b64decode(text), _PICTURE_SIDE**2)
        small = np.frombuffer(unpacked, np.uint8).reshape(rows, cols)
        names = ClassTable.from_records(record["names"]) if record["names"] else None
        return cls(sha256, tuple(record["shape"]), record["dtype"], names, dict(map(tuple, record["counts"])), small)


@dataclass(frozen=True, eq=False)
class Survey:
    """The facts of all files that could be read, and the problems of the others."""

    photos: dict[Path, PhotoFacts] = field(default_factory=dict)
    masks: dict[Path, MaskFacts] = field(default_factory=dict)
    problems: dict[Path, Problem] = field(default_factory=dict)
    n_kept: int = 0


def survey_files(
    photos: Sequence[Path],
    masks: Sequence[Path],
    *,
    table: ClassTable | None = None,
    cache_dir: Path | None = None,
    n_jobs: int = 1,
    progress: Progress = no_progress,
) -> Survey:
    """Read photos and masks; one that cannot be read does not stop the others.

    Parameters
    ----------
    table : ClassTable or None
        The classes of masks that are painted in their colours; ids are taken as they are.
    cache_dir : pathlib.Path or None
        Keeps the facts by the content of the files: a file that was read before is not decoded again.
    n_jobs : int
        Processes, each of which holds one image in memory; few files are read in this one.
    """
    tasks = [(path, False) for path in photos] + [(path, True) for path in masks]
    found, n_kept = Survey(), 0
    n_jobs = min(n_jobs, 1 + len(tasks) // _FILES_PER_PROCESS)
    if cache_dir is not None:
        # Where all is known, nothing is written there.
        remove_leftovers(cache_dir)
    with closing(map_calls(partial(_survey_file, table, cache_dir), tasks, n_jobs=n_jobs)) as results:
        for _, (path, facts, was_kept) in zip(progress(tasks, label="checking photos and masks"), results, strict=True):
            n_kept += was_kept
            if isinstance(facts, Problem):
                found.problems[path] = facts
            elif isinstance(facts, MaskFacts):
                found.masks[path] = facts
            else:
                found.photos[path] = facts
    # In the order in which they were given, not in that in which they were done.
    return Survey(
        *(_sort(found.photos, photos), _sort(found.masks, masks), _sort(found.problems, [*photos, *masks])), n_kept
    )


def _sort(facts: dict[Path, Any], paths: Iterable[Path]) -> dict[Path, Any]:
    return {path: facts[path] for path in paths if path in facts}


def _survey_file(
    table: ClassTable | None, cache_dir: Path | None, task: tuple[Path, bool]
) -> tuple[Path, PhotoFacts | MaskFacts | Problem, bool]:
    """Return the facts of a file, in whatever process this runs, and whether they were kept from an earlier review."""
    path, is_mask = task
    kind: type[PhotoFacts | MaskFacts] = MaskFacts if is_mask else PhotoFacts
    try:
        sha256 = hash_file(check_regular(path))
        if sha256 is None:
            raise MissingInput(f"there is no file {path}")
        kept_path = cache_dir / _name_record(sha256, table if is_mask else None, path) if cache_dir else None
        if kept_path and (kept := _read_record(kind, path, sha256, kept_path)):
            return path, kept, True
        facts = survey_mask(path, sha256, table) if is_mask else survey_photo(path, sha256)
        if kept_path:
            write_json(kept_path, facts.to_record(), durable=False)
        return path, facts, False
    except WriteFailed:
        # Nothing is wrong with the photo.
        raise
    except HybridSegError as error:
        return path, Problem.of(path, error), False
    except (MemoryError, OSError) as error:
        reason = "is too large for the memory of this machine" if isinstance(error, MemoryError) else str(error)
        return path, Problem(str(path), reason), False


def _name_record(sha256: str, table: ClassTable | None, path: Path) -> str:
    """Return the file in which facts are kept: by what was read, as what, and by which version."""
    colors = json.dumps(table.to_records()) if table else ""
    # The suffix decides how a mask is read.
    mark = zlib.crc32(f"{__version__} {_EDITION} {path.suffix.lower()} {colors}".encode("utf-8", "surrogateescape"))
    return f"{sha256[:40]}-{mark:08x}.json"


def _read_record(
    kind: type[PhotoFacts | MaskFacts], path: Path, sha256: str, kept_path: Path
) -> PhotoFacts | MaskFacts | None:
    # One that is damaged, or of another kind of file with the same content, is made again.
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, zlib.error, HybridSegError):
        return kind.from_record(path, sha256, read_json_object(kept_path))
    return None


def survey_photo(path: Path, sha256: str) -> PhotoFacts:
    """Read a photo.

    Raises
    ------
    MissingInput, BadInput
    """
    photo = load_image(path)
    low, high, mean = zip(*_measure_bands(photo), strict=True) if _count_valid(photo) else ((), (), ())
    # Of wider types than bytes a copy in bytes takes much memory; a small picture needs no more than some pixels.
    step = max(1, max(photo.pixels.shape[:2]) // (8 * _PICTURE_SIDE))
    rgb = photo.as_rgb8(step=step)
    picture = shrink_image(rgb, *shrink_to(rgb.shape[:2], _PICTURE_SIDE))
    return PhotoFacts(
        sha256,
        photo.info,
        low,
        high,
        mean,
        1 - _count_valid(photo) / (photo.info.rows * photo.info.cols),
        measure_suitability(photo.pixels, photo.valid),
        look_at(photo),
        encode_image(picture, suffix=".jpg", quality=80),
    )


def _count_valid(photo: LoadedImage) -> int:
    return photo.info.rows * photo.info.cols if photo.valid is None else int(np.count_nonzero(photo.valid))


def _measure_bands(photo: LoadedImage) -> list[tuple[float, float, float]]:
    """Return the lowest and the highest value and the mean of each band, of its valid pixels."""
    planes = [photo.pixels[..., band] for band in range(photo.pixels.shape[2])]
    shown = planes if photo.valid is None else [plane[photo.valid] for plane in planes]
    return [(float(one.min()), float(one.max()), round(float(one.mean(dtype=np.float64)), 4)) for one in shown]


def survey_mask(path: Path, sha256: str, table: ClassTable | None) -> MaskFacts:
    """Read a mask: its ids as they are, or by the colours of a table.

    Raises
    ------
    MissingInput, BadInput
    """
    is_picture = path.suffix.lower() not in (".mat", *JPEG_SUFFIXES)
    info = describe_image(path) if is_picture else None
    # Ids are taken as they are, also those that the table lacks.
    colors = table if info and info.bands > 1 else None
    labelmap = read_labelmap(path, table=colors, with_seeds=False)
    counts = count_labels(labelmap.labels)
    small = resize_nearest(labelmap.labels, shrink_to(labelmap.labels.shape, _PICTURE_SIDE))
    shape = labelmap.labels.shape[0], labelmap.labels.shape[1]
    found = {int(i): int(counts[i]) for i in np.flatnonzero(counts)}
    return MaskFacts(sha256, shape, info.dtype if info else "", labelmap.table, found, np.ascontiguousarray(small))
