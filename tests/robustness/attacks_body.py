"""Attacks by what is in a body: changes that are none, files that are far larger inside, lengths that are not so."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from functools import cache
from random import Random

import numpy as np
from hostile import CLOSED, REFUSED, Attack, Request, Site
from PIL import Image
from scipy.io import savemat

_VALUES: tuple[object, ...] = (
    None,
    True,
    -1,
    0,
    1,
    10**30,
    1e308,
    "1",
    "x" * 3000,
    [],
    {},
    [[]],
    [[1, 1]] * 3,
    {"a": {}},
    [1, 2],
    "\ud800",
    "\x00",
    -0.0,
    [[1e9, 1e9]],
    [["a", "b"]],
    [[None, None]],
)


def nonsense(draw: Random, site: Site) -> Attack:
    """Changes by the person's own page whose fields are of every kind: none is a change, none is our failure."""
    act = draw.choice(("strokes", "undo", "redo", "preview", "run", "accept", "classes"))
    names = ("version", "layer", "tool", "class", "width", "points", "window", "classes", "key", "time")
    record = {name: draw.choice(_VALUES) for name in names if draw.random() < 0.8}
    record["version"] = draw.choice((10**6, *_VALUES[5:]))
    text = json.dumps(record)
    text = draw.choice(
        (
            text,
            text[: draw.randrange(len(text))],
            "[" * draw.choice((50, 100_000)),
            text.replace("1", "NaN"),
            '{"a":' * 5000,
            text.replace('"', "'"),
            f"{text}{text}",
            "",
        )
    )
    target, verb = ("/api/classes", "PUT") if act == "classes" else (f"/api/images/{site.image}/{act}", "POST")
    return Attack(site.write(Request(target, verb, body=text.encode())), REFUSED | {204, 409}, note=text[:60])


def seek(draw: Random, site: Site) -> Attack:
    """Images, layers and tiles that there are not, or that are someone else's."""
    image = draw.choice(
        (site.image, "0" * 16, site.image[:-1], site.image.upper(), "1", "-1", "*", "%2a", "admin", "me")
    )
    number = draw.choice(("1", "99", "-1", "9" * 30, "0x0", "1e3", "NaN", "00", "%30", "\u0661", "0.0"))
    target = draw.choice(
        (
            f"/api/images/{image}x",
            f"/api/images/{image}/picture/{number}/5/5",
            f"/api/images/{image}/result/9/{number}/0",
            f"/api/images/{image}/secret/0/0/0",
            f"/api/tasks/?filter={image}",
            f"/api/images/{image}/history",
            "/admin",
            "/api/users",
            "/metrics",
            "/.env",
            "/debug",
            "/console",
            "/?__debugger__=yes&cmd=x",
        )
    )
    # The page itself, which knows no such question.
    return Attack(
        site.write(Request(target)), REFUSED | ({200} if target[1] == "?" else set()), note=target, is_lawful=True
    )


def _png(rows: int, cols: int, data: bytes, *, depth: int = 8, kind: int = 0) -> bytes:
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", cols, rows, depth, kind, 0, 0, 0)), (b"IDAT", data), (b"IEND", b""))
    parts = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@cache
def _make_bombs() -> dict[str, bytes]:
    zeros = zlib.compress(bytes(50_000_000), 9)
    archive, deep, mat, tif = io.BytesIO(), io.BytesIO(), io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": (60, 90, 999999)})
        file.writestr("image.npy", head.getvalue() + bytes(60_000_000))
    with zipfile.ZipFile(deep, "w", zipfile.ZIP_DEFLATED) as file:
        for i in range(5000):
            file.writestr(f"{'../' * 5}{i}.npy", b"")
    savemat(mat, {"class": np.zeros((4000, 4000), np.uint8)}, do_compression=True)
    Image.fromarray(np.zeros((4000, 4000), np.uint8)).save(tif, "TIFF", compression="tiff_deflate")
    runs = {"size": [10**8, 10**8], "counts": [10**16]}
    coco = {
        "images": [{"id": 1, "file_name": "a.png", "width": 90, "height": 60}],
        "categories": [{"id": 1, "name": "x"}],
        "annotations": [{"image_id": 1, "category_id": 1, "iscrowd": 1, "segmentation": runs}],
    }
    shape = {"label": "sand", "shape_type": "circle", "points": [[0, 0], [1e8, 1e8]]}
    many = {"label": "sand", "shape_type": "polygon", "points": [[i % 90, i % 60] for i in range(60_000)]}
    return {
        "huge.png": _png(65_500, 65_500, zeros),
        "long.png": _png(2**31 - 1, 1, zeros),
        "wide.png": _png(1, 2**31 - 1, zeros),
        "deep.png": _png(20_000, 20_000, zeros, depth=16, kind=6),
        "zeros.npz": archive.getvalue(),
        "names.npz": deep.getvalue(),
        "big.mat": mat.getvalue(),
        "big.tif": tif.getvalue(),
        "lies.tif": tif.getvalue().replace(struct.pack("<H", 4000), b"\xff\xff"),
        "runs.json": json.dumps(coco).encode(),
        "circle.json": json.dumps({"shapes": [shape]}).encode(),
        "nested.json": b'{"a":' * 500_000,
        "digits.json": b'{"shapes": ' + b"9" * 2_000_000 + b"}",
        "many.json": json.dumps({"shapes": [many] * 5}).encode(),
        "quotes.json": b'{"' + b'\\"' * 1_000_000,
        "polygons.json": json.dumps(
            {"shapes": [{"label": "s", "points": [[0, 0], [90, 0], [90, 60]]}] * 3000}
        ).encode(),
    }


def bomb(draw: Random, site: Site) -> Attack:
    """Small files that would be gigabytes, of another size than the image; some of them cut or bent."""
    name, content = draw.choice(list(_make_bombs().items()))
    body = bytearray(content)
    if draw.random() < 0.5:
        body[draw.randrange(len(body))] ^= 1 << draw.randrange(8)
    if draw.random() < 0.3:
        del body[draw.randrange(len(body)) :]
    request = Request(f"/api/images/{site.image}/import?name={name}", "POST", body=bytes(body))
    return Attack(site.write(request), frozenset({200, 400, 409}), note=name, is_lawful=True)


def lie(draw: Random, site: Site) -> Attack:
    """Bodies of other lengths than they say, chunks without end, and more than is taken from anyone.

    What is too long is refused by its length alone: who is not let in cannot make the server keep it.
    """
    act, admitted = draw.choice(("strokes", "import?name=x.png", "undo")), draw.random() < 0.5
    path, most = f"/api/images/{site.image}/{act}", 200_000_000 if admitted and "import" in act else 2_000_000
    if draw.random() < 0.6:
        length, sent = draw.choice(
            ((10, 5), (5, 10), (0, 100), (3_000_000, 70_000), (10**9, 70_000), (10**30, 10), (2**31, 1))
        )
        data = site.write(Request(path, "POST", {"Content-Length": str(length)}, b"{" * sent), admitted=admitted)
    else:
        chunk, length = draw.choice(
            ((b"ffff\r\n" + b"{" * 0xFFFF + b"\r\n", 0xFFFF), (b"1\r\n{\r\n", 1), (b"7fffffff\r\n{", 1))
        )
        n_chunks = draw.choice((1, 3, 40))
        head = site.write(Request(path, "POST", {"Transfer-Encoding": "chunked"}), admitted=admitted)
        data = head + chunk * n_chunks + draw.choice((b"", b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n"))
        length *= n_chunks
    may = frozenset({400, 413}) if length > most else REFUSED | {409, CLOSED}
    return Attack(data, may, most=2, note=f"{act}, {length} bytes")
