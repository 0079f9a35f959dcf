"""What several networks are built of: residual blocks, images of any size, and dropout that can be resumed exactly."""

from __future__ import annotations

import math
import zlib
from typing import Any

# The moving statistics settle within some tens of steps: training sets are small, and so are batches.
MOMENTUM = 0.9
# How a decoder doubles the size.
TRANSPOSED, BILINEAR = UPSAMPLINGS = ("transposed", "bilinear")
# Of the photos of ImageNet, by band, in 0..1.
IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def make_norm(name: str, *, momentum: float = MOMENTUM, epsilon: float = 1e-3) -> Any:
    """Return a batch normalization; where several copies of a network are trained, over the images of all of them."""
    import tensorflow as tf
    from tf_keras import layers

    if tf.distribute.get_strategy().num_replicas_in_sync < 2:
        return layers.BatchNormalization(momentum=momentum, epsilon=epsilon, name=name)

    class SharedNorm(layers.BatchNormalization):
        """Keeps the unbiased variance in its moving average, as tf_keras does for a single copy."""

        def _calculate_mean_and_var(self, inputs: Any, *args: Any, **settings: Any) -> Any:
            n_values = tf.cast(sum_copies(tf.reduce_prod(tf.shape(inputs)[:-1])), self.dtype)
            self._correction = n_values / tf.maximum(n_values - 1, 1)
            return super()._calculate_mean_and_var(inputs, *args, **settings)

        def _assign_moving_average(self, variable: Any, value: Any, *args: Any) -> Any:
            value = value * self._correction if variable is self.moving_variance else value
            return super()._assign_moving_average(variable, value, *args)

    return SharedNorm(momentum=momentum, epsilon=epsilon, synchronized=True, name=name)


def sum_copies(value: Any) -> Any:
    """Return the sum of a value over all copies of a network that are trained together, each on a share of a batch."""
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync < 2:
        return value
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)


def _find_share(n_images: Any) -> tuple[Any, Any]:
    """Return how many images the batch has of whose share this is, and how many of them come before it."""
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync < 2:
        return n_images, 0
    own = context.replica_id_in_sync_group
    sizes = sum_copies(tf.one_hot(own, context.num_replicas_in_sync, dtype=tf.int32) * n_images)
    return tf.reduce_sum(sizes), tf.reduce_sum(sizes[:own])


def count_settling_steps(network: Any) -> int:
    """Return the steps of a training until the running averages hold a hundredth of what they began with, or less.

    Normalization that keeps its averages, as in a pretrained encoder, does not count; 0 where there is no other.
    """
    from tf_keras import layers

    momenta = [
        layer.momentum for layer in network.submodules
        if isinstance(layer, layers.BatchNormalization) and layer.trainable
        and layer.inbound_nodes[0].call_kwargs.get("training") is not False
    ]  # fmt: skip
    return max((math.ceil(math.log(0.01) / math.log(momentum)) for momentum in momenta), default=0)


def add_residual_block(
    x: Any, name: str, *, filters: int, kernel_size: tuple[int, int] = (3, 3), stride: int = 1, first: bool = False
) -> Any:
    """Add two convolutions, and to them the input, projected to the same shape.

    With `first` it begins with a convolution, not with a ReLU, which would cut normalized pixels off at 0.
    """
    from tf_keras import layers

    # As wide as its stride: TensorFlow's gradient of a convolution that skips pixels crashes the process.
    shortcut = layers.Conv2D(filters, stride, stride, use_bias=False, name=f"{name}_shortcut")(x)
    shortcut = make_norm(f"{name}_shortcut_norm")(shortcut)
    for number in (1, 2):
        if not first or number > 1:
            x = make_norm(f"{name}_norm{number}")(x)
            x = layers.ReLU(name=f"{name}_relu{number}")(x)
        step = stride if number == 1 else 1
        x = layers.Conv2D(
            filters, kernel_size, step, "same", kernel_initializer="he_normal", name=f"{name}_conv{number}"
        )(x)
    return layers.Add(name=f"{name}_add")([shortcut, x])


def mirror_to_stride(pixels: Any, stride: int) -> Any:
    """Continue images, (n, rows, cols, bands), with their mirror images at the bottom and right.

    Their sides are then multiples of `stride`; they must be at least that long.
    """
    import tensorflow as tf
    import tf_keras

    class MirrorToStride(tf_keras.layers.Layer):
        """Adds the rows and columns that are missing."""

        def call(self, inputs: Any) -> Any:
            """Return the images, longer where they must be."""
            missing = [None if side is None else -side % stride for side in inputs.shape[1:3]]
            if missing == [0, 0]:
                return inputs
            padding = -tf.shape(inputs)[1:3] % stride
            padded = tf.pad(inputs, [[0, 0], [0, padding[0]], [0, padding[1]], [0, 0]], "SYMMETRIC")
            sides = [None if n is None else n + side for n, side in zip(missing, inputs.shape[1:3], strict=True)]
            padded.set_shape((inputs.shape[0], *sides, inputs.shape[3]))
            return padded

    return MirrorToStride(name="mirror")(pixels)


def cut_to_size(scores: Any, pixels: Any) -> Any:
    """Cut maps, (n, rows, cols, channels), to the size of the images that `mirror_to_stride` continued."""
    import tensorflow as tf
    import tf_keras

    class CutToSize(tf_keras.layers.Layer):
        """Removes rows and columns at the bottom and right."""

        def call(self, inputs: Any) -> Any:
            """Return the part that belongs to the images."""
            maps, images = inputs
            if None not in maps.shape[1:3] and maps.shape[1:3] == images.shape[1:3]:
                return maps
            rows, cols = tf.unstack(tf.shape(images)[1:3])
            found = maps[:, :rows, :cols]
            found.set_shape((maps.shape[0], *images.shape[1:3], maps.shape[3]))
            return found

    return CutToSize(name="cut")([scores, pixels])


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
            # All copies of a network count alike.
            self.count = self.add_weight(
                name="count", shape=(), dtype=tf.int64, trainable=False, initializer="zeros",
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )  # fmt: skip

        def call(self, inputs: Any, training: Any = None) -> Any:
            """Return the inputs with some values set to 0 and the others scaled up."""
            if not training:
                return inputs
            salt = tf.constant(zlib.crc32(self.name.encode()), tf.int64)
            shape = tf.shape(inputs)
            # Drawn for all of the batch, so that its shares together lose what the whole would.
            n_images, n_before = _find_share(shape[0])
            whole = tf.concat([tf.reshape(n_images, [1]), shape[1:]], 0)
            draws = tf.random.stateless_uniform(whole, tf.stack([salt, self.count]))
            kept = draws[n_before : n_before + shape[0]] >= rate
            self.count.assign_add(1)
            return tf.where(kept, inputs / (1 - rate), 0.0)

    return CountedDropout(name=name)


def standardize_imagenet(pixels: Any, name: str) -> Any:
    """Return pixels in 0..1 as networks that were trained on ImageNet take them: of mean 0 and deviation 1."""
    from tf_keras import layers

    scale = [1 / deviation for deviation in IMAGENET_DEVIATION]
    offset = [-mean / deviation for mean, deviation in zip(IMAGENET_MEAN, IMAGENET_DEVIATION, strict=True)]
    return layers.Rescaling(scale, offset, name=name)(pixels)
