"""What may be given to a public function: paths as text or Path, class lists in any form."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from hybridseg.apply import PathLike
from hybridseg.classes import ClassTable
from hybridseg.errors import BadUsage
from hybridseg.io.labels.classfiles import read_class_files, read_colors

Labels = PathLike | ClassTable | Sequence[str]
"""A class file, a class list, or the names of the classes in the order of their ids."""
PATH_TYPES = (str, os.PathLike)


def find_path(path: PathLike | None) -> Path | None:
    """Return a path that may be left out."""
    return None if path is None else Path(path)


def list_paths(paths: PathLike | Iterable[PathLike]) -> list[Path]:
    """Return one path, or several, as a list."""
    return [Path(path) for path in ([paths] if isinstance(paths, PATH_TYPES) else paths)]


def find_table(labels: Labels | None, colors: PathLike | None = None) -> ClassTable | None:
    """Return the classes that were given, in any form."""
    if labels is None:
        if colors is not None:
            raise BadUsage("--colors needs --labels: colours are given in the order of the class names")
        return None
    if isinstance(labels, PATH_TYPES):
        return read_class_files(labels, colors)
    table = labels if isinstance(labels, ClassTable) else ClassTable.from_names(labels)
    return table if colors is None else read_colors(colors, table, owner="labels")
