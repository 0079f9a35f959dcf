"""The steps of an augmentation policy: how each changes one image and, if it moves pixels, the labels with it.

Images are (rows, cols, bands) float32 from 0 to 1, each band by itself where they are not bytes; labels (rows, cols)
uint8. Everything runs inside a graph or
outside of one, and the same draws give the same changes.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from hybridseg.classes import VOID
from hybridseg.dense.clahe import equalize
from hybridseg.errors import BadInput
from hybridseg.options import Span, check_options, option

_SHARE = Span(0, 1, below=True)
_BORDERS = ("void", "mirror")
_N_COLORS = 3
_MAX_CORNER = 0.45
# Steps of a quarter turn through the middle of a kernel: right, down right, down, down left.
_DIRECTIONS = ((0, 1), (1, 1), (1, 0), (1, -1))


class Draws:
    """Random numbers that follow from a seed; `fork` gives those of a part, whatever else is drawn."""

    def __init__(self, seed: Any) -> None:
        self._seed, self._n = seed, 0

    def fork(self, number: Any) -> Draws:
        """Return the draws of a numbered part."""
        import tensorflow as tf

        return Draws(tf.random.fold_in(self._seed, number))

    def uniform(self, low: float, high: float, shape: tuple[int, ...] = ()) -> Any:
        """Draw from `low` to below `high`."""
        import tensorflow as tf

        return tf.random.stateless_uniform(shape, self._next(), low, high)

    def normal(self, shape: Any) -> Any:
        """Draw with mean 0 and standard deviation 1."""
        import tensorflow as tf

        return tf.random.stateless_normal(shape, self._next())

    def _next(self) -> Any:
        import tensorflow as tf

        self._n += 1
        return tf.random.fold_in(self._seed, -self._n)


@dataclass(frozen=True)
class Step(ABC):
    """A change that an image undergoes or not."""

    name: ClassVar[str]
    # Of so many bands at least.
    least_bands: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_options(self)

    def change(self, image: Any, labels: Any, draws: Draws) -> tuple[Any, Any]:
        """Return an image and its labels, changed."""
        return self._change(image, labels, draws)

    @abstractmethod
    def _change(self, image: Any, labels: Any, draws: Draws) -> tuple[Any, Any]: ...

    def check_bands(self, n_bands: int) -> None:
        """Raise BadInput when it is for images of more bands."""
        if n_bands < self.least_bands:
            raise BadInput(
                f"{self.name} of the augmentation is for images of red, green and blue, and these have {n_bands} "
                "bands; take it out of the policy"
            )

    def to_record(self) -> dict[str, Any]:
        """Return the name and the settings, JSON-ready."""
        return {"do": self.name, **asdict(self)}


@dataclass(frozen=True)
class FlipCols(Step):
    """Mirror left to right."""

    name = "flip-cols"

    def _change(self, image: Any, labels: Any, draws: Draws) -> tuple[Any, Any]:
        return image[:, ::-1], labels[:, ::-1]


@dataclass(frozen=True)
class FlipRows(Step):
    """Turn upside down: for photos that look straight down."""

    name = "flip-rows"

    def _change(self, image: Any, labels: Any, draws: Draws) -> tuple[Any, Any]:
        return image[::-1], labels[::-1]


@dataclass(frozen=True)
class ShiftScaleRotate(Step):
    """Shift, enlarge or shrink, and rotate about the centre."""

    name = "shift-scale-rotate"
    shift: float = option(0.1, "Largest shift, as a share of the height and of the width.", span=_SHARE)
    scale: float = option(0.25, "Largest share by which an image is enlarged or shrunk.", span=_SHARE)
    rotate: float = option(0.0, "Largest rotation, in degrees to either side.", span=Span(0, 180))
    border: str = option("void", "What lies beyond the image: nothing (black, no class), or its mirror image.",
                         choices=_BORDERS)  # fmt: skip

    def _change(self, image: Any, labels: Any, draws: Draws) -> tuple[Any, Any]:
        import tensorflow as tf

        height, width = (tf.cast(side, tf.float32) for side in tf.unstack(tf.shape(labels)))
        angle = draws.uniform(-1, 1) * self.rotate * math.pi / 180
        scale = 1 + draws.uniform(-1, 1) * self.scale
        row, col = (height - 1) / 2, (width - 1) / 2
        cos, sin = tf.cos(angle) / scale, tf.sin(angle) / scale
        col_shift = col - cos * col + sin * row + draws.uniform(-1, 1) * self.shift * width
        row_shift = row - sin * col - cos * row + draws.uniform(-1, 1) * self.shift * height
        zero = tf.zeros_like(cos)
        return _warp(image, labels, tf.stack([cos, -sin, col_shift, sin, cos, row_shift, zero, zero]), self.border)


@dataclass(frozen=True)
class Perspective(Step):
    """Look from another place: the corners move inward, each by itself, and what they enclose fills the image."""

    name = "perspective"
    strength: float = option(0.1, "Usual way of a corner at most, as a share of the sides; half of it at least.",
                             span=_SHARE)  # fmt: skip

    def _change(self, image: Any, labels: Any, draws: Draws) -> tuple[Any, Any]:
        import tensorflow as tf

        height, width = (tf.cast(side - 1, tf.float32) for side in tf.unstack(tf.shape(labels)))
        deviation = draws.uniform(self.strength / 2, self.strength)
        moved = tf.minimum(tf.abs(draws.normal((4, 2))) * deviation, _MAX_CORNER)
        corners = tf.constant([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
        places = (corners + moved * (1 - 2 * corners)) * tf.stack([height, width])
        goals = corners * tf.stack([height, width])
        equations, rights = [], []
        for i in range(4):
            (row, col), (old_row, old_col) = tf.unstack(goals[i]), tf.unstack(places[i])
            one, zero = tf.ones_like(row), tf.zeros_like(row)
            equations.append(tf.stack([col, row, one, zero, zero, zero, -col * old_col, -row * old_col]))
            equations.append(tf.stack([zero, zero, zero, col, row, one, -col * old_row, -row * old_row]))
            rights += [old_col, old_row]
        transform = tf.linalg.solve(tf.stack(equations), tf.stack(rights)[:, None])[:, 0]
        return _warp(image, labels, transform, "mirror")


@dataclass(frozen=True)
class Noise(Step):
    """Add Gaussian noise, the same to all bands."""

    name = "noise"
    strength: float = option(0.05, "Largest deviation, as a share of the range of values; a fifth of it at least.",
                             span=_SHARE)  # fmt: skip

    def _change(self, image: Any, labels: Any, draws: Draws) -> tuple[Any, Any]:
        import tensorflow as tf

        deviation = draws.uniform(self.strength / 5, self.strength)
        return _clip(image + deviation * draws.normal(tf.shape(labels))[..., None]), labels


@dataclass(frozen=True)
class Clahe(Step):
    """Equalize the histogram of every part of the image, without amplifying noise."""

    name = "clahe"
    clip: float = option(4.0, "Largest limit of the contrast; 1 changes least.", span=Span(1, 100))
    tiles: int = option(8, "Parts along each side.", span=Span(1, 64))

    def _change(self, image: Any, labels: Any, draws: Draws) -> tuple[Any, Any]:
        import tensorflow as tf

        # The brightness changes, and all bands with it: the colours stay.
        brightness = tf.reduce_mean(image, -1)
        factor = equalize(brightness, clip=draws.uniform(1, self.clip), n_tiles=self.tiles) / (brightness + 1e-6)
        return _clip(image * factor[..., None]), labels


@dataclass(frozen=True)
class Brightness(Step):
    """Add to or subtract from all values."""

    name = "brightness"
    strength: float = option(0.2, "Largest change, as a share of the range of values.", span=_SHARE)

    def _change(self, image: Any, labels: Any, draws: Draws) -> tuple[Any, Any]:
        return _clip(image + draws.uniform(-1, 1) * self.strength), labels


@dataclass(frozen=True)
class Gain(Step):
    """Multiply every band by a factor of its own, as light of another colour does."""

    name = "gain"
    strength: float = option(0.2, "How far a factor is from 1 at most.", span=_SHARE)

    def _change(self, image: Any, labels: Any, draws: Draws) -> tuple[Any, Any]:
        return _clip(image * (1 + draws.uniform(-1, 1, (image.shape[-1],)) * self.strength)), labels


@dataclass(frozen=True)
class Gamma(Step):
    """Raise values to a power."""

    name = "gamma"
    strength: float = option(0.2, "How far the power is from 1 at most.", span=_SHARE)

    def _change(self, image: Any, labels: Any, draws: Draws) -> tuple[Any, Any]:
        return _clip(image) ** (1 + draws.uniform(-1, 1) * self.strength), labels


@dataclass(frozen=True)
class Sharpen(Step):
    """Mix the image with a sharpened one."""

    name = "sharpen"
    strength: float = option(0.5, "Largest share of the sharpened image; two fifths of it at least.", span=_SHARE)
    lightness: float = option(0.5, "Brightness of the sharpened image at least; 1 is that of the image.",
                              span=Span(0, 1))  # fmt: skip

    def _change(self, image: Any, labels: Any, draws: Draws) -> tuple[Any, Any]:
        import tensorflow as tf

        share = draws.uniform(0.4 * self.strength, self.strength)
        middle = tf.scatter_nd([[1, 1]], [8 + draws.uniform(self.lightness, 1.0) + 1], (3, 3))
        plain = tf.scatter_nd([[1, 1]], [1.0], (3, 3))
        return _convolve(image, (1 - share) * plain + share * (middle - 1)), labels


@dataclass(frozen=True)
class Blur(Step):
    """Average over a square."""

    name = "blur"
    side: int = option(3, "Side of the square, in pixels.", span=Span(3, 31, odd=True))

    def _change(self, image: Any, labels: Any, draws: Draws) -> tuple[Any, Any]:
        import tensorflow as tf

        return _convolve(image, tf.fill((self.side, self.side), 1 / self.side**2)), labels


@dataclass(frozen=True)
class MotionBlur(Step):
    """Average along a line: across, down or aslant."""

    name = "motion-blur"
    side: int = option(3, "Length of the line, in pixels.", span=Span(3, 31, odd=True))

    def _change(self, image: Any, labels: Any, draws: Draws) -> tuple[Any, Any]:
        import numpy as np
        import tensorflow as tf

        middle, steps = self.side // 2, np.arange(self.side) - self.side // 2
        kernels = np.zeros((len(_DIRECTIONS), self.side, self.side), np.float32)
        for kernel, (down, right) in zip(kernels, _DIRECTIONS, strict=True):
            kernel[middle + steps * down, middle + steps * right] = 1 / self.side
        which = tf.cast(draws.uniform(0, len(_DIRECTIONS)), tf.int32)
        return _convolve(image, tf.constant(kernels)[which]), labels


@dataclass(frozen=True)
class Contrast(Step):
    """Move values away from their mean, or towards it."""

    name = "contrast"
    strength: float = option(0.2, "Largest change, as a share of the contrast.", span=_SHARE)

    def _change(self, image: Any, labels: Any, draws: Draws) -> tuple[Any, Any]:
        import tensorflow as tf

        mean = tf.reduce_mean(image, (0, 1), keepdims=True)
        return _clip(mean + (image - mean) * (1 + draws.uniform(-1, 1) * self.strength)), labels


@dataclass(frozen=True)
class HueSaturation(Step):
    """Change hue, saturation and value of the first three bands, which are red, green and blue."""

    name = "hue-saturation"
    least_bands = _N_COLORS
    hue: float = option(40.0, "Largest turn of the hue, in degrees to either side.", span=Span(0, 180))
    saturation: float = option(30 / 255, "Largest change of the saturation.", span=_SHARE)
    value: float = option(20 / 255, "Largest change of the value.", span=_SHARE)

    def _change(self, image: Any, labels: Any, draws: Draws) -> tuple[Any, Any]:
        import tensorflow as tf

        hue, saturation, value = tf.unstack(tf.image.rgb_to_hsv(_clip(image[..., :_N_COLORS])), axis=-1)
        hue = (hue + draws.uniform(-1, 1) * self.hue / 360) % 1.0
        saturation = _clip(saturation + draws.uniform(-1, 1) * self.saturation)
        value = _clip(value + draws.uniform(-1, 1) * self.value)
        colors = tf.image.hsv_to_rgb(tf.stack([hue, saturation, value], -1))
        return tf.concat([colors, image[..., _N_COLORS:]], -1), labels


STEPS: dict[str, type[Step]] = {
    kind.name: kind
    for kind in (
        FlipCols, FlipRows, ShiftScaleRotate, Perspective, Noise, Clahe, Brightness, Gain, Gamma, Sharpen, Blur,
        MotionBlur, Contrast, HueSaturation,
    )
}  # fmt: skip


def _clip(values: Any) -> Any:
    import tensorflow as tf

    return tf.clip_by_value(values, 0.0, 1.0)


def _convolve(image: Any, kernel: Any) -> Any:
    """Filter every band; beyond the border the image is mirrored."""
    import tensorflow as tf

    margin = kernel.shape[0] // 2
    padded = tf.pad(image, [[margin, margin], [margin, margin], [0, 0]], "SYMMETRIC")
    kernels = tf.repeat(kernel[:, :, None, None], image.shape[-1], axis=2)
    return _clip(tf.nn.depthwise_conv2d(padded[None], kernels, (1, 1, 1, 1), "VALID")[0])


def _warp(image: Any, labels: Any, transform: Any, border: str) -> tuple[Any, Any]:
    """Move pixels; `transform` is from a place (col, row) in the new image to one in the old, as 8 numbers."""
    import tensorflow as tf

    def move(values: Any, interpolation: str, fill: float) -> Any:
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=values[None],
            transforms=transform[None],
            output_shape=tf.shape(labels),
            interpolation=interpolation,
            fill_mode="CONSTANT" if border == "void" else "REFLECT",
            fill_value=fill,
        )[0]

    return move(image, "BILINEAR", 0.0), move(labels[..., None], "NEAREST", float(VOID))[..., 0]
