"""What may be given to a public function: paths as text or Path, class lists in any form."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hybridseg.apply import PathLike
from hybridseg.classes import ClassTable
from hybridseg.dense.programs.config import ResunetConfig, parse_config, read_config
from hybridseg.dense.runs import MODEL_NAME
from hybridseg.dense.trainer import TrainingPaths
from hybridseg.errors import BadUsage
from hybridseg.io.labels.classfiles import find_table as read_table
from hybridseg.io.labels.classfiles import read_class_files, read_colors
from hybridseg.models.encoders import IMAGENET, RANDOM, Weights
from hybridseg.options import make_options

Labels = PathLike | ClassTable | Sequence[str]
"""A class file, a class list, or the names of the classes in the order of their ids."""
Config = PathLike | ResunetConfig | Mapping[str, Any]
"""A config of the residual U-Net: its file, its keys, or as `init_config` proposes it."""
PATH_TYPES = (str, os.PathLike)


def find_path(path: PathLike | None) -> Path | None:
    """Return a path that may be left out."""
    return None if path is None else _make_path(path)


def _make_path(path: Any) -> Path:
    if not isinstance(path, PATH_TYPES):
        raise BadUsage(f"{_describe(path)} is given where the path of a file or folder is needed")
    return Path(path)


def _describe(value: object) -> str:
    return f"an array of {value.shape}" if hasattr(value, "shape") else repr(value)


def list_paths(paths: PathLike | Iterable[PathLike]) -> list[Path]:
    """Return one path, or several, as a list."""
    return [_make_path(path) for path in (paths if isinstance(paths, list | tuple | set | Iterator) else [paths])]


def find_table(labels: Labels | None, colors: PathLike | None = None) -> ClassTable | None:
    """Return the classes that were given, in any form."""
    if labels is None:
        if colors is not None:
            raise BadUsage("--colors needs --labels: colours are given in the order of the class names")
        return None
    if isinstance(labels, PATH_TYPES):
        return read_class_files(labels, colors)
    table = read_table(labels)
    return table if colors is None else read_colors(colors, table, owner="labels")


def find_names(names: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """Return names, of which there may be one; None: they were left out."""
    return (names,) if isinstance(names, str) else None if names is None else tuple(names)


def find_list(names: PathLike | Sequence[str] | None) -> Path | tuple[str, ...] | None:
    """Return a list of images: the path of its file, or their names."""
    return find_path(names) if names is None or isinstance(names, PATH_TYPES) else tuple(map(str, names))


def find_config(config: Config) -> ResunetConfig:
    """Return the config of a residual U-Net: of a file, or of its keys."""
    if isinstance(config, ResunetConfig):
        return config
    return parse_config(config) if isinstance(config, Mapping) else read_config(_make_path(config))


def find_weights(weights: PathLike | None) -> Weights:
    """Return what an encoder starts from: ``none``, ``imagenet`` or a file."""
    return str(weights) if weights in (RANDOM, IMAGENET) else find_path(weights)


def place_training(settings: Mapping[str, Any], **more: Any) -> TrainingPaths:
    """Return where a training reads and writes, of the settings that all trainings have."""
    out, logs = Path(settings["out"]), find_path(settings.get("tensorboard_dir"))
    return make_options(TrainingPaths, settings, weights=out / MODEL_NAME, run_dir=out, tensorboard_dir=logs, **more)
