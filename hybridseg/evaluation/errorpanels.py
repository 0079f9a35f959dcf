"""Figures that show where results are wrong: image, truth, result and errors of a photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hybridseg.classes import ClassTable, remap
from hybridseg.errors import BadInput
from hybridseg.evaluation.pairs import TruthPair
from hybridseg.figures import DPI
from hybridseg.io.images import read_rgb8
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.options import check_options, option
from hybridseg.panels import Panels, fit_page, show_errors
from hybridseg.sheets import draw_panels

Item = TypeVar("Item")

N_EXTREMES = 3


@dataclass(frozen=True)
class PanelOptions:
    """Of which photos the errors are shown."""

    panels: str = option(
        "extremes",
        f"Photos whose errors are drawn: the {N_EXTREMES} worst and the {N_EXTREMES} best, all, or none.",
        choices=("extremes", "all", "none"),
    )

    def __post_init__(self) -> None:
        check_options(self)

    def choose(self, ranked: Sequence[Item]) -> list[Item]:
        """Choose from what is sorted from the worst to the best."""
        if self.panels == "extremes":
            worst, best = pick_extremes(ranked)
            return [*worst, *best]
        return list(ranked) if self.panels == "all" else []


def pick_extremes(ranked: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    """Return the worst and the best of what is sorted from the worst to the best: some of each, none twice.

    Examples
    --------
    >>> pick_extremes([0.2, 0.5, 0.9]), pick_extremes(range(9))
    (([0.2, 0.5], [0.9]), ([0, 1, 2], [8, 7, 6]))
    """
    n_worst = min(N_EXTREMES, (len(ranked) + 1) // 2)
    n_best = min(N_EXTREMES, len(ranked) - n_worst)
    return list(ranked[:n_worst]), list(ranked[len(ranked) - n_best :])[::-1]


def draw_errors(
    path: Path,
    pair: TruthPair,
    image_path: Path,
    classes: ClassTable,
    *,
    title: str,
    ignore: Sequence[str] = (),
    table: ClassTable | None = None,
    dpi: int = DPI,
) -> Panels:
    """Draw image, truth, result and errors of a pair, and return what was drawn.

    Parameters
    ----------
    classes : ClassTable
        Those of both label maps.
    ignore : sequence of str
        True classes of which the errors do not count.
    table : ClassTable or None
        The classes of files that do not name theirs.

    Raises
    ------
    MissingInput, BadInput
        When a file cannot be used, or the photo has another size than its label maps.
    """
    image = read_rgb8(image_path)
    truth, result = (
        remap(found.require_table(path), classes)[found.labels]
        for path in (pair.truth_path, pair.prediction_path)
        for found in [read_labelmap(path, table=table, with_seeds=False)]
    )
    if truth.shape != image.shape[:2]:
        raise BadInput(
            f"{image_path} has {image.shape[0]} x {image.shape[1]} pixels, but its label maps {truth.shape[0]} x "
            f"{truth.shape[1]}; give the photos that they were made from"
        )
    shape = fit_page(truth.shape, 4, dpi=dpi)
    ignored = [classes.index(name) for name in ignore]
    panels = show_errors(image, truth, result, classes, shape=shape, ignored=ignored, title=title)
    draw_panels(path, panels, dpi=dpi)
    return panels
