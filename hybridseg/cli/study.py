"""The command for all of it: ``run``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hybridseg.cli.console import Console, pass_console
from hybridseg.cli.options import (
    class_files_options,
    masks_option,
    options_of,
    path_type,
    read_options,
    read_table,
    seed_option,
)
from hybridseg.machine import count_cores
from hybridseg.markup import spell_command
from hybridseg.study.inputs import StudyOptions, StudyPaths

if TYPE_CHECKING:
    from hybridseg.study.study import StudyResult

_UNSET = {
    "proportion": "0.67; 0.75 from 60 labelled photos on",
    "tile_size": "96, or less where photos are small or a class fills no tile",
    "epochs": "80; 50 from 60 photos for training on",
}


@click.command()
@click.argument("images_dir", metavar="PHOTOS", type=path_type)
@masks_option
@class_files_options
@options_of(
    StudyOptions, "method", "group_by", "test_list", "proportion", "tile_size", "epochs",
    flags={"proportion": ("-p", "--proportion"), "tile_size": ("-t", "--tile-size"), "test_list": ("--test",)},
    unset=_UNSET, metavars={"group_by": "REGEX", "test_list": "FILE"},
)  # fmt: skip
@seed_option
@click.option("--out", "out_dir", metavar="DIR", type=path_type, help="Write here.  [default: PHOTOS_run]")
@click.option(
    "--dry-run", is_flag=True, help="Only check everything, and say what would be done and how long it takes."
)
@pass_console
def run(console: Console, *, dry_run: bool, **settings: Any) -> None:
    """Train, test and report on your own photos, all in one.

    PHOTOS is a folder of photos, of which some or all have a mask, beside them or in --masks. Everything is checked
    before any work, as hybridseg review does. The photos are divided into those for training and those for testing;
    a model is trained; the photos for testing and those without a mask are segmented; the result is compared with
    the masks. Each step is a command that is shown as it runs. The same command goes on after an interruption, and
    repeats no step whose photos and settings are unchanged. Nothing is written to your own folders.

    Result: DIR/report.html, one file with the verdict in words, the scores of each class, the best and the worst
    photos, what to label next, and the commands; beside it the models and the label maps.

    \b
    Example:
      hybridseg run photos --masks masks --labels labels.txt
    """
    from hybridseg.study.study import run_study

    result = run_study(
        read_options(StudyPaths, settings),
        run_command=console.run_command,
        say=console.say,
        warn=console.warn,
        options=read_options(StudyOptions, settings),
        table=read_table(settings["labels_path"], settings["colors_path"]),
        check_only=dry_run,
        n_jobs=count_cores(),
        progress=console.progress,
    )
    conclude_study(console, result)


def conclude_study(console: Console, result: StudyResult) -> None:
    """Report the steps of a study, and what they led to unless it was only checked."""
    console.record(plan=[{"command": spell_command(step.words), "seconds": step.seconds} for step in result.steps])
    if result.findings and result.report_path:
        best = result.findings.best
        console.record(best=best.name, methods={method.name: method.pooled for method in result.findings.methods})
        console.conclude(best.pooled, best.verdict, result.findings.next_steps)
        console.wrote(result.report_path, text=f"The report: {result.report_path.resolve()}")
