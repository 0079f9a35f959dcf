"""The steps of an augmentation policy: how each changes one image and, if it moves pixels, the labels with it.

Images are (rows, cols, bands) float32 from 0 to 1, each band by itself where they are not bytes; labels (rows, cols)
uint8. Everything runs inside a graph or outside of one, and the same draws give the same changes. Steps that are
`on_arrays` also take NumPy arrays, with `hybridseg.dense.pixelmath.ArrayDraws`, where TensorFlow is not to be loaded.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from hybridseg.dense.clahe import equalize
from hybridseg.dense.pixelmath import average, clip, convolve, library_of, measure_sides, shape_of, warp
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
    # Whether it takes arrays as well as tensors.
    on_arrays: ClassVar[bool] = False

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
    on_arrays = True

    def _change(self, image: Any, labels: Any, draws: Draws) -> tuple[Any, Any]:
        return image[:, ::-1], labels[:, ::-1]


@dataclass(frozen=True)
class FlipRows(Step):
    """Turn upside down: for photos that look straight down."""

    name = "flip-rows"
    on_arrays = True

    def _change(self, image: Any, labels: Any, draws: Draws) -> tuple[Any, Any]:
        return image[::-1], labels[::-1]


@dataclass(frozen=True)
class ShiftScaleRotate(Step):
    """Shift, enlarge or shrink, and rotate about the centre."""

    name = "shift-scale-rotate"
    on_arrays = True
    shift: float = option(0.1, "Largest shift, as a share of the height and of the width.", span=_SHARE)
    scale: float = option(0.25, "Largest share by which an image is enlarged or shrunk.", span=_SHARE)
    rotate: float = option(0.0, "Largest rotation, in degrees to either side.", span=Span(0, 180))
    border: str = option("void", "What lies beyond the image: nothing (black, no class), or its mirror image.",
                         choices=_BORDERS)  # fmt: skip
    apart: bool = option(False, "Scale rows and columns each by a share of its own.")

    def _change(self, image: Any, labels: Any, draws: Draws) -> tuple[Any, Any]:
        library = library_of(image)
        height, width = measure_sides(labels)
        angle = draws.uniform(-1, 1) * self.rotate * math.pi / 180
        col_scale = row_scale = 1 + draws.uniform(-1, 1) * self.scale
        row, col = (height - 1) / 2, (width - 1) / 2
        col_shift, row_shift = (draws.uniform(-1, 1) * self.shift * side for side in (width, height))
        if self.apart:
            row_scale = 1 + draws.uniform(-1, 1) * self.scale
        cos, sin = library.cos(angle), library.sin(angle)
        # From columns and rows of the new image to columns of the old, then to its rows.
        by_col, by_row = (cos / col_scale, sin / col_scale), (-sin / row_scale, cos / row_scale)
        col_shift += col - by_col[0] * col - by_row[0] * row
        row_shift += row - by_col[1] * col - by_row[1] * row
        zero = library.zeros_like(cos)
        transform = [by_col[0], by_row[0], col_shift, by_col[1], by_row[1], row_shift, zero, zero]
        return warp(image, labels, library.stack(transform), self.border)


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
        return warp(image, labels, transform, "mirror")


@dataclass(frozen=True)
class Noise(Step):
    """Add Gaussian noise, the same to all bands or to each its own."""

    name = "noise"
    on_arrays = True
    strength: float = option(0.05, "Largest deviation, as a share of the range of values; a fifth of it at least.",
                             span=_SHARE)  # fmt: skip
    apart: bool = option(False, "Draw the noise of every band by itself.")

    def _change(self, image: Any, labels: Any, draws: Draws) -> tuple[Any, Any]:
        deviation = draws.uniform(self.strength / 5, self.strength)
        noise = draws.normal(shape_of(image)) if self.apart else draws.normal(shape_of(labels))[..., None]
        return clip(image + deviation * noise), labels


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
        return clip(image * factor[..., None]), labels


@dataclass(frozen=True)
class Brightness(Step):
    """Add to or subtract from all values."""

    name = "brightness"
    on_arrays = True
    strength: float = option(0.2, "Largest change, as a share of the range of values.", span=_SHARE)

    def _change(self, image: Any, labels: Any, draws: Draws) -> tuple[Any, Any]:
        return clip(image + draws.uniform(-1, 1) * self.strength), labels


@dataclass(frozen=True)
class Gain(Step):
    """Multiply every band by a factor of its own, as light of another colour does."""

    name = "gain"
    on_arrays = True
    strength: float = option(0.2, "How far a factor is from 1 at most.", span=_SHARE)

    def _change(self, image: Any, labels: Any, draws: Draws) -> tuple[Any, Any]:
        return clip(image * (1 + draws.uniform(-1, 1, (image.shape[-1],)) * self.strength)), labels


@dataclass(frozen=True)
class Gamma(Step):
    """Raise values to a power."""

    name = "gamma"
    on_arrays = True
    strength: float = option(0.2, "How far the power is from 1 at most.", span=_SHARE)

    def _change(self, image: Any, labels: Any, draws: Draws) -> tuple[Any, Any]:
        return clip(image) ** (1 + draws.uniform(-1, 1) * self.strength), labels


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
        return convolve(image, (1 - share) * plain + share * (middle - 1)), labels


@dataclass(frozen=True)
class Blur(Step):
    """Average over a square."""

    name = "blur"
    on_arrays = True
    side: int = option(3, "Side of the square, in pixels.", span=Span(3, 31, odd=True))

    def _change(self, image: Any, labels: Any, draws: Draws) -> tuple[Any, Any]:
        return convolve(image, np.full((self.side, self.side), 1 / self.side**2, np.float32)), labels


@dataclass(frozen=True)
class GaussianBlur(Step):
    """Average with weights that fall off as a bell curve does, of a width that is drawn."""

    name = "gaussian-blur"
    on_arrays = True
    sigma: float = option(2.0, "Largest standard deviation of the curve, in pixels.",
                          span=Span(0, 16, above=True))  # fmt: skip

    def _change(self, image: Any, labels: Any, draws: Draws) -> tuple[Any, Any]:
        library = library_of(image)
        far = math.ceil(3 * self.sigma)
        # Of next to no width it leaves the image as it is.
        spread = draws.uniform(0, self.sigma) + 0.1
        weights = library.exp(-((np.arange(-far, far + 1, dtype=np.float32) / spread) ** 2) / 2)
        weights = weights / average(weights, (0,)) / (2 * far + 1)
        return convolve(convolve(image, weights[:, None]), weights[None]), labels


@dataclass(frozen=True)
class MotionBlur(Step):
    """Average along a line: across, down or aslant."""

    name = "motion-blur"
    side: int = option(3, "Length of the line, in pixels.", span=Span(3, 31, odd=True))

    def _change(self, image: Any, labels: Any, draws: Draws) -> tuple[Any, Any]:
        import tensorflow as tf

        middle, steps = self.side // 2, np.arange(self.side) - self.side // 2
        kernels = np.zeros((len(_DIRECTIONS), self.side, self.side), np.float32)
        for kernel, (down, right) in zip(kernels, _DIRECTIONS, strict=True):
            kernel[middle + steps * down, middle + steps * right] = 1 / self.side
        which = tf.cast(draws.uniform(0, len(_DIRECTIONS)), tf.int32)
        return convolve(image, tf.constant(kernels)[which]), labels


@dataclass(frozen=True)
class Contrast(Step):
    """Move values away from their mean, or towards it."""

    name = "contrast"
    on_arrays = True
    strength: float = option(0.2, "Largest change, as a share of the contrast.", span=_SHARE)

    def _change(self, image: Any, labels: Any, draws: Draws) -> tuple[Any, Any]:
        mean = average(image, (0, 1))
        return clip(mean + (image - mean) * (1 + draws.uniform(-1, 1) * self.strength)), labels


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

        hue, saturation, value = tf.unstack(tf.image.rgb_to_hsv(clip(image[..., :_N_COLORS])), axis=-1)
        hue = (hue + draws.uniform(-1, 1) * self.hue / 360) % 1.0
        saturation = clip(saturation + draws.uniform(-1, 1) * self.saturation)
        value = clip(value + draws.uniform(-1, 1) * self.value)
        colors = tf.image.hsv_to_rgb(tf.stack([hue, saturation, value], -1))
        return tf.concat([colors, image[..., _N_COLORS:]], -1), labels


STEPS: dict[str, type[Step]] = {
    kind.name: kind
    for kind in (
        FlipCols, FlipRows, ShiftScaleRotate, Perspective, Noise, Clahe, Brightness, Gain, Gamma, Sharpen, Blur,
        GaussianBlur, MotionBlur, Contrast, HueSaturation,
    )
}  # fmt: skip
