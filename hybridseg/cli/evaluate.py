"""The commands that compare label maps: ``eval-pixels``, and ``agreement`` of several people."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from hybridseg.cli.console import Console, pass_console
from hybridseg.cli.options import (
    class_files_options,
    figure_options,
    masks_option,
    options_of,
    path_type,
    read_options,
    read_table,
)
from hybridseg.confusion import SCORES, Confusion
from hybridseg.errors import join_names
from hybridseg.evaluation.agreement import measure_agreement
from hybridseg.evaluation.errorpanels import PanelOptions
from hybridseg.evaluation.pairs import find_pairs, find_photos
from hybridseg.evaluation.pixels import TILES_ALONE, evaluate_pixels, list_score_rows
from hybridseg.figures import FIGURES_DIR, FigureOptions
from hybridseg.io.labelled import IF_WHITE
from hybridseg.io.pairing import result_kind
from hybridseg.markup import count_of
from hybridseg.verdict import FEW_PHOTOS, NextSteps

_STEPS = NextSteps(
    good="use it on new photos of the same kind",
    few=f"compare {FEW_PHOTOS} photos or more",
    beaten="hybridseg tune-crf, because the CRF gains nothing over the tiles alone",
    lone=f"{NextSteps.lone}; {IF_WHITE}",
)
_TRAIN_AGAIN = "label more photos with {weakest} and train again"


@click.command("eval-pixels")
@click.argument("folder", metavar="[DIR]", type=path_type, default=".")
@click.option(
    "--images", "images_dir", metavar="DIR", type=path_type, help="Compare the results of these images alone."
)
@masks_option
@click.option(
    "--truth", metavar="GLOB", help="Label maps made by hand, below DIR: 'masks/*.png'.  [default: found by name]"
)
@click.option(
    "--prediction", metavar="GLOB",
    help="Label maps made by machine, below DIR: '*_predseg_crf.png'.  [default: the results in DIR]",
)  # fmt: skip
@click.option("--ignore", metavar="CLASS", multiple=True, help="Leave out pixels of this true class; may be repeated.")
@click.option("--out", "out_dir", metavar="DIR", type=path_type, help="Write the scores here.  [default: DIR]")
@class_files_options
@options_of(PanelOptions, "panels")
@figure_options
@pass_console
def eval_pixels(
    console: Console,
    *,
    folder: Path,
    images_dir: Path | None,
    masks_dir: Path | None,
    truth: str | None,
    prediction: str | None,
    ignore: tuple[str, ...],
    out_dir: Path | None,
    labels_path: Path | None,
    colors_path: Path | None,
    **settings: Any,
) -> None:
    """Compare automatic label maps with manual ones.

    Compares every pixel of the results in DIR (default: the current folder), NAME_ares_TILE.mat or NAME_predseg.png,
    with the mask of the same image, beside it, beside the image in --images, or in --masks; or of any label maps that
    --truth and --prediction find.
    Results of several kinds, as of two tile sizes, are not scored together: say which with --prediction. Classes are
    matched by name.

    Result: precision, recall, F1 and IoU of each class for each pair and for all together, printed and written as
    eval_pixels.csv and eval_pixels.json; eval_pixels_by_image.csv, the images by their multi-label Dice, the worst
    first, each with its worst class and what that is taken for; a confusion matrix eval_pixels_confusion.png of all,
    and figures/NAME_confusion.png of each pair; of the worst and the best photos, where they are in DIR or --images,
    figures/NAME_errors.png: image, truth, result and errors, and the worst together as eval_pixels_worst.png. A class
    that is nowhere in the truth has no scores: they are empty. The last lines say whether the result is good.

    \b
    Example:
      hybridseg eval-pixels results
    """
    pairs, problems = find_pairs(folder, masks_dir=masks_dir, images_dir=images_dir, truth=truth, prediction=prediction)
    result = evaluate_pixels(
        pairs,
        out_dir=out_dir or folder,
        table=read_table(labels_path, colors_path),
        ignore=ignore,
        problems=problems,
        image_paths=find_photos(folder, images_dir),
        panels=read_options(PanelOptions, settings),
        figures=read_options(FigureOptions, settings),
        progress=console.progress,
    )
    for name, confusion in result.confusions.items():
        _print_scores(console, name, confusion, ignore)
    if len(result.confusions) > 1:
        _print_scores(console, f"all {count_of(len(result.confusions), 'pair')}", result.pooled, ignore)
    for side, names in (("truth", result.only_in_truth), ("prediction", result.only_in_prediction)):
        if names:
            console.say(f"classes that only the {side} has: {', '.join(names)}; their pixels count as wrong")
    console.tell_worst(result.images)
    figures_dir = (out_dir or folder) / FIGURES_DIR
    figures = [path for path in result.written if path.parent == figures_dir]
    console.wrote(*(path for path in result.written if path not in figures))
    console.wrote(*figures, text=f"wrote {count_of(len(figures), 'figure')} into {figures_dir}")
    if result.not_shown:
        console.say(
            f"errors of {len(result.not_shown)} results are not drawn, for their photos are not in "
            f"{images_dir or folder}, or of another size (--images says where photos are)"
        )
    steps = _STEPS
    if any(result_kind(pair.prediction_path) != "ares" for pair in pairs):
        steps = replace(steps, weak=_TRAIN_AGAIN)
    if result.verdict and TILES_ALONE not in result.verdict.beaten_by:
        steps = replace(steps, beaten="")
    scores = {"names": list(result.pooled.table), **result.pooled.to_record()}
    console.conclude(scores, result.verdict, steps)
    console.finish(result.problems)


def _print_scores(console: Console, title: str, confusion: Confusion, ignore: tuple[str, ...]) -> None:
    accuracy = "" if confusion.accuracy is None else f"accuracy {confusion.accuracy:.3f}, "
    console.say(f"{title}: {accuracy}{confusion.n_pixels:,} pixels")
    rows = []
    for row in list_score_rows(confusion):
        if row["class"] == "(accuracy)" or not row["support"]:
            continue
        rows.append((row["class"], *("" if row[s] is None else f"{row[s]:.3f}" for s in SCORES), f"{row['support']:,}"))
    console.table(("class", "precision", "recall", "F1", "IoU", "pixels"), rows)
    console.say_left_out(confusion, ignore)
    console.say()


@click.command()
@click.argument("folder", metavar="DIR", type=path_type)
@click.option(
    "--out",
    "out_dir",
    metavar="DIR",
    type=path_type,
    help="Write the table and the maps here.  [default: DIR/agreement]",
)
@pass_console
def agreement(console: Console, *, folder: Path, out_dir: Path | None) -> None:
    """Compare the label maps of several people.

    DIR is the folder that was given to label --annotator, or any with a folder for each person that has NAME_mres.mat
    of the same images. Classes are matched by name; a pixel counts where both gave it a class.

    Result: of each pair of people the share of the pixels on which they agree, and Cohen's kappa, which is 0 for the
    agreement of chance; of each class the Dice of what they gave it to; agreement.csv with each image; and a map
    NAME_agreement.png of each image: where all agree and where they differ.

    \b
    Example:
      hybridseg agreement photos
    """
    found = measure_agreement(folder, out_dir=out_dir, progress=console.progress)
    rows = [(f"{one.first}, {one.second}", _show(one.share), _show(one.kappa)) for one in found.pairs]
    if rows:
        console.table(("people", "agreement", "kappa"), rows)
        console.table(("class", "Dice"), [(name, _show(dice)) for name, dice in found.classes.items()])
    for person, stems in found.alone.items():
        console.say(f"left out, as only {person} labelled them ({len(stems)}): {join_names(stems)}")
    console.record(pairs=[one.to_record() for one in found.pairs], classes=found.classes, alone=found.alone)
    console.wrote(*found.written)
    console.finish(found.problems, n_done=len(found.images))


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
