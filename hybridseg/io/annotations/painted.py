"""What was labelled with any tool, painted: a class for each pixel of the image."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from hybridseg.classes import ClassTable, class_key
from hybridseg.errors import located
from hybridseg.io.annotations.canvas import Canvas
from hybridseg.io.annotations.doodles import LAYERS
from hybridseg.io.annotations.formats import read_annotations
from hybridseg.io.annotations.items import check_image, clean_name, extend_table


@dataclass(frozen=True, eq=False)
class Painted:
    """The annotations of an image as pixels.

    Parameters
    ----------
    scribbles, areas : numpy.ndarray or None
        (rows, cols) uint8 seeds: 0 = unlabelled, class k is k + 1; None: there are none.
    is_derived : bool
        A program computed the areas from the scribbles.
    warnings : tuple of str
        Sentences for the person.
    """

    scribbles: np.ndarray | None
    areas: np.ndarray | None
    table: ClassTable
    is_derived: bool
    warnings: tuple[str, ...]


def paint_annotations(
    path: str | os.PathLike[str], *, shape: tuple[int, int], image_name: str, table: ClassTable | None = None
) -> Painted:
    """Read what was labelled with any tool, see `read_annotations`, and paint it, later items over earlier ones.

    Parameters
    ----------
    table : ClassTable or None
        The classes that are wanted, by name; None: those of the file.

    Raises
    ------
    MissingInput, BadInput
        As `read_annotations`, for an image of another size, and when a class is not in the table.
    """
    found = read_annotations(path, shape=shape, image_name=image_name, table=table)
    layers: dict[str, Canvas] = {}
    with located(path):
        warnings = (*check_image(found, shape, image_name), *found.warnings)
        own = table or extend_table(
            None,
            map(clean_name, found.classes),
            {class_key(name): color for name, color in found.classes.items() if color},
        )
        for item in found.items:
            if item.drawn.layer not in layers:
                layers[item.drawn.layer] = Canvas(np.zeros(shape, np.uint8))
            item.put_on(layers[item.drawn.layer], 0 if item.name is None else own.index(item.name) + 1)
    for canvas in layers.values():
        canvas.paint()
    found_in = {name: canvas.values for name, canvas in layers.items() if canvas.values.any()}
    scribbles, areas = map(found_in.get, LAYERS)
    return Painted(scribbles, areas, own, found.is_derived, warnings)
