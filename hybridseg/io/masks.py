"""The mask of each image: beside it or in a folder of its own, in our names or in those of other tools."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hybridseg.errors import BadInput, MissingInput, Problem
from hybridseg.io.images import IMAGE_SUFFIXES
from hybridseg.io.labels.formats import ANNOTATION_SUFFIXES, LABELMAP_SUFFIXES
from hybridseg.io.pairing import (
    JPEG_SUFFIXES,
    MACHINE_KINDS,
    MASK_WORD,
    Pair,
    find_images,
    find_owner,
    list_files,
    list_images,
    result_kind,
)

_MASK_SUFFIXES = (*LABELMAP_SUFFIXES, *JPEG_SUFFIXES)
# Ranks of labels: the last of those made by hand, results by machine, and what is none of an image.
_BY_HAND, _BY_MACHINE, _NOTHING = 6, 7, 8


@dataclass(frozen=True)
class Matches:
    """Which mask belongs to which image.

    Parameters
    ----------
    pairs : list of Pair
        In the order of the images.
    unlabelled, orphans : list of pathlib.Path
        Images without a mask, and masks without an image.
    problems : list of Problem
        Images with several masks that are equally good, masks that could belong to several images.
    """

    pairs: list[Pair]
    unlabelled: list[Path]
    orphans: list[Path]
    problems: list[Problem]

    def describe_orphans(self, images_dir: Path | None = None) -> list[Problem]:
        """Return a problem for each mask without an image, beside it or in the folder that was given."""
        wanted = [", ".join(find_owner(path, ()) + suffix for suffix in IMAGE_SUFFIXES[:3]) for path in self.orphans]
        beside = "has no image beside it; put it there ({} ...) or give --images DIR"
        text = f"has no image in {images_dir} (--images); it would be called {{}} ..." if images_dir else beside
        return [Problem(str(path), text.format(names)) for path, names in zip(self.orphans, wanted, strict=True)]

    def describe_rest(self) -> list[str]:
        """Return sentences about the images and masks that are alone."""
        lines = []
        if self.unlabelled:
            n_images = len(self.pairs) + len(self.unlabelled)
            lines.append(
                f"images without a mask ({len(self.unlabelled)} of {n_images}): {_list_names(self.unlabelled)}"
            )
        if self.orphans:
            lines.append(f"masks without an image ({len(self.orphans)}): {_list_names(self.orphans)}")
        return lines


def _list_names(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths[:3]) + (" ..." if len(paths) > 3 else "")


def find_labelled(inputs: Iterable[Path], *, images_dir: Path | None = None, masks_dir: Path | None = None) -> Matches:
    """Find images with their masks, whichever way a command was told where they are.

    Parameters
    ----------
    inputs : iterable of pathlib.Path
        With `masks_dir` the images: folders, files or patterns. Otherwise folders of masks, or masks by name. None:
        `images_dir`, and what is not given is in the current folder.
    images_dir, masks_dir : pathlib.Path or None
        Default: images and masks lie side by side.

    Raises
    ------
    MissingInput, BadInput
        When something is not there, no image has a mask, or the images were given twice.
    """
    inputs = list(inputs)
    if masks_dir is not None:
        if inputs and images_dir is not None:
            raise BadInput(f"the images were given twice, as {inputs[0]} and as --images {images_dir}; leave one out")
        images = find_images(inputs or [images_dir or Path()])
        return _require_some(find_masks(images, masks_dir), f"{masks_dir} has no mask")
    inputs = inputs or [Path()]
    for path in inputs:
        if not path.exists():
            raise MissingInput(f"there is no file or folder {path}")
    named = [path for path in inputs if not path.is_dir()]
    folders = [path for path in inputs if path.is_dir()]
    if images_dir is not None and not list_images(images_dir):
        raise MissingInput(f"{images_dir} (--images) has no JPEG, PNG or TIFF images; give the folder of the images")
    homes = [images_dir] if images_dir else dict.fromkeys([*folders, *(path.parent for path in named)])
    images = [path for home in homes for path in list_images(home) if path not in named]
    masks = named + [path for folder in folders for path in list_masks(folder, images)]
    found = _require_some(match_masks(images, masks, named=named), f"{inputs[0].resolve()} has no label map")
    found.problems.extend(found.describe_orphans(images_dir))
    found.orphans.clear()
    if not folders:
        found.unlabelled.clear()
    return found


def _require_some(found: Matches, fault: str) -> Matches:
    """Raise MissingInput when there is nothing to work on; a mask without its image is told as a problem."""
    if found.pairs or found.problems or found.orphans:
        return found
    n_images = len(found.unlabelled)
    some = f" of the {n_images} images ({_list_names(found.unlabelled)})" if n_images else ""
    example = found.unlabelled[0].stem if n_images else "NAME"
    raise MissingInput(
        f"{fault}{some}; it would be called {example}_mres.mat, {example}.png, {example}_mask.png ... and lie beside "
        "the image, or in a folder of its own: --images DIR --masks DIR"
    )


def find_masks(image_paths: Sequence[Path], masks_dir: Path | None = None) -> Matches:
    """Find the mask of each image, beside it or in a folder of masks.

    The order of preference: ``NAME_mres.mat`` (ours), ``NAME.mat``, a name that says what it is (``NAME_label.png``,
    ``NAME_mask.tif``, ``mask-NAME.png``, ``NAME_gtFine_color.png``), and ``NAME.png`` or ``NAME.tif``. An image
    is never taken for a mask, nor a result by machine.

    Raises
    ------
    MissingInput, BadInput
        When there is no such folder.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("a.jpg", "a_mask.png", "a_ares_96.mat", "b.jpg"):
    ...     (folder / name).touch()
    >>> found = find_masks(list_images(folder))
    >>> found.pairs[0].labels_path.name, [path.name for path in found.unlabelled]
    ('a_mask.png', ['b.jpg'])
    """
    homes = [masks_dir] if masks_dir else list(dict.fromkeys(path.parent for path in image_paths))
    return match_masks(image_paths, [path for home in homes for path in list_masks(home, image_paths)])


def list_masks(folder: Path, image_paths: Iterable[Path] = (), suffixes: Sequence[str] = _MASK_SUFFIXES) -> list[Path]:
    """List the files of a folder that may be masks. Where some of the images are in it, its photos are left out."""
    files, home = list_files(folder, suffixes), folder.resolve()
    # Not the links themselves: a photo and its mask may be links to one file.
    images = {path.parent.resolve() / path.name for path in image_paths}
    if any(path.parent == home for path in images):
        images.update(home / path.name for path in list_images(folder))
    return [path for path in files if home / path.name not in images]


def match_masks(
    image_paths: Iterable[Path],
    mask_paths: Iterable[Path],
    *,
    named: Container[Path] = (),
    by_machine: bool = False,
) -> Matches:
    """Match masks with images by name alone, see `find_masks`.

    Parameters
    ----------
    named : container of pathlib.Path
        Masks that are taken whatever they are called.
    by_machine : bool
        Also take annotations that are no masks (``.json``, ``.npz``), and results by machine where there is nothing
        made by hand.

    Examples
    --------
    >>> found = match_masks([Path("a.jpg"), Path("b.jpg")], [Path("a.png"), Path("a_mres.mat"), Path("c_mres.mat")])
    >>> [pair.labels_path.name for pair in found.pairs], found.unlabelled, found.orphans
    (['a_mres.mat'], [PosixPath('b.jpg')], [PosixPath('c_mres.mat')])
    """
    images: dict[str, list[Path]] = defaultdict(list)
    for path in image_paths:
        images[path.stem].append(path)
    best, orphans = find_best(images, mask_paths, named=named, by_machine=by_machine)
    found = Matches([], [], orphans, [])
    for stem, owners in images.items():
        masks = best.get(stem, [])
        names = ", ".join(path.name for path in (masks if len(masks) > 1 else owners))
        if not masks:
            found.unlabelled.extend(owners)
        elif len(masks) > 1:
            fault = f"has {len(masks)} label maps that are equally good ({names}); keep one of them in the folder"
            found.problems.append(Problem(str(owners[0]), fault))
        elif len(owners) > 1:
            found.problems.append(Problem(str(masks[0]), f"could belong to {names}; keep one of these images"))
        else:
            found.pairs.append(Pair(masks[0], owners[0]))
    return found


def find_best(
    stems: Container[str], paths: Iterable[Path], *, named: Container[Path] = (), by_machine: bool = False
) -> tuple[dict[str, list[Path]], list[Path]]:
    """Find the best labels of each image among files.

    Parameters
    ----------
    stems : container of str
        Names of the images, without suffix.
    named, by_machine
        As `match_masks`.

    Returns
    -------
    best : dict of str to list of pathlib.Path
        For each image that has some, those that are equally good.
    orphans : list of pathlib.Path
        Those of other images.
    """
    ranked: dict[str, dict[int, list[Path]]] = defaultdict(lambda: defaultdict(list))
    orphans = []
    for path in paths:
        stem = find_owner(path, stems)
        rank = -1 if path in named else _rank_labels(path, stem)
        is_usable = rank <= _BY_HAND and path.suffix.lower() in _MASK_SUFFIXES
        if not (is_usable or path in named or (by_machine and rank <= _BY_MACHINE)):
            continue
        if stem in stems:
            ranked[stem][rank].append(path)
        else:
            orphans.append(path)
    return {stem: ranks[min(ranks)] for stem, ranks in ranked.items()}, orphans


def _rank_labels(path: Path, stem: str) -> int:
    """Return how good a file is as the labels of an image, 0 the best."""
    suffix, kind = path.suffix.lower(), result_kind(path)
    if suffix not in (*ANNOTATION_SUFFIXES, *JPEG_SUFFIXES):
        return _NOTHING
    if suffix in JPEG_SUFFIXES:
        return _NOTHING if kind in MACHINE_KINDS else _BY_HAND
    if suffix in (".json", ".npz"):
        return 0 if path.stem == stem or kind == "doodles" else 5 if suffix == ".npz" else _NOTHING
    if path.stem == stem:
        return 2 if suffix == ".mat" else 4
    if kind in MACHINE_KINDS:
        return _BY_MACHINE
    # A .png of this name is the figure that goes with it.
    if kind == "mres" and not MASK_WORD.search(path.stem):
        return {".mat": 1, ".png": _NOTHING}.get(suffix, 3)
    is_named = kind in ("mres", "label", "gtfine") or (kind is None and MASK_WORD.search(path.stem))
    return 3 if is_named else _NOTHING


def find_annotations(folder: Path, image_path: Path) -> Path:
    """Find the file with the labels of an image, made with any tool, in a folder.

    Strokes and areas (``NAME.json``, ``NAME_doodles.json``, ``NAME.npz``) come before masks, in the order of
    `find_masks`; then come ``NAME_PERSON.npz`` of Doodler, results by machine, and last the only ``.json`` of the
    folder, as for COCO.

    Raises
    ------
    MissingInput, BadInput
        When there is none, or several are equally good.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("a.jpg", "a.json", "a_mres.mat", "b.json"):
    ...     (folder / name).touch()
    >>> find_annotations(folder, folder / "a.jpg").name
    'a.json'
    """
    paths = list_masks(folder, [image_path], ANNOTATION_SUFFIXES)
    found = match_masks([image_path], paths, by_machine=True)
    if found.problems:
        raise BadInput(f"{folder}: {found.problems[0]}")
    if found.pairs:
        return found.pairs[0].labels_path
    jsons = [p for p in paths if p.suffix.lower() == ".json"]
    if len(jsons) == 1 and result_kind(jsons[0]) is None:
        return jsons[0]
    stem = image_path.stem
    raise MissingInput(
        f"{folder} has no labels for {image_path.name}; it would be called {stem}.json, {stem}.npz, "
        f"{stem}_mres.mat or {stem}.png"
    )
