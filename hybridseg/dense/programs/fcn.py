"""FCN-8s: train it on labelled images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hybridseg.dense.augment import AugmentOptions
from hybridseg.dense.crops import CropOptions
from hybridseg.dense.datasets import Dataset
from hybridseg.dense.fit import Epoch, FitOptions
from hybridseg.dense.plan import TrainingPlan
from hybridseg.dense.schedules import Schedule
from hybridseg.dense.trainer import TrainingPaths, TrainingResult, train_dense
from hybridseg.errors import BadInput
from hybridseg.models.fcn import Fcn8s
from hybridseg.models.losses import LossOptions
from hybridseg.options import Span, check_options, option, option_like
from hybridseg.progress import Progress, no_progress

# Epochs, batch and learning rate are those of the best result in docs/benchmarks.md on coastal photos, which takes less
# than 20 minutes on two cores.
_RAMP_EPOCHS, _SUSTAIN_EPOCHS, _DECAY = 2, 10, 0.93


@dataclass(frozen=True)
class FcnOptions:
    """How an FCN-8s is trained."""

    epochs: int = option_like(FitOptions, "epochs", 50)
    batch_size: int = option_like(TrainingPlan, "batch_size", 8)
    learning_rate: float = option(
        5e-4,
        "Peak learning rate (Adam), reached from a tenth of it; after some epochs it decays towards a hundredth.",
        span=Span(0, 1, above=True, below=True),
    )
    loss: str = option_like(LossOptions, "loss")
    size: tuple[int, int] | None = option(
        None,
        "Rows and columns to which whole photos are resized, multiples of 32, in place of windows.",
        span=Span(32, step=Fcn8s.stride),
    )
    backbone: str = option_like(Fcn8s, "backbone")
    wide_channels: int = option_like(Fcn8s, "wide_channels")
    best_by: str = option_like(FitOptions, "best_by")
    patience: int = option_like(FitOptions, "patience")
    checkpoint_interval: int = option_like(FitOptions, "checkpoint_interval")
    frozen_epochs: int = option_like(FitOptions, "frozen_epochs")
    encoder_rate: float = option_like(FitOptions, "encoder_rate")
    seed: int = 0
    augment: AugmentOptions = AugmentOptions(
        rotation=10.0, zoom=0.1, row_shift=0.05, col_shift=0.05, flip_cols=True, brightness=0.1
    )
    crops: CropOptions = CropOptions()

    def __post_init__(self) -> None:
        check_options(self)
        if self.size and self.crops != CropOptions():
            raise BadInput(
                "--size resizes whole photos; --crop, --crop-scale, --crops and --balance are for windows of them: "
                "give one or the other"
            )

    @property
    def fit(self) -> FitOptions:
        """The part that every network has."""
        peak = self.learning_rate
        schedule = Schedule(peak / 10, peak, peak / 100, _RAMP_EPOCHS, _SUSTAIN_EPOCHS, _DECAY)
        return FitOptions(
            self.epochs,
            LossOptions(self.loss),
            schedule,
            self.best_by,
            self.patience,
            self.checkpoint_interval,
            self.seed,
            frozen_epochs=self.frozen_epochs,
            encoder_rate=self.encoder_rate,
        )


def train_fcn(
    data: Dataset,
    *,
    paths: TrainingPaths,
    options: FcnOptions = FcnOptions(),
    on_start: Callable[[str], None] = lambda text: None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    progress: Progress = no_progress,
) -> TrainingResult:
    """Train an FCN-8s.

    Parameters
    ----------
    data : Dataset
        Without validation images of its own, a share of the photographs is held out.
    paths : TrainingPaths
        Its `pretrained` are the weights of the encoder.
    on_start, on_epoch : callable
        As for `train_dense`.

    Raises
    ------
    MissingInput, BadInput, OutputExists, WriteFailed
    """
    found, crops = data.open_pairs(options.size, options.crops, progress=progress)
    pairs = found["train"]
    architecture = Fcn8s(pairs.n_bands, len(data.table), options.backbone, options.wide_channels)
    normalization = architecture.encoder.choose_normalization(pairs.dtype)
    plan = TrainingPlan(
        architecture, normalization, options.batch_size, augment=options.augment, fit=options.fit, crops=crops
    )
    return train_dense(
        pairs, plan, paths, validation_pairs=found.get("val"), on_start=on_start, on_epoch=on_epoch, progress=progress
    )
