"""Runtime graphs (``.tflite``): read without trusting where they come from, and fitted to images of another size.

Such a graph holds no code, but LiteRT would run operations that are not its own, and reserves what a graph asks for.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np

from hybridseg.errors import BadInput

_MAX_BYTES = 2_000_000_000
_MAX_TENSOR_BYTES = 4 * 2**30
_REFUSED = """
    ASSIGN_VARIABLE CALL CALL_ONCE CUSTOM DELEGATE HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_LOOKUP
    READ_VARIABLE STABLEHLO_CUSTOM_CALL UNIDIRECTIONAL_SEQUENCE_LSTM VAR_HANDLE WHILE
"""
REFUSED_OPS = frozenset(_REFUSED.split())
# Where an operation says how large its result is: the input that holds it, and where rows come in it.
_SIZES = {"TRANSPOSE_CONV": (0, 1), "RESIZE_BILINEAR": (1, 0), "RESIZE_NEAREST_NEIGHBOR": (1, 0), "RESHAPE": (1, 1)}


def check_lite(content: bytes) -> None:
    """Raise BadInput unless this is a graph of plain operations on tensors of bearable size."""
    if len(content) > _MAX_BYTES or content[4:8] != b"TFL3":
        raise BadInput("it is not a graph of LiteRT")
    names = _name_codes()
    try:
        model = _parse(content)
        used = {names.get(_code_of(model.OperatorCodes(i)), "?") for i in range(model.OperatorCodesLength())}
        graphs = [model.Subgraphs(i) for i in range(model.SubgraphsLength())]
        tensors = [graph.Tensors(i) for graph in graphs for i in range(graph.TensorsLength())]
        largest = max(math.prod(abs(tensor.Shape(i)) for i in range(tensor.ShapeLength())) for tensor in tensors)
    except (struct.error, IndexError, ValueError, TypeError, AttributeError, MemoryError) as error:
        raise BadInput(f"it is damaged ({type(error).__name__})") from error
    if wrong := sorted(used & (REFUSED_OPS | {"?"})):
        raise BadInput(f"it holds operations that a network does not need: {', '.join(wrong)}")
    if largest * 4 > _MAX_TENSOR_BYTES:
        raise BadInput("it asks for more memory than any network needs")


def fit_lite(content: bytes, shape: tuple[int, int]) -> bytes:
    """Return a graph for images of other rows and columns, in which it says only how large its enlarged maps are.

    Raises
    ------
    BadInput
        When one of them would not be whole: the network does not take images of this size.
    """
    model, names = _parse(content), _name_codes()
    graph = model.Subgraphs(0)
    own = graph.Tensors(graph.Inputs(0)).ShapeAsNumpy()[1:3].astype(np.int64)
    fitted, done = bytearray(content), set()
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        name = names.get(_code_of(model.OperatorCodes(operator.OpcodeIndex())), "?")
        if name not in _SIZES:
            continue
        if name == "RESHAPE" and not _keeps_rows(graph, operator):
            continue
        which, first = _SIZES[name]
        number = graph.Tensors(operator.Inputs(which)).Buffer()
        table = model.Buffers(number)._tab
        field = table.Offset(4)
        # An empty one is computed by the graph itself; one that several operations share is changed once.
        if not field or not table.VectorLen(field) or number in done:
            continue
        done.add(number)
        start = table.Vector(field) + 4 * first
        sizes = np.frombuffer(content, "<i4", 2, start).astype(np.int64) * shape
        if (sizes % own).any():
            raise BadInput(f"the network does not take images of {shape[0]} x {shape[1]}")
        fitted[start : start + 8] = (sizes // own).astype("<i4").tobytes()
    return bytes(fitted)


def _keeps_rows(graph: Any, operator: Any) -> bool:
    """Return whether the columns of maps are regrouped, as `hybridseg.models.literewrites` does it."""
    before, after = (graph.Tensors(i) for i in (operator.Inputs(0), operator.Outputs(0)))
    return before.ShapeLength() == after.ShapeLength() == 4 and before.Shape(1) == after.Shape(1) > 1


def _parse(content: bytes) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    return schema.Model.GetRootAs(content, 0)


def _name_codes() -> dict[int, str]:
    from ai_edge_litert import schema_py_generated as schema

    return {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}


def _code_of(operator_code: Any) -> int:
    # Older files hold the code in a field of one byte, newer ones in both.
    return max(operator_code.BuiltinCode(), operator_code.DeprecatedBuiltinCode())
