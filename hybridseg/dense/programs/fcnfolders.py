"""What an FCN-8s is trained on: the folders of the classic program, or images with masks in any form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hybridseg.classes import ClassTable
from hybridseg.dense.datasets import (
    find_folder_pairs,
    find_lost_foreground,
    make_label_reader,
    read_mask,
    refuse_problems,
    require_pairs,
)
from hybridseg.dense.pairs import check_pairs
from hybridseg.errors import MissingInput
from hybridseg.io.labelled import ReadLabels
from hybridseg.io.labels.classfiles import read_class_files
from hybridseg.io.labels.labelpng import read_labelpng
from hybridseg.io.masks import match_masks
from hybridseg.io.pairing import Pair, list_files, list_images
from hybridseg.progress import Progress, no_progress

LABELDEFS_NAME = "labeldefs.txt"


@dataclass(frozen=True)
class FcnData:
    """Images with label maps: those of ``train``, those of ``val`` if there are any, and how to read them."""

    parts: Mapping[str, Sequence[Pair]]
    table: ClassTable
    read_labels: ReadLabels

    def check(self, *, progress: Progress = no_progress) -> None:
        """Read every label map before long work.

        Raises
        ------
        BadInput
            Naming each that cannot be used.
        """
        pairs = [pair for part in self.parts.values() for pair in part]
        problems, values = check_pairs(pairs, self.read_labels, n_classes=len(self.table), progress=progress)
        refuse_problems(problems)
        refuse_problems(find_lost_foreground(values, advice="make ids of them: hybridseg convert --threshold 128"))


def open_folders(images_dir: Path, masks_dir: Path | None = None, *, table: ClassTable | None = None) -> FcnData:
    """Open images with their masks, beside them or in a folder of their own.

    Parameters
    ----------
    table : ClassTable or None
        The classes; None: those that the first mask names.

    Raises
    ------
    MissingInput, BadInput
        When there are none, an image or a mask has no counterpart, or nothing names the classes.
    """
    pairs = find_folder_pairs(images_dir, masks_dir)
    first = pairs[0].labels_path
    table = table or read_mask(first, None).require_table(first)
    return FcnData({"train": pairs}, table, make_label_reader(table))


def open_classic(data_dir: Path, source: str, *, table: ClassTable | None = None) -> FcnData:
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
    return FcnData(parts, table, make_color_reader(table))


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
