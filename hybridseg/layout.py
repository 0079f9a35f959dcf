"""Where pictures, their headings and a legend lie on a sheet, and the sheet as Pillow draws it."""

from __future__ import annotations

import functools
import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from hybridseg.classes import hex_color
from hybridseg.palette import Color
from hybridseg.panels import GAP, Legend, PictureRow, fit_row, limit_aspect
from hybridseg.resample import resize_nearest, shrink_image

if TYPE_CHECKING:
    from PIL import Image, ImageFont

DRAWN_BY = ("Software", "hybridseg")
"""What a PNG says that was drawn here."""

# Inches.
_MARGIN = 0.08
# Points: the sizes of text, the height of a line, the side of a patch of the legend, and the room behind its name.
TEXT, _TITLE, _LINE, PATCH, _SPACE = 8.0, 9.0, 13.0, 8.0, 12.0


@functools.cache
def load_font() -> ImageFont.FreeTypeFont | None:
    """Load the font that comes with matplotlib, which is not imported: that takes half a second; None without it."""
    from PIL import ImageFont

    found = importlib.util.find_spec("matplotlib")
    if found is None or found.origin is None:
        return None
    try:
        return ImageFont.truetype(Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf", 20)
    except OSError:
        return None


def can_paint(texts: Sequence[str]) -> bool:
    """Return whether `Sheet.paint` has every sign of these texts."""
    font = load_font()
    if font is None:
        return False
    unknown = bytes(font.getmask("\uffff"))
    signs = {sign for sign in _printable("".join(texts)) if sign > "~" and sign.isprintable()}
    return not any(bytes(font.getmask(sign)) == unknown for sign in signs)


def _printable(text: str) -> str:
    """Return a text as it can be drawn in one line: a file name may not be UTF-8."""
    return " ".join(text.encode("utf-8", "replace").decode().split())


@dataclass
class Sheet:
    """Where pictures, patches and texts lie on a sheet: in pixels, from its top left corner."""

    dpi: int
    width: int
    pictures: list[tuple[np.ndarray, int, int, int, int]] = field(default_factory=list)
    texts: list[tuple[str, float, float, dict[str, Any]]] = field(default_factory=list)
    patches: list[tuple[Color, float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.margin = round(_MARGIN * self.dpi)
        self.line = self.px(points=_LINE)
        self.top = self.margin

    def px(self, *, points: float) -> int:
        """Return a length in pixels."""
        return round(points * self.dpi / 72)

    def measure(self, text: str, size: float = TEXT) -> int:
        """Return the width of a text of a size in points, in pixels."""
        return math.ceil(self._size_font(size).getlength(_printable(text)))

    def _size_font(self, size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
        """Return the font in a size in points."""
        from PIL import ImageFont

        font, pixels = load_font(), size * self.dpi / 72
        return font.font_variant(size=pixels) if font else ImageFont.load_default(pixels)

    def arrange(self, rows: Sequence[PictureRow], *, width: float, legend: Legend = (), title: str = "") -> Self:
        """Place a title, rows of pictures that are so many inches wide with their titles, and a legend."""
        if title:
            self.write_lines([title], size=_TITLE)
        wide = round(width * self.dpi)
        left = max((self.measure(row.title) for row in rows if row.title), default=0)
        left = min(left + self.px(points=4), self.width // 4) if left else 0
        n_cols = max(len(row.pictures) for row in rows)
        start = self.margin + (self.width - wide) // 2 + left
        for row in rows:
            self.add_row(row, start=start, width=wide - left, n_cols=n_cols)
        self.add_legend(legend)
        return self

    def shorten(self, text: str, room: int, size: float = TEXT) -> str:
        """Return a text in one line that fits, without its end if need be."""
        text = " ".join(text.split())
        if self.measure(text, size) <= room:
            return text
        n = max(1, len(text) * room // self.measure(text, size))
        while n > 1 and self.measure(f"{text[:n]}…", size) > room:
            n -= 1
        return f"{text[:n]}…"

    def write_lines(self, items: Sequence[str], *, size: float = TEXT, joint: str = "  |  ") -> None:
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
        """Write a text at a place, with the words of matplotlib for how it stands there."""
        self.texts.append((text, col, row, {"fontsize": TEXT, "va": "center", **settings}))

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
        patch, space = self.px(points=PATCH), self.px(points=_SPACE)
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

    def save(self, path: Path) -> None:
        """Draw everything, as a PNG that says what drew it."""
        from PIL.PngImagePlugin import PngInfo

        note = PngInfo()
        note.add_text(*DRAWN_BY)
        # Half of the time of the default level, for a file that is 3 % larger.
        self.paint().save(path, "PNG", dpi=(self.dpi, self.dpi), compress_level=4, pnginfo=note)

    def paint(self) -> Image.Image:
        """Draw everything with Pillow; a picture fills its place pixel by pixel."""
        from PIL import Image, ImageDraw

        sheet = Image.new("RGB", (self.width + 2 * self.margin, self.top + self.margin), "white")
        draw = ImageDraw.Draw(sheet)
        for picture, begin, top, width, height in self.pictures:
            fitted = shrink_image(picture, min(height, picture.shape[0]), min(width, picture.shape[1]))
            sheet.paste(Image.fromarray(resize_nearest(fitted, (height, width))), (begin, top))
            draw.rectangle((begin, top, begin + width - 1, top + height - 1), outline="#999999")
        patch = self.px(points=PATCH)
        for color, col, row in self.patches:
            place = (round(col), round(row), round(col) + patch, round(row) + patch)
            draw.rectangle(place, fill=hex_color(color), outline="#666666")
        for text, col, row, settings in self.texts:
            anchor = {"left": "lm", "center": "mm", "right": "rm"}[settings.get("ha", "left")]
            draw.text((col, row), _printable(text), "black", self._size_font(settings["fontsize"]), anchor)
        return sheet
