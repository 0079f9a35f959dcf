"""What the commands of all dense networks share: options, and how a training and its scores are printed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from hybridseg.apply import make_job
from hybridseg.batch.jobs import Outputs
from hybridseg.cli.console import Console
from hybridseg.cli.options import (
    WeightsType,
    engine_option,
    figure_options,
    is_given,
    join_options,
    memory_option,
    options_of,
    path_type,
    read_options,
    resume_option,
)
from hybridseg.cli.segment import run_job
from hybridseg.confusion import Confusion
from hybridseg.dense.fit import LOSS, Epoch, FitOptions
from hybridseg.dense.machines import MachineOptions
from hybridseg.dense.runs import load_run
from hybridseg.dense.scoring import show_score as _show
from hybridseg.dense.smoothing import SmoothingOptions
from hybridseg.dense.trainer import TrainingPaths, TrainingResult
from hybridseg.dense.windows import DenseOptions
from hybridseg.figures import FigureOptions
from hybridseg.io.pairing import PREDSEG_CRF, find_images
from hybridseg.machine import MemoryOptions
from hybridseg.markup import count_of, spell_command
from hybridseg.models.bundles import DenseModel
from hybridseg.models.encoders import IMAGENET
from hybridseg.progress import Progress
from hybridseg.verdict import FEW_PHOTOS, NextSteps

_SCORE_NAMES = {"mean_iou": "mean IoU", "dice": "Dice", "accuracy": "accuracy"}

labeldefs_option = click.option(
    "--labeldefs", "labeldefs_path", metavar="FILE", type=path_type,
    help="Classes and colours: one line `name, r, g, b` for each class.",
)  # fmt: skip


runs_option = click.option(
    "--runs-dir", metavar="DIR", type=path_type, default=Path("runs"), show_default=True, help="Folder of trainings."
)

encoder_weights_option = click.option(
    "--encoder-weights", metavar=WeightsType.name, type=WeightsType(), default=IMAGENET, show_default=True,
    help="What the encoder starts from: random weights, those of ImageNet (downloaded unless they come with the "
    "package), or a file of Keras (.h5).",
)  # fmt: skip

# What every training has.
run_options = join_options(
    click.option("--resume", is_flag=True, help="Continue after the last finished epoch."),
    click.option("--overwrite", is_flag=True, help="Start over where there is a training already."),
    click.option("--tensorboard-dir", metavar="DIR", type=path_type, help="Write logs for TensorBoard here."),
    click.option(
        "--histogram-interval", type=click.IntRange(min=0),
        help="Let them have histograms of weights and gradients of every Nth epoch; 0: none.  [default: 10]",
    ),
    options_of(
        MachineOptions, "strategy", "cluster", "worker", "start_timeout",
        unset={"strategy": "of a folder of images the first graphics card, of a database all"},
        metavars={"cluster": "HOST:PORT,..."},
    ),
    figure_options,
)  # fmt: skip


def read_paths(settings: dict[str, Any], **files: Any) -> TrainingPaths:
    """Return where a training reads and writes, and on which machines it runs, as the options of `run_options` say."""
    machines, figures = read_options(MachineOptions, settings), read_options(FigureOptions, settings)
    return read_options(TrainingPaths, settings, machines=machines, figures=figures, **files)


# How an image is presented to the networks.
presentation_options = options_of(
    DenseOptions, "native", "scale", "window", "overlap", "flips",
    flags={"native": ("--native/--fitted",)}, unset={"native": "as in training", "scale": "that of the training"},
)  # fmt: skip

# The same, and what is written.
view_options = join_options(
    presentation_options,
    options_of(Outputs, "probabilities"),
    engine_option,
    memory_option,
    figure_options,
    resume_option,
)


def warn_of_late(console: Console, fit: FitOptions) -> None:
    """Warn of every setting that was given and that a training of so few epochs never comes to."""
    flags = {parameter.name: parameter.opts[0] for parameter in click.get_current_context().command.params}
    for name, start in fit.find_late().items():
        if is_given(name):
            given = f"{flags[name]} {click.get_current_context().params[name]}"
            end = f"in epoch {start + 1:g}, and the training ends after epoch {fit.epochs}"
            if math.isinf(start):
                console.warn(f"{given} has no effect: the encoder keeps its weights to the end")
            elif name == "ramp_epochs":
                console.warn(f"with {given} the learning rate reaches its peak {end}")
            else:
                console.warn(f"{given} has its first effect {end}")


def crf_options(smoothing: SmoothingOptions) -> Callable[[Any], Any]:
    """Return --crf with the options of `smoothing`, which are its defaults."""
    crf = ("space_theta", "theta", "n_iterations")
    own = ("thinning", "radius") if smoothing.crf_from == "labels" else ("radius",)
    return join_options(
        click.option("--crf", is_flag=True, help="Smooth the prediction with a dense CRF and a majority filter."),
        options_of(smoothing.crf, *crf, flags={"space_theta": ("--theta-space",), "theta": ("--theta-color",)}),
        options_of(smoothing, *own, flags={"radius": ("--median-radius",)}),
    )


def infer_images(
    console: Console, program: str, images: Path, settings: dict[str, Any], *, smoothing: SmoothingOptions, out_dir: Any
) -> None:
    """Segment images by the trainings of a program that were named, smoothed if `crf_options` say so."""
    paths, title = find_images([images]), Outputs.title
    if settings["crf"]:
        # Beside the plain results, which are worth comparing with.
        # `--max-memory` is that of all the work on an image.
        crf = read_options(smoothing.crf, settings, max_memory=smoothing.crf.max_memory)
        smoothing, title = read_options(smoothing, settings, crf=crf), PREDSEG_CRF
    else:
        smoothing = SmoothingOptions()
    which = {"program": program, "checkpoint": settings["checkpoint"], "engine": settings["model_engine"]}
    models = [load_run(settings["runs_dir"] / name, **which) for name in settings["names"]]
    segment_images(console, paths, models, settings, smoothing=smoothing, out_dir=out_dir, title=title)


def segment_images(
    console: Console,
    paths: Sequence[Path],
    models: Sequence[DenseModel],
    settings: dict[str, Any],
    *,
    smoothing: SmoothingOptions,
    out_dir: Path | None,
    title: str = Outputs.title,
) -> None:
    """Segment images as the options of `view_options` say, and print the result of each."""
    job = make_job(
        [model.path for model in models],
        outputs=read_options(
            Outputs, settings, out_dir=out_dir, title=title, figures=read_options(FigureOptions, settings)
        ),
        options=read_options(DenseOptions, settings),
        smoothing=smoothing,
        engine=settings["model_engine"],
        memory=read_options(MemoryOptions, settings),
    )
    run_job(console, paths, job, resume=settings["resume"])


def report_training(
    console: Console, train: Callable[[Callable[[Epoch], None], Progress], TrainingResult]
) -> TrainingResult:
    """Run a training; print every epoch and the result, and return it."""
    result = train(lambda epoch: _print_epoch(console, epoch), console.progress)
    if result.history:
        console.say(
            f"\ntrained on {count_of(result.n_training, 'image')}, validated on {result.n_validation}; best epoch "
            f"{result.best_epoch} ({_say_reason(result)}), whose scores on the validation images are:"
        )
    else:
        console.say(f"nothing was trained (DO_TRAIN is false); the scores on {count_of(result.n_validation, 'image')}:")
    print_scores(console, result.confusion)
    console.tell_worst(result.images)
    if result.sets:
        _print_sets(console, result)
    starved = sum(epoch.starved for epoch in result.history) / max(len(result.history), 1)
    if starved > 0.2:
        console.say(f"{starved:.0%} of the steps waited for their images: reading limits the speed")
    console.wrote(*result.written)
    console.record(epochs=len(result.history), best_epoch=result.best_epoch)
    console.record(training_images=result.n_training, validation_images=result.n_validation)
    return result


def _say_reason(result: TrainingResult) -> str:
    """Return what chose the best epoch."""
    score = result.model.card.training["options"]["best_by"]
    return "lowest validation loss" if score == LOSS else f"highest validation {_SCORE_NAMES[score]}"


def make_steps(*use: object) -> NextSteps:
    """Return what to do after the scores of a dense network; `use` are the words of the command for new images."""
    return NextSteps(
        good=spell_command(use),
        few=f"label more photos, so that {FEW_PHOTOS} or more are held out",
        weak="label more photos with {weakest}, or train for more epochs if the loss is still falling",
    )


def print_scores(console: Console, confusion: Confusion) -> None:
    """Print the IoU and Dice of every class, their means, and the accuracy."""
    rows = zip(confusion.table.names, confusion.scores("iou"), confusion.scores("f1"), strict=True)
    means = ("mean", confusion.macro("iou"), confusion.macro("f1"))
    console.table(("class", "IoU", "Dice"), [(name, _show(iou), _show(dice)) for name, iou, dice in [*rows, means]])
    console.say_left_out(confusion)
    console.say(f"pixel accuracy {_show(confusion.accuracy)}")


def _print_sets(console: Console, result: TrainingResult) -> None:
    """Print loss and scores of the training, validation and test set."""
    of = f" of {result.model.table.names[1]}" if result.model.card.architecture.n_outputs == 1 else ", mean"
    names = {
        "loss": "loss", "accuracy": "pixel accuracy", "mean_iou": f"IoU{of}", "dice": f"Dice{of}",
        "recall": f"true-positive rate{of}",
    }  # fmt: skip
    console.say("\nAt the size of the training:")
    rows = [(text, *(_show(values[name]) for values in result.sets.values())) for name, text in names.items()]
    console.table(("", *result.sets), rows)
    console.record(sets=result.sets)


def _print_epoch(console: Console, epoch: Epoch) -> None:
    validation = ""
    if epoch.val_loss is not None:
        validation = f"  validation: {epoch.val_loss:.3f}, {_show(epoch.val_mean_iou)}, {_show(epoch.val_dice)}"
    console.say(
        f"epoch {epoch.epoch:3}  learning rate {epoch.rate:.1e}  loss, mean IoU, Dice: {epoch.loss:.3f}, "
        f"{_show(epoch.mean_iou)}, {_show(epoch.dice)}{validation}  ({epoch.images_per_second:.1f} images/s)"
    )
