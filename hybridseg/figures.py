"""Every chart that the program draws, and the style of all figures. They need no screen."""

from __future__ import annotations

import functools
import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridseg.calibration import Calibration
from hybridseg.confusion import Confusion
from hybridseg.io.atomic import atomic_path
from hybridseg.layout import DRAWN_BY
from hybridseg.options import Span, check_options, option

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

logger = logging.getLogger(__name__)

FIGURE_FORMATS = ("png", "pdf", "svg")
FIGURES_DIR = "figures"
DPI = 200
_FONT = "DejaVu Sans"
_MIN_FONT, _MAX_FONT = 5.5, 11.0
# Inches. A matrix of many classes gets smaller cells, and at some point no numbers.
_MAX_SIDE, _MAX_NUMBERED = 26.0, 60
# Of all pixels or tiles: less of them has no point in a calibration.
_LEAST_SHARE = 0.0005
# By these marks our own figures are known, see `hybridseg.io.marks`.
_METADATA = {
    "pdf": {"CreationDate": None, "Creator": DRAWN_BY[1]},
    "svg": {"Date": None, "Title": DRAWN_BY[1]},
    "png": dict([DRAWN_BY]),
}


@dataclass(frozen=True)
class FigureOptions:
    """How figures are written."""

    dpi: int = option(DPI, "Resolution of the figures, in dots per inch.", span=Span(50, 600))
    figure_format: str = option("png", "Format of the figures; in pdf and svg text stays text.", choices=FIGURE_FORMATS)

    def __post_init__(self) -> None:
        check_options(self)

    def name(self, path: Path) -> Path:
        """Return the path of a figure, which is given without its suffix."""
        return path.with_name(f"{path.name}.{self.figure_format}")

    def place(self, folder: Path, name: str) -> Path:
        """Return the path of a figure of a single photo, whose results go to this folder."""
        return self.name(folder / FIGURES_DIR / name)


@dataclass(frozen=True)
class DrawnFigure:
    """A figure that was written, which a notebook shows if it is a PNG."""

    path: Path

    def __repr__(self) -> str:
        return f"<DrawnFigure: {self.path}>"

    def _repr_png_(self) -> bytes | None:
        return self.path.read_bytes() if self.path.suffix == ".png" else None


@contextmanager
def house_style(texts: Iterable[str] = ()) -> Iterator[None]:
    """Draw in our style, whatever settings a user has for matplotlib, in fonts that have all signs of these texts."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        # `find_fonts` tells of them, once.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing")
        matplotlib.rcdefaults()
        matplotlib.rc("font", family=find_fonts(frozenset("".join(texts))))
        # Text stays text, and the same figure is the same file.
        matplotlib.rc("svg", fonttype="none", hashsalt="hybridseg")
        matplotlib.rc("pdf", fonttype=42)
        yield


@functools.cache
def find_fonts(signs: frozenset[str]) -> list[str]:
    """Find fonts for these signs: ours, and what is installed for those that it lacks."""
    from matplotlib.font_manager import findfont, fontManager, get_font

    found = [_FONT]
    wanted = {ord(sign) for sign in plain_text("".join(signs)) if sign.isprintable() and not sign.isspace()}
    wanted -= get_font(findfont(_FONT)).get_charmap().keys()
    for font in sorted(fontManager.ttflist, key=lambda font: font.name) if wanted else ():
        if font.style == "normal" and font.weight in (400, "normal") and "Last Resort" not in font.name:
            known = wanted & get_font(font.fname).get_charmap().keys()
            found += [font.name] * bool(known)
            wanted -= known
    if wanted:
        lacking = "".join(map(chr, sorted(wanted)))
        logger.warning("no installed font has the characters %s: figures show boxes in their place", lacking)
    return found


def measure_text(text: str, size: float) -> float:
    """Return the width of a text in points, in the font of `house_style`."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    width, _, _ = TextToPath().get_text_width_height_descent(text.replace(r"\$", "$"), FontProperties(size=size), False)
    return float(width)


def save_figure(figure: Figure, path: str | os.PathLike[str], **settings: Any) -> None:
    """Write a figure in the format that the suffix of its path names, whole or not at all."""
    kind = Path(path).suffix.removeprefix(".").lower()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=kind, metadata=_METADATA.get(kind), **settings)


def _save_tight(figure: Figure, path: str | os.PathLike[str], dpi: int) -> None:
    # Long class names push the label of an axis off the figure.
    save_figure(figure, path, dpi=dpi, bbox_inches="tight", pad_inches=0.12)


def plain_text(text: str) -> str:
    """Escape a name that would be read as a formula, or could not be drawn (a file name that is not UTF-8).

    Examples
    --------
    >>> plain_text("a$b$")
    'a\\\\$b\\\\$'
    """
    return text.encode("utf-8", "replace").decode().replace("$", r"\$")


def draw_confusion(path: str | os.PathLike[str], confusion: Confusion, *, title: str, dpi: int = DPI) -> None:
    """Draw a confusion matrix, each row in percent of its true class; the suffix of the path chooses the format.

    Parameters
    ----------
    confusion : Confusion
        Classes that are neither true nor predicted are left out; a last column shows pixels without a prediction,
        if there are any.
    """
    with house_style([title, *confusion.table.names]):
        _save_tight(_plot_confusion(confusion, title), path, dpi)


def _plot_confusion(confusion: Confusion, title: str) -> Figure:
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
    figure = Figure(figsize=(side + 0.9, side), layout="constrained")
    axes = figure.add_subplot()
    cells = np.zeros((n, max(len(columns), 1)))
    cells[: shares.shape[0], : shares.shape[1]] = shares
    picture = axes.pcolormesh(
        cells, cmap="Blues", vmin=0, vmax=1, edgecolors="#dddddd", linewidth=0.6, rasterized=n > _MAX_NUMBERED
    )
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.set_xticks(
        np.arange(len(columns)) + 0.5, columns, rotation=45, ha="right", rotation_mode="anchor", fontsize=font
    )
    axes.set_yticks(np.arange(len(names)) + 0.5, names, fontsize=font)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.set_title(plain_text(title), fontsize=11, loc="left")
    if n <= _MAX_NUMBERED:
        _number_cells(axes, shares, counts, support, font)
    axes.tick_params(length=0)
    bar = figure.colorbar(picture, ax=axes, fraction=0.046, pad=0.03, format=lambda value, _: f"{value:.0%}")
    bar.set_label("share of the true class", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    return figure


def _number_cells(axes: Any, shares: np.ndarray, counts: np.ndarray, support: np.ndarray, font: float) -> None:
    """Write into each cell its share; beside a class without a true pixel, that there is none."""
    for i, j in np.ndindex(shares.shape):
        if support[i]:
            axes.text(
                j + 0.5, i + 0.5, _percent(float(shares[i, j]), int(counts[i, j])), ha="center", va="center",
                fontsize=min(font, 9.5), color="white" if shares[i, j] > 0.55 else "#1b2a3a",
            )  # fmt: skip
        elif j == 0:
            axes.text(
                len(shares) / 2, i + 0.5, "not in the truth", ha="center", va="center", fontsize=font - 1,
                style="italic", color="#888888",
            )  # fmt: skip


@house_style()
def draw_calibration(path: str | os.PathLike[str], calibration: Calibration, *, unit: str, dpi: int = DPI) -> None:
    """Draw the accuracy of a model against its confidence.

    Parameters
    ----------
    unit : str
        What was counted: ``tiles`` or ``pixels``.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.2, 5.6), layout="constrained")
    axes, below = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
    counts = calibration.counts
    edges = np.linspace(0, 1, len(counts) + 1)
    axes.plot((0, 1), (0, 1), color="#999999", linestyle="--", linewidth=1, label="perfectly calibrated")
    # The accuracy of next to nothing says nothing.
    shown = counts > _LEAST_SHARE * counts.sum()
    axes.plot(
        calibration.confidence[shown], calibration.accuracy[shown], color="#1f5fa8", marker="o", linewidth=1.6,
        label="this model", clip_on=False,
    )  # fmt: skip
    axes.set_ylabel("accuracy")
    axes.set_ylim(0, 1.02)
    axes.set_title(f"expected calibration error {calibration.error:.3f}", fontsize=11, loc="left")
    axes.legend(frameon=False, loc="upper left")
    axes.grid(color="#eeeeee")
    below.bar(edges[:-1], counts, width=np.diff(edges), align="edge", color="#9fc3e8", edgecolor="white")
    below.set_ylabel(unit)
    below.set_xlabel("confidence (probability of the winning class)")
    below.set_xlim(0, 1)
    _save_tight(figure, path, dpi)


@house_style()
def draw_learning_curve(
    path: str | os.PathLike[str],
    steps: Sequence[int],
    curves: Mapping[str, tuple[Sequence[float], Sequence[float | None]]],
    *,
    unit: str = "training step",
    dpi: int = DPI,
) -> None:
    """Draw the curves of a training run: a panel for each measure, with training and validation.

    Parameters
    ----------
    curves : dict of str to (sequence, sequence)
        For each measure its values in training and in validation; None where there is no validation set.
    unit : str
        Name of a step.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 3.8), layout="constrained")
    for axes, (name, (train, validation)) in zip(figure.subplots(1, len(curves)), curves.items(), strict=True):
        axes.plot(steps, train, color="#b9cfe6", linewidth=0.8)
        axes.plot(_smooth(steps), _smooth(train), color="#1f5fa8", linewidth=1.6, label="training")
        known = [value for value in validation if value is not None]
        if known:
            axes.plot(steps, known, color="#f3cda8", linewidth=0.8)
            axes.plot(_smooth(steps), _smooth(known), color="#d9731a", linewidth=1.6, label="validation")
        axes.set_xlabel(unit)
        _mark_whole_numbers(axes)
        axes.set_title(name, fontsize=11, loc="left")
        axes.grid(color="#eeeeee")
        axes.legend(frameon=False)
    _save_tight(figure, path, dpi)


@house_style()
def draw_rates(path: str | os.PathLike[str], rates: Sequence[float], *, dpi: int = DPI) -> None:
    """Draw the learning rate of every epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.2, 3.4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(range(1, len(rates) + 1), rates, color="#1f5fa8", linewidth=1.6, marker="." if len(rates) < 60 else "")
    if min(rates) > 0:
        axes.set_yscale("log")
    axes.set_xlabel("epoch")
    _mark_whole_numbers(axes)
    axes.set_title("learning rate", fontsize=11, loc="left")
    axes.grid(color="#eeeeee")
    _save_tight(figure, path, dpi)


def _mark_whole_numbers(axes: Axes) -> None:
    """Let the ticks of a chart of steps be at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


@dataclass(frozen=True)
class NetworkLevel:
    """A depth at which a network that goes down and up again has a skip: its tensors in words, such as shapes."""

    skip: str
    enlarged: str
    joined: str


def draw_network(
    path: str | os.PathLike[str],
    levels: Sequence[NetworkLevel],
    *,
    title: str,
    ends: tuple[str, str, str],
    dpi: int = DPI,
) -> None:
    """Draw a U-Net: a box for what is there at each depth, an arrow for each step.

    Parameters
    ----------
    levels : sequence of NetworkLevel
        From the deepest up.
    ends : tuple of str
        The image, what is deepest, and the scores.
    """
    with house_style([title]):
        _save_tight(_plot_network(levels, title, ends), path, dpi)


def _plot_network(levels: Sequence[NetworkLevel], title: str, ends: tuple[str, str, str]) -> Figure:
    from matplotlib.figure import Figure

    n = len(levels)
    figure = Figure(figsize=(9.5, 0.8 * (n + 2.5)))
    axes = figure.add_subplot(xlim=(0, 10), ylim=(-1.8, n + 1.2))
    axes.set_axis_off()
    axes.set_title(plain_text(title), fontsize=11, loc="left")

    def add_box(text: str, col: float, row: float, color: str) -> Text:
        style = {"boxstyle": "round,pad=0.5", "facecolor": color, "edgecolor": "#5b6b7b", "linewidth": 0.8}
        return axes.text(col, row, plain_text(text), ha="center", va="center", fontsize=8.5, bbox=style, zorder=1)

    def add_arrow(start: Text, end: Text, line: str) -> None:
        # From middle to middle, but for what the two boxes cover; where they are is known once they are drawn.
        style = {"arrowstyle": "->", "color": "#5b6b7b", "linestyle": line, "shrinkA": 2, "shrinkB": 2}
        ends = {"patchA": start.get_bbox_patch(), "patchB": end.get_bbox_patch()}
        axes.annotate("", end.get_position(), start.get_position(), arrowprops={**style, **ends}, zorder=2)

    inset = [0.4 * (n - i) for i in range(n)]
    image, scores = add_box(ends[0], 1.4, n + 0.6, "#ffffff"), add_box(ends[2], 8.6, n + 0.6, "#ffffff")
    down = [add_box(level.skip, 1.4 + x, i, "#dce9f7") for i, (level, x) in enumerate(zip(levels, inset, strict=True))]
    up = [add_box(level.joined, 8.6 - x, i, "#fbe3cd") for i, (level, x) in enumerate(zip(levels, inset, strict=True))]
    bottom = add_box(ends[1], 5.0, -1.4, "#d5ead9")
    for level, start, end in zip(levels, down, up, strict=True):
        add_arrow(start, end, "--")
        axes.text(
            5.0, start.get_position()[1] + 0.12, plain_text(level.enlarged), fontsize=7.5, ha="center", color="#5b6b7b"
        )
    for path_down in pairwise([image, *reversed(down), bottom]):
        add_arrow(*path_down, "-")
    for path_up in pairwise([bottom, *up, scores]):
        add_arrow(*path_up, "-")
    return figure


def _smooth(values: Sequence[float]) -> np.ndarray:
    """Return the moving average over a twentieth of the curve, to show the trend in the noise of single batches.

    It is shorter than the curve: at the ends there is no whole window, and fewer values would bend it.
    """
    width = max(1, len(values) // 20)
    return np.convolve(np.asarray(values, float), np.ones(width) / width, mode="valid")


def _percent(share: float, count: int) -> str:
    """Format a share as a short percentage: empty for 0, `<1` for a trace."""
    if not count:
        return ""
    percent = 100 * share
    if percent < 0.5:
        return "<1"
    return "100" if count and percent >= 99.95 else f"{percent:.0f}" if percent < 99.5 else ">99"
