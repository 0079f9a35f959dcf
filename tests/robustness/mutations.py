"""Damage to a file of any format: of its structure, which its first bytes tell, or of its bytes."""

from __future__ import annotations

import itertools
import json
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

from bytewise import LARGEST, NUMBERS, TEXTS, mutate_bytes
from packed import mutate_gzip, mutate_hdf5, mutate_zip
from structures import (
    mask_checksum,
    mutate_imagine,
    mutate_jpeg,
    mutate_mat,
    mutate_png,
    mutate_proto,
    mutate_records,
    mutate_sample,
    mutate_tiff,
    mutate_words,
)

# Places of a file that are made long, one at a time.
_MOST_LONG = 40

Mutator = Callable[[bytes, Random, Sequence[bytes]], bytes]

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 255, 256, 2**31, -(2**31), 2**53, 2**63, 2**64, 10**30, 10**400, 0.5, -0.0, 1e9,
    1e-320, 1e-300, 1e-9, 120.0, 40_000, 1e300,
    float("nan"), float("inf"), float("-inf"), [], {}, [[]], [{}], {"": ""}, [0] * 5000,
    [[0, 0]] * 3000, *TEXTS,
)  # fmt: skip


def mutate(data: bytes, rng: Random, others: Sequence[bytes] = ()) -> bytes:
    """Damage a file in one to three places."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        change = find_mutator(data) if rng.random() < 0.65 else mutate_bytes
        try:
            data = change(data, rng, others)
        # What was damaged before can be read in many ways no more.
        except Exception:
            data = mutate_bytes(data, rng, others)
    return data


# A letter that no message of ours has, as a word, as words, and as what may be taken for a path.
ECHOED = "Ж"
LONG_TEXTS = (ECHOED * 3000, f"{ECHOED} " * 1500, f"{ECHOED * 100}/" * 30)


def lengthen(data: bytes) -> Iterator[bytes]:
    """Yield a text or a JSON file again and again, each time with one of its texts, names or lines made long."""
    if b"\x00" in data:
        return
    try:
        record = json.loads(data)
    except ValueError:
        lines = data.decode("utf-8", "surrogateescape").split("\n")
        for i, text in itertools.product(range(min(len(lines), _MOST_LONG)), LONG_TEXTS):
            word = re.search(r"[^\s,\"'\[\]=]+", lines[i])
            for line in {text, lines[i].replace(word[0], text, 1)} if word else {text}:
                yield "\n".join([*lines[:i], line, *lines[i + 1 :]]).encode("utf-8", "surrogateescape")
        return
    for (home, key), text in itertools.product(itertools.islice(_walk_json(record), _MOST_LONG), LONG_TEXTS):
        before = home[key]
        for value in (text, [text], {text: before}):
            home[key] = value
            yield json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogatepass")
        home[key] = before
        if isinstance(home, dict):
            renamed = [(text if name == key else name, value) for name, value in home.items()]
            kept = dict(home)
            home.clear()
            home.update(renamed)
            yield json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogatepass")
            home.clear()
            home.update(kept)


def find_mutator(data: bytes) -> Mutator:
    """Return what knows the structure of a file."""
    for signature, mutator in _SIGNATURES:
        if data.startswith(signature):
            return mutator
    if data[4:8] == b"TFL3" or data[16:20] == b"\xde\xc0\xef\xbe":
        return mutate_words
    if len(data) > 16 and struct.unpack_from("<I", data, 8)[0] == mask_checksum(data[:8]):
        return mutate_records
    if data.lstrip()[:1] in (b"{", b"["):
        return mutate_lines if b"}\n{" in data else mutate_json
    return mutate_proto if b"\x00" in data else mutate_text


def mutate_json(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Change, remove, repeat, rename or move a part of a JSON file, which is JSON again, or nearly."""
    record = json.loads(data)
    places = list(_walk_json(record))
    if not places or rng.random() < 0.05:
        return json.dumps(rng.choice(VALUES)).encode("utf-8", "surrogatepass")
    home, key = rng.choice(places)
    way = rng.randrange(8)
    if way <= 2:
        home[key] = rng.choice(VALUES)
    elif way == 3:
        del home[key]
    elif way == 4:
        other_home, other_key = rng.choice(places)
        home[key] = json.loads(json.dumps(other_home[other_key]))
    elif way == 5 and isinstance(home, dict):
        home[rng.choice(TEXTS)] = home.pop(key)
    elif way == 5:
        home[key:key] = [home[key]] * rng.choice((1, 2, 300, 20_000))
    elif way == 6:
        for _ in range(rng.choice((1, 5, 60, 150, 900))):
            home[key] = [home[key]] if rng.random() < 0.5 else {"a": home[key]}
    elif isinstance(home[key], (int, float)):
        home[key] = rng.choice((-1, 2, 10, 0.1, 1e6)) * home[key] + rng.choice((0, 1, -1))
    text = json.dumps(record, ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.08:
        # The same key twice.
        text = re.sub(r'("[^"]*": )', lambda match: f"{match[1]}0, {match[1]}", text, count=rng.randint(1, 3))
    return text.encode("utf-8", "surrogatepass")[:LARGEST]


def _walk_json(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place of a record: what holds it, and its key or number there."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _walk_json(value[key])


def mutate_lines(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Change one of the lines of a file of which each is JSON, or their order."""
    lines = data.splitlines(keepends=True)
    i = rng.randrange(len(lines))
    if rng.random() < 0.2:
        lines[i : i + 1] = [lines[i]] * rng.choice((0, 2, 300))
    elif rng.random() < 0.2:
        rng.shuffle(lines)
    else:
        lines[i] = mutate_json(lines[i], rng, ()) + b"\n"
    return b"".join(lines)


def mutate_text(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Change lines, fields or marks of a text."""
    text = data.decode("utf-8", "surrogateescape")
    lines = text.splitlines(keepends=True) or [""]
    way, i = rng.randrange(8), rng.randrange(len(lines))
    if way == 0:
        lines[i] *= rng.choice((0, 2, 2, 300, 3000))
    elif way == 1:
        lines.insert(i, rng.choice(TEXTS) + "\n")
    elif way in (2, 3, 4):
        parts = re.split(r"([,;=\[\]{}\s]+)", lines[i])
        parts[rng.randrange(len(parts))] = rng.choice((*TEXTS, *map(str, NUMBERS), ",", "[", "]", "{", "=", '"""'))
        lines[i] = "".join(parts)
    elif way == 5:
        lines = [line.replace("\n", rng.choice(("\r", "\r\n", "\n\n", "\u2028"))) for line in lines]
    elif way == 6:
        rng.shuffle(lines)
    else:
        encoding = rng.choice(("utf-16", "utf-8-sig", "latin-1", "utf-32"))
        return text.encode(encoding, "replace")
    return "".join(lines).encode("utf-8", "surrogatepass" if "\ud800" in text else "surrogateescape")[:LARGEST]


_SIGNATURES: tuple[tuple[bytes, Mutator], ...] = (
    (b"\x89PNG", mutate_png), (b"\xff\xd8\xff", mutate_jpeg), (b"II*\x00", mutate_tiff), (b"MM\x00*", mutate_tiff),
    (b"MATLAB 5.0", mutate_mat), (b"PK", mutate_zip), (b"\x1f\x8b", mutate_gzip), (b"\x89HDF", mutate_hdf5),
    (b"HSL1", mutate_sample), (b"EHFA_HEADER_TAG", mutate_imagine),
)  # fmt: skip
