"""Train a tile classifier on a folder of tiles and write it as ``model.pb``, ``labels.txt`` and ``model.json``."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg import __version__
from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, OutputExists
from hybridseg.io.atomic import write_bytes
from hybridseg.io.images import describe_image
from hybridseg.models.backbones import BUILTIN, DEFAULT_INPUT_SIZE, Backbone, load_backbone
from hybridseg.models.graphs import OUTPUT_NAME, freeze_model
from hybridseg.models.store import ModelCard, hash_bytes, save_classifier
from hybridseg.progress import Progress, no_progress
from hybridseg.training.distort import DistortOptions, distort_tiles
from hybridseg.training.features import cache_features, combine_fingerprint
from hybridseg.training.finetune import FineTuneOptions, fine_tune
from hybridseg.training.head import Head, HeadOptions, HeadTrainer, Measurement, train_head
from hybridseg.training.imagesets import TESTING, TRAINING, VALIDATION, assign_sets
from hybridseg.training.summaries import SummaryWriter
from hybridseg.training.tilefolder import TileFolder, open_tile_folder

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
        if not self.final_tensor_name.isidentifier():
            raise BadInput(f"final_tensor_name={self.final_tensor_name!r}: give a plain name such as {OUTPUT_NAME}")


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


@dataclass(frozen=True, eq=False)
class RetrainResult:
    """What came out.

    Parameters
    ----------
    written : tuple of pathlib.Path
    counts : dict of str to int
        Tiles in each set.
    scores : dict
        Held-out scores; empty when there was nothing to measure them on.
    curve : tuple of Measurement
    misclassified : tuple of (str, str)
        Tiles of the testing set that got another class, and that class.
    note : str
        A line about the backbone that the user should read.
    """

    written: tuple[Path, ...]
    counts: dict[str, int]
    scores: dict[str, Any]
    curve: tuple[Measurement, ...]
    misclassified: tuple[tuple[str, str], ...]
    note: str


def retrain(
    paths: RetrainPaths,
    *,
    options: RetrainOptions = RetrainOptions(),
    colors: ClassTable | None = None,
    progress: Progress = no_progress,
) -> RetrainResult:
    """Train a classifier on tiles; after an interruption the same call goes on where it stopped.

    Parameters
    ----------
    paths : RetrainPaths
    options : RetrainOptions
    colors : ClassTable or None
        Colours of the classes, kept in the card for later figures.
    progress : callable

    Returns
    -------
    RetrainResult

    Raises
    ------
    MissingInput, BadInput, OutputExists, WriteFailed
    """
    _check_outputs(paths)
    run = _Run(paths, options, progress)
    features = run.cache_features()
    with SummaryWriter(paths.summaries_dir) as summaries:
        head, curve = run.train_head(features, summaries)
        if options.fine_tune:
            head = run.fine_tune(head, summaries)
        tested = _choose_tested(run.sets, options)
        # Fine-tuning has changed the backbone: what is on disk are the features of the one before.
        probs = run.predict(head, tested) if options.fine_tune else head.predict(features[tested])
        predicted = probs.argmax(axis=1)
        wrong = np.flatnonzero(predicted != run.folder.class_ids[tested])
        summaries.write_misclassified(run.folder.read_tiles(tested[wrong[:16]], tile_size=run.tile_size))
    scores = _score(predicted, run.folder, tested)
    names = run.folder.table.names
    return RetrainResult(
        written=tuple(run.write_model(head, scores, colors)),
        counts={name: int((run.sets == name).sum()) for name in (TRAINING, VALIDATION, TESTING)},
        scores=scores,
        curve=tuple(curve),
        misclassified=tuple((run.folder.names[tested[i]], names[predicted[i]]) for i in wrong),
        note=run.backbone.note,
    )


class _Run:
    """What all steps of one training run share: the tiles, their sets, the backbone."""

    def __init__(self, paths: RetrainPaths, options: RetrainOptions, progress: Progress) -> None:
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
        options, class_ids = self.options, self.folder.class_ids
        train, validation = np.flatnonzero(self.sets == TRAINING), np.flatnonzero(self.sets == VALIDATION)
        rng = np.random.default_rng((options.head.seed, 3))
        curve: list[Measurement] = []

        def read_distorted(chosen: np.ndarray) -> np.ndarray:
            tiles = self.folder.read_tiles(train[chosen], tile_size=self.tile_size)
            return self.extract(distort_tiles(tiles, options.distort, rng))

        def tell(measurement: Measurement) -> None:
            curve.append(measurement)
            summaries.write_measurement(measurement)

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
            on_epoch=summaries.write_epoch,
            progress=self.progress,
        )

    def predict(self, head: Head, indices: np.ndarray) -> np.ndarray:
        parts = [np.zeros((0, len(self.folder.table)), np.float32)]
        for start in range(0, len(indices), _COMPUTE_BATCH):
            tiles = self.folder.read_tiles(indices[start : start + _COMPUTE_BATCH], tile_size=self.tile_size)
            parts.append(head.predict(self.extract(tiles)))
        return np.concatenate(parts)

    def freeze(self, head: Head) -> bytes:
        import tensorflow as tf

        weights, bias = tf.constant(head.weights), tf.constant(head.bias)

        def apply(tiles: Any) -> Any:
            return tf.nn.softmax(tf.nn.bias_add(tf.matmul(self.backbone.extract(tiles), weights), bias))

        return freeze_model(apply, tile_size=self.tile_size, output_name=self.options.final_tensor_name)

    def write_model(self, head: Head, scores: dict[str, Any], colors: ClassTable | None) -> list[Path]:
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
            versions=_list_versions(),
            scores=scores,
            sha256=hash_bytes(content),
        )
        written = save_classifier(self.paths.output_graph, content, card, self.paths.output_labels)
        if self.paths.saved_model_dir is not None:
            export_classifier(self.paths.saved_model_dir, self.backbone, head, tile_size=self.tile_size)
            written.append(self.paths.saved_model_dir)
        return written


def _check_outputs(paths: RetrainPaths) -> None:
    if paths.output_graph.suffix != ".pb":
        raise BadInput(f"output_graph={paths.output_graph}: name it with the suffix .pb")
    target = paths.saved_model_dir
    if target is not None and target.exists() and any(target.iterdir()):
        raise OutputExists(f"{target} holds files already; give another --saved_model_dir or remove it")


def _find_tile_size(folder: TileFolder) -> int:
    """Give the side of the first tile; whole pictures, which need not be square, are fitted to their longer side."""
    info = describe_image(folder.root / folder.names[0])
    return max(info.rows, info.cols)


def _choose_tested(sets: np.ndarray, options: RetrainOptions) -> np.ndarray:
    tested = np.flatnonzero(sets == TESTING)
    if options.test_batch_size == -1 or options.test_batch_size >= len(tested):
        return tested
    rng = np.random.default_rng((options.head.seed, 4))
    return np.sort(rng.choice(tested, options.test_batch_size, replace=False))


def _score(predicted: np.ndarray, folder: TileFolder, tested: np.ndarray) -> dict[str, Any]:
    """Measure on the held-out photos; nothing is claimed where there are none."""
    if not len(tested):
        return {}
    from sklearn.metrics import f1_score

    truth = folder.class_ids[tested]
    return {
        "n_tiles": len(truth),
        "n_photos": len({folder.sources[i] for i in tested}),
        "accuracy": float((predicted == truth).mean()),
        "macro_f1": float(f1_score(truth, predicted, labels=np.unique(truth), average="macro", zero_division=0)),
    }


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
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    tf.saved_model.save(module, str(partial), signatures={"serving_default": classify})
    if target.exists():
        target.rmdir()
    os.replace(partial, target)


def _list_versions() -> dict[str, str]:
    packages = ("tensorflow", "tf-keras", "tensorflow-hub", "numpy")
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {"hybridseg": __version__, "python": platform.python_version(), **versions}
