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
# A part of a file: NETCDF:"depth.nc":elevation.
_PART = re.compile(r'(\w+):"?([^":]+)"?(:.*)?')
_MOST_NAMED = 5


def is_trusted(path: str | os.PathLike[str]) -> bool:
    """Return whether a path names what GDAL may open by any means."""
    return os.fspath(path).startswith(PREFIX)


def as_found(path: Path) -> Path:
    """Return the path of a file as one that is not taken for a name of GDAL, whatever the file is called."""
    return path.absolute() if is_trusted(path) else path


def place(name: str) -> str:
    """Return a name of GDAL with the file in it by its absolute path, for workers that run in another folder."""
    file, found = find_file(name), _PART.fullmatch(name)
    if file is None:
        return name
    is_part = found is not None and file == Path(found[2])
    return f'{found[1]}:"{file.absolute()}"{found[3] or ""}' if found and is_part else str(file.absolute())


def find_file(name: str) -> Path | None:
    """Return the file or folder of this machine that a name of GDAL stands for, or a part of it.

    Examples
    --------
    >>> print(find_file("NETCDF:missing.nc:depth"))
    None
    """
    found = _PART.fullmatch(name)
    named = (name, found[2] if found else name)
    return next((Path(one) for one in named if os.path.lexists(one)), None)


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
            what = f"several images; name one: {', '.join(parts[:_MOST_NAMED])}{more}" if parts else "no image"
            raise BadInput(f"{PREFIX}{name} has {what}")
        yield dataset
