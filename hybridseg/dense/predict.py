"""Give every pixel of photographs a class by dense networks, and write it in every form in which it is used."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridseg.batch.results import BatchResult, ImageResult, measure_shares, work_through, write_confidence
from hybridseg.classes import VOID, ClassTable
from hybridseg.dense.smoothing import SmoothingOptions, smooth_probs
from hybridseg.dense.windows import DenseOptions, predict_probs, predict_strips
from hybridseg.figures import tint_image
from hybridseg.io.atomic import claim_folder
from hybridseg.io.images import as_rgb8, load_image, write_image
from hybridseg.io.labels.formats import write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.models.bundles import DenseModel
from hybridseg.progress import Progress, StopWatch, no_progress
from hybridseg.resample import resize_image, resize_nearest


@dataclass(frozen=True)
class PredictOutputs:
    """What is written beside the label map.

    Parameters
    ----------
    out_dir : pathlib.Path or None
        None: beside each image.
    composite : bool
        The image with the colours of its classes laid over it.
    probabilities : bool
        A map of how sure the network is.
    resume : bool
        Leave out images that have a result.
    """

    out_dir: Path | None = None
    composite: bool = True
    probabilities: bool = False
    resume: bool = False


def predict_files(
    image_paths: Sequence[Path],
    models: Sequence[DenseModel],
    *,
    options: DenseOptions = DenseOptions(),
    smoothing: SmoothingOptions = SmoothingOptions(),
    outputs: PredictOutputs = PredictOutputs(),
    table: ClassTable | None = None,
    progress: Progress = no_progress,
    on_done: Callable[[ImageResult], None] = lambda _: None,
) -> BatchResult:
    """Segment images one by one; one that cannot be used does not stop the others.

    Parameters
    ----------
    image_paths : sequence of pathlib.Path
    models : sequence of DenseModel
        Several vote.
    options : DenseOptions
    smoothing : SmoothingOptions
    outputs : PredictOutputs
    table : ClassTable or None
        The classes of the first network with other colours; default: its own.
    progress : Progress
    on_done : callable
        Told of every image as soon as it is done.

    Returns
    -------
    BatchResult

    Raises
    ------
    WriteFailed
        When nothing can be written in the folder of the results.
    MissingPackage
        When a CRF is wanted and there is no engine for it.
    """
    if outputs.out_dir is not None:
        claim_folder(outputs.out_dir)

    def work(path: Path) -> ImageResult:
        return predict_file(
            path, models, options=options, smoothing=smoothing, outputs=outputs, table=table, progress=progress
        )

    return work_through(
        image_paths,
        work,
        targets_of=lambda path: [_result_path(path, outputs, ".png")],
        resume=outputs.resume,
        too_large="give it in parts, or leave the CRF out",
        progress=progress,
        on_done=on_done,
    )


def predict_file(
    image_path: str | os.PathLike[str],
    models: Sequence[DenseModel],
    *,
    options: DenseOptions = DenseOptions(),
    smoothing: SmoothingOptions = SmoothingOptions(),
    outputs: PredictOutputs = PredictOutputs(),
    table: ClassTable | None = None,
    progress: Progress = no_progress,
) -> ImageResult:
    """Segment one image and write the result.

    Raises
    ------
    MissingInput, BadInput
        When the image cannot be read, or has other bands than the network takes.
    """
    image_path, table = Path(image_path), table or models[0].table
    watch = StopWatch()
    loaded = load_image(image_path).filled()
    image, valid, georeference = loaded.pixels, loaded.valid, loaded.info.georeference
    watch.lap("read")
    labels, confidence = predict_labels(
        image, models, options=options, smoothing=smoothing, want_confidence=outputs.probabilities, progress=progress
    )
    watch.lap("predict")
    if valid is not None:
        labels[~valid] = VOID
        if confidence is not None:
            confidence[~valid] = np.nan
    written = []
    if outputs.composite:
        written.append(_result_path(image_path, outputs, "_composite.jpg"))
        write_image(written[-1], tint_image(as_rgb8(image), labels, table))
    result = LabelMap(labels, table, georeference=georeference)
    if georeference is not None:
        written.append(_result_path(image_path, outputs, ".tif"))
        write_labelmap(written[-1], result)
    if confidence is not None:
        written.append(_result_path(image_path, outputs, "_confidence.tif"))
        write_confidence(written[-1], confidence, georeference)
    # Last: where it is, the others are too, and the image is done.
    written.insert(0, _result_path(image_path, outputs, ".png"))
    write_labelmap(written[0], result)
    watch.lap("write")
    return ImageResult(image_path, tuple(written), measure_shares(labels, table), (), watch.seconds)


def predict_labels(
    image: np.ndarray,
    models: Sequence[DenseModel],
    *,
    options: DenseOptions = DenseOptions(),
    smoothing: SmoothingOptions = SmoothingOptions(),
    want_confidence: bool = False,
    progress: Progress = no_progress,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Give every pixel of an image a class.

    Parameters
    ----------
    image : numpy.ndarray
        (rows, cols, bands).
    models, options, smoothing, progress
        As for `predict_files`. The smoothing works at the size at which the first network sees the image.
    want_confidence : bool

    Returns
    -------
    labels : numpy.ndarray
        (rows, cols) uint8.
    confidence : numpy.ndarray or None
        (rows, cols) float32: what the networks say of the likeliest class, before any smoothing.
    """
    shape = (image.shape[0], image.shape[1])
    labels = np.empty(shape, np.uint8)
    confidence = np.empty(shape, np.float32) if want_confidence else None
    if not smoothing.any or want_confidence:
        for start, probs in predict_strips(image, models, shape=shape, options=options, progress=progress):
            rows = slice(start, start + len(probs))
            labels[rows] = probs.argmax(axis=2)
            if confidence is not None:
                confidence[rows] = probs.max(axis=2)
    if smoothing.any:
        probs = predict_probs(image, models, options=options, progress=progress)
        picture = resize_image(as_rgb8(image), (probs.shape[0], probs.shape[1]))
        labels = resize_nearest(smooth_probs(picture, probs, options=smoothing, progress=progress), shape)
    return labels, confidence


def _result_path(image_path: Path, outputs: PredictOutputs, ending: str) -> Path:
    folder = image_path.parent if outputs.out_dir is None else outputs.out_dir
    return folder / f"{image_path.stem}_predseg{ending}"
