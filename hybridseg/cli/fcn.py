"""``hybridseg fcn``: FCN-8s with the folders of the classic program."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from hybridseg.cli.console import Console, pass_console
from hybridseg.cli.dense import labeldefs_option, path_type, run_options, segment_images, view_options, watch_training
from hybridseg.cli.options import SizeType, overwrite_option, read_table, seed_option
from hybridseg.cli.segment import number_options
from hybridseg.dense.augment import AugmentOptions
from hybridseg.dense.datasets import find_labeldefs
from hybridseg.dense.programs.fcn import MODEL_NAME, FcnOptions, load_fcn, train_fcn
from hybridseg.dense.programs.makelabels import make_labels as paint_labels
from hybridseg.dense.smoothing import FCN_SMOOTHING, SmoothingOptions
from hybridseg.dense.trainer import TrainingPaths
from hybridseg.io.pairing import find_images
from hybridseg.models.fcn import BACKBONES
from hybridseg.models.losses import LOSSES

_DEFAULTS = FcnOptions()

runs_option = click.option(
    "--runs-dir", metavar="DIR", type=path_type, default=Path("runs"), show_default=True, help="Where trainings are."
)

_CHANGE_HELP = {
    "rotation": "Turn images by so many degrees, at most.",
    "zoom": "Enlarge or shrink them by this share, at most.",
    "row_shift": "Move them up or down by this share, at most.",
    "col_shift": "Move them sideways by this share, at most.",
    "brightness": "Brighten or darken them by this share, at most.",
}


@click.group()
def fcn() -> None:
    """Label every pixel with FCN-8s, from whole labelled images.

    \b
    In the order of use:
      make-labels  paint label maps (.mat) as the network wants them
      train        train it on samples/ and labels/ of a folder
      infer        give every pixel of new images a class
    """


@fcn.command("make-labels")
@click.argument("label_dir", metavar="DIR", type=path_type)
@labeldefs_option
@click.option("--labels", "labels_path", type=path_type, help="Classes of label maps that do not name theirs.")
@click.option("--radius", type=int, default=7, show_default=True, help="Of the disk of the median filter, in pixels.")
@click.option("--out", "out_dir", metavar="DIR", type=path_type, help="Write here.  [default: DIR]")
@overwrite_option
@pass_console
def make_labels(
    console: Console,
    *,
    label_dir: Path,
    labeldefs_path: Path | None,
    labels_path: Path | None,
    radius: int,
    out_dir: Path | None,
    overwrite: bool,
) -> None:
    """Paint label maps in the colours of their classes.

    Each pixel takes the class that most pixels around it have: of two classes that is the median filter.

    Result: NAME_gtFine_color.png for every NAME_mres.mat of DIR.

    \b
    Example:
      hybridseg fcn make-labels data/labels/gtFine/train/data --labeldefs data/labeldefs.txt
    """
    result = paint_labels(
        label_dir,
        table=find_labeldefs(label_dir, labeldefs_path),
        radius=radius,
        out_dir=out_dir,
        labels_table=read_table(labels_path, None),
        overwrite=overwrite,
        progress=console.progress,
    )
    for path in result.written:
        console.say(f"wrote {path}")
    if result.skipped:
        console.say(f"{len(result.skipped)} were there already and were left alone (--overwrite)")
    console.finish(result.problems)


@fcn.command()
@click.option("--name", required=True, help="What this training is called: the name of its folder.")
@click.option("--data-source", required=True, help="Name of the folders in samples/RGB/train and labels/gtFine/train.")
@click.option("--data-dir", metavar="DIR", type=path_type, required=True, help="Where samples/ and labels/ are.")
@labeldefs_option
@click.option("--epochs", type=int, default=_DEFAULTS.epochs, show_default=True, help="Times to go through all images.")
@click.option("--batch-size", type=int, default=_DEFAULTS.batch_size, show_default=True, help="Images in a step.")
@click.option(
    "--learning-rate", type=float, default=_DEFAULTS.learning_rate, show_default=True, help="At its top, of Adam."
)
@click.option("--loss", type=click.Choice(LOSSES), default=_DEFAULTS.loss, show_default=True, help="What is minimized.")
@click.option(
    "--size", type=SizeType(), help="Bring images to this size, multiples of 32.  [default: from the first image]"
)
@click.option(
    "--backbone", type=click.Choice(BACKBONES), default=_DEFAULTS.backbone, show_default=True,
    help="What looks at the image: the built-in MobileNetV2, or VGG-16 as in the paper.",
)  # fmt: skip
@click.option("--weights", "weights_path", metavar="FILE", type=path_type, help="VGG-16 weights of Keras (.h5).")
@click.option(
    "--wide-channels", type=int, default=_DEFAULTS.wide_channels, show_default=True,
    help="Channels of the two widest layers of VGG-16.",
)  # fmt: skip
@click.option(
    "--checkpoint-interval", type=int, default=_DEFAULTS.checkpoint_interval, show_default=True,
    help="Keep the network of every so many epochs; 0 keeps the best alone.",
)  # fmt: skip
@click.option(
    "--patience", type=int, default=_DEFAULTS.patience, show_default=True,
    help="Stop after so many epochs without a better validation loss; 0 never.",
)  # fmt: skip
@number_options(_DEFAULTS.augment, _CHANGE_HELP)
@click.option(
    "--flip-cols/--no-flip-cols", default=_DEFAULTS.augment.flip_cols, show_default=True,
    help="Mirror half of the images left to right.",
)  # fmt: skip
@click.option(
    "--flip-rows/--no-flip-rows", default=_DEFAULTS.augment.flip_rows, show_default=True,
    help="Turn half of the images upside down: for photos that look straight down.",
)  # fmt: skip
@runs_option
@run_options
@seed_option
@pass_console
def train(console: Console, **settings: Any) -> None:
    """Train FCN-8s on the folders of the classic program.

    Images are in DIR/samples/RGB/train/SOURCE, their NAME_gtFine_color.png in DIR/labels/gtFine/train/SOURCE, and the
    classes in DIR/labeldefs.txt. Photographs that are not learned from choose the best epoch: those of val/ beside
    train/, or every seventh.

    Result: RUNS/NAME/ with model.h5 and model.json (the network), log.csv, and pictures of the training.

    \b
    Example:
      hybridseg fcn train --name data_test10 --data-source data --data-dir data --epochs 10
    """
    from hybridseg.models.startup import import_tensorflow

    augment = AugmentOptions(**{name: settings[name] for name in AugmentOptions.__dataclass_fields__})
    names = FcnOptions.__dataclass_fields__.keys() & settings.keys()
    options = FcnOptions(**{name: settings[name] for name in names}, augment=augment)
    run_dir = settings["runs_dir"] / settings["name"]
    paths = TrainingPaths(
        run_dir / MODEL_NAME, run_dir, settings["tensorboard_dir"], settings["resume"], settings["overwrite"]
    )
    import_tensorflow()
    watch_training(
        console,
        lambda on_epoch, progress: train_fcn(
            settings["data_dir"],
            source=settings["data_source"],
            paths=paths,
            options=options,
            labeldefs_path=settings["labeldefs_path"],
            weights_path=settings["weights_path"],
            on_start=console.say,
            on_epoch=on_epoch,
            progress=progress,
        ),
    )


@fcn.command()
@click.option("--name", "names", multiple=True, required=True, help="The training; given again, others vote with it.")
@click.option("--samples-dir", metavar="DIR", type=path_type, required=True, help="The images; a file or pattern too.")
@click.option("--output-dir", metavar="DIR", type=path_type, required=True, help="Write here.")
@click.option("--checkpoint", type=int, help="Number of the epoch to use.  [default: the best of the run]")
@click.option("--crf", is_flag=True, help="Let a dense CRF and a median filter smooth the result.")
@click.option(
    "--theta-space", type=float, default=FCN_SMOOTHING.crf.space_theta, show_default=True,
    help="How far near pixels speak to one another, in pixels.",
)  # fmt: skip
@click.option(
    "--theta-color", type=float, default=FCN_SMOOTHING.crf.theta, show_default=True,
    help="How far pixels of like colour do.",
)  # fmt: skip
@click.option(
    "--iterations", type=int, default=FCN_SMOOTHING.crf.n_iterations, show_default=True, help="Rounds of the CRF."
)
@click.option(
    "--thinning", type=float, default=FCN_SMOOTHING.thinning, show_default=True,
    help="Share of the rows, and of the columns, that seed nothing.",
)  # fmt: skip
@click.option(
    "--median-radius",
    type=int,
    default=FCN_SMOOTHING.radius,
    show_default=True,
    help="Of the median filter.",
)
@runs_option
@view_options
@seed_option
@pass_console
def infer(console: Console, **settings: Any) -> None:
    """Give every pixel of images a class by FCN-8s.

    The whole image is brought to the size of the training, and the answer back to its own.

    Result: for each image NAME_predseg.png (class ids with the colours as palette) and NAME_predseg_composite.jpg
    (the image below the colours); of a GeoTIFF also NAME_predseg.tif in the same place on Earth.

    \b
    Examples:
      hybridseg fcn infer --name data_test10 --samples-dir data/samples/RGB/train/data --output-dir test_output
      hybridseg fcn infer --name data_test10 --samples-dir data/samples/RGB/train/data --output-dir test_crf --crf
    """
    from hybridseg.models.startup import import_tensorflow

    paths = find_images([settings["samples_dir"]])
    smoothing = _make_smoothing(settings) if settings["crf"] else SmoothingOptions()
    import_tensorflow()
    models = [load_fcn(settings["runs_dir"] / name, checkpoint=settings["checkpoint"]) for name in settings["names"]]
    segment_images(console, paths, models, settings, smoothing=smoothing, out_dir=settings["output_dir"])


def _make_smoothing(settings: dict[str, Any]) -> SmoothingOptions:
    crf = replace(
        FCN_SMOOTHING.crf,
        space_theta=settings["theta_space"],
        theta=settings["theta_color"],
        n_iterations=settings["iterations"],
    )
    return replace(
        FCN_SMOOTHING, thinning=settings["thinning"], radius=settings["median_radius"], seed=settings["seed"], crf=crf
    )
