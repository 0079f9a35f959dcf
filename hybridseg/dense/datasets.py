"""The labelled images that a network is trained on: found by name, their label maps read as ids of its classes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from hybridseg.classes import VOID, ClassTable
from hybridseg.dense.crops import CropOptions
from hybridseg.dense.pairs import FolderPairs, check_pairs
from hybridseg.dense.photos import PhotoPairs
from hybridseg.errors import BadInput, BadUsage, MissingInput, Problem, list_problems, located, shorten
from hybridseg.forecast import UNKNOWN, followed_by
from hybridseg.io.images import describe_image
from hybridseg.io.labelled import ReadLabels, describe_alpha
from hybridseg.io.labels.formats import LABELMAP_SUFFIXES, read_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.masks import Matches, find_masks
from hybridseg.io.pairing import Pair, find_owner, list_images
from hybridseg.io.rasters import IMAGE_SUFFIXES
from hybridseg.io.tables import read_csv
from hybridseg.markup import count_of
from hybridseg.progress import Progress, no_progress

logger = logging.getLogger(__name__)

_TABLE_SUFFIX = ".csv"


@dataclass(frozen=True)
class Dataset:
    """Images with label maps, those of ``train`` and, if there are any, ``val`` and ``test``; and how to read them."""

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

    def open_pairs(
        self, size: tuple[int, int] | None, crops: CropOptions, *, progress: Progress
    ) -> tuple[dict[str, FolderPairs], CropOptions]:
        """Check every label map, and open the pairs of each part.

        Parameters
        ----------
        size : (int, int) or None
            Rows and columns to which whole photographs are resized; None: windows of them, as `crops` says.

        Returns
        -------
        parts : dict of str to FolderPairs
        crops : CropOptions
            The windows, fitted to the photographs of ``train``.
        """
        self.check(progress=followed_by(progress, UNKNOWN))
        kind: Callable[..., FolderPairs] = FolderPairs
        fitted = CropOptions()
        if size is None:
            fitted = crops.fit_to([describe_image(pair.image_path).shape for pair in self.parts["train"]])
            # What is largest at any scale of the windows decides how sharp the photographs are kept.
            kind, size = partial(PhotoPairs, scale=fitted.scales[1]), fitted.crop
        parts = {name: kind(pairs, self.read_labels, table=self.table, size=size) for name, pairs in self.parts.items()}
        if alpha := describe_alpha([info for part in parts.values() for info in part.infos]):
            logger.warning("%s", alpha)
        return parts, fitted


def open_folders(images_dir: Path, masks_dir: Path | None = None, *, table: ClassTable | None = None) -> Dataset:
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
    return Dataset({"train": pairs}, table, make_label_reader(table))


def open_sets(
    images_dir: Path,
    masks_dir: Path | None = None,
    *,
    validation: tuple[Path | None, Path | None] = (None, None),
    test: tuple[Path | None, Path | None] = (None, None),
    table: ClassTable | None = None,
) -> Dataset:
    """Open images as `open_folders` does, with those of the sets for validation and testing: images, and their masks.

    Raises
    ------
    BadUsage
        For masks without images.
    MissingInput, BadInput
    """
    data = open_folders(images_dir, masks_dir, table=table)
    parts = dict(data.parts)
    for part, name, (images, masks) in (("val", "validation", validation), ("test", "test", test)):
        if images is not None:
            parts[part] = find_folder_pairs(images, masks, option=f"--{name}-masks")
        elif masks is not None:
            raise BadUsage(f"--{name}-masks is given without --{name}-images")
    return replace(data, parts=parts)


def find_folder_pairs(
    images_dir: Path, masks_dir: Path | None = None, *, word: str = "", option: str = "--masks"
) -> list[Pair]:
    """Find the images of a folder with their masks, beside them or in a folder of their own, see `hybridseg.io.masks`.

    Parameters
    ----------
    images_dir, masks_dir : pathlib.Path
        Or a folder whose only subfolder has them, as the published program wants it; in place of both a table of
        `review`, such as ``df_train.csv``, which names each image and its mask.
    word : {"mask", "label", ""}
        As `find_masks`.
    option : str
        What says where the masks are.

    Raises
    ------
    MissingInput, BadInput
        When a folder is missing or empty, an image has no mask, or a mask has no image (in a folder of
        their own, masks of other images are left out with a warning if all images have one).
    """
    if images_dir.suffix.lower() == _TABLE_SUFFIX:
        if masks_dir is not None:
            raise BadUsage(f"{images_dir} names the masks, too; leave {option} out")
        return read_listed_pairs(images_dir)
    images_dir, masks_dir = enter_places(images_dir, masks_dir)
    images = list_images(images_dir)
    if not images:
        raise MissingInput(f"{images_dir} has no image ({', '.join(IMAGE_SUFFIXES)})")
    return require_pairs(find_masks(images, masks_dir, word=word), images_dir, masks_dir, option=option)


def read_listed_pairs(path: Path) -> list[Pair]:
    """Read the pairs of a table with the columns `image` and `mask`: paths from the current folder, or from its own.

    Raises
    ------
    MissingInput, BadInput
        When it is no such table or has no row, a file is not there, or an image has no mask.
    """
    rows = read_csv(path, ("image", "mask"))
    if not rows:
        raise BadInput(f"{path} lists no image")
    with located(path):
        images = [_find_listed(row["image"], path) for row in rows]
        masks = [_find_listed(row["mask"], path, of=row["image"]) for row in rows]
    return [Pair(image_path=image, labels_path=mask) for image, mask in zip(images, masks, strict=True)]


def _find_listed(name: str, table: Path, *, of: str = "") -> Path:
    if not name:
        raise BadInput(f"it names no mask of {shorten(of)}; list labelled images alone" if of else "a row has no image")
    found = None
    # No file can have a name that is too long.
    with suppress(OSError):
        found = next((place for place in (Path(name), table.parent / name) if place.is_file()), None)
    if found is None:
        raise MissingInput(f"it names {shorten(name)}, which is not there; make it again with `hybridseg review`")
    return found


def require_pairs(found: Matches, images_dir: Path, masks_dir: Path, *, option: str = "--masks") -> list[Pair]:
    """Return the pairs of two folders; BadInput names all files that have no counterpart."""
    if not (found.pairs or found.problems or found.orphans):
        mend = f"; if the masks are elsewhere, say where: {option} DIR" if masks_dir == images_dir else ""
        raise MissingInput(
            f"{masks_dir} has no label map ({', '.join(LABELMAP_SUFFIXES)}) of an image in {images_dir}{mend}"
        )
    if found.orphans and found.pairs and not found.unlabelled and masks_dir != images_dir:
        # A folder may have the masks of more images than these, such as those for testing.
        logger.warning("%s", found.describe_rest()[0])
        found = replace(found, orphans=[])
    orphans = [
        Problem(str(path), f"has no image in {images_dir}; add {find_owner(path, ())}.jpg or remove the label map")
        for path in found.orphans
    ]
    alone = [
        Problem(str(path), f"has no label map in {masks_dir}; add {path.stem}.png or remove the image")
        for path in found.unlabelled
    ]
    refuse_problems([*found.problems, *orphans, *alone])
    return found.pairs


def find_lost_foreground(values: Mapping[Path, Sequence[int]], *, advice: str) -> list[Problem]:
    """Find masks whose foreground is 255, which is void here: they would train nothing."""
    if any(set(found) - {0, VOID} for found in values.values()):
        return []
    return [Problem(str(path), f"holds 0 and 255 only; {advice}") for path, found in values.items() if VOID in found]


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
        found = read_mask(path, table)
        labels = found.labels if table is None else found.labels_as(table)
        return labels if lookup is None else lookup[labels]

    return read


def read_mask(path: Path, table: ClassTable | None) -> LabelMap:
    """Read a label map with the classes that it names; those of `table` are for pictures in colours only.

    So an id beyond the classes is not taken for VOID.
    """
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
        verb = "is" if len(problems) == 1 else "are"
        n_files = count_of(len(problems), "file")
        raise BadInput(f"{n_files} {verb} unusable, so nothing was done:{list_problems(problems)}")


def enter_places(images_dir: Path, masks_dir: Path | None) -> tuple[Path, Path]:
    """Return the folder of the images and that of the masks, which is the same one when it was not given."""
    images_dir = _enter(images_dir)
    return images_dir, images_dir if masks_dir is None else _enter(masks_dir)


def _enter(folder: Path) -> Path:
    """Return the only subfolder of a folder without files, or the folder itself."""
    if not folder.is_dir():
        raise MissingInput(f"there is no folder {folder}")
    entries = [p for p in folder.iterdir() if not p.name.startswith(".")]
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder
