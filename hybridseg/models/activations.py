"""Activations within the built-in MobileNetV2, as features of each pixel: what LiteRT gives, without TensorFlow.

The graph is put together from the file of weights, which takes a tenth of a second, once. Normalizations are folded
into the convolutions before them. It takes images of any size whose sides `COARSEST` divides.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cache

import numpy as np

from hybridseg.machine import count_cores
from hybridseg.models import mobilenet
from hybridseg.models.layers import IMAGENET_DEVIATION, IMAGENET_MEAN
from hybridseg.models.liteparts import LiteGraph
from hybridseg.models.startup import hold_messages

# The first blocks that halve what they are given; their first layer, which widens it, comes before that.
_TAPS = {2: 2, 4: 4, 7: 8, 14: 16}
STRIDES = tuple(_TAPS.values())
CHANNELS = {2: 96, 4: 144, 8: 192, 16: 576}
"""How many activations there are at each stride."""
COARSEST = max(STRIDES)
# One image at a time: each takes memory.
_RUNNING = threading.Lock()


def compute_activations(image: np.ndarray) -> dict[int, np.ndarray]:
    """Return the activations of the encoder up to stride 16, by stride.

    Parameters
    ----------
    image : numpy.ndarray
        (rows, cols, 3) uint8, with sides that `COARSEST` divides.

    Returns
    -------
    dict of int to numpy.ndarray
        Of each of `STRIDES` (rows / stride, cols / stride, channels) float32 from 0 to 6. Value i of stride s
        belongs to pixel i * s.
    """
    from ai_edge_litert.interpreter import Interpreter

    mean, deviation = (np.float32(255) * np.array(one, np.float32) for one in (IMAGENET_MEAN, IMAGENET_DEVIATION))
    pixels = ((image - mean) / deviation)[None]
    with _RUNNING:
        # Opened anew for each: that takes hundredths of a second, and what it holds is given back.
        with hold_messages():
            interpreter = Interpreter(model_content=build_graph(), num_threads=count_cores())
            place = interpreter.get_input_details()[0]["index"]
            interpreter.resize_tensor_input(place, pixels.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(place, pixels)
        interpreter.invoke()
        # LiteRT may list results in another order.
        outputs = sorted(interpreter.get_output_details(), key=lambda one: int(one["shape"][-1]))
        return {stride: interpreter.get_tensor(one["index"])[0] for stride, one in zip(STRIDES, outputs, strict=True)}


@cache
def build_graph() -> bytes:
    """Return the runtime graph of the encoder up to stride 16, with one result for each of `STRIDES`."""
    network = _Network(mobilenet.read_weights())
    x, number = network.convolve(network.image, "mobilenet_stem", stride=2), 0
    for factor, _, n_blocks, first_stride in mobilenet.STAGES:
        for stride in (first_stride, *[1] * (n_blocks - 1)):
            number += 1
            name, start = f"mobilenet_block{number:02}", x
            if factor != 1:
                x = network.convolve(x, f"{name}_expand")
            if number in _TAPS:
                network.graph.outputs.append(x)
            if number == max(_TAPS):
                return network.pack()
            x = network.convolve(x, f"{name}_depthwise", stride=stride, by_channel=True)
            x = network.convolve(x, f"{name}_project", activation=False)
            if network.shapes[x] == network.shapes[start]:
                x = network.add(start, x)
    raise AssertionError("the last of _TAPS is a block of the network")


class _Network(LiteGraph):
    """The encoder, put together layer by layer; `shapes` are those of its tensors for a small image."""

    def __init__(self, weights: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self._weights = weights
        self.shapes: dict[int, tuple[int, ...]] = {}
        self.image = self._add_result((1, 2 * COARSEST, 2 * COARSEST, 3))
        self.graph.inputs = [self.image]

    def convolve(self, x: int, name: str, *, stride: int = 1, by_channel: bool = False, activation: bool = True) -> int:
        """Add a convolution with its normalization, as `mobilenet` has them; return the number of its result."""
        kernel = self._weights[f"{name}_conv.kernel"].astype(np.float32)
        gamma, beta, mean, variance = (
            self._weights[f"{name}_norm.{what}"] for what in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        factors = gamma / np.sqrt(variance + np.float32(mobilenet.NORM_EPSILON))
        # From (rows, cols, in, out), or (rows, cols, in, 1) by channel.
        kernel = kernel.transpose(3, 0, 1, 2)
        kernel *= factors if by_channel else factors[:, None, None, None]
        n, rows, cols, n_in = self.shapes[x]
        if stride == 2:
            x = self._pad(x)
        weights = [self.add_constant(kernel), self.add_constant(beta - mean * factors)]
        result = self._add_result((n, rows // stride, cols // stride, n_in if by_channel else len(kernel)))
        kinds = self.schema.ActivationFunctionType
        operation = self.make_convolution(
            [x, *weights], result, kinds.RELU6 if activation else kinds.NONE,
            strides=(stride, stride), pads=stride == 1, by_channel=by_channel,
        )  # fmt: skip
        self.graph.operators.append(operation)
        return result

    def add(self, x: int, y: int) -> int:
        """Add a sum; return the number of its result."""
        result = self._add_result(self.shapes[x])
        self.graph.operators.append(self.make("ADD", self.schema.AddOptionsT(), [x, y], [result]))
        return result

    def _pad(self, x: int) -> int:
        n, rows, cols, n_in = self.shapes[x]
        result = self._add_result((n, rows + 2, cols + 2, n_in))
        sides = self.add_constant(np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))
        self.graph.operators.append(self.make("PAD", self.schema.PadOptionsT(), [x, sides], [result]))
        return result

    def _add_result(self, shape: tuple[int, ...]) -> int:
        number = self.add_tensor(shape)
        self.shapes[number] = shape
        return number
