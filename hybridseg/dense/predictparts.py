"""Segment image files of any size part by part, in memory that does not grow with their height."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.batch.jobs import Outputs, load_once
from hybridseg.batch.madeby import check_place
from hybridseg.batch.results import ImageResult
from hybridseg.classes import VOID
from hybridseg.dense.predict import PredictJob
from hybridseg.dense.windows import PIXEL_SECONDS, DenseOptions, cut_window, even_strips, plan_windows
from hybridseg.errors import BadInput
from hybridseg.forecast import Weighted
from hybridseg.io.images import describe_image
from hybridseg.io.labels.labeltiff import write_labelstrips
from hybridseg.io.rasters import Strips
from hybridseg.io.windows import open_lazily
from hybridseg.models.bundles import DenseModel, load_dense
from hybridseg.models.engines import LITERT
from hybridseg.progress import Progress, StopWatch, no_progress

# Rows of all columns are decoded at once up to this size, so that windows side by side share them.
_BAND_BYTES = 256 << 20


@dataclass(frozen=True)
class PartsJob(PredictJob):
    """Segment an image by a network, and write its label map alone: NAME.tif."""

    too_large = "save it as a TIFF, of which parts can be read"

    def load(self) -> list[DenseModel]:
        """Load the network, and check that it sees images as they are."""
        models = super().load()
        for model in models:
            if self.options.choose_scale(model) != 1:
                raise BadInput(
                    f"{model.path} was trained on images of another scale than their own; use it with "
                    "`hybridseg unet infer --name` or `hybridseg.segment`"
                )
        return models

    def list_targets(self, image_path: Path) -> list[Path]:
        """List the label map."""
        return [self.outputs.place(image_path, ".tif")]

    def list_places(self, image_path: Path) -> list[Path]:
        """List none: `segment` looks itself, as the place may be that of the image."""
        return []

    def segment(self, image_path: Path, *, progress: Progress = no_progress) -> ImageResult:
        """Segment one image and write the result."""
        (model,), (target,) = self.load(), self.list_targets(image_path)
        watch, table = StopWatch(), self.table or model.table
        if target.exists() and target.samefile(image_path):
            raise BadInput(f"its result would replace it; give another --output_folder than {target.parent}")
        check_place(target)
        info, n_bands = describe_image(image_path), model.card.architecture.n_bands
        if info.bands != n_bands:
            raise BadInput(f"has {info.bands} bands, but {model.path.name} was trained on images of {n_bands}")
        counts = np.zeros(VOID + 1, np.int64)

        def finish() -> Iterator[tuple[int, np.ndarray]]:
            for row, found in even_strips(classify_parts(image, model, options=self.options, progress=progress)):
                valid = image.find_valid(slice(row, row + len(found)))
                labels = found if valid is None else np.where(valid, found, np.uint8(VOID))
                counts[:] += np.bincount(labels.ravel(), minlength=VOID + 1)
                yield row, labels

        image = open_lazily(image_path)
        watch.lap("read")
        strips = Strips(info.shape, finish())
        write_labelstrips(target, strips, table, info.georeference, made_by=self.record(image_path))
        watch.lap("predict")
        kept = counts[: len(table)]
        shares = {table.names[i]: float(kept[i] / kept.sum()) for i in np.argsort(-kept, kind="stable") if kept[i]}
        return ImageResult(image_path, (target,), shares, (), watch.seconds)


def make_parts_job(path: Path, outputs: Outputs, *, engine: str = LITERT) -> PartsJob:
    """Return the job of a network: its windows share so much that their inner parts are what the whole image gives.

    Of a network that may see all of an image, as with a pretrained encoder, they share as much as usual.

    Raises
    ------
    MissingInput, BadInput
        When the network cannot be loaded.
    """
    model = load_once(load_dense, path, engine=engine)
    reach = getattr(model.card.architecture, "reach", None)
    options = DenseOptions() if reach is None else DenseOptions(overlap=2 * reach)
    return PartsJob((model.path,), outputs, engine=engine, options=options)


def classify_parts(
    image: Any,
    model: DenseModel,
    *,
    options: DenseOptions = DenseOptions(),
    progress: Progress = no_progress,
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the classes of the pixels of an image from top to bottom, from the inner parts of overlapping windows.

    Parameters
    ----------
    image : numpy.ndarray or LazyImage
        (rows, cols, bands).

    Yields
    ------
    start : int
    labels : numpy.ndarray
        (strip rows, cols) uint8.
    """
    n_rows, n_cols, n_bands = image.shape
    offset, factor = model.card.normalization.measure(image)
    plan = {"window": options.window, "overlap": options.overlap, "stride": model.card.architecture.stride}
    (height, rows), (width, cols) = (plan_windows(side, **plan) for side in (n_rows, n_cols))
    row_cuts, col_cuts = _cut_overlaps(rows, height, n_rows), _cut_overlaps(cols, width, n_cols)
    n_windows = len(rows) * len(cols)
    windows = Weighted(range(n_windows), height * width * PIXEL_SECONDS)
    steps = iter(progress(windows, label="windows") if n_windows > 1 else range(n_windows))
    has_band = height * n_cols * n_bands * 4 <= _BAND_BYTES
    for row, (top, bottom) in zip(rows, pairwise(row_cuts), strict=True):
        labels = np.empty((bottom - top, n_cols), np.uint8)
        band = image[row : row + height] if has_band else None
        for col, (left, right) in zip(cols, pairwise(col_cuts), strict=True):
            next(steps)
            whole, start = (image, row) if band is None else (band, 0)
            pixels = (cut_window(whole, start, col, height, width) - offset) * factor
            found = model.predict(pixels[None])[0, top - row : bottom - row, left - col : right - col]
            labels[:, left:right] = found.argmax(axis=2)
        yield top, labels
    next(steps, None)


def _cut_overlaps(starts: list[int], size: int, side: int) -> list[int]:
    """Return where one window takes over from the one before: in the middle of what they share.

    Examples
    --------
    >>> _cut_overlaps([0, 128, 256], 256, 500)
    [0, 192, 320, 500]
    """
    return [0, *((before + size + start) // 2 for before, start in pairwise(starts)), side]
