"""What a megapixel takes, step by step, and what that means for surveys: the tables of docs/scaling.md.

    python tests/benchmarks/bench_scaling.py --folder /tmp/scaling

It draws three photos of 12 megapixels and a mosaic, makes a tile classifier and a U-Net on MobileNetV2 of them (what
they find does not matter, what they take does), runs ``hybridseg estimate`` on each pair, and times what it takes to
write a label map. All seconds are those of a processor, so other programs may run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import rasterio.shutil
from bench_gigapixel import CLASSES, make_classifier, make_network, write_mosaic
from bench_semseg import make_photo

from hybridseg.classes import ClassTable
from hybridseg.io import cog
from hybridseg.io.images import write_image
from hybridseg.io.labels.formats import write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.rasters import quiet_rasterio

ROWS, COLS, MOSAIC_SIDE, MAP_SIDE = 3000, 4000, 8192, 8000
SURVEYS = (("photos", ["--jobs", "1"]), ("mosaic.tif", ["--jobs", "1", "--decimation", "8"]))
MACHINES = ("--megapixels", "1e7", "--machines", "1,4,16,1600", "--price", "1")


def prepare(folder: Path) -> None:
    """Make photos, a mosaic and models, unless they are there."""
    if (folder / "net.h5").exists():
        return
    photo = make_photo(0)
    for i in range(3):
        write_image(folder / "photos" / f"photo{i}.jpg", photo[400 * i :][:ROWS, 900 * i :][:, :COLS])
    write_mosaic(folder / "mosaic.tif", photo, MOSAIC_SIDE)
    make_classifier(folder, photo)
    make_network(folder / "net.h5", encoder="mobilenet_v2")


def time_writing(folder: Path) -> None:
    """Print what parts of writing a label map take, in seconds of a processor for a megapixel."""
    side = MAP_SIDE
    blobs = np.random.default_rng(0).integers(0, len(CLASSES), (side // 40, side // 40)).astype(np.uint8)
    labels = blobs.repeat(40, axis=0).repeat(40, axis=1)
    spent: dict[str, float] = {}

    def timed(name: str, function):
        def call(*given):
            start = time.process_time()
            result = function(*given)
            spent[name] = time.process_time() - start
            return result

        return call

    cog._arrange, cog._check_written = timed("copy and overviews", cog._arrange), timed("read back", cog._check_written)
    start = time.process_time()
    write_labelmap(folder / "map.tif", LabelMap(labels, ClassTable.from_names(CLASSES)))
    spent["all"] = time.process_time() - start
    layout = {"BLOCKSIZE": 512, "COMPRESS": "DEFLATE", "OVERVIEWS": "NONE", "BIGTIFF": "IF_SAFER"}
    start = time.process_time()
    with quiet_rasterio():
        rasterio.shutil.copy(folder / "map.tif", folder / "copy.tif", driver="COG", **layout)
    spent["copy without overviews"] = time.process_time() - start
    size = (folder / "map.tif").stat().st_size / 1e6
    print(f"a label map of {labels.size / 1e6:.0f} megapixels as GeoTIFF ({size:.1f} MB); seconds a megapixel:")
    print("  " + ", ".join(f"{name} {1e6 * seconds / labels.size:.4f}" for name, seconds in spent.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, required=True, help="Where photos, mosaic and models are made, and stay."
    )
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    prepare(asked.folder)
    for source, more in SURVEYS:
        for model in ("model.pb", "net.h5"):
            own = more if model == "model.pb" else more[:2]
            words = ["estimate", source, "--model", model, *own, *MACHINES]
            print(f"\n$ hybridseg {' '.join(words)}", flush=True)
            command = [sys.executable, "-m", "hybridseg", *words]
            subprocess.run(command, cwd=asked.folder, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    print()
    time_writing(asked.folder)


if __name__ == "__main__":
    main()
