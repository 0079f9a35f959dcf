"""What the tests of dense networks share: one small scene, and learning it by heart."""

from __future__ import annotations

import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.confusion import count_confusion
from hybridseg.demo.scenes.scene import make_scene


@pytest.fixture(scope="session")
def scene():
    """A coast, 64 x 96: image, (rows, cols, 3) uint8, and labels of 11 classes."""
    made = make_scene(0, rows=64, cols=96)
    return made.image, made.labels


@pytest.fixture
def make_step():
    """Make a training step for a network: from pixels and labels to the loss and the size of the gradient."""

    def make(network, *, rate=1e-3, loss="combo"):
        import tensorflow as tf
        import tf_keras

        from hybridseg.models.bundles import class_scores
        from hybridseg.models.losses import make_loss

        measure = make_loss(loss, foreground_only=network.output_shape[-1] == 1)
        optimizer = tf_keras.optimizers.Adam(rate)

        def step(pixels, labels):
            with tf.GradientTape() as tape:
                value = measure(class_scores(network(pixels, training=True)), labels)
            gradients = tape.gradient(value, network.trainable_variables)
            optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))
            return value, tf.linalg.global_norm(gradients)

        return step

    return make


@pytest.fixture
def overfit(make_step):
    """Train a network on one picture until it knows it by heart; give the mean IoU that it came to."""

    def train(network, pixels, labels, *, rate, n_steps, loss="combo"):
        import tensorflow as tf

        from hybridseg.models.bundles import class_scores

        # As a graph, which takes seconds to make, and then many steps a second.
        step = tf.function(make_step(network, rate=rate, loss=loss))
        pixels, labels = pixels[None].astype(np.float32), labels[None]
        for number in range(1, n_steps + 1):
            step(pixels, labels)
            if number % 20 == 0:
                found = network(pixels, training=False)
                best = class_scores(found).numpy().argmax(axis=-1).astype(np.uint8)
                table = ClassTable.from_names(map(str, range(max(found.shape[-1], 2))))
                mean_iou = count_confusion(labels, best, table).macro("iou")
                if mean_iou > 0.96:
                    break
        return mean_iou

    return train
