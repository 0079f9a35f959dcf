"""Speed and memory of `retile` at full size, beside the rival in the same run: ``make bench``.

The rival for purity is ``scipy.stats.mode`` called once for each tile, as the classic program does.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy import stats

from hybridseg.classes import ClassTable
from hybridseg.demo.scenes.scene import make_scene
from hybridseg.hybrid.purity import measure_purity
from hybridseg.io.images import write_image
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.matfiles import write_matfile
from hybridseg.machine import count_cores

ROWS, COLS, N_CLASSES, TILE, STRIDE = 4912, 7360, 15, 96, 48
REPEATS = 5
TABLE = ClassTable.from_names([f"class {i}" for i in range(N_CLASSES)])


def enlarge(array: np.ndarray) -> np.ndarray:
    """Bring a scene to 36 megapixels by repeating its pixels."""
    rows = np.arange(ROWS) * array.shape[0] // ROWS
    cols = np.arange(COLS) * array.shape[1] // COLS
    return np.ascontiguousarray(array[rows][:, cols])


def count_mode_rate(labels: np.ndarray, n_tiles: int = 1000) -> float:
    """Tiles a second of one mode per tile, over tiles spread across the image; also checks our answer on them."""
    purity = measure_purity(labels, n_classes=N_CLASSES, tile_size=TILE, stride=STRIDE)
    places = np.random.default_rng(0).permutation(purity.classes.size)[:n_tiles]
    modes = []
    start = time.perf_counter()
    for place in places:
        i, j = divmod(int(place), len(purity.cols))
        row, col = purity.rows[i], purity.cols[j]
        modes.append(stats.mode(labels[row : row + TILE, col : col + TILE], axis=None))
    seconds = time.perf_counter() - start
    for place, mode in zip(places, modes, strict=True):
        assert mode.mode == purity.classes.flat[place] and mode.count / TILE**2 == purity.shares.flat[place]
    return n_tiles / seconds


def count_own_rate(labels: np.ndarray) -> float:
    """Tiles a second of all windows of the image."""
    start = time.perf_counter()
    purity = measure_purity(labels, n_classes=N_CLASSES, tile_size=TILE, stride=STRIDE)
    return purity.classes.size / (time.perf_counter() - start)


def compare_purity(name: str, labels: np.ndarray) -> None:
    """Print paired runs of both ways and the median of their ratios."""
    print(f"\npurity of all windows, {name} ({labels.shape[0]} x {labels.shape[1]}, {N_CLASSES} classes, {TILE} px)")
    ratios = []
    for _ in range(REPEATS):
        rival, own = count_mode_rate(labels), count_own_rate(labels)
        ratios.append(own / rival)
        print(f"  scipy.stats.mode {rival:9,.0f} tiles/s   hybridseg {own:9,.0f} tiles/s   {ratios[-1]:5.1f} times")
    print(f"  median {statistics.median(ratios):.1f} times (asked: 20, aim: 40)")


def measure_command(folder: Path, *words: str) -> tuple[float, float]:
    """Run the command; give its seconds, and the peak memory in MiB of all its processes together."""
    command = [sys.executable, "-m", "hybridseg", "--quiet", "retile", str(folder), "--overwrite", *words]
    start = time.perf_counter()
    process = subprocess.Popen(command)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, sum_memory(process.pid))
        time.sleep(0.01)
    assert process.returncode == 0
    return time.perf_counter() - start, peak


def sum_memory(pid: int) -> float:
    """Add up the memory of a process and its children (their own share of shared pages), in MiB."""
    total = 0.0
    for name in os.listdir("/proc"):  # noqa: PTH208
        if not name.isdigit():
            continue
        try:
            status = Path("/proc", name, "stat").read_text().rsplit(")", 1)[1].split()
            if int(name) != pid and int(status[1]) != pid:
                continue
            rollup = Path("/proc", name, "smaps_rollup").read_text()
            total += int(rollup.split("Pss:")[1].split()[0]) / 1024
        except (OSError, IndexError):
            continue
    return total


def compare_command(scene_image: np.ndarray, labels: np.ndarray) -> None:
    """Print time and memory of the whole command on one image, with one job and with all cores."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_image(folder / "big.jpg", enlarge(scene_image))
        write_matfile(folder / "big_mres.mat", LabelMap(labels, TABLE))
        data = (3 + 1) * ROWS * COLS / 2**20
        print(f"\nwhole command, one image of 36 megapixels (image + label map {data:.0f} MiB), every tile kept")
        for jobs in dict.fromkeys((1, count_cores())):
            seconds, peak = measure_command(folder, "-b", "1", "--jobs", str(jobs))
            n_tiles = sum(1 for _ in (folder / f"tile_{TILE}").rglob("*.jpg"))
            print(
                f"  --jobs {jobs}: {seconds:5.1f} s, {n_tiles} tiles, {n_tiles / seconds:,.0f} tiles/s, "
                f"peak of all processes {peak:.0f} MiB = {peak / data:.2f} times (asked: under 3)"
            )


def main() -> None:
    """Print every figure."""
    print(f"{count_cores()} cores, Python {sys.version.split()[0]}, numpy {np.__version__}")
    scene = make_scene(0)
    labels = enlarge(scene.labels)
    labels[:: ROWS // 4] = N_CLASSES - 1
    compare_purity("an enlarged demo scene", labels)
    noise = np.random.default_rng(0).integers(0, N_CLASSES, (ROWS, COLS), dtype=np.uint8)
    compare_purity("noise, the worst case", noise)
    data_dir = Path(os.environ.get("HYBRIDSEG_DATA", Path(__file__).parents[3] / "shared" / "data"))
    real = data_dir / "dl_tools" / "mat" / "D800_20160308_221737-0_mres.mat"
    if real.exists():
        compare_purity("a real label map", read_labelmap(real, with_seeds=False).labels)
    compare_command(scene.image, labels)
    print(f"\npeak memory of this benchmark {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
