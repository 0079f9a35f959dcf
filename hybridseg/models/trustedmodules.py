"""TensorFlow Hub modules that are trusted: TensorFlow loads them as it always does, and runs all that is in them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from hybridseg.errors import BadInput
from hybridseg.models.hubmodules import FEATURE_SIGNATURE, LoadedModule


def load_trusted(folder: Path, *, trainable: bool) -> LoadedModule:
    """Load a module in the TF2 or the TF1 format.

    Raises
    ------
    BadInput
        When it offers no features; TensorFlow raises many other errors.
    """
    return _load_tf1(folder) if (folder / "tfhub_module.pb").exists() else _load_tf2(folder, trainable=trainable)


def import_hub() -> Any:
    """Import tensorflow-hub without its warning about the deprecated pkg_resources."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "pkg_resources is deprecated", UserWarning)
        import tensorflow_hub
    return tensorflow_hub


def _load_tf1(folder: Path) -> LoadedModule:
    """Return a module as a function of constants: functions of TF2 cannot hold the variables of a TF1 module."""
    import tensorflow as tf

    v1 = tf.compat.v1
    graph = tf.Graph()
    with graph.as_default(), v1.Session() as session:
        signatures = v1.saved_model.load(session, [], str(folder)).signature_def
        name = FEATURE_SIGNATURE if FEATURE_SIGNATURE in signatures else "default"
        if name not in signatures:
            offered = ", ".join(signatures) or "none"
            raise BadInput(f"{folder} offers neither {FEATURE_SIGNATURE} nor default; its signatures: {offered}")
        outputs = signatures[name].outputs
        source = next(iter(signatures[name].inputs.values())).name
        target = (outputs["default"] if "default" in outputs else next(iter(outputs.values()))).name
        frozen = v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), [target.split(":")[0]])
    wrapped = v1.wrap_function(lambda: tf.import_graph_def(frozen, name=""), [])
    function = wrapped.prune(wrapped.graph.as_graph_element(source), wrapped.graph.as_graph_element(target))
    images = function.inputs[0]
    offers_features = name == FEATURE_SIGNATURE
    return LoadedModule(function, images.dtype, _list_sides(images.shape), [], function, offers_features)


def _load_tf2(folder: Path, *, trainable: bool) -> LoadedModule:
    import tensorflow as tf

    hub = import_hub()
    module = hub.load(str(folder))
    # Without a name, the layer is called by a count, and the same module would freeze to other bytes.
    layer = hub.KerasLayer(module, trainable=trainable, name="module")
    images = _find_call_input(module)

    def call(pixels: Any) -> Any:
        output = layer(pixels, training=False)
        return output.get("default", next(iter(output.values()))) if isinstance(output, dict) else output

    dtype, shape = (tf.float32, None) if images is None else (images.dtype, _list_sides(images.shape))
    return LoadedModule(call, dtype, shape, list(layer.trainable_variables), (module, layer))


def _find_call_input(module: Any) -> Any:
    """Return the tensor specification of the images that a TF2 module takes, if it has one."""
    import tensorflow as tf

    functions = getattr(module.__call__, "concrete_functions", []) if callable(module) else []
    for function in functions:
        for spec in tf.nest.flatten(function.structured_input_signature):
            if isinstance(spec, tf.TensorSpec) and spec.shape.rank == 4:
                return spec
    return None


def _list_sides(shape: Any) -> tuple[int | None, ...] | None:
    return None if shape.rank is None else tuple(shape)
