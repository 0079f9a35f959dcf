"""A runtime graph as objects that can be changed: what rewriting one, and putting one together, are made of."""

from __future__ import annotations

from typing import Any

import numpy as np


class LiteGraph:
    """The one graph of a model, read from a file, or without one empty."""

    def __init__(self, content: bytes | None = None) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema = schema
        if content is None:
            self.model = schema.ModelT()
            # The first buffer is that of all tensors without constants.
            self.model.version, self.model.operatorCodes, self.model.buffers = 3, [], [schema.BufferT()]
            self.graph = schema.SubGraphT()
            self.graph.tensors, self.graph.operators, self.graph.inputs, self.graph.outputs = [], [], [], []
            self.model.subgraphs = [self.graph]
        else:
            self.model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
            self.graph = self.model.subgraphs[0]

    def pack(self) -> bytes:
        """Return the graph as a file."""
        import flatbuffers

        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def add_constant(self, values: np.ndarray) -> int:
        """Add a tensor of constants; return its number."""
        kind = np.int32 if values.dtype == np.int32 else np.float32
        buffer = self.schema.BufferT()
        buffer.data = np.ascontiguousarray(values, kind).view(np.uint8).ravel()
        self.model.buffers.append(buffer)
        return self.add_tensor(values.shape, kind, len(self.model.buffers) - 1)

    def add_tensor(self, shape: tuple[int, ...], kind: type = np.float32, buffer: int = 0) -> int:
        """Add a tensor; return its number."""
        types = self.schema.TensorType
        tensor = self.schema.TensorT()
        tensor.shape, tensor.buffer = np.array(shape, np.int32), buffer
        tensor.type, tensor.hasRank = types.INT32 if kind is np.int32 else types.FLOAT32, True
        tensor.name = f"made/{len(self.graph.tensors)}"
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def make_convolution(
        self,
        inputs: list[int],
        output: int,
        activation: int,
        *,
        strides: tuple[int, int] = (1, 1),
        pads: bool = True,
        by_channel: bool = False,
    ) -> Any:
        """Return a convolution that is not in the graph yet; `output` holds what it gives."""
        options = self.schema.DepthwiseConv2DOptionsT() if by_channel else self.schema.Conv2DOptionsT()
        options.strideH, options.strideW = strides
        options.dilationHFactor = options.dilationWFactor = 1
        options.padding = self.schema.Padding.SAME if pads else self.schema.Padding.VALID
        options.fusedActivationFunction = activation
        if by_channel:
            options.depthMultiplier = 1
        return self.make("DEPTHWISE_CONV_2D" if by_channel else "CONV_2D", options, inputs, [output])

    def make(self, name: str, options: Any, inputs: list[int], outputs: Any) -> Any:
        """Return an operation, which is not in the graph yet."""
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
