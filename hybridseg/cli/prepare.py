"""Commands that prepare data: ``demo-scenes``, ``split``, ``retile``."""

from __future__ import annotations

from pathlib import Path

import click

from hybridseg.cli.console import Console, pass_console
from hybridseg.cli.options import SizeType, class_files_options, jobs_option, overwrite_option, read_table, seed_option
from hybridseg.data.split import LIST_NAME, split_folder
from hybridseg.data.splitplan import SplitOptions
from hybridseg.demo.demoscenes import SceneOptions, write_demo_scenes
from hybridseg.hybrid.retile import retile as cut_tiles
from hybridseg.hybrid.tileplan import FORMATS, RetileOptions
from hybridseg.io.pairing import MANIFEST_NAME, find_images_of, find_label_maps

folder_type = click.Path(path_type=Path)


@click.command("demo-scenes")
@click.argument("out_dir", metavar="DIR", type=folder_type)
@click.option("--n", type=int, default=SceneOptions.n, show_default=True, help="Number of scenes.")
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
    console.say(f"{len(paths)} scenes of {size[0]} x {size[1]} pixels in {out_dir}")


@click.command()
@click.argument("image_dir", metavar="[DIR]", type=folder_type, default=".")
@click.option(
    "-p", "--proportion", type=float, default=SplitOptions.proportion, show_default=True,
    help="Share of the images that goes to train/.",
)  # fmt: skip
@seed_option
@click.option(
    "--group-by", metavar="REGEX",
    help="Keep images together whose names match alike, such as the frames of one flight: '^(flight\\d+)_'.",
)  # fmt: skip
@click.option("--stratify", is_flag=True, help="Give both sets the same mix of classes, by their label maps.")
@click.option("--move", "action", flag_value="move", help="Move the files instead of copying them.")
@click.option("--link", "action", flag_value="link", help="Make symbolic links instead of copies.")
@click.option(
    "--out", "out_dir", metavar="DIR", type=folder_type, help="Put train/ and test/ here.  [default: beside DIR]"
)
@overwrite_option
@pass_console
def split(
    console: Console,
    *,
    image_dir: Path,
    proportion: float,
    seed: int,
    group_by: str | None,
    stratify: bool,
    action: str | None,
    out_dir: Path | None,
    overwrite: bool,
) -> None:
    """Divide a folder of images into train/ and test/.

    Result: the folders train/ and test/ beside DIR (default: the current folder) with every image and all the
    files that carry its name, and the exact lists in split.csv. With the same seed the split is the same on any
    machine.

    \b
    Example:
      hybridseg split photos -p 0.5
    """
    options = SplitOptions(
        proportion=proportion, seed=seed, group_by=group_by, stratify=stratify, action=action or SplitOptions.action
    )
    result = split_folder(image_dir, out_dir=out_dir, options=options, overwrite=overwrite, progress=console.progress)
    console.say(f"train: {result.count('train')} images in {result.out_dir / 'train'}")
    console.say(f"test:  {result.count('test')} images in {result.out_dir / 'test'}")
    if not (result.count("train") and result.count("test")):
        console.say("one of the two is empty: choose another -p if that is not what you want")
    console.say(f"{result.n_labelled} of {len(result.entries)} have a label map")
    console.say(f"the lists are in {result.out_dir / LIST_NAME}")


@click.command()
@click.argument("paths", metavar="[DIR|FILES]...", nargs=-1, type=folder_type)
@click.option("-t", "--tile-size", type=int, default=RetileOptions.tile_size, show_default=True, help="Side of a tile.")
@click.option(
    "-a", "--purity", type=float, default=RetileOptions.purity, show_default=True,
    help="A window is a tile when one class covers more than this share of it.",
)  # fmt: skip
@click.option(
    "-b", "--keep", type=float, default=RetileOptions.keep, show_default=True,
    help="Random share of the tiles of each class that is kept.",
)  # fmt: skip
@click.option(
    "--min-keep", type=int, default=RetileOptions.min_keep, show_default=True,
    help="A class of no more tiles than this keeps them all.",
)  # fmt: skip
@click.option(
    "--format", type=click.Choice(FORMATS), default=RetileOptions.format, show_default=True, help="Of the tiles."
)
@click.option(
    "--images",
    "images_dir",
    metavar="DIR",
    type=folder_type,
    help="Where the images are, if not beside the label maps.",
)
@click.option(
    "--out",
    "out_dir",
    metavar="DIR",
    type=folder_type,
    help="Write the tiles here.  [default: tile_SIZE beside the label maps]",
)
@class_files_options
@seed_option
@jobs_option
@overwrite_option
@pass_console
def retile(
    console: Console,
    *,
    paths: tuple[Path, ...],
    tile_size: int,
    purity: float,
    keep: float,
    min_keep: int,
    format: str,
    images_dir: Path | None,
    out_dir: Path | None,
    labels_path: Path | None,
    colors_path: Path | None,
    seed: int,
    n_jobs: int,
    overwrite: bool,
) -> None:
    """Cut labelled images into tiles of one class each.

    The tiles are what a classifier is trained on. Windows lie half a tile apart. DIR (default: the current folder)
    holds images with their label maps (NAME_mres.mat); or give the label maps themselves, .mat, .png or .tif.

    Result: tile_SIZE/CLASS/IMAGE_rROW_cCOL.jpg beside the label maps, and tile_SIZE/tiles.csv, which lists every
    pure window and whether it was kept.

    \b
    Example:
      hybridseg retile -t 96 -a 0.9 -b 0.5 train
    """
    options = RetileOptions(tile_size=tile_size, purity=purity, keep=keep, min_keep=min_keep, format=format, seed=seed)
    table = read_table(labels_path, colors_path)
    label_paths = find_label_maps(paths or (Path(),))
    home = _find_home(label_paths, out_dir)
    image_paths = find_images_of(label_paths, images_dir)
    result = cut_tiles(
        label_paths,
        image_paths,
        tiles_dir=out_dir or home / f"tile_{tile_size}",
        options=options,
        table=table,
        n_jobs=n_jobs,
        overwrite=overwrite,
        progress=console.progress,
    )
    rows = [(name, n, result.n_kept[name]) for name, n in result.n_found.items()]
    rows.append(("all classes", sum(result.n_found.values()), sum(result.n_kept.values())))
    console.table(("class", "pure windows", "tiles kept"), rows)
    console.say(f"tiles and {MANIFEST_NAME} in {result.tiles_dir}")
    console.finish(result.problems)


def _find_home(label_paths: list[Path], out_dir: Path | None) -> Path:
    """Give the one folder of all label maps; from several folders it takes --out to say where tiles go."""
    homes = sorted({path.parent for path in label_paths})
    if len(homes) > 1 and out_dir is None:
        raise click.UsageError(
            f"the label maps lie in {len(homes)} folders ({', '.join(map(str, homes[:3]))} ...); "
            "say where the tiles go: --out DIR"
        )
    return homes[0]
