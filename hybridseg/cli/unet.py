"""``hybridseg unet``: a U-Net on a pretrained encoder, or on none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hybridseg.cli.console import Console, add_manners, pass_console
from hybridseg.cli.dense import (
    crf_options,
    encoder_weights_option,
    infer_images,
    make_steps,
    read_paths,
    report_training,
    run_options,
    runs_option,
    view_options,
    warn_of_late,
)
from hybridseg.cli.lmdb import (
    build_lmdb,
    check_source,
    database_options,
    is_of_model,
    label_folder,
    model_options,
    report_databases,
)
from hybridseg.cli.options import (
    class_files_options,
    figure_options,
    images_option,
    is_given,
    masks_option,
    named_as_typed,
    options_of,
    overwrite_option,
    path_type,
    places_options,
    read_options,
    read_table,
    seed_option,
)
from hybridseg.dense.datasets import open_sets
from hybridseg.dense.fit import FitOptions
from hybridseg.dense.policy import NO_POLICY, POLICY_HELP, read_policy
from hybridseg.dense.programs.unet import (
    DEFAULT_POLICY,
    PRESETS,
    WINDOWS,
    ScheduleOptions,
    SheetOptions,
    UnetOptions,
    choose_options,
    draw_sheet,
    train_unet,
)
from hybridseg.dense.runs import MODEL_NAME
from hybridseg.dense.smoothing import UNET_SMOOTHING
from hybridseg.figures import FigureOptions
from hybridseg.models.unet import NO_ENCODER
from hybridseg.options import check_file_name
from hybridseg.verdict import judge

_DEFAULTS = UnetOptions()


def _apply_preset(ctx: click.Context, param: click.Parameter, name: str | None) -> None:
    """Let the settings of a preset be the defaults, so that what is given by itself wins."""
    if name is not None:
        known = {parameter.name for parameter in ctx.command.params}
        ctx.default_map = {key: value for key, value in PRESETS[name].items() if key in known}


preset_option = click.option(
    "--preset", type=click.Choice(list(PRESETS)), is_eager=True, expose_value=False, callback=_apply_preset,
    help="Take the settings of a published program, except for those that are given.",
)  # fmt: skip
policy_option = click.option(
    "--augmentation", metavar="NAME|FILE", default=DEFAULT_POLICY, show_default=True, help=POLICY_HELP,
)  # fmt: skip


@click.group()
@add_manners
def unet() -> None:
    """Label every pixel with a U-Net on a pretrained encoder, or on none.

    \b
    In the order of use:
      build-lmdb         put images and masks into databases, for many or large scientific images
      show-augmentation  draw how images are changed at random in training
      train              train it on images and their masks
      infer              classify every pixel of new images
    """


unet.add_command(build_lmdb)


@unet.command()
@click.option(
    "--name", default="unet", show_default=True,
    help="Name of this training on a folder of images: the name of its folder.",
)  # fmt: skip
@places_options
@click.option(
    "--validation-images", "val_images", metavar="DIR", type=path_type,
    help="Images to choose the best epoch on, or a table of review, df_valid.csv.  [default: a share of --images]",
)  # fmt: skip
@click.option("--validation-masks", "val_masks", metavar="DIR", type=path_type, help="Their masks, if not beside them.")
@click.option("--test-images", metavar="DIR", type=path_type, help="Images for the scores of the end alone.")
@click.option("--test-masks", metavar="DIR", type=path_type, help="Their masks, if not beside them.")
@class_files_options
@preset_option
@options_of(_DEFAULTS, "encoder")
@encoder_weights_option
@click.option(
    "--load", "-f", metavar="FILE", type=path_type,
    help="Start from the weights of this model or checkpoint of an earlier training, NAME.h5 or its folder.",
)  # fmt: skip
@options_of(_DEFAULTS.fit, "frozen_epochs", "encoder_rate")
@options_of(
    _DEFAULTS,
    "block",
    "widths",
    "dropout",
    "upsample",
    "normalization",
    "size",
    unset={
        "upsample": "transposed; with separable blocks bilinear",
        "normalization": "image; with an encoder dataset, but 8-bit images as it takes them",
        "size": "windows of the photos",
        "widths": ",".join(map(str, _DEFAULTS.widths)),
        "block": "separable; without an encoder plain",
    },
)
@options_of(
    WINDOWS, "scale", "crop", "crop_scale", "n_crops", "balance", flags={"scale": ("--scale", "-s")},
    unset={
        "scale": "windows of the photos",
        "crop": "by the first photo, unless --size",
        "crop_scale": "0.5-2; without --crop, so that a window shows 0.6 to 1.2 of a photo's sides",
    },
)  # fmt: skip
@options_of(_DEFAULTS.fit, "epochs", flags={"epochs": ("--epochs", "-e")})
@options_of(_DEFAULTS, "batch_size", flags={"batch_size": ("--batch_size", "--batch-size", "-b")})
@options_of(_DEFAULTS, "validation_share")
@options_of(FitOptions, "validations_per_epoch")
@options_of(ScheduleOptions, "schedule")
@options_of(ScheduleOptions, "learning_rate", flags={"learning_rate": ("--learning_rate", "--learning-rate", "-l")})
@options_of(ScheduleOptions, "ramp_epochs", "sustain_epochs", "decay")
@options_of(
    ScheduleOptions, "first_epochs", "t_mul", "m_mul", "alpha", flags={"first_epochs": ("--first-restart",)},
    unset={"first_epochs": "all of them: no restart"},
)  # fmt: skip
@options_of(_DEFAULTS.fit.loss, "loss", "dice_share", "dice_over", "focal_gamma")
@policy_option
@options_of(
    FitOptions, "best_by", "patience", "plateau_patience", "checkpoint_interval",
    flags={"patience": ("--patience", "--early_stopping", "--early-stopping")},
)  # fmt: skip
@runs_option
@database_options
@run_options
@seed_option
@pass_console
def train(console: Console, **settings: Any) -> None:
    """Train a U-Net on labelled images.

    The masks are beside the images or in a folder of their own, in any form: ids, colours, .mat, .tif. Of two classes
    the second is told from the first by one output. The best epoch is chosen on photographs that the network is not
    trained on. --images may also name a table of review, df_train.csv, which lists images with their masks.

    Result: RUNS/NAME/ with model.h5 and model.card.json (the network), log.csv, a picture of the network and figures
    of the training, and every score on the training, validation and test set; with --checkpoint-interval also
    checkpoints/CP_epochN.h5.

    Images of any bands and depth are trained on from databases of build-lmdb, with --train_database and the options
    after it, which come with the settings of --preset nist. An epoch is then --test_every_n_steps steps.

    Result: OUTPUT_DIR/ with the same files, and saved_model/ for TensorFlow.

    \b
    Examples:
      hybridseg unet train --name coast --images photos --masks masks --labels labels.txt
      hybridseg unet train --name houses --images photos --masks masks --labels labels.txt --preset efficientnet-blog
      hybridseg unet train --images photos --masks masks --labels labels.txt --preset image-segmentation-pytorch -e 2
    """
    check_source(settings)
    if not settings["use_augmentation"]:
        settings["augmentation"] = NO_POLICY
    with named_as_typed():
        options = choose_options(settings, is_given)
    warn_of_late(console, options.fit)
    if settings["output_dir"] is None:
        check_file_name(settings["name"], what="--name")
    run_dir = settings["output_dir"] or settings["runs_dir"] / settings["name"]
    pretrained = None if settings["encoder"] == NO_ENCODER else settings["encoder_weights"]
    paths = read_paths(settings, weights=run_dir / MODEL_NAME, run_dir=run_dir, pretrained=pretrained)
    if settings["train_database"] is not None:
        report_databases(console, settings, paths, options)
        return
    data = open_sets(
        settings["images_dir"],
        settings["masks_dir"],
        validation=(settings["val_images"], settings["val_masks"]),
        test=(settings["test_images"], settings["test_masks"]),
        table=read_table(settings["labels_path"], settings["colors_path"]),
    )
    result = report_training(
        console,
        lambda on_epoch, progress: train_unet(
            data, paths=paths, options=options, on_start=console.say, on_epoch=on_epoch, progress=progress
        ),
    )
    steps = make_steps("unet", "infer", "--name", settings["name"], "--images", "PHOTOS", "--out", "RESULTS")
    console.conclude(result.confusion.to_record(), judge(result.photos), steps)


@unet.command()
@click.option("--name", "names", multiple=True, help="Name of the training; repeat it, and several networks vote.")
@model_options
@click.option(
    "--images", "--image_folder", "--image-folder", metavar="DIR", type=path_type, required=True,
    help="Folder of images, a file or a pattern.",
)  # fmt: skip
@click.option(
    "--out", "--output_folder", "--output-folder", "out_dir", metavar="DIR", type=path_type,
    help="Write here.  [default: beside each image; with --model required]",
)  # fmt: skip
@click.option("--checkpoint", type=int, help="Number of the epoch to use.  [default: the best of the run]")
@crf_options(UNET_SMOOTHING)
@runs_option
@view_options
@seed_option
@pass_console
def infer(console: Console, **settings: Any) -> None:
    """Classify every pixel of images with a U-Net.

    Result: for each image NAME_predseg.png (class ids with the colours as palette) and
    figures/NAME_predseg_composite.png (the image, and beside it the same overlaid with the class colours, with a
    legend); for a GeoTIFF also NAME_predseg.tif in the same place on Earth, with a style for QGIS. With --crf these are
    called NAME_predseg_crf.png and so on, so that both can lie in one folder.

    With --model or --saved_model_filepath, for a network that was trained on databases: images of any size, part by
    part, in memory that a large TIFF does not fill.

    Result: for each image OUT/NAME.tif, its label map, in the same place on Earth.

    \b
    Example:
      hybridseg unet infer --name coast --images new_photos --out results
    """
    if is_of_model(settings):
        label_folder(console, settings)
        return
    infer_images(console, "unet", settings["images"], settings, smoothing=UNET_SMOOTHING, out_dir=settings["out_dir"])


@unet.command("show-augmentation")
@images_option
@masks_option
@class_files_options
@policy_option
@options_of(SheetOptions, "n_photos", "n_versions")
@click.option(
    "--out", "out_path", metavar="FILE", type=path_type, default=Path("augmentation.png"), show_default=True,
    help="Write the sheet here, with the suffix of its format.",
)  # fmt: skip
@figure_options
@seed_option
@overwrite_option
@pass_console
def show_augmentation(console: Console, **settings: Any) -> None:
    """Draw how images are changed at random in training.

    Result: a sheet with versions of some photos, of their label maps if --masks are given, and of the first photo
    for every step by itself.

    \b
    Example:
      hybridseg unet show-augmentation --images photos --augmentation efficientnet-blog --out augmentation.png
    """
    if settings["images_dir"] is None:
        raise click.UsageError("--images is missing: give the folder of the images.")
    written = draw_sheet(
        settings["out_path"], settings["images_dir"], settings["masks_dir"], read_policy(settings["augmentation"]),
        table=read_table(settings["labels_path"], settings["colors_path"]),
        options=read_options(SheetOptions, settings), figures=read_options(FigureOptions, settings),
        overwrite=settings["overwrite"],
    )  # fmt: skip
    console.wrote(written.path)
