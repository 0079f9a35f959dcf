"""The network that turns a tile into features: the built-in MobileNetV2, or a TensorFlow Hub module from elsewhere."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hybridseg.errors import BadInput, HybridSegError, MissingInput, OutputExists, WriteFailed
from hybridseg.io.archives import unpack_archive
from hybridseg.io.atomic import atomic_folder, claim_folder
from hybridseg.io.downloads import download
from hybridseg.io.locks import holds_files, lock_output, own_partial, remove_leftovers
from hybridseg.models.engines import TENSORFLOW_BATCH
from hybridseg.models.graphs import check_sizes
from hybridseg.models.hubmodules import build_module, read_module
from hybridseg.models.startup import import_tensorflow
from hybridseg.models.trials import is_known, remember, run_apart
from hybridseg.models.trustedmodules import load_trusted
from hybridseg.progress import say_if_slow

BUILTIN = "builtin:mobilenet_v2"
DEFAULT_INPUT_SIZE = 160
# How a server is asked for all of a module in one file.
_AS_ARCHIVE = "tf-hub-format=compressed"


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
    if handle == BUILTIN:
        import_tensorflow()
        return _load_builtin(input_size, trainable=trainable)
    if handle.startswith("builtin:"):
        raise BadInput(f"there is no built-in backbone {handle!r}; the only one is {BUILTIN}")
    folder = _find_module(handle)
    is_tf1 = (folder / "tfhub_module.pb").exists()
    if is_tf1 and trainable:
        raise BadInput(
            f"{handle} is a module in the TF1 format, whose weights cannot be fine-tuned; "
            f"leave --fine-tune out, or use {BUILTIN} or a TF2 module"
        )
    kind = "TF1" if is_tf1 else "TF2"
    with _explained_errors(handle, kind):
        if not trust:
            key = ("module", _fingerprint_folder(folder), input_size, trainable)
            if not is_known(*key):
                run_apart(handle, try_module, handle, kind, str(folder), input_size, trainable, with_tensorflow=True)
                remember(*key)
        import_tensorflow()
        return _load_module(handle, folder, input_size, trainable=trainable, trust=trust)


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
    # Also where all is there: a run that was killed at its very end may have left its lock.
    claim_folder(target.parent)
    if holds_files(target):
        raise OutputExists(f"{target} holds files already; give another folder or remove it")


@contextmanager
def saved_model_folder(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a hidden folder to write a SavedModel to, which becomes `target` once it is complete.

    Parameters
    ----------
    replace : bool
        Replace what is there.

    Raises
    ------
    OutputExists, WriteFailed
        As `claim_saved_model`, or when another run writes it now.
    """
    import tensorflow as tf

    target = Path(os.path.realpath(target))
    with lock_output(target):
        if not replace:
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
    """Download a module into the cache, unless it is there already, under the name that tensorflow-hub gives it."""
    place = hub_cache_dir() / hashlib.sha1(handle.encode(), usedforsecurity=False).hexdigest()

    def unpack(folder: Path) -> None:
        with own_partial(place.parent, ".tar.gz") as archive:
            url = f"{handle}{'&' if '?' in handle else '?'}{_AS_ARCHIVE}"
            try:
                download(url, archive, check=lambda _: None, is_stopped=lambda: False)
                unpack_archive(archive, folder)
            except MissingInput as error:
                raise MissingInput(
                    f"{handle} could not be downloaded ({error}). Without a network, use {BUILTIN}, or download the "
                    f"module elsewhere and unpack it to {place} (so that {place / 'saved_model.pb'} exists)"
                ) from error
            except BadInput as error:
                raise BadInput(str(error.args[0]).replace(str(archive), handle)) from error

    return _keep_module(place, unpack, handle)


def _unpack_module(path: Path) -> Path:
    """Unpack an archive into the cache, unless it is there already."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return _keep_module(hub_cache_dir() / digest[:40], lambda folder: unpack_archive(path, folder), path)


def _keep_module(target: Path, unpack: Callable[[Path], None], name: object) -> Path:
    if target.is_dir():
        return target
    with lock_output(target, wait=True), own_partial(target.parent) as unpacked:
        if target.is_dir():
            return target
        remove_leftovers(target.parent)
        unpack(unpacked)
        homes = [found.parent for pattern in ("saved_model.pb", "tfhub_module.pb") for found in unpacked.rglob(pattern)]
        if not homes:
            raise BadInput(f"{name} holds no TensorFlow Hub module (no saved_model.pb)")
        shutil.move(min(homes, key=lambda home: len(home.parts)), target)
    return target


def _fingerprint_folder(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(f"{path.relative_to(folder)}\n".encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _load_module(handle: str, folder: Path, input_size: int, *, trainable: bool, trust: bool = False) -> Backbone:
    """Return a module as a backbone; unless it is trusted, nothing of it runs but what computes features."""
    import tensorflow as tf

    module = load_trusted(folder, trainable=trainable) if trust else build_module(read_module(folder), trainable)
    size = (module.shape[1] if module.shape else None) or input_size

    def apply(tiles: Any) -> Any:
        output = module.call(_convert_pixels(tiles, module.dtype))
        return tf.reshape(tf.cast(output, tf.float32), [tf.shape(output)[0], -1])

    n_features = int(apply(tf.zeros([1, size, size, 3])).shape[-1])
    is_classifier = any(word in handle for word in ("/classification", "/logits")) or n_features in (1000, 1001)
    note = f"{handle} is a whole classifier: its {n_features} logits serve as features" if is_classifier else ""
    if not module.offers_features:
        note = f"{handle} offers no feature vector: its own output is used instead"
    frozen = "" if module.variables else "the module offers no trainable weights"
    fingerprint, variables = _fingerprint_folder(folder), module.variables
    return Backbone(handle, fingerprint, size, n_features, apply, variables, frozen, note, module.keep)


def try_module(handle: str, kind: str, folder: str, input_size: int, trainable: bool, content: bytes = b"") -> None:
    """Compute features of a batch once, and their gradient where it is needed.

    Raises
    ------
    BadInput
    """
    import tensorflow as tf

    with _explained_errors(handle, kind):
        found = read_module(Path(folder))
        size = (found.shape[1] if found.shape else None) or input_size
        shape = (TENSORFLOW_BATCH, size, size, 3)
        check_sizes(found.definition, found.images, found.output, shape, found.dtype)
        with tf.GradientTape() as tape:
            module = _load_module(handle, Path(folder), input_size, trainable=trainable)
            total = tf.reduce_sum(module.extract(tf.zeros(shape)))
        if module.variables:
            tape.gradient(total, module.variables)


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


def _convert_pixels(tiles: Any, dtype: Any) -> Any:
    """Return pixels of 0..1 in the range of a type: 0..255 for integers, 0..1 for floats, as Hub modules take them."""
    import tensorflow as tf

    if dtype.is_integer:
        return tf.cast(tf.round(tiles * 255.0), dtype)
    return tf.cast(tiles, dtype)
