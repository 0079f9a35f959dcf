"""What the commands of all dense networks share: options, and how a training and its results are told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from hybridseg.batch.jobs import Outputs, run_jobs
from hybridseg.cli.console import Console
from hybridseg.cli.options import read_options
from hybridseg.cli.segment import tell_image, tell_skipped
from hybridseg.confusion import Confusion
from hybridseg.dense.fit import Epoch
from hybridseg.dense.smoothing import SmoothingOptions
from hybridseg.dense.trainer import TrainingResult
from hybridseg.dense.windows import DenseOptions
from hybridseg.models.bundles import DenseModel
from hybridseg.progress import Progress
from hybridseg.segment import make_job

path_type = click.Path(path_type=Path)

labeldefs_option = click.option(
    "--labeldefs", "labeldefs_path", metavar="FILE", type=path_type, help="Classes and colours: `name, r, g, b` a line."
)


def run_options(function: Any) -> Any:
    """Add what every training has: going on, beginning again, TensorBoard."""
    for add in reversed(
        (
            click.option("--resume", is_flag=True, help="Go on after the last epoch that was finished."),
            click.option("--overwrite", is_flag=True, help="Begin again where there is a training already."),
            click.option("--tensorboard-dir", metavar="DIR", type=path_type, help="Write what TensorBoard shows here."),
        )
    ):
        function = add(function)
    return function


def view_options(function: Any) -> Any:
    """Add how an image is looked at, and what is written of it."""
    for add in reversed(
        (
            click.option(
                "--native", is_flag=True, help="Look at images at their own size, in windows, instead of fitted."
            ),
            click.option(
                "--window", type=int, default=DenseOptions.window, show_default=True, help="Side of a window."
            ),
            click.option(
                "--overlap", type=int, default=DenseOptions.overlap, show_default=True,
                help="Pixels that neighbouring windows share.",
            ),
            click.option("--flips", is_flag=True, help="Mean over mirrored images: slower, a little better."),
            click.option("--probabilities", is_flag=True, help="Also write how sure the network is."),
            click.option("--resume", is_flag=True, help="Leave out images that have a result."),
        )
    ):  # fmt: skip
        function = add(function)
    return function


def segment_images(
    console: Console,
    paths: Sequence[Path],
    models: Sequence[DenseModel],
    settings: dict[str, Any],
    *,
    smoothing: SmoothingOptions,
    out_dir: Path | None,
    composite: bool = True,
) -> None:
    """Segment images as the options of `view_options` say, and tell of each."""
    job = make_job(
        [model.path for model in models],
        outputs=read_options(Outputs, settings, out_dir=out_dir, composite=composite),
        options=read_options(DenseOptions, settings),
        smoothing=smoothing,
    )
    result = run_jobs(
        paths, job, resume=settings["resume"], progress=console.progress, on_done=partial(tell_image, console)
    )
    tell_skipped(console, result)
    console.finish(result.problems)


def watch_training(console: Console, train: Callable[[Callable[[Epoch], None], Progress], TrainingResult]) -> None:
    """Run a training, tell of every epoch, and of what it comes to."""
    result = train(lambda epoch: _tell_epoch(console, epoch), console.progress)
    if result.history:
        console.say(
            f"\nlearned from {result.n_training} images, watched on {result.n_validation}; the scores of the best "
            "epoch on those that were watched:"
        )
    else:
        console.say(f"nothing was trained (DO_TRAIN is false); the scores on {result.n_validation} images:")
    tell_scores(console, result.confusion)
    starved = max((epoch.starved for epoch in result.history), default=0.0)
    if starved > 0.05:
        console.say(
            f"in one epoch {starved:.0%} of the steps waited for their images: reading is what limits the speed"
        )
    for path in result.written:
        console.say(f"wrote {path}")


def tell_scores(console: Console, confusion: Confusion) -> None:
    """Print the IoU and Dice of every class, their means, and the accuracy."""
    rows = zip(confusion.table.names, confusion.scores("iou"), confusion.scores("f1"), strict=True)
    means = ("mean", confusion.macro("iou"), confusion.macro("f1"))
    console.table(("class", "IoU", "Dice"), [(name, _show(iou), _show(dice)) for name, iou, dice in [*rows, means]])
    console.say(f"pixel accuracy {_show(confusion.accuracy)}")


def _tell_epoch(console: Console, epoch: Epoch) -> None:
    watched = ""
    if epoch.val_loss is not None:
        watched = f"  validation: {epoch.val_loss:.3f}, {_show(epoch.val_mean_iou)}, {_show(epoch.val_dice)}"
    console.say(
        f"epoch {epoch.epoch:3}  rate {epoch.rate:.1e}  loss, mean IoU, Dice: {epoch.loss:.3f}, "
        f"{_show(epoch.mean_iou)}, {_show(epoch.dice)}{watched}  ({epoch.images_per_second:.1f} images/s)"
    )


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
