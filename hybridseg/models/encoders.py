"""The encoders that a dense network can stand on, by name: features of an image, and pretrained weights.

A new encoder is a class like those below, and an entry in `ENCODERS`: networks, commands and cards know it by its name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from hybridseg.errors import BadInput, located
from hybridseg.models import mobilenet, vgg16
from hybridseg.models.layers import make_dropout
from hybridseg.models.normalization import Normalization

if TYPE_CHECKING:
    import tf_keras


class Encoder(ABC):
    """The convolutions of a network for photographs; `title` is what people call it.

    `bands` are the numbers of bands that it takes; empty: any.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    bands: ClassVar[tuple[int, ...]] = ()

    @abstractmethod
    def add_features(self, pixels: Any, *, wide_channels: int) -> dict[int, Any]:
        """Add the layers, with random weights.

        Parameters
        ----------
        pixels : tensor
            (n, rows, cols, bands), as `choose_normalization` leaves them.
        wide_channels : int
            Channels of the layers that were fully connected, in an encoder that has some.

        Returns
        -------
        dict of int to tensor
            The deepest features of each stride, (n, rows / stride, cols / stride, channels): 8, 16 and 32 at least.
        """

    @abstractmethod
    def load_pretrained(self, network: tf_keras.Model, weights_path: Path | None = None) -> str:
        """Load pretrained weights into the layers of the encoder; return in words which ones.

        Raises
        ------
        MissingInput, BadInput
            When `weights_path` cannot be read, or the weights are of another network.
        """

    def check_bands(self, n_bands: int) -> None:
        """Raise BadInput when the encoder does not take images of so many bands."""
        if self.bands and n_bands not in self.bands:
            others = [other.name for other in ENCODERS.values() if not other.bands or n_bands in other.bands]
            raise BadInput(
                f"{self.title} takes images of {' or '.join(map(str, self.bands))} bands, not {n_bands}; "
                f"give --backbone {' or '.join(others)}"
            )

    def choose_normalization(self, dtype: np.dtype) -> Normalization:
        """Return the rule that brings stored pixels to those of a photograph in 0..1, as in pretraining."""
        return Normalization.unit_of(dtype) if dtype == np.uint8 else Normalization("photo")


class MobileNetV2(Encoder):
    """The one whose ImageNet weights come with the package."""

    name = "mobilenet_v2"
    title = "MobileNetV2"
    bands = (1, 3)

    def add_features(self, pixels: Any, *, wide_channels: int) -> dict[int, Any]:
        """Add the layers; a single band stands for red, green and blue."""
        import tf_keras

        if pixels.shape[-1] == 1:
            pixels = tf_keras.layers.Concatenate(name="grey_to_colors")([pixels, pixels, pixels])
        return mobilenet.add_convolutions(pixels)

    def load_pretrained(self, network: tf_keras.Model, weights_path: Path | None = None) -> str:
        """Load the weights of the package, its only ones."""
        if weights_path is not None:
            raise BadInput("MobileNetV2 comes with its weights; --weights is for --backbone vgg16")
        mobilenet.assign_weights(network, mobilenet.read_weights())
        return "MobileNetV2 with the ImageNet weights that come with the package"


class Vgg16(Encoder):
    """The backbone of the paper, with its two fully connected layers as convolutions."""

    name = "vgg16"
    title = "VGG-16"

    def add_features(self, pixels: Any, *, wide_channels: int) -> dict[int, Any]:
        """Add the layers, with dropout after the two wide ones."""
        return vgg16.add_convolutions(pixels, wide_channels=wide_channels, dropout=lambda name: make_dropout(0.5, name))

    def load_pretrained(self, network: tf_keras.Model, weights_path: Path | None = None) -> str:
        """Load a file of weights of Keras."""
        if weights_path is None:
            return "VGG-16 with random weights; --weights FILE gives it those of ImageNet"
        from hybridseg.models.weightfile import read_weights

        weights = read_weights(weights_path)
        with located(weights_path):
            n_layers = vgg16.assign_weights(network, weights)
        return f"VGG-16 with {n_layers} layers from {weights_path.name}"


ENCODERS: dict[str, Encoder] = {encoder.name: encoder for encoder in (MobileNetV2(), Vgg16())}
