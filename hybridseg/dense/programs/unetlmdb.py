"""The U-Net for scientific images: train it on databases, and leave it as a SavedModel too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

from hybridseg.dense.fit import Epoch
from hybridseg.dense.lmdbpairs import LmdbPairs
from hybridseg.dense.policy import Policy
from hybridseg.dense.programs.unet import UnetOptions, train_pairs
from hybridseg.dense.readers import ReaderOptions
from hybridseg.dense.trainer import TrainingPaths, TrainingResult
from hybridseg.errors import BadInput
from hybridseg.models.savedmodels import SAVED_MODEL_NAME, write_saved_model
from hybridseg.progress import Progress, no_progress

READER_SETTINGS = tuple(field.name for field in fields(ReaderOptions))
FOLDER_SETTINGS = ("size", "scale", "crop", "crop_scale", "n_crops", "balance", "validation_share")
"""What a training on databases has no use for."""


def train_on_databases(
    train_path: Path,
    test_path: Path,
    *,
    paths: TrainingPaths,
    options: UnetOptions,
    readers: ReaderOptions = ReaderOptions(),
    n_classes: int | None = None,
    on_start: Callable[[str], None] = lambda text: None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    progress: Progress = no_progress,
) -> TrainingResult:
    """Train a U-Net on a database, test it on another one after every epoch, and keep the best network.

    Parameters
    ----------
    paths : TrainingPaths
        The SavedModel is written beside the weights: ``saved_model/``.
    options : UnetOptions
        Its `fit` counts in epochs of as many steps as `readers` says.
    n_classes : int or None
        None: those that the databases know.
    on_start, on_epoch : callable
        As for `train_unet`.

    Raises
    ------
    MissingInput, BadInput, OutputExists, WriteFailed
    """
    if not isinstance(options.augment, Policy):
        raise BadInput("images from a database are augmented by a policy")
    options.augment.check_arrays()
    training, test = (LmdbPairs(path, n_classes=n_classes) for path in (train_path, test_path))
    for what in ("size", "n_bands", "dtype", "table"):
        first, second = getattr(training, what), getattr(test, what)
        if first != second:
            word = {"n_bands": "number of bands", "dtype": "type", "table": "list of classes"}.get(what, what)
            raise BadInput(f"{train_path} and {test_path} have images of another {word}: {first} and {second}")
    result = train_pairs(
        {"train": training, "val": test}, paths=paths, options=options, readers=readers, on_start=on_start,
        on_epoch=on_epoch, progress=progress,
    )  # fmt: skip
    if not result.written:
        # The chief of several machines writes it.
        return result
    folder = write_saved_model(paths.weights.with_name(SAVED_MODEL_NAME), result.model)
    return replace(result, written=(*result.written, folder))
