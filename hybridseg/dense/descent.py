"""One step of a training: the gradients of the loss, and the optimizers that take it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hybridseg.dense.replicas import spread, weigh_share
from hybridseg.dense.scoring import choose_class
from hybridseg.models.engines import class_scores
from hybridseg.models.losses import Loss


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
