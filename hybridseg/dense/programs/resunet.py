"""The residual U-Net as its JSON config says: records, training, scores, segmentation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from hybridseg.batch.jobs import load_once
from hybridseg.classes import ClassTable
from hybridseg.confusion import Confusion, count_confusion, pool_confusions
from hybridseg.dense.augment import AugmentOptions
from hybridseg.dense.crops import CropOptions
from hybridseg.dense.feed import Feed
from hybridseg.dense.fit import Epoch, FitOptions
from hybridseg.dense.pairs import FolderPairs, PairSource
from hybridseg.dense.photos import PhotoPairs
from hybridseg.dense.pictures import draw_examples, pick_examples
from hybridseg.dense.plan import TrainingPlan, make_feeds
from hybridseg.dense.predict import match_image, predict_labels
from hybridseg.dense.programs.config import ResunetConfig
from hybridseg.dense.programs.resunetdata import (
    check_bands,
    check_labels,
    choose_classes,
    choose_table,
    find_pairs,
    open_training_records,
)
from hybridseg.dense.records import RecordOptions, RecordsResult, make_records
from hybridseg.dense.schedules import Schedule
from hybridseg.dense.scoring import evaluate_feed
from hybridseg.dense.smoothing import PROBS_SMOOTHING, SmoothingOptions
from hybridseg.dense.trainer import TrainingPaths, TrainingResult, train_dense
from hybridseg.draw import shuffle_names
from hybridseg.errors import BadInput, MissingInput
from hybridseg.forecast import UNKNOWN, followed_by
from hybridseg.io.labelled import describe_alpha, load_labelled
from hybridseg.io.pairing import Pair
from hybridseg.models.bundles import DenseModel, load_dense
from hybridseg.models.encoders import STRIDES
from hybridseg.models.engines import LITERT
from hybridseg.models.losses import LossOptions
from hybridseg.models.normalization import Normalization
from hybridseg.models.resunet import ResUnet
from hybridseg.models.unet import NO_ENCODER, Unet
from hybridseg.options import check_options, option_like
from hybridseg.progress import Progress, no_progress
from hybridseg.ranking import rank_images

Pairs = TypeVar("Pairs", bound=FolderPairs)

logger = logging.getLogger(__name__)

_MAX_TRIED = 20
# How the decoder joins the features of an encoder.
_BLOCK = "residual"


@dataclass(frozen=True)
class ResunetExtras:
    """What the published config has no key for."""

    filters: int = option_like(ResUnet, "filters")
    upsample: str = option_like(ResUnet, "upsample")
    encoder: str = option_like(Unet, "encoder", NO_ENCODER)
    encoder_rate: float = option_like(FitOptions, "encoder_rate", 0.1)
    loss: str = option_like(LossOptions, "loss")
    best_by: str = option_like(FitOptions, "best_by")
    seed: int = 0
    crop_scale: tuple[float, float] | None = option_like(CropOptions, "crop_scale")
    balance: bool = option_like(CropOptions, "balance")

    def __post_init__(self) -> None:
        check_options(self)
        if self.encoder != NO_ENCODER and self.upsample != ResUnet.upsample:
            raise BadInput(f"upsample={self.upsample}: a network on an encoder has {ResUnet.upsample}; leave one out")

    def make_network(self, config: ResunetConfig) -> ResUnet | Unet:
        """Return the settings of the network: on an encoder, the same decoder but for its highest level."""
        n_bands, n_outputs = config.n_data_bands, config.n_outputs
        if self.encoder == NO_ENCODER:
            return ResUnet(n_bands, n_outputs, config.kernel_size, self.filters, self.upsample)
        if config.kernel_size != ResUnet.kernel_size:
            raise BadInput(f"KERNEL_SIZE {list(config.kernel_size)}: on an encoder it is {list(ResUnet.kernel_size)}")
        widths = tuple(self.filters * stride for stride in reversed(STRIDES[:-1]))
        return Unet(n_bands, n_outputs, self.encoder, _BLOCK, widths)


def make_tfrecords(
    config: ResunetConfig,
    images_dir: Path,
    masks_dir: Path | None,
    out_dir: Path,
    *,
    table: ClassTable | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> RecordsResult:
    """Write augmented copies of images and their masks as records; the originals stay for evaluation.

    Parameters
    ----------
    masks_dir : pathlib.Path or None
        None: the masks lie beside the images.
    table : ClassTable or None
        Names and colours of the label ids; None: those that the masks name, or ``null`` and numbers.

    Raises
    ------
    MissingInput, BadInput, OutputExists, WriteFailed
        Before any work: when an image or a mask has no counterpart, sizes differ, or a label is not a class id.
    """
    source = _open_pairs(FolderPairs, config, images_dir, masks_dir, table, progress)
    options = RecordOptions(
        config.aug_copies, config.aug_loops, config.ims_per_shard, config.root_string, _choose_changes(config), seed
    )
    remap = config.remap_classes
    return make_records(source, out_dir, options=options, remap=remap, progress=progress, overwrite=overwrite)


def _open_pairs(
    kind: type[Pairs],
    config: ResunetConfig,
    images_dir: Path,
    masks_dir: Path | None,
    table: ClassTable | None,
    progress: Progress,
) -> Pairs:
    """Find images and their masks, and check that they can be used."""
    pairs = find_pairs(config, images_dir, masks_dir)
    classes = choose_classes(config, pairs, table)
    if table is None and classes == choose_table(config):
        names = ", ".join(classes.names)
        logger.warning("the masks do not name their classes, which are called %s: name them by --labels", names)
    read_labels = check_labels(config, pairs, classes, given=table, progress=followed_by(progress, UNKNOWN))
    source = kind(pairs, read_labels, table=classes, size=config.target_size)
    if alpha := describe_alpha(source.infos):
        logger.warning("%s", alpha)
    check_bands(source.n_bands, config)
    return source


def _choose_changes(config: ResunetConfig) -> AugmentOptions:
    """Return how copies of images are changed."""
    return AugmentOptions(
        rotation=config.aug_rot,
        zoom=config.aug_zoom,
        row_shift=config.aug_heightshift,
        col_shift=config.aug_widthshift,
        flip_rows=config.aug_vflip,
        flip_cols=config.aug_hflip,
    )


def train_resunet(
    config: ResunetConfig,
    data_dir: Path | None,
    paths: TrainingPaths,
    *,
    images_dir: Path | None = None,
    masks_dir: Path | None = None,
    table: ClassTable | None = None,
    extras: ResunetExtras = ResunetExtras(),
    on_start: Callable[[str], None] = lambda text: None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    progress: Progress = no_progress,
) -> TrainingResult:
    """Train on records or on windows of photos, or, where DO_TRAIN is false, only evaluate the weights that are there.

    Parameters
    ----------
    data_dir : pathlib.Path or None
        The records; None: random windows of the photos in `images_dir`, of TARGET_SIZE, at their own resolution. In
        an epoch there are AUG_COPIES of each, changed as copies are.
    masks_dir, table
        As for `make_tfrecords`.

    Raises
    ------
    MissingInput, BadInput, OutputExists, WriteFailed
    """
    records: PairSource
    if data_dir is not None:
        if extras.crop_scale or extras.balance:
            raise BadInput("--crop-scale and --balance are for windows of photos: give --images in place of --data")
        records = open_training_records(config, data_dir)
        plan = make_plan(config, extras, records.dtype)
    else:
        assert images_dir is not None
        records = _open_pairs(PhotoPairs, config, images_dir, masks_dir, table, progress)
        crops = CropOptions(config.target_size, extras.crop_scale, config.aug_copies, extras.balance)
        plan = replace(make_plan(config, extras, records.dtype), crops=crops, augment=_choose_changes(config))
    paths = replace(paths, plots=config.doplot)
    if config.do_train:
        # None: of records of an earlier version it is not known.
        remap = config.remap_classes or getattr(records, "remap", None)
        about = {} if remap is None else {"remap_classes": _list_remap(remap)}
        return train_dense(records, plan, paths, about=about, on_start=on_start, on_epoch=on_epoch, progress=progress)
    if not paths.weights.exists():
        raise MissingInput(f"DO_TRAIN is false and there are no weights {paths.weights}; set it to true to train them")
    model = load_resunet(paths.weights, config)
    _, validation = make_feeds(records, None, replace(plan, normalization=model.card.normalization))
    written = []
    if config.doplot:
        written.append(paths.plot("examples"))
        draw_examples(written[0], pick_examples(validation, 6), model.table, model)
    found = evaluate_feed(model, validation, progress=progress)
    return TrainingResult(
        model, tuple(written), (), tuple(found.values()), rank_images(found), 0, len(validation.indices)
    )


def _list_remap(remap: Mapping[int, int]) -> dict[str, int]:
    """Return REMAP_CLASSES as JSON holds it."""
    return {str(old): new for old, new in sorted(remap.items())}


def make_plan(config: ResunetConfig, extras: ResunetExtras, dtype: np.dtype = np.dtype(np.uint8)) -> TrainingPlan:
    """Turn a config into a plan for images of a type."""
    network = extras.make_network(config)
    encoder = network.pretrained if isinstance(network, Unet) else None
    schedule = Schedule(
        config.start_lr, config.max_lr, config.min_lr, config.rampup_epochs, config.sustain_epochs, config.exp_decay
    )
    return TrainingPlan(
        network,
        encoder.choose_normalization(dtype) if encoder else Normalization("image"),
        config.batch_size,
        config.validation_split,
        fit=FitOptions(
            config.max_epochs,
            LossOptions(extras.loss),
            schedule,
            extras.best_by,
            config.patience,
            seed=extras.seed,
            encoder_rate=extras.encoder_rate if encoder else 1.0,
        ),
    )


def evaluate_records(
    config: ResunetConfig, model: DenseModel, data_dir: Path, *, seed: int = 0
) -> dict[str, Confusion]:
    """Evaluate a network on each photograph whose records are held out for validation: as its card says, or by `seed`.

    Raises
    ------
    MissingInput, BadInput
    """
    if model.card.view is not None and model.card.view.windows:
        raise BadInput(f"{model.path} was trained on windows of photos, not on records: give --images")
    records = open_training_records(config, data_dir)
    plan = replace(make_plan(config, ResunetExtras(seed=seed)), normalization=model.card.normalization)
    held_out = set(model.card.training.get("held_out", ()))
    known = np.flatnonzero([source in held_out for source in records.sources])
    if known.size:
        return evaluate_feed(model, Feed(records, known, batch_size=plan.batch_size, normalization=plan.normalization))
    _, validation = make_feeds(records, None, plan)
    return evaluate_feed(model, validation)


def evaluate_images(
    config: ResunetConfig,
    models: Sequence[DenseModel],
    images_dir: Path,
    masks_dir: Path | None,
    *,
    table: ClassTable | None = None,
    progress: Progress = no_progress,
) -> dict[str, Confusion]:
    """Evaluate networks on whole images, one by one: predictions, smoothed as the config says, against label maps.

    Raises
    ------
    MissingInput, BadInput
        Before any work: as `make_tfrecords`.
    """
    pairs = find_pairs(config, images_dir, masks_dir)
    held_out = set[str]().union(*(model.card.training.get("held_out", ()) for model in models))
    n_new = sum(pair.image_path.stem in held_out for pair in pairs)
    if 0 < n_new < len(pairs):
        logger.warning(
            "only %d of these %d photos were held out from the training; the others flatter the scores",
            n_new,
            len(pairs),
        )
    return _evaluate_pairs(config, models, pairs, table, progress)


def _evaluate_pairs(
    config: ResunetConfig,
    models: Sequence[DenseModel],
    pairs: Sequence[Pair],
    given: ClassTable | None,
    progress: Progress,
) -> dict[str, Confusion]:
    table = models[0].table
    for model in models:
        trained, wanted = model.card.training.get("remap_classes"), _list_remap(config.remap_classes)
        if trained is not None and trained != wanted:
            raise BadInput(
                f"{model.path} was trained with REMAP_CLASSES {trained} and not {wanted}, so the masks would be read "
                "otherwise; give the config of its training"
            )
    read_labels = check_labels(config, pairs, table, given=given, progress=followed_by(progress, UNKNOWN))
    smoothing = choose_smoothing(config)
    found = {}
    for pair in progress(pairs, label="images"):
        image, truth = load_labelled(pair, read_labels)
        pixels, _ = match_image(image.filled().pixels, models, has_alpha=image.info.has_alpha)
        labels, _ = predict_labels(pixels, models, smoothing=smoothing)
        found[pair.image_path.stem] = count_confusion(truth, labels, table)
    return found


def try_refinement(
    config: ResunetConfig,
    model: DenseModel,
    images_dir: Path,
    masks_dir: Path | None,
    *,
    table: ClassTable | None = None,
    progress: Progress = no_progress,
) -> tuple[int, Confusion, Confusion]:
    """Evaluate a network without and with the CRF, on up to 20 photographs that it was not trained on.

    Returns
    -------
    n : int
        Number of photographs.
    plain, refined : Confusion

    Raises
    ------
    MissingInput, BadInput
        As `evaluate_images`; also when none of the images is known to be held out.
    """
    held_out = set(model.card.training.get("held_out", ()))
    pairs = {p.image_path.stem: p for p in find_pairs(config, images_dir, masks_dir) if p.image_path.stem in held_out}
    if not pairs:
        raise BadInput(
            f"none of the images in {images_dir} is known to be one that {model.path} was not trained on; give the "
            "images that its records were made of, or train it again"
        )
    drawn = [pairs[stem] for stem in shuffle_names(pairs, seed=0)[:_MAX_TRIED]]
    plain, refined = (
        _evaluate_pairs(replace(config, do_crf_refine=refine), [model], drawn, table, hook)
        for refine, hook in ((False, followed_by(progress, UNKNOWN)), (True, progress))
    )
    return len(drawn), pool_confusions(list(plain.values())), pool_confusions(list(refined.values()))


def load_resunet(path: Path, config: ResunetConfig | None = None, *, engine: str = LITERT) -> DenseModel:
    """Load a network and check that it is a residual U-Net, and was trained with a config if one is given.

    Raises
    ------
    MissingInput, BadInput
    """
    model = load_once(load_dense, path, engine=engine)
    card = model.card
    network = card.architecture
    if not isinstance(network, ResUnet) and not (isinstance(network, Unet) and network.block == _BLOCK):
        raise BadInput(f"{path} is a network of type {card.architecture.name}; give the weights of a residual U-Net")
    wrong = [
        f"{key.upper()} {has} and not {getattr(config, key)}"
        for key, has in describe_network(model).items()
        if config is not None and getattr(config, key) != has
    ]
    if wrong:
        raise BadInput(f"{path} was trained with {', '.join(wrong)}; give the config of its training")
    return model


def describe_network(model: DenseModel) -> dict[str, Any]:
    """Return the fields of a config that the network of a card decides."""
    card, network = model.card, model.card.architecture
    return {
        "target_size": card.size,
        "kernel_size": getattr(network, "kernel_size", ResUnet.kernel_size),
        "n_data_bands": network.n_bands,
        "nclasses": network.n_outputs - (network.n_outputs > 1),
    }


def choose_smoothing(config: ResunetConfig) -> SmoothingOptions:
    """Return how a config smooths the prediction of the network."""
    base = PROBS_SMOOTHING if config.do_crf_refine else SmoothingOptions()
    return replace(base, radius=config.median_filter_value)
