"""Images in the order of how well they came out, the worst first, each with its worst class and its commonest mistake.

An image is ranked by its *multi-label Dice*: the mean of the Dice of the classes that its truth or its result has. A
class that only the result has counts with a Dice of 0.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridseg.classes import class_key
from hybridseg.confusion import Confusion
from hybridseg.markup import count_of

# How many images are listed in print.
_N_LISTED = 5
NO_CLASS = "(none)"
_COLUMNS = ("image", "dice", "accuracy", "pixels", "worst_class", "worst_dice", "true_class", "taken_for", "mistaken")


@dataclass(frozen=True)
class ImageScore:
    """How well one image came out.

    Parameters
    ----------
    dice : float or None
        Its multi-label Dice; None when no pixel was compared.
    accuracy : float or None
        Share of the pixels that are right.
    class_dice : dict of str to float
        Of each class that its truth or its result has.
    worst_class : str
        The class with the lowest Dice; of several, the one with the most wrong pixels.
    mistake : (str, str, int) or None
        The commonest mistake with that class: the true class, what it was taken for, and of how many pixels.
    """

    image: str
    dice: float | None
    accuracy: float | None
    n_pixels: int
    class_dice: dict[str, float]
    worst_class: str = ""
    mistake: tuple[str, str, int] | None = None

    def to_record(self) -> dict[str, Any]:
        """Return it as a row of the table of images, and as JSON holds it."""
        true_class, taken_for, n_mistaken = self.mistake or (None, None, None)
        worst = self.class_dice.get(self.worst_class)
        cells = (self.image, self.dice, self.accuracy, self.n_pixels, self.worst_class or None, worst)
        return dict(zip(_COLUMNS, (*cells, true_class, taken_for, n_mistaken), strict=True))


def rank_images(confusions: Mapping[str, Confusion], *, left_out: Collection[str] = ()) -> tuple[ImageScore, ...]:
    """Return the scores of images, the lowest multi-label Dice first.

    Parameters
    ----------
    left_out : collection of str
        Classes that have no part in the mean.

    Examples
    --------
    >>> import numpy as np
    >>> from hybridseg.classes import ClassTable
    >>> from hybridseg.confusion import count_confusion
    >>> table, truth = ClassTable.from_names(["water", "sand", "veg"]), np.array([0, 0, 0, 1])
    >>> found = {"a": truth, "b": np.array([0, 0, 2, 1])}
    >>> for image in rank_images({name: count_confusion(truth, labels, table) for name, labels in found.items()}):
    ...     print(image.image, image.dice, image.class_dice, image.mistake)
    b 0.6 {'water': 0.8, 'sand': 1.0, 'veg': 0.0} ('water', 'veg', 1)
    a 1.0 {'water': 1.0, 'sand': 1.0} None
    """
    unwanted = {class_key(name) for name in left_out}
    scores = [_score_image(name, confusion, unwanted) for name, confusion in confusions.items()]
    return tuple(sorted(scores, key=lambda image: (image.dice is None, image.dice, image.accuracy, image.image)))


def _score_image(image: str, confusion: Confusion, unwanted: Collection[str]) -> ImageScore:
    names = confusion.table.names
    found = {
        name: dice
        for name, dice in zip(names, confusion.image_dice(), strict=True)
        if dice is not None and class_key(name) not in unwanted
    }
    if not found or confusion.accuracy is None:
        return ImageScore(image, None, None, 0, {})
    # Of classes with the same Dice, such as those that are never right, the one with the most wrong pixels.
    hits, predicted = np.diag(confusion.counts), confusion.counts.sum(axis=0)
    n_wrong = dict(zip(names, (confusion.support + predicted - 2 * hits).tolist(), strict=True))
    worst = min(found, key=lambda name: (found[name], -n_wrong[name]))
    mean = sum(found.values()) / len(found)
    mistake = _find_mistake(confusion, names.index(worst))
    return ImageScore(image, mean, confusion.accuracy, confusion.n_pixels, found, worst, mistake)


def _find_mistake(confusion: Confusion, index: int) -> tuple[str, str, int] | None:
    """Return the commonest mistake with a class, see `ImageScore.mistake`; None without a mistake."""
    names, counts = confusion.table.names, confusion.counts
    others = [other for other in range(len(names)) if other != index]
    mistakes = [
        (int(confusion.n_unpredicted[index]), names[index], NO_CLASS),
        *((int(counts[index, other]), names[index], names[other]) for other in others),
        *((int(counts[other, index]), names[other], names[index]) for other in others),
    ]
    n_pixels, true_class, taken_for = max(mistakes, key=lambda mistake: mistake[0])
    return (true_class, taken_for, n_pixels) if n_pixels else None


def average_dice(images: Iterable[ImageScore]) -> float | None:
    """Return the mean of the multi-label Dice of images; None when no pixel was compared."""
    known = [image.dice for image in images if image.dice is not None]
    return sum(known) / len(known) if known else None


def list_image_rows(images: Sequence[ImageScore]) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    """Return the columns and the rows of the table of images; the last columns are the Dice of each class."""
    names = dict.fromkeys(name for image in images for name in image.class_dice)
    rows = [
        {**image.to_record(), **{f"dice {name}": dice for name, dice in image.class_dice.items()}} for image in images
    ]
    return (*_COLUMNS, *(f"dice {name}" for name in names)), rows


def tell_worst(images: Sequence[ImageScore]) -> tuple[str, tuple[str, ...], list[tuple[str, ...]]]:
    """Return a title, header and rows that list the worst images, for a table that a person reads."""
    known = [image for image in images if image.dice is not None]
    shown, mean = known[:_N_LISTED], average_dice(known)
    title = "multi-label Dice: no pixel was compared"
    if mean is not None:
        title = f"multi-label Dice of {count_of(len(known), 'image')}: mean {mean:.3f}; the worst first"
    header = ("image", "Dice", "worst class", "its Dice", "its commonest mistake", "pixels")
    rows: list[tuple[str, ...]] = []
    for image in shown:
        true_class, taken_for, n_pixels = image.mistake or ("", "", 0)
        mistake = f"{true_class} taken for {taken_for}" if taken_for != NO_CLASS else f"{true_class} without a class"
        cells = (f"{image.dice:.3f}", image.worst_class, f"{image.class_dice[image.worst_class]:.3f}")
        rows.append((image.image, *cells, mistake if image.mistake else "none", f"{n_pixels:,}"))
    return title, header, rows
