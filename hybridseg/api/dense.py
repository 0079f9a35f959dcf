"""Train dense networks, as `fcn train` and `unet train` do, and show how their photos are changed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hybridseg.api.arguments import Labels, find_path, find_table, find_weights, place_training
from hybridseg.api.calls import is_given, public_function, show_progress
from hybridseg.apply import PathLike
from hybridseg.data.buildlmdb import LmdbResult
from hybridseg.dense.crops import CropOptions
from hybridseg.dense.datasets import open_folders, open_sets
from hybridseg.dense.machines import MachineOptions
from hybridseg.dense.policy import read_policy
from hybridseg.dense.programs.fcn import FcnOptions
from hybridseg.dense.programs.fcn import train_fcn as fit_fcn
from hybridseg.dense.programs.unet import (
    DEFAULT_POLICY,
    PRESETS,
    WINDOWS,
    ScheduleOptions,
    SheetOptions,
    UnetOptions,
    choose_options,
    draw_sheet,
)
from hybridseg.dense.programs.unet import train_unet as fit_unet
from hybridseg.dense.programs.unetlmdb import FOLDER_SETTINGS, READER_SETTINGS, train_on_databases
from hybridseg.dense.readers import ReaderOptions
from hybridseg.dense.trainer import TrainingResult
from hybridseg.errors import BadInput, BadUsage
from hybridseg.figures import DrawnFigure, FigureOptions
from hybridseg.models.encoders import IMAGENET
from hybridseg.models.unet import NO_ENCODER
from hybridseg.options import make_options
from hybridseg.progress import Progress

_FCN, _UNET = FcnOptions(), UnetOptions()


@public_function(FcnOptions, CropOptions, _FCN.augment)
def train_fcn(
    photos: PathLike,
    *,
    masks: PathLike | None = None,
    out: PathLike = "runs/fcn",
    labels: Labels | None = None,
    colors: PathLike | None = None,
    epochs: int = FcnOptions.epochs,
    batch_size: int = FcnOptions.batch_size,
    learning_rate: float = FcnOptions.learning_rate,
    loss: str = FcnOptions.loss,
    size: tuple[int, int] | None = FcnOptions.size,
    crop: tuple[int, int] | None = CropOptions.crop,
    crop_scale: tuple[float, float] | None = CropOptions.crop_scale,
    n_crops: int | None = CropOptions.n_crops,
    balance: bool = CropOptions.balance,
    backbone: str = FcnOptions.backbone,
    weights: PathLike | None = None,
    frozen_epochs: int = FcnOptions.frozen_epochs,
    encoder_rate: float = FcnOptions.encoder_rate,
    wide_channels: int = FcnOptions.wide_channels,
    checkpoint_interval: int = FcnOptions.checkpoint_interval,
    best_by: str = FcnOptions.best_by,
    patience: int = FcnOptions.patience,
    rotation: float = _FCN.augment.rotation,
    zoom: float = _FCN.augment.zoom,
    row_shift: float = _FCN.augment.row_shift,
    col_shift: float = _FCN.augment.col_shift,
    brightness: float = _FCN.augment.brightness,
    flip_cols: bool = _FCN.augment.flip_cols,
    flip_rows: bool = _FCN.augment.flip_rows,
    seed: int = FcnOptions.seed,
    tensorboard_dir: PathLike | None = None,
    histogram_interval: int | None = None,
    figures: FigureOptions = FigureOptions(),
    machines: MachineOptions = MachineOptions(),
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> TrainingResult:
    """Train FCN-8s, a dense network, on whole labelled photos; some are held out to choose the best epoch.

    Parameters
    ----------
    photos
        The folder of the photos.
    out
        The folder of this training: ``model.h5`` with its card, ``log.csv`` and figures.
    weights
        What the backbone starts from: ``none`` for random weights, ``imagenet`` (downloaded unless they come with the
        package), or a file of Keras (.h5); by default those of ImageNet, of ``vgg16`` none.

    Returns
    -------
    TrainingResult
        The model (`model_path`), the `history` of the epochs, and the `confusion` matrix of the photos held out.

    Examples
    --------
    >>> import hybridseg as hs
    >>> result = hs.train_fcn("photos", masks="masks", labels=["water", "sand"], epochs=20)  # doctest: +SKIP
    >>> hs.segment("photo.jpg", result.model_path)  # doctest: +SKIP
    """
    settings = locals()
    data = open_folders(Path(photos), find_path(masks), table=find_table(labels, colors))
    parts = {"crops": make_options(CropOptions, settings), "augment": make_options(_FCN.augment, settings)}
    paths, options = (
        place_training(settings, pretrained=find_weights(weights)),
        make_options(FcnOptions, settings, **parts),
    )
    return fit_fcn(data, paths=paths, options=options, progress=progress or show_progress())


@public_function(_UNET, _UNET.fit, _UNET.fit.loss, ScheduleOptions, WINDOWS, ReaderOptions)
def train_unet(
    photos: PathLike | LmdbResult,
    *,
    masks: PathLike | None = None,
    out: PathLike = "runs/unet",
    validation_images: PathLike | None = None,
    validation_masks: PathLike | None = None,
    test_images: PathLike | None = None,
    test_masks: PathLike | None = None,
    labels: Labels | None = None,
    colors: PathLike | None = None,
    preset: str | None = None,
    encoder: str = _UNET.encoder,
    encoder_weights: PathLike = IMAGENET,
    load: PathLike | None = None,
    frozen_epochs: int = _UNET.fit.frozen_epochs,
    encoder_rate: float = _UNET.fit.encoder_rate,
    block: str | None = _UNET.block,
    widths: Sequence[int] = _UNET.widths,
    dropout: float = _UNET.dropout,
    upsample: str | None = _UNET.upsample,
    normalization: str | None = _UNET.normalization,
    size: tuple[int, int] | None = _UNET.size,
    scale: float | None = WINDOWS.scale,
    crop: tuple[int, int] | None = WINDOWS.crop,
    crop_scale: tuple[float, float] | None = WINDOWS.crop_scale,
    n_crops: int | None = WINDOWS.n_crops,
    balance: bool = WINDOWS.balance,
    epochs: int = _UNET.fit.epochs,
    batch_size: int = _UNET.batch_size,
    validation_share: float = _UNET.validation_share,
    validations_per_epoch: int = _UNET.fit.validations_per_epoch,
    schedule: str = ScheduleOptions.schedule,
    learning_rate: float = ScheduleOptions.learning_rate,
    ramp_epochs: int = ScheduleOptions.ramp_epochs,
    sustain_epochs: float = ScheduleOptions.sustain_epochs,
    decay: float = ScheduleOptions.decay,
    first_epochs: int | None = ScheduleOptions.first_epochs,
    t_mul: float = ScheduleOptions.t_mul,
    m_mul: float = ScheduleOptions.m_mul,
    alpha: float = ScheduleOptions.alpha,
    loss: str = _UNET.fit.loss.loss,
    dice_share: float = _UNET.fit.loss.dice_share,
    dice_over: str = _UNET.fit.loss.dice_over,
    focal_gamma: float = _UNET.fit.loss.focal_gamma,
    augmentation: PathLike = DEFAULT_POLICY,
    best_by: str = _UNET.fit.best_by,
    patience: int = _UNET.fit.patience,
    plateau_patience: int = _UNET.fit.plateau_patience,
    checkpoint_interval: int = _UNET.fit.checkpoint_interval,
    n_classes: int | None = None,
    test_every_n_steps: int = ReaderOptions.test_every_n_steps,
    balance_classes: bool = ReaderOptions.balance_classes,
    reader_count: int = ReaderOptions.reader_count,
    seed: int = _UNET.fit.seed,
    tensorboard_dir: PathLike | None = None,
    histogram_interval: int | None = None,
    figures: FigureOptions = FigureOptions(),
    machines: MachineOptions = MachineOptions(),
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> TrainingResult:
    """Train a U-Net, a dense network, on a pretrained encoder or on none; some photos are held out for the best epoch.

    Parameters
    ----------
    photos
        The folder of the photos; or databases, as `build_lmdb` returns them: then the preset is ``nist``, an epoch
        has `test_every_n_steps` steps, and a script needs ``if __name__ == "__main__":``, for other processes read.
    out
        The folder of this training: ``model.h5`` with its card, ``log.csv`` and figures.
    validation_images, validation_masks
        The folder of photos to choose the best epoch on, in place of a share of all, and of their masks.
    test_images, test_masks
        The folder of photos for the scores of the end alone, and of their masks.
    preset
        ``efficientnet-blog``, ``nist``, ``image-segmentation-pytorch`` or ``image-segmentation-pytorch-deep``: the
        settings of that published program, except for those that are given.
    encoder_weights
        What the encoder starts from: ``none`` for random weights, ``imagenet`` (downloaded unless they come with the
        package), or a file of Keras (.h5).
    load
        A model or checkpoint of an earlier training, whose weights this one starts from.
    n_classes
        The number of classes, if it is more than the databases hold.

    Returns
    -------
    TrainingResult
        The model (`model_path`), the `history` of the epochs, and the scores of all `sets`.

    Examples
    --------
    >>> import hybridseg as hs
    >>> result = hs.train_unet("photos", masks="masks", labels=["water", "sand"], epochs=20)  # doctest: +SKIP
    >>> hs.segment("photo.jpg", result.model_path)  # doctest: +SKIP
    """
    settings = dict(locals())
    has_databases = isinstance(photos, LmdbResult)
    _check_source(has_databases=has_databases)
    preset = preset or ("nist" if has_databases else None)
    settings |= {name: value for name, value in _find_preset(preset).items() if not is_given(name)}
    options = choose_options(settings, is_given)
    pretrained = None if options.encoder == NO_ENCODER else find_weights(settings["encoder_weights"])
    paths, progress = place_training(settings, pretrained=pretrained, load=find_path(load)), progress or show_progress()
    if isinstance(photos, LmdbResult):
        readers = make_options(ReaderOptions, settings)
        return train_on_databases(
            *photos.paths, paths=paths, options=options, readers=readers, n_classes=n_classes, progress=progress
        )
    data = open_sets(
        Path(photos), find_path(masks), validation=(find_path(validation_images), find_path(validation_masks)),
        test=(find_path(test_images), find_path(test_masks)), table=find_table(labels, colors),
    )  # fmt: skip
    return fit_unet(data, paths=paths, options=options, progress=progress)


def _check_source(*, has_databases: bool) -> None:
    """Raise BadUsage for what was given for photos where there are databases, or the other way round."""
    of_folders = ("masks", "validation_images", "validation_masks", "test_images", "test_masks", "labels", "colors")
    wrong = (*of_folders, *FOLDER_SETTINGS) if has_databases else ("n_classes", *READER_SETTINGS)
    for name in filter(is_given, wrong):
        source = "a folder of photos" if has_databases else "databases (give what build_lmdb returns)"
        raise BadUsage(f"{name}= is for a training on {source}")


def _find_preset(name: str | None) -> Mapping[str, Any]:
    if name is not None and name not in PRESETS:
        raise BadInput(f"preset={name!r}: give one of {', '.join(PRESETS)}")
    return PRESETS[name] if name else {}


@public_function(SheetOptions)
def show_augmentation(
    photos: PathLike,
    *,
    masks: PathLike | None = None,
    out: PathLike = "augmentation.png",
    labels: Labels | None = None,
    colors: PathLike | None = None,
    augmentation: PathLike = DEFAULT_POLICY,
    n_photos: int = SheetOptions.n_photos,
    n_versions: int = SheetOptions.n_versions,
    seed: int = SheetOptions.seed,
    figures: FigureOptions = FigureOptions(),
    overwrite: bool = False,
) -> DrawnFigure:
    """Draw how `train_unet` changes photos at random.

    Parameters
    ----------
    photos
        The folder of the photos.
    masks
        The folder of the masks; with it they are drawn too.
    out
        The file; its suffix is that of the format.
    overwrite
        Replace the file if it is there.

    Returns
    -------
    DrawnFigure
        Shown in a notebook; its `path`.

    Examples
    --------
    >>> import hybridseg as hs
    >>> hs.show_augmentation("photos", augmentation="efficientnet-blog")  # doctest: +SKIP
    <DrawnFigure: augmentation.png>
    """
    return draw_sheet(
        Path(out), Path(photos), find_path(masks), read_policy(os.fspath(augmentation)),
        table=find_table(labels, colors), options=SheetOptions(n_photos, n_versions, seed), figures=figures,
        overwrite=overwrite,
    )  # fmt: skip
