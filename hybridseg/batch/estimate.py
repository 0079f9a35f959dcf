"""What a survey takes: a few of its images are segmented on this machine, and what they took is scaled up."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from functools import partial
from operator import attrgetter
from pathlib import Path

import numpy as np

from hybridseg.batch.jobs import Job, claim_outputs
from hybridseg.batch.plan import measure_megapixels
from hybridseg.batch.workers import map_calls
from hybridseg.errors import BadInput, HybridSegError, Problem
from hybridseg.io.images import describe_image
from hybridseg.io.lazyimages import can_read_parts
from hybridseg.io.windows import copy_middle
from hybridseg.machine import forget_peak, read_peak
from hybridseg.options import Span, check_options, option
from hybridseg.progress import Progress, StopWatch, no_progress

# Of a larger raster two parts of these sides are tried, which tell how time grows with the pixels.
_PART_SIDES = 4000, 8000
_SHARES = (0.0, 0.5, 1.0)
_MOST_WARM = 4.0


@dataclass(frozen=True)
class SurveyOptions:
    """The survey that some images stand for, and the machines that do it."""

    megapixels: float | None = option(
        None, "Megapixels of the whole survey, of which SOURCES are a sample.", span=Span(0, 1e12, above=True)
    )
    machines: int = option(1, "Machines like this one that share the work.", span=Span(1))
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
    """

    megapixels: float
    load_seconds: float
    seconds: float
    peak_mb: float
    bytes_written: float


@dataclass(frozen=True)
class Estimate:
    """What a survey takes.

    Parameters
    ----------
    trials : tuple of Trial
        What was measured, one size of image after the other.
    hours : float
        Until it is done.
    machine_hours : float
        The same of all machines together.
    memory_mb : float
        Of all processes of one machine.
    read_bytes, written_bytes : float
        Of all images and all results.
    read_mb_per_second, written_mb_per_second : float
        What the disks that hold them must bear.
    price : float or None
        Of all machines.
    problems : tuple of Problem
        Images that could not be tried.
    """

    n_images: float
    megapixels: float
    trials: tuple[Trial, ...]
    hours: float
    machine_hours: float
    memory_mb: float
    read_bytes: float
    written_bytes: float
    read_mb_per_second: float
    written_mb_per_second: float
    price: float | None
    problems: tuple[Problem, ...] = ()

    @property
    def megapixel_seconds(self) -> float:
        """Seconds of one process for a megapixel, on the mean of the trials."""
        return sum(one.seconds for one in self.trials) / sum(one.megapixels for one in self.trials)


def estimate_survey(
    images: Sequence[Path],
    job: Job,
    *,
    n_jobs: int,
    survey: SurveyOptions = SurveyOptions(),
    progress: Progress = no_progress,
) -> Estimate:
    """Segment a small, a usual and a large image, or fewer where sizes are alike, and scale up what that took.

    Each is segmented once in every process; the results go to a temporary folder, which is removed.

    Raises
    ------
    BadInput
        When none of them can be segmented.
    """
    sizes = np.array([measure_megapixels(image) for image in images])
    with tempfile.TemporaryDirectory(prefix="hybridseg-") as name:
        parts: list[Path] = []
        done: list[Trial | Problem] = []
        for i in choose_images(sizes):
            try:
                parts += _list_parts(images[i], Path(name))
            except HybridSegError as error:
                done.append(Problem.of(images[i], error))
        # The first is the smallest: enough to warm up. Where it is large, a cold start makes no difference.
        warm = parts[0] if parts and measure_megapixels(parts[0]) <= _MOST_WARM else None
        done += [_try_image(part, job, n_jobs=n_jobs, warm=warm) for part in progress(parts, label="images tried")]
    trials = [one for one in done if isinstance(one, Trial)]
    problems = [one for one in done if isinstance(one, Problem)]
    if not trials:
        reason = problems[0] if problems else "none of them can be read"
        raise BadInput(f"no image could be tried: {reason}; give others")
    n_bytes = sum(image.stat().st_size for image, size in zip(images, sizes, strict=True) if size)
    found = scale_up(trials, sizes[sizes > 0], n_bytes, n_jobs=n_jobs, survey=survey)
    return replace(found, problems=tuple(problems))


def choose_images(megapixels: np.ndarray) -> list[int]:
    """Return a small, a usual and a large image by their sizes; fewer where they are alike.

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


def _try_image(image: Path, job: Job, *, n_jobs: int, warm: Path | None) -> Trial | Problem:
    """Segment an image once in every process, all at a time."""
    with tempfile.TemporaryDirectory(prefix="hybridseg-") as name:
        folders = [Path(name, str(i)) for i in range(n_jobs)]
        try:
            found = list(
                map_calls(partial(_try_once, job, warm, image), folders, n_jobs=n_jobs, on_death=_report_death)
            )
        except HybridSegError as error:
            return Problem.of(image, error)
    if reasons := [one for one in found if isinstance(one, str)]:
        return Problem(str(image), reasons[0])
    return Trial(*map(float, np.mean([astuple(one) for one in found if isinstance(one, Trial)], axis=0)))


def _try_once(job: Job, warm: Path | None, image: Path, folder: Path) -> Trial | str:
    """Segment an image into a folder, in whatever process this runs: the time of a process that is at work already."""
    job = replace(job, outputs=replace(job.outputs, out_dir=folder))
    try:
        claim_outputs(job.outputs, [image])
        watch = StopWatch()
        job.load()
        watch.lap("load")
        if warm is not None:
            job.segment(warm)
        forget_peak()
        watch.lap("warm up")
        result = job.segment(image)
        watch.lap("segment")
    except HybridSegError as error:
        return str(error)
    except MemoryError:
        return f"is too large for the memory of this machine; {job.too_large}"
    n_bytes = sum(path.stat().st_size for path in result.written)
    return Trial(measure_megapixels(image), watch.seconds["load"], watch.seconds["segment"], read_peak(), n_bytes)


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
    >>> found = scale_up(trials, np.array([1.0, 5.0, 18.0]), 10**6, n_jobs=2, survey=SurveyOptions(megapixels=2400))
    >>> round(found.machine_hours * 3600), found.memory_mb, found.written_bytes, found.n_images
    (1502, 1800.0, 2400000.0, 300.0)
    """
    trials = tuple(sorted(trials, key=attrgetter("megapixels")))
    tried = np.array([one.megapixels for one in trials])
    beyond = np.maximum(megapixels - tried[-1], 0)

    def add_up(values: Sequence[float]) -> float:
        """Return the sum over all images; with a single size, what a pixel takes is the same in all."""
        *_, last = values
        slope = (last - values[-2]) / (tried[-1] - tried[-2]) if len(tried) > 1 else last / tried[-1]
        return float((np.interp(megapixels, tried, values) + beyond * max(slope, 0.0)).sum())

    total = float(megapixels.sum())
    share = survey.megapixels / total if survey.megapixels else 1.0
    work = add_up([one.seconds for one in trials]) * share / n_jobs
    start = max(one.load_seconds for one in trials)
    seconds = work / survey.machines + start
    written, n_read = add_up([one.bytes_written for one in trials]) * share, n_bytes * share
    machine_hours = seconds * survey.machines / 3600
    return Estimate(
        n_images=len(megapixels) * share,
        megapixels=total * share,
        trials=trials,
        hours=seconds / 3600,
        machine_hours=machine_hours,
        memory_mb=max(one.peak_mb for one in trials) * n_jobs,
        read_bytes=n_read,
        written_bytes=written,
        read_mb_per_second=n_read / seconds / 1e6,
        written_mb_per_second=written / seconds / 1e6,
        price=None if survey.price is None else survey.price * machine_hours,
    )
