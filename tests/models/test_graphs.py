"""What a frozen graph from elsewhere could do besides computing: it is refused or removed before TensorFlow runs it."""

from pathlib import Path

import pytest

from hybridseg.errors import BadInput
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


def call(graph, name, **function):
    """Add a call of a function, as a dict of names to the operations inside, to a graph."""
    for own, ops in {name: (), **function}.items():
        added = graph.library.function.add()
        added.signature.name = own
        for i, op in enumerate(ops):
            added.node_def.add(name=f"inner_{i}", op=op)
    graph.node.add(name="call", op=name)
    return graph.SerializeToString()


def test_functions_that_call_themselves(graph):
    with pytest.raises(BadInput, match=r"a\.pb holds a function that calls itself; it is not loaded"):
        parse_graph(Path("a.pb"), call(graph, "start", start=("next",), next=("start",)))


def test_a_function_called_through_an_attribute(graph):
    function = graph.library.function.add()
    function.signature.name = "own"
    node = function.node_def.add(name="inner", op="PartitionedCall")
    node.attr["f"].func.name = "own"
    with pytest.raises(BadInput, match="calls itself"):
        parse_graph(Path("a.pb"), graph.SerializeToString())


def test_functions_that_call_others(graph):
    content = call(graph, "start", start=("next", "next"), next=("Identity",))
    assert parse_graph(Path("a.pb"), content).output_name == "final_result:0"


def test_a_function_called_like_an_operation_hides_nothing(graph):
    with pytest.raises(BadInput, match="could access files, the network or Python: WriteFile"):
        parse_graph(Path("a.pb"), call(graph, "WriteFile"))


def test_hints_for_a_compiler_are_removed(graph):
    node = next(node for node in graph.node if node.name == "final_result")
    node.attr["_XlaMustCompile"].b = True
    node.attr["_kernel"].s = b"any"
    found = parse_graph(Path("a.pb"), graph.SerializeToString()).definition
    assert not [name for one in found.node for name in one.attr if name.startswith("_")]
    assert found.node[-1].attr["T"] == node.attr["T"], "what it computes stays"
