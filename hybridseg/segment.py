"""Segment any images by any model: the kind of the model files decides the method."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from hybridseg.batch.jobs import Job, Outputs, run_jobs
from hybridseg.batch.results import BatchResult, ImageResult
from hybridseg.classes import ClassTable
from hybridseg.dense.predict import PredictJob
from hybridseg.dense.smoothing import SmoothingOptions
from hybridseg.dense.windows import DenseOptions
from hybridseg.errors import BadInput
from hybridseg.hybrid.segmentation import HybridOptions
from hybridseg.hybrid.semseg import SemsegJob
from hybridseg.hybrid.tuning import read_tuning
from hybridseg.io.pairing import find_images
from hybridseg.models.engines import LITERT
from hybridseg.progress import Progress, no_progress


def segment_files(
    paths: Sequence[str | os.PathLike[str]],
    models: Sequence[str | os.PathLike[str]],
    *,
    options: HybridOptions | DenseOptions | None = None,
    smoothing: SmoothingOptions | None = None,
    outputs: Outputs = Outputs(),
    table: ClassTable | None = None,
    n_jobs: int = 1,
    resume: bool = False,
    progress: Progress = no_progress,
    on_done: Callable[[ImageResult], None] = lambda _: None,
) -> BatchResult:
    """Segment images and write their label maps; an image that cannot be used does not stop the others.

    Parameters
    ----------
    paths : sequence of path-like
        Images, folders and patterns.
    models : sequence of path-like
        Tile classifiers (``.pb``) or dense networks (``.h5``, or the folder of one); several vote.
    options, smoothing
        As `make_job`.
    table : ClassTable or None
        The classes of the first model with other colours.
    n_jobs : int
        Processes.
    resume : bool
        Leave out images whose result was made by the same models with the same settings.
    on_done : callable
        Called with each result as soon as it is there.

    Raises
    ------
    MissingInput, BadInput, MissingPackage, WriteFailed
        As `hybridseg.batch.jobs.run_jobs`.
    """
    job = make_job(models, options=options, smoothing=smoothing, outputs=outputs, table=table)
    images = find_images([Path(path) for path in paths])
    return run_jobs(images, job, n_jobs=n_jobs, resume=resume, progress=progress, on_done=on_done)


def make_job(
    models: Sequence[str | os.PathLike[str]],
    *,
    options: HybridOptions | DenseOptions | None = None,
    smoothing: SmoothingOptions | None = None,
    outputs: Outputs = Outputs(),
    table: ClassTable | None = None,
    engine: str = LITERT,
) -> Job:
    """Make the job of the method that some models belong to.

    Parameters
    ----------
    options : HybridOptions or DenseOptions or None
        Those of the method; None: its defaults, or what `tune-crf` found for tile classifiers.
    smoothing : SmoothingOptions or None
        For dense networks alone.
    engine : str
        What runs the models: LiteRT, or TensorFlow, its reference.

    Raises
    ------
    BadInput
        When the models are of no kind or of two, the options belong to the other method, or the result of `tune-crf`
        is damaged or of other models.

    Examples
    --------
    >>> make_job(["a.pb", "b.pb"]).model_paths == (Path("a.pb"), Path("b.pb"))
    True
    """
    paths = tuple(Path(path) for path in models)
    are_classifiers = {_is_classifier(path) for path in paths}
    if len(are_classifiers) != 1:
        raise BadInput("give models of one kind: tile classifiers (.pb) or dense networks (.h5)")
    if are_classifiers == {True}:
        if smoothing is not None or not isinstance(options, HybridOptions | None):
            raise BadInput(f"{paths[0]} is a tile classifier: give HybridOptions and no smoothing")
        hybrid = options or read_tuning(paths) or HybridOptions()
        return SemsegJob(paths, outputs, table, engine, options=hybrid)
    if not isinstance(options, DenseOptions | None):
        raise BadInput(f"{paths[0]} is a dense network: give DenseOptions")
    dense, smoothing = options or DenseOptions(), smoothing or SmoothingOptions()
    return PredictJob(paths, outputs, table, engine, dense, smoothing)


def _is_classifier(path: Path) -> bool:
    if path.suffix.lower() == ".pb":
        return True
    if path.suffix.lower() == ".h5" or path.is_dir():
        return False
    raise BadInput(f"{path} is not a model; give a tile classifier (.pb) or a dense network (.h5, or its folder)")
