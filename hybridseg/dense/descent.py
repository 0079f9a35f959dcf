"""One step of a training: the gradients of the loss, the optimizers that take it, and how long it takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

from hybridseg.dense.feed import Feed
from hybridseg.dense.replicas import spread, weigh_share
from hybridseg.dense.scoring import choose_class
from hybridseg.models.engines import class_scores
from hybridseg.models.losses import Loss

# Of a pixel, see docs/benchmarks.md; the validation takes a third.
_PIXEL_SECONDS = 0.84e-6


class Part:
    """Variables that are trained at a share of the learning rate, and their optimizer."""

    def __init__(self, rate: float, variables: Sequence[Any]) -> None:
        import tf_keras

        self.rate, self.variables, self.optimizer = rate, variables, tf_keras.optimizers.Adam()
        self.optimizer.build(variables)


def make_train_step(network: Any, loss: Loss, parts: Sequence[Part]) -> Callable[[Any, Any], Any]:
    """Return a function from a batch to its loss and the best class of every pixel, which trains the network."""
    import tensorflow as tf

    variables = [variable for part in parts for variable in part.variables]

    def train_step(images: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            scores = class_scores(network(images, training=True))
            value = weigh_share(loss(scores, labels), labels)
        gradients = tape.gradient(value, variables)
        found = iter(gradients)
        for part in parts:
            if part.variables:
                part.optimizer.apply_gradients([(next(found), variable) for variable in part.variables])
        return value, choose_class(scores)

    return spread(train_step)


def expect_epoch(training: Feed, validation: Feed | None, stops: Collection[int]) -> list[float]:
    """Return the seconds that each step of an epoch is expected to take, and each of the validations within it.

    Parameters
    ----------
    stops : collection of int
        After which steps there is a validation, see `list_stops`.
    """
    step = training.batch_size * math.prod(training.pairs.size) * _PIXEL_SECONDS
    of_validation = [step / 3] * validation.n_steps if validation is not None else []
    return [cost for i in range(training.n_steps) for cost in (step, *(of_validation if i + 1 in stops else ()))]
