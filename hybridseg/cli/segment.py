"""Commands that give every pixel of new images a class: ``semseg``, and ``tune-crf`` that prepares for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from hybridseg.batch.jobs import Outputs, run_jobs
from hybridseg.batch.results import BatchResult, ImageResult
from hybridseg.cli.console import Console, pass_console
from hybridseg.cli.options import class_files_options, read_options, read_table, seed_option
from hybridseg.crf.options import ENGINES, CrfOptions
from hybridseg.hybrid.segmentation import SEED_SOURCES, HybridOptions, make_best_options
from hybridseg.hybrid.semseg import SemsegJob, load_classifiers
from hybridseg.hybrid.tuning import SCORES, SEARCH_RANGES, Trial, TuneOptions, read_tuning, tuning_path
from hybridseg.hybrid.tuning import tune_crf as tune
from hybridseg.hybrid.votes import PATTERNS
from hybridseg.io.pairing import find_images, find_images_of, find_label_maps, pair_labels_with_images
from hybridseg.models.ensemble import AnyClassifier

path_type = click.Path(path_type=Path)

_CLASSIC = ("IMAGE", "MODEL", "LABELS", "COLORS", "TILE", "THRESH", "PROB", "DECIM", "SCALE")


CRF_HELP = {
    "theta": "How far pixels speak to one another, in pixels of the reduced image.",
    "color_scale": "How far colours are alike, in levels of 0..255.",
    "space_compat": "What it costs near pixels to differ.",
    "color_compat": "What it costs near pixels of like colour to differ.",
    "n_iterations": "Rounds of the CRF, at most.",
    "tolerance": "Stop when fewer than this share of the pixels changed; 0 never.",
    "max_memory": "GiB that the CRF may take; beyond, it works in blocks.",
    "n_threads": "Threads of the CRF; 0 is one for each core.",
}


model_option = click.option(
    "--model", "model_paths", type=path_type, multiple=True,
    help="The classifier; given again, others of the same classes vote with it.  [default: model.pb]",
)  # fmt: skip


def number_options(defaults: object, help_of: dict[str, str]) -> Any:
    """Add an option for each named number of an options object, with its default and type."""

    def add(function: Any) -> Any:
        for name, text in reversed(help_of.items()):
            default = getattr(defaults, name)
            flag = f"--{name.removeprefix('n_').replace('_', '-')}"
            add_one = click.option(flag, name, type=type(default), default=default, show_default=True, help=text)
            function = add_one(function)
        return function

    return add


@click.command()
@click.argument("words", metavar="IMAGE... | IMAGE MODEL LABELS COLORS TILE THRESH PROB DECIM SCALE", nargs=-1)
@model_option
@click.option("--labels", "labels_path", type=path_type, help="Its classes, for a .pb of the classic script.")
@click.option("--colors", "colors_path", type=path_type, help="Their colours; needs --labels.")
@click.option("--tile-size", type=int, help="Side of the tiles.  [default: as the model says]")
@number_options(
    HybridOptions(),
    {
        "threshold": "THRESH: only tiles that are so sure of their class seed the CRF.",
        "decimation": "DECIM: classify one tile in so many.",
        "scale": "SCALE: size at which the CRF works, as a share of the image's own.",
    },
)
@click.option(
    "--prob",
    "gt_prob",
    type=float,
    default=CrfOptions.gt_prob,
    show_default=True,
    help="PROB: how far a seed is trusted.",
)
@click.option("--stride", type=int, help="Pixels from one tile to the next.  [default: the size of a tile]")
@click.option(
    "--pattern",
    type=click.Choice(PATTERNS),
    default=HybridOptions.pattern,
    show_default=True,
    help="Count tiles line after line, or spread as many evenly.",
)
@click.option(
    "--seed-from",
    type=click.Choice(SEED_SOURCES),
    default=HybridOptions.seed_from,
    show_default=True,
    help="Seed the CRF with the class of each tile, or with the probabilities of all.",
)
@number_options(CrfOptions(), CRF_HELP)
@click.option(
    "--engine", type=click.Choice(ENGINES), default=CrfOptions.engine, show_default=True, help="What computes the CRF."
)
@click.option("--reference-geometry", is_flag=True, help="Exchange width and height as the classic program does.")
@click.option("--best", is_flag=True, help="Slower and better: overlapping tiles, soft seeds, constants of tune-crf.")
@click.option("--out", "out_dir", metavar="DIR", type=path_type, help="Write here.  [default: beside each image]")
@click.option("--probabilities", is_flag=True, help="Also write how sure the result is.")
@click.option("--report", is_flag=True, help="Also write class shares and timings as JSON.")
@click.option("--keep-seeds", is_flag=True, help="Also write what the tiles alone say.")
@click.option("--resume", is_flag=True, help="Leave out images that have a result.")
@pass_console
def semseg(console: Console, *, words: tuple[str, ...], **settings: Any) -> None:
    """Give every pixel of images a class.

    Tiles of each image are classified; those that are sure seed a dense CRF on the reduced image, which finds the
    borders. Images are files, folders or patterns. The nine words of the classic script work as they did.

    Result: for each image NAME_ares_TILE.mat (class, sparse, labels), NAME_ares_TILE_label.png (painted in the
    colours of the classes), NAME_ares_TILE.png (a picture of how it came about); of a GeoTIFF also
    NAME_ares_TILE_label.tif in the same place on Earth.

    \b
    Examples:
      hybridseg semseg photos --model model.pb --out results
      hybridseg semseg photo.jpg model.pb labels.txt colors.txt 96 0.5 0.5 8 0.25
    """
    images = _read_words(words, settings)
    given = read_table(settings["labels_path"], settings["colors_path"])
    paths = find_images([Path(word) for word in images])
    files = {
        "model_paths": settings["model_paths"] or (Path("model.pb"),),
        "labels_path": settings["labels_path"],
        "tile_size": settings["tile_size"],
    }
    classifier = SemsegJob(**files).load()
    job = SemsegJob(
        **files,
        outputs=read_options(Outputs, settings),
        table=classifier.table.with_colors_of(given) if given and settings["colors_path"] else None,
        options=_make_options(settings, _find_best(console, classifier) if settings["best"] else None),
    )
    result = run_jobs(
        paths, job, resume=settings["resume"], progress=console.progress, on_done=partial(tell_image, console)
    )
    tell_skipped(console, result)
    if len(result.images) > 1:
        console.say(f"{len(result.images)} images done")
    console.finish(result.problems)


def _find_best(console: Console, classifier: AnyClassifier) -> HybridOptions:
    tuned = read_tuning(classifier)
    if tuned is None:
        console.say(f"{tuning_path(classifier.path)} is not there: general constants are used (see tune-crf)")
    return tuned or make_best_options(classifier)


def _read_words(words: tuple[str, ...], settings: dict[str, Any]) -> tuple[str, ...]:
    """Take the nine words of the classic script into the settings; give the images."""
    if not words:
        raise click.UsageError("name the images: files, a folder or a pattern.")
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
            raise click.UsageError(f"{title} is {word!r}, which is no {what}.") from None
        context.set_parameter_source(name, click.core.ParameterSource.COMMANDLINE)
    return words[:1]


def _make_options(settings: dict[str, Any], base: HybridOptions | None) -> HybridOptions:
    """Make the options of what was asked for; with a base, only what was asked for on this very command line."""
    context = click.get_current_context()

    def is_asked(name: str) -> bool:
        return base is None or context.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE

    crf_names = CrfOptions.__dataclass_fields__.keys() & settings.keys()
    crf = {name: settings[name] for name in crf_names if is_asked(name)}
    own_names = HybridOptions.__dataclass_fields__.keys() & settings.keys()
    own = {name: settings[name] for name in own_names if is_asked(name)}
    base = base or HybridOptions()
    return replace(base, **own, crf=replace(base.crf, **crf))


def tell_image(console: Console, image: ImageResult) -> None:
    """Say what came of an image, and what to look at."""
    shares = ", ".join(f"{name} {share:.1%}" for name, share in image.shares.items())
    console.say(f"{image.image_path.name}: {shares} ({sum(image.seconds.values()):.1f} s)")
    for path in image.written:
        console.say(f"  wrote {path}")
    for warning in image.warnings:
        text = f"warning: {image.image_path.name}: {warning}"
        click.echo(text.encode("utf-8", "replace").decode(), err=True)


def tell_skipped(console: Console, result: BatchResult) -> None:
    """Report how many images were left out, and how many results were made again and why."""
    if result.skipped:
        console.say(f"{len(result.skipped)} images had a result already and were left out (--resume)")
    reasons = Counter(image.replaced for image in result.images if image.replaced)
    if reasons:
        counts = "; ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        console.say(f"{reasons.total()} older results were replaced (--resume): {counts}")


@click.command("tune-crf")
@click.argument("paths", metavar="DIR|FILES...", nargs=-1, type=path_type, required=True)
@model_option
@click.option(
    "--images", "images_dir", metavar="DIR", type=path_type, help="Where the images are, if not beside the label maps."
)
@class_files_options
@number_options(TuneOptions(), {"n_trials": "CRFs to try."})
@click.option(
    "--score",
    type=click.Choice(SCORES),
    default=TuneOptions.score,
    show_default=True,
    help="What is to be highest: mean IoU of all classes, or accuracy.",
)
@click.option("--stride", type=int, help="Pixels from one tile to the next.  [default: half a tile]")
@click.option("--scale", type=float, help="Size at which the CRF works.  [default: as semseg --best]")
@click.option("--seed-from", type=click.Choice(SEED_SOURCES), help="See semseg.  [default: probabilities]")
@seed_option
@pass_console
def tune_crf(
    console: Console,
    *,
    paths: tuple[Path, ...],
    model_paths: tuple[Path, ...],
    images_dir: Path | None,
    labels_path: Path | None,
    colors_path: Path | None,
    n_trials: int,
    score: str,
    stride: int | None,
    scale: float | None,
    seed_from: str | None,
    seed: int,
) -> None:
    """Choose the constants of the CRF on labelled images.

    DIR holds images with their label maps (NAME_mres.mat); or give the label maps themselves. Best are images that
    the model did not learn from, and never those on which the result will be judged.

    Result: a table of what was tried, and MODEL_crf.json beside the model, which semseg --best uses.

    \b
    Example:
      hybridseg tune-crf labelled --model model.pb
    """
    label_paths = find_label_maps(paths)
    pairs, problems = pair_labels_with_images(label_paths, find_images_of(label_paths, images_dir))
    classifier = load_classifiers(model_paths or (Path("model.pb"),))
    asked: dict[str, Any] = {"stride": stride, "scale": scale, "seed_from": seed_from}
    base = make_best_options(classifier)
    result = tune(
        pairs,
        classifier,
        start=replace(base, **{name: value for name, value in asked.items() if value is not None}),
        options=TuneOptions(n_trials=n_trials, score=score, seed=seed),
        table=read_table(labels_path, colors_path),
        progress=console.progress,
    )
    ranked = sorted(result.trials, key=lambda trial: -trial.score(score))
    console.table(
        (*SEARCH_RANGES, "balance", "mean IoU", "accuracy", ""), [_trial_row(trial, result.best) for trial in ranked]
    )
    console.say(f"wrote {result.path}")
    console.finish([*problems, *result.problems])


def _trial_row(trial: Trial, best: Trial) -> tuple[str, ...]:
    constants = [f"{getattr(trial.crf, name):g}" if trial.crf else "-" for name in SEARCH_RANGES]
    note = "best" if trial is best else "" if trial.crf else "tiles alone"
    balance = f"{trial.balance:g}" if trial.crf else "-"
    return (*constants, balance, f"{trial.score('iou'):.4f}", f"{trial.score('accuracy'):.4f}", note)
