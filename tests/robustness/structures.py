"""Damage that the checks of a binary format do not notice: lengths, counts and names that lie, checksums that fit.

Each function takes the bytes of a file, a random generator, and files of the same kind, and returns a damaged file.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from random import Random
from typing import Any

from bytewise import LARGEST, NUMBERS, TEXTS, encode_varint, mutate_bytes, pack

# Pictures.

_PNG_HEAD = b"\x89PNG\r\n\x1a\n"
_EXTRA_CHUNKS = (
    (b"iCCP", b"x\x00\x00" + zlib.compress(b"\x00" * 200)), (b"eXIf", b"II*\x00\x08\x00\x00\x00\x05\x00"),
    (b"zTXt", b"a\x00\x00" + zlib.compress(b"a" * 200_000)), (b"tEXt", b"Comment\x00" + b"x" * 99), (b"XXXX", b""),
    (b"iTXt", b"a\x00\x01\x00\x00\x00x"), (b"gAMA", b"\x00" * 4), (b"sBIT", b"\x00"), (b"pHYs", b"\xff" * 9),
    (b"acTL", b"\x00" * 8), (b"fdAT", b"\x00" * 8), (b"tRNS", b"\x00\x01"), (b"PLTE", b"\x00" * 9), (b"IDAT", b""),
    (b"IEND", b""),
)  # fmt: skip


def mutate_png(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Change the header, a chunk, their order or the pixels of a PNG, with checksums that fit."""
    chunks = list(_list_chunks(data))
    way, i = rng.randrange(8), rng.randrange(len(chunks))
    kind, body = chunks[i]
    if way <= 1:
        header = bytearray(chunks[0][1])
        field = rng.choice((0, 4, 8, 9, 10, 11, 12))
        n_bytes = 4 if field < 8 else 1
        number = rng.choice(NUMBERS) if rng.random() < 0.7 else rng.randrange(40)
        header[field : field + n_bytes] = (number % (1 << 8 * n_bytes)).to_bytes(n_bytes, "big")
        chunks[0] = (b"IHDR", bytes(header))
    elif way == 2:
        chunks[i] = (kind, mutate_bytes(body, rng, ()))
    elif way == 3:
        chunks.insert(rng.randrange(len(chunks) + 1), rng.choice(_EXTRA_CHUNKS))
    elif way == 4:
        chunks.insert(rng.randrange(len(chunks)), chunks.pop(i))
    elif way == 5:
        chunks[i : i + 1] = [chunks[i]] * rng.choice((0, 2, 100))
    else:
        pixels = zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"))
        pixels = rng.choice((mutate_bytes(pixels, rng, ()), pixels + bytes(LARGEST), bytes(len(pixels)), b""))
        first = next(i for i, chunk in enumerate(chunks) if chunk[0] == b"IDAT")
        chunks = [chunk for chunk in chunks if chunk[0] != b"IDAT"]
        chunks.insert(first, (b"IDAT", zlib.compress(pixels)))
    found = bytearray(_PNG_HEAD)
    for kind, body in chunks:
        found += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return bytes(found)


def _list_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    start = len(_PNG_HEAD)
    while start + 12 <= len(data):
        (n,) = struct.unpack_from(">I", data, start)
        yield data[start + 4 : start + 8], data[start + 8 : start + 8 + n]
        start += 12 + n


def mutate_jpeg(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Change what a segment of a JPEG says: its length, or a byte or two of it."""
    starts = [match.start() for match in re.finditer(rb"\xff[\xc0-\xfe]", data)]
    start = rng.choice(starts)
    if rng.random() < 0.3:
        return data[: start + 2] + pack(rng.choice(NUMBERS), 2, rng) + data[start + 4 :]
    place = start + rng.randint(2, 24)
    return data[:place] + pack(rng.choice(NUMBERS), rng.choice((1, 2, 4)), rng) + data[place + rng.choice((1, 2, 4)) :]


def mutate_tiff(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Change the tag, type, count or value of an entry of a TIFF, or let another page follow the first."""
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    (n_entries,) = struct.unpack_from(f"{order}H", data, start)
    place = start + 2 + 12 * rng.randrange(n_entries)
    tag, kind, count, value = struct.unpack_from(f"{order}HHII", data, place)
    way = rng.randrange(8)
    if way > 5:
        link = start + 2 + 12 * n_entries
        page = _make_page(order, len(data), rng)
        return data[:link] + struct.pack(f"{order}I", len(data)) + data[link + 4 :] + page
    if way == 0:
        kind = rng.choice((0, 1, 2, 3, 4, 5, 9, 11, 12, 13, 16, 99))
    elif way == 1:
        count = rng.choice(NUMBERS) % 2**32
    elif way == 2:
        tag = rng.choice((254, 256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 330,
                          338, 339, 33550, 33922, 34264, 34735, 42112, 42113, 50844))  # fmt: skip
    elif way == 3:
        value = rng.randrange(40)
    else:
        value = rng.choice(NUMBERS) % 2**32
    entry = struct.pack(f"{order}HHII", tag, kind, count, value)
    return data[:place] + entry + data[place + 12 :]


def _make_page(order: str, place: int, rng: Random) -> bytes:
    """Make a directory for a place, of a mask or an overview in a large tile, perhaps with many texts."""
    side = rng.choice((16, 64, 1024, 32768))
    body = zlib.compress(bytes(rng.choice((1, side, 8_000_000))))
    text = b"<GDALMetadata>" + b'<Item name="a">1</Item>' * rng.choice((1, 300, 60_000)) + b"</GDALMetadata>\0"
    start = place + 2 + 12 * 12 + 4
    tags = ((254, 4, 1, rng.choice((0, 1, 4))), (256, 4, 1, rng.choice((20, side))), (257, 4, 1, 20), (258, 3, 1, 8),
            (259, 3, 1, 8), (262, 3, 1, rng.choice((1, 4))), (277, 3, 1, 1), (322, 4, 1, side), (323, 4, 1, side),
            (324, 4, 1, start), (325, 4, 1, len(body)), (42112, 2, len(text), start + len(body)))  # fmt: skip
    entries = b"".join(
        # Short numbers stand first in their place.
        struct.pack(f"{order}HHI", tag, kind, count)
        + (struct.pack(f"{order}HH", value, 0) if kind == 3 else struct.pack(f"{order}I", value))
        for tag, kind, count, value in tags
    )
    return struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + body + text


# Matlab.


def mutate_mat(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Change an element of a MAT file, inside what is compressed too."""
    elements, start = [], 128
    while start + 8 <= len(data):
        kind, n = struct.unpack_from("<II", data, start)
        elements.append((kind, data[start + 8 : start + 8 + n]))
        start += 8 + n + (-n % 8 if kind != 15 else 0)
    i = rng.randrange(len(elements))
    kind, body = elements[i]
    if rng.random() < 0.1:
        elements[i : i + 1] = [elements[i]] * rng.choice((0, 2, 300))
    elif kind == 15:
        inner = zlib.decompress(body)
        inner = inner + bytes(LARGEST) if rng.random() < 0.05 else _mutate_words(inner, rng)
        elements[i] = (15, zlib.compress(inner))
    else:
        elements[i] = (kind, _mutate_words(body, rng))
    found = bytearray(data[:128])
    for kind, body in elements:
        found += struct.pack("<II", kind, len(body)) + body + (b"\x00" * (-len(body) % 8) if kind != 15 else b"")
    return bytes(found)


def _mutate_words(data: bytes, rng: Random) -> bytes:
    """Change one of the words of four bytes at the beginning, where tags, flags and dimensions are; or any bytes."""
    if rng.random() < 0.3:
        return mutate_bytes(data, rng, ())
    place = 4 * rng.randrange(max(1, min(len(data) // 4, 24)))
    number = rng.choice(NUMBERS) % 2**32 if rng.random() < 0.6 else rng.randrange(20)
    return data[:place] + struct.pack("<I", number) + data[place + 4 :]


# Protocol buffers, and records of them.


def mutate_proto(data: bytes, rng: Random, others: Sequence[bytes] = (), *, depth: int = 0) -> bytes:
    """Change a field of a message, or of one inside it, whose lengths then fit."""
    fields = list(_list_fields(data))
    i = rng.randrange(len(fields))
    number, kind, value = fields[i]
    if kind == 2 and depth < 12 and rng.random() < 0.8:
        with suppress(ValueError, LookupError):
            fields[i] = (number, 2, mutate_proto(value, rng, depth=depth + 1))
            return _join_fields(fields)
    way = rng.randrange(6)
    if way == 0:
        fields[i : i + 1] = [fields[i]] * rng.choice((0, 2, 3, 200))
    elif way == 1:
        fields[i] = (rng.choice((number + 1, max(1, number - 1), 15, 1000)), kind, value)
    elif way == 2:
        fields.insert(rng.randrange(len(fields)), rng.choice(fields))
    elif kind == 0:
        fields[i] = (number, 0, rng.choice(NUMBERS) if rng.random() < 0.7 else rng.randrange(24))
    elif kind == 2 and rng.random() < 0.3:
        fields[i] = (number, 2, rng.choice(TEXTS).encode("utf-8", "surrogatepass"))
    else:
        fields[i] = (number, kind, mutate_bytes(value, rng, ())[: None if kind == 2 else len(value)])
    return _join_fields(fields)


def _read_varint(data: bytes, start: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[start]
        number, shift, start = number | (byte & 127) << shift, shift + 7, start + 1
        if byte < 128:
            return number, start


def _list_fields(data: bytes) -> Iterator[tuple[int, int, Any]]:
    """Yield number, wire type and value of each field; ValueError or IndexError for what is no message."""
    start = 0
    while start < len(data):
        key, start = _read_varint(data, start)
        kind = key & 7
        if kind == 0:
            value, start = _read_varint(data, start)
            yield key >> 3, 0, value
            continue
        n = {1: 8, 5: 4}.get(kind, 0)
        if kind == 2:
            n, start = _read_varint(data, start)
        elif not n:
            raise ValueError("no message")
        if start + n > len(data) or not key >> 3:
            raise ValueError("no message")
        yield key >> 3, kind, data[start : start + n]
        start += n


def _join_fields(fields: Sequence[tuple[int, int, Any]]) -> bytes:
    found = bytearray()
    for number, kind, value in fields:
        found += encode_varint(number << 3 | kind)
        if kind == 0:
            found += encode_varint(value)
            continue
        found += encode_varint(len(value)) * (kind == 2) + value
    return bytes(found)


def mutate_records(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Change a record of a TFRecord file, or its length, with checksums that fit."""
    records = list(_list_records(data))
    i, way = rng.randrange(len(records)), rng.randrange(6)
    lengths = [len(record) for record in records]
    if way <= 2:
        records[i] = mutate_proto(records[i], rng)
        lengths[i] = len(records[i])
    elif way == 3:
        records[i] = mutate_bytes(records[i], rng, ())
        lengths[i] = len(records[i])
    elif way == 4:
        lengths[i] = rng.choice(NUMBERS)
    else:
        records[i : i + 1], lengths[i : i + 1] = [records[i]] * 2, [lengths[i]] * 2
    found = bytearray()
    for record, length in zip(records, lengths, strict=True):
        head = struct.pack("<Q", length)
        found += head + struct.pack("<I", mask_checksum(head)) + record + struct.pack("<I", mask_checksum(record))
    return bytes(found)


def _list_records(data: bytes) -> Iterator[bytes]:
    start = 0
    while start + 16 <= len(data):
        (n,) = struct.unpack_from("<Q", data, start)
        yield data[start + 12 : start + 12 + n]
        start += 16 + n


def _make_crc_table() -> list[int]:
    table = list(range(256))
    for _ in range(8):
        table = [(value >> 1) ^ 0x82F63B78 * (value & 1) for value in table]
    return table


_CRC_TABLE = _make_crc_table()


def mask_checksum(data: bytes) -> int:
    """Return the masked CRC-32C of a record."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _CRC_TABLE[(value ^ byte) & 255] ^ value >> 8
    value ^= 0xFFFFFFFF
    return ((value >> 15 | value << 17) + 0xA282EAD8) % 2**32


# Records of our own databases.


def mutate_sample(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Change the JSON at the beginning of a sample, or the pixels after it, with a checksum that fits."""
    n = int.from_bytes(data[4:8], "little")
    header, pixels = json.loads(data[8 : 8 + n]), data[8 + n :]
    pixels = mutate_bytes(pixels, rng, ()) if rng.random() < 0.3 else pixels
    array = header[rng.choice(("image", "mask"))]
    way = rng.randrange(5)
    if way == 0:
        array["shape"] = rng.choice(([], [0, 0], [-1, 4], [2**31, 2**31], [1] * 40, array["shape"][::-1], None))
    elif way == 1:
        array["shape"][rng.randrange(len(array["shape"]))] = rng.choice(NUMBERS)
    elif way == 2:
        array["dtype"] = rng.choice(("float64", "uint8", "int32", "O", "", 3))
    elif way == 3:
        header[rng.choice(sorted(header))] = rng.choice((None, -1, 2**70, "x", [], {}, {"300": 2, "x": 1}, TEXTS[11]))
    header["crc32"] = zlib.crc32(pixels)
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    return data[:4] + len(text).to_bytes(4, "little") + text + pixels


# Files of words and places: flat buffers, HDF5, LMDB.


def mutate_imagine(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Change a word of an entry of an Imagine file, or of what it points to."""
    (start,) = struct.unpack_from("<I", data, 16)
    entries, left = [], [struct.unpack_from("<8xI", data, start)[0]]
    while left and len(entries) < 200:
        entries.append(left.pop())
        following, child = struct.unpack_from("<I8xI", data, entries[-1])
        left += [place for place in (following, child) if place and place not in entries]
    place = rng.choice(entries)
    if rng.random() < 0.7:
        place = struct.unpack_from("<I", data, place + 16)[0] + 2 * rng.randrange(30)
    else:
        place += 4 * rng.randrange(6)
    n_bytes = rng.choice((2, 4, 4, 8))
    number = rng.choice((*NUMBERS, rng.randrange(64), rng.choice(entries)))
    return data[:place] + pack(number, n_bytes, rng) + data[place + n_bytes :]


def mutate_words(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Change a word of 2, 4 or 8 bytes that is not zero: a place, a length, a number of entries."""
    n_bytes = rng.choice((2, 4, 4, 8))
    places = [match.start() for match in re.finditer(rb"[^\0]", data)]
    if rng.random() < 0.6:
        # Where a page of LMDB says what it holds.
        places = [place for place in places if place % 4096 < 160 or place % 4096 > 3900] or places
    place = rng.choice(places)
    start = place - place % n_bytes
    old = int.from_bytes(data[start : start + n_bytes], "little")
    number = old + rng.choice((-4, -1, 1, 4, 4096)) if rng.random() < 0.5 else rng.choice((*NUMBERS, rng.randrange(64)))
    return data[:start] + (number % (1 << 8 * n_bytes)).to_bytes(n_bytes, "little") + data[start + n_bytes :]
