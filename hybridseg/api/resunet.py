"""Set up and train the residual U-Net by its config, as `resunet init-config`, `make-tfrecords` and `train` do."""

from __future__ import annotations

from pathlib import Path

from hybridseg.api.arguments import Config, Labels, find_config, find_path, find_table, find_weights, place_training
from hybridseg.api.calls import is_given, public_function, show_progress
from hybridseg.apply import PathLike
from hybridseg.dense.machines import MachineOptions
from hybridseg.dense.programs.configproposal import Proposal, propose_config
from hybridseg.dense.programs.resunet import ResunetExtras
from hybridseg.dense.programs.resunet import make_tfrecords as write_tfrecords
from hybridseg.dense.programs.resunet import train_resunet as fit_resunet
from hybridseg.dense.programs.unet import check_encoder
from hybridseg.dense.records import RecordsResult
from hybridseg.dense.trainer import TrainingResult
from hybridseg.errors import BadUsage
from hybridseg.figures import FigureOptions
from hybridseg.models.encoders import IMAGENET
from hybridseg.models.unet import NO_ENCODER
from hybridseg.options import make_options
from hybridseg.progress import Progress


@public_function()
def init_config(
    photos: PathLike,
    *,
    masks: PathLike | None = None,
    labels: Labels | None = None,
    weights: PathLike | None = None,
    progress: Progress | None = None,
) -> Proposal:
    """Propose a config of the residual U-Net for a folder of photos, with reasons.

    Parameters
    ----------
    photos
        The folder of the photos.
    masks
        The folder of the masks, if they are not beside their photos; the classes are counted in them.
    weights
        A network that was trained on them: try on its held-out photos whether the CRF helps.

    Returns
    -------
    Proposal
        Its `config` is for `train_resunet`, `reasons` are by key.

    Examples
    --------
    >>> import hybridseg as hs
    >>> proposal = hs.init_config("photos", masks="masks")  # doctest: +SKIP
    >>> proposal.config.target_size  # doctest: +SKIP
    (192, 288)
    """
    return propose_config(
        photos, masks, find_path(weights), table=find_table(labels), progress=progress or show_progress()
    )


@public_function()
def make_tfrecords(
    config: Config,
    *,
    photos: PathLike,
    masks: PathLike | None = None,
    out: PathLike,
    labels: Labels | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> RecordsResult:
    """Write augmented copies of labelled photos as records, which `train_resunet` takes as `data`.

    Parameters
    ----------
    config
        The config: its file, a dict of its keys, or what `init_config` proposed.
    photos
        The folder of the photos.
    masks
        The folder of the masks, if they are not beside their photos.
    out
        The folder of the records.
    seed
        Of every random choice.
    overwrite
        Replace records that are there.

    Returns
    -------
    RecordsResult
        How many records there are, and where.

    Examples
    --------
    >>> import hybridseg as hs
    >>> hs.make_tfrecords("config.json", photos="photos", masks="masks", out="records")  # doctest: +SKIP
    <RecordsResult: 36 images in 1 shard of records>
    """
    return write_tfrecords(
        find_config(config), Path(photos), find_path(masks), Path(out), table=find_table(labels), seed=seed,
        overwrite=overwrite, progress=progress or show_progress(),
    )  # fmt: skip


@public_function(ResunetExtras)
def train_resunet(
    config: Config,
    *,
    photos: PathLike | None = None,
    masks: PathLike | None = None,
    data: PathLike | None = None,
    out: PathLike = "runs/resunet",
    labels: Labels | None = None,
    filters: int = ResunetExtras.filters,
    upsample: str = ResunetExtras.upsample,
    encoder: str = ResunetExtras.encoder,
    encoder_rate: float = ResunetExtras.encoder_rate,
    encoder_weights: PathLike = IMAGENET,
    loss: str = ResunetExtras.loss,
    best_by: str = ResunetExtras.best_by,
    crop_scale: tuple[float, float] | None = ResunetExtras.crop_scale,
    balance: bool = ResunetExtras.balance,
    seed: int = ResunetExtras.seed,
    tensorboard_dir: PathLike | None = None,
    histogram_interval: int | None = None,
    figures: FigureOptions = FigureOptions(),
    machines: MachineOptions = MachineOptions(),
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> TrainingResult:
    """Train a residual U-Net, a dense network, as a config says: on windows of photos, or on records.

    Parameters
    ----------
    config
        The config: its file, a dict of its keys, or what `init_config` proposed.
    photos
        The folder of the photos, of which every step sees random windows of TARGET_SIZE.
    masks
        The folder of the masks, if they are not beside their photos.
    data
        In place of photos, a folder of records, as `make_tfrecords` writes it: whole photos, resized to TARGET_SIZE.
    out
        The folder of this training: ``model.h5`` with its card, ``log.csv`` and figures.
    encoder_weights
        What the encoder starts from: ``none`` for random weights, ``imagenet`` (downloaded unless they come with the
        package), or a file of Keras (.h5).
    seed
        Of every random choice.

    Returns
    -------
    TrainingResult
        The model (`model_path`), the `history` of the epochs, and the `confusion` matrix of the photos held out.

    Examples
    --------
    >>> import hybridseg as hs
    >>> proposal = hs.init_config("photos", masks="masks")  # doctest: +SKIP
    >>> result = hs.train_resunet(proposal.config, photos="photos", masks="masks")  # doctest: +SKIP
    >>> hs.segment("photo.jpg", result.model_path, smoothing=proposal.config)  # doctest: +SKIP
    """
    settings = locals()
    if (photos is None) == (data is None) or (data is not None and (masks is not None or labels is not None)):
        raise BadUsage("give either --data, or --images with --masks")
    check_encoder(settings, is_given)
    paths = place_training(settings, pretrained=None if encoder == NO_ENCODER else find_weights(encoder_weights))
    return fit_resunet(
        find_config(config), find_path(data), paths, images_dir=find_path(photos),
        masks_dir=find_path(masks), table=find_table(labels), extras=make_options(ResunetExtras, settings),
        progress=progress or show_progress(),
    )  # fmt: skip
