"""MATLAB results (``*_mres.mat`` by hand, ``*_ares_TILE.mat`` by machine): `class`, `sparse`, `labels`.

Only these variables are ever loaded: a file may hold more than a gigabyte of probabilities.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, join_names, located
from hybridseg.io.labels.classfiles import parse_color
from hybridseg.io.labels.labelmaps import LabelMap, narrow_labels, narrow_seeds
from hybridseg.io.labels.mat5 import NameList, read_mat5, write_mat5


def read_matfile(path: str | os.PathLike[str], *, table: ClassTable | None = None, with_seeds: bool = True) -> LabelMap:
    """Read a result file of either kind, with every quirk of the real ones.

    Parameters
    ----------
    table : ClassTable or None
        The classes of a file that does not name them. A file's own names always win.
    with_seeds : bool
        Also read the scribbles, where there are some.

    Raises
    ------
    MissingInput, BadInput
        When there is no such file, it is damaged or of a newer MATLAB format, has no `class`, holds ids
        without a class, or is larger than the pixel cap.
    """
    wanted = ("class", "sparse") if with_seeds else ("class",)
    content = read_mat5(Path(path), wanted, list_name="labels", array_name="colors", text_name="made_by")
    if "class" not in content.maps:
        raise BadInput(
            f"{path} has no variable `class` (it has {join_names(content.variables) or 'none'}); "
            "give a result of `label` or `semseg`"
        )
    with located(path):
        own_table = _make_table(content.names, content.arrays.get("colors"))
    table = own_table or table
    labels = narrow_labels(content.maps.pop("class"), table, where=f"`class` of {path}", none_after_last=True)
    seeds = None
    if "sparse" in content.maps:
        seeds = narrow_seeds(content.maps.pop("sparse"), table, where=f"`sparse` of {path}")
        if seeds.shape != labels.shape:
            raise BadInput(f"{path}: `sparse` is {seeds.shape} but `class` is {labels.shape}; label the image again")
    return LabelMap(labels, table, seeds, made_by=content.text)


def write_matfile(path: str | os.PathLike[str], labelmap: LabelMap) -> None:
    """Write a result file that the classic programs and MATLAB read, whole or not at all.

    Parameters
    ----------
    labelmap : LabelMap
        Needs its `table`. Without `seeds` the variable `sparse` is left out.
    """
    table = labelmap.require_table(path)
    width = max(len(name) for name in table.names)
    variables: dict[str, np.ndarray | list[str]] = {
        "class": labelmap.labels,
        "labels": [name.ljust(width) for name in table.names],
        "colors": np.array(table.colors, np.uint8),
    }
    if labelmap.seeds is not None:
        variables["sparse"] = labelmap.seeds
    if labelmap.made_by is not None:
        variables["made_by"] = [labelmap.made_by]
    write_mat5(Path(path), variables)


def _make_table(names: NameList | None, colors: np.ndarray | None) -> ClassTable | None:
    """Make the class table of a file: names padded with spaces, colours from a struct or from `colors`."""
    if names is None:
        return None
    with located("`labels` is not a list of class names"):
        table = ClassTable.from_names(names.names)
        if names.values is not None:
            table = ClassTable(table.names, tuple(parse_color(value) for value in names.values))
        elif colors is not None and colors.shape == (len(table), 3) and colors.dtype.kind in "iu":
            table = ClassTable(table.names, tuple((int(r), int(g), int(b)) for r, g, b in colors))
    return table
