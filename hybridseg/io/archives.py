"""Zip archives, listed; and ``.tar.gz`` from elsewhere, unpacked: what it would take is known before it is taken."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import tarfile
import unicodedata
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol

from hybridseg.errors import BadInput, HybridSegError, located
from hybridseg.io.rasters import check_regular

MAX_BYTES = 4_000_000_000
MAX_MEMBERS = 10_000
# Weights of a network hardly get smaller by compression.
MAX_RATIO = 100
# A small archive may have a text that does.
_LEAST_BYTES = 10_000_000
# What tarfile reads at once is a header; the content of a file it reads in small pieces.
_MAX_READ = 1_000_000
_REMEDY = "if you trust it, unpack it yourself and give the folder"


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...
    def seek(self, offset: int, /) -> int: ...
    def tell(self) -> int: ...


class _Bounded:
    """What an archive unpacks to, up to a limit."""

    def __init__(self, stream: _Stream, most: int, said: str) -> None:
        self._stream, self._most, self._said = stream, most, said
        self.tell = stream.tell

    def read(self, size: int) -> bytes:
        if size > _MAX_READ:
            raise BadInput(f"it has a header of more than {_MAX_READ // 1_000_000} MB; {_REMEDY}")
        self._check(self.tell() + size)
        return self._stream.read(size)

    def seek(self, offset: int) -> int:
        self._check(offset)
        return self._stream.seek(offset)

    def _check(self, end: int) -> None:
        # The last block may be looked for beyond the end.
        if end > self._most + 2 * tarfile.RECORDSIZE:
            raise BadInput(f"{self._said}; {_REMEDY}")


def unpack_archive(path: str | os.PathLike[str], target: Path) -> None:
    """Unpack a ``.tar.gz`` of files and folders into a new folder; what is there after an error is not to be used.

    Raises
    ------
    MissingInput, BadInput
        When it is damaged, would take more than `MAX_BYTES` or `MAX_RATIO` times its size, has more than `MAX_MEMBERS`
        files, a file twice (also in another case), a link or a device, or leads out of the folder.
    """
    path, target = check_regular(path), Path(os.path.normpath(target))
    size = path.stat().st_size
    most = min(MAX_BYTES, max(MAX_RATIO * size, _LEAST_BYTES))
    limit = f"the limit is {MAX_RATIO} times its size, and at most {MAX_BYTES:,} bytes"
    said = f"it unpacks to more than {most:,} bytes ({limit})"
    with located(path):
        try:
            with (
                gzip.open(path) as stream,
                tarfile.open(fileobj=_Bounded(stream, most, said), mode="r:") as archive,  # type: ignore[call-overload]
            ):
                for member in _check_members(archive):
                    _extract(archive, member, target)
        except HybridSegError:
            raise
        # A chain of headers is read by a function that calls itself.
        except (tarfile.TarError, zlib.error, OSError, EOFError, ValueError, RecursionError) as error:
            raise BadInput(f"it cannot be unpacked ({error}); copy it again from its source") from error


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    """Write a file or make a folder; the filters of tarfile are not in every Python 3.11 (Debian 12 has 3.11.2)."""
    place = Path(os.path.normpath(target / member.name.lstrip("/")))
    if target not in (place, *place.parents):
        raise BadInput(f"{member.name!r} in it points outside the folder, so it is not used; {_REMEDY}")
    folder = place if member.isdir() else place.parent
    folder.mkdir(parents=True, exist_ok=True)
    if (content := archive.extractfile(member)) is not None:
        with content, place.open("xb") as file:
            shutil.copyfileobj(content, file)


def _check_members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members, each after it was checked: its content was not read yet."""
    folders: dict[str, bool] = {}
    for number, member in enumerate(archive, 1):
        if number > MAX_MEMBERS:
            raise BadInput(f"it has more than {MAX_MEMBERS:,} files; {_REMEDY}")
        if not (member.isfile() or member.isdir()) or member.issparse():
            raise BadInput(f"{member.name!r} in it is a link, a device or sparse, not a file or folder; {_REMEDY}")
        # Some disks know no case, and only one form of an accent.
        place = unicodedata.normalize("NFC", str(PurePosixPath(member.name))).casefold()
        # A folder may be named again.
        if place in folders and not (folders[place] and member.isdir()):
            raise BadInput(f"{member.name!r} stands twice in it; {_REMEDY}")
        folders[place] = member.isdir()
        yield member


def list_archived(path: Path) -> list[Path]:
    """Return the files at any depth of a zip archive of this machine, or of a folder in it; none of any other path."""
    archive, folder, sizes = _read_zip(path)
    # No archive names a file outside it.
    inside = (name for name in sizes if not name.is_absolute() and ".." not in name.parts)
    return sorted(Path(f"/vsizip{archive}", name) for name in inside if folder in name.parents)


def measure_archived(path: Path) -> int:
    """Return the bytes of a file in a zip archive of this machine, as the archive says; 0 of any other path."""
    _, name, sizes = _read_zip(path)
    return sizes.get(name, 0)


def _read_zip(path: Path) -> tuple[Path, Path, dict[Path, int]]:
    """Return the zip archive of this machine that a path names, what of it, and the sizes of its files."""
    import zipfile

    found = re.match(r"^/vsizip(/.*)", str(path))
    named = Path(found[1]) if found else Path()
    try:
        archive = next((part for part in (named, *named.parents) if part.is_file()), None)
        if archive is None:
            return Path(), Path(), {}
        with zipfile.ZipFile(archive) as opened:
            files = [one for one in opened.infolist() if one.filename and not one.is_dir()]
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        # GDAL says more of it.
        return Path(), Path(), {}
    return archive, named.relative_to(archive), {Path(one.filename): one.file_size for one in files}
