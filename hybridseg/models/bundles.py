"""A trained dense network on disk: ``NAME.h5``, its weights, and ``NAME.card.json``, its card, in one folder.

The card holds all that is needed to build and use the network, as numbers and names: a bundle cannot run code. It is
not called ``NAME.json``, which is what the published program calls the config of ``NAME.h5``.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, HybridSegError, MissingInput, OutputExists
from hybridseg.io.atomic import write_bytes
from hybridseg.io.jsonfiles import read_json_object
from hybridseg.io.rasters import check_regular
from hybridseg.io.tables import write_json
from hybridseg.models.architectures import Architecture, architecture_record, parse_architecture
from hybridseg.models.cards import FORMAT_VERSION, hash_bytes, parse_fields, parse_value, read_card_file
from hybridseg.models.normalization import Normalization
from hybridseg.models.views import View
from hybridseg.models.weightfile import encode_weights, load_weights
from hybridseg.progress import say_if_slow

if TYPE_CHECKING:
    import tf_keras

CARD_SUFFIX = ".card.json"

_KIND, _CARD_WORDS = "dense", "the card of a network"
# What earlier versions called a card, and the published program calls a config.
_OLD_SUFFIX = ".json"

_MAX_SIDE = 100_000


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

    Raises
    ------
    BadInput
        When the classes do not fit the outputs, or the size is not that of an image.
    """

    architecture: Architecture
    table: ClassTable
    size: tuple[int, int]
    normalization: Normalization
    training: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    view: View | None = None

    def __post_init__(self) -> None:
        n_classes = max(self.architecture.n_outputs, 2)
        if len(self.table) != n_classes:
            raise BadInput(f"{len(self.table)} classes for a network of {n_classes}")
        if not all(1 <= side <= _MAX_SIDE for side in self.size):
            raise BadInput(f"size={self.size} is not the size of an image")


class DenseModel:
    """A network that is ready to use, with its card and the path of its weights."""

    def __init__(self, path: Path, card: DenseCard, network: tf_keras.Model) -> None:
        import tensorflow as tf

        self.path, self.card, self.network = path, card, network
        specification = tf.TensorSpec([None, None, None, card.architecture.n_bands], tf.float32)
        self._classify = tf.function(
            lambda pixels: tf.nn.softmax(class_scores(network(pixels, training=False))),
            input_signature=[specification],
        )

    @property
    def table(self) -> ClassTable:
        """The classes, in the order of the probabilities."""
        return self.card.table

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
        """
        return self._classify(pixels).numpy()


def class_scores(outputs: Any) -> Any:
    """Return the scores of all classes: one output is the score of the second class; the first then has 0."""
    import tensorflow as tf

    return tf.concat([tf.zeros_like(outputs), outputs], -1) if outputs.shape[-1] == 1 else outputs


def card_path(path: Path) -> Path:
    """Return the path of the card of a file of weights.

    Examples
    --------
    >>> card_path(Path("water.h5")).name
    'water.card.json'
    """
    return path.with_suffix(CARD_SUFFIX)


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
    """Raise OutputExists where the card of `path` would replace a file that is not a card."""
    place = card_path(path)
    if place.exists() and not _is_card(place):
        kind = describe_json(place)
        raise OutputExists(f"{place} is {kind}, and the card of {path.name} would replace it; rename it")


def save_dense(path: str | os.PathLike[str], network: tf_keras.Model, card: DenseCard) -> list[Path]:
    """Write the weights and the card, and return their paths; the card comes last: it never describes other weights."""
    path = Path(path)
    check_card_place(path)
    content = encode_weights(network)
    old = path.with_suffix(_OLD_SUFFIX)
    if _is_card(old):
        old.unlink()
    card_path(path).unlink(missing_ok=True)
    write_bytes(path, content)
    write_json(card_path(path), {**_card_record(card), "sha256": hash_bytes(content)})
    return [path, card_path(path)]


def load_dense(path: str | os.PathLike[str]) -> DenseModel:
    """Build the network that the card describes, and load its weights.

    Parameters
    ----------
    path : path-like
        ``NAME.h5``, or a folder that holds one bundle.

    Raises
    ------
    MissingInput, BadInput
        When a part is missing or damaged, or the parts do not belong together.
    """
    path = _find_weights(Path(path))
    place = _find_card(path)
    card, expected_hash = read_card_file(place, _parse_card, remedy="copy it again or train again")
    if hash_bytes(check_regular(path).read_bytes()) != expected_hash:
        raise BadInput(
            f"{path} is not the file that {place.name} describes (the SHA-256 differs): it is damaged or of another "
            "training; copy both again or train again"
        )
    from hybridseg.models.startup import import_tensorflow

    import_tensorflow()
    with say_if_slow(f"loading {path}"):
        network = card.architecture.build()
        load_weights(network, path)
    return DenseModel(path, card, network)


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


def _find_card(path: Path) -> Path:
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
    }


def _parse_card(record: dict[str, Any]) -> tuple[DenseCard, str]:
    view = record.get("view")
    if record["kind"] != _KIND:
        raise BadInput("it is not the card of a dense network; give a network that `fcn`, `resunet` or `unet` trained")
    card = DenseCard(
        architecture=parse_architecture(record["architecture"]),
        table=ClassTable.from_records(record["classes"]),
        size=parse_value(record["size"], tuple[int, int]),
        normalization=parse_fields(Normalization, record["normalization"], what="the normalization"),
        training=parse_value(record["training"], dict[str, Any]),
        scores=parse_value(record["scores"], dict[str, Any]),
        versions=parse_value(record["versions"], dict[str, str]),
        view=None if view is None else parse_fields(View, view, what="the view"),
    )
    return card, parse_value(record["sha256"], str)
