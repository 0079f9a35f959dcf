"""What a frozen graph from elsewhere could do besides computing: it is refused or removed before TensorFlow runs it."""

from pathlib import Path

import numpy as np
import pytest

from hybridseg.errors import BadInput
from hybridseg.models.engines import TensorFlowEngine
from hybridseg.models.graphs import parse_graph

pytestmark = pytest.mark.slow


@pytest.fixture
def graph():
    """A classifier without weights: the mean of the colours is all that it sees."""
    import tensorflow as tf

    with tf.Graph().as_default() as built:
        images = tf.compat.v1.placeholder(tf.float32, (None, 8, 8, 3), name="Placeholder")
        tf.nn.softmax(tf.reduce_mean(images, (1, 2)), name="final_result")
    return built.as_graph_def()


def call(graph, name, **functions):
    """Put a call of a function in place of the softmax; functions are dicts of names to the operations inside."""
    for own, ops in functions.items():
        added = graph.library.function.add()
        added.signature.name, added.ret["result"] = own, "inner_0"
        added.signature.input_arg.add(name="values", type=1)
        added.signature.output_arg.add(name="result", type=1)
        for i, op in enumerate(ops):
            node = added.node_def.add(name=f"inner_{i}", op=op, input=["values"])
            node.attr["T"].type = 1
        known = added.node_def[0].op if ops else ""
        added.ret["result"] = {"Softmax": "inner_0:softmax:0"}.get(known, "inner_0:result:0")
    end = next(node for node in graph.node if node.name == "final_result")
    end.op = name
    end.attr.clear()
    return graph.SerializeToString()


@pytest.mark.parametrize("functions", [{"start": ("next",), "next": ("start",)}, {"start": ("start",)}])
def test_functions_that_call_themselves(graph, functions):
    with pytest.raises(BadInput, match=r"a\.pb: it holds a function that calls itself"):
        parse_graph(Path("a.pb"), call(graph, "start", **functions))


def test_a_function_called_through_an_attribute(graph):
    content = call(graph, "start", start=("PartitionedCall",))
    graph.library.function[0].node_def[0].attr["f"].func.name = "start"
    graph.library.function[0].ret["result"] = "inner_0:output:0"
    with pytest.raises(BadInput, match="calls itself"):
        parse_graph(Path("a.pb"), graph.SerializeToString())
    assert content != graph.SerializeToString()


def test_functions_that_call_others(graph):
    """What they do stands where they were called, with all that they are given."""
    content = call(graph, "start", start=("next", "Relu"), next=("Softmax",))
    found = parse_graph(Path("a.pb"), content)
    tiles = np.random.default_rng(0).random((2, 8, 8, 3), dtype=np.float32)
    powers = np.exp(tiles.mean((1, 2)))
    assert not found.definition.library.function and found.output_name == "final_result-in/inner_0-in/inner_0:0"
    assert np.allclose(TensorFlowEngine(found).classify(tiles), powers / powers.sum(axis=1, keepdims=True))
    assert "Relu" not in {node.op for node in found.definition.node}, "no part of the result"


def test_calls_that_multiply_without_an_end(graph):
    functions = {f"f{i}": (f"f{i + 1}",) * 4 for i in range(30)}
    with pytest.raises(BadInput, match="far more operations than a network needs"):
        parse_graph(Path("a.pb"), call(graph, "f0", **functions, f30=("Softmax",)))


@pytest.mark.parametrize("name", ["WriteFile", "Identity", "Softmax"])
def test_a_function_called_like_an_operation_hides_nothing(graph, name):
    with pytest.raises(BadInput, match=rf"a function that is called like an operation, {name}"):
        parse_graph(Path("a.pb"), call(graph, name, **{name: ("Relu",)}))


def test_loops(graph):
    graph.node.add(name="start", op="Enter", input=["Mean"]).attr["T"].type = 1
    with pytest.raises(BadInput, match=r"holds a loop, .*: Enter; it is not loaded; get the model"):
        parse_graph(Path("a.pb"), graph.SerializeToString())
    del graph.node[-1]
    for name, source in (("a", "b"), ("b", "a")):
        graph.node.add(name=name, op="Relu", input=[source]).attr["T"].type = 1
    next(node for node in graph.node if node.name == "final_result").input[0] = "a"
    with pytest.raises(BadInput, match="it holds a loop"):
        parse_graph(Path("a.pb"), graph.SerializeToString())


def test_a_small_file_with_a_large_constant(graph):
    """One number and a shape are a constant of any size."""
    value = next(node for node in graph.node if node.op == "Const").attr["value"].tensor
    value.tensor_content = b""
    del value.tensor_shape.dim[:]
    for size in (30_000, 30_000):
        value.tensor_shape.dim.add(size=size)
    value.int_val.append(1)
    with pytest.raises(BadInput, match="constants that take more memory than any network"):
        parse_graph(Path("a.pb"), graph.SerializeToString())


@pytest.mark.parametrize("name", ["_XlaMustCompile", "_kernel", "_XlaCompile", "_tpu_replicate", "_any"])
@pytest.mark.parametrize("place", ["graph", "function", "inside"])
def test_hints_for_how_to_run_an_operation_are_refused(graph, name, place):
    call(graph, "start", start=("Softmax",))
    function = graph.library.function[0]
    where = {"graph": graph.node[-1], "function": function, "inside": function.node_def[0]}[place]
    where.attr[name].b = True
    own = {"graph": "final_result", "function": "start", "inside": "inner_0"}[place]
    with pytest.raises(BadInput, match=rf"a\.pb: '{own}' has the attribute '{name}', which could change how"):
        parse_graph(Path("a.pb"), graph.SerializeToString())


def test_what_tensorflow_notes_beside_an_operation_is_left_out(graph):
    node = next(node for node in graph.node if node.name == "final_result")
    node.attr["_class"].list.s.append(b"loc:@any")
    node.attr["_output_shapes"].list.shape.add(unknown_rank=True)
    node.attr["_XlaMustCompile"].b = False
    node.device = "/job:worker/task:7/device:GPU:9"
    found = parse_graph(Path("a.pb"), graph.SerializeToString()).definition
    assert not [name for one in found.node for name in one.attr if name.startswith("_") or one.device]
    assert found.node[-1].attr["T"] == node.attr["T"], "what it computes stays"
    node.attr["_XlaMustCompile"].s = b""
    with pytest.raises(BadInput, match="'_XlaMustCompile'"):
        parse_graph(Path("a.pb"), graph.SerializeToString())


def branch(decide, *, is_constant):
    """A classifier with two branches as TensorFlow 1 wrote them; `is_constant` gives one of them no input at all."""
    import tensorflow as tf

    v1 = tf.compat.v1
    control_flow = tf.Graph()
    with control_flow.as_default():
        v1.disable_control_flow_v2()
        try:
            images = v1.placeholder(tf.float32, (None, 8, 8, 3), name="Placeholder")
            scores, taken = tf.reduce_mean(images, (1, 2)), decide(images)
            scores = v1.cond(taken, lambda: 5 * scores, lambda: scores)
            if is_constant:
                scores *= v1.cond(taken, lambda: tf.constant(3.0), lambda: tf.constant(2.0))
            tf.nn.softmax(scores, name="final_result")
        finally:
            v1.enable_control_flow_v2()
    definition = control_flow.as_graph_def()
    assert {"Switch", "Merge"} <= {node.op for node in definition.node}
    return control_flow, definition.SerializeToString()


@pytest.mark.parametrize("is_constant", [False, True])
@pytest.mark.parametrize("number", range(4))
def test_branches_that_constants_decide(number, is_constant):
    """Those of dropout and batch normalization: what is taken stays, and is what TensorFlow computes."""
    import tensorflow as tf

    ways = (
        lambda _: tf.constant(False),
        lambda _: tf.constant(True),
        lambda _: tf.compat.v1.placeholder_with_default(False, (), name="is_training"),
        lambda _: tf.identity(tf.logical_not(tf.compat.v1.placeholder_with_default(False, ()))),
    )
    built, content = branch(ways[number], is_constant=is_constant)
    found = parse_graph(Path("a.pb"), content)
    assert not {"Switch", "Merge"} & {node.op for node in found.definition.node}
    tiles = np.random.default_rng(0).random((2, 8, 8, 3), dtype=np.float32)
    with tf.compat.v1.Session(graph=built) as session:
        expected = session.run("final_result:0", {"Placeholder:0": tiles})
    assert np.allclose(TensorFlowEngine(found).classify(tiles), expected, atol=1e-6)


@pytest.mark.parametrize("is_constant", [False, True])
def test_branches_that_pixels_decide(is_constant):
    """No trial can tell what the other branch does."""
    import tensorflow as tf

    _, content = branch(lambda images: tf.reduce_min(images) >= 1, is_constant=is_constant)
    with pytest.raises(BadInput, match=r"^a\.pb: what it computes depends on .* in an image: \S+ is a branch; get"):
        parse_graph(Path("a.pb"), content)


def test_a_result_in_a_branch_that_is_never_taken(graph):
    graph.node.add(name="no", op="Const").attr["value"].tensor.dtype = 10
    switch = graph.node.add(name="switch", op="Switch", input=["Mean", "no"])
    switch.attr["T"].type = 1
    end = next(node for node in graph.node if node.name == "final_result")
    end.input[0] = "switch:1"
    with pytest.raises(BadInput, match=r"its result is never computed \(final_result"):
        parse_graph(Path("a.pb"), graph.SerializeToString())
    end.input[0] = "switch"
    assert {node.op for node in parse_graph(Path("a.pb"), graph.SerializeToString()).definition.node} == {
        "Const", "Mean", "Placeholder", "Softmax",
    }  # fmt: skip


def test_every_batch_has_the_size_that_was_tried():
    """A graph could take all memory for 31 tiles and none for 32."""
    import tensorflow as tf

    with tf.Graph().as_default() as built:
        images = tf.compat.v1.placeholder(tf.float32, (None, 8, 8, 3), name="Placeholder")
        n = tf.cast(tf.shape(images)[0], tf.float32)
        tf.identity(tf.reduce_mean(images, (1, 2)) * 0 + n, name="final_result")
    engine = TensorFlowEngine(parse_graph(Path("a.pb"), built.as_graph_def().SerializeToString()))
    for n_tiles in (1, 31, 33):
        assert (engine.classify(np.zeros((n_tiles, 8, 8, 3), np.float32)) == 32).all()
