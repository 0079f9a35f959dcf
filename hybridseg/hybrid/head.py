"""The last layer of a tile classifier: a softmax regression on features, trained by stochastic gradient descent.

Features are standardized while training; mean and standard deviation are folded into the final weights, so that
these apply to raw features.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from hybridseg.forecast import Weighted
from hybridseg.hybrid.features import TILE_SECONDS
from hybridseg.models.checkpoints import read_state, save_state
from hybridseg.options import Span, check_options, option
from hybridseg.progress import Progress, no_progress

logger = logging.getLogger(__name__)

CLASS_WEIGHTS = ("none", "balanced")
_MAX_SELECTION = 1000
_SECONDS_BETWEEN_CHECKPOINTS = 10.0
# On two cores.
_STEP_SECONDS = 0.001


@dataclass(frozen=True)
class HeadOptions:
    """How the head is trained; the names are those of the classic script."""

    how_many_training_steps: int = option(4000, "Number of training steps.", span=Span(1))
    learning_rate: float = option(0.01, "Learning rate of the head.", span=Span(0, 1000, above=True, below=True))
    train_batch_size: int = option(100, "Tiles in a training step.", span=Span(1))
    eval_step_interval: int = option(10, "Steps between two evaluations.", span=Span(1))
    validation_batch_size: int = option(100, "Validation tiles in an evaluation; -1 is all.", span=Span(1), extra=(-1,))
    patience: int = option(
        0, "Stop after this many evaluations without a lower validation loss; 0 never stops.", span=Span(0)
    )
    class_weights: str = option(
        "none", "Weight of the classes; with balanced, rare ones count as much as common ones.", choices=CLASS_WEIGHTS
    )
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, eq=False)
class Head:
    """A linear layer: weights (n_features, n_classes) and bias (n_classes,), float32."""

    weights: np.ndarray
    bias: np.ndarray

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return class probabilities, (n, n_classes) float32."""
        return softmax(features @ self.weights + self.bias)


@dataclass(frozen=True)
class Measurement:
    """One point of the learning curve; validation values are None when there is no validation set."""

    step: int
    train_accuracy: float
    train_cross_entropy: float
    validation_accuracy: float | None = None
    validation_cross_entropy: float | None = None

    def by_set(self) -> dict[str, dict[str, float | None]]:
        """Return the values of the training set and of the validation set, each under its own name."""
        return {
            "train": {"accuracy": self.train_accuracy, "cross_entropy": self.train_cross_entropy},
            "validation": {"accuracy": self.validation_accuracy, "cross_entropy": self.validation_cross_entropy},
        }


FeatureSource = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""Returns the features of the training tiles with these indices; the generator is for tiles that are distorted."""


class HeadTrainer:
    """Trains a head step by step, starting from zeros, and keeps the best; owns everything that the next step uses.

    Parameters
    ----------
    features : numpy.ndarray
        (n, n_features) float32 of the training tiles; their mean and standard deviation scale the features.
    class_ids : numpy.ndarray
        (n,) class of each training tile.
    source : callable or None
        Where a step takes its features from; default: `features`.
    """

    def __init__(
        self,
        features: np.ndarray,
        class_ids: np.ndarray,
        *,
        n_classes: int,
        options: HeadOptions,
        source: FeatureSource | None = None,
    ) -> None:
        self.options = options
        self.is_distorted = source is not None
        self._source = source or (lambda indices, rng: features[indices])
        self._class_ids = class_ids
        self._mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
        spread = features.std(axis=0, dtype=np.float64).astype(np.float32)
        # A feature that hardly varies carries no information, and dividing by its spread would amplify noise.
        self._scale = 1 / np.maximum(spread, max(float(spread.mean()) * 0.1, 1e-6))
        self._weights = np.zeros((features.shape[1], n_classes), np.float32)
        self._bias = np.zeros(n_classes, np.float32)
        self._class_weights = weigh_classes(class_ids, n_classes, options.class_weights)
        self._rng = np.random.default_rng(options.seed)
        self.n_steps = 0
        self.best, self.best_loss, self.n_worse = self.head, np.inf, 0
        self.curve: list[Measurement] = []

    @property
    def head(self) -> Head:
        """The head so far, for raw features."""
        weights = self._weights * self._scale[:, None]
        return Head(weights, self._bias - self._mean @ weights)

    def step(self) -> tuple[float, float]:
        """Train on one random batch and return its accuracy and cross entropy."""
        chosen = self._rng.integers(0, len(self._class_ids), self.options.train_batch_size)
        batch = (self._source(chosen, self._rng) - self._mean) * self._scale
        truth = self._class_ids[chosen]
        probs = softmax(batch @ self._weights + self._bias)
        accuracy, cross_entropy = measure(probs, truth)
        error = probs
        error[np.arange(len(truth)), truth] -= 1
        error *= (self._class_weights[truth] / len(truth))[:, None]
        self._weights -= np.float32(self.options.learning_rate) * (batch.T @ error)
        self._bias -= np.float32(self.options.learning_rate) * error.sum(axis=0)
        self.n_steps += 1
        return accuracy, cross_entropy

    def compare(self, head: Head, loss: float) -> None:
        """Keep a head if its validation loss is the lowest so far."""
        self.n_worse += 1
        if loss < self.best_loss:
            self.best, self.best_loss, self.n_worse = head, loss, 0

    def save(self, path: Path) -> None:
        """Write everything that the next step depends on."""
        record = {
            "n_steps": self.n_steps,
            "best_loss": self.best_loss,
            "n_worse": self.n_worse,
            "curve": [asdict(measurement) for measurement in self.curve],
            "random": self._rng.bit_generator.state,
        }
        save_state(path, self._arrays, record)

    def restore(self, path: Path) -> None:
        """Go back to where an earlier run was, if it left a checkpoint."""
        found = read_state(path, self._arrays)
        if found is None:
            return
        record, (self._weights, self._bias, *best) = found
        self.best, self.best_loss, self.n_worse = Head(*best), record["best_loss"], record["n_worse"]
        self.n_steps, self.curve = record["n_steps"], [Measurement(**values) for values in record["curve"]]
        self._rng.bit_generator.state = record["random"]
        logger.info("resuming after step %d", self.n_steps)

    @property
    def _arrays(self) -> list[np.ndarray]:
        return [self._weights, self._bias, self.best.weights, self.best.bias]


def train_head(
    trainer: HeadTrainer,
    *,
    validation_features: np.ndarray,
    validation_ids: np.ndarray,
    on_measurement: Callable[[Measurement], None] = lambda measurement: None,
    on_step: Callable[[int, Callable[[], Head]], None] = lambda step, get_head: None,
    checkpoint_path: Path | None = None,
    progress: Progress = no_progress,
) -> Head:
    """Run all steps; return the head with the lowest validation loss, or the last one without a validation set.

    Parameters
    ----------
    validation_features, validation_ids : numpy.ndarray
        May be empty.
    on_measurement : callable
        Called every `eval_step_interval` steps; in a run that is resumed, first for what was measured before.
    on_step : callable
        Called after every step with its number and a function that returns the head.
    checkpoint_path : pathlib.Path or None
        Where the state is saved every few seconds and at the end, and from where it is restored. Its name has to
        change with everything that the result depends on.
    """
    if checkpoint_path is not None:
        trainer.restore(checkpoint_path)
    for measurement in trainer.curve:
        on_measurement(measurement)
    # The products are small: on a busy machine, threads waiting for one another make them a hundred times slower.
    with threadpool_limits(1, user_api="blas"):
        _run_steps(trainer, validation_features, validation_ids, on_measurement, on_step, checkpoint_path, progress)
    return trainer.best if len(validation_ids) else trainer.head


def _run_steps(
    trainer: HeadTrainer,
    validation_features: np.ndarray,
    validation_ids: np.ndarray,
    on_measurement: Callable[[Measurement], None],
    on_step: Callable[[int, Callable[[], Head]], None],
    checkpoint_path: Path | None,
    progress: Progress,
) -> None:
    options, n_done, saved = trainer.options, trainer.n_steps, time.monotonic()
    n_validation = len(validation_ids)
    batch_size = n_validation if options.validation_batch_size == -1 else options.validation_batch_size
    # The head is selected on the same tiles every time: on small random batches the luckiest would win.
    selection = np.random.default_rng((options.seed, 1)).permutation(n_validation)[:_MAX_SELECTION]
    seconds = expect_step(options, is_distorted=trainer.is_distorted)
    steps = Weighted(range(n_done + 1, options.how_many_training_steps + 1), seconds)
    for step in progress(steps, label="training the head"):
        if options.patience and trainer.n_worse >= options.patience:
            break
        accuracy, cross_entropy = trainer.step()
        on_step(step, lambda: trainer.head)
        if step % options.eval_step_interval == 0 or step == options.how_many_training_steps:
            scores: tuple[float, ...] = ()
            if n_validation:
                head = trainer.head
                chosen = np.random.default_rng((options.seed, 1, step)).permutation(n_validation)[:batch_size]
                scores = measure(head.predict(validation_features[chosen]), validation_ids[chosen])
                _, loss = measure(head.predict(validation_features[selection]), validation_ids[selection])
                trainer.compare(head, loss)
            trainer.curve.append(Measurement(step, accuracy, cross_entropy, *scores))
            on_measurement(trainer.curve[-1])
        if checkpoint_path is not None and time.monotonic() - saved > _SECONDS_BETWEEN_CHECKPOINTS:
            trainer.save(checkpoint_path)
            saved = time.monotonic()
    if checkpoint_path is not None and trainer.n_steps > n_done:
        trainer.save(checkpoint_path)


def expect_step(options: HeadOptions, *, is_distorted: bool) -> float:
    """Return the seconds that a step is expected to take; distorted tiles need their features anew."""
    return _STEP_SECONDS + is_distorted * options.train_batch_size * TILE_SECONDS


def weigh_classes(class_ids: np.ndarray, n_classes: int, how: str) -> np.ndarray:
    """Return the weight of each class, (n_classes,) float32 with a mean of 1 over the tiles."""
    if how == "none":
        return np.ones(n_classes, np.float32)
    counts = np.bincount(class_ids, minlength=n_classes)
    return (len(class_ids) / (n_classes * np.maximum(counts, 1))).astype(np.float32)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Turn logits, (n, n_classes), into probabilities.

    Examples
    --------
    >>> softmax(np.zeros((1, 2), np.float32)).tolist()
    [[0.5, 0.5]]
    """
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def measure(probs: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Return accuracy and mean cross entropy."""
    right = probs[np.arange(len(truth)), truth]
    accuracy = float((probs.argmax(axis=1) == truth).mean())
    return accuracy, float(-np.log(np.maximum(right, 1e-12)).mean())
