"""Commands that prepare data: ``demo-scenes``, ``review``, ``split``, ``retile``, ``convert``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from hybridseg.cli.console import Console, pass_console
from hybridseg.cli.options import (
    SizeType,
    class_files_options,
    images_option,
    is_given,
    jobs_option,
    options_of,
    overwrite_option,
    path_type,
    places_options,
    read_options,
    read_table,
    refuse_twice,
    seed_option,
)
from hybridseg.data.convert import ConvertOptions, convert_masks
from hybridseg.data.review import ReviewOptions, place_review, review_data
from hybridseg.data.reviewtables import CLASSES_NAME as PLACEHOLDERS_NAME
from hybridseg.data.split import split_folder
from hybridseg.data.splitplan import ASIDE, FOLDERS, SplitOptions
from hybridseg.demo.demoscenes import RECORD_NAME, SceneOptions, write_demo_scenes
from hybridseg.hybrid.retile import COUNT_HEADER, place_tiles_dir
from hybridseg.hybrid.retile import retile as cut_tiles
from hybridseg.hybrid.tilefolder import CLASSES_NAME
from hybridseg.hybrid.tileplan import RetileOptions
from hybridseg.io.masks import find_labelled
from hybridseg.io.pairing import MANIFEST_NAME, SPLIT_NAME
from hybridseg.markup import count_of


@click.command("demo-scenes")
@click.argument("out_dir", metavar="DIR", type=path_type)
@options_of(SceneOptions, "n")
@click.option(
    "--size", type=SizeType(), default=f"{SceneOptions.rows}x{SceneOptions.cols}", show_default=True,
    help="Size of a scene in pixels.",
)  # fmt: skip
@seed_option
@overwrite_option
@pass_console
def demo_scenes(console: Console, *, out_dir: Path, n: int, size: tuple[int, int], seed: int, overwrite: bool) -> None:
    """Draw synthetic coast scenes with exact label maps.

    Data to try every command on.

    Result: scene_00.jpg, scene_00_mres.mat ... in DIR, with labels.txt and colors.txt. Scenes that are already
    there are kept.

    \b
    Example:
      hybridseg demo-scenes scenes --n 4 --size 96x144
    """
    options = SceneOptions(n=n, rows=size[0], cols=size[1], seed=seed)
    paths = write_demo_scenes(out_dir, options=options, overwrite=overwrite, progress=console.progress)
    files = [path for image in paths for path in (image, image.with_name(f"{image.stem}_mres.mat"))]
    files += [out_dir / name for name in ("labels.txt", "colors.txt", RECORD_NAME)]
    console.wrote(*files, text=f"{count_of(len(paths), 'scene')} of {size[0]} x {size[1]} pixels in {out_dir}")


@click.command()
@click.argument("folder", metavar="[DIR]", type=path_type, required=False)
@places_options
@class_files_options
@options_of(ReviewOptions, "test", "split", "group_by", metavars={"test": "DIR|FILE", "group_by": "REGEX"})
@seed_option
@options_of(
    ReviewOptions, "plots", "scale",
    unset={"scale": "0.1; more where the longer side would have less than 300 pixels"},
)  # fmt: skip
@click.option("--out", "out_dir", metavar="DIR", type=path_type, help="Write here.  [default: DIR_review]")
@jobs_option
@pass_console
def review(
    console: Console,
    *,
    folder: Path | None,
    images_dir: Path | None,
    masks_dir: Path | None,
    out_dir: Path | None,
    labels_path: Path | None,
    colors_path: Path | None,
    test: Path | None,
    n_jobs: int,
    **settings: Any,
) -> None:
    """Look over photos and masks before a training.

    Reads every photo and every mask, and says what would stop a training, what would falsify its score, and how to
    fix it, the worst first: files that cannot be read, masks of another size, labels without a name, copies, photos
    in two sets at once, photos that are blurred, dark, over-exposed, nearly empty or unlike the others. DIR (default:
    the current folder) holds photos with their masks beside them or in --masks; or it is a project with
    data/raw/labels.txt, data/raw/train/images, data/raw/train/masks and data/raw/test/images. Nothing in these folders
    is changed. (To compare results with masks, see label --review.)

    Result: DIR_review/review.html, one page with all of it; the tables df_data.csv (every photo and mask),
    df_label.csv (every label), df_train.csv, df_valid.csv and df_test.csv, with a .backup of those that they replace;
    figures of some photos with their masks; review.log. A project gets them in data/interim, data/processed and
    reports. Exit code 1 when a training would fail. After an interruption, and after something was fixed, only what
    is new is read.

    \b
    Example:
      hybridseg review photos --masks masks --labels labels.txt
    """
    refuse_twice(folder, images_dir)
    result = review_data(
        place_review(
            folder, images_dir=images_dir, masks_dir=masks_dir, labels_path=labels_path, test=test, out_dir=out_dir
        ),
        options=read_options(ReviewOptions, {**settings, "test": test}),
        table=read_table(labels_path, colors_path),
        n_jobs=n_jobs,
        progress=console.progress,
    )
    counts = {name: result.count(name) for name in ("train", "valid", "test", "unlabelled")}
    console.say("photos: " + ", ".join(f"{name} {n}" for name, n in counts.items()))
    if missing := result.known.names.describe_missing():
        console.say(f"{missing} (a class list with them: {result.places.processed_dir / PLACEHOLDERS_NAME})")
    for line in (*(str(fault) for fault in result.faults if not fault.breaks), *result.notes):
        console.warn(line)
    console.record(images=counts, faults=[asdict(fault) for fault in result.faults], notes=result.notes)
    console.wrote(*result.written, text=f"The page: {result.report_path.resolve()}")
    console.say(f"{result.describe()[:1].upper()}{result.describe()[1:]}.")
    console.finish(result.problems, lead="training would fail; fix this first:")


@click.command()
@click.argument("image_dir", metavar="[DIR]", type=path_type, required=False)
@places_options
@options_of(SplitOptions, "proportion", flags={"proportion": ("-p", "--proportion")})
@seed_option
@options_of(
    SplitOptions, "group_by", "test_list", "stratify", "set_aside",
    flags={"test_list": ("--test",)}, metavars={"group_by": "REGEX", "test_list": "FILE"},
)  # fmt: skip
@class_files_options
@click.option("--move", "action", flag_value="move", help="Move the files instead of copying them.")
@click.option("--link", "action", flag_value="link", help="Make symbolic links instead of copies.")
@click.option(
    "--out", "out_dir", metavar="DIR", type=path_type, help="Put train/ and test/ here.  [default: beside DIR]"
)
@overwrite_option
@pass_console
def split(
    console: Console,
    *,
    image_dir: Path | None,
    images_dir: Path | None,
    masks_dir: Path | None,
    out_dir: Path | None,
    labels_path: Path | None,
    colors_path: Path | None,
    overwrite: bool,
    **settings: Any,
) -> None:
    """Divide a folder of images into train/ and test/.

    Result: the folders train/ and test/ (and unlabelled/, with --set-aside) beside DIR (default: the current folder)
    with every image and all the files that carry its name, and the exact lists in split.csv. Masks in a folder of
    their own (--masks gt) go to train/gt/ and test/gt/, where the other commands find them. An image that cannot be
    opened stays behind and is listed. With the same seed the split is the same on any machine.

    \b
    Example:
      hybridseg split photos -p 0.5
    """
    settings["action"] = settings["action"] or SplitOptions.action
    options = read_options(SplitOptions, settings)
    refuse_twice(image_dir, images_dir)
    if options.test_list and (is_given("proportion") or is_given("seed")):
        raise click.UsageError("--test says which images are for testing; leave out -p and --seed.")
    result = split_folder(
        image_dir or images_dir or Path(),
        masks_dir=masks_dir,
        out_dir=out_dir,
        options=options,
        table=read_table(labels_path, colors_path),
        overwrite=overwrite,
        progress=console.progress,
    )
    console.say(f"train: {count_of(result.count('train'), 'image')} in {result.out_dir / 'train'}")
    console.say(f"test:  {count_of(result.count('test'), 'image')} in {result.out_dir / 'test'}")
    if not (result.count("train") and result.count("test")):
        console.say("one of the two is empty: choose another -p if that is not what you want")
    if result.count(ASIDE):
        console.say(f"unlabelled: {count_of(result.count(ASIDE), 'image')} in {result.out_dir / ASIDE}")
    console.say(f"{result.n_labelled} of {len(result.entries)} have a label map")
    if result.train_masks:
        console.say(f"masks: {result.train_masks} and {result.test_masks}, where the next commands find them")
    counts = {name: result.count(name) for name in FOLDERS}
    console.record(images=counts, labelled=result.n_labelled)
    folders = [result.out_dir / name for name, n in counts.items() if n]
    console.wrote(*folders, result.out_dir / SPLIT_NAME, text=f"the lists are in {result.out_dir / SPLIT_NAME}")
    console.finish(result.problems)


@click.command()
@click.argument("paths", metavar="[DIR|FILES]...", nargs=-1, type=path_type)
@options_of(
    RetileOptions, "tile_size", "purity", "keep", "min_keep", "format",
    flags={
        "tile_size": ("-t", "--tile-size"), "purity": ("-a", "--purity"), "keep": ("-b", "--keep"),
    },
)  # fmt: skip
@places_options
@click.option(
    "--out", "out_dir", metavar="DIR", type=path_type,
    help="Write the tiles here.  [default: tile_SIZE beside the label maps; with --masks, beside the images]",
)  # fmt: skip
@class_files_options
@seed_option
@jobs_option
@overwrite_option
@pass_console
def retile(
    console: Console,
    *,
    paths: tuple[Path, ...],
    images_dir: Path | None,
    masks_dir: Path | None,
    out_dir: Path | None,
    labels_path: Path | None,
    colors_path: Path | None,
    n_jobs: int,
    overwrite: bool,
    **settings: Any,
) -> None:
    """Cut labelled images into tiles of one class each.

    The tiles are what a classifier is trained on. Windows lie half a tile apart. DIR (default: the current folder)
    holds images with their label maps (NAME_mres.mat, NAME.png, NAME_mask.tif ...); or give the label maps themselves,
    or the images and --masks.

    Result: tile_SIZE/CLASS/IMAGE_rROW_cCOL.jpg beside the label maps; tile_SIZE/tiles.csv, which lists every pure
    window and whether it was kept; and tile_SIZE/classes.json, the class list. A warning names each class that covers
    much of the photos and has hardly any pure window.

    \b
    Example:
      hybridseg retile -t 96 -a 0.9 -b 0.5 train
    """
    options = read_options(RetileOptions, settings)
    table = read_table(labels_path, colors_path)
    refuse_twice(next(iter(paths), None) if masks_dir else None, images_dir)
    found = find_labelled(paths, images_dir=images_dir, masks_dir=masks_dir)
    console.say_all(found.describe_rest())
    result = cut_tiles(
        found.pairs,
        tiles_dir=out_dir or place_tiles_dir(found.pairs, beside_images=masks_dir is not None, options=options),
        options=options,
        table=table,
        n_jobs=n_jobs,
        overwrite=overwrite,
        problems=found.problems,
        progress=console.progress,
    )
    console.table(COUNT_HEADER, result.list_rows())
    files = [result.tiles_dir / name for name in (MANIFEST_NAME, CLASSES_NAME)]
    console.record(classes=[asdict(count) for count in result.counts])
    if result.was_there:
        console.say(f"{result.tiles_dir} has these tiles already, of the same photos with the same settings")
    else:
        console.wrote(result.tiles_dir, *files, text=f"tiles, {MANIFEST_NAME} and {CLASSES_NAME} in {result.tiles_dir}")
    for warning in result.warnings:
        console.warn(warning)
    console.finish(result.problems)


@click.command()
@click.argument("masks", metavar="MASKS...", nargs=-1, type=path_type, required=True)
@images_option
@class_files_options
@options_of(ConvertOptions, "to", "threshold", "nearest_color")
@click.option(
    "--out", "out_dir", metavar="DIR", type=path_type,
    help="Write the label maps here.  [default: a folder beside that of the masks, such as gt_png]",
)  # fmt: skip
@overwrite_option
@pass_console
def convert(
    console: Console,
    *,
    masks: tuple[Path, ...],
    images_dir: Path | None,
    out_dir: Path | None,
    labels_path: Path | None,
    colors_path: Path | None,
    overwrite: bool,
    **settings: Any,
) -> None:
    """Turn masks of any tool into label maps of one format.

    MASKS are a folder or files: label maps (.mat, .png, .tif; class ids, or pictures in class colours), JPEG masks
    (with --nearest-color or --threshold), areas of labelme or COCO (.json) or Doodler (.npz), NAME_doodles.json. Each
    is found by the name of its image and must have its size. A mask that names its classes is matched by name.

    Result: for each image NAME_mres.mat, NAME_label.png or NAME_label.tif, as --to says, in --out; a .tif has the
    georeference of the image, and a style for QGIS beside it. Or for other programs: NAME.json with polygons for
    labelme, NAME.npz with the arrays of Doodler, or NAME.gpkg with polygons for a GIS, in the place of the image on
    Earth. What is there already is kept.

    \b
    Example:
      hybridseg convert masks --images photos --labels labels.txt --to mat
    """
    result = convert_masks(
        masks,
        images_dir=images_dir,
        out_dir=out_dir,
        options=read_options(ConvertOptions, settings),
        table=read_table(labels_path, colors_path),
        overwrite=overwrite,
        progress=console.progress,
    )
    for converted in result.written:
        console.say_all(f"{converted.path.name}: {note}" for note in converted.notes)
    paths = [converted.path for converted in result.written]
    console.record(notes={converted.path.name: converted.notes for converted in result.written}, skipped=result.skipped)
    console.wrote(*paths, text=f"{count_of(len(paths), 'label map')} written to {result.out_dir}")
    if result.skipped:
        console.say(f"{len(result.skipped)} were there already; --overwrite replaces them")
    console.say_all(result.rest)
    console.finish(result.problems)
