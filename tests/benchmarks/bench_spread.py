"""How right is what comes of scribbles, and how long does a person wait? On drawn scenes, and on photos if given.

The scribbles are drawn by a program that knows the truth: thin strokes in the large pieces of each class. What other
programs make of the same scribbles stands beside it, restated in `rivals`.

    python tests/benchmarks/bench_spread.py ../shared/data/obx ../shared/data/satshore4
"""

from __future__ import annotations

import io
import itertools
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from bench_retile import COLS, ROWS, enlarge
from PIL import Image
from rivals import run_doodler, run_ilastik
from scipy import ndimage

from hybridseg.classes import VOID, ClassTable
from hybridseg.confusion import count_confusion, pool_confusions
from hybridseg.demo.scenes.scene import make_scene
from hybridseg.demo.scenes.scribbles import draw_scribbles
from hybridseg.hybrid.segmentation import reduce_image
from hybridseg.io.annotations.strokes import mask_to_points
from hybridseg.io.images import write_image
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.rasters import quiet_rasterio
from hybridseg.io.windows import open_windows
from hybridseg.labelling.album import Album
from hybridseg.labelling.preview import Previewer
from hybridseg.labelling.session import LabelSession
from hybridseg.labelling.spreading import SpreadOptions, spread_seeds
from hybridseg.learning.experience import Experience, Lessons
from hybridseg.learning.features import FEATURES, NONE
from hybridseg.resample import resize_nearest

N_SCENES, N_PHOTOS = 6, 12
# Which strokes are left out changes mean IoU by several hundredths.
N_DRAWS = 5
Pairs = list[tuple[np.ndarray, np.ndarray]]


def spread(options: SpreadOptions, image: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    small = reduce_image(image, options.scale_for(seeds.shape))
    n_classes = int(seeds.max())
    return spread_seeds(small, seeds, n_classes=n_classes, options=options.constants, features=options.features)


def rival(run: Callable[..., np.ndarray], image: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    return run(reduce_image(image[..., :3], SpreadOptions().scale_for(seeds.shape)), seeds)


METHODS = [
    *((f"features {kind}", partial(spread, SpreadOptions(features=kind))) for kind in FEATURES),
    *((f"none, scale {scale}", partial(spread, SpreadOptions(scale, features=NONE))) for scale in (0.2, 0.5, 1.0)),
    ("as Doodler", partial(rival, run_doodler)),
    ("as ilastik", partial(rival, partial(run_ilastik, crf=False))),
    ("as ilastik, CRF", partial(rival, partial(run_ilastik, crf=True))),
]


def bench(name: str, pairs: Pairs, *, n_draws: int = N_DRAWS) -> None:
    """Print what each method makes of all strokes and, drawn so many times, of half of them."""
    print(f"{len(pairs)} {name} of {pairs[0][0].shape[0]} x {pairs[0][0].shape[1]} pixels")
    for method, run in METHODS:
        told = []
        for share, n_times in ((1.0, 1), (0.5, n_draws))[: 1 + (n_draws > 0)]:
            began = time.process_time()
            scores = score(
                pairs,
                lambda i, image, seeds, run=run, share=share: run(image, leave_out(seeds, share, seed=i)),
                n_draws=n_times,
            )
            told.append(f"{scores}, {(time.process_time() - began) / len(pairs) / n_times:.1f} s of a core")
        print(f"  {method:18} {' each; with half of the strokes '.join(told)}", flush=True)


def bench_others(pairs: Pairs) -> None:
    """Print what some strokes give, with and without what all strokes on the last nine other images teach."""
    options, experience = SpreadOptions(), Experience()
    keys = [str(i) for i in range(len(list_classes(pairs)))]

    def run(i: int, image: np.ndarray, seeds: np.ndarray, *, n: float, weight: float, keeps: bool) -> np.ndarray:
        small, few = reduce_image(image, options.scale_for(seeds.shape)), leave_out(seeds, n, seed=i)
        lessons = Lessons(experience, str(i % len(pairs)), keys, weight, keeps)
        return spread_seeds(
            small, few, n_classes=len(keys), options=options.constants, features=options.features, lessons=lessons
        )

    score(pairs, partial(run, n=1.0, weight=0, keeps=True))
    for n, name in ((1, "1 stroke of each class"), (2, "2 strokes"), (3, "3 strokes"), (0.5, "half"), (1.0, "all")):
        n_draws = 1 if n == 1.0 and isinstance(n, float) else N_DRAWS
        told = [
            f"{weight}: {score(pairs, partial(run, n=n, weight=weight, keeps=False), n_draws=n_draws)}"
            for weight in (0, options.others)
        ]
        print(f"  {name}, others weigh {'; '.join(told)}", flush=True)


def bench_windows(pairs: Pairs) -> None:
    """Print what the live result shows of all strokes in nine windows of each image, and with each window by itself."""

    def run(_: int, image: np.ndarray, seeds: np.ndarray, *, by_itself: bool) -> np.ndarray:
        seen = [np.array_split(np.arange(size), 3) for size in seeds.shape]
        found = np.zeros(seeds.shape, np.uint8)
        for rows, cols in itertools.product(*seen):
            kept = np.zeros_like(seeds)
            # As far as the CRF sees.
            near = np.s_[max(rows[0] - 60, 0) : rows[-1] + 60, max(cols[0] - 60, 0) : cols[-1] + 60]
            kept[near] = seeds[near]
            window = int(rows[0]), int(cols[0]), len(rows), len(cols)
            found[np.ix_(rows, cols)] = show_window(image, kept if by_itself else seeds, window)
        return found

    for by_itself in (False, True):
        print(
            f"  nine windows{', each by itself' * by_itself}: {score(pairs, partial(run, by_itself=by_itself))}",
            flush=True,
        )


def show_window(image: np.ndarray, seeds: np.ndarray, window: tuple[int, int, int, int]) -> np.ndarray:
    """Return the class ids that the page shows in a window once it has looked at all strokes; 0 where it has none."""
    n_classes = max(int(seeds.max()), 1)
    with open_session(image, ClassTable.from_names([f"class {i}" for i in range(n_classes)])) as (session, image_id):
        for i, class_seed in enumerate(np.unique(seeds[seeds > 0])):
            points = [list(point) for point in mask_to_points(seeds == class_seed)]
            stroke = {
                "layer": "scribbles",
                "tool": "region",
                "class": int(class_seed) - 1,
                "width": 1,
                "points": points,
            }
            session.add_stroke(image_id, i + 1, stroke)
        previewer, opened = Previewer(), session.album.open(image_id)[1]
        while (found := previewer.preview(opened, window, session.options)) and not found.is_last:
            pass
    if found is None:
        return np.zeros(window[2:], np.uint8)
    shown = np.asarray(Image.open(io.BytesIO(found.picture)))
    return resize_nearest(np.maximum(shown, 1) - 1, window[2:])


def score(pairs: Pairs, run: Callable[[int, np.ndarray, np.ndarray], np.ndarray], *, n_draws: int = 1) -> str:
    """Return accuracy and mean IoU over all pixels that the scribbles, all of them, do not cover.

    `run` gets the number of the image, and another one each time that it gets the image again.
    """
    table, counted = list_classes(pairs), []
    for i, (image, labels) in enumerate(pairs * n_draws):
        seeds = draw_scribbles(np.where(labels == VOID, 0, labels), rng=np.random.default_rng(i % len(pairs)))
        seeds = np.where(labels == VOID, 0, seeds).astype(np.uint8)
        counted.append(count_confusion(np.where(seeds > 0, VOID, labels), run(i, image, seeds), table))
    scores = pool_confusions(counted)
    return f"accuracy {scores.accuracy:.3f}, mean IoU {scores.macro('iou'):.3f}"


def list_classes(pairs: Pairs) -> ClassTable:
    n_classes = max(labels[labels != VOID].max() for _, labels in pairs) + 1
    return ClassTable.from_names([f"class {i}" for i in range(n_classes)])


def leave_out(seeds: np.ndarray, kept: float, *, seed: int) -> np.ndarray:
    """Keep some strokes of each class, at least one: a share, or from 1 a number of them (1.0 is all)."""
    if kept == 1.0 and isinstance(kept, float):
        return seeds
    rng, found = np.random.default_rng(seed), np.zeros_like(seeds)
    for class_seed in np.unique(seeds[seeds > 0]):
        strokes, n_strokes = ndimage.label(seeds == class_seed, np.ones((3, 3)))
        n_kept = kept if isinstance(kept, int) else max(round(kept * n_strokes), 1)
        found[np.isin(strokes, rng.permutation(n_strokes)[:n_kept] + 1)] = class_seed
    return found


def read_photos(folder: Path) -> Pairs:
    """Read some of the labelled photos of a folder with images/, masks/ and classes.json, evenly spread."""
    listed = folder / "train.txt"
    names = listed.read_text().split() if listed.exists() else sorted(p.stem for p in folder.glob("images/*"))
    table, pairs = ClassTable.from_names(json.loads((folder / "classes.json").read_text())["classes"]), []
    for name in names[:: len(names) // N_PHOTOS][:N_PHOTOS]:
        labels = read_labelmap(folder / "masks" / f"{name}.png", table=table).labels
        pairs.append((read_whole(next(folder.glob(f"images/{name}.*"))), labels))
    return pairs


def read_whole(path: Path) -> np.ndarray:
    """Read an image with all its bands, as the page does."""
    windows = open_windows(path)
    return windows.read_all(slice(0, windows.shape[0]), slice(0, windows.shape[1]), windows.shape)


def take_picture(image: np.ndarray, sensor: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return what is read of an image, (rows, cols, 3) uint8, that a sensor has put into a TIFF."""
    import rasterio

    bands = sensor(image)
    with tempfile.TemporaryDirectory() as folder, quiet_rasterio():
        path = Path(folder, "a.tif")
        with rasterio.open(path, "w", "GTiff", *bands.shape[1::-1], bands.shape[2], dtype=bands.dtype) as file:
            file.write(bands.transpose(2, 0, 1))
        return read_whole(path)


SENSORS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "without colours": lambda image: image.mean(axis=2, keepdims=True).astype(np.uint8),
    "dark, of 16 bits": lambda image: image.astype(np.uint16) * 8 + 300,
}


def measure_waits() -> None:
    """Print how long the live result takes: the first of a window, which computes features, and the next one."""
    scene = make_scene(100)
    square, photo = (reduce_image(scene.image, scale) for scale in (1.0, 0.8))
    large, part, whole = enlarge(scene.image), (1500, 2000, 1000, 1500), (0, 0, ROWS, COLS)
    cases = [
        ("500 x 500 pixels", square[:500, :500], (0, 0, 500, 500), (0, 0, 500, 500)),
        (f"{photo.shape[0]} x {photo.shape[1]} pixels", photo, (0, 0, *photo.shape[:2]), (0, 0, *photo.shape[:2])),
        (f"1000 x 1500 pixels in view of {ROWS} x {COLS}", large, part, part),
        ("the same, with strokes on the whole image", large, part, whole),
        (f"all of {ROWS} x {COLS} in view", large, whole, whole),
    ]
    for told, image, window, drawn in cases:
        first, *rest = time_previews(image, window, drawn)
        print(f"{told}: first result {first[0]:.2f} s ({first[1]:.2f} of a core), after a stroke", end=" ")
        print(f"{np.median([s[0] for s in rest]):.2f} s ({np.median([s[1] for s in rest]):.2f} of a core)", end=", ")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"peak memory so far {peak:.2f} GiB", flush=True)


@contextmanager
def open_session(image: np.ndarray, table: ClassTable) -> Iterator[tuple[LabelSession, str]]:
    """Yield a session with an image, and the id that it has there."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.png"
        write_image(path, image)
        session = LabelSession(Album([path], table=table))
        yield session, session.album.list_images()[0]["id"]


def time_previews(
    image: np.ndarray, window: tuple[int, int, int, int], drawn: tuple[int, int, int, int]
) -> Iterator[tuple[float, float]]:
    """Draw strokes in a part of an image; yield the seconds of each preview of a window, by the clock and of a core."""
    with open_session(image, ClassTable.from_names([f"class {i}" for i in range(6)])) as (session, image_id):
        previewer, (top, left, rows, cols) = Previewer(), drawn
        for i in range(12):
            row, col = top + rows * (i % 6 + 0.5) / 6, left + cols * (0.1 + 0.4 * (i // 6))
            points = [[row, col], [row, col + cols * 0.3]]
            stroke = {"layer": "scribbles", "tool": "pen", "class": i % 6, "width": rows / 100, "points": points}
            session.add_stroke(image_id, i + 1, stroke)
            if i > 5:
                began = time.perf_counter(), time.process_time()
                previewer.preview(session.album.open(image_id)[1], window, session.options)
                yield time.perf_counter() - began[0], time.process_time() - began[1]


def main() -> None:
    measure_waits()
    scenes = [(scene.image, scene.labels) for scene in map(make_scene, range(100, 100 + N_SCENES))]
    bench("synthetic scenes", scenes)
    bench_windows(scenes)
    bench_others(scenes)
    for name, sensor in SENSORS.items():
        seen = [(take_picture(image, sensor), labels) for image, labels in scenes]
        bench(f"the same scenes, {name},", seen, n_draws=0)
    for folder in sys.argv[1:]:
        photos = read_photos(Path(folder))
        bench(f"images of {photos[0][0].shape[2]} bands from {folder}", photos)
        bench_windows(photos)
        bench_others(photos)


if __name__ == "__main__":
    main()
