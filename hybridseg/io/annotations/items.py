"""What every reader of annotations returns: classes, and what was drawn with them, one item after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hybridseg.classes import VOID, Color, class_key
from hybridseg.errors import BadInput
from hybridseg.io.annotations.doodles import Stroke

_UNLABELLED = {"__background__", "_background_", "__ignore__", "_ignore_", "ignore"}
_MAX_NAME_LETTERS = 100


@dataclass(frozen=True, eq=False)
class Mask:
    """An area as pixels: (rows, cols) bool of its box, whose first pixel is at `origin` (row, col) in the image."""

    pixels: np.ndarray
    origin: tuple[int, int] = (0, 0)
    layer: str = "result"


@dataclass(frozen=True, eq=False)
class Item:
    """A stroke or an area; `name` is its class (a stroke's own id means nothing), None takes labels away."""

    name: str | None
    drawn: Stroke | Mask


@dataclass(frozen=True, eq=False)
class Annotations:
    """What a file says of one image.

    Parameters
    ----------
    shape : tuple of int or None
        Rows and columns of the image that was drawn on; None: the file does not say.
    image_name : str or None
        The image that was drawn on; None: the file does not say. Of a format that never says, the image that it is
        read for.
    classes : mapping of str to (int, int, int) or None
        Names in the order of the file, with their colours where it has some.
    items : iterable of Item
        Later ones cover earlier ones. It is read once: masks are unpacked one at a time, and what is damaged raises
        BadInput then.
    warnings : tuple of str
        What a person should know: sentences.
    """

    shape: tuple[int, int] | None
    image_name: str | None
    classes: Mapping[str, Color | None]
    items: Iterable[Item]
    warnings: tuple[str, ...] = ()


def clean_name(name: str) -> str:
    """Return a class name as a class list can hold it.

    Raises
    ------
    BadInput
        When it has no letter or digit, is too long, or cannot be printed.
    """
    text = " ".join(name.split())
    if not class_key(text) or len(text) > _MAX_NAME_LETTERS or not text.isprintable():
        raise BadInput(f"{text[:60]!a} is not a name for a class; rename it in the program that wrote the file")
    return text


def find_class(name: str) -> str | None:
    """Return the class of a label, cleaned; None for the names by which labelme and COCO mean "no class"."""
    text = clean_name(name)
    return None if text.casefold() in _UNLABELLED else text


def check_drawn_size(found: tuple[int, ...], shape: tuple[int, int]) -> None:
    """Raise BadInput when something was drawn on an image of another size."""
    if tuple(found) != shape:
        raise BadInput(
            f"it was drawn on {found[0]} x {found[1]} pixels (rows, columns), but the image has {shape[0]} x "
            f"{shape[1]}; give the image at the size at which it was labelled"
        )


def split_labels(labels: np.ndarray, names: Sequence[str], *, layer: str) -> Iterator[Item]:
    """Yield a mask on a layer for each class of labels, (rows, cols) uint8."""
    present = np.zeros(256, bool)
    for row in labels:
        present[row] = True
    for class_id in np.flatnonzero(present).tolist():
        if class_id != VOID:
            yield Item(names[class_id], Mask(labels == class_id, layer=layer))
