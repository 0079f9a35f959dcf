"""``estimate``: what a survey will take on this machine, or on several like it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from hybridseg.batch.estimate import Estimate, SurveyOptions, estimate_survey
from hybridseg.cli.console import Console, pass_console
from hybridseg.cli.methods import GroupedCommand, method_options, read_job, survey_options
from hybridseg.cli.options import models_option, options_of, read_options, sources_argument
from hybridseg.io.pairing import find_images
from hybridseg.markup import count_of, describe_bytes
from hybridseg.progress import describe_seconds

# Other programs, or a slow disk, make a trial take more than this times its CPU time.
_MUCH_WAITING = 1.25
_COLUMNS = ("machines", "processes", "time", "machine hours", "images/s", "MB/s read", "MB/s written", "limit")


@click.command(cls=GroupedCommand)
@sources_argument
@models_option
@survey_options
@options_of(SurveyOptions, "megapixels", "machines", "price", metavars={"machines": "N,N,..."})
@method_options
@pass_console
def estimate(console: Console, **settings: Any) -> None:
    """Say what segmenting a survey takes: hours, memory, disk and money.

    A small, a typical and a large image of SOURCES, or fewer where sizes are alike, are segmented as segment would with
    the same options, in all processes of this machine at once, and what that took is scaled up to all images, or to
    --megapixels of such images. SOURCES are the same as for segment; the time to copy or fetch them is not counted. Of
    a raster with a side above 8,000 pixels two parts from its middle are tried. Time is CPU time where other programs
    ran too.

    Result: nothing is written.

    \b
    Examples:
      hybridseg estimate photos --model model.pb
      hybridseg estimate photos --model model.pb --megapixels 250000 --machines 1,16 --price 0.8
    """
    images = find_images(settings["sources"], remote=True)
    job, survey = read_job(console, settings), read_options(SurveyOptions, settings)
    found = estimate_survey(images, job, n_jobs=settings["n_jobs"], survey=survey, progress=console.progress)
    console.record(estimate={**asdict(found), "waiting": found.waiting, "notes": found.notes})
    _say_estimate(console, found, n_jobs=settings["n_jobs"])
    for problem in found.problems:
        console.warn(f"{problem}, so it was left out of the trial")


def _say_estimate(console: Console, found: Estimate, *, n_jobs: int) -> None:
    sizes = sorted(
        {f"{trial.megapixels:,.1f}" for trial in found.trials}, key=lambda text: float(text.replace(",", ""))
    )
    steps = ", ".join(f"{name} {seconds:.3f}" for name, seconds in found.steps.items() if seconds >= 0.0005)
    rows = {
        "tried": f"{count_of(len(found.trials), 'image')} of {', '.join(sizes)} megapixels, {n_jobs} at once",
        "images": f"{round(found.n_images):,}",
        "megapixels": f"{found.megapixels:,.1f}",
        "work": f"{found.core_hours:,.1f} CPU hours",
        "a megapixel": f"{sum(found.steps.values()):.3f} CPU seconds: {steps}",
        "memory": f"up to about {found.memory_mb / 1000:.1f} GB on a machine",
        "disk": f"{describe_bytes(found.read_bytes)} of images, about {describe_bytes(found.written_bytes)} of results",
    }
    if found.waiting > _MUCH_WAITING:
        rows["waiting"] = (
            f"by the clock the trial took {found.waiting:.1f} times its CPU time; unless other programs ran, the "
            "survey will too"
        )
    console.say_all(f"{name:<11} {value}" for name, value in rows.items())
    console.say()
    with_price = found.scenarios[0].price is not None
    lines = []
    for one in found.scenarios:
        cells = [f"{one.machines:,}", f"{one.processes:,}", describe_seconds(one.hours * 3600)]
        cells += [f"{one.machine_hours:,.1f}", f"{one.images_per_second:,.1f}"]
        cells += [f"{one.read_mb_per_second:,.1f}", f"{one.written_mb_per_second:,.1f}", one.limit]
        lines.append([*cells, f"{one.price:,.2f}"] if one.price is not None else cells)
    console.table((*_COLUMNS, "price") if with_price else _COLUMNS, lines)
    console.say_all(found.notes)
