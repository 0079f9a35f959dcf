"""What runs a network: LiteRT, without TensorFlow, and TensorFlow itself, as the reference and for what LiteRT lacks.

All that an engine knows of a network is its graph, and all that the rest of the package knows of an engine is
`Engine`. The measurements are in docs/decisions/008-classifier-engine.md.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hybridseg.errors import BadInput
from hybridseg.machine import count_cores
from hybridseg.models.litegraphs import check_lite, fit_lite, weigh_lite
from hybridseg.models.startup import hold_messages

if TYPE_CHECKING:
    import tf_keras

    from hybridseg.models.graphs import FrozenGraph

LITERT, TENSORFLOW = "litert", "tensorflow"
ENGINES = (LITERT, TENSORFLOW)
# In LiteRT, more than 8 tiles no longer fit the cache, and take longer to set up.
LITE_BATCH, TENSORFLOW_BATCH = 8, 32
_MAX_DIFFERENCE, _LEAST_AGREEMENT = 1e-3, 0.999
# Images that a runtime graph may want at once, as it always gets so many.
_MAX_BATCH = 256
# How far the sum of probabilities may be from 1; and what no picture has once it is normalized.
_MAX_ERROR, _FAR = 1e-3, 1e6
# How TensorFlow writes the place of a failure.
_PLACE = re.compile(r"\{\{.*?\}\} ?")


class Engine(Protocol):
    """Anything that classifies images: tiles as wholes, or each of their pixels."""

    name: str

    def classify(self, images: np.ndarray) -> np.ndarray:
        """Return class probabilities.

        Parameters
        ----------
        images : numpy.ndarray
            (n, rows, cols, bands) float32 as the network takes them, at least one.

        Returns
        -------
        numpy.ndarray
            (n, n_classes) float32 for a tile classifier, (n, rows, cols, n_classes) for a dense network.
        """
        ...


def classify(engine: Engine, images: np.ndarray, *, model: object) -> np.ndarray:
    """Return the class probabilities that an engine gives, once they are sure to be some.

    Parameters
    ----------
    model : object
        What it runs, for messages.

    Raises
    ------
    BadInput
        When the model fails on these images, or gives something else.
    MemoryError
        When they take more memory than there is.
    """
    with explained_failures(model, "classify this picture"):
        found = engine.classify(images)
    table = found.reshape(-1, found.shape[-1])
    # As a product, which is far quicker than a sum of a few columns. NaN fails both comparisons.
    sums = table @ np.ones(table.shape[1], table.dtype)
    if np.abs(sums - 1).max() <= _MAX_ERROR and table.min() >= 0:
        return found
    # Not that of the model, if its inputs are none: comparisons as above.
    if not np.abs(np.asarray(images)).max() <= _FAR:
        raise BadInput(f"{model} cannot classify this picture: it holds values that are infinite or far too large")
    if not np.isfinite(table).all():
        raise BadInput(
            f"{model} gives results that are not numbers: its weights, or the numbers of its card, are damaged; copy "
            "all of its files again, or train again"
        )
    raise BadInput(
        f"{model} gives no probabilities: they are from 0 to 1 and sum to 1, and its results are from "
        f"{table.min():.3g} to {table.max():.3g} with sums up to {sums.max():.3g}; export it with its softmax"
    )


@contextmanager
def explained_failures(model: object, task: str) -> Iterator[None]:
    """Turn what LiteRT and TensorFlow raise while a model works into one sentence: it cannot do this `task`."""
    try:
        yield
    except Exception as error:
        kind = type(error)
        is_theirs = kind.__module__.startswith("tensorflow") or kind in (ValueError, RuntimeError, IndexError)
        if not is_theirs:
            raise
        if kind.__name__ == "ResourceExhaustedError":
            raise MemoryError(str(error)) from error
        lines = [line for line in str(error).splitlines() if line.strip()] or [kind.__name__]
        # Both say where as well: TensorFlow in lines before and after, LiteRT in the same line.
        places = [i for i, line in enumerate(lines) if i and "[[" in line]
        line = lines[places[0] - 1 if places else 0]
        reason = _PLACE.sub("", line.partition("Node number")[0]).strip()
        raise BadInput(f"{model} cannot {task} ({reason:.200}); use another model") from error


class LiteEngine:
    """Runs a runtime graph on all cores, whatever the size of the images.

    Parameters
    ----------
    content : bytes
    guard : callable or None
        Called before it is run: with None for images of its own size, and with the shape of others. Raises what speaks
        against it. None for a graph that was made here.

    Raises
    ------
    BadInput
        When it is not such a graph, or not one that is safe to run; the message does not name it.
    """

    name = LITERT

    def __init__(self, content: bytes, *, guard: Callable[[tuple[int, ...] | None], None] | None = None) -> None:
        check_lite(content)
        self._guard = guard
        if guard is not None:
            guard(None)
        self._content = content
        self._interpreter = self._open(content)
        try:
            inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        except UnicodeDecodeError as error:
            raise BadInput("it has a name that is no text") from error
        sides = [len(one["shape_signature"]) for one in (*inputs, *outputs)]
        if len(inputs) != 1 or len(outputs) != 1 or sides[0] != 4 or not sides[1]:
            raise BadInput("it does not take one image and give one result")
        self._input, self._output = inputs[0], outputs[0]["index"]
        self.input_name: str = self._input["name"]
        # -1 where the graph leaves it open.
        self.n_outputs = int(outputs[0]["shape_signature"][-1])
        n, self.n_rows, self.n_cols, self.n_bands = (int(size) for size in self._input["shape_signature"])
        if n > _MAX_BATCH:
            raise BadInput(f"it takes {n:,} images at once, more than {_MAX_BATCH}; convert it for one image at a time")
        self._batch = n if n > 0 else LITE_BATCH
        self._is_fixed = n > 0
        self._fitted: tuple[int, ...] = ()
        self._pixel_bytes: float | None = None

    def count_bytes(self, n_pixels: int | None = None) -> int:
        """Return about how many bytes it takes to classify so many pixels at once; None: those that it has already."""
        if self._pixel_bytes is None:
            self._pixel_bytes = weigh_lite(self._content)
        if n_pixels is None:
            n_pixels = math.prod(self._fitted[:3]) if self._fitted else 0
        return round(self._pixel_bytes * n_pixels)

    @property
    def shape(self) -> tuple[int, ...]:
        """That of a batch of images of the graph's own size."""
        return (self._batch, self.n_rows, self.n_cols, self.n_bands)

    def classify(self, images: np.ndarray) -> np.ndarray:
        """Return the probabilities."""
        return run_in_batches(self._run, images, self._batch, fill=self._is_fixed)

    def _run(self, batch: np.ndarray) -> np.ndarray:
        if batch.shape != self._fitted:
            self._fit(batch.shape)
        self._interpreter.set_tensor(self._input["index"], batch)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output)

    def _fit(self, shape: tuple[int, ...]) -> None:
        # What was tried with larger images needs no more for these.
        if self._guard is not None and any(map(operator.gt, shape, self.shape)):
            self._guard(shape)
        sides = (shape[1], shape[2])
        # The last interpreter may be of another size than the graph that is kept.
        if sides != (self._fitted[1:3] or (self.n_rows, self.n_cols)):
            is_own = sides == (self.n_rows, self.n_cols)
            self._interpreter = self._open(self._content if is_own else fit_lite(self._content, sides))
        self._fitted = ()
        with hold_messages():
            self._interpreter.resize_tensor_input(self._input["index"], list(shape))
            self._interpreter.allocate_tensors()
        self._fitted = shape

    @staticmethod
    def _open(content: bytes) -> Any:
        from ai_edge_litert.interpreter import Interpreter

        try:
            with hold_messages():
                return Interpreter(model_content=content, num_threads=count_cores())
        except (ValueError, RuntimeError) as error:
            raise BadInput(f"LiteRT cannot run it ({str(error).splitlines()[0]})") from error


class TensorFlowEngine:
    """Runs a frozen graph as it is, in batches of one size: that with which one from elsewhere was tried.

    What it takes may depend on how many images there are, and be little for 32 of them and all memory for 31.
    """

    name = TENSORFLOW

    def __init__(self, graph: FrozenGraph) -> None:
        import tensorflow as tf

        loaded = tf.Graph()
        with loaded.as_default():
            tf.import_graph_def(graph.definition, name="")
        self._session = tf.compat.v1.Session(graph=loaded)
        self._graph = graph

    def classify(self, images: np.ndarray) -> np.ndarray:
        """Return the probabilities."""
        return run_in_batches(self._run, images, self._graph.batch_size or TENSORFLOW_BATCH, fill=True)

    def _run(self, batch: np.ndarray) -> np.ndarray:
        if self._graph.is_signed:
            batch = batch * np.float32(2) - np.float32(1)
        found: np.ndarray = self._session.run(self._graph.output_name, {self._graph.input_name: batch})
        return found


class NetworkEngine:
    """Runs a network of Keras that returns scores, with the weights that it has at the moment."""

    name = TENSORFLOW

    def __init__(self, network: tf_keras.Model) -> None:
        import tensorflow as tf

        specification = tf.TensorSpec([None, None, None, network.input_shape[-1]], tf.float32)
        self._classify = tf.function(
            lambda pixels: classify_pixels(network, pixels), input_signature=[specification], autograph=False
        )

    def classify(self, images: np.ndarray) -> np.ndarray:
        """Return the probabilities."""
        found: np.ndarray = self._classify(images).numpy()
        return found


def classify_pixels(network: tf_keras.Model, pixels: Any) -> Any:
    """Return the class probabilities of pixels as a tensor."""
    import tensorflow as tf

    return tf.nn.softmax(class_scores(network(pixels, training=False)))


def class_scores(outputs: Any) -> Any:
    """Return the scores of all classes: one output is the score of the second class; the first then has 0."""
    import tensorflow as tf

    # Not by joining zeros, which a frozen graph would hold for images of one size.
    return tf.pad(outputs, [[0, 0], [0, 0], [0, 0], [1, 0]]) if outputs.shape[-1] == 1 else outputs


def run_in_batches(
    run: Callable[[np.ndarray], np.ndarray], images: np.ndarray, size: int, *, fill: bool = False
) -> np.ndarray:
    """Run images in batches of a size; `fill` completes the last one for a graph that takes no smaller one."""
    parts = []
    for start in range(0, len(images), size):
        batch = images[start : start + size]
        n = len(batch)
        if fill and n < size:
            batch = np.concatenate([batch, np.zeros((size - n, *batch.shape[1:]), np.float32)])
        parts.append(run(batch)[:n])
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def do_agree(engine: Engine, reference: Engine, probes: Sequence[np.ndarray]) -> bool:
    """Return whether two engines say the same of every batch, to a thousandth, and of 999 in 1000 the same class."""
    for images in probes:
        found, expected = engine.classify(images), reference.classify(images)
        if found.shape != expected.shape or not np.abs(found - expected).max() <= _MAX_DIFFERENCE:
            return False
        if (found.argmax(axis=-1) == expected.argmax(axis=-1)).mean() < _LEAST_AGREEMENT:
            return False
    return True
