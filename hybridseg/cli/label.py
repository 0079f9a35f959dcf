"""Commands that make ground truth: ``label`` opens the page in the browser, ``crf`` spreads scribbles without it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from hybridseg.cli.console import Console, pass_console
from hybridseg.cli.options import (
    CRF_FLAGS,
    class_files_options,
    colors_option,
    figure_options,
    given_options,
    join_options,
    named_as_typed,
    options_of,
    overwrite_option,
    path_type,
    places_options,
    read_options,
    read_table,
    refuse_twice,
)
from hybridseg.crf.options import CrfOptions
from hybridseg.errors import BadUsage, join_names
from hybridseg.figures import FigureOptions
from hybridseg.labelling.spread import read_seeds, spread_file
from hybridseg.labelling.spreading import LEARNED_CRF, SPREAD_CRF, SpreadOptions
from hybridseg.labelling.suggesting import Suggester
from hybridseg.markup import count_of

_CRF_NAMES = (
    "gt_prob", "theta", "color_scale", "space_compat", "color_compat", "n_iterations", "tolerance", "max_memory",
    "n_threads", "engine",
)  # fmt: skip


def _tell_default(name: str) -> str:
    return f"{getattr(LEARNED_CRF, name):g}; {getattr(SPREAD_CRF, name):g} with --features none"


_spread_options = join_options(
    options_of(
        SpreadOptions, "scale", "features", "smoothness", "specks",
        flags={"scale": ("-s", "--scale")}, unset={"scale": "0.2, more for small images"},
    ),
    options_of(
        LEARNED_CRF, *_CRF_NAMES, flags=CRF_FLAGS,
        unset={name: _tell_default(name) for name in ("theta", "color_compat", "max_memory")},
    ),
)  # fmt: skip


_suggesting_option = click.option(
    "--model", "models", metavar="MODEL", type=path_type, multiple=True,
    help="A model that suggests labels, which scribbles correct: a tile classifier (NAME.pb), a dense network "
    "(NAME.h5), or the folder of one. Classes are matched by name. Given again, several of the same classes vote.",
)  # fmt: skip


def _open_suggester(models: Sequence[Path]) -> Suggester | None:
    from hybridseg.apply import Model, find_model
    from hybridseg.suggestion import open_suggester

    return open_suggester(Model(tuple(map(find_model, models)))) if models else None


def _read_spread_options(settings: dict[str, Any]) -> SpreadOptions:
    options: SpreadOptions = read_options(SpreadOptions, settings)
    with named_as_typed():
        return replace(options, crf=replace(options.plain_constants, **given_options(CrfOptions, settings)))


@click.command()
@click.argument("inputs", metavar="PATH...", nargs=-1, type=path_type)
@places_options
@click.option(
    "--labels",
    "labels_path",
    type=path_type,
    help="Class list: labels.txt or labeldefs.txt.  [default: that of earlier work; otherwise the page asks]",
)
@colors_option("--labels, which it needs")
@_suggesting_option
@click.option(
    "-w",
    "--window",
    type=int,
    default=500,
    show_default=True,
    help="Side of the window in which the page walks over an image, in pixels.",
)
@_spread_options
@options_of(SpreadOptions, "others")
@click.option(
    "--out", "out_dir", metavar="DIR", type=path_type, help="Folder for the results.  [default: beside each image]"
)
@figure_options
@click.option(
    "--annotator",
    metavar="NAME",
    help="Who labels: strokes and results are kept apart from those of others, in annotators/NAME; see agreement.",
)
@click.option(
    "--import",
    "import_path",
    metavar="PATH",
    type=path_type,
    help="Start from the labels of any tool, a model's too: a file, or a folder with one for each image.",
)
@click.option(
    "--sam-encoder",
    metavar="ONNX",
    type=path_type,
    help="Image encoder of Segment Anything, for the smart wand; needs onnxruntime and onnx.",
)
@click.option(
    "--sam-decoder",
    metavar="ONNX",
    type=path_type,
    help="Mask decoder that belongs to --sam-encoder.",
)
@click.option(
    "--review",
    "review_dir",
    metavar="DIR",
    type=path_type,
    help="Decide about the automatic results in DIR instead: accept, reject or mend them. Followed by another DIR: "
    "compare the results of two people or runs.",
)
@click.option(
    "--fetch",
    is_flag=True,
    help="With --review: also show images of a run that are on the web, in archives or read by GDAL alone; each is "
    "copied to DIR/copied_images when it is opened. Use it only if you trust whoever made the run.",
)
@click.option(
    "--port",
    type=int,
    default=0,
    show_default="the same as before, or any free one",
    help="Port on which the page is served.",
)
@click.option("--no-browser", is_flag=True, help="Only print the address; do not open a browser.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Serve the page on another address of this machine; needs --i-know.",
)
@click.option(
    "--i-know", is_flag=True, help="Accept that others on the network can listen in: the connection is not encrypted."
)
@pass_console
def label(console: Console, *, inputs: tuple[Path, ...], **settings: Any) -> None:
    """Label images with scribbles, in the browser.

    PATH are images, folders or patterns; or give --images. With --masks the work starts from masks made by hand. The
    page is served on this machine only. Every stroke is on disk as soon as it is drawn, so the program can be stopped
    at any time; the same command continues.

    Result: for each image NAME_doodles.json (every stroke) while you draw; on Accept NAME_mres.mat (class, sparse,
    labels), NAME_mres_label.png, NAME_report.txt and figures/NAME_mres.png (image, scribbles, result); for a GeoTIFF
    also NAME_mres_label.tif with the same georeference and a style for QGIS.

    \b
    Example:
      hybridseg label photos --labels labels.txt
    On a server without a screen:
      hybridseg label photos --port 8765 --no-browser
    and on your own machine, before you open the address that it printed:
      ssh -L 8765:localhost:8765 SERVER
    """
    review_dir, compared = settings["review_dir"], inputs
    if review_dir is None:
        refuse_twice(next(iter(inputs), None), settings["images_dir"])
        inputs = (*inputs, *filter(None, [settings["images_dir"]]))
    if not (inputs or review_dir):
        raise click.UsageError("Give images or folders to label, or --review DIR.")
    if review_dir and len(compared) > 1:
        raise click.UsageError("Give --review one folder, or two to compare: --review A B.")
    if settings["fetch"] and not review_dir:
        raise click.UsageError("--fetch is for --review; segment fetches images that are named.")
    from hybridseg.labelling.opening import check_together
    from hybridseg.web.serve import check_host, find_usual_port

    try:
        check_together(
            review=bool(review_dir), has_model=bool(settings["models"]),
            has_sam=bool(settings["sam_encoder"] or settings["sam_decoder"]), has_masks=bool(settings["masks_dir"]),
            has_import=bool(settings["import_path"]),
        )  # fmt: skip
    except BadUsage as error:
        # Here, where the usage of the command is known.
        raise click.UsageError(f"{error}.") from error
    for warning in check_host(settings["host"], i_know=settings["i_know"]):
        console.warn(warning)
    where = {name: settings[name] for name in ("host", "port")}
    where |= {"usual_port": find_usual_port(settings["out_dir"] or review_dir or inputs[0])}
    where |= {"say": console.insist, "open_browser": not settings["no_browser"]}
    if review_dir:
        _serve_review(console, (review_dir, *compared), settings, where)
        return
    _serve_labelling(console, inputs, settings, where)


def _read_shared(settings: dict[str, Any]) -> dict[str, Any]:
    """Return what drawing takes in a session of labelling and in a review."""
    return {
        "table": read_table(settings["labels_path"], settings["colors_path"]),
        "options": _read_spread_options(settings),
        "figures": read_options(FigureOptions, settings),
        **{name: settings[name] for name in ("out_dir", "annotator", "window")},
    }


def _serve_review(console: Console, folders: tuple[Path, ...], settings: dict[str, Any], where: Any) -> None:
    from hybridseg.labelling.judging import Judging
    from hybridseg.labelling.review import ReviewSession
    from hybridseg.web.serve import open_comparison_page, open_review_page, serve

    if len(folders) > 1:
        review = ReviewSession(
            *folders, images_dir=settings["images_dir"], fetch=settings["fetch"], progress=console.progress
        )
        serve(partial(open_comparison_page, review), **where)
        return
    if settings["images_dir"]:
        raise click.UsageError("--images is for --review A B; results of one folder are shown on their own images.")
    review = ReviewSession(*folders, fetch=settings["fetch"], progress=console.progress)
    judging = Judging(review, **_read_shared(settings))
    serve(partial(open_review_page, judging), **where)
    if judging.decisions.path.exists():
        console.wrote(judging.decisions.path, text=f"\nStopped; the decisions are in {judging.decisions.path}.")


def _serve_labelling(console: Console, inputs: tuple[Path, ...], settings: dict[str, Any], where: Any) -> None:
    from hybridseg.labelling.opening import open_session
    from hybridseg.web.serve import open_label_page, serve

    started = time.time()
    session, told = open_session(
        inputs,
        **_read_shared(settings),
        masks_dir=settings["masks_dir"],
        import_path=settings["import_path"],
        sam_encoder=settings["sam_encoder"],
        sam_decoder=settings["sam_decoder"],
        suggester=_open_suggester(settings["models"]),
        progress=console.progress,
    )
    console.say_all(told)
    album = session.album
    n_images = count_of(len(album.entries), "image")
    homes = {album.shelf.home(entry.path) for entry in album.entries.values()}
    apart = settings["out_dir"] or settings["annotator"]
    console.say(f"{n_images}; results go {f'to {join_names(sorted(homes))}' if apart else 'beside them'}.")
    serve(partial(open_label_page, session), **where)
    results = [path for entry in album.entries.values() for path in album.shelf.list_results(entry.path)]
    console.record(images=len(album.entries), done=album.n_done)
    stopped = f"\nStopped; {album.n_done} of {n_images} done. The same command continues."
    console.wrote(*(path for path in results if path.stat().st_mtime >= started), text=stopped)


@click.command()
@click.argument("image_path", metavar="IMAGE", type=path_type)
@click.argument("seeds_path", metavar="SEEDS", type=path_type)
@class_files_options
@_suggesting_option
@_spread_options
@click.option(
    "--out", "out_dir", metavar="DIR", type=path_type, help="Folder for the results.  [default: beside the image]"
)
@overwrite_option
@figure_options
@pass_console
def crf(console: Console, *, image_path: Path, seeds_path: Path, **settings: Any) -> None:
    """Spread scribbles to every pixel of an image with a dense CRF.

    SEEDS are the scribbles: a .mat that has them (`sparse`), a picture of class ids or colours in which 255 or black is
    unlabelled, NAME_doodles.json, or what was drawn with another tool: a .npz of Doodler, a JSON of labelme or COCO,
    whose areas are seeds too. Scribbled pixels keep their class.

    Result: NAME_mres.mat (class, sparse, labels), NAME_mres_label.png, NAME_report.txt (the share of each class)
    and figures/NAME_mres.png (image, scribbles, result); for a GeoTIFF also NAME_mres_label.tif with the same
    georeference and a style for QGIS.

    \b
    Example:
      hybridseg crf photo.jpg photo_mres.mat --out dense
    """
    table = read_table(settings["labels_path"], settings["colors_path"])
    drawn = read_seeds(seeds_path, image_path, table=table)
    for warning in drawn.warnings:
        console.warn(f"{seeds_path}: {warning}")
    result = spread_file(
        image_path,
        drawn,
        options=_read_spread_options(settings),
        out_dir=settings["out_dir"],
        overwrite=settings["overwrite"],
        figures=read_options(FigureOptions, settings),
        suggester=_open_suggester(settings["models"]),
        progress=console.progress,
    )
    console.wrote(*result.written)
