"""The state of a training run on disk: written whole now and then, restored when the run is resumed."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.errors import HybridSegError
from hybridseg.io.arrays import read_arrays
from hybridseg.io.atomic import atomic_path
from hybridseg.io.jsonfiles import parse_json_object

logger = logging.getLogger(__name__)


def save_state(path: Path, variables: Sequence[Any], record: dict[str, Any]) -> None:
    """Write variables or arrays, in an order that is the same in every run, and a JSON-ready record as ``.npz``."""
    arrays: dict[str, Any] = {f"v{i}": _read_values(variable) for i, variable in enumerate(variables)}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, record=np.array(json.dumps(record)), **arrays)


def restore_state(
    path: Path, variables: Sequence[Any], *, accept: Callable[[dict[str, Any]], bool] = lambda record: True
) -> dict[str, Any] | None:
    """Restore the values of variables, all or none, and return the record; None as `read_state` does."""
    found = read_state(path, variables, accept=accept)
    if found is None:
        return None
    record, values = found
    for variable, value in zip(variables, values, strict=True):
        # Of several machines the chief alone does it: reading it back would need all of them.
        variable.assign(value, read_value=False)
    return record


def read_state(
    path: Path, like: Sequence[Any], *, accept: Callable[[dict[str, Any]], bool] = lambda record: True
) -> tuple[dict[str, Any], list[np.ndarray]] | None:
    """Return what was saved: the record, and the values in the order in which they were saved.

    Parameters
    ----------
    like : sequence
        Variables or arrays of the shapes that are expected.
    accept : callable
        From the record to whether this state is wanted.

    Returns
    -------
    (dict, list of numpy.ndarray) or None
        None when the file is missing, not accepted, damaged or of another network.
    """
    if not path.exists():
        return None
    try:
        record, values = _read_file(path)
    except (HybridSegError, KeyError) as error:
        _warn(path, error)
        return None
    try:
        if not accept(record):
            return None
        if [value.shape for value in values] != [tuple(variable.shape) for variable in like]:
            raise ValueError("it belongs to another network")
    except HybridSegError:
        raise
    # A record that holds something else than it should raises many kinds of errors.
    except Exception as error:
        _warn(path, error)
        return None
    return record, values


def _warn(path: Path, error: Exception) -> None:
    logger.warning("%s is damaged (%s): training starts again", path, error)


def _read_values(variable: Any) -> np.ndarray:
    """Return the values of an array or a variable; one that several graphics cards share is no array by itself."""
    return variable.numpy() if hasattr(variable, "numpy") else np.asarray(variable)


def _read_file(path: Path) -> tuple[dict[str, Any], list[np.ndarray]]:
    stored = read_arrays(path)
    record = parse_json_object(str(stored.pop("record")), finite=False)
    return record, [stored[f"v{i}"] for i in range(len(stored))]
