"""Train any dense network: pairs and a plan in; the network with its card, the log and the figures out."""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from hybridseg.confusion import Confusion, pool_confusions
from hybridseg.dense.augment import Augmentation, AugmentOptions
from hybridseg.dense.crops import CropOptions, CropPlan, lay_tiles
from hybridseg.dense.feed import Feed, WindowFeed, hold_out
from hybridseg.dense.fit import CHECKPOINT_NAME, LOG_NAME, Epoch, FitOptions, RunFolder, fit
from hybridseg.dense.monitor import HISTOGRAM_INTERVAL, Monitor
from hybridseg.dense.pairs import FolderPairs, PairSource, RememberedPairs
from hybridseg.dense.photos import PhotoPairs
from hybridseg.dense.pictures import draw_end, draw_start
from hybridseg.dense.scoring import evaluate_feed, expect_evaluation, score_feed
from hybridseg.errors import BadInput, OutputExists
from hybridseg.figures import FigureOptions
from hybridseg.forecast import UNKNOWN, followed_by
from hybridseg.io.atomic import claim_folder, lock_output
from hybridseg.markup import render_text
from hybridseg.models.architectures import Architecture, architecture_record
from hybridseg.models.bundles import DenseCard, DenseModel, check_card_place, save_dense
from hybridseg.models.cards import list_versions
from hybridseg.models.encoders import Weights
from hybridseg.models.normalization import Normalization
from hybridseg.models.startup import make_deterministic
from hybridseg.models.views import View
from hybridseg.options import Span, check_options, option
from hybridseg.progress import Progress, no_progress, say_if_slow
from hybridseg.verdict import judge

_RUN_FILE = re.compile(r"checkpoint\.npz|best\.npz|log\.csv|epoch_\d{4,}(\.card)?\.(h5|json)")

# Batches on which the runtime graph must agree with the network.
_N_PROBES = 2
# Photographs that a card names: it may not grow without bound.
_MAX_NAMED = 1000


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that a trained network depends on, besides the pairs."""

    architecture: Architecture
    normalization: Normalization
    batch_size: int = option(4, "Images in a training step.", span=Span(1))
    validation_share: float = option(
        0.15, "Share of the photographs that is held out, where there is no validation set.", span=Span(0, 1)
    )
    augment: Augmentation = AugmentOptions()
    fit: FitOptions = FitOptions()
    crops: CropOptions = CropOptions()

    def __post_init__(self) -> None:
        check_options(self)
        if self.crops.crop is None and self.crops != CropOptions():
            raise BadInput("--crop-scale, --crops and --balance are for windows of photos: give --crop")


@dataclass(frozen=True)
class TrainingPaths:
    """What a training run reads and writes.

    Parameters
    ----------
    weights : pathlib.Path
        ``NAME.h5``; the card and the figures lie beside it.
    run_dir : pathlib.Path
        For checkpoints and the log.
    resume, overwrite : bool
        Continue a run that is there, or start over.
    plots : bool
        Draw figures, as `figures` says.
    pretrained : pathlib.Path, str or None
        Weights to start from: a file, ``none`` for random ones, ``imagenet``, or None for those by default.
    histogram_interval : int or None
        Write histograms of weights and gradients of every Nth epoch for TensorBoard; 0 writes none, and None those of
        every tenth.

    Raises
    ------
    BadInput
        For histograms without a folder of TensorBoard.
    """

    weights: Path
    run_dir: Path
    tensorboard_dir: Path | None = None
    resume: bool = False
    overwrite: bool = False
    plots: bool = True
    figures: FigureOptions = FigureOptions()
    pretrained: Weights = None
    histogram_interval: int | None = None

    def __post_init__(self) -> None:
        if self.histogram_interval is not None and self.tensorboard_dir is None:
            raise BadInput("--histogram-interval is for the logs of TensorBoard; give --tensorboard-dir too")

    def plot(self, what: str) -> Path:
        """Return the path of a figure."""
        return self.figures.name(self.weights.with_name(f"{self.weights.stem}_{what}"))


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """Result of a training run.

    Parameters
    ----------
    photos : tuple of Confusion
        Of each photograph of the validation set: at the size of the training, or at its own after one on windows.
    n_training, n_validation : int
        Number of pairs.
    best_epoch : int
        Whose network this is; 0 where nothing was trained.
    sets : mapping
        Loss and scores of the training, validation and test set, where they were asked for: at the size of the
        training, without augmentation.
    """

    model: DenseModel
    written: tuple[Path, ...]
    history: tuple[Epoch, ...]
    photos: tuple[Confusion, ...]
    n_training: int
    n_validation: int
    best_epoch: int = 0
    sets: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<TrainingResult: {self.model_path}, {self._describe()}>"

    @property
    def model_path(self) -> Path:
        """The weights of the model."""
        return self.model.path

    def _describe(self) -> str:
        accuracy = self.confusion.accuracy
        score = "" if accuracy is None else f", accuracy {accuracy:.3f} on {self.n_validation} held-out images"
        return f"trained on {self.n_training} images{score}"

    def _repr_html_(self) -> str:
        verdict = judge(self.photos)
        text = render_text(f"{self.model_path}: {self._describe()}", verdict and verdict.text)
        return text + self.confusion._repr_html_()

    @property
    def confusion(self) -> Confusion:
        """The confusion matrix of the whole validation set."""
        return pool_confusions(list(self.photos))


def train_dense(
    pairs: PairSource,
    plan: TrainingPlan,
    paths: TrainingPaths,
    *,
    validation_pairs: PairSource | None = None,
    test_pairs: PairSource | None = None,
    score_sets: bool = False,
    about: Mapping[str, Any] = MappingProxyType({}),
    on_start: Callable[[str], None] = lambda text: None,
    on_network: Callable[[DenseModel], Sequence[Path]] = lambda model: (),
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    progress: Progress = no_progress,
) -> TrainingResult:
    """Train a network, and write the weights that did best on photographs that it was not trained on.

    Parameters
    ----------
    pairs : PairSource
        A PhotoPairs where the plan asks for windows.
    validation_pairs : PairSource or None
        None: a share of the photographs of `pairs` is held out.
    test_pairs : PairSource or None
        A set that has no part in the training, for the scores of the end.
    score_sets : bool
        Score the network on all sets in the end.
    about : mapping
        What else the card says about the training, as JSON holds it.
    on_start : callable
        Called with a description of the pretrained weights.
    on_network : callable
        Called with the network before it is trained; it returns the paths of what it wrote.
    on_epoch : callable
        Called after every epoch.

    Raises
    ------
    BadInput
        When the pairs do not fit the plan.
    OutputExists
        When there is a run already, and neither `resume` nor `overwrite` is set.
    WriteFailed
    """
    _claim(paths)
    training, validation = make_feeds(pairs, validation_pairs, plan, progress=followed_by(progress, UNKNOWN))
    sets = _list_sets(training, validation, test_pairs, plan) if score_sets else {}
    with lock_output(paths.run_dir / CHECKPOINT_NAME):
        if paths.overwrite:
            _clear(paths.run_dir)
        make_deterministic(plan.fit.seed)
        with say_if_slow("building the network"):
            network = plan.architecture.build()
        on_start(plan.architecture.start(network, paths.pretrained))
        card = DenseCard(
            plan.architecture, pairs.table, pairs.size, plan.normalization, versions=list_versions(),
            view=_describe_view(pairs, plan),
        )  # fmt: skip
        model = DenseModel(paths.weights, card, network)
        written = [*on_network(model)]
        if paths.plots:
            rates = [plan.fit.schedule.learning_rate(epoch) for epoch in range(plan.fit.epochs)]
            written += draw_start(paths.plot, training, validation, rates, dpi=paths.figures.dpi)
        later = followed_by(progress, expect_evaluation(validation))
        history = _fit(model, training, validation, plan, paths, on_epoch, later)
        photos = evaluate_feed(model, validation, progress=progress)
        verdict = judge(photos)
        scores = {**pool_confusions(photos).to_record(), "verdict": verdict.to_record() if verdict else None}
        found = {name: score_feed(network, feed, plan.fit.loss) for name, feed in sets.items()}
        if found:
            scores["sets"] = found
        trained = replace(
            card, training={**_describe_training(plan, pairs, validation, history), **about}, scores=scores
        )
        probes = [images.numpy() for images, _ in islice(validation.batches(), _N_PROBES)]
        written = [*save_dense(paths.weights, network, trained, probes=probes), paths.run_dir / LOG_NAME, *written]
        model.card = trained
        if paths.plots:
            written += draw_end(paths.plot, model, validation, history, dpi=paths.figures.dpi)
    return TrainingResult(
        model, tuple(written), tuple(history), tuple(photos), len(training.indices), len(validation.indices),
        plan.fit.find_best(history), found,
    )  # fmt: skip


def make_feeds(
    pairs: PairSource, validation_pairs: PairSource | None, plan: TrainingPlan, *, progress: Progress = no_progress
) -> tuple[Feed, Feed]:
    """Return the training and the validation batches; no photograph is in both.

    Raises
    ------
    BadInput
        When the images have another number of bands than the network takes, or both sets share a photograph.
    """
    if pairs.n_bands != plan.architecture.n_bands:
        raise BadInput(f"the images have {pairs.n_bands} bands, but the network takes {plan.architecture.n_bands}")
    seed = plan.fit.seed
    if validation_pairs is None:
        training_ids, validation_ids = hold_out(pairs.sources, share=plan.validation_share, seed=seed)
    else:
        shared = sorted(set(pairs.sources) & set(validation_pairs.sources))
        if shared:
            raise BadInput(f"{', '.join(shared[:5])} are in the training set and in the validation set; take them out")
        training_ids, validation_ids = np.arange(len(pairs.sources)), np.arange(len(validation_pairs.sources))
    if plan.crops.crop is not None:
        windows = _make_window_feed(pairs, training_ids, plan, progress)
        n_pixels = windows.n_samples * plan.crops.crop[0] * plan.crops.crop[1]
        return windows, _make_tile_feed(validation_pairs or pairs, validation_ids, plan, n_pixels)
    remembered = RememberedPairs(pairs)
    training = Feed(
        remembered, training_ids, batch_size=plan.batch_size, normalization=plan.normalization, augment=plan.augment,
        shuffle=True, seed=seed,
    )  # fmt: skip
    validation = Feed(
        remembered if validation_pairs is None else RememberedPairs(validation_pairs), validation_ids,
        batch_size=plan.batch_size, normalization=plan.normalization,
    )  # fmt: skip
    return training, validation


def _list_sets(training: Feed, validation: Feed, test_pairs: PairSource | None, plan: TrainingPlan) -> dict[str, Feed]:
    """Return the feed of each set, without augmentation; no photograph is in the test set and in another one."""
    plain = copy.copy(training)
    plain.augment = AugmentOptions()
    sets = {"training": plain, "validation": validation}
    if test_pairs is None:
        return sets
    shared = sorted((set(training.pairs.sources) | set(validation.pairs.sources)) & set(test_pairs.sources))
    if shared:
        raise BadInput(f"{', '.join(shared[:5])} are in the test set and would be trained on; take them out")
    indices = np.arange(len(test_pairs.sources))
    if plan.crops.crop is not None:
        return {**sets, "test": _make_tile_feed(test_pairs, indices, plan, sys.maxsize)}
    test = Feed(test_pairs, indices, batch_size=plan.batch_size, normalization=plan.normalization)
    return {**sets, "test": test}


def _make_window_feed(pairs: PairSource, indices: np.ndarray, plan: TrainingPlan, progress: Progress) -> WindowFeed:
    """Return random windows of photographs."""
    assert isinstance(pairs, PhotoPairs) and plan.crops.crop is not None
    crops = CropPlan(pairs, indices, plan.crops, seed=plan.fit.seed, progress=progress)
    return WindowFeed(
        pairs, indices, crops.list_windows, shape=plan.crops.crop, batch_size=plan.batch_size,
        normalization=plan.normalization, augment=plan.augment, seed=plan.fit.seed,
    )  # fmt: skip


def _make_tile_feed(pairs: PairSource, indices: np.ndarray, plan: TrainingPlan, n_pixels: int) -> WindowFeed:
    """Return windows side by side, as they are predicted: not more pixels than a network is trained on in an epoch."""
    view = _describe_view(pairs, plan)
    assert isinstance(pairs, PhotoPairs) and plan.crops.crop is not None and view is not None
    shape, tiles = lay_tiles(
        pairs, indices, scale=view.usual_scale, stride=plan.architecture.stride, n_pixels=n_pixels, seed=plan.fit.seed
    )
    ratio = plan.crops.crop[0] * plan.crops.crop[1] / (shape[0] * shape[1])
    return WindowFeed(
        pairs, indices, lambda epoch: tiles, shape=shape, batch_size=max(int(plan.batch_size * ratio), 1),
        normalization=plan.normalization,
    )  # fmt: skip


def _describe_view(pairs: PairSource, plan: TrainingPlan) -> View | None:
    """Return at which scale a network sees photographs; None where it is not known how large they were."""
    if not isinstance(pairs, FolderPairs):
        return None
    return View.of(pairs.infos, size=pairs.size, scale=plan.crops.scale if plan.crops.crop else None)


def _claim(paths: TrainingPaths) -> None:
    if paths.resume and paths.overwrite:
        raise BadInput("--resume continues a run and --overwrite starts over; give one of them")
    checkpoint = paths.run_dir / CHECKPOINT_NAME
    if paths.resume and paths.weights.exists() and not checkpoint.exists():
        raise BadInput(f"there is no {checkpoint} to resume from; --overwrite trains {paths.weights} anew")
    check_card_place(paths.weights)
    claim_folder(paths.run_dir)
    claim_folder(paths.weights.parent)
    for path in (paths.weights, checkpoint):
        if path.exists() and not (paths.resume or paths.overwrite):
            raise OutputExists(f"{path} is there already; --resume continues its training, --overwrite starts over")


def _clear(run_dir: Path) -> None:
    """Remove what an earlier run left in its folder: only files with the names of a run."""
    for path in run_dir.iterdir():
        if _RUN_FILE.fullmatch(path.name):
            path.unlink()


def _fit(
    model: DenseModel,
    training: Feed,
    validation: Feed,
    plan: TrainingPlan,
    paths: TrainingPaths,
    on_epoch: Callable[[Epoch], None],
    progress: Progress,
) -> list[Epoch]:
    pairs = training.pairs
    settings = {
        **asdict(plan), "architecture": architecture_record(plan.architecture), "augment": plan.augment.to_record(),
        "images and masks": pairs.fingerprint, "validation images and masks": validation.pairs.fingerprint,
        "classes": pairs.table.to_records(), "size": pairs.size,
    }  # fmt: skip
    del settings["fit"]["epochs"]
    folder = RunFolder(paths.run_dir, settings, paths.resume)
    interval = HISTOGRAM_INTERVAL if paths.histogram_interval is None else paths.histogram_interval
    logs = paths.tensorboard_dir
    with Monitor(logs, model, training, validation, histogram_interval=interval, loss=plan.fit.loss) as monitor:

        def report(epoch: Epoch) -> None:
            monitor.report(epoch)
            on_epoch(epoch)

        return fit(
            model.network, training, validation, options=plan.fit, folder=folder,
            encoder=plan.architecture.find_encoder(model.network),
            keep=lambda path: save_dense(path, model.network, model.card), on_epoch=report, progress=progress,
        )  # fmt: skip


def _describe_training(plan: TrainingPlan, pairs: PairSource, validation: Feed, history: list[Epoch]) -> dict[str, Any]:
    held_out = sorted({validation.pairs.sources[i] for i in validation.indices})
    return {
        "data_sha256": pairs.fingerprint,
        "n_photographs": len(set(pairs.sources)),
        "n_pairs": len(pairs.sources),
        "held_out": held_out[:_MAX_NAMED],
        "epochs": len(history),
        "best_epoch": plan.fit.find_best(history),
        "batch_size": plan.batch_size,
        "augmentation": plan.augment.to_record(),
        "options": asdict(plan.fit),
        **({"crops": asdict(plan.crops)} if plan.crops.crop else {}),
    }
