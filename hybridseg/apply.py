"""Apply any model to any images: the kind of the model files decides the method."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hybridseg.batch.jobs import Job, Outputs, run_jobs
from hybridseg.batch.results import BatchResult, ImageResult
from hybridseg.classes import ClassTable
from hybridseg.dense.predict import PredictJob
from hybridseg.dense.runs import MODEL_NAME
from hybridseg.dense.smoothing import SmoothingOptions
from hybridseg.dense.warmstart import PYTORCH_SUFFIXES
from hybridseg.dense.windows import DenseOptions
from hybridseg.errors import BadInput, MissingInput
from hybridseg.hybrid.segmentation import HybridOptions
from hybridseg.hybrid.semseg import SemsegJob
from hybridseg.hybrid.tuning import read_tuning
from hybridseg.io.pairing import find_images
from hybridseg.io.sources import as_source
from hybridseg.machine import MemoryOptions
from hybridseg.markup import render_text
from hybridseg.models.bundles import card_path
from hybridseg.models.engines import LITERT
from hybridseg.models.ensemble import check_votes, list_members
from hybridseg.models.savedmodels import GRAPH_NAME, find_bundle
from hybridseg.progress import Progress, no_progress

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Model:
    """A model that is ready to use, or several that vote. It can be pickled: the networks themselves stay on disk.

    Parameters
    ----------
    paths : tuple of pathlib.Path
        Tile classifiers (``.pb``) or dense networks (``.h5``, or the folder of one).
    labels_path, tile_size, input_range, engine
        As `make_job`.
    """

    paths: tuple[Path, ...]
    labels_path: Path | None = None
    tile_size: int | None = None
    input_range: str | None = None
    engine: str = LITERT

    def __repr__(self) -> str:
        return f"<Model: {self._describe()}; classes: {', '.join(self.classes.names)}>"

    def _repr_html_(self) -> str:
        return render_text(self._describe()) + self.classes._repr_html_()

    def _describe(self) -> str:
        names, several = ", ".join(map(str, self.paths)), len(self.paths) > 1
        if self.is_classifier:
            return f"tile classifier{'s' * several} {names}, tiles of {self._load()[0].tile_size} pixels"
        return f"dense network{'s' * several} {names}"

    @property
    def is_classifier(self) -> bool:
        """Whether it classifies tiles, as the hybrid method does, rather than pixels."""
        return _is_classifier(self.paths)

    @property
    def classes(self) -> ClassTable:
        """The classes, in the order of the ids."""
        return self._load()[0].table

    @property
    def architecture(self) -> str:
        """What the first of some dense networks is; empty for tile classifiers."""
        return "" if self.is_classifier else str(self._load()[0].card.architecture.name)

    def _load(self) -> Sequence[Any]:
        job = self.make_job()
        return list_members(job.load()) if isinstance(job, SemsegJob) else job.load()

    def make_job(
        self,
        *,
        options: HybridOptions | DenseOptions | None = None,
        smoothing: SmoothingOptions | None = None,
        outputs: Outputs = Outputs(),
        table: ClassTable | None = None,
    ) -> SemsegJob | PredictJob:
        """Make the job that segments an image by this model, see `make_job`."""
        return make_job(
            self.paths, options=options, smoothing=smoothing, outputs=outputs, table=table,
            labels_path=self.labels_path, tile_size=self.tile_size, input_range=self.input_range, engine=self.engine,
        )  # fmt: skip


def segment_files(
    paths: Sequence[PathLike],
    models: Sequence[PathLike] | Model,
    *,
    options: HybridOptions | DenseOptions | None = None,
    smoothing: SmoothingOptions | None = None,
    outputs: Outputs = Outputs(),
    table: ClassTable | None = None,
    n_jobs: int = 1,
    max_memory: float | None = None,
    resume: bool = False,
    progress: Progress = no_progress,
    on_done: Callable[[ImageResult], None] = lambda _: None,
) -> BatchResult:
    """Segment images and write their label maps; an image that cannot be used does not stop the others.

    Parameters
    ----------
    paths : sequence of path-like
        Images, folders and patterns.
    models : Model or sequence of path-like
        Tile classifiers (``.pb``) or dense networks (``.h5``, or the folder of one); several vote.
    options, smoothing
        As `make_job`.
    table : ClassTable or None
        The classes of the first model with other colours.
    n_jobs : int
        Processes.
    max_memory : float or None
        Of each of them, see `MemoryOptions`.
    resume : bool
        Leave out images whose result was made by the same models with the same settings.
    on_done : callable
        Called with each result as soon as it is there.

    Raises
    ------
    MissingInput, BadInput, MissingPackage, WriteFailed
        As `hybridseg.batch.jobs.run_jobs`.
    """
    model = models if isinstance(models, Model) else Model(tuple(map(Path, models)))
    made = model.make_job(options=options, smoothing=smoothing, outputs=outputs, table=table)
    job: Job = replace(made, memory=MemoryOptions(max_memory, n_processes=n_jobs))
    images = find_images([as_source(os.fspath(path)) for path in paths], remote=outputs.out_dir is not None)
    return run_jobs(images, job, n_jobs=n_jobs, resume=resume, progress=progress, on_done=on_done)


def make_job(
    models: Sequence[PathLike],
    *,
    options: HybridOptions | DenseOptions | None = None,
    smoothing: SmoothingOptions | None = None,
    outputs: Outputs = Outputs(),
    table: ClassTable | None = None,
    labels_path: Path | None = None,
    tile_size: int | None = None,
    input_range: str | None = None,
    engine: str = LITERT,
    memory: MemoryOptions = MemoryOptions(),
) -> SemsegJob | PredictJob:
    """Make the job of the method that some models belong to.

    Parameters
    ----------
    options : HybridOptions or DenseOptions or None
        Those of the method; None: its defaults, or what `tune-crf` found for tile classifiers.
    smoothing : SmoothingOptions or None
        For dense networks alone.
    labels_path, tile_size, input_range
        For a tile classifier from elsewhere, which does not say them.
    engine : str
        What runs the models: LiteRT, or TensorFlow, its reference.
    memory : MemoryOptions
        What a process may take.

    Raises
    ------
    BadInput
        When the models are of no kind or of two, or one is given twice, the options belong to the other method, or the
        result of `tune-crf` is damaged or of other models.

    Examples
    --------
    >>> make_job(["a.pb", "b.pb"]).model_paths == (Path("a.pb"), Path("b.pb"))
    True
    """
    paths = tuple(Path(path) for path in models)
    check_votes(paths)
    if _is_classifier(paths):
        if smoothing is not None or not isinstance(options, HybridOptions | None):
            raise BadInput(f"{paths[0]} is a tile classifier: give HybridOptions and no smoothing")
        options = options or read_tuning(paths) or HybridOptions()
        return SemsegJob(
            paths, outputs, table, engine, labels_path, tile_size, input_range, options=options, memory=memory
        )
    if not isinstance(options, DenseOptions | None):
        raise BadInput(f"{paths[0]} is a dense network: give DenseOptions")
    if (labels_path, tile_size, input_range) != (None, None, None):
        raise BadInput(
            f"{paths[0]} is a dense network, which knows its classes and takes no tiles; leave out --labels, "
            "--tile-size and --input-range"
        )
    return PredictJob(
        paths, outputs, table, engine, options or DenseOptions(), smoothing or SmoothingOptions(), memory=memory
    )


def find_model(path: PathLike) -> Path:
    """Return the model in a folder: its one tile classifier, the result of a training, or what a SavedModel is of.

    Any other path is returned as it is.

    Examples
    --------
    >>> find_model("model.pb").name
    'model.pb'
    """
    path = Path(path)
    if (path / GRAPH_NAME).is_file():
        return find_bundle(path)
    found = [file for file in path.glob("*.pb") if file.with_suffix(".json").exists()] if path.is_dir() else []
    if len(found) == 1:
        return found[0]
    # Numbered checkpoints may lie beside it.
    best = path / MODEL_NAME
    return best if card_path(best).exists() else path


def _is_classifier(paths: Sequence[Path]) -> bool:
    """Return whether some models are tile classifiers rather than dense networks."""
    kinds = {_is_tile_classifier(path) for path in paths}
    if len(kinds) != 1:
        raise BadInput("give models of one kind: tile classifiers (.pb) or dense networks (.h5)")
    return kinds.pop()


def _is_tile_classifier(path: Path) -> bool:
    if path.suffix.lower() == ".pb":
        return True
    if path.suffix.lower() == ".h5" or path.is_dir():
        return False
    if path.suffix.lower() in PYTORCH_SUFFIXES:
        raise BadInput(f"{path} is a network of PyTorch, which cannot be used; train one with `hybridseg unet train`")
    if not path.exists():
        raise MissingInput(f"there is no file or folder {path}; give a model")
    raise BadInput(f"{path} is not a model; give a tile classifier (.pb) or a dense network (.h5, or its folder)")
