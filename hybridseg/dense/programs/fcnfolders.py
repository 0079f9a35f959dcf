"""The folders of the classic FCN program: images with pictures painted in the colours of the classes."""

from __future__ import annotations

from pathlib import Path

from hybridseg.classes import ClassTable
from hybridseg.dense.datasets import Dataset, require_pairs
from hybridseg.errors import MissingInput
from hybridseg.io.labelled import ReadLabels
from hybridseg.io.labels.classfiles import read_class_files
from hybridseg.io.labels.labelpng import read_labelpng
from hybridseg.io.masks import match_masks
from hybridseg.io.pairing import Pair, list_files, list_images

LABELDEFS_NAME = "labeldefs.txt"


def open_classic(data_dir: Path, source: str, *, table: ClassTable | None = None) -> Dataset:
    """Open the folders of the classic program.

    Parameters
    ----------
    data_dir : pathlib.Path
        With ``samples/RGB/train/SOURCE``, ``labels/gtFine/train/SOURCE`` and ``labeldefs.txt``. A ``val`` beside
        ``train`` is the validation set.
    table : ClassTable or None
        The classes and their colours; None: those of ``labeldefs.txt``.

    Raises
    ------
    MissingInput, BadInput
        When a folder is missing, or an image or a label picture has no counterpart.
    """
    table = table or find_labeldefs(data_dir, None)
    parts = {"train": find_classic_pairs(data_dir, "train", source)}
    if samples_dir(data_dir, "val", source).is_dir():
        parts["val"] = find_classic_pairs(data_dir, "val", source)
    return Dataset(parts, table, make_color_reader(table))


def samples_dir(data_dir: Path, part: str, source: str) -> Path:
    """Return the folder of the images of a part, ``train`` or ``val``."""
    return data_dir / "samples" / "RGB" / part / source


def find_classic_pairs(data_dir: Path, part: str, source: str) -> list[Pair]:
    """Find every image of a part, ``train`` or ``val``, with its ``NAME_gtFine_color.png``.

    Raises
    ------
    MissingInput, BadInput
        When a folder is missing, or an image or a label picture has no counterpart.
    """
    images_dir, labels_dir = samples_dir(data_dir, part, source), data_dir / "labels" / "gtFine" / part / source
    images = list_images(images_dir)
    labels = [p for p in list_files(labels_dir, (".png",)) if p.stem.lower().endswith("_gtfine_color")]
    if not labels:
        raise MissingInput(
            f"{labels_dir} has no NAME_gtFine_color.png; make them from label maps with `hybridseg fcn make-labels "
            f"{labels_dir} --labeldefs FILE`, or give the label maps themselves: --images {images_dir} --masks DIR"
        )
    return require_pairs(match_masks(images, labels, named=set(labels)), images_dir, labels_dir)


def find_labeldefs(data_dir: Path, given: Path | None) -> ClassTable:
    """Read the classes and their colours from the file that was given, or from ``labeldefs.txt`` of the data."""
    places = [given] if given else [data_dir / LABELDEFS_NAME, data_dir / "labels" / LABELDEFS_NAME]
    for place in places:
        if place.exists():
            return read_class_files(place)
    raise MissingInput(f"there is no {places[0]} with a line `name, r, g, b` for each class; give it: --labeldefs")


def make_color_reader(table: ClassTable) -> ReadLabels:
    """Return a function that reads a picture painted in the colours of the classes as class ids."""
    return lambda path: read_labelpng(path, table=table).labels
