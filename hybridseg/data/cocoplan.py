"""Which images of a COCO file are taken, with which classes, and into which set each goes; nothing is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hybridseg.classes import ClassTable, class_key, split_names
from hybridseg.data.splitplan import SplitOptions, check_group_by, choose_train_groups, group_images
from hybridseg.errors import MAX_ECHO, BadInput, HybridSegError, MissingInput, Problem, join_names, shorten
from hybridseg.io.annotations.coco import Area, CocoFile, CocoImage, Id
from hybridseg.io.images import describe_image
from hybridseg.io.labelled import check_size
from hybridseg.io.nameforms import list_forms
from hybridseg.io.pairing import result_kind
from hybridseg.io.rasters import IMAGE_SUFFIXES
from hybridseg.markup import count_of
from hybridseg.options import Span, check_options, option, option_like
from hybridseg.progress import Progress

SETS = ("train", "validation", "test")
# Many programs are half a pixel off.
_SLACK = 1.0


@dataclass(frozen=True)
class CocoImportOptions:
    """Which images and categories are taken, what their pixels become, and how the images are divided."""

    categories: tuple[str, ...] | None = option(None, "Categories to take, by name.")
    layout: str = option(
        "labels",
        "One label map for each photo, with small things over larger ones; or masks, one for each category, in a "
        "folder of its own: things of two categories may overlap.",
        choices=("labels", "masks"),
    )
    background: str = option("background", "Class of the pixels that no annotation covers.")
    crowd: str = option(
        "class",
        "What an area around many things (iscrowd) becomes: its class as any other, or void, which is in no class.",
        choices=("class", "void"),
    )
    keep_empty: bool = option(
        False, "Also take images without an annotation of these categories: all of them is background."
    )
    proportion: float = option(
        0.7, "Share of the images that goes to train/ and validation/; the rest is for testing.", span=Span(0, 1)
    )
    validation: float = option(0.3, "Share of those that goes to validation/.", span=Span(0, 1))
    group_by: str | None = option_like(SplitOptions, "group_by")
    download: bool = option(
        False, "Fetch images that are not there from the addresses in the file (coco_url, flickr_url)."
    )
    link: bool = option(False, "Make symbolic links to the images instead of copies.")
    n_shown: int = option(4, "Number of images whose annotations are drawn in the figure.", span=Span(0, 100))
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(self)
        check_group_by(self.group_by)


@dataclass(frozen=True)
class Chosen:
    """An image that is taken: its file, its size, and how many of its annotations are."""

    image: CocoImage
    path: Path
    shape: tuple[int, int]
    n_areas: int


@dataclass
class Choice:
    """What the images of a file are like: those that are taken, and counts of all that is left out or unusual."""

    chosen: list[Chosen] = field(default_factory=list)
    n_areas: Counter[str] = field(default_factory=Counter)
    n_faults: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)

    def describe(self) -> list[str]:
        """Return a sentence for each thing that a person may not expect."""
        texts = {
            "fetched": ("image", "fetched from the web"),
            "unused": ("image", "left out for want of an annotation of these categories"),
            "empty": ("annotation", "without an area (only a box, or nothing)"),
            "outside": ("annotation", "outside of the image"),
            "cut": ("annotation", "cut at the border of the image, beyond which it reached"),
            "stray": ("annotation", "of images that are not in the file"),
        }
        return [
            f"{count_of(self.n_faults[key], noun)} {text}" for key, (noun, text) in texts.items() if self.n_faults[key]
        ]


def choose_classes(file: CocoFile, categories: Sequence[str] | None) -> tuple[str, ...]:
    """Return the classes that are wanted, in the order in which they are named; by default all of the file.

    A text that is not the name of a category may be several, with commas between them.

    Raises
    ------
    BadInput
        When one is not there.
    """
    known: dict[str, str] = {}
    for name in file.class_names:
        known.setdefault(class_key(name), name)
    names = list(known.values()) if categories is None else split_names(categories, file.class_names)
    missing = [name for name in names if class_key(name) not in known]
    if missing or not names:
        has = join_names(known.values()) or "none"
        raise BadInput(f"it has no category {join_names(missing)} (--categories); its categories are {has}")
    return tuple(dict.fromkeys(known[class_key(name)] for name in names))


def make_table(names: Sequence[str], background: str) -> tuple[ClassTable, int]:
    """Return the class list, and the id of the background: that of the class of this name, or else the first.

    Examples
    --------
    >>> table, background = make_table(["car", "road"], "ground")
    >>> table.names, background
    (('ground', 'car', 'road'), 0)
    """
    keys = [class_key(name) for name in names]
    if class_key(background) in keys:
        return ClassTable.from_names(names), keys.index(class_key(background))
    return ClassTable.from_names([background, *names]), 0


def list_images(file: CocoFile, names: Sequence[str], *, keep_empty: bool) -> list[CocoImage]:
    """List the images that have an annotation of these classes; with `keep_empty` all."""
    wanted = {class_key(name) for name in names}
    known = {key for key, name in file.classes.items() if name is not None and class_key(name) in wanted}
    return [image for image in file.images if keep_empty or file.has_any(image, known)]


def list_missing(taken: Sequence[CocoImage], images_dir: Path) -> list[tuple[CocoImage, Path]]:
    """List the images that are not in a folder, each with its place there; none whose name cannot be used."""
    stems = Counter(Path(image.name).stem for image in taken)
    usable = [image for image in taken if stems[Path(image.name).stem] == 1 and _find_misnomer(image) is None]
    places = ((image, _list_places(image, images_dir)) for image in usable)
    return [(image, paths[0]) for image, paths in places if not any(path.is_file() for path in paths)]


def choose_images(
    file: CocoFile,
    taken: Sequence[CocoImage],
    images_dir: Path,
    names: Sequence[str],
    *,
    keep_empty: bool,
    reasons: Mapping[Id, str] = {},
    progress: Progress,
) -> Choice:
    """Find and check every image that is taken, and each of its annotations.

    Parameters
    ----------
    taken : sequence of CocoImage
        Those of `list_images`.
    reasons : mapping of Id to str
        Why images could not be fetched.

    Raises
    ------
    MissingInput
        When there is no such folder.
    """
    if not images_dir.is_dir():
        raise MissingInput(f"there is no folder {images_dir} (--images)")
    wanted = {class_key(name): name for name in names}
    stems = Counter(Path(image.name).stem for image in taken)
    choice = Choice(n_faults=Counter(unused=len(file.images) - len(taken), stray=file.n_strays))
    for image in progress(taken, label="checking images"):
        try:
            if stems[Path(image.name).stem] > 1:
                raise BadInput("another image has its name too, in another folder or with another suffix; take one out")
            path = _find_photo(image, images_dir, reasons.get(image.id))
            info = describe_image(path)
            if image.shape is not None:
                check_size("its annotation", image.shape, info, advice="give the image that was annotated")
            areas = [area for area in file.list_areas(image, info.shape) if class_key(area.name or "") in wanted]
        except HybridSegError as error:
            choice.problems.append(Problem.of(shorten(image.file_name, MAX_ECHO), error))
            continue
        faults = [_find_fault(area, info.shape) for area in areas]
        choice.n_faults.update(faults)
        inside = [area for area, fault in zip(areas, faults, strict=True) if fault in ("", "cut")]
        if not inside and not keep_empty:
            choice.n_faults["unused"] += 1
            continue
        choice.chosen.append(Chosen(image, path, info.shape, len(inside)))
        choice.n_areas.update(wanted[class_key(area.name or "")] for area in inside)
    return choice


def _find_misnomer(image: CocoImage) -> str | None:
    """Say why an image is not called like one."""
    if not image.name.lower().endswith(IMAGE_SUFFIXES):
        return f"images end in {', '.join(IMAGE_SUFFIXES)}; convert it"
    if result_kind(Path(image.name)) is not None:
        return "it is called like a label map, not like a photo; rename it, in the file too"
    return None


def _list_places(image: CocoImage, images_dir: Path) -> list[Path]:
    """List where an image may be: by its path in the folder or by its name alone; never outside of the folder."""
    inside = [image.parts] if not {"", ".", ".."} & set(image.parts) else []
    places = (forms for parts in (*inside, (image.name,)) for forms in zip(*map(list_forms, parts), strict=True))
    return [images_dir.joinpath(*parts) for parts in dict.fromkeys(places)]


def _find_photo(image: CocoImage, images_dir: Path, reason: str | None) -> Path:
    """Return the file of an image; `reason` is why it could not be fetched."""
    if (misnomer := _find_misnomer(image)) is not None:
        raise BadInput(misnomer)
    for path in _list_places(image, images_dir):
        if path.is_file():
            return path
    advice = f": {reason}" if reason else "; --download fetches it" if image.urls else ""
    raise MissingInput(f"it is not in {images_dir} (--images){advice}")


def _find_fault(area: Area, shape: tuple[int, int]) -> str:
    """Return what is unusual about an annotation, if anything."""
    if not area.size:
        return "empty"
    top, bottom, left, right = area.bounds
    # Pixels reach half a pixel beyond their centres.
    last_row, last_col = shape[0] - 0.5, shape[1] - 0.5
    if bottom <= -0.5 or right <= -0.5 or top >= last_row or left >= last_col:
        return "outside"
    is_cut = min(top, left) < -0.5 - _SLACK or bottom > last_row + _SLACK or right > last_col + _SLACK
    return "cut" if is_cut else ""


def divide(names: Sequence[str], options: CocoImportOptions) -> dict[str, tuple[str, str]]:
    """Return the set and the group of each photo, by name."""
    groups = group_images(names, options.group_by)
    sizes = {name: len(members) for name, members in groups.items()}
    first = choose_train_groups(sizes, SplitOptions(proportion=options.proportion, seed=options.seed))
    train = choose_train_groups(
        {name: sizes[name] for name in sizes if name in first},
        SplitOptions(proportion=1 - options.validation, seed=options.seed),
    )
    homes = {name: "train" if name in train else "validation" if name in first else "test" for name in groups}
    return {member: (homes[name], name) for name, members in groups.items() for member in members}
