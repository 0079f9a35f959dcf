"""MobileNetV2 with ImageNet weights that come with the package, so that nothing is downloaded.

The network computes what torchvision's MobileNetV2 computes: the padding before a convolution of stride 2 is the
same on all sides, and photographs are standardized with the mean and deviation of ImageNet. The largest weights are
stored as float16, which changes a feature by less than 0.01. `tools/convert_backbone.py` made the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridseg.errors import BadInput, MissingInput
from hybridseg.markup import count_of
from hybridseg.models.cards import hash_bytes
from hybridseg.models.layers import standardize_imagenet

if TYPE_CHECKING:
    import tf_keras

FEATURE_SIZE = 1280
WEIGHTS_PATH = Path(__file__).parent / "mobilenet_v2_imagenet.npz"

# The network halves an image five times.
_MIN_INPUT_SIZE = 32
NORM_EPSILON = 1e-5
_HEAD = "mobilenet_head"
# One row for each stage: channels between (a factor), channels out, blocks, stride of the first block.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_NORM_VARIABLES = ("gamma", "beta", "moving_mean", "moving_variance")


def build_mobilenet(*, input_size: int, trainable: bool = False) -> tf_keras.Model:
    """Return the network with its pretrained weights, as it turns a tile into features.

    Parameters
    ----------
    input_size : int
        Rows and columns of the input, in pixels, at least 32.
    trainable : bool
        Whether training changes the weights. The moving statistics of the batch normalization never change.

    Returns
    -------
    tf_keras.Model
        From `pixels`, (n, input_size, input_size, 3) float32 from 0 to 1, to (n, FEATURE_SIZE) features.
        The layers have the same names in every model.

    Raises
    ------
    BadInput, MissingInput
        When `input_size` is too small, or the file of weights is missing from the installation or damaged.

    Examples
    --------
    >>> build_mobilenet(input_size=64).output_shape
    (None, 1280)
    """
    model = build_network(input_size=input_size)
    assign_weights(model, read_weights())
    model.trainable = trainable
    return model


def build_network(*, input_size: int) -> tf_keras.Model:
    """Return the same network with random weights, all of them trainable."""
    import tf_keras

    if input_size < _MIN_INPUT_SIZE:
        raise BadInput(f"input_size={input_size} is too small; give at least {_MIN_INPUT_SIZE} pixels")
    pixels = tf_keras.Input((input_size, input_size, 3), name="pixels")
    features = tf_keras.layers.GlobalAveragePooling2D(name="mobilenet_pool")(add_convolutions(pixels)[32])
    return tf_keras.Model(pixels, features, name="mobilenet_v2")


def add_convolutions(pixels: Any, *, head: bool = True) -> dict[int, Any]:
    """Add all layers before the pooling, with random weights.

    Parameters
    ----------
    pixels : tensor
        (n, rows, cols, 3) float32 from 0 to 1, of any size.
    head : bool
        With the last layer, which widens the features to FEATURE_SIZE channels; tiles need it, decoders do not.

    Returns
    -------
    dict of int to tensor
        The deepest features of each stride from 2 to 32.
    """
    x = standardize_imagenet(pixels, "mobilenet_standardize")
    x = _add_convolution(x, "mobilenet_stem", channels=32, kernel_size=3, stride=2)
    features, total_stride, number = {}, 2, 0
    for factor, channels, n_blocks, first_stride in STAGES:
        for i in range(n_blocks):
            number += 1
            stride = first_stride if i == 0 else 1
            total_stride *= stride
            x = _add_block(x, f"mobilenet_block{number:02}", factor=factor, channels=channels, stride=stride)
            features[total_stride] = x
    if head:
        features[total_stride] = _add_convolution(x, _HEAD, channels=FEATURE_SIZE)
    return features


def list_weights(model: tf_keras.Model) -> dict[str, Any]:
    """Return the variables of MobileNetV2 in a network, by their names in the file of weights.

    The names are ``LAYER.VARIABLE``: `kernel` of a convolution, `gamma`, `beta`, `moving_mean` and
    `moving_variance` of a normalization.
    """
    variables: dict[str, Any] = {}
    for layer in (layer for layer in model.layers if layer.name.startswith("mobilenet_")):
        if layer.name.endswith("_norm"):
            variables.update({f"{layer.name}.{name}": getattr(layer, name) for name in _NORM_VARIABLES})
        elif layer.weights:
            [variables[f"{layer.name}.kernel"]] = layer.weights
    return variables


def assign_weights(model: tf_keras.Model, weights: Mapping[str, np.ndarray]) -> None:
    """Assign weights, by the names of `list_weights`; those of a head that the network lacks are left out.

    Raises
    ------
    BadInput
        When a weight is missing, unknown or of the wrong shape.
    """
    variables = list_weights(model)
    if not any(name.startswith(_HEAD) for name in variables):
        weights = {name: values for name, values in weights.items() if not name.startswith(_HEAD)}
    if variables.keys() != weights.keys():
        wrong = sorted(variables.keys() ^ weights.keys())
        raise BadInput(
            f"the weights do not belong to this network: {count_of(len(wrong), 'name')} without a match, such as "
            f"{wrong[0]}"
        )
    for name, variable in variables.items():
        if variable.shape != weights[name].shape:
            raise BadInput(f"the weight {name} is {weights[name].shape}, not {tuple(variable.shape)}")
        variable.assign(weights[name].astype(np.float32))


def read_weights() -> dict[str, np.ndarray]:
    """Read the file of weights that comes with the package.

    Raises
    ------
    MissingInput, BadInput
        When the file is missing from the installation or damaged.
    """
    try:
        with WEIGHTS_PATH.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return dict(archive)
    except FileNotFoundError:
        raise _describe_missing() from None
    # Damage raises many kinds of errors (of the zip, the compression, an array): all mean the same.
    except Exception as error:
        raise BadInput(f"{WEIGHTS_PATH} is damaged ({error}); install hybridseg again") from error


def weights_fingerprint() -> str:
    """Return the SHA-256 of the file of weights.

    Examples
    --------
    >>> len(weights_fingerprint())
    64
    """
    try:
        return hash_bytes(WEIGHTS_PATH.read_bytes())
    except FileNotFoundError:
        raise _describe_missing() from None


def _describe_missing() -> MissingInput:
    return MissingInput(f"the weights of the backbone are missing ({WEIGHTS_PATH}); install hybridseg again")


def _add_block(x: Any, name: str, *, factor: int, channels: int, stride: int) -> Any:
    """Add an inverted residual block: expand the channels, filter each by itself, project; add the input if it fits."""
    import tf_keras

    block_input, n_inputs = x, x.shape[-1]
    if factor != 1:
        x = _add_convolution(x, f"{name}_expand", channels=factor * n_inputs)
    x = _add_convolution(x, f"{name}_depthwise", kernel_size=3, stride=stride)
    x = _add_convolution(x, f"{name}_project", channels=channels, activation=False)
    if stride == 1 and n_inputs == channels:
        x = tf_keras.layers.Add(name=f"{name}_add")([block_input, x])
    return x


def _add_convolution(
    x: Any, name: str, *, channels: int | None = None, kernel_size: int = 1, stride: int = 1, activation: bool = True
) -> Any:
    """Add a convolution (depthwise where `channels` is None), its batch normalization and a ReLU6."""
    from tf_keras import layers

    padding = "same"
    if stride == 2:
        # "same" would pad an even image on the bottom and the right only.
        x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
        padding = "valid"
    if channels is None:
        convolution = layers.DepthwiseConv2D(kernel_size, stride, padding, use_bias=False, name=f"{name}_conv")
    else:
        convolution = layers.Conv2D(channels, kernel_size, stride, padding, use_bias=False, name=f"{name}_conv")
    norm = layers.BatchNormalization(epsilon=NORM_EPSILON, name=f"{name}_norm")
    # A `training` given here overrides that of the model: training never changes the moving statistics, while
    # gamma and beta can train.
    x = norm(convolution(x), training=False)
    return layers.ReLU(6.0, name=f"{name}_relu")(x) if activation else x
