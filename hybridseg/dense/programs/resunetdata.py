"""The data of a residual U-Net: pairs and records whose class ids are those that a config means."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hybridseg.classes import MAX_NAME_CHARACTERS, VOID, ClassTable, remap
from hybridseg.dense.datasets import (
    find_folder_pairs,
    find_lost_foreground,
    make_label_reader,
    read_mask,
    refuse_problems,
)
from hybridseg.dense.pairs import PairSource, RemappedPairs, check_pairs
from hybridseg.dense.programs.config import ResunetConfig, make_lookup
from hybridseg.dense.recordpairs import open_records
from hybridseg.errors import BadInput, shorten
from hybridseg.io.labelled import ReadLabels
from hybridseg.io.pairing import Pair
from hybridseg.markup import count_of
from hybridseg.progress import Progress

logger = logging.getLogger(__name__)


def find_pairs(config: ResunetConfig, images_dir: Path, masks_dir: Path | None) -> list[Pair]:
    """Find images with their masks, of the name that USEMASK says where there are several."""
    return find_folder_pairs(images_dir, masks_dir, word="mask" if config.usemask else "label")


def choose_classes(config: ResunetConfig, pairs: Sequence[Pair], given: ClassTable | None) -> ClassTable:
    """Return the classes of the label ids: those that were given, those that the first mask names, or numbers."""
    own = _read_own_table(pairs, given)
    # A list of the classes that masks are painted in says what the ids were, not what REMAP_CLASSES makes of them.
    if own and config.remap_classes and (given is None or own is given):
        return _merge_classes(config, own)
    return _name_ids(config, given or own)


def _name_ids(config: ResunetConfig, given: ClassTable | None) -> ClassTable:
    """Return the classes of the label ids; a list of another length names the ids that REMAP_CLASSES merges."""
    if given and config.remap_classes and len(given) > config.n_label_ids:
        return _merge_classes(config, given)
    return choose_table(config, given)


def check_labels(
    config: ResunetConfig,
    pairs: Sequence[Pair],
    table: ClassTable,
    *,
    given: ClassTable | None = None,
    progress: Progress,
) -> ReadLabels:
    """Check that all pairs can be used, before any work; return the reader of their masks.

    Parameters
    ----------
    table : ClassTable
        The classes that are read.
    given : ClassTable or None
        The classes of masks that do not name theirs, in the order of their ids; None: `table`.

    Raises
    ------
    BadInput
        When sizes differ, or a mask holds an id that does not belong to a class.
    """
    source, lookup = table, None
    own = _read_own_table(pairs, given) if config.remap_classes else None
    if given is not None and own is not given:
        source = _name_ids(config, given)
        lookup = np.arange(VOID + 1, dtype=np.uint8)
        lookup[: len(source)] = remap(source, table)[: len(source)]
    if config.remap_classes:
        # What is remapped are the ids that the masks have.
        changed = make_lookup(config.remap_classes)
        lookup = changed if lookup is None else lookup[changed]
        read_labels = make_label_reader(own, lookup=lookup)
    else:
        read_labels = make_label_reader(source, lookup=lookup)
    problems, values = check_pairs(pairs, read_labels, n_classes=config.n_label_ids, progress=progress)
    refuse_problems(problems)
    present = {value for found in values.values() for value in found}
    absent = [name for i, name in enumerate(table.names) if i not in present and name != "null"]
    if absent:
        logger.warning("no mask has a pixel of %s; are these the right masks and classes?", ", ".join(absent))
    if config.nclasses == 1 and not config.remap_classes:
        refuse_problems(find_lost_foreground(values, advice='add "REMAP_CLASSES": {"255": 1}'))
    return read_labels


def _read_own_table(pairs: Sequence[Pair], given: ClassTable | None) -> ClassTable | None:
    """Return the classes that the first mask names, or `given` itself if it is painted in their colours."""
    return read_mask(pairs[0].labels_path, given).table


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
        f"the list names {count_of(len(given), 'class')}, but NCLASSES={config.nclasses} means {n} with the null class "
        "first"
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
            names[new] = shorten(" + ".join(own.names[old] for old in merged), MAX_NAME_CHARACTERS)
            colors[new] = own.colors[merged[0]]
    return ClassTable(tuple(names), tuple(colors))


def open_training_records(config: ResunetConfig, data_dir: Path) -> PairSource:
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
    check_bands(records.n_bands, config)
    return pairs


def check_bands(n_bands: int, config: ResunetConfig) -> None:
    """Raise BadInput for images of another number of bands."""
    if n_bands != config.n_data_bands:
        raise BadInput(
            f"the images have {count_of(n_bands, 'band')}, but N_DATA_BANDS is {config.n_data_bands}; correct the "
            "config"
        )
