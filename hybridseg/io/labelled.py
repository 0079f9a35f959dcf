"""An image with its label map: of one size, and void where the image holds no picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from hybridseg.classes import VOID
from hybridseg.errors import BadInput
from hybridseg.io.images import ImageInfo, LoadedImage, load_image
from hybridseg.io.pairing import Pair
from hybridseg.markup import count_of

# How masks of 0 and 255 get class ids, where 255 would count as no class.
MAKE_IDS = "hybridseg convert MASKS --images PHOTOS --labels FILE --threshold 128"
IF_WHITE = f"if the masks are of 0 and 255, first make class ids of them: {MAKE_IDS}"

ReadLabels = Callable[[Path], np.ndarray]
"""Reads a label map as (rows, cols) uint8 ids of the classes that are wanted."""


def load_labelled(pair: Pair, read_labels: ReadLabels) -> tuple[LoadedImage, np.ndarray]:
    """Read an image and its labels.

    Returns
    -------
    image : LoadedImage
    labels : numpy.ndarray
        (rows, cols) uint8; VOID where the image holds no picture.

    Raises
    ------
    MissingInput, BadInput
        When one of them cannot be read, or their sizes differ.
    """
    image = load_image(pair.image_path)
    return image, fit_labels(read_labels(pair.labels_path), pair.labels_path, image.info, image.valid)


def describe_alpha(infos: Sequence[ImageInfo]) -> str:
    """Say that a training leaves the transparency of images out; nothing where none has any."""
    names = [info.path.name for info in infos if info.has_alpha]
    if not names:
        return ""
    which = f"{count_of(len(names), 'photo')} ({'' if len(names) == 1 else 'such as '}{names[0]})"
    return (
        f"the transparency of {which} is left out: nothing is learnt from it, and pixels without a picture count as no "
        f"class; {KEEP_ALPHA}"
    )


KEEP_ALPHA = "if that band holds data, write it as no transparency (gdal_translate -co ALPHA=NO)"


def fit_labels(labels: np.ndarray, path: Path, info: ImageInfo, valid: np.ndarray | None) -> np.ndarray:
    """Return labels that were read from `path` as those of an image: size checked, VOID where it is not valid."""
    check_size(path, labels.shape, info)
    return void_invalid(labels, valid)


def void_invalid(labels: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    """Return labels with VOID where an image is not valid; None: it is valid everywhere."""
    return labels if valid is None else np.where(valid, labels, np.uint8(VOID))


def check_size(
    where: object,
    shape: tuple[int, ...],
    info: ImageInfo,
    *,
    advice: str = "give the one that was made from this very image",
) -> None:
    """Raise BadInput when labels have another size than their image: a scale is never guessed.

    Examples
    --------
    >>> info = ImageInfo(Path("a.jpg"), "JPEG", 30, 40, 3, "uint8", 1, None)
    >>> check_size(Path("a_mres.mat"), (30, 41), info)
    Traceback (most recent call last):
    hybridseg.errors.BadInput: a_mres.mat has 30 x 41 pixels, but a.jpg has 30 x 40; give the one that was made from \
this very image
    """
    if shape == info.shape:
        return
    turned = ""
    if info.orientation >= 5 and shape == info.shape[::-1]:
        turned = f" (turned by its EXIF orientation {info.orientation}; the labels were made before turning)"
    raise BadInput(
        f"{where} has {shape[0]} x {shape[1]} pixels, but {info.path.name} has {info.rows} x {info.cols}{turned}; "
        f"{advice}"
    )


def describe_lone_class(counts: Mapping[str, int]) -> str:
    """Say that masks show one class of several alone, and what may be the cause; empty where they show more.

    Examples
    --------
    >>> describe_lone_class({"land": 9, "water": 0})[:45]
    "no mask shows a class other than 'land'; 255 "
    """
    shown = [name for name, n in counts.items() if n]
    if len(shown) != 1 or len(counts) == 1:
        return ""
    return f"no mask shows a class other than '{shown[0]}'; 255 counts as no class: {IF_WHITE}"
