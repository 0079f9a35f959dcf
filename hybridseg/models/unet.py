"""The U-Net: features of an encoder, or of convolutions of its own, joined step by step with what lies deeper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hybridseg.errors import BadInput
from hybridseg.models.encoders import ENCODERS, RANDOM, STRIDES, Encoder, Weights
from hybridseg.models.layers import (
    BILINEAR,
    TRANSPOSED,
    UPSAMPLINGS,
    add_residual_block,
    cut_to_size,
    make_dropout,
    make_norm,
    mirror_to_stride,
)
from hybridseg.options import Span, check_options, option

if TYPE_CHECKING:
    import tf_keras

NO_ENCODER = "none"
BLOCKS = ("none", "plain", "residual", "separable")


# Of the separable decoder: slower statistics, for windows that are much alike.
_SEPARABLE_NORM = {"momentum": 0.97, "epsilon": 1e-3}
# Of the published program: a decoder that begins with small weights.
_START_DEVIATION = 0.02

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Join:
    """Shapes, (rows, cols, channels), where a skip joins the decoder.

    `below` is enlarged to `enlarged`; both joined are `joined`, of which the convolutions make `result`.
    """

    stride: int
    below: Shape
    enlarged: Shape
    skip: Shape
    joined: Shape
    result: Shape

    @property
    def text(self) -> str:
        """The shapes in a line."""
        below, enlarged, skip, joined = map(show_shape, (self.below, self.enlarged, self.skip, self.joined))
        return f"1/{self.stride} of the size: {below} is enlarged to {enlarged} and joined with {skip}: {joined}"


def show_shape(shape: Shape) -> str:
    """Return a shape as people write it.

    Examples
    --------
    >>> show_shape((10, 20, 3))
    '10 x 20 x 3'
    """
    return " x ".join(map(str, shape))


@dataclass(frozen=True)
class Unet:
    """The settings of a U-Net, and the network that they make.

    Without an encoder it is the network of Ronneberger, Fischer and Brox (2015), with batch normalization and
    convolutions that keep the size: blocks of two convolutions, as many filters as the decoder has at the same depth,
    and twice as many at the bottom. It has as many steps as there are widths.

    The decoder enlarges by transposed convolutions, which leave as many values as the skip has, or bilinearly. Then
    there is nothing to reduce their number but the blocks: the second convolution of each has as many filters as the
    next step, and the bottom as many as the first.

    Images of any size of at least 32 x 32 are mirrored at the border up to multiples of the stride.

    Raises
    ------
    BadInput
        When a value is out of range, or a network without an encoder has no blocks.

    Examples
    --------
    >>> Unet(n_bands=3, n_outputs=1, encoder="none", block="plain", widths=(8, 6, 4, 2)).build().output_shape
    (None, None, None, 1)
    """

    name: ClassVar[str] = "unet"
    stride: ClassVar[int] = STRIDES[-1]
    newer: ClassVar[tuple[str, ...]] = ("upsample",)

    n_bands: int = option(help="Bands of the images.", span=Span(1, 255))
    n_outputs: int = option(help="Scores of each pixel; 1 is one class against the rest.", span=Span(1, 255))
    encoder: str = option("mobilenet_v2", "Encoder that the network stands on.", choices=(NO_ENCODER, *ENCODERS))
    block: str = option(
        "separable",
        "How the decoder joins a skip: concatenated and followed by two convolutions of 3 x 3 (plain), the same with "
        "their input added to them (residual), or none; or (separable) added, and followed by a convolution of every "
        "channel by itself, which is fastest.",
        choices=BLOCKS,
    )
    widths: tuple[int, ...] = option(
        (256, 128, 64, 32),
        "Filters of the decoder, from its deepest step up: four, or without an encoder one to five, as many as the "
        "network is to have steps.",
        span=Span(1, 4096),
    )
    dropout: float = option(
        0.2, "Share of the decoder's values that is dropped in training.", span=Span(0, 1, below=True)
    )
    upsample: str | None = option(
        None, "How the decoder doubles the size: by transposed convolutions, or bilinearly.", choices=UPSAMPLINGS
    )

    def __post_init__(self) -> None:
        check_options(self)
        has_encoder, n_widths = self.encoder != NO_ENCODER, len(self.widths)
        if n_widths != len(STRIDES) - 1 if has_encoder else not 1 <= n_widths <= len(STRIDES):
            what = "4 whole numbers" if has_encoder else "1 to 5 whole numbers"
            raise BadInput(f"widths={self.widths}: give {what}, such as 256,128,64,32")
        if not has_encoder and self.block not in ("plain", "residual"):
            raise BadInput(
                f"block={self.block}: a network without an encoder needs convolutions; give plain or residual"
            )
        needed = {"separable": BILINEAR, "none": TRANSPOSED}.get(self.block)
        if needed is not None and self.upsample not in (None, needed):
            raise BadInput(
                f"upsample={self.upsample}: with block {self.block} it is {needed}; give plain or residual blocks"
            )

    @property
    def pretrained(self) -> Encoder | None:
        """The encoder that it stands on, if any."""
        return ENCODERS.get(self.encoder)

    @property
    def enlarging(self) -> str:
        """How the decoder doubles the size: as `upsample` says or, where that is None, as its blocks do."""
        return self.upsample or (BILINEAR if self.block == "separable" else TRANSPOSED)

    @property
    def reach(self) -> int | None:
        """How far the image is seen from a pixel, at most; None for a pretrained encoder, which may see all of it."""
        if self.pretrained is not None:
            return None
        strides = [2**level for level in range(len(self.widths) + 1)]
        # Two convolutions of 3 x 3 on the way down at every stride, two on the way up but at the deepest; what is
        # pooled is one pixel further, and what is enlarged one of the stride below.
        return 4 * sum(strides) - 2 * strides[-1] + sum(strides[:-1]) + sum(strides[1:])

    def build(self) -> tf_keras.Model:
        """Return the network with random weights, as `hybridseg.models.architectures.Architecture` describes it."""
        import tf_keras
        from tf_keras import layers

        pixels = tf_keras.Input((None, None, self.n_bands), name="pixels")
        features = self._encode(mirror_to_stride(pixels, self.stride))
        *skips, (_, x) = features.items()
        is_bilinear = self.enlarging == BILINEAR
        narrowed = (*self.widths[1:], self.widths[-1]) if is_bilinear else self.widths
        for width, last, (stride, skip) in zip(self.widths, narrowed, reversed(skips), strict=True):
            if self.block == "separable":
                x = self._add_separable(x, skip, f"up{stride}", width)
                continue
            x = self._enlarge(x, f"up{stride}", width)
            x = layers.Concatenate(name=f"up{stride}_join")([x, skip])
            x = self._add_block(x, f"up{stride}", width, last)
        if self.pretrained is None:
            scores = layers.Conv2D(self.n_outputs, 1, name="scores")(x)
        elif is_bilinear:
            scores = layers.Conv2D(self.n_outputs, 1, name="scores")(x)
            scores = layers.UpSampling2D(2, interpolation="bilinear", name="scores_enlarge")(scores)
        else:
            scores = layers.Conv2DTranspose(self.n_outputs, 3, 2, "same", name="scores")(x)
        return tf_keras.Model(pixels, cut_to_size(scores, pixels), name=self.name)

    def start(self, network: tf_keras.Model, weights: Weights = None) -> str:
        """Load pretrained weights into the encoder of a new network; return in words which ones."""
        if self.pretrained is None:
            return "U-Net with random weights"
        return f"U-Net on {self.pretrained.load_pretrained(network, weights)}"

    def choose_weights(self, weights: Weights = None) -> Path | str:
        """Return what the encoder starts from, where it is one that has pretrained weights."""
        return RANDOM if self.pretrained is None else self.pretrained.choose_weights(weights)

    def find_encoder(self, network: tf_keras.Model) -> list[Any]:
        """Return the layers of the encoder."""
        return [] if self.pretrained is None else self.pretrained.find_layers(network)

    def _encode(self, pixels: Any) -> dict[int, Any]:
        """Return the features of every stride, from fine to deep."""
        if self.pretrained is not None:
            return self.pretrained.add_features(pixels)
        from tf_keras import layers

        features, x = {}, pixels
        bottom = self.widths[0] * (1 if self.enlarging == BILINEAR else 2)
        for level, width in enumerate([*reversed(self.widths), bottom]):
            if level:
                x = layers.MaxPooling2D(name=f"down{2**level}_pool")(x)
            x = features[2**level] = self._add_block(x, f"down{2**level}", width, width, first=level == 0)
        return features

    def _add_block(self, x: Any, name: str, width: int, last: int, *, first: bool = False) -> Any:
        """Add convolutions of so many filters, the last of which has `last`."""
        from tf_keras import layers

        if self.block == "residual":
            return add_residual_block(x, name, filters=last, first=first)
        for number, filters in ((1, width), (2, last)) if self.block == "plain" else ():
            x = layers.Conv2D(
                filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv{number}"
            )(x)
            x = make_norm(f"{name}_norm{number}")(x)
            x = layers.ReLU(name=f"{name}_relu{number}")(x)
        return x

    def _add_separable(self, x: Any, skip: Any, name: str, width: int) -> Any:
        """Enlarge what comes from below, add the skip, and filter: with few numbers, most of them in 1 x 1 kernels."""
        from tf_keras import layers

        # Narrowed before it is enlarged, which is a quarter of the work.
        x = layers.Conv2D(width, 1, use_bias=False, name=f"{name}_narrow")(x)
        x = layers.UpSampling2D(2, interpolation="bilinear", name=f"{name}_enlarge")(x)
        skip = layers.Conv2D(width, 1, use_bias=False, name=f"{name}_skip")(skip)
        x = layers.Add(name=f"{name}_join")([x, skip])
        x = make_norm(f"{name}_join_norm", **_SEPARABLE_NORM)(x)
        x = layers.Activation("swish", name=f"{name}_join_swish")(x)
        x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
        x = layers.Conv2D(width, 1, use_bias=False, name=f"{name}_pointwise")(x)
        x = make_norm(f"{name}_norm", **_SEPARABLE_NORM)(x)
        x = layers.Activation("swish", name=f"{name}_swish")(x)
        return make_dropout(self.dropout, f"{name}_dropout")(x) if self.dropout else x

    def _enlarge(self, x: Any, name: str, width: int) -> Any:
        from tf_keras import initializers, layers

        if self.enlarging == BILINEAR:
            x = layers.UpSampling2D(2, interpolation="bilinear", name=f"{name}_enlarge")(x)
            return make_dropout(self.dropout, f"{name}_dropout")(x) if self.dropout else x
        start = initializers.RandomNormal(0.0, _START_DEVIATION)
        x = layers.Conv2DTranspose(
            width, 3, 2, "same", use_bias=False, kernel_initializer=start, name=f"{name}_enlarge"
        )(x)
        x = make_norm(f"{name}_enlarge_norm")(x)
        if self.dropout:
            x = make_dropout(self.dropout, f"{name}_dropout")(x)
        return layers.Activation("swish", name=f"{name}_swish")(x)


def trace_joins(network: tf_keras.Model, size: tuple[int, int]) -> list[Join]:
    """Return the shapes at which the skips of a U-Net join it, from the deepest up, for images of `size`.

    Examples
    --------
    >>> network = Unet(n_bands=3, n_outputs=2, encoder="none", block="plain", widths=(8, 6, 4, 2)).build()
    >>> trace_joins(network, (300, 300))[0]
    Join(stride=8, below=(20, 20, 16), enlarged=(40, 40, 8), skip=(40, 40, 8), joined=(40, 40, 16), result=(40, 40, 8))
    """
    import tf_keras

    names = {layer.name for layer in network.layers}
    strides = [stride for stride in reversed((1, *STRIDES)) if f"up{stride}_join" in names]
    joins = [network.get_layer(f"up{stride}_join") for stride in strides]
    first = "narrow" if "up16_narrow" in names else "enlarge"
    sources = [network.get_layer(f"up{stride}_{first}").input for stride in strides]
    # What one step of the decoder makes is what the next one enlarges.
    results = [*sources[1:], network.get_layer("scores").input]
    steps = zip(sources, joins, results, strict=True)
    tensors = [tensor for source, join, result in steps for tensor in (source, *join.input, join.output, result)]
    found = tf_keras.Model(network.input, tensors).compute_output_shape((1, *size, network.input_shape[-1]))
    shapes: Sequence[Any] = [tuple(shape[1:]) for shape in found]
    return [Join(stride, *shapes[5 * i : 5 * i + 5]) for i, stride in enumerate(strides)]
