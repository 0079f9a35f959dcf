"""A trained dense network on disk: ``NAME.h5``, its weights, and ``NAME.json``, its card, in one folder.

The card holds all that is needed to build and use the network, as numbers and names: a bundle cannot run code.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, MissingInput
from hybridseg.io.atomic import write_bytes
from hybridseg.io.rasters import check_regular
from hybridseg.io.tables import write_json
from hybridseg.models.architectures import Architecture, architecture_record, parse_architecture
from hybridseg.models.cards import FORMAT_VERSION, hash_bytes, parse_fields, parse_value, read_card_file
from hybridseg.models.normalization import Normalization
from hybridseg.models.weightfile import encode_weights, load_weights

if TYPE_CHECKING:
    import tf_keras

_MAX_SIDE = 100_000


@dataclass(frozen=True)
class DenseCard:
    """What ``NAME.json`` holds.

    Parameters
    ----------
    table : ClassTable
        The classes, in the order of the outputs; two for a network of one output, the rest first.
    size : tuple of int
        Rows and columns to which images were resized for training.
    training : dict
        How it was trained: hash of the data, options, number of images and epochs.
    scores : dict
        On validation images.
    versions : dict
        Of the packages that trained it.

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


def save_dense(path: str | os.PathLike[str], network: tf_keras.Model, card: DenseCard) -> list[Path]:
    """Write the weights and the card, and return their paths; the card comes last: it never describes other weights."""
    path = Path(path)
    card_path = path.with_suffix(".json")
    content = encode_weights(network)
    card_path.unlink(missing_ok=True)
    write_bytes(path, content)
    write_json(card_path, {**_card_record(card), "sha256": hash_bytes(content)})
    return [path, card_path]


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
    card, expected_hash = _read_card(path)
    if hash_bytes(check_regular(path).read_bytes()) != expected_hash:
        raise BadInput(
            f"{path} is not the file that {path.with_suffix('.json').name} describes (the SHA-256 differs): it is "
            "damaged or of another training; copy both again or train again"
        )
    from hybridseg.models.startup import import_tensorflow

    import_tensorflow()
    network = card.architecture.build()
    load_weights(network, path)
    return DenseModel(path, card, network)


def _read_card(path: Path) -> tuple[DenseCard, str]:
    """Return the card of a file of weights, and the SHA-256 that these must have."""
    card_path = path.with_suffix(".json")
    if not card_path.exists():
        raise MissingInput(f"{path} has no {card_path.name} beside it, which says what network it belongs to")
    return read_card_file(card_path, _parse_card, remedy="copy it again or train again")


def _find_weights(path: Path) -> Path:
    if not path.exists():
        raise MissingInput(f"there is no network {path}; train one, or give another path")
    if not path.is_dir():
        return path
    found = sorted(p for p in path.glob("*.h5") if p.with_suffix(".json").exists() and not p.name.startswith("."))
    if len(found) != 1:
        names = ", ".join(p.name for p in found) or "none"
        raise MissingInput(f"{path} should hold one network (NAME.h5 with NAME.json) and holds {names}; give its path")
    return found[0]


def _card_record(card: DenseCard) -> dict[str, Any]:
    return {
        "format": FORMAT_VERSION,
        "kind": "dense",
        "architecture": architecture_record(card.architecture),
        "classes": card.table.to_records(),
        "size": list(card.size),
        "normalization": asdict(card.normalization),
        "training": card.training,
        "scores": card.scores,
        "versions": card.versions,
    }


def _parse_card(record: dict[str, Any]) -> tuple[DenseCard, str]:
    if record["kind"] != "dense":
        raise BadInput("it is not the card of a dense network; give a network that `fcn` or `resunet` trained")
    card = DenseCard(
        architecture=parse_architecture(record["architecture"]),
        table=ClassTable.from_records(record["classes"]),
        size=parse_value(record["size"], tuple[int, int]),
        normalization=parse_fields(Normalization, record["normalization"], what="the normalization"),
        training=parse_value(record["training"], dict[str, Any]),
        scores=parse_value(record["scores"], dict[str, Any]),
        versions=parse_value(record["versions"], dict[str, str]),
    )
    return card, parse_value(record["sha256"], str)
