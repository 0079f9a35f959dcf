"""Scientific images: ``hybridseg unet build-lmdb``, and what ``unet train`` and ``unet infer`` have for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from hybridseg.batch.jobs import Outputs
from hybridseg.cli.console import Console, pass_console
from hybridseg.cli.dense import make_steps, report_training
from hybridseg.cli.options import (
    DigitType,
    class_files_options,
    is_given,
    join_options,
    options_of,
    overwrite_option,
    path_type,
    read_options,
    read_table,
    seed_option,
)
from hybridseg.cli.segment import run_job
from hybridseg.data.buildlmdb import build_lmdb as write_databases
from hybridseg.data.lmdbplan import FORMATS, PARTS, LmdbOptions, pick_format
from hybridseg.dense.predictparts import make_parts_job
from hybridseg.dense.programs.unet import PRESETS, UnetOptions
from hybridseg.dense.programs.unetlmdb import FOLDER_SETTINGS, READER_SETTINGS, train_on_databases
from hybridseg.dense.readers import ReaderOptions
from hybridseg.dense.trainer import TrainingPaths
from hybridseg.io.pairing import find_images
from hybridseg.machine import MemoryOptions
from hybridseg.markup import count_of, spell_command
from hybridseg.models.savedmodels import find_bundle
from hybridseg.verdict import judge

# What a training on folders has no use for, and one on databases.
_OF_DATABASES = ("test_database", "output_dir", "n_classes", "use_augmentation", *READER_SETTINGS)
_OF_FOLDERS = (
    *("name", "images_dir", "masks_dir", "val_images", "val_masks", "test_images", "test_masks", "labels_path"),
    *("colors_path", "runs_dir", *FOLDER_SETTINGS),
)


def _take_nist(ctx: click.Context, param: click.Parameter, path: Any) -> Any:
    """Let the settings of the published program be the defaults where it is asked for."""
    if path is not None:
        ctx.default_map = {**PRESETS["nist"], **(ctx.default_map or {})}
    return path


database_options = join_options(
    click.option(
        "--train_database", "--train-database", metavar="DIR", type=path_type, is_eager=True, callback=_take_nist,
        help="Train on this database, train-NAME.lmdb, with the settings of --preset nist but for those given.",
    ),
    click.option(
        "--test_database", "--test-database", metavar="DIR", type=path_type, help="Test on this one, test-NAME.lmdb."
    ),
    click.option(
        "--output_dir", "--output-dir", metavar="DIR", type=path_type,
        help="Write the network trained on a database here.",
    ),
    click.option(
        "--number_classes", "--number-classes", "n_classes", type=click.IntRange(2, 255),
        help="Number of classes.  [default: that of the database]",
    ),
    options_of(ReaderOptions, *READER_SETTINGS, classic=True, digits=True),
    click.option(
        "--use_augmentation", "--use-augmentation", type=DigitType(), default="1", show_default=True,
        help="Change images of a database at random, as --augmentation says; 0 leaves them as they are.",
    ),
)  # fmt: skip


def check_source(settings: Mapping[str, Any]) -> None:
    """Raise a usage error unless all settings that were given are for a training on folders, or on databases."""

    def flag(name: str) -> str:
        parameters = click.get_current_context().command.params
        return next(parameter.opts[0] for parameter in parameters if parameter.name == name)

    has_database = settings["train_database"] is not None
    for name in _OF_FOLDERS if has_database else _OF_DATABASES:
        if is_given(name):
            where = "a folder of images, and this is one on --train_database"
            raise click.UsageError(
                f"{flag(name)} is for a training on {where if has_database else 'a database: give --train_database'}."
            )
    for name in ("test_database", "output_dir") if has_database else ("images_dir",):
        if settings[name] is None:
            raise click.UsageError(f"{flag(name)} is missing{'.' if has_database else ', or --train_database.'}")


def report_databases(console: Console, settings: Mapping[str, Any], paths: TrainingPaths, options: UnetOptions) -> None:
    """Train a U-Net on databases, and print the result."""
    result = report_training(
        console,
        lambda on_epoch, progress: train_on_databases(
            settings["train_database"], settings["test_database"], paths=paths, options=options,
            readers=read_options(ReaderOptions, settings), n_classes=settings["n_classes"], on_start=console.say,
            on_epoch=on_epoch, progress=progress,
        ),
    )  # fmt: skip
    steps = make_steps(
        "unet", "infer", "--model", paths.weights, "--image_folder", "IMAGES", "--output_folder", "RESULTS"
    )
    console.conclude(result.confusion.to_record(), judge(result.photos), steps)


@click.command("build-lmdb")
@click.option(
    "--image_folder", "--image-folder", "images_dir", metavar="DIR", type=path_type, required=True,
    help="Folder of the images: JPEG, PNG or TIFF of any number of bands.",
)  # fmt: skip
@click.option(
    "--mask_folder", "--mask-folder", "masks_dir", metavar="DIR", type=path_type, required=True,
    help="Folder of their masks, found by name: class ids from 0, of 8 to 32 bits, or label maps in any form.",
)  # fmt: skip
@click.option(
    "--output_folder", "--output-folder", "out_dir", metavar="DIR", type=path_type, required=True,
    help="Write the databases here.",
)  # fmt: skip
@options_of(
    LmdbOptions, "dataset_name", "train_fraction", "image_format", "use_tiling", "tile_size",
    unset={"image_format": "of all"}, classic=True, digits=True,
)  # fmt: skip
@options_of(
    LmdbOptions, "group_by", "test_list",
    flags={"test_list": ("--test",)}, metavars={"group_by": "REGEX", "test_list": "FILE"},
)  # fmt: skip
@class_files_options
@seed_option
@overwrite_option
@pass_console
def build_lmdb(console: Console, **settings: Any) -> None:
    """Put images and their masks into a training and a test database.

    Masks that name no classes have numbered ones; 0 is the background, 255 is void. After an interruption the same
    command goes on where it stopped.

    Result: train-NAME.lmdb and test-NAME.lmdb, which `unet train` reads with many processes at once.

    \b
    Example:
      hybridseg unet build-lmdb --image_folder images --mask_folder masks --output_folder data --dataset_name cells
    """
    result = write_databases(
        settings["images_dir"], settings["masks_dir"], settings["out_dir"],
        options=read_options(LmdbOptions, settings),
        table=read_table(settings["labels_path"], settings["colors_path"]),
        overwrite=settings["overwrite"], progress=console.progress,
    )  # fmt: skip
    rows = zip(PARTS, result.paths, result.n_images, result.n_records, result.were_finished, strict=True)
    for part, path, n_images, n_records, was_finished in rows:
        console.say(f"{part}: {count_of(n_records, 'record')} of {count_of(n_images, 'image')}")
        console.wrote(path, text=f"{path} was there already" if was_finished else f"wrote {path}")
    console.say(f"classes: {', '.join(result.table.names)}")
    console.record(records=dict(zip(PARTS, result.n_records, strict=True)), classes=list(result.table.names))
    first, second = result.paths
    words = ("unet", "train", "--train_database", first, "--test_database", second, "--output_dir", "DIR")
    console.say(f"Next: {spell_command(words)}")


model_options = join_options(
    click.option(
        "--model", "model_path", metavar="PATH", type=path_type,
        help="A network that was trained on databases: NAME.h5, or the folder that it is in.",
    ),
    click.option(
        "--saved_model_filepath", "--saved-model-filepath", "saved_model_dir", metavar="DIR", type=path_type,
        help="The same as its SavedModel: OUTPUT_DIR/saved_model.",
    ),
    click.option(
        "--image_format", "--image-format", type=click.Choice(tuple(FORMATS)),
        help="With --model: take the images of this format only.  [default: of all]",
    ),
)  # fmt: skip

_OF_MODELS = (
    "model_path",
    "saved_model_dir",
    "images",
    "out_dir",
    "image_format",
    "model_engine",
    "max_memory",
    "resume",
)


def is_of_model(settings: Mapping[str, Any]) -> bool:
    """Return whether a network was given by its path; a usage error tells of what does not go with that."""
    names = ("names", "model_path", "saved_model_dir")
    given = [name for name in names if settings[name]]
    if len(given) != 1:
        raise click.UsageError("Give the network once: --name, --model or --saved_model_filepath.")
    if given == ["names"]:
        if settings["image_format"]:
            raise click.UsageError("--image_format is for --model; with --name give a pattern: --images 'DIR/*.tif'.")
        return False
    for parameter in click.get_current_context().command.params:
        if parameter.name not in _OF_MODELS and is_given(str(parameter.name)):
            raise click.UsageError(f"{parameter.opts[0]} is for a network that is given by --name.")
    if settings["out_dir"] is None:
        raise click.UsageError("--output_folder is missing: the label maps have the names of their images.")
    return True


def label_folder(console: Console, settings: Mapping[str, Any]) -> None:
    """Classify every pixel of images by a network of the options `model_options`."""
    path = settings["model_path"] or find_bundle(settings["saved_model_dir"])
    images = pick_format(find_images([settings["images"]]), settings["image_format"], settings["images"])
    job = make_parts_job(
        path, Outputs(settings["out_dir"], None), engine=settings["model_engine"],
        memory=read_options(MemoryOptions, settings),
    )  # fmt: skip
    run_job(console, images, job, resume=settings["resume"])
