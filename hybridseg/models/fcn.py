"""FCN-8s of Long, Shelhamer and Darrell (2015): class scores at three depths of a backbone, added up on the way up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from hybridseg.errors import BadInput, located
from hybridseg.models import mobilenet, vgg16

if TYPE_CHECKING:
    import tf_keras

BACKBONES = ("mobilenet_v2", "vgg16")

_MAX_BANDS, _MAX_OUTPUTS = 255, 255
# Where MobileNetV2 has an 8th and a 16th of the size for the last time.
_MOBILENET_SKIPS = ("mobilenet_block06_add", "mobilenet_block13_add")


@dataclass(frozen=True)
class Fcn8s:
    """What the network is made of.

    Parameters
    ----------
    n_bands : int
        The MobileNetV2 takes 3 (red, green, blue), or 1 in place of all three.
    n_outputs : int
        1: one class against the rest.
    backbone : {"mobilenet_v2", "vgg16"}
    wide_channels : int
        Of the two widest layers of VGG-16; 4096 in the paper.

    Raises
    ------
    BadInput
        For a value out of range.

    Examples
    --------
    >>> Fcn8s(n_bands=3, n_outputs=5).build().output_shape
    (None, None, None, 5)
    """

    name: ClassVar[str] = "fcn8s"
    stride: ClassVar[int] = 32

    n_bands: int
    n_outputs: int
    backbone: str = "mobilenet_v2"
    wide_channels: int = 4096

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if self.backbone not in BACKBONES:
            raise BadInput(f"there is no backbone {self.backbone!r}; choose {' or '.join(BACKBONES)}")
        if not 1 <= self.n_bands <= _MAX_BANDS or not 1 <= self.n_outputs <= _MAX_OUTPUTS:
            raise BadInput(f"FCN-8s takes 1 to {_MAX_BANDS} bands and 1 to {_MAX_OUTPUTS} outputs")
        if self.backbone == "mobilenet_v2" and self.n_bands not in (1, 3):
            raise BadInput(
                f"the built-in MobileNetV2 takes images of 1 or 3 bands, not {self.n_bands}; give --backbone vgg16"
            )
        if not 1 <= self.wide_channels <= 4096:
            raise BadInput(f"wide_channels={self.wide_channels}: give a number from 1 to 4096")

    def build(self) -> tf_keras.Model:
        """Make the network with random weights, for any size that `stride` divides.

        Returns
        -------
        tf_keras.Model
            From pixels of 0 to 1, (n, rows, cols, n_bands) float32, to scores, (n, rows, cols, n_outputs).
        """
        import tf_keras

        pixels = tf_keras.Input((None, None, self.n_bands), name="pixels")
        eighth, sixteenth, deepest = self._add_backbone(pixels)
        scores = self._score(deepest, "score32")
        for features, name in ((sixteenth, "score16"), (eighth, "score8")):
            scores = self._enlarge(scores, f"{name}_enlarge", factor=2)
            scores = tf_keras.layers.Add(name=f"{name}_fuse")([scores, self._score(features, name)])
        return tf_keras.Model(pixels, self._enlarge(scores, "scores", factor=8), name=self.name)

    def start(self, network: tf_keras.Model, weights_path: Path | None = None) -> str:
        """Put what the backbone knows already into a new network; say in words what that is.

        Parameters
        ----------
        weights_path : pathlib.Path or None
            A file of VGG-16 weights of Keras; the MobileNetV2 has its own.

        Raises
        ------
        BadInput
            When the weights are of another network.
        """
        if self.backbone == "mobilenet_v2":
            if weights_path is not None:
                raise BadInput("the MobileNetV2 comes with its weights; --weights is for --backbone vgg16")
            mobilenet.assign_weights(network, mobilenet.read_weights())
            return "MobileNetV2 with the ImageNet weights that come with the package"
        if weights_path is None:
            return "VGG-16 with random weights; --weights FILE gives it those of ImageNet"
        from hybridseg.models.weightfile import read_weights

        weights = read_weights(weights_path)
        with located(weights_path):
            n_layers = vgg16.assign_weights(network, weights)
        return f"VGG-16 with {n_layers} layers from {weights_path.name}"

    def _add_backbone(self, pixels: Any) -> tuple[Any, Any, Any]:
        """Give the features at an 8th, a 16th and a 32nd of the size."""
        import tf_keras

        if self.backbone == "vgg16":
            found = vgg16.add_convolutions(pixels, wide_channels=self.wide_channels, dropout=_make_dropout)
            return found["pool3"], found["pool4"], found["wide"]
        if self.n_bands == 1:
            pixels = tf_keras.layers.Concatenate(name="grey_to_colors")([pixels, pixels, pixels])
        deepest = mobilenet.add_convolutions(pixels)
        trunk = tf_keras.Model(pixels, deepest)
        eighth, sixteenth = (trunk.get_layer(name).output for name in _MOBILENET_SKIPS)
        return eighth, sixteenth, deepest

    def _score(self, features: Any, name: str) -> Any:
        """Give class scores that begin at 0, as in the paper: a new branch must not drown what the others say."""
        from tf_keras import layers

        return layers.Conv2D(self.n_outputs, 1, kernel_initializer="zeros", name=name)(features)

    def _enlarge(self, scores: Any, name: str, *, factor: int) -> Any:
        from tf_keras import initializers, layers

        kernel = initializers.Constant(bilinear_kernel(factor, self.n_outputs))
        return layers.Conv2DTranspose(
            self.n_outputs, 2 * factor, factor, "same", use_bias=False, kernel_initializer=kernel, name=name
        )(scores)


def bilinear_kernel(factor: int, n_channels: int) -> np.ndarray:
    """Give the weights with which a transposed convolution enlarges every channel bilinearly.

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


def _make_dropout(name: str) -> Any:
    from hybridseg.models.layers import make_dropout

    return make_dropout(0.5, name)
