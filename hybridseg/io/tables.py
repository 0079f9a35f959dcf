"""Tables and records on disk: CSV and JSON, written whole or not at all."""

from __future__ import annotations

import csv
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, TextIO

from hybridseg.errors import BadInput
from hybridseg.io.atomic import write_text
from hybridseg.io.rasters import check_regular

_MAX_BYTES, _MAX_ROWS, _MAX_LINE = 1_000_000_000, 5_000_000, 1_000_000
_REMEDY = "remove it or fix it"


def write_csv(path: str | os.PathLike[str], columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as CSV with a header; a missing or None value is an empty cell."""
    write_text(path, format_csv(columns, rows))


def format_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as the text of a CSV, as `write_csv` writes it."""
    lines: list[str] = []
    # The writer quotes a cell that holds a character of its own line end, so it gets both of them.
    writer = csv.writer(SimpleNamespace(write=lines.append), lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows(["" if row.get(name) is None else row[name] for name in columns] for row in rows)
    return "".join(line.removesuffix("\r\n") + "\n" for line in lines)


def read_csv(path: str | os.PathLike[str], columns: Sequence[str]) -> list[dict[str, str]]:
    """Read a CSV that `write_csv` wrote.

    Raises
    ------
    MissingInput, BadInput
        When the file is not a table with these columns, or larger than any that is written here.
    """
    path = check_regular(path)
    if path.stat().st_size > _MAX_BYTES:
        raise BadInput(f"{path} is larger than {_MAX_BYTES // 1_000_000} MB, too large for a table; {_REMEDY}")
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            reader = csv.DictReader(_limit_lines(file))
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            rows = [] if missing else list(itertools.islice(reader, _MAX_ROWS + 1))
            missing += [name for row in rows for name in columns if row[name] is None][:1]
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error
    except csv.Error as error:
        # Of the limit of the module, which is the only one that a cell has.
        reason = f"a cell has more than {csv.field_size_limit():,} characters" if "limit" in str(error) else error
        raise BadInput(f"{path} cannot be read as a table ({reason}); {_REMEDY}") from error
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read as a table ({error}); {_REMEDY}") from error
    if len(rows) > _MAX_ROWS:
        raise BadInput(f"{path} has more than {_MAX_ROWS:,} rows; {_REMEDY}")
    if missing:
        raise BadInput(f"{path} lacks {', '.join(missing)} in its table; it was not written by this program")
    return rows


def _limit_lines(file: TextIO) -> Iterator[str]:
    while line := file.readline(_MAX_LINE + 1):
        if len(line) > _MAX_LINE:
            raise BadInput(f"a line has more than {_MAX_LINE:,} characters; {_REMEDY}")
        yield line


def write_json(path: str | os.PathLike[str], record: Any, *, durable: bool = True) -> None:
    """Write a record as readable JSON. NaN is refused: an absent score is null."""
    write_text(path, json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n", durable=durable)
