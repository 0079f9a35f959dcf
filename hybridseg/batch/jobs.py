"""One job segments one image; `run_jobs` runs it on many, one after the other or in processes.

A job holds paths and options, never a loaded model, so that it can be sent to another process.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from hybridseg import __version__
from hybridseg.batch.madeby import explain_difference, leave_out_machine
from hybridseg.batch.manifest import ImageFacts, Manifest, find_key, identify, measure_image
from hybridseg.batch.pace import Pace
from hybridseg.batch.parts import EngineFailed, Work, drop_parts, sharing
from hybridseg.batch.plan import divide_tasks, list_tasks, sort_out
from hybridseg.batch.results import BatchResult, ImageResult
from hybridseg.batch.sending import find_sent, list_model_files
from hybridseg.batch.workers import N_TRIES, Mapper, Processes, check_jobs
from hybridseg.classes import ClassTable
from hybridseg.errors import (
    BadInput,
    DiskFull,
    HybridSegError,
    MissingInput,
    MissingPackage,
    Problem,
    TooLittleMemory,
    WriteFailed,
)
from hybridseg.figures import FIGURES_DIR, FigureOptions
from hybridseg.forecast import Weighted
from hybridseg.io.atomic import claim_folder
from hybridseg.io.locks import lock_output
from hybridseg.io.marks import check_ours
from hybridseg.io.pairing import PREDSEG
from hybridseg.io.remote import find_tag, local_copy
from hybridseg.io.sources import describe_source, needs_copy, without_key
from hybridseg.machine import forget_peak
from hybridseg.models.cards import combine_fingerprint, hash_file, stamp_file
from hybridseg.models.engines import LITERT
from hybridseg.options import option
from hybridseg.progress import Progress, no_progress

Model = TypeVar("Model")
Result = TypeVar("Result")

_MAX_LOADED = 8
_ADVICE = "let the results go to another folder"


@dataclass(frozen=True)
class Outputs:
    """The results that are written beside the label map; a method ignores those that it does not have."""

    out_dir: Path | None = None
    """None: beside each image."""
    figures: FigureOptions | None = FigureOptions()
    """How the figure of each image is drawn; None: it is not."""
    title: str = PREDSEG
    """What the result of dense networks is called: NAME_predseg.png."""
    probabilities: bool = option(
        False, "Also write the probability of the class of each pixel, and how undecided the model is there (entropy)."
    )
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
    sent : str
        The hash of the models that were sent to the workers; empty: they find them where they are here.
    """

    model_paths: tuple[Path, ...]
    outputs: Outputs = Outputs()
    table: ClassTable | None = None
    engine: str = LITERT
    sent: str = field(default="", kw_only=True)

    too_large: ClassVar[str]
    """What to do about an image that does not fit into memory."""

    @abstractmethod
    def load(self) -> Any:
        """Load the models; the second call in a process is free."""

    @abstractmethod
    def list_targets(self, image_path: Path) -> list[Path]:
        """List the files that are there once an image is done, the label map first."""

    def list_places(self, image_path: Path) -> list[Path]:
        """List all files that may be written, those that depend on the image too."""
        return self.list_targets(image_path)

    @abstractmethod
    def record(self, image_path: Path) -> str:
        """Return the record of how the label map of an image is made, see `hybridseg.batch.madeby`.

        Raises
        ------
        MissingInput, BadInput
            When the header of the image cannot be read, where the settings follow from it.
        """

    def describe(self) -> dict[str, Any]:
        """Return all that the results of all images depend on, JSON-ready."""
        settings = leave_out_machine({field.name: _describe(getattr(self, field.name)) for field in fields(self)})
        del settings["model_paths"], settings["engine"], settings["sent"]
        settings["outputs"].pop("out_dir")
        return {"models": [hash_file(path) for path in self.model_paths], **settings, "version": __version__}

    def fingerprint(self) -> str:
        """Return the same in one SHA-256."""
        return combine_fingerprint(json.dumps(self.describe(), sort_keys=True))

    def count_parts(self, shape: tuple[int, int]) -> int:
        """Return how many parts an image of these rows and columns has that others may compute; 1: none."""
        return 1

    def count_kept(self, shape: tuple[int, int], n_workers: int) -> int:
        """Return about how many bytes such parts take on the disk until so many workers have done all of them."""
        return 0

    def find_models(self) -> Self:
        """Return the job with its models where they are on this machine."""
        return replace(self, model_paths=find_sent(self.sent, self.model_paths), sent="") if self.sent else self

    def with_absolute_paths(self) -> Self:
        """Return the job for workers that run in another folder."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        paths: dict[str, Any] = {name: path.absolute() for name, path in found.items() if isinstance(path, Path)}
        paths["outputs"] = replace(self.outputs, out_dir=self.outputs.out_dir and self.outputs.out_dir.absolute())
        return replace(self, **paths, model_paths=tuple(path.absolute() for path in self.model_paths))

    def load_here(self) -> Any:
        """Load the models where they are on this machine."""
        return self.find_models().load()

    @abstractmethod
    def segment(self, image_path: Path, *, progress: Progress = no_progress) -> ImageResult:
        """Segment one image and write the result."""

    def share(self, image_path: Path, work: Work, *, progress: Progress = no_progress) -> ImageResult:
        """Segment one image whose parts others compute, which takes the models that `load_here` returns."""
        return self.segment(image_path, progress=progress)


@dataclass(frozen=True)
class Attempt:
    """The outcome of the image of this number, in whatever process it was done.

    Parameters
    ----------
    outcome : ImageResult, Problem or None
        None: it was done already.
    facts : ImageFacts or None
        Of the image and the process, where a manifest wants them.
    """

    index: int
    outcome: ImageResult | Problem | None
    facts: ImageFacts | None = None


class OfTheMachine(Problem):
    """What has to do with the machine, not with the image: it is not remembered, and the image is tried again."""


def _describe(value: Any) -> Any:
    """Return a setting as JSON takes it."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _describe(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _describe(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_describe(inner) for inner in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def run_jobs(
    image_paths: Sequence[Path],
    job: Job,
    *,
    n_jobs: int = 1,
    mapper: Mapper | None = None,
    manifest: Manifest | None = None,
    retry_failed: bool = False,
    resume: bool = False,
    progress: Progress = no_progress,
    on_done: Callable[[ImageResult], None] = lambda _: None,
) -> BatchResult:
    """Segment images; one that cannot be used, or that ends its process, does not stop the others.

    Parameters
    ----------
    n_jobs : int
        Processes; 1 does the work in this one.
    mapper : Mapper or None
        What does the work in place of processes. Where images are left for fewer workers than there are, all work on
        the parts of one, see `hybridseg.batch.plan.divide_tasks`.
    manifest : Manifest or None
        Leave out images that it lists as done, and record the outcome of the others in it.
    retry_failed : bool
        Try images again that failed before; otherwise they are reported as they were.
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
        When the folder of the results, or the manifest, cannot be written, or the disk is full.
    """
    check_jobs(n_jobs)
    claim_outputs(job.outputs, image_paths)
    job.load()
    tasks, problems = list_tasks(image_paths, job, manifest)
    outcomes: list[ImageResult | Problem | None] = [problems.get(i) for i in range(len(image_paths))]
    fingerprint = job.fingerprint() if manifest else ""
    if manifest is not None:
        tasks, failed = sort_out(tasks, job, manifest, retry_failed=retry_failed)
        for i, problem in failed.items():
            outcomes[i] = problem
    pace = Pace()

    def settle(attempt: Attempt) -> None:
        outcomes[attempt.index] = outcome = attempt.outcome
        if manifest is not None and outcome is not None and not isinstance(outcome, OfTheMachine):
            manifest.add(image_paths[attempt.index], outcome, attempt.facts, job=fingerprint)
        if isinstance(outcome, ImageResult):
            pace.add(attempt.facts.megapixels if attempt.facts else 0.0)
            on_done(outcome)

    call = mapper or Processes(n_jobs)
    whole, shared = divide_tasks(tasks, job, call.n_workers)
    attempt = partial(_try_image, job, resume, manifest is not None)
    hook = no_progress if mapper or n_jobs > 1 else progress
    with closing(call(partial(attempt, hook), whole, on_death=_report_death, on_late=settle)) as attempts:
        steps = progress(Weighted(tasks, note=pace.describe), label="images") if len(tasks) > 1 else tasks
        rest = (attempt(progress, task, mapper=call) for task in shared)
        for _, done in zip(steps, chain(attempts, rest), strict=True):
            settle(done)
    return BatchResult(
        images=tuple(one for one in outcomes if isinstance(one, ImageResult)),
        skipped=tuple(path for path, one in zip(image_paths, outcomes, strict=True) if one is None),
        problems=tuple(one for one in outcomes if isinstance(one, Problem)),
    )


def claim_outputs(outputs: Outputs, image_paths: Sequence[Path]) -> None:
    """Raise WriteFailed unless the folders of the results can be written."""
    copied = next(filter(needs_copy, image_paths), None)
    if outputs.out_dir is not None:
        claim_folder(outputs.out_dir)
    elif copied is not None:
        raise BadInput(
            f"nothing is written beside {describe_source(copied)}, which is copied first; say where the results go, "
            "with --out"
        )
    if outputs.figures:
        for folder in {outputs.out_dir} if outputs.out_dir else {path.parent for path in image_paths}:
            # Made with the first figure; a file of this name would stop every image after all of its work.
            if (folder / FIGURES_DIR).is_file():
                claim_folder(folder / FIGURES_DIR)


def _try_image(
    job: Job, resume: bool, measured: bool, progress: Progress, task: tuple[int, Path], mapper: Mapper | None = None
) -> Attempt:
    """Segment one image, in whatever process this runs; with a mapper, that one does the parts of it."""
    i, source = task
    if mapper is None:
        job = job.find_models()
    # Asked before it is fetched: what changes meanwhile is done again.
    tag = find_tag(source) if measured and needs_copy(source) else ""
    try:
        with local_copy(source) as path:
            if measured:
                forget_peak()
            outcome = _segment_one(job, resume, progress, path, mapper)
            n_workers = mapper.n_workers if mapper else 1
            facts = measure_image(path, tag=tag, n_workers=n_workers) if measured else None
    except (MissingInput, BadInput) as error:
        return Attempt(i, Problem.of(describe_source(source), error))
    except DiskFull as error:
        remedy = f"give the same command again{' with --resume' * (not measured)} to continue"
        raise DiskFull(f"{error}, then {remedy}") from error
    except WriteFailed as error:
        return Attempt(i, OfTheMachine.of(describe_source(source), error))
    if isinstance(outcome, Problem):
        outcome = replace(outcome, where=describe_source(source))
    elif outcome is not None:
        outcome = replace(outcome, image_path=without_key(source))
    return Attempt(i, outcome, facts)


def _report_death(task: tuple[int, Path], how: str) -> Attempt:
    i, path = task
    text = f"the process that worked on it {how}, {N_TRIES} times"
    problem = Problem(describe_source(path), f"{text}; work on it alone to see why, or cut it into parts")
    # Of a copy nothing is left.
    return Attempt(i, problem, None if needs_copy(path) else identify(path))


def _segment_one(
    job: Job, resume: bool, progress: Progress, path: Path, mapper: Mapper | None
) -> ImageResult | Problem | None:
    """Segment one image; None when it was done already."""
    targets, replaced = job.list_targets(path), ""
    try:
        # Another process may work on other images in the same folder.
        with lock_output(targets[0]) if targets else nullcontext():
            if resume and all(target.exists() for target in targets):
                replaced = explain_difference(targets[0], job.record(path))
                if not replaced:
                    return None
            check_ours(job.list_places(path), advice=_ADVICE)
            if mapper is None:
                found = job.segment(path, progress=progress)
            else:
                key = combine_fingerprint(hash_file(path), job.fingerprint(), job.engine)
                with sharing(job.load_here, mapper, targets[0], key, image=find_key(path)) as work:
                    found = job.share(path, work, progress=progress)
            for target in targets[:1]:
                drop_parts(target)
            return replace(found, replaced=replaced)
    except (MissingPackage, EngineFailed, DiskFull):
        raise
    except HybridSegError as error:
        kind = OfTheMachine if isinstance(error, TooLittleMemory | WriteFailed) else Problem
        return kind.of(path, error)
    except MemoryError:
        return OfTheMachine(str(path), f"is too large for the memory of this machine; {job.too_large}")


_loaded: dict[Any, Any] = {}


def load_once(load: Callable[..., Model], path: Path, **settings: Any) -> Model:
    """Return ``load(path, **settings)``; a process loads a model again only when its files have changed.

    The files are those of the model and every path in `settings`.
    """
    files = [*list_model_files(path), *(value for value in settings.values() if isinstance(value, Path))]
    key = (load, tuple(sorted(settings.items())), tuple((file.absolute(), stamp_file(file)) for file in files))
    if key not in _loaded:
        while len(_loaded) >= _MAX_LOADED:
            del _loaded[next(iter(_loaded))]
        _loaded[key] = load(path, **settings)
    model: Model = _loaded[key]
    return model
