"""Images that are copied before they are read: on the web, in an object store or an archive, or of other formats.

Only what a user names so, see `hybridseg.io.sources`, is fetched, and then it is a file like any other: nothing else
here opens such a path.
"""

from __future__ import annotations

import re
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.errors import BadInput, DiskFull, HybridSegError, MissingInput
from hybridseg.io.archives import measure_archived
from hybridseg.io.damage import hush, refuse_damage
from hybridseg.io.downloads import ask_headers, ask_length
from hybridseg.io.geotiffs import copy_geotiff, count_room, is_copied, make_tag, measure_file, write_copy
from hybridseg.io.images import describe_image
from hybridseg.io.locks import is_full, own_partial, remove_leftovers
from hybridseg.io.rasters import FORMATS
from hybridseg.io.sources import (
    describe_source,
    is_remote,
    name_copy,
    name_for_gdal,
    needs_copy,
)
from hybridseg.io.trusted import (
    ARCHIVES,
    GIVEN,
    find_file,
    hide_keys,
    is_endless,
    is_trusted,
    open_trusted,
)

_WEB = re.compile(r"^/vsicurl(?:_streaming)?/(https?://.*)")
# How long GDAL waits, how often it tries again, and that it neither looks for other files nor keeps what it fetched:
# the next run may find another file of the same name.
_SETTINGS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_HTTP_CONNECTTIMEOUT": "20", "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1", "GDAL_HTTP_MAX_RETRY": "3", "GDAL_HTTP_RETRY_DELAY": "1",
    "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/:/vsis3/:/vsigs/:/vsiaz/:/vsiadls/:/vsioss/:/vsiswift/",
}  # fmt: skip
# What GDAL says of it, at the most.
_ABSENT = "'it' does not exist in the file system"
# To servers at a time.
_MOST_QUESTIONS = 16

# What a copy may take in any case.
_LEAST_BYTES = 1 << 30


@lru_cache(maxsize=100_000)
def find_tag(path: Path) -> str:
    """Return what tells whether an image that is copied has changed, where that is cheap; empty where it is not.

    Of a mosaic its text, and sizes and times of its images. Of a file on the web what its server says (ETag, or the
    time of its modification, and its size), of one in an archive on this machine size and time of the archive, and of
    what GDAL is trusted with those of the file alone.
    """
    if not is_remote(path):
        return make_tag(path)
    name = name_for_gdal(path)
    if is_trusted(path) and (file := find_file(name)):
        return _stamp(file)
    if found := _WEB.match(name):
        try:
            headers = ask_headers(found[1])
        except HybridSegError:
            return ""
        tag = headers.get("ETag") or headers.get("Last-Modified")
        return f"{tag} {headers.get('Content-Length', '')}".strip() if tag else ""
    found = re.match(rf"^(?:/(?:{ARCHIVES})/+)+([^}}]+)", name)
    inner = Path("/" + found[1].lstrip("/{")) if found else path
    archive = next((part for part in (inner, *inner.parents) if part.is_file()), None)
    return "" if archive is None else _stamp(archive)


def _stamp(file: Path) -> str:
    try:
        status = file.stat()
    except OSError:
        # Reading it says more.
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"


def ask_tags(paths: Iterable[Path]) -> None:
    """Ask for the tags of such images side by side: `find_tag` then knows them, where each would take its time."""
    _ask(find_tag, filter(needs_copy, paths))


def read_shape(path: Path) -> tuple[int, int]:
    """Return rows and columns of any image, of which no more than the header is fetched or read.

    Raises
    ------
    MissingInput, BadInput
    """
    if not is_remote(path):
        return measure_file(path)[0] if is_copied(path) else describe_image(path).shape
    return _ask_size(path)[0]


def measure_copy(path: Path) -> tuple[int, bool]:
    """Return the bytes that the copy of an image takes on the disk, at the most, 0 where there is none.

    And whether they are known; else they are those of its pixels, and a compressed file takes less.

    Raises
    ------
    MissingInput, BadInput
    """
    if is_remote(path):
        return _ask_size(path)[1:]
    return count_room(measure_file(path)[1]) if is_copied(path) else 0, True


def ask_shapes(paths: Iterable[Path]) -> None:
    """Ask for the sizes of remote images side by side: `read_shape` then knows them."""
    _ask(_try_size, filter(is_remote, paths))


def _ask(question: Callable[[Path], object], paths: Iterable[Path]) -> None:
    pool = ThreadPoolExecutor(_MOST_QUESTIONS)
    try:
        list(pool.map(question, paths))
    finally:
        # Ctrl-C does not wait for servers.
        pool.shutdown(wait=False, cancel_futures=True)


@lru_cache(maxsize=10_000)
def _try_size(path: Path) -> tuple[tuple[int, int], int, bool] | HybridSegError:
    try:
        with _asking(path):
            shape, n_bytes, name = _measure_source(path)
        if is_trusted(path):
            return shape, count_room(n_bytes), True
        # What is fetched is as it is there, mostly compressed.
        stated = 0
        with suppress(HybridSegError):
            stated = ask_length(found[1]) if (found := _WEB.match(name)) else measure_archived(path)
        return shape, min(stated or n_bytes, _limit_copy(n_bytes)), stated > 0
    except HybridSegError as error:
        return error


def _ask_size(path: Path) -> tuple[tuple[int, int], int, bool]:
    found = _try_size(path)
    if isinstance(found, HybridSegError):
        raise found
    return found


@contextmanager
def local_copy(path: Path) -> Iterator[Path]:
    """Yield a path as it is, or that of a copy where `needs_copy` holds, which is there meanwhile.

    Raises
    ------
    MissingInput, BadInput
        When it cannot be fetched, or is none of the formats that are read here.
    WriteFailed
        Where the disk has not the room for a copy.
    """
    if not needs_copy(path):
        yield path
        return
    home = Path(tempfile.gettempdir())
    # Copies of killed runs may be large.
    remove_leftovers(home)
    with own_partial(home) as folder:
        folder.mkdir(mode=0o700)
        target = folder / name_copy(path)
        try:
            _copy(path, target)
        except BadInput as error:
            # GDAL does not say why it could not write.
            if is_full(home):
                raise _lacks_room(path, home) from error
            raise
        yield target


def _copy(path: Path, target: Path) -> None:
    if is_trusted(path):
        with _opening(path) as dataset:
            write_copy(Path(describe_source(path)), dataset, target)
    elif is_remote(path):
        _fetch(path, target)
    else:
        copy_geotiff(path, target)


def _lacks_room(path: Path, home: Path) -> DiskFull:
    return DiskFull(
        f"{home} has no room left for a copy of {describe_source(path)}; free some space there, or set TMPDIR to "
        "another folder"
    )


def _fetch(path: Path, target: Path) -> None:
    with _asking(path):
        import rasterio.shutil
        from rasterio._err import CPLE_BaseError

        _, n_bytes, name = _measure_source(path)
        most = _limit_copy(n_bytes)
        try:
            with _limit_files(most):
                rasterio.shutil.copyfiles(name, target)
        except CPLE_BaseError as error:
            if "writing" not in str(error):
                raise
            home = target.parents[1]
            if shutil.disk_usage(home).free + (target.stat().st_size if target.exists() else 0) < most:
                raise _lacks_room(path, home) from error
            raise BadInput(
                f"{describe_source(path)} takes more than {most:,} bytes, far more than its pixels; fetch it yourself "
                "if you trust it"
            ) from error


def _limit_copy(n_bytes: int) -> int:
    """Return the bytes that a file with so many of pixels may take."""
    return max(_LEAST_BYTES, 2 * n_bytes)


@contextmanager
def _asking(path: Path) -> Iterator[str]:
    """Yield the name that GDAL has for a remote image, and say what is wrong where it cannot be read meanwhile."""
    # Imported on use: this takes longer than the rest of a light command.
    import rasterio
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    name = name_for_gdal(path)
    if is_endless(name):
        raise BadInput(f"{describe_source(path)} is a pipe or a device, not a file; save its output to a file first")
    with rasterio.Env(**_SETTINGS), hush(NotGeoreferencedWarning):
        try:
            yield name
        except (RasterioError, CPLE_BaseError) as error:
            text = " ".join(_hide_words(str(error).replace(name, "it")).split())
            text = "there is nothing by that name" if text.startswith(_ABSENT) else text
            # GDAL reads what is in a tar archive, but copies nothing out of it.
            remedy = "unpack the archive" if name.startswith("/vsitar/") else "check that it exists and can be read"
            raise MissingInput(f"{describe_source(path)} cannot be fetched ({text}); {remedy}") from error


@contextmanager
def _opening(path: Path) -> Iterator[Any]:
    """Yield the open dataset of what GDAL is trusted with."""
    remedy = "check that it exists and that this GDAL can read its format"
    try:
        with (
            _asking(path) as name,
            refuse_damage(describe_source(path), what="cannot be read by GDAL", remedy=remedy),
            open_trusted(name) as dataset,
        ):
            yield dataset
    except BadInput as error:
        raise BadInput(_hide_words(str(error))) from error


def _hide_words(text: str) -> str:
    """Return what GDAL says without keys: it may tell more of an address than its name."""
    return re.sub(r"\S+", lambda word: hide_keys(word[0]), GIVEN.sub(r"\1", text))


@contextmanager
def _limit_files(n_bytes: int) -> Iterator[None]:
    """Let this process write no larger file meanwhile: GDAL unpacks an archive without asking what it holds."""
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        limits = [limit for limit in (n_bytes, before, hard) if limit != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_FSIZE, (min(limits), hard))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))


def _measure_source(path: Path) -> tuple[tuple[int, int], int, str]:
    """Return rows and columns of a remote image, how many bytes its pixels take, and by which name GDAL reads it.

    It must be of a format that is read here: others could make GDAL read yet other files.
    """
    import rasterio
    from rasterio.errors import RasterioIOError

    name, reasons = name_for_gdal(path), list[RasterioIOError]()
    if is_trusted(path):
        with _opening(path) as dataset:
            return dataset.shape, _count_bytes(dataset), name
    # The second for servers that send files only as a whole.
    for way in dict.fromkeys((name, name.replace("/vsicurl/", "/vsicurl_streaming/"))):
        for driver in FORMATS:
            try:
                with rasterio.open(way, driver=driver) as dataset:
                    return dataset.shape, _count_bytes(dataset), way
            except RasterioIOError as error:
                # A server that does not answer need not be asked again.
                if "CURL error" in str(error):
                    raise
                reasons.append(error)
        if "not recognized as being in a supported" not in str(reasons[0]):
            raise reasons[0]
    is_archived = re.match(rf"^/({ARCHIVES})/", name)
    advice = "name one in the archive (/vsizip/a.zip/b.jpg)" if is_archived else "give one that is"
    raise BadInput(f"{describe_source(path)} is not a JPEG, PNG or TIFF image; {advice}")


def _count_bytes(dataset: Any) -> int:
    # The one type that numpy does not know; it is refused later.
    kind = np.dtype(dataset.dtypes[0].replace("complex_int16", "complex64"))
    return int(dataset.width * dataset.height * dataset.count * kind.itemsize)
