"""TensorFlow Hub modules, read as data: the graph that they compute with, and the values of their variables.

A module is a program that restores itself, and could do anything on the way. So nothing of it is run: what it does with
images is taken out of it as a graph of operations that compute, and its variables are read from its checkpoint here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.errors import BadInput
from hybridseg.io.rasters import check_regular
from hybridseg.models.flatgraphs import READ_OP, flatten, list_functions, list_needed
from hybridseg.models.graphs import SAFE_OPS, check_constants, refuse_unsafe_ops

GRAPH_NAME = "saved_model.pb"
FEATURE_SIGNATURE = "image_feature_vector"
_IMAGES, _ANSWER, _WEIGHT, _OTHER = "images", "module", "weight", "other"
_MAX_BYTES = 2_000_000_000
_VARIABLE_OPS = frozenset(("VarHandleOp", "Variable", "VariableV2"))
# What may stand beside the numbers: it changes no file, and has no part in what is taken out.
_IDLE = """
    Assert Assign AssignAdd AssignAddVariableOp AssignSub AssignSubVariableOp AssignVariableOp IsVariableInitialized
    VarIsInitializedOp
"""
_IDLE_OPS = _VARIABLE_OPS.union(_IDLE.split(), [READ_OP])


@dataclass(frozen=True, eq=False)
class ModuleGraph:
    """What a module computes with.

    Parameters
    ----------
    definition : GraphDef
        Without functions, and of operations that only compute.
    images, output : str
        Its tensors.
    dtype : tf.DType
        Of the images.
    shape : tuple or None
        Of the images, None where it is open.
    weights : dict
        The values of its variables, by the names of their placeholders.
    trainable : frozenset of str
        Which of them fine-tuning may change.
    offers_features : bool
        Whether its output is meant as features.
    """

    definition: Any
    images: str
    output: str
    dtype: Any
    shape: tuple[int | None, ...] | None
    weights: dict[str, np.ndarray]
    trainable: frozenset[str]
    offers_features: bool = True


@dataclass(frozen=True, eq=False)
class LoadedModule:
    """A module that can be called with images.

    Parameters
    ----------
    call : callable
        From images, (n, rows, cols, 3), to the output, as tensors.
    variables : list
        Those that fine-tuning may change.
    keep : object
        What `call` needs to stay alive.
    """

    call: Callable[[Any], Any]
    dtype: Any
    shape: tuple[int | None, ...] | None
    variables: list[Any]
    keep: Any
    offers_features: bool = True


def build_module(found: ModuleGraph, trainable: bool) -> LoadedModule:
    """Return what was read of a module as a function with variables of ours."""
    import tensorflow as tf

    weights = [
        tf.Variable(value, trainable=trainable and name in found.trainable, name=name)
        for name, value in found.weights.items()
    ]
    wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(found.definition, name=""), [])
    feeds = [wrapped.graph.as_graph_element(name) for name in (found.images, *(f"{name}:0" for name in found.weights))]
    function = wrapped.prune(feeds, wrapped.graph.as_graph_element(found.output))
    return LoadedModule(
        lambda images: function(images, *map(tf.convert_to_tensor, weights)), found.dtype, found.shape,
        [weight for weight in weights if weight.trainable], (function, weights), found.offers_features,
    )  # fmt: skip


def read_module(folder: Path) -> ModuleGraph:
    """Read a module in the TF2 or the TF1 format.

    Raises
    ------
    BadInput
        When it is damaged, does not take images, or its result depends on an operation that could do more than
        compute; the message names it.
    """
    saved = _read_message(folder / GRAPH_NAME)
    if (folder / "tfhub_module.pb").exists():
        return _read_tf1(folder, saved)
    return _read_tf2(folder, saved)


def _read_message(path: Path) -> Any:
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    try:
        if check_regular(path).stat().st_size > _MAX_BYTES:
            raise BadInput(f"{path} is larger than the graph of any module")
        saved.ParseFromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise BadInput(f"{path.parent} is damaged: {path.name} cannot be read ({error})") from error
    return saved


# The TF2 format: a tree of objects, one of which is a function of images.


def _read_tf2(folder: Path, saved: Any) -> ModuleGraph:
    from tensorflow.core.framework import graph_pb2

    meta = next((meta for meta in saved.meta_graphs if meta.HasField("object_graph_def")), None)
    top = _children(meta.object_graph_def.nodes[0]) if meta is not None and meta.object_graph_def.nodes else {}
    if meta is None or "__call__" not in top:
        raise BadInput(f"{folder} cannot be called with images; give a module for images")
    objects = meta.object_graph_def
    names = objects.nodes[top["__call__"]].function.concrete_functions
    name, place, images = _choose_function(folder, objects, names)
    function, concrete = _find_function(folder, meta.graph_def, name), objects.concrete_functions[name]
    definition = graph_pb2.GraphDef(versions=meta.graph_def.versions)
    call = definition.node.add(name=_ANSWER, op=name)
    definition.library.function.extend(list_functions(meta.graph_def, [call]))
    _refuse_beyond(folder, definition)
    n_open = len(function.signature.input_arg) - len(concrete.bound_inputs)
    values = _read_objects(folder, objects, meta.graph_def, set(concrete.bound_inputs))
    weights = {}
    for i, argument in enumerate(function.signature.input_arg):
        node = definition.node.add(name=_IMAGES if i == place else f"{_OTHER}_{i}", op="Placeholder")
        node.attr["dtype"].type = argument.type
        if i >= n_open and (value := values.get(number := concrete.bound_inputs[i - n_open])) is not None:
            node.name = f"{_WEIGHT}_{number}"
            _describe_value(node, value)
            weights[node.name] = value
        call.input.append(node.name)
    trained = _children(objects.nodes[top["trainable_variables"]]) if "trainable_variables" in top else {}
    trainable = frozenset(f"{_WEIGHT}_{number}" for number in trained.values())
    output = f"{_ANSWER}:{_choose_output(folder, concrete.output_signature)}"
    return _take_out(folder, definition, output, (_IMAGES, images.dtype, images.shape), weights, trainable)


def _children(node: Any) -> dict[str, int]:
    return {child.local_name: child.node_id for child in node.children}


def _choose_function(folder: Path, objects: Any, names: Iterable[str]) -> tuple[str, int, Any]:
    """Return the function of images for prediction, which of its tensors they are, and their specification."""
    found: list[tuple[tuple[int, ...], tuple[str, int, Any]]] = []
    for name in names:
        leaves = list(_list_leaves(objects.concrete_functions[name].canonicalized_input_signature))
        tensors = [leaf.tensor_spec_value for leaf in leaves if leaf.WhichOneof("kind") == "tensor_spec_value"]
        # Those for training have `training=True`.
        n_flags = sum(leaf.bool_value for leaf in leaves if leaf.WhichOneof("kind") == "bool_value")
        for place, one in enumerate(tensors):
            if one.shape.unknown_rank or len(one.shape.dim) == 4:
                found.append(((n_flags, len(tensors), len(found)), (name, place, one)))
    if not found:
        raise BadInput(f"{folder} takes no images, (n, rows, cols, 3); give a module for images")
    return min(found, key=lambda one: one[0])[1]


def _list_leaves(value: Any) -> Iterator[Any]:
    """Yield the leaves of a structured value, in the order of TensorFlow."""
    kind = value.WhichOneof("kind")
    if kind in ("tuple_value", "list_value"):
        for inner in getattr(value, kind).values:
            yield from _list_leaves(inner)
    elif kind == "dict_value":
        for _, inner in sorted(value.dict_value.fields.items()):
            yield from _list_leaves(inner)
    else:
        yield value


def _choose_output(folder: Path, signature: Any) -> int:
    if signature.WhichOneof("kind") == "dict_value":
        names = sorted(signature.dict_value.fields)
        return names.index("default") if "default" in names else 0
    if len(list(_list_leaves(signature))) != 1:
        raise BadInput(f"{folder} gives several results for an image; give a module with one")
    return 0


def _find_function(folder: Path, definition: Any, name: str) -> Any:
    for function in definition.library.function:
        if function.signature.name == name:
            return function
    raise BadInput(f"{folder} is damaged: it has no function {name:.100}")


def _read_objects(folder: Path, objects: Any, definition: Any, wanted: set[int]) -> dict[int, np.ndarray]:
    """Return the values of variables and constants by their numbers among the objects."""
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    checkpoint = _Checkpoint(folder)
    stored = trackable_object_graph_pb2.TrackableObjectGraph.FromString(checkpoint.read("_CHECKPOINTABLE_OBJECT_GRAPH"))
    constants = {node.name: node for node in definition.node if node.op == "Const"}
    values: dict[int, np.ndarray] = {}
    # Objects have other numbers in the checkpoint, and the same names.
    pairs, seen = [(0, 0)], {0}
    while pairs:
        own, other = pairs.pop()
        keys = {one.name: one.checkpoint_key for one in stored.nodes[other].attributes}
        if own in wanted and "VARIABLE_VALUE" in keys:
            values[own] = checkpoint.read(keys["VARIABLE_VALUE"])
        there = _children(stored.nodes[other])
        for name, number in _children(objects.nodes[own]).items():
            if name in there and number not in seen:
                seen.add(number)
                pairs.append((number, there[name]))
    for number in wanted:
        if objects.nodes[number].WhichOneof("kind") == "constant":
            values[number] = _read_constant(constants[objects.nodes[number].constant.operation])
    return values


def _read_constant(node: Any) -> np.ndarray:
    import tensorflow as tf

    check_constants([node])
    return np.asarray(tf.make_ndarray(node.attr["value"].tensor))


# The TF1 format: a graph with variables, and signatures that name its tensors.


def _read_tf1(folder: Path, saved: Any) -> ModuleGraph:
    from tensorflow.core.framework import graph_pb2

    meta = next((meta for meta in saved.meta_graphs if not meta.meta_info_def.tags), None)
    signatures = meta.signature_def if meta is not None else {}
    name = FEATURE_SIGNATURE if FEATURE_SIGNATURE in signatures else "default"
    if meta is None or name not in signatures:
        offered = ", ".join(sorted(signatures)) or "none"
        raise BadInput(f"{folder} offers neither {FEATURE_SIGNATURE} nor default; its signatures: {offered}")
    outputs, inputs = signatures[name].outputs, signatures[name].inputs
    if len(inputs) != 1 or not outputs:
        raise BadInput(f"{folder} must take images, and nothing else, to give its features")
    source = next(iter(inputs.values())).name
    target = (outputs["default"] if "default" in outputs else next(iter(outputs.values()))).name
    definition = graph_pb2.GraphDef(versions=meta.graph_def.versions)
    definition.node.extend(list_needed(meta.graph_def.node, [source, target]))
    definition.library.function.extend(list_functions(meta.graph_def, definition.node))
    _refuse_beyond(folder, definition)
    checkpoint, weights = _Checkpoint(folder), {}
    images = None
    slices = _list_slices(meta)
    for node in definition.node:
        if node.op in _VARIABLE_OPS:
            shared = node.attr["shared_name"].s.decode() if node.op == "VarHandleOp" else ""
            weights[node.name] = checkpoint.read(shared or node.name, slices.get(node.name))
            _describe_value(node, weights[node.name])
        elif node.name == source.partition(":")[0] and node.op == "Placeholder":
            images = node.attr
    if images is None:
        raise BadInput(f"{folder} has no input for images")
    spec = (source.partition(":")[0], images["dtype"].type, images["shape"].shape)
    found = _take_out(folder, definition, target, spec, weights, frozenset())
    return replace(found, offers_features=name == FEATURE_SIGNATURE)


def _list_slices(meta: Any) -> dict[str, tuple[str, tuple[slice, ...]]]:
    """Return, for the parts of variables that were divided, the name of the whole and their place in it."""
    from tensorflow.core.framework import variable_pb2

    found = {}
    for content in meta.collection_def["variables"].bytes_list.value if "variables" in meta.collection_def else ():
        variable = variable_pb2.VariableDef.FromString(content)
        part = variable.save_slice_info_def
        if part.full_name:
            places = zip(part.var_offset, part.var_shape, strict=True)
            where = tuple(slice(start, start + size) for start, size in places)
            found[variable.variable_name.partition(":")[0]] = (part.full_name, where)
    return found


# Both formats.


def _refuse_beyond(folder: Path, definition: Any) -> None:
    """Raise BadInput where something that could run with the result could do more than compute."""
    try:
        refuse_unsafe_ops(folder, definition, allowed=SAFE_OPS | _IDLE_OPS)
    except BadInput as error:
        raise BadInput(f"{error}. If you know where it comes from: --trust-model") from error


def _take_out(
    folder: Path, definition: Any, output: str, images: tuple[str, int, Any], weights: Mapping[str, np.ndarray],
    trainable: frozenset[str],
) -> ModuleGraph:  # fmt: skip
    """Return what computes the output from images of a name, type and shape, once it is sure that it does no more."""
    import tensorflow as tf

    try:
        flat, (output,) = flatten(definition, [output])
        refuse_unsafe_ops("the rest", flat, allowed=SAFE_OPS)
        check_constants(flat.node)
    except BadInput as error:
        raise BadInput(f"{folder}: {error}. If you know where it comes from: --trust-model") from error
    name, dtype, shape = images
    inputs = {node.name for node in flat.node if node.op == "Placeholder"}
    if others := sorted(inputs - weights.keys() - {name}):
        raise BadInput(f"{folder} needs more than images: {', '.join(others[:8])}; give a module for images")
    sides = None if shape.unknown_rank else tuple(dim.size if dim.size > 0 else None for dim in shape.dim)
    used = {name: value for name, value in weights.items() if name in inputs}
    return ModuleGraph(flat, f"{name}:0", output, tf.as_dtype(dtype), sides, used, trainable & used.keys())


def _describe_value(node: Any, value: np.ndarray) -> None:
    """Make a node the placeholder of a value."""
    import tensorflow as tf

    node.op = "Placeholder"
    node.attr.clear()
    node.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
    node.attr["shape"].shape.CopyFrom(tf.TensorShape(value.shape).as_proto())


class _Checkpoint:
    """The variables of a module on disk."""

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        files = sorted((folder / "variables").glob("variables.*"))
        # What is stored takes its own size on disk: it is never compressed.
        self._bytes_left = sum(check_regular(path).stat().st_size for path in files)
        self._reader = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
        self._shapes, self._types = (
            self._reader.get_variable_to_shape_map(), self._reader.get_variable_to_dtype_map()
        )  # fmt: skip
        self._wholes: dict[str, Any] = {}

    def read(self, key: str, part: tuple[str, tuple[slice, ...]] | None = None) -> Any:
        """Return the value of a variable, or of a part of one that was divided."""
        if part is not None:
            whole, where = part
            self._wholes[whole] = self._wholes[whole] if whole in self._wholes else self.read(whole)
            return np.ascontiguousarray(self._wholes[whole][where])
        if key in self._shapes:
            self._bytes_left -= math.prod(self._shapes[key]) * self._types[key].size
        if self._bytes_left < 0:
            raise BadInput(f"its checkpoint claims to hold more than it can ({key:.100})")
        return self._reader.get_tensor(key)
