"""JSON and TOML, from elsewhere or ours: the size is checked before it is parsed, every value before it is used."""

from __future__ import annotations

import json
import math
import os
import re
import tomllib
from collections import Counter
from typing import Any, NoReturn

from hybridseg.errors import BadInput, HybridSegError, located
from hybridseg.io.damage import describe_damage
from hybridseg.io.textfiles import read_whole

MAX_FILE_BYTES = 200_000_000
# What a byte of text can become in memory: an object and a list take far more than a number.
_MAX_SIGNS = {b"{": 3_000_000, b"[": 6_000_000, b":": 15_000_000, b",": 30_000_000}
_NESTING = {dict, list}
_MAX_DEPTH = 100
# A path is the longest name that is known; a float holds no whole number of more digits.
_MAX_NAME, _MAX_DIGITS = 4096, 308
_SPLIT = "split it into smaller files"
_MAX_NUMBER = 1e9
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
# A pattern would look for the end of each number from each of its digits.
_DIGITS_AS_ZEROS = bytes(ord("0") if chr(byte).isascii() and chr(byte).isdigit() else 0 for byte in range(256))
_MANY_DIGITS = b"0" * (_MAX_DIGITS + 1)


def read_json_object(
    path: str | os.PathLike[str], *, errors: str = "strict", remedy: str | None = None
) -> dict[str, Any]:
    """Read a JSON file: UTF-8, one object, no key twice in any object, no NaN, no number beyond a float, not too deep.

    Parameters
    ----------
    errors : str
        As of `open`: "surrogateescape" for a file of ours with names of files, which may not be UTF-8.
    remedy : str or None
        What to do about a file that cannot be used; None: to save it again, split it, or give all of it.

    Raises
    ------
    MissingInput, BadInput
        When there is no such file, it is too large, or it is not such JSON.
    """
    data = read_whole(path, most=MAX_FILE_BYTES, remedy=remedy or _SPLIT)
    with located(path):
        return parse_json_object(data, errors=errors, remedy=remedy)


def read_toml(path: str | os.PathLike[str], *, most: int, remedy: str) -> dict[str, Any]:
    """Read a TOML file of at most so many bytes, which is no deeper than JSON may be.

    Raises
    ------
    MissingInput, BadInput
    """
    data = read_whole(path, most=most, remedy=remedy)
    with located(path):
        try:
            record = tomllib.loads(data.decode("utf-8"))
            _check_depth(record)
        except (ValueError, RecursionError) as error:
            raise BadInput(f"it is not TOML ({describe_damage(error)}); {remedy}") from error
    return record


def parse_json_object(
    data: bytes | str, *, errors: str = "strict", remedy: str | None = None, finite: bool = True
) -> dict[str, Any]:
    """Parse what `read_json_object` reads, which may also come from elsewhere than a file.

    Raises
    ------
    BadInput
    """
    record = parse_json(data, errors=errors, remedy=remedy, finite=finite)
    if not isinstance(record, dict):
        raise BadInput(
            f"it holds a list or a single value, not one object in braces; {remedy or 'give the whole file'}"
        )
    return record


def parse_json(data: bytes | str, *, errors: str = "strict", remedy: str | None = None, finite: bool = True) -> Any:
    """Parse any value of JSON, as strictly as `parse_json_object` parses an object.

    Parameters
    ----------
    finite : bool
        False: also NaN and infinity, as Python writes them.

    Raises
    ------
    BadInput

    Examples
    --------
    >>> parse_json('["water", "sand"]')
    ['water', 'sand']
    """
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogatepass")
    if len(data) > MAX_FILE_BYTES:
        raise BadInput(f"it is larger than {MAX_FILE_BYTES // 1_000_000} MB; {remedy or _SPLIT}")
    for sign, most in _MAX_SIGNS.items():
        if data.count(sign) > most:
            raise BadInput(f"it has more than {most:,} {sign.decode()!r}; {remedy or _SPLIT}")
    parse_int = _parse_int if _MANY_DIGITS in data.translate(_DIGITS_AS_ZEROS) else None
    try:
        record = json.loads(
            data.decode("utf-8-sig", errors), object_pairs_hook=_make_object, parse_float=_parse_float,
            parse_constant=_refuse_constant if finite else None, parse_int=parse_int,
        )  # fmt: skip
        _check_depth(record)
        if _SURROGATE.search(data):
            # Half of a sign, which no output takes.
            json.dumps(record, ensure_ascii=False).encode("utf-8", errors)
    except BadInput:
        raise
    except UnicodeEncodeError as error:
        half = ascii(error.object[error.start])
        raise BadInput(f"it holds {half}, half of a character; {remedy or 'correct it'}") from error
    except (ValueError, RecursionError) as error:
        told = describe_damage(error)
        raise BadInput(f"it is damaged, or not JSON in UTF-8 ({told}); {remedy or 'save it again'}") from error
    return record


def as_read(record: Any) -> Any:
    """Return a record of ours as it comes back from a file: lists for tuples, names of text.

    Examples
    --------
    >>> as_read({1: (2, 3)})
    {'1': [2, 3]}
    """
    return json.loads(json.dumps(record))


def holds_keys(path: str | os.PathLike[str], *keys: str) -> bool:
    """Return whether a file is a JSON object with these keys, as a file that was written here has them."""
    try:
        return read_json_object(path).keys() >= set(keys)
    except HybridSegError:
        return False


def parse_number(value: Any) -> float:
    """Return a number of JSON; true and "1" are not one.

    Raises
    ------
    BadInput
        For anything else, or a number too large for any position in an image.
    """
    try:
        number = float(value) if type(value) in (int, float) else math.nan
    except OverflowError:
        number = math.inf
    # Not a number is not below it either.
    if not abs(number) <= _MAX_NUMBER:
        raise BadInput(f"{str(value)[:40]!r} stands where a number of pixels should be; export it again")
    return number


def parse_whole(value: Any, *, low: int = -(2**31) + 1, high: int = 2**31 - 1) -> int:
    """Return a whole number of JSON; true, 1.0 and "1" are not one.

    Raises
    ------
    BadInput
        Also for a number that is out of range.
    """
    if type(value) is not int or not low <= value <= high:
        raise BadInput(f"{str(value)[:40]!r} stands where a whole number from {low:,} to {high:,} should be")
    return value


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        key = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise BadInput(f"{key[:60]!r} stands twice in one object; keep one of the two, or export the file again")
    if max(map(len, record), default=0) > _MAX_NAME:
        key = max(record, key=len)
        raise BadInput(f"the name {key[:60]!r} ... in it has {len(key):,} characters; a name has at most {_MAX_NAME:,}")
    return record


def _parse_int(text: str) -> int:
    if len(text) > _MAX_DIGITS + 1:
        raise ValueError(f"{text[:40]}... is too large a number")
    return int(text)


def _parse_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:40]} is too large a number")
    return number


def _check_depth(record: Any) -> None:
    """Raise ValueError for what is so deep that a function that calls itself for each level could not go through it."""
    level = [record] if type(record) in _NESTING else []
    for _ in range(_MAX_DEPTH):
        inner = (value.values() if isinstance(value, dict) else value for value in level)
        # Most lists are long ones of numbers.
        nested = (values for values in inner if not _NESTING.isdisjoint(map(type, values)))
        level = [value for values in nested for value in values if type(value) in _NESTING]
        if not level:
            return
    raise ValueError(f"more than {_MAX_DEPTH} objects and lists lie within one another")


def _refuse_constant(name: str) -> NoReturn:
    raise BadInput(f"it holds {name}, which is not a number in JSON; save it again")
