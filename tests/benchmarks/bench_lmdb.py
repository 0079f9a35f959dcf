"""Databases of scientific images: reading, two readers, a training that waits for one, killed builds: ``make bench``.

    python tests/benchmarks/bench_lmdb.py [IMAGES MASKS]

Without folders, 200 images of 256 x 256 pixels in 16 bits are made, with masks of two classes.
"""

from __future__ import annotations

import hashlib
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio

import hybridseg as hs
from hybridseg.classes import ClassTable
from hybridseg.data import buildlmdb
from hybridseg.data.lmdbplan import LmdbOptions
from hybridseg.dense.datasets import find_folder_pairs, make_label_reader
from hybridseg.dense.lmdbpairs import BatchMaker, LmdbPairs
from hybridseg.dense.pairs import FolderPairs, PairSource
from hybridseg.dense.policy import read_policy
from hybridseg.dense.readers import Readers
from hybridseg.dense.recordpairs import open_records
from hybridseg.dense.records import RecordOptions, make_records
from hybridseg.io.lmdbstore import DATA_NAME
from hybridseg.io.rasters import quiet_rasterio
from hybridseg.models.normalization import Normalization

SIDE, N_IMAGES, BATCH, N_BATCHES, N_ROUNDS, N_KILLS = 256, 200, 4, 60, 3, 50
BUILD = """
import sys
from pathlib import Path
from hybridseg.data import buildlmdb
from hybridseg.data.lmdbplan import LmdbOptions
buildlmdb._TRANSACTION_BYTES = 1 << 20
images, masks, out = map(Path, sys.argv[1:])
print("ready", flush=True)
buildlmdb.build_lmdb(images, masks, out, options=LmdbOptions("bench"))
"""


def write_images(folder: Path) -> tuple[Path, Path]:
    for name in ("images", "masks"):
        (folder / name).mkdir()
    profile = {"driver": "GTiff", "height": SIDE, "width": SIDE, "count": 1}
    for i in range(N_IMAGES):
        rng = np.random.default_rng(i)
        mask = np.kron(rng.integers(0, 2, (16, 16)), np.ones((SIDE // 16, SIDE // 16))).astype(np.uint8)
        image = (mask.astype(int) * 3000 + rng.integers(900, 1500, mask.shape)).astype(np.uint16)
        for name, values in (("images", image), ("masks", mask)):
            path = folder / name / f"cell_{i:03}.tif"
            with quiet_rasterio(), rasterio.open(path, "w", dtype=values.dtype, **profile) as dataset:
                dataset.write(values, 1)
    return folder / "images", folder / "masks"


def measure(read: Callable[[int], object], n: int) -> float:
    """Return calls a second."""
    started = time.perf_counter()
    for i in range(n):
        read(i)
    return n / (time.perf_counter() - started)


def bench_reading(folder: Path, images: Path, masks: Path, database: Path) -> None:
    """Print records a second in one process, from each store in turn."""
    table = ClassTable.from_names(["background", "cell"])
    folders = FolderPairs(find_folder_pairs(images, masks), make_label_reader(table), table=table, size=(SIDE, SIDE))
    make_records(folders, folder / "records", options=RecordOptions())
    stores: dict[str, PairSource] = {
        "LMDB": LmdbPairs(database), "TFRecords": open_records(folder / "records"), "a folder of TIFF": folders,
    }  # fmt: skip
    found: dict[str, list[float]] = {name: [] for name in stores}
    for _ in range(N_ROUNDS + 1):
        for name, pairs in stores.items():
            found[name].append(measure(pairs.read, len(pairs.sources)))
    for name, speeds in found.items():
        # The first round brings the files into memory.
        print(f"  reading, {name:20} {np.median(speeds[1:]):8.0f} records/s", flush=True)


def bench_readers(database: Path) -> None:
    """Print images a second that readers make with augmentation, one and two of them in turn."""
    maker = BatchMaker(database, 2, BATCH, Normalization("image"), read_policy("nist"), seed=0)
    found: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(N_ROUNDS):
        for n_readers, speeds in found.items():
            with Readers(maker, n_readers, first=0) as readers:
                for _ in range(4):
                    readers.get()
                speeds.append(BATCH * measure(lambda _, readers=readers: readers.get(), N_BATCHES))
    one, two = (float(np.median(speeds)) for speeds in found.values())
    ratio = float(np.median(np.divide(found[2], found[1])))
    print(f"  1 reader {one:.1f} images/s, 2 readers {two:.1f}: {ratio:.2f} times (asked: 1.6)", flush=True)


def bench_starvation(data: buildlmdb.LmdbResult, out: Path) -> None:
    """Print in how many steps of a training the network waited for its one reader."""
    result = hs.train_unet(data, out=out, widths=(64, 32, 16, 8), test_every_n_steps=50, epochs=2)
    starved = np.mean([epoch.starved for epoch in result.history])
    print(f"  a training waited for images in {starved:.1%} of 100 steps (asked: under 5 %)", flush=True)


def bench_kills(images: Path, masks: Path, folder: Path, whole: list[str], seconds: float) -> None:
    """Kill a build at random moments of the time that it takes, let it go on, and compare the bytes."""
    n_killed, n_same, n_rounds = 0, 0, 0
    draws = random.Random(0)
    while n_killed < N_KILLS:
        out = folder / f"killed{n_rounds}"
        n_rounds += 1
        while True:
            command = [sys.executable, "-c", BUILD, images, masks, out]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None and process.stdout.readline() == "ready\n"
                try:
                    process.wait(draws.uniform(0, seconds) if n_killed < N_KILLS else None)
                    break
                except subprocess.TimeoutExpired:
                    os.kill(process.pid, signal.SIGKILL)
                    n_killed += 1
        n_same += hash_databases(out) == whole
    print(f"  {n_killed} builds were killed; {n_same} of {n_rounds} ended with the same bytes", flush=True)


def hash_databases(folder: Path) -> list[str]:
    paths = sorted(folder.glob("*.lmdb"))
    return [hashlib.sha256((path / DATA_NAME).read_bytes()).hexdigest() for path in paths]


def main() -> None:
    # A queue that nobody waits for starves all the time.
    logging.getLogger("hybridseg.dense.readers").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = [Path(word) for word in sys.argv[1:]]
        images, masks = (given[0], given[1]) if given else write_images(folder)
        buildlmdb._TRANSACTION_BYTES = 1 << 20
        started = time.perf_counter()
        result = buildlmdb.build_lmdb(images, masks, folder / "data", options=LmdbOptions("bench"))
        seconds = time.perf_counter() - started
        print(f"  a build takes {seconds:.1f} s", flush=True)
        bench_kills(images, masks, folder, hash_databases(folder / "data"), seconds)
        bench_reading(folder, images, masks, result.paths[0])
        bench_readers(result.paths[0])
        bench_starvation(result, folder / "run")


if __name__ == "__main__":
    main()
