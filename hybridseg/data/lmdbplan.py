"""Which images with their masks go into which of two databases, and what is refused before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridseg.classes import MAX_CLASSES, VOID, ClassTable
from hybridseg.data.splitplan import SplitOptions, check_group_by, choose_others, choose_train_groups, group_images
from hybridseg.errors import BadInput, HybridSegError, Problem, list_problems
from hybridseg.io.images import ImageInfo, describe_image, read_image
from hybridseg.io.labelled import check_size
from hybridseg.io.labels.classids import read_class_ids
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.masks import find_labelled
from hybridseg.io.pairing import Pair, find_images
from hybridseg.io.tfrecords import SAMPLE_TYPES
from hybridseg.markup import count_of
from hybridseg.options import Span, check_file_name, check_options, option, option_like
from hybridseg.progress import Progress

PARTS = ("train", "test")
FORMATS = {"tif": (".tif", ".tiff"), "jpg": (".jpg", ".jpeg"), "png": (".png",)}


@dataclass(frozen=True)
class LmdbOptions:
    """What the databases hold."""

    dataset_name: str = option(
        help="Name of the data set: the databases are called train-NAME.lmdb and test-NAME.lmdb."
    )
    train_fraction: float = option(
        0.8, "Share of the images for training; the others are for testing.", span=Span(0, 1, above=True, below=True)
    )
    image_format: str | None = option(None, "Take the images of this format only.", choices=tuple(FORMATS))
    use_tiling: bool = option(False, "Cut the images into tiles; 0 takes each as a whole.")
    tile_size: int = option(
        256,
        "Side of the tiles, in pixels. They lie side by side and cover every pixel; the last of a row or column ends "
        "with the image, over its neighbour.",
        span=Span(32, 8192),
    )
    group_by: str | None = option_like(SplitOptions, "group_by")
    test_list: Path | tuple[str, ...] | None = option_like(SplitOptions, "test_list")
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(self)
        check_group_by(self.group_by)
        check_file_name(self.dataset_name, what="--dataset_name")
        if self.test_list is not None and (self.train_fraction, self.seed) != (LmdbOptions.train_fraction, 0):
            raise BadInput("--test says which images are for testing; leave out --train_fraction and --seed")
        if self.tile_size != LmdbOptions.tile_size and not self.use_tiling:
            raise BadInput("--tile_size is for tiles: give --use_tiling 1")


def find_pairs(images_dir: Path, masks_dir: Path, image_format: str | None) -> list[Pair]:
    """Find the images with their masks, in the order of their names; BadInput names those that have none."""
    images = pick_format(find_images([images_dir]), image_format, images_dir)
    found = find_labelled(images, masks_dir=masks_dir)
    wanted = f"has no mask in {masks_dir}"
    alone = [Problem(str(path), f"{wanted}; add {path.stem}.tif or {path.stem}.png") for path in found.unlabelled]
    _refuse([*found.problems, *alone])
    return sorted(found.pairs, key=lambda pair: pair.image_path.name)


def pick_format(images: list[Path], image_format: str | None, where: Path) -> list[Path]:
    """Return the images of a format, of any if it is None; BadInput when there are none."""
    found = [path for path in images if image_format is None or path.suffix.lower() in FORMATS[image_format]]
    if not found:
        raise BadInput(f"{where} has no {image_format} image; give another --image_format")
    return found


def _refuse(problems: Sequence[Problem]) -> None:
    if problems:
        raise BadInput(f"these files are unusable, so nothing was written:{list_problems(problems)}")


def describe_images(pairs: Sequence[Pair]) -> list[ImageInfo]:
    """Return the headers of the images; where one has none, BadInput names all that are damaged."""
    try:
        return [describe_image(pair.image_path) for pair in pairs]
    except HybridSegError:
        problems = []
        for pair in pairs:
            try:
                read_image(pair.image_path)
            except HybridSegError as error:
                problems.append(Problem.of(pair.image_path, error))
        _refuse(problems)
        raise


def check_images(infos: Sequence[ImageInfo], options: LmdbOptions) -> None:
    """Refuse images of several kinds, and sizes of which no batch can be made."""
    first = infos[0]
    if first.dtype not in SAMPLE_TYPES:
        raise BadInput(
            f"{first.path} has samples of type {first.dtype}; convert it to one of {', '.join(SAMPLE_TYPES)}"
        )
    for info in infos:
        if (info.n_colors, info.dtype) != (first.n_colors, first.dtype):
            raise BadInput(
                f"{first.path.name} has {count_of(first.n_colors, 'band')} of {first.dtype}, {info.path.name} "
                f"{info.n_colors} of {info.dtype}; a network is trained on images of one kind"
            )
        if options.use_tiling and min(info.shape) < options.tile_size:
            raise BadInput(
                f"{info.path.name} has {info.rows} x {info.cols} pixels, less than a tile of {options.tile_size}; give "
                f"--tile_size {min(min(other.shape) for other in infos)}"
            )
        if not options.use_tiling and info.shape != first.shape:
            raise BadInput(
                f"{first.path.name} has {first.rows} x {first.cols} pixels, {info.path.name} {info.rows} x {info.cols};"
                " without tiles all must be of one size: give --use_tiling 1 with --tile_size"
            )


def split_pairs(pairs: Sequence[Pair], options: LmdbOptions) -> list[list[int]]:
    """Return the numbers of the pairs of each part; an image, and those of its group, are in one of them."""
    number_of = {pair.image_path.name: number for number, pair in enumerate(pairs)}
    groups = group_images(number_of, options.group_by)
    if options.test_list is not None:
        for_training = choose_others(groups, options.test_list)
    else:
        split = SplitOptions(options.train_fraction, options.seed)
        for_training = choose_train_groups({name: len(members) for name, members in groups.items()}, split)
    both = (for_training, groups.keys() - for_training)
    for part, names in zip(PARTS, both, strict=True):
        if not names:
            raise BadInput(
                f"of {count_of(len(pairs), 'image')} none would be for the {part} set; add images, or "
                f"give another --train_fraction"
            )
    return [sorted(number_of[image] for name in names for image in groups[name]) for names in both]


def find_names(pair: Pair) -> ClassTable | None:
    """Return the classes that a mask names itself."""
    try:
        return read_labelmap(pair.labels_path, with_seeds=False).table
    except HybridSegError:
        return None


def number_classes(n_classes: int) -> ClassTable:
    """Return the classes of masks that have numbers only: 0 is the background.

    Examples
    --------
    >>> number_classes(3).names
    ('background', 'class 1', 'class 2')
    """
    return ClassTable.from_names(["background", *(f"class {number}" for number in range(1, n_classes))])


def check_masks(pairs: Sequence[Pair], infos: Sequence[ImageInfo], table: ClassTable | None, progress: Progress) -> int:
    """Read every image and mask before anything is written; return the number of classes."""
    problems, found = [], set[int]()
    n_most = MAX_CLASSES if table is None else len(table)
    for number in progress(range(len(pairs)), label="checking masks"):
        path = pairs[number].image_path
        try:
            read_image(path)
            path = pairs[number].labels_path
            labels = read_class_ids(path, table)
            check_size(path, labels.shape, infos[number])
            ids = set(np.unique(labels).tolist())
            found |= ids
            strange = sorted(ids - {VOID} - set(range(n_most)))
            if strange:
                raise BadInput(f"{path} has the id {strange[0]}; classes go from 0 to {n_most - 1}, and {VOID} is void")
        except HybridSegError as error:
            problems.append(Problem.of(path, error))
    _refuse(problems)
    if not found - {0, VOID} and VOID in found:
        raise BadInput(
            f"the masks hold 0 and {VOID} only, and {VOID} is void: make ids of them with hybridseg convert "
            "--threshold 128"
        )
    return max(2, 1 + max(found - {VOID}, default=0))
