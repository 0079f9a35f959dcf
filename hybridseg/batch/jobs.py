"""One job segments one image; `run_jobs` runs it on many, one after the other or in processes.

A job holds paths and options, never a loaded model, so that it can be sent to another process.
"""

from __future__ import annotations

import glob
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from hybridseg.batch.madeby import explain_difference
from hybridseg.batch.results import BatchResult, ImageResult
from hybridseg.batch.workers import map_calls
from hybridseg.classes import ClassTable
from hybridseg.errors import HybridSegError, MissingPackage, Problem
from hybridseg.figures import FIGURES_DIR, FigureOptions
from hybridseg.io.atomic import claim_folder
from hybridseg.io.locks import lock_output
from hybridseg.io.pairing import PREDSEG
from hybridseg.models.cards import stamp_file
from hybridseg.models.engines import LITERT
from hybridseg.models.runtimes import RUNTIME_SUFFIX
from hybridseg.options import option
from hybridseg.progress import Progress, no_progress

Model = TypeVar("Model")

_MAX_LOADED = 8


@dataclass(frozen=True)
class Outputs:
    """The results that are written beside the label map; a method ignores those that it does not have."""

    out_dir: Path | None = None
    """None: beside each image."""
    figures: FigureOptions | None = FigureOptions()
    """How the figure of each image is drawn; None: it is not."""
    title: str = PREDSEG
    """What the result of dense networks is called: NAME_predseg.png."""
    probabilities: bool = option(False, "Also write the probability of the class of each pixel.")
    report: bool = option(False, "Also write class shares, settings and timings as JSON.")
    keep_seeds: bool = option(False, "Also write the label map of the tiles alone.")

    def place(self, image_path: Path, ending: str) -> Path:
        """Return the path of a result: the name of the image without its suffix, and an ending."""
        return (self.out_dir or image_path.parent) / f"{image_path.stem}{ending}"

    def list_figures(self, image_path: Path, ending: str) -> list[Path]:
        """Return the path of the figure of an image; none where it is not drawn."""
        folder = self.out_dir or image_path.parent
        return [self.figures.place(folder, f"{image_path.stem}{ending}")] if self.figures else []


@dataclass(frozen=True)
class Job(ABC):
    """What is done to each image.

    Parameters
    ----------
    model_paths : tuple of pathlib.Path
        Several models vote.
    table : ClassTable or None
        The classes of the first model with other colours; None: its own.
    engine : str
        What runs the models, one of `hybridseg.models.engines.ENGINES`.
    """

    model_paths: tuple[Path, ...]
    outputs: Outputs = Outputs()
    table: ClassTable | None = None
    engine: str = LITERT

    too_large: ClassVar[str]
    """What to do about an image that does not fit into memory."""

    @abstractmethod
    def load(self) -> Any:
        """Load the models; the second call in a process is free."""

    @abstractmethod
    def list_targets(self, image_path: Path) -> list[Path]:
        """List the files that are there once an image is done, the label map first."""

    @abstractmethod
    def record(self, image_path: Path) -> str:
        """Return the record of how the label map of an image is made, see `hybridseg.batch.madeby`.

        Raises
        ------
        MissingInput, BadInput
            When the header of the image cannot be read, where the settings follow from it.
        """

    @abstractmethod
    def segment(self, image_path: Path, *, progress: Progress = no_progress) -> ImageResult:
        """Segment one image and write the result."""


def run_jobs(
    image_paths: Sequence[Path],
    job: Job,
    *,
    n_jobs: int = 1,
    resume: bool = False,
    progress: Progress = no_progress,
    on_done: Callable[[ImageResult], None] = lambda _: None,
) -> BatchResult:
    """Segment images; one that cannot be used does not stop the others.

    Parameters
    ----------
    n_jobs : int
        Processes; 1 does the work in this one.
    resume : bool
        Leave out images whose result is there and was made by the same models with the same settings.
    on_done : callable
        Called with each result as soon as it is there.

    Raises
    ------
    MissingInput, BadInput
        When a model cannot be loaded.
    MissingPackage
        When a package is missing that all images need.
    WriteFailed
        When the folder of the results cannot be written.
    """
    if job.outputs.out_dir is not None:
        claim_folder(job.outputs.out_dir)
    if job.outputs.figures:
        for folder in {job.outputs.out_dir} if job.outputs.out_dir else {path.parent for path in image_paths}:
            # Made with the first figure; a file of this name would stop every image after all of its work.
            if (folder / FIGURES_DIR).is_file():
                claim_folder(folder / FIGURES_DIR)
    job.load()
    outcomes: list[ImageResult | Problem | None] = [None] * len(image_paths)
    tasks = []
    taken: dict[Path, Path] = {}
    for i, path in enumerate(image_paths):
        # Where nothing is written, each stands for itself.
        target = next(iter(job.list_targets(path)), path)
        if target in taken:
            outcomes[i] = Problem(
                str(path),
                f"has the same name as {taken[target]}; rename one of them, or run them apart with another --out",
            )
        else:
            taken[target] = path
            tasks.append((i, path))
    work = partial(_segment_one, job, resume, progress if n_jobs == 1 else no_progress)
    with closing(map_calls(work, tasks, n_jobs=n_jobs)) as finished:
        steps = progress(tasks, label="images") if len(tasks) > 1 else tasks
        for _, (i, outcome) in zip(steps, finished, strict=True):
            outcomes[i] = outcome
            if isinstance(outcome, ImageResult):
                on_done(outcome)
    return BatchResult(
        images=tuple(one for one in outcomes if isinstance(one, ImageResult)),
        skipped=tuple(path for path, one in zip(image_paths, outcomes, strict=True) if one is None),
        problems=tuple(one for one in outcomes if isinstance(one, Problem)),
    )


def _segment_one(
    job: Job, resume: bool, progress: Progress, task: tuple[int, Path]
) -> tuple[int, ImageResult | Problem | None]:
    """Segment one image, in whatever process this runs; None when it was done already."""
    i, path = task
    targets, replaced = job.list_targets(path), ""
    try:
        # Another process may work on other images in the same folder.
        with lock_output(targets[0]) if targets else nullcontext():
            if resume and all(target.exists() for target in targets):
                replaced = explain_difference(targets[0], job.record(path))
                if not replaced:
                    return i, None
            return i, replace(job.segment(path, progress=progress), replaced=replaced)
    except MissingPackage:
        raise
    except HybridSegError as error:
        return i, Problem.of(path, error)
    except MemoryError:
        return i, Problem(str(path), f"is too large for the memory of this machine; {job.too_large}")


_loaded: dict[Any, Any] = {}


def load_once(load: Callable[..., Model], path: Path, **settings: Any) -> Model:
    """Return ``load(path, **settings)``; a process loads a model again only when its files have changed.

    The files are `path`, its card, its runtime graph and its labels beside it, and every path in `settings`.
    """
    beside = (f"{path.stem}.json", f"{path.stem}.card.json", f"{path.stem}{RUNTIME_SUFFIX}", "labels.txt")
    files = [path, *(path.parent / name for name in beside)]
    files += sorted(path.parent.glob(f"{glob.escape(path.stem)}_labels*.txt"))
    files += [value for value in settings.values() if isinstance(value, Path)]
    key = (load, tuple(sorted(settings.items())), tuple((file.absolute(), stamp_file(file)) for file in files))
    if key not in _loaded:
        while len(_loaded) >= _MAX_LOADED:
            del _loaded[next(iter(_loaded))]
        _loaded[key] = load(path, **settings)
    model: Model = _loaded[key]
    return model
