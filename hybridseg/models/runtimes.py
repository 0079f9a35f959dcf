"""The runtime graph of a model, ``NAME.tflite``: made by TensorFlow once, and then all that applying the model takes.

Training writes it beside the model, whose card vouches for it. For a model without one, it is made when the model is
first applied and kept in ``~/.cache/hybridseg`` (or in XDG_CACHE_HOME).
"""

from __future__ import annotations

import json
import logging
import operator
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.errors import BadInput, HybridSegError, OutputExists, WriteFailed, located
from hybridseg.io.atomic import write_bytes
from hybridseg.io.jsonfiles import parse_json, read_json_object
from hybridseg.io.rasters import check_regular
from hybridseg.io.textfiles import read_whole
from hybridseg.models.cards import combine_fingerprint, hash_bytes, hash_file
from hybridseg.models.engines import LITERT, Engine, LiteEngine, do_agree
from hybridseg.models.graphs import FrozenGraph
from hybridseg.models.litegraphs import MAX_BYTES
from hybridseg.models.literewrites import rewrite_lite
from hybridseg.models.trials import MADE_HERE, is_known, kept_dir, recall, remember, run_apart
from hybridseg.progress import say

logger = logging.getLogger(__name__)

RUNTIME_SUFFIX = ".tflite"
SIGNED_INPUT, UNSIGNED_INPUT = "signed_pixels", "pixels"
# What is kept is made anew by a version that makes it in another way.
_CONVERSION = 2
# What this machine remembers of a model that had its card until it was about to be replaced.
_REPLACED = "may be replaced"
_MAX_KEPT_FILES, _MAX_KEPT_BYTES, _MAX_SHAPES = 64, 2_000_000_000, 20


def runtime_path(path: Path) -> Path:
    """Return the path of the runtime graph of a model.

    Examples
    --------
    >>> runtime_path(Path("water.h5")).name
    'water.tflite'
    """
    return path.with_suffix(RUNTIME_SUFFIX)


def runtime_record(path: Path, content: bytes | None) -> dict[str, str] | None:
    """Return what the card of a model says of its runtime graph."""
    return None if content is None else {"file": runtime_path(path).name, "sha256": hash_bytes(content)}


def check_runtime_place(path: Path, card_place: Path) -> None:
    """Raise OutputExists where the runtime graph of `path` would replace a file that its card does not name."""
    place = runtime_path(path)
    if place.exists() and not _is_named(place, card_place):
        raise OutputExists(f"{place} is another file, and the runtime graph of {path.name} would replace it; rename it")


def check_model_place(path: Path, card_place: Path) -> None:
    """Raise OutputExists where a model, or its runtime graph, would replace a file that its card does not name."""
    if os.path.lexists(path) and not _is_replaceable(path, card_place):
        raise OutputExists(
            f"{path} is another model: {card_place.name}, its card, is not there or is of another one. It would be "
            "lost; move it away, or give the new one another name"
        )
    check_runtime_place(path, card_place)


def remove_card(path: Path, card_place: Path) -> None:
    """Remove the card and the runtime graph of a model that is about to be replaced."""
    if path.is_file() and not is_known(MADE_HERE, sha256 := hash_file(path)):
        # Who is killed while it has no card can replace it again.
        remember(_REPLACED, sha256)
    if _is_named(runtime_path(path), card_place):
        runtime_path(path).unlink()
    card_place.unlink(missing_ok=True)


def _is_replaceable(path: Path, card_place: Path) -> bool:
    if not path.is_file():
        return False
    sha256 = hash_file(path)
    with suppress(HybridSegError):
        if read_json_object(card_place).get("sha256") == sha256:
            return True
    return is_known(MADE_HERE, sha256) or is_known(_REPLACED, sha256)


def _is_named(place: Path, card_place: Path) -> bool:
    with suppress(HybridSegError, OSError):
        record = read_json_object(card_place).get("runtime")
        return isinstance(record, dict) and record.get("sha256") == hash_file(place)
    return False


def write_runtime(path: Path, content: bytes) -> Path:
    """Write the runtime graph of a model beside it, and return its path."""
    write_bytes(runtime_path(path), content)
    remember(MADE_HERE, hash_bytes(content))
    return runtime_path(path)


def make_runtime(
    graph: FrozenGraph, reference: Engine, probes: Sequence[np.ndarray], *, stride: int = 1
) -> bytes | None:
    """Convert a frozen graph; None when LiteRT does not support it, or says something else than TensorFlow.

    Parameters
    ----------
    graph : FrozenGraph
        Of known rows and columns.
    reference : Engine
        TensorFlow, with the same network.
    probes : sequence of numpy.ndarray
        Batches of images on which both must agree.
    stride : int
        The sides of all images that it will be given are multiples of it.
    """
    try:
        content = rewrite_lite(_convert(graph), stride=stride)
        if do_agree(LiteEngine(content), reference, probes):
            return content
        logger.debug("LiteRT and TensorFlow disagree")
    # The converter raises its own and TensorFlow's errors for whatever it does not support.
    except Exception as error:
        logger.debug("LiteRT does not support this graph: %s", error)
    return None


def _convert(graph: FrozenGraph) -> bytes:
    import tensorflow as tf

    name = SIGNED_INPUT if graph.is_signed else UNSIGNED_INPUT

    def import_graph() -> Any:
        pixels = tf.compat.v1.placeholder(tf.float32, graph.shape, name=name)
        fed = pixels * 2.0 - 1.0 if graph.is_signed else pixels
        tf.import_graph_def(graph.definition, input_map={graph.input_name: fed}, name="graph")

    wrapped = tf.compat.v1.wrap_function(import_graph, [])
    pruned = wrapped.prune(
        [wrapped.graph.as_graph_element(f"{name}:0")], [wrapped.graph.as_graph_element(f"graph/{graph.output_name}")]
    )
    content: bytes = tf.lite.TFLiteConverter.from_concrete_functions([pruned], wrapped).convert()
    return content


def open_runtime(
    path: Path, record: dict[str, str] | None, key: Sequence[Any], attempt: Callable[[bool], bytes], *, engine: str
) -> LiteEngine | None:
    """Return the runtime graph of a model; None where TensorFlow is to run it, or has to.

    Before either runs a model from elsewhere, it was tried.

    Parameters
    ----------
    record : dict or None
        What the card of the model says of its runtime graph.
    key : sequence
        Everything that a runtime graph depends on: the hash of the model first, then settings.
    attempt : callable
        Runs the model once in a process of its own; whether it is to be converted as well, and the graph, if any.
    """
    if engine == LITERT:
        lite = read_runtime(path, record) or fetch_runtime(path, key, lambda: attempt(True) or None)
        if lite is None:
            say(f"LiteRT does not support {path}: TensorFlow runs it, which takes longer")
        return lite
    if not is_known(MADE_HERE, key[0]) and not is_known(engine, *key):
        attempt(False)
        remember(engine, *key)
    return None


def read_runtime(path: Path, record: dict[str, str] | None) -> LiteEngine | None:
    """Load the runtime graph that a card names; None when the card names none, or it is not there.

    Raises
    ------
    BadInput
        When it is another graph than that of the card, or cannot be run.
    """
    place = runtime_path(path)
    if record is None or not place.exists():
        return None
    content = read_whole(place, most=MAX_BYTES, remedy=f"copy all files of {path.name} again")
    with located(place):
        if hash_bytes(content) != record.get("sha256"):
            raise BadInput(
                f"it is not the runtime graph of {path.name} that its card names (the SHA-256 differs): copy all files "
                "of the model again, or remove this one, and it is made anew"
            )
        return LiteEngine(content, guard=None if is_known(MADE_HERE, record["sha256"]) else _make_guard(place, content))


def _make_guard(place: Path, content: bytes) -> Callable[[tuple[int, ...] | None], None]:
    """Return what tries a runtime graph from elsewhere with images of a shape.

    Once that was done with larger ones it is not done again: `check_lite` sees that results grow with the images.
    """
    key = (RUNTIME_SUFFIX, hash_bytes(content))

    def guard(shape: tuple[int, ...] | None) -> None:
        tried, wanted = parse_json(recall(*key) or "[]"), shape or ()
        if not any(len(one) == len(wanted) and all(map(operator.le, wanted, one)) for one in tried):
            # While the graph is opened, `read_runtime` names it.
            with located(place) if shape else nullcontext():
                run_apart("it", try_runtime, shape, content=content)
            remember(*key, note=json.dumps([*tried[-_MAX_SHAPES:], wanted]))

    return guard


def try_runtime(shape: Sequence[int] | None, content: bytes) -> None:
    """Run a runtime graph once.

    Raises
    ------
    BadInput
        When LiteRT refuses it, or images of this shape; the message does not name it.
    """
    engine = LiteEngine(content)
    try:
        engine.classify(np.zeros(shape or engine.shape, np.float32))
    except (ValueError, RuntimeError, IndexError) as error:
        raise BadInput(f"LiteRT cannot run it ({(str(error).splitlines() or [''])[0]:.100})") from error


def fetch_runtime(path: Path, key: Sequence[Any], make: Callable[[], bytes | None]) -> LiteEngine | None:
    """Load the runtime graph that was kept for a model without one of its own, or make it and keep it.

    Parameters
    ----------
    path : pathlib.Path
        The model, for the line that says so.
    key : sequence
        Everything that the graph depends on: hashes, and settings.
    make : callable
        Gives the graph, or None when LiteRT does not support the network; that is kept as well.
    """
    place = kept_dir() / f"{combine_fingerprint(_CONVERSION, *key)}{RUNTIME_SUFFIX}"
    # A user without a home has no folder of this name either.
    with suppress(RuntimeError):
        place = place.expanduser()
    with suppress(OSError, BadInput):
        content = check_regular(place).read_bytes()
        engine = LiteEngine(content) if content else None
        os.utime(place)
        return engine
    say(f"{path} has no runtime graph: TensorFlow makes it once, and it is kept in {place.parent}")
    made = make()
    try:
        if not place.is_absolute():
            raise WriteFailed("you have no home directory; name a folder in XDG_CACHE_HOME")
        write_bytes(place, made or b"")
        _forget_oldest(place.parent)
    except WriteFailed as error:
        say(f"the runtime graph is made again next time: {error}")
    return None if made is None else LiteEngine(made)


def _forget_oldest(folder: Path) -> None:
    """Remove the graphs that were not used for longest, where there are too many."""
    n_bytes = 0
    with suppress(OSError):
        found = [(file.stat(), file) for file in folder.glob(f"*{RUNTIME_SUFFIX}")]
        for i, (status, file) in enumerate(sorted(found, key=lambda pair: -pair[0].st_mtime)):
            n_bytes += status.st_size
            if i and (i >= _MAX_KEPT_FILES or n_bytes > _MAX_KEPT_BYTES):
                file.unlink(missing_ok=True)
