"""Options that several commands share, each defined once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from hybridseg.classes import ClassTable
from hybridseg.io.classfiles import read_class_files


class SizeType(click.ParamType):
    """ROWSxCOLS, such as 768x1152."""

    name = "ROWSxCOLS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Parse the text of the option."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d{1,6})[xX](\d{1,6})", value)
        if not match:
            self.fail(f"{value!r} is no size; write rows and columns like 768x1152", param, ctx)
        return int(match[1]), int(match[2])


seed_option = click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Seed of every random choice; the same seed, the same result.",
)

overwrite_option = click.option("--overwrite", is_flag=True, help="Replace results that are already there.")


def jobs_option(function: Any) -> Any:
    """Add ``--jobs``."""
    from hybridseg.machine import count_cores

    return click.option(
        "--jobs", "n_jobs", type=click.IntRange(min=1), default=count_cores, show_default="all cores",
        help="Processes that work at once.",
    )(function)  # fmt: skip


def class_files_options(function: Any) -> Any:
    """Add ``--labels`` and ``--colors``."""
    function = click.option(
        "--colors", "colors_path", type=click.Path(path_type=Path),
        help="Colours of these classes, one a line in the same order (colors.txt).",
    )(function)  # fmt: skip
    return click.option(
        "--labels", "labels_path", type=click.Path(path_type=Path),
        help="Classes of label maps that do not name theirs: labels.txt (a name a line) or labeldefs.txt "
        "(name, r, g, b). Names inside a file always win.",
    )(function)  # fmt: skip


def read_table(labels_path: Path | None, colors_path: Path | None) -> ClassTable | None:
    """Read the class files that were given, if any."""
    if labels_path is None:
        if colors_path is not None:
            raise click.UsageError("--colors needs --labels: colours are given in the order of the class names.")
        return None
    return read_class_files(labels_path, colors_path)
