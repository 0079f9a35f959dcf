"""What a person trusts GDAL to open, and says so: `gdal:depth.nc`.

GDAL takes whatever driver it likes, and that one whatever files and addresses it finds named in the file. No other way
leads here than a path that begins so.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from hybridseg.errors import BadInput
from hybridseg.io.rasters import quiet_rasterio

PREFIX = "gdal:"
ARCHIVES = "vsizip|vsitar|vsigzip|vsi7z|vsirar"
"""What GDAL calls what it reads in archives."""
_OUTER = re.compile(rf"^(?:/(?:{ARCHIVES})/\{{?|/vsisubfile/[^,/]*,)+")
# A part of a file, NETCDF:"depth.nc":elevation or GTIFF_DIR:2:a.tif, and what of its name is kept. Colons may be in a
# file in quotation marks, or at the end.
_PARTS = [
    re.compile(rf'(?s)(\w+)((?::[^":]+){{{n}}}:)("?)(?!//)({file})\3(:.*)?')
    for n in range(3)
    for file in ('[^":]+', '[^"]+')
]
_UNKEPT = re.compile(r"[^-.\w]+")
_MOST_NAMED, _MOST_LETTERS = 5, 80

ADDRESS = re.compile(r"(?i)/vsi|\b(?:https?|ftp):/")
"""What a name of GDAL has in it where it is not of a file of this machine."""
# After a colon that no port follows a password may have a slash.
LOGIN = re.compile(r"""(\w:/{1,2})(?:[^/?#"]*|[^/?#":]*:(?!\d*/)[^?#"<}]*)@""")
"""What goes before the host of an address, after what is to be kept of it."""
# Words of ODBC end at a semicolon alone.
GIVEN = re.compile(
    r"""(?is)(?<![\w/])((?:password|passwd|pwd|api_?key|token)\s*=|<UserPwd>)"""
    r"""(?:'(?:\\.|[^'\\])*'?|"(?:\\.|[^"\\])*"?|(?<=pwd=)[^;&"<]*|[^\s,;&"'<]*)"""
)
"""A password or key that is given by its name, which is to be kept, in any text."""
# What of such a name is that of a file.
_SERVICE = re.compile(r"""(?:\w+:)?"?(.*?)(?:[?"#]|,\w+=|$)""")
# Of WMTS, WMTS:https://x.org/wmts?tk=1,layer=a, the query ends before what GDAL reads itself.
_QUERY = re.compile(r"""(?:[?#]|;(?=\w+=))(?:(?!,(?:layer|style|tilematrix|tilematrixset|zoom_level)=)[^"<}])*""")
# Words of a query that tell images apart, and names of those that open a door, which may do so with another tomorrow.
_SHOWN = re.compile(
    r"(?i)(?:layers?|styles?|coverage(?:id)?|identifier|typenames?|map|time|date|year|elevation|dim_\w+|bbox|crs|srs|"
    r"width|height|res[xy]|subset|scale\w*|tilematrix(?:set)?|bands?|interpolation|format|version|service|request|"
    r"transparent)=[^=@?%]*"
)
_SECRET = re.compile(
    r"(?i)(?:^|[\W_])(?:(?:api|app|access|auth|user)?(?:key|token)|(?:aws)?accesskeyid|secret|pass(?:word|wd|phrase)?|"
    r"pwd|auth(?:orization|entication)?|cred(?:ential)?s?|sig(?:nature)?|j?session(?:id)?|user(?:name|id)?|login|expires|"
    r"policy)(?:$|[\W_])|^x-|^s(?:[eiprstv]|ip|pr|rt|dd|es|cid|[au]oid|k[estv]|k[ot]id)$"
)
_HASHED = re.compile(r"\.\.\.[0-9a-f]{8}")
# What results are not called after.
_SAME = re.compile(r"(?i)\b(?:service|version|request|format|transparent)=[^&,]*&?")


def is_trusted(path: str | os.PathLike[str]) -> bool:
    """Return whether a path names what GDAL may open by any means."""
    return os.fspath(path).startswith(PREFIX)


def as_found(path: Path) -> Path:
    """Return the path of a file as one that is not taken for a name of GDAL, whatever the file is called."""
    return path.absolute() if is_trusted(path) else path


def place(name: str) -> str:
    """Return a name of GDAL with the file in it by its absolute path, for workers that run in another folder."""
    if part := _find_part(name):
        driver, middle, sign, file, rest = part.groups(default="")
        path = str(Path(file).absolute())
        # Not all drivers take signs of quotation; without them no path has the double slash of ://group.
        is_split = ":" in path or rest.startswith(":/")
        sign = '"' if is_split and (rest or middle == ":") else sign
        return f"{driver}{middle}{sign}{path}{sign}{rest}"
    return str(Path(name).absolute()) if os.path.lexists(name) else name


def result_stem(name: str) -> str:
    """Return what results are called, without their suffix: after the file, and the part of it that is named.

    Examples
    --------
    >>> result_stem("WMS:https://x.org/wms?SERVICE=WMS&LAYERS=a"), result_stem('NETCDF:"https://x.org/a.nc":b')
    ('wms_LAYERS_a', 'a_b')
    """
    if part := _find_part(name):
        file, rest = part[4], part[2] + (part[5] or "")
    elif ADDRESS.search(name) and (address := _SERVICE.match(name)):
        file, rest = address[1], _SAME.sub("", name[address.end(1) :])
    else:
        file, rest = name, ""
    rest = _UNKEPT.sub("_", rest).strip("_")
    if len(rest) > _MOST_LETTERS:
        rest = f"{rest[:_MOST_LETTERS]}_{_hash(rest)}"
    return f"{Path(file).stem}_{rest}" if rest else Path(file).stem


def hide_keys(name: str) -> str:
    """Return a name without what opens a door: of a query, what may do so is dropped, or a hash of it kept.

    Examples
    --------
    >>> hide_keys("WMS:https://me:secret@x.org/wms?LAYERS=a&token=1&tk=2")
    'WMS:https://x.org/wms?LAYERS=a&...15b27b4a'
    """
    # A file of this machine may have such signs in its name, also one that is gone.
    if find_file(name):
        return name
    name = LOGIN.sub(r"\1", GIVEN.sub(r"\1", name))
    return _QUERY.sub(_hide_query, name) if ADDRESS.search(name) else name


def _hide_query(found: re.Match[str]) -> str:
    shown = filter(None, map(_hide_word, re.split("[?&;#]", found[0].replace("&amp;", "&"))))
    return f"?{text}" if (text := "&".join(shown)) else ""


def _hide_word(word: str) -> str:
    if _SECRET.search(unquote(word.partition("=")[0])):
        return ""
    is_shown = not word or _HASHED.fullmatch(word) or _SHOWN.fullmatch(unquote(word))
    return word if is_shown else f"...{_hash(word)}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:8]


def _find_part(name: str) -> re.Match[str] | None:
    """Return driver, what follows it, sign of quotation, file and rest of a name for a part of a file here."""
    if os.path.lexists(name):
        return None
    found = [part for one in _PARTS if (part := one.fullmatch(name)) and os.path.lexists(part[4])]
    # A file may be called like the number of a part.
    return min(found, key=lambda part: part[4].isdigit(), default=None)


def find_file(name: str) -> Path | None:
    """Return the file or folder of this machine that a name of GDAL stands for, or a part of it.

    Examples
    --------
    >>> print(find_file("NETCDF:missing.nc:depth"))
    None
    """
    part = _find_part(name)
    named = part[4] if part else name
    return Path(named) if os.path.lexists(named) else None


def is_endless(name: str) -> bool:
    """Return whether GDAL would wait forever for what a name stands for: a pipe, a device, or what is typed."""
    path = find_file(name) or Path(_OUTER.sub("", name).partition("}")[0])
    # In an archive it lies below one.
    there = next(filter(os.path.exists, (path, *path.parents)))
    return not (there.is_file() or there.is_dir()) or "/vsistdin" in name


@contextmanager
def open_trusted(name: str) -> Iterator[Any]:
    """Open what GDAL knows by a name as a rasterio dataset.

    Raises
    ------
    BadInput
        Where it holds several images, or none.
    """
    import rasterio

    # Here the files beside it are wanted.
    settings = {"GDAL_DISABLE_READDIR_ON_OPEN": "FALSE", "GDAL_PAM_ENABLED": "YES"}
    with quiet_rasterio(), rasterio.Env(**settings), rasterio.open(name) as dataset:
        if not dataset.count:
            parts = [f"{PREFIX}{hide_keys(part)}" for part in dataset.subdatasets]
            more = f" and {len(parts) - _MOST_NAMED} more" if len(parts) > _MOST_NAMED else ""
            what = (
                f"several images; name one: {', '.join(parts[:_MOST_NAMED])}{more}"
                if parts
                else "no image; name another file"
            )
            raise BadInput(f"{PREFIX}{hide_keys(name)} has {what}")
        yield dataset
