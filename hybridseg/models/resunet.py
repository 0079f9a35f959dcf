"""The residual U-Net: six levels down and up, residual blocks of convolutions, skips that are concatenated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hybridseg.errors import BadInput

if TYPE_CHECKING:
    import tf_keras

UPSAMPLINGS = ("transposed", "bilinear")

_N_LEVELS = 6
_MIN_KERNEL, _MAX_KERNEL, _MAX_FILTERS, _MAX_BANDS, _MAX_OUTPUTS = 3, 31, 512, 255, 255
# Numbers in the largest kernel: with more, the network would fill the memory before anything could be checked.
_MAX_KERNEL_NUMBERS = 250_000_000
# The moving statistics follow within some tens of steps: training sets are small, and so are batches.
_MOMENTUM = 0.9


@dataclass(frozen=True)
class ResUnet:
    """What the network is made of.

    Parameters
    ----------
    n_bands : int
    n_outputs : int
        1: one class against the rest.
    kernel_size : tuple of int
        Rows and columns of the convolutions.
    filters : int
        Of the first level; each level down has twice as many.
    upsample : {"transposed", "bilinear"}
        How the way up doubles the size.

    Raises
    ------
    BadInput
        For a value out of range.

    Examples
    --------
    >>> ResUnet(n_bands=3, n_outputs=1, filters=4).build().output_shape
    (None, None, None, 1)
    """

    name: ClassVar[str] = "resunet"
    stride: ClassVar[int] = 2 ** (_N_LEVELS - 1)

    n_bands: int
    n_outputs: int
    kernel_size: tuple[int, int] = (3, 3)
    filters: int = 8
    upsample: str = "transposed"

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if not 1 <= self.n_bands <= _MAX_BANDS or not 1 <= self.n_outputs <= _MAX_OUTPUTS:
            raise BadInput(f"a residual U-Net takes 1 to {_MAX_BANDS} bands and 1 to {_MAX_OUTPUTS} outputs")
        sides = self.kernel_size
        if len(sides) != 2 or not all(_MIN_KERNEL <= side <= _MAX_KERNEL and side % 2 for side in sides):
            raise BadInput(f"kernel_size={sides}: give two odd numbers from {_MIN_KERNEL} to {_MAX_KERNEL}")
        if not 1 <= self.filters <= _MAX_FILTERS:
            raise BadInput(f"filters={self.filters}: give a number from 1 to {_MAX_FILTERS}")
        if (self.filters * self.stride) ** 2 * sides[0] * sides[1] > _MAX_KERNEL_NUMBERS:
            raise BadInput(f"filters={self.filters} of kernel_size={sides} are too large; give fewer or smaller ones")
        if self.upsample not in UPSAMPLINGS:
            raise BadInput(f"upsample={self.upsample!r}: choose {' or '.join(UPSAMPLINGS)}")

    def build(self) -> tf_keras.Model:
        """Make the network with random weights, for any size that `stride` divides.

        Returns
        -------
        tf_keras.Model
            From normalized pixels, (n, rows, cols, n_bands) float32, to scores, (n, rows, cols, n_outputs).
        """
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

    def start(self, network: tf_keras.Model, weights_path: Path | None = None) -> str:
        """Load the weights of an earlier training, if any; return in words what the network starts from.

        Raises
        ------
        MissingInput, BadInput
            When the file cannot be read, or has weights of another network.
        """
        if weights_path is None:
            return "residual U-Net with random weights"
        from hybridseg.models.weightfile import load_weights

        load_weights(network, weights_path)
        return f"residual U-Net with the weights of {weights_path.name}"

    def _add_block(self, x: Any, name: str, *, level: int, stride: int = 1, first: bool = False) -> Any:
        """Add two convolutions, and their input, brought to the same shape by a convolution of its own.

        The first block begins with the convolution itself: pixels are not to be cut off at 0.
        """
        from tf_keras import layers

        filters = self.filters * 2**level
        # As wide as its stride: TensorFlow's gradient of a convolution that skips pixels crashes the process.
        shortcut = layers.Conv2D(filters, stride, stride, use_bias=False, name=f"{name}_shortcut")(x)
        shortcut = layers.BatchNormalization(momentum=_MOMENTUM, name=f"{name}_shortcut_norm")(shortcut)
        for number in (1, 2):
            if not first or number > 1:
                x = layers.BatchNormalization(momentum=_MOMENTUM, name=f"{name}_norm{number}")(x)
                x = layers.ReLU(name=f"{name}_relu{number}")(x)
            step = stride if number == 1 else 1
            x = layers.Conv2D(
                filters, self.kernel_size, step, "same", kernel_initializer="he_normal", name=f"{name}_conv{number}"
            )(x)
        return layers.Add(name=f"{name}_add")([shortcut, x])

    def _enlarge(self, x: Any, name: str, *, level: int) -> Any:
        from tf_keras import layers

        if self.upsample == "bilinear":
            return layers.UpSampling2D(2, interpolation="bilinear", name=f"{name}_enlarge")(x)
        filters = self.filters * 2**level
        return layers.Conv2DTranspose(filters, 2, 2, "same", kernel_initializer="he_normal", name=f"{name}_enlarge")(x)
