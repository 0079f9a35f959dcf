"""Files of Doodler (``.npz``, by D. Buscombe): doodles and their dense labels.

A ``.npz`` is a zip of numpy arrays. numpy's own reader trusts the size in the header of an array, and unpickles some
arrays, which can run code. Here only the arrays that are needed are opened; their size must fit the image before
anything is unpacked, and no more than that is ever read.
"""

from __future__ import annotations

import math
import os
import re
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, product
from typing import IO

import numpy as np

from hybridseg.classes import MAX_CLASSES, VOID, ClassTable, seeds_to_labels
from hybridseg.errors import BadInput, join_names, located
from hybridseg.io.annotations.items import Annotations, split_labels
from hybridseg.io.damage import refuse_damage
from hybridseg.io.labels.labelmaps import Ids, gather_ids, narrow_labels, narrow_seeds
from hybridseg.io.rasters import check_regular
from hybridseg.markup import count_of

_MAGIC = b"\x93NUMPY"
# As numpy writes it, also under Python 2; nothing in it is evaluated.
_HEADER = re.compile(
    rb"\{'descr': '([<>|=]?)([biufUSO])(\d{0,6})', 'fortran_order': (True|False), 'shape': \(([\d, L]{0,60})\),? ?\}\s*"
)
_MAX_HEADER_BYTES, _MAX_NAME_BYTES = 10_000, 1_000_000
_MAX_DIRECTORY_BYTES, _MAX_MEMBERS = 1_000_000, 1000
_BLOCK_BYTES = 1 << 21


@dataclass(frozen=True, eq=False)
class DoodlerFile:
    """The doodles of a person and the labels that Doodler derived; None for what the file lacks.

    Parameters
    ----------
    seeds : numpy.ndarray or None
        (rows, cols) uint8 seeds: 0 = unlabelled, class k is k + 1.
    labels : numpy.ndarray or None
        (rows, cols) uint8 class ids, VOID where there is none.
    names : tuple of str or None
        Class names, in the order of their ids; None also when they are pickled.
    """

    seeds: np.ndarray | None
    labels: np.ndarray | None
    names: tuple[str, ...] | None


@dataclass(frozen=True)
class _Header:
    order: str
    kind: str
    width: int
    by_cols: bool
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype:
        # The bytes of a bool may hold anything: they are read as numbers.
        return np.dtype(f"{self.order}{'u' if self.kind == 'b' else self.kind}{self.width}")

    @property
    def n_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def read_doodlernpz(path: str | os.PathLike[str], *, shape: tuple[int, int]) -> DoodlerFile:
    """Read the newest seeds (doodles) and labels of a Doodler file.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the image: nothing of another size is read.

    Raises
    ------
    MissingInput, BadInput
        When there is no such file, it belongs to an image of another size, has neither doodles nor labels, or is
        damaged or malicious.

    Examples
    --------
    >>> import tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "a.npz")
    >>> np.savez(path, doodles=np.array([[0, 2, 0]], np.uint8), classes=["water", "sand"])
    >>> found = read_doodlernpz(path, shape=(1, 3))
    >>> found.seeds.tolist(), found.names
    ([[0, 2, 0]], ('water', 'sand'))
    """
    path = check_regular(path)
    # Also one that is encrypted, or compressed in another way than numpy does.
    refused = refuse_damage("it", what="is not a .npz of Doodler, or damaged")
    with located(path), refused, path.open("rb") as file:
        _check_directory(file)
        with zipfile.ZipFile(file) as archive:
            return _read_archive(archive, shape)


def read_doodler(
    path: str | os.PathLike[str], *, shape: tuple[int, int], image_name: str, table: ClassTable | None = None
) -> Annotations:
    """Read a Doodler file; `table` names the classes of one that does not.

    Raises
    ------
    MissingInput, BadInput
        As `read_doodlernpz`, and when there are fewer names than classes.
    """
    found = read_doodlernpz(path, shape=shape)
    with located(path):
        names = found.names
        warnings: tuple[str, ...] = ()
        if names is None and table is not None:
            names = table.names
            warnings = ("it does not name its classes: they were taken from the class list, in its order",)
        if names is None:
            raise BadInput("it does not name its classes, or only pickled; give the class list it was made with")
        maps = [(found.labels, "result")] if found.labels is not None else []
        if found.seeds is not None:
            maps.insert(0, (seeds_to_labels(found.seeds), "scribbles"))
        n_classes = max(int(np.max(labels, where=labels != VOID, initial=0)) + 1 for labels, _ in maps)
        if n_classes > len(names):
            raise BadInput(
                f"it uses {count_of(n_classes, 'class')}, but the names are {join_names(names) or 'none'}; give the "
                "class list it was made with"
            )
    items = chain.from_iterable(split_labels(labels, names, layer=layer) for labels, layer in maps)
    return Annotations(shape, image_name, dict.fromkeys(names), items, warnings, is_derived=found.seeds is not None)


def _check_directory(file: IO[bytes]) -> None:
    """Check the size of the central directory: zipfile reads all of it into memory."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - 65_557, 0))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        raise BadInput("it is a damaged .npz (it ends too early); copy it again from its source")
    n_members, n_bytes = struct.unpack("<HL", tail[at + 10 : at + 16])
    is_zip64 = tail[max(at - 20, 0) : at].startswith(b"PK\x06\x07")
    if n_members > _MAX_MEMBERS or n_bytes > _MAX_DIRECTORY_BYTES or is_zip64:
        raise BadInput("it is a .npz of far too many or too large arrays for one image; export it from Doodler again")


def _read_archive(archive: zipfile.ZipFile, shape: tuple[int, int]) -> DoodlerFile:
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if name in members:
            raise BadInput(f"two of its arrays are called {name[:40]!r}; it was not written by Doodler")
        members[name] = info
    doodles_info, label_info = (_find_newest(members, name) for name in ("doodles", "label"))
    if doodles_info is None and label_info is None:
        names = ", ".join(sorted(members)[:8]) or "nothing"
        raise BadInput(f"it has no `doodles` and no `label` (it has {names[:200]}); give a result of Doodler")
    seeds = _read_seeds(archive, doodles_info, shape) if doodles_info else None
    labels = _read_label(archive, label_info, shape) if label_info else None
    classes_info = _find_newest(members, "classes")
    names_found = _read_names(archive, classes_info) if classes_info else None
    return DoodlerFile(seeds, labels, names_found)


def _find_newest(members: dict[str, zipfile.ZipInfo], name: str) -> zipfile.ZipInfo | None:
    """Find an array: each time a file is saved again, the older ones get one more zero before their names."""
    found = [key for key in members if key.lstrip("0") == name]
    return members[min(found, key=len)] if found else None


def _read_seeds(archive: zipfile.ZipFile, info: zipfile.ZipInfo, shape: tuple[int, int]) -> np.ndarray:
    with archive.open(info) as stream:
        header = _read_header(stream, info, "doodles")
        if header.shape != shape:
            raise _make_size_error("doodles", header.shape, shape)
        seeds = narrow_seeds(_read_map(stream, header, where="`doodles`"), None, where="`doodles`")
    return seeds


def _read_label(archive: zipfile.ZipFile, info: zipfile.ZipInfo, shape: tuple[int, int]) -> np.ndarray:
    with archive.open(info) as stream:
        header = _read_header(stream, info, "label")
        if header.shape[:2] != shape or len(header.shape) > 3:
            raise _make_size_error("label", header.shape, shape)
        if len(header.shape) == 2:
            return narrow_labels(_read_map(stream, header, where="`label`"), None, where="`label`")
        if not 1 <= header.shape[2] <= MAX_CLASSES:
            raise BadInput(f"`label` has {count_of(header.shape[2], 'class')}; it can have 1 to {MAX_CLASSES}")
        labels = np.full(shape, VOID, np.uint8)
        for place, first, block in _read_blocks(stream, header):
            _take_block(labels[place], block, first=first)
    return labels


def _take_block(labels: np.ndarray, block: np.ndarray, *, first: int) -> None:
    """Write one-hot classes, (rows, cols, n), the first of them `first`, into labels."""
    if block.dtype.kind == "f" and not np.isfinite(block).all():
        raise BadInput("`label` holds NaN; export it from Doodler again")
    is_class = block != 0
    n_classes = is_class.sum(axis=2, dtype=np.uint16)
    if (n_classes + (labels != VOID) > 1).any():
        raise BadInput("`label` has more than one class at a pixel: it is not one-hot; export it from Doodler again")
    inside = n_classes == 1
    labels[inside] = is_class.argmax(axis=2)[inside] + first


def _read_blocks(stream: IO[bytes], header: _Header) -> Iterator[tuple[tuple[slice, slice], int, np.ndarray]]:
    """Read a one-hot array in pieces, in the order of the file: where each lies, its first class, its values.

    They are some rows of all classes, or some columns of one class.
    """
    n_rows, n_cols, n_classes = header.shape
    if header.by_cols:
        step = max(_BLOCK_BYTES // (n_rows * header.dtype.itemsize), 1)
        for class_id, col in product(range(n_classes), range(0, n_cols, step)):
            cols = slice(col, min(col + step, n_cols))
            data = _read_exactly(stream, n_rows * (cols.stop - col) * header.dtype.itemsize)
            values = np.frombuffer(data, header.dtype).reshape(-1, n_rows).T[..., None]
            yield (slice(0, n_rows), cols), class_id, values
        return
    row_bytes = n_cols * n_classes * header.dtype.itemsize
    step = max(_BLOCK_BYTES // row_bytes, 1)
    for row in range(0, n_rows, step):
        rows = slice(row, min(row + step, n_rows))
        data = _read_exactly(stream, (rows.stop - row) * row_bytes)
        yield (rows, slice(0, n_cols)), 0, np.frombuffer(data, header.dtype).reshape(-1, n_cols, n_classes)


def _read_map(stream: IO[bytes], header: _Header, *, where: str) -> Ids:
    n, step = math.prod(header.shape), _BLOCK_BYTES // 8

    def read() -> Iterator[tuple[slice, np.ndarray]]:
        for start in range(0, n, step):
            part = slice(start, min(start + step, n))
            values = np.frombuffer(_read_exactly(stream, (part.stop - start) * header.dtype.itemsize), header.dtype)
            yield part, values != 0 if header.kind == "b" else values

    ids = gather_ids((n,), read(), where=where)
    return replace(ids, values=ids.values.reshape(header.shape, order="F" if header.by_cols else "C"))


def _read_names(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> tuple[str, ...] | None:
    with archive.open(info) as stream:
        header = _read_header(stream, info, "classes", kinds="USO")
        if header.kind == "O":
            return None
        if len(header.shape) > 1 or math.prod(header.shape) > MAX_CLASSES or header.n_bytes > _MAX_NAME_BYTES:
            raise BadInput(f"`classes` is not a list of at most {MAX_CLASSES} names; export it from Doodler again")
        data = _read_exactly(stream, header.n_bytes)
    # Not with numpy: an invalid code point would crash the interpreter.
    coding = "utf-8" if header.kind == "S" else f"utf-32-{'be' if header.order == '>' else 'le'}"
    width = max(header.dtype.itemsize, 1)
    texts = (data[i : i + width].decode(coding) for i in range(0, len(data), width))
    return tuple(text.rstrip("\0") for text in texts)


def _read_header(stream: IO[bytes], info: zipfile.ZipInfo, name: str, *, kinds: str = "biuf") -> _Header:
    """Read the header of an array, and compare it with the actual length.

    So the last byte of the array is the last of the member, and reading it makes zipfile compare the checksum.
    """
    head = _read_exactly(stream, 8)
    if head[:6] != _MAGIC or head[6] not in (1, 2, 3):
        raise BadInput(f"`{name}` is not a numpy array; export it from Doodler again")
    length_bytes = 2 if head[6] == 1 else 4
    length = int.from_bytes(_read_exactly(stream, length_bytes), "little")
    match = _HEADER.fullmatch(_read_exactly(stream, length)) if length <= _MAX_HEADER_BYTES else None
    if match is None:
        raise BadInput(f"`{name}` is an array of a kind that Doodler does not write; export it from Doodler again")
    order, kind, width, by_cols, sizes = (part.decode("ascii") for part in match.groups())
    sides = [side.strip().removesuffix("L") for side in sizes.split(",")]
    shape = tuple(int(side) for side in sides if side)
    header = _Header("" if order == "|" else order, kind, int(width or 0), by_cols == "True", shape)
    if kind not in kinds:
        what = "pickled objects, which are never opened" if kind == "O" else f"{kind}{width}"
        raise BadInput(f"`{name}` holds {what}; export it from Doodler again")
    if kind != "O" and info.file_size != 8 + length_bytes + length + header.n_bytes:
        raise BadInput(f"`{name}` is not as long as its size says; copy the file again from its source")
    return header


def _make_size_error(name: str, found: tuple[int, ...], shape: tuple[int, int]) -> BadInput:
    sizes = " x ".join(str(side) for side in found[:4])
    return BadInput(
        f"`{name}` is of {sizes} (rows, columns), the image of {shape[0]} x {shape[1]}; give the image that was doodled"
    )


def _read_exactly(stream: IO[bytes], n: int) -> bytes:
    pieces, left = [], n
    while left:
        piece = stream.read(min(left, _BLOCK_BYTES))
        if not piece:
            raise ValueError("it ends too early")
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)
