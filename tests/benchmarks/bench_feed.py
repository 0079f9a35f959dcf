"""Is reading what a training waits for? Images a second of the feed alone, beside the step: ``make bench``.

The demo scenes at the size of ``make demo-dense``, from files, from memory and from records; then each network takes
real steps on them, and the share of the steps that had to wait for their images is counted.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from hybridseg.dense.augment import AugmentOptions
from hybridseg.dense.feed import Feed
from hybridseg.dense.fit import FitOptions, RunFolder, fit
from hybridseg.dense.pairs import FolderPairs, PairSource, RememberedPairs
from hybridseg.dense.recordpairs import open_records
from hybridseg.dense.records import RecordOptions, make_records
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.masks import find_masks
from hybridseg.io.pairing import list_images
from hybridseg.models.fcn import Fcn8s
from hybridseg.models.normalization import Normalization
from hybridseg.models.resunet import ResUnet
from hybridseg.models.startup import import_tensorflow, make_deterministic

SCENES = Path(__file__).parents[2] / "demo_data"
SIZE, BATCH, EPOCHS, COPIES = (192, 288), 4, 12, 4
CHANGES = AugmentOptions(rotation=5, zoom=0.1, row_shift=0.05, col_shift=0.05, flip_cols=True, brightness=0.1)


def make_feed(pairs: PairSource, normalization: Normalization) -> Feed:
    return Feed(
        pairs, range(len(pairs.sources)), batch_size=BATCH, normalization=normalization, augment=CHANGES, shuffle=True
    )


def bench_feed(name: str, pairs: PairSource) -> None:
    """Print how many images a second come out when nothing is done with them."""
    feed = make_feed(pairs, Normalization("unit"))
    list(feed.batches())
    started = time.perf_counter()
    n = sum(len(images) for images, _ in feed.batches(first_epoch=1, n_epochs=EPOCHS))
    print(f"  feed alone, {name:14} {n / (time.perf_counter() - started):7.1f} images/s", flush=True)


def bench_step(name: str, network: object, pairs: PairSource, normalization: Normalization) -> None:
    """Train for some epochs; print the images a second, and how many steps were starved."""
    with tempfile.TemporaryDirectory() as folder:
        history = fit(
            network, make_feed(pairs, normalization), None, options=FitOptions(epochs=EPOCHS),
            folder=RunFolder(Path(folder), "bench"),
        )  # fmt: skip
    # The first epoch builds the graph.
    speeds, starved = [e.images_per_second for e in history[1:]], [e.starved for e in history[1:]]
    print(
        f"  training {name:16} {sum(speeds) / len(speeds):7.1f} images/s, starved in {sum(starved) / len(starved):.1%} "
        "of the steps (asked: under 5 %)",
        flush=True,
    )


def main() -> None:
    import_tensorflow()
    make_deterministic(0)
    pairs = find_masks(list_images(SCENES)).pairs
    table = read_labelmap(pairs[0].labels_path, with_seeds=False).table
    folder = FolderPairs(pairs, lambda path: read_labelmap(path, with_seeds=False).labels, table=table, size=SIZE)
    print(f"{len(pairs)} demo scenes at {SIZE[0]} x {SIZE[1]}, batches of {BATCH}, all changes on")
    with tempfile.TemporaryDirectory() as out:
        make_records(folder, Path(out) / "records", options=RecordOptions(copies=COPIES))
        records = open_records(Path(out) / "records")
        bench_feed("from files", folder)
        bench_feed("from records", records)
        remembered = RememberedPairs(records)
        bench_feed("from memory", remembered)
        for name, architecture, kind in (
            ("FCN-8s", Fcn8s(3, len(table)), "unit"),
            ("residual U-Net", ResUnet(3, len(table)), "image"),
        ):
            bench_step(name, architecture.build(), remembered, Normalization(kind))


if __name__ == "__main__":
    sys.exit(main())
