"""What FCN-8s and the residual U-Net come to on real photographs, beside a forest that looks at single pixels.

    python tests/benchmarks/bench_dense.py --data obx --network fcn --size 256x384 --epochs 40

Reads HYBRIDSEG_DATA (default: ../shared/data). Everything is done by the commands, in a folder that --out keeps.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridseg.classes import ClassTable, color_labels
from hybridseg.confusion import Confusion, count_confusion, pool_confusions
from hybridseg.io.images import describe_image, read_image, write_image
from hybridseg.io.labels.classfiles import write_class_files
from hybridseg.io.labels.formats import read_labelmap, write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.tables import write_json

WINDOWS = "windows"
FOREST_PIXELS, FOREST_TREES, BLURS = 300_000, 60, (1.0, 4.0, 12.0)


@dataclass(frozen=True)
class DataSet:
    """Photographs with masks, and which of them are learned from."""

    table: ClassTable
    train: list[Path]
    test: list[Path]
    masks: dict[str, Path]


def open_data(name: str) -> DataSet:
    folder = Path(os.environ.get("HYBRIDSEG_DATA") or Path(__file__).parents[3] / "shared" / "data") / name
    images = {path.stem: path for path in sorted((folder / "images").iterdir())}
    masks = {path.stem: path for path in (folder / "masks").iterdir() if path.is_file()}
    if name == "obx":
        table = ClassTable(
            ("deep_water", "wet_or_shallow", "dry_land"), ((25, 90, 190), (160, 225, 220), (244, 208, 111))
        )
        lists = [(folder / f"{part}.txt").read_text().split() for part in ("train", "test")]
        return DataSet(table, *([images[stem] for stem in part] for part in lists), masks)
    table = ClassTable(("background", "cell"), ((30, 30, 30), (230, 160, 40)))
    return DataSet(table, list(images.values())[:80], list(images.values())[80:], masks)


def run(*words: object) -> float:
    """Run a command as a user would; give its seconds."""
    began = time.perf_counter()
    print("$ hybridseg", *words, flush=True)
    program = Path(sys.executable).with_name("hybridseg")
    subprocess.run([program, *map(str, words)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def lay_out(data: DataSet, out: Path) -> None:
    """Fill the folders that the two networks want, with links to the photographs."""
    samples, painted = out / "data/samples/RGB/train/set", out / "data/labels/gtFine/train/set"
    for folder in (samples, painted, out / "images", out / "labels", out / "test"):
        folder.mkdir(parents=True)
    for path in data.train:
        labels = read_labelmap(data.masks[path.stem]).labels
        for folder in (samples, out / "images"):
            (folder / path.name).symlink_to(path)
        write_image(painted / f"{path.stem}_gtFine_color.png", color_labels(labels, data.table))
        write_labelmap(out / "labels" / f"{path.stem}_label.png", LabelMap(labels, data.table))
    for path in data.test:
        (out / "test" / path.name).symlink_to(path)
    write_class_files(data.table, labeldefs_path=out / "data/labeldefs.txt")


def train_fcn(out: Path, options: argparse.Namespace) -> tuple[float, list[str]]:
    flips = ("--flip-rows",) if options.flip_rows else ()
    size = () if options.size == WINDOWS else ("--size", options.size)
    seconds = run(
        "fcn", "train", "--name", "net", "--data-source", "set", "--data-dir", out / "data", "--runs-dir", out,
        *size, "--epochs", options.epochs, "--batch-size", options.batch_size,
        "--learning-rate", options.rate, *flips, *(["--rotation", 10] if options.flip_rows else []),
    )  # fmt: skip
    infer = ("fcn", "infer", "--name", "net", "--runs-dir", out, "--samples-dir", out / "test")
    run(*infer, "--output-dir", out / "plain")
    run(*infer, "--output-dir", out / "flips", "--flips")
    run(*infer, "--output-dir", out / "crf", "--crf")
    return seconds, ["plain", "flips", "crf"]


def train_unet(data: DataSet, out: Path, options: argparse.Namespace) -> tuple[float, list[str]]:
    rows, cols = (int(side) for side in options.size.split("x"))
    info = describe_image(data.train[0])
    sustain = options.epochs // 2
    config = {
        **{"TARGET_SIZE": [rows, cols], "KERNEL_SIZE": [3, 3], "NCLASSES": max(len(data.table) - 1, 1)},
        **{"N_DATA_BANDS": info.bands, "BATCH_SIZE": options.batch_size, "MAX_EPOCHS": options.epochs},
        **{"PATIENCE": options.epochs, "VALIDATION_SPLIT": 0.15, "RAMPUP_EPOCHS": 2, "SUSTAIN_EPOCHS": sustain},
        **{"START_LR": options.rate / 10, "MAX_LR": options.rate, "MIN_LR": options.rate / 100, "EXP_DECAY": 0.85},
        **{"AUG_COPIES": options.copies, "AUG_HFLIP": True, "AUG_VFLIP": options.flip_rows, "AUG_ROT": 10},
        **{"AUG_ZOOM": 0.1, "DO_CRF_REFINE": False, "MEDIAN_FILTER_VALUE": 0, "USEMASK": False},
    }
    write_json(out / "config.json", config)
    write_json(out / "smooth.json", {**config, "DO_CRF_REFINE": True, "MEDIAN_FILTER_VALUE": 3})
    labels = ("--labels", out / "labels", "--labeldefs", out / "data/labeldefs.txt")
    given = ("--config", out / "config.json")
    seconds = run("resunet", "make-tfrecords", *given, "--images", out / "images", *labels, "--out", out / "records")
    seconds += run(
        "resunet", "train", *given, "--data", out / "records", "--weights-out", out / "net.h5", "--loss", "combo",
        "--filters", options.filters, "--encoder", options.encoder, "--best-by", options.best_by,
    )  # fmt: skip
    segment = ("resunet", "segment", "--weights", out / "net.h5", "--images", out / "test")
    run(*segment, *given, "--out", out / "plain")
    run(*segment, *given, "--out", out / "flips", "--flips")
    run(*segment, "--config", out / "smooth.json", "--out", out / "crf")
    return seconds, ["plain", "flips", "crf"]


def judge(data: DataSet, folder: Path) -> Confusion:
    found = []
    for path in data.test:
        truth = read_labelmap(data.masks[path.stem]).labels
        # `fcn infer --crf` has a name of its own for its results.
        result = next(iter(folder.glob(f"{path.stem}_predseg*.png")))
        found.append(count_confusion(truth, read_labelmap(result).labels, data.table))
    return pool_confusions(found)


def describe_pixels(path: Path) -> np.ndarray:
    """Return the colour of every pixel, and that of its surroundings, (pixels, features)."""
    from scipy.ndimage import gaussian_filter

    image = read_image(path).astype(np.float32)
    views = [image, *(gaussian_filter(image, (sigma, sigma, 0)) for sigma in BLURS)]
    return np.concatenate(views, axis=2).reshape(image.shape[0] * image.shape[1], -1)


def judge_forest(data: DataSet) -> Confusion:
    """Train a random forest on single pixels, and judge it in the same way."""
    from sklearn.ensemble import RandomForestClassifier

    rng = np.random.default_rng(0)
    features, classes = [], []
    for path in data.train:
        labels = read_labelmap(data.masks[path.stem]).labels.ravel()
        chosen = rng.choice(len(labels), FOREST_PIXELS // len(data.train), replace=False)
        features.append(describe_pixels(path)[chosen])
        classes.append(labels[chosen])
    forest = RandomForestClassifier(FOREST_TREES, min_samples_leaf=5, n_jobs=-1, random_state=0)
    forest.fit(np.concatenate(features), np.concatenate(classes))
    found = []
    for path in data.test:
        truth = read_labelmap(data.masks[path.stem]).labels
        prediction = forest.predict(describe_pixels(path)).astype(np.uint8).reshape(truth.shape)
        found.append(count_confusion(truth, prediction, data.table))
    return pool_confusions(found)


def show(name: str, confusion: Confusion) -> None:
    ious = ", ".join(f"{iou:.3f}" for iou in confusion.scores("iou") if iou is not None)
    print(f"{name:24} accuracy {confusion.accuracy:.3f}  mean IoU {confusion.macro('iou'):.3f}  ({ious})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", choices=("obx", "nist"), default="obx")
    parser.add_argument("--network", choices=("fcn", "resunet"), default="fcn")
    parser.add_argument("--size", default="256x384", help=f"of fcn also {WINDOWS}: those by default")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--copies", type=int, default=4)
    parser.add_argument("--filters", type=int, default=8)
    parser.add_argument("--encoder", default="none", help="of resunet")
    parser.add_argument("--best-by", default="loss", help="of resunet")
    parser.add_argument("--flip-rows", action="store_true")
    parser.add_argument("--no-forest", action="store_true")
    parser.add_argument("--forest-only", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    data = open_data(options.data)
    if options.forest_only:
        show("random forest on pixels", judge_forest(data))
        return
    out = options.out or Path(tempfile.mkdtemp())
    shutil.rmtree(out, ignore_errors=True)
    lay_out(data, out)
    seconds, ways = train_fcn(out, options) if options.network == "fcn" else train_unet(data, out, options)
    print(f"\n{options.data}, {options.network} at {options.size}: trained in {seconds / 60:.1f} minutes")
    found = {way: judge(data, out / way) for way in ways}
    for way, confusion in found.items():
        show(f"{options.network}, {way}", confusion)
    if not options.no_forest:
        show("random forest on pixels", judge_forest(data))
    print(json.dumps({way: confusion.to_record()["macro"] for way, confusion in found.items()}))


if __name__ == "__main__":
    main()
