"""Arrays of our own on disk: ``.npy`` that is mapped, ``.npz`` without compression. Nothing is larger than its file."""

from __future__ import annotations

import math
import os
import zipfile
from typing import Any, Literal

import numpy as np

from hybridseg.errors import BadInput, located
from hybridseg.io.damage import list_damage
from hybridseg.io.rasters import check_regular

_KINDS = "biufU"
_MAX_HEADER_BYTES = 10_000


def map_array(path: str | os.PathLike[str], mode: Literal["r", "r+"] = "r") -> np.memmap:
    """Return a ``.npy`` as an array that is read from disk where it is used.

    Raises
    ------
    MissingInput, BadInput
    """
    path = check_regular(path)
    with located(path):
        try:
            # First for reading: a file that is too short would be made longer.
            found = np.load(path, mmap_mode="r", allow_pickle=False)
            if not isinstance(found, np.memmap):
                raise ValueError("it is an archive")
            return found if mode == "r" else np.load(path, mmap_mode=mode, allow_pickle=False)
        except list_damage() as error:
            raise BadInput(f"it is no array, or damaged ({error}); remove it") from error


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read all arrays of a ``.npz`` that ``numpy.savez`` wrote, of numbers or text.

    Raises
    ------
    MissingInput, BadInput
    """
    path = check_regular(path)
    with located(path):
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
                if sum(member.file_size for member in members) > path.stat().st_size:
                    raise ValueError("its arrays are larger than the file")
                return {member.filename.removesuffix(".npy"): _read_member(archive, member) for member in members}
        except list_damage() as error:
            raise BadInput(f"it is damaged ({error}); remove it") from error


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read_header: Any = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read_header is None:
            raise ValueError(f"{member.filename!r} is of another version of the format")
        shape, _, dtype = read_header(stream, max_header_size=_MAX_HEADER_BYTES)
    if dtype.kind not in _KINDS or math.prod(shape) * dtype.itemsize > member.file_size:
        raise ValueError(f"{member.filename!r} is no array of numbers, or larger than it can be")
    with archive.open(member) as stream:
        values = np.lib.format.read_array(stream, allow_pickle=False)
    # Such a text would crash the interpreter.
    if dtype.kind == "U" and (np.ascontiguousarray(values).reshape(-1).view(np.uint32) > 0x10FFFF).any():
        raise ValueError(f"{member.filename!r} is not a text")
    return values
