"""The layers of EfficientNet-B0 to B7 (Tan and Le, 2019), as ``tf_keras.applications`` stacks them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hybridseg.errors import BadInput
from hybridseg.models.layers import standardize_imagenet

VARIANTS = tuple(f"b{number}" for number in range(8))

# The last layer before each halving of the size, and the last of all.
_FEATURE_LAYERS = {
    2: "block2a_expand_activation",
    4: "block3a_expand_activation",
    8: "block4a_expand_activation",
    16: "block6a_expand_activation",
    32: "top_activation",
}
_FIRST_LAYER = "stem_conv_pad"


def add_convolutions(pixels: Any, *, variant: str) -> dict[int, Any]:
    """Add the layers before the pooling as one nested network called ``efficientnet_VARIANT``, with random weights.

    Parameters
    ----------
    pixels : tensor
        (n, rows, cols, 3) float32 from 0 to 1, with sides that 32 divides.

    Returns
    -------
    dict of int to tensor
        The features of each stride from 2 to 32, expanded as the next block takes them.
    """
    import tf_keras

    builder = getattr(tf_keras.applications, f"EfficientNet{variant.upper()}")
    # The dropout of whole blocks draws from a state that no checkpoint holds.
    whole = builder(include_top=False, weights=None, input_shape=(None, None, 3), drop_connect_rate=0.0)
    outputs = [whole.get_layer(name).output for name in _FEATURE_LAYERS.values()]
    inner = tf_keras.Model(whole.get_layer(_FIRST_LAYER).input, outputs, name=f"efficientnet_{variant}")
    # Outside of the network of Keras, whose own two layers of this have names that depend on what was built before.
    standardized = standardize_imagenet(pixels, "efficientnet_standardize")
    return dict(zip(_FEATURE_LAYERS, inner(standardized), strict=True))


def assign_weights(network: Any, weights: Mapping[str, np.ndarray], *, variant: str) -> int:
    """Assign the weights of an EfficientNet of Keras, with or without its top, to the layers of the same names.

    The batch normalization keeps these weights and statistics in training: small batches would spoil them.

    Parameters
    ----------
    network : tf_keras.Model
        With the layers of `add_convolutions`.
    weights : mapping
        ``LAYER/.../VARIABLE:0`` to array, as `hybridseg.models.weightfile.read_weights` returns them.

    Returns
    -------
    int
        How many layers got their weights.

    Raises
    ------
    BadInput
        When a weight is missing or has another shape.
    """
    import tf_keras

    stored = {_shorten(name): values for name, values in weights.items()}
    layers = [layer for layer in network.get_layer(f"efficientnet_{variant}").layers if layer.weights]
    wanted = {(layer.name, _shorten(weight.name)[1]): weight for layer in layers for weight in layer.weights}
    for name, weight in wanted.items():
        values = stored.get(name)
        if values is None or values.shape != tuple(weight.shape):
            raise BadInput(
                f"there is no weight {'/'.join(name)} of shape {tuple(weight.shape)} in it; give the weights of "
                f"EfficientNet{variant.upper()} from Keras"
            )
    for name, weight in wanted.items():
        weight.assign(stored[name])
    for layer in layers:
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            layer.trainable = False
    return len(layers)


def _shorten(name: str) -> tuple[str, str]:
    """Return the layer and the variable of a name, without what Keras puts between and behind them."""
    layer, _, rest = name.partition("/")
    return layer, rest.rpartition("/")[2].split(":")[0]
