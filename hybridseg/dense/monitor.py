"""The course of a training in TensorBoard: scores, pictures, histograms, and the graph of the network."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np

from hybridseg.dense.feed import Feed
from hybridseg.dense.fit import Epoch
from hybridseg.dense.pictures import pick_examples
from hybridseg.models.bundles import DenseModel
from hybridseg.models.engines import class_scores
from hybridseg.models.losses import LossOptions, make_loss
from hybridseg.models.summaries import SummaryWriter

if TYPE_CHECKING:
    import tf_keras

HISTOGRAM_INTERVAL = 10
_N_SHOWN = 4


class Monitor:
    """Writes what TensorBoard shows of a training; without a folder it does nothing.

    Parameters
    ----------
    histogram_interval : int
        Histograms of weights and gradients are written every Nth epoch; 0: never.
    loss : LossOptions
        Whose gradients these are.
    """

    def __init__(
        self,
        folder: Path | None,
        model: DenseModel,
        training: Feed,
        validation: Feed,
        *,
        histogram_interval: int,
        loss: LossOptions,
    ) -> None:
        self._is_on, self._model, self._training, self._loss = folder is not None, model, training, loss
        self._interval = histogram_interval
        self._summaries = SummaryWriter(folder)
        self._shown = pick_examples(validation, _N_SHOWN) if self._is_on else []

    def __enter__(self) -> Self:
        """Enter a context at whose end everything is on disk."""
        self._summaries.write_graph(self._model.network)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files."""
        self._summaries.__exit__(kind, error, trace)

    def report(self, epoch: Epoch) -> None:
        """Write what is to be seen of an epoch, while the network is as it was then."""
        if not self._is_on:
            return
        for run, values in epoch.by_set().items():
            self._summaries.write_scalars(run, epoch.epoch, values)
        if epoch.val_dice_within:
            # Counted in validations, of which each epoch has as many.
            parts = [*epoch.val_dice_within, epoch.val_dice]
            for number, dice in enumerate(parts, start=(epoch.epoch - 1) * len(parts) + 1):
                self._summaries.write_scalars("validation", number, {"multi-label Dice of each validation": dice})
        panels = np.stack([example.panel(self._model) for example in self._shown])
        self._summaries.write_images("image, truth, prediction", epoch.epoch, panels)
        if self._interval and epoch.epoch % self._interval == 0:
            network = self._model.network
            gradients = measure_gradients(network, self._training, self._loss)
            self._summaries.write_histograms(
                epoch.epoch,
                {f"weights/{weight.name}": weight.numpy() for weight in network.trainable_weights}
                | {f"gradients/{name}": gradient for name, gradient in gradients.items()},
            )


def measure_gradients(network: tf_keras.Model, feed: Feed, loss: LossOptions) -> dict[str, np.ndarray]:
    """Return the gradient of every weight that is trained, by its name, on the first batch of a feed."""
    import tensorflow as tf

    images, labels = next(feed.batches())
    measure = make_loss(loss, foreground_only=network.output_shape[-1] == 1)
    with tf.GradientTape() as tape:
        value = measure(class_scores(network(images, training=False)), labels)
    gradients = tape.gradient(value, network.trainable_variables)
    found = zip(network.trainable_variables, gradients, strict=True)
    return {variable.name: gradient.numpy() for variable, gradient in found if gradient is not None}
