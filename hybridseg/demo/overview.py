"""Pictures that show a data set at a glance: images with their label maps, and with the results of several methods."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from hybridseg.classes import color_labels
from hybridseg.errors import MissingInput
from hybridseg.io.images import read_rgb8
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.masks import find_masks
from hybridseg.io.pairing import list_images
from hybridseg.panels import Legend, PictureRow, list_legend, shrink_to
from hybridseg.resample import resize_nearest, shrink_image
from hybridseg.sheets import draw_picture_rows

_MAX_SCENES = 6
_RESULT_PIXELS = 480


def draw_scene_overview(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> None:
    """Draw the first labelled images of a folder, each above its label map, with a legend of the classes.

    Raises
    ------
    MissingInput
        When no image of the folder has a label map.
    """
    folder = Path(folder)
    pairs = find_masks(list_images(folder)).pairs
    if not pairs:
        raise MissingInput(f"{folder} has no image with a label map")
    pairs = pairs[:_MAX_SCENES]
    maps = [read_labelmap(pair.labels_path, with_seeds=False) for pair in pairs]
    tables = [found.require_table(pair.labels_path) for found, pair in zip(maps, pairs, strict=True)]
    painted = [color_labels(found.labels, table) for found, table in zip(maps, tables, strict=True)]
    legend = [item for found, table in zip(maps, tables, strict=True) for item in list_legend(table, found.labels)]
    rows = []
    # Two rows of three scenes are easier to read than one row of six.
    for start in range(0, len(pairs), 3):
        part = slice(start, start + 3)
        rows.append(PictureRow("", [read_rgb8(pair.image_path) for pair in pairs[part]]))
        rows.append(PictureRow("", painted[part]))
    draw_picture_rows(path, rows, width=9.0, legend=tuple(dict.fromkeys(legend)))


def draw_result_overview(
    path: str | os.PathLike[str], image_paths: Sequence[Path], columns: Mapping[str, Sequence[Path]]
) -> None:
    """Draw images, a row each, and beside each its label maps from different methods.

    All are painted in the colours of the last column.

    Parameters
    ----------
    columns : mapping of str to sequence of pathlib.Path
        The heading of a column, and its label map for every image.
    """
    rows = []
    last = list(columns.values())[-1]
    legend: Legend = ()
    for i, image_path in enumerate(image_paths):
        image = read_rgb8(image_path)
        size = shrink_to(image.shape[:2], _RESULT_PIXELS)
        pictures = [shrink_image(image, *size)]
        colors = read_labelmap(last[i], with_seeds=False).require_table(last[i])
        for paths in columns.values():
            labelmap = read_labelmap(paths[i], with_seeds=False)
            table = labelmap.require_table(paths[i]).with_colors_of(colors)
            legend += list_legend(table, labelmap.labels)
            pictures.append(color_labels(resize_nearest(labelmap.labels, size), table))
        rows.append(PictureRow("", pictures, ("image", *columns) if i == 0 else ()))
    draw_picture_rows(path, rows, width=2.0 * (len(columns) + 1), legend=tuple(dict.fromkeys(legend)))
