"""MATLAB 5 to 7 files: arrays of numbers, and a list of names. Everything else in a file is skipped.

SciPy's reader trusts the content of a file: one changed byte can crash the process, and a small variable can claim
gigabytes. Here every length must agree with type and size before anything is read. What is written is what SciPy
writes, which takes a tenth of a second to import.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from hybridseg.errors import BadInput, located
from hybridseg.io.atomic import atomic_path
from hybridseg.io.damage import refuse_damage
from hybridseg.io.labels.labelmaps import Ids, gather_ids
from hybridseg.io.rasters import check_pixel_count, check_regular

_MATRIX, _COMPRESSED = 14, 15
_ITEM_BYTES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8, 16: 1, 17: 2, 18: 4}
_CELL, _STRUCT, _CHAR, _BYTES = 1, 2, 4, 9
_KINDS = {1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse", 16: "function", 17: "opaque"}
_NUMERIC = range(6, 16)
_COMPLEX_FLAG = 0x800
_DTYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
# A list of class names is small and flat: far below these.
_MAX_LIST_BYTES, _MAX_NAME_BYTES = 1_000_000, 4096
_MAX_ARRAY_VALUES = 4096
_PIECE = 1 << 18
# Without the time, so that the same map is the same file.
_HEADER = b"MATLAB 5.0 MAT-file, written by hybridseg".ljust(124) + b"\x00\x01IM"


class _Stream:
    """Reads the bytes of one element, unpacked if necessary, and never more than requested."""

    def __init__(self, file: BinaryIO, n_bytes: int, *, packed: bool) -> None:
        self._file, self._left = file, n_bytes
        self._inflate = zlib.decompressobj() if packed else None
        self._ahead = b""

    def read(self, n: int) -> bytes | bytearray:
        """Read exactly n bytes."""
        data, filled = bytearray(n), 0
        while filled < n:
            missing = min(n - filled, _PIECE)
            if self._inflate is None:
                piece = self._take(missing)
            else:
                piece = self._inflate.decompress(self._ahead or self._take(_PIECE), missing)
                self._ahead = self._inflate.unconsumed_tail
                if not piece and (self._inflate.eof or not self._left):
                    raise ValueError("it ends too early")
            data[filled : filled + len(piece)] = piece
            filled += len(piece)
        return bytes(data) if n <= _PIECE else data

    def finish(self) -> None:
        """Unpack the padding that is left: the checksum of all the data follows it."""
        while self._inflate is not None and not self._inflate.eof:
            packed = self._ahead or self._take(_PIECE)
            if len(self._inflate.decompress(packed, _MAX_NAME_BYTES)) == _MAX_NAME_BYTES:
                raise ValueError("a variable is longer than declared")
            self._ahead = self._inflate.unconsumed_tail

    def _take(self, n: int) -> bytes:
        piece = self._file.read(min(n, self._left))
        if not piece:
            raise ValueError("it ends too early")
        self._left -= len(piece)
        return piece


@dataclass(frozen=True)
class NameList:
    """Class names as stored in a file, and the text that a struct holds for each: its colour."""

    names: tuple[str, ...]
    values: tuple[str, ...] | None = None


@dataclass(frozen=True, eq=False)
class MatContent:
    """The names of all variables, the requested maps and arrays, and the list of names."""

    variables: tuple[str, ...]
    maps: dict[str, Ids]
    arrays: dict[str, np.ndarray]
    names: NameList | None
    text: str | None = None


def read_mat5(
    path: Path, wanted: Collection[str], *, list_name: str, array_name: str = "", text_name: str = ""
) -> MatContent:
    """Read some maps, a list of names, a small array and a text.

    Parameters
    ----------
    wanted : collection of str
        Names of arrays (rows, cols) of class ids in any type; others are never unpacked.
    list_name : str
        A char array, a cell of texts, or a struct with a field for each name.
    array_name : str
        An array (rows, cols) of numbers; a large one is passed over.
    text_name : str
        A single row of characters; a variable of this name that is anything else is passed over.

    Raises
    ------
    MissingInput, BadInput
        When there is no such file, it is of another format, damaged or malicious, or an array has more
        pixels than the cap.
    """
    content = MatContent((), {}, {}, None)
    names = _Names(wanted, list_name, array_name, text_name)
    told = {"what": "cannot be read as a .mat file", "remedy": "it is damaged or not a MATLAB file"}
    with refuse_damage(path, **told), check_regular(path).open("rb") as file:
        order = _read_order(path, file.read(128))
        while len(tag := file.read(8)) == 8:
            kind, n_bytes = struct.unpack(f"{order}II", tag)
            start = file.tell()
            if kind in (_MATRIX, _COMPRESSED):
                stream = _Stream(file, n_bytes, packed=kind == _COMPRESSED)
                if kind == _COMPRESSED:
                    kind, _ = struct.unpack(f"{order}II", stream.read(8))
                if kind == _MATRIX:
                    content = _read_variable(path, stream, order, names, content)
            file.seek(start + n_bytes)
    return content


@dataclass(frozen=True)
class _Names:
    """What is read of a file."""

    maps: Collection[str]
    list: str
    array: str
    text: str


def _read_order(path: Path, header: bytes) -> str:
    if header.startswith(b"MATLAB 7.3"):
        raise BadInput(f"{path} is in the MATLAB 7.3 (HDF5) format; save it again in MATLAB with save(..., '-v7')")
    order = {b"IM": "<", b"MI": ">"}.get(header[126:128])
    if order is None:
        raise ValueError("it has no MATLAB 5 header")
    return order


def _read_variable(path: Path, stream: _Stream, order: str, wanted: _Names, content: MatContent) -> MatContent:
    kind, shape, name = _read_head(stream, order)
    if name in content.variables:
        raise BadInput(f"{path} has two variables called `{name}`; write the file again")
    maps, arrays, names, text = content.maps, content.arrays, content.names, content.text
    if name == wanted.list:
        with located(f"{path}: `{name}`"):
            names = _read_list(_Counted(stream), order, kind, shape)
            stream.finish()
    elif name == wanted.text and kind == _CHAR and shape[0] == 1 and len(shape) == 2:
        text = _read_text(_Counted(stream), order, shape)[0]
        stream.finish()
    elif name in wanted.maps or (name == wanted.array and math.prod(shape) <= _MAX_ARRAY_VALUES):
        if kind not in _NUMERIC or len(shape) != 2:
            what = _KINDS.get(kind, "array")
            raise BadInput(f"{path}: `{name}` is a {what} of shape {shape}, not a (rows, cols) array of numbers")
        check_pixel_count(path, *shape)
        if name in wanted.maps:
            maps = {**maps, name: _read_map(stream, order, shape, where=f"`{name}` of {path}")}
        else:
            arrays = {**arrays, name: _read_array(stream, order, shape)}
        stream.finish()
    return MatContent((*content.variables, name), maps, arrays, names, text)


def _read_map(stream: _Stream, order: str, shape: tuple[int, ...], *, where: str) -> Ids:
    """Read an array piece by piece, each made bytes at once."""
    kind, _, inside = _measure_data(stream, order, shape)
    dtype, n = _find_dtype(kind, order), math.prod(shape)

    def read() -> Iterator[tuple[slice, np.ndarray]]:
        for start in range(0, n, _PIECE):
            length = min(_PIECE, n - start)
            data = inside[: n * dtype.itemsize] if inside else stream.read(length * dtype.itemsize)
            yield slice(start, start + length), np.frombuffer(data, dtype)

    ids = gather_ids((n,), read(), where=where)
    return replace(ids, values=np.ascontiguousarray(ids.values.reshape(shape, order="F")))


def _read_array(stream: _Stream, order: str, shape: tuple[int, ...]) -> np.ndarray:
    kind, data = _read_data(stream, order, shape)
    return np.frombuffer(data, _find_dtype(kind, order)).reshape(shape, order="F")


def _find_dtype(kind: int, order: str) -> np.dtype:
    if kind not in _DTYPES:
        raise ValueError("its data are not numbers")
    return np.dtype(f"{order}{_DTYPES[kind]}")


class _Counted(_Stream):
    """The same stream, up to the size that a list of names may have."""

    def __init__(self, stream: _Stream) -> None:
        self._stream, self.n_read = stream, 0

    def read(self, n: int) -> bytes | bytearray:
        """Read exactly n bytes, if that is not too many."""
        self.n_read += n
        if n < 0 or self.n_read > _MAX_LIST_BYTES:
            raise ValueError("its list of class names is far too large, or cut short")
        return self._stream.read(n)


def _read_list(stream: _Stream, order: str, kind: int, shape: tuple[int, ...]) -> NameList | None:
    if not math.prod(shape):
        return None
    if kind == _CHAR:
        return NameList(_read_text(stream, order, shape))
    if kind == _CELL:
        if max(shape) != math.prod(shape):
            raise ValueError(f"its names are a table of {shape}, so their order is unknown")
        texts = [_read_value(stream, order) for _ in range(math.prod(shape))]
        if None in texts:
            raise ValueError("its list of class names holds something that is not text")
        return NameList(tuple(text for text in texts if text is not None))
    if kind == _STRUCT:
        if math.prod(shape) != 1:
            raise ValueError(f"its names are a list of {math.prod(shape)} structs, not one whose fields are the names")
        width = struct.unpack(f"{order}i", _read_item(stream, order, limit=4))[0]
        fields = _read_item(stream, order, limit=_MAX_LIST_BYTES)
        names = [fields[i : i + width].split(b"\0")[0].decode("latin1") for i in range(0, len(fields), max(width, 1))]
        values = [_read_value(stream, order) for _ in names]
        return NameList(tuple(names), None if None in values else tuple(value or "" for value in values))
    raise ValueError("its list of class names is not text")


def _read_value(stream: _Stream, order: str) -> str | None:
    """Read the text in a cell or a field; None when it holds something else."""
    tag, n_bytes = struct.unpack(f"{order}II", stream.read(8))
    if tag != _MATRIX or not n_bytes:
        raise ValueError("its list of class names has an empty entry")
    inner = _Counted(stream)
    kind, shape, _ = _read_head(inner, order)
    if kind != _CHAR or math.prod(shape) != max((0, *shape)):
        stream.read(n_bytes - inner.n_read)
        return None
    texts = _read_text(inner, order, (1, math.prod(shape)))
    stream.read(max(n_bytes - inner.n_read, 0))
    return texts[0]


def _read_text(stream: _Stream, order: str, shape: tuple[int, ...]) -> tuple[str, ...]:
    """Read a char array, (n, width): a row a text, stored column by column."""
    if len(shape) != 2:
        raise ValueError("its list of class names has more than two dimensions")
    kind, data = _read_data(stream, order, shape)
    coding = {1: "latin1", 2: "latin1", 16: "utf-8"}.get(kind, {3: "utf-16", 4: "utf-16", 17: "utf-16"}.get(kind))
    if coding is None:
        raise ValueError("its list of class names is not text")
    if coding == "utf-16":
        coding = "utf-16-le" if order == "<" else "utf-16-be"
    text = data.decode(coding)
    if len(text) != math.prod(shape):
        raise ValueError("the length of its text does not fit its size")
    return tuple(text[row :: shape[0]] for row in range(shape[0]))


def _read_head(stream: _Stream, order: str) -> tuple[int, tuple[int, ...], str]:
    """Read kind, shape and name of a matrix."""
    flags = struct.unpack(f"{order}II", _read_item(stream, order, limit=8))[0]
    sizes = _read_item(stream, order, limit=128)
    shape = struct.unpack(f"{order}{len(sizes) // 4}i", sizes)
    if any(side < 0 for side in shape):
        raise ValueError("a size is negative")
    if flags & _COMPLEX_FLAG:
        raise ValueError("it holds complex numbers")
    return flags & 0xFF, shape, _read_item(stream, order, limit=_MAX_NAME_BYTES).decode("latin1")


def _read_item(stream: _Stream, order: str, *, limit: int) -> bytes | bytearray:
    """Read one small item; data of at most four bytes are in the tag itself."""
    tag = stream.read(8)
    first = struct.unpack(f"{order}I", tag[:4])[0]
    if first >> 16:
        if first >> 16 > 4:
            raise ValueError("an item is longer than it can be")
        return tag[4 : 4 + (first >> 16)]
    n_bytes = struct.unpack(f"{order}I", tag[4:])[0]
    if n_bytes > limit:
        raise ValueError("an item is longer than it can be")
    return stream.read(_pad(n_bytes))[:n_bytes]


def _measure_data(stream: _Stream, order: str, shape: tuple[int, ...]) -> tuple[int, int, bytes | bytearray]:
    """Read the tag of data, and compare their length with type and shape: kind, length, bytes in the tag itself."""
    tag = stream.read(8)
    first = struct.unpack(f"{order}I", tag[:4])[0]
    if first >> 16:
        kind, n_bytes, inside = first & 0xFFFF, first >> 16, tag[4:]
    else:
        kind, n_bytes, inside = first, struct.unpack(f"{order}I", tag[4:])[0], b""
    item_bytes = _ITEM_BYTES.get(kind, 0)
    # A text in UTF-8 has up to four bytes a letter; all else exactly what its type has.
    fits = n_bytes <= math.prod(shape) * 4 if kind == 16 else n_bytes == math.prod(shape) * item_bytes
    if not item_bytes or not fits or (inside and n_bytes > 4):
        raise ValueError("the length of its data does not fit its size")
    return kind, n_bytes, inside


def _read_data(stream: _Stream, order: str, shape: tuple[int, ...]) -> tuple[int, bytes | bytearray]:
    kind, n_bytes, inside = _measure_data(stream, order, shape)
    return kind, inside[:n_bytes] if inside else stream.read(n_bytes)


def _pad(n_bytes: int) -> int:
    return -(-n_bytes // 8) * 8


def write_mat5(path: Path, variables: Mapping[str, np.ndarray | Sequence[str]]) -> None:
    """Write arrays, (rows, cols) uint8, and lists of texts of one length, packed; whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(_HEADER)
        for name, value in variables.items():
            packed = zlib.compress(_encode_variable(name, value))
            file.write(struct.pack("<II", _COMPRESSED, len(packed)) + packed)


def _encode_variable(name: str, value: np.ndarray | Sequence[str]) -> bytes:
    if isinstance(value, np.ndarray):
        kind, shape, data = _BYTES, value.shape, _encode_item(2, value.tobytes(order="F"))
    else:
        letters = "".join(text[i] for i in range(len(value[0])) for text in value)
        kind, shape, data = _CHAR, (len(value), len(value[0])), _encode_item(16, letters.encode())
    flags, sizes = struct.pack("<II", kind, 0), struct.pack("<ii", *shape)
    body = _encode_item(6, flags) + _encode_item(5, sizes) + _encode_item(1, name.encode()) + data
    return struct.pack("<II", _MATRIX, len(body)) + body


def _encode_item(kind: int, data: bytes) -> bytes:
    if len(data) <= 4:
        return struct.pack("<HH4s", kind, len(data), data)
    return struct.pack("<II", kind, len(data)) + data + bytes(_pad(len(data)) - len(data))
