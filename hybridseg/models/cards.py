"""The card of a model: the JSON beside its weights, read strictly by the annotations of its fields.

A card says what the weights are and vouches for them by their SHA-256.
"""

from __future__ import annotations

import hashlib
import math
import platform
import stat
import types
import typing
from collections.abc import Callable
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from hybridseg import __version__
from hybridseg.errors import BadInput, located
from hybridseg.io.jsonfiles import read_json_object

T = TypeVar("T")

FORMAT_VERSION = 1

_MAX_SHOWN = 60


def read_card_file(path: Path, parse: Callable[[dict[str, Any]], T], *, remedy: str) -> T:
    """Read a card of this version of the format.

    Parameters
    ----------
    path : pathlib.Path
        ``NAME.json``.
    parse : callable
        From its record, without ``format``, to the result; it may raise TypeError, ValueError and KeyError.
    remedy : str
        What to do about a damaged card.

    Raises
    ------
    BadInput
        When the card is damaged or of another version; the message begins with its path.
    """
    record = read_json_object(path, remedy=remedy)
    with located(path):
        try:
            if record.pop("format") != FORMAT_VERSION:
                raise BadInput("it was written by another version of hybridseg; train the model again")
            return parse(record)
        except BadInput:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise BadInput(f"it is damaged ({error}); {remedy}") from error


def parse_fields(kind: type[T], record: Any, *, what: str, newer: tuple[str, ...] = ()) -> T:
    """Return the dataclass that a record holds: all of its fields, no other, each as its annotation says.

    The fields that are `newer` than the format have defaults, and earlier records lack them.

    Raises
    ------
    TypeError
        Calling the record `what`, and naming the first field that is wrong.

    Examples
    --------
    >>> from hybridseg.models.normalization import Normalization
    >>> record = {"kind": "unit", "scale": 255}
    >>> parse_fields(Normalization, record, what="the normalization", newer=("means", "deviations"))
    Normalization(kind='unit', scale=255.0, means=(), deviations=())
    """
    hints = typing.get_type_hints(kind)
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    if not isinstance(record, dict) or {*record, *newer} != set(names):
        raise TypeError(f"{what} needs {', '.join(names)}")
    values = {}
    for name in record:
        try:
            values[name] = parse_value(record[name], hints[name])
        except TypeError:
            raise TypeError(f"{name}={repr(record[name])[:_MAX_SHOWN]} of {what} is of the wrong type") from None
    return kind(**values)


def parse_value(value: Any, hint: Any) -> Any:
    """Return a value of JSON as the type of an annotation: a scalar, a tuple, a dict, or a union of these.

    Raises
    ------
    TypeError
        When it is of another type; nothing is converted but a whole number to a float.

    Examples
    --------
    >>> parse_value([64, 96], tuple[int, int] | None), parse_value({"a": 1}, dict[str, float])
    ((64, 96), {'a': 1.0})
    """
    origin, members = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if isinstance(hint, types.UnionType):
        for member in members:
            try:
                return parse_value(value, member)
            except TypeError:
                continue
    elif origin is tuple and isinstance(value, (list, tuple)):
        kinds = members[:1] * len(value) if members[-1] is ... else members
        if len(kinds) == len(value):
            return tuple(parse_value(part, kind) for part, kind in zip(value, kinds, strict=True))
    elif origin is dict and isinstance(value, dict):
        return {parse_value(key, members[0]): parse_value(part, members[1]) for key, part in value.items()}
    elif hint is float:
        # JSON may write it as a whole number; it has no NaN, and no number that a float could not hold.
        if type(value) is float and math.isfinite(value):
            return value
        if type(value) is int and abs(value) < 2**53:
            return float(value)
    # Not isinstance: a bool is an int to Python.
    elif type(value) is hint:
        return value
    raise TypeError(f"{repr(value)[:_MAX_SHOWN]} is not {getattr(hint, '__name__', hint)}")


def hash_bytes(content: bytes | memoryview) -> str:
    """Return the SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def hash_file(path: Path) -> str | None:
    """Return the SHA-256 of a file, computed once until it changes; None when it is not there."""
    stamp = stamp_file(path)
    return None if stamp is None else _hash(path.absolute(), stamp)


def stamp_file(path: Path) -> tuple[int, int] | None:
    """Return the size and the time of a file, by which a change is noticed; None when it is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    # A pipe would be read for ever.
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


@lru_cache(maxsize=64)
def _hash(path: Path, _stamp: tuple[int, int]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def combine_fingerprint(*parts: Any) -> str:
    """Return one SHA-256 for everything that a result depends on."""
    return hash_bytes("\n".join(map(str, parts)).encode())


def list_versions() -> dict[str, str]:
    """Return the versions of everything that a training depends on, by name."""
    # Imported on use: applying a model reads cards and writes none.
    import importlib.metadata

    packages = ("tensorflow", "tf-keras", "tensorflow-hub", "numpy")
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {"hybridseg": __version__, "python": platform.python_version(), **versions}
