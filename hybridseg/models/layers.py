"""Dropout that can be resumed exactly, which that of Keras cannot."""

from __future__ import annotations

import zlib
from typing import Any


def make_dropout(rate: float, name: str) -> Any:
    """Return a dropout layer whose random numbers follow from a counter among its weights.

    A checkpoint holds the counter, so a resumed run draws what an uninterrupted one would have drawn.
    """
    import tensorflow as tf
    import tf_keras

    class CountedDropout(tf_keras.layers.Layer):
        """Sets a share of the values to 0 in training."""

        def build(self, input_shape: Any) -> None:
            """Add the counter."""
            self.count = self.add_weight(name="count", shape=(), dtype=tf.int64, trainable=False, initializer="zeros")

        def call(self, inputs: Any, training: Any = None) -> Any:
            """Return the inputs with some values set to 0 and the others scaled up."""
            if not training:
                return inputs
            salt = tf.constant(zlib.crc32(self.name.encode()), tf.int64)
            kept = tf.random.stateless_uniform(tf.shape(inputs), tf.stack([salt, self.count])) >= rate
            self.count.assign_add(1)
            return tf.where(kept, inputs / (1 - rate), 0.0)

    return CountedDropout(name=name)
