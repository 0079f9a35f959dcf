"""Every figure that the program draws: the only module that uses matplotlib. It needs no screen."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hybridseg.calibration import Calibration
from hybridseg.classes import VOID, ClassTable, color_labels, hex_color, seeds_to_labels
from hybridseg.confusion import Confusion
from hybridseg.io.atomic import atomic_path
from hybridseg.resample import resize_nearest, shrink_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MIN_FONT, _MAX_FONT = 5.5, 11.0
# Inches. A matrix of many classes gets smaller cells, and at some point no numbers.
_MAX_SIDE, _MAX_NUMBERED = 26.0, 60
_TINT, _TINT_ROWS = 0.6, 256
PANEL_PIXELS = 900
_MAX_ASPECT = 4


@dataclass(frozen=True, eq=False)
class PictureRow:
    """Pictures side by side, (rows, cols, 3) uint8 each, with a title to their left, and one above each."""

    title: str
    pictures: list[np.ndarray]
    heads: tuple[str, ...] = ()


def draw_picture_rows(
    path: str | os.PathLike[str], rows: Sequence[PictureRow], *, width: float, legend: ClassTable | None = None
) -> None:
    """Draw rows of pictures below one another as a PNG, and a legend of classes when one is given.

    Parameters
    ----------
    width : float
        Width of the figure, in inches; the height follows from the pictures.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    n_cols = max(len(row.pictures) for row in rows)
    left = 0.13 if any(row.title for row in rows) else 0.01
    cell = width * (0.99 - left) / n_cols
    heights = [cell * row.pictures[0].shape[0] / row.pictures[0].shape[1] for row in rows]
    legend_height = 0.5 if legend else 0.0
    head_height = 0.25 if any(row.heads for row in rows) else 0.0
    height = sum(heights) * 1.03 + legend_height + head_height
    figure = Figure(figsize=(width, height), dpi=110)
    grid = figure.add_gridspec(
        len(rows), n_cols, height_ratios=heights, wspace=0.03, hspace=0.03,
        left=left, right=0.99, top=1 - 0.01 - head_height / height, bottom=0.01 + legend_height / height,
    )  # fmt: skip
    for i, row in enumerate(rows):
        for j, picture in enumerate(row.pictures):
            axes = figure.add_subplot(grid[i, j])
            axes.imshow(picture, interpolation="antialiased")
            axes.set_axis_off()
            if row.heads:
                axes.set_title(plain_text(row.heads[j]), fontsize=10, pad=4)
            if j == 0 and row.title:
                axes.text(
                    -0.08, 0.5, plain_text(row.title), transform=axes.transAxes, ha="right", va="center", fontsize=10
                )
    if legend:
        patches = [
            Patch(facecolor=hex_color(color), edgecolor="#666666", label=plain_text(name))
            for name, color in zip(legend.names, legend.colors, strict=True)
        ]
        figure.legend(handles=patches, loc="lower center", ncols=min(len(patches), 12), frameon=False, fontsize=9)
    _save(figure, path)


def plain_text(text: str) -> str:
    """Escape a name that would be read as a formula, or could not be drawn (a file name that is not UTF-8).

    Examples
    --------
    >>> plain_text("a$b$")
    'a\\\\$b\\\\$'
    """
    return text.encode("utf-8", "replace").decode().replace("$", r"\$")


def draw_confusion(path: str | os.PathLike[str], confusion: Confusion, *, title: str) -> None:
    """Draw a confusion matrix, each row in percent of its true class, as a PNG.

    Parameters
    ----------
    confusion : Confusion
        Classes that are neither true nor predicted are left out; a last column shows pixels without a prediction,
        if there are any.
    """
    from matplotlib.figure import Figure

    shown = np.flatnonzero(confusion.support + confusion.counts.sum(axis=0))
    names = [plain_text(confusion.table.names[i]) for i in shown]
    counts = confusion.counts[np.ix_(shown, shown)]
    support = confusion.support[shown]
    columns = list(names)
    if confusion.n_unpredicted.any():
        counts = np.column_stack([counts, confusion.n_unpredicted[shown]])
        columns.append("(none)")
    shares = counts / np.maximum(support, 1)[:, None]
    n = max(len(names), 1)
    # A cell has room for its number at any count of classes; the figure grows with it.
    side = 2.6 + min(max(0.52 * n, 2.2), _MAX_SIDE)
    font = float(np.clip(120 / n, _MIN_FONT + 1.5 if n <= _MAX_NUMBERED else 3.0, _MAX_FONT))
    figure = Figure(figsize=(side + 0.9, side), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right", rotation_mode="anchor", fontsize=font)
    axes.set_yticks(range(len(names)), names, fontsize=font)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.set_title(plain_text(title), fontsize=11, loc="left")
    for i, j in np.ndindex(shares.shape if n <= _MAX_NUMBERED else (0, 0)):
        if support[i]:
            axes.text(
                j,
                i,
                _percent(shares[i, j], int(counts[i, j])),
                ha="center",
                va="center",
                fontsize=min(font, 9.5),
                color="white" if shares[i, j] > 0.55 else "#1b2a3a",
            )
        elif j == 0:
            axes.text(
                (n - 1) / 2,
                i,
                "not in the truth",
                ha="center",
                va="center",
                fontsize=font - 1,
                style="italic",
                color="#888888",
            )
    axes.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(n + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#dddddd", linewidth=0.6)
    axes.tick_params(which="both", length=0)
    bar = figure.colorbar(picture, ax=axes, fraction=0.046, pad=0.03, format=lambda value, _: f"{value:.0%}")
    bar.set_label("share of the true class", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    _save(figure, path)


def draw_calibration(path: str | os.PathLike[str], calibration: Calibration, *, unit: str) -> None:
    """Draw the accuracy of a model against its confidence, as a PNG.

    Parameters
    ----------
    unit : str
        What was counted: ``tiles`` or ``pixels``.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.2, 5.6), dpi=110, layout="constrained")
    axes, below = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
    counts = calibration.counts
    edges = np.linspace(0, 1, len(counts) + 1)
    axes.plot((0, 1), (0, 1), color="#999999", linestyle="--", linewidth=1, label="perfectly calibrated")
    axes.plot(
        calibration.confidence, calibration.accuracy, color="#1f5fa8", marker="o", linewidth=1.6, label="this model"
    )
    axes.set_ylabel("accuracy")
    axes.set_ylim(0, 1.02)
    axes.set_title(f"expected calibration error {calibration.error:.3f}", fontsize=11, loc="left")
    axes.legend(frameon=False, loc="upper left")
    axes.grid(color="#eeeeee")
    below.bar(edges[:-1], counts, width=np.diff(edges), align="edge", color="#9fc3e8", edgecolor="white")
    below.set_ylabel(unit)
    below.set_xlabel("confidence (probability of the winning class)")
    below.set_xlim(0, 1)
    _save(figure, path)


def draw_learning_curve(
    path: str | os.PathLike[str],
    steps: Sequence[int],
    curves: Mapping[str, tuple[Sequence[float], Sequence[float | None]]],
    *,
    unit: str = "training step",
) -> None:
    """Draw the curves of a training run as a PNG: a panel for each measure, with training and validation.

    Parameters
    ----------
    curves : dict of str to (sequence, sequence)
        For each measure its values in training and in validation; None where there is no validation set.
    unit : str
        Name of a step.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 3.8), dpi=110, layout="constrained")
    for axes, (name, (train, validation)) in zip(figure.subplots(1, len(curves)), curves.items(), strict=True):
        axes.plot(steps, train, color="#b9cfe6", linewidth=0.8)
        axes.plot(steps, _smooth(train), color="#1f5fa8", linewidth=1.6, label="training")
        known = [value for value in validation if value is not None]
        if known:
            axes.plot(steps, known, color="#f3cda8", linewidth=0.8)
            axes.plot(steps, _smooth(known), color="#d9731a", linewidth=1.6, label="validation")
        axes.set_xlabel(unit)
        axes.set_title(name, fontsize=11, loc="left")
        axes.grid(color="#eeeeee")
        axes.legend(frameon=False)
    _save(figure, path)


def draw_rates(path: str | os.PathLike[str], rates: Sequence[float]) -> None:
    """Draw the learning rate of every epoch as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.2, 3.4), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.plot(range(1, len(rates) + 1), rates, color="#1f5fa8", linewidth=1.6, marker="." if len(rates) < 60 else "")
    if min(rates) > 0:
        axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.set_title("learning rate", fontsize=11, loc="left")
    axes.grid(color="#eeeeee")
    _save(figure, path)


@dataclass(frozen=True)
class NetworkLevel:
    """A depth at which a network that goes down and up again has a skip: its tensors in words, such as shapes."""

    skip: str
    enlarged: str
    joined: str


def draw_network(
    path: str | os.PathLike[str], levels: Sequence[NetworkLevel], *, title: str, ends: tuple[str, str, str]
) -> None:
    """Draw a U-Net as a PNG: a box for what is there at each depth, an arrow for each step.

    Parameters
    ----------
    levels : sequence of NetworkLevel
        From the deepest up.
    ends : tuple of str
        The image, what is deepest, and the scores.
    """
    from matplotlib.figure import Figure

    n = len(levels)
    figure = Figure(figsize=(9.5, 0.8 * (n + 2.5)), dpi=130)
    axes = figure.add_subplot(xlim=(0, 10), ylim=(-1.8, n + 1.2))
    axes.set_axis_off()
    axes.set_title(plain_text(title), fontsize=11, loc="left")

    def add_box(text: str, col: float, row: float, color: str) -> tuple[float, float]:
        style = {"boxstyle": "round,pad=0.5", "facecolor": color, "edgecolor": "#5b6b7b", "linewidth": 0.8}
        axes.text(col, row, plain_text(text), ha="center", va="center", fontsize=8.5, bbox=style, zorder=3)
        return col, row

    def add_arrow(start: tuple[float, float], end: tuple[float, float], line: str) -> None:
        style = {"arrowstyle": "->", "color": "#5b6b7b", "linestyle": line, "shrinkA": 14, "shrinkB": 14}
        axes.annotate("", end, start, arrowprops=style)

    inset = [0.4 * (n - i) for i in range(n)]
    image, scores = add_box(ends[0], 1.4, n + 0.6, "#ffffff"), add_box(ends[2], 8.6, n + 0.6, "#ffffff")
    down = [add_box(level.skip, 1.4 + x, i, "#dce9f7") for i, (level, x) in enumerate(zip(levels, inset, strict=True))]
    up = [add_box(level.joined, 8.6 - x, i, "#fbe3cd") for i, (level, x) in enumerate(zip(levels, inset, strict=True))]
    bottom = add_box(ends[1], 5.0, -1.4, "#d5ead9")
    for level, start, end in zip(levels, down, up, strict=True):
        shrunk = (start[0] + 1.0, start[1]), (end[0] - 1.2, end[1])
        add_arrow(*shrunk, "--")
        axes.text(5.0, start[1] + 0.12, plain_text(level.enlarged), fontsize=7.5, ha="center", color="#5b6b7b")
    for path_down in pairwise([image, *reversed(down), bottom]):
        add_arrow(*path_down, "-")
    for path_up in pairwise([bottom, *up, scores]):
        add_arrow(*path_up, "-")
    _save(figure, path)


def _smooth(values: Sequence[float]) -> np.ndarray:
    """Return the moving average over a twentieth of the curve, to show the trend in the noise of single batches."""
    width = max(1, len(values) // 20)
    padded = np.pad(np.asarray(values, float), (width // 2, width - 1 - width // 2), mode="edge")
    return np.convolve(padded, np.ones(width) / width, mode="valid")


def _save(figure: Figure, path: str | os.PathLike[str]) -> None:
    with atomic_path(path) as temporary:
        # Tight: long class names push the axis label off the figure.
        figure.savefig(temporary, format="png", bbox_inches="tight", pad_inches=0.12)


def _percent(share: float, count: int) -> str:
    """Format a share as a short percentage: empty for 0, `<1` for a trace."""
    if not count:
        return ""
    percent = 100 * share
    if percent < 0.5:
        return "<1"
    return "100" if count and percent >= 99.95 else f"{percent:.0f}" if percent < 99.5 else ">99"


def draw_panels(
    path: Path, image: np.ndarray, seeds: np.ndarray, labels: np.ndarray, table: ClassTable, *, heads: tuple[str, ...]
) -> None:
    """Draw an image, its seeds, and the class of every pixel, side by side with a legend of the classes.

    Parameters
    ----------
    image : numpy.ndarray
        (rows, cols, 3) uint8.
    seeds, labels : numpy.ndarray
        (rows, cols) uint8.
    heads : tuple of str
        The headings of the three panels.
    """
    step = max(1.0, max(image.shape[:2]) / PANEL_PIXELS)
    rows, cols = (max(1, round(side / step)) for side in image.shape[:2])
    small = shrink_image(image, rows, cols)
    seeds, labels = (resize_nearest(values, (rows, cols)) for values in (seeds, labels))
    seeded = np.where((seeds > 0)[..., None], tint_image(small, seeds_to_labels(seeds), table), small // 2)
    here = np.union1d(np.unique(labels[labels != VOID]), seeds_to_labels(np.unique(seeds[seeds > 0])))
    legend = ClassTable(tuple(table.names[i] for i in here), tuple(table.colors[i] for i in here))
    pictures = [_pad_panel(picture) for picture in (small, seeded, tint_image(small, labels, table))]
    draw_picture_rows(path, [PictureRow("", pictures, heads)], width=15.0, legend=legend)


def tint_image(image: np.ndarray, labels: np.ndarray, table: ClassTable) -> np.ndarray:
    """Blend the colours of labels, (rows, cols) whole numbers, with an image, (rows, cols, 3) uint8."""
    tinted = np.empty_like(image)
    for start in range(0, len(image), _TINT_ROWS):  # In strips: the products are eight times as large as the image.
        rows = slice(start, start + _TINT_ROWS)
        colors = color_labels(labels[rows].astype(np.uint8), table)
        tinted[rows] = image[rows] * (1 - _TINT) + colors * _TINT
    return tinted


def _pad_panel(picture: np.ndarray) -> np.ndarray:
    """Pad a long strip with white: a figure of its shape could not be drawn."""
    rows, cols = picture.shape[:2]
    missing = max(-(-cols // _MAX_ASPECT) - rows, 0), max(-(-rows // _MAX_ASPECT) - cols, 0)
    return np.pad(picture, [*((n // 2, n - n // 2) for n in missing), (0, 0)], constant_values=255)
