"""The network that turns a tile into features: the built-in MobileNetV2, or a TensorFlow Hub module from elsewhere."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hybridseg.errors import BadInput, HybridSegError, MissingInput, OutputExists, WriteFailed
from hybridseg.io.archives import unpack_archive
from hybridseg.io.atomic import atomic_folder, claim_folder
from hybridseg.io.locks import holds_files, lock_output, own_partial, remove_leftovers
from hybridseg.models.graphs import CHECKPOINT_OPS, SAFE_OPS, refuse_unsafe_ops
from hybridseg.models.startup import import_tensorflow
from hybridseg.progress import say_if_slow

BUILTIN = "builtin:mobilenet_v2"
DEFAULT_INPUT_SIZE = 160
_FEATURE_SIGNATURE = "image_feature_vector"


@dataclass(frozen=True, eq=False)
class Backbone:
    """A network without its last layer.

    Parameters
    ----------
    handle : str
        The name that the user gave.
    fingerprint : str
        A hash that changes with the weights.
    input_size : int
        Side to which tiles are resized inside the graph, in pixels.
    apply : callable
        From a (n, input_size, input_size, 3) float32 tensor in 0..1 to (n, n_features).
    variables : list
        The weights that fine-tuning may change; empty when the module is frozen.
    why_frozen : str
        The reason, when `variables` is empty.
    note : str
        A warning for the user, if any.
    keep : object
        What `apply` needs to stay alive.
    """

    handle: str
    fingerprint: str
    input_size: int
    n_features: int
    apply: Callable[[Any], Any]
    variables: list[Any] = field(default_factory=list)
    why_frozen: str = ""
    note: str = ""
    keep: Any = None

    def extract(self, tiles: Any) -> Any:
        """Return the features of (n, rows, cols, 3) float32 tiles in 0..1, (n, n_features), as a tensor."""
        import tensorflow as tf

        if tuple(tiles.shape[1:3]) != (self.input_size, self.input_size):
            tiles = tf.image.resize(tiles, (self.input_size, self.input_size), method="bilinear")
        return self.apply(tiles)


def load_backbone(
    handle: str, *, input_size: int = DEFAULT_INPUT_SIZE, trainable: bool = False, trust: bool = False
) -> Backbone:
    """Load the backbone that a handle names.

    Parameters
    ----------
    handle : str
        ``builtin:mobilenet_v2``; the address of a TensorFlow Hub module (cached in TFHUB_CACHE_DIR); or a local
        folder or ``.tar.gz`` of one, in the TF2 or the TF1 format.
    input_size : int
        Side to which tiles are resized, in pixels; a module of a fixed size overrides it.
    trainable : bool
        Whether its weights will be fine-tuned.
    trust : bool
        Load a module even if it holds operations that could access files or the network.

    Raises
    ------
    MissingInput, BadInput
        When there is no such module, it cannot be downloaded, or it cannot be used.
    """
    _check_input_size(input_size)
    import_tensorflow()
    if handle == BUILTIN:
        return _load_builtin(input_size, trainable=trainable)
    if handle.startswith("builtin:"):
        raise BadInput(f"there is no built-in backbone {handle!r}; the only one is {BUILTIN}")
    folder = _find_module(handle)
    if not trust:
        _check_module(folder)
    if (folder / "tfhub_module.pb").exists():
        if trainable:
            raise BadInput(
                f"{handle} is a module in the TF1 format, whose weights cannot be fine-tuned; "
                f"leave --fine-tune out, or use {BUILTIN} or a TF2 module"
            )
        return _load_tf1_module(handle, folder, input_size)
    return _load_tf2_module(handle, folder, input_size, trainable=trainable)


def _load_builtin(input_size: int, *, trainable: bool) -> Backbone:
    from hybridseg.models.mobilenet import FEATURE_SIZE, build_mobilenet, weights_fingerprint

    model = build_mobilenet(input_size=input_size, trainable=trainable)
    return Backbone(
        BUILTIN, weights_fingerprint(), input_size, FEATURE_SIZE, lambda tiles: model(tiles, training=False),
        list(model.trainable_variables), keep=model,
    )  # fmt: skip


def export_builtin(out_dir: str | os.PathLike[str], *, input_size: int = DEFAULT_INPUT_SIZE) -> None:
    """Write the built-in backbone as a reusable TF2 SavedModel, whole or not at all.

    Raises
    ------
    OutputExists
        When `out_dir` holds something.
    """
    from hybridseg.models.mobilenet import build_mobilenet

    _check_input_size(input_size)
    target = Path(out_dir)
    claim_saved_model(target)
    import_tensorflow()
    with saved_model_folder(target) as partial, say_if_slow(f"writing {target}"):
        build_mobilenet(input_size=input_size, trainable=True).save(partial, save_format="tf", include_optimizer=False)


def _check_input_size(input_size: int) -> None:
    if not 32 <= input_size <= 1024:
        raise BadInput(f"input_size={input_size}: give a side from 32 to 1024 pixels")


def claim_saved_model(target: Path) -> None:
    """Check that a SavedModel can be written, before long work.

    Raises
    ------
    OutputExists, WriteFailed
        When `target` holds something, or is a file, or cannot be made.
    """
    if target.is_file():
        raise OutputExists(f"{target} is a file; give another folder")
    if holds_files(target):
        raise OutputExists(f"{target} holds files already; give another folder or remove it")
    claim_folder(target.parent)


@contextmanager
def saved_model_folder(target: Path) -> Iterator[Path]:
    """Yield a hidden folder to write a SavedModel to, which becomes `target` once it is complete.

    Raises
    ------
    OutputExists, WriteFailed
        As `claim_saved_model`, or when another run writes it now.
    """
    import tensorflow as tf

    target = target.resolve()
    with lock_output(target):
        claim_saved_model(target)
        try:
            with atomic_folder(target) as partial:
                yield partial
        except tf.errors.OpError as error:
            raise WriteFailed(f"could not write {target} ({error}); check the free space there") from error


def _find_module(handle: str) -> Path:
    """Return the folder of a module, downloading or unpacking it first."""
    if handle.startswith(("http://", "https://")):
        return _fetch_module(handle)
    path = Path(handle)
    if path.is_file() and path.name.endswith((".tar.gz", ".tgz")):
        return _unpack_module(path)
    if not path.exists():
        raise MissingInput(
            f"there is no module {handle}; give {BUILTIN}, the address of a TensorFlow Hub module, or a local folder"
        )
    if not any((path / name).exists() for name in ("saved_model.pb", "tfhub_module.pb")):
        raise BadInput(
            f"{handle} is not a TensorFlow Hub module: it has neither saved_model.pb nor tfhub_module.pb; give "
            f"{BUILTIN}, or the address or folder of one"
        )
    return path


def hub_cache_dir() -> Path:
    """Return the folder of cached modules: TFHUB_CACHE_DIR, or the default of tensorflow-hub."""
    return Path(os.environ.get("TFHUB_CACHE_DIR") or Path(tempfile.gettempdir()) / "tfhub_modules")


def _fetch_module(handle: str) -> Path:
    hub = _import_hub()
    place = hub_cache_dir() / hashlib.sha1(handle.encode(), usedforsecurity=False).hexdigest()
    try:
        return Path(hub.resolve(handle))
    # A download fails in many ways, and the advice is the same for all.
    except Exception as error:
        raise MissingInput(
            f"{handle} could not be downloaded ({type(error).__name__}). Without a network, use {BUILTIN}, or download "
            f"the module elsewhere and unpack it to {place} (so that {place / 'saved_model.pb'} exists)"
        ) from error


def _import_hub() -> Any:
    """Import tensorflow-hub without its warning about the deprecated pkg_resources."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "pkg_resources is deprecated", UserWarning)
        import tensorflow_hub
    return tensorflow_hub


def _unpack_module(path: Path) -> Path:
    """Unpack an archive into the cache, unless it is there already."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    target = hub_cache_dir() / digest[:40]
    if target.is_dir():
        return target
    with lock_output(target, wait=True), own_partial(target.parent) as unpacked:
        if target.is_dir():
            return target
        remove_leftovers(target.parent)
        unpack_archive(path, unpacked)
        homes = [found.parent for pattern in ("saved_model.pb", "tfhub_module.pb") for found in unpacked.rglob(pattern)]
        if not homes:
            raise BadInput(f"{path} holds no TensorFlow Hub module (no saved_model.pb)")
        shutil.move(min(homes, key=lambda home: len(home.parts)), target)
    return target


def _check_module(folder: Path) -> None:
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    path = folder / "saved_model.pb"
    try:
        saved.ParseFromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise BadInput(f"{folder} is damaged: {path.name} cannot be read ({error})") from error
    try:
        for meta in saved.meta_graphs:
            refuse_unsafe_ops(folder, meta.graph_def, allowed=SAFE_OPS | CHECKPOINT_OPS)
    except BadInput as error:
        raise BadInput(f"{error}. If you know where it comes from: --trust-model") from error


def _fingerprint_folder(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(f"{path.relative_to(folder)}\n".encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _load_tf1_module(handle: str, folder: Path, input_size: int) -> Backbone:
    import tensorflow as tf

    with _explained_errors(handle, "TF1"):
        function, offers_features = _freeze_tf1_module(handle, folder)
        spec = function.inputs[0]
        size = _fixed_side(spec.shape) or input_size

        def apply(tiles: Any) -> Any:
            output = function(_convert_pixels(tiles, spec.dtype))
            return tf.reshape(output, [tf.shape(output)[0], -1])

        n_features = int(apply(tf.zeros([1, size, size, 3])).shape[-1])
    note = "" if offers_features else f"{handle} offers no feature vector: its own output is used instead"
    frozen = "a module in the TF1 format cannot be fine-tuned"
    return Backbone(handle, _fingerprint_folder(folder), size, n_features, apply, [], frozen, note, function)


def _freeze_tf1_module(handle: str, folder: Path) -> tuple[Any, bool]:
    """Return a module as a function of constants, and whether it has a signature for features.

    Functions of TF2 cannot hold the variables of a TF1 module.
    """
    import tensorflow as tf

    v1 = tf.compat.v1
    graph = tf.Graph()
    with graph.as_default(), v1.Session() as session:
        signatures = v1.saved_model.load(session, [], str(folder)).signature_def
        name = _FEATURE_SIGNATURE if _FEATURE_SIGNATURE in signatures else "default"
        if name not in signatures:
            offered = ", ".join(signatures) or "none"
            raise BadInput(f"{handle} offers neither {_FEATURE_SIGNATURE} nor default; its signatures: {offered}")
        outputs = signatures[name].outputs
        source = next(iter(signatures[name].inputs.values())).name
        target = (outputs["default"] if "default" in outputs else next(iter(outputs.values()))).name
        frozen = v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), [target.split(":")[0]])
    wrapped = v1.wrap_function(lambda: tf.import_graph_def(frozen, name=""), [])
    function = wrapped.prune(wrapped.graph.as_graph_element(source), wrapped.graph.as_graph_element(target))
    return function, name == _FEATURE_SIGNATURE


@contextmanager
def _explained_errors(handle: str, kind: str) -> Iterator[None]:
    """Turn the errors of TensorFlow about a damaged or unsuitable module into one sentence."""
    try:
        yield
    except HybridSegError:
        raise
    # TensorFlow raises many kinds of errors.
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadInput(f"{handle} cannot be loaded as a {kind} module for images: {reason}") from error


def _load_tf2_module(handle: str, folder: Path, input_size: int, *, trainable: bool) -> Backbone:
    import tensorflow as tf

    hub = _import_hub()
    with _explained_errors(handle, "TF2"):
        module = hub.load(str(folder))
        # Without a name, the layer is called by a count, and the same module would freeze to other bytes.
        layer = hub.KerasLayer(module, trainable=trainable, name="module")
        spec = _find_call_input(module)
        size = (_fixed_side(spec.shape) if spec is not None else None) or input_size
        dtype = spec.dtype if spec is not None else tf.float32

        def apply(tiles: Any) -> Any:
            output = layer(_convert_pixels(tiles, dtype), training=False)
            if isinstance(output, dict):
                output = output.get("default", next(iter(output.values())))
            return tf.reshape(tf.cast(output, tf.float32), [tf.shape(output)[0], -1])

        n_features = int(apply(tf.zeros([1, size, size, 3])).shape[-1])
    is_classifier = any(word in handle for word in ("/classification", "/logits")) or n_features in (1000, 1001)
    note = f"{handle} is a whole classifier: its {n_features} logits serve as features" if is_classifier else ""
    variables = list(layer.trainable_variables)
    frozen = "" if variables else "the module offers no trainable weights"
    return Backbone(
        handle, _fingerprint_folder(folder), size, n_features, apply, variables, frozen, note, (module, layer)
    )


def _find_call_input(module: Any) -> Any:
    """Return the tensor specification of the images that a TF2 module takes, if it has one."""
    import tensorflow as tf

    functions = getattr(module.__call__, "concrete_functions", []) if callable(module) else []
    for function in functions:
        for spec in tf.nest.flatten(function.structured_input_signature):
            if isinstance(spec, tf.TensorSpec) and spec.shape.rank == 4:
                return spec
    return None


def _fixed_side(shape: Any) -> int | None:
    side = shape[1]
    return int(side) if side else None


def _convert_pixels(tiles: Any, dtype: Any) -> Any:
    """Return pixels of 0..1 in the range of a type: 0..255 for integers, 0..1 for floats, as Hub modules take them."""
    import tensorflow as tf

    if dtype.is_integer:
        return tf.cast(tf.round(tiles * 255.0), dtype)
    return tf.cast(tiles, dtype)
