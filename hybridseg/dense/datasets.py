"""Find the image of each label map by name, and read label maps as ids of the classes that a network is trained on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, MissingInput, Problem
from hybridseg.io.images import IMAGE_SUFFIXES
from hybridseg.io.labelled import ReadLabels
from hybridseg.io.labels.formats import LABELMAP_SUFFIXES, read_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.masks import match_masks
from hybridseg.io.pairing import Pair, list_files, list_images

_SHOWN_PROBLEMS = 20


def find_folder_pairs(images_dir: Path, labels_dir: Path, *, word: str) -> list[Pair]:
    """Find the pairs of two folders, whose label maps are named as the images are, with an additional word or without.

    Parameters
    ----------
    images_dir, labels_dir : pathlib.Path
        Or a folder whose only subfolder has them, as the published program wants it.
    word : {"mask", "label"}

    Raises
    ------
    MissingInput, BadInput
        When a folder is missing or empty, or an image or a label map has no counterpart.
    """
    images_dir, labels_dir = _enter(images_dir), _enter(labels_dir)
    images = [p for p in list_images(images_dir) if images_dir != labels_dir or not _has_word(p, word)]
    if not images:
        raise MissingInput(f"{images_dir} has no image ({', '.join(IMAGE_SUFFIXES)})")
    files = list_files(labels_dir, (*LABELMAP_SUFFIXES, ".jpg", ".jpeg"))
    labels = [p for p in files if images_dir != labels_dir or _has_word(p, word)]
    lossy = [Problem(str(p), "is a JPEG, which changes class ids; save label maps as PNG or TIFF") for p in labels
             if p.suffix.lower() in (".jpg", ".jpeg")]  # fmt: skip
    refuse_problems(lossy)
    if not labels:
        raise MissingInput(f"{labels_dir} has no label map ({', '.join(LABELMAP_SUFFIXES)})")
    return require_pairs(labels, images)


def make_label_reader(table: ClassTable | None = None, *, lookup: np.ndarray | None = None) -> ReadLabels:
    """Return a function that reads a label map as class ids.

    Parameters
    ----------
    table : ClassTable or None
        The classes. A file that names its own is matched by name; None takes the ids as they are.
    lookup : numpy.ndarray or None
        (256,) uint8: what each of these ids becomes.
    """

    def read(path: Path) -> np.ndarray:
        found = _read_ids(path, table)
        labels = found.labels if table is None else found.labels_as(table)
        return labels if lookup is None else lookup[labels]

    return read


def _read_ids(path: Path, table: ClassTable | None) -> LabelMap:
    """Read a label map without giving the number of classes, so that an id beyond them is not taken for VOID."""
    try:
        return read_labelmap(path, with_seeds=False)
    except BadInput:
        # A picture in the colours of the classes cannot be read without them.
        if table is None:
            raise
        return read_labelmap(path, table=table, with_seeds=False)


def refuse_problems(problems: Sequence[Problem]) -> None:
    """Raise BadInput when there are problems, with a line for each."""
    if problems:
        shown = [f"  {problem}" for problem in problems[:_SHOWN_PROBLEMS]]
        if len(problems) > len(shown):
            shown.append(f"  and {len(problems) - len(shown)} more")
        noun = "file is" if len(problems) == 1 else "files are"
        raise BadInput(f"{len(problems)} {noun} unusable, so nothing was done:\n" + "\n".join(shown))


def require_pairs(labels: Sequence[Path], images: Sequence[Path]) -> list[Pair]:
    """Pair every label map with its image; BadInput names all that have no counterpart."""
    found = match_masks(images, labels, named=set(labels))
    alone = [Problem(str(path), "has no label map; add it or remove the image") for path in found.unlabelled]
    refuse_problems([*found.problems, *found.describe_orphans(), *alone])
    return found.pairs


def _has_word(path: Path, word: str) -> bool:
    return re.search(word_pattern(word), path.stem, flags=re.IGNORECASE) is not None


def word_pattern(word: str) -> str:
    """Return the pattern of a word by itself: no letter touches it, so a watermask is not a mask."""
    return rf"(?<![^\W\d_]){word}s?(?![^\W\d_])"


def _enter(folder: Path) -> Path:
    """Return the only subfolder of a folder without files, or the folder itself."""
    if not folder.is_dir():
        raise MissingInput(f"there is no folder {folder}")
    entries = [p for p in folder.iterdir() if not p.name.startswith(".")]
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder
