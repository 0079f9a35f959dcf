"""How right is what a model suggests once scribbles correct it? On drawn scenes, and on photos if given.

The model is a linear classifier of the built-in network's activations, fitted to the masks of other images. Beside it
stands what the scribbles give without it. The images are not those of bench_spread.py.

    python tests/benchmarks/bench_suggest.py ../shared/data/obx
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from bench_spread import Pairs, leave_out, list_classes
from scipy import ndimage

from hybridseg.classes import VOID, ClassTable
from hybridseg.confusion import count_confusion, pool_confusions
from hybridseg.demo.scenes.scene import make_scene
from hybridseg.demo.scenes.scribbles import draw_scribbles
from hybridseg.hybrid.segmentation import reduce_image
from hybridseg.io.images import as_rgb8, read_image
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.labelling.spreading import SpreadOptions, spread_seeds
from hybridseg.learning.features import DEEP, PixelFeatures
from hybridseg.learning.softmax import fit_softmax
from hybridseg.resample import resize_nearest

OPTIONS = SpreadOptions()
N_PIXELS, N_WRONG = 1500, 3
Model = Callable[[np.ndarray], np.ndarray]


class Suggested:
    """The probabilities of a model that knows all classes, in memory."""

    def __init__(self, probs: np.ndarray) -> None:
        probs = np.maximum(probs, 1e-3)
        self._probs, self.shape, self.known = probs / probs.sum(axis=2, keepdims=True), probs.shape, True

    def __getitem__(self, part: tuple[slice, slice]) -> np.ndarray:
        return self._probs[part].copy()

    def sample(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        return self._probs[rows, cols]


def train(pairs: Pairs, n_classes: int) -> Model:
    """Fit a classifier to some pixels of each image."""
    samples, ids = [], []
    for i, (image, labels) in enumerate(pairs):
        small = reduce_image(image, OPTIONS.scale_for(labels.shape))
        truth = resize_nearest(labels, small.shape[:2])
        rows, cols = np.nonzero(truth != VOID)
        chosen = np.random.default_rng(i).permutation(len(rows))[:N_PIXELS]
        samples.append(PixelFeatures(small, DEEP).sample(rows[chosen], cols[chosen])[0])
        ids.append(truth[rows[chosen], cols[chosen]])
    known, targets = np.unique(np.concatenate(ids), return_inverse=True)
    features = np.concatenate(samples)
    classifier = fit_softmax(features, targets, n_classes=len(known), deviation=np.maximum(features.std(axis=0), 0.05))

    def predict(small: np.ndarray) -> np.ndarray:
        probs = np.zeros((*small.shape[:2], n_classes), np.float32)
        scores = PixelFeatures(small, DEEP).score(classifier.weights, slice(0, len(small)), slice(0, small.shape[1]))
        probs[..., known] = classifier.predict(scores)
        return probs

    return predict


def keep_wrong(seeds: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Keep the strokes with the most pixels that are wrong so far: those that a person would draw."""
    strokes = []
    for seed in np.unique(seeds[seeds > 0]):
        numbers, n = ndimage.label(seeds == seed, np.ones((3, 3)))
        strokes += [(int((labels[numbers == k] != seed - 1).sum()), int(seed), numbers == k) for k in range(1, n + 1)]
    found = np.zeros_like(seeds)
    for n_wrong, seed, covered in sorted(strokes, key=lambda stroke: -stroke[0])[:N_WRONG]:
        found[covered] = seed * (n_wrong > covered.sum() / 2)
    return found


def bench(name: str, pairs: Pairs, model: Model) -> None:
    """Print accuracy and mean IoU beside all scribbles, with and without the model."""
    table, counted = list_classes(pairs), {}
    for i, (image, labels) in enumerate(pairs):
        small = reduce_image(image, OPTIONS.scale_for(labels.shape))
        suggested = Suggested(model(small))
        drawn = draw_scribbles(np.where(labels == VOID, 0, labels), rng=np.random.default_rng(i))
        drawn = np.where(labels == VOID, 0, drawn).astype(np.uint8)
        truth = np.where(drawn > 0, VOID, labels)

        def spread(seeds: np.ndarray, help_by: Suggested | None, small: np.ndarray = small) -> np.ndarray:
            how = {"options": OPTIONS.constants, "features": DEEP, "suggested": help_by}
            return spread_seeds(small, seeds, n_classes=len(table), **how)

        alone = spread(np.zeros_like(drawn), suggested)
        cases = {f"the {N_WRONG} strokes that are most wrong": keep_wrong(drawn, alone)}
        cases |= {f"{n} of each class": leave_out(drawn, n, seed=i) for n in (1, 2)} | {"all strokes": drawn}
        counted.setdefault("the model alone", []).append(count_confusion(truth, alone, table))
        for case, seeds in cases.items():
            for help_by, words in ((suggested, "with"), (None, "without")):
                found = spread(seeds, help_by) if seeds.any() else alone
                counted.setdefault(f"{case}, {words} the model", []).append(count_confusion(truth, found, table))
    print(f"{len(pairs)} {name}")
    for case, counts in counted.items():
        scores = pool_confusions(counts)
        print(f"  {case:50} accuracy {scores.accuracy:.3f}, mean IoU {scores.macro('iou'):.3f}", flush=True)


def read_photos(folder: Path, names: list[str]) -> Pairs:
    table = ClassTable.from_names(["deep", "wet", "dry"])
    masks = (read_labelmap(folder / "masks" / f"{name}.png", table=table).labels for name in names)
    images = (as_rgb8(read_image(folder / "images" / f"{name}.jpg")) for name in names)
    return list(zip(images, masks, strict=True))


def main() -> None:
    for folder in map(Path, sys.argv[1:]):
        trained, held_out = ((folder / f"{part}.txt").read_text().split() for part in ("train", "test"))
        bench("photos", read_photos(folder, held_out[::6][:6]), train(read_photos(folder, trained[5::10][:8]), 3))
    trained, held_out = ([(s.image, s.labels) for s in map(make_scene, part)] for part in (range(4), range(40, 43)))
    bench("synthetic scenes", held_out, train(trained, len(list_classes(trained + held_out))))


if __name__ == "__main__":
    main()
