"""JSON that comes from elsewhere: its size is checked before it is parsed, and every value before it is used."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from typing import Any, NoReturn

from hybridseg.errors import BadInput, HybridSegError, located
from hybridseg.io.rasters import check_regular

MAX_FILE_BYTES = 200_000_000
# What a byte of text can become in memory: an object and a list take far more than a number.
_MAX_SIGNS = {b"{": 3_000_000, b"[": 6_000_000, b":": 15_000_000, b",": 30_000_000}
_MAX_NUMBER = 1e9


def read_json_object(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a JSON file from elsewhere: UTF-8, one object, no key twice in any object, no NaN.

    Raises
    ------
    MissingInput, BadInput
        When there is no such file, it is too large, or it is not such JSON.
    """
    path = check_regular(path)
    with located(path):
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise BadInput(f"it is larger than {MAX_FILE_BYTES // 1_000_000} MB; split it into smaller files")
            data = path.read_bytes()
            for sign, most in _MAX_SIGNS.items():
                if data.count(sign) > most:
                    raise BadInput(f"it has more than {most:,} {sign.decode()!r}; split it into smaller files")
            record = json.loads(
                data.decode("utf-8-sig"), object_pairs_hook=_make_object, parse_constant=_refuse_constant
            )
        except BadInput:
            raise
        except (OSError, ValueError, RecursionError) as error:
            raise BadInput(f"it is not JSON in UTF-8, or damaged ({error}); save it again") from error
        if not isinstance(record, dict):
            raise BadInput("it holds a list or a single value, not one object in braces; give the whole file")
    return record


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
    return record


def _refuse_constant(name: str) -> NoReturn:
    raise BadInput(f"it holds {name}, which is not a number in JSON; save it again")
