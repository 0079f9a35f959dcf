"""The picture of a label map that a notebook shows: its classes in their colours, with a legend, as a PNG."""

from __future__ import annotations

import io

import numpy as np

from hybridseg.classes import VOID, ClassTable, color_labels
from hybridseg.layout import Sheet
from hybridseg.panels import GAP, PictureRow
from hybridseg.resample import resize_nearest, shrink_image

_MAX_SIDE, _MAX_ROWS, _LEAST_SIDE = 480, 1600, 64
_DPI = 110


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
        A PNG; a large map is drawn smaller, a tiny one larger.
    """
    ids, counts = np.unique(labels, return_counts=True)
    if table is None:
        n_ids = int(ids[ids != VOID].max(initial=0)) + 1
        table = ClassTable.from_names(str(i) for i in range(n_ids))
    factor = max(labels.shape[1] / _MAX_SIDE, labels.shape[0] / _MAX_ROWS, 1.0)
    rows, cols = (max(1, round(side / factor)) for side in labels.shape)
    panels = [] if image is None else [shrink_image(image, rows, cols)]
    panels.append(color_labels(resize_nearest(labels, (rows, cols)), table))
    colors = table.palette().tolist()
    order = sorted(range(len(ids)), key=lambda i: (ids[i] == VOID, -counts[i]))
    legend = [(f"{_name(table, ids[i])} {counts[i] / labels.size:.1%}", tuple(colors[ids[i]])) for i in order]
    enlarged = max(1, _LEAST_SIDE // max(rows, cols))
    width = len(panels) * cols * enlarged + (len(panels) - 1) * round(GAP * _DPI)
    sheet = Sheet(_DPI, max(width, _MAX_SIDE))
    sheet.arrange([PictureRow("", panels)], width=width / _DPI, legend=tuple(legend))
    content = io.BytesIO()
    sheet.paint().save(content, "PNG", optimize=True)
    return content.getvalue()


def _name(table: ClassTable, class_id: int) -> str:
    return table.names[class_id] if class_id < len(table) else "no class"
