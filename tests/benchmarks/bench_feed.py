"""Is reading what a training waits for? Images a second of the feed alone, beside the step: ``make bench``.

    python tests/benchmarks/bench_feed.py [IMAGES MASKS]

The demo scenes, or up to 30 other photos, at the size of ``make demo-dense``, from files, from memory and from records,
and windows of them at their own resolution; then each network takes real steps, and the share of the steps that had to
wait for their images is counted.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from hybridseg.classes import ClassTable
from hybridseg.dense.augment import AugmentOptions
from hybridseg.dense.crops import CropOptions, CropPlan
from hybridseg.dense.feed import Feed, WindowFeed
from hybridseg.dense.fit import FitOptions, fit
from hybridseg.dense.pairs import FolderPairs, PairSource, RememberedPairs
from hybridseg.dense.photos import PhotoPairs
from hybridseg.dense.recordpairs import open_records
from hybridseg.dense.records import RecordOptions, make_records
from hybridseg.dense.runs import RunFolder
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.masks import find_masks
from hybridseg.io.pairing import list_images
from hybridseg.models.fcn import Fcn8s
from hybridseg.models.normalization import Normalization
from hybridseg.models.resunet import ResUnet
from hybridseg.models.startup import import_tensorflow, make_deterministic

SCENES = Path(__file__).parents[2] / "demo_data"
SIZE, BATCH, EPOCHS, COPIES = (192, 288), 4, 12, 4
MAX_PHOTOS = 30
CHANGES = AugmentOptions(rotation=5, zoom=0.1, row_shift=0.05, col_shift=0.05, flip_cols=True, brightness=0.1)


def make_feed(pairs: PairSource, normalization: Normalization) -> Feed:
    return Feed(
        pairs, range(len(pairs.sources)), batch_size=BATCH, normalization=normalization, augment=CHANGES, shuffle=True
    )


def make_windows(photos: PhotoPairs, normalization: Normalization, *, scale: tuple[float, float]) -> WindowFeed:
    indices = range(len(photos.pairs))
    plan = CropPlan(photos, indices, CropOptions(SIZE, scale, balance=True), seed=0)
    return WindowFeed(
        photos, indices, plan.list_windows, shape=SIZE, batch_size=BATCH, normalization=normalization, augment=CHANGES
    )


def bench_feed(name: str, feed: Feed, *, n_epochs: int = EPOCHS) -> None:
    """Print how many images a second come out when nothing is done with them."""
    list(feed.batches())
    started = time.perf_counter()
    n = sum(len(images) for images, _ in feed.batches(first_epoch=1, n_epochs=n_epochs))
    print(f"  feed alone, {name:30} {n / (time.perf_counter() - started):7.1f} images/s", flush=True)


def bench_step(name: str, network: object, feed: Feed) -> None:
    """Train for some epochs; print the images a second, and how many steps were starved."""
    n_epochs = max(EPOCHS * 18 // feed.n_samples, 2)
    with tempfile.TemporaryDirectory() as folder:
        history = fit(
            network, feed, None, options=FitOptions(epochs=n_epochs), folder=RunFolder(Path(folder)),
        )  # fmt: skip
    # The first epoch builds the graph.
    speeds, starved = [e.images_per_second for e in history[1:]], [e.starved for e in history[1:]]
    print(
        f"  training {name:33} {sum(speeds) / len(speeds):7.1f} images/s, starved in "
        f"{sum(starved) / len(starved):.1%} of the steps (asked: under 5 %)",
        flush=True,
    )


def main() -> None:
    import_tensorflow()
    make_deterministic(0)
    places = [Path(word) for word in sys.argv[1:]] or [SCENES]
    pairs = find_masks(list_images(places[0]), *places[1:]).pairs[:MAX_PHOTOS]
    n_classes = max(int(read_labels(pair.labels_path).max()) for pair in pairs) + 1
    table = ClassTable.from_names([f"class {i}" for i in range(n_classes)])
    folder = FolderPairs(pairs, read_labels, table=table, size=SIZE)
    rows, cols = folder.infos[0].shape
    print(f"{len(pairs)} photos of {rows} x {cols} at {SIZE[0]} x {SIZE[1]}, batches of {BATCH}, all changes on")
    with tempfile.TemporaryDirectory() as out:
        make_records(folder, Path(out) / "records", options=RecordOptions(copies=COPIES))
        records = open_records(Path(out) / "records")
        remembered, unit = RememberedPairs(records), Normalization("unit")
        bench_feed("from files", make_feed(folder, unit), n_epochs=2)
        bench_feed("from records", make_feed(records, unit), n_epochs=2)
        bench_feed("from memory", make_feed(remembered, unit), n_epochs=4)
        photos = PhotoPairs(pairs, read_labels, table=table, size=SIZE)
        # One photo has room: the next is decoded when its turn comes, once in an epoch.
        few = PhotoPairs(pairs, read_labels, table=table, size=SIZE, limit=rows * cols * 5)
        for scale in ((0.5, 2.0), (1.0, 1.0)):
            name = f"windows at {scale[0]:g} to {scale[1]:g}"
            bench_feed(f"{name}, in memory", make_windows(photos, unit, scale=scale), n_epochs=4)
            bench_feed(f"{name}, from files", make_windows(few, unit, scale=scale), n_epochs=2)
        for name, architecture, rule in (
            ("FCN-8s", Fcn8s(3, n_classes), unit),
            ("residual U-Net", ResUnet(3, n_classes), Normalization("image")),
        ):
            bench_step(name, architecture.build(), make_feed(remembered, rule))
            bench_step(f"{name}, windows", architecture.build(), make_windows(photos, rule, scale=(0.5, 2.0)))


def read_labels(path: Path) -> np.ndarray:
    return read_labelmap(path, with_seeds=False).labels


if __name__ == "__main__":
    sys.exit(main())
