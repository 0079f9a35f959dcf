"""Train a tile classifier on a folder of tiles and write it as ``model.pb``, ``labels.txt`` and ``model.json``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.confusion import Confusion, count_by_photo, pool_confusions
from hybridseg.figures import FigureOptions, draw_learning_curve
from hybridseg.hybrid.classifier import RetrainOptions, RetrainPaths, TrainingRun, owns_saved_model
from hybridseg.hybrid.head import Measurement
from hybridseg.hybrid.imagesets import TESTING, TRAINING, VALIDATION
from hybridseg.io.atomic import claim_folder
from hybridseg.io.locks import lock_output
from hybridseg.io.marks import check_ours
from hybridseg.markup import count_of, render_text
from hybridseg.models.backbones import claim_saved_model
from hybridseg.models.graphs import GRAPH_MARKS
from hybridseg.models.store import check_card_place
from hybridseg.models.summaries import SummaryWriter
from hybridseg.progress import Progress, no_progress
from hybridseg.verdict import Verdict, judge


@dataclass(frozen=True, eq=False)
class RetrainResult:
    """The result of a training run.

    Parameters
    ----------
    counts : dict of str to int
        Tiles in each set.
    scores : dict
        On the testing set; empty when there is none.
    confusion, verdict : Confusion, Verdict
        On the testing set; None when there is none.
    misclassified : tuple of (str, str)
        Wrongly classified tiles of the testing set, each with its predicted class.
    notes : tuple of str
        What the user should know about the backbone and the files.
    """

    written: tuple[Path, ...]
    counts: dict[str, int]
    scores: dict[str, Any]
    confusion: Confusion | None
    verdict: Verdict | None
    curve: tuple[Measurement, ...]
    misclassified: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<RetrainResult: {self.model_path}, {self._describe()}>"

    def _describe(self) -> str:
        if self.confusion is None:
            return "not measured: no photo was held out"
        accuracy, n_photos = self.scores["accuracy"], self.scores["n_photos"]
        photos = count_of(n_photos, "photo")
        return f"held-out accuracy {accuracy:.3f} on {count_of(self.confusion.n_pixels, 'tile')} of {photos}"

    def _repr_html_(self) -> str:
        texts = render_text(f"{self.model_path}: {self._describe()}", *self.notes, self.verdict and self.verdict.text)
        return texts + (self.confusion._repr_html_() if self.confusion else "")

    @property
    def model_path(self) -> Path:
        """The model."""
        return self.written[0]


def retrain(
    paths: RetrainPaths,
    *,
    options: RetrainOptions = RetrainOptions(),
    figures: FigureOptions | None = None,
    progress: Progress = no_progress,
) -> RetrainResult:
    """Train a classifier on tiles; after an interruption the same call resumes where it stopped.

    Parameters
    ----------
    figures : FigureOptions or None
        Of the learning curve, which is drawn beside the model; None: it is not.

    Raises
    ------
    MissingInput, BadInput
        When tiles or backbone cannot be used.
    OutputExists
        When there is a SavedModel already, or what hybridseg did not write lies where a result goes.
    WriteFailed
    """
    with lock_output(paths.output_graph):
        beside = paths.output_graph.with_name(f"{paths.output_graph.stem}_training")
        curve_path = figures.name(beside) if figures else None
        _check_outputs(paths, options.head.how_many_training_steps, curve_path)
        run = TrainingRun(paths, options, progress)
        features = run.cache_features()
        with SummaryWriter(paths.summaries_dir) as summaries:
            head, curve = run.train_head(features, summaries)
            if options.fine_tune:
                head = run.fine_tune(head, summaries)
            tested = _choose_tested(run.sets, options)
            # The cached features are those of the backbone before fine-tuning.
            probs = run.predict(head, tested) if options.fine_tune else head.predict(features[tested])
            predicted = probs.argmax(axis=1)
            wrong = np.flatnonzero(predicted != run.folder.class_ids[tested])
            shown = run.folder.read_tiles(tested[wrong[:16]], tile_size=run.tile_size)
            summaries.write_images("misclassified_test_tiles", 0, shown)
        sources = [run.folder.sources[i] for i in tested]
        photos = count_by_photo(run.folder.class_ids[tested], predicted, sources, run.folder.table)
        confusion, verdict = pool_confusions(photos) if photos else None, judge(photos, unit="tiles")
        scores = _list_scores(confusion, verdict, len(photos))
        names = run.folder.table.names
        written, labels_note = run.write_model(head, scores, tested)
        if figures and curve_path:
            _draw_curve(curve_path, curve, figures.dpi)
            written = [*written, curve_path]
    return RetrainResult(
        written=tuple(written),
        counts={name: int((run.sets == name).sum()) for name in (TRAINING, VALIDATION, TESTING)},
        scores=scores,
        confusion=confusion,
        verdict=verdict,
        curve=tuple(curve),
        misclassified=tuple((run.folder.names[tested[i]], names[predicted[i]]) for i in wrong),
        notes=tuple(note for note in (run.backbone.note, labels_note) if note),
    )


def _draw_curve(path: Path, curve: Sequence[Measurement], dpi: int) -> None:
    measures = {
        "accuracy": ([m.train_accuracy for m in curve], [m.validation_accuracy for m in curve]),
        "cross entropy": ([m.train_cross_entropy for m in curve], [m.validation_cross_entropy for m in curve]),
    }
    draw_learning_curve(path, [m.step for m in curve], measures, dpi=dpi)


def _check_outputs(paths: RetrainPaths, n_steps: int, curve_path: Path | None) -> None:
    check_card_place(paths.output_graph)
    if curve_path:
        check_ours([curve_path], advice="give another --output_graph")
    check_ours(
        paths.list_intermediate(n_steps), marks=GRAPH_MARKS,
        advice="let --intermediate_output_graphs_dir name another folder",
    )  # fmt: skip
    if paths.saved_model_dir is not None and not owns_saved_model(paths):
        claim_saved_model(paths.saved_model_dir)
    folders = (
        paths.output_graph.parent,
        paths.labels_path.parent,
        paths.bottleneck_dir,
        paths.summaries_dir,
        paths.intermediate_output_graphs_dir,
    )
    for folder in folders:
        if folder is not None:
            claim_folder(folder)


def _choose_tested(sets: np.ndarray, options: RetrainOptions) -> np.ndarray:
    tested = np.flatnonzero(sets == TESTING)
    if options.test_batch_size == -1 or options.test_batch_size >= len(tested):
        return tested
    rng = np.random.default_rng((options.head.seed, 4))
    return np.sort(rng.choice(tested, options.test_batch_size, replace=False))


def _list_scores(confusion: Confusion | None, verdict: Verdict | None, n_photos: int) -> dict[str, Any]:
    """Return what the model card says of the testing set; empty when there is none."""
    if confusion is None:
        return {}
    return {
        "n_tiles": confusion.n_pixels,
        "n_photos": n_photos,
        "accuracy": confusion.accuracy,
        "macro_f1": confusion.macro("f1"),
        "mean_iou": confusion.macro("iou"),
        "classes": confusion.to_record()["classes"],
        "left_out": list(confusion.left_out),
        "verdict": verdict.to_record() if verdict else None,
    }
