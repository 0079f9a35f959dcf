"""Pictures on a sheet: panels and rows of pictures without gaps, their headings, and a legend of their colours."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hybridseg.classes import ClassTable, hex_color
from hybridseg.figures import DPI, house_style, measure_text, plain_text, save_figure
from hybridseg.io.atomic import atomic_path
from hybridseg.layout import PATCH, TEXT, Sheet, can_paint
from hybridseg.panels import PAGE_WIDTH, Legend, Panels, PictureRow, join_legends
from hybridseg.resample import shrink_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Inches.
_LEAST_WIDTH = 3.4


def draw_panels(path: str | os.PathLike[str], panels: Panels, *, dpi: int = DPI) -> None:
    """Draw panels as large as they fit on a page, with their legend; the suffix of the path chooses the format."""
    rows, width = panels.arrange()
    draw_picture_rows(path, rows, width=width, legend=panels.legend, title=panels.title, dpi=dpi)


def draw_panel_rows(
    path: str | os.PathLike[str], panels: Mapping[str, Panels], table: ClassTable, *, title: str = "", dpi: int = DPI
) -> None:
    """Draw the panels of several photos below one another, each photo under its heading, with one legend for all."""
    rows = [PictureRow("", own.pictures, (head, *own.heads[1:])) for head, own in panels.items()]
    legend = join_legends((own.legend for own in panels.values()), table)
    draw_picture_rows(path, rows, width=PAGE_WIDTH, legend=legend, title=title, dpi=dpi)


def draw_picture_rows(
    path: str | os.PathLike[str],
    rows: Sequence[PictureRow],
    *,
    width: float,
    legend: Legend = (),
    title: str = "",
    dpi: int = DPI,
) -> None:
    """Draw rows of pictures below one another, each row as wide as the sheet, and a legend when one is given.

    Parameters
    ----------
    width : float
        Width of the pictures with their titles, in inches; the height follows from the pictures.
    """
    heads = [head for row in rows for head in row.heads]
    texts = [title, *heads, *(row.title for row in rows), *(name for name, _ in legend)]
    all_of_width = round(max(width, _LEAST_WIDTH) * dpi)
    # matplotlib takes half a second to import. It is needed for texts that stay text, and to find fonts.
    if Path(path).suffix.lower() == ".png" and can_paint(texts):
        sheet = Sheet(dpi, all_of_width).arrange(rows, width=width, legend=legend, title=title)
        with atomic_path(path) as temporary:
            sheet.save(temporary)
        return
    with house_style(texts):
        drawing = _Drawing(dpi, all_of_width).arrange(rows, width=width, legend=legend, title=title)
        save_figure(drawing.render(), path)


class _Drawing(Sheet):
    """A sheet that matplotlib draws, in its own fonts."""

    def measure(self, text: str, size: float = TEXT) -> int:
        return self.px(points=measure_text(plain_text(text), size))

    def render(self) -> Figure:
        """Draw everything with matplotlib; a picture has as many pixels as its place, or fewer."""
        from matplotlib.figure import Figure
        from matplotlib.patches import Rectangle

        cols, rows = self.width + 2 * self.margin, self.top + self.margin
        # A hundredth more: a whole number that is divided and multiplied again may end just below itself.
        figure = Figure(figsize=((cols + 0.01) / self.dpi, (rows + 0.01) / self.dpi), dpi=self.dpi)
        for picture, begin, top, width, height in self.pictures:
            axes = figure.add_axes((begin / cols, 1 - (top + height) / rows, width / cols, height / rows))
            fitted = shrink_image(picture, min(height, picture.shape[0]), min(width, picture.shape[1]))
            axes.imshow(fitted, interpolation="none", aspect="auto")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(linewidth=0.4, color="#999999")
        patch = PATCH / 72 * self.dpi
        for color, col, row in self.patches:
            figure.add_artist(
                Rectangle(
                    (col / cols, 1 - (row + patch) / rows), patch / cols, patch / rows,
                    facecolor=hex_color(color), edgecolor="#666666", linewidth=0.5,
                )
            )  # fmt: skip
        for text, col, row, settings in self.texts:
            figure.text(col / cols, 1 - row / rows, plain_text(text), **settings)
        return figure
