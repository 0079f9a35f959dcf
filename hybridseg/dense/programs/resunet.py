"""The residual U-Net as its JSON config says: records, training, scores, segmentation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hybridseg.batch.jobs import load_once
from hybridseg.classes import VOID, ClassTable
from hybridseg.confusion import Confusion, count_confusion, pool_confusions
from hybridseg.dense.augment import AugmentOptions
from hybridseg.dense.datasets import find_folder_pairs, make_label_reader, refuse_problems
from hybridseg.dense.fit import Epoch, FitOptions
from hybridseg.dense.pairs import FolderPairs, PairSource, RemappedPairs, check_pairs
from hybridseg.dense.pictures import draw_examples, pick_examples
from hybridseg.dense.predict import predict_labels
from hybridseg.dense.programs.config import ResunetConfig, make_lookup
from hybridseg.dense.recordpairs import open_records
from hybridseg.dense.records import RecordOptions, RecordsResult, make_records
from hybridseg.dense.schedules import Schedule
from hybridseg.dense.smoothing import PROBS_SMOOTHING, SmoothingOptions
from hybridseg.dense.trainer import (
    TrainingPaths,
    TrainingPlan,
    TrainingResult,
    evaluate_feed,
    list_photographs,
    make_feeds,
    train_dense,
)
from hybridseg.draw import shuffle_names
from hybridseg.errors import BadInput, MissingInput, Problem
from hybridseg.io.labelled import ReadLabels, load_labelled
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.pairing import Pair
from hybridseg.models.bundles import DenseModel, load_dense
from hybridseg.models.normalization import Normalization
from hybridseg.models.resunet import ResUnet
from hybridseg.options import check_options, option_like
from hybridseg.progress import Progress, no_progress

_MAX_TRIED = 20


@dataclass(frozen=True)
class ResunetExtras:
    """What the published config has no key for."""

    filters: int = option_like(ResUnet, "filters")
    upsample: str = option_like(ResUnet, "upsample")
    loss: str = option_like(FitOptions, "loss")
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(self)


def make_tfrecords(
    config: ResunetConfig,
    images_dir: Path,
    labels_dir: Path,
    out_dir: Path,
    *,
    table: ClassTable | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> RecordsResult:
    """Write augmented copies of images and their label maps as records; the originals stay for evaluation.

    Parameters
    ----------
    table : ClassTable or None
        Names and colours of the label ids; None: those that the label maps name, or ``null`` and numbers.

    Raises
    ------
    MissingInput, BadInput, OutputExists, WriteFailed
        Before any work: when an image or a label map has no counterpart, sizes differ, or a label is not a class id.
    """
    pairs = _find_pairs(config, images_dir, labels_dir)
    own = _read_own_table(pairs) if config.remap_classes or table is None else None
    table = choose_table(config, table or (_merge_classes(config, own) if own and config.remap_classes else own))
    read_labels = _check_labels(config, pairs, own if config.remap_classes else table, progress)
    source = FolderPairs(pairs, read_labels, table=table, size=config.target_size)
    _check_bands(source.n_bands, config)
    augment = AugmentOptions(
        rotation=config.aug_rot,
        zoom=config.aug_zoom,
        row_shift=config.aug_heightshift,
        col_shift=config.aug_widthshift,
        flip_rows=config.aug_vflip,
        flip_cols=config.aug_hflip,
    )
    options = RecordOptions(
        config.aug_copies, config.aug_loops, config.ims_per_shard, config.root_string, augment, seed
    )
    remap = config.remap_classes
    return make_records(source, out_dir, options=options, remap=remap, progress=progress, overwrite=overwrite)


def choose_table(config: ResunetConfig, given: ClassTable | None = None) -> ClassTable:
    """Return the classes of the label ids of a config; BadInput when another number of them was given."""
    n = config.n_label_ids
    if given is None:
        names = ("null", "foreground") if n == 2 else ("null", *(f"class {i}" for i in range(1, n)))
        table = ClassTable.from_names(names)
        return ClassTable(table.names, ((0, 0, 0), *table.colors[1:]))
    if len(given) == n:
        return given
    if len(given) == n - 1:
        return ClassTable(("null", *given.names), ((0, 0, 0), *given.colors))
    raise BadInput(
        f"{len(given)} classes are named, but NCLASSES={config.nclasses} means {n} with the null class first"
    )


def _merge_classes(config: ResunetConfig, own: ClassTable) -> ClassTable:
    """Return the classes of a config when REMAP_CLASSES is applied to ids of other classes.

    Classes that become one have both names, unless they were numbered and not named.
    """
    plain = choose_table(config)
    if own.names[0] == "null" and own.names[1:] in (("foreground",), tuple(f"class {i}" for i in range(1, len(own)))):
        return plain
    lookup, names, colors = make_lookup(config.remap_classes), list(plain.names), list(plain.colors)
    for new in range(config.n_label_ids):
        merged = [old for old in range(len(own)) if lookup[old] == new]
        if merged:
            names[new], colors[new] = " + ".join(own.names[old] for old in merged), own.colors[merged[0]]
    return ClassTable(tuple(names), tuple(colors))


def train_resunet(
    config: ResunetConfig,
    data_dir: Path,
    paths: TrainingPaths,
    *,
    extras: ResunetExtras = ResunetExtras(),
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    progress: Progress = no_progress,
) -> TrainingResult:
    """Train on the records in `data_dir`, or, where DO_TRAIN is false, only evaluate the weights that are there.

    Raises
    ------
    MissingInput, BadInput, OutputExists, WriteFailed
    """
    records = _open_records(config, data_dir)
    plan = make_plan(config, extras)
    paths = replace(paths, plots=config.doplot)
    if config.do_train:
        return train_dense(records, plan, paths, on_epoch=on_epoch, progress=progress)
    if not paths.weights.exists():
        raise MissingInput(f"DO_TRAIN is false and there are no weights {paths.weights}; set it to true to train them")
    model = load_resunet(paths.weights, config)
    _, validation = make_feeds(records, None, plan)
    written = []
    if config.doplot:
        written.append(paths.plot("examples"))
        draw_examples(written[0], pick_examples(validation, 6), model.table, model)
    photos, held_out = tuple(evaluate_feed(model, validation)), list_photographs(validation)
    return TrainingResult(model, tuple(written), (), photos, 0, len(validation.indices), held_out)


def make_plan(config: ResunetConfig, extras: ResunetExtras) -> TrainingPlan:
    """Turn a config into a plan."""
    schedule = Schedule(
        config.start_lr, config.max_lr, config.min_lr, config.rampup_epochs, config.sustain_epochs, config.exp_decay
    )
    return TrainingPlan(
        ResUnet(config.n_data_bands, config.n_outputs, config.kernel_size, extras.filters, extras.upsample),
        Normalization("image"),
        config.batch_size,
        config.validation_split,
        fit=FitOptions(config.max_epochs, extras.loss, schedule, config.patience, seed=extras.seed),
    )


def evaluate_records(config: ResunetConfig, model: DenseModel, data_dir: Path, *, seed: int = 0) -> list[Confusion]:
    """Evaluate a network on each photograph whose records are held out for validation.

    Raises
    ------
    MissingInput, BadInput
    """
    records = _open_records(config, data_dir)
    _, validation = make_feeds(records, None, make_plan(config, ResunetExtras(seed=seed)))
    return evaluate_feed(model, validation)


def evaluate_images(
    config: ResunetConfig,
    models: Sequence[DenseModel],
    images_dir: Path,
    labels_dir: Path,
    *,
    progress: Progress = no_progress,
) -> list[Confusion]:
    """Evaluate networks on whole images, one by one: predictions, smoothed as the config says, against label maps.

    Raises
    ------
    MissingInput, BadInput
        Before any work: as `make_tfrecords`.
    """
    pairs = _find_pairs(config, images_dir, labels_dir)
    return _evaluate_pairs(config, models, pairs, progress)


def _evaluate_pairs(
    config: ResunetConfig, models: Sequence[DenseModel], pairs: Sequence[Pair], progress: Progress
) -> list[Confusion]:
    table = models[0].table
    read_labels = _check_labels(config, pairs, _read_own_table(pairs) if config.remap_classes else table, progress)
    smoothing = choose_smoothing(config)
    found = []
    for pair in progress(pairs, label="images"):
        image, truth = load_labelled(pair, read_labels)
        labels, _ = predict_labels(image.filled().pixels, models, smoothing=smoothing)
        found.append(count_confusion(truth, labels, table))
    return found


def try_refinement(
    config: ResunetConfig, model: DenseModel, images_dir: Path, labels_dir: Path, *, progress: Progress = no_progress
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
    pairs = {p.image_path.stem: p for p in _find_pairs(config, images_dir, labels_dir) if p.image_path.stem in held_out}
    if not pairs:
        raise BadInput(
            f"none of the images in {images_dir} is known to be one that {model.path} was not trained on; give the "
            "images that its records were made of, or train it again"
        )
    drawn = [pairs[stem] for stem in shuffle_names(pairs, seed=0)[:_MAX_TRIED]]
    plain, refined = (
        pool_confusions(_evaluate_pairs(replace(config, do_crf_refine=refine), [model], drawn, progress))
        for refine in (False, True)
    )
    return len(drawn), plain, refined


def load_resunet(path: Path, config: ResunetConfig | None = None) -> DenseModel:
    """Load a network and check that it is a residual U-Net, and was trained with a config if one is given.

    Raises
    ------
    MissingInput, BadInput
    """
    model = load_once(load_dense, path)
    card = model.card
    if not isinstance(card.architecture, ResUnet):
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
    assert isinstance(network, ResUnet)
    return {
        "target_size": card.size,
        "kernel_size": network.kernel_size,
        "n_data_bands": network.n_bands,
        "nclasses": network.n_outputs - (network.n_outputs > 1),
    }


def choose_smoothing(config: ResunetConfig) -> SmoothingOptions:
    """Return how a config smooths the prediction of the network."""
    base = PROBS_SMOOTHING if config.do_crf_refine else SmoothingOptions()
    return replace(base, radius=config.median_filter_value)


def _open_records(config: ResunetConfig, data_dir: Path) -> PairSource:
    """Open records and check that they fit a config, whose REMAP_CLASSES is applied unless it was when they were made.

    No value is remapped twice.
    """
    records = open_records(data_dir)
    advice = "give the config they were made with, or make them again"
    if records.size != config.target_size:
        raise BadInput(
            f"the records in {data_dir} are of {records.size[0]} x {records.size[1]} pixels, but TARGET_SIZE is "
            f"{list(config.target_size)}; {advice}"
        )
    lookup, is_remapped = make_lookup(config.remap_classes), config.remap_classes and records.remap != {}
    if is_remapped and (records.remap is None or (make_lookup(records.remap) != lookup).any()):
        how = "by an earlier version, which did not write REMAP_CLASSES down"
        if records.remap is not None:
            how = f"with REMAP_CLASSES={records.remap}, and the config says {config.remap_classes}"
        raise BadInput(f"the records in {data_dir} were made {how}; {advice}")
    pairs: PairSource = records
    if config.remap_classes and not is_remapped:
        left = [i for i in range(len(records.table)) if config.n_label_ids <= lookup[i] != VOID]
        if left:
            raise BadInput(
                f"REMAP_CLASSES leaves the ids {', '.join(map(str, left))} of the records in {data_dir}, but "
                f"NCLASSES={config.nclasses} means 0 to {config.nclasses}; say what becomes of them"
            )
        pairs = RemappedPairs(records, lookup, table=_merge_classes(config, records.table))
    if len(pairs.table) != config.n_label_ids:
        raise BadInput(
            f"the records in {data_dir} have {len(pairs.table)} label ids, but NCLASSES={config.nclasses} means "
            f"{config.n_label_ids}; {advice}"
        )
    _check_bands(records.n_bands, config)
    return pairs


def _check_bands(n_bands: int, config: ResunetConfig) -> None:
    if n_bands != config.n_data_bands:
        raise BadInput(
            f"the images have {n_bands} bands, but N_DATA_BANDS is {config.n_data_bands}; correct the config"
        )


def _check_labels(
    config: ResunetConfig, pairs: Sequence[Pair], table: ClassTable | None, progress: Progress
) -> ReadLabels:
    """Check that all pairs can be used, before any work; return the reader of their label maps.

    `table` has the classes of the label maps before REMAP_CLASSES is applied.
    """
    lookup = make_lookup(config.remap_classes) if config.remap_classes else None
    read_labels = make_label_reader(table, lookup=lookup)
    problems, values = check_pairs(pairs, read_labels, n_classes=config.n_label_ids, progress=progress)
    refuse_problems(problems)
    refuse_problems(_find_lost_foreground(values) if config.nclasses == 1 and lookup is None else [])
    return read_labels


def _find_pairs(config: ResunetConfig, images_dir: Path, labels_dir: Path) -> list[Pair]:
    return find_folder_pairs(images_dir, labels_dir, word="mask" if config.usemask else "label")


def _read_own_table(pairs: Sequence[Pair]) -> ClassTable | None:
    """Return the classes that the first label map names."""
    return read_labelmap(pairs[0].labels_path, with_seeds=False).table


def _find_lost_foreground(values: Mapping[Path, Sequence[int]]) -> list[Problem]:
    """Find masks whose foreground is 255, which is void here: they would train nothing."""
    if any(set(found) - {0, VOID} for found in values.values()):
        return []
    message = 'holds 0 and 255 only; add "REMAP_CLASSES": {"255": 1}'
    return [Problem(str(path), message) for path, found in values.items() if VOID in found]
