"""The config file of a residual U-Net: JSON with the keys of the published program, read strictly."""

from __future__ import annotations

import difflib
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.classes import VOID
from hybridseg.dense.programs.resunetkeys import KEYS, REQUIRED, find_key, show_value
from hybridseg.errors import BadInput, located
from hybridseg.io.rasters import check_regular

_MAX_BYTES = 1_000_000
_MAX_NAMES_SHOWN, _MAX_SHOWN = 20, 60
_NAMES = tuple(key.name for key in KEYS)


def _default(name: str) -> Any:
    return find_key(name).default


# Keyword-only, so that the fields keep the order of the published file although three have no default.
@dataclass(frozen=True, kw_only=True)
class ResunetConfig:
    """What a residual U-Net is trained with; `explain_keys` tells what each field means.

    Values are read as those of a file are: a whole 4.0 becomes 4, a list a tuple.

    Raises
    ------
    BadInput
        Naming every field that is out of range.

    Examples
    --------
    >>> config = ResunetConfig(target_size=(64, 96), nclasses=1, n_data_bands=3)
    >>> config.batch_size, config.n_outputs, config.n_label_ids
    (4, 1, 2)
    """

    target_size: tuple[int, int]
    kernel_size: tuple[int, int] = _default("KERNEL_SIZE")
    nclasses: int
    batch_size: int = _default("BATCH_SIZE")
    n_data_bands: int
    do_crf_refine: bool = _default("DO_CRF_REFINE")
    do_train: bool = _default("DO_TRAIN")
    patience: int = _default("PATIENCE")
    ims_per_shard: int = _default("IMS_PER_SHARD")
    max_epochs: int = _default("MAX_EPOCHS")
    validation_split: float = _default("VALIDATION_SPLIT")
    rampup_epochs: int = _default("RAMPUP_EPOCHS")
    sustain_epochs: float = _default("SUSTAIN_EPOCHS")
    exp_decay: float = _default("EXP_DECAY")
    start_lr: float = _default("START_LR")
    min_lr: float = _default("MIN_LR")
    max_lr: float = _default("MAX_LR")
    median_filter_value: int = _default("MEDIAN_FILTER_VALUE")
    doplot: bool = _default("DOPLOT")
    root_string: str = _default("ROOT_STRING")
    usemask: bool = _default("USEMASK")
    aug_rot: float = _default("AUG_ROT")
    aug_zoom: float = _default("AUG_ZOOM")
    aug_widthshift: float = _default("AUG_WIDTHSHIFT")
    aug_heightshift: float = _default("AUG_HEIGHTSHIFT")
    aug_hflip: bool = _default("AUG_HFLIP")
    aug_vflip: bool = _default("AUG_VFLIP")
    aug_loops: int = _default("AUG_LOOPS")
    aug_copies: int = _default("AUG_COPIES")
    remap_classes: dict[int, int] = field(default_factory=lambda: dict(_default("REMAP_CLASSES")), hash=False)

    def __post_init__(self) -> None:
        """Read every value as that of a file is read, and refuse what cannot work."""
        values, problems = _read_values({key.name: getattr(self, key.field_name) for key in KEYS})
        _refuse(problems)
        for name, value in values.items():
            object.__setattr__(self, name.lower(), value)

    @property
    def max_label(self) -> int:
        """The highest id of a label map."""
        return self.nclasses

    @property
    def n_label_ids(self) -> int:
        """Number of label ids, the null class 0 among them."""
        return self.nclasses + 1

    @property
    def n_outputs(self) -> int:
        """Number of scores that the network gives for a pixel: 1 for one class against the rest."""
        return 1 if self.nclasses == 1 else self.n_label_ids

    def remap_table(self) -> np.ndarray:
        """Give the id that each value of a label file becomes, (256,) uint8: ``table[labels]`` applies it.

        Examples
        --------
        >>> config = ResunetConfig(target_size=(64, 64), nclasses=1, n_data_bands=3, remap_classes={255: 1})
        >>> config.remap_table()[[0, 1, 255]].tolist()
        [0, 1, 1]
        """
        table = np.arange(VOID + 1, dtype=np.uint8)
        for old, new in self.remap_classes.items():
            table[old] = new
        return table


def read_config(path: str | os.PathLike[str]) -> ResunetConfig:
    """Read a config file.

    Parameters
    ----------
    path : path-like
        JSON, with the names of `KEYS`; the keys that it leaves out have their defaults.

    Returns
    -------
    ResunetConfig

    Raises
    ------
    MissingInput
        When there is no such file.
    BadInput
        When it is no JSON object, or anything in it is unknown, missing, twice there or out of range. One message
        names all that is wrong.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "water.json"
    >>> _ = path.write_text('{"TARGET_SIZE": [64, 96], "NCLASSES": 1, "N_DATA_BANDS": 3}')
    >>> read_config(path).target_size
    (64, 96)
    """
    path = check_regular(path)
    with located(path):
        record, problems = _load_object(path)
        problems += _check_names(record)
        values, more_problems = _read_values({name: raw for name, raw in record.items() if name in _NAMES})
        _refuse(problems + more_problems)
        return ResunetConfig(**{name.lower(): value for name, value in values.items()})


def config_record(config: ResunetConfig) -> dict[str, Any]:
    """Give a config as what `write_json` writes and `read_config` reads, in the order of `KEYS`.

    Examples
    --------
    >>> record = config_record(ResunetConfig(target_size=(64, 96), nclasses=1, n_data_bands=3))
    >>> record["TARGET_SIZE"], record["REMAP_CLASSES"]
    ([64, 96], {})
    """
    return {key.name: key.write(getattr(config, key.field_name)) for key in KEYS}


def _load_object(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Give the JSON object of a file, and a problem for each name that it has twice."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror or error}") from error
    if len(data) > _MAX_BYTES:
        raise BadInput(f"is larger than {_MAX_BYTES:,} bytes, so it is no config file")
    twice: list[str] = []

    def make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        counts = Counter(name for name, _ in pairs)
        twice.extend(f"{show_value(name)} is there {n} times; keep one" for name, n in counts.items() if n > 1)
        return dict(pairs)

    try:
        # NaN and Infinity become numbers here, and lie in no range.
        record = json.loads(data.decode("utf-8-sig"), object_pairs_hook=make_object)
    except RecursionError:
        raise BadInput("is nested far too deeply to be a config file") from None
    except ValueError as error:
        raise BadInput(f"is no JSON text ({error}); names and text stand in double quotes, no comma is last") from error
    if not isinstance(record, dict):
        raise BadInput('holds no JSON object; a config file is written {"TARGET_SIZE": [512, 768], ...}')
    return record, twice


def _check_names(record: Mapping[str, Any]) -> list[str]:
    """Find the names that are no keys, and the required keys that are not there."""
    problems, meant = [], set()
    unknown = [name for name in record if name not in _NAMES]
    # A hostile file may have many names, and long ones: to compare them all would take very long.
    for name in unknown[:_MAX_NAMES_SHOWN]:
        near = difflib.get_close_matches(name.strip().upper()[:40], _NAMES, n=1, cutoff=0.6)
        meant.update(near)
        advice = f"did you mean {near[0]}?" if near else f"the keys are {', '.join(_NAMES)}"
        problems.append(f"there is no key {show_value(name)}; {advice}")
    if len(unknown) > _MAX_NAMES_SHOWN:
        problems.append(f"there are {len(unknown) - _MAX_NAMES_SHOWN} more names that are no keys")
    for key in KEYS:
        if key.default is REQUIRED and key.name not in record and key.name not in meant:
            problems.append(f"{key.name} is missing: give {key.type_text}")
    return problems


def _read_values(record: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Read the values of known keys; give those that can be read, and a problem for each other."""
    values, problems = {}, []
    for name, raw in record.items():
        try:
            values[name] = find_key(name).read(raw)
        except BadInput as error:
            problems.append(str(error))
    return values, problems + _find_contradictions(values, set(record) - set(values))


def _find_contradictions(values: Mapping[str, Any], unread: set[str]) -> list[str]:
    """Find the values that are in range but do not go together."""

    def get(name: str) -> Any:
        return None if name in unread else values.get(name, _default(name))

    problems = []
    start, low, high = (get(name) for name in ("START_LR", "MIN_LR", "MAX_LR"))
    if high is not None and low is not None and low >= high:
        problems.append(f"MIN_LR={low:g} must be below MAX_LR={high:g}")
    if high is not None and start is not None and start > high:
        problems.append(f"START_LR={start:g} must not be above MAX_LR={high:g}")
    n_classes = get("NCLASSES")
    for old, new in (get("REMAP_CLASSES") or {}).items():
        if isinstance(n_classes, int) and n_classes < new != VOID:
            problems.append(
                f"REMAP_CLASSES makes {new} of {old}, which is no class: with NCLASSES={n_classes} give 0 to "
                f"{n_classes}, or {VOID} for no class"
            )
    return problems


def _refuse(problems: list[str]) -> None:
    if len(problems) == 1:
        raise BadInput(problems[0])
    if problems:
        rest = [f"and {len(problems) - _MAX_SHOWN} more"] if len(problems) > _MAX_SHOWN else []
        raise BadInput("\n  ".join([f"{len(problems)} things are wrong", *problems[:_MAX_SHOWN], *rest]))
