"""Every figure that the program draws. The only home of matplotlib; needs no screen."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hybridseg.classes import ClassTable
from hybridseg.evaluation.confusion import Confusion
from hybridseg.io.atomic import atomic_path

_MIN_FONT, _MAX_FONT = 5.5, 11.0


@dataclass(frozen=True, eq=False)
class PictureRow:
    """Pictures side by side, (rows, cols, 3) uint8 each, with a title to their left."""

    title: str
    pictures: list[np.ndarray]


def draw_picture_rows(
    path: str | os.PathLike[str], rows: Sequence[PictureRow], *, width: float, legend: ClassTable | None = None
) -> None:
    """Draw rows of pictures below one another as a PNG, and a legend of classes when one is given.

    Parameters
    ----------
    path : path-like
    rows : sequence of PictureRow
    width : float
        Of the figure, in inches; the height follows from the pictures.
    legend : ClassTable or None
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    n_cols = max(len(row.pictures) for row in rows)
    left = 0.13 if any(row.title for row in rows) else 0.01
    cell = width * (0.99 - left) / n_cols
    heights = [cell * row.pictures[0].shape[0] / row.pictures[0].shape[1] for row in rows]
    legend_height = 0.5 if legend else 0.0
    height = sum(heights) * 1.03 + legend_height
    figure = Figure(figsize=(width, height), dpi=110)
    grid = figure.add_gridspec(
        len(rows), n_cols, height_ratios=heights, wspace=0.03, hspace=0.03,
        left=left, right=0.99, top=1 - 0.01, bottom=0.01 + legend_height / height,
    )  # fmt: skip
    for i, row in enumerate(rows):
        for j, picture in enumerate(row.pictures):
            axes = figure.add_subplot(grid[i, j])
            axes.imshow(picture, interpolation="antialiased")
            axes.set_axis_off()
            if j == 0 and row.title:
                axes.text(-0.08, 0.5, row.title, transform=axes.transAxes, ha="right", va="center", fontsize=10)
    if legend:
        patches = [
            Patch(facecolor="#{:02x}{:02x}{:02x}".format(*color), edgecolor="#666666", label=name)
            for name, color in zip(legend.names, legend.colors, strict=True)
        ]
        figure.legend(handles=patches, loc="lower center", ncols=min(len(patches), 12), frameon=False, fontsize=9)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def draw_confusion(path: str | os.PathLike[str], confusion: Confusion, *, title: str) -> None:
    """Draw a confusion matrix, each row in percent of its true class, as a PNG.

    Parameters
    ----------
    path : path-like
    confusion : Confusion
        Classes that are neither true nor predicted are left out.
    title : str
    """
    from matplotlib.figure import Figure

    shown = np.flatnonzero(confusion.support + confusion.counts.sum(axis=0))
    names = [confusion.table.names[i] for i in shown]
    counts = confusion.counts[np.ix_(shown, shown)]
    support = confusion.support[shown]
    shares = counts / np.maximum(support, 1)[:, None]
    n = max(len(names), 1)
    # A cell has room for its number at any count of classes; the figure grows with it.
    side = 2.6 + max(0.52 * n, 2.2)
    font = float(np.clip(120 / n, _MIN_FONT + 1.5, _MAX_FONT))
    figure = Figure(figsize=(side + 0.9, side), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=font)
    axes.set_yticks(range(len(names)), names, fontsize=font)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.set_title(title, fontsize=11, loc="left")
    for i, j in np.ndindex(shares.shape):
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
    axes.set_xticks(np.arange(n + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(n + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#dddddd", linewidth=0.6)
    axes.tick_params(which="both", length=0)
    bar = figure.colorbar(picture, ax=axes, fraction=0.046, pad=0.03, format=lambda value, _: f"{value:.0%}")
    bar.set_label("share of the true class", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _percent(share: float, count: int) -> str:
    """Write a share in as few characters as tell something: nothing for 0, `<1` for a trace."""
    if not count:
        return ""
    percent = 100 * share
    if percent < 0.5:
        return "<1"
    return "100" if count and percent >= 99.95 else f"{percent:.0f}" if percent < 99.5 else ">99"
