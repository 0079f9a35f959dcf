"""What every reader of annotations returns: classes, and what was drawn with them, one item after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridseg.classes import MAX_CLASSES, VOID, ClassTable, check_name, class_key
from hybridseg.errors import BadInput
from hybridseg.io.annotations.canvas import Canvas, Mask
from hybridseg.io.annotations.doodles import Stroke
from hybridseg.io.annotations.runlengths import Rle
from hybridseg.io.annotations.strokes import put_stroke
from hybridseg.palette import Color, choose_colors

_UNLABELLED = {"__background__", "_background_", "__ignore__", "_ignore_", "ignore"}


@dataclass(frozen=True, eq=False)
class Item:
    """A stroke or an area; `name` is its class (a stroke's own id means nothing), None takes labels away."""

    name: str | None
    drawn: Stroke | Mask | Rle

    def put_on(self, canvas: Canvas, value: int) -> None:
        """Put it on top of what a canvas has."""
        if isinstance(self.drawn, Stroke):
            put_stroke(canvas, self.drawn, value)
        else:
            self.drawn.put_on(canvas, value)


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
    is_derived : bool
        A program computed the areas from the scribbles.
    """

    shape: tuple[int, int] | None
    image_name: str | None
    classes: Mapping[str, Color | None]
    items: Iterable[Item]
    warnings: tuple[str, ...] = ()
    is_derived: bool = False


def clean_name(name: str) -> str:
    """Return a class name as a class list can hold it: on one line, with single spaces.

    Raises
    ------
    BadInput
        When no class can be called so.
    """
    text = " ".join(name.split())
    check_name(text)
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


def check_image(
    found: Annotations, shape: tuple[int, int], image_name: str, *, must_name_image: bool = False
) -> Iterable[str]:
    """Raise BadInput when a file is for an image of another size, or name; yield warnings where it does not say."""
    if found.shape is None:
        yield "it does not say the size of its image, so whether it belongs to this one was not checked"
    else:
        check_drawn_size(found.shape, shape)
    if found.image_name is None and must_name_image:
        raise BadInput(f"it does not say which image it is for; name it after {image_name}")
    # The path may be one of Windows.
    if found.image_name is None or Path(found.image_name.replace("\\", "/")).stem == Path(image_name).stem:
        return
    text = f"it was drawn on {found.image_name}, but this is {image_name}"
    if must_name_image:
        raise BadInput(text)
    yield text


def extend_table(table: ClassTable | None, names: Iterable[str], colors: Mapping[str, Color]) -> ClassTable:
    """Append the names that a table lacks, each in a colour that no other class has."""
    found = dict(zip(table.names, table.colors, strict=True)) if table else {}
    keys = set(table.keys) if table else set()
    new: dict[str, str] = {}
    for name in names:
        if class_key(name) not in keys:
            new.setdefault(class_key(name), name)
    if len(found) + len(new) > MAX_CLASSES:
        raise BadInput(
            f"with its classes there are {len(found) + len(new)}, but the limit is {MAX_CLASSES}; merge some of them"
        )
    if not found and not new:
        raise BadInput("it names no class; give a class list")
    given: dict[str, Color] = {}
    for key in new:
        if key in colors and colors[key] not in (*found.values(), *given.values()):
            given[key] = colors[key]
    free = [key for key in new if key not in given]
    chosen = {**given, **dict(zip(free, choose_colors(free, [*found.values(), *given.values()]), strict=True))}
    found.update((name, chosen[key]) for key, name in new.items())
    return ClassTable(tuple(found), tuple(found.values()))


def split_labels(labels: np.ndarray, names: Sequence[str], *, layer: str) -> Iterator[Item]:
    """Yield a mask on a layer for each class of labels, (rows, cols) uint8."""
    present = np.zeros(256, bool)
    for row in labels:
        present[row] = True
    for class_id in np.flatnonzero(present).tolist():
        if class_id != VOID:
            yield Item(names[class_id], Mask(labels == class_id, layer=layer))
