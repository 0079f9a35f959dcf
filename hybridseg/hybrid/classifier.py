"""What all steps of one training run share, and the steps: features, last layer, fine-tuning, the written model."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput
from hybridseg.hybrid.distort import DistortOptions, distort_tiles
from hybridseg.hybrid.features import cache_features
from hybridseg.hybrid.finetune import FineTuneOptions, fine_tune
from hybridseg.hybrid.head import Head, HeadOptions, HeadTrainer, Measurement, train_head
from hybridseg.hybrid.imagesets import TRAINING, VALIDATION, assign_sets
from hybridseg.hybrid.tilefolder import TileFolder, open_tile_folder
from hybridseg.io.atomic import write_bytes
from hybridseg.io.images import describe_image
from hybridseg.models.backbones import BUILTIN, DEFAULT_INPUT_SIZE, Backbone, load_backbone
from hybridseg.models.cards import hash_bytes, list_versions
from hybridseg.models.checkpoints import combine_fingerprint
from hybridseg.models.graphs import OUTPUT_NAME, freeze_model
from hybridseg.models.store import ModelCard, save_classifier
from hybridseg.models.summaries import SummaryWriter
from hybridseg.progress import Progress

PREPROCESSING = "pixels / 255, bilinear to the input size"
_COMPUTE_BATCH = 32


@dataclass(frozen=True)
class RetrainOptions:
    """Everything that the result depends on, besides the tiles.

    Parameters
    ----------
    tfhub_module : str
        Handle of the backbone.
    input_size : int
        Side to which tiles are resized inside the graph.
    testing_percentage, validation_percentage : float
    test_batch_size : int
        Tiles that the final score is measured on; -1 for all that are held out.
    final_tensor_name : str
    fine_tune : bool
    trust_model : bool
    head : HeadOptions
    distort : DistortOptions
    tuning : FineTuneOptions
    """

    tfhub_module: str = BUILTIN
    input_size: int = DEFAULT_INPUT_SIZE
    testing_percentage: float = 10
    validation_percentage: float = 10
    test_batch_size: int = -1
    final_tensor_name: str = OUTPUT_NAME
    fine_tune: bool = False
    trust_model: bool = False
    head: HeadOptions = field(default_factory=HeadOptions)
    distort: DistortOptions = field(default_factory=DistortOptions)
    tuning: FineTuneOptions = field(default_factory=FineTuneOptions)

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        if self.test_batch_size < 1 and self.test_batch_size != -1:
            raise BadInput(f"test_batch_size={self.test_batch_size}: give 1 or more, or -1 for all")
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", self.final_tensor_name):
            raise BadInput(f"final_tensor_name={self.final_tensor_name!r}: give a plain name such as {OUTPUT_NAME}")
        if self.head.patience and not self.validation_percentage:
            raise BadInput("patience needs a validation set: give a validation_percentage above 0, or leave it out")


@dataclass(frozen=True)
class RetrainPaths:
    """Where things are read and written; None leaves an output out."""

    image_dir: Path
    output_graph: Path
    output_labels: Path
    bottleneck_dir: Path
    summaries_dir: Path | None = None
    saved_model_dir: Path | None = None
    intermediate_output_graphs_dir: Path | None = None
    intermediate_store_frequency: int = 0


class TrainingRun:
    """One training run: its tiles, their sets, its backbone, and the steps in the order of their definition.

    Parameters
    ----------
    paths : RetrainPaths
    options : RetrainOptions
    progress : callable
    """

    def __init__(self, paths: RetrainPaths, options: RetrainOptions, progress: Progress) -> None:
        """Open the tiles and load the backbone."""
        self.paths, self.options, self.progress = paths, options, progress
        self.folder = open_tile_folder(paths.image_dir)
        self.tile_size = _find_tile_size(self.folder)
        self.backbone = load_backbone(
            options.tfhub_module,
            input_size=options.input_size,
            trainable=options.fine_tune,
            trust=options.trust_model,
        )
        self.sets = assign_sets(
            self.folder.sources,
            self.folder.class_ids,
            testing_percentage=options.testing_percentage,
            validation_percentage=options.validation_percentage,
            seed=options.head.seed,
        )
        # Of the backbone as it was loaded, whatever fine-tuning does to it later.
        self.fingerprint = combine_fingerprint(
            self.backbone.fingerprint, self.backbone.input_size, self.tile_size, PREPROCESSING
        )
        self._graph: Any = None

    def extract(self, tiles: np.ndarray) -> np.ndarray:
        """Give the features of tiles, uint8 or float32 in 0..1, as the backbone is now."""
        import tensorflow as tf

        if self._graph is None:
            self._graph = tf.function(lambda pixels: self.backbone.extract(pixels), reduce_retracing=True)
        parts = [np.zeros((0, self.backbone.n_features), np.float32)]
        for start in range(0, len(tiles), _COMPUTE_BATCH):
            batch = tiles[start : start + _COMPUTE_BATCH]
            pixels = batch.astype(np.float32) / np.float32(255) if batch.dtype == np.uint8 else batch
            parts.append(self._graph(pixels).numpy())
        return np.concatenate(parts)

    def cache_features(self) -> np.ndarray:
        """Give the features of all tiles, (n_tiles, n_features), computing those that are not on disk."""
        return cache_features(
            self.folder,
            tile_size=self.tile_size,
            n_features=self.backbone.n_features,
            fingerprint=self.fingerprint,
            compute=self.extract,
            cache_dir=self.paths.bottleneck_dir,
            progress=self.progress,
        )

    def train_head(self, features: np.ndarray, summaries: SummaryWriter) -> tuple[Head, list[Measurement]]:
        """Train the last layer; give it and its learning curve."""
        options, class_ids = self.options, self.folder.class_ids
        train, validation = np.flatnonzero(self.sets == TRAINING), np.flatnonzero(self.sets == VALIDATION)
        rng = np.random.default_rng((options.head.seed, 3))
        curve: list[Measurement] = []

        def read_distorted(chosen: np.ndarray) -> np.ndarray:
            tiles = self.folder.read_tiles(train[chosen], tile_size=self.tile_size)
            return self.extract(distort_tiles(tiles, options.distort, rng))

        def tell(measurement: Measurement) -> None:
            curve.append(measurement)
            for run, values in measurement.by_set().items():
                summaries.write_scalars(run, measurement.step, values)

        trainer = HeadTrainer(
            np.ascontiguousarray(features[train]),
            class_ids[train],
            n_classes=len(self.folder.table),
            options=options.head,
            source=read_distorted if options.distort.any else None,
        )
        head = train_head(
            trainer,
            validation_features=features[validation],
            validation_ids=class_ids[validation],
            on_measurement=tell,
            on_step=self._store_intermediate,
            progress=self.progress,
        )
        return head, curve

    def _store_intermediate(self, step: int, give_head: Callable[[], Head]) -> None:
        every, target = self.paths.intermediate_store_frequency, self.paths.intermediate_output_graphs_dir
        if every and target and step % every == 0:
            write_bytes(target / f"intermediate_{step}.pb", self.freeze(give_head()))

    def fine_tune(self, head: Head, summaries: SummaryWriter) -> Head:
        """Train the backbone, in place, and the last layer with it."""
        options, train = self.options, np.flatnonzero(self.sets == TRAINING)
        settings = replace(options.tuning, seed=options.head.seed, class_weights=options.head.class_weights)
        # Everything that the result depends on but the number of epochs: more of them go on from fewer.
        key = combine_fingerprint(
            self.fingerprint,
            replace(settings, epochs=1),
            options.distort,
            [self.folder.names[i] for i in train],
            hash_bytes(head.weights.tobytes() + head.bias.tobytes()),
        )
        return fine_tune(
            self.backbone,
            head,
            self.folder,
            train,
            tile_size=self.tile_size,
            options=settings,
            distort=options.distort,
            checkpoint_path=self.paths.bottleneck_dir / f"fine_tune_{key[:16]}.npz",
            on_epoch=lambda epoch, loss: summaries.write_scalars("train", epoch, {"fine_tune_cross_entropy": loss}),
            progress=self.progress,
        )

    def predict(self, head: Head, indices: np.ndarray) -> np.ndarray:
        """Give the class probabilities of some tiles, with the backbone as it is now."""
        parts = [np.zeros((0, len(self.folder.table)), np.float32)]
        for start in range(0, len(indices), _COMPUTE_BATCH):
            tiles = self.folder.read_tiles(indices[start : start + _COMPUTE_BATCH], tile_size=self.tile_size)
            parts.append(head.predict(self.extract(tiles)))
        return np.concatenate(parts)

    def freeze(self, head: Head) -> bytes:
        """Give the bytes of the frozen graph."""
        import tensorflow as tf

        weights, bias = tf.constant(head.weights), tf.constant(head.bias)

        def apply(tiles: Any) -> Any:
            return tf.nn.softmax(tf.nn.bias_add(tf.matmul(self.backbone.extract(tiles), weights), bias))

        return freeze_model(apply, tile_size=self.tile_size, output_name=self.options.final_tensor_name)

    def write_model(self, head: Head, scores: dict[str, Any], colors: ClassTable | None) -> list[Path]:
        """Write the model in every form that was asked for."""
        content = self.freeze(head)
        table = self.folder.table
        if colors is not None:
            table = ClassTable(table.names, tuple(colors.colors[colors.index(name)] for name in table.names))
        card = ModelCard(
            names=table.names,
            colors=table.colors,
            tile_size=self.tile_size,
            input_size=self.backbone.input_size,
            module=self.backbone.handle,
            preprocessing=PREPROCESSING,
            fine_tuned=self.options.fine_tune,
            versions=list_versions(),
            scores=scores,
            sha256=hash_bytes(content),
        )
        written = save_classifier(self.paths.output_graph, content, card, self.paths.output_labels)
        if self.paths.saved_model_dir is not None:
            export_classifier(self.paths.saved_model_dir, self.backbone, head, tile_size=self.tile_size)
            written.append(self.paths.saved_model_dir)
        return written


def _find_tile_size(folder: TileFolder) -> int:
    """Give the side of the first tile; whole pictures, which need not be square, are fitted to their longer side."""
    info = describe_image(folder.root / folder.names[0])
    return max(info.rows, info.cols)


def export_classifier(target: Path, backbone: Backbone, head: Head, *, tile_size: int) -> None:
    """Write a classifier as a TF2 SavedModel too, whole or not at all."""
    import tensorflow as tf

    module = tf.Module()
    module.weights, module.bias = tf.Variable(head.weights), tf.Variable(head.bias)
    module.backbone = backbone.keep
    signature = [tf.TensorSpec([None, tile_size, tile_size, 3], tf.float32, name="Placeholder")]

    @tf.function(input_signature=signature)
    def classify(tiles: Any) -> Any:
        return {OUTPUT_NAME: tf.nn.softmax(tf.matmul(backbone.extract(tiles), module.weights) + module.bias)}

    module.classify = classify
    target = target.resolve()
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    tf.saved_model.save(module, str(partial), signatures={"serving_default": classify})
    if target.exists():
        target.rmdir()
    os.replace(partial, target)
