"""Runtime graphs made of operations that LiteRT runs faster, with the same result.

XNNPACK computes 16 channels at a time, so a convolution to 8 of them leaves half of each vector empty; and what the
converter makes of a batch normalization before a ReLU reads and writes all of a map twice. What each rewrite gains is
in docs/decisions/008-classifier-engine.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hybridseg.models.liteparts import LiteGraph

# The channels that one vector of AVX-512 holds.
_LANES = 16


def rewrite_lite(content: bytes, *, stride: int) -> bytes:
    """Return a graph with the same result that takes less time.

    Parameters
    ----------
    stride : int
        The columns of every image that it will be given are a multiple of it: where those of a map are even in all of
        them, pixels are computed in pairs.
    """
    graph = _Graph(content)
    graph.scale_and_shift_at_once()
    graph.enlarge_without_overlap()
    graph.compute_in_pairs(stride)
    graph.forget_unused()
    return graph.pack()


class _Graph(LiteGraph):
    """The graph that is rewritten."""

    def scale_and_shift_at_once(self) -> None:
        """Make one depthwise convolution of 1 x 1 of a product and a sum by channel, as of a batch normalization."""
        for product in self._find("MUL"):
            factors = self._constant(product.inputs[1])
            shape = self._shape(product.inputs[0])
            if factors is None or len(shape) != 4 or factors.shape != (shape[3],):
                continue
            last, shift = product, np.zeros(shape[3], np.float32)
            if product.builtinOptions.fusedActivationFunction == self.schema.ActivationFunctionType.NONE:
                users = [o for o in self.graph.operators if product.outputs[0] in o.inputs]
                found = (
                    self._constant(users[0].inputs[1]) if len(users) == 1 and users[0] in self._find("ADD") else None
                )
                if found is not None and found.shape == factors.shape and product.outputs[0] not in self.graph.outputs:
                    last, shift = users[0], found
            weights = [self.add_constant(factors[None, None, None]), self.add_constant(shift)]
            activation = last.builtinOptions.fusedActivationFunction
            new = self.make_convolution([product.inputs[0], *weights], last.outputs[0], activation, by_channel=True)
            self._replace([product, *([last] if last is not product else [])], [new])

    def enlarge_without_overlap(self) -> None:
        """Make a convolution of 1 x 1 to four pixels of a transposed one of 2 x 2 and stride 2."""
        for old in self._find("TRANSPOSE_CONV"):
            kernel, options = self._constant(old.inputs[1]), old.builtinOptions
            if kernel is None or kernel.shape[1:3] != (2, 2) or (options.strideH, options.strideW) != (2, 2):
                continue
            n_out, _, _, n_in = kernel.shape
            bias = self._constant(old.inputs[3]) if len(old.inputs) > 3 and old.inputs[3] >= 0 else np.zeros(n_out)
            if bias is None:
                continue
            wide = self.add_constant(kernel.transpose(1, 2, 0, 3).reshape(4 * n_out, 1, 1, n_in))
            biases = self.add_constant(np.tile(bias, 4))
            source = old.inputs[2]
            four = self.add_tensor((*self._shape(source)[:3], 4 * n_out))
            convolution = self.make_convolution([source, wide, biases], four, options.fusedActivationFunction)
            spread = self.schema.DepthToSpaceOptionsT()
            spread.blockSize = 2
            self._replace([old], [convolution, self.make("DEPTH_TO_SPACE", spread, [four], old.outputs)])

    def compute_in_pairs(self, stride: int) -> None:
        """Let convolutions to few channels compute those of two neighbouring pixels at once."""
        own_cols = self._shape(self.graph.inputs[0])[2]
        for old in self._find("CONV_2D"):
            kernel, options = self._constant(old.inputs[1]), old.builtinOptions
            bias = self._constant(old.inputs[2]) if len(old.inputs) > 2 else None
            if kernel is None or bias is None:
                continue
            n_out, height, width, n_in = kernel.shape
            is_plain = (options.strideH, options.strideW, options.dilationHFactor, options.dilationWFactor) == (1,) * 4
            is_same = options.padding == self.schema.Padding.SAME
            if 2 * n_out > _LANES or width < 3 or width % 2 == 0 or not is_plain or not is_same:
                continue
            n, rows, cols, _ = self._shape(old.outputs[0])
            # The columns of the map grow with those of the image: they must be even at every multiple of the stride.
            if stride * cols % (2 * own_cols):
                continue
            # The second pixel sees what the first sees, one column further.
            pair = np.zeros((2, n_out, height, width + 1, n_in), np.float32)
            pair[0, :, :, :-1] = pair[1, :, :, 1:] = kernel
            weights = self.add_constant(pair.reshape(2 * n_out, height, width + 1, n_in))
            pairs = self.add_tensor((n, rows, cols // 2, 2 * n_out))
            convolution = self.make_convolution(
                [old.inputs[0], weights, self.add_constant(np.tile(bias, 2))],
                pairs,
                options.fusedActivationFunction,
                strides=(1, 2),
            )
            apart = self.schema.ReshapeOptionsT()
            apart.newShape = [-1, rows, cols, n_out]
            shape = self.add_constant(np.array(apart.newShape, np.int32))
            self._replace([old], [convolution, self.make("RESHAPE", apart, [pairs, shape], old.outputs)])

    def forget_unused(self) -> None:
        """Leave out the constants of what was rewritten."""
        used = {i for o in self.graph.operators for i in o.inputs}
        kept = {self.graph.tensors[i].buffer for i in used}
        for i, tensor in enumerate(self.graph.tensors):
            if i not in used and tensor.buffer not in kept:
                self.model.buffers[tensor.buffer].data, tensor.buffer = None, 0

    def _find(self, name: str) -> list[Any]:
        code = getattr(self.schema.BuiltinOperator, name)
        return [o for o in self.graph.operators if self.model.operatorCodes[o.opcodeIndex].builtinCode == code]

    def _shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(self.graph.tensors[tensor].shape)

    def _constant(self, tensor: int) -> np.ndarray | None:
        """Return the values of a tensor of floats, if it has any."""
        found = self.graph.tensors[tensor]
        data = self.model.buffers[found.buffer].data
        if found.type != self.schema.TensorType.FLOAT32 or data is None or not len(data):
            return None
        return np.asarray(data, np.uint8).view("<f4").reshape(found.shape)

    def _replace(self, old: list[Any], new: list[Any]) -> None:
        """Put operations in the place of the last of some others."""
        place = self.graph.operators.index(old[-1])
        self.graph.operators[place : place + 1] = new
        for operator in old[:-1]:
            self.graph.operators.remove(operator)
