"""From command to result, whole processes: LiteRT beside TensorFlow, in pairs that alternate, and the peak of memory.

    python tests/benchmarks/bench_start.py --old ../hybridseg-005c0d1 --pairs 5

`--old` is a checkout of an earlier version (without a runtime graph it converts a classifier each time); without it the
rival is ``--engine tensorflow``. The networks are not trained: how fast they are does not depend on their weights. A
command that takes seconds runs once before it counts: then its compiled modules are there, as after an installation.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
from bench_semseg import make_photo, run_process

from hybridseg.classes import ClassTable
from hybridseg.demo.scenes.scene import make_scene
from hybridseg.hybrid.classifier import RetrainOptions, RetrainPaths
from hybridseg.hybrid.head import HeadOptions
from hybridseg.hybrid.retrain import retrain
from hybridseg.io.images import write_image
from hybridseg.models.architectures import Architecture
from hybridseg.models.bundles import DenseCard, save_dense
from hybridseg.models.fcn import Fcn8s
from hybridseg.models.normalization import Normalization
from hybridseg.models.resunet import ResUnet
from hybridseg.models.startup import import_tensorflow
from hybridseg.resample import resize_image

ROWS, COLS, TILE = 614, 920, 96
SIZE = (256, 384)
NAMES = ("water", "sand", "veg", "sky")


def make_inputs(folder: Path) -> None:
    """Write a photo of 0.6 megapixels and one of 36, a classifier, and two networks, each with its runtime graph."""
    scene = make_scene(0).image
    write_image(folder / "small" / "photo.jpg", np.rint(resize_image(scene, (ROWS, COLS))).astype(np.uint8))
    write_image(folder / "large" / "photo.jpg", make_photo(0))
    rng = np.random.default_rng(0)
    for name in NAMES:
        for i in range(8):
            row, col = rng.integers(0, scene.shape[0] - TILE), rng.integers(0, scene.shape[1] - TILE)
            write_image(folder / "tiles" / name / f"p{i}_r0_c0.png", scene[row : row + TILE, col : col + TILE])
    paths = RetrainPaths(folder / "tiles", folder / "model.pb", bottleneck_dir=folder / "bottlenecks")
    retrain(paths, options=RetrainOptions(head=HeadOptions(how_many_training_steps=50)))
    import_tensorflow()
    write_network(folder / "runs" / "net" / "model.h5", Fcn8s(n_bands=3, n_outputs=4))
    write_network(folder / "unet.h5", ResUnet(n_bands=3, n_outputs=4))
    config = {
        "TARGET_SIZE": list(SIZE), "NCLASSES": 3, "N_DATA_BANDS": 3, "USEMASK": True, "MAX_EPOCHS": 2, "AUG_COPIES": 2,
        "DO_CRF_REFINE": False, "MEDIAN_FILTER_VALUE": 0, "VALIDATION_SPLIT": 0.25, "BATCH_SIZE": 4,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))


def write_network(path: Path, architecture: Architecture) -> None:
    """Write a network that was not trained."""
    path.parent.mkdir(parents=True, exist_ok=True)
    network = architecture.build()
    architecture.start(network)
    card = DenseCard(architecture, ClassTable.from_names(NAMES), SIZE, Normalization("unit"))
    save_dense(path, network, card, probes=[np.random.default_rng(0).random((1, *SIZE, 3), dtype=np.float32)])


def make_older(folder: Path, target: Path) -> None:
    """Copy the models as an earlier version wrote them: without runtime graphs, and with cards that name none."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*.tflite", "tiles", "bottlenecks", "older"))
    for card in (target / "model.json", target / "unet.card.json", target / "runs" / "net" / "model.card.json"):
        record = json.loads(card.read_text())
        del record["runtime"]
        card.unlink()
        # Where the oldest version looks for it.
        card.with_name(card.name.replace(".card", "")).write_text(json.dumps(record))


def list_commands(folder: Path) -> dict[str, list[str]]:
    """List what is measured."""
    small, large, out = (str(folder / name) for name in ("small", "large", "out"))
    fcn = ["fcn", "infer", "--name", "net", "--runs-dir", str(folder / "runs"), "--output-dir", out, "--samples-dir"]
    unet = ["resunet", "segment", "--config", str(folder / "config.json"), "--weights", str(folder / "unet.h5")]
    unet += ["--out", out, "--images"]
    return {
        "semseg, 0.6 megapixels": ["semseg", small, "--model", str(folder / "model.pb"), "--out", out],
        "fcn infer, 0.6 megapixels": [*fcn, small],
        "resunet segment, 0.6 megapixels": [*unet, small],
        "fcn infer, 36 megapixels": [*fcn, large],
        "fcn infer --native, 36 megapixels": [*fcn, large, "--native"],
        "resunet segment --native, 36 megapixels": [*unet, large, "--native"],
    }


def measure(words: list[str], log_path: Path) -> tuple[float, float, float]:
    """Run a command; give its wall seconds, its processor seconds, and the peak of its memory in MiB."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Without -P, the version in the current folder would run in place of that in PYTHONPATH.
    wall, peak = run_process([sys.executable, "-P", "-m", "hybridseg", *words], log_path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, peak


def compare(title: str, words: list[str], older: list[str], old: Path | None, n_pairs: int, log_path: Path) -> None:
    """Run both in turn, and print the medians and the median ratio of the pairs."""
    home = str(Path(__file__).parents[2])
    rows: list[tuple[float, ...]] = []
    n_first = int("0.6" in title)
    for _ in range(n_first + n_pairs):
        os.environ["PYTHONPATH"] = str(old or home)
        rival = measure(older if old else [*words, "--engine", "tensorflow"], log_path)
        os.environ["PYTHONPATH"] = home
        own = measure(words, log_path)
        rows.append((*rival, *own, rival[0] / own[0], rival[1] / own[1]))
    medians = [statistics.median(column) for column in zip(*rows[n_first:], strict=True)]
    wall, cpu, peak, own_wall, own_cpu, own_peak, times, cpu_times = medians
    print(
        f"{title:42}{wall:7.2f} s{cpu:7.2f} s{peak:6.0f} MiB{own_wall:8.2f} s{own_cpu:7.2f} s{own_peak:6.0f} MiB"
        f"{times:7.1f}{cpu_times:7.1f}",
        flush=True,
    )


def main() -> None:
    """Make the inputs, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", type=Path, help="A checkout of an earlier version.")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--only", default="", help="Measure commands with these words in their title.")
    options = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_inputs(folder)
        make_older(folder, folder / "older")
        commands, older = list_commands(folder), list_commands(folder / "older")
        print(f"{'':42}{'rival':>9}{'CPU':>9}{'peak':>10}{'own':>10}{'CPU':>9}{'peak':>10}{'ratio':>7}{'CPU':>7}")
        for title, words in commands.items():
            if options.only in title:
                compare(title, words, older[title], options.old, options.pairs, folder / "log")


if __name__ == "__main__":
    main()
