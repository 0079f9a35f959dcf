"""``estimate``: what a survey will take on this machine, or on several like it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from hybridseg.apply import Model, find_model
from hybridseg.batch.estimate import Estimate, SurveyOptions, estimate_survey
from hybridseg.batch.jobs import Outputs
from hybridseg.cli.console import Console, pass_console
from hybridseg.cli.options import jobs_option, models_option, options_of, read_options, sources_argument
from hybridseg.cli.segment import labels_option, tile_size_option
from hybridseg.figures import FigureOptions
from hybridseg.io.pairing import find_images
from hybridseg.markup import count_of
from hybridseg.progress import describe_seconds


@click.command()
@sources_argument
@models_option
@labels_option
@tile_size_option
@options_of(Outputs, "probabilities")
@click.option("--figures/--no-figures", default=True, show_default=True, help="Draw the figure of each image.")
@jobs_option
@options_of(SurveyOptions, "megapixels", "machines", "price")
@pass_console
def estimate(console: Console, **settings: Any) -> None:
    """Say what segmenting a survey takes: hours, memory, disk and money.

    A small, a usual and a large image of SOURCES, or fewer where sizes are alike, are segmented as segment would, in
    all processes of this machine at once, and what that took is scaled up to all images, or to --megapixels of such
    images. Of a raster with a side above 8,000 pixels two parts from its middle are tried.

    Result: nothing is written.

    \b
    Examples:
      hybridseg estimate photos --model model.pb
      hybridseg estimate photos --model model.pb --megapixels 250000 --machines 16 --price 0.8
    """
    images = find_images(settings["sources"])
    model = Model(tuple(map(find_model, settings["models"])), settings["labels_path"], settings["tile_size"])
    outputs = read_options(Outputs, settings, figures=FigureOptions() if settings["figures"] else None)
    job, survey = model.make_job(outputs=outputs), read_options(SurveyOptions, settings)
    found = estimate_survey(images, job, n_jobs=settings["n_jobs"], survey=survey, progress=console.progress)
    console.record(estimate=asdict(found))
    _say_estimate(console, found, survey, n_jobs=settings["n_jobs"])
    for problem in found.problems:
        console.warn(f"{problem}, so it was left out of the trial")


def _say_estimate(console: Console, found: Estimate, survey: SurveyOptions, *, n_jobs: int) -> None:
    machines = "this machine" if survey.machines == 1 else f"{survey.machines:,} machines like this one"
    sizes = sorted(
        {f"{trial.megapixels:,.1f}" for trial in found.trials}, key=lambda text: float(text.replace(",", ""))
    )
    rows = {
        "tried": f"{count_of(len(found.trials), 'image')} of {', '.join(sizes)} megapixels, {n_jobs} at once",
        "pace": f"{60 * n_jobs / found.megapixel_seconds:,.0f} megapixels a minute",
        "survey": f"{count_of(round(found.n_images), 'image')}, {found.megapixels:,.0f} megapixels",
        "time": f"about {describe_seconds(found.hours * 3600)} on {machines}",
        "memory": f"up to {found.memory_mb / 1000:.1f} GB" + " each" * (survey.machines > 1),
        "disk": f"{_size(found.read_bytes)} of images, {_size(found.written_bytes)} of results",
        "traffic": f"{found.read_mb_per_second:,.1f} MB read and {found.written_mb_per_second:,.1f} MB written "
        "each second",
    }
    if survey.machines > 1 or found.price is not None:
        rows["machines"] = f"{found.machine_hours:,.1f} hours in all"
    if found.price is not None:
        rows["price"] = f"{found.price:,.2f}"
    console.say_all(f"{name:<9} {value}" for name, value in rows.items())


def _size(n_bytes: float) -> str:
    for power, unit in ((12, "TB"), (9, "GB")):
        if n_bytes >= 10**power:
            return f"{n_bytes / 10**power:,.1f} {unit}"
    return f"{n_bytes / 1e6:,.1f} MB"
