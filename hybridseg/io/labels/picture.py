"""The picture of a label map that a notebook shows: its classes in their colours, with a legend, as a PNG."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from hybridseg.classes import VOID, ClassTable, color_labels
from hybridseg.resample import resize_nearest, shrink_image

_MAX_SIDE, _MAX_ROWS = 480, 1600
_GAP, _FONT, _SQUARE, _LINE = 8, 13, 12, 20
_PAPER, _INK, _EDGE = (255, 255, 255), (27, 42, 58), (128, 128, 128)


def draw_labels(labels: np.ndarray, table: ClassTable | None, *, image: np.ndarray | None = None) -> bytes:
    """Draw a label map, beside its image where there is one, above a legend of the classes that occur.

    Parameters
    ----------
    labels : numpy.ndarray
        (rows, cols) uint8.
    table : ClassTable or None
        None: the ids stand for the names.
    image : numpy.ndarray or None
        (rows, cols, 3) uint8.

    Returns
    -------
    bytes
        A PNG; a large map is drawn smaller.
    """
    from PIL import Image, ImageDraw, ImageFont

    ids, counts = np.unique(labels, return_counts=True)
    if table is None:
        n_ids = int(ids[ids != VOID].max(initial=0)) + 1
        table = ClassTable.from_names(str(i) for i in range(n_ids))
    factor = max(labels.shape[1] / _MAX_SIDE, labels.shape[0] / _MAX_ROWS, 1.0)
    rows, cols = (max(1, round(side / factor)) for side in labels.shape)
    panels = [] if image is None else [shrink_image(image, rows, cols)]
    panels.append(color_labels(resize_nearest(labels, (rows, cols)), table))
    width = max(len(panels) * (cols + _GAP) - _GAP, _MAX_SIDE)
    font = ImageFont.load_default(_FONT)
    palette = table.palette()
    order = sorted(range(len(ids)), key=lambda i: (ids[i] == VOID, -counts[i]))
    texts = [(f"{_name(table, ids[i])} {counts[i] / labels.size:.1%}", tuple(palette[ids[i]].tolist())) for i in order]
    entries = _place_entries([(text, color, font.getlength(text)) for text, color in texts], width)
    picture = Image.new("RGB", (width, rows + _GAP + entries[-1][1] + _LINE), _PAPER)
    for i, panel in enumerate(panels):
        picture.paste(Image.fromarray(panel), (i * (cols + _GAP), 0))
    pen = ImageDraw.Draw(picture)
    for left, top, text, color in entries:
        y = rows + _GAP + top
        pen.rectangle((left, y + 2, left + _SQUARE, y + 2 + _SQUARE), fill=color, outline=_EDGE)
        pen.text((left + _SQUARE + 6, y), text, fill=_INK, font=font)
    content = io.BytesIO()
    picture.save(content, "PNG", optimize=True)
    return content.getvalue()


def _name(table: ClassTable, class_id: int) -> str:
    return table.names[class_id] if class_id < len(table) else "no class"


def _place_entries(texts: list[tuple[str, Any, float]], width: int) -> list[tuple[int, int, str, Any]]:
    """Return left, top, text and colour of every entry of the legend, in as many lines as they need."""
    placed, left, top = [], 0, 0
    for text, color, length in texts:
        needed = _SQUARE + 6 + round(length) + 18
        if left and left + needed > width:
            left, top = 0, top + _LINE
        placed.append((left, top, text, color))
        left += needed
    return placed
