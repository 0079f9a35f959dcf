"""Frozen graphs (``.pb``): written from a model, and read without trusting where they come from.

A graph is a program. Only operations that compute numbers from numbers are allowed: nothing that reads or writes
files, talks to a network, prints, or calls back into Python.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybridseg.errors import BadInput, MissingInput, located
from hybridseg.io.rasters import check_regular
from hybridseg.models.flatgraphs import CALL_OPS, flatten

INPUT_NAME = "Placeholder"
OUTPUT_NAME = "final_result"
UNIT_RANGE, SIGNED_RANGE = "0..1", "-1..1"
INPUT_RANGES = (UNIT_RANGE, SIGNED_RANGE)
# What the networks are called by that tensorflow-for-poets retrains; those of TensorFlow Hub have a "Placeholder".
_POETS_INPUT = "input"
_MAX_GRAPH_BYTES = 2_000_000_000
_STRING_BYTES = 24
_MAX_TENSOR_BYTES = 2 * 2**30
# Of a GraphDef: nodes, functions, versions and debug information, as protocol buffers number and write them.
_GRAPH_FIELDS, _VARINT, _BYTES = range(1, 6), 0, 2
_ADVICE = "get the model from a source you trust, or train it again"

GRAPH_MARKS = tuple(b"const_%d\x12\x05Const" % i for i in range(4))
"""Of a graph that was frozen here: its first constants, as `freeze` calls them, and what they are."""

# No loops: there are none in a network, and no one can say how long they take. `flatten` leaves no branch, Switch and
# Merge: other images would take the other way, which nobody tried.
_SAFE = """
    Abs Add AddN AddV2 All Any ArgMax AvgPool BatchMatMul BatchMatMulV2 BatchMatMulV3 BatchNormWithGlobalNormalization
    BatchToSpaceND BiasAdd BroadcastTo Cast Ceil ClipByValue Concat ConcatV2 Const Conv2D Conv2DBackpropInput
    DepthToSpace DepthwiseConv2dNative Div DivNoNan Elu Equal Erf Exp ExpandDims Fill Floor FloorDiv FloorMod
    FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 Gather GatherNd GatherV2 Greater GreaterEqual Identity IdentityN
    L2Loss LRN LeakyRelu Less LessEqual Log Log1p LogSoftmax LogicalAnd LogicalNot LogicalOr MatMul Max MaxPool
    MaxPoolV2 Maximum Mean Merge Min Minimum MirrorPad Mul Neg NoOp NotEqual OneHot OnesLike Pack Pad PadV2 Placeholder
    PlaceholderWithDefault Pow PreventGradient Prod RandomUniform Range Rank RealDiv Reciprocal Relu Relu6 Reshape
    ResizeArea ResizeBicubic ResizeBilinear ResizeNearestNeighbor ReverseV2 Rint Round Rsqrt ScaleAndTranslate Select
    SelectV2 Selu Shape Sigmoid Sign Size Slice Softmax Softplus SpaceToBatchND SpaceToDepth Split SplitV Sqrt Square
    SquaredDifference Squeeze StopGradient StridedSlice Sub Sum Switch Tanh Tile TopKV2 Transpose Unpack ZerosLike
"""
SAFE_OPS = CALL_OPS.union(_SAFE.split())
_LOOP_OPS = {"Enter", "Exit", "For", "LoopCond", "NextIteration", "StatelessWhile", "While"}


@dataclass(frozen=True, eq=False)
class FrozenGraph:
    """A checked GraphDef of TensorFlow, and its tensors for tiles and probabilities.

    A None in `shape`, that of its images with their number, means that the graph takes any. The images are in 0..1, or
    where the graph `is_signed` in -1..1.
    """

    definition: Any
    input_name: str
    output_name: str
    shape: tuple[int | None, ...]
    is_signed: bool = False

    @property
    def batch_size(self) -> int | None:
        """The number of images that it takes at once."""
        return self.shape[0]

    @property
    def tile_size(self) -> int | None:
        """The side of its images."""
        return self.shape[1]


def freeze_model(apply: Callable[[Any], Any], *, tile_size: int, output_name: str = OUTPUT_NAME) -> bytes:
    """Return a function of tiles as the bytes of a frozen graph; the same variables give the same bytes.

    Parameters
    ----------
    apply : callable
        From a (n, tile_size, tile_size, 3) float32 tensor in 0..1 to (n, n_classes) probabilities.
    """
    content: bytes = (
        freeze(apply, (None, tile_size, tile_size, 3), output_name).definition.SerializeToString(deterministic=True)
    )  # fmt: skip
    return content


def freeze(apply: Callable[[Any], Any], shape: tuple[int | None, ...], output_name: str = OUTPUT_NAME) -> FrozenGraph:
    """Return a function of float32 images of this shape, (n, rows, cols, bands), as a frozen graph."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    signature = [tf.TensorSpec(shape, tf.float32, name=INPUT_NAME)]
    # AutoGraph rewrites all that is called, for loops over tensors, of which there are none here; that takes seconds.
    function = tf.function(
        lambda images: tf.identity(apply(images), name=output_name), input_signature=signature, autograph=False
    )
    definition = convert_variables_to_constants_v2(function.get_concrete_function()).graph.as_graph_def()
    definition = _cut_after(definition, output_name)
    _rename_constants(definition)
    return FrozenGraph(definition, f"{INPUT_NAME}:0", f"{output_name}:0", shape)


def read_content(path: Path) -> bytes:
    """Return the bytes of a frozen graph.

    Raises
    ------
    MissingInput, BadInput
    """
    try:
        if path.exists() and check_regular(path).stat().st_size > _MAX_GRAPH_BYTES:
            raise BadInput(f"{path} is larger than any frozen graph; give a .pb file that `hybridseg retrain` wrote")
        return path.read_bytes()
    except FileNotFoundError:
        raise MissingInput(f"there is no model {path}; train one with `hybridseg retrain`") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}") from error


def check_content(path: Path, content: bytes) -> None:
    """Raise BadInput for what cannot be a frozen graph, without TensorFlow: the fields of a message follow each other.

    Examples
    --------
    >>> check_content(Path("notes.pb"), b"a text")
    Traceback (most recent call last):
    hybridseg.errors.BadInput: notes.pb is damaged or not a frozen graph; give a .pb file that `hybridseg retrain` wrote
    """
    if not content:
        raise BadInput(f"{path} is an empty file; give a .pb file that `hybridseg retrain` wrote")
    place = 0
    try:
        while place < len(content):
            tag, place = _read_varint(content, place)
            field, kind = tag >> 3, tag & 7
            if field not in _GRAPH_FIELDS or kind not in (_VARINT, _BYTES):
                raise ValueError(f"there is no field {field} of kind {kind}")
            length, place = _read_varint(content, place)
            place += length if kind == _BYTES else 0
        if place > len(content):
            raise ValueError("it ends too early")
    except (ValueError, IndexError):
        what = "damaged or not a frozen graph" if path.suffix.lower() in (".pb", "") else "not a model"
        raise BadInput(f"{path} is {what}; give a .pb file that `hybridseg retrain` wrote") from None


def _read_varint(content: bytes, place: int) -> tuple[int, int]:
    """Return a number of a protocol buffer, and where the next one starts."""
    value = shift = 0
    while True:
        byte = content[place]
        value, shift, place = value | (byte & 0x7F) << shift, shift + 7, place + 1
        if byte < 0x80:
            return value, place
        if shift > 63:
            raise ValueError("it is too large")


def parse_graph(path: Path, content: bytes, *, input_range: str | None = None) -> FrozenGraph:
    """Parse a frozen graph: ours, or one that the classic script made.

    Parameters
    ----------
    path : pathlib.Path
        Its file, for messages.
    input_range : str or None
        The values that it takes, one of `INPUT_RANGES`; None: those that graphs with an input of this name take.

    Raises
    ------
    BadInput
        When it is not a frozen graph, has an operation that is not allowed (the message names it), or has not exactly
        one image input and one class output.
    """
    import tensorflow as tf

    definition = tf.compat.v1.GraphDef()
    try:
        definition.ParseFromString(content)
    except Exception as error:  # Which error the parser raises depends on its version.
        raise BadInput(
            f"{path} is damaged or not a frozen graph ({type(error).__name__}); give a .pb file that `hybridseg "
            "retrain` wrote"
        ) from error
    if not definition.node:
        raise BadInput(f"{path} is an empty graph; give a .pb file that `hybridseg retrain` wrote")
    with _advised():
        refuse_unsafe_ops(path, definition, allowed=SAFE_OPS)
    output = _find_output(path, definition).name
    with _advised(), located(path):
        try:
            check_constants(definition.node)
            flat, (output,) = flatten(definition, [output])
            check_constants(flat.node)
        # What a message may hold, and no graph does, such as a type that is none.
        except (TypeError, LookupError) as error:
            raise BadInput(f"it is damaged ({error})") from error
    return _describe_graph(path, flat, output, input_range)


@contextmanager
def _advised() -> Iterator[None]:
    try:
        yield
    except BadInput as error:
        raise BadInput(f"{error}; {_ADVICE}") from error


def cannot_run(path: Path, error: Exception) -> BadInput:
    """Return the error for a graph that was tried, and failed."""
    return BadInput(f"{path} cannot be run: {(str(error).splitlines() or [''])[0]:.200}; {_ADVICE}")


def list_ops(definition: Any) -> set[str]:
    """Return the names of all operations of a graph and of the functions inside it; these themselves are none."""
    functions = definition.library.function
    ops = {node.op for nodes in (definition.node, *(one.node_def for one in functions)) for node in nodes}
    return ops - {function.signature.name for function in functions}


def check_constants(nodes: Iterable[Any]) -> None:
    """Raise BadInput where constants say that they are larger than any graph, before one is made.

    A message can hold a value once and say that it fills gigabytes.
    """
    import tensorflow as tf

    n_bytes = 0
    for node in nodes:
        if node.op == "Const":
            tensor = node.attr["value"].tensor
            shape = (max(dim.size, 0) for dim in tensor.tensor_shape.dim)
            n_bytes += math.prod(shape) * (tf.as_dtype(tensor.dtype).size or _STRING_BYTES)
        if n_bytes > _MAX_GRAPH_BYTES:
            raise BadInput(f"it holds constants that take more memory than any network, {node.name:.100} for one")


def check_sizes(
    definition: Any, input_name: str, output_name: str, shape: tuple[int | None, ...], dtype: Any = "float32"
) -> None:
    """Raise BadInput unless all that a graph computes from images of a shape is of a known, bearable size.

    TensorFlow knows the shape of a tensor where it follows from the shape of the images, and from constants. One that
    follows from the pixels could be of any size.
    """
    import tensorflow as tf

    wanted = definition
    definition = tf.compat.v1.GraphDef()
    definition.CopyFrom(wanted)
    for node in definition.node:
        # Its own input is what it will get; nothing else is fed.
        if node.op == "PlaceholderWithDefault" and f"{node.name}:0" != input_name:
            node.op = "Identity"
            node.attr["T"].type = node.attr["dtype"].type
            del node.attr["dtype"], node.attr["shape"]
    with tf.Graph().as_default() as built:
        images = tf.compat.v1.placeholder(dtype, shape)
        tf.import_graph_def(definition, {input_name: images}, name="")
    used = {tensor for operation in built.get_operations() for tensor in operation.inputs}
    for tensor in (*used, built.get_tensor_by_name(output_name)):
        if not tensor.shape.is_fully_defined():
            raise BadInput(f"the size of {tensor.name:.100} depends on what is in an image")
        if math.prod(tensor.shape) * (tensor.dtype.size or _STRING_BYTES) > _MAX_TENSOR_BYTES:
            raise BadInput(f"{tensor.name:.100} takes more memory than any part of a network")


def refuse_unsafe_ops(path: object, definition: Any, *, allowed: Iterable[str]) -> None:
    """Raise BadInput for a graph that could do more than compute, naming the operations that are not allowed."""
    wrong = list_ops(definition) - set(allowed)
    beyond = sorted(wrong - _LOOP_OPS)
    if wrong:
        what = "operations that a classifier does not need and that could access files, the network or Python"
        what = what if beyond else "a loop, which a classifier does not need and which may never end"
        names = ", ".join(f"{name:.60}" for name in (beyond or sorted(wrong))[:8])
        raise BadInput(f"{path} holds {what}: {names}; it is not loaded")


def _describe_graph(path: Path, needed: Any, output: str, input_range: str | None) -> FrozenGraph:
    import tensorflow as tf

    inputs = [node for node in needed.node if node.op in ("Placeholder", "PlaceholderWithDefault")]
    images = [node for node in inputs if len(_shape_of(node) or (1, 2, 3, 4)) == 4]
    others = [node.name for node in inputs if node.op == "Placeholder" and node not in images]
    if len(images) != 1 or others:
        names = ", ".join(node.name for node in inputs) or "none"
        raise BadInput(f"{path} must have one input, for images; its inputs are: {names}")
    if images[0].attr["dtype"].type != tf.float32.as_datatype_enum:
        raise BadInput(f"{path} must take pixels as 32-bit floats in 0..1; export it again that way")
    shape = _shape_of(images[0]) or (None, None, None, 3)
    if shape[3] not in (3, None) or shape[1] != shape[2]:
        raise BadInput(f"{path} takes images of shape {shape[1:]}, not square tiles with red, green and blue")
    usual = SIGNED_RANGE if images[0].name.split("/")[-1] == _POETS_INPUT else UNIT_RANGE
    is_signed = (input_range or usual) == SIGNED_RANGE
    return FrozenGraph(needed, f"{images[0].name}:0", output, shape, is_signed)


def _find_output(path: Path, definition: Any) -> Any:
    """Return the node ``final_result`` (under any prefix), or else the one softmax that no other node uses."""
    named = [node for node in definition.node if node.name.split("/")[-1] == OUTPUT_NAME]
    if len(named) == 1:
        return named[0]
    used = {name.split(":")[0].lstrip("^") for node in definition.node for name in node.input}
    ends = [node for node in definition.node if node.name not in used and node.op in ("Softmax", "Identity")]
    if len(ends) == 1:
        return ends[0]
    raise BadInput(f"{path} has no output called {OUTPUT_NAME}; give a classifier that `hybridseg retrain` wrote")


def _shape_of(node: Any) -> tuple[int | None, ...] | None:
    if "shape" not in node.attr or node.attr["shape"].shape.unknown_rank:
        return None
    shape = node.attr["shape"].shape
    return tuple(dim.size if dim.size > 0 else None for dim in shape.dim)


def _cut_after(definition: Any, output_name: str) -> Any:
    """Return the graph without the nodes that the conversion adds after the output.

    Raises
    ------
    BadInput
        When another node has the name of the output, or the graph calls functions that cannot be inlined.
    """
    import tensorflow as tf

    output = next((node for node in definition.node if node.name == output_name), None)
    if output is None or output.op != "Identity":
        raise BadInput(
            f"the name {output_name!r} is taken by another part of the graph; choose another final tensor name"
        )
    graph = tf.compat.v1.graph_util.extract_sub_graph(definition, [output_name])
    calls = sorted({node.op for node in graph.node if node.op.endswith("PartitionedCall")})
    if calls:
        raise BadInput(f"this module cannot be frozen: it holds {', '.join(calls)}")
    graph.ClearField("library")
    return graph


def _rename_constants(definition: Any) -> None:
    """Rename the constants by number: their own names count what was built earlier in this process."""
    names = {node.name: f"const_{i}" for i, node in enumerate(definition.node) if node.op == "Const"}
    for node in definition.node:
        node.name = names.get(node.name, node.name)
        for i, source in enumerate(node.input):
            mark = "^" if source.startswith("^") else ""
            name, colon, port = source.removeprefix("^").partition(":")
            node.input[i] = f"{mark}{names.get(name, name)}{colon}{port}"
