"""The folders of the classic FCN program: where its images, label pictures and classes are."""

from __future__ import annotations

from pathlib import Path

from hybridseg.classes import ClassTable
from hybridseg.dense.datasets import require_pairs
from hybridseg.errors import MissingInput
from hybridseg.io.labelled import ReadLabels
from hybridseg.io.labels.classfiles import read_class_files
from hybridseg.io.labels.labelpng import read_labelpng
from hybridseg.io.pairing import Pair, list_files, list_images

LABELDEFS_NAME = "labeldefs.txt"


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
    images = list_images(samples_dir(data_dir, part, source))
    labels_dir = data_dir / "labels" / "gtFine" / part / source
    labels = [p for p in list_files(labels_dir, (".png",)) if p.stem.lower().endswith("_gtfine_color")]
    if not labels:
        raise MissingInput(
            f"{labels_dir} has no NAME_gtFine_color.png; make them from label maps with `hybridseg fcn make-labels "
            f"{labels_dir} --labeldefs FILE`"
        )
    return require_pairs(labels, images)


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
