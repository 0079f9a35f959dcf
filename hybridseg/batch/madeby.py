"""The record of how a label map was made: it is kept in the file, and `--resume` compares it."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hybridseg import __version__
from hybridseg.classes import ClassTable, hex_color
from hybridseg.errors import BadInput, HybridSegError, OutputExists, join_names
from hybridseg.io.jsonfiles import parse_json_object
from hybridseg.io.labels.formats import read_made_by
from hybridseg.models.cards import hash_file

_NOT_RECORDED = {"n_threads", "max_memory", "memory"}


def make_record(command: str, model_paths: Sequence[Path], table: ClassTable, **options: Any) -> str:
    """Return the record as JSON on one line: command, version, models, classes and settings.

    Parameters
    ----------
    options : object
        Options dataclasses by name.
    """
    record = {
        "command": command,
        "version": __version__,
        "models": [hash_file(path) for path in model_paths],
        "classes": dict(zip(table.names, map(hex_color, table.colors), strict=True)),
        "settings": {name: leave_out_machine(asdict(value)) for name, value in options.items()},
    }
    return json.dumps(record)


def add_settings(record: str, **settings: Any) -> str:
    """Return a record with more settings.

    Examples
    --------
    >>> add_settings('{"settings": {"a": 1}}', b=2)
    '{"settings": {"a": 1, "b": 2}}'
    """
    found = parse_json_object(record)
    found["settings"] |= settings
    return json.dumps(found)


def names_model(record: str | None) -> bool:
    """Return whether a record of how a label map was made, if there is one, names the model that made it.

    Raises
    ------
    BadInput
        When it is no record of ours.
    """
    return "models" in parse_json_object(record or "{}")


def check_place(path: Path) -> None:
    """Raise OutputExists where a label map would replace a file that is no result of a model."""
    try:
        # A link to nothing is a file of the user, too.
        is_result = not os.path.lexists(path) or names_model(read_made_by(path))
    except HybridSegError:
        is_result = False
    if not is_result:
        raise OutputExists(f"{path} is there and is no result of a model; save under another name")


def explain_difference(path: Path, wanted: str) -> str:
    """Return why a label map is not what would be made now; empty when it is.

    Examples
    --------
    >>> explain_difference(Path("no_such_file.png"), "{}")
    'damaged'
    """
    try:
        found = read_made_by(path)
    except HybridSegError:
        return "damaged"
    if found == wanted:
        return ""
    try:
        changed = list_changes(parse_json_object(found or ""), parse_json_object(wanted))
    except BadInput:
        return "without a record of how it was made"
    for part, words in (("models", "made by another model"), ("classes", "made with other classes or colours")):
        if any(key[:1] == (part,) for key in changed):
            return words
    names = sorted({key[-1] for key in changed if key[:1] == ("settings",)})
    return f"made with other settings ({join_names(names)})" if names else "made by another version"


def list_changes(before: Any, now: Any) -> dict[tuple[str, ...], tuple[Any, Any]]:
    """Return what differs between two nested records: both values, None where there is none, by their path.

    Examples
    --------
    >>> list_changes({"fit": {"seed": 0, "loss": "dice"}}, {"fit": {"seed": 1, "loss": "dice"}})
    {('fit', 'seed'): (0, 1)}
    """
    old, new = dict(_flatten(before)), dict(_flatten(now))
    return {key: (old.get(key), new.get(key)) for key in {**new, **old} if old.get(key) != new.get(key)}


def leave_out_machine(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings without those that concern the machine, not the result."""
    return leave_out(settings, _NOT_RECORDED)


def leave_out(settings: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return nested settings without those of some names.

    Examples
    --------
    >>> leave_out({"a": 1, "b": {"a": 2, "c": 3}}, ["a"])
    {'b': {'c': 3}}
    """
    return {
        name: leave_out(value, names) if isinstance(value, dict) else value
        for name, value in settings.items()
        if name not in names
    }


def _flatten(value: Any, key: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the leaves of nested objects, each with its path."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flatten(inner, (*key, name))
    else:
        yield key, value
