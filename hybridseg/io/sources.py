"""What a user names as an image: a file of this machine, or what is copied before it is read.

What is no file of this machine is named as GDAL names it, ``/vsicurl/https://...``, ``/vsis3/...``, ``/vsizip/...``, or
by its address; and what only GDAL knows how to open as ``gdal:NAME``. No more is read here than the first bytes of a
file of this machine whose name does not say what it is.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from hybridseg.io.geotiffs import is_copied
from hybridseg.io.rasters import IMAGE_SUFFIXES
from hybridseg.io.trusted import ARCHIVES, LOGIN, PREFIX, as_found, find_file, hide_keys, is_trusted, place, result_stem

_SCHEMES = {"http": "vsicurl/http://", "https": "vsicurl/https://", "s3": "vsis3/", "gs": "vsigs/", "az": "vsiaz/"}
_STORES = "vsicurl|vsis3|vsigs|vsiaz|vsiadls|vsioss|vsiswift|vsihdfs|vsiwebhdfs"
_REMOTE = re.compile(rf"^(/({ARCHIVES}|{_STORES})/|{PREFIX})")
_NESTED = re.compile(rf"^((?:/(?:{ARCHIVES})/+)+)(?![/{{])")


def as_source(text: str) -> Path:
    """Return what a user names as a path; an address, or a path of GDAL, as one for which `is_remote` holds.

    A path has no double slashes, so archives are named by their absolute path, and none at its end: a pattern of
    folders becomes that of what lies in them.

    Examples
    --------
    >>> for text in ("photos/a.jpg", "https://x.org/a.tif?key=1", "s3://bucket/a.tif", "/vsizip//data/a.zip/b.tif"):
    ...     print(as_source(text))
    photos/a.jpg
    /vsicurl/https:/x.org/a.tif?key=1
    /vsis3/bucket/a.tif
    /vsizip/data/a.zip/b.tif
    >>> print(as_source("survey/*/"))
    survey/*/*
    >>> print(as_source("gdal:https://x.org/a.jp2"))
    gdal:/vsicurl/https:/x.org/a.jp2
    """
    if is_trusted(text) and not os.path.lexists(text):
        name = text.removeprefix(PREFIX)
        return Path(f"{PREFIX}{place(name) if find_file(name) else as_source(name)}")
    scheme, sign, rest = text.partition("://")
    if sign and scheme.lower() in _SCHEMES:
        return Path(f"/{_SCHEMES[scheme.lower()]}{rest}")
    if found := _NESTED.match(text):
        inner = text[found.end() :]
        is_absolute = found[1].endswith("//") or _REMOTE.match(f"/{inner}")
        return Path(found[1], inner if is_absolute else Path(inner).absolute().relative_to("/"))
    is_of_folders = text.endswith(("/", os.sep)) and any(sign in text for sign in "*?[") and not os.path.lexists(text)
    return as_found(Path(text, "*") if is_of_folders else Path(text))


def is_remote(path: Path) -> bool:
    """Return whether a path is one that GDAL alone knows, as `as_source` makes it."""
    return _REMOTE.match(str(path)) is not None


def needs_copy(path: Path) -> bool:
    """Return whether a path names what is copied before it is read: what is remote, or of another format."""
    return is_remote(path) or is_copied(path)


def is_image_name(path: Path) -> bool:
    """Return whether a path may be that of an image, by its name or, where that says nothing, by the first bytes."""
    return needs_copy(path) or path.suffix.lower() in IMAGE_SUFFIXES


def name_for_gdal(path: Path) -> str:
    """Return a remote path with the double slashes that a path does not keep.

    Examples
    --------
    >>> name_for_gdal(as_source("/vsizip//vsicurl/https://x.org/a.zip/b.tif"))
    '/vsizip//vsicurl/https://x.org/a.zip/b.tif'
    """
    text = re.sub(rf"/({ARCHIVES})(?=/[^/{{])", r"/\1/", str(path).removeprefix(PREFIX))
    # HDF5:"a.h5"://group.
    return re.sub(r"""((?:https?|ftp):|":)/(?!/)""", r"\1//", text)


def without_key(path: Path) -> Path:
    """Return a path without what opens a door, a password or what follows a question mark: the same image tomorrow.

    Of what GDAL is trusted with, the query tells layers apart, see `hybridseg.io.trusted.hide_keys`.

    Examples
    --------
    >>> print(without_key(as_source("https://me:secret@x.org/a.tif?signature=1.2")))
    /vsicurl/https:/x.org/a.tif
    """
    if is_trusted(path):
        return Path(PREFIX + hide_keys(str(path).removeprefix(PREFIX)))
    if not is_remote(path):
        return path
    return Path(LOGIN.sub(r"\1", re.sub(r"(?i)\?[^}]*|;jsessionid=[^/?}]*", "", str(path))))


def describe_source(path: Path) -> str:
    """Return what a person is told of a path: a remote one as it may be typed, without what opens a door.

    Examples
    --------
    >>> describe_source(as_source("https://x.org/a.tif?signature=1.2"))
    'https://x.org/a.tif'
    """
    if not is_remote(path):
        return str(path)
    start = PREFIX if is_trusted(path) else ""
    return start + name_for_gdal(without_key(path)).removeprefix("/vsicurl/")


def name_copy(path: Path) -> str:
    """Return what the copy of an image is called for which `needs_copy` holds.

    Examples
    --------
    >>> name_copy(as_source("https://x.org/a.jpg?key=1")), name_copy(Path("b.vrt")), name_copy(as_source("gdal:/c.nc"))
    ('a.jpg', 'b.tif', 'c.tif')
    """
    path = without_key(path)
    if is_trusted(path):
        return f"{result_stem(name_for_gdal(path))}.tif"
    return path.name if is_remote(path) else f"{path.stem}.tif"


def result_path(path: Path) -> Path:
    """Return the path that the results of an image are called after."""
    return Path(name_copy(path)) if is_trusted(path) else without_key(path)
