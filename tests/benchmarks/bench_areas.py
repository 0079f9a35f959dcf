"""How long it takes to paint many large areas on an image of 12 megapixels, in seconds of one processor.

    python tests/benchmarks/bench_areas.py

The worst cases that a file of annotations can hold.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import numpy as np

from hybridseg.io.annotations.doodles import Stroke
from hybridseg.io.annotations.painted import paint_annotations
from hybridseg.io.annotations.strokes import draw_strokes

ROWS, COLS, N = 3000, 4000, 2000


def show(name: str, paint: object, *words: object, **more: object) -> None:
    began = time.process_time()
    paint(*words, **more)  # type: ignore[operator]
    print(f"| {name} | {time.process_time() - began:.1f} s |", flush=True)


def list_points(points: np.ndarray) -> tuple[tuple[float, float], ...]:
    return tuple((float(row), float(col)) for row, col in points)


def main() -> None:
    rng, shape = np.random.default_rng(0), (ROWS, COLS)
    print("| areas | time |\n|---|---|")
    whole = [0, 0, COLS, 0, COLS, ROWS, 0, ROWS]
    coco = {
        "images": [{"id": 1, "file_name": "a.png", "height": ROWS, "width": COLS}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [{"image_id": 1, "category_id": 1, "segmentation": [whole]}] * N,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.json")
        path.write_text(json.dumps(coco))
        name = f"{N:,} polygons of a COCO file that each cover the whole image"
        show(name, paint_annotations, path, shape=shape, image_name="a.png")
    angles = np.linspace(0, 2 * np.pi, 50, endpoint=False)
    rings = [np.stack([1500 + 1490 * np.sin(angles + i), 2000 + 1990 * np.cos(angles + i)], 1) for i in range(N)]
    crossed = [rng.random((8, 2)) * shape for _ in range(N)]
    for name, outlines in (("ellipses of 50 corners", rings), ("polygons of 8 corners that cross themselves", crossed)):
        strokes = [Stroke("polygon", i % 5, 1.0, list_points(outline)) for i, outline in enumerate(outlines)]
        show(f"{N:,} {name}", draw_strokes, shape, strokes)
    angles = np.linspace(0, 2 * np.pi, 100_000, endpoint=False)
    ragged = np.stack([1500 + 1400 * np.sin(angles), 2000 + 1800 * np.cos(angles)], 1) + rng.random((100_000, 2)) * 40
    show("one polygon of 100,000 corners", draw_strokes, shape, [Stroke("polygon", 0, 1.0, list_points(ragged))])
    pen = Stroke("pen", 0, 10_000.0, list_points(rng.random((3000, 2)) * shape))
    show("one stroke of 3,000 points with a pen of 10,000 pixels", draw_strokes, shape, [pen])


if __name__ == "__main__":
    main()
