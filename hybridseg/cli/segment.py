"""Commands of the hybrid method: ``semseg``, and ``tune-crf`` that tunes its CRF."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from hybridseg.batch.jobs import Job, Outputs, run_jobs
from hybridseg.batch.results import ImageResult
from hybridseg.cli.console import Console, pass_console, printable
from hybridseg.cli.options import (
    class_files_options,
    options_of,
    path_type,
    places_options,
    read_options,
    read_table,
    resume_option,
    seed_option,
)
from hybridseg.crf.options import CrfOptions
from hybridseg.hybrid.segmentation import BEST_OPTIONS, HybridOptions, make_best_options
from hybridseg.hybrid.semseg import SemsegJob, load_classifiers
from hybridseg.hybrid.tuning import SEARCH_RANGES, Trial, TuneOptions, read_tuning, tuning_path
from hybridseg.hybrid.tuning import tune_crf as tune
from hybridseg.io.masks import find_labelled
from hybridseg.io.pairing import find_images
from hybridseg.models.ensemble import AnyClassifier
from hybridseg.verdict import FEW_PHOTOS, NextSteps

DEFAULT_MODEL = Path("model.pb")
_CLASSIC = ("IMAGE", "MODEL", "LABELS", "COLORS", "TILE", "THRESH", "PROB", "DECIM", "SCALE")


model_option = click.option(
    "--model", "model_paths", type=path_type, multiple=True,
    help="The classifier; give it again for others of the same classes that vote too.  [default: model.pb]",
)  # fmt: skip


_CRF_NAMES = ("theta", "color_scale", "space_compat", "color_compat", "n_iterations", "tolerance", "max_memory",
              "n_threads", "engine", "reference_geometry")  # fmt: skip


@click.command()
@click.argument(
    "words", metavar="IMAGE... | IMAGE MODEL LABELS COLORS TILE THRESH PROB DECIM SCALE", nargs=-1, type=click.Path()
)
@model_option
@click.option("--labels", "labels_path", type=path_type, help="The classes of a .pb of the classic script.")
@click.option("--colors", "colors_path", type=path_type, help="The colours of the classes; needs --labels.")
@click.option("--tile-size", type=int, help="Side of the tiles, in pixels.  [default: from the model]")
@options_of(HybridOptions, "threshold", "decimation", "scale")
@options_of(CrfOptions, "gt_prob", flags={"gt_prob": ("--prob",)})
@options_of(HybridOptions, "stride", "pattern", "seed_from", unset={"stride": "the size of a tile"})
@options_of(CrfOptions, *_CRF_NAMES)
@click.option("--best", is_flag=True, help="Slower and better: overlapping tiles, soft seeds, constants of tune-crf.")
@click.option("--out", "out_dir", metavar="DIR", type=path_type, help="Write here.  [default: beside each image]")
@options_of(Outputs, "probabilities", "report", "keep_seeds")
@resume_option
@pass_console
def semseg(console: Console, *, words: tuple[str, ...], **settings: Any) -> None:
    """Segment images by a tile classifier and a dense CRF.

    Tiles of each image are classified; those above a threshold seed a dense CRF on the reduced image, which finds
    the borders. Images are files, folders or patterns. The nine words of the classic script work as they did: TILE is
    --tile-size, THRESH --threshold, PROB --prob, DECIM --decimation and SCALE --scale.

    Result: for each image NAME_ares_TILE.mat (class, sparse, labels), NAME_ares_TILE_label.png (painted in the
    colours of the classes) and NAME_ares_TILE.png (image, tiles and result side by side); of a GeoTIFF also
    NAME_ares_TILE_label.tif with the same georeference.

    \b
    Examples:
      hybridseg semseg photos --model model.pb --out results
      hybridseg semseg photo.jpg model.pb labels.txt colors.txt 96 0.5 0.5 8 0.25
    """
    images = _read_words(words, settings)
    given = read_table(settings["labels_path"], settings["colors_path"])
    paths = find_images([Path(word) for word in images])
    files = {
        "model_paths": settings["model_paths"] or (DEFAULT_MODEL,),
        "labels_path": settings["labels_path"],
        "tile_size": settings["tile_size"],
    }
    classifier = SemsegJob(**files).load()
    job = SemsegJob(
        **files,
        outputs=read_options(Outputs, settings),
        table=classifier.table.with_colors_of(given) if given and settings["colors_path"] else None,
        options=_make_options(settings, _find_best(console, classifier) if settings["best"] else HybridOptions()),
    )
    run_job(console, paths, job, resume=settings["resume"])


def _find_best(console: Console, classifier: AnyClassifier) -> HybridOptions:
    tuned = read_tuning(classifier)
    if tuned is None:
        console.say(f"{tuning_path(classifier.path)} does not exist: general constants are used (see tune-crf)")
    return tuned or make_best_options(classifier)


def _read_words(words: tuple[str, ...], settings: dict[str, Any]) -> tuple[str, ...]:
    """Move the nine words of the classic script into the settings, and return the images."""
    if not words:
        raise click.UsageError("name the images: files, folders or patterns.")
    if settings["model_paths"] or len(words) == 1 or not words[1].lower().endswith(".pb"):
        return words
    if len(words) != len(_CLASSIC):
        raise click.UsageError(f"the classic form has nine words, {' '.join(_CLASSIC)}; these are {len(words)}.")
    kinds: dict[str, Callable[[str], Any]] = {
        "model_paths": lambda word: (Path(word),), "labels_path": Path, "colors_path": Path,
        "tile_size": int, "threshold": float, "gt_prob": float, "decimation": int, "scale": float,
    }  # fmt: skip
    context = click.get_current_context()
    for (name, kind), title, word in zip(kinds.items(), _CLASSIC[1:], words[1:], strict=True):
        if context.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{title} is given twice: as the word {word} and as an option.")
        try:
            settings[name] = kind(word)
        except ValueError:
            what = "whole number" if kind is int else "number"
            raise click.UsageError(f"{title} is {word!r}, which is not a {what}.") from None
        context.set_parameter_source(name, click.core.ParameterSource.COMMANDLINE)
    return words[:1]


def _make_options(settings: dict[str, Any], base: HybridOptions) -> HybridOptions:
    """Replace in `base` what was given on this command line."""
    context = click.get_current_context()
    given = {
        name: value
        for name, value in settings.items()
        if context.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE
    }

    def pick(cls: Any) -> dict[str, Any]:
        return {name: given[name] for name in cls.__dataclass_fields__ if name in given}

    return replace(base, **pick(HybridOptions), crf=replace(base.crf, **pick(CrfOptions)))


def run_job(console: Console, paths: Sequence[Path], job: Job, *, resume: bool) -> None:
    """Segment images and end the command; print the result of each, what was skipped, and what was replaced and why."""
    result = run_jobs(
        paths, job, resume=resume, progress=console.progress, on_done=lambda image: _print_image(console, image)
    )
    if result.skipped:
        console.say(f"images that had a result already and were skipped (--resume): {len(result.skipped)}")
    reasons = Counter(image.replaced for image in result.images if image.replaced)
    if reasons:
        counts = "; ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        console.say(f"older results that were replaced (--resume): {counts}")
    if len(result.images) > 1:
        console.say(f"{len(result.images)} images done")
    console.finish(result.problems, n_done=len(result.images) + len(result.skipped))


def _print_image(console: Console, image: ImageResult) -> None:
    shares = ", ".join(f"{name} {share:.1%}" for name, share in image.shares.items())
    console.say(f"{image.image_path.name}: {shares} ({sum(image.seconds.values()):.1f} s)")
    for path in image.written:
        console.say(f"  wrote {path}")
    for warning in image.warnings:
        click.echo(printable(f"warning: {image.image_path.name}: {warning}"), err=True)


@click.command("tune-crf")
@click.argument("paths", metavar="[DIR|FILES]...", nargs=-1, type=path_type)
@model_option
@places_options
@class_files_options
@options_of(TuneOptions, "n_trials", "score")
@options_of(BEST_OPTIONS, "stride", "scale", "seed_from", unset={"stride": "half a tile"})
@seed_option
@pass_console
def tune_crf(console: Console, *, paths: tuple[Path, ...], **settings: Any) -> None:
    """Tune the constants of the CRF on labelled images.

    DIR (default: the current folder) holds images with their label maps (NAME_mres.mat, NAME.png, NAME_mask.tif ...);
    or give the label maps themselves, or the images and --masks. Use images that the model was not trained on, and
    evaluate the result on others still.

    Result: a table of what was tried, and MODEL_crf.json beside the model, which semseg --best uses.

    \b
    Example:
      hybridseg tune-crf labelled --model model.pb
    """
    found = find_labelled(paths, images_dir=settings["images_dir"], masks_dir=settings["masks_dir"])
    classifier = load_classifiers(settings["model_paths"] or (DEFAULT_MODEL,))
    result = tune(
        found.pairs,
        classifier,
        start=_make_options(settings, make_best_options(classifier)),
        options=read_options(TuneOptions, settings),
        table=read_table(settings["labels_path"], settings["colors_path"]),
        progress=console.progress,
    )
    ranked = sorted(result.trials, key=lambda trial: -trial.score(settings["score"]))
    console.table(
        (*SEARCH_RANGES, "balance", "mean IoU", "accuracy", ""), [_trial_row(trial, result.best) for trial in ranked]
    )
    console.say(f"wrote {result.path}")
    console.say_all(found.describe_rest())
    console.say("The constants were chosen on these images, so expect somewhat less on others.")
    steps = NextSteps(
        good=f"hybridseg semseg PHOTOS --model {classifier.path}, then eval-pixels on photos that were not used here",
        few=f"tune on {FEW_PHOTOS} labelled photos or more",
        beaten="train the classifier on more labelled photos, for no CRF gains anything over its tiles alone",
    )
    console.conclude(result.verdict, steps)
    console.finish([*found.problems, *result.problems])


def _trial_row(trial: Trial, best: Trial) -> tuple[str, ...]:
    constants = [f"{getattr(trial.crf, name):g}" if trial.crf else "-" for name in SEARCH_RANGES]
    note = "best" if trial is best else "" if trial.crf else "tiles alone"
    balance = f"{trial.balance:g}" if trial.crf else "-"
    return (*constants, balance, f"{trial.score('iou'):.4f}", f"{trial.score('accuracy'):.4f}", note)
