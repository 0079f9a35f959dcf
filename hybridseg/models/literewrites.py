"""Runtime graphs made of operations that LiteRT runs faster, with the same result.

XNNPACK computes 16 channels at a time, so a convolution to 8 of them leaves half of each vector empty; and what the
converter makes of a batch normalization before a ReLU reads and writes all of a map twice. What each rewrite gains is
in docs/decisions/008-classifier-engine.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np

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
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    graph = _Graph(schema, model)
    graph.scale_and_shift_at_once()
    graph.enlarge_without_overlap()
    graph.compute_in_pairs(stride)
    graph.forget_unused()
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class _Graph:
    """The one graph of a model, as objects that can be changed."""

    def __init__(self, schema: Any, model: Any) -> None:
        self.schema, self.model, self.graph = schema, model, model.subgraphs[0]

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
            options = self.schema.DepthwiseConv2DOptionsT()
            options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
            options.depthMultiplier = 1
            options.fusedActivationFunction = last.builtinOptions.fusedActivationFunction
            weights = [self._add_constant(factors[None, None, None]), self._add_constant(shift)]
            new = self._make("DEPTHWISE_CONV_2D", options, [product.inputs[0], *weights], last.outputs)
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
            wide = self._add_constant(kernel.transpose(1, 2, 0, 3).reshape(4 * n_out, 1, 1, n_in))
            biases = self._add_constant(np.tile(bias, 4))
            source = old.inputs[2]
            four = self._add_tensor((*self._shape(source)[:3], 4 * n_out))
            convolution = self._make_convolution([source, wide, biases], four, options.fusedActivationFunction)
            spread = self.schema.DepthToSpaceOptionsT()
            spread.blockSize = 2
            self._replace([old], [convolution, self._make("DEPTH_TO_SPACE", spread, [four], old.outputs)])

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
            weights = self._add_constant(pair.reshape(2 * n_out, height, width + 1, n_in))
            pairs = self._add_tensor((n, rows, cols // 2, 2 * n_out))
            convolution = self._make_convolution(
                [old.inputs[0], weights, self._add_constant(np.tile(bias, 2))],
                pairs,
                options.fusedActivationFunction,
                stride_cols=2,
            )
            apart = self.schema.ReshapeOptionsT()
            apart.newShape = [-1, rows, cols, n_out]
            shape = self._add_constant(np.array(apart.newShape, np.int32))
            self._replace([old], [convolution, self._make("RESHAPE", apart, [pairs, shape], old.outputs)])

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

    def _add_constant(self, values: np.ndarray) -> int:
        kind = np.int32 if values.dtype == np.int32 else np.float32
        buffer = self.schema.BufferT()
        buffer.data = np.ascontiguousarray(values, kind).view(np.uint8).ravel()
        self.model.buffers.append(buffer)
        return self._add_tensor(values.shape, kind, len(self.model.buffers) - 1)

    def _add_tensor(self, shape: tuple[int, ...], kind: type = np.float32, buffer: int = 0) -> int:
        types = self.schema.TensorType
        tensor = self.schema.TensorT()
        tensor.shape, tensor.buffer = np.array(shape, np.int32), buffer
        tensor.type, tensor.hasRank = types.INT32 if kind is np.int32 else types.FLOAT32, True
        tensor.name = f"rewritten/{len(self.graph.tensors)}"
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def _make_convolution(self, inputs: list[int], output: int, activation: int, *, stride_cols: int = 1) -> Any:
        options = self.schema.Conv2DOptionsT()
        options.strideH, options.strideW = 1, stride_cols
        options.dilationHFactor = options.dilationWFactor = 1
        options.padding, options.fusedActivationFunction = self.schema.Padding.SAME, activation
        return self._make("CONV_2D", options, inputs, [output])

    def _make(self, name: str, options: Any, inputs: list[int], outputs: Any) -> Any:
        code = getattr(self.schema.BuiltinOperator, name)
        codes = [known.builtinCode for known in self.model.operatorCodes]
        if code not in codes:
            new = self.schema.OperatorCodeT()
            new.builtinCode = new.deprecatedBuiltinCode = code
            new.version = 1
            self.model.operatorCodes.append(new)
            codes.append(code)
        operator = self.schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = codes.index(code), inputs, list(outputs)
        operator.builtinOptions = options
        operator.builtinOptionsType = getattr(self.schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        return operator

    def _replace(self, old: list[Any], new: list[Any]) -> None:
        """Put operations in the place of the last of some others."""
        place = self.graph.operators.index(old[-1])
        self.graph.operators[place : place + 1] = new
        for operator in old[:-1]:
            self.graph.operators.remove(operator)
