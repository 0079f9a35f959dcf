"""FCN-8s with the folders of the classic program: train it on one, load it for another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hybridseg.dense.augment import AugmentOptions
from hybridseg.dense.datasets import find_classic_pairs, find_labeldefs, make_color_reader, refuse_problems
from hybridseg.dense.fit import Epoch, FitOptions, RunFolder
from hybridseg.dense.pairs import FolderPairs, check_pairs
from hybridseg.dense.programs.configproposal import fit_target_size
from hybridseg.dense.schedules import Schedule
from hybridseg.dense.trainer import TrainingPaths, TrainingPlan, TrainingResult, train_dense
from hybridseg.errors import BadInput, MissingInput
from hybridseg.io.images import describe_image
from hybridseg.models.bundles import DenseModel, load_dense
from hybridseg.models.fcn import BACKBONES, Fcn8s
from hybridseg.progress import Progress, no_progress

MODEL_NAME = "model.h5"

_RAMP_EPOCHS, _SUSTAIN_EPOCHS, _DECAY = 2, 10, 0.93


@dataclass(frozen=True)
class FcnOptions:
    """How an FCN-8s is trained.

    Parameters
    ----------
    epochs : int
    batch_size : int
    learning_rate : float
        At its top; it begins at a tenth and sinks to a hundredth.
    loss : str
    backbone : str
    wide_channels : int
        Of the two widest layers of VGG-16.
    size : tuple of int or None
        Rows and columns to which images are brought; None: from the first image.
    checkpoint_interval : int
    patience : int
    seed : int
    augment : AugmentOptions
    """

    epochs: int = 40
    batch_size: int = 4
    learning_rate: float = 5e-4
    loss: str = "combo"
    backbone: str = BACKBONES[0]
    wide_channels: int = 4096
    size: tuple[int, int] | None = None
    checkpoint_interval: int = 0
    patience: int = 0
    seed: int = 0
    augment: AugmentOptions = field(
        default_factory=lambda: AugmentOptions(
            rotation=5.0, zoom=0.1, row_shift=0.05, col_shift=0.05, flip_cols=True, brightness=0.1
        )
    )

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        if not 0 < self.learning_rate < 1:
            raise BadInput(f"learning_rate={self.learning_rate}: give a small positive number such as 0.0005")
        if self.size is not None and any(side < Fcn8s.stride or side % Fcn8s.stride for side in self.size):
            raise BadInput(f"size={self.size[0]}x{self.size[1]}: both must be multiples of {Fcn8s.stride}")

    @property
    def fit(self) -> FitOptions:
        """The part of it that every network has."""
        rate = self.learning_rate
        schedule = Schedule(rate / 10, rate, rate / 100, _RAMP_EPOCHS, _SUSTAIN_EPOCHS, _DECAY)
        return FitOptions(self.epochs, self.loss, schedule, self.patience, self.checkpoint_interval, self.seed)


def train_fcn(
    data_dir: Path,
    *,
    source: str,
    paths: TrainingPaths,
    options: FcnOptions = FcnOptions(),
    labeldefs_path: Path | None = None,
    weights_path: Path | None = None,
    on_start: Callable[[str], None] = lambda text: None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    progress: Progress = no_progress,
) -> TrainingResult:
    """Train an FCN-8s on a folder of the classic program.

    Parameters
    ----------
    data_dir : pathlib.Path
        With ``samples/RGB/train/SOURCE``, ``labels/gtFine/train/SOURCE`` and ``labeldefs.txt``. Where there is a
        ``val`` beside ``train``, it is watched; otherwise a share of the photographs is.
    source : str
    paths : TrainingPaths
    options : FcnOptions
    labeldefs_path : pathlib.Path or None
    weights_path : pathlib.Path or None
        For a VGG-16.
    on_start : callable
        Told in words what the backbone knows.
    on_epoch : callable
    progress : callable

    Returns
    -------
    TrainingResult

    Raises
    ------
    MissingInput, BadInput, OutputExists, WriteFailed
    """
    table = find_labeldefs(data_dir, labeldefs_path)
    parts = {"train": find_classic_pairs(data_dir, "train", source)}
    if (data_dir / "samples" / "RGB" / "val" / source).is_dir():
        parts["val"] = find_classic_pairs(data_dir, "val", source)
    read_labels = make_color_reader(table)
    every_pair = [pair for part in parts.values() for pair in part]
    problems, _ = check_pairs(every_pair, read_labels, n_classes=len(table), progress=progress)
    refuse_problems(problems)
    first = describe_image(every_pair[0].image_path)
    size = options.size or fit_target_size(first.rows, first.cols)
    found = {name: FolderPairs(part, read_labels, size=size) for name, part in parts.items()}
    pairs = found["train"]
    architecture = Fcn8s(pairs.n_bands, len(table), options.backbone, options.wide_channels)
    normalization = architecture.encoder.choose_normalization(pairs.dtype)
    plan = TrainingPlan(
        architecture, table, size, normalization, options.batch_size, augment=options.augment, fit=options.fit
    )
    return train_dense(
        pairs, plan, paths, validation_pairs=found.get("val"),
        start=lambda network: on_start(architecture.start(network, weights_path)),
        on_epoch=on_epoch, progress=progress,
    )  # fmt: skip


def load_fcn(run_dir: Path, *, checkpoint: int | None = None) -> DenseModel:
    """Load what was trained into a folder: the best of the run, or a numbered checkpoint.

    Raises
    ------
    MissingInput
        When it is not there; the message names the checkpoints that are.
    """
    path = run_dir / MODEL_NAME
    if checkpoint is not None:
        path = RunFolder(run_dir, "").weights_path(checkpoint)
    if not path.exists():
        numbers = sorted(int(p.stem[6:]) for p in run_dir.glob("epoch_*.h5") if p.stem[6:].isdecimal())
        kept = f"; there are the checkpoints {', '.join(map(str, numbers))}" if numbers else ""
        raise MissingInput(f"there is no {path}{kept}; train it with `hybridseg fcn train --name {run_dir.name}`")
    return load_dense(path)
