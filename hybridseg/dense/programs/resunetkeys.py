"""The keys of a residual U-Net's config file: what each may hold, its default and its meaning.

`KEYS` is the one list of what a config may say. Reading, the messages about what is wrong, `explain_keys` and the
documents all come from it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from hybridseg.classes import VOID
from hybridseg.errors import BadInput

REQUIRED = object()
"""The default of a key that has none."""

_BAD_IN_NAMES = '/\\:*?"<>|'


@dataclass(frozen=True)
class Span:
    """The numbers from `low` to `high` that are multiples of a whole number (`step`), or all of them (0).

    `above` and `below` leave the ends out; `odd` leaves the even ones out.

    Examples
    --------
    >>> Span(0, 1, below=True).text
    'from 0 to below 1'
    """

    low: float
    high: float
    above: bool = False
    below: bool = False
    odd: bool = False
    step: int = 0

    def holds(self, value: Any) -> bool:
        """Tell whether a number lies within; NaN lies nowhere."""
        fits_low = value > self.low if self.above else value >= self.low
        fits_high = value < self.high if self.below else value <= self.high
        if not (fits_low and fits_high):
            return False
        return not (self.odd and value % 2 != 1) and not (self.step and value % self.step)

    @property
    def text(self) -> str:
        """The span in words."""
        low = f"{'above' if self.above else 'from'} {self.low:g}"
        return f"{low} {'to below' if self.below else 'to'} {self.high:g}"


@dataclass(frozen=True)
class Key:
    """One key of the config file.

    Parameters
    ----------
    name : str
        In upper case, as in the file; the field of `ResunetConfig` is the same in lower case.
    kind : str
        One of ``switch``, ``whole``, ``number``, ``sides``, ``sizes``, ``name`` and ``remap``: how its value is read.
    span : Span or None
        Where its numbers lie (of a name: its number of characters).
    meaning : str
        What it does, in sentences.
    default : object
        Or REQUIRED.
    """

    name: str
    kind: str
    span: Span | None
    meaning: str
    default: Any = REQUIRED

    @property
    def field_name(self) -> str:
        """The name of its field."""
        return self.name.lower()

    @property
    def type_text(self) -> str:
        """What can be given, in words.

        Examples
        --------
        >>> find_key("BATCH_SIZE").type_text
        'a whole number from 1 to 1024'
        """
        span = self.span.text if self.span else ""
        return _KINDS[self.kind].words.format(span=span, step=self.span.step if self.span else 0)

    @property
    def default_text(self) -> str:
        """The default as it stands in a file, or ``required``."""
        return "required" if self.default is REQUIRED else json.dumps(self.write(self.default))

    def read(self, raw: Any) -> Any:
        """Turn a value of a JSON file into that of the field.

        Raises
        ------
        BadInput
            When it is of another type or out of range.
        """
        try:
            return _KINDS[self.kind].read(raw, self.span)
        except _UnfitError as error:
            raise BadInput(f"{self.name}={show_value(raw)}: give {self.type_text}{error}") from None

    def write(self, value: Any) -> Any:
        """Turn the value of the field into that of a JSON file."""
        if isinstance(value, tuple):
            return list(value)
        return {str(old): new for old, new in value.items()} if isinstance(value, dict) else value


_RATE, _SHARE, _EPOCHS = Span(0, 1), Span(0, 1, below=True), Span(0, 100_000)
_COUNT, _FEW = Span(1, 100_000), Span(1, 1000)

KEYS = (
    Key(
        "TARGET_SIZE",
        "sizes",
        Span(32, 8192, step=32),
        "Rows and columns to which images and label maps are brought before anything else. Much smaller than the "
        "photographs is fine; the same aspect ratio is best. The network halves the size five times, hence the "
        "multiples.",
    ),
    Key(
        "KERNEL_SIZE",
        "sides",
        Span(3, 15, odd=True),
        "Size of the convolutions. A larger one sees farther and takes longer.",
        (3, 3),
    ),
    Key(
        "NCLASSES",
        "whole",
        Span(1, 254),
        "Number of classes without the null class, which is 0: label ids go from 0 to NCLASSES. 1 is one class "
        "against the rest, by a sigmoid; more are told apart by a softmax, the null class being one of them.",
    ),
    Key(
        "BATCH_SIZE",
        "whole",
        Span(1, 1024),
        "Images in one step of training. More of them make steadier steps and need more memory.",
        4,
    ),
    Key(
        "N_DATA_BANDS",
        "whole",
        Span(1, 255),
        "Bands of an image: 3 for a colour photograph, more with near infrared, elevation and the like.",
    ),
    Key("DO_CRF_REFINE", "switch", None, "Refine what the network predicts by the dense CRF.", True),
    Key(
        "DO_TRAIN",
        "switch",
        None,
        "Train the network. If false, the weights that are there are only judged by the validation images.",
        True,
    ),
    Key("PATIENCE", "whole", _COUNT, "Epochs without a lower validation loss after which training stops.", 20),
    Key("IMS_PER_SHARD", "whole", _COUNT, "Images in one file of the packed training set.", 50),
    Key("MAX_EPOCHS", "whole", _COUNT, "Epochs after which training stops at the latest; PATIENCE should end it.", 100),
    Key(
        "VALIDATION_SPLIT",
        "number",
        Span(0, 1, above=True, below=True),
        "Share of the source images that is kept from training, to choose the best epoch and to judge the network. "
        "All augmented copies of an image are in the same set as the image.",
        0.25,
    ),
    Key("RAMPUP_EPOCHS", "whole", _EPOCHS, "Epochs in which the learning rate rises from START_LR to MAX_LR.", 10),
    Key("SUSTAIN_EPOCHS", "number", _EPOCHS, "Epochs for which the learning rate then stays at MAX_LR.", 0.0),
    Key(
        "EXP_DECAY",
        "number",
        Span(0, 1, above=True),
        "Factor by which the learning rate then comes nearer to MIN_LR with each epoch; 1 lets it stay.",
        0.9,
    ),
    Key("START_LR", "number", _RATE, "Learning rate of the first epoch, MAX_LR at most.", 1e-5),
    Key("MIN_LR", "number", _RATE, "Learning rate towards which it falls in the end, below MAX_LR.", 1e-5),
    Key(
        "MAX_LR",
        "number",
        Span(0, 1, above=True),
        "Highest learning rate. The value to change first when the loss does not fall, or jumps.",
        1e-3,
    ),
    Key(
        "MEDIAN_FILTER_VALUE",
        "whole",
        Span(0, 50),
        "Radius in pixels of the disk by whose median a prediction is smoothed; 0 and 1 leave it as it is.",
        3,
    ),
    Key("DOPLOT", "switch", None, "Draw figures of examples and of the course of training.", True),
    Key("ROOT_STRING", "name", Span(1, 50), "How the names of the packed training files begin.", "images"),
    Key(
        "USEMASK",
        "switch",
        None,
        "The names of label files or of their folder say 'mask'. If false, they say 'label'.",
        False,
    ),
    Key("AUG_ROT", "number", Span(0, 180), "Copies are turned by up to so many degrees; usually below 10.", 5.0),
    Key("AUG_ZOOM", "number", _SHARE, "Copies are enlarged or shrunk by up to this share; usually below 0.2.", 0.05),
    Key("AUG_WIDTHSHIFT", "number", _SHARE, "Copies are moved sideways by up to this share of their width.", 0.05),
    Key("AUG_HEIGHTSHIFT", "number", _SHARE, "Copies are moved up or down by up to this share of their height.", 0.05),
    Key("AUG_HFLIP", "switch", None, "Half of the copies are mirrored left to right.", True),
    Key("AUG_VFLIP", "switch", None, "Half of the copies are turned upside down; suits views from overhead.", False),
    Key("AUG_LOOPS", "whole", _FEW, "Portions in which the copies are made. More than 1 needs less memory.", 1),
    Key("AUG_COPIES", "whole", _FEW, "Copies that are made of each image, each altered anew.", 3),
    Key(
        "REMAP_CLASSES",
        "remap",
        Span(0, VOID),
        f'New ids for values of the label files, as in {{"3": 1, "4": 1}}; the others stay. The new ids are from '
        f"0 to NCLASSES, or {VOID} for pixels that have no class.",
        {},
    ),
)
_BY_NAME = {key.name: key for key in KEYS}


def find_key(name: str) -> Key:
    """Give the key of a name."""
    return _BY_NAME[name]


def explain_keys() -> list[tuple[str, str, str, str]]:
    """Tell the name, type and range, default and meaning of every key.

    Examples
    --------
    >>> explain_keys()[3][:3]
    ('BATCH_SIZE', 'a whole number from 1 to 1024', '4')
    """
    return [(key.name, key.type_text, key.default_text, key.meaning) for key in KEYS]


def show_value(raw: Any) -> str:
    """Show a value of a file, however large or deep it is, in a few words."""
    if isinstance(raw, list | tuple):
        return f"[{', '.join(_show_part(part) for part in raw[:4])}{', ...' if len(raw) > 4 else ''}]"
    if isinstance(raw, Mapping):
        pairs = [f"{_show_part(old)}: {_show_part(new)}" for old, new in list(raw.items())[:4]]
        return f"{{{', '.join(pairs)}{', ...' if len(raw) > 4 else ''}}}"
    return _show_part(raw)


def _show_part(raw: Any) -> str:
    if raw is None or isinstance(raw, bool):
        return json.dumps(raw)
    if isinstance(raw, Integral) and int(raw).bit_length() > 64:
        return "a huge number"  # Thousands of digits take long to write out.
    if isinstance(raw, str):
        return repr(raw if len(raw) <= 40 else raw[:40] + "...")
    if isinstance(raw, Real):
        return str(raw)
    return "[...]" if isinstance(raw, list | tuple) else "{...}" if isinstance(raw, Mapping) else type(raw).__name__


class _UnfitError(Exception):
    """A value cannot be taken; the message is advice that follows what could be given."""


@dataclass(frozen=True)
class _Kind:
    read: Callable[[Any, Any], Any]
    words: str


def _read_switch(raw: Any, span: None) -> bool:
    if not isinstance(raw, bool):
        raise _UnfitError
    return raw


def _read_number(raw: Any, span: Span) -> float:
    if isinstance(raw, bool) or not isinstance(raw, Real) or not span.holds(raw):
        raise _UnfitError
    return float(raw)


def _is_whole(raw: Any) -> bool:
    if isinstance(raw, bool) or not isinstance(raw, Real):
        return False
    return isinstance(raw, Integral) or float(raw).is_integer()


def _read_whole(raw: Any, span: Span) -> int:
    if not _is_whole(raw) or not span.holds(raw):
        raise _UnfitError
    return int(raw)


def _read_sides(raw: Any, span: Span) -> tuple[int, int]:
    sides = raw if isinstance(raw, list | tuple) else (raw, raw)
    if len(sides) != 2:
        raise _UnfitError
    return _read_whole(sides[0], span), _read_whole(sides[1], span)


def _read_sizes(raw: Any, span: Span) -> tuple[int, int]:
    if not isinstance(raw, list | tuple) or len(raw) != 2 or not all(_is_whole(side) for side in raw):
        raise _UnfitError
    if not all(span.holds(side) for side in raw):
        sizes = zip(*(_list_near(side, span) for side in raw), strict=True)
        near = dict.fromkeys(f"[{rows}, {cols}]" for rows, cols in sizes)
        raise _UnfitError(f", such as {' or '.join(near)}")
    return int(raw[0]), int(raw[1])


def _list_near(side: Any, span: Span) -> tuple[int, int]:
    """Give the valid sides just below and just above one that may be far out of range."""
    side = int(min(max(side, span.low), span.high))
    return side // span.step * span.step, -(-side // span.step) * span.step


def _read_name(raw: Any, span: Span) -> str:
    # What cannot be printed (line ends, halves of a character) is refused with the signs that paths are made of.
    if not isinstance(raw, str) or not span.holds(len(raw)) or not raw.isprintable():
        raise _UnfitError
    if raw != raw.strip() or raw.startswith(".") or any(sign in raw for sign in _BAD_IN_NAMES):
        raise _UnfitError
    return raw


def _read_remap(raw: Any, span: Span) -> dict[int, int]:
    if not isinstance(raw, Mapping):
        raise _UnfitError
    return dict(sorted((_read_old_id(old, span), _read_whole(new, span)) for old, new in raw.items()))


def _read_old_id(old: Any, span: Span) -> int:
    # "01" and " 1" are refused: beside "1" they would be a second say about the same value.
    if isinstance(old, str) and not (len(old) <= 3 and old.isascii() and old.isdecimal() and str(int(old)) == old):
        raise _UnfitError
    return _read_whole(int(old) if isinstance(old, str) else old, span)


_KINDS = {
    "switch": _Kind(_read_switch, "true or false"),
    "number": _Kind(_read_number, "a number {span}"),
    "whole": _Kind(_read_whole, "a whole number {span}"),
    "sides": _Kind(_read_sides, "an odd whole number {span}, or two of them [rows, cols]"),
    "sizes": _Kind(_read_sizes, "two multiples of {step} {span}, [rows, cols]"),
    "name": _Kind(
        _read_name,
        "the beginning of a file name, in quotes: {span} characters, no dot or space first, none of "
        + " ".join(_BAD_IN_NAMES),
    ),
    "remap": _Kind(_read_remap, 'pairs such as {{"3": 1}} of whole numbers {span}'),
}
