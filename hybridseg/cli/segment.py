"""Commands of the hybrid method: ``semseg``, and ``tune-crf`` that tunes its CRF."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from hybridseg.batch.jobs import Job, Outputs, run_jobs
from hybridseg.batch.manifest import MANIFEST_NAME
from hybridseg.batch.results import ImageResult
from hybridseg.cli.console import Console, pass_console
from hybridseg.cli.options import (
    CRF_FLAGS,
    PathType,
    class_files_options,
    colors_option,
    engine_option,
    figure_options,
    given_options,
    is_given,
    memory_option,
    named_as_typed,
    options_of,
    path_type,
    places_options,
    read_options,
    read_repainted,
    read_table,
    refuse_twice,
    resume_option,
    seed_option,
)
from hybridseg.crf.options import CrfOptions
from hybridseg.errors import one_line
from hybridseg.figures import FigureOptions
from hybridseg.hybrid.segmentation import HybridOptions, classic_options
from hybridseg.hybrid.semseg import SemsegJob, load_classifiers
from hybridseg.hybrid.tuning import SEARCH_RANGES, Trial, TuneOptions, read_tuning
from hybridseg.hybrid.tuning import tune_crf as tune
from hybridseg.io.masks import find_labelled
from hybridseg.io.pairing import find_images
from hybridseg.io.sources import as_source
from hybridseg.machine import MemoryOptions
from hybridseg.markup import count_of, name_some, spell_command
from hybridseg.models.ensemble import check_votes
from hybridseg.models.store import tuning_path
from hybridseg.verdict import FEW_PHOTOS, NextSteps

DEFAULT_MODEL = Path("model.pb")
_DEFAULTS = HybridOptions()
# Images that are named where many have the same warning.
_MOST_NAMED = 3
# What the words after the model mean. The first three say what the model is, the others how it is used.
_WORDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "labels_path": ("LABELS", Path),
    "colors_path": ("COLORS", Path),
    "tile_size": ("TILE", int),
    "threshold": ("THRESH", float),
    "gt_prob": ("PROB", float),
    "decimation": ("DECIM", int),
    "scale": ("SCALE", float),
}
_N_MODEL_WORDS = 3


model_option = click.option(
    "--model", "model_paths", type=path_type, multiple=True,
    help="The classifier; give it again for others of the same classes that vote too.  [default: model.pb]",
)  # fmt: skip

labels_option = click.option(
    "--labels", "labels_path", type=path_type, help="The classes of a .pb of the classic script."
)
tile_size_option = click.option(
    "--tile-size", type=int, help="Side of the tiles, in pixels.  [default: from the model]"
)

BY_SIZE = {
    "scale": "0.5, more for small images, less for large ones",
    "stride": "half a tile, more for large images",
    "pattern": "raster, but checker where that would leave most columns without a tile",
}
CRF_NAMES = ("theta", "color_scale", "space_compat", "color_compat", "n_iterations", "tolerance",
              "n_threads", "engine", "reference_geometry")  # fmt: skip


@click.command()
@click.argument(
    "words", metavar="IMAGE... [MODEL [LABELS [COLORS [TILE [THRESH PROB DECIM SCALE]]]]]", nargs=-1, type=PathType()
)
@model_option
@labels_option
@colors_option("--labels, or else the model's own")
@tile_size_option
@click.option(
    "--best/--classic",
    default=None,
    help="The best result: overlapping tiles, soft seeds, constants of tune-crf; or that of the classic script: every "
    "8th tile, hard seeds, scale 0.25, constants of 2018.  [default: --best; --classic with THRESH PROB DECIM SCALE]",
)
@options_of(HybridOptions, "threshold", "decimation", "scale", "stride", "pattern", "seed_from", unset=BY_SIZE)
@options_of(CrfOptions, "gt_prob", flags={"gt_prob": ("--prob",)})
@options_of(_DEFAULTS.crf, *CRF_NAMES, flags=CRF_FLAGS)
@click.option("--out", "out_dir", metavar="DIR", type=path_type, help="Write here.  [default: beside each image]")
@options_of(Outputs, "probabilities", "report", "keep_seeds")
@options_of(SemsegJob, "input_range")
@engine_option
@memory_option
@figure_options
@resume_option
@pass_console
def semseg(console: Console, *, words: tuple[str, ...], **settings: Any) -> None:
    """Segment images by a tile classifier and a dense CRF.

    Tiles of each image are classified; they seed a dense CRF on the reduced image, which finds the borders. Images are
    files, folders or patterns. The constants are those that tune-crf found for the model, where it was run. Without
    --scale, --theta is in pixels of the image at half its size.

    The nine words of the classic script work as they did, with its constants: TILE is --tile-size, THRESH
    --threshold, PROB --prob, DECIM --decimation and SCALE --scale; --classic is the same without them. An option that
    is given always counts.

    Result: for each image NAME_ares_TILE.mat (class, sparse, labels), NAME_ares_TILE_label.png (painted in the
    colours of the classes) and figures/NAME_ares_TILE.png (image, tiles and result side by side, with a legend); for
    a GeoTIFF also NAME_ares_TILE_label.tif with the same georeference and a style for QGIS.

    \b
    Examples:
      hybridseg semseg photos --model model.pb --out results
      hybridseg semseg photo.jpg model.pb
      hybridseg semseg photo.jpg model.pb labels.txt colors.txt 96 0.5 0.5 8 0.25
    """
    prob_is_option = is_given("gt_prob")
    images = _read_words(words, settings)
    paths = find_images(map(as_source, images))
    files = {
        "model_paths": settings["model_paths"] or (DEFAULT_MODEL,),
        "labels_path": settings["labels_path"],
        "tile_size": settings["tile_size"],
        "input_range": settings["input_range"],
        "engine": settings["model_engine"],
    }
    check_votes(files["model_paths"])
    classifier = SemsegJob(**files).load()
    is_classic = settings["best"] is False
    base = classic_options(classifier.tile_size) if is_classic else find_best(console, files["model_paths"])
    options = make_hybrid_options(settings, base)
    if prob_is_option and options.seed_from == "probabilities":
        raise click.UsageError("--prob only applies to hard seeds; add --classic or --seed-from labels.")
    job = SemsegJob(
        **files,
        outputs=read_options(Outputs, settings, figures=read_options(FigureOptions, settings)),
        table=read_repainted(classifier.table, settings["labels_path"], settings["colors_path"], owner=classifier.path),
        options=options,
        memory=read_options(MemoryOptions, settings),
    )
    run_job(console, paths, job, resume=settings["resume"])


def find_best(console: Console, model_paths: Sequence[Path]) -> HybridOptions:
    """Return what `tune-crf` found for some models; where it was not run, say so, and return the general options."""
    tuned = read_tuning(model_paths)
    if tuned is None:
        console.say(f"{tuning_path(model_paths[0])} does not exist: general constants are used (see tune-crf)")
    return tuned or _DEFAULTS


def _read_words(words: tuple[str, ...], settings: dict[str, Any]) -> tuple[str, ...]:
    """Move the words that follow the images into the settings, and return the images."""
    models = [] if settings["model_paths"] else [i for i, word in enumerate(words) if word.lower().endswith(".pb")]
    images, more = (words[: models[0]], words[models[0] + 1 :]) if models else (words, ())
    for card in (Path(word) for word in words if word.lower().endswith(".json")):
        if (model := card.with_suffix(".pb")).is_file():
            raise click.UsageError(f"{card} is the card of the model {model}; give {model}.")
    if not images:
        before = f" before the model {words[0]}" if words else ""
        raise click.UsageError(f"name the images{before}: files, folders or patterns.")
    if _N_MODEL_WORDS < len(more) != len(_WORDS):
        titles = [title for title, _ in _WORDS.values()]
        raise click.UsageError(
            f"after the model come {' '.join(titles[:_N_MODEL_WORDS])}, or all words of the classic script, "
            f"{' '.join(titles)}; these are {len(more)}."
        )
    if models:
        settings["model_paths"] = (Path(words[models[0]]),)
    if len(more) == len(_WORDS) and settings["best"] is None:
        settings["best"] = False
    for (name, (title, kind)), word in zip(_WORDS.items(), more, strict=False):
        if is_given(name):
            raise click.UsageError(f"{title} is given twice: as the word {word} and as an option.")
        try:
            settings[name] = kind(word)
        except ValueError:
            what = "whole number" if kind is int else "number"
            raise click.UsageError(f"{title} is {word!r}, which is not a {what}.") from None
        click.get_current_context().set_parameter_source(name, click.core.ParameterSource.COMMANDLINE)
    return images


def make_hybrid_options(settings: dict[str, Any], base: HybridOptions, *, prefix: str = "") -> HybridOptions:
    """Replace in `base` what was given on this command line, also with a prefix before the name of a field."""
    with named_as_typed(prefix):
        base = replace(base, **given_options(HybridOptions, settings, prefix=prefix))
    with named_as_typed():
        return replace(
            base, **given_options(HybridOptions, settings), crf=replace(base.crf, **given_options(CrfOptions, settings))
        )


def refuse_prob(options: HybridOptions) -> None:
    """Raise a usage error when --prob was given, which is for hard seeds, and the seeds are soft."""
    if is_given("gt_prob") and options.seed_from == "probabilities":
        raise click.UsageError("--prob only applies to hard seeds; add --seed-from labels.")


def run_job(console: Console, paths: Sequence[Path], job: Job, *, resume: bool, **settings: Any) -> None:
    """Segment images and end the command; print the result of each, what was skipped, and what was replaced and why.

    Parameters
    ----------
    settings
        Those of `run_jobs`.
    """
    warned: list[tuple[str, str]] = []

    def tell(image: ImageResult) -> None:
        _print_image(console, image)
        warned.extend((image.image_path.name, warning) for warning in image.warnings)

    rest = f"all in {MANIFEST_NAME}" if settings.get("manifest") else "--verbose names all"
    try:
        result = run_jobs(paths, job, resume=resume, progress=console.progress, on_done=tell, **settings)
    finally:
        for text in sum_up_warnings(warned, rest="" if console.verbose else rest):
            console.warn(text)
    console.record(skipped=result.skipped)
    if result.skipped:
        mark = " (--resume)" if resume else ""
        console.say(f"images that had a result already and were skipped{mark}: {len(result.skipped)}")
    reasons = Counter(image.replaced for image in result.images if image.replaced)
    if reasons:
        counts = "; ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        console.say(f"older results that were replaced (--resume): {counts}")
    if len(result.images) > 1:
        console.say(result.count_done())
    console.finish(result.problems, n_done=len(result.images) + len(result.skipped))


def _print_image(console: Console, image: ImageResult) -> None:
    shares = ", ".join(f"{name} {share:.1%}" for name, share in image.shares.items())
    told = f"{image.remark}: void everywhere" if image.remark else shares
    console.say(f"{one_line(image.image_path.name)}: {told} ({sum(image.seconds.values()):.1f} s)")
    if image.written:
        console.wrote(*image.written, text="\n".join(f"  wrote {one_line(path)}" for path in image.written))
    console.report.result.setdefault("images", []).append(
        {
            "image": image.image_path,
            "shares": image.shares,
            "seconds": image.seconds,
            "warnings": image.warnings,
            "remark": image.remark,
        }
    )


def sum_up_warnings(warned: Sequence[tuple[str, str]], *, rest: str) -> list[str]:
    """Return a line for each kind of warning, in the order of the first of each; only numbers differ within one.

    Parameters
    ----------
    warned : sequence of (str, str)
        Images, and what is to be said of each.
    rest : str
        Where all images are named; empty: give each a line of its own.

    Examples
    --------
    >>> sum_up_warnings([("a.jpg", "too dark"), ("b.jpg", "3 rows are void"), ("c.jpg", "too dark")], rest="see log")
    ['2 images: too dark (first: a.jpg, c.jpg; see log)', 'b.jpg: 3 rows are void']
    """
    kinds: dict[str, dict[str, str]] = {}
    for i, (name, text) in enumerate(warned):
        kinds.setdefault(re.sub(r"\d[\d.,]*", "#", text) if rest else str(i), {})[name] = text
    lines = []
    for texts in kinds.values():
        (first, text), *others = texts.items()
        if not others:
            lines.append(f"{first}: {text}")
            continue
        names = name_some(texts, _MOST_NAMED)
        lead = "first" if len(set(texts.values())) == 1 else f"the numbers are those of {first}; first"
        lines.append(f"{count_of(len(texts), 'image')}: {text} ({lead}: {names}; {rest})")
    return lines


@click.command("tune-crf")
@click.argument("paths", metavar="[DIR|FILES]...", nargs=-1, type=path_type)
@model_option
@places_options
@class_files_options
@options_of(TuneOptions, "n_trials", "score")
@options_of(HybridOptions, "stride", "scale", "seed_from", unset=BY_SIZE)
@engine_option
@seed_option
@pass_console
def tune_crf(console: Console, *, paths: tuple[Path, ...], **settings: Any) -> None:
    """Tune the constants of the CRF on labelled images.

    DIR (default: the current folder) holds images with their label maps (NAME_mres.mat, NAME.png, NAME_mask.tif ...);
    or give the label maps themselves, or the images and --masks. Use images that the model was not trained on, and
    evaluate the result on a third set.

    Result: a table of what was tried, and MODEL_crf.json beside the model, which semseg uses.

    \b
    Example:
      hybridseg tune-crf labelled --model model.pb
      hybridseg tune-crf --images images --masks masks --model model.pb
    """
    start, options = make_hybrid_options(settings, _DEFAULTS), read_options(TuneOptions, settings)
    images_dir, masks_dir = settings["images_dir"], settings["masks_dir"]
    refuse_twice(next(iter(paths), None) if masks_dir else None, images_dir)
    found = find_labelled(paths, images_dir=images_dir, masks_dir=masks_dir)
    classifier = load_classifiers(settings["model_paths"] or (DEFAULT_MODEL,), engine=settings["model_engine"])
    console.say_all(found.describe_rest())
    result = tune(
        found.pairs,
        classifier,
        start=start,
        options=options,
        table=read_table(settings["labels_path"], settings["colors_path"]),
        problems=found.problems,
        progress=console.progress,
    )
    ranked = sorted(result.trials, key=lambda trial: -trial.score(settings["score"]))
    console.table(
        (*SEARCH_RANGES, "balance", "mean IoU", "accuracy", ""), [_trial_row(trial, result.best) for trial in ranked]
    )
    console.wrote(result.path)
    if result.unknown:
        console.say(f"classes that the model does not know, whose pixels do not count: {', '.join(result.unknown)}")
    console.say("The constants were chosen on these images, so expect somewhat less on others.")
    use = spell_command(("semseg", "PHOTOS", "--model", classifier.path))
    steps = NextSteps(
        good=f"{use}, then eval-pixels on photos that were not used here",
        few=f"tune on {FEW_PHOTOS} labelled photos or more",
        beaten="train the classifier on more labelled photos, because no CRF gains anything over its tiles alone",
    )
    console.record(best=result.best.to_record())
    console.conclude(result.best.confusion.to_record(), result.verdict, steps)
    console.finish(result.problems)


def _trial_row(trial: Trial, best: Trial) -> tuple[str, ...]:
    constants = [f"{getattr(trial.crf, name):g}" if trial.crf else "-" for name in SEARCH_RANGES]
    note = "best" if trial is best else "" if trial.crf else "tiles alone"
    balance = f"{trial.balance:g}" if trial.crf else "-"
    return (*constants, balance, f"{trial.score('iou'):.4f}", f"{trial.score('accuracy'):.4f}", note)
