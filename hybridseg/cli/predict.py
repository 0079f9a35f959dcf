"""The command for a few images and any model: ``predict``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from hybridseg.apply import Model, find_model
from hybridseg.cli.console import Console, pass_console
from hybridseg.cli.options import is_given, memory_option, options_of, path_type, read_options, resume_option
from hybridseg.cli.segment import labels_option, run_job, tile_size_option
from hybridseg.io.pairing import find_images
from hybridseg.machine import MemoryOptions
from hybridseg.markup import name_some
from hybridseg.prediction import REPORTS_DIR, PredictionJob, PredictionOptions, make_prediction

_MOST_LISTED = 3


class SeveralValues(click.Command):
    """A command whose options of several values take all words up to the next option: ``-i a.jpg b.jpg``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the option before each of its words, as click wants it."""
        flags = {flag for option in self.params if getattr(option, "multiple", False) for flag in option.opts}
        words: list[str] = []
        flag = ""
        for word in args:
            if word.startswith("-") and word != "-":
                flag = word if word in flags else ""
                words.append(word)
            else:
                words += [flag, word] if flag and words[-1] != flag else [word]
        return super().parse_args(ctx, words)


@click.command(cls=SeveralValues)
@click.option(
    "-m", "--model", metavar="MODEL...", type=path_type, multiple=True, required=True,
    help="The model: a tile classifier (NAME.pb), a dense network (NAME.h5), or the folder of one. Several vote.",
)  # fmt: skip
@click.option(
    "-i", "--input", metavar="IMAGE...", type=path_type, multiple=True, required=True,
    help="The images: files, folders or patterns.",
)  # fmt: skip
@click.option(
    "-o", "--output", metavar="MASK...", type=path_type, multiple=True,
    help="The mask of each image, in the same order: .png, .tif or .mat; or one folder, of NAME_predseg.png.  "
    "[default: beside each image]",
)  # fmt: skip
@click.option("-v", "--viz", is_flag=True, help="Draw each image with its mask, into --reports. No window is opened.")
@click.option("-n", "--no-save", "--nosave", is_flag=True, help="Write no masks.")
@options_of(
    PredictionOptions, "mask_threshold", "scale",
    flags={"mask_threshold": ("-t", "--mask-threshold", "--maskthreshold"), "scale": ("-s", "--scale")},
    unset={
        "mask_threshold": "0.5 of two classes; of more, none is void",
        "scale": "that of the training; for tile classifiers 1",
    },
)  # fmt: skip
@click.option("--stack", is_flag=True, help="Take the images, of one band each, as the bands of one, in this order.")
@click.option(
    "--reports", metavar="DIR", type=path_type, default=REPORTS_DIR, show_default=True,
    help="Folder of the pictures of --viz.",
)  # fmt: skip
@labels_option
@tile_size_option
@memory_option
@resume_option
@pass_console
def predict(console: Console, **settings: Any) -> None:
    """Label every pixel of a few images with any model.

    -m, -i and -o each take several files, or can be repeated. Tile classifiers work as in semseg, with what tune-crf
    found for them. A mask of an earlier prediction is replaced, and no other file.

    Result: NAME_predseg.png, the class ids with the colours as palette, and for an image in a place on Earth also
    NAME_predseg.tif, of one above 100 megapixels that alone; or the masks that --output names. With --viz:
    REPORTS/image_pair_jet.png (image and mask side by side, the ids from blue to red) and REPORTS/sample.png (the mask
    over the image, in the colours of the classes); of several images NAME_image_pair_jet.png and NAME_sample.png of
    each.

    \b
    Examples:
      hybridseg predict -m model.pb -i photo.jpg -o mask.png -v
      hybridseg predict -m model.pb -i photos -o masks
    """
    if settings["no_save"]:
        for name in ("output", "resume"):
            if settings[name]:
                raise click.UsageError(f"--{name} is for masks, and --no-save writes none.")
    if is_given("reports") and not settings["viz"]:
        raise click.UsageError("--reports is for pictures; add --viz.")
    # Of a stack nothing is sorted or left out.
    images = list(settings["input"]) if settings["stack"] else find_images(settings["input"])
    paths = tuple(map(find_model, settings["model"]))
    model = Model(paths, settings["labels_path"], settings["tile_size"])
    job = make_prediction(
        images, model, outputs=settings["output"],
        options=read_options(PredictionOptions, settings), save=not settings["no_save"],
        reports_dir=settings["reports"] if settings["viz"] else None, stack=settings["stack"],
        memory=read_options(MemoryOptions, settings),
    )  # fmt: skip
    _say_settings(console, settings, job, model)
    run_job(console, images[:1] if settings["stack"] else images, job, resume=settings["resume"])


def _say_settings(console: Console, settings: Mapping[str, Any], job: PredictionJob, model: Model) -> None:
    """Print what is about to happen, as the published program does, and report it."""
    threshold, scale = settings["mask_threshold"], settings["scale"]
    shown = {
        "model": name_some(model.paths, _MOST_LISTED),
        "classes": ", ".join(model.classes.names),
        "input": name_some(job.bands or settings["input"], _MOST_LISTED)
        + (", the bands of one image" if job.bands else ""),
        "output": name_some(job.masks.values(), _MOST_LISTED) or "no masks",
        "viz": settings["reports"] if settings["viz"] else "no pictures",
        "mask threshold": threshold if threshold is not None else 0.5 if len(model.classes) == 2 else "none",
        "scale": scale or ("the images as they are" if model.is_classifier else "that of the training"),
    }
    console.say("prediction:")
    console.say_all(f"  {name:<15} {value}" for name, value in shown.items())
    names = ("viz", "no_save", "mask_threshold", "scale", "stack")
    console.record(settings={"models": model.paths, **{name: settings[name] for name in names}})
