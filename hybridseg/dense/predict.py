"""Segment image files by dense networks, and write the label maps."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridseg.batch.jobs import Job, Outputs, load_once
from hybridseg.batch.madeby import make_record
from hybridseg.batch.results import ImageResult, write_confidence
from hybridseg.classes import VOID, ClassTable, measure_shares
from hybridseg.crf.refine import PIXEL_SECONDS
from hybridseg.dense.smoothing import SmoothingOptions, smooth_probs
from hybridseg.dense.windows import DenseOptions, find_size, predict_probs, predict_strips
from hybridseg.forecast import UNKNOWN, followed_by
from hybridseg.io.bands import match_bands
from hybridseg.io.images import ImageInfo, as_rgb8, load_image
from hybridseg.io.labels.formats import write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.models.bundles import DenseModel, load_dense
from hybridseg.panels import fit_page, show_result
from hybridseg.progress import Progress, StopWatch, no_progress
from hybridseg.resample import resize_image, resize_nearest
from hybridseg.sheets import draw_panels

_COMPOSITE, _CONFIDENCE = "_composite", "_confidence.tif"


@dataclass(frozen=True)
class PredictJob(Job):
    """Segment an image by dense networks."""

    options: DenseOptions = DenseOptions()
    smoothing: SmoothingOptions = SmoothingOptions()

    too_large = "cut it into parts, or leave the CRF out"

    def load(self) -> list[DenseModel]:
        """Load the networks, and check that the options suit them."""
        models = [load_once(load_dense, path, engine=self.engine) for path in self.model_paths]
        for model in models:
            self.options.choose_scale(model)
        return models

    def list_targets(self, image_path: Path) -> list[Path]:
        """List the label map, and what was asked for beside it."""
        endings = [".png", _CONFIDENCE] if self.outputs.probabilities else [".png"]
        targets = [_place(self.outputs, image_path, ending) for ending in endings]
        return [*targets, *self.outputs.list_figures(image_path, f"_{self.outputs.title}{_COMPOSITE}")]

    def list_places(self, image_path: Path) -> list[Path]:
        """List the same, and the label map with its place on Earth."""
        return [*self.list_targets(image_path), _place(self.outputs, image_path, ".tif")]

    def record(self, image_path: Path) -> str:
        """Return the record of how the label map of an image is made: of all alike."""
        return self.record_shape()

    def record_shape(self, _: tuple[int, int] = (0, 0)) -> str:
        """Return the same for an image of any rows and columns."""
        networks = self.load()
        return _make_record(networks, self.options, self.smoothing, self.table or networks[0].table)

    def segment(self, image_path: Path, *, progress: Progress = no_progress) -> ImageResult:
        """Segment one image and write the result."""
        return predict_file(
            image_path, self.load(), options=self.options, smoothing=self.smoothing, outputs=self.outputs,
            table=self.table, progress=progress,
        )  # fmt: skip


def predict_file(
    image_path: str | os.PathLike[str],
    models: Sequence[DenseModel],
    *,
    options: DenseOptions = DenseOptions(),
    smoothing: SmoothingOptions = SmoothingOptions(),
    outputs: Outputs = Outputs(),
    table: ClassTable | None = None,
    progress: Progress = no_progress,
) -> ImageResult:
    """Segment one image by loaded networks and write the result.

    Raises
    ------
    MissingInput, BadInput
        When the image cannot be read, or does not have the bands that the network takes.
    """
    image_path, table = Path(image_path), table or models[0].table
    watch = StopWatch()
    loaded = load_image(image_path).filled()
    valid, georeference = loaded.valid, loaded.info.georeference
    image, note = match_image(loaded.pixels, models, has_alpha=loaded.info.has_alpha)
    warnings = (*filter(None, [note]), *judge_scale(loaded.info, models, options))
    watch.lap("read")
    labels, confidence = predict_labels(
        image, models, options=options, smoothing=smoothing, valid=valid, want_confidence=outputs.probabilities,
        progress=progress,
    )  # fmt: skip
    watch.lap("predict")
    written = outputs.list_figures(image_path, f"_{outputs.title}{_COMPOSITE}")
    if outputs.figures:
        shape = fit_page(labels.shape, 2, dpi=outputs.figures.dpi)
        panels = show_result(as_rgb8(image), labels, table, shape=shape, heads=("image", "result"))
        draw_panels(written[-1], panels, dpi=outputs.figures.dpi)
    made_by = _make_record(models, options, smoothing, table)
    result = LabelMap(labels, table, georeference=georeference, made_by=made_by)
    if georeference is not None:
        written.append(_place(outputs, image_path, ".tif"))
        write_labelmap(written[-1], result)
    if confidence is not None:
        written.append(_place(outputs, image_path, _CONFIDENCE))
        write_confidence(written[-1], confidence, georeference)
    # Last: where it is, the others are too, and the image is done.
    written.insert(0, _place(outputs, image_path, ".png"))
    write_labelmap(written[0], result)
    watch.lap("write")
    return ImageResult(image_path, tuple(written), measure_shares(labels, table), warnings, watch.seconds)


def match_image(image: np.ndarray, models: Sequence[DenseModel], *, has_alpha: bool) -> tuple[np.ndarray, str]:
    """Return an image with the bands that the first network takes, see `hybridseg.io.bands.match_bands`."""
    model = models[0]
    return match_bands(image, model.card.architecture.n_bands, model=model.path.name, has_alpha=has_alpha)


def predict_labels(
    image: np.ndarray,
    models: Sequence[DenseModel],
    *,
    options: DenseOptions = DenseOptions(),
    smoothing: SmoothingOptions = SmoothingOptions(),
    valid: np.ndarray | None = None,
    want_confidence: bool = False,
    progress: Progress = no_progress,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Compute the class of every pixel of an image.

    Parameters
    ----------
    image : numpy.ndarray
        (rows, cols, bands).
    models : sequence of DenseModel
        Several vote.
    smoothing : SmoothingOptions
        Works at the size at which the first network sees the image.
    valid : numpy.ndarray or None
        (rows, cols) bool: the pixels that hold a picture. The others become VOID.

    Returns
    -------
    labels : numpy.ndarray
        (rows, cols) uint8.
    confidence : numpy.ndarray or None
        (rows, cols) float32: the probability of the most probable class, before any smoothing.
    """
    shape = (image.shape[0], image.shape[1])
    labels = np.empty(shape, np.uint8)
    confidence = np.empty(shape, np.float32) if want_confidence else None
    if not smoothing.any or want_confidence:
        hook = followed_by(progress, UNKNOWN if smoothing.any else 0.0)
        for start, probs in predict_strips(image, models, shape=shape, options=options, progress=hook):
            rows = slice(start, start + len(probs))
            labels[rows] = probs.argmax(axis=2)
            if confidence is not None:
                confidence[rows] = probs.max(axis=2)
    if smoothing.any:
        n_pixels = math.prod(find_size(image, models[0], options))
        hook = followed_by(progress, n_pixels * PIXEL_SECONDS * (smoothing.crf_from != "none"))
        probs = predict_probs(image, models, options=options, progress=hook)
        picture = resize_image(as_rgb8(image), (probs.shape[0], probs.shape[1]))
        labels = resize_nearest(smooth_probs(picture, probs, options=smoothing, progress=progress), shape)
    if valid is not None:
        labels[~valid] = VOID
        if confidence is not None:
            confidence[~valid] = np.nan
    return labels, confidence


def judge_scale(info: ImageInfo, models: Sequence[DenseModel], options: DenseOptions) -> tuple[str, ...]:
    """Return warnings about an image that is far from the scale at which the networks saw the world."""
    found = [
        model.card.view.judge(info, options.choose_scale(model), size=model.card.size)
        for model in models
        if model.card.view is not None
    ]
    return tuple(dict.fromkeys(filter(None, found)))


def _place(outputs: Outputs, image_path: Path, ending: str) -> Path:
    return outputs.place(image_path, f"_{outputs.title}{ending}")


def _make_record(
    models: Sequence[DenseModel], options: DenseOptions, smoothing: SmoothingOptions, table: ClassTable
) -> str:
    return make_record("dense", [model.path for model in models], table, options=options, smoothing=smoothing)
