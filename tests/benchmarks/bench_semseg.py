"""Speed and memory of `semseg` on a photo of 36 megapixels, beside the classic way in the same run: ``make bench``.

The rival is ``reference_flow.py``. Both run in processes of their own and write what they always write. It takes
minutes, nearly all of them the rival's; ``--pairs 3`` runs both three times.

How right and how costly the result is by size of image, overlap of tiles and scale of the CRF, on photos with masks:

    python tests/benchmarks/bench_semseg.py --photos ../shared/data/obx --names tune.txt --model obx.pb
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from bench_retile import COLS, ROWS, enlarge
from scipy.cluster.vq import kmeans2
from scipy.io import loadmat

from hybridseg.classes import ClassTable
from hybridseg.confusion import count_confusion, pool_confusions
from hybridseg.demo.scenes.scene import make_scene
from hybridseg.hybrid.classifier import RetrainOptions, RetrainPaths
from hybridseg.hybrid.head import HeadOptions
from hybridseg.hybrid.retrain import retrain
from hybridseg.hybrid.segmentation import HybridOptions, reduce_image, refine_votes, vote_on_tiles
from hybridseg.hybrid.semseg import load_classifiers
from hybridseg.io.images import as_rgb8, read_image, write_image
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.machine import count_cores
from hybridseg.models.startup import import_tensorflow
from hybridseg.resample import resize_nearest

TILE, N_CLASSES, N_TILES, N_STEPS = 96, 15, 1200, 1000
THRESH, PROB, DECIM, SCALE = 0.5, 0.5, 8, 0.25
# Which steps of ours do the work of which of the rival's.
SAME_STEPS = [
    ("read", ("read",), ("read",)),
    ("cut and classify", ("pad and cut", "classify", "fill maps"), ("classify tiles",)),
    ("shrink and CRF", ("shrink", "crf"), ("reduce image", "spread by CRF")),
    ("enlarge", ("enlarge",), ("fill",)),
    ("pictures", ("figure",), ("write label picture", "draw figure")),
    (".mat", ("save",), ("write maps",)),
]


@dataclass(frozen=True)
class Inputs:
    """What both are given."""

    folder: Path
    image: Path
    model: Path
    labels: Path
    colors: Path

    def words(self, thresh: float = THRESH) -> list[str]:
        """The nine words of the classic script."""
        paths = [self.image, self.model, self.labels, self.colors]
        return [str(word) for word in (*paths, TILE, thresh, PROB, DECIM, SCALE)]


@dataclass(frozen=True, eq=False)
class Measured:
    """One run: seconds of every step after start-up, wall seconds of the whole process, and its peak memory."""

    seconds: dict[str, float]
    wall: float
    peak_mib: float
    classes: np.ndarray

    @property
    def work(self) -> float:
        return sum(self.seconds.values())

    def add_up(self, steps: tuple[str, ...]) -> float:
        return sum(self.seconds.get(step, 0.0) for step in steps)


def make_photo(first_seed: int) -> np.ndarray:
    """Make 36 megapixels of four demo scenes, two of them mirrored; at a quarter of the size none is blown up."""
    a, b, c, d = (make_scene(first_seed + i).image for i in range(4))
    return enlarge(np.vstack([np.hstack([a, b[:, ::-1]]), np.hstack([c[:, ::-1], d])]))


def make_inputs(folder: Path) -> Inputs:
    """Write the photo, a classifier of 15 kinds of tile (by their mean colour), and its class files."""
    inputs = Inputs(folder, folder / "photo.jpg", folder / "model.pb", folder / "labels.txt", folder / "colors.txt")
    photo = make_photo(0)
    write_image(inputs.image, photo)
    tiles = np.concatenate([cut_random_tiles(each, seed) for seed, each in enumerate((photo, make_photo(4)))])
    means = tiles.mean(axis=(1, 2))
    _, kinds = kmeans2(means, N_CLASSES, minit="++", rng=np.random.default_rng(0))
    for i, (tile, kind) in enumerate(zip(tiles, kinds, strict=True)):
        write_image(folder / "tiles" / f"kind_{kind:02d}" / f"photo{i % 40}_r{i}_c0.png", tile, durable=False)
    paths = RetrainPaths(folder / "tiles", inputs.model, inputs.labels, folder / "bottlenecks")
    result = retrain(paths, options=RetrainOptions(head=HeadOptions(how_many_training_steps=N_STEPS)))
    assert len(inputs.labels.read_text().splitlines()) == N_CLASSES
    shades = ["#{:02x}{:02x}{:02x}".format(*means[kinds == k].mean(axis=0).astype(int)) for k in range(N_CLASSES)]
    inputs.colors.write_text("\n".join(shades) + "\n")
    print(f"classifier of {N_CLASSES} classes: accuracy {result.scores['accuracy']:.0%} on tiles held out")
    return inputs


def cut_random_tiles(photo: np.ndarray, seed: int) -> np.ndarray:
    """Cut tiles anywhere."""
    rng = np.random.default_rng(seed)
    corners = zip(rng.integers(0, ROWS - TILE, N_TILES // 2), rng.integers(0, COLS - TILE, N_TILES // 2), strict=True)
    return np.stack([photo[row : row + TILE, col : col + TILE] for row, col in corners])


def run_process(command: list[str], log_path: Path) -> tuple[float, float]:
    """Run a command; give its wall seconds and the peak of its resident memory in MiB."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    peak = 0.0
    with log_path.open("wb") as log:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        while process.poll() is None:
            # The kernel keeps the peak, so that looking now and then misses only what comes at the very end.
            with contextlib.suppress(OSError, IndexError):
                peak = max(peak, read_peak_memory(process.pid))
            time.sleep(0.02)
        wall = time.perf_counter() - start
    assert process.returncode == 0, log_path.read_text()
    return wall, peak


def read_peak_memory(pid: int) -> float:
    """Return the most memory that a process ever had resident, in MiB; unlike getrusage, nothing of its parent's."""
    return int(Path("/proc", str(pid), "status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def run_rival(inputs: Inputs) -> Measured:
    """Run the classic way."""
    out_dir = inputs.folder / "rival"
    out_dir.mkdir(exist_ok=True)
    script = Path(__file__).with_name("reference_flow.py")
    log_path = inputs.folder / "rival.log"
    wall, peak = run_process([sys.executable, str(script), *inputs.words(), str(out_dir)], log_path)
    seconds = json.loads(log_path.read_text().splitlines()[-1])["seconds"]
    del seconds["load graph"]
    return Measured(seconds, wall, peak, read_classes(out_dir, inputs))


def run_ours(inputs: Inputs, *, by_classic_rules: bool = False) -> Measured:
    """Run `hybridseg semseg`; `by_classic_rules` lets every tile seed the CRF, and exchanges its sides.

    Even so the results differ where the reduced photos do (another JPEG decoder, a mean for a bilinear filter): at a
    colour scale of 1 one grey level counts. Given the very pixels and seeds of the rival, the CRF gives its labels.
    """
    out_dir = inputs.folder / ("ours_classic" if by_classic_rules else "ours")
    words = inputs.words(0.0 if by_classic_rules else THRESH)
    options = ["--out", str(out_dir), "--report", *(["--reference-geometry"] if by_classic_rules else [])]
    command = [sys.executable, "-m", "hybridseg", "semseg", *words, *options]
    wall, peak = run_process(command, inputs.folder / "ours.log")
    report = json.loads((out_dir / f"{inputs.image.stem}_ares_{TILE}_report.json").read_text())
    return Measured(report["seconds"], wall, peak, read_classes(out_dir, inputs))


def read_classes(out_dir: Path, inputs: Inputs) -> np.ndarray:
    """Read the label map of a result."""
    return loadmat(out_dir / f"{inputs.image.stem}_ares_{TILE}.mat")["class"].astype(np.uint8)


def print_pair(rival: Measured, ours: Measured) -> None:
    """Print both, step by step."""
    print(f"\n  {'':18}{'classic':>9}{'hybridseg':>11}")
    for title, theirs, own in SAME_STEPS:
        print(f"  {title:18}{rival.add_up(theirs):7.1f} s{ours.add_up(own):9.2f} s")
    named = sum(ours.add_up(own) for _, _, own in SAME_STEPS)
    print(f"  {'other':18}{'':9}{max(0.0, ours.work - named):9.2f} s")
    print(f"  {'after start-up':18}{rival.work:7.1f} s{ours.work:9.2f} s   {rival.work / ours.work:5.1f} times")
    print(f"  {'whole process':18}{rival.wall:7.1f} s{ours.wall:9.2f} s   {rival.wall / ours.wall:5.1f} times")
    print(f"  {'peak memory':18}{rival.peak_mib:5.0f} MiB{ours.peak_mib:7.0f} MiB")
    print(f"  {rival.seconds['classify']:.1f} s of the rival are its sessions")


Labelled = tuple[np.ndarray, np.ndarray]
# Photos in a mosaic, photos in a row of it, and the megapixels that the CRF is tried on.
MOSAICS = ((1, 1, (0.14, 0.56)), (50, 5, (1.0, 7.0)))


def read_photos(folder: Path, names: list[str], table: ClassTable) -> list[Labelled]:
    """Read photos and their masks, whose classes are listed in ``classes.json``; then each again, mirrored."""
    classes = ClassTable.from_names(json.loads((folder / "classes.json").read_text())["classes"])
    photos = []
    for name in names:
        labels = read_labelmap(folder / "masks" / f"{name}.png", table=classes).labels_as(table)
        photos.append((as_rgb8(read_image(folder / "images" / f"{name}.jpg")), labels))
    return photos + [(image[:, ::-1], labels[:, ::-1]) for image, labels in photos]


def join_photos(photos: list[Labelled], n_cols: int) -> Labelled:
    """Join photos to a mosaic."""
    rows = [photos[i : i + n_cols] for i in range(0, len(photos), n_cols)]
    image, labels = (np.vstack([np.hstack([photo[part] for photo in row]) for row in rows]) for part in (0, 1))
    return image, labels


def bench_sizes(photos_dir: Path, names: list[str], model_path: Path) -> None:
    """Print how right and how costly the result is by size, stride and scale; then all of `semseg` on the largest."""
    model = load_classifiers([model_path])
    photos = read_photos(photos_dir, names, model.table)
    for n_photos, n_cols, sizes in MOSAICS:
        starts = range(0, max(len(names), n_photos) - n_photos + 1, n_photos)
        images = [join_photos(photos[i : i + n_photos], n_cols) for i in starts]
        rows, cols = images[0][1].shape
        chosen = HybridOptions().fit((rows, cols), model.tile_size)
        print(f"\n{len(images)} images of {rows} x {cols}; chosen: stride {chosen.stride}, scale {chosen.scale:.3f}")
        for stride in sorted({model.tile_size // 2, model.tile_size, chosen.stride}):
            options = HybridOptions(stride=stride)
            began = time.process_time()
            votes = [vote_on_tiles(image, model, options=options) for image, _ in images]
            print(f"  stride {stride}: {votes[0][1]:,} tiles, {(time.process_time() - began) / len(images):.1f} s")
            for scale in sorted({min(1.0, (size * 1e6 / rows / cols) ** 0.5) for size in sizes} | {chosen.scale}):
                began, counted = time.process_time(), []
                fitted = replace(options, crf=options.crf.widen(scale / 0.5))
                for (image, labels), (voted, _) in zip(images, votes, strict=True):
                    found, _ = refine_votes(reduce_image(image, scale), voted, options=fitted)
                    counted.append(count_confusion(labels, resize_nearest(found.labels, labels.shape), model.table))
                seconds, scores = (time.process_time() - began) / len(images), pool_confusions(counted)
                print(
                    f"    scale {scale:.3f} ({rows * cols * scale**2 / 1e6:.2f} MP): accuracy {scores.accuracy:.3f}, "
                    f"mean IoU {scores.macro('iou'):.3f}, {seconds:.1f} s",
                    flush=True,
                )
    with tempfile.TemporaryDirectory() as name:
        photo, out_dir = Path(name, "photo.jpg"), Path(name, "out")
        write_image(photo, images[0][0])
        for words in ([], ["--classic"], ["--stride", model.tile_size // 2, "--scale", 0.5]):
            command = [sys.executable, "-m", "hybridseg", "semseg", str(photo), str(model_path), *map(str, words)]
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            wall, peak = run_process([*command, "--out", str(out_dir)], Path(name, "log"))
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            print(f"semseg {' '.join(map(str, words))}: {wall:.1f} s, {cpu:.1f} s of processors, {peak:.0f} MiB")


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1, help="how often both are run")
    parser.add_argument("--photos", type=Path, help="folder of images/ and masks/, in place of the comparison")
    parser.add_argument("--names", type=Path, help="list of the names of the photos")
    parser.add_argument("--model", type=Path, help="a classifier that was not trained on them")
    given = parser.parse_args()
    n_pairs = given.pairs
    import_tensorflow()
    import tensorflow as tf

    print(f"{count_cores()} cores, Python {sys.version.split()[0]}, TensorFlow {tf.__version__}")
    if given.photos:
        bench_sizes(given.photos, given.names.read_text().split(), given.model)
        return
    with tempfile.TemporaryDirectory() as name:
        inputs = make_inputs(Path(name))
        print(f"photo of {ROWS} x {COLS}, tiles of {TILE}, every {DECIM}th, CRF at {SCALE:g}")
        ratios = []
        for _ in range(n_pairs):
            rival, ours = run_rival(inputs), run_ours(inputs)
            print_pair(rival, ours)
            ratios.append((rival.work / ours.work, rival.wall / ours.wall))
        alike = run_ours(inputs, by_classic_rules=True).classes
    after, whole = (statistics.median(column) for column in zip(*ratios, strict=True))
    print(f"\nmedians {after:.1f} times after start-up, {whole:.1f} times the whole process")
    print(
        f"the same class at {(ours.classes == rival.classes).mean():.1%} of the pixels; by the rules of the classic "
        f"way (THRESH 0, sides exchanged) at {(alike == rival.classes).mean():.1%}"
    )


if __name__ == "__main__":
    main()
