"""ERDAS Imagine, ENVI and JPEG 2000 files: what they say of themselves, and in which other files their pixels are.

GDAL believes it: it opens whatever an Imagine file names, takes zeros for what an ENVI file lacks at its end, and takes
memory for all tiles that a JPEG 2000 file claims.
"""

from __future__ import annotations

import math
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from hybridseg.errors import BadInput, HybridSegError
from hybridseg.io.damage import refuse_damage
from hybridseg.io.rasters import (
    ERDAS_MAGIC,
    advise_conversion,
    begins_as_image,
    check_pixel_count,
    check_regular,
    list_beside,
)
from hybridseg.io.textfiles import read_whole

IMAGINE, ENVI = "HFA", "ENVI"
"""As GDAL calls them."""

_MAX_BANDS, _MAX_SIDE, _MAX_BLOCKS = 5_000, (1 << 31) - 1, 4_000_000

_MAGIC = ERDAS_MAGIC + b"\0"
# Where the tree begins and what its types are made of; an entry of the tree; a layer.
_FILE, _ENTRY, _LAYER = struct.Struct("<8xI2xI"), struct.Struct("<I8xIIi64s32s"), struct.Struct("<2i2h2i")
_MAX_ENTRIES, _MAX_TYPES = 100_000, 1 << 20
_IMAGINE_BITS = (1, 2, 4, 8, 8, 16, 16, 32, 32, 32, 64, 64, 128)
_IMAGINE_TYPES = (
    "uint8", "uint8", "uint8", "uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64",
    "complex64", "complex128",
)  # fmt: skip
# Where a list of blocks begins, and what it says of each.
_BLOCKS_START = 22
_BLOCK = np.dtype([("file", "<i2"), ("start", "<u4"), ("size", "<i4"), ("is_valid", "<i2"), ("is_packed", "<i2")])
# What is read here at fixed places, and by GDAL where these types of the file say: with others, it would read other
# bands, other blocks or the name of another file.
_ENUM = rb"1:e[0-9]+:[^{}:]*,"
_TYPES = {
    b"eimg_layer": rb"1:lwidth,1:lheight,%blayertype,%bpixeltype,1:lblockwidth,1:lblockheight," % (_ENUM, _ENUM),
    b"edms_state": rb"1:lnumvirtualblocks,1:lnumobjectsperblock,1:lnextobjectnum,%bcompressiontype,"
    rb"0:poedms_virtualblockinfo,blockinfo,0:poedms_freeidlist,freelist,1:tmodtime," % _ENUM,
    b"edms_virtualblockinfo": rb"1:sfilecode,1:loffset,1:lsize,%blogvalid,%bcompressiontype," % (_ENUM, _ENUM),
}
_SPILL_TYPES = {
    b"emif_string": rb"0:pcstring,",
    b"imgexternalraster": rb"1:oemif_string,filename,2:llayerstackvalidflagsoffset,2:llayerstackdataoffset,"
    rb"1:llayerstackcount,1:llayerstackindex,",
}

# How a JP2 file begins, and the code in one, or alone, with what it says of its size.
_JP2, _CODE = b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"
_SIZES = struct.Struct(">4x8IH")
_MAX_BOXES, _MAX_TILES = 1_000, 150_000

_MAX_HEADER_BYTES, _MAX_FIELDS = 4_000_000, 5_000
_FIELDS = (
    "samples", "lines", "bands", "header_offset", "data_type", "interleave", "byte_order", "file_type",
    "file_compression",
)  # fmt: skip
_FIELD = re.compile(rf"^[ \t]*({'|'.join(_FIELDS).replace('_', '[ _]')})[ \t]*=(.*)$", re.IGNORECASE | re.MULTILINE)
_ENVI_TYPES = {"1": "uint8", "2": "int16", "3": "int32", "4": "float32", "5": "float64", "12": "uint16", "13": "uint32"}


class Header(NamedTuple):
    """What a file says of itself.

    Parameters
    ----------
    driver : str
        `IMAGINE` or `ENVI`.
    files : tuple of pathlib.Path
        The file and, where there is one, the other that belongs to it.
    fields : dict of str to str
        Of ENVI: what says where its pixels are.
    layout : tuple
        Of Imagine: rows and columns of a block of each band, and its type.
    n_bytes : int or None
        Of ENVI: where the pixels end.
    """

    driver: str
    rows: int
    cols: int
    n_bands: int
    files: tuple[Path, ...]
    fields: dict[str, str]
    layout: tuple[tuple[tuple[int, int], str], ...] = ()
    n_bytes: int | None = None

    def check_same(self, dataset: Any) -> None:
        """Raise ValueError unless GDAL has read the same."""
        tags = {name.lower(): value.strip() for name, value in dataset.tags(ns=ENVI).items()}
        seen = dataset.height, dataset.width, dataset.count, *(tags.get(name) for name in _FIELDS)
        # What GDAL has seen and we have not is as unclear as the opposite.
        if seen != (self.rows, self.cols, self.n_bands, *(self.fields.get(name) for name in _FIELDS)):
            raise ValueError("its header is unclear")
        if self.layout and self.layout != tuple(zip(dataset.block_shapes, dataset.dtypes, strict=True)):
            raise ValueError("its header is unclear")
        if self.n_bytes is not None and self.files[0].stat().st_size > self.n_bytes:
            # It may be that of another image, whose bands lie elsewhere.
            raise ValueError(f"it has more bytes than the {self.n_bytes:,} that {self.files[1].name} says")


def find_format(path: Path) -> str | None:
    """Return `IMAGINE` by the first bytes of a file, `ENVI` by the header beside it, None for any other."""
    head = _read_head(path)
    if head == _MAGIC:
        return IMAGINE
    header = None if head is None or begins_as_image(head) else _find_envi_header(path)
    return ENVI if header and (_read_head(header) or b"").startswith(b"ENVI") else None


def _read_head(path: Path) -> bytes | None:
    try:
        with check_regular(path).open("rb") as file:
            return file.read(len(_MAGIC))
    except (HybridSegError, OSError):
        return None


def read_header(path: Path) -> Header:
    """Read what such a file says of itself.

    Raises
    ------
    MissingInput, BadInput
        Also for files that name others elsewhere, and where there are fewer pixels than it says.
    """
    check_regular(path)
    found = find_format(path)
    if found is None:
        raise BadInput(f"{path} is neither an ERDAS Imagine nor an ENVI image; give one that is")
    with refuse_damage(path):
        header = _read_imagine(path) if found == IMAGINE else _read_envi(path)
        if not (0 < header.rows <= _MAX_SIDE and 0 < header.cols <= _MAX_SIDE and header.n_bands > 0):
            raise ValueError("its width, height or number of bands is out of range")
    if header.n_bands > _MAX_BANDS:
        raise BadInput(
            f"{path} has {header.n_bands:,} bands, more than the {_MAX_BANDS:,} that are read; leave some out"
        )
    return header


class _Layer(NamedTuple):
    """What an Imagine file says of a band."""

    cols: int
    rows: int
    use: int
    kind: int
    block_cols: int
    block_rows: int

    @property
    def block_bytes(self) -> int:
        return (_IMAGINE_BITS[self.kind] * self.block_rows * self.block_cols + 7) // 8

    @property
    def layout(self) -> tuple[tuple[int, int], str]:
        return (self.block_rows, self.block_cols), _IMAGINE_TYPES[self.kind]

    @property
    def n_blocks(self) -> int:
        return math.ceil(self.cols / self.block_cols) * math.ceil(self.rows / self.block_rows)

    def check(self, path: Path) -> None:
        """Raise unless it is a band of pixels in blocks of usual size."""
        if not (0 <= self.kind < len(_IMAGINE_BITS) and min(self[:2] + self[4:]) > 0):
            raise ValueError("it has a band without pixels")
        pixel_bytes = math.ceil(_IMAGINE_BITS[self.kind] / 8)
        check_pixel_count(f"a block of {path}", self.block_rows, self.block_cols, pixel_bytes=pixel_bytes)


def _read_imagine(path: Path) -> Header:
    layers: list[_Layer] = []
    maps: dict[int, tuple[int, int]] = {}
    files, n_blocks = {path: None}, 0
    with path.open("rb") as file:
        (start,) = struct.unpack("<I", _read(file, len(_MAGIC), 4))
        root, types = _FILE.unpack(_read(file, start, _FILE.size))
        text = _read(file, types, _MAX_TYPES)
        if not _are_usual(_TYPES, text):
            raise _refuse_types(path)
        can_spill = _are_usual(_SPILL_TYPES, text)
        for depth, name, kind, place in _walk(file, root):
            if depth == 1 and kind == b"eimg_layer":
                layers.append(_Layer(*_LAYER.unpack(_read(file, place[0], _LAYER.size))))
                layers[-1].check(path)
                n_blocks += layers[-1].n_blocks
                if n_blocks > _MAX_BLOCKS:
                    raise BadInput(f"{path} has more than {_MAX_BLOCKS:,} blocks of pixels; {advise_conversion(path)}")
            elif name == b"externalrasterdms" or kind == b"imgexternalraster":
                if not can_spill or kind != b"imgexternalraster":
                    raise _refuse_elsewhere(path)
                # Those of smaller versions are named alike.
                files[_find_spill(path, file, place, layers[-1] if depth == 2 else None)] = None
            elif depth == 2 and name == b"rasterdms":
                if kind != b"edms_state":
                    raise _refuse_types(path)
                maps.setdefault(len(layers) - 1, place)
        for i, place in maps.items():
            _check_blocks(file, place, layers[i])
    if len({layer[:2] for layer in layers}) != 1:
        raise ValueError("it has no bands of one size")
    layout = tuple(layer.layout for layer in layers)
    return Header(IMAGINE, layers[0].rows, layers[0].cols, len(layers), tuple(files), {}, layout)


def _walk(file: BinaryIO, root: int) -> Iterator[tuple[int, bytes, bytes, tuple[int, int]]]:
    """Yield the entries of the tree: depth, name and type in small letters, where their data are and how long."""
    places, seen = [(0, root)], set[int]()
    while places:
        depth, place = places.pop()
        if place == 0:
            continue
        if place in seen or len(seen) >= _MAX_ENTRIES:
            raise ValueError("its entries have no end")
        seen.add(place)
        following, child, start, size, name, kind = _ENTRY.unpack(_read(file, place, _ENTRY.size))
        name, kind = (text.partition(b"\0")[0].lower() for text in (name, kind))
        yield depth, name, kind, (start, size)
        places += (depth, following), (depth + 1, child)


def _are_usual(types: dict[bytes, bytes], content: bytes) -> bool:
    """Return whether a file defines these types as they are read here, wherever it does."""
    known, end, _ = content.lower().partition(b"\0")
    return bool(end) and all(
        len(re.findall(rb"\}%b\b" % name, known)) == len(re.findall(rb"\{%b\}%b\b" % (fields, name), known))
        for name, fields in types.items()
    )


def _refuse_types(path: Path) -> BadInput:
    return BadInput(f"{path} describes its bands in another way than Imagine files do; {advise_conversion(path)}")


def _refuse_elsewhere(path: Path) -> BadInput:
    return BadInput(f"{path} has its pixels in a file that is not beside it; {advise_conversion(path)}")


def _find_spill(path: Path, file: BinaryIO, place: tuple[int, int], layer: _Layer | None) -> Path:
    """Return the file beside an Imagine file that has its pixels, as GDAL finds it; of a layer they must be whole."""
    data = _read(file, place[0], min(max(place[1], 0), 1_000))
    (length,) = struct.unpack_from("<I", data)
    name = data[8 : 8 + length].partition(b"\0")[0].decode("utf-8", "replace")
    if not re.fullmatch(r"[^/\\:]+\.ige", name, re.IGNORECASE):
        raise _refuse_elsewhere(path)
    named = path.with_name(name)
    spill = check_regular(named if os.path.lexists(named) else path.with_suffix(named.suffix))
    start, n_layers = struct.unpack_from("<8xqi", data, 8 + length)
    if layer and spill.stat().st_size < start + layer.n_blocks * layer.block_bytes * n_layers:
        raise ValueError(f"{spill.name} ends too early")
    return spill


def _check_blocks(file: BinaryIO, place: tuple[int, int], layer: _Layer) -> None:
    """Raise ValueError where blocks are missing: GDAL would take zeros for them."""
    data = _read(file, place[0] + _BLOCKS_START, layer.n_blocks * _BLOCK.itemsize)
    blocks = np.frombuffer(data, _BLOCK, layer.n_blocks)
    n_bytes = np.where(blocks["is_packed"], blocks["size"], layer.block_bytes)
    ends = blocks["start"].astype(np.int64) + n_bytes
    if ends[blocks["is_valid"] != 0].max(initial=0) > os.fstat(file.fileno()).st_size:
        raise ValueError("it ends too early")


def _read(file: BinaryIO, start: int, n_bytes: int) -> bytes:
    file.seek(start)
    return file.read(n_bytes)


def _find_envi_header(path: Path) -> Path | None:
    """Return what has the name of a header beside the pixels of an ENVI image; GDAL, too, takes the first."""
    return next(filter(os.path.lexists, list_beside(path, (".hdr", ".HDR"))), None)


def _read_envi(path: Path) -> Header:
    header = _find_envi_header(path)
    if header is None or header == path:
        raise BadInput(f"{path} is the header of an ENVI image; name the file of the pixels that it belongs to")
    statistics = header.with_suffix(".sta")
    if os.path.lexists(statistics):
        check_regular(statistics)
    text = read_whole(header, most=_MAX_HEADER_BYTES, remedy=advise_conversion(path)).decode("latin-1")
    # The time that GDAL takes grows with their square.
    if text.count("=") > _MAX_FIELDS:
        raise BadInput(f"{header} says more than {_MAX_FIELDS:,} things; leave out what does not place the pixels")
    text = re.sub(r"\{[^{}]*\}", "", text.replace("\r", "\n"))
    fields = {name.lower().replace(" ", "_"): value.strip() for name, value in _FIELD.findall(text)}
    kind = fields.get("file_type", "")
    if kind.lower() not in ("", "envi", "envi standard") or fields.get("file_compression", "0") != "0":
        what = "compressed" if fields.get("file_compression", "0") != "0" else f"of the type {kind[:40]!r}"
        raise BadInput(f"{path} is {what}, and only plain images of ENVI are read; {advise_conversion(path)}")
    number = fields.get("data_type", "1")
    if number not in _ENVI_TYPES:
        raise BadInput(f"{path} has samples of ENVI's type {number[:40]!r}; give integers of up to 32 bits or floats")
    if fields.get("interleave", "bsq").lower() not in ("bsq", "bil", "bip"):
        raise ValueError("its interleave is none of bsq, bil and bip")
    rows, cols, n_bands = (_parse_whole(fields.get(name, "")) for name in ("lines", "samples", "bands"))
    start = _parse_whole(fields.get("header_offset", "0"))
    wanted = start + rows * cols * n_bands * np.dtype(_ENVI_TYPES[number]).itemsize
    if path.stat().st_size < wanted:
        raise BadInput(
            f"{path} has {path.stat().st_size:,} bytes, and {header.name} says {wanted:,}; copy both again from their "
            "source"
        )
    return Header(ENVI, rows, cols, n_bands, (path, header), fields, n_bytes=wanted)


def _parse_whole(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text):
        raise ValueError("a field of its header is not a number")
    return int(text)


def measure_jpeg2000(path: Path) -> tuple[tuple[int, int], int]:
    """Return rows and columns of a JPEG 2000 file, and the bytes of its pixels.

    Its library takes memory for each tile as soon as it opens one.

    Raises
    ------
    MissingInput, BadInput
        Also for too many tiles, and for tiles that are too large.
    """
    with refuse_damage(path), check_regular(path).open("rb") as file:
        head = file.read(len(_JP2))
        if not head.startswith((_JP2, _CODE)):
            raise BadInput(f"{path} is not a JPEG 2000 image; give one that is")
        file.seek(_find_code(file) if head == _JP2 else 0)
        if file.read(4) != _CODE:
            raise ValueError("there is no image in it")
        right, bottom, left, top, tile_cols, tile_rows, first_left, first_top, n_bands = _SIZES.unpack(
            file.read(_SIZES.size)
        )
        n_bits = [(one & 127) + 1 for one in file.read(3 * n_bands)[::3]]
        n_tiles = math.ceil((right - first_left) / tile_cols) * math.ceil((bottom - first_top) / tile_rows)
    if n_tiles * n_bands > _MAX_TILES:
        raise BadInput(
            f"{path} has {n_tiles:,} tiles of {n_bands} bands; save it in larger tiles, of 1024 x 1024 pixels"
        )
    rows, cols = bottom - top, right - left
    # A tile is unpacked as a whole, into four bytes for each sample.
    tile = min(tile_rows, rows), min(tile_cols, cols)
    check_pixel_count(f"a tile of {path}", *tile, pixel_bytes=4 * n_bands)
    return (rows, cols), rows * cols * sum(1 << (one > 8) << (one > 16) for one in n_bits)


def _find_code(file: BinaryIO) -> int:
    """Return where the code begins in a JP2 file, which is made of boxes."""
    start = len(_JP2)
    for _ in range(_MAX_BOXES):
        file.seek(start)
        size, kind = struct.unpack(">I4s", file.read(8))
        n_head = 16 if size == 1 else 8
        if kind == b"jp2c":
            return start + n_head
        size = struct.unpack(">Q", file.read(8))[0] if size == 1 else size
        if size < n_head:
            break
        start += size
    raise ValueError("there is no image in it")
