"""Use models, as `semseg`, `fcn infer`, `resunet segment`, `unet infer` and `predict` do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

from hybridseg.api.arguments import PATH_TYPES, Config, find_config, find_path, list_paths
from hybridseg.api.calls import public_function, show_progress
from hybridseg.apply import Model, PathLike, find_model, segment_files
from hybridseg.batch.jobs import Outputs, run_jobs
from hybridseg.batch.results import BatchResult
from hybridseg.dense.programs.resunet import choose_smoothing
from hybridseg.dense.smoothing import SmoothingOptions
from hybridseg.dense.windows import DenseOptions
from hybridseg.errors import BadUsage
from hybridseg.figures import FigureOptions
from hybridseg.hybrid.segmentation import HybridOptions
from hybridseg.io.labels.classfiles import read_colors
from hybridseg.io.pairing import find_images
from hybridseg.machine import MemoryOptions
from hybridseg.oneimage import SegmentedImage, segment_pixels
from hybridseg.prediction import PredictionOptions, make_prediction
from hybridseg.progress import Progress


@public_function()
def open_model(path: PathLike, *more: PathLike, labels: PathLike | None = None, tile_size: int | None = None) -> Model:
    """Open a model: a tile classifier or a dense network, as its files say.

    Parameters
    ----------
    path
        ``NAME.pb`` of a tile classifier, ``NAME.h5`` of a dense network, or the folder of one.
    more
        Others of the same kind and the same classes, which vote along.
    labels, tile_size
        The class file, and the side of the tiles in pixels, of a ``.pb`` of the classic script that does not say them.

    Returns
    -------
    Model
        With its `classes`. It can be pickled.

    Examples
    --------
    >>> import hybridseg as hs
    >>> hs.open_model("model.pb")  # doctest: +SKIP
    <Model: tile classifier model.pb, tiles of 96 pixels; classes: water, sand, vegetation>
    """
    model = Model(tuple(map(find_model, (path, *more))), labels_path=find_path(labels), tile_size=tile_size)
    model.make_job().load()
    return model


@overload
def segment(
    images: PathLike | Any,
    model: Model | PathLike,
    *,
    out: None = None,
    options: HybridOptions | DenseOptions | None = None,
    smoothing: SmoothingOptions | Config | None = None,
    colors: PathLike | None = None,
    max_memory: float | None = MemoryOptions.max_memory,
    progress: Progress | None = None,
) -> SegmentedImage: ...


@overload
def segment(
    images: PathLike | Iterable[PathLike],
    model: Model | PathLike,
    *,
    out: PathLike,
    options: HybridOptions | DenseOptions | None = None,
    smoothing: SmoothingOptions | Config | None = None,
    colors: PathLike | None = None,
    probabilities: bool = Outputs.probabilities,
    keep_seeds: bool = Outputs.keep_seeds,
    report: bool = Outputs.report,
    figures: FigureOptions | None = FigureOptions(),
    n_jobs: int = 1,
    max_memory: float | None = MemoryOptions.max_memory,
    resume: bool = False,
    progress: Progress | None = None,
) -> BatchResult: ...


@public_function(Outputs, MemoryOptions)
def segment(
    images: PathLike | Iterable[PathLike] | Any,
    model: Model | PathLike,
    *,
    out: PathLike | None = None,
    options: HybridOptions | DenseOptions | None = None,
    smoothing: SmoothingOptions | Config | None = None,
    colors: PathLike | None = None,
    probabilities: bool = Outputs.probabilities,
    keep_seeds: bool = Outputs.keep_seeds,
    report: bool = Outputs.report,
    figures: FigureOptions | None = FigureOptions(),
    n_jobs: int = 1,
    max_memory: float | None = MemoryOptions.max_memory,
    resume: bool = False,
    progress: Progress | None = None,
) -> SegmentedImage | BatchResult:
    """Classify every pixel of an image; with `out`, of any number of images, whose label maps are written there.

    Parameters
    ----------
    images
        A photo, by its path or as an array of (rows, cols, bands), of which values wider than 8 bits are stretched
        between their 1st and 99th percentile, as those of files are. With `out` also a folder, a pattern such as
        ``photos/2016*.jpg``, or several of these.
    model
        As `open_model` returns it, or the path of one.
    out
        Folder of the results: the same files as the commands write.
    options
        HybridOptions for a tile classifier, DenseOptions for a dense network; by default the best settings, with what
        ``hybridseg tune-crf`` found for the model.
    smoothing
        SmoothingOptions: what comes after a dense network; or the config of a residual U-Net, which says that.
    colors
        A file of other colours for the classes.
    figures
        FigureOptions: resolution and format of the figure of each image; None for no figures.
    n_jobs
        Processes that work at once. More than one needs ``if __name__ == "__main__":`` in a script.
    resume
        Leave out images whose result was made by the same model with the same settings.

    Returns
    -------
    SegmentedImage or BatchResult
        Without `out` the result itself: `labels`, `confidence`, `classes`, `georeference`, `save(path)`. With it the
        files that were written, and what could not be used.

    Examples
    --------
    >>> import hybridseg as hs
    >>> found = hs.segment("photo.jpg", "model.pb")  # doctest: +SKIP
    >>> found.save("photo_classes.png")  # doctest: +SKIP
    >>> hs.segment("photos", "model.pb", out="results")  # doctest: +SKIP
    <BatchResult: 12 images done>
    """
    model = model if isinstance(model, Model) else open_model(model)
    if smoothing is not None and not isinstance(smoothing, SmoothingOptions):
        smoothing = choose_smoothing(find_config(smoothing))
    table = None if colors is None else read_colors(colors, model.classes, owner=model.paths[0])
    progress = progress or show_progress()
    if (keep_seeds or report) and not model.is_classifier:
        raise BadUsage("keep_seeds and report are for tile classifiers; leave them out for a dense network")
    if out is not None:
        if hasattr(images, "shape") or (isinstance(images, list | tuple) and any(hasattr(i, "shape") for i in images)):
            raise BadUsage("files are called after photos, and an array has no name: leave --out out, then save(path)")
        return segment_files(
            list_paths(images), model, options=options, smoothing=smoothing, table=table, n_jobs=n_jobs,
            outputs=Outputs(Path(out), figures, probabilities=probabilities, keep_seeds=keep_seeds, report=report),
            max_memory=max_memory, resume=resume, progress=progress,
        )  # fmt: skip
    if probabilities or keep_seeds or report or resume or n_jobs != 1 or figures != FigureOptions():
        raise BadUsage(
            "probabilities, keep_seeds, report, figures, resume and n_jobs are for files; say where they go: --out DIR"
        )
    _require_one(images)
    job = model.make_job(options=options, smoothing=smoothing, table=table)
    return segment_pixels(images, replace(job, memory=MemoryOptions(max_memory)), progress=progress)


@public_function(PredictionOptions, MemoryOptions)
def predict(
    images: PathLike | Iterable[PathLike],
    model: Model | PathLike,
    *,
    output: PathLike | Iterable[PathLike] | None = None,
    mask_threshold: float | None = PredictionOptions.mask_threshold,
    scale: float | None = PredictionOptions.scale,
    stack: bool = False,
    reports: PathLike | None = None,
    max_memory: float | None = MemoryOptions.max_memory,
    resume: bool = False,
    progress: Progress | None = None,
) -> BatchResult:
    """Write the masks of a few images with any model, and pictures to look at.

    Parameters
    ----------
    images
        An image, a folder or a pattern, or several of them.
    model
        As `open_model` returns it, or the path of one.
    output
        The mask of each image, in the same order (.png, .tif or .mat), or one folder, of ``NAME_predseg.png``; by
        default beside each image. A mask of an earlier prediction is replaced, and no other file.
    stack
        Take the images, of one band each, as the bands of one, in this order.
    reports
        A folder of pictures: image and mask side by side, and the mask over the image.
    resume
        Leave out images whose mask was made by the same model with the same settings.

    Returns
    -------
    BatchResult
        The files that were written for each of the `images`, and what could not be used.

    Examples
    --------
    >>> import hybridseg as hs
    >>> hs.predict("photo.jpg", "model.pb", output="mask.png", mask_threshold=0.6)  # doctest: +SKIP
    <BatchResult: 1 image done>
    """
    model = model if isinstance(model, Model) else open_model(model)
    # Of a stack nothing is sorted or left out.
    paths = list_paths(images) if stack else find_images(list_paths(images))
    job = make_prediction(
        paths,
        model,
        outputs=[] if output is None else list_paths(output),
        options=PredictionOptions(mask_threshold, scale),
        reports_dir=find_path(reports),
        stack=stack,
        memory=MemoryOptions(max_memory),
    )
    return run_jobs(paths[:1] if stack else paths, job, resume=resume, progress=progress or show_progress())


def _require_one(image: Any) -> None:
    """Raise unless this is one image: the results of several are files."""
    is_many = isinstance(image, list | tuple) or (isinstance(image, PATH_TYPES) and _is_many(Path(image)))
    if is_many:
        raise BadUsage("the results of several images are files; say where they go: --out DIR")


def _is_many(path: Path) -> bool:
    return path.is_dir() or (any(sign in str(path) for sign in "*?[") and not path.exists())
