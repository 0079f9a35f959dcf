"""Speed, memory and agreement of the native CRF beside pydensecrf in the same process: ``make bench``.

Both work on the same picture in turns, so that a busy machine slows both. Pictures are synthetic coasts, and mosaics of
real photos where the real files are (HYBRIDSEG_DATA).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hybridseg.crf import _kernel
from hybridseg.crf.engines import MeanField, choose_engine, run_native
from hybridseg.crf.options import CrfOptions
from hybridseg.crf.priors import Priors, priors_from_seeds
from hybridseg.crf.refine import refine_labels
from hybridseg.demo.scenes.scene import CLASS_NAMES, make_scene
from hybridseg.io.images import as_rgb8, read_image
from hybridseg.machine import count_cores

REAL_FOLDER = Path(os.environ.get("HYBRIDSEG_DATA") or Path(__file__).parents[3] / "shared" / "data") / "obx" / "images"
CELL, EVERY = 24, 8
ALL_ROUNDS = CrfOptions(tolerance=0)


@dataclass(frozen=True, eq=False)
class Case:
    """A picture and its seeds."""

    name: str
    image: np.ndarray
    seeds: np.ndarray
    n_classes: int

    @property
    def priors(self) -> Priors:
        """Of the seeds, with the default trust."""
        return priors_from_seeds(self.seeds, n_classes=self.n_classes, gt_prob=CrfOptions.gt_prob)

    def describe(self) -> str:
        """Size and classes in words."""
        rows, cols = self.seeds.shape
        return f"{self.name}, {rows} x {cols}, {self.n_classes} classes"


def sow(labels: np.ndarray) -> np.ndarray:
    """Seed every eighth cell of 24 px with the class that most of its pixels have, as `semseg` does."""
    seeds = np.zeros(labels.shape, np.uint8)
    for i, row in enumerate(range(0, labels.shape[0], CELL)):
        for j, col in enumerate(range(0, labels.shape[1], CELL)):
            if (i + 3 * j) % EVERY == 0:
                cell = np.s_[row : row + CELL, col : col + CELL]
                seeds[cell] = np.bincount(labels[cell].ravel()).argmax() + 1
    return seeds


def number_classes(labels: np.ndarray, n_classes: int) -> np.ndarray:
    """Make as many classes as are asked for: put some together, or tell the left half from the right."""
    if n_classes > len(CLASS_NAMES):
        labels = labels + np.uint8(len(CLASS_NAMES)) * (np.arange(labels.shape[1]) * 2 >= labels.shape[1])
    return (labels % n_classes).astype(np.uint8)


def make_synthetic(seed: int, shape: tuple[int, int], n_classes: int) -> Case:
    """A coast scene, seeded with the truth."""
    scene = make_scene(seed, rows=shape[0], cols=shape[1])
    labels = number_classes(scene.labels, n_classes)
    return Case(f"synthetic coast {seed}", scene.image, sow(labels), n_classes)


def make_real(first: int, shape: tuple[int, int], n_classes: int) -> Case | None:
    """Four real photos in two rows, seeded by brightness; None where there are no real files."""
    paths = sorted(REAL_FOLDER.glob("*.jpg"))[first :: max(1, len(list(REAL_FOLDER.glob("*.jpg"))) // 4)]
    photos = []
    for path in paths:
        photo = as_rgb8(read_image(path))
        if photo.shape[0] >= shape[0] // 2 and photo.shape[1] >= shape[1] // 2:
            photos.append(photo[: shape[0] // 2, : shape[1] // 2])
    if len(photos) < 4:
        return None
    image = np.concatenate([np.concatenate(photos[:2], axis=1), np.concatenate(photos[2:4], axis=1)])
    levels = image.mean(axis=2).astype(int) * n_classes // 256
    return Case(f"mosaic of real photos {first}", image, sow(levels.astype(np.uint8)), n_classes)


def make_cases(shape: tuple[int, int], n_classes: int, *, firsts: tuple[int, ...] = (0,)) -> list[Case]:
    """Synthetic and, where they are, real ones."""
    cases = [make_synthetic(first, shape, n_classes) for first in firsts]
    return cases + [case for first in firsts if (case := make_real(first, shape, n_classes)) is not None]


def take_time(work: Callable[[], MeanField]) -> tuple[float, MeanField]:
    """Run it and give the seconds that it took."""
    start = time.perf_counter()
    field = work()
    return time.perf_counter() - start, field


def bench_engines(case: Case, n_pairs: int) -> None:
    """Print the seconds of both engines in turns, their ratio and how far they agree."""
    print(f"\n{case.describe()}: all 20 rounds")
    priors, reference = case.priors, choose_engine("pydensecrf")[1]
    pairs = []
    for _ in range(n_pairs):
        own, field = take_time(lambda: run_native(case.image, priors, options=ALL_ROUNDS))
        theirs, other = take_time(lambda: reference(case.image, priors, options=ALL_ROUNDS))
        pairs.append((own, theirs, theirs / own))
        print(f"  native {own:6.2f} s   pydensecrf {theirs:7.2f} s   {theirs / own:5.1f} times")
    medians = [statistics.median(column) for column in zip(*pairs, strict=True)]
    print(f"  medians {medians[0]:.2f} s and {medians[1]:.2f} s, {medians[2]:.1f} times")
    print(f"  the same class at {(field.lanes == other.lanes).mean():.4%} of the pixels")


def bench_memory(case: Case) -> None:
    """Print the peak of each engine in a fresh process, and what of it is the image and the imports."""
    print(f"\n{case.describe()}: peak memory, each engine in a fresh process")
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "case.npz"
        np.savez(path, image=case.image, seeds=case.seeds)
        peaks = {}
        for engine in ("native", "pydensecrf"):
            command = [sys.executable, __file__, "--peak-of", engine, str(path), str(case.n_classes)]
            output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            before, peak = (float(word) for word in output.split())
            peaks[engine] = (peak, peak - before)
            print(f"  {engine:10s} {peak:6.3f} GiB, of which {before:.3f} before it began: {peak - before:6.3f} GiB")
    ratios = [theirs / own for own, theirs in zip(peaks["native"], peaks["pydensecrf"], strict=True)]
    print(f"  pydensecrf takes {ratios[0]:.1f} times as much in all, {ratios[1]:.1f} times without image and imports")


def measure_peak(engine: str, path: str, n_classes: str) -> None:
    """Print GiB before and at the peak: what `bench_memory` runs in a process of its own."""

    def read_status(name: str) -> float:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith(name)).split()[1]) / 2**20

    run = choose_engine(engine)[1]
    with np.load(path) as case:
        image, seeds = case["image"], case["seeds"]
    priors = priors_from_seeds(seeds, n_classes=int(n_classes), gt_prob=CrfOptions.gt_prob)
    before = read_status("VmRSS")
    run(image, priors, options=replace(ALL_ROUNDS, n_iterations=2, max_memory=100))
    print(before, read_status("VmHWM"))


def bench_tolerance(cases: list[Case]) -> None:
    """Print what it saves to stop when few pixels change."""
    print("\ntolerance: rounds, seconds, and the share of pixels that have the class of all 20 rounds")
    for case in cases:
        priors = case.priors
        seconds, full = take_time(lambda case=case, priors=priors: run_native(case.image, priors, options=ALL_ROUNDS))
        print(f"  {case.describe()}\n    0       {full.n_iterations:3d} rounds {seconds:6.2f} s")
        for tolerance in (0.01, 0.001, 0.0005, 0.0001):
            options = CrfOptions(tolerance=tolerance)
            seconds, field = take_time(
                lambda case=case, priors=priors, options=options: run_native(case.image, priors, options=options)
            )
            agreement = (field.lanes == full.lanes).mean()
            print(f"    {tolerance:<7g} {field.n_iterations:3d} rounds {seconds:6.2f} s   {agreement:.3%}")


def bench_blocks(case: Case) -> None:
    """Print what it costs to work in blocks."""
    print(f"\n{case.describe()}: in blocks")
    whole = None
    for max_memory in (8, 0.5, 0.25):
        options = replace(ALL_ROUNDS, max_memory=max_memory)
        start = time.perf_counter()
        result = refine_labels(case.image, case.seeds, n_classes=case.n_classes, options=options)
        seconds = time.perf_counter() - start
        whole = result.labels if whole is None else whole
        agreement = (result.labels == whole).mean()
        print(f"  {max_memory:5g} GiB {result.n_blocks:4d} blocks {seconds:7.2f} s   {agreement:.3%} as the first")


def bench_machine(case: Case, n_pairs: int) -> None:
    """Print what threads and instruction sets give."""
    print(f"\n{case.describe()}: threads and instruction sets, medians of {n_pairs}")
    priors, first = case.priors, None
    ways = [(n, "") for n in sorted({1, 2, count_cores()})]
    ways += [(count_cores(), name) for name in _kernel.list_instruction_sets()]
    seconds: dict[tuple[int, str], list[float]] = {way: [] for way in ways}
    agreements = {}
    for _ in range(n_pairs):
        for way in ways:
            options = replace(ALL_ROUNDS, n_threads=way[0])
            took, field = take_time(
                lambda way=way, options=options: run_native(case.image, priors, options=options, instruction_set=way[1])
            )
            first = field.lanes if first is None else first
            seconds[way].append(took)
            agreements[way] = (field.lanes == first).mean()
    for way, values in seconds.items():
        name = way[1] or "best set"
        took = statistics.median(values)
        print(f"  {way[0]:3d} threads, {name:8s} {took:6.2f} s   {agreements[way]:.4%} as the first")


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3, help="how often each engine runs")
    parser.add_argument("--peak-of", nargs=3, metavar=("ENGINE", "CASE", "CLASSES"), help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.peak_of:
        measure_peak(*words.peak_of)
        return
    print(f"{count_cores()} cores, {', '.join(_kernel.list_instruction_sets())}, Python {sys.version.split()[0]}")
    large = make_cases((1228, 1840), 16)
    for case in large:
        bench_engines(case, words.pairs)
    for n_classes in (2, 5):
        for case in make_cases((1000, 1000), n_classes):
            bench_engines(case, words.pairs)
    for case in large:
        bench_memory(case)
    bench_tolerance([*large, *make_cases((1000, 1000), 5, firsts=(1, 2, 3))])
    for case in large:
        bench_blocks(case)
    bench_machine(large[-1], words.pairs)


if __name__ == "__main__":
    main()
