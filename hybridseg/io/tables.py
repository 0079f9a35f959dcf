"""Tables and records on disk: CSV and JSON, written whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hybridseg.errors import BadInput
from hybridseg.io.atomic import write_text
from hybridseg.io.rasters import check_regular


def write_csv(path: str | os.PathLike[str], columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as CSV with a header; a missing or None value is an empty cell."""
    write_text(path, format_csv(columns, rows))


def format_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as the text of a CSV, as `write_csv` writes it."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
    writer.writeheader()
    for row in rows:
        writer.writerow({name: "" if row.get(name) is None else row[name] for name in columns})
    return buffer.getvalue()


def read_csv(path: str | os.PathLike[str], columns: Sequence[str]) -> list[dict[str, str]]:
    """Read a CSV that `write_csv` wrote.

    Raises
    ------
    BadInput
        When the file is not a table with these columns.
    """
    try:
        with check_regular(path).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            reader = csv.DictReader(file)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            rows = [] if missing else list(reader)
            missing += [name for row in rows for name in columns if row[name] is None][:1]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path} cannot be read as a table ({error}); remove it or fix it") from error
    if missing:
        raise BadInput(f"{path} lacks {', '.join(missing)} in its table; it was not written by this program")
    return rows


def write_json(path: str | os.PathLike[str], record: Any, *, durable: bool = True) -> None:
    """Write a record as readable JSON. NaN is refused: an absent score is null."""
    write_text(path, json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n", durable=durable)
