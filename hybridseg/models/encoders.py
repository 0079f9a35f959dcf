"""The encoders that a dense network can stand on, by name: features of an image, and pretrained weights.

A new encoder is a class like those below, and an entry in `ENCODERS`: networks, commands and cards know it by its name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridseg.errors import BadInput, MissingInput, located
from hybridseg.markup import count_of
from hybridseg.models import efficientnet, mobilenet, vgg16
from hybridseg.models.layers import make_dropout
from hybridseg.models.normalization import Normalization

if TYPE_CHECKING:
    import tf_keras

STRIDES = (2, 4, 8, 16, 32)
_N_COLORS = 3

RANDOM, IMAGENET = "none", "imagenet"
# What an encoder starts from: random weights, those of ImageNet, a file, or (None) what it starts from by default.
Weights = Path | str | None


class Encoder(ABC):
    """The convolutions of a network for photographs.

    Parameters
    ----------
    name, title : str
        In commands and cards; what people call it.
    prefixes : tuple of str
        How the names of its layers begin, and of no others.
    takes_any_bands : bool
        Whether its first convolution takes any number of bands; otherwise it takes three, and other bands enter
        through a convolution before it.
    default_weights : str
        What it starts from when nothing else is asked for.
    """

    name: str
    title: str
    prefixes: tuple[str, ...]
    takes_any_bands = False
    default_weights = IMAGENET

    def add_features(self, pixels: Any, *, wide_channels: int = 0) -> dict[int, Any]:
        """Add the layers, with random weights.

        Parameters
        ----------
        pixels : tensor
            (n, rows, cols, bands), as `choose_normalization` leaves them, with sides that 32 divides.
        wide_channels : int
            Channels of the layers that were fully connected, in an encoder that has some; 0 leaves them out, and other
            layers that only a classifier needs.

        Returns
        -------
        dict of int to tensor
            The deepest features of each of `STRIDES`, (n, rows / stride, cols / stride, channels).
        """
        return self._add_layers(pixels if self.takes_any_bands else _as_colors(pixels), wide_channels=wide_channels)

    def choose_weights(self, weights: Weights = None) -> Path | str:
        """Return what it starts from: `RANDOM` weights, those of `IMAGENET`, or a file."""
        return weights or self.default_weights

    def load_pretrained(self, network: tf_keras.Model, weights: Weights = None) -> str:
        """Load pretrained weights into the layers of the encoder; return in words which ones.

        Raises
        ------
        MissingInput, BadInput
            When the file cannot be read or is of another network, or the weights of ImageNet cannot be downloaded.
        """
        chosen = self.choose_weights(weights)
        if chosen == RANDOM:
            advice = "" if weights else "; --weights FILE gives it those of ImageNet"
            return f"{self.title} with random weights{advice}"
        if chosen == IMAGENET:
            return self._load_imagenet(network)
        return self._load_file(network, Path(chosen))

    @abstractmethod
    def _add_layers(self, pixels: Any, *, wide_channels: int) -> dict[int, Any]:
        """Add the layers to an image of three bands, or of any number, as `takes_any_bands` says."""

    @abstractmethod
    def _load_imagenet(self, network: tf_keras.Model) -> str:
        """Load the weights of ImageNet; return in words what they are."""

    def _load_file(self, network: tf_keras.Model, path: Path) -> str:
        """Load a file; an encoder whose weights come with the package takes none."""
        raise BadInput(f"{self.title} comes with its weights; leave out the file {path}")

    def find_layers(self, network: tf_keras.Model) -> list[Any]:
        """Return the layers of the encoder in a network."""
        return [layer for layer in network.layers if layer.name.startswith(self.prefixes)]

    def choose_normalization(self, dtype: np.dtype) -> Normalization:
        """Return the rule that brings stored pixels to those of a photograph in 0..1, as in pretraining."""
        return Normalization.unit_of(dtype) if dtype == np.uint8 else Normalization("photo")


class MobileNetV2(Encoder):
    """The one whose ImageNet weights come with the package."""

    name = "mobilenet_v2"
    title = "MobileNetV2"
    prefixes = ("mobilenet_",)

    def _add_layers(self, pixels: Any, *, wide_channels: int) -> dict[int, Any]:
        return mobilenet.add_convolutions(pixels, head=wide_channels > 0)

    def _load_imagenet(self, network: tf_keras.Model) -> str:
        mobilenet.assign_weights(network, mobilenet.read_weights())
        return "MobileNetV2 with the ImageNet weights that come with the package"


class KerasEncoder(Encoder):
    """One whose weights are in the files of Keras, which can be downloaded; `builder` is its name there."""

    builder: str

    @abstractmethod
    def _assign(self, network: tf_keras.Model, weights: Mapping[str, np.ndarray]) -> int:
        """Assign the weights of a file; return to how many layers."""

    def _load_imagenet(self, network: tf_keras.Model) -> str:
        self._assign(network, download_imagenet(self.builder))
        return f"{self.title} with the ImageNet weights of Keras"

    def _load_file(self, network: tf_keras.Model, path: Path) -> str:
        from hybridseg.models.weightfile import read_weights

        weights = read_weights(path)
        with located(path):
            n_layers = self._assign(network, weights)
        return f"{self.title} with {count_of(n_layers, 'layer')} from {path.name}"


class Vgg16(KerasEncoder):
    """The backbone of the paper on FCNs, with its two fully connected layers as convolutions."""

    name = "vgg16"
    title = "VGG-16"
    prefixes = ("block", "fc")
    takes_any_bands = True
    default_weights = RANDOM
    builder = "VGG16"

    def _add_layers(self, pixels: Any, *, wide_channels: int) -> dict[int, Any]:
        return vgg16.add_convolutions(pixels, wide_channels=wide_channels, dropout=lambda name: make_dropout(0.5, name))

    def find_layers(self, network: tf_keras.Model) -> list[Any]:
        """Return the layers of the encoder; without the first where it takes more bands than those of photographs."""
        is_own = network.input_shape[-1] == _N_COLORS
        return [layer for layer in super().find_layers(network) if is_own or layer.name != vgg16.FIRST_LAYER]

    def _assign(self, network: tf_keras.Model, weights: Mapping[str, np.ndarray]) -> int:
        return vgg16.assign_weights(network, weights)


class EfficientNet(KerasEncoder):
    """One of EfficientNet-B0 to B7; photographs enter in 0..1 and are standardized inside."""

    prefixes = ("efficientnet_",)

    def __init__(self, variant: str) -> None:
        self.variant = variant
        self.builder = f"EfficientNet{variant.upper()}"
        self.name = f"efficientnet_{variant}"
        self.title = f"EfficientNet-{variant.upper()}"

    def _add_layers(self, pixels: Any, *, wide_channels: int) -> dict[int, Any]:
        return efficientnet.add_convolutions(pixels, variant=self.variant)

    def _assign(self, network: tf_keras.Model, weights: Mapping[str, np.ndarray]) -> int:
        return efficientnet.assign_weights(network, weights, variant=self.variant)


def download_imagenet(builder: str) -> dict[str, np.ndarray]:
    """Return the ImageNet weights of a network of ``tf_keras.applications``, downloaded once into its cache.

    Returns
    -------
    dict of str to numpy.ndarray
        ``LAYER/VARIABLE`` to array.

    Raises
    ------
    MissingInput
        When they are not in the cache and cannot be downloaded.
    """
    import tf_keras

    try:
        network = getattr(tf_keras.applications, builder)(include_top=False, weights=IMAGENET)
    # Keras raises a bare Exception where there is no connection, and ValueError for a damaged file.
    except Exception as error:
        raise MissingInput(
            f"the ImageNet weights of {builder} cannot be downloaded ({str(error).strip() or type(error).__name__}); "
            "connect to the internet once, or give the file of Keras without its top (notop.h5) from another "
            f"computer, or {RANDOM} for random weights"
        ) from error
    return {f"{layer.name}/{weight.name}": weight.numpy() for layer in network.layers for weight in layer.weights}


def _as_colors(pixels: Any) -> Any:
    """Bring an image of any number of bands to the three of a photograph.

    Grey stands for all three. The first three of more bands are at first taken as they are; training finds what the
    others add to them, even where the encoder itself is not trained.
    """
    from tf_keras import initializers, layers

    n_bands = pixels.shape[-1]
    if n_bands == _N_COLORS:
        return pixels
    if n_bands == 1:
        return layers.Concatenate(name="grey_to_colors")([pixels, pixels, pixels])
    kernel = np.eye(n_bands, _N_COLORS, dtype=np.float32)
    if n_bands == 2:
        kernel[:, 2] = 0.5
    start = initializers.Constant(kernel[None, None])
    return layers.Conv2D(_N_COLORS, 1, use_bias=False, kernel_initializer=start, name="bands_to_colors")(pixels)


ENCODERS: dict[str, Encoder] = {
    encoder.name: encoder for encoder in (MobileNetV2(), Vgg16(), *map(EfficientNet, efficientnet.VARIANTS))
}
