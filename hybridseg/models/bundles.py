"""A trained dense network on disk: ``NAME.h5``, its weights, and ``NAME.json``, its card, in one folder.

The card says all that is needed to use the network, and that is only numbers and names: a bundle cannot run code.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, MissingInput, located
from hybridseg.io.atomic import write_bytes
from hybridseg.io.rasters import check_regular
from hybridseg.io.tables import write_json
from hybridseg.models.architectures import Architecture, architecture_record, parse_architecture
from hybridseg.models.normalization import Normalization
from hybridseg.models.store import hash_bytes
from hybridseg.models.weightfile import encode_weights, load_weights

if TYPE_CHECKING:
    import tf_keras

FORMAT_VERSION = 1

_MAX_CARD_BYTES = 1_000_000
_MAX_SIDE = 100_000


@dataclass(frozen=True)
class DenseCard:
    """What is known of a network.

    Parameters
    ----------
    architecture : Architecture
    table : ClassTable
        Its classes, in the order of the outputs; two for a network of one output, the rest first.
    size : tuple of int
        Rows and columns to which images were brought for training.
    normalization : Normalization
    training : dict
        Where it comes from: hash of the data, options, number of images and epochs.
    scores : dict
        On images that it has not learned from.
    versions : dict
    """

    architecture: Architecture
    table: ClassTable
    size: tuple[int, int]
    normalization: Normalization
    training: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse parts that do not fit one another."""
        n_classes = max(self.architecture.n_outputs, 2)
        if len(self.table) != n_classes:
            raise BadInput(f"{len(self.table)} classes for a network that tells {n_classes} apart")
        if not all(1 <= side <= _MAX_SIDE for side in self.size):
            raise BadInput(f"size={self.size} is no size of an image")


class DenseModel:
    """A network that is ready to use, with its card.

    Parameters
    ----------
    path : pathlib.Path
        Of its weights.
    card : DenseCard
    network : tf_keras.Model
    """

    def __init__(self, path: Path, card: DenseCard, network: tf_keras.Model) -> None:
        """Keep what was loaded, and make it quick to call."""
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
        """Give class probabilities.

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
    """Give the scores of all classes: a single output is the score of the second class against the first, at 0."""
    import tensorflow as tf

    return tf.concat([tf.zeros_like(outputs), outputs], -1) if outputs.shape[-1] == 1 else outputs


def save_dense(path: str | os.PathLike[str], network: tf_keras.Model, card: DenseCard) -> list[Path]:
    """Write the weights and the card; the card comes last, so that it never tells of other weights.

    Returns
    -------
    list of pathlib.Path
    """
    path = Path(path)
    card_path = path.with_suffix(".json")
    content = encode_weights(network)
    card_path.unlink(missing_ok=True)
    write_bytes(path, content)
    write_json(card_path, {**_card_record(card), "sha256": hash_bytes(content)})
    return [path, card_path]


def load_dense(path: str | os.PathLike[str]) -> DenseModel:
    """Load a network: its card is checked, the network is built from it, and the weights are numbers.

    Parameters
    ----------
    path : path-like
        ``NAME.h5``, or the folder of one bundle.

    Returns
    -------
    DenseModel

    Raises
    ------
    MissingInput, BadInput
        When a part is missing or damaged, or the parts do not belong together.
    """
    path = _find_weights(Path(path))
    card, expected_hash = read_dense_card(path)
    if hash_bytes(check_regular(path).read_bytes()) != expected_hash:
        raise BadInput(
            f"{path} is not what {path.with_suffix('.json').name} tells of (the SHA-256 differs): it is damaged or of "
            "another training; copy both again or train again"
        )
    from hybridseg.models.startup import import_tensorflow

    import_tensorflow()
    network = card.architecture.build()
    load_weights(network, path)
    return DenseModel(path, card, network)


def read_dense_card(path: Path) -> tuple[DenseCard, str]:
    """Read the card that belongs to a file of weights, and the hash of these.

    Raises
    ------
    MissingInput, BadInput
    """
    card_path = path.with_suffix(".json")
    if not card_path.exists():
        raise MissingInput(f"{path} has no {card_path.name} beside it, which says what network it belongs to")
    with located(card_path):
        try:
            if check_regular(card_path).stat().st_size > _MAX_CARD_BYTES:
                raise BadInput("it is far too large for the card of a network")
            record = json.loads(card_path.read_text(encoding="utf-8"))
            if record["format"] != FORMAT_VERSION or record["kind"] != "dense":
                raise BadInput("it was written by another version of hybridseg; train the network again")
            return _parse_card(record), str(record["sha256"])
        except BadInput:
            raise
        except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            raise BadInput(f"it is damaged ({error}); copy it again or train again") from error


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
        "classes": [{"name": n, "color": list(c)} for n, c in zip(card.table.names, card.table.colors, strict=True)],
        "size": list(card.size),
        "normalization": asdict(card.normalization),
        "training": card.training,
        "scores": card.scores,
        "versions": card.versions,
    }


def _parse_card(record: dict[str, Any]) -> DenseCard:
    classes = record["classes"]
    colors = tuple((_whole(r), _whole(g), _whole(b)) for r, g, b in (row["color"] for row in classes))
    rows, cols = record["size"]
    return DenseCard(
        architecture=parse_architecture(record["architecture"]),
        table=ClassTable(tuple(str(row["name"]) for row in classes), colors),
        size=(_whole(rows), _whole(cols)),
        normalization=Normalization(str(record["normalization"]["kind"]), float(record["normalization"]["scale"])),
        training=dict(record["training"]),
        scores=dict(record["scores"]),
        versions={str(name): str(version) for name, version in record["versions"].items()},
    )


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is no whole number")
    return value
