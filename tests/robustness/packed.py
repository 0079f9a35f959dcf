"""Archives that are packed again: members that lead elsewhere, are links, twice there, damaged, or very large."""

from __future__ import annotations

import io
import re
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from random import Random

from bytewise import LARGEST, NUMBERS, TEXTS, mutate_bytes, pack
from structures import mutate_words


def mutate_zip(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Pack a zip again with a member that is damaged, named or compressed in another way, or twice there."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    if not members:
        return mutate_bytes(data, rng, others)
    i, way = rng.randrange(len(members)), rng.randrange(7)
    name, body = members[i]
    if way <= 2:
        members[i] = (name, mutate_npy(body, rng) if body.startswith(b"\x93NUMPY") else mutate_bytes(body, rng, ()))
    elif way == 3:
        members[i] = (
            rng.choice((*TEXTS[:20], "../x.npy", "/x.npy", name + "/", name.upper())).replace("\ud800", "x"),
            body,
        )
    elif way == 4:
        # Not of what was made large before: that would be gigabytes.
        members[i : i + 1] = [members[i]] * min(rng.choice((0, 2, 400)), max(8 * LARGEST // (len(body) + 1), 2))
    elif way == 5:
        members[i] = (name, body + bytes(8 * LARGEST))
    buffer = io.BytesIO()
    kind = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    with _quietly(), zipfile.ZipFile(buffer, "w", kind) as archive:
        for name, body in members:
            archive.writestr(name, body)
    packed = buffer.getvalue()
    # A field of the directory at the end: version, flags, method, time, checksum, sizes, lengths, place.
    if way == 6 and (starts := [match.start() for match in re.finditer(rb"PK\x01\x02", packed)]):
        place = rng.choice(starts) + rng.choice((4, 6, 8, 10, 16, 20, 24, 28, 30, 32, 42))
        packed = packed[:place] + pack(rng.choice(NUMBERS), rng.choice((2, 4)), rng) + packed[place + 4 :]
    return packed


@contextmanager
def _quietly() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def mutate_npy(data: bytes, rng: Random) -> bytes:
    """Change the header of a numpy array: type, order, shape."""
    n = struct.unpack_from("<H", data, 8)[0]
    text, body = data[10 : 10 + n].decode("latin-1"), data[10 + n :]
    kinds = (
        "'<f8'",
        "'|O'",
        "'<U200000000'",
        "'<f2'",
        "'>i8'",
        "'<c16'",
        "'|b1'",
        "'<M8[s]'",
        "[('a', '<i4')]",
        "'|V9'",
        "3",
    )
    shapes = (
        "()",
        "(0,)",
        "(-1,)",
        "(2, 3)",
        "(1, 1, 1, 1)",
        f"({2**31}, {2**31})",
        f"({2**40},)",
        f"(0, {2**62})",
        "None",
    )
    way = rng.randrange(4)
    if way == 0:
        text = re.sub(r"'descr': [^,]+", lambda _: f"'descr': {rng.choice(kinds)}", text, count=1)
    elif way == 1:
        text = re.sub(r"'shape': \([^)]*\)", lambda _: f"'shape': {rng.choice(shapes)}", text, count=1)
    elif way == 2:
        text = text.replace("False", rng.choice(("True", "1", "None", "__import__('os')")))
    else:
        return data[:10] + mutate_bytes(data[10:], rng, ())
    return data[:8] + struct.pack("<H", len(text) % 65536) + text.encode("latin-1") + body


def mutate_gzip(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Pack a ``.tar.gz`` again with members that lead elsewhere, are links, twice there, or very large."""
    buffer = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(data)) as archive,
        tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as packed,
    ):
        members = archive.getmembers()
        chosen = rng.randrange(len(members))
        for i, member in enumerate(members):
            body, n_copies = archive.extractfile(member).read() if member.isfile() else b"", 1
            if i == chosen:
                way = rng.randrange(7)
                if way <= 1:
                    member.name = rng.choice(("../x", "/tmp/x", "a/" * 300 + "x", member.name, ".", "a\nb"))
                elif way == 2:
                    member.type = rng.choice((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE))
                    member.linkname = rng.choice(("/etc/passwd", "../../x", member.name, "."))
                elif way == 3:
                    body += bytes(32 * LARGEST)
                elif way == 4:
                    body = mutate_bytes(body, rng, ())
                elif way == 5:
                    member.mode = rng.choice((0, 0o4777, 0o7777777))
                else:
                    n_copies = rng.choice((2, 1000))
            member.size = len(body)
            for _ in range(n_copies):
                packed.addfile(member, io.BytesIO(body))
    return buffer.getvalue()


@cache
def _pack_noughts(n_bytes: int) -> bytes:
    packer = zlib.compressobj()
    pieces = [packer.compress(bytes(LARGEST)) for _ in range(n_bytes // LARGEST)]
    return b"".join([*pieces, packer.compress(bytes(n_bytes % LARGEST)), packer.flush()])


def mutate_hdf5(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Change bytes of a file of weights, or pack one of its arrays in pieces: some unpack to more than they are."""
    # Imported on use: most files are others.
    import h5py

    if rng.random() < 0.5:
        return mutate_words(data, rng, others)
    buffer = io.BytesIO(data)
    with h5py.File(buffer, "r+") as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        name, way = rng.choice(names), rng.randrange(5)
        values = file[name][()]
        if way == 4 or not values.shape:
            return mutate_bytes(data, rng, others)
        # Of a piece of some size, HDF5 writes down more than how long it is.
        shape = (*(max(side, 1) for side in values.shape[:-1]), max(values.shape[-1], 1) * rng.choice((1, 64)))
        del file[name]
        packing = rng.choice(({"compression": "gzip"}, {"compression": "gzip", "shuffle": True}, {"fletcher32": True},
                              {"compression": "lzf"}, {}))  # fmt: skip
        item = file.create_dataset(
            name, values.shape, values.dtype, chunks=shape, maxshape=(None,) * len(shape), **packing
        )
        if way < 2:
            item[...] = values
        else:
            piece = _pack_noughts(rng.choice((0, item.nbytes, 8 * LARGEST, 60 * LARGEST)))
            item.id.write_direct_chunk((0,) * len(shape), piece, filter_mask=rng.choice((0, 0, 0, 1)))
    return buffer.getvalue()
