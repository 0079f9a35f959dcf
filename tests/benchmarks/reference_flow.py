"""The classic way to segment one photo, step by step, as the rival of ``bench_semseg.py``.

Written anew from what that program does (its steps, constants and faults, see docs/design.md), and alone: it imports
nothing of hybridseg. Run as a script it prints its seconds as JSON.

Faults kept: the padding is ``n % tile`` and a last partial row or column of tiles is dropped; every tile has a new
session; THRESH reaches only the figure; the CRF is told height and width in the wrong order.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pydensecrf.densecrf as dcrf
import tensorflow as tf
from matplotlib.colors import ListedColormap
from PIL import Image
from pydensecrf.utils import create_pairwise_bilateral, unary_from_labels
from scipy.io import savemat
from scipy.ndimage import zoom

THETA, SPACE_COMPAT, COLOR_COMPAT, COLOR_SCALE, N_ITERATIONS = 60, 5, 100, 1, 20


class Laps:
    """Seconds of every step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def end(self, step: str) -> None:
        now = time.perf_counter()
        self.seconds[step] = now - self._since
        self._since = now


@dataclass(frozen=True, eq=False)
class TileMaps:
    """What the tiles say, at the size of the image.

    `seeds` goes to the CRF: 0 = not classified, class k is k + 1. `shown` is for the figure: the class of the tiles
    that are sure enough, and 0 elsewhere.
    """

    seeds: np.ndarray
    shown: np.ndarray


def run_reference(
    image_path: Path,
    model_path: Path,
    labels: Path,
    colors: Path,
    tile: int,
    thresh: float,
    prob: float,
    decim: int,
    scale: float,
    out_dir: Path,
) -> dict[str, float]:
    """Segment one photo; write ``NAME_ares_TILE.png`` and ``.mat``; give the seconds of every step in order."""
    laps = Laps()
    graph = load_graph(model_path)
    laps.end("load graph")
    names, shades = Path(labels).read_text().splitlines(), Path(colors).read_text().splitlines()
    image = np.array(Image.open(image_path))
    laps.end("read")
    tiles, grid = cut_tiles(image, tile)
    laps.end("pad and cut")
    answers = [classify_tile(graph, tiles[i]) for i in range(0, len(tiles), decim)]
    laps.end("classify")
    maps = fill_maps(answers, image.shape[:2], grid, tile=tile, decim=decim, thresh=thresh)
    del tiles
    laps.end("fill maps")
    small = shrink(image, scale)
    small_seeds = resize_by_floats(maps.seeds, small.shape[:2])
    laps.end("shrink")
    small_classes = run_crf(small, small_seeds, n_labels=len(names) + 1, prob=prob)
    laps.end("crf")
    classes = resize_by_floats(small_classes, image.shape[:2])
    laps.end("enlarge")
    target = Path(out_dir) / f"{Path(image_path).stem}_ares_{tile}"
    draw_figure(target.with_suffix(".png"), image, maps.shown, classes, names, shades)
    laps.end("figure")
    arrays = {"sparse": maps.seeds.astype(int), "class": classes.astype(int), "labels": names}
    savemat(target.with_suffix(".mat"), arrays, do_compression=True)
    laps.end("save")
    return laps.seconds


def load_graph(path: Path) -> tf.Graph:
    """Read a frozen graph."""
    definition = tf.compat.v1.GraphDef()
    definition.ParseFromString(Path(path).read_bytes())
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(definition, name="")
    return graph


def cut_tiles(image: np.ndarray, tile: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Pad by mirroring and cut all tiles; give them as floats in 0..1, and how many lie below and beside another."""
    rows, cols = image.shape[:2]
    padded = np.pad(image, [(0, rows % tile), (0, cols % tile), (0, 0)], mode="reflect")
    grid = padded.shape[0] // tile, padded.shape[1] // tile
    corners = [(i * tile, j * tile) for i in range(grid[0]) for j in range(grid[1])]
    tiles = np.array([padded[row : row + tile, col : col + tile] for row, col in corners])
    return tiles.astype(np.float32) / 255, grid


def classify_tile(graph: tf.Graph, pixels: np.ndarray) -> tuple[int, float]:
    """Return the class of a tile and its probability, in a session of its own."""
    with tf.compat.v1.Session(graph=graph) as session:
        probs = session.run("final_result:0", {"Placeholder:0": np.expand_dims(pixels, axis=0)})
    probs = np.squeeze(probs)
    best = int(probs.argmax())
    return best, float(probs[best])


def fill_maps(
    answers: Sequence[tuple[int, float]],
    shape: Sequence[int],
    grid: tuple[int, int],
    *,
    tile: int,
    decim: int,
    thresh: float,
) -> TileMaps:
    """Fill the square of every classified tile."""
    rows, cols = shape
    seeds, shown = np.zeros((rows, cols)), np.zeros((rows, cols))
    for i, (best, probability) in enumerate(answers):
        row, col = (place * tile for place in divmod(i * decim, grid[1]))
        square = slice(row, row + tile), slice(col, col + tile)
        seeds[square] = best + 1
        shown[square] = best if probability > thresh else 0
    return TileMaps(seeds, shown)


def shrink(image: np.ndarray, scale: float) -> np.ndarray:
    """Reduce the photo, bilinear."""
    rows, cols = (int(side * scale) for side in image.shape[:2])
    return np.array(Image.fromarray(image).resize((cols, rows), Image.Resampling.BILINEAR))


def resize_by_floats(values: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Resize a map to the nearest, through floats in 0..1 and back."""
    highest = max(float(values.max()), 1.0)
    factors = [new / old for new, old in zip(shape, values.shape, strict=True)]
    return np.round(zoom(values.astype(float) / highest, factors, order=0) * highest).astype(int)


def run_crf(image: np.ndarray, seeds: np.ndarray, *, n_labels: int, prob: float) -> np.ndarray:
    """Spread the seeds; give the most probable label of every pixel."""
    rows, cols = seeds.shape
    field = dcrf.DenseCRF2D(rows, cols, n_labels)
    field.setUnaryEnergy(unary_from_labels(seeds, n_labels, gt_prob=prob))
    terms = {"kernel": dcrf.DIAG_KERNEL, "normalization": dcrf.NORMALIZE_SYMMETRIC}
    field.addPairwiseGaussian(sxy=(THETA, THETA), compat=SPACE_COMPAT, **terms)
    scales = (COLOR_SCALE,) * 3
    features = create_pairwise_bilateral(sdims=(THETA, THETA), schan=scales, img=image, chdim=2)
    field.addPairwiseEnergy(features, compat=COLOR_COMPAT, **terms)
    return np.argmax(field.inference(N_ITERATIONS), axis=0).reshape(rows, cols)


def draw_figure(
    path: Path, image: np.ndarray, shown: np.ndarray, classes: np.ndarray, names: list[str], shades: list[str]
) -> None:
    """Draw the photo, and over it what the tiles say and what the CRF makes of it."""
    figure = plt.figure()
    figure.subplots_adjust(wspace=0.4)
    draw_panel(figure.add_subplot(131), image, "a) input")
    for i, values, title in ((132, shown, "b) tiles"), (133, classes, "c) CRF")):
        axes = figure.add_subplot(i)
        draw_panel(axes, image, title)
        overlay = axes.imshow(values, cmap=ListedColormap(shades), alpha=0.5, vmin=0, vmax=len(names))
        bar = figure.colorbar(overlay, ax=axes, fraction=0.05)
        bar.set_ticks([0.5 + k for k in range(len(names))])
        bar.ax.set_yticklabels(names, fontsize=4)
    figure.savefig(path, dpi=300, bbox_inches="tight")
    plt.close(figure)


def draw_panel(axes: Any, image: np.ndarray, title: str) -> None:
    """Draw the photo at its full size."""
    axes.imshow(image)
    axes.set_title(title, loc="left", fontsize=6)
    axes.get_xaxis().set_visible(False)
    axes.get_yaxis().set_visible(False)


def read_peak_memory() -> float:
    """Return the most memory that this process ever had resident, in MiB; unlike getrusage, nothing of its parent's."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description="Segment one photo the classic way.")
    for name, kind in [*[(name, Path) for name in ("image", "model", "labels", "colors")], ("tile", int)]:
        parser.add_argument(name, type=kind)
    for name, kind in (("thresh", float), ("prob", float), ("decim", int), ("scale", float), ("out_dir", Path)):
        parser.add_argument(name, type=kind)
    given = parser.parse_args()
    seconds = run_reference(
        given.image, given.model, given.labels, given.colors, given.tile, given.thresh, given.prob, given.decim,
        given.scale, given.out_dir,
    )  # fmt: skip
    print(json.dumps({"seconds": seconds, "peak_mib": read_peak_memory()}))


if __name__ == "__main__":
    main()
