"""Train any dense network: pairs and a plan in; the network with its card, the log and the figures out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hybridseg.confusion import Confusion, pool_confusions
from hybridseg.dense.feed import Feed
from hybridseg.dense.fit import Epoch, fit
from hybridseg.dense.machines import MachineOptions
from hybridseg.dense.monitor import HISTOGRAM_INTERVAL, Monitor
from hybridseg.dense.pairs import PairSource, hash_pairs
from hybridseg.dense.pictures import WorstImages, draw_end, draw_start
from hybridseg.dense.plan import TrainingPlan, list_sets, make_feeds
from hybridseg.dense.replicas import choose_strategy, describe_device, list_devices, replicate
from hybridseg.dense.runs import CHECKPOINT_NAME, LOG_NAME, RunFolder
from hybridseg.dense.scoring import evaluate_feed, expect_evaluation, score_feed
from hybridseg.dense.team import Team, join_team
from hybridseg.dense.warmstart import check_start, start_from
from hybridseg.errors import BadInput, OutputExists
from hybridseg.figures import FigureOptions
from hybridseg.forecast import UNKNOWN, followed_by
from hybridseg.io.atomic import claim_folder
from hybridseg.io.locks import lock_output
from hybridseg.io.tables import write_csv
from hybridseg.markup import count_of, render_table, render_text
from hybridseg.models.bundles import DenseCard, DenseModel, check_card_place, save_dense
from hybridseg.models.cards import hash_bytes, list_versions
from hybridseg.models.catalog import read_entry
from hybridseg.models.documents import write_documents
from hybridseg.models.encoders import Weights
from hybridseg.models.layers import count_settling_steps
from hybridseg.models.startup import make_deterministic
from hybridseg.progress import Progress, no_progress, say_if_slow
from hybridseg.ranking import ImageScore, average_dice, list_image_rows, rank_images, tell_worst
from hybridseg.verdict import judge

logger = logging.getLogger(__name__)

# Batches on which the runtime graph must agree with the network.
_N_PROBES = 2
# Photographs that a card names: it may not grow without bound.
_MAX_NAMED = 1000


@dataclass(frozen=True)
class TrainingPaths:
    """What a training run reads and writes, and on which machines it runs.

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
        Weights of the encoder to start from: a file, ``none`` for random ones, ``imagenet``, or None for those by
        default.
    load : pathlib.Path or None
        A model or a checkpoint of an earlier training, to start from its weights in place of `pretrained`.
    histogram_interval : int or None
        Write histograms of weights and gradients of every Nth epoch for TensorBoard; 0 writes none, and None those of
        every tenth, or of the last where there are fewer.

    Raises
    ------
    MissingInput, BadInput
        For histograms without a folder of TensorBoard, and for what cannot be loaded.
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
    load: Path | None = None
    machines: MachineOptions = MachineOptions()

    def __post_init__(self) -> None:
        if self.histogram_interval is not None and self.tensorboard_dir is None:
            raise BadInput("--histogram-interval is for the logs of TensorBoard; give --tensorboard-dir too")
        if self.load is not None:
            check_start(self.load)

    @property
    def by_image(self) -> Path:
        """The table of the scores of each photograph."""
        return self.weights.with_name(f"{self.weights.stem}_by_image.csv")

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
    images : tuple of ImageScore
        The scores of the same photographs, the lowest multi-label Dice first.
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
    images: tuple[ImageScore, ...]
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
        return f"trained on {count_of(self.n_training, 'image')}{score}"

    def _repr_html_(self) -> str:
        verdict = judge(self.photos)
        text = render_text(f"{self.model_path}: {self._describe()}", verdict and verdict.text)
        title, *worst = tell_worst(self.images)
        return text + self.confusion._repr_html_() + render_text(title) + render_table(*worst)

    @property
    def confusion(self) -> Confusion:
        """The confusion matrix of the whole validation set."""
        return pool_confusions(self.photos)


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
        Called with lines on what the training starts with: device, weights, images, settings, and what is resumed.
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
    with join_team(paths.machines, on_start) as team, _claim(paths, team):
        if not team.is_chief:
            paths = replace(paths, plots=False, tensorboard_dir=None, histogram_interval=None, overwrite=False)
        if team.is_chief and paths.resume and not (paths.run_dir / CHECKPOINT_NAME).exists():
            on_start(f"there is no training in {paths.run_dir} to resume: a new one starts")
        training, validation = make_feeds(pairs, validation_pairs, plan, progress=followed_by(progress, UNKNOWN))
        sets = list_sets(training, validation, test_pairs, plan) if score_sets else {}
        model = _build(pairs, plan, paths, on_start)
        if paths.overwrite:
            # Not earlier: it may hold the checkpoint that was loaded.
            RunFolder(paths.run_dir).clear()
        # Before the training, in which files can change.
        hashes = _hash_data(pairs, validation, sets.get("test"), followed_by(progress, UNKNOWN))
        settings = plan.list_settings(training, validation)
        settings |= {"weights of --load": model.card.training["load"]} if paths.load else {}
        team.compare({
            **settings, **_describe_data(pairs, validation, hashes), "epochs": plan.fit.epochs,
            "graphics cards": len(list_devices()), "--resume": paths.resume,
        })  # fmt: skip
        written = [*on_network(model)] if team.is_chief else []
        for line in plan.describe(training, validation):
            on_start(line)
        if paths.plots:
            rates = [plan.fit.schedule.learning_rate(epoch) for epoch in range(plan.fit.epochs)]
            written += draw_start(paths.plot, training, validation, rates, dpi=paths.figures.dpi)
        later = followed_by(progress, expect_evaluation(validation))
        folder = RunFolder(paths.run_dir, settings, paths.resume)
        history = _fit(model, training, validation, plan, paths, folder, team, on_start, on_epoch, later)
        _warn_of_unsettled(model, n_steps=len(history) * training.n_steps)
        worst = WorstImages(model.table, dpi=paths.figures.dpi)
        look = worst.look if paths.plots else None
        by_photo = evaluate_feed(model, validation, look=look, progress=progress)
        photos, images = tuple(by_photo.values()), rank_images(by_photo)
        scored = {name: score_feed(model.network, feed, plan.fit.loss) for name, feed in sets.items()}
        origin = {**model.card.training, **hashes, **_describe_training(plan, pairs, validation, history), **about}
        model.card = replace(model.card, training=origin, scores=_describe_scores(photos, images, scored))
        if team.is_chief:
            written = [*_save(model, paths, validation, images), *written]
        if paths.plots:
            written += draw_end(paths.plot, model, validation, history, dpi=paths.figures.dpi)
            written += worst.draw(paths.plot("worst"))
    n_training, n_validation = len(training.indices), len(validation.indices)
    return TrainingResult(
        model, tuple(written), tuple(history), photos, images, n_training, n_validation, plan.fit.find_best(history),
        scored,
    )  # fmt: skip


def _warn_of_unsettled(model: DenseModel, *, n_steps: int) -> None:
    n_settling = count_settling_steps(model.network)
    if n_steps < n_settling:
        logger.warning(
            "the training had %d steps, and the running averages of its normalization lag behind until about %d: "
            "the scores below can be far from those of the training in the log; train for more epochs",
            n_steps, n_settling,
        )  # fmt: skip


def _save(model: DenseModel, paths: TrainingPaths, validation: Feed, images: Sequence[ImageScore]) -> list[Path]:
    """Write the model, what it is, and how it does on each photograph; return the paths."""
    probes = [pixels.numpy() for pixels, _ in islice(validation.batches(), _N_PROBES)]
    saved = save_dense(paths.weights, model.network, model.card, probes=probes)
    documents = write_documents(read_entry(paths.weights))
    write_csv(paths.by_image, *list_image_rows(images))
    return [*saved, *documents, paths.run_dir / LOG_NAME, paths.by_image]


@contextmanager
def _claim(paths: TrainingPaths, team: Team) -> Iterator[None]:
    """Keep others from writing the same result; of several machines, one writes."""
    if paths.resume and paths.overwrite:
        raise BadInput("--resume continues a run and --overwrite starts over; give one of them")
    if not team.is_chief:
        yield
        return
    with lock_output(paths.run_dir / CHECKPOINT_NAME), lock_output(paths.weights):
        _check_places(paths)
        yield


def _check_places(paths: TrainingPaths) -> None:
    checkpoint = paths.run_dir / CHECKPOINT_NAME
    if paths.resume and paths.weights.exists() and not checkpoint.exists():
        raise BadInput(f"there is no {checkpoint} to resume from; --overwrite trains {paths.weights} anew")
    check_card_place(paths.weights)
    claim_folder(paths.run_dir)
    claim_folder(paths.weights.parent)
    for path in (paths.weights, checkpoint):
        if path.exists() and not (paths.resume or paths.overwrite):
            raise OutputExists(f"{path} is there already; --resume continues its training, --overwrite starts over")


def _build(pairs: PairSource, plan: TrainingPlan, paths: TrainingPaths, on_start: Callable[[str], None]) -> DenseModel:
    """Return the network as it is before it is trained, on a card without scores."""
    make_deterministic(plan.fit.seed)
    on_start(describe_device(alone=plan.readers is None and paths.machines.strategy is None))
    with say_if_slow("building the network"):
        network = plan.architecture.build()
    card = DenseCard(
        plan.architecture, pairs.table, pairs.size, plan.normalization, versions=list_versions(),
        view=plan.describe_view(pairs),
    )  # fmt: skip
    model = DenseModel(paths.weights, card, network)
    start = start_from(paths.load, model) if paths.load else plan.architecture.start(network, paths.pretrained)
    on_start(start)
    known = {} if paths.load else {"pretrained": Path(plan.architecture.choose_weights(paths.pretrained)).name}
    model.card = replace(model.card, training={**model.card.training, "started_from": start, **known})
    return model


def _fit(
    model: DenseModel,
    training: Feed,
    validation: Feed,
    plan: TrainingPlan,
    paths: TrainingPaths,
    folder: RunFolder,
    team: Team,
    on_start: Callable[[str], None],
    on_epoch: Callable[[Epoch], None],
    progress: Progress,
) -> list[Epoch]:
    interval = paths.histogram_interval
    if interval is None:
        interval = min(HISTOGRAM_INTERVAL, plan.fit.epochs)
    own = training.for_share(team.share)
    strategy = team.strategy or choose_strategy(paths.machines.strategy, has_full_batches=plan.readers is not None)
    with (
        Monitor(
            paths.tensorboard_dir, model, training, validation, histogram_interval=interval, loss=plan.fit.loss
        ) as monitor,
        own.reading(),
        replicate(model.network, plan.architecture.build, plan.batch_size, strategy) as (copy, gather),
    ):

        def report(epoch: Epoch) -> None:
            monitor.report(epoch)
            on_epoch(epoch)

        return fit(
            model.network, own, validation, options=plan.fit, folder=folder,
            encoder=plan.architecture.find_encoder(copy),
            keep=lambda path: save_dense(path, model.network, model.card), on_start=on_start, on_epoch=report,
            progress=progress, copy=copy, gather=gather, team=team,
        )  # fmt: skip


def _describe_data(pairs: PairSource, validation: Feed, hashes: Mapping[str, str]) -> dict[str, Any]:
    """Return what the images of several machines must have in common: contents, names and order, not their dates."""
    names = [hash_bytes("\0".join(sources).encode("utf-8", "surrogateescape"))
             for sources in (pairs.sources, validation.pairs.sources)]  # fmt: skip
    return {
        "images and masks": [hashes["data_sha256"], names[0]],
        "validation images and masks": [hashes["validation_sha256"], names[1]],
        "test images and masks": hashes.get("test_sha256"),
    }


def _hash_data(pairs: PairSource, validation: Feed, test: Feed | None, progress: Progress) -> dict[str, str]:
    """Return hashes of all that there is to train on, and of what the scores are measured on."""
    chosen: dict[str, tuple[PairSource, Iterable[int]]] = {
        "data_sha256": (pairs, range(len(pairs.sources))),
        "validation_sha256": (validation.pairs, validation.indices),
        **({"test_sha256": (test.pairs, test.indices)} if test else {}),
    }
    return {name: hash_pairs(source, indices, progress=progress) for name, (source, indices) in chosen.items()}


def _describe_training(plan: TrainingPlan, pairs: PairSource, validation: Feed, history: list[Epoch]) -> dict[str, Any]:
    held_out = sorted({validation.pairs.sources[i] for i in validation.indices})
    return {
        "n_photographs": len(set(pairs.sources)),
        "n_pairs": len(pairs.sources),
        "held_out": held_out[:_MAX_NAMED],
        "epochs": len(history),
        "best_epoch": plan.fit.find_best(history),
        "batch_size": plan.batch_size,
        "augmentation": plan.augment.to_record(),
        "options": asdict(plan.fit),
        **({"crops": asdict(plan.crops)} if plan.crops.crop else {}),
        **({"readers": asdict(plan.readers)} if plan.readers else {}),
    }


def _describe_scores(
    photos: Sequence[Confusion], images: Sequence[ImageScore], sets: Mapping[str, Mapping[str, float | None]]
) -> dict[str, Any]:
    """Return what the card says about results: on the validation set, and on each set that was scored."""
    verdict = judge(photos)
    own = {"image_dice": average_dice(images), "verdict": verdict.to_record() if verdict else None}
    scores = {**pool_confusions(photos).to_record(), **own}
    return {**scores, "sets": sets} if sets else scores
