"""Damage to bytes, wherever they are and whatever they mean, and the numbers and texts that do harm."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

LARGEST = 1 << 20
"""A damaged file is about this large at most: what harms does so by what it says."""

NUMBERS = (0, 1, 2, 3, 7, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**32,
           2**40, 2**53, 2**63 - 1, 2**63, 2**64 - 1)  # fmt: skip
TEXTS = (
    "", " ", "a,b", "a\nb", "a\rb", "a\u2028b", "a\x85b", "\x00", "\x1b[2J", "\ud800", "\ufeff", "../../x",
    "/etc/passwd", "~", "NaN", "nan", "inf", "-1", "1e999", "0x10", "١٢", "true", "null", "{}", "%s%n", "x" * 5000,
    "é" * 300, "=1+1", "#", '"', "'", "a\tb", "CON", ".", "..", "image.png", "water", "Water", "<b>x</b>", "2" * 400,
)  # fmt: skip


def mutate_bytes(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Damage bytes, wherever they are and whatever they mean."""
    return rng.choice((flip, flip, overwrite, overwrite, truncate, remove, repeat, insert, splice))(data, rng, others)


def flip(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    found = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        if found:
            found[_place(found, rng)] ^= 1 << rng.randrange(8)
    return bytes(found)


def overwrite(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Put a number in the place of another: of 1 to 8 bytes, in either order, or as a varint."""
    start = _place(data, rng)
    if rng.random() < 0.15:
        n_old = next((n for n in range(1, 10) if data[start + n - 1 : start + n] < b"\x80"), 1)
        return data[:start] + encode_varint(rng.choice(NUMBERS)) + data[start + n_old :]
    n_bytes = rng.choice((1, 2, 4, 4, 8))
    start -= start % n_bytes if rng.random() < 0.7 else 0
    return data[:start] + pack(rng.choice(NUMBERS), n_bytes, rng) + data[start + n_bytes :]


def truncate(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def remove(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    start = _place(data, rng)
    return data[:start] + data[start + rng.choice((1, 2, 4, 8, 64, 1000)) :]


def repeat(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    start, n = _place(data, rng), rng.choice((1, 4, 16, 256))
    return data[:start] + data[start : start + n] * rng.choice((2, 3, 50)) + data[start + n :]


def insert(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    start = _place(data, rng)
    return data[:start] + rng.choice((rng.randbytes(4), b"\x00" * 16, b"\xff" * 16)) + data[start:]


def splice(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    other = rng.choice(others) if others else data
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _place(data: bytes | bytearray, rng: Random) -> int:
    """Choose a place, more often where files say what they hold: at the beginning, and at the end."""
    most = len(data)
    if rng.random() < 0.4:
        most = min(most, 256)
    place = rng.randrange(most) if most else 0
    return len(data) - 1 - place if data and rng.random() < 0.15 else place


def pack(number: int, n_bytes: int, rng: Random) -> bytes:
    return (number % (1 << 8 * n_bytes)).to_bytes(n_bytes, rng.choice(("little", "big")))


def encode_varint(number: int) -> bytes:
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes((*parts, number))
