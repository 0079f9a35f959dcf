"""Whether a mosaic has seams: it is segmented whole and cut in several ways, and the results are compared.

    python tests/benchmarks/bench_seams.py
    python tests/benchmarks/bench_seams.py --image mosaic.tif --models model.pb model.h5

It is cut by memory (--max-memory), and by hand, into two halves that share some columns and are segmented alone. Beside
the share of the pixels that differ stands the seam: how much oftener the class changes across the lines where blocks
of the CRF or windows of a network meet, or where the halves are joined, than across the lines near them; in brackets
the same of a result that is cut elsewhere.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from bench_gigapixel import make_classifier, make_network, write_mosaic
from bench_semseg import make_photo

from hybridseg.apply import make_job
from hybridseg.crf.blocks import Block, plan_blocks
from hybridseg.dense.blending import plan_windows
from hybridseg.dense.smoothing import PROBS_SMOOTHING, SmoothingOptions
from hybridseg.dense.windows import DenseOptions
from hybridseg.hybrid.segmentation import HybridOptions
from hybridseg.io.lazyimages import LazyImage, open_lazily
from hybridseg.machine import GIB
from hybridseg.oneimage import segment_rows
from hybridseg.resample import reduce_shape

SIDE, SHARED = 5568, 1536
# How many lines on either side a line is compared with, and from which distance.
NEAR, FAR = 4, 40
LARGE, SMALL = 16.0, 0.5

Labels = np.ndarray
Segment = Callable[[LazyImage, float], Labels]
# What segments, and the columns and rows where its parts meet.
Method = tuple[Segment, list[int], list[int]]


def measure_seam(labels: Labels, cols: Sequence[int]) -> float:
    """Return how much oftener the class changes to the left of some columns than near them."""
    rates = (labels[:, 1:] != labels[:, :-1]).mean(axis=0)
    at, near = [], []
    for col in cols:
        around = np.arange(col - FAR, col + FAR)
        around = around[(abs(around - col) >= NEAR) & (around > 0) & (around < labels.shape[1])]
        at.append(rates[col - 1])
        near.append(rates[around - 1].mean())
    return float(np.mean(at) / max(np.mean(near), 1e-9)) if cols else 1.0


def compare(name: str, segment: Segment, image: LazyImage, cols: Sequence[int], rows: Sequence[int]) -> None:
    """Print how a result differs from those of the image cut."""
    start = time.perf_counter()
    whole = segment(image, LARGE)
    seconds = time.perf_counter() - start
    small = segment(image, SMALL)
    line = f"in {SMALL:g} GiB {(small != whole).mean():8.4%} differ"
    middle, n_cols = image.shape[1] // 2 // 48 * 48, image.shape[1]
    left, right = (
        segment(cut_columns(image, slice(*part)), LARGE)
        for part in ((0, middle + SHARED // 2), (middle - SHARED // 2, n_cols))
    )
    joined = np.concatenate([left[:, :middle], right[:, SHARED // 2 :]], axis=1)
    differ = joined != whole
    near = differ[:, middle - 64 : middle + 64].mean()
    line += (
        f"   in halves {differ.mean():8.4%} differ, {near:8.4%} at the cut, seam {measure_seam(joined, [middle]):5.2f}"
    )
    # The halves have other windows: at these lines, they show what the picture does there.
    seams = [f"{measure_seam(whole, cols):.2f} ({measure_seam(joined, cols):.2f})"]
    seams.append(f"{measure_seam(whole.T, rows):.2f} ({measure_seam(joined.T, rows):.2f})")
    print(f"  {name:24}{seconds:6.0f} s   seams {', '.join(seams)}   {line}", flush=True)


def cut_columns(image: LazyImage, cols: slice) -> LazyImage:
    """Return some columns of an image as an image."""
    start, stop = cols.start, cols.stop

    def read(rows: slice, inner: slice) -> tuple[np.ndarray, np.ndarray | None]:
        return image.read(rows, slice(start + inner.start, start + inner.stop))

    return LazyImage((image.shape[0], stop - start, image.shape[2]), read, has_gaps=False)


def make_hybrid(model: Path, shape: tuple[int, int], scale: float | None) -> Method:
    """Return what segments by tiles, and where blocks of its CRF meet."""
    options = HybridOptions(scale=scale)
    tile_size = make_job([model]).load().tile_size
    # A half has the scale of the whole: by default a smaller image is seen at a larger one.
    options = options.fit(shape, tile_size)
    assert options.scale is not None
    small = reduce_shape(shape, options.scale)
    blocks = plan_blocks(Block.whole(small, theta=options.crf.reach))
    cols, rows = ({getattr(block, end) for block in blocks} - {0} for end in ("left", "top"))
    factor = 1 / options.scale

    def segment(image: LazyImage, memory: float) -> Labels:
        found = segment_rows(image, make_job([model], options=options), room=int(memory * GIB))
        return np.concatenate([part.labels for part in found.rows])

    return segment, [round(col * factor) for col in sorted(cols)], [round(row * factor) for row in sorted(rows)]


def make_dense(model: Path, shape: tuple[int, int], smoothing: SmoothingOptions) -> Method:
    """Return what segments by a network, and where its windows take over from one another."""
    options = DenseOptions(native=True)
    stride = make_job([model]).load()[0].card.architecture.stride
    plans = [plan_windows(side, window=options.window, overlap=options.overlap, stride=stride) for side in shape]
    (height, tops), (width, lefts) = plans
    cols = [(old + width + new) // 2 for old, new in pairwise(lefts)]
    rows = [(old + height + new) // 2 for old, new in pairwise(tops)]

    def segment(image: LazyImage, memory: float) -> Labels:
        job = make_job([model], options=options, smoothing=smoothing)
        found = segment_rows(image, job, room=int(memory * GIB), want_confidence=False)
        return np.concatenate([part.labels for part in found.rows])

    return segment, cols, rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, help="A mosaic; by default drawn scenes.")
    parser.add_argument("--models", nargs="*", type=Path, help="By default small ones, which are made.")
    parser.add_argument("--side", type=int, default=SIDE, help="Of the drawn mosaic.")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, photo = Path(name), make_photo(0)
        path = words.image or folder / "mosaic.tif"
        if not words.image:
            write_mosaic(path, photo, words.side)
        image = open_lazily(path)
        shape = (image.shape[0], image.shape[1])
        print(f"{shape[0]} x {shape[1]} pixels; a seam of 1 is none")
        for model in words.models or [make_classifier(folder, photo), make_network(folder / "net.h5")]:
            if model.suffix == ".pb":
                for title, scale in (("tiles and CRF", None), ("the same at scale 0.5", 0.5)):
                    segment, cols, rows = make_hybrid(model, shape, scale)
                    compare(title, segment, image.as_rgb8(), cols, rows)
            else:
                thin = replace(PROBS_SMOOTHING, crf=replace(PROBS_SMOOTHING.crf, n_iterations=10))
                for title, smoothing in (("network", SmoothingOptions()), ("network and CRF", thin)):
                    segment, cols, rows = make_dense(model, shape, smoothing)
                    compare(title, segment, image, cols, rows)


if __name__ == "__main__":
    main()
