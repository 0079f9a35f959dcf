"""The plan of a training, and the batches of its sets: to train on, to validate on and to test on."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hybridseg.dense.augment import Augmentation, AugmentOptions
from hybridseg.dense.crops import CropOptions, CropPlan, lay_tiles
from hybridseg.dense.feed import Feed, WindowFeed, hold_out
from hybridseg.dense.fit import FitOptions
from hybridseg.dense.lmdbpairs import BatchMaker, LmdbPairs
from hybridseg.dense.pairs import FolderPairs, PairSource, RememberedPairs
from hybridseg.dense.photos import PhotoPairs
from hybridseg.dense.policy import Policy
from hybridseg.dense.readers import ReaderFeed, ReaderOptions
from hybridseg.dense.schedules import CosineToEnd
from hybridseg.errors import BadInput, join_names
from hybridseg.markup import count_of
from hybridseg.models.architectures import Architecture, architecture_record
from hybridseg.models.normalization import Normalization
from hybridseg.models.views import View
from hybridseg.options import Span, check_options, option
from hybridseg.progress import Progress, no_progress


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
    readers: ReaderOptions | None = None
    """How a database is read; None: there is none."""

    def __post_init__(self) -> None:
        check_options(self)
        if self.crops.crop is None and self.crops != CropOptions():
            raise BadInput("--crop-scale, --crops and --balance are for windows of photos: give --crop")

    def describe(self, training: Feed, validation: Feed) -> list[str]:
        """Return in words what the network sees, and how it is trained."""
        fit, (rows, cols) = self.fit, training.pairs.size
        crop, low, high = self.crops.crop, *self.crops.scales
        shown = f"all of each at {rows} x {cols} pixels"
        if crop is not None:
            at = f"scale {low:g}" if low == high else f"scales from {low:g} to {high:g}"
            what = "all of each" if self.crops.scale else f"{count_of(training.n_samples, 'window')} in an epoch"
            shown = f"{what} at {at}, {crop[0]} x {crop[1]} pixels"
            if self.crops.scale and len({info.shape for info in getattr(training.pairs, "infos", ())}) > 1:
                shown += "; smaller ones lie within their mirror image, which has no labels"
        peak = max(fit.schedule.learning_rate(epoch) for epoch in range(fit.epochs))
        kept = {0: "no checkpoints", 1: "a checkpoint every epoch"}
        interval = kept.get(fit.checkpoint_interval, f"a checkpoint every {count_of(fit.checkpoint_interval, 'epoch')}")
        return [
            f"images: {len(training.indices)} to train on, {len(validation.indices)} to validate on; {shown}",
            f"settings: {count_of(fit.epochs, 'epoch')}, batches of {self.batch_size}, learning rate up to "
            f"{peak:g}, loss {fit.loss.loss}, {interval}",
        ]

    def list_settings(self, training: Feed, validation: Feed) -> dict[str, Any]:
        """Return everything that the result of an epoch depends on, JSON-ready."""
        settings = {
            **asdict(self), "architecture": architecture_record(self.architecture), "augment": self.augment.to_record(),
            "images and masks": training.pairs.fingerprint,
            "validation images and masks": validation.pairs.fingerprint,
            "classes": training.pairs.table.to_records(), "size": training.pairs.size,
        }  # fmt: skip
        # Neither of these changes the result of an epoch, nor does the number of readers; a run that is given more
        # epochs takes the schedule for that many.
        for name in ("epochs", "validations_per_epoch"):
            del settings["fit"][name]
        if isinstance(self.fit.schedule, CosineToEnd):
            del settings["fit"]["schedule"]["first_epochs"]
        if self.readers:
            del settings["readers"]["reader_count"]
        return settings

    def describe_view(self, pairs: PairSource) -> View | None:
        """Return at which scale the network sees photographs; None where it is not known how large they were."""
        if isinstance(pairs, LmdbPairs):
            return pairs.view
        if not isinstance(pairs, FolderPairs):
            return None
        return View.of(pairs.infos, size=pairs.size, scale=self.crops.scales if self.crops.crop else None)


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
        raise BadInput(
            f"the images have {count_of(pairs.n_bands, 'band')}, but the network takes {plan.architecture.n_bands}"
        )
    seed = plan.fit.seed
    if validation_pairs is None:
        training_ids, validation_ids = hold_out(pairs.sources, share=plan.validation_share, seed=seed)
    else:
        _refuse_shared(pairs.sources, validation_pairs.sources, "in the training set and in the validation set")
        training_ids, validation_ids = np.arange(len(pairs.sources)), np.arange(len(validation_pairs.sources))
    if plan.readers is not None:
        assert isinstance(pairs, LmdbPairs) and isinstance(plan.augment, Policy) and validation_pairs is not None
        maker = BatchMaker(
            pairs.path, len(pairs.table), plan.batch_size, plan.normalization, plan.augment, seed,
            plan.readers.balance_classes,
        )  # fmt: skip
        return ReaderFeed(maker, plan.readers), _make_plain_feed(validation_pairs, validation_ids, plan)
    if plan.crops.crop is not None:
        windows = _make_window_feed(pairs, training_ids, plan, progress)
        # Not more pixels than the network is trained on in an epoch.
        n_pixels = windows.n_samples * plan.crops.crop[0] * plan.crops.crop[1]
        return windows, _make_plain_feed(validation_pairs or pairs, validation_ids, plan, n_pixels=n_pixels)
    remembered = RememberedPairs(pairs)
    training = Feed(
        remembered, training_ids, batch_size=plan.batch_size, normalization=plan.normalization, augment=plan.augment,
        shuffle=True, seed=seed,
    )  # fmt: skip
    others = remembered if validation_pairs is None else RememberedPairs(validation_pairs)
    return training, _make_plain_feed(others, validation_ids, plan)


def list_sets(training: Feed, validation: Feed, test_pairs: PairSource | None, plan: TrainingPlan) -> dict[str, Feed]:
    """Return the feed of each set, without augmentation; no photograph is in the test set and in another one.

    Raises
    ------
    BadInput
        When the test set shares a photograph with another one.
    """
    plain = copy.copy(training)
    plain.augment = AugmentOptions()
    sets = {"training": plain, "validation": validation}
    if test_pairs is None:
        return sets
    known = {*training.pairs.sources, *validation.pairs.sources}
    _refuse_shared(known, test_pairs.sources, "in the test set and would be trained on")
    return {**sets, "test": _make_plain_feed(test_pairs, np.arange(len(test_pairs.sources)), plan)}


def _refuse_shared(first: Iterable[str], second: Iterable[str], where: str) -> None:
    """Raise BadInput for photographs that are in two sets."""
    shared = sorted(set(first) & set(second))
    if shared:
        raise BadInput(f"{join_names(shared)} are {where}; take them out")


def _make_window_feed(pairs: PairSource, indices: np.ndarray, plan: TrainingPlan, progress: Progress) -> WindowFeed:
    """Return random windows of photographs."""
    assert isinstance(pairs, PhotoPairs) and plan.crops.crop is not None
    crops = CropPlan(pairs, indices, plan.crops, seed=plan.fit.seed, progress=progress)
    return WindowFeed(
        pairs, indices, crops.list_windows, shape=plan.crops.crop, batch_size=plan.batch_size,
        normalization=plan.normalization, augment=plan.augment, seed=plan.fit.seed,
    )  # fmt: skip


def _make_plain_feed(
    pairs: PairSource, indices: np.ndarray, plan: TrainingPlan, *, n_pixels: int = sys.maxsize
) -> Feed:
    """Return images as they are predicted: all of each, or windows of at most `n_pixels` in all, side by side."""
    if plan.crops.crop is None:
        return Feed(pairs, indices, batch_size=plan.batch_size, normalization=plan.normalization)
    view = plan.describe_view(pairs)
    assert isinstance(pairs, PhotoPairs) and view is not None
    shape, tiles = lay_tiles(
        pairs, indices, scale=view.usual_scale, stride=plan.architecture.stride, n_pixels=n_pixels, seed=plan.fit.seed
    )
    ratio = plan.crops.crop[0] * plan.crops.crop[1] / (shape[0] * shape[1])
    return WindowFeed(
        pairs, indices, lambda epoch: tiles, shape=shape, batch_size=max(int(plan.batch_size * ratio), 1),
        normalization=plan.normalization,
    )  # fmt: skip
