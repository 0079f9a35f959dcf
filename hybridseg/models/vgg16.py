"""The convolutions of VGG-16, as Simonyan and Zisserman (2014) stack them, and its two wide layers as convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hybridseg.errors import BadInput

# Channels and number of convolutions of each block; a pooling follows each.
_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
_WIDE_KERNEL = 7


def add_convolutions(pixels: Any, *, wide_channels: int, dropout: Any) -> dict[str, Any]:
    """Add the network, with random weights.

    Parameters
    ----------
    pixels : tensor
        (n, rows, cols, bands).
    wide_channels : int
        Of the two layers that were fully connected; 4096 in the paper.
    dropout : callable
        Gives a new dropout layer of some name.

    Returns
    -------
    dict of str to tensor
        ``pool3``, ``pool4`` and ``wide``: an 8th, a 16th and a 32nd of the size.
    """
    from tf_keras import layers

    outputs, x = {}, pixels
    for block, (channels, n_convolutions) in enumerate(_BLOCKS, 1):
        for number in range(1, n_convolutions + 1):
            x = _convolve(x, f"block{block}_conv{number}", channels, 3)
        x = outputs[f"pool{block}"] = layers.MaxPooling2D(name=f"block{block}_pool")(x)
    x = dropout("fc1_dropout")(_convolve(x, "fc1", wide_channels, _WIDE_KERNEL))
    outputs["wide"] = dropout("fc2_dropout")(_convolve(x, "fc2", wide_channels, 1))
    return {name: outputs[name] for name in ("pool3", "pool4", "wide")}


def assign_weights(model: Any, weights: Mapping[str, np.ndarray]) -> int:
    """Put the weights of a VGG-16 of Keras, with or without its top, into the layers of the same names.

    Parameters
    ----------
    model : tf_keras.Model
        With the layers of `add_convolutions`.
    weights : mapping
        ``LAYER/...`` to array, as `hybridseg.models.weightfile.read_weights` gives them.

    Returns
    -------
    int
        How many layers got their weights: 13, or 15 with a top of the same width.

    Raises
    ------
    BadInput
        When a convolution is missing or has another shape.
    """
    by_layer: dict[str, dict[int, np.ndarray]] = {}
    for name, values in weights.items():
        # The kernel and the bias of a layer have had other names in each version; their dimensions tell them apart.
        by_layer.setdefault(name.split("/")[0], {})[min(values.ndim, 2)] = values
    n_assigned = 0
    for layer in model.layers:
        # Dropout has a weight too: its counter.
        if not layer.name.startswith(("block", "fc")) or len(layer.weights) != 2:
            continue
        kernel, bias = layer.weights
        stored = by_layer.get(layer.name, {})
        fits = stored.keys() == {1, 2} and _fits(stored[2], kernel) and stored[1].shape == bias.shape
        if fits:
            kernel.assign(stored[2].reshape(kernel.shape))
            bias.assign(stored[1])
            n_assigned += 1
        elif layer.name.startswith("block"):
            raise BadInput(f"they have no layer {layer.name} of {tuple(kernel.shape)}; give those of VGG-16 from Keras")
    return n_assigned


def _fits(stored: np.ndarray, kernel: Any) -> bool:
    """Tell whether a kernel is that of a convolution, or of a full connection of as many numbers."""
    return stored.shape == kernel.shape or (stored.ndim == 2 and stored.size == np.prod(kernel.shape))


def _convolve(x: Any, name: str, channels: int, kernel_size: int) -> Any:
    from tf_keras import layers

    return layers.Conv2D(
        channels, kernel_size, padding="same", activation="relu", kernel_initializer="he_normal", name=name
    )(x)
