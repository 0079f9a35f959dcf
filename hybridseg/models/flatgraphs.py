"""Graphs without functions and branches: what a call does stands in its place, so that all that could run can be seen.

Only messages are read and written here; TensorFlow runs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from hybridseg.errors import BadInput, shorten

CALL_OPS = frozenset(("PartitionedCall", "StatefulPartitionedCall"))
# What reads a variable; `flatten` is given its value in place of the variable.
READ_OP = "ReadVariableOp"
# A branch sends a value one of two ways, and takes the one that comes.
_SWITCH, _MERGE = "Switch", "Merge"
# What leaves a value as it is; nothing but images is given to a placeholder, so that one with a default has that.
_PASSING = frozenset(("Identity", "PlaceholderWithDefault", "StopGradient"))
# Of the types of TensorFlow.
_BOOL = 10
# What TensorFlow itself writes into the graphs that it exports, besides what an operation computes. Any other attribute
# that begins with an underscore tells it how to run one, and may end the process.
_MUST_COMPILE = "_XlaMustCompile"
_NOTES = frozenset((
    "_class", "_collective_manager_ids", "_construction_context", "_disable_call_shape_inference", "_gradient_op_type",
    "_has_manual_control_dependencies", "_input_shapes", "_noinline", "_original_func_name", "_output_shapes",
    "_read_only_resource_inputs",
))  # fmt: skip
_MAX_NODES, _MAX_NESTING, _MAX_NAME = 200_000, 64, 5_000
# A function that is called often is copied often.
_MAX_GROWTH, _SPARE_BYTES = 2, 2**26


def flatten(definition: Any, outputs: Sequence[str]) -> tuple[Any, list[str]]:
    """Return the operations that some tensors need as a graph without functions, and what these are called in it.

    Left out is all that has no part in the numbers: control inputs, devices, the notes that TensorFlow writes beside an
    operation, and of a branch the side that is never taken, as that for training.

    Parameters
    ----------
    definition : GraphDef
    outputs : sequence of str
        Tensors, as ``name:0``.

    Raises
    ------
    BadInput
        When a function calls itself, is missing or is called like an operation, when a result depends on itself, a
        branch on more than constants, when an operation tells TensorFlow how to run it, or the graph is too large; the
        message does not name the file.
    """
    _refuse_hints(definition)
    flattener = _Flattener(definition)
    flattener.add(definition.node, "", _name_tensor, ())
    flattener.choose_branches(outputs)
    return flattener.extract(outputs)


def list_needed(nodes: Iterable[Any], outputs: Iterable[str]) -> list[Any]:
    """Return the nodes that could run when tensors are asked for: all that feeds them, or that they wait for."""
    by_name = {node.name: node for node in nodes}
    needed: dict[str, Any] = {}
    waiting = [_node_of(name) for name in outputs]
    while waiting:
        name = waiting.pop()
        if name in needed or name not in by_name:
            continue
        needed[name] = by_name[name]
        waiting += [_node_of(source) for source in by_name[name].input]
    return list(needed.values())


def list_functions(definition: Any, nodes: Iterable[Any]) -> list[Any]:
    """Return the functions that nodes name, in whatever way, and those that these name in turn."""
    functions = {one.signature.name: one for one in definition.library.function}
    found: dict[str, Any] = {}
    waiting = [*list_names(nodes)]
    while waiting:
        name = waiting.pop()
        if name in functions and name not in found:
            found[name] = functions[name]
            waiting += list_names(functions[name].node_def)
    return list(found.values())


def list_names(nodes: Iterable[Any]) -> Iterator[str]:
    """Yield every name that could be that of a function: of operations, and in attributes."""
    for node in nodes:
        yield node.op
        for value in node.attr.values():
            waiting = [value.func, *value.list.func]
            while waiting:
                function = waiting.pop()
                yield function.name
                for inner in function.attr.values():
                    waiting += [inner.func, *inner.list.func]


def _refuse_hints(definition: Any) -> None:
    functions = definition.library.function
    named = [(function.signature.name, function.attr) for function in functions]
    named += [
        (node.name, node.attr) for nodes in (definition.node, *(one.node_def for one in functions)) for node in nodes
    ]
    for where, attributes in named:
        for name in sorted(attributes):
            is_off = name == _MUST_COMPILE and attributes[name].WhichOneof("value") == "b" and not attributes[name].b
            if name.startswith("_") and name not in _NOTES and not is_off:
                raise BadInput(
                    f"{shorten(where)!r} has the attribute {shorten(name)!r}, which could change how TensorFlow runs "
                    "it; export the network without it"
                )


class _Flattener:
    def __init__(self, definition: Any) -> None:
        from tensorflow.python.framework import op_def_registry

        self.definition = definition
        self.find_op = op_def_registry.get
        self.functions = {one.signature.name: one for one in definition.library.function}
        if len(self.functions) < len(definition.library.function):
            raise BadInput("it holds two functions of one name")
        if shadows := sorted(name for name in self.functions if self.find_op(name) is not None):
            raise BadInput(f"it holds a function that is called like an operation, {shadows[0]:.100}")
        self.nodes: dict[str, Any] = {}
        # What nodes wait for: in a branch, whatever says that it is taken.
        self.controls: dict[str, list[str]] = {}
        self.bytes_left = _MAX_GROWTH * definition.ByteSize() + _SPARE_BYTES
        # What a tensor of a call, or of its arguments, is called where it is computed.
        self.sources: dict[str, str] = {}

    def add(self, nodes: Iterable[Any], scope: str, rename: Callable[[str], str], callers: tuple[str, ...]) -> None:
        """Add the nodes of the graph or of a function; `rename` gives tensors their names in a graph."""
        for node in nodes:
            sources = [scope + rename(source) for source in node.input if not source.startswith("^")]
            place = scope + node.name
            if place in self.nodes or f"{place}:0" in self.sources:
                raise BadInput(f"it holds two operations of one name, {place:.100}")
            if node.op in self.functions or node.op in CALL_OPS:
                self._add_call(node, place, sources, callers)
            elif node.op == READ_OP and len(sources) == 1:
                self.sources[f"{place}:0"] = sources[0]
            else:
                self.nodes[place] = self._strip(node, place, sources)
                self.controls[place] = [scope + source[1:] for source in node.input if source.startswith("^")]
            self.bytes_left -= node.ByteSize() + len(place)
            if len(self.nodes) + len(self.sources) > _MAX_NODES or len(place) > _MAX_NAME or self.bytes_left < 0:
                raise BadInput("it has far more operations than a network needs")

    def _add_call(self, node: Any, place: str, sources: Sequence[str], callers: tuple[str, ...]) -> None:
        name = node.op if node.op in self.functions else node.attr["f"].func.name
        function = self.functions.get(name)
        if function is None:
            raise BadInput(f"it calls a function that it does not hold, {name:.100}")
        if name in callers or len(callers) > _MAX_NESTING:
            raise BadInput("it holds a function that calls itself, or calls that are nested too deep")
        arguments, scope = [one.name for one in function.signature.input_arg], f"{place}-in/"
        if len(arguments) != len(sources) or {*arguments} & {one.name for one in function.node_def}:
            raise BadInput(f"it calls {name:.100} in a way that does not fit")
        self.sources.update((f"{scope}{one}:0", source) for one, source in zip(arguments, sources, strict=True))
        rename = self._rename_in(function, {*arguments})
        self.add(function.node_def, scope, rename, (*callers, name))
        for i, output in enumerate(function.signature.output_arg):
            self.sources[f"{place}:{i}"] = scope + rename(function.ret[output.name])

    def _rename_in(self, function: Any, arguments: set[str]) -> Callable[[str], str]:
        """Return what turns names of tensors in a function, ``node:output:0``, into those in a graph, ``node:0``."""
        first: dict[str, int] = {}
        for node in function.node_def:
            place = 0
            for output in self._outputs_of(node):
                first[f"{node.name}:{output.name}"] = place
                place += _count(output, node)

        def rename(name: str) -> str:
            if name in arguments:
                return f"{name}:0"
            node, _, rest = name.partition(":")
            output, _, index = rest.partition(":")
            if f"{node}:{output}" not in first or not (index or "0").isdecimal():
                raise BadInput(f"it uses a tensor that is not there, {name:.100}")
            return f"{node}:{first[f'{node}:{output}'] + int(index or 0)}"

        return rename

    def _outputs_of(self, node: Any) -> Sequence[Any]:
        if node.op in self.functions:
            return self.functions[node.op].signature.output_arg
        if (known := self.find_op(node.op)) is None:
            raise BadInput(f"it holds an operation that TensorFlow does not know, {node.op:.100}")
        return known.output_arg

    def _strip(self, node: Any, place: str, sources: Sequence[str]) -> Any:
        """Return a node with what it computes, and nothing else."""
        from tensorflow.core.framework import node_def_pb2

        stripped = node_def_pb2.NodeDef(name=place, op=node.op, input=sources)
        for name, value in node.attr.items():
            if value.WhichOneof("value") == "placeholder":
                raise BadInput(f"it holds an operation whose settings are left open, {place:.100}")
            if not name.startswith("_"):
                stripped.attr[name].CopyFrom(value)
        return stripped

    def choose_branches(self, outputs: Iterable[str]) -> None:
        """Replace each branch whose condition is constant by the side that is taken.

        Another branch would be taken for some images and not for others: no trial could tell what it does.
        """
        if not any(node.op in (_SWITCH, _MERGE) for node in self.nodes.values()):
            return
        known: dict[str, bool] = {}
        # Nodes and single tensors that are never computed.
        dead: set[str] = set()
        for name in _sort(self._list_needed(outputs, with_controls=True)):
            node = self.nodes[name]
            sources = [self._trace(source) for source in node.input]
            alive = [source for source in sources if not {source, _node_of(source)} & dead]
            if node.op == _MERGE:
                if len(alive) == 1:
                    self.sources[f"{name}:0"] = alive[0]
            elif node.op == _SWITCH and len(sources) == 2 and sources[1] in known:
                taken = int(known[sources[1]])
                self.sources[f"{name}:{taken}"] = sources[0]
                dead.add(f"{name}:{1 - taken}")
            elif (value := _find_truth(node, [known.get(source) for source in sources])) is not None:
                known[f"{name}:0"] = value
            is_held = len(alive) < len(sources) or not dead.isdisjoint(self.controls[name])
            if is_held if node.op != _MERGE else not alive:
                dead.add(name)
        if lost := [name for name in map(self._trace, outputs) if {name, _node_of(name)} & dead]:
            raise BadInput(f"its result is never computed ({lost[0]:.100} belongs to a branch that is not taken)")

    def extract(self, outputs: Iterable[str]) -> tuple[Any, list[str]]:
        """Return what the outputs need as a graph, and their names."""
        from tensorflow.core.framework import graph_pb2

        needed = self._list_needed(outputs)
        _sort(needed)
        for name in needed:
            node = self.nodes[name]
            if node.op in (_SWITCH, _MERGE):
                raise BadInput(f"what it computes depends on what is in an image: {name:.100} is a branch")
            node.input[:] = [self._trace(source).removesuffix(":0") for source in node.input]
        flat = graph_pb2.GraphDef(node=[node for name, node in self.nodes.items() if name in needed])
        flat.versions.CopyFrom(self.definition.versions)
        return flat, [self._trace(output) for output in outputs]

    def _list_needed(self, outputs: Iterable[str], *, with_controls: bool = False) -> dict[str, list[str]]:
        """Return the names of the nodes that some tensors need, and of those that each of them needs."""
        needed: dict[str, list[str]] = {}
        waiting = [_node_of(self._trace(output)) for output in outputs]
        while waiting:
            name = waiting.pop()
            if name in needed:
                continue
            if name not in self.nodes:
                raise BadInput(f"it is damaged: it needs {name:.100}, which is not there")
            needed[name] = [_node_of(self._trace(source)) for source in self.nodes[name].input]
            if with_controls:
                needed[name] += [source for source in self.controls[name] if source in self.nodes]
            waiting += needed[name]
        return needed

    def _trace(self, name: str) -> str:
        """Return where a tensor is computed."""
        name, seen = _name_tensor(name), set()
        while name in self.sources:
            if name in seen:
                raise BadInput("it holds a loop")
            seen.add(name)
            name = self.sources[name]
        return name


def _name_tensor(name: str) -> str:
    return name if ":" in name else f"{name}:0"


def _sort(needed: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the names of nodes so that each comes after those that it needs."""
    try:
        return list(TopologicalSorter(needed).static_order())
    except CycleError:
        raise BadInput("it holds a loop") from None


def _find_truth(node: Any, values: Sequence[bool | None]) -> bool | None:
    """Return the truth value that a node has for all images; None for any other. Its inputs have these values."""
    if node.op == "Const":
        tensor = node.attr["value"].tensor
        stored = tensor.tensor_content or bytes(tensor.bool_val) or b"\x00"
        is_single = tensor.dtype == _BOOL and not tensor.tensor_shape.dim and len(stored) == 1
        return bool(stored[0]) if is_single else None
    if len(values) != 1 or values[0] is None:
        return None
    if node.op == "LogicalNot":
        return not values[0]
    return values[0] if node.op in _PASSING else None


def _node_of(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]


def _count(output: Any, node: Any) -> int:
    """Return how many tensors an output of an operation stands for."""
    if output.number_attr:
        return int(node.attr[output.number_attr].i) if output.number_attr in node.attr else 1
    if output.type_list_attr:
        return len(node.attr[output.type_list_attr].list.type) if output.type_list_attr in node.attr else 1
    return 1
