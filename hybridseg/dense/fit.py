"""The training loop of every dense network: train, validate, save everything, resume where it was stopped."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridseg.confusion import Confusion, count_confusion, pool_confusions
from hybridseg.dense.feed import Feed
from hybridseg.dense.schedules import Schedule
from hybridseg.errors import BadInput, OutputExists
from hybridseg.forecast import Weighted
from hybridseg.io.tables import write_csv
from hybridseg.models.checkpoints import restore_state, save_state
from hybridseg.models.engines import class_scores
from hybridseg.models.losses import LOSSES, Loss, make_loss
from hybridseg.models.weightfile import write_weights
from hybridseg.options import Span, check_options, option
from hybridseg.progress import Progress, no_progress

if TYPE_CHECKING:
    import tf_keras

logger = logging.getLogger(__name__)

CHECKPOINT_NAME, LOG_NAME = "checkpoint.npz", "log.csv"
_BEST_NAME = "best.npz"
# Of a pixel in a step of the training, see docs/benchmarks.md; the validation takes a third.
_PIXEL_SECONDS = 0.84e-6
# A step is starved when the network waits for its batch for longer than this, and this share of its own time.
_WAIT_SECONDS, _WAIT_SHARE = 0.005, 0.05


@dataclass(frozen=True)
class FitOptions:
    """How a network is trained."""

    epochs: int = option(50, "Number of passes through all training images.", span=Span(1))
    loss: str = option("combo", "Loss to minimize; combo is the sum of the others.", choices=LOSSES)
    schedule: Schedule = Schedule()
    patience: int = option(
        0, "Stop after this number of epochs without a lower validation loss; 0 never stops early.", span=Span(0)
    )
    checkpoint_interval: int = option(
        0, "Keep the weights of every Nth epoch; 0 keeps those of the best epoch only.", span=Span(0)
    )
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class Epoch:
    """Loss and scores of an epoch; the validation values are None when there is no validation set.

    `rate` is the learning rate, `starved` the share of the steps that had to wait for their batch.
    """

    epoch: int
    rate: float
    loss: float
    mean_iou: float | None
    dice: float | None
    val_loss: float | None
    val_mean_iou: float | None
    val_dice: float | None
    images_per_second: float
    starved: float

    def by_set(self) -> dict[str, dict[str, float | None]]:
        """Return the values of the training set and of the validation set, each under its own name."""
        values = asdict(self)
        del values["epoch"]
        validation = {name.removeprefix("val_"): values.pop(name) for name in list(values) if name.startswith("val_")}
        return {"train": values, "validation": validation}


@dataclass(frozen=True)
class RunFolder:
    """Where the checkpoints and the log of a training run are.

    Parameters
    ----------
    key : str
        A hash of everything that the weights depend on except the number of epochs: a run is resumed only with its
        own key.
    resume : bool
        Continue after the last finished epoch.
    """

    path: Path
    key: str
    resume: bool = False

    def weights_path(self, epoch: int) -> Path:
        """Return the path of the weights of a numbered checkpoint."""
        return self.path / f"epoch_{epoch:04}.h5"


def fit(
    network: tf_keras.Model,
    training: Feed,
    validation: Feed | None,
    *,
    options: FitOptions,
    folder: RunFolder,
    keep: Callable[[Path], object] | None = None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    progress: Progress = no_progress,
) -> list[Epoch]:
    """Train a network in place; with a validation set it ends with the weights of the best epoch.

    Parameters
    ----------
    network : tf_keras.Model
        From normalized pixels to scores.
    keep : callable or None
        Writes the network to a path, for numbered checkpoints; None: its weights alone.
    on_epoch : callable
        Called after every epoch, while the network is as it was then.

    Returns
    -------
    list of Epoch
        Those of earlier sessions included.

    Raises
    ------
    OutputExists
        When there is a run in the folder and `resume` is not set.
    BadInput
        When the run in the folder has other settings, or the loss is no longer finite.
    """
    run = _Run(network, training.pairs.table, options, folder)
    history = run.restore()
    monitored = "val_loss" if validation is not None else "loss"
    # One sequence for all epochs and their validation: the time that is left is that of the whole training.
    step = training.batch_size * math.prod(training.pairs.size) * _PIXEL_SECONDS
    costs = [step] * training.n_steps + [step / 3] * (validation.n_steps if validation is not None else 0)
    costs *= options.epochs - len(history)
    label = f"steps of the training, epochs {len(history) + 1} to {options.epochs}"
    steps = iter(progress(Weighted(range(len(costs)), costs), label=label))
    for epoch in range(len(history), options.epochs):
        if _has_stalled(history, monitored, options.patience):
            break
        row = run.train_epoch(training, epoch, islice(steps, training.n_steps))
        if validation is not None:
            row = Epoch(**{**asdict(row), **run.validate(validation, islice(steps, validation.n_steps))})
        history.append(row)
        if options.checkpoint_interval and len(history) % options.checkpoint_interval == 0:
            path = folder.weights_path(len(history))
            keep(path) if keep is not None else write_weights(path, network)
        run.save(history, is_best=getattr(row, monitored) <= min(getattr(h, monitored) for h in history))
        on_epoch(row)
    next(steps, None)
    if validation is not None:
        run.restore_best()
    return history


def _has_stalled(history: Sequence[Epoch], monitored: str, patience: int) -> bool:
    if not patience or not history:
        return False
    losses = [getattr(row, monitored) for row in history]
    return len(losses) - 1 - int(np.argmin(losses)) >= patience


class _Run:
    """A network with its optimizer and its files."""

    def __init__(self, network: tf_keras.Model, table: Any, options: FitOptions, folder: RunFolder) -> None:
        import tensorflow as tf
        import tf_keras

        self.network, self.table, self.options, self.folder = network, table, options, folder
        self.optimizer = tf_keras.optimizers.Adam(options.schedule.learning_rate(0))
        self.optimizer.build(network.trainable_variables)
        self.state = [*network.weights, *self.optimizer.variables]
        loss = make_loss(options.loss, foreground_only=network.output_shape[-1] == 1)
        signature = [tf.TensorSpec(network.input_shape, tf.float32), tf.TensorSpec([None, None, None], tf.uint8)]
        train_step = _make_train_step(network, self.optimizer, loss)
        self._train_step = tf.function(train_step, input_signature=signature)
        self._validation_step = tf.function(_make_validation_step(network, loss), input_signature=signature)

    def restore(self) -> list[Epoch]:
        """Restore the last epoch of an earlier session, if asked for; return all of its epochs."""
        path = self.folder.path / CHECKPOINT_NAME
        if not path.exists():
            return []
        if not self.folder.resume:
            raise OutputExists(
                f"{self.folder.path} holds a training run; --resume continues it, --overwrite starts over"
            )
        record = restore_state(path, self.state, accept=self._accept)
        history = [Epoch(**row) for row in record["history"]] if record else []
        logger.info("resuming after epoch %d", len(history))
        return history

    def _accept(self, record: dict[str, Any]) -> bool:
        if record["key"] != self.folder.key:
            raise BadInput(
                f"{self.folder.path} holds a run with other data or settings; give those again, or --overwrite to "
                "start over"
            )
        if len(record["history"]) > self.options.epochs:
            raise BadInput(
                f"{self.folder.path} holds a run of {len(record['history'])} epochs already; ask for at least as many"
            )
        return True

    def train_epoch(self, feed: Feed, epoch: int, steps: Iterable[Any]) -> Epoch:
        """Train on every batch once."""
        learning_rate = self.options.schedule.learning_rate(epoch)
        self.optimizer.learning_rate.assign(learning_rate)
        counts, losses, n_starved, n_images = [], [], 0, 0
        started = time.perf_counter()
        batches = _timed(feed.batches(first_epoch=epoch))
        for _ in steps:
            waited, (images, labels) = next(batches)
            since = time.perf_counter()
            loss, found = self._train_step(images, labels)
            losses.append(float(loss) * len(images))
            # The first batch of an epoch is never there in advance: no step could have hidden it.
            is_late = waited > max(_WAIT_SECONDS, _WAIT_SHARE * (time.perf_counter() - since))
            n_starved += is_late and n_images > 0
            counts.append(count_confusion(labels.numpy(), found.numpy(), self.table))
            n_images += len(images)
        mean_loss = sum(losses) / n_images
        if not np.isfinite(mean_loss):
            raise BadInput(f"the loss is not finite any more in epoch {epoch + 1}; give a smaller learning rate")
        iou, dice = _score(counts)
        speed = n_images / (time.perf_counter() - started)
        return Epoch(epoch + 1, learning_rate, mean_loss, iou, dice, None, None, None, speed, n_starved / feed.n_steps)

    def validate(self, feed: Feed, steps: Iterable[Any]) -> dict[str, float | None]:
        """Return loss and scores on the validation set."""
        counts, losses, n_images = [], [], 0
        for _, (images, labels) in zip(steps, feed.batches(), strict=False):
            loss, found = self._validation_step(images, labels)
            losses.append(float(loss) * len(images))
            counts.append(count_confusion(labels.numpy(), found.numpy(), self.table))
            n_images += len(images)
        iou, dice = _score(counts)
        return {"val_loss": sum(losses) / n_images, "val_mean_iou": iou, "val_dice": dice}

    def save(self, history: list[Epoch], *, is_best: bool) -> None:
        """Write everything that the next epoch depends on; the best weights first, or they could be lost."""
        if is_best:
            save_state(self.folder.path / _BEST_NAME, self.network.weights, {"epoch": len(history)})
        record = {"key": self.folder.key, "history": [asdict(row) for row in history]}
        save_state(self.folder.path / CHECKPOINT_NAME, self.state, record)
        write_csv(self.folder.path / LOG_NAME, [f.name for f in fields(Epoch)], [asdict(row) for row in history])

    def restore_best(self) -> None:
        """Restore the weights of the best epoch."""
        record = restore_state(self.folder.path / _BEST_NAME, self.network.weights)
        if record is not None:
            logger.info("the best epoch was %d", record["epoch"])


def _timed(batches: Iterator[Any]) -> Iterator[tuple[float, Any]]:
    """Yield every batch after the seconds that it took to arrive."""
    since = time.perf_counter()
    for batch in batches:
        yield time.perf_counter() - since, batch
        since = time.perf_counter()


def _score(counts: list[Confusion]) -> tuple[float | None, float | None]:
    confusion = pool_confusions(counts)
    return confusion.macro("iou"), confusion.macro("f1")


def _make_train_step(network: Any, optimizer: Any, loss: Loss) -> Callable[[Any, Any], Any]:
    import tensorflow as tf

    def train_step(images: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            scores = class_scores(network(images, training=True))
            value = loss(scores, labels)
        gradients = tape.gradient(value, network.trainable_variables)
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))
        return value, _best_class(scores)

    return train_step


def _make_validation_step(network: Any, loss: Loss) -> Callable[[Any, Any], Any]:
    def validation_step(images: Any, labels: Any) -> Any:
        scores = class_scores(network(images, training=False))
        return loss(scores, labels), _best_class(scores)

    return validation_step


def _best_class(scores: Any) -> Any:
    import tensorflow as tf

    return tf.cast(tf.argmax(scores, -1), tf.uint8)
