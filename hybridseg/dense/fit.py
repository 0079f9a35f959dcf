"""One loop for every dense network: it learns, is watched, is written down, and can go on where it was stopped."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridseg.classes import ClassTable
from hybridseg.confusion import Confusion
from hybridseg.dense.feed import Feed
from hybridseg.dense.schedules import Schedule
from hybridseg.errors import BadInput, OutputExists
from hybridseg.io.tables import write_csv
from hybridseg.models.bundles import class_scores
from hybridseg.models.checkpoints import restore_state, save_state
from hybridseg.models.losses import Loss, count_pairs, make_loss
from hybridseg.models.weightfile import write_weights
from hybridseg.progress import Progress, no_progress

if TYPE_CHECKING:
    import tf_keras

logger = logging.getLogger(__name__)

CHECKPOINT_NAME, LOG_NAME = "checkpoint.npz", "log.csv"
_BEST_NAME = "best.npz"
# A step is starved when the network waits for its batch for longer than this, and this share of its own time.
_WAIT_SECONDS, _WAIT_SHARE = 0.005, 0.05


@dataclass(frozen=True)
class FitOptions:
    """How a network is trained.

    Parameters
    ----------
    epochs : int
    loss : str
        One of `hybridseg.models.losses.LOSSES`.
    schedule : Schedule
    patience : int
        Epochs without a better validation loss after which training stops; 0 never stops.
    checkpoint_interval : int
        Keep the weights of every so many epochs; 0 keeps none but the best.
    seed : int

    Raises
    ------
    BadInput
        For a value out of range.
    """

    epochs: int = 50
    loss: str = "combo"
    schedule: Schedule = field(default_factory=Schedule)
    patience: int = 0
    checkpoint_interval: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        if self.epochs < 1:
            raise BadInput(f"epochs={self.epochs}: give 1 or more")
        if self.patience < 0 or self.checkpoint_interval < 0:
            raise BadInput("patience and checkpoint_interval are 0 (never) or more")
        make_loss(self.loss)


@dataclass(frozen=True)
class Epoch:
    """What an epoch came to; validation values are None when nothing is watched.

    `starved` is the share of the steps that had to wait for their batch.
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
    """Where a run is written down.

    Parameters
    ----------
    path : pathlib.Path
    key : str
        A hash of all that the weights depend on but the number of epochs: a run goes on only from its own.
    resume : bool
        Go on from the last epoch that was finished.
    """

    path: Path
    key: str
    resume: bool = False

    def weights_path(self, epoch: int) -> Path:
        """Give the place of the weights of a numbered checkpoint."""
        return self.path / f"epoch_{epoch:04}.h5"


def fit(
    network: tf_keras.Model,
    training: Feed,
    validation: Feed | None,
    *,
    table: ClassTable,
    options: FitOptions,
    folder: RunFolder,
    keep: Callable[[Path], object] | None = None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    progress: Progress = no_progress,
) -> list[Epoch]:
    """Train a network in place; with a validation set it ends with the weights that did best on it.

    Parameters
    ----------
    network : tf_keras.Model
        From normalized pixels to scores.
    training, validation : Feed
    table : ClassTable
    options : FitOptions
    folder : RunFolder
    keep : callable or None
        Writes the network as it is to a path, for numbered checkpoints; None: its weights alone.
    on_epoch : callable
        Told of every epoch, with the network as it is then.
    progress : callable

    Returns
    -------
    list of Epoch
        Those of earlier sessions among them.

    Raises
    ------
    OutputExists
        When there is a run in the folder and `resume` was not asked for.
    BadInput
        When the run in the folder is of other settings, or the loss is no longer a number.
    """
    run = _Run(network, table, options, folder)
    history = run.restore()
    watched = "val_loss" if validation is not None else "loss"
    for epoch in range(len(history), options.epochs):
        if _is_stuck(history, watched, options.patience):
            break
        steps = progress(range(training.n_steps), label=f"epoch {epoch + 1} of {options.epochs}")
        row = run.learn(training, epoch, steps)
        if validation is not None:
            row = Epoch(**{**asdict(row), **run.watch(validation)})
        history.append(row)
        if options.checkpoint_interval and len(history) % options.checkpoint_interval == 0:
            path = folder.weights_path(len(history))
            keep(path) if keep is not None else write_weights(path, network)
        run.save(history, is_best=getattr(row, watched) <= min(getattr(h, watched) for h in history))
        on_epoch(row)
    if validation is not None:
        run.restore_best()
    return history


def _is_stuck(history: Sequence[Epoch], watched: str, patience: int) -> bool:
    if not patience or not history:
        return False
    losses = [getattr(row, watched) for row in history]
    return len(losses) - 1 - int(np.argmin(losses)) >= patience


class _Run:
    """A network with its optimizer and its files."""

    def __init__(self, network: tf_keras.Model, table: ClassTable, options: FitOptions, folder: RunFolder) -> None:
        import tensorflow as tf
        import tf_keras

        self.network, self.table, self.options, self.folder = network, table, options, folder
        self.optimizer = tf_keras.optimizers.Adam(options.schedule.rate(0))
        self.optimizer.build(network.trainable_variables)
        self.state = [*network.weights, *self.optimizer.variables]
        loss = make_loss(options.loss, foreground_only=network.output_shape[-1] == 1)
        signature = [tf.TensorSpec(network.input_shape, tf.float32), tf.TensorSpec([None, None, None], tf.uint8)]
        self._learn = tf.function(_make_learning_step(network, self.optimizer, loss), input_signature=signature)
        self._watch = tf.function(_make_watching_step(network, loss), input_signature=signature)

    def restore(self) -> list[Epoch]:
        """Put the last epoch of an earlier session back, if that is wanted; give all of its epochs."""
        path = self.folder.path / CHECKPOINT_NAME
        if not path.exists():
            return []
        if not self.folder.resume:
            raise OutputExists(
                f"{self.folder.path} holds a training run; --resume goes on with it, --overwrite begins again"
            )
        record = restore_state(path, self.state, accept=self._accept)
        history = [Epoch(**row) for row in record["history"]] if record else []
        logger.info("going on after epoch %d", len(history))
        return history

    def _accept(self, record: dict[str, Any]) -> bool:
        if record["key"] != self.folder.key:
            raise BadInput(
                f"{self.folder.path} holds a run with other data or settings; give those again, or --overwrite to "
                "begin anew"
            )
        if len(record["history"]) > self.options.epochs:
            raise BadInput(
                f"{self.folder.path} holds a run of {len(record['history'])} epochs already; ask for at least as many"
            )
        return True

    def learn(self, feed: Feed, epoch: int, steps: Any) -> Epoch:
        """Go through the training set once."""
        rate = self.options.schedule.rate(epoch)
        self.optimizer.learning_rate.assign(rate)
        counts, losses, n_starved, n_images = np.zeros((), np.int64), [], 0, 0
        began = time.perf_counter()
        batches = _timed(feed.batches(first_epoch=epoch))
        for _ in steps:
            waited, (images, labels) = next(batches)
            since = time.perf_counter()
            loss, pairs = self._learn(images, labels)
            losses.append(float(loss) * len(images))
            # The first batch of an epoch is never there in advance: no step could have hidden it.
            is_late = waited > max(_WAIT_SECONDS, _WAIT_SHARE * (time.perf_counter() - since))
            n_starved += is_late and n_images > 0
            counts, n_images = counts + pairs.numpy(), n_images + len(images)
        mean_loss = sum(losses) / n_images
        if not np.isfinite(mean_loss):
            raise BadInput(f"the loss is no number any more in epoch {epoch + 1}; give a smaller learning rate")
        iou, dice = self._score(counts)
        speed = n_images / (time.perf_counter() - began)
        return Epoch(epoch + 1, rate, mean_loss, iou, dice, None, None, None, speed, n_starved / feed.n_steps)

    def watch(self, feed: Feed) -> dict[str, float | None]:
        """Measure the network on the validation set."""
        loss, counts = measure(self._watch, feed)
        iou, dice = self._score(counts)
        return {"val_loss": loss, "val_mean_iou": iou, "val_dice": dice}

    def _score(self, counts: np.ndarray) -> tuple[float | None, float | None]:
        confusion = Confusion(self.table, counts, np.zeros(len(self.table), np.int64))
        return confusion.macro("iou"), confusion.macro("f1")

    def save(self, history: list[Epoch], *, is_best: bool) -> None:
        """Write everything that the next epoch depends on; the best weights first, or they could be lost."""
        if is_best:
            save_state(self.folder.path / _BEST_NAME, self.network.weights, {"epoch": len(history)})
        record = {"key": self.folder.key, "history": [asdict(row) for row in history]}
        save_state(self.folder.path / CHECKPOINT_NAME, self.state, record)
        write_csv(self.folder.path / LOG_NAME, [f.name for f in fields(Epoch)], [asdict(row) for row in history])

    def restore_best(self) -> None:
        """Put the weights of the best epoch back."""
        record = restore_state(self.folder.path / _BEST_NAME, self.network.weights)
        if record is not None:
            logger.info("the best epoch was %d", record["epoch"])


def _timed(batches: Iterator[Any]) -> Iterator[tuple[float, Any]]:
    """Tell with every batch how long it had to be waited for."""
    since = time.perf_counter()
    for batch in batches:
        yield time.perf_counter() - since, batch
        since = time.perf_counter()


def measure(watch: Callable[[Any, Any], Any], feed: Feed) -> tuple[float, np.ndarray]:
    """Give the mean loss, and how often each true class was taken for each class, over a whole feed."""
    total, n_images, counts = 0.0, 0, np.zeros(())
    for images, labels in feed.batches():
        loss, pairs = watch(images, labels)
        total, n_images, counts = total + float(loss) * len(images), n_images + len(images), counts + pairs.numpy()
    return total / n_images, counts.astype(np.int64)


def _make_learning_step(network: Any, optimizer: Any, loss: Loss) -> Callable[[Any, Any], Any]:
    import tensorflow as tf

    def learn(images: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            scores = class_scores(network(images, training=True))
            value = loss(scores, labels)
        gradients = tape.gradient(value, network.trainable_variables)
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))
        return value, count_pairs(scores, labels)

    return learn


def _make_watching_step(network: Any, loss: Loss) -> Callable[[Any, Any], Any]:
    def watch(images: Any, labels: Any) -> Any:
        scores = class_scores(network(images, training=False))
        return loss(scores, labels), count_pairs(scores, labels)

    return watch
