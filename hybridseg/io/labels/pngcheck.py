"""Detect damage in PNG files that readers ignore: a flipped bit becomes another class, missing rows become class 0."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

from hybridseg.io.damage import refuse_damage

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# First column, first row, column step, row step of the seven passes of an interlaced picture.
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_PIECE = 1 << 20


def check_png(path: Path) -> None:
    """Check every checksum of a PNG file, and that its pixel data are neither short nor long.

    Raises
    ------
    BadInput
        When it is damaged or cut short.
    """
    with refuse_damage(path), path.open("rb") as file:
        check_png_stream(file)


def find_chunk(path: Path, wanted: bytes) -> bytes | None:
    """Return what the first chunk of a kind holds, without decoding the pixels; None where there is none."""
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind == wanted:
                return file.read(min(length, _PIECE))
            file.seek(length + 4, os.SEEK_CUR)
    return None


def check_png_stream(file: BinaryIO) -> None:
    """Check an open file, or bytes in memory; what is wrong raises anything that `refuse_damage` knows."""
    file.seek(8)
    expected, found, inflate = 0, 0, zlib.decompressobj()
    while True:
        length, kind = struct.unpack(">I4s", file.read(8))
        checksum = zlib.crc32(kind)
        while length:
            data = file.read(min(length, _PIECE))
            if not data:
                raise ValueError("it ends too early")
            checksum, length = zlib.crc32(data, checksum), length - len(data)
            if kind == b"IHDR":
                expected = _count_bytes(*struct.unpack(">IIBBBBB", data))
            while kind == b"IDAT" and data and found <= expected:
                found += len(inflate.decompress(data, _PIECE))
                data = inflate.unconsumed_tail
        if struct.unpack(">I", file.read(4))[0] != checksum:
            raise ValueError(f"a checksum is wrong in {kind.decode('latin1')}")
        if kind == b"IEND":
            break
    if found != expected or not inflate.eof:
        raise ValueError("its pixel data are not as long as its size says")


def _count_bytes(cols: int, rows: int, depth: int, color: int, _packing: int, _filter: int, interlace: int) -> int:
    """Return the length of the pixel data: each row is packed to whole bytes after a filter byte."""
    if color not in _CHANNELS:
        raise ValueError(f"it has an unknown colour type {color}")

    def count(n_cols: int, n_rows: int) -> int:
        return n_rows * (1 + (n_cols * _CHANNELS[color] * depth + 7) // 8) if n_cols and n_rows else 0

    if not interlace:
        return count(cols, rows)
    return sum(count(-(-(cols - c) // dc), -(-(rows - r) // dr)) for c, r, dc, dr in _PASSES)
