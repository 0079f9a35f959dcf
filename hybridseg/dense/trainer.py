"""One way to train every dense network: pairs and a plan in, a bundle, its log and its pictures out."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.classes import ClassTable
from hybridseg.confusion import Confusion
from hybridseg.dense.augment import AugmentOptions
from hybridseg.dense.feed import Feed, hold_out
from hybridseg.dense.fit import CHECKPOINT_NAME, Epoch, FitOptions, RunFolder, fit
from hybridseg.dense.pairs import PairSource, RememberedPairs
from hybridseg.dense.pictures import Example, draw_examples, draw_history, draw_schedule, pick_examples
from hybridseg.errors import BadInput, OutputExists
from hybridseg.io.atomic import claim_folder, lock_output
from hybridseg.models.architectures import Architecture
from hybridseg.models.bundles import DenseCard, DenseModel, save_dense
from hybridseg.models.cards import list_versions
from hybridseg.models.checkpoints import combine_fingerprint
from hybridseg.models.normalization import Normalization
from hybridseg.models.startup import make_deterministic
from hybridseg.models.summaries import SummaryWriter
from hybridseg.progress import Progress, no_progress

_RUN_FILE = re.compile(r"checkpoint\.npz|best\.npz|log\.csv|epoch_\d{4,}\.(h5|json)")


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that a trained network depends on, besides the pairs.

    Parameters
    ----------
    architecture : Architecture
    table : ClassTable
    size : tuple of int
        Of the pairs.
    normalization : Normalization
    batch_size : int
    validation_share : float
        Of the photographs that are watched, where there is no validation set.
    augment : AugmentOptions
    fit : FitOptions
    """

    architecture: Architecture
    table: ClassTable
    size: tuple[int, int]
    normalization: Normalization
    batch_size: int = 4
    validation_share: float = 0.15
    augment: AugmentOptions = field(default_factory=AugmentOptions)
    fit: FitOptions = field(default_factory=FitOptions)


@dataclass(frozen=True)
class TrainingPaths:
    """Where a training reads and writes.

    Parameters
    ----------
    weights : pathlib.Path
        ``NAME.h5``; the card and the pictures lie beside it.
    run_dir : pathlib.Path
        Checkpoints and the log.
    tensorboard_dir : pathlib.Path or None
    resume, overwrite : bool
        What to do about a run that is there: go on, or begin again.
    plots : bool
        Draw the pictures.
    """

    weights: Path
    run_dir: Path
    tensorboard_dir: Path | None = None
    resume: bool = False
    overwrite: bool = False
    plots: bool = True

    def plot(self, what: str) -> Path:
        """Give the place of a picture."""
        return self.weights.with_name(f"{self.weights.stem}_{what}.png")


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """What came out.

    Parameters
    ----------
    model : DenseModel
    written : tuple of pathlib.Path
    history : tuple of Epoch
    confusion : Confusion
        Of the validation set, at the size of the training.
    n_training, n_validation : int
        Pairs.
    """

    model: DenseModel
    written: tuple[Path, ...]
    history: tuple[Epoch, ...]
    confusion: Confusion
    n_training: int
    n_validation: int


def train_dense(
    pairs: PairSource,
    plan: TrainingPlan,
    paths: TrainingPaths,
    *,
    validation_pairs: PairSource | None = None,
    start: Callable[[Any], None] = lambda network: None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    progress: Progress = no_progress,
) -> TrainingResult:
    """Train a network, and write the weights that did best on photographs that it has not learned from.

    Parameters
    ----------
    pairs : PairSource
    plan : TrainingPlan
    paths : TrainingPaths
    validation_pairs : PairSource or None
        None: a share of the photographs of `pairs` is held out.
    start : callable
        Puts weights into the new network that know something already.
    on_epoch : callable
        Told of every epoch.
    progress : callable

    Returns
    -------
    TrainingResult

    Raises
    ------
    BadInput
        When the pairs do not fit the plan.
    OutputExists
        When there is a run already, and neither `resume` nor `overwrite` was asked for.
    WriteFailed
    """
    _claim(paths)
    training, validation = make_feeds(pairs, validation_pairs, plan)
    with lock_output(paths.run_dir / CHECKPOINT_NAME):
        if paths.overwrite:
            _clear(paths.run_dir)
        make_deterministic(plan.fit.seed)
        network = plan.architecture.build()
        start(network)
        card = DenseCard(plan.architecture, plan.table, plan.size, plan.normalization, versions=list_versions())
        model = DenseModel(paths.weights, card, network)
        written = _draw_start(paths, plan, training, validation) if paths.plots else []
        history = _fit(model, training, validation, plan, paths, on_epoch, progress)
        confusion = judge(model, validation)
        trained = replace(card, training=_tell_training(plan, pairs, history), scores=confusion.to_record())
        written = [*save_dense(paths.weights, network, trained), *written]
        model.card = trained
        if paths.plots:
            written += _draw_end(paths, model, validation, history)
    return TrainingResult(
        model, tuple(written), tuple(history), confusion, len(training.indices), len(validation.indices)
    )


def make_feeds(pairs: PairSource, validation_pairs: PairSource | None, plan: TrainingPlan) -> tuple[Feed, Feed]:
    """Make the batches to learn from and those to watch; no photograph has a part in both.

    Raises
    ------
    BadInput
        When the images have other bands than the network takes, or both sets have a photograph.
    """
    if pairs.n_bands != plan.architecture.n_bands:
        raise BadInput(f"the images have {pairs.n_bands} bands, but the network takes {plan.architecture.n_bands}")
    seed = plan.fit.seed
    if validation_pairs is None:
        learned, watched = hold_out(pairs.sources, share=plan.validation_share, seed=seed)
        remembered = watched_pairs = RememberedPairs(pairs)
    else:
        shared = sorted(set(pairs.sources) & set(validation_pairs.sources))
        if shared:
            raise BadInput(f"{', '.join(shared[:5])} are in the training set and in the validation set; take them out")
        learned, watched = np.arange(len(pairs.sources)), np.arange(len(validation_pairs.sources))
        remembered, watched_pairs = RememberedPairs(pairs), RememberedPairs(validation_pairs)
    training = Feed(
        remembered, learned, batch_size=plan.batch_size, normalization=plan.normalization, augment=plan.augment,
        shuffle=True, seed=seed,
    )  # fmt: skip
    return training, Feed(watched_pairs, watched, batch_size=plan.batch_size, normalization=plan.normalization)


def judge(model: DenseModel, feed: Feed) -> Confusion:
    """Compare what a network says of the images of a feed with their labels."""
    n = len(model.table)
    counts = np.zeros((n, n), np.int64)
    for images, labels in feed.batches():
        truth, found = labels.numpy().ravel(), model.predict(images).argmax(axis=-1).ravel()
        known = truth < n
        counts += np.bincount(truth[known].astype(np.int64) * n + found[known], minlength=n * n).reshape(n, n)
    return Confusion(model.table, counts, np.zeros(n, np.int64))


def _claim(paths: TrainingPaths) -> None:
    if paths.resume and paths.overwrite:
        raise BadInput("--resume goes on with a run and --overwrite begins it again; give one of them")
    checkpoint = paths.run_dir / CHECKPOINT_NAME
    if paths.resume and paths.weights.exists() and not checkpoint.exists():
        raise BadInput(f"there is no {checkpoint} to go on from; --overwrite trains {paths.weights} anew")
    claim_folder(paths.run_dir)
    claim_folder(paths.weights.parent)
    for path in (paths.weights, checkpoint):
        if path.exists() and not (paths.resume or paths.overwrite):
            raise OutputExists(f"{path} is there already; --resume goes on with its training, --overwrite begins again")


def _clear(run_dir: Path) -> None:
    """Remove what an earlier run left in its folder: only files that are known to be of a run."""
    for path in run_dir.iterdir():
        if _RUN_FILE.fullmatch(path.name):
            path.unlink()


def _fit(
    model: DenseModel,
    training: Feed,
    validation: Feed,
    plan: TrainingPlan,
    paths: TrainingPaths,
    on_epoch: Callable[[Epoch], None],
    progress: Progress,
) -> list[Epoch]:
    key = combine_fingerprint(
        training.pairs.fingerprint, validation.pairs.fingerprint, replace(plan, fit=replace(plan.fit, epochs=1))
    )
    folder = RunFolder(paths.run_dir, key, paths.resume)
    with SummaryWriter(paths.tensorboard_dir) as summaries:
        shown = pick_examples(validation, 4) if paths.tensorboard_dir is not None else []

        def tell(epoch: Epoch) -> None:
            for run, values in epoch.by_set().items():
                summaries.write_scalars(run, epoch.epoch, values)
            if shown:
                panels = np.stack([example.panel(model) for example in shown])
                summaries.write_images("image, truth, prediction", epoch.epoch, panels)
            on_epoch(epoch)

        return fit(
            model.network, training, validation, table=plan.table, options=plan.fit, folder=folder,
            keep=lambda path: save_dense(path, model.network, model.card), on_epoch=tell, progress=progress,
        )  # fmt: skip


def _tell_training(plan: TrainingPlan, pairs: PairSource, history: list[Epoch]) -> dict[str, Any]:
    return {
        "data_sha256": pairs.fingerprint,
        "n_photographs": len(set(pairs.sources)),
        "n_pairs": len(pairs.sources),
        "epochs": len(history),
        "batch_size": plan.batch_size,
        "augmentation": asdict(plan.augment),
        "options": asdict(plan.fit),
    }


def _draw_start(paths: TrainingPaths, plan: TrainingPlan, training: Feed, validation: Feed) -> list[Path]:
    """Draw what is known before: what the network will see, and its learning rate."""
    written = [paths.plot("train_sample_batch"), paths.plot("val_sample_batch"), paths.plot("learning_rate")]
    for path, feed in zip(written, (training, validation), strict=False):
        draw_examples(path, pick_examples(feed, 6), plan.table)
    draw_schedule(written[2], [plan.fit.schedule.rate(epoch) for epoch in range(plan.fit.epochs)])
    return written


def _draw_end(paths: TrainingPaths, model: DenseModel, validation: Feed, history: list[Epoch]) -> list[Path]:
    written = [paths.plot("training"), paths.plot("examples")]
    draw_history(written[0], history)
    examples: list[Example] = pick_examples(validation, 6)
    draw_examples(written[1], examples, model.table, model)
    return written
