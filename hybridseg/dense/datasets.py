"""Where the two methods find images and label maps, and what must hold before they work on them."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from pathlib import Path

import numpy as np

from hybridseg.classes import ClassTable
from hybridseg.dense.pairs import ReadLabels
from hybridseg.errors import BadInput, MissingInput, Problem
from hybridseg.io.images import IMAGE_SUFFIXES
from hybridseg.io.labels.classfiles import read_class_files
from hybridseg.io.labels.formats import LABELMAP_SUFFIXES, read_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.labelpng import read_labelpng
from hybridseg.io.pairing import Pair, image_stem, list_files, list_images, pair_labels_with_images

LABELDEFS_NAME = "labeldefs.txt"
_SHOWN_PROBLEMS = 20
# What stands between the words of a name.
_GAP = r"[_\-. ]*"


def find_classic_pairs(data_dir: Path, part: str, source: str) -> list[Pair]:
    """Find the pairs of the classic FCN program.

    Parameters
    ----------
    data_dir : pathlib.Path
        With ``samples/RGB/PART/SOURCE`` and ``labels/gtFine/PART/SOURCE``.
    part : str
        ``train`` or ``val``.
    source : str

    Returns
    -------
    list of Pair
        Of every image with its ``NAME_gtFine_color.png``.

    Raises
    ------
    MissingInput, BadInput
        When a folder is missing, or an image or a label picture is alone.
    """
    images = list_images(data_dir / "samples" / "RGB" / part / source)
    labels_dir = data_dir / "labels" / "gtFine" / part / source
    labels = [p for p in list_files(labels_dir, (".png",)) if p.stem.lower().endswith("_gtfine_color")]
    if not labels:
        raise MissingInput(
            f"{labels_dir} has no NAME_gtFine_color.png; make them from label maps with `hybridseg fcn make-labels "
            f"{labels_dir} --labeldefs FILE`"
        )
    return _require_pairs(labels, images)


def find_labeldefs(data_dir: Path, given: Path | None) -> ClassTable:
    """Read the classes and their colours: the file that was given, or ``labeldefs.txt`` of a classic folder."""
    places = [given] if given else [data_dir / LABELDEFS_NAME, data_dir / "labels" / LABELDEFS_NAME]
    for place in places:
        if place.exists():
            return read_class_files(place)
    raise MissingInput(f"there is no {places[0]} with a `name, r, g, b` a line for each class; give it: --labeldefs")


def find_folder_pairs(images_dir: Path, labels_dir: Path, *, word: str) -> list[Pair]:
    """Find the pairs of two folders, whose label maps are called as the images are, with a word more or without.

    Parameters
    ----------
    images_dir, labels_dir : pathlib.Path
        Or a folder whose only subfolder has them, as the published program wants it.
    word : {"mask", "label"}

    Returns
    -------
    list of Pair

    Raises
    ------
    MissingInput, BadInput
        When a folder is missing or empty, or an image or a label map is alone.
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
    return _require_pairs(labels, images, word=word)


def make_label_reader(table: ClassTable | None = None, *, lookup: np.ndarray | None = None) -> ReadLabels:
    """Make what reads label maps into ids of the classes that are learned.

    Parameters
    ----------
    table : ClassTable or None
        The classes. A file that names its own is matched by name; None takes the ids as they are.
    lookup : numpy.ndarray or None
        (256,) uint8: the id of a class for every value in the files.
    """

    def read(path: Path) -> np.ndarray:
        found = _read_ids(path, table)
        if lookup is not None:
            return lookup[found.labels]
        return found.labels if table is None else found.labels_as(table)

    return read


def _read_ids(path: Path, table: ClassTable | None) -> LabelMap:
    """Read a label map without saying how many classes there are, lest an id of no class be taken for VOID."""
    try:
        return read_labelmap(path, with_seeds=False)
    except BadInput:
        # A picture in the colours of the classes cannot be read without them.
        if table is None:
            raise
        return read_labelmap(path, table=table, with_seeds=False)


def make_color_reader(table: ClassTable) -> ReadLabels:
    """Make what reads pictures that are painted in the colours of the classes."""
    return lambda path: read_labelpng(path, table=table).labels


def refuse_problems(problems: Sequence[Problem]) -> None:
    """End here when there are problems, and name each.

    Raises
    ------
    BadInput
    """
    if problems:
        shown = [f"  {problem}" for problem in problems[:_SHOWN_PROBLEMS]]
        if len(problems) > len(shown):
            shown.append(f"  and {len(problems) - len(shown)} more")
        noun = "file is" if len(problems) == 1 else "files are"
        raise BadInput(f"{len(problems)} {noun} not as they must be, so nothing was done:\n" + "\n".join(shown))


def _require_pairs(labels: Sequence[Path], images: Sequence[Path], *, word: str = "") -> list[Pair]:
    # Under the name of the image the usual pairing does the rest.
    image_stems = {image_stem(path) for path in images}
    by_stem: dict[str, list[Path]] = {}
    for path in labels:
        by_stem.setdefault(_find_image_stem(path, word, image_stems), []).append(path)
    twice = [f"{stem}: {', '.join(p.name for p in paths)}" for stem, paths in by_stem.items() if len(paths) > 1]
    if twice:
        raise BadInput(f"several label maps belong to one image ({'; '.join(twice[:5])}); keep one of each")
    renamed = {paths[0].with_name(f"{stem}{paths[0].suffix}"): paths[0] for stem, paths in by_stem.items()}
    pairs, problems = pair_labels_with_images(renamed, images)
    problems = [Problem(str(renamed.get(Path(p.where), p.where)), p.message) for p in problems]
    alone = [path for path in images if image_stem(path) not in by_stem]
    problems += [Problem(str(path), "has no label map; add it or take the image away") for path in alone]
    refuse_problems(problems)
    return [Pair(renamed[pair.labels_path], pair.image_path) for pair in pairs]


def _find_image_stem(path: Path, word: str, image_stems: Set[str]) -> str:
    """Give the stem of the image of a label map: its own if there is such an image, else without the word."""
    stem = image_stem(path)
    if not word or stem in image_stems:
        return stem
    alone = _match_word(word)
    return re.sub(rf"^{alone}{_GAP}|{_GAP}{alone}", "", stem, flags=re.IGNORECASE) or stem


def _has_word(path: Path, word: str) -> bool:
    return re.search(_match_word(word), path.stem, flags=re.IGNORECASE) is not None


def _match_word(word: str) -> str:
    """Give the pattern of a word that stands for itself: no letter touches it, so a watermask is no mask."""
    return rf"(?<![^\W\d_]){word}s?(?![^\W\d_])"


def _enter(folder: Path) -> Path:
    """Go into the only subfolder of a folder without files."""
    if not folder.is_dir():
        raise MissingInput(f"there is no folder {folder}")
    entries = [p for p in folder.iterdir() if not p.name.startswith(".")]
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder
