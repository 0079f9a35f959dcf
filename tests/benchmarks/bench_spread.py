"""How right is what comes of scribbles, at several scales of the CRF? On synthetic scenes, and on real photos if given.

The scribbles are drawn by a program that knows the truth: thin strokes in the large pieces of each class.

    python tests/benchmarks/bench_spread.py ../shared/data/obx
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from hybridseg.classes import VOID, ClassTable
from hybridseg.confusion import count_confusion, pool_confusions
from hybridseg.demo.scenes.scene import make_scene
from hybridseg.demo.scenes.scribbles import draw_scribbles
from hybridseg.hybrid.segmentation import reduce_image
from hybridseg.io.images import as_rgb8, read_image
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.labelling.spreading import SpreadOptions, spread_seeds

N_SCENES, N_PHOTOS = 6, 12


def bench(name: str, pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Print accuracy and mean IoU over all pixels that the scribbles do not cover."""
    table = ClassTable.from_names(
        [f"class {i}" for i in range(max(labels[labels != VOID].max() for _, labels in pairs) + 1)]
    )
    print(f"{len(pairs)} {name} of {pairs[0][0].shape[0]} x {pairs[0][0].shape[1]} pixels")
    for scale in (0.2, 0.5, None, 1.0):
        options, counted, began = SpreadOptions(scale), [], time.perf_counter()
        for i, (image, labels) in enumerate(pairs):
            seeds = draw_scribbles(np.where(labels == VOID, 0, labels), rng=np.random.default_rng(i)).astype(np.uint8)
            seeds[labels == VOID] = 0
            small = reduce_image(image, options.scale_for(labels.shape))
            found = spread_seeds(small, seeds, n_classes=len(table), options=options.crf)
            counted.append(count_confusion(np.where(seeds > 0, VOID, labels), found, table))
        scores = pool_confusions(counted)
        seconds = (time.perf_counter() - began) / len(pairs)
        told = f"default ({options.scale_for(pairs[0][1].shape):.2f})" if scale is None else str(scale)
        accuracy, mean_iou = scores.accuracy, scores.macro("iou")
        print(f"  scale {told:15} accuracy {accuracy:.3f}, mean IoU {mean_iou:.3f}, {seconds:.2f} s each", flush=True)


def read_photos(folder: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Read some of the labelled photos of a folder with images/, masks/ and train.txt, evenly spread."""
    names = (folder / "train.txt").read_text().split()
    table = ClassTable.from_names(["deep", "wet", "dry"])
    pairs = []
    for name in names[:: len(names) // N_PHOTOS][:N_PHOTOS]:
        labels = read_labelmap(folder / "masks" / f"{name}.png", table=table).labels
        pairs.append((as_rgb8(read_image(folder / "images" / f"{name}.jpg")), labels))
    return pairs


def main() -> None:
    bench("synthetic scenes", [(scene.image, scene.labels) for scene in map(make_scene, range(100, 100 + N_SCENES))])
    for folder in sys.argv[1:]:
        bench("photos", read_photos(Path(folder)))


if __name__ == "__main__":
    main()
