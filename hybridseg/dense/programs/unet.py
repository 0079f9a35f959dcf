"""The U-Net: train it on labelled images, from an encoder with pretrained weights or from nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.classes import ClassTable
from hybridseg.dense.augment import Augmentation
from hybridseg.dense.crops import MAX_AREA, CropOptions
from hybridseg.dense.datasets import Dataset, open_folders
from hybridseg.dense.fit import Epoch, FitOptions
from hybridseg.dense.pairs import PairSource, fit_size
from hybridseg.dense.photos import PhotoPairs
from hybridseg.dense.pictures import draw_augmentation
from hybridseg.dense.plan import TrainingPlan
from hybridseg.dense.policy import Policy, read_policy
from hybridseg.dense.readers import ReaderOptions
from hybridseg.dense.schedules import CosineRestarts, CosineToEnd, Schedule
from hybridseg.dense.trainer import TrainingPaths, TrainingResult, train_dense
from hybridseg.errors import BadInput, BadUsage, OutputExists
from hybridseg.figures import DrawnFigure, FigureOptions, NetworkLevel, draw_network
from hybridseg.io.images import load_image
from hybridseg.io.labelled import load_labelled
from hybridseg.io.locks import lock_output
from hybridseg.io.pairing import find_images
from hybridseg.markup import count_of
from hybridseg.models.bundles import DenseModel
from hybridseg.models.encoders import ENCODERS, RANDOM
from hybridseg.models.losses import LossOptions
from hybridseg.models.normalization import Normalization
from hybridseg.models.startup import import_tensorflow
from hybridseg.models.unet import NO_ENCODER, Unet, show_shape, trace_joins
from hybridseg.options import Span, check_options, make_options, option, option_like
from hybridseg.progress import Progress, no_progress
from hybridseg.resample import resize_image, resize_nearest

_LEAST_SIDE = 32
NORMALIZATIONS = ("image", "dataset")
# A data set is measured on this many of its images at most.
_N_MEASURED = 500
SCHEDULES = ("ramp", "cosine", "constant")
DEFAULT_POLICY = "mild"

# Near the scale of whole photos, and rare classes often: like all defaults, what did best on held-out coastal photos.
WINDOWS = CropOptions(n_crops=4, balance=True)

# What each published program has in place of the defaults, by the names of the settings of the command.
PRESETS: dict[str, dict[str, Any]] = {
    "efficientnet-blog": {
        "encoder": "efficientnet_b4", "encoder_weights": "imagenet", "frozen_epochs": -1, "block": "none",
        "widths": (1024, 512, 256, 128), "dropout": 0.2, "size": (300, 300), "batch_size": 64, "epochs": 200,
        "loss": "combo", "dice_share": 0.95, "dice_over": "image", "schedule": "cosine", "learning_rate": 0.005,
        "ramp_epochs": 0, "first_epochs": 50, "t_mul": 1.0, "m_mul": 0.7, "alpha": 0.1,
        "patience": 66, "plateau_patience": 20, "validation_share": 0.3, "augmentation": "efficientnet-blog",
        "seed": 108241,
    },
    "nist": {
        "encoder": "none", "block": "plain", "widths": (512, 256, 128, 64), "batch_size": 4, "epochs": 100,
        "loss": "cross-entropy", "schedule": "constant", "learning_rate": 3e-4, "patience": 10, "augmentation": "nist",
        # In place of each image by its own: see docs/benchmarks.md.
        "normalization": "dataset",
    },
    "image-segmentation-pytorch": {
        "encoder": "none", "block": "plain", "upsample": "bilinear", "widths": (128, 64), "dropout": 0.0, "scale": 0.1,
        "batch_size": 2, "epochs": 2, "loss": "dice", "schedule": "constant", "learning_rate": 0.01, "best_by": "dice",
        "plateau_patience": 2, "validation_share": 0.25, "augmentation": "none", "checkpoint_interval": 1,
        "validations_per_epoch": 2,
    },
}  # fmt: skip
# The deeper of the two networks of that program.
PRESETS["image-segmentation-pytorch-deep"] = PRESETS["image-segmentation-pytorch"] | {"widths": (512, 256, 128, 64)}


# Which settings have no meaning unless another one has one of these values.
_BELONGS: dict[str, tuple[str, tuple[str, ...]]] = {
    "ramp_epochs": ("schedule", ("ramp", "cosine")),
    **dict.fromkeys(("sustain_epochs", "decay"), ("schedule", ("ramp",))),
    **dict.fromkeys(("first_epochs", "t_mul", "m_mul", "alpha"), ("schedule", ("cosine",))),
    "dice_share": ("loss", ("combo",)),
    "dice_over": ("loss", ("dice", "combo")),
    "focal_gamma": ("loss", ("focal",)),
}
_FLAGS = {"first_epochs": "first-restart"}


@dataclass(frozen=True)
class ScheduleOptions:
    """The learning rate of the epochs, in one of three ways."""

    schedule: str = option(
        "cosine",
        "How the learning rate changes: ramp and cosine rise from a tenth to the peak over the ramp epochs; ramp stays "
        "there and decays to a hundredth, cosine falls along a cosine, anew after every restart; constant stays.",
        choices=SCHEDULES,
    )
    learning_rate: float = option(3e-3, "Peak learning rate (Adam).", span=Span(0, 1, above=True, below=True))
    ramp_epochs: int = option_like(Schedule, "ramp_epochs", 2)
    sustain_epochs: float = option_like(Schedule, "sustain_epochs", 10.0)
    decay: float = option_like(Schedule, "decay", 0.93)
    first_epochs: int | None = option_like(CosineRestarts, "first_epochs", None)
    t_mul: float = option_like(CosineRestarts, "t_mul")
    m_mul: float = option_like(CosineRestarts, "m_mul")
    alpha: float = option_like(CosineRestarts, "alpha", 0.0)

    def __post_init__(self) -> None:
        check_options(self)

    def make(self, epochs: int) -> Schedule | CosineRestarts:
        """Return the schedule of a training of so many epochs."""
        peak = self.learning_rate
        if self.schedule == "cosine":
            kind, first = CosineRestarts, self.first_epochs
            if first is None:
                kind, first = CosineToEnd, max(epochs - self.ramp_epochs, 1)
            return kind(peak, first, self.t_mul, self.m_mul, self.alpha, self.ramp_epochs)
        if self.schedule == "constant":
            return Schedule(peak, peak, peak)
        return Schedule(peak / 10, peak, peak / 100, self.ramp_epochs, self.sustain_epochs, self.decay)


@dataclass(frozen=True)
class UnetOptions:
    """How a U-Net is trained: on windows of the photos or, where `size` is given, on all of each."""

    encoder: str = option_like(Unet, "encoder")
    block: str | None = option_like(Unet, "block", None)
    widths: tuple[int, ...] = option_like(Unet, "widths")
    dropout: float = option_like(Unet, "dropout")
    upsample: str | None = option_like(Unet, "upsample")
    normalization: str | None = option(
        None,
        "Bring every band to mean 0 and standard deviation 1: by those of each image (image), or by those of all "
        "training images together (dataset), which keeps how images differ in brightness and contrast.",
        choices=NORMALIZATIONS,
    )
    size: tuple[int, int] | None = option(
        None,
        "Rows and columns to which whole photos are resized, in place of windows; 32 at least.",
        span=Span(_LEAST_SIDE, 8192),
    )
    batch_size: int = option_like(TrainingPlan, "batch_size", 8)
    validation_share: float = option_like(TrainingPlan, "validation_share")
    fit: FitOptions = FitOptions(25, LossOptions("cross-entropy"), ScheduleOptions().make(25), encoder_rate=0.1)
    augment: Augmentation = field(default_factory=lambda: read_policy(DEFAULT_POLICY))
    crops: CropOptions = WINDOWS

    def __post_init__(self) -> None:
        check_options(self)
        # It refuses what no network can have.
        self.make_network(n_bands=1, n_outputs=1)

    def make_network(self, *, n_bands: int, n_outputs: int) -> Unet:
        """Return the settings of the network."""
        block = self.block or ("plain" if self.encoder == NO_ENCODER else "separable")
        return Unet(n_bands, n_outputs, self.encoder, block, self.widths, self.dropout, self.upsample)

    def choose_normalization(self, pairs: PairSource) -> Normalization:
        """Return the rule for the images of a data set; on an encoder, one that makes them like photographs."""
        image, encoder = Normalization("image"), ENCODERS.get(self.encoder)
        if encoder is not None and self.normalization is None and pairs.dtype == np.uint8:
            return encoder.choose_normalization(pairs.dtype)
        if (self.normalization or ("image" if encoder is None else "dataset")) == "image":
            return image if encoder is None else Normalization("photo")
        chosen = np.unique(np.linspace(0, len(pairs.sources) - 1, _N_MEASURED).astype(int)).tolist()
        measured = (
            pairs.measure(i, image) if isinstance(pairs, PhotoPairs) else image.measure(pairs.read(i)[0])
            for i in chosen
        )
        return Normalization.of_dataset(measured, as_photo=encoder is not None)


def check_encoder(settings: Mapping[str, Any], is_given: Callable[[str], bool]) -> None:
    """Raise BadUsage for what was given for an encoder where there is none, or where all weights are given."""
    if settings.get("load") is not None and is_given("encoder_weights"):
        raise BadUsage("--encoder-weights and --load both say what the encoder starts from; give one of them")
    for name in ("encoder_weights", "frozen_epochs", "encoder_rate"):
        if settings["encoder"] == NO_ENCODER and is_given(name):
            raise BadUsage(f"--{name.replace('_', '-')} is for an encoder, and this is --encoder=none")


def choose_options(settings: Mapping[str, Any], is_given: Callable[[str], bool]) -> UnetOptions:
    """Make options of all settings by name.

    Raises
    ------
    BadUsage
        For one that was given, see `is_given`, and has no meaning beside the others.
    BadInput
    """
    for name, (owner, values) in _BELONGS.items():
        if is_given(name) and settings[owner] not in values:
            raise BadUsage(
                f"--{_FLAGS.get(name) or name.replace('_', '-')} is for --{owner}={' or '.join(values)}, and this is "
                f"--{owner}={settings[owner]}"
            )
    for name in ("t_mul", "m_mul"):
        if is_given(name) and settings["first_epochs"] is None:
            raise BadUsage(f"--{name.replace('_', '-')} is for restarts, and there are none without --first-restart")
    check_encoder(settings, is_given)
    if settings["encoder"] != NO_ENCODER and settings["encoder_weights"] == RANDOM and settings["frozen_epochs"]:
        raise BadUsage("--encoder-weights=none is of no use as it is; give --frozen-epochs 0")
    size, scale = _choose_view(settings, is_given)
    schedule = make_options(ScheduleOptions, settings).make(settings["epochs"])
    fit = make_options(FitOptions, settings, loss=make_options(LossOptions, settings), schedule=schedule)
    crops, policy = make_options(CropOptions, settings, scale=scale), read_policy(settings["augmentation"])
    return make_options(UnetOptions, settings, size=size, fit=fit, crops=crops, augment=policy)


def _choose_view(settings: Mapping[str, Any], is_given: Callable[[str], bool]) -> tuple[Any, Any]:
    """Return the size and the scale of whole photos; what was given wins over those that a preset may have."""
    has_windows = any(is_given(item.name) for item in fields(CropOptions) if item.name != "scale")
    if is_given("scale") and (has_windows or is_given("size")):
        raise BadUsage(
            "--scale shrinks whole photos to a share of their own size; --size resizes them to one size, and --crop, "
            "--crop-scale, --crops and --balance are for windows of them: give one or the other"
        )
    if has_windows and is_given("size"):
        raise BadUsage(
            "--size resizes whole photos; --crop, --crop-scale, --crops and --balance are for windows of them: give "
            "one or the other"
        )
    size = None if has_windows or is_given("scale") else settings["size"]
    return size, None if has_windows or is_given("size") else settings["scale"]


def train_unet(
    data: Dataset,
    *,
    paths: TrainingPaths,
    options: UnetOptions = UnetOptions(),
    on_start: Callable[[str], None] = lambda text: None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    progress: Progress = no_progress,
) -> TrainingResult:
    """Train a U-Net; of two classes it tells the second from the first, by one output.

    Parameters
    ----------
    data : Dataset
        Without validation images of its own, a share of the photographs is held out. Test images, if any, have no part
        in the training.
    paths : TrainingPaths
        Its `pretrained` are the weights of the encoder.
    on_start : callable
        Called with what the network starts from, and with the shapes at which the skips join its decoder.
    on_epoch : callable
        As for `train_dense`.

    Raises
    ------
    MissingInput, BadInput, OutputExists, WriteFailed
    """
    if options.fit.frozen_epochs and paths.pretrained == RANDOM:
        raise BadInput("the encoder has random weights, which are of no use as they are; give --frozen-epochs 0")
    found, crops = data.open_pairs(options.size, options.crops, progress=progress)
    return train_pairs(
        found, crops, paths=paths, options=options, on_start=on_start, on_epoch=on_epoch, progress=progress
    )


def train_pairs(
    found: Mapping[str, PairSource],
    crops: CropOptions = CropOptions(),
    *,
    paths: TrainingPaths,
    options: UnetOptions,
    readers: ReaderOptions | None = None,
    on_start: Callable[[str], None],
    on_epoch: Callable[[Epoch], None],
    progress: Progress,
) -> TrainingResult:
    """Train a U-Net on pairs, wherever they are stored: ``train``, and ``val`` and ``test`` if there are any.

    The other parameters are those of `train_unet`; `readers` say how a database is read.
    """
    pairs = found["train"]
    n_classes = len(pairs.table)
    if isinstance(options.augment, Policy):
        options.augment.check_bands(pairs.n_bands)
    architecture = options.make_network(n_bands=pairs.n_bands, n_outputs=1 if n_classes == 2 else n_classes)
    encoder = architecture.pretrained
    normalization = options.choose_normalization(pairs)
    plan = TrainingPlan(
        architecture, normalization, options.batch_size, options.validation_share, options.augment,
        options.fit if encoder else replace(options.fit, frozen_epochs=0), crops, readers,
    )  # fmt: skip

    def show(model: DenseModel) -> list[Path]:
        on_start(
            f"network: {count_of(pairs.n_bands, 'band')} in, {count_of(n_classes, 'class')} out, "
            f"{architecture.enlarging} upsampling, {model.network.count_params():,} numbers"
        )
        joins = trace_joins(model.network, pairs.size)
        for join in joins:
            on_start(join.text)
        if not paths.plots:
            return []
        path = paths.plot("network")
        levels = [
            NetworkLevel(f"1/{join.stride}: {show_shape(join.skip)}", f"joined with {show_shape(join.enlarged)}",
                         "\n→ ".join(dict.fromkeys(map(show_shape, (join.joined, join.result)))))
            for join in joins
        ]  # fmt: skip
        image, scores = (*pairs.size, pairs.n_bands), (*pairs.size, architecture.n_outputs)
        draw_network(
            path, levels, title=f"U-Net on {encoder.title}" if encoder else "U-Net",
            ends=(f"image: {show_shape(image)}", show_shape(joins[0].below), f"scores: {show_shape(scores)}"),
            dpi=paths.figures.dpi,
        )  # fmt: skip
        return [path]

    return train_dense(
        pairs, plan, paths, validation_pairs=found.get("val"), test_pairs=found.get("test"), score_sets=readers is None,
        on_start=on_start, on_network=show, on_epoch=on_epoch, progress=progress,
    )  # fmt: skip


def _choose_size(rows: int, cols: int) -> tuple[int, int]:
    """Return the size of an image itself, where it is small, or one of its aspect ratio."""
    is_small = rows * cols <= MAX_AREA and min(rows, cols) >= _LEAST_SIDE
    return (rows, cols) if is_small else fit_size(rows, cols, max_area=MAX_AREA)


@dataclass(frozen=True)
class SheetOptions:
    """What a sheet of augmented photos shows."""

    n_photos: int = option(3, "Photos to show.", span=Span(1, 20))
    n_versions: int = option(5, "Versions of each.", span=Span(1, 20))
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(self)


def draw_sheet(
    path: Path,
    images_dir: Path,
    masks_dir: Path | None,
    policy: Policy,
    *,
    table: ClassTable | None = None,
    options: SheetOptions = SheetOptions(),
    figures: FigureOptions = FigureOptions(),
    overwrite: bool = False,
) -> DrawnFigure:
    """Draw how a policy changes the first photos of a folder, see `hybridseg.dense.pictures.draw_augmentation`.

    Parameters
    ----------
    path : pathlib.Path
        It gets the suffix of its format.
    masks_dir, table
        With one of them the label maps are drawn too.

    Raises
    ------
    MissingInput, BadInput, OutputExists, WriteFailed
    """
    path = figures.name(path.with_suffix(""))
    with lock_output(path):
        if path.exists() and not overwrite:
            raise OutputExists(f"{path} is there already; --overwrite replaces it, --out gives another name")
        if not policy.any:
            raise BadInput("the augmentation none changes nothing: there is nothing to show")
        has_labels = masks_dir is not None or table is not None
        data = open_folders(images_dir, masks_dir, table=table) if has_labels else None
        import_tensorflow()
        photos: list[tuple[np.ndarray, np.ndarray | None]] = []
        if data is not None:
            for pair in data.parts["train"][: options.n_photos]:
                loaded, labels = load_labelled(pair, data.read_labels)
                size = _choose_size(*labels.shape)
                photos.append((resize_image(loaded.fill_colors(), size), resize_nearest(labels, size)))
        else:
            for image_path in find_images([images_dir])[: options.n_photos]:
                loaded = load_image(image_path)
                size = _choose_size(loaded.info.rows, loaded.info.cols)
                photos.append((resize_image(loaded.fill_colors(), size), None))
        policy.check_bands(photos[0][0].shape[2])
        shown = None if data is None else data.table
        draw_augmentation(path, photos, policy, shown, n=options.n_versions, seed=options.seed, dpi=figures.dpi)
        return DrawnFigure(path)
