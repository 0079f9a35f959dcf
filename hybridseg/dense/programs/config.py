"""The config file of the residual U-Net: JSON with the keys of the published program, read strictly.

A key is a field of `ResunetConfig` in upper case. Reading, messages, `explain_keys` and the table in the documents
all derive from the fields.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, get_origin

import numpy as np

from hybridseg.classes import VOID
from hybridseg.dense.pairs import SIDES
from hybridseg.errors import BadInput, located
from hybridseg.io.jsonfiles import as_read, read_json_object
from hybridseg.models.bundles import describe_json
from hybridseg.options import PREFIX_WORDS, Span, describe_range, is_prefix, option, setting_of, type_of

_SHARE, _EPOCHS, _FEW = Span(0, 1, below=True), Span(0, 100_000), Span(1, 1000)
_COUNT, _INNER_SHARE = Span(1, 100_000), Span(0, 1, above=True, below=True)
NAME_LENGTH = Span(1, 50)


# Keyword-only, so that the fields keep the order of the published file although three have no default.
@dataclass(frozen=True, kw_only=True)
class ResunetConfig:
    """What a residual U-Net is trained with.

    The defaults are those of the best result in docs/benchmarks.md on coastal photos that takes less than 20 minutes on
    two cores. Values are read as those of a file are: a whole 4.0 becomes 4, a list a tuple.

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

    target_size: tuple[int, int] = option(
        help="Rows and columns to which images and label maps are resized before anything else. Much smaller than the "
        "photographs is fine; the same aspect ratio is best. The network halves the size five times, hence the "
        "multiples.",
        span=SIDES,
    )
    kernel_size: tuple[int, int] = option(
        (3, 3),
        "Size of the convolution kernels. A larger one sees farther and takes longer.",
        span=Span(3, 15, odd=True),
    )
    nclasses: int = option(
        help="Number of classes without the null class, which is 0: label ids go from 0 to NCLASSES. 1 is one class "
        "against the rest, by a sigmoid; more are told apart by a softmax, the null class being one of them.",
        span=Span(1, 254),
    )
    batch_size: int = option(
        4, "Images in a training step. More make steadier steps and need more memory.", span=Span(1, 1024)
    )
    n_data_bands: int = option(
        help="Bands of an image: 3 for a colour photograph, more with near infrared, elevation and the like.",
        span=Span(1, 255),
    )
    do_crf_refine: bool = option(
        False,
        "Refine the prediction of the network with the dense CRF. Whether that helps depends on the photographs: "
        "`init-config --weights` tries it.",
    )
    do_train: bool = option(
        True, "Train the network. If false, existing weights are evaluated on the validation images and nothing else."
    )
    patience: int = option(25, "Epochs without a lower validation loss after which training stops.", span=_COUNT)
    ims_per_shard: int = option(50, "Images in one file of the packed training set.", span=_COUNT)
    max_epochs: int = option(25, "Largest number of epochs; PATIENCE may end training earlier.", span=_COUNT)
    validation_split: float = option(
        0.15,
        "Share of the source images that is held out from training, to choose the best epoch and to evaluate the "
        "network. All augmented copies of an image are in the same set as the image.",
        span=_INNER_SHARE,
    )
    rampup_epochs: int = option(2, "Epochs in which the learning rate rises from START_LR to MAX_LR.", span=_EPOCHS)
    sustain_epochs: float = option(12.0, "Epochs for which the learning rate then stays at MAX_LR.", span=_EPOCHS)
    exp_decay: float = option(
        0.85,
        "Factor by which the distance of the learning rate from MIN_LR then shrinks in each epoch; 1 keeps it at "
        "MAX_LR.",
        span=Span(0, 1, above=True),
    )
    start_lr: float = option(1e-4, "Learning rate of the first epoch, MAX_LR at most.", span=Span(0, 1))
    min_lr: float = option(1e-5, "Learning rate to which it decays, below MAX_LR.", span=Span(0, 1))
    max_lr: float = option(
        1e-3,
        "Peak learning rate. The value to change first when the loss does not fall, or jumps.",
        span=Span(0, 1, above=True),
    )
    median_filter_value: int = option(
        0, "Radius in pixels of the majority filter that smooths a prediction; 0 and 1 leave it out.", span=Span(0, 50)
    )
    doplot: bool = option(True, "Draw figures of examples and of the course of training.")
    root_string: str = option("images", "Prefix of the names of the packed training files.", span=NAME_LENGTH)
    usemask: bool = option(
        False,
        "Which masks to take where some names say 'mask' and others 'label': those of the first kind. If false, those "
        "of the second. Where there is one kind, it is taken.",
    )
    aug_rot: float = option(
        10.0, "Largest rotation of a copy, in degrees to either side; usually below 10.", span=Span(0, 180)
    )
    aug_zoom: float = option(
        0.1, "Largest share by which a copy is enlarged or shrunk; usually below 0.2.", span=_SHARE
    )
    aug_widthshift: float = option(0.05, "Largest horizontal shift of a copy, as a share of its width.", span=_SHARE)
    aug_heightshift: float = option(0.05, "Largest vertical shift of a copy, as a share of its height.", span=_SHARE)
    aug_hflip: bool = option(True, "Mirror half of the copies left to right.")
    aug_vflip: bool = option(False, "Turn half of the copies upside down; suits views from overhead.")
    aug_loops: int = option(1, "Portions in which the copies are made. More than 1 needs less memory.", span=_FEW)
    aug_copies: int = option(3, "Copies that are made of each image, each augmented anew.", span=_FEW)
    remap_classes: dict[int, int] = option(
        help='New ids for values of the label files, as in {"3": 1, "4": 1}; the others stay. The new ids are from 0 '
        f"to NCLASSES, or {VOID} for pixels that have no class. Records are changed once: when they are made, or else "
        "when they are read.",
        span=Span(0, VOID),
        default_factory=dict,
    )

    def __post_init__(self) -> None:
        values, problems = _read_values({item.name.upper(): getattr(self, item.name) for item in fields(self)})
        _refuse(problems)
        for name, value in values.items():
            object.__setattr__(self, name, value)
        _refuse(self._find_contradictions())

    def _find_contradictions(self) -> list[str]:
        """Return a problem for values that are in range but do not go together."""
        problems = []
        if self.min_lr >= self.max_lr:
            problems.append(f"MIN_LR={self.min_lr:g} must be below MAX_LR={self.max_lr:g}")
        if self.start_lr > self.max_lr:
            problems.append(f"START_LR={self.start_lr:g} must not be above MAX_LR={self.max_lr:g}")
        problems += [
            f"REMAP_CLASSES makes {new} of {old}, which is not a class: with NCLASSES={self.nclasses} give 0 to "
            f"{self.nclasses}, or {VOID} for no class"
            for old, new in self.remap_classes.items()
            if self.nclasses < new != VOID
        ]
        return problems

    @property
    def n_label_ids(self) -> int:
        """Number of label ids, the null class 0 among them."""
        return self.nclasses + 1

    @property
    def n_outputs(self) -> int:
        """Number of scores that the network gives for a pixel: 1 for one class against the rest."""
        return 1 if self.nclasses == 1 else self.n_label_ids


def make_lookup(remap: Mapping[int, int]) -> np.ndarray:
    """Return the id that each value of a label file becomes, (256,) uint8: ``lookup[labels]`` applies it.

    Examples
    --------
    >>> make_lookup({255: 1})[[0, 1, 255]].tolist()
    [0, 1, 1]
    """
    lookup = np.arange(VOID + 1, dtype=np.uint8)
    for old, new in remap.items():
        lookup[old] = new
    return lookup


KEYS = tuple(item.name.upper() for item in fields(ResunetConfig))


def read_config(path: str | os.PathLike[str]) -> ResunetConfig:
    """Read a config file; the keys that it leaves out have their defaults.

    Raises
    ------
    MissingInput
        When there is no such file.
    BadInput
        When it is not a JSON object, is the card of a network or another file without any key of a config, or a key
        in it is unknown, missing or out of range. One message names all.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "water.json"
    >>> _ = path.write_text('{"TARGET_SIZE": [64, 96], "NCLASSES": 1, "N_DATA_BANDS": 3}')
    >>> read_config(path).target_size
    (64, 96)
    """
    record = read_json_object(path)
    with located(path):
        if record and not any(name.upper() in KEYS for name in record):
            raise BadInput(
                f"it is {describe_json(Path(path))}; give the config, which says TARGET_SIZE and so on, or make one "
                "with `hybridseg resunet init-config`"
            )
        return parse_config(record)


def parse_config(record: Mapping[str, Any]) -> ResunetConfig:
    """Return the config of a mapping by keys, as `read_config` does that of a file."""
    problems = _check_keys(record)
    values, more_problems = _read_values({key: raw for key, raw in record.items() if key in KEYS})
    _refuse(problems + more_problems)
    return ResunetConfig(**values)


def config_record(config: ResunetConfig) -> dict[str, Any]:
    """Return a config as `write_json` writes it and `read_config` reads it.

    Examples
    --------
    >>> record = config_record(ResunetConfig(target_size=(64, 96), nclasses=1, n_data_bands=3))
    >>> record["TARGET_SIZE"], record["REMAP_CLASSES"]
    ([64, 96], {})
    """
    return {key: as_read(getattr(config, key.lower())) for key in KEYS}


def explain_keys() -> list[tuple[str, str, str, str]]:
    """Return name, type and range, default and meaning of every key.

    Examples
    --------
    >>> explain_keys()[3][:3]
    ('BATCH_SIZE', 'a whole number from 1 to 1,024', '4')
    """
    rows = []
    for key, item in zip(KEYS, fields(ResunetConfig), strict=True):
        default = item.default if item.default_factory is MISSING else item.default_factory()
        shown = "required" if default is MISSING else json.dumps(default)
        rows.append((key, _describe(key), shown, setting_of(ResunetConfig, item.name).help))
    return rows


def find_near_key(name: str) -> str | None:
    """Return the key that a name most likely means.

    Examples
    --------
    >>> find_near_key("targetsize"), find_near_key("zzz")
    ('TARGET_SIZE', None)
    """
    near = difflib.get_close_matches(name.strip().upper(), KEYS, n=1, cutoff=0.5)
    return near[0] if near else None


def _describe(key: str) -> str:
    if key == "ROOT_STRING":
        return f"{NAME_LENGTH.text} characters: {PREFIX_WORDS}"
    is_pair = get_origin(type_of(ResunetConfig, key.lower())[0]) is tuple
    return f"{'one number or ' if is_pair else ''}{describe_range(ResunetConfig, key.lower())}"


def _check_keys(record: Mapping[str, Any]) -> list[str]:
    """Return a problem for each unknown key, and for each required key that is missing."""
    nearest = {name: find_near_key(name) for name in record if name not in KEYS}
    missing = [key for key, _, default, _ in explain_keys() if default == "required" and key not in record]
    advice = {
        name: f"did you mean {near}?" if near else "`hybridseg resunet explain-config` lists all keys"
        for name, near in nearest.items()
    }
    problems = [f"there is no key {name!r}; {text}" for name, text in advice.items()]
    return problems + [f"{key} is missing: give {_describe(key)}" for key in missing if key not in nearest.values()]


def _read_values(record: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the values of known keys by field, and a problem for each that cannot be read."""
    values, problems = {}, []
    for key, raw in record.items():
        name = key.lower()
        span = setting_of(ResunetConfig, name).span or Span()
        try:
            values[name] = _read_value(type_of(ResunetConfig, name)[0], span, raw)
        except ValueError:
            shown = json.dumps(raw, default=str)
            shown = shown if len(shown) <= 60 else f"{shown[:60]}..."
            problems.append(f"{key}={shown}: give {_describe(key)}{_advise_sides(raw, span)}")
    return values, problems


def _read_value(kind: Any, span: Span, raw: Any) -> Any:
    """Return the value of a field from that of a JSON file; ValueError where it is of another type or out of range."""
    is_number = isinstance(raw, int | float) and not isinstance(raw, bool)
    if kind in (int, float) and is_number and raw in span and kind(raw) == raw:
        return kind(raw)
    if kind is bool and isinstance(raw, bool):
        return raw
    if kind is str and isinstance(raw, str) and len(raw) in span and is_prefix(raw):
        return raw
    if get_origin(kind) is tuple:
        rows, cols = raw if isinstance(raw, list | tuple) else (raw, raw)
        return _read_value(int, span, rows), _read_value(int, span, cols)
    if get_origin(kind) is dict and isinstance(raw, dict):
        pairs = ((_read_value(int, span, _read_id(old)), _read_value(int, span, new)) for old, new in raw.items())
        return dict(sorted(pairs))
    raise ValueError


def _read_id(text: Any) -> int:
    # "01" is refused: beside "1" it would be a second entry for the same value.
    if isinstance(text, str) and str(int(text)) != text:
        raise ValueError
    return int(text)


def _advise_sides(raw: Any, span: Span) -> str:
    """Return the valid sizes just below and just above a wrong one, in words."""
    if not span.step or not isinstance(raw, list | tuple) or not all(isinstance(side, int | float) for side in raw):
        return ""
    sides = [int(min(max(side, span.low), span.high)) for side in raw[:2]]
    near = [[side // span.step * span.step for side in sides], [-(-side // span.step) * span.step for side in sides]]
    return f", such as {' or '.join(dict.fromkeys(map(str, near)))}"


def _refuse(problems: list[str]) -> None:
    if len(problems) == 1:
        raise BadInput(problems[0])
    if problems:
        raise BadInput("\n  ".join([f"{len(problems)} things are wrong", *problems]))
