"""The options of both methods on one command, each below its own heading in ``--help``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import click

from hybridseg.apply import Model, find_model
from hybridseg.batch.jobs import Outputs
from hybridseg.cli.console import Console
from hybridseg.cli.dense import presentation_options
from hybridseg.cli.options import (
    CRF_FLAGS,
    colors_option,
    figure_options,
    given_options,
    is_given,
    jobs_option,
    join_options,
    memory_option,
    named_as_typed,
    options_of,
    read_options,
    read_repainted,
)
from hybridseg.cli.segment import (
    BY_SIZE,
    CRF_NAMES,
    find_best,
    labels_option,
    make_hybrid_options,
    refuse_prob,
    tile_size_option,
)
from hybridseg.crf.options import CrfOptions
from hybridseg.dense.predict import PredictJob
from hybridseg.dense.smoothing import CRF_SOURCES, SmoothingOptions, find_smoothing
from hybridseg.dense.windows import DenseOptions
from hybridseg.figures import FigureOptions
from hybridseg.hybrid.segmentation import HybridOptions
from hybridseg.hybrid.semseg import SemsegJob
from hybridseg.io.pairing import PREDSEG_CRF
from hybridseg.machine import MemoryOptions
from hybridseg.models.engines import ENGINES, LITERT

TILES, NETWORKS, CRF = "For tile classifiers", "For dense networks", "For the dense CRF of both"
_NO_CRF, _FROM_LABELS = CRF_SOURCES[:2]
_OF_METHOD = "that of the method"


class GroupedCommand(click.Command):
    """A command that lists options with a heading below it, after all others."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, group by group."""
        groups: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            if isinstance(parameter, click.Option) and (record := parameter.get_help_record(ctx)):
                groups.setdefault(getattr(parameter, "heading", "Options"), []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def headed(heading: str, *options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return one decorator that adds options below a heading of a `GroupedCommand`."""

    def add(function: Any) -> Any:
        n_before = len(getattr(function, "__click_params__", ()))
        function = join_options(*options)(function)
        for parameter in function.__click_params__[n_before:]:
            parameter.heading = heading
        return function

    return add


method_options = join_options(
    headed(
        TILES,
        labels_option,
        tile_size_option,
        options_of(SemsegJob, "input_range"),
        options_of(HybridOptions, "threshold", "decimation", "stride", "pattern", "seed_from", unset=BY_SIZE),
        # `--scale` is that at which networks see an image.
        options_of(HybridOptions, "scale", prefix="crf_", unset=BY_SIZE),
        options_of(Outputs, "report", "keep_seeds"),
    ),
    headed(
        NETWORKS,
        presentation_options,
        options_of(
            SmoothingOptions, "crf_from", "thinning", "radius", flags={"radius": ("--median-radius",)},
            unset={"radius": "3 with --crf-from labels, else 0"},
        ),
    ),
    headed(
        CRF,
        options_of(
            CrfOptions, "gt_prob", *CRF_NAMES, "space_theta", flags={**CRF_FLAGS, "gt_prob": ("--prob",)},
            unset={
                **dict.fromkeys(("theta", "color_scale", "space_compat", "color_compat"), "what tune-crf found, or "
                "that of the method"),
                "n_iterations": _OF_METHOD, "tolerance": _OF_METHOD, "space_theta": "--theta",
            },
        ),
    ),
)  # fmt: skip


survey_options = join_options(
    colors_option("--labels, or else the model's own"),
    options_of(Outputs, "probabilities"),
    click.option("--figures/--no-figures", default=True, show_default=True, help="Draw the figure of each image."),
    figure_options,
    jobs_option,
    memory_option,
    click.option(
        "--model-engine", type=click.Choice(ENGINES), default=LITERT, show_default=True,
        help="What runs the models; tensorflow is the reference, and takes seconds to start.",
    ),
)  # fmt: skip


def read_job(console: Console, settings: dict[str, Any]) -> SemsegJob | PredictJob:
    """Make the job of a command on any number of images by `survey_options` and `method_options`."""
    model = Model(
        tuple(map(find_model, settings["models"])), settings["labels_path"], settings["tile_size"],
        settings["input_range"], settings["model_engine"],
    )  # fmt: skip
    for name, flag in (("dpi", "--dpi"), ("figure_format", "--format")):
        if is_given(name) and not settings["figures"]:
            raise click.UsageError(f"{flag} is for the figures, which --no-figures leaves out; give one of the two.")
    outputs = read_options(
        Outputs, settings, out_dir=settings.get("out_dir"),
        figures=read_options(FigureOptions, settings) if settings["figures"] else None,
    )  # fmt: skip
    memory = read_options(MemoryOptions, settings, n_processes=settings["n_jobs"])
    return replace(make_method_job(console, model, settings, outputs=outputs), memory=memory)


def make_method_job(
    console: Console, model: Model, settings: dict[str, Any], *, outputs: Outputs
) -> SemsegJob | PredictJob:
    """Make the job of the method that a model belongs to, as the options of a command say.

    Raises
    ------
    click.UsageError
        When an option was given that has no effect with this model.
    """
    other, kind = (NETWORKS, "a tile classifier") if model.is_classifier else (TILES, "a dense network")
    if flags := _list_given(other):
        raise click.UsageError(
            f"{flags[0]} is {other[0].lower()}{other[1:]}, and {model.paths[0]} is {kind}; leave it out (--help lists "
            f"the options of {kind} apart)."
        )
    table = read_repainted(model.classes, settings["labels_path"], settings["colors_path"], owner=model.paths[0])
    if model.is_classifier:
        options = make_hybrid_options(settings, find_best(console, model.paths), prefix="crf_")
        refuse_prob(options)
        return model.make_job(options=options, outputs=outputs, table=table)
    with named_as_typed():
        smoothing = _read_smoothing(model, settings)
        how = replace(DenseOptions(), **given_options(DenseOptions, settings))
    if smoothing.crf_from != _NO_CRF:
        # Beside the plain results, as of `infer --crf`.
        outputs = replace(outputs, title=PREDSEG_CRF)
    return model.make_job(options=how, smoothing=smoothing, outputs=outputs, table=table)


def _list_given(heading: str) -> list[str]:
    """Return the options below a heading that were given."""
    parameters = click.get_current_context().command.params
    return [p.opts[0] for p in parameters if getattr(p, "heading", "") == heading and p.name and is_given(p.name)]


def _read_smoothing(model: Model, settings: dict[str, Any]) -> SmoothingOptions:
    source = settings["crf_from"]
    if source == _NO_CRF and (flags := _list_given(CRF)):
        raise click.UsageError(f"{flags[0]} is of the CRF, which a dense network has with --crf-from probabilities.")
    for name, flag in (("thinning", "--thinning"), ("gt_prob", "--prob")):
        if source != _FROM_LABELS and is_given(name):
            raise click.UsageError(f"{flag} has an effect on a dense network only with --crf-from labels.")
    base = find_smoothing(source, model.architecture)
    crf = replace(base.crf, **given_options(CrfOptions, settings))
    return replace(base, **given_options(SmoothingOptions, settings), crf=crf)
