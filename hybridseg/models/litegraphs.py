"""Runtime graphs (``.tflite``): read without trusting where they come from, and fitted to images of another size.

Such a graph holds no code, but LiteRT would run operations that are not its own, and reserves what a graph asks for.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np

from hybridseg.errors import BadInput

MAX_BYTES = 2_000_000_000
_MAX_TENSOR_BYTES = 4 * 2**30
_MAX_PARTS, _MAX_RANK = 100_000, 8
# In place of an input that is left out.
_NO_TENSOR = -1
# What the operations of a frozen graph become.
_ALLOWED = """
    ABS ADD ADD_N ARG_MAX ARG_MIN AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND BROADCAST_ARGS BROADCAST_TO CAST CEIL
    CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE DIV ELU EQUAL EXP EXPAND_DIMS FILL FLOOR FLOOR_DIV
    FLOOR_MOD FULLY_CONNECTED GATHER GATHER_ND GELU GREATER GREATER_EQUAL HARD_SWISH L2_NORMALIZATION LEAKY_RELU LESS
    LESS_EQUAL LOCAL_RESPONSE_NORMALIZATION LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC LOG_SOFTMAX MAXIMUM
    MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL ONE_HOT PACK PAD PADV2 POW PRELU QUANTIZE RANDOM_UNIFORM RANGE
    RANK REDUCE_ALL REDUCE_ANY REDUCE_MAX REDUCE_MIN REDUCE_PROD RELU RELU6 RELU_0_TO_1 RELU_N1_TO_1 RESHAPE
    RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_V2 ROUND RSQRT SELECT SELECT_V2 SHAPE SIGN SLICE SOFTMAX
    SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM TANH
    TILE TOPK_V2 TRANSPOSE TRANSPOSE_CONV UNPACK ZEROS_LIKE
"""
ALLOWED_OPS = frozenset(_ALLOWED.split())
# The inputs of an operation that say how large its result is, or of which shape.
_SIZE_INPUTS = {
    "ARG_MAX": (1,), "ARG_MIN": (1,), "BATCH_TO_SPACE_ND": (1, 2), "BROADCAST_TO": (1,), "EXPAND_DIMS": (1,),
    "FILL": (0,), "MEAN": (1,), "MIRROR_PAD": (1,), "ONE_HOT": (1,), "PAD": (1,), "PADV2": (1,), "RANDOM_UNIFORM": (0,),
    "RANGE": (0, 1, 2), "REDUCE_ALL": (1,), "REDUCE_ANY": (1,), "REDUCE_MAX": (1,), "REDUCE_MIN": (1,),
    "REDUCE_PROD": (1,), "RESHAPE": (1,), "RESIZE_BILINEAR": (1,), "RESIZE_NEAREST_NEIGHBOR": (1,), "REVERSE_V2": (1,),
    "SLICE": (1, 2), "SPACE_TO_BATCH_ND": (1, 2), "SPLIT": (0,), "SPLIT_V": (1, 2), "STRIDED_SLICE": (1, 2, 3),
    "SUM": (1,), "TILE": (1,), "TOPK_V2": (1,), "TRANSPOSE": (1,), "TRANSPOSE_CONV": (0,),
}  # fmt: skip
# Those among them that are the sides of the result; the sides of an image may reach them, through these operations.
_SIDES_FROM_SHAPES = frozenset(
    ("BROADCAST_TO", "FILL", "RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "TILE", "TRANSPOSE_CONV")
)
_PASSING = frozenset(
    ("CAST", "CONCATENATION", "EXPAND_DIMS", "GATHER", "PACK", "RESHAPE", "SHAPE", "SLICE", "SQUEEZE", "STRIDED_SLICE")
)
# A processor crashes a program that divides the lowest integer by -1; LiteRT guards against it everywhere but here.
_TRAP, _FLOATS = "FLOOR_MOD", ("FLOAT16", "FLOAT32", "FLOAT64")
# What reading a table at a place that lies may raise.
_DAMAGE = (struct.error, LookupError, ValueError, TypeError, AttributeError, MemoryError)
# Where an operation says how large its result is: the input that holds it, and where rows come in it.
_SIZES = {"TRANSPOSE_CONV": (0, 1), "RESIZE_BILINEAR": (1, 0), "RESIZE_NEAREST_NEIGHBOR": (1, 0), "RESHAPE": (1, 1)}


def check_lite(content: bytes) -> None:
    """Raise BadInput unless this is a graph of plain operations on tensors of bearable size."""
    if len(content) > MAX_BYTES or content[4:8] != b"TFL3":
        raise BadInput("it is not a graph of LiteRT")
    names = _name_codes()
    try:
        model = _parse(content)
        if model.SubgraphsLength() != 1:
            raise BadInput("it holds more than one graph")
        graph = model.Subgraphs(0)
        n_parts = max(graph.TensorsLength(), graph.OperatorsLength(), model.OperatorCodesLength())
        tensors = [graph.Tensors(i) for i in range(min(n_parts, graph.TensorsLength(), _MAX_PARTS))]
        if n_parts > _MAX_PARTS or max(map(_count_sides, tensors)) > _MAX_RANK:
            raise BadInput("it has far more parts than a network needs")
        used = {names.get(_code_of(model.OperatorCodes(i)), "?") for i in range(model.OperatorCodesLength())}
        largest = max(map(_count_values, tensors))
        if wrong := sorted(used - ALLOWED_OPS):
            raise BadInput(f"it holds operations that a network does not need: {', '.join(wrong[:8])}")
        if largest * 4 > _MAX_TENSOR_BYTES:
            raise BadInput("it asks for more memory than any network needs")
        _check_sizes(model, graph, names)
    except BadInput:
        raise
    except _DAMAGE as error:
        raise BadInput(f"it is damaged ({type(error).__name__})") from error


def _count_sides(tensor: Any) -> int:
    return max(tensor.ShapeLength(), tensor.ShapeSignatureLength())


def _count_values(tensor: Any) -> int:
    """Return how many values a tensor has, by the larger of its two shapes: the second one may leave sides open."""
    shapes = (tensor.Shape, tensor.ShapeLength()), (tensor.ShapeSignature, tensor.ShapeSignatureLength())
    return max(math.prod(abs(side(i)) for i in range(n)) for side, n in shapes)


def _check_sizes(model: Any, graph: Any, names: dict[int, str]) -> None:
    """Raise BadInput unless the sizes of results follow from constants and the sides of images, and grow with these.

    What depends on the pixels, or shrinks where images grow, could fill the memory after any number of trials.
    """
    operators = [graph.Operators(i) for i in range(graph.OperatorsLength())]
    found = {graph.Inputs(i) for i in range(graph.InputsLength())}
    computed = {operator.Outputs(k) for operator in operators for k in range(operator.OutputsLength())}
    fixed = {i for i in range(graph.TensorsLength()) if _is_constant(model, graph.Tensors(i))} - found - computed
    sides: set[int] = set()
    done = fixed | found
    for operator in operators:
        name = names[_code_of(model.OperatorCodes(operator.OpcodeIndex()))]
        inputs = [operator.Inputs(k) for k in range(operator.InputsLength())]
        outputs = {operator.Outputs(k) for k in range(operator.OutputsLength())} - {_NO_TENSOR}
        used = {*inputs} - {_NO_TENSOR}
        # It would be that of the image before, or what happens to lie in the memory.
        if not used <= done or outputs & done:
            raise BadInput(f"{name} uses what is computed later, or replaces what is there")
        done |= outputs
        sizes = {inputs[k] for k in _SIZE_INPUTS.get(name, ()) if k < len(inputs)} & used
        if not sizes <= (fixed | sides if name in _SIDES_FROM_SHAPES else fixed):
            raise BadInput(f"the size of what {name} gives does not follow from that of the image alone")
        if name == _TRAP and not used <= fixed | sides and not all(_is_float(graph.Tensors(i)) for i in outputs):
            raise BadInput(
                f"{name} divides integers that depend on the pixels, and some values of these would crash the program"
            )
        if name == "SHAPE" or (name in _PASSING and sides & used and used <= fixed | sides):
            sides |= outputs
        elif used <= fixed and name != "RANDOM_UNIFORM":
            fixed |= outputs


def _is_float(tensor: Any) -> bool:
    from ai_edge_litert import schema_py_generated as schema

    return tensor.Type() in [getattr(schema.TensorType, name) for name in _FLOATS]


def _is_constant(model: Any, tensor: Any) -> bool:
    """Return whether the file holds the numbers of a tensor that no operation computes; there may be none of them."""
    shape = [tensor.Shape(i) for i in range(tensor.ShapeLength())]
    return 0 in shape or model.Buffers(tensor.Buffer()).DataLength() > 0


def fit_lite(content: bytes, shape: tuple[int, int]) -> bytes:
    """Return a graph for images of other rows and columns, in which it says only how large its enlarged maps are.

    Raises
    ------
    BadInput
        When one of them would not be whole, so that the network does not take images of this size; or it is damaged.
    """
    try:
        return _fit(content, shape)
    except BadInput:
        raise
    except _DAMAGE as error:
        raise BadInput(f"it is damaged ({type(error).__name__})") from error


def _fit(content: bytes, shape: tuple[int, int]) -> bytes:
    model, names = _parse(content), _name_codes()
    graph = model.Subgraphs(0)
    own = graph.Tensors(graph.Inputs(0)).ShapeAsNumpy()[1:3].astype(np.int64)
    if not own.all():
        raise BadInput("it does not say how large its images are")
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


def weigh_lite(content: bytes) -> float:
    """Return about how many bytes LiteRT takes to run a graph, for each pixel of an image.

    These are the maps that are there at a time, and a pointer to each pixel that a kernel covers at each of its places.

    Raises
    ------
    BadInput
        When it is damaged.
    """
    try:
        return _weigh(content)
    except _DAMAGE as error:
        raise BadInput(f"it is damaged ({type(error).__name__})") from error


def _weigh(content: bytes) -> float:
    model, names = _parse(content), _name_codes()
    graph = model.Subgraphs(0)
    operators = [graph.Operators(i) for i in range(graph.OperatorsLength())]
    shapes = [
        [max(t.Shape(i), 1) for i in range(t.ShapeLength())] for t in map(graph.Tensors, range(graph.TensorsLength()))
    ]
    # The operations by which each map is made and used last.
    made, used = {graph.Inputs(0): 0}, {graph.Outputs(0): len(operators)}
    pointers = 0
    for n, operator in enumerate(operators):
        for i in (operator.Outputs(k) for k in range(operator.OutputsLength())):
            made[i] = n
            used.setdefault(i, n)
        for i in (operator.Inputs(k) for k in range(operator.InputsLength())):
            used[i] = max(used.get(i, n), n)
        kernel = 1
        name = names[_code_of(model.OperatorCodes(operator.OpcodeIndex()))]
        out = shapes[operator.Outputs(0)]
        if name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            kernel = math.prod(shapes[operator.Inputs(1)][1:3])
        elif name == "TRANSPOSE_CONV":
            # Each place of the larger map is reached by the part of the kernel that its step leaves.
            small = shapes[operator.Inputs(2)]
            kernel = math.prod(-(-shapes[operator.Inputs(1)][k] // max(out[k] // small[k], 1)) for k in (1, 2))
        pointers += kernel * math.prod(out[1:3]) if kernel > 1 else 0
    sizes = {i: 4 * math.prod(shapes[i]) for i in made}
    most = max(sum(sizes[i] for i in made if made[i] <= n <= used[i]) for n in range(len(operators)))
    return (most + 8 * pointers) / math.prod(shapes[graph.Inputs(0)][1:3])


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
