"""How much memory each reader takes while it reads, as a multiple of what it returns.

    python tests/benchmarks/bench_memory.py [--shape 3000x4000] [--only png] [--check]

Every reader reads one file of its own in a process of its own; what that process has taken before is not counted.
With --check it ends with 1 when a reader takes more than twice what it returns and 64 MB; where a TIFF is one strip,
which GDAL unpacks as a whole, 256 MB.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

CONSTANT, CONSTANT_OF_STRIPS, FACTOR = 64_000_000, 256_000_000, 2
ONE_STRIP = "one strip"
# Pixels of the label map of 64-bit numbers that is too large for one strip.
TOO_MANY = 6000, 7000


def reset_peak() -> None:
    """Let the peak of this process begin at what it has now, where the system can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def read_memory() -> tuple[int, int]:
    """Return what this process has, and what it had at most, in bytes."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak, peak
    found = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith(("VmHWM", "VmRSS"))}
    return found["VmRSS"], found["VmHWM"]


@dataclass(frozen=True)
class Declared:
    """Stands for what is not an array."""

    nbytes: int


def count_bytes(found: Any) -> int:
    """Return the bytes of all arrays in what a reader returned."""
    if isinstance(found, np.ndarray | Declared):
        return found.nbytes
    parts = found if isinstance(found, tuple | list) else vars(found).values() if hasattr(found, "__dict__") else ()
    return sum(count_bytes(part) for part in parts)


def save_tiff(path: Path, values: np.ndarray, **profile: Any) -> None:
    import rasterio

    from hybridseg.io.rasters import quiet_rasterio

    values = values[None] if values.ndim == 2 else np.moveaxis(values, 2, 0)
    layout = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", "zlevel": 1, **profile}
    count, height, width = values.shape
    with quiet_rasterio(), rasterio.open(
        path, "w", driver="GTiff", count=count, height=height, width=width, dtype=values.dtype, **layout
    ) as dataset:  # fmt: skip
        dataset.write(values)


def save_picture(path: Path, values: np.ndarray, mode: str | None = None, **settings: Any) -> None:
    from PIL import Image

    picture = Image.fromarray(values)
    if mode == "P":
        picture.putpalette(bytes(range(256)) * 3)
    picture.save(path, compress_level=1, **settings)


def save_npz(path: Path, **arrays: np.ndarray) -> None:
    np.savez_compressed(path, classes=np.array(["a", "b"]), **arrays)


def save_mat(path: Path, **arrays: np.ndarray) -> None:
    from scipy.io import savemat

    savemat(path, arrays, do_compression=True)


# The shape of what is read first, so that all is loaded.
SMALL = 300, 40

# How many different values the labels have.
N = 2


def list_cases(shape: tuple[int, int]) -> dict[str, tuple[str, Callable[[Path], None], Callable[[Path], Any]]]:
    """Return for each case the suffix of its file, what writes it, and what reads it."""
    from hybridseg.classes import ClassTable
    from hybridseg.errors import BadInput
    from hybridseg.io.annotations.doodler import read_doodlernpz
    from hybridseg.io.annotations.formats import read_annotations
    from hybridseg.io.annotations.painted import paint_annotations
    from hybridseg.io.images import load_image, read_image, read_valid
    from hybridseg.io.labels.classids import read_class_ids
    from hybridseg.io.labels.formats import read_labelmap
    from hybridseg.io.lazyimages import open_lazily
    from hybridseg.io.tfrecords import Record, decode_record, encode_record
    from hybridseg.io.windows import open_windows

    rows, cols = shape
    table = ClassTable(("a", "b"), ((10, 20, 30), (200, 100, 0)))

    @cache
    def labels() -> np.ndarray:
        return np.add.outer(np.arange(rows) // 61, np.arange(cols) // 83).astype(np.uint8) % N

    @cache
    def one_hot() -> np.ndarray:
        return np.stack([labels() == i for i in range(N)], 2).astype(float)

    def deep(kind: str, bands: int = 3) -> np.ndarray:
        values = np.empty((rows, cols, bands), kind)
        for band in range(bands):
            values[..., band] = np.add.outer(np.arange(rows) * (band % 3) // 16, np.arange(cols) // 8) % 251
        return values

    def noise(kind: str) -> np.ndarray:
        values = np.random.default_rng(0).integers(0, 256 if kind == "uint8" else 1 << 15, (rows, cols, 3)).astype(kind)
        values[0, 0] = 7
        return values

    def take_or_leave(read: Callable[[Path], Any], path: Path) -> Any:
        # What is refused counts as if nothing was returned.
        try:
            return read(path)
        except BadInput as error:
            if "is stored in strips" not in str(error):
                raise
            return Declared(0)

    cases: dict[str, tuple[str, Callable[[Path], None], Callable[[Path], Any]]] = {}

    def add(name: str, suffix: str, write: Callable[[Path], None], read: Callable[[Path], Any]) -> None:
        cases[name] = suffix, write, read

    for kind in ("uint8", "uint16", "int16", "int32", "float32", "float64"):
        add(f"label TIFF, {kind}", ".tif", lambda p, k=kind: save_tiff(p, labels().astype(k)), read_labelmap)
        add(f"class ids, {kind}", ".tif", lambda p, k=kind: save_tiff(p, labels().astype(k)),
            lambda p: read_class_ids(p, None))  # fmt: skip
        add(f"image TIFF, {kind}", ".tif", lambda p, k=kind: save_tiff(p, deep(k), interleave="pixel"), load_image)
        add(f"image TIFF with nodata, {kind}", ".tif", lambda p, k=kind: save_tiff(p, deep(k), nodata=7), load_image)
        add(f".mat, {kind}", ".mat", lambda p, k=kind: save_mat(p, **{"class": labels().astype(k)}), read_labelmap)
        add(f"Doodler, {kind}", ".npz", lambda p, k=kind: save_npz(p, doodles=labels().astype(k)),
            lambda p: read_doodlernpz(p, shape=shape))  # fmt: skip
    cases = {name: case for name, case in cases.items() if name != "class ids, uint8"}
    add("label TIFF with nodata, float64", ".tif", lambda p: save_tiff(p, labels() + 0.0, nodata=np.nan), read_labelmap)
    add("label TIFF in strips, float64", ".tif", lambda p: save_tiff(p, labels() + 0.0, tiled=False), read_labelmap)
    one_strip = {"tiled": False, "blockysize": rows, "interleave": "pixel"}
    for kind in ("uint8", "float64"):
        add(f"label TIFF in {ONE_STRIP}, {kind}", ".tif",
            lambda p, k=kind: save_tiff(p, labels().astype(k), **one_strip), read_labelmap)  # fmt: skip
    for kind in ("uint8", "uint16", "float32"):
        add(f"image TIFF of noise in {ONE_STRIP}, {kind}", ".tif",
            lambda p, k=kind: save_tiff(p, noise(k), **one_strip), load_image)  # fmt: skip
        add(f"valid pixels of noise in {ONE_STRIP}, {kind}", ".tif",
            lambda p, k=kind: save_tiff(p, noise(k), nodata=7, **one_strip),
            lambda p: take_or_leave(read_valid, p))  # fmt: skip
    add(f"label TIFF in {ONE_STRIP}, 42 megapixels, float64", ".tif",
        lambda p: save_tiff(p, np.zeros(TOO_MANY if rows > SMALL[0] else SMALL), tiled=False, blockysize=TOO_MANY[0]),
        lambda p: take_or_leave(read_labelmap, p))  # fmt: skip
    add("label TIFF, painted", ".tif", lambda p: save_tiff(p, table.palette()[labels()], interleave="pixel"),
        lambda p: read_labelmap(p, table=table))  # fmt: skip
    add("image TIFF of 12 bands, float32", ".tif", lambda p: save_tiff(p, deep("float32", 12), interleave="pixel"),
        load_image)  # fmt: skip
    add("image TIFF filled, float32", ".tif", lambda p: save_tiff(p, deep("float32"), nodata=7),
        lambda p: load_image(p).filled())  # fmt: skip
    add("windows of an image, float32", ".tif", lambda p: save_tiff(p, deep("float32"), nodata=7),
        # It is the whole image that is open.
        lambda p: (open_windows(p), Declared(rows * cols * 13)))  # fmt: skip
    add("lazy image, uint8", ".png", lambda p: save_picture(p, deep("uint8")), lambda p: open_lazily(p)[:, :])
    add("valid pixels, float64", ".tif", lambda p: save_tiff(p, deep("float64"), nodata=7), read_valid)
    add(".mat, float64 with scribbles", ".mat",
        lambda p: save_mat(p, **{"class": labels() + 0.0, "sparse": labels() + 0.0}), read_labelmap)  # fmt: skip
    add("Doodler, one-hot float64", ".npz", lambda p: save_npz(p, label=one_hot()),
        lambda p: read_doodlernpz(p, shape=shape))  # fmt: skip
    add("Doodler, one-hot float64 by columns", ".npz",
        lambda p: save_npz(p, label=np.asfortranarray(one_hot())),
        lambda p: read_doodlernpz(p, shape=shape))  # fmt: skip
    for kind, bands in (("RGB", 3), ("RGBA", 4)):
        add(f"PNG, {kind}", ".png", lambda p, b=bands: save_picture(p, deep("uint8", b)), load_image)
    add("PNG, grey", ".png", lambda p: save_picture(p, labels()), read_image)
    add("PNG, palette", ".png", lambda p: save_picture(p, labels(), "P"), read_image)
    add("PNG, 16 bits", ".png", lambda p: save_picture(p, labels().astype(np.uint16)), read_image)
    add("JPEG", ".jpg", lambda p: save_picture(p, deep("uint8"), quality=90), load_image)
    add("label PNG, palette", ".png", lambda p: save_picture(p, labels(), "P"), read_labelmap)
    add("label PNG, 16 bits", ".png", lambda p: save_picture(p, labels().astype(np.uint16)), read_labelmap)
    add("label PNG, painted", ".png", lambda p: save_picture(p, table.palette()[labels()]),
        lambda p: read_labelmap(p, table=table))  # fmt: skip

    def write_record(path: Path, kind: str) -> None:
        path.write_bytes(encode_record(Record(deep(kind), labels(), "a", 0)))

    for kind in ("uint8", "float32"):
        # The record itself is in memory before it is decoded.
        add(f"record, {kind}", ".bin", lambda p, k=kind: write_record(p, k), lambda p: decode_record(p.read_bytes()))

    def write_json(path: Path, record: object) -> None:
        path.write_text(json.dumps(record))

    square = [[0, 0, cols, 0, cols, rows, 0, rows]]
    coco = {
        "images": [{"id": 1, "file_name": "a.png", "height": rows, "width": cols}],
        "categories": [{"id": 1, "name": "a"}],
    }
    area = {"image_id": 1, "category_id": 1}
    runs = {"size": [rows, cols], "counts": [0, rows * cols]}
    polygons, crowds = ([{**area, "segmentation": part}] * n for part, n in ((square, 300), (runs, 3)))
    for name, areas in (("polygons", polygons), ("run lengths", crowds)):
        add(f"COCO, {name}", ".json", lambda p, a=areas: write_json(p, {**coco, "annotations": a}),
            lambda p: paint_annotations(p, shape=shape, image_name="a.png"))  # fmt: skip

    def write_labelme(path: Path) -> None:
        import base64

        from PIL import Image

        file = io.BytesIO()
        Image.fromarray(labels() > 0).save(file, format="PNG")
        mask = base64.b64encode(file.getvalue()).decode()
        corners = [[0, 0], [cols - 1, rows - 1]]
        shapes = [{"label": "a", "shape_type": "mask", "points": corners, "mask": mask}]
        write_json(path, {"shapes": shapes, "imageHeight": rows, "imageWidth": cols, "imagePath": "a.png"})

    add("labelme, mask", ".json", write_labelme,
        lambda p: [item.drawn for item in read_annotations(p, shape=shape, image_name="a.png").items])  # fmt: skip
    return cases


def measure(name: str, shape: tuple[int, int], path: Path) -> None:
    """Read one file in this process, and print what that took."""
    import hybridseg.io.tfrecords

    suffix, write, read = list_cases(SMALL)[name]
    warm = path.with_name(f"small{suffix}")
    write(warm)
    read(warm)
    read = list_cases(shape)[name][2]
    if name.startswith("record"):
        hybridseg.io.tfrecords.decode_record(warm.read_bytes())
    reset_peak()
    start, _ = read_memory()
    began = time.process_time()
    found = read(path)
    seconds = time.process_time() - began
    _, peak = read_memory()
    print(json.dumps({"peak": peak - start, "returned": count_bytes(found), "seconds": seconds}))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shape", default="3000x4000")
    parser.add_argument("--only", default="", help="a part of the names of cases")
    parser.add_argument("--exactly", default="", help="the name of a case")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    rows, cols = map(int, options.shape.split("x"))
    if options.measure:
        measure(options.measure[0], (rows, cols), Path(options.measure[1]))
        return 0
    print("| reader | returns | takes at most | factor | processor seconds |\n|---|---|---|---|---|")
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (suffix, write, _) in list_cases((rows, cols)).items():
            if options.only not in name or (options.exactly or name) != name:
                continue
            path = Path(folder, f"a{suffix}")
            write(path)
            words = [sys.executable, __file__, "--shape", options.shape, "--measure", name, str(path)]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                print(name, done.stderr.strip().splitlines()[-1:])
                wrong.append(name)
                continue
            found = json.loads(done.stdout.splitlines()[-1])
            peak, returned = found["peak"], found["returned"]
            factor = f"{peak / returned:.2f}" if returned else "refused"
            print(f"| {name} | {returned / 1e6:.0f} MB | {peak / 1e6:.0f} MB | {factor} | "
                  f"{found['seconds']:.2f} |", flush=True)  # fmt: skip
            if peak > FACTOR * returned + (CONSTANT_OF_STRIPS if ONE_STRIP in name else CONSTANT):
                wrong.append(name)
            path.unlink()
    if wrong:
        print("more than that:", ", ".join(wrong))
    return int(bool(wrong) and options.check)


if __name__ == "__main__":
    sys.exit(main())
