"""Figures that show where results are wrong: image, truth, result and errors of a photo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hybridseg.classes import ClassTable, remap
from hybridseg.errors import BadInput, HybridSegError, Problem
from hybridseg.evaluation.pairs import TruthPair
from hybridseg.figures import DPI
from hybridseg.forecast import Weighted
from hybridseg.io.images import read_rgb8
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.options import check_options, option
from hybridseg.panels import Panels, fit_page, show_errors
from hybridseg.progress import Progress, no_progress
from hybridseg.ranking import ImageScore
from hybridseg.sheets import draw_panel_rows, draw_panels

Item = TypeVar("Item")

N_EXTREMES = 3
PANEL_SECONDS = 0.4
"""To draw the errors of a photo of half a megapixel."""


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


@dataclass(frozen=True, eq=False)
class ScoredPhoto:
    """A pair of label maps, how well it came out, and its photo."""

    score: ImageScore
    pair: TruthPair
    image_path: Path

    @property
    def name(self) -> str:
        """What the pair is called."""
        return self.score.image


def draw_all_errors(
    photos: Sequence[ScoredPhoto],
    paths: Mapping[str, Path],
    worst_path: Path,
    *,
    worst: Sequence[ScoredPhoto],
    classes: ClassTable,
    ignore: Sequence[str] = (),
    table: ClassTable | None = None,
    dpi: int = DPI,
    progress: Progress = no_progress,
) -> tuple[list[Path], list[Problem]]:
    """Draw the errors of photos, and the worst of them on one sheet; return the figures, and what cannot be drawn.

    Parameters
    ----------
    paths : mapping of str to pathlib.Path
        The figure of each photo, by its name.
    worst : sequence of ScoredPhoto
        Those that the sheet shows.
    classes, ignore, table
        As `draw_errors`.
    """
    written, problems = [], []
    on_sheet: dict[str, Panels] = {}
    for photo in progress(Weighted(photos, PANEL_SECONDS), label="drawing errors"):
        dice, accuracy = f"Dice {photo.score.dice:.3f}", f"{photo.score.accuracy:.1%}".replace("%", " %")
        try:
            own = draw_errors(
                paths[photo.name], photo.pair, photo.image_path, classes,
                title=f"{dice}, {accuracy} right: {photo.name}", ignore=ignore, table=table, dpi=dpi,
            )  # fmt: skip
        except HybridSegError as error:
            problems.append(Problem.of(photo.image_path, error))
            continue
        written.append(paths[photo.name])
        if photo in worst:
            on_sheet[f"{photo.name}: {dice}"] = own
    if on_sheet:
        draw_panel_rows(worst_path, on_sheet, classes, dpi=dpi)
        written.append(worst_path)
    return written, problems


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
