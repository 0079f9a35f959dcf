"""The residual U-Net: six levels down and up, residual blocks of convolutions, and concatenated skips."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hybridseg.errors import BadInput
from hybridseg.models.encoders import RANDOM, Weights
from hybridseg.models.layers import BILINEAR, TRANSPOSED, UPSAMPLINGS, add_residual_block
from hybridseg.options import Span, check_options, option

if TYPE_CHECKING:
    import tf_keras

_N_LEVELS = 6
# Weights of the largest kernel: with more, the network would fill the memory before anything could be checked.
_MAX_KERNEL_NUMBERS = 250_000_000


@dataclass(frozen=True)
class ResUnet:
    """The settings of a residual U-Net, and the network that they make.

    Raises
    ------
    BadInput
        When a value is out of range, or the network would be too large.

    Examples
    --------
    >>> ResUnet(n_bands=3, n_outputs=1, filters=4).build().output_shape
    (None, None, None, 1)
    """

    name: ClassVar[str] = "resunet"
    stride: ClassVar[int] = 2 ** (_N_LEVELS - 1)

    n_bands: int = option(help="Bands of the images.", span=Span(1, 255))
    n_outputs: int = option(help="Scores of each pixel; 1 is one class against the rest.", span=Span(1, 255))
    kernel_size: tuple[int, int] = option((3, 3), "Rows and columns of the convolutions.", span=Span(3, 31, odd=True))
    filters: int = option(8, "Filters of the first level; each level down has twice as many.", span=Span(1, 512))
    upsample: str = option(TRANSPOSED, "How the decoder doubles the size.", choices=UPSAMPLINGS)

    def __post_init__(self) -> None:
        check_options(self)
        sides = self.kernel_size
        if len(sides) != 2:
            raise BadInput(f"kernel_size={sides}: give its rows and columns")
        if (self.filters * self.stride) ** 2 * sides[0] * sides[1] > _MAX_KERNEL_NUMBERS:
            raise BadInput(f"filters={self.filters} of kernel_size={sides} are too large; give fewer or smaller ones")

    def build(self) -> tf_keras.Model:
        """Return the network with random weights, as `hybridseg.models.architectures.Architecture` describes it."""
        import tf_keras
        from tf_keras import layers

        pixels = layers.Input((None, None, self.n_bands), name="pixels")
        x = self._add_block(pixels, "down1", level=0, first=True)
        skips = []
        for level in range(1, _N_LEVELS):
            skips.append(x)
            x = self._add_block(x, f"down{level + 1}", level=level, stride=2)
        for level in reversed(range(_N_LEVELS - 1)):
            x = self._enlarge(x, f"up{level + 1}", level=level)
            x = layers.Concatenate(name=f"up{level + 1}_join")([x, skips[level]])
            x = self._add_block(x, f"up{level + 1}", level=level)
        scores = layers.Conv2D(self.n_outputs, 1, name="scores")(x)
        return tf_keras.Model(pixels, scores, name=self.name)

    def start(self, network: tf_keras.Model, weights: Weights = None) -> str:
        """Load the weights of an earlier training, if any; return in words what the network starts from.

        Raises
        ------
        MissingInput, BadInput
            When the file cannot be read, or has weights of another network.
        """
        if weights is None:
            return "residual U-Net with random weights"
        from hybridseg.models.weightfile import load_weights

        load_weights(network, weights)
        return f"residual U-Net with the weights of {Path(weights).name}"

    def choose_weights(self, weights: Weights = None) -> Path | str:
        """Return the file of an earlier training, if any."""
        return weights or RANDOM

    def find_encoder(self, network: tf_keras.Model) -> list[Any]:
        """Return nothing: no part of it is pretrained."""
        return []

    def _add_block(self, x: Any, name: str, *, level: int, stride: int = 1, first: bool = False) -> Any:
        filters = self.filters * 2**level
        return add_residual_block(x, name, filters=filters, kernel_size=self.kernel_size, stride=stride, first=first)

    def _enlarge(self, x: Any, name: str, *, level: int) -> Any:
        from tf_keras import layers

        if self.upsample == BILINEAR:
            return layers.UpSampling2D(2, interpolation="bilinear", name=f"{name}_enlarge")(x)
        filters = self.filters * 2**level
        return layers.Conv2DTranspose(filters, 2, 2, "same", kernel_initializer="he_normal", name=f"{name}_enlarge")(x)
