"""A layer that Keras does not have in the form that is needed here."""

from __future__ import annotations

import zlib
from typing import Any


def make_dropout(rate: float, name: str) -> Any:
    """Make a dropout layer whose random numbers follow from a counter among its weights.

    A checkpoint holds the counter, so a run that goes on draws what an uninterrupted one would have drawn.
    """
    import tensorflow as tf
    import tf_keras

    class CountedDropout(tf_keras.layers.Layer):
        """Sets a share of the values to 0 while training."""

        def build(self, input_shape: Any) -> None:
            """Make the counter."""
            self.count = self.add_weight(name="count", shape=(), dtype=tf.int64, trainable=False, initializer="zeros")

        def call(self, inputs: Any, training: Any = None) -> Any:
            """Apply it."""
            if not training:
                return inputs
            salt = tf.constant(zlib.crc32(self.name.encode()), tf.int64)
            kept = tf.random.stateless_uniform(tf.shape(inputs), tf.stack([salt, self.count])) >= rate
            self.count.assign_add(1)
            return tf.where(kept, inputs / (1 - rate), 0.0)

    return CountedDropout(name=name)
