"""Pictures on a sheet: panels and rows of pictures without gaps, their headings, and a legend of their colours."""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridseg.classes import hex_color
from hybridseg.figures import DPI, house_style, measure_text, plain_text, save_figure
from hybridseg.io.atomic import atomic_path
from hybridseg.palette import Color
from hybridseg.panels import GAP, Legend, Panels, PictureRow, fit_row, limit_aspect
from hybridseg.resample import resize_nearest, shrink_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image, ImageFont

# Inches.
_MARGIN, _LEAST_WIDTH = 0.08, 3.4
# Points: the sizes of text, the height of a line, the side of a patch of the legend, and the room behind its name.
_TEXT, _TITLE, _LINE, _PATCH, _SPACE = 8.0, 9.0, 13.0, 8.0, 12.0


def draw_panels(path: str | os.PathLike[str], panels: Panels, *, dpi: int = DPI) -> None:
    """Draw panels as large as they fit on a page, with their legend; the suffix of the path chooses the format."""
    rows, width = panels.arrange()
    draw_picture_rows(path, rows, width=width, legend=panels.legend, title=panels.title, dpi=dpi)


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
    # matplotlib takes half a second to import. It is needed for texts that stay text, and to find fonts.
    if Path(path).suffix.lower() == ".png" and (font := _load_font(texts)) is not None:
        sheet = _arrange(_Sheet(dpi, round(max(width, _LEAST_WIDTH) * dpi), font), rows, width, legend, title)
        with atomic_path(path) as temporary:
            # Half of the time of the default level, for a file that is 3 % larger.
            sheet.paint().save(temporary, "PNG", dpi=(dpi, dpi), compress_level=4)
        return
    with house_style(texts):
        sheet = _arrange(_Sheet(dpi, round(max(width, _LEAST_WIDTH) * dpi)), rows, width, legend, title)
        save_figure(sheet.render(), path)


def _arrange(sheet: _Sheet, rows: Sequence[PictureRow], width: float, legend: Legend, title: str) -> _Sheet:
    """Place everything on a sheet, and return it."""
    if title:
        sheet.write_lines([title], size=_TITLE)
    wide = round(width * sheet.dpi)
    left = max((sheet.measure(row.title) for row in rows if row.title), default=0)
    left = min(left + sheet.px(points=4), sheet.width // 4) if left else 0
    n_cols = max(len(row.pictures) for row in rows)
    start = sheet.margin + (sheet.width - wide) // 2 + left
    for row in rows:
        sheet.add_row(row, start=start, width=wide - left, n_cols=n_cols)
    sheet.add_legend(legend)
    return sheet


def _load_font(texts: Sequence[str]) -> ImageFont.FreeTypeFont | None:
    """Load the font that comes with matplotlib, which is not imported; None where it lacks a sign of these texts."""
    from PIL import ImageFont

    found = importlib.util.find_spec("matplotlib")
    if found is None or found.origin is None:
        return None
    try:
        font = ImageFont.truetype(Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf", 20)
    except OSError:
        return None
    unknown = bytes(font.getmask("\uffff"))
    signs = {sign for sign in _printable("".join(texts)) if sign > "~" and sign.isprintable()}
    return None if any(bytes(font.getmask(sign)) == unknown for sign in signs) else font


def _printable(text: str) -> str:
    """Return a text as it can be drawn in one line: a file name may not be UTF-8."""
    return " ".join(text.encode("utf-8", "replace").decode().split())


@dataclass
class _Sheet:
    """Where pictures, patches and texts lie on a sheet: in pixels, from its top left corner."""

    dpi: int
    width: int
    font: ImageFont.FreeTypeFont | None = None
    pictures: list[tuple[np.ndarray, int, int, int, int]] = field(default_factory=list)
    texts: list[tuple[str, float, float, dict[str, Any]]] = field(default_factory=list)
    patches: list[tuple[Color, float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.margin = round(_MARGIN * self.dpi)
        self.line = self.px(points=_LINE)
        self.top = self.margin

    def px(self, *, points: float) -> int:
        return round(points * self.dpi / 72)

    def measure(self, text: str, size: float = _TEXT) -> int:
        if self.font is None:
            return self.px(points=measure_text(plain_text(text), size))
        return math.ceil(self.size_font(size).getlength(_printable(text)))

    def size_font(self, size: float) -> ImageFont.FreeTypeFont:
        """Return the font of Pillow in a size in points."""
        assert self.font is not None
        return self.font.font_variant(size=size * self.dpi / 72)

    def shorten(self, text: str, room: int, size: float = _TEXT) -> str:
        """Return a text in one line that fits, without its end if need be."""
        text = " ".join(text.split())
        if self.measure(text, size) <= room:
            return text
        n = max(1, len(text) * room // self.measure(text, size))
        while n > 1 and self.measure(f"{text[:n]}…", size) > room:
            n -= 1
        return f"{text[:n]}…"

    def write_lines(self, items: Sequence[str], *, size: float = _TEXT, joint: str = "  |  ") -> None:
        """Write texts one after the other, in as many lines as they need."""
        line = ""
        for item in items:
            longer = f"{line}{joint}{item}" if line else item
            if line and self.measure(longer, size) > self.width:
                self._write_line(line, size)
                line = item
            else:
                line = longer
        self._write_line(line, size)

    def _write_line(self, text: str, size: float) -> None:
        self.write(self.shorten(text, self.width, size), self.margin, self.top + self.line / 2, fontsize=size)
        self.top += self.line

    def write(self, text: str, col: float, row: float, **settings: Any) -> None:
        self.texts.append((text, col, row, {"fontsize": _TEXT, "va": "center", **settings}))

    def add_row(self, row: PictureRow, *, start: int, width: int, n_cols: int) -> None:
        """Place pictures side by side, of one height, so that they fill the width, or their share of `n_cols`."""
        gap, n = round(GAP * self.dpi), len(row.pictures)
        room = (width - (n_cols - 1) * gap) * n // n_cols + (n - 1) * gap
        height, widths = fit_row([limit_aspect(picture.shape) for picture in row.pictures], room, gap=gap)
        starts = [start + sum(widths[:i]) + i * gap for i in range(n)]
        if row.heads:
            self._add_heads(row.heads, starts, widths)
        if row.title:
            title = self.shorten(row.title, start - self.margin - self.px(points=4))
            self.write(title, start - self.px(points=4), self.top + height / 2, ha="right")
        for picture, begin, own in zip(row.pictures, starts, widths, strict=True):
            self.pictures.append((picture, begin, self.top, own, height))
        self.top += height + gap

    def _add_heads(self, heads: Sequence[str], starts: Sequence[int], widths: Sequence[int]) -> None:
        """Write a heading above each picture; where they do not fit, all of them in a line."""
        if any(self.measure(head) > width for head, width in zip(heads, widths, strict=True)):
            self.write_lines(["from left to right: " + heads[0], *heads[1:]] if len(heads) > 1 else heads)
            return
        for head, begin, width in zip(heads, starts, widths, strict=True):
            self.write(head, begin + width / 2, self.top + self.line / 2, ha="center")
        self.top += self.line

    def add_legend(self, legend: Legend) -> None:
        """Write the names beside patches of their colours, in as many lines as they need."""
        patch, space = self.px(points=_PATCH), self.px(points=_SPACE)
        col, self.top = self.margin, self.top + self.px(points=2)
        for name, color in legend:
            text = self.shorten(name, self.width - 2 * patch)
            width = round(1.5 * patch) + self.measure(text)
            if col > self.margin and col + width > self.margin + self.width:
                col, self.top = self.margin, self.top + self.line
            self.patches.append((color, col, self.top + self.line / 2 - patch / 2))
            self.write(text, col + 1.5 * patch, self.top + self.line / 2)
            col += width + space
        self.top += self.line if legend else 0

    def paint(self) -> Image.Image:
        """Draw everything with Pillow; a picture fills its place pixel by pixel."""
        from PIL import Image, ImageDraw

        sheet = Image.new("RGB", (self.width + 2 * self.margin, self.top + self.margin), "white")
        draw = ImageDraw.Draw(sheet)
        for picture, begin, top, width, height in self.pictures:
            fitted = shrink_image(picture, min(height, picture.shape[0]), min(width, picture.shape[1]))
            sheet.paste(Image.fromarray(resize_nearest(fitted, (height, width))), (begin, top))
            draw.rectangle((begin, top, begin + width - 1, top + height - 1), outline="#999999")
        patch = self.px(points=_PATCH)
        for color, col, row in self.patches:
            place = (round(col), round(row), round(col) + patch, round(row) + patch)
            draw.rectangle(place, fill=hex_color(color), outline="#666666")
        for text, col, row, settings in self.texts:
            anchor = {"left": "lm", "center": "mm", "right": "rm"}[settings.get("ha", "left")]
            draw.text((col, row), _printable(text), "black", self.size_font(settings["fontsize"]), anchor)
        return sheet

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
        patch = _PATCH / 72 * self.dpi
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
