"""Engines that run a frozen graph: LiteRT where it can (fast, and exact to rounding), TensorFlow otherwise.

The measurements are in docs/decisions/008-classifier-engine.md.
"""

from __future__ import annotations

import logging
from typing import Any, Protocol

import numpy as np

from hybridseg.machine import count_cores
from hybridseg.models.graphs import FrozenGraph
from hybridseg.models.startup import hold_messages

logger = logging.getLogger(__name__)

LITE_BATCH, TENSORFLOW_BATCH = 16, 32
_AGREEMENT = 1e-3


class Engine(Protocol):
    """Anything that classifies tiles."""

    name: str

    def classify(self, tiles: np.ndarray) -> np.ndarray:
        """Return (n, n_classes) float32 probabilities of (n, size, size, 3) float32 tiles in 0..1, at least one."""
        ...


class TensorFlowEngine:
    """Runs a graph as it is, in batches of the size that the graph requires, if any."""

    name = "tensorflow"

    def __init__(self, graph: FrozenGraph) -> None:
        import tensorflow as tf

        loaded = tf.Graph()
        with loaded.as_default():
            tf.import_graph_def(graph.definition, name="")
        self._session = tf.compat.v1.Session(graph=loaded)
        self._graph = graph
        self._batch = graph.batch_size or TENSORFLOW_BATCH

    def classify(self, tiles: np.ndarray) -> np.ndarray:
        """Return the probabilities of tiles."""
        parts = []
        for start in range(0, len(tiles), self._batch):
            batch = tiles[start : start + self._batch]
            n = len(batch)
            if self._graph.batch_size and n < self._batch:
                batch = np.concatenate([batch, np.zeros((self._batch - n, *batch.shape[1:]), np.float32)])
            parts.append(self._session.run(self._graph.output_name, {self._graph.input_name: batch})[:n])
        return np.concatenate(parts)


class LiteEngine:
    """Runs a graph that was converted for LiteRT, on all cores."""

    name = "litert"

    def __init__(self, content: bytes) -> None:
        from ai_edge_litert.interpreter import Interpreter

        with hold_messages():
            self._interpreter = Interpreter(model_content=content, num_threads=count_cores())
            self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]["index"]
        self._n = 0

    def classify(self, tiles: np.ndarray) -> np.ndarray:
        """Return the probabilities of tiles."""
        parts = []
        for start in range(0, len(tiles), LITE_BATCH):
            batch = tiles[start : start + LITE_BATCH]
            if len(batch) != self._n:
                self._n = len(batch)
                self._interpreter.resize_tensor_input(self._input["index"], list(batch.shape))
                self._interpreter.allocate_tensors()
            self._interpreter.set_tensor(self._input["index"], batch)
            self._interpreter.invoke()
            parts.append(self._interpreter.get_tensor(self._output))
        return np.concatenate(parts)


def convert_graph(graph: FrozenGraph) -> bytes | None:
    """Return a graph converted for LiteRT; None when LiteRT does not support it."""
    import tensorflow as tf

    if graph.tile_size is None or graph.batch_size is not None:
        return None
    names = [graph.input_name.split(":")[0]], [graph.output_name.split(":")[0]]
    try:
        return _make_converter(tf, graph, *names).convert()
    # The converter raises its own and TensorFlow's errors for whatever it does not support.
    except Exception as error:
        logger.debug("LiteRT does not support this graph: %s", error)
        return None


def choose_engine(graph: FrozenGraph, lite_content: bytes | None = None) -> Engine:
    """Return the fastest engine that agrees with TensorFlow on a random batch."""
    reference = TensorFlowEngine(graph)
    content = lite_content or convert_graph(graph)
    if content is None:
        return reference
    try:
        lite = LiteEngine(content)
        size = graph.tile_size or 0
        probe = np.random.default_rng(0).random((3, size, size, 3), dtype=np.float32)
        if np.abs(lite.classify(probe) - reference.classify(probe)).max() <= _AGREEMENT:
            return lite
        logger.debug("LiteRT and TensorFlow disagree: LiteRT is not used")
    except (ImportError, RuntimeError, ValueError) as error:
        logger.debug("LiteRT cannot be used: %s", error)
    return reference


def _make_converter(tf: Any, graph: FrozenGraph, inputs: list[str], outputs: list[str]) -> Any:
    def import_graph() -> Any:
        tf.import_graph_def(graph.definition, name="")

    wrapped = tf.compat.v1.wrap_function(import_graph, [])
    pruned = wrapped.prune(
        [wrapped.graph.as_graph_element(f"{name}:0") for name in inputs],
        [wrapped.graph.as_graph_element(f"{name}:0") for name in outputs],
    )
    return tf.lite.TFLiteConverter.from_concrete_functions([pruned], wrapped)
