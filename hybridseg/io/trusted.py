"""What a person trusts GDAL to open, and says so: `gdal:depth.nc`.

GDAL takes whatever driver it likes, and that one whatever files and addresses it finds named in the file. No other way
leads here than a path that begins so.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hybridseg.errors import BadInput
from hybridseg.io.rasters import quiet_rasterio

PREFIX = "gdal:"
# A part of a file, NETCDF:"depth.nc":elevation, and what of its name is kept.
_PART = re.compile(r'(\w+):"?([^":]+)"?(:.*)?')
_UNKEPT = re.compile(r"[^-.\w]+")
_MOST_NAMED = 5


def is_trusted(path: str | os.PathLike[str]) -> bool:
    """Return whether a path names what GDAL may open by any means."""
    return os.fspath(path).startswith(PREFIX)


def as_found(path: Path) -> Path:
    """Return the path of a file as one that is not taken for a name of GDAL, whatever the file is called."""
    return path.absolute() if is_trusted(path) else path


def place(name: str) -> str:
    """Return a name of GDAL with the file in it by its absolute path, for workers that run in another folder."""
    if part := _find_part(name):
        return f'{part[1]}:"{Path(part[2]).absolute()}"{part[3] or ""}'
    return str(Path(name).absolute()) if os.path.lexists(name) else name


def result_stem(name: str) -> str:
    """Return what results are called, without their suffix: after the file, and the part of it that is named."""
    if (part := _find_part(name)) and part[3]:
        return f"{Path(part[2]).stem}_{_UNKEPT.sub('_', part[3]).strip('_')}"
    return Path(name).stem


def _find_part(name: str) -> re.Match[str] | None:
    """Return the driver, the file and the rest of a name of GDAL for a part of a file of this machine."""
    found = _PART.fullmatch(name)
    return found if found and not os.path.lexists(name) and os.path.lexists(found[2]) else None


def find_file(name: str) -> Path | None:
    """Return the file or folder of this machine that a name of GDAL stands for, or a part of it.

    Examples
    --------
    >>> print(find_file("NETCDF:missing.nc:depth"))
    None
    """
    part = _find_part(name)
    named = part[2] if part else name
    return Path(named) if os.path.lexists(named) else None


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
            parts = [f"{PREFIX}{part}" for part in dataset.subdatasets]
            more = f" and {len(parts) - _MOST_NAMED} more" if len(parts) > _MOST_NAMED else ""
            what = (
                f"several images; name one: {', '.join(parts[:_MOST_NAMED])}{more}"
                if parts
                else "no image; name another file"
            )
            raise BadInput(f"{PREFIX}{name} has {what}")
        yield dataset
