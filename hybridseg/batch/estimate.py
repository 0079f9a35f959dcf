"""What a survey takes: a few of its images are segmented on this machine, and what they took is scaled up."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, fields, replace
from functools import partial
from operator import attrgetter
from pathlib import Path

import numpy as np

from hybridseg.batch.jobs import Job, claim_outputs
from hybridseg.batch.plan import ask_some, measure_megapixels
from hybridseg.batch.workers import map_calls
from hybridseg.errors import BadInput, HybridSegError, Problem
from hybridseg.io.geotiffs import is_copied, list_files
from hybridseg.io.images import describe_image
from hybridseg.io.lazyimages import can_read_parts
from hybridseg.io.remote import local_copy, measure_copy
from hybridseg.io.sources import describe_source, is_remote, name_for_gdal
from hybridseg.io.trusted import find_file, is_trusted
from hybridseg.io.windows import copy_middle
from hybridseg.machine import forget_peak, read_peak
from hybridseg.options import Span, check_options, option
from hybridseg.progress import Progress, StopWatch, no_progress, timed_by

# Of a larger raster two parts of these sides are tried, which tell how time grows with the pixels.
_PART_SIDES = 4000, 8000
_SHARES = (0.0, 0.5, 1.0)
_MOST_WARM = 4.0
# That one process hands out and writes down, which does so for all machines: not measured here (docs/scaling.md).
_IMAGES_A_SECOND = 100
PROCESSORS, ONE_IMAGE, DRIVER = "processors", "largest image", "one driver"
"""What decides how long a survey takes: all processors, one of them with the largest image, or the process that writes
down what is done."""
_NOTES = {
    ONE_IMAGE: f"{ONE_IMAGE}: counted as the work of one process; where few images are left for many processes, "
    "segment shares the parts of a large one among them and takes less",
    DRIVER: f"{DRIVER}: the process that hands out all images and records them is taken to do {_IMAGES_A_SECOND} a "
    "second, which was not measured here (see the page What a survey takes); several runs, each with an --out of its "
    "own, do more",
}


@dataclass(frozen=True)
class SurveyOptions:
    """The survey that some images stand for, and the machines that do it."""

    megapixels: float | None = option(
        None, "Megapixels of the whole survey, of which SOURCES are a sample.", span=Span(0, 1e12, above=True)
    )
    machines: tuple[int, ...] = option(
        (1,), "Machines like this one that share the work; several numbers have a line each.", span=Span(1)
    )
    price: float | None = option(None, "What an hour of a machine like this one costs, in any currency.", span=Span(0))

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class Trial:
    """What an image took while the other processes of the machine worked too.

    Parameters
    ----------
    megapixels : float
        Of the image, or of the part of it that was tried.
    load_seconds : float
        Until the process had its models.
    seconds : float
        Until the image was done, if nothing else had run on the machine: those of the clock, or of a processor, if
        these are fewer.
    core_seconds : float
        Of a processor, all threads together.
    clock_seconds : float
        That went by.
    steps : mapping of str to float
        What of the seconds of a processor went into each.
    """

    megapixels: float
    load_seconds: float
    seconds: float
    peak_mb: float
    bytes_written: float
    core_seconds: float = 0.0
    clock_seconds: float = 0.0
    steps: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def mean_of(cls, trials: Sequence[Trial]) -> Trial:
        """Return the mean of trials of the same image."""
        numbers = [one.name for one in fields(cls) if one.name != "steps"]
        means = {name: float(np.mean([getattr(one, name) for one in trials])) for name in numbers}
        steps = dict.fromkeys(name for one in trials for name in one.steps)
        means_of_steps = {name: float(np.mean([one.steps.get(name, 0.0) for one in trials])) for name in steps}
        return cls(**means, steps=means_of_steps)


@dataclass(frozen=True)
class Scenario:
    """What a survey takes on a number of machines.

    Parameters
    ----------
    processes : int
        Of all machines.
    hours : float
        Until it is done.
    machine_hours : float
        The same of all machines together.
    images_per_second, read_mb_per_second, written_mb_per_second : float
        What the disks that hold them, and the process that writes down what is done, must bear.
    price : float or None
        Of all machines.
    limit : str
        What decides the time: `PROCESSORS`, `ONE_IMAGE` or `DRIVER`.
    """

    machines: int
    processes: int
    hours: float
    machine_hours: float
    images_per_second: float
    read_mb_per_second: float
    written_mb_per_second: float
    price: float | None
    limit: str


@dataclass(frozen=True)
class Estimate:
    """What a survey takes.

    Parameters
    ----------
    trials : tuple of Trial
        What was measured, one size of image after the other.
    core_hours : float
        Of processors, of all images.
    steps : dict of str to float
        Seconds of a processor for a megapixel of the survey, by what they go into.
    memory_mb : float
        Of all processes of one machine.
    read_bytes, written_bytes : float
        Of all images and all results.
    scenarios : tuple of Scenario
        One for each number of machines.
    problems : tuple of Problem
        Images that could not be tried.
    """

    n_images: float
    megapixels: float
    trials: tuple[Trial, ...]
    core_hours: float
    steps: dict[str, float]
    memory_mb: float
    read_bytes: float
    written_bytes: float
    scenarios: tuple[Scenario, ...]
    problems: tuple[Problem, ...] = ()

    @property
    def waiting(self) -> float:
        """How often longer the clock showed than the trials would have taken on a machine that is their own."""
        return sum(one.clock_seconds for one in self.trials) / sum(one.seconds for one in self.trials)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is assumed of the limits that were found, and not measured in the trials."""
        limits = {one.limit for one in self.scenarios}
        return tuple(note for limit, note in _NOTES.items() if limit in limits)


def estimate_survey(
    images: Sequence[Path],
    job: Job,
    *,
    n_jobs: int,
    survey: SurveyOptions = SurveyOptions(),
    progress: Progress = no_progress,
) -> Estimate:
    """Segment a small, a typical and a large image, or fewer where sizes are alike, and scale up what that took.

    Of many images that lie elsewhere some stand for all. Each of the three is segmented once in every process; the
    results go to a temporary folder, which is removed. The time that copies take is not counted.

    Raises
    ------
    BadInput
        When none of them can be segmented.
    """
    remote, asked = list(filter(is_remote, images)), ask_some(images)
    stand_ins = {image: asked[i * len(asked) // len(remote)] for i, image in enumerate(remote)}
    images = [stand_ins.get(image, image) for image in images]
    sizes = np.array([measure_megapixels(image) for image in images])
    with tempfile.TemporaryDirectory(prefix="hybridseg-") as name, ExitStack() as copies:
        parts: list[Path] = []
        sources: list[Path] = []
        done: list[Trial | Problem] = []
        for i in choose_images(sizes):
            try:
                parts += _list_parts(copies.enter_context(local_copy(images[i])), Path(name))
                sources += [images[i]] * (len(parts) - len(sources))
            except HybridSegError as error:
                done.append(Problem.of(describe_source(images[i]), error))
        # The first is the smallest: enough to warm up. Where it is large, a cold start makes no difference.
        warm = parts[0] if parts and measure_megapixels(parts[0]) <= _MOST_WARM else None
        tried = zip(progress(parts, label="images tried"), sources, strict=True)
        done += [_try_image(part, source, job, n_jobs=n_jobs, warm=warm) for part, source in tried]
    trials = [one for one in done if isinstance(one, Trial)]
    problems = [one for one in done if isinstance(one, Problem)]
    if not trials:
        reason = problems[0] if problems else "none of them can be read"
        raise BadInput(f"no image could be tried: {reason}; give others")
    n_bytes = sum(_count_read(image) for image, size in zip(images, sizes, strict=True) if size)
    found = scale_up(trials, sizes[sizes > 0], n_bytes, n_jobs=n_jobs, survey=survey)
    return replace(found, problems=tuple(problems))


def _count_read(image: Path) -> int:
    """Return the bytes that are read of an image where it lies."""
    if is_trusted(image):
        files: Sequence[Path] = [file] if (file := find_file(name_for_gdal(image))) else []
    else:
        files = list_files(image) if is_copied(image) else [image]
    # What is not of this machine comes as the copy.
    return sum(file.stat().st_size for file in files if file.is_file()) or measure_copy(image)[0]


def choose_images(megapixels: np.ndarray) -> list[int]:
    """Return a small, a typical and a large image by their sizes; fewer where they are alike.

    Examples
    --------
    >>> choose_images(np.array([12.0, 3.0, 12.0, 0.0, 40.0])), choose_images(np.array([2.0, 2.0]))
    ([1, 0, 4], [0])
    """
    order = np.argsort(megapixels, kind="stable")
    order = order[megapixels[order] > 0]
    by_size = {megapixels[i]: int(i) for i in order[::-1]}
    places = [round(share * (len(order) - 1)) for share in _SHARES] if len(order) else []
    return [by_size[size] for size in dict.fromkeys(megapixels[order[place]] for place in places)]


def _try_image(image: Path, source: Path, job: Job, *, n_jobs: int, warm: Path | None) -> Trial | Problem:
    """Segment an image, or what stands for the source of it, once in every process, all at a time."""
    where = describe_source(source)
    with tempfile.TemporaryDirectory(prefix="hybridseg-") as name:
        folders = [Path(name, str(i)) for i in range(n_jobs)]
        try:
            found = list(
                map_calls(partial(_try_once, job, warm, image), folders, n_jobs=n_jobs, on_death=_report_death)
            )
        except HybridSegError as error:
            return replace(Problem.of(image, error), where=where)
    if reasons := [one for one in found if isinstance(one, str)]:
        return Problem(where, reasons[0])
    return Trial.mean_of([one for one in found if isinstance(one, Trial)])


def _try_once(job: Job, warm: Path | None, image: Path, folder: Path) -> Trial | str:
    """Segment an image into a folder, in whatever process this runs: the time of a process that is at work already."""
    job = replace(job, outputs=replace(job.outputs, out_dir=folder))
    watch, processor = StopWatch(), StopWatch(time.process_time)

    def lap(step: str) -> None:
        watch.lap(step)
        processor.lap(step)

    try:
        claim_outputs(job.outputs, [image])
        job.load()
        lap("load")
        # Its steps in seconds of a processor, which other programs do not change.
        with timed_by(time.process_time):
            if warm is not None:
                job.segment(warm)
            forget_peak()
            lap("warm up")
            result = job.segment(image)
            lap("segment")
    except HybridSegError as error:
        return Problem.of(image, error).message
    except MemoryError:
        return f"is too large for the memory of this machine; {job.too_large}"
    n_bytes = sum(path.stat().st_size for path in result.written)
    load, seconds = (min(watch.seconds[step], processor.seconds[step]) for step in ("load", "segment"))
    core, clock = processor.seconds["segment"], watch.seconds["segment"]
    steps = {**result.seconds, "the rest": max(core - sum(result.seconds.values()), 0.0)}
    return Trial(measure_megapixels(image), load, seconds, read_peak(), n_bytes, core, clock, steps)


def _report_death(_: Path, how: str) -> str:
    return f"its process {how}; give a smaller --jobs"


def _list_parts(image: Path, folder: Path) -> list[Path]:
    """Return an image, or in its place the middle of a large raster, in two sizes."""
    info = describe_image(image)
    if max(info.shape) <= _PART_SIDES[-1] or not can_read_parts(info):
        return [image]
    paths = [folder / f"{side}_{image.stem}.tif" for side in _PART_SIDES]
    for path, side in zip(paths, _PART_SIDES, strict=True):
        copy_middle(image, path, side)
    return paths


def scale_up(
    trials: Sequence[Trial], megapixels: np.ndarray, n_bytes: int, *, n_jobs: int, survey: SurveyOptions
) -> Estimate:
    """Return what all images take by what some took: in between in proportion, and beyond the largest as before it.

    Parameters
    ----------
    megapixels : numpy.ndarray
        Of each image.
    n_bytes : int
        Of all their files.

    Examples
    --------
    >>> trials = [Trial(1.0, 2.0, 3.0, 500.0, 1000), Trial(9.0, 2.0, 11.0, 900.0, 9000)]
    >>> survey = SurveyOptions(megapixels=2400, machines=(1, 4))
    >>> found = scale_up(trials, np.array([1.0, 5.0, 18.0]), 10**6, n_jobs=2, survey=survey)
    >>> [round(one.hours * 3600) for one in found.scenarios], found.memory_mb, found.written_bytes, found.n_images
    ([1502, 377], 1800.0, 2400000.0, 300.0)
    """
    trials = tuple(sorted(trials, key=attrgetter("megapixels")))
    tried = np.array([one.megapixels for one in trials])
    beyond = np.maximum(megapixels - tried[-1], 0)

    def spread(values: Sequence[float]) -> np.ndarray:
        """Return those of each image; with a single size, what a pixel takes is the same in all."""
        *_, last = values
        slope = (last - values[-2]) / (tried[-1] - tried[-2]) if len(tried) > 1 else last / tried[-1]
        found: np.ndarray = np.interp(megapixels, tried, values) + beyond * max(slope, 0.0)
        return found

    total = float(megapixels.sum())
    share = survey.megapixels / total if survey.megapixels else 1.0
    seconds = spread([one.seconds for one in trials])
    start = max(one.load_seconds for one in trials)
    n_images, n_read = len(megapixels) * share, n_bytes * share
    written = float(spread([one.bytes_written for one in trials]).sum()) * share
    core_seconds = float(spread([one.core_seconds for one in trials]).sum())
    names = dict.fromkeys(name for one in trials for name in one.steps)
    steps = {name: float(spread([one.steps.get(name, 0.0) for one in trials]).sum()) / total for name in names}
    scenarios = []
    for machines in survey.machines:
        least = {
            PROCESSORS: float(seconds.sum()) * share / (n_jobs * machines) + start,
            ONE_IMAGE: float(seconds.max()) + start,
            DRIVER: n_images / _IMAGES_A_SECOND,
        }
        limit = max(least, key=lambda name: least[name])
        hours = least[limit] / 3600
        scenarios.append(
            Scenario(
                machines=machines,
                processes=n_jobs * machines,
                hours=hours,
                machine_hours=hours * machines,
                images_per_second=n_images / least[limit],
                read_mb_per_second=n_read / least[limit] / 1e6,
                written_mb_per_second=written / least[limit] / 1e6,
                price=None if survey.price is None else survey.price * hours * machines,
                limit=limit,
            )
        )
    return Estimate(
        n_images=n_images,
        megapixels=total * share,
        trials=trials,
        core_hours=core_seconds * share / 3600,
        steps=steps,
        memory_mb=max(one.peak_mb for one in trials) * n_jobs,
        read_bytes=n_read,
        written_bytes=written,
        scenarios=tuple(scenarios),
    )
