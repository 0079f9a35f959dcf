"""``hybridseg fcn``: FCN-8s with the folders of the classic program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hybridseg.cli.console import Console, add_manners, pass_console
from hybridseg.cli.dense import (
    crf_options,
    infer_images,
    labeldefs_option,
    make_steps,
    read_paths,
    report_training,
    run_options,
    runs_option,
    view_options,
    warn_of_late,
)
from hybridseg.cli.options import (
    WeightsType,
    class_files_options,
    options_of,
    overwrite_option,
    path_type,
    places_options,
    read_options,
    read_table,
    seed_option,
)
from hybridseg.dense.crops import CropOptions
from hybridseg.dense.datasets import Dataset, open_folders
from hybridseg.dense.programs.fcn import FcnOptions, train_fcn
from hybridseg.dense.programs.fcnfolders import find_labeldefs, open_classic
from hybridseg.dense.programs.makelabels import make_labels as paint_labels
from hybridseg.dense.runs import MODEL_NAME
from hybridseg.dense.smoothing import FCN_SMOOTHING
from hybridseg.markup import count_of
from hybridseg.options import check_file_name
from hybridseg.verdict import judge

_DEFAULTS = FcnOptions()


@click.group()
@add_manners
def fcn() -> None:
    """Label every pixel with FCN-8s, from whole labelled images.

    \b
    In the order of use:
      make-labels  paint label maps (.mat) as the network wants them
      train        train it on samples/ and labels/ of a folder
      infer        classify every pixel of new images
    """


@fcn.command("make-labels")
@click.argument("label_dir", metavar="DIR", type=path_type)
@labeldefs_option
@click.option("--labels", "labels_path", type=path_type, help="Classes of label maps that do not name theirs.")
@click.option("--radius", type=int, default=7, show_default=True, help="Radius of the majority filter, in pixels.")
@click.option("--out", "out_dir", metavar="DIR", type=path_type, help="Write here.  [default: DIR]")
@overwrite_option
@pass_console
def make_labels(console: Console, label_dir: Path, **settings: Any) -> None:
    """Paint label maps in the colours of their classes.

    Each pixel takes the most frequent class around it: for two classes this is the median filter.

    Result: NAME_gtFine_color.png for every NAME_mres.mat of DIR.

    \b
    Example:
      hybridseg fcn make-labels data/labels/gtFine/train/data --labeldefs data/labeldefs.txt
    """
    result = paint_labels(
        label_dir,
        table=find_labeldefs(label_dir, settings["labeldefs_path"]),
        radius=settings["radius"],
        out_dir=settings["out_dir"],
        labels_table=read_table(settings["labels_path"], None),
        overwrite=settings["overwrite"],
        progress=console.progress,
    )
    console.wrote(*result.written)
    console.record(skipped=result.skipped)
    if result.skipped:
        console.say(f"there already and left alone (--overwrite): {count_of(len(result.skipped), 'picture')}")
    console.finish(result.problems, n_done=len(result.written) + len(result.skipped))


@fcn.command()
@click.option("--name", required=True, help="Name of this training: the name of its folder.")
@click.option("--data-source", help="Name of the folders in samples/RGB/train and labels/gtFine/train.")
@click.option("--data-dir", metavar="DIR", type=path_type, help="Folder with samples/ and labels/.")
@places_options
@class_files_options
@labeldefs_option
@options_of(
    FcnOptions, "epochs", "batch_size", "learning_rate", "loss", "size", "backbone",
    unset={"size": "windows"},
)  # fmt: skip
@options_of(
    CropOptions, "crop", "crop_scale", "n_crops", "balance",
    unset={
        "crop": "by the first photo, unless --size",
        "crop_scale": "0.5-2; without --crop, so that a window shows 0.6 to 1.2 of a photo's sides",
        "n_crops": "as many as show a photo once, up to 4",
    },
)  # fmt: skip
@click.option(
    "--weights", "weights", metavar=WeightsType.name, type=WeightsType(),
    help="What the backbone starts from: random weights, those of ImageNet (downloaded unless they come with the "
    "package), or a file of Keras (.h5).  [default: those of ImageNet; of vgg16, none]",
)  # fmt: skip
@options_of(FcnOptions, "frozen_epochs", "encoder_rate", "wide_channels", "checkpoint_interval", "best_by", "patience")
@options_of(
    _DEFAULTS.augment, "rotation", "zoom", "row_shift", "col_shift", "brightness", "flip_cols", "flip_rows",
    flags={"flip_rows": ("--flip-rows/--no-flip-rows",)},
)  # fmt: skip
@runs_option
@run_options
@seed_option
@pass_console
def train(console: Console, **settings: Any) -> None:
    """Train FCN-8s on labelled images.

    The masks are beside the images or in a folder of their own, in any form: ids, colours, .mat, .tif. Or the folders
    are those of the classic program: images in DIR/samples/RGB/train/SOURCE, their NAME_gtFine_color.png in
    DIR/labels/gtFine/train/SOURCE, and the classes in DIR/labeldefs.txt. The best epoch is chosen on photographs that
    the network is not trained on: those of val/ beside train/, or 15 % of all.

    Every step sees random windows of the photos at random scales, by default near that at which one shows all of a
    photo; such a network predicts in windows too. With --size, whole photos are resized instead.

    Result: RUNS/NAME/ with model.h5, model.card.json and model.tflite (the network), MODEL_CARD.md and model.mlm.json
    (what it is, for people and for catalogs), log.csv, and figures of the training.

    \b
    Examples:
      hybridseg fcn train --name coast --images photos --masks masks --labels labels.txt
      hybridseg fcn train --name windows --images photos --masks masks --labels labels.txt --crop 64x96
      hybridseg fcn train --name data_test10 --data-source data --data-dir data --epochs 10
    """
    parts = {"augment": read_options(_DEFAULTS.augment, settings), "crops": read_options(CropOptions, settings)}
    options = read_options(FcnOptions, settings, **parts)
    warn_of_late(console, options.fit)
    check_file_name(settings["name"], what="--name")
    run_dir = settings["runs_dir"] / settings["name"]
    paths = read_paths(settings, weights=run_dir / MODEL_NAME, run_dir=run_dir, pretrained=settings["weights"])
    data = _open_data(settings)
    result = report_training(
        console,
        lambda on_epoch, progress: train_fcn(
            data,
            paths=paths,
            options=options,
            on_start=console.say,
            on_epoch=on_epoch,
            progress=progress,
        ),
    )
    steps = make_steps("fcn", "infer", "--name", settings["name"], "--samples-dir", "PHOTOS", "--output-dir", "RESULTS")
    console.conclude(result.confusion.to_record(), judge(result.photos), steps)


def _open_data(settings: dict[str, Any]) -> Dataset:
    """Find the images and masks that were given, in one of the two ways."""
    labeldefs = settings["labeldefs_path"]
    ours, classic = (settings["images_dir"], settings["masks_dir"]), (settings["data_dir"], settings["data_source"])
    if (any(ours) and any(classic)) or (ours[0] is None and None in classic):
        raise click.UsageError("give either --images with --masks, or --data-dir with --data-source.")
    if settings["labels_path"] and labeldefs:
        raise click.UsageError("--labels and --labeldefs both name the classes; give one of them.")
    table = read_table(settings["labels_path"] or labeldefs, settings["colors_path"])
    return open_folders(*ours, table=table) if ours[0] else open_classic(*classic, table=table)


@fcn.command()
@click.option(
    "--name", "names", multiple=True, required=True, help="Name of the training; repeat it, and several networks vote."
)
@click.option(
    "--samples-dir", metavar="DIR", type=path_type, required=True, help="Folder of images, a file or a pattern."
)
@click.option("--output-dir", metavar="DIR", type=path_type, required=True, help="Write here.")
@click.option("--data-source", expose_value=False, help="As the classic program has it; the network knows its classes.")
@click.option("--checkpoint", type=int, help="Number of the epoch to use.  [default: the best of the run]")
@crf_options(FCN_SMOOTHING)
@runs_option
@view_options
@seed_option
@pass_console
def infer(console: Console, **settings: Any) -> None:
    """Classify every pixel of images with FCN-8s.

    An image is presented as the photos of the training were: in overlapping windows; or, after a training with --size,
    all of it, resized to the size of the training and the prediction back to its own.

    Result: for each image NAME_predseg.png (class ids with the colours as palette) and
    figures/NAME_predseg_composite.png (the image, and beside it the same overlaid with the class colours, with a
    legend); for a GeoTIFF also NAME_predseg.tif in the same place on Earth, with a style for QGIS. With --crf these are
    called NAME_predseg_crf.png and so on, so that both can lie in one folder.

    \b
    Examples:
      hybridseg fcn infer --name data_test10 --samples-dir data/samples/RGB/train/data --output-dir test_output
      hybridseg fcn infer --name data_test10 --samples-dir data/samples/RGB/train/data --output-dir test_output --crf
    """
    infer_images(
        console, "fcn", settings["samples_dir"], settings, smoothing=FCN_SMOOTHING, out_dir=settings["output_dir"]
    )
