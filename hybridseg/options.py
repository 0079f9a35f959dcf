"""The options of an algorithm: a frozen dataclass whose fields carry a range and a sentence of help.

Default, range and help stand in one place: `check_options` refuses values out of range, and the command line derives
its options from the same fields.
"""

from __future__ import annotations

import functools
import math
import numbers
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from typing import Any

from hybridseg.errors import BadInput, shorten

_MOST_SHOWN = 80
_BAD_IN_NAMES, _MAX_NAME_CHARACTERS = "/\\:*?<>|", 100
_FREE_OF = f"without a leading dot, spaces at its ends, a double quote, or any of {' '.join(_BAD_IN_NAMES)}"
PREFIX_WORDS = f"the beginning of a file name, {_FREE_OF}"
"""What `is_prefix` wants."""


@dataclass(frozen=True)
class Span:
    """The numbers from `low` to `high`.

    `above` and `below` exclude the ends, `odd` excludes even numbers, `step` keeps its multiples only.

    Examples
    --------
    >>> Span(0, 1, below=True).text, Span(1).text, Span(32, 8192, step=32).text
    ('from 0 to below 1', 'of 1 or more', 'from 32 to 8,192, a multiple of 32')
    """

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False
    odd: bool = False
    step: int = 0

    def __contains__(self, value: Any) -> bool:
        """Return whether a number lies within; NaN, and what is beyond every float, lie nowhere."""
        fits_low = value > self.low if self.above else value >= self.low
        fits_high = value < self.high if self.below else value <= self.high
        if not (fits_low and fits_high and abs(value) <= sys.float_info.max):
            return False
        return not (self.odd and value % 2 != 1) and not (self.step and value % self.step)

    @property
    def text(self) -> str:
        """The span in words."""
        if self.high == math.inf:
            words = f"above {self.low:,.10g}" if self.above else f"of {self.low:,.10g} or more"
        else:
            start, joint = ("above", "and") if self.above else ("from", "to")
            end = "below" if self.below else "up to" if self.above else ""
            words = " ".join(f"{start} {self.low:,.10g} {joint} {end} {self.high:,.10g}".split())
        return words + (", odd" if self.odd else "") + (f", a multiple of {self.step}" if self.step else "")


@dataclass(frozen=True)
class Setting:
    """What an option means and what it may be.

    Parameters
    ----------
    help : str
        A full sentence: it is shown by ``--help`` as it stands.
    span : Span or None
        Where its numbers lie. None also stands for anything.
    choices : tuple of str
        The texts that it may be; empty: any.
    extra : tuple of float
        Numbers outside of the span that are valid too, such as -1 for "all".
    """

    help: str
    span: Span | None = None
    choices: tuple[str, ...] = ()
    extra: tuple[float, ...] = ()


def option(
    default: Any = MISSING,
    help: str = "",
    *,
    span: Span | None = None,
    choices: tuple[str, ...] = (),
    extra: tuple[float, ...] = (),
    default_factory: Any = MISSING,
) -> Any:
    """Define a field of an options class.

    Examples
    --------
    >>> @dataclass(frozen=True)
    ... class BlurOptions:
    ...     radius: int = option(3, "Radius of the disk, in pixels.", span=Span(0, 100))
    ...
    ...     def __post_init__(self) -> None:
    ...         check_options(self)
    >>> BlurOptions(radius=101)
    Traceback (most recent call last):
    hybridseg.errors.BadInput: radius=101: give a whole number from 0 to 100
    """
    metadata = {"setting": Setting(help, span, choices, extra)}
    if default_factory is not MISSING:
        return field(default_factory=default_factory, metadata=metadata)
    return field(default=default, metadata=metadata)


def option_like(owner: type, name: str, default: Any = MISSING) -> Any:
    """Define a field as another options class defines it, with its default unless one is given."""
    found: Field[Any] = owner.__dataclass_fields__[name]  # type: ignore[attr-defined]
    return field(default=found.default if default is MISSING else default, metadata=found.metadata)


def setting_of(owner: Any, name: str) -> Setting:
    """Return the setting of a field of an options class, or of one of its instances."""
    found: Field[Any] = owner.__dataclass_fields__[name]
    return found.metadata["setting"]


_read_hints = functools.cache(typing.get_type_hints)


def type_of(owner: Any, name: str) -> tuple[type, bool]:
    """Return the type of a field, and whether it may be None as well."""
    cls = owner if isinstance(owner, type) else type(owner)
    hint = _read_hints(cls)[name]
    members = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    kinds = [member for member in members if member is not types.NoneType]
    return kinds[0], len(kinds) < len(members)


def make_options(cls: Any, settings: Mapping[str, Any], *, prefix: str = "", **more: Any) -> Any:
    """Make an options object of the settings that have the names of its fields, and of `more`.

    `cls` may also be an instance, whose values are the defaults; `prefix` is put before the name of each field.
    """
    names = [name for name in cls.__dataclass_fields__ if prefix + name in settings and name not in more]
    given = {name: settings[prefix + name] for name in names} | more
    return cls(**given) if isinstance(cls, type) else replace(cls, **given)


_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    tuple[int, int]: "[rows, cols], each a whole number",
    tuple[float, float]: "[low, high], each a number",
    tuple[int, ...]: "several whole numbers, each",
    tuple[str, ...]: "several texts",
    dict[int, int]: 'pairs such as {"3": 1} of whole numbers',
}


def describe_range(owner: Any, name: str) -> str:
    """Return in words what an option may be.

    Examples
    --------
    >>> @dataclass
    ... class Sizes:
    ...     side: int = option(96, "Side of a tile, in pixels.", span=Span(8, 512))
    >>> describe_range(Sizes, "side")
    'a whole number from 8 to 512'
    """
    setting, (kind, _) = setting_of(owner, name), type_of(owner, name)
    if setting.choices:
        return f"one of {', '.join(setting.choices)}"
    span = f" {setting.span.text}" if setting.span else ""
    extra = "".join(f", or {value:g}" for value in setting.extra)
    return f"{_WORDS.get(kind, 'a text')}{span}{extra}"


def _is_of_type(value: Any, kind: Any) -> bool:
    """Return whether a value is of the type of an option, as far as a user of Python may err: text for a number."""
    if typing.get_origin(kind) is tuple:
        first, *rest = typing.get_args(kind)
        fits = isinstance(value, tuple) and (rest == [...] or len(value) == 1 + len(rest))
        return fits and all(_is_of_type(part, first) for part in value)
    wanted: dict[Any, Any] = {int: numbers.Integral, float: numbers.Real, str: str}
    return isinstance(value, wanted.get(kind, object)) and not (kind in (int, float) and isinstance(value, bool))


def is_prefix(text: str) -> bool:
    """Return whether file names on any system may begin with a text."""
    is_bad = text != text.strip() or text.startswith(".") or any(sign in text for sign in (*_BAD_IN_NAMES, '"'))
    return bool(text) and text.isprintable() and not is_bad


def check_file_name(name: str, *, what: str) -> None:
    """Raise BadInput unless a file or folder on any system may be called so, and something be added to its name.

    Examples
    --------
    >>> check_file_name("first try", what="--name")
    >>> check_file_name("a/b", what="--name")
    Traceback (most recent call last):
    hybridseg.errors.BadInput: --name 'a/b': give a name of 1 to 100 characters, without a leading dot, spaces at its \
ends, a double quote, or any of / \\ : * ? < > |
    """
    if len(name) > _MAX_NAME_CHARACTERS or not is_prefix(name):
        shown = repr(shorten(name, 60))
        raise BadInput(f"{what} {shown}: give a name of 1 to {_MAX_NAME_CHARACTERS} characters, {_FREE_OF}")


def check_options(options: Any) -> None:
    """Check every field that was defined with `option`; call it from ``__post_init__``. A list becomes a tuple.

    Raises
    ------
    BadInput
        Naming the first field that is out of range or of another type, and its range.
    """
    for item in fields(options):
        if "setting" not in item.metadata:
            continue
        value, setting = getattr(options, item.name), setting_of(options, item.name)
        if isinstance(value, list):
            value = tuple(value)
            object.__setattr__(options, item.name, value)
        if value is None or value in setting.extra:
            continue
        parts = value if isinstance(value, tuple) else (value,)
        is_fine = _is_of_type(value, type_of(options, item.name)[0]) and (
            not setting.choices or value in setting.choices
        )
        if not is_fine or (setting.span is not None and not all(part in setting.span for part in parts)):
            raise BadInput(
                f"{item.name}={shorten(repr(value), _MOST_SHOWN)}: give {describe_range(options, item.name)}"
            )
