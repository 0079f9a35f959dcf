"""FCN-8s of Long, Shelhamer and Darrell (2015): class scores at three depths of an encoder, summed on the way up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from hybridseg.models.encoders import ENCODERS, Encoder, Weights
from hybridseg.options import Span, check_options, option

if TYPE_CHECKING:
    import tf_keras

BACKBONES = tuple(ENCODERS)


@dataclass(frozen=True)
class Fcn8s:
    """The settings of an FCN-8s, and the network that they make.

    Raises
    ------
    BadInput
        When a value is out of range.

    Examples
    --------
    >>> Fcn8s(n_bands=4, n_outputs=5, backbone="vgg16").encoder.title
    'VGG-16'
    """

    name: ClassVar[str] = "fcn8s"
    stride: ClassVar[int] = 32

    n_bands: int = option(help="Bands of the images.", span=Span(1, 255))
    n_outputs: int = option(help="Scores of each pixel; 1 is one class against the rest.", span=Span(1, 255))
    backbone: str = option(BACKBONES[0], "Encoder that the network stands on.", choices=BACKBONES)
    wide_channels: int = option(4096, "Channels of the two widest layers of VGG-16.", span=Span(1, 4096))

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def encoder(self) -> Encoder:
        """The encoder that `backbone` names."""
        return ENCODERS[self.backbone]

    def build(self) -> tf_keras.Model:
        """Return the network with random weights, as `hybridseg.models.architectures.Architecture` describes it."""
        import tf_keras

        pixels = tf_keras.Input((None, None, self.n_bands), name="pixels")
        features = self.encoder.add_features(pixels, wide_channels=self.wide_channels)
        scores = self._score(features[32], "score32")
        for stride in (16, 8):
            scores = self._enlarge(scores, f"score{stride}_enlarge", factor=2)
            skip = self._score(features[stride], f"score{stride}")
            scores = tf_keras.layers.Add(name=f"score{stride}_fuse")([scores, skip])
        return tf_keras.Model(pixels, self._enlarge(scores, "scores", factor=8), name=self.name)

    def start(self, network: tf_keras.Model, weights: Weights = None) -> str:
        """Load pretrained weights into the encoder of a new network; return in words which ones."""
        return self.encoder.load_pretrained(network, weights)

    def choose_weights(self, weights: Weights = None) -> Path | str:
        """Return what the encoder starts from."""
        return self.encoder.choose_weights(weights)

    def find_encoder(self, network: tf_keras.Model) -> list[Any]:
        """Return the layers of the encoder."""
        return self.encoder.find_layers(network)

    def _score(self, features: Any, name: str) -> Any:
        """Add class scores that begin at 0, as in the paper: a new branch must not drown the others."""
        from tf_keras import layers

        return layers.Conv2D(self.n_outputs, 1, kernel_initializer="zeros", name=name)(features)

    def _enlarge(self, scores: Any, name: str, *, factor: int) -> Any:
        from tf_keras import initializers, layers

        kernel = initializers.Constant(bilinear_kernel(factor, self.n_outputs))
        return layers.Conv2DTranspose(
            self.n_outputs, 2 * factor, factor, "same", use_bias=False, kernel_initializer=kernel, name=name
        )(scores)


def bilinear_kernel(factor: int, n_channels: int) -> np.ndarray:
    """Return the weights with which a transposed convolution enlarges every channel bilinearly.

    Returns
    -------
    numpy.ndarray
        (2 * factor, 2 * factor, n_channels, n_channels) float32.

    Examples
    --------
    >>> bilinear_kernel(2, 1)[:, :, 0, 0][1].tolist()
    [0.1875, 0.5625, 0.5625, 0.1875]
    """
    ramp = 1 - np.abs(np.arange(2 * factor) - (factor - 0.5)) / factor
    kernel = np.zeros((2 * factor, 2 * factor, n_channels, n_channels), np.float32)
    channels = np.arange(n_channels)
    kernel[:, :, channels, channels] = np.outer(ramp, ramp)[:, :, None]
    return kernel
