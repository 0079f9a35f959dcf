"""A trained dense network on disk: its weights ``NAME.h5``, its card ``NAME.card.json``, its runtime graph.

The card holds all that is needed to build and use the network, as numbers and names: a bundle cannot run code. It is
not called ``NAME.json``, which is what the published program calls the config of ``NAME.h5``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, HybridSegError, MissingInput, OutputExists
from hybridseg.io.atomic import write_bytes
from hybridseg.io.jsonfiles import read_json_object
from hybridseg.io.tables import write_json
from hybridseg.io.textfiles import read_whole
from hybridseg.markup import count_of
from hybridseg.models.architectures import Architecture, architecture_record, parse_architecture
from hybridseg.models.cards import FORMAT_VERSION, hash_bytes, parse_fields, parse_value, read_card_file
from hybridseg.models.engines import LITERT, Engine, NetworkEngine, classify, classify_pixels
from hybridseg.models.graphs import freeze
from hybridseg.models.normalization import Normalization
from hybridseg.models.runtimes import (
    check_runtime_place,
    make_runtime,
    open_runtime,
    remove_card,
    runtime_path,
    runtime_record,
    write_runtime,
)
from hybridseg.models.startup import import_tensorflow
from hybridseg.models.trials import MADE_HERE, remember, run_apart
from hybridseg.models.views import View
from hybridseg.models.weightfile import MAX_FILE_BYTES, encode_weights, load_weights
from hybridseg.progress import say, say_if_slow

if TYPE_CHECKING:
    import tf_keras

CARD_SUFFIX = ".card.json"

# The commands that apply a network, by the name of its architecture.
_PROGRAMS = {"fcn8s": "fcn infer", "unet": "unet infer", "resunet": "resunet segment"}
_KIND, _CARD_WORDS = "dense", "the card of a network"
# What earlier versions called a card, and the published program calls a config.
_OLD_SUFFIX = ".json"

_MAX_SIDE = 8192


@dataclass(frozen=True)
class DenseCard:
    """What ``NAME.card.json`` holds.

    Parameters
    ----------
    table : ClassTable
        The classes, in the order of the outputs; two for a network of one output, the rest first.
    size : tuple of int
        Rows and columns of what the network was trained on: to which images were resized, or of windows.
    training : dict
        How it was trained: hash of the data, options, number of images and epochs.
    scores : dict
        On validation images.
    versions : dict
        Of the packages that trained it.
    view : View or None
        At which scale it saw the photographs; None where that is not known, as in earlier versions.
    runtime : dict or None
        File name and SHA-256 of the runtime graph; None when there is none.

    Raises
    ------
    BadInput
        When the classes do not fit the outputs, the normalization not the bands, or the size is not that of an image.
    """

    architecture: Architecture
    table: ClassTable
    size: tuple[int, int]
    normalization: Normalization
    training: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    view: View | None = None
    runtime: dict[str, str] | None = None

    def __post_init__(self) -> None:
        n_classes = max(self.architecture.n_outputs, 2)
        if len(self.table) != n_classes:
            raise BadInput(f"{count_of(len(self.table), 'class')} for a network of {n_classes}")
        if not all(1 <= side <= _MAX_SIDE for side in self.size):
            raise BadInput(f"size={self.size} is not the size of an image; sides are from 1 to {_MAX_SIDE:,} pixels")
        if (n_means := len(self.normalization.means)) not in (0, self.architecture.n_bands):
            raise BadInput(f"means of {count_of(n_means, 'band')} for a network of {self.architecture.n_bands}")


class DenseModel:
    """A network that is ready to use: its path, its card, and the engine that runs it."""

    def __init__(
        self, path: Path, card: DenseCard, network: tf_keras.Model | None = None, *, engine: Engine | None = None
    ) -> None:
        self.path, self.card = path, card
        self._network = network
        self.engine = engine or NetworkEngine(self.network)

    @property
    def network(self) -> tf_keras.Model:
        """The network in TensorFlow, which is built when it is first asked for."""
        if self._network is None:
            self._network = _build_network(self.path, self.card)
        return self._network

    @property
    def table(self) -> ClassTable:
        """The classes, in the order of the probabilities."""
        return self.card.table

    @property
    def engine_name(self) -> str:
        """The name of the engine."""
        return self.engine.name

    def predict(self, pixels: np.ndarray) -> np.ndarray:
        """Return class probabilities.

        Parameters
        ----------
        pixels : numpy.ndarray
            (n, rows, cols, bands) float32, normalized, with sides that the stride of the network divides.

        Returns
        -------
        numpy.ndarray
            (n, rows, cols, n_classes) float32 that sum to 1.

        Raises
        ------
        BadInput
            When the network fails on them.
        """
        return classify(self.engine, pixels, model=self.path)


def card_path(path: Path) -> Path:
    """Return the path of the card of a file of weights.

    Examples
    --------
    >>> card_path(Path("water.h5")).name
    'water.card.json'
    """
    return path.with_suffix(CARD_SUFFIX)


def find_programs(path: Path) -> str:
    """Return in words which commands apply a dense network, as its card says; nothing for what is none.

    Examples
    --------
    >>> find_programs(Path("model.pb"))
    ''
    """
    if not path.is_dir() and (path.suffix.lower() != ".h5" or not path.exists()):
        return ""
    try:
        name = read_json_object(find_card(_find_weights(path)))["architecture"]["name"]
        programs = [_PROGRAMS[name]]
    except (HybridSegError, KeyError, TypeError):
        programs = [] if path.is_dir() else list(_PROGRAMS.values())
    return " or ".join(f"`hybridseg {program}`" for program in programs)


def describe_json(path: Path) -> str:
    """Return in words what a JSON file beside a network is: its card, a config, or another file."""
    try:
        record = read_json_object(path)
    except HybridSegError:
        return "not JSON, or damaged"
    if record.get("kind") == _KIND:
        return _CARD_WORDS
    # A key that every config has.
    return "a config" if "TARGET_SIZE" in record else "neither a config nor the card of a network"


def check_card_place(path: Path) -> None:
    """Raise OutputExists where card or runtime graph of `path` would replace a file that is not one of ours."""
    place = card_path(path)
    if place.exists() and not _is_card(place):
        kind = describe_json(place)
        raise OutputExists(f"{place} is {kind}, and the card of {path.name} would replace it; rename it")
    check_runtime_place(path, place)


def save_dense(
    path: str | os.PathLike[str], network: tf_keras.Model, card: DenseCard, *, probes: Sequence[np.ndarray] = ()
) -> list[Path]:
    """Write the weights, the card and the runtime graph, and return their paths.

    The card comes after the weights: it never describes others.

    Parameters
    ----------
    probes : sequence of numpy.ndarray
        Batches of normalized images on which the runtime graph must agree with the network; without any it is not
        written.
    """
    path = Path(path)
    check_card_place(path)
    content = encode_weights(network)
    runtime = _convert(network, card, probes) if probes else None
    old = path.with_suffix(_OLD_SUFFIX)
    if _is_card(old):
        old.unlink()
    remove_card(path, card_path(path))
    write_bytes(path, content)
    card = replace(card, runtime=runtime_record(path, runtime))
    write_json(card_path(path), {**_card_record(card), "sha256": hash_bytes(content)})
    remember(MADE_HERE, hash_bytes(content))
    if runtime is None:
        if probes:
            say(f"LiteRT does not support {path}: TensorFlow will run it, which takes longer to start")
        return [path, card_path(path)]
    return [path, card_path(path), write_runtime(path, runtime)]


def load_dense(path: str | os.PathLike[str], *, engine: str = LITERT) -> DenseModel:
    """Load what runs a network: its runtime graph, or, where LiteRT does not support it, the network itself.

    Parameters
    ----------
    path : path-like
        ``NAME.h5``, or a folder that holds one bundle.
    engine : str
        What runs it.

    Raises
    ------
    MissingInput, BadInput
        When a part is missing or damaged, or the parts do not belong together.
    """
    path = _find_weights(Path(path))
    place = find_card(path)
    card, expected_hash = read_dense_card(path)
    if hash_bytes(read_whole(path, most=MAX_FILE_BYTES, remedy="give the weights of a network")) != expected_hash:
        raise BadInput(
            f"{path} is not the file that {place.name} describes (the SHA-256 differs): it is damaged or of another "
            "training; copy both again or train again"
        )
    key = (expected_hash, architecture_record(card.architecture), card.size)

    def attempt(convert: bool) -> bytes:
        return run_apart(path, try_network, str(path), convert, with_tensorflow=True)

    lite = open_runtime(path, card.runtime, key, attempt, engine=engine)
    if lite is not None and (lite.n_bands, lite.n_outputs) != (card.architecture.n_bands, len(card.table)):
        raise BadInput(f"{runtime_path(path)} is of another network than {place.name}; copy all files again")
    return DenseModel(path, card, engine=lite)


def try_network(name: str, convert: bool, content: bytes = b"") -> bytes | None:
    """Run a network once, and return its runtime graph: None if that is not asked for, or cannot be made."""
    path = Path(name)
    card, _ = read_dense_card(path)
    network = _build_network(path, card)
    shape = (1, *_runtime_size(card), card.architecture.n_bands)
    probe = np.random.default_rng(0).random(shape, dtype=np.float32)
    NetworkEngine(network).classify(probe)
    return _convert(network, card, [probe]) if convert else None


def read_dense_card(path: Path) -> tuple[DenseCard, str]:
    """Return the card of a file of weights, and the SHA-256 that the weights should have.

    Raises
    ------
    MissingInput, BadInput
        When there is none, or it is damaged.
    """
    return read_card_file(find_card(path), _parse_card, remedy="copy it again or train again")


def _build_network(path: Path, card: DenseCard) -> tf_keras.Model:
    import_tensorflow()
    with say_if_slow(f"loading {path}"):
        network = card.architecture.build()
        load_weights(network, path)
    return network


def _convert(network: tf_keras.Model, card: DenseCard, probes: Sequence[np.ndarray]) -> bytes | None:
    """Return the runtime graph, for images of the size of the training; it can be fitted to any other."""
    rows, cols = _runtime_size(card)
    graph = freeze(partial(classify_pixels, network), (1, rows, cols, card.architecture.n_bands))
    stride = card.architecture.stride
    # As in prediction, images end at a multiple of the stride; those of a training may have any size.
    fitted = [_pad_to(probe, *(-(-side // stride) * stride for side in probe.shape[1:3])) for probe in probes]
    # Another size too: not all that depends on the size may be found.
    wider = _pad_to(fitted[0][:1], fitted[0].shape[1] + stride, fitted[0].shape[2])
    return make_runtime(graph, NetworkEngine(network), [*fitted, wider], stride=stride)


def _pad_to(images: np.ndarray, rows: int, cols: int) -> np.ndarray:
    return np.pad(images, [(0, 0), (0, rows - images.shape[1]), (0, cols - images.shape[2]), (0, 0)], mode="symmetric")


def _runtime_size(card: DenseCard) -> tuple[int, int]:
    stride = card.architecture.stride
    rows, cols = (-(-side // stride) * stride for side in card.size)
    return rows, cols


def _find_weights(path: Path) -> Path:
    if not path.exists():
        raise MissingInput(f"there is no network {path}; train one, or give another path")
    if path.is_file() and path.suffix.lower() != ".h5":
        what = describe_json(path) if path.suffix.lower() == ".json" else "not a file of weights"
        raise BadInput(f"{path} is {what}; give the weights of a network, NAME.h5")
    if not path.is_dir():
        return path
    found = sorted(p for p in path.glob("*.h5") if _list_cards(p) and not p.name.startswith("."))
    if len(found) != 1:
        names = ", ".join(p.name for p in found) or "none"
        raise MissingInput(
            f"{path} should hold one network (NAME.h5 with NAME{CARD_SUFFIX}) and holds {names}; give its path"
        )
    return found[0]


def find_card(path: Path) -> Path:
    """Return the path of the card of a file of weights, which earlier versions called otherwise.

    Raises
    ------
    MissingInput
        When there is none.
    """
    cards = _list_cards(path)
    if cards:
        return cards[0]
    old = path.with_suffix(_OLD_SUFFIX)
    found = f" ({old.name} is {describe_json(old)})" if old.exists() else ""
    raise MissingInput(
        f"{path} has no {card_path(path).name} beside it, which says what network it belongs to{found}; give weights "
        "that hybridseg trained, with their card"
    )


def _list_cards(path: Path) -> list[Path]:
    old = path.with_suffix(_OLD_SUFFIX)
    return [*([card_path(path)] if card_path(path).exists() else []), *([old] if _is_card(old) else [])]


def _is_card(path: Path) -> bool:
    return path.exists() and describe_json(path) == _CARD_WORDS


def _card_record(card: DenseCard) -> dict[str, Any]:
    return {
        "format": FORMAT_VERSION,
        "kind": _KIND,
        "architecture": architecture_record(card.architecture),
        "classes": card.table.to_records(),
        "size": list(card.size),
        **({} if card.view is None else {"view": asdict(card.view)}),
        "normalization": asdict(card.normalization),
        "training": card.training,
        "scores": card.scores,
        "versions": card.versions,
        "runtime": card.runtime,
    }


def _parse_card(record: dict[str, Any]) -> tuple[DenseCard, str]:
    view = record.get("view")
    if record["kind"] != _KIND:
        raise BadInput("it is not the card of a dense network; give a network that `fcn`, `resunet` or `unet` trained")
    card = DenseCard(
        architecture=parse_architecture(record["architecture"]),
        table=ClassTable.from_records(record["classes"]),
        size=parse_value(record["size"], tuple[int, int]),
        normalization=parse_fields(
            Normalization, record["normalization"], what="the normalization", newer=("means", "deviations")
        ),
        training=parse_value(record["training"], dict[str, Any]),
        scores=parse_value(record["scores"], dict[str, Any]),
        versions=parse_value(record["versions"], dict[str, str]),
        view=None if view is None else parse_fields(View, view, what="the view"),
        runtime=parse_value(record.get("runtime"), dict[str, str] | None),
    )
    return card, parse_value(record["sha256"], str)
