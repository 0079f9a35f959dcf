"""``hybridseg unet build-lmdb``: the databases of scientific images that a U-Net is trained on."""

from __future__ import annotations

from typing import Any

import click

from hybridseg.cli.console import Console, pass_console
from hybridseg.cli.options import (
    class_files_options,
    options_of,
    overwrite_option,
    path_type,
    read_options,
    read_table,
    seed_option,
)
from hybridseg.data.buildlmdb import build_lmdb as write_databases
from hybridseg.data.lmdbplan import PARTS, LmdbOptions


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
        console.say(f"{part}: {n_records} records of {n_images} image{'s' * (n_images != 1)}")
        console.wrote(path, text=f"{path} was there already" if was_finished else f"wrote {path}")
    console.say(f"classes: {', '.join(result.table.names)}")
    console.record(records=dict(zip(PARTS, result.n_records, strict=True)), classes=list(result.table.names))
    first, second = result.paths
    console.say(f"Next: hybridseg unet train --train_database {first} --test_database {second} --output_dir DIR")
