"""``hybridseg coco``: COCO files become photos with label maps, and label maps become a COCO file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hybridseg.cli.console import Console, add_manners, pass_console
from hybridseg.cli.options import (
    class_files_options,
    figure_options,
    options_of,
    overwrite_option,
    path_type,
    places_options,
    read_options,
    read_table,
    refuse_twice,
    seed_option,
)
from hybridseg.data.cocoexport import CocoExportOptions, export_coco
from hybridseg.data.cocoimport import import_coco
from hybridseg.data.cocoplan import CocoImportOptions
from hybridseg.figures import FigureOptions
from hybridseg.io.labelled import describe_lone_class
from hybridseg.io.masks import find_labelled
from hybridseg.markup import count_of


@click.group()
@add_manners
def coco() -> None:
    """Read and write the annotations of COCO files.

    \b
    import  photos and label maps of a COCO file, for training and testing
    export  a COCO file of label maps
    """


@coco.command("import")
@click.argument("annotations", metavar="FILE", type=path_type)
@click.option("--images", "images_dir", metavar="DIR", type=path_type, required=True, help="Where its images are.")
@click.option("--out", "out_dir", metavar="DIR", type=path_type, required=True, help="Write here, a new folder.")
@options_of(
    CocoImportOptions, "download", "categories", "layout", "background", "crowd", "keep_empty", "proportion",
    "validation", flags={"proportion": ("-p", "--proportion")}, metavars={"categories": "A,B"},
)  # fmt: skip
@seed_option
@options_of(CocoImportOptions, "group_by", "link", "n_shown", metavars={"group_by": "REGEX"})
@figure_options
@overwrite_option
@pass_console
def import_(
    console: Console, *, annotations: Path, images_dir: Path, out_dir: Path, overwrite: bool, **settings: Any
) -> None:
    """Make labelled photos of a COCO file and its images.

    Polygons and run lengths of FILE, crowds too, become label maps: a class for each category, after the class of all
    other pixels. The images that have such annotations are divided at random into those for training, for validation
    and for testing. An image that is missing, damaged or of another size than it was annotated at is left out and
    listed; so are numbers of annotations that are empty or lie outside of their image. With --download, missing images
    are fetched into --images first; what was fetched before an interruption is not fetched again.

    Result: the folders train/, validation/ and test/ in --out with every photo and NAME_label.png beside it (with
    --layout masks: a folder of them for each category, for --masks); images.csv, which lists them; the class list
    labels.txt with colors.txt; and figures/instances.png: some photos, the same with their annotations in many
    colours, and with their classes. All of it appears at the end.

    \b
    Example:
      hybridseg coco import annotations.json --images photos --out labelled
    """
    result = import_coco(
        annotations,
        images_dir=images_dir,
        out_dir=out_dir,
        options=read_options(CocoImportOptions, settings),
        figures=read_options(FigureOptions, settings),
        overwrite=overwrite,
        progress=console.progress,
    )
    console.table(("class", "annotations"), result.n_areas.items())
    folders = [out_dir / name for name, n in result.n_images.items() if n]
    console.table(("set", "photos"), result.n_images.items())
    console.say_all(result.notes)
    console.record(
        images=result.n_images, annotations=result.n_areas, classes=result.table.to_records(), notes=result.notes
    )
    console.wrote(*folders, *result.written, text=f"photos, label maps and the class list in {out_dir}")
    for warning in result.warnings:
        console.warn(warning)
    console.finish(result.problems)


@coco.command("export")
@click.argument("paths", metavar="[DIR|FILES]...", nargs=-1, type=path_type)
@places_options
@class_files_options
@options_of(CocoExportOptions, "without", unset={"without": "background and null"}, metavars={"without": "A,B"})
@options_of(CocoExportOptions, "rle", "min_area")
@click.option("--out", "out_path", metavar="FILE", type=path_type, required=True, help="Write this file (.json).")
@overwrite_option
@pass_console
def export(
    console: Console,
    *,
    paths: tuple[Path, ...],
    images_dir: Path | None,
    masks_dir: Path | None,
    labels_path: Path | None,
    colors_path: Path | None,
    out_path: Path,
    overwrite: bool,
    **settings: Any,
) -> None:
    """Write label maps as one COCO file.

    DIR (default: the current folder) holds images with their label maps; or give the label maps themselves, also
    those of a model, or the images and --masks. Each connected area of a class is an annotation, with its area and its
    box. Polygons go along the edges of the pixels, and to each hole and back on one line, so no pixel is lost.

    Result: FILE with images, annotations and categories.

    \b
    Example:
      hybridseg coco export photos --out annotations.json
    """
    options = read_options(CocoExportOptions, settings)
    table = read_table(labels_path, colors_path)
    refuse_twice(next(iter(paths), None) if masks_dir else None, images_dir)
    found = find_labelled(paths, images_dir=images_dir, masks_dir=masks_dir)
    console.say_all(found.describe_rest())
    result = export_coco(
        found.pairs,
        out_path,
        options=options,
        table=table,
        overwrite=overwrite,
        problems=found.problems,
        progress=console.progress,
    )
    console.table(("class", "annotations"), result.n_areas.items())
    if result.n_small:
        console.say(f"{count_of(result.n_small, 'area')} of fewer than {options.min_area} pixels left out")
    if lone := describe_lone_class(result.n_areas):
        console.warn(lone)
    console.record(images=result.n_images, annotations=result.n_areas, small=result.n_small)
    console.wrote(out_path, text=result.describe())
    console.finish(result.problems)
