"""``hybridseg resunet``: the residual U-Net with the JSON config of the published program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from hybridseg.classes import ClassTable
from hybridseg.cli.console import Console, add_manners, pass_console
from hybridseg.cli.dense import (
    encoder_weights_option,
    labeldefs_option,
    make_steps,
    print_scores,
    read_paths,
    report_training,
    run_options,
    segment_images,
    view_options,
)
from hybridseg.cli.options import (
    engine_option,
    figure_options,
    is_given,
    options_of,
    overwrite_option,
    path_type,
    places_options,
    read_options,
    read_table,
    refuse_twice,
    seed_option,
)
from hybridseg.confusion import pool_confusions
from hybridseg.dense.programs import resunet as verbs
from hybridseg.dense.programs.config import KEYS, explain_keys, find_near_key, read_config
from hybridseg.dense.programs.configproposal import propose_config
from hybridseg.dense.programs.resunet import ResunetExtras
from hybridseg.dense.programs.unet import check_encoder
from hybridseg.errors import OutputExists
from hybridseg.figures import FigureOptions
from hybridseg.io.locks import lock_output
from hybridseg.io.marks import check_ours
from hybridseg.io.pairing import find_images
from hybridseg.io.tables import write_csv, write_json
from hybridseg.markup import count_of, spell_command
from hybridseg.models.unet import NO_ENCODER
from hybridseg.ranking import average_dice, list_image_rows, rank_images
from hybridseg.verdict import NextSteps, judge

config_option = click.option(
    "--config", "config_path", metavar="FILE", type=path_type, required=True, help="The JSON config."
)
class_list_option = click.option(
    "--labels", "labels_path", metavar="FILE|DIR", type=path_type,
    help="Classes of masks that do not name theirs (labels.txt or labeldefs.txt); a folder is taken as --masks.",
)  # fmt: skip
weights_option = click.option(
    "--weights", "weights_paths", metavar="FILE", type=path_type, multiple=True, required=True,
    help="Weights of the network; repeat it, and several networks vote.",
)  # fmt: skip


def _make_steps(config_path: Path, weights: Path) -> NextSteps:
    words = ("--config", config_path, "--weights", weights, "--images", "PHOTOS", "--out", "RESULTS")
    return make_steps("resunet", "segment", *words)


@click.group()
@add_manners
def resunet() -> None:
    """Label every pixel with a residual U-Net, set up by a JSON config.

    \b
    In the order of use:
      init-config     propose a config for a folder of images
      explain-config  explain every key of a config
      make-tfrecords  write augmented copies of labelled images as records
      train           train the network on the records
      evaluate        score it, on records or on the images themselves
      segment         classify every pixel of new images
    """


@resunet.command("init-config")
@click.argument("folder", metavar="[DIR]", type=path_type, required=False)
@places_options
@class_list_option
@click.option(
    "--out", "out_path", metavar="FILE", type=path_type, default=Path("config.json"), show_default=True,
    help="Write the config here.",
)  # fmt: skip
@click.option(
    "--weights", "weights_path", metavar="FILE", type=path_type,
    help="A network that was trained on them: try on its held-out images whether the CRF helps.",
)  # fmt: skip
@overwrite_option
@pass_console
def init_config(console: Console, folder: Path | None, **settings: Any) -> None:
    """Propose a config for a folder of images, with reasons.

    DIR, or --images, has the images; the classes are counted in their masks, if there are any. With the weights of a
    network the config is one for that network, and DO_CRF_REFINE is what did better on the images that it was not
    trained on.

    Result: a JSON file with every key, and a line about each value that was chosen from the images.

    \b
    Example:
      hybridseg resunet init-config --images images --masks masks --out config.json
    """
    refuse_twice(folder, settings["images_dir"])
    if folder is None and settings["images_dir"] is None:
        raise click.UsageError("give the folder of the images, as DIR or as --images.")
    images_dir, masks_dir, table = _read_places(settings | {"images_dir": folder or settings["images_dir"]})
    out_path: Path = settings["out_path"]
    with lock_output(out_path):
        if out_path.exists() and not settings["overwrite"]:
            raise OutputExists(f"{out_path} is there already; --overwrite replaces it, --out gives another name")
        proposal = propose_config(
            images_dir, masks_dir, settings["weights_path"], table=table, progress=console.progress
        )
        record = proposal.record
        write_json(out_path, record)
    for name, reason in proposal.reasons.items():
        console.say(f"{name} = {json.dumps(record[name], ensure_ascii=False)}: {reason}")
    console.record(config=record, reasons=proposal.reasons)
    console.wrote(out_path)
    console.finish(proposal.problems)


def _read_places(settings: dict[str, Any]) -> tuple[Path, Path | None, ClassTable | None]:
    """Return the folder of the images, that of the masks (None: the same), and the classes that were given."""
    labels, masks, labeldefs = settings["labels_path"], settings["masks_dir"], settings.get("labeldefs_path")
    if labels is not None and labels.is_dir():
        if masks is not None:
            raise click.UsageError(f"the masks were given twice, as --masks {masks} and as --labels {labels}.")
        labels, masks = None, labels
    if labels is not None and labeldefs is not None:
        raise click.UsageError("--labels and --labeldefs both name the classes; give one of them.")
    return settings["images_dir"], masks, read_table(labels or labeldefs, None)


def _read_data(settings: dict[str, Any]) -> tuple[Path | None, Path, Path | None, ClassTable | None]:
    """Return the folder of records, or None and what `_read_places` returns: one of them must be given."""
    given = [settings[name] is not None for name in ("images_dir", "masks_dir", "labels_path")]
    if (settings["data_dir"] is not None and any(given)) or (settings["data_dir"] is None and not given[0]):
        raise click.UsageError("give either --data, or --images with --masks.")
    return settings["data_dir"], *_read_places(settings)


@resunet.command("explain-config")
@click.argument("name", metavar="[KEY]", required=False)
@pass_console
def explain_config(console: Console, name: str | None) -> None:
    """Explain every key of a config, or one of them.

    Result: for each key its type and range, its default, and what it does.

    \b
    Examples:
      hybridseg resunet explain-config
      hybridseg resunet explain-config TARGET_SIZE
    """
    wanted = _match_key(name) if name else None
    rows = [row for row in explain_keys() if wanted in (None, row[0])]
    console.record(keys=[dict(zip(("key", "type", "default", "meaning"), row, strict=True)) for row in rows])
    for key, kind, default, meaning in rows:
        console.say(f"{key}: {kind}; default: {default}")
        console.say(click.wrap_text(meaning, 96, "    ", "    "))


def _match_key(name: str) -> str:
    if name.upper() in KEYS:
        return name.upper()
    near = find_near_key(name)
    advice = f"did you mean {near}?" if near else "explain-config without a key lists all."
    raise click.BadParameter(f"there is no key {name!r}; {advice}", param_hint="KEY")


@resunet.command("make-tfrecords")
@config_option
@places_options
@class_list_option
@click.option("--out", "out_dir", metavar="DIR", type=path_type, required=True, help="Write the records here.")
@labeldefs_option
@seed_option
@overwrite_option
@pass_console
def make_tfrecords(console: Console, **settings: Any) -> None:
    """Write augmented copies of labelled images as records.

    The masks are in a folder of their own or beside the images, in any form: ids, colours, .mat, .tif. The originals
    are not among the copies: they are kept for evaluation. Everything is checked before any work; after an
    interruption the same command resumes.

    Result: DIR/ROOT_STRING-0001-of-NNNN.tfrec and so on, of IMS_PER_SHARD images each, and DIR/index.json.

    \b
    Example:
      hybridseg resunet make-tfrecords --config config.json --images images --masks masks --out records
    """
    config = read_config(settings["config_path"])
    if settings["images_dir"] is None:
        raise click.UsageError("--images is missing: give the folder of the images.")
    images_dir, masks_dir, table = _read_places(settings)
    result = verbs.make_tfrecords(
        config, images_dir, masks_dir, settings["out_dir"], table=table, seed=settings["seed"],
        overwrite=settings["overwrite"], progress=console.progress,
    )  # fmt: skip
    if result.n_skipped:
        console.say(f"there already and left alone: {count_of(result.n_skipped, 'shard')}")
    n_written = len(result.shard_paths)
    console.record(images=result.n_records, shards_skipped=result.n_skipped)
    console.wrote(
        *result.shard_paths,
        result.index_path,
        text=f"wrote {count_of(result.n_records, 'image')} in {count_of(n_written, 'shard')}, and {result.index_path}",
    )


@resunet.command()
@config_option
@click.option("--data", "data_dir", metavar="DIR", type=path_type, help="Folder of records.")
@places_options
@class_list_option
@click.option("--weights-out", metavar="FILE", type=path_type, required=True, help="Write the network here (.h5).")
@options_of(ResunetExtras, "filters", "upsample", "encoder", "encoder_rate")
@encoder_weights_option
@options_of(ResunetExtras, "loss", "best_by", "crop_scale", "balance", unset={"crop_scale": "0.5-2"})
@click.option(
    "--run-dir",
    metavar="DIR",
    type=path_type,
    help="For checkpoints and log.  [default: NAME_run beside the weights]",
)
@run_options
@seed_option
@pass_console
def train(console: Console, **settings: Any) -> None:
    """Train the residual U-Net on records, or on windows of photos.

    Records hold whole photos, resized to TARGET_SIZE. With --images in place of --data, every step sees random windows
    of TARGET_SIZE at a random scale, AUG_COPIES of each photo in an epoch; such a network predicts in windows too.

    The best epoch is chosen on a share of the photographs, VALIDATION_SPLIT, that the network is not trained on; the
    copies of a photograph stay together.

    With --encoder the network stands on a pretrained encoder; the decoder is the same, from a 16th to half of the size.

    Result: the weights (.h5), their card (.card.json) and runtime graph (.tflite), MODEL_CARD.md and NAME.mlm.json
    (what the network is, for people and for catalogs), log.csv in the run's folder and, with DOPLOT, figures of the
    training. With DO_TRAIN false existing weights are evaluated and nothing is trained.

    \b
    Examples:
      hybridseg resunet train --config config.json --data records --weights-out water.h5
      hybridseg resunet train --config config.json --images images --masks masks --weights-out windows.h5
    """
    data_dir, images_dir, masks_dir, table = _read_data(settings)
    config = read_config(settings["config_path"])
    weights: Path = settings["weights_out"]
    if weights.suffix != ".h5":
        raise click.BadParameter(f"{weights} must end in .h5.", param_hint="--weights-out")
    run_dir = settings["run_dir"] or weights.with_name(f"{weights.stem}_run")
    check_encoder(settings, is_given)
    pretrained = None if settings["encoder"] == NO_ENCODER else settings["encoder_weights"]
    paths = read_paths(settings, weights=weights, run_dir=run_dir, pretrained=pretrained)
    extras = read_options(ResunetExtras, settings)
    result = report_training(
        console,
        lambda on_epoch, progress: verbs.train_resunet(
            config,
            data_dir,
            paths,
            images_dir=images_dir,
            masks_dir=masks_dir,
            table=table,
            extras=extras,
            on_start=console.say,
            on_epoch=on_epoch,
            progress=progress,
        ),
    )
    if result.history:
        refined = Path(f"{weights.stem}_refined.json")
        words = ("--images", "IMAGES", "--masks", "MASKS", "--weights", weights, "--out", refined)
        command = spell_command(("resunet", "init-config", *words))
        console.say(f"to see whether the CRF helps (DO_CRF_REFINE), run: {command}")
    steps = _make_steps(settings["config_path"], weights)
    console.conclude(result.confusion.to_record(), judge(result.photos), steps)


@resunet.command()
@config_option
@weights_option
@click.option(
    "--data", "data_dir", metavar="DIR", type=path_type, help="Evaluate on the held-out part of these records."
)
@places_options
@class_list_option
@click.option("--out", "out_dir", metavar="DIR", type=path_type, help="Write here.  [default: beside the weights]")
@engine_option
@figure_options
@seed_option
@pass_console
def evaluate(console: Console, **settings: Any) -> None:
    """Score a network, on records or on the images themselves.

    On records the bare prediction is evaluated, on the part that the training held out (give the training's --seed);
    on images the prediction after the CRF and the filter that the config asks for, at their own size.

    Result: IoU and Dice of every class, NAME_scores.json and NAME_confusion.png, and NAME_scores_by_image.csv: the
    images by their multi-label Dice, the worst first.

    \b
    Examples:
      hybridseg resunet evaluate --config config.json --weights water.h5 --data records
      hybridseg resunet evaluate --config config.json --weights water.h5 --images images --masks masks
    """
    from hybridseg.figures import draw_confusion

    data_dir, images_dir, masks_dir, table = _read_data(settings)
    config = read_config(settings["config_path"])
    models = [verbs.load_resunet(path, config, engine=settings["model_engine"]) for path in settings["weights_paths"]]
    if data_dir is not None:
        if len(models) > 1:
            raise click.UsageError("several networks vote on whole images only: give --images and --masks.")
        found = verbs.evaluate_records(config, models[0], data_dir, seed=settings["seed"])
    else:
        found = verbs.evaluate_images(config, models, images_dir, masks_dir, table=table, progress=console.progress)
    photos, images = list(found.values()), rank_images(found)
    confusion, verdict = pool_confusions(photos), judge(photos)
    print_scores(console, confusion)
    console.tell_worst(images)
    weights = models[0].path
    folder = settings["out_dir"] or weights.parent
    figures = read_options(FigureOptions, settings)
    targets = [folder / f"{weights.stem}_scores.json", figures.name(folder / f"{weights.stem}_confusion")]
    targets.append(folder / f"{weights.stem}_scores_by_image.csv")
    scores = {**confusion.to_record(), "image_dice": average_dice(images)}
    with lock_output(targets[0], wait=True):
        check_ours(targets, advice="give --out for another folder")
        write_json(targets[0], {**scores, "verdict": verdict.to_record() if verdict else None})
        draw_confusion(targets[1], confusion, title=weights.name, dpi=figures.dpi)
        write_csv(targets[2], *list_image_rows(images))
    console.wrote(*targets)
    console.conclude(scores, verdict, _make_steps(settings["config_path"], weights))


@resunet.command()
@config_option
@weights_option
@click.option(
    "--images", "images_dir", metavar="DIR", type=path_type, required=True,
    help="Folder of images, a file or a pattern.",
)  # fmt: skip
@click.option("--out", "out_dir", metavar="DIR", type=path_type, help="Write here.  [default: beside each image]")
@view_options
@pass_console
def segment(console: Console, **settings: Any) -> None:
    """Classify every pixel of images with a residual U-Net.

    An image is presented as the photos of the training were: all of it, resized to TARGET_SIZE, or in windows. The
    prediction is smoothed as the config says: by a CRF (DO_CRF_REFINE) and a majority filter (MEDIAN_FILTER_VALUE).

    Result: for each image NAME_predseg.png (class ids with the colours as palette) and
    figures/NAME_predseg_composite.png (the image, and beside it the same overlaid with the class colours, with a
    legend); for a GeoTIFF also NAME_predseg.tif in the same place on Earth, with a style for QGIS.

    \b
    Example:
      hybridseg resunet segment --config config.json --weights water.h5 --images images --out results
    """
    config = read_config(settings["config_path"])
    paths = find_images([settings["images_dir"]])
    models = [verbs.load_resunet(path, config, engine=settings["model_engine"]) for path in settings["weights_paths"]]
    segment_images(
        console, paths, models, settings, smoothing=verbs.choose_smoothing(config), out_dir=settings["out_dir"]
    )
