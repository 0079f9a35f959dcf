"""MATLAB results (``*_mres.mat`` by hand, ``*_ares_TILE.mat`` by machine): `class`, `sparse`, `labels`.

Only these variables are ever loaded: a file may carry probabilities of more than a gigabyte that nobody
needs. Sizes are read from the headers first, and only numbers and text are accepted.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, HybridSegError, MissingInput
from hybridseg.io.atomic import atomic_path
from hybridseg.io.classfiles import parse_color
from hybridseg.io.labelmaps import LabelMap, narrow_labels, narrow_seeds
from hybridseg.io.rasters import check_pixel_count

# Far more than any class list needs, far less than what would fill a memory.
_MAX_LABEL_ITEMS = 100_000


def read_matfile(path: str | os.PathLike[str], *, table: ClassTable | None = None, with_seeds: bool = True) -> LabelMap:
    """Read a result file of either kind, with every quirk of the real ones.

    Parameters
    ----------
    path : path-like
    table : ClassTable or None
        The classes of a file that does not name them. A file's own names always win.
    with_seeds : bool
        Also read the scribbles, where there are some.

    Returns
    -------
    LabelMap

    Raises
    ------
    MissingInput, BadInput
        When there is no such file, it is damaged or of a newer MATLAB format, has no `class`, holds ids that
        are no class, or is larger than the pixel cap.
    """
    headers = _read_headers(path)
    if "class" not in headers:
        raise BadInput(
            f"{path} has no variable `class` (it has {', '.join(headers) or 'none'}); "
            "give a result of `label` or `semseg`"
        )
    wanted = ["class"] + [name for name in ("labels", "colors") if name in headers]
    if with_seeds and "sparse" in headers:
        wanted.append("sparse")
    _check_sizes(path, {name: headers[name] for name in wanted})
    variables = _load_variables(path, wanted)
    own_table = _parse_classes(path, variables.get("labels"), variables.get("colors"))
    table = own_table or table
    labels = narrow_labels(variables.pop("class"), table, where=f"`class` of {path}")
    seeds = None
    if "sparse" in variables:
        seeds = narrow_seeds(variables.pop("sparse"), table, where=f"`sparse` of {path}")
        if seeds.shape != labels.shape:
            raise BadInput(f"{path}: `sparse` is {seeds.shape} but `class` is {labels.shape}; label the image again")
    return LabelMap(labels, table, seeds)


def write_matfile(path: str | os.PathLike[str], labelmap: LabelMap) -> None:
    """Write a result file that the classic programs and MATLAB read, whole or not at all.

    Parameters
    ----------
    path : path-like
    labelmap : LabelMap
        Needs its `table`. Without `seeds` the variable `sparse` is left out.
    """
    from scipy.io import savemat

    table = labelmap.require_table(path)
    width = max(len(name) for name in table.names)
    variables: dict[str, np.ndarray] = {
        "class": labelmap.labels,
        "labels": np.array([name.ljust(width) for name in table.names]),
        "colors": np.array(table.colors, np.uint8),
    }
    if labelmap.seeds is not None:
        variables["sparse"] = labelmap.seeds
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        savemat(file, variables, do_compression=True)


def _read_headers(path: str | os.PathLike[str]) -> dict[str, tuple[tuple[int, ...], str]]:
    """List the variables of a file, with shape and MATLAB type, without loading them."""
    from scipy.io import whosmat

    rows = _guard(path, lambda file: whosmat(file))
    return {name: (shape, kind) for name, shape, kind in rows}


def _load_variables(path: str | os.PathLike[str], names: list[str]) -> dict[str, Any]:
    from scipy.io import loadmat

    return _guard(path, lambda file: loadmat(file, variable_names=names))


def _guard(path: str | os.PathLike[str], read: Callable[[Any], Any]) -> Any:
    """Run a reader of the library, and put whatever it makes of a damaged file into one sentence."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            return read(file)
    except FileNotFoundError:
        raise MissingInput(f"there is no file {path}") from None
    except NotImplementedError as error:
        raise BadInput(
            f"{path} is in the MATLAB 7.3 (HDF5) format; save it again in MATLAB with save(..., '-v7')"
        ) from error
    except HybridSegError:
        raise
    # The reader meets a damaged file with almost any kind of error: all mean the same to the user.
    except Exception as error:
        raise BadInput(
            f"{path} cannot be read as a .mat file ({type(error).__name__}: {error}); it is damaged or no MATLAB file"
        ) from error


def _check_sizes(path: str | os.PathLike[str], headers: dict[str, tuple[tuple[int, ...], str]]) -> None:
    for name, (shape, kind) in headers.items():
        if name in ("labels", "colors"):
            if np.prod(shape, dtype=float) > _MAX_LABEL_ITEMS:
                raise BadInput(f"{path}: `{name}` has {shape} entries, which is no list of classes")
        elif len(shape) != 2 or kind in ("cell", "struct", "object", "char", "opaque", "function", "sparse"):
            raise BadInput(f"{path}: `{name}` is a {kind} of shape {shape}, not a (rows, cols) array of numbers")
        else:
            check_pixel_count(path, *shape)


def _parse_classes(path: str | os.PathLike[str], names: Any, colors: Any) -> ClassTable | None:
    """Make the class table from `labels`: text padded with spaces, a cell of texts, or a struct name -> colour."""
    if names is None or not np.size(names):
        return None
    try:
        if names.dtype.names is not None:
            return _table_from_struct(names)
        texts = [_text_of(item) for item in names.ravel()]
        table = ClassTable.from_names(texts)
        if colors is not None and colors.shape == (len(table), 3) and colors.dtype.kind in "iu":
            triples = tuple((int(r), int(g), int(b)) for r, g, b in colors)
            table = ClassTable(table.names, triples)
        return table
    except BadInput as error:
        raise BadInput(f"{path}: `labels` is not a list of class names: {error}") from error


def _table_from_struct(record: np.ndarray) -> ClassTable:
    """Read ``labels.NAME = '#rrggbb'``, one field for each class in the order of their ids."""
    table = ClassTable.from_names(record.dtype.names or ())
    values = [np.ravel(record[name].flat[0]) for name in record.dtype.names or ()]
    if all(value.size == 1 and value.dtype.kind == "U" for value in values):
        table = ClassTable(table.names, tuple(parse_color(str(value[0])) for value in values))
    return table


def _text_of(item: Any) -> str:
    while isinstance(item, np.ndarray) and item.size == 1:
        item = item.ravel()[0]
    if not isinstance(item, str):
        raise BadInput(f"{item!r} is not text")
    return item
