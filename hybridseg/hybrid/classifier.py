"""One training run of a tile classifier: features, head, fine-tuning, and the model in every form that is written."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput
from hybridseg.forecast import followed_by
from hybridseg.hybrid.distort import DistortOptions, distort_tiles
from hybridseg.hybrid.features import cache_features
from hybridseg.hybrid.finetune import TILE_SECONDS, FineTuneOptions, fine_tune
from hybridseg.hybrid.head import Head, HeadOptions, HeadTrainer, Measurement, expect_step, train_head
from hybridseg.hybrid.imagesets import TESTING, TRAINING, VALIDATION, assign_sets
from hybridseg.hybrid.tilefolder import TileFolder, open_tile_folder
from hybridseg.io.atomic import write_bytes
from hybridseg.io.images import describe_image
from hybridseg.io.labels.classfiles import read_colors
from hybridseg.models.backbones import BUILTIN, DEFAULT_INPUT_SIZE, Backbone, load_backbone, saved_model_folder
from hybridseg.models.cards import combine_fingerprint, hash_bytes, hash_file, list_versions
from hybridseg.models.catalog import read_entry
from hybridseg.models.documents import write_documents
from hybridseg.models.engines import (
    TENSORFLOW,
    TENSORFLOW_BATCH,
    Engine,
    LiteEngine,
    TensorFlowEngine,
    explained_failures,
    run_in_batches,
)
from hybridseg.models.graphs import INPUT_NAME, OUTPUT_NAME, freeze, freeze_model, parse_graph
from hybridseg.models.runtimes import make_runtime
from hybridseg.models.store import ModelCard, save_classifier, scale_tiles
from hybridseg.models.summaries import SummaryWriter
from hybridseg.options import Span, check_options, option
from hybridseg.progress import Progress, say_if_slow

PREPROCESSING = "pixels / 255, bilinear to the input size"
_COMPUTE_BATCH = 32
# The card of the model, in its SavedModel.
_CARD_NAME = "card.json"
_LEAST_TILES = 500
# Tiles on which the runtime graph must agree with TensorFlow.
_N_PROBES = 256


@dataclass(frozen=True)
class RetrainOptions:
    """Everything that the result depends on, besides the tiles."""

    tfhub_module: str = option(BUILTIN, "Backbone: the built-in one, a Hub address, a folder or a .tar.gz.")
    testing_percentage: float = option(10, "Percentage of the tiles that is held out for the final score.")
    validation_percentage: float = option(10, "Percentage of the tiles that is held out to select the best head.")
    test_batch_size: int = option(-1, "Tiles that the final score is based on; -1 is all.", span=Span(1), extra=(-1,))
    final_tensor_name: str = option(OUTPUT_NAME, "Name of the output in the graph.")
    input_size: int = option(DEFAULT_INPUT_SIZE, "Side to which tiles are resized inside the model, in pixels.")
    fine_tune: bool = option(False, "Train the backbone too, after the head: slow.")
    trust_model: bool = option(False, "Load a module even if it could reach files or the network.")
    head: HeadOptions = HeadOptions()
    distort: DistortOptions = DistortOptions()
    tuning: FineTuneOptions = FineTuneOptions()

    def __post_init__(self) -> None:
        check_options(self)
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", self.final_tensor_name):
            raise BadInput(f"final_tensor_name={self.final_tensor_name!r}: give a plain name such as {OUTPUT_NAME}")
        if self.head.patience and not self.validation_percentage:
            raise BadInput("patience needs a validation set: give a validation_percentage above 0, or leave it out")


@dataclass(frozen=True)
class RetrainPaths:
    """Where training reads and writes; None leaves an output out."""

    image_dir: Path = option(help="Folder of tiles with a folder for each class, as retile writes it.")
    output_graph: Path = option(Path("model.pb"), "The model.")
    output_labels: Path | None = option(None, "The class names of the model.")
    colors_path: Path | None = None
    """Colours for the class list of the tiles."""
    bottleneck_dir: Path = option(Path("bottlenecks"), "Folder of cached features and checkpoints.")
    summaries_dir: Path | None = option(None, "Write logs for TensorBoard here.")
    saved_model_dir: Path | None = option(None, "Write the model as a SavedModel here too.")
    intermediate_output_graphs_dir: Path | None = option(None, "Write intermediate models here.")
    intermediate_store_frequency: int = option(0, "Steps between two intermediate models; 0 writes none.", span=Span(0))

    def __post_init__(self) -> None:
        check_options(self)
        if self.output_graph.suffix != ".pb":
            raise BadInput(f"--output_graph {self.output_graph}: name it with the suffix .pb")
        if bool(self.intermediate_store_frequency) != (self.intermediate_output_graphs_dir is not None):
            raise BadInput("intermediate_store_frequency and intermediate_output_graphs_dir need each other; give both")

    @property
    def labels_path(self) -> Path:
        """Where the class names go: `output_labels`, or ``labels.txt`` beside the model."""
        return self.output_labels or self.output_graph.with_name("labels.txt")

    def list_intermediate(self, n_steps: int) -> list[Path]:
        """Return where the intermediate models of so many steps go."""
        every, folder = self.intermediate_store_frequency, self.intermediate_output_graphs_dir
        steps = range(every, n_steps + 1, every) if every else ()
        return [folder / f"intermediate_{step}.pb" for step in steps] if folder else []


class _BackboneEngine:
    """Computes features with a backbone as it is at the moment."""

    name = TENSORFLOW

    def __init__(self, backbone: Backbone) -> None:
        import tensorflow as tf

        self._extract = tf.function(lambda pixels: backbone.extract(pixels), reduce_retracing=True, autograph=False)

    def classify(self, images: np.ndarray) -> np.ndarray:
        """Return the features, in batches of the size with which a module from elsewhere was tried."""
        return run_in_batches(lambda batch: self._extract(batch).numpy(), images, TENSORFLOW_BATCH, fill=True)


class TrainingRun:
    """The tiles, their sets and the backbone of a training run, and its steps in the order of their definition."""

    def __init__(self, paths: RetrainPaths, options: RetrainOptions, progress: Progress) -> None:
        self.paths, self.options = paths, options
        self.progress = progress
        self.folder = open_tile_folder(paths.image_dir)
        self.table = _read_table(self.folder, paths.colors_path)
        self.tile_size = _find_tile_size(self.folder)
        with say_if_slow(f"loading {options.tfhub_module}"):
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
        # Taken now: fine-tuning changes the backbone in place.
        self.fingerprint = combine_fingerprint(
            self.backbone.fingerprint, self.backbone.input_size, self.tile_size, PREPROCESSING
        )
        self.engine: Engine = _BackboneEngine(self.backbone)
        # Converting takes as long as some hundreds of tiles. The features differ in their last digits.
        if len(self.folder.names) >= _LEAST_TILES or options.distort.any:
            self.engine = self._convert_backbone() or self.engine
            self.fingerprint = combine_fingerprint(self.fingerprint, self.engine.name)

    def _convert_backbone(self) -> Engine | None:
        """Return the backbone in LiteRT; None when LiteRT does not support it."""
        probes = self.folder.read_tiles(np.arange(min(len(self.folder.names), 8)), tile_size=self.tile_size)
        graph = freeze(self.backbone.extract, (None, self.tile_size, self.tile_size, 3))
        content = make_runtime(graph, self.engine, [scale_tiles(probes)])
        return None if content is None else LiteEngine(content)

    def extract(self, tiles: np.ndarray) -> np.ndarray:
        """Compute the features of tiles, uint8 or float32 in 0..1, with the backbone as it is now."""
        parts = [np.zeros((0, self.backbone.n_features), np.float32)]
        for start in range(0, len(tiles), _COMPUTE_BATCH):
            with explained_failures(self.options.tfhub_module, "compute the features of these tiles"):
                parts.append(self.engine.classify(scale_tiles(tiles[start : start + _COMPUTE_BATCH])))
            if not np.isfinite(parts[-1]).all():
                raise BadInput(
                    f"{self.options.tfhub_module} gives features that are not numbers; use another module, or, if it "
                    "was fine-tuned, a lower learning rate"
                )
        return np.concatenate(parts)

    def _expect_head(self) -> float:
        options = self.options
        return options.head.how_many_training_steps * expect_step(options.head, is_distorted=options.distort.any)

    def _expect_tuning(self) -> float:
        n_tiles = np.count_nonzero(self.sets == TRAINING) * self.options.tuning.epochs
        return float(self.options.fine_tune * n_tiles * TILE_SECONDS)

    def cache_features(self) -> np.ndarray:
        """Return the features of all tiles, (n_tiles, n_features), computing those that are not on disk."""
        return cache_features(
            self.folder,
            tile_size=self.tile_size,
            n_features=self.backbone.n_features,
            fingerprint=self.fingerprint,
            compute=self.extract,
            cache_dir=self.paths.bottleneck_dir,
            progress=followed_by(self.progress, self._expect_head() + self._expect_tuning()),
        )

    def train_head(self, features: np.ndarray, summaries: SummaryWriter) -> tuple[Head, list[Measurement]]:
        """Train the head and return it with its learning curve."""
        options, class_ids = self.options, self.folder.class_ids
        train, validation = np.flatnonzero(self.sets == TRAINING), np.flatnonzero(self.sets == VALIDATION)

        def read_distorted(chosen: np.ndarray, rng: np.random.Generator) -> np.ndarray:
            tiles = self.folder.read_tiles(train[chosen], tile_size=self.tile_size)
            return self.extract(distort_tiles(tiles, options.distort, rng))

        def record(measurement: Measurement) -> None:
            for run, values in measurement.by_set().items():
                summaries.write_scalars(run, measurement.step, values)

        trainer = HeadTrainer(
            np.ascontiguousarray(features[train]),
            class_ids[train],
            n_classes=len(self.folder.table),
            options=options.head,
            source=read_distorted if options.distort.any else None,
        )
        key = combine_fingerprint(
            self.fingerprint,
            list_versions(),
            options.head,
            options.distort,
            *(hash_bytes(np.ascontiguousarray(part).data) for part in (features, class_ids, train, validation)),
            # A run that is to write intermediate models goes through all steps once.
            self.paths.intermediate_output_graphs_dir,
            self.paths.intermediate_store_frequency,
        )
        head = train_head(
            trainer,
            validation_features=features[validation],
            validation_ids=class_ids[validation],
            on_measurement=record,
            on_step=self._store_intermediate,
            checkpoint_path=self.paths.bottleneck_dir / f"head_{key[:16]}.npz",
            progress=followed_by(self.progress, self._expect_tuning()),
        )
        return head, trainer.curve

    def _store_intermediate(self, step: int, get_head: Callable[[], Head]) -> None:
        every, target = self.paths.intermediate_store_frequency, self.paths.intermediate_output_graphs_dir
        if every and target and step % every == 0:
            write_bytes(target / f"intermediate_{step}.pb", self.freeze(get_head()))

    def fine_tune(self, head: Head, summaries: SummaryWriter) -> Head:
        """Train the backbone, in place, together with the head."""
        # What was converted are the weights as they were.
        self.engine = _BackboneEngine(self.backbone)
        options, train = self.options, np.flatnonzero(self.sets == TRAINING)
        settings = replace(options.tuning, seed=options.head.seed, class_weights=options.head.class_weights)
        # Without the number of epochs: a longer run resumes a shorter one.
        key = combine_fingerprint(
            self.fingerprint,
            replace(settings, epochs=1),
            options.distort,
            [(self.folder.names[i], self.folder.class_ids[i]) for i in train],
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
        """Compute the class probabilities of some tiles, with the backbone as it is now."""
        parts = [np.zeros((0, len(self.folder.table)), np.float32)]
        for start in range(0, len(indices), _COMPUTE_BATCH):
            tiles = self.folder.read_tiles(indices[start : start + _COMPUTE_BATCH], tile_size=self.tile_size)
            parts.append(head.predict(self.extract(tiles)))
        return np.concatenate(parts)

    def freeze(self, head: Head) -> bytes:
        """Return the frozen graph."""
        import tensorflow as tf

        weights, bias = tf.constant(head.weights), tf.constant(head.bias)

        def apply(tiles: Any) -> Any:
            return tf.nn.softmax(tf.nn.bias_add(tf.matmul(self.backbone.extract(tiles), weights), bias))

        return freeze_model(apply, tile_size=self.tile_size, output_name=self.options.final_tensor_name)

    def _convert(self, content: bytes) -> bytes | None:
        """Return the runtime graph of a frozen graph, which must say the same of tiles from all over the folder."""
        graph = parse_graph(self.paths.output_graph, content)
        chosen = np.unique(np.linspace(0, len(self.folder.names) - 1, _N_PROBES).astype(int))
        tiles = self.folder.read_tiles(chosen, tile_size=self.tile_size)
        return make_runtime(graph, TensorFlowEngine(graph), [scale_tiles(tiles)])

    def _describe(self, head: Head, tested: np.ndarray) -> dict[str, Any]:
        """Return what the card says of the training, JSON-ready."""
        count = getattr(self.backbone.keep, "count_params", None)
        return {
            "data_sha256": self._hash_tiles(range(len(self.folder.names))),
            **({"test_sha256": self._hash_tiles(tested)} if len(tested) else {}),
            "n_photographs": len(set(self.folder.sources)),
            "n_tiles": {name: int((self.sets == name).sum()) for name in (TRAINING, VALIDATION, TESTING)},
            **({"n_parameters": count() + head.weights.size + head.bias.size} if count else {}),
            "options": asdict(self.options),
        }

    def _hash_tiles(self, indices: Iterable[int]) -> str:
        """Return a hash that is the same for the same tiles of the same classes, whatever they are called."""
        names, class_ids = self.folder.names, self.folder.class_ids
        found = ((self.folder.table.names[class_ids[i]], hash_file(self.folder.root / names[i])) for i in indices)
        return combine_fingerprint(*sorted(found))

    def write_model(self, head: Head, scores: dict[str, Any], tested: np.ndarray) -> tuple[list[Path], str]:
        """Write the model in every form that was asked for; return the paths, and a note on the labels."""
        content, is_own = self.freeze(head), owns_saved_model(self.paths)
        card = ModelCard(
            names=self.table.names,
            colors=self.table.colors,
            tile_size=self.tile_size,
            input_size=self.backbone.input_size,
            module=self.backbone.handle,
            preprocessing=PREPROCESSING,
            fine_tuned=self.options.fine_tune,
            versions=list_versions(),
            scores=scores,
            sha256=hash_bytes(content),
            training=self._describe(head, tested),
        )
        written, note = save_classifier(
            self.paths.output_graph, content, card, self.paths.labels_path, runtime=self._convert(content)
        )
        written += write_documents(read_entry(self.paths.output_graph))
        if self.paths.saved_model_dir is not None:
            name = self.options.final_tensor_name
            with saved_model_folder(self.paths.saved_model_dir, replace=is_own) as partial:
                _export_classifier(partial, self.backbone, head, tile_size=self.tile_size, output_name=name)
                shutil.copyfile(_card_path(self.paths), partial / _CARD_NAME)
            written.append(self.paths.saved_model_dir)
        return written, note


def _read_table(folder: TileFolder, colors_path: Path | None) -> ClassTable:
    """Return the classes of the outputs; colours are those of the whole class list, that of the user's class file."""
    if colors_path is None:
        return folder.table
    return folder.table.with_colors_of(read_colors(colors_path, folder.listed, owner=folder.root))


def _find_tile_size(folder: TileFolder) -> int:
    """Return the side of the first tile; for whole pictures, which need not be square, the longer side."""
    info = describe_image(folder.root / folder.names[0])
    return max(info.rows, info.cols)


def owns_saved_model(paths: RetrainPaths) -> bool:
    """Return whether the SavedModel that is there is of the model that is there: a training replaces them together."""
    try:
        found = paths.saved_model_dir and (paths.saved_model_dir / _CARD_NAME).read_bytes()
        return bool(found) and found == _card_path(paths).read_bytes()
    except OSError:
        return False


def _card_path(paths: RetrainPaths) -> Path:
    return paths.output_graph.with_suffix(".json")


def _export_classifier(folder: Path, backbone: Backbone, head: Head, *, tile_size: int, output_name: str) -> None:
    """Write a classifier as a TF2 SavedModel."""
    import tensorflow as tf

    module = tf.Module()
    module.weights, module.bias = tf.Variable(head.weights), tf.Variable(head.bias)
    module.backbone = backbone.keep
    signature = [tf.TensorSpec([None, tile_size, tile_size, 3], tf.float32, name=INPUT_NAME)]

    @tf.function(input_signature=signature, autograph=False)
    def classify(tiles: Any) -> Any:
        return {output_name: tf.nn.softmax(tf.matmul(backbone.extract(tiles), module.weights) + module.bias)}

    module.classify = classify
    tf.saved_model.save(module, str(folder), signatures={"serving_default": classify})
