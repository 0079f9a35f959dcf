"""The training loop of every dense network: train, validate, save everything, resume where it was stopped."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridseg.confusion import count_confusion, pool_confusions
from hybridseg.dense.descent import Part, expect_epoch, make_train_step
from hybridseg.dense.feed import Feed, time_batches
from hybridseg.dense.replicas import read_values
from hybridseg.dense.runs import BEST_NAME, CHECKPOINT_NAME, LOG_NAME, RunFolder
from hybridseg.dense.schedules import CosineRestarts, Schedule, count_plateaus, list_stops
from hybridseg.dense.scoring import SCORES, make_validation_step, measure_feed, score_classes, show_score
from hybridseg.dense.team import ALONE, Team
from hybridseg.errors import BadInput, OutputExists
from hybridseg.forecast import Weighted
from hybridseg.io.tables import write_csv
from hybridseg.models.checkpoints import restore_state, save_state
from hybridseg.models.losses import LossOptions, make_loss
from hybridseg.models.weightfile import write_weights
from hybridseg.options import Span, check_options, option
from hybridseg.progress import Progress, no_progress, say

if TYPE_CHECKING:
    import tf_keras

logger = logging.getLogger(__name__)

_PLATEAU_FACTOR = 0.1
# Below a ten-thousandth, steps change nothing any more.
_MOST_PLATEAUS = 4
LOSS = "loss"
# A step is starved when the network waits for its batch for longer than this, and this share of its own time.
_WAIT_SECONDS, _WAIT_SHARE = 0.005, 0.05


@dataclass(frozen=True)
class FitOptions:
    """How a network is trained."""

    epochs: int = option(50, "Number of passes through all training images.", span=Span(1))
    loss: LossOptions = LossOptions()
    schedule: Schedule | CosineRestarts = Schedule()
    best_by: str = option(
        LOSS,
        "Score on the validation images that tells which epoch was the best, and when the network gets no better.",
        choices=(LOSS, *list(SCORES)[:3]),
    )
    patience: int = option(
        0, "Stop after this number of epochs that are no better than an earlier one; 0 never stops early.", span=Span(0)
    )
    checkpoint_interval: int = option(
        0, "Keep the weights of every Nth epoch; 0 keeps those of the best epoch only.", span=Span(0)
    )
    seed: int = 0
    plateau_patience: int = option(
        0,
        "Divide the learning rate by 10 after this number of epochs that are no better than an earlier one, again and "
        "again, at most four times; 0 never does.",
        span=Span(0),
    )
    frozen_epochs: int = option(
        0,
        "Epochs in which the encoder keeps its pretrained weights, while all else is trained; -1 keeps them always.",
        span=Span(0),
        extra=(-1,),
    )
    encoder_rate: float = option(
        1.0, "Learning rate of the encoder, as a share of that of all else.", span=Span(0, 1, above=True)
    )
    validations_per_epoch: int = option(
        1,
        "Validate this many times in an epoch, at even intervals, and show the multi-label Dice each time (the mean "
        "over the classes); the best epoch is chosen by its last validation alone.",
        span=Span(1, 1000),
    )

    def __post_init__(self) -> None:
        check_options(self)

    def judge(self, epoch: Epoch) -> tuple[float, float]:
        """Return how bad an epoch was by `best_by`, then by its loss; in training where there is no validation set."""
        values = epoch.by_set()["train" if epoch.val_loss is None else "validation"]
        value, loss = values[self.best_by], float(values[LOSS] or 0.0)
        return (loss if self.best_by == LOSS else -(value or 0.0)), loss

    def learning_rate(self, history: Sequence[Epoch]) -> float:
        """Return the learning rate of the epoch after those."""
        n_plateaus = count_plateaus([self.judge(row) for row in history], patience=self.plateau_patience)
        n_plateaus = min(n_plateaus, _MOST_PLATEAUS)
        return self.schedule.learning_rate(len(history)) * _PLATEAU_FACTOR**n_plateaus

    def has_stalled(self, history: Sequence[Epoch]) -> bool:
        """Return whether the last epochs, as many as `patience` says, were no better than one before them."""
        return self.patience > 0 and len(history) - self.find_best(history) >= self.patience

    def find_best(self, history: Sequence[Epoch]) -> int:
        """Return the number of the best epoch, from 1; 0 where there is none."""
        return min(range(len(history)), key=lambda i: self.judge(history[i])) + 1 if history else 0

    def find_late(self) -> dict[str, float]:
        """Return the settings that such a training never comes to, each with the epoch, from 0, that it is for."""
        waits = {name: value for name in ("patience", "plateau_patience") if (value := getattr(self, name))}
        starts = {
            **self.schedule.find_starts(),
            **{name: value + 1 for name, value in waits.items()},
            "checkpoint_interval": self.checkpoint_interval - 1,
            "frozen_epochs": self.frozen_epochs,
            "encoder_rate": self.frozen_epochs if self.frozen_epochs >= 0 else math.inf,
        }
        return {name: start for name, start in starts.items() if start >= self.epochs}

    def is_frozen(self, epoch: int) -> bool:
        """Return whether the encoder keeps its weights in an epoch, counted from 0."""
        return self.frozen_epochs < 0 or epoch < self.frozen_epochs


@dataclass(frozen=True)
class Epoch:
    """Loss and scores of an epoch; the validation values are None when there is no validation set.

    The scores are means over the classes. `rate` is the learning rate, `starved` the share of the steps that had to
    wait for their batch, `val_dice_within` the Dice of each validation before that of the end.
    """

    epoch: int
    rate: float
    loss: float
    mean_iou: float | None
    dice: float | None
    accuracy: float | None
    recall: float | None
    val_loss: float | None
    val_mean_iou: float | None
    val_dice: float | None
    val_accuracy: float | None
    val_recall: float | None
    images_per_second: float
    starved: float
    val_dice_within: list[float | None] = field(default_factory=list)

    def by_set(self) -> dict[str, dict[str, float | None]]:
        """Return the values of the training set and of the validation set, each under its own name."""
        values = asdict(self)
        del values["epoch"], values["val_dice_within"]
        validation = {name.removeprefix("val_"): values.pop(name) for name in list(values) if name.startswith("val_")}
        return {"train": values, "validation": validation}


def fit(
    network: tf_keras.Model,
    training: Feed,
    validation: Feed | None,
    *,
    options: FitOptions,
    folder: RunFolder,
    encoder: Sequence[Any] = (),
    keep: Callable[[Path], object] | None = None,
    on_start: Callable[[str], None] = lambda text: None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    progress: Progress = no_progress,
    copy: tf_keras.Model | None = None,
    gather: Callable[[], None] = lambda: None,
    team: Team = ALONE,
) -> list[Epoch]:
    """Train a network in place; with a validation set it ends with the weights of the best epoch.

    Parameters
    ----------
    network : tf_keras.Model
        From normalized pixels to scores.
    encoder : sequence of layer
        Those that `frozen_epochs` is about.
    keep : callable or None
        Writes the network to a path, for numbered checkpoints; None: its weights alone.
    on_start : callable
        Called with what is resumed, if anything is.
    on_epoch : callable
        Called after every epoch, while the network is as it was then.
    copy, gather
        A copy that is trained in its place, and what brings its weights to it: see `dense.replicas.replicate`.
    team : Team
        Who trains it together, each on its share of `training`; the chief alone writes.

    Returns
    -------
    list of Epoch
        Those of earlier sessions included.

    Raises
    ------
    OutputExists
        When there is a run in the folder and `resume` is not set.
    BadInput
        When the run in the folder has other settings, or the loss is not finite in the first epoch. In a later one
        training stops with the last good weights.
    """
    run = _Run(network, training.pairs.table, options, folder, encoder, copy, gather, team)
    history = run.restore()
    if history:
        on_start(_describe_resumed(history, options))
    # One sequence for all epochs and their validation: the time that is left is that of the whole training.
    stops = list_stops(training.n_steps, options.validations_per_epoch)
    costs = expect_epoch(training, validation, stops) * (options.epochs - len(history))
    label = f"steps of the training, epochs {len(history) + 1} to {options.epochs}"
    steps = iter(progress(Weighted(range(len(costs)), costs), label=label))
    for epoch in range(len(history), options.epochs):
        if options.has_stalled(history):
            break
        rate = options.learning_rate(history)
        row = run.train_epoch(training, epoch, steps, rate, validation=validation, stops=stops[:-1])
        if row is not None and validation is not None:
            row = Epoch(**{**asdict(row), **run.validate(validation, islice(steps, validation.n_steps))})
        if row is not None:  # All stop, and choose the best, by the same numbers.
            row = Epoch(**team.exchange(asdict(row))[0])
        if row is None or not np.isfinite(row.val_loss or 0.0):
            run.return_to(history)
            break
        history.append(row)
        if team.is_chief:
            run.save(history, keep or partial(write_weights, model=network))
        on_epoch(row)
    next(steps, None)
    if validation is not None and team.is_chief:
        run.restore_best()
    network.set_weights(team.spread(network.get_weights()))
    return history


class _Run:
    """A network with its optimizer and its files."""

    def __init__(
        self,
        network: tf_keras.Model,
        table: Any,
        options: FitOptions,
        folder: RunFolder,
        encoder: Sequence[Any] = (),
        copy: tf_keras.Model | None = None,
        gather: Callable[[], None] = lambda: None,
        team: Team = ALONE,
    ) -> None:
        import tensorflow as tf

        self.network, self.table, self.options, self.folder = network, table, options, folder
        self.gather, self.team, copy = gather, team, copy or network
        own = {id(variable) for layer in encoder for variable in layer.weights}
        rest = [variable for variable in copy.trainable_variables if id(variable) not in own]
        kept = [variable for variable in copy.trainable_variables if id(variable) in own]
        self._parts = [Part(1.0, rest), Part(options.encoder_rate, [] if options.frozen_epochs < 0 else kept)]
        self.state = [*copy.weights, *(v for part in self._parts for v in part.optimizer.variables)]
        loss = make_loss(options.loss, foreground_only=network.output_shape[-1] == 1)
        signature = [tf.TensorSpec(network.input_shape, tf.float32), tf.TensorSpec([None, None, None], tf.uint8)]
        # Without AutoGraph, see `hybridseg.models.graphs.freeze`.
        settings = {"input_signature": signature, "autograph": False}
        self._train_steps = {
            is_frozen: tf.function(make_train_step(copy, loss, parts), **settings)
            for is_frozen, parts in ((True, self._parts[:1]), (False, self._parts))
        }
        self._validation_step = tf.function(make_validation_step(network, loss), **settings)

    def restore(self) -> list[Epoch]:
        """Restore the last epoch of an earlier session, if asked for; return all of its epochs."""
        rows = [asdict(row) for row in self._restore_own()] if self.team.is_chief else []
        history = [Epoch(**row) for row in self.team.exchange({"history": rows})[0]["history"]]
        if self.team.share.count > 1:
            for variable, value in zip(self.state, self.team.spread(read_values(self.state)), strict=True):
                variable.assign(value, read_value=False)
        self.gather()
        return history

    def _restore_own(self) -> list[Epoch]:
        """Return the history as the chief has it, and restore its state."""
        path = self.folder.path / CHECKPOINT_NAME
        if not path.exists():
            return []
        if not self.folder.resume:
            where = self.folder.path
            raise OutputExists(f"{where} holds a training run; --resume continues it, --overwrite starts over")
        record = restore_state(path, self.state, accept=partial(self.folder.accept, n_epochs=self.options.epochs))
        history = [Epoch(**row) for row in record["history"]] if record else []
        if history:
            # It may have been killed before the log had its last epoch.
            self.write_log(history)
        return history

    def return_to(self, history: list[Epoch]) -> None:
        """Return to the end of the last good epoch, after a loss that is not finite."""
        epoch = len(history) + 1
        if not history:
            raise BadInput("the loss is not finite any more in epoch 1; give a smaller learning rate")
        if self.team.is_chief:
            restore_state(self.folder.path / CHECKPOINT_NAME, self.state)
            self.gather()
        logger.warning(
            "the loss is not finite any more in epoch %d: training stops here, and the best weights until then are "
            "kept; a smaller learning rate may get further",
            epoch,
        )

    def train_epoch(
        self,
        feed: Feed,
        epoch: int,
        steps: Iterable[Any],
        learning_rate: float,
        *,
        validation: Feed | None = None,
        stops: Sequence[int] = (),
    ) -> Epoch | None:
        """Train on every batch once, and validate after some of them; return None when the loss is not finite."""
        for part in self._parts:
            part.optimizer.learning_rate.assign(part.rate * learning_rate)
        train_step = self._train_steps[self.options.is_frozen(epoch)]
        counts, losses, n_starved, n_images = [], [], 0, 0
        within: list[float | None] = []
        started = time.perf_counter()
        batches = time_batches(feed.batches(first_epoch=epoch))
        for number, _ in zip(range(1, feed.n_steps + 1), steps, strict=False):
            waited, (images, labels) = next(batches)
            since = time.perf_counter()
            loss, found = train_step(images, labels)
            if not np.isfinite(loss):
                return None
            n_of_all = feed.count_images(number - 1)
            losses.append(float(loss) * n_of_all)
            # The first batch of an epoch is never there in advance: no step could have hidden it.
            is_late = waited > max(_WAIT_SECONDS, _WAIT_SHARE * (time.perf_counter() - since))
            n_starved += is_late and n_images > 0
            # Of a batch that each of the team has whole, that of the chief counts.
            n_own = len(images) if self.team.is_chief or n_of_all >= self.team.share.count else 0
            counts.append(count_confusion(labels.numpy()[:n_own], found.numpy()[:n_own], self.table))
            n_images += n_of_all
            if validation is not None and number in stops:
                since = time.perf_counter()
                within.append(self.validate(validation, islice(steps, validation.n_steps))["val_dice"])
                place = f"epoch {epoch + 1}, step {number} of {feed.n_steps}"
                say(f"{place}: Dice of the validation images {show_score(within[-1])}, mean over the classes")
                started += time.perf_counter() - since
        self.gather()
        pooled = pool_confusions(counts)
        counts = [replace(pooled, counts=self.team.add(pooled.counts))]
        unknown = dict.fromkeys(("val_loss", *(f"val_{name}" for name in SCORES)))
        return Epoch(
            epoch=epoch + 1, rate=learning_rate, loss=sum(losses) / n_images, **score_classes(counts), **unknown,
            images_per_second=n_images / (time.perf_counter() - started), starved=n_starved / feed.n_steps,
            val_dice_within=within,
        )  # fmt: skip

    def validate(self, feed: Feed, steps: Iterable[Any]) -> dict[str, float | None]:
        """Return loss and scores on the validation set; every one of the team finds the same."""
        self.gather()
        found = measure_feed(self._validation_step, feed, self.table, steps=self.team.watch(steps))
        return {f"val_{name}": value for name, value in found.items()}

    def save(self, history: list[Epoch], keep: Callable[[Path], object]) -> None:
        """Write everything that the next epoch depends on; the best weights first, or they could be lost."""
        n = len(history)
        if self.options.checkpoint_interval and n % self.options.checkpoint_interval == 0:
            keep(self.folder.weights_path(n))
        if self.options.find_best(history) == n:
            save_state(self.folder.path / BEST_NAME, read_values(self.network.weights), {"epoch": n})
        record = {"settings": self.folder.settings, "history": [asdict(row) for row in history]}
        save_state(self.folder.path / CHECKPOINT_NAME, read_values(self.state), record)
        self.write_log(history)

    def write_log(self, history: list[Epoch]) -> None:
        """Write a table of the epochs."""
        rows = [{**asdict(row), "val_dice_within": " ".join(map(show_score, row.val_dice_within))} for row in history]
        write_csv(self.folder.path / LOG_NAME, [f.name for f in fields(Epoch)], rows)

    def restore_best(self) -> None:
        """Restore the weights of the best epoch."""
        record = restore_state(self.folder.path / BEST_NAME, self.network.weights)
        if record is not None:
            logger.info("the best epoch was %d by its %s", record["epoch"], self.options.best_by)


def _describe_resumed(history: Sequence[Epoch], options: FitOptions) -> str:
    """Return where a training goes on, and whether its learning rate was that of fewer or more epochs until then."""
    text = f"resuming after epoch {len(history)} of {options.epochs}"
    if [row.rate for row in history] == [options.learning_rate(history[:i]) for i in range(len(history))]:
        return text
    return f"{text}; the learning rate goes on by the schedule of {options.epochs} epochs"
