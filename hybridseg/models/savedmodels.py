"""A dense network as a SavedModel: any program of TensorFlow can serve it, and ours finds its own bundle in it."""

from __future__ import annotations

import shutil
from pathlib import Path

from hybridseg.errors import BadInput, MissingInput, WriteFailed
from hybridseg.io.atomic import atomic_folder
from hybridseg.models.bundles import DenseModel, card_path
from hybridseg.models.engines import classify_pixels
from hybridseg.models.runtimes import runtime_path

SAVED_MODEL_NAME = "saved_model"

# What TensorFlow leaves to others.
_EXTRA_DIR = "assets.extra"
GRAPH_NAME = "saved_model.pb"


def write_saved_model(folder: Path, model: DenseModel) -> Path:
    """Write a network that was saved with its card as a SavedModel, whole or not at all, and return the folder.

    Its signature ``serving_default`` takes ``image``, (n, rows, cols, bands) float32 as stored, and returns
    ``probabilities``, (n, rows, cols, n_classes) float32, and ``classes``, (n, rows, cols) uint8.

    Raises
    ------
    WriteFailed
    """
    import tensorflow as tf

    network, card = model.network, model.card
    specification = tf.TensorSpec([None, None, None, card.architecture.n_bands], tf.float32, name="image")

    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = classify_pixels(network, card.normalization.apply_batch(image))
        return {"probabilities": probabilities, "classes": tf.cast(tf.argmax(probabilities, -1), tf.uint8)}

    module = tf.Module()
    # Not the network itself: TensorFlow alone knows nothing of its layers.
    module.weights = list(network.variables)
    module.serve = tf.function(serve, input_signature=[specification], autograph=False)
    try:
        with atomic_folder(folder) as partial_dir:
            tf.saved_model.save(module, str(partial_dir), signatures={"serving_default": module.serve})
            extra_dir = partial_dir / _EXTRA_DIR
            extra_dir.mkdir()
            for path in (model.path, card_path(model.path), runtime_path(model.path)):
                if path.exists():
                    shutil.copyfile(path, extra_dir / path.name)
    except tf.errors.OpError as error:
        raise WriteFailed(f"could not write {folder} ({error}); check the free space there") from error
    return folder


def find_bundle(folder: Path) -> Path:
    """Return where the bundle in a SavedModel is.

    Raises
    ------
    MissingInput, BadInput
        When there is no SavedModel, or it is one of another program.
    """
    if not (folder / GRAPH_NAME).is_file():
        raise MissingInput(f"{folder} is no SavedModel (it has no {GRAPH_NAME}); give OUTPUT_DIR/{SAVED_MODEL_NAME}")
    if not (folder / _EXTRA_DIR).is_dir():
        raise BadInput(
            f"{folder} is a SavedModel of another program, which could run any code; give one that hybridseg wrote"
        )
    return folder / _EXTRA_DIR
