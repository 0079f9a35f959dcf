"""Speed of training and of tile classification, beside the rivals in the same run: ``make bench``.

The rivals are the way of the classic program (a new session for each tile), and one session with one tile at a time.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from hybridseg.demo.scenes.scene import make_scene
from hybridseg.hybrid.classifier import RetrainOptions, RetrainPaths
from hybridseg.hybrid.head import HeadOptions, HeadTrainer, train_head
from hybridseg.hybrid.retrain import retrain
from hybridseg.io.images import write_image
from hybridseg.machine import count_cores
from hybridseg.models.engines import TensorFlowEngine
from hybridseg.models.graphs import FrozenGraph, parse_graph, read_content
from hybridseg.models.startup import import_tensorflow
from hybridseg.models.store import load_classifier

TILE, N_TILES, N_CLASSES = 96, 2000, 10
ROUNDS = 5


def write_tiles(folder: Path) -> np.ndarray:
    """Cut 2,000 tiles from demo scenes into ten class folders; give 512 of them as an array."""
    tiles = []
    for seed in range(12):
        image = make_scene(seed).image
        tiles += [image[r : r + TILE, c : c + TILE] for r in range(0, 672, 48) for c in range(0, 1056, 72)]
    for i, tile in enumerate(tiles[:N_TILES]):
        write_image(folder / f"class_{i % N_CLASSES}" / f"photo{i // 100}_r{i}_c0.jpg", tile, durable=False)
    return np.stack(tiles[:512])


def bench_training(folder: Path, tiles_dir: Path) -> Path:
    """Print the time of caching features, of reading them again, and of training the head."""
    paths = RetrainPaths(tiles_dir, folder / "model.pb", folder / "labels.txt", folder / "bottlenecks")
    options = RetrainOptions(head=HeadOptions(how_many_training_steps=1))
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        retrain(paths, options=options)
        seconds.append(time.perf_counter() - start)
    print(f"\nretrain of {N_TILES} tiles, one step, model written (input size {options.input_size})")
    features_took = seconds[0] - seconds[1]
    print(f"  first run {seconds[0]:.1f} s, second {seconds[1]:.1f} s: features took {features_took:.1f} s (asked: 30)")
    [cache] = (folder / "bottlenecks").iterdir()
    start = time.perf_counter()
    features = np.array(np.load(cache / "features.npy", mmap_mode="r"))
    print(f"  reading the cache {time.perf_counter() - start:.3f} s (asked: under 1)")
    class_ids = np.arange(len(features)) % N_CLASSES
    start = time.perf_counter()
    trainer = HeadTrainer(features, class_ids, n_classes=N_CLASSES, options=HeadOptions())
    train_head(trainer, validation_features=features[:200], validation_ids=class_ids[:200])
    print(f"  head, 4000 steps of 100: {time.perf_counter() - start:.1f} s (asked: under 10)")
    return folder / "model.pb"


def rate_new_sessions(graph: FrozenGraph, tiles: np.ndarray, n: int) -> float:
    """Tiles a second of the classic way: a session for each tile."""
    import tensorflow as tf

    loaded = tf.Graph()
    with loaded.as_default():
        tf.import_graph_def(graph.definition, name="")
    start = time.perf_counter()
    for i in range(n):
        with tf.compat.v1.Session(graph=loaded) as session:
            session.run(graph.output_name, {graph.input_name: tiles[i : i + 1]})
    return n / (time.perf_counter() - start)


def rate_single(engine: TensorFlowEngine, tiles: np.ndarray, n: int) -> float:
    """Tiles a second of one session, one tile at a time."""
    start = time.perf_counter()
    for i in range(n):
        engine.classify(tiles[i : i + 1])
    return n / (time.perf_counter() - start)


def bench_classification(model_path: Path, tiles: np.ndarray) -> None:
    """Print paired rates and the medians of their ratios."""
    graph = parse_graph(model_path, read_content(model_path))
    scaled = tiles.astype(np.float32) / np.float32(255)
    reference = TensorFlowEngine(graph)
    start = time.perf_counter()
    classifier = load_classifier(model_path)
    loading = time.perf_counter() - start
    print(f"\nclassification of {TILE} px tiles (loading took {loading:.1f} s, engine {classifier.engine_name})")
    reference.classify(scaled[:32])
    same = (reference.classify(scaled).argmax(axis=1) == classifier.classify(tiles).argmax(axis=1)).mean()
    ratios: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        classic, single = rate_new_sessions(graph, scaled, 6), rate_single(reference, scaled, 100)
        start = time.perf_counter()
        reference.classify(scaled)
        batched = len(tiles) / (time.perf_counter() - start)
        start = time.perf_counter()
        classifier.classify(tiles)
        own = len(tiles) / (time.perf_counter() - start)
        ratios.append((own / classic, own / single))
        print(
            f"  new session a tile {classic:6.1f}   one at a time {single:6.1f}   TensorFlow batches {batched:6.1f}   "
            f"hybridseg {own:7.1f} tiles/s   {ratios[-1][0]:6.1f} and {ratios[-1][1]:4.1f} times"
        )
    medians = [statistics.median(column) for column in zip(*ratios, strict=True)]
    print(f"  medians {medians[0]:.1f} times (asked: 50, aim: 100) and {medians[1]:.1f} times (asked: 3, aim: 5)")
    print(f"  the same class as TensorFlow on {same:.2%} of {len(tiles)} tiles")


def main() -> None:
    """Print every figure."""
    import_tensorflow()
    import tensorflow as tf

    print(f"{count_cores()} cores, Python {sys.version.split()[0]}, TensorFlow {tf.__version__}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tiles = write_tiles(folder / "tiles")
        bench_classification(bench_training(folder, folder / "tiles"), tiles)


if __name__ == "__main__":
    main()
