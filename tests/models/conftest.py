"""Small networks for the tests of models: what is shaped like the real ones, and built in no time."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.confusion import count_confusion
from hybridseg.demo.scenes.scene import make_scene
from hybridseg.models import mobilenet, vgg16
from hybridseg.models.architectures import ARCHITECTURES

# Every stride and every number of convolutions of VGG-16, every kind of block of MobileNetV2; but few channels.
COAST = ClassTable(("water", "sand", "cliff"), ((0, 0, 255), (255, 255, 0), (139, 0, 139)))
SMALL_BLOCKS = ((4, 2), (5, 2), (6, 3), (7, 3), (8, 3))
SMALL_STAGES = ((1, 4, 1, 1), (6, 6, 1, 2), (6, 8, 1, 2), (6, 8, 1, 1), (6, 8, 1, 2), (6, 10, 1, 2))


@dataclass(frozen=True)
class Tiny:
    """A network with weights of every kind that a bundle must hold."""

    name: ClassVar[str] = "tiny"
    stride: ClassVar[int] = 1
    n_bands: int
    n_outputs: int
    width: int = 4
    norm: bool = True

    def build(self):
        import tf_keras
        from tf_keras import layers

        pixels = tf_keras.Input((None, None, self.n_bands), name="pixels")
        x = layers.Conv2D(self.width, 3, padding="same", activation="relu", name="near")(pixels)
        x = layers.BatchNormalization(name="norm")(x) if self.norm else x
        return tf_keras.Model(pixels, layers.Conv2D(self.n_outputs, 1, name="scores")(x), name="tiny")

    def start(self, network, weights=None):
        return "random weights"

    def choose_weights(self, weights=None):
        return weights or "none"

    def find_encoder(self, network):
        return []


@pytest.fixture(scope="module")
def tiny():
    """The architecture `Tiny`, known by its name while a module is tested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "tiny", Tiny)
        yield Tiny


@contextmanager
def narrow_encoders():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vgg16, "_BLOCKS", SMALL_BLOCKS)
        patch.setattr(mobilenet, "STAGES", SMALL_STAGES)
        yield patch


@pytest.fixture(scope="session")
def shrink_encoders():
    """A context in which encoders have few channels, and MobileNetV2 random weights in place of the package's."""
    rng, weights = np.random.default_rng(0), {}
    with narrow_encoders():
        variables = mobilenet.list_weights(mobilenet.build_network(input_size=32))
    for name, variable in variables.items():
        weights[name] = rng.normal(size=variable.shape).astype(np.float32)
        if name.endswith(("gamma", "moving_variance")):
            weights[name] = np.abs(weights[name]) + 1
        elif name.endswith("kernel"):
            weights[name] /= np.sqrt(np.prod(variable.shape[:-1]) / 2)

    @contextmanager
    def shrink():
        with narrow_encoders() as patch:
            patch.setattr(mobilenet, "read_weights", lambda: weights)
            yield

    return shrink


@pytest.fixture
def small_encoders(shrink_encoders):
    """Small encoders, for a whole test."""
    with shrink_encoders():
        yield


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

        from hybridseg.models.engines import class_scores
        from hybridseg.models.losses import LossOptions, make_loss

        measure = make_loss(LossOptions(loss), foreground_only=network.output_shape[-1] == 1)
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
    """Train a network on one image until it knows it by heart; return its mean IoU."""

    def train(network, pixels, labels, *, rate, n_steps, loss="combo"):
        import tensorflow as tf

        from hybridseg.models.engines import class_scores

        # As graphs, which take seconds to trace, and then many steps a second.
        step = tf.function(make_step(network, rate=rate, loss=loss), autograph=False)
        predict = tf.function(lambda pixels: class_scores(network(pixels, training=False)), autograph=False)
        pixels, labels = tf.constant(pixels[None].astype(np.float32)), tf.constant(labels[None])
        for number in range(1, n_steps + 1):
            step(pixels, labels)
            if number % 10 == 0:
                found = predict(pixels).numpy()
                table = ClassTable.from_names(map(str, range(found.shape[-1])))
                best = found.argmax(axis=-1).astype(np.uint8)
                mean_iou = count_confusion(labels.numpy(), best, table).macro("iou")
                if mean_iou > 0.96:
                    break
        return mean_iou

    return train


@pytest.fixture(scope="module")
def save_network(tiny):
    """Write an untrained network as a training writes it, with the confusion of each photo as its scores."""
    from hybridseg.confusion import pool_confusions
    from hybridseg.models.bundles import DenseCard, save_dense
    from hybridseg.models.normalization import Normalization
    from hybridseg.verdict import judge

    def save(
        path,
        right,
        *,
        n_photos=6,
        data="a" * 64,
        table=COAST,
        training=None,
        sets=None,
        architecture=None,
        runtime=False,
        normalization=Normalization("unit"),
    ):
        """`right` is the share of the pixels that are right."""
        path.parent.mkdir(parents=True, exist_ok=True)
        truth = np.repeat(np.arange(len(table)), 100)
        wrong = np.arange(100 * len(table)) % 100 >= round(100 * right)
        photos = [count_confusion(truth, np.where(wrong, (truth + 1) % len(table), truth), table)] * n_photos
        scores = {**pool_confusions(photos).to_record(), "verdict": judge(photos).to_record(), "sets": sets or {}}
        network = architecture or tiny(n_bands=3, n_outputs=len(table))
        known = {
            "validation_sha256": data,
            "data_sha256": "d" * 64,
            "epochs": 3,
            "started_from": "random weights",
            "pretrained": "none",
        }
        card = DenseCard(
            network, table, (64, 96), normalization, {**known, **(training or {})}, scores if right else {},
            {"tensorflow": "2.21.0"},
        )  # fmt: skip
        save_dense(path, network.build(), card, probes=[np.zeros((1, 64, 96, 3), np.float32)] * runtime)
        return path

    return save
