"""What a batch costs beside the work itself, and whether it survives: ``segment`` on many images.

Overhead and speed-up on units of 0.2 s, each engine in turns with as many plain loops at once as it has workers; and
some scenes over two workers of Dask, of which one is killed twice, and the driver once:

    python tests/benchmarks/bench_batch.py --units 24 --turns 11 --scenes 1000

The second part trains a small model on the scenes first. And one mosaic whose windows two workers share, against one
process, in turns:

    python tests/benchmarks/bench_batch.py --units 0 --mosaic 6000 --turns 3

All need quiet cores; OMP_NUM_THREADS=1 is set here. What those take who do none of the work, the driver and the
scheduler, is counted in processor time:

    python tests/benchmarks/bench_batch.py --units 0 --empty 2000
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from bench_gigapixel import make_network, write_mosaic
from bench_semseg import make_photo

from hybridseg.batch.cluster import open_cluster
from hybridseg.batch.jobs import Job, Outputs, run_jobs
from hybridseg.batch.madeby import make_record
from hybridseg.batch.manifest import MANIFEST_NAME, Manifest
from hybridseg.batch.results import ImageResult
from hybridseg.batch.workers import Mapper, Processes
from hybridseg.classes import ClassTable
from hybridseg.io.images import write_image
from hybridseg.io.labels.formats import write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.progress import Progress, no_progress

UNIT_SECONDS = 0.2
TABLE = ClassTable.from_names(["all"])
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")


@dataclass(frozen=True)
class UnitJob(Job):
    """Sleeps, or counts, for about 0.2 s, and writes a label map of a few pixels; below 0 it copies a file."""

    n_counts: int = 0

    too_large = "it is not"

    def load(self) -> None:
        """Load nothing."""

    def list_targets(self, image_path: Path) -> list[Path]:
        """List the label map."""
        return [self.outputs.place(image_path, "_unit.png")]

    def record(self, image_path: Path) -> str:
        """Return that of nothing."""
        return make_record("unit", [], TABLE)

    def segment(self, image_path: Path, *, progress: Progress = no_progress) -> ImageResult:
        """Work for a while."""
        [target] = self.list_targets(image_path)
        if self.n_counts < 0:
            target.write_bytes(image_path.read_bytes())
            return ImageResult(image_path, (target,), {}, (), {"work": 0.0})
        count(self.n_counts) if self.n_counts else time.sleep(UNIT_SECONDS)
        write_labelmap(target, LabelMap(np.zeros((4, 4), np.uint8), TABLE))
        return ImageResult(image_path, (target,), {}, (), {"work": UNIT_SECONDS})


def count(n: int) -> int:
    """Keep one core busy."""
    total = 0
    for i in range(n):
        total += i & 7
    return total


def find_counts() -> int:
    """Return how far to count for 0.2 s on this machine."""
    start = time.perf_counter()
    count(2_000_000)
    return int(2_000_000 * UNIT_SECONDS / (time.perf_counter() - start))


def time_engine(job: UnitJob, images: Sequence[Path], out: Path, mapper: Mapper | None) -> tuple[float, float]:
    """Return the seconds to the first result, and those from there to the last."""
    times: list[float] = []
    manifest, own = Manifest.read(out), replace(job, outputs=Outputs(out_dir=out, figures=None))
    start = time.perf_counter()
    with manifest.writing():
        manifest.begin(images, job=own.fingerprint(), settings=own.describe(), engine="benchmark")
        result = run_jobs(
            images, own, mapper=mapper, manifest=manifest, on_done=lambda _: times.append(time.perf_counter())
        )
    assert len(result.images) == len(images), result.problems
    return times[0] - start, times[-1] - times[0]


def time_loop(job: UnitJob, images: Sequence[Path]) -> float:
    """Return the seconds of a unit in a plain loop."""
    start = time.perf_counter()
    for image in images:
        job.segment(image)
    return (time.perf_counter() - start) / len(images)


def measure_overhead(n_units: int, n_turns: int, folder: Path) -> None:
    """Print what each engine takes for each unit, in turns with as many plain loops at once as it has workers."""
    images = [folder / f"u{i:04}.png" for i in range(n_units)]
    for image in images:
        write_image(image, np.zeros((4, 4, 3), np.uint8))
    print(f"{n_units} units of {UNIT_SECONDS} s, {n_turns} turns; seconds a unit without the start, and their medians")
    for what, job in (("sleeping", UnitJob(())), ("counting", UnitJob((), n_counts=find_counts()))):
        (folder / f"plain {what}").mkdir()
        plain = replace(job, outputs=Outputs(out_dir=folder / f"plain {what}", figures=None))
        for name, n_workers in (("serial", 1), ("processes", 2), ("dask", 1), ("dask", 2)):
            start = time.perf_counter()
            with contextlib.ExitStack() as stack:
                mapper: Mapper | None = None if n_workers == 1 else Processes(n_workers)
                if name == "dask":
                    mapper = stack.enter_context(open_cluster(n_jobs=n_workers))
                opened = time.perf_counter() - start
                pool = stack.enter_context(multiprocessing.get_context("spawn").Pool(n_workers))
                # A process imports everything before it is timed.
                pool.starmap(time_loop, [(plain, images[:1])] * n_workers, chunksize=1)
                turns = []
                for turn in range(n_turns):
                    loop = float(np.mean(pool.starmap(time_loop, [(plain, images)] * n_workers, chunksize=1)))
                    first, rest = time_engine(job, images, folder / f"{name} {n_workers} {what} {turn}", mapper)
                    # The first round, of a unit for each worker, is part of the start.
                    turns.append((rest / (n_units - n_workers), loop, opened + first - loop))
            over = np.array([each * n_workers / loop - 1 for each, loop, _ in turns])
            each, loop, _ = np.median(turns, axis=0)
            print(
                f"  {what} {name:<9} {n_workers}: {each:.3f}, {n_workers} loops at once {loop:.3f}: "
                f"{np.median(over):+.1%} ({np.quantile(over, 0.25):+.1%} to {np.quantile(over, 0.75):+.1%}); "
                f"{loop / each:.2f} times a loop; start {turns[0][2]:.1f} s",
                flush=True,
            )


def measure_driver(n_units: int, folder: Path) -> None:
    """Print what units without work take of the processes that hand them out and record their outcome."""
    import psutil

    images = [folder / f"e{i:05}.png" for i in range(n_units)]
    write_image(images[0], np.zeros((4, 4, 3), np.uint8))
    for image in images[1:]:
        image.write_bytes(images[0].read_bytes())
    print(f"{n_units} units without work; milliseconds of a processor, and of the clock, for each")
    job, scheduler_file = UnitJob((), n_counts=-1), folder / "scheduler.json"
    with contextlib.ExitStack() as stack:
        scheduler = stack.enter_context(start_scheduler(scheduler_file))
        for _ in range(2):
            stack.enter_context(start_worker(scheduler_file, folder))
        time.sleep(8)
        cluster = stack.enter_context(open_cluster(scheduler_file=scheduler_file))
        for name, mapper in (("this process", None), ("processes", Processes(2)), ("dask", cluster)):
            watched = psutil.Process(scheduler.pid)
            before, spent = sum(watched.cpu_times()[:2]), time.process_time()
            first, rest = time_engine(job, images, folder / f"empty {name}", mapper)
            spent, served = time.process_time() - spent, sum(watched.cpu_times()[:2]) - before
            each = [1000 * seconds / n_units for seconds in (spent, served if name == "dask" else 0, first + rest)]
            print(f"  {name:<13} driver {each[0]:6.2f}, scheduler {each[1]:6.2f}, clock {each[2]:6.2f}", flush=True)
        (folder / "alone").mkdir()
        manifest = Manifest.read(folder / "alone")
        start, begun = time.perf_counter(), time.process_time()
        for image in images:
            manifest.add(image, ImageResult(image, (image,), {}, (), {}), None, job="alone")
        took = [1000 * seconds / n_units for seconds in (time.process_time() - begun, time.perf_counter() - start)]
        print(f"  {'the manifest':<13} driver {took[0]:6.2f}, {'':16} clock {took[1]:6.2f}")


def run_hybridseg(*words: object) -> None:
    """Run a command, which must not fail."""
    subprocess.run([sys.executable, "-m", "hybridseg", "--quiet", *map(str, words)], check=True)


@contextlib.contextmanager
def started(*words: object) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program of Dask, and end it."""
    # The job is a class of this module.
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "dask", *map(str, words)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": paths})
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def start_scheduler(scheduler_file: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a scheduler on loopback."""
    where = ("--host", "127.0.0.1", "--port", 0, "--scheduler-file", scheduler_file)
    with started("scheduler", *where, "--no-dashboard", "--no-show") as process:
        while not scheduler_file.exists():
            time.sleep(0.1)
        yield process


def start_worker(scheduler_file: Path, folder: Path) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """Start a worker, and the nanny that watches over it."""
    words = ("--scheduler-file", scheduler_file, "--nthreads", 1, "--nworkers", 1, "--local-directory", folder)
    return started("worker", *words, "--no-dashboard")


def count_done(out: Path) -> int:
    """Return how many images a run has finished."""
    path = out / MANIFEST_NAME
    return path.read_bytes().count(b'"result": "done"') if path.exists() else 0


def wait_until(out: Path, n_done: int, driver: subprocess.Popen[bytes]) -> None:
    """Wait until a run has finished so many images."""
    while count_done(out) < n_done:
        assert driver.poll() is None, f"it ended with {driver.returncode}, {count_done(out)} images done"
        time.sleep(0.05)


def kill_worker(nanny: subprocess.Popen[bytes]) -> None:
    """Kill the process in which a worker works; what watches over it starts another."""
    import psutil

    [worker] = [child for child in psutil.Process(nanny.pid).children() if "spawn_main" in " ".join(child.cmdline())]
    print(f"  worker {worker.pid} is killed", flush=True)
    worker.send_signal(signal.SIGKILL)


def read_outputs(out: Path) -> dict[str, bytes]:
    """Read all files of a folder but the manifest."""
    files = sorted(path for path in out.rglob("*") if path.is_file() and path.name != MANIFEST_NAME)
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def survive(n_scenes: int, folder: Path) -> None:
    """Segment scenes over two workers, kill one of them twice and the driver once, and compare with a serial run."""
    scenes, model = folder / "scenes", folder / "model.pb"
    print(f"{n_scenes} scenes over two workers of Dask", flush=True)
    run_hybridseg("demo-scenes", scenes, "--n", n_scenes, "--size", "64x96")
    run_hybridseg("demo-scenes", folder / "training", "--n", 8, "--size", "192x288", "--seed", 1)
    run_hybridseg("retile", "-t", 32, "-a", 0.9, "-b", 0.5, folder / "training")
    tiles = ("--image_dir", folder / "training" / "tile_32")
    run_hybridseg("retrain", *tiles, "--output_graph", model, "--how_many_training_steps", 100)
    words = ["segment", str(scenes), "--model", str(model), "--no-figures", "--out"]
    start = time.perf_counter()
    run_hybridseg(*words, folder / "serial", "--engine", "serial")
    print(f"  serial: {time.perf_counter() - start:.0f} s", flush=True)
    out, scheduler_file = folder / "out", folder / "scheduler.json"
    command = [sys.executable, "-m", "hybridseg", "--quiet", *words, str(out), "--scheduler-file", str(scheduler_file)]
    with contextlib.ExitStack() as stack:
        stack.enter_context(start_scheduler(scheduler_file))
        nannies = [stack.enter_context(start_worker(scheduler_file, folder)) for _ in range(2)]
        # `segment` refuses a scheduler without workers.
        time.sleep(8)
        start = time.perf_counter()
        driver = subprocess.Popen(command)
        for share in (0.2, 0.4):
            wait_until(out, int(share * n_scenes), driver)
            kill_worker(nannies[0])
        wait_until(out, int(0.6 * n_scenes), driver)
        driver.kill()
        driver.wait()
        print(f"  the driver is killed, {count_done(out)} images done", flush=True)
        again = subprocess.run(command, check=False)
        print(f"  all: {time.perf_counter() - start:.0f} s; the command that went on ended with {again.returncode}")
    found, wanted = read_outputs(out), read_outputs(folder / "serial")
    assert found.keys() == wanted.keys(), sorted(found.keys() ^ wanted.keys())[:10]
    differing = [name for name in wanted if found[name] != wanted[name]]
    assert not differing and again.returncode == 0, differing[:10]
    print(f"  {len(found):,} files, each there once and byte for byte that of the serial run")


def share_mosaic(side: int, n_turns: int, folder: Path) -> None:
    """Print what a mosaic takes whose windows two workers share, against one process: seconds, and those of the cores.

    Both with everything: the start of the program and of its workers, and the writing of the result.
    """
    mosaic, model = folder / "mosaic.tif", make_network(folder / "net.h5")
    write_mosaic(mosaic, make_photo(0), side)
    print(f"a mosaic of {side**2 / 1e6:,.1f} megapixels through a small U-Net, {n_turns} turns", flush=True)
    engines = {"one process": ["serial"], "2 processes": ["processes", "--jobs", 2], "Dask, 2": ["dask", "--jobs", 2]}
    ratios: dict[str, list[float]] = {}
    for turn in range(n_turns):
        base = 0.0
        for name, words in engines.items():
            out = folder / f"{name} {turn}"
            start, before = time.perf_counter(), measure_cores()
            run_hybridseg("segment", mosaic, "--model", model, "--no-figures", "--out", out, "--engine", *words)
            seconds, cores = time.perf_counter() - start, measure_cores() - before
            base = base or seconds
            ratios.setdefault(name, []).append(base / seconds)
            print(f"  {name:<12} {seconds:6.1f} s, of cores {cores:6.1f} s, {base / seconds:.2f} times one", flush=True)
            assert read_outputs(out) == read_outputs(folder / f"one process {turn}")
    for name, found in ratios.items():
        print(f"  {name:<12} {np.median(found):.2f} times one (median)")


def measure_cores() -> float:
    """Return the seconds that ended children have spent on all cores, with theirs."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=24, help="units of 0.2 s; 0 leaves them out")
    parser.add_argument("--empty", type=int, default=0, help="units without work, for what the driver takes")
    parser.add_argument("--scenes", type=int, default=0, help="scenes that are segmented while processes are killed")
    parser.add_argument("--mosaic", type=int, default=0, help="side of a mosaic that two workers share")
    parser.add_argument("--turns", type=int, default=3, help="how often each engine is timed")
    asked = parser.parse_args()
    os.environ |= THREADS
    with tempfile.TemporaryDirectory() as name:
        if asked.units:
            measure_overhead(asked.units, asked.turns, Path(name))
        if asked.empty:
            measure_driver(asked.empty, Path(name))
        if asked.scenes:
            survive(asked.scenes, Path(name))
        if asked.mosaic:
            share_mosaic(asked.mosaic, asked.turns, Path(name))


if __name__ == "__main__":
    # Workers import the job by the name of this module.
    import bench_batch

    bench_batch.main()
