"""The layers of VGG-16 as Simonyan and Zisserman (2014) stack them, the fully connected ones as convolutions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hybridseg.errors import BadInput

# Channels and number of convolutions of each block; a pooling follows each.
_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
_WIDE_KERNEL = 7

FIRST_LAYER = "block1_conv1"


def add_convolutions(pixels: Any, *, wide_channels: int, dropout: Callable[[str], Any]) -> dict[int, Any]:
    """Add the layers, with random weights.

    Parameters
    ----------
    pixels : tensor
        (n, rows, cols, bands).
    wide_channels : int
        Channels of the two layers that were fully connected; 4096 in the paper, and 0 leaves them out.
    dropout : callable
        From the name of a dropout layer to a new one.

    Returns
    -------
    dict of int to tensor
        The deepest features of each stride from 2 to 32.
    """
    from tf_keras import layers

    features, x = {}, pixels
    for block, (channels, n_convolutions) in enumerate(_BLOCKS, 1):
        for number in range(1, n_convolutions + 1):
            x = _convolve(x, f"block{block}_conv{number}", channels, 3)
        x = features[2**block] = layers.MaxPooling2D(name=f"block{block}_pool")(x)
    if not wide_channels:
        return features
    x = dropout("fc1_dropout")(_convolve(x, "fc1", wide_channels, _WIDE_KERNEL))
    features[2 ** len(_BLOCKS)] = dropout("fc2_dropout")(_convolve(x, "fc2", wide_channels, 1))
    return features


def assign_weights(model: Any, weights: Mapping[str, np.ndarray]) -> int:
    """Assign the weights of a VGG-16 of Keras, with or without its top, to the layers of the same names.

    Parameters
    ----------
    model : tf_keras.Model
        With the layers of `add_convolutions`.
    weights : mapping
        ``LAYER/...`` to array, as `hybridseg.models.weightfile.read_weights` returns them.

    Returns
    -------
    int
        How many layers got their weights: 13, or 15 with a top of the same width.

    Raises
    ------
    BadInput
        When a convolution is missing or has another shape. The first may be for fewer bands than the network has: it
        then begins without regard to the others.
    """
    by_layer: dict[str, dict[int, np.ndarray]] = {}
    for name, values in weights.items():
        # Keras has renamed kernels and biases from version to version; their dimensions tell them apart.
        by_layer.setdefault(name.split("/")[0], {})[min(values.ndim, 2)] = values
    n_assigned = 0
    for layer in model.layers:
        # Dropout has a weight too: its counter.
        if not layer.name.startswith(("block", "fc")) or len(layer.weights) != 2:
            continue
        kernel, bias = layer.weights
        stored = by_layer.get(layer.name, {})
        if layer.name == FIRST_LAYER and stored.keys() == {1, 2}:
            stored[2] = _widen(stored[2], kernel)
        fits = stored.keys() == {1, 2} and _fits(stored[2], kernel) and stored[1].shape == bias.shape
        if fits:
            kernel.assign(stored[2].reshape(kernel.shape))
            bias.assign(stored[1])
            n_assigned += 1
        elif layer.name.startswith("block"):
            shape = tuple(kernel.shape)
            raise BadInput(
                f"there is no layer {layer.name} of shape {shape} in it; give the weights of VGG-16 from Keras"
            )
    return n_assigned


def _widen(stored: np.ndarray, kernel: Any) -> np.ndarray:
    """Return a kernel with zeros for the bands that it was not trained on."""
    n_missing = kernel.shape[2] - stored.shape[2] if stored.ndim == 4 else 0
    return np.pad(stored, ((0, 0), (0, 0), (0, n_missing), (0, 0))) if n_missing > 0 else stored


def _fits(stored: np.ndarray, kernel: Any) -> bool:
    """Return whether stored numbers are this kernel, or that of the fully connected layer of the same size."""
    return stored.shape == kernel.shape or (stored.ndim == 2 and stored.size == np.prod(kernel.shape))


def _convolve(x: Any, name: str, channels: int, kernel_size: int) -> Any:
    from tf_keras import layers

    return layers.Conv2D(
        channels, kernel_size, padding="same", activation="relu", kernel_initializer="he_normal", name=name
    )(x)
