"""How long it takes to paint many large areas on an image of 12 megapixels, in seconds of one processor.

    python tests/benchmarks/bench_areas.py

The worst cases that a file of annotations can hold.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.io.annotations.canvas import Mask
from hybridseg.io.annotations.doodles import Stroke
from hybridseg.io.annotations.painted import paint_annotations
from hybridseg.io.annotations.runlengths import Rle, encode_rle, pack_counts
from hybridseg.io.annotations.strokes import draw_strokes

ROWS, COLS, N = 3000, 4000, 2000


def show(name: str, paint: object, *words: object, **more: object) -> None:
    began = time.process_time()
    paint(*words, **more)  # type: ignore[operator]
    print(f"| {name} | {time.process_time() - began:.1f} s |", flush=True)


def list_points(points: np.ndarray) -> tuple[tuple[float, float], ...]:
    return tuple((float(row), float(col)) for row, col in points)


def show_coco(name: str, areas: list[Any]) -> None:
    """Show how long it takes to read and paint a file that has each of some areas as often as the others."""
    rows = [{"image_id": 1, "category_id": 1, "segmentation": areas[i % len(areas)]} for i in range(N)]
    coco = {
        "images": [{"id": 1, "file_name": "a.png", "height": ROWS, "width": COLS}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": rows,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.json")
        path.write_text(json.dumps(coco))
        size = f" ({path.stat().st_size / 1e6:.0f} MB)"
        show(f"{N:,} {name}{size}", paint_annotations, path, shape=(ROWS, COLS), image_name="a.png")


def draw_disc(row: float, col: float) -> Rle:
    rows, cols = np.ogrid[:ROWS, :COLS]
    inside = (rows - row) ** 2 + (cols - col) ** 2 < ROWS * COLS / 10 / np.pi
    return encode_rle(Mask(inside), (ROWS, COLS))


def main() -> None:
    rng, shape = np.random.default_rng(0), (ROWS, COLS)
    print("| areas | time |\n|---|---|")
    whole = [0, 0, COLS, 0, COLS, ROWS, 0, ROWS]
    show_coco("polygons of a COCO file that each cover the whole image", [[whole]])
    discs = [draw_disc(rng.uniform(620, ROWS - 620), rng.uniform(620, COLS - 620)) for _ in range(10)]
    strips = [encode_rle(Mask(np.ones((ROWS // 10, COLS), bool), (200 * i, 0)), shape) for i in range(10)]
    for name, areas in (("a disc", discs), ("a strip across the image", strips)):
        for form, pack in (("run lengths", np.ndarray.tolist), ("packed run lengths", pack_counts)):
            found = [{"size": shape, "counts": pack(area.counts)} for area in areas]
            show_coco(f"masks of a COCO file, {name} of a tenth of the image each, as {form}", found)
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
