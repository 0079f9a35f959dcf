"""A mosaic of a gigapixel through both methods in 2 GiB, and what a megapixel takes beside one of 36 megapixels.

    python tests/benchmarks/bench_gigapixel.py --folder /somewhere/with/12/GB
    python tests/benchmarks/bench_gigapixel.py --side 8000

The mosaic is drawn scenes, mirrored side by side, as a tiled GeoTIFF. Each run is a process of its own whose data
(heap and private mappings) the system limits. Beside the dense network stands the loop that one would write with
rasterio and the model: windows side by side, which leave seams, and no confidence, overviews, or names of classes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from bench_semseg import make_photo, run_process
from rasterio.windows import Window

from hybridseg.classes import ClassTable
from hybridseg.hybrid.classifier import RetrainOptions, RetrainPaths
from hybridseg.hybrid.head import HeadOptions
from hybridseg.hybrid.retrain import retrain
from hybridseg.io.images import write_image
from hybridseg.io.rasters import quiet_rasterio

SIDE, SMALL_SIDE, BLOCK, TILE = 32_768, 6000, 512, 96
WIDTHS = (4, 4, 4)
CLASSES = ("water", "sand", "vegetation", "built")
PROFILE = {
    "driver": "GTiff", "count": 3, "dtype": "uint8", "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK,
    "compress": "deflate", "zlevel": 1, "bigtiff": "if_safer", "crs": "EPSG:32611",
    "transform": rasterio.Affine(0.1, 0, 4e5, 0, -0.1, 4e6),
}  # fmt: skip

WORK = """
import json, resource, sys, time
limit, method, image, model, out = float(sys.argv[1]), *sys.argv[2:]
resource.setrlimit(resource.RLIMIT_DATA, (int(limit * 2**30),) * 2)
from pathlib import Path
from hybridseg.apply import make_job
from hybridseg.batch.jobs import Outputs
from hybridseg.hybrid.segmentation import HybridOptions
from hybridseg.machine import MemoryOptions
options = HybridOptions(decimation=8) if method == "hybrid" else None
job = make_job([model], options=options, outputs=Outputs(Path(out)), memory=MemoryOptions(0.85 * limit))
job.load()
start, begun = time.perf_counter(), time.process_time()
found = job.segment(Path(image))
spent = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - begun}
print(json.dumps({**spent, "steps": found.seconds, "shares": found.shares}))
"""

LOOP = """
import json, sys, time
import numpy as np, rasterio
from rasterio.windows import Window
from hybridseg.models.bundles import load_dense
image, path, out = sys.argv[1:]
model = load_dense(path)
start, begun = time.perf_counter(), time.process_time()
with rasterio.open(image) as source:
    profile = {**source.profile, "count": 1}
    with rasterio.open(out, "w", **profile) as target:
        for row in range(0, source.height, 1024):
            for col in range(0, source.width, 1024):
                window = Window(col, row, min(1024, source.width - col), min(1024, source.height - row))
                pixels = source.read(window=window).transpose(1, 2, 0).astype(np.float32) / 255
                rows, cols = -pixels.shape[0] % 32, -pixels.shape[1] % 32
                padded = np.pad(pixels, [(0, rows), (0, cols), (0, 0)], mode="symmetric")
                probs = model.predict(padded[None])[0, : pixels.shape[0], : pixels.shape[1]]
                target.write(probs.argmax(2).astype(np.uint8), 1, window=window)
print(json.dumps({"seconds": time.perf_counter() - start, "cpu": time.process_time() - begun}))
"""


def write_mosaic(path: Path, photo: np.ndarray, side: int) -> None:
    """Write a square that the photo and its mirror images fill, some rows of blocks at a time."""
    rows, cols = (
        np.where(np.arange(side) // n % 2, n - 1 - np.arange(side) % n, np.arange(side) % n) for n in photo.shape[:2]
    )
    rng = np.random.default_rng(0)
    with quiet_rasterio(), rasterio.open(path, "w", height=side, width=side, **PROFILE) as dataset:
        for top in range(0, side, BLOCK):
            strip = photo[rows[top : top + BLOCK][:, None], cols]
            # No two parts of it are alike.
            strip = strip // 2 * 2 + rng.integers(0, 2, strip.shape, np.uint8)
            dataset.write(strip.transpose(2, 0, 1), window=Window(0, top, side, len(strip)))


def make_classifier(folder: Path, photo: np.ndarray) -> Path:
    """Train a tile classifier by the brightness of tiles: what it finds does not matter, what it takes does."""
    rng = np.random.default_rng(0)
    corners = rng.integers(0, np.array(photo.shape[:2]) - TILE, (400, 2))
    tiles = [photo[row : row + TILE, col : col + TILE] for row, col in corners]
    order = np.argsort([tile.mean() for tile in tiles])
    for place, i in enumerate(order):
        name = CLASSES[place * len(CLASSES) // len(order)]
        write_image(folder / "tiles" / name / f"photo{i % 20}_r{i}_c0.png", tiles[i], durable=False)
    paths = RetrainPaths(folder / "tiles", folder / "model.pb", bottleneck_dir=folder / "bottlenecks")
    retrain(paths, options=RetrainOptions(head=HeadOptions(how_many_training_steps=200)))
    return folder / "model.pb"


def make_network(path: Path, **shape: Any) -> Path:
    """Save a U-Net with random weights, one of three steps and few filters unless another shape is asked for."""
    from hybridseg.models.bundles import DenseCard, save_dense
    from hybridseg.models.normalization import Normalization
    from hybridseg.models.startup import import_tensorflow
    from hybridseg.models.unet import Unet
    from hybridseg.models.views import View

    import_tensorflow()
    shape = shape or {"encoder": "none", "block": "plain", "widths": WIDTHS}
    network = Unet(n_bands=3, n_outputs=len(CLASSES), **shape)
    view = View(True, (1.0, 1.0), (SMALL_SIDE, SMALL_SIDE))
    card = DenseCard(network, ClassTable.from_names(CLASSES), (256, 256), Normalization("unit"), view=view)
    save_dense(path, network.build(), card, probes=[np.random.default_rng(0).random((1, 256, 256, 3), np.float32)])
    return path


def run(script: str, *words: object, log: Path) -> tuple[dict[str, float], float]:
    """Run a script in a process of its own; return what it reports, and its peak in MiB."""
    _, peak = run_process([sys.executable, "-c", script, *map(str, words)], log)
    return json.loads(log.read_text().splitlines()[-1]), peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=SIDE, help="Of the mosaic, in pixels.")
    parser.add_argument("--memory", type=float, default=2.0, help="That a process may take, in GiB.")
    parser.add_argument("--folder", type=Path, help="Where the files are, until the end.")
    parser.add_argument("--methods", nargs="*", default=["hybrid", "dense"], choices=("hybrid", "dense"))
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=words.folder) as name:
        folder, photo = Path(name), make_photo(0)
        models = {}
        if "hybrid" in words.methods:
            models["hybrid"] = make_classifier(folder, photo)
        if "dense" in words.methods:
            models["dense"] = make_network(folder / "net.h5")
        sides = sorted({min(SMALL_SIDE, words.side), words.side})
        print(f"in {words.memory:g} GiB, enforced (RLIMIT_DATA)")
        print(f"  {'':20}{'megapixels':>11}{'seconds':>9}{'per MP':>11}{'cores':>11}{'peak memory':>13}{'result':>10}")
        rates: dict[str, list[float]] = {}
        for side in sides:
            start, image, megapixels = time.perf_counter(), folder / f"mosaic{side}.tif", side**2 / 1e6
            write_mosaic(image, photo, side)
            size = image.stat().st_size / 1e6
            print(f"  (mosaic of {size:,.0f} MB written in {time.perf_counter() - start:.0f} s)", flush=True)
            for method, model in models.items():
                out = folder / f"{method}{side}"
                found, peak = run(WORK, words.memory, method, image, model, out, log=folder / "log.txt")
                written = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
                print_line(method, megapixels, found, peak, written)
                print("    " + ", ".join(f"{step} {value:.1f} s" for step, value in found["steps"].items()))
                rates.setdefault(method, []).append(found["seconds"] / megapixels)
            if "dense" in models:
                found, peak = run(LOOP, image, models["dense"], folder / "loop.tif", log=folder / "log.txt")
                size = (folder / "loop.tif").stat().st_size / 1e6
                print_line("loop with rasterio", megapixels, found, peak, size)
            subprocess.run(["rm", "-r", image, *(folder.glob(f"*{side}"))], check=True)
        for method, (first, *more) in rates.items():
            for rate in more:
                print(f"  {method}: a megapixel of {words.side} x {words.side} takes {rate / first:.2f} times as long")


def print_line(name: str, megapixels: float, found: dict[str, float], peak: float, written: float) -> None:
    """Print what a run took: also of all cores together, where other programs run too."""
    rate, cpu = found["seconds"] / megapixels, found["cpu"] / megapixels
    print(
        f"  {name:20}{megapixels:11,.1f}{found['seconds']:8.1f}s{rate:9.3f} s{cpu:9.3f} s{peak:9,.0f} MiB"
        f"{written:7.1f} MB",
        flush=True,
    )


if __name__ == "__main__":
    main()
