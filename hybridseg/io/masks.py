"""The mask of each image: beside it or in a folder of its own, in our names or in those of other tools."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from hybridseg.errors import BadInput, MissingInput, Problem
from hybridseg.io.annotations.formats import find_json_tool
from hybridseg.io.nameforms import compose
from hybridseg.io.pairing import (
    JPEG_SUFFIXES,
    LABEL_SUFFIXES,
    MACHINE_KINDS,
    PREDSEG,
    PREDSEG_CRF,
    SPLIT_NAME,
    Pair,
    find_images,
    find_mask_words,
    find_owner,
    is_figure,
    list_files,
    list_images,
    machine_ending,
    result_kind,
)
from hybridseg.io.rasters import IMAGE_SUFFIXES
from hybridseg.io.tables import read_csv
from hybridseg.markup import count_of

# Orders of preference among the kinds of labels that an image may have, see `_find_kind`; two of one kind are equally
# good. What is looked for decides: masks alone; what a person goes on with; what covers the most of an image.
MASKS = ("mres", "mat", "named", "plain", "jpeg")
_BY_MACHINE = ("result", "refined", "copy")
ANNOTATIONS = ("areas", "strokes", *MASKS[:-1], "person", *_BY_MACHINE)
CONVERTIBLE = ("areas", *MASKS, "person", "strokes", *_BY_MACHINE)
# How a command is told where the masks are.
_APART = "--images DIR --masks DIR"


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
    others : list of pathlib.Path
        JSON files that no labelling tool wrote.
    """

    pairs: list[Pair]
    unlabelled: list[Path]
    orphans: list[Path]
    problems: list[Problem]
    others: list[Path] = field(default_factory=list)

    def describe_orphans(self, where: str = "", images_dir: Path | None = None) -> list[Problem]:
        """Return a problem for each mask without an image, beside it or `where` the images were said to be."""
        found = []
        for path in self.orphans:
            wanted = [find_owner(path, ()) + suffix for suffix in IMAGE_SUFFIXES[:3]]
            fault = f"has no image in {where}" if where else "has no image beside it"
            if path.name in wanted and path.parent == (images_dir or path.parent):
                wanted.remove(path.name)
                fault += ", and a file cannot be its own image (if it is one, give its label map, or the folder)"
            names = f"{', '.join(wanted)} ..."
            advice = f"looked for {names}" if where else f"put it there ({names}) or give --images DIR"
            found.append(Problem(str(path), f"{fault}; {advice}"))
        return found

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
        if self.others:
            lines.append(f"JSON files without labels ({len(self.others)}): {_list_names(self.others)}")
        return lines


def _list_names(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths[:3]) + (" ..." if len(paths) > 3 else "")


def find_labelled(
    inputs: Iterable[Path],
    *,
    images_dir: Path | None = None,
    masks_dir: Path | None = None,
    order: Sequence[str] = MASKS,
) -> Matches:
    """Find images with their masks, whichever way a command was told where they are.

    A mask without an image is a problem when it was given by name, or when there is nothing else to work on; otherwise
    it is an orphan, as in a folder with the masks of more images than these.

    Parameters
    ----------
    inputs : iterable of pathlib.Path
        With `masks_dir` the images: folders, files or patterns. Otherwise folders of masks, or masks by name. None:
        `images_dir`, or the current folder.
    images_dir, masks_dir : pathlib.Path or None
        Default: images and masks lie side by side.
    order : sequence of str
        As `match_masks`. With `CONVERTIBLE`, the only COCO file is for every image that has nothing else.

    Raises
    ------
    MissingInput, BadInput
        When something is not there, no image has a mask, or the images were given twice.
    """
    inputs = list(inputs)
    if masks_dir is not None or not inputs:
        if inputs and images_dir is not None:
            raise BadInput(f"the images were given twice, as {inputs[0]} and as --images {images_dir}; leave one out")
        given = inputs or [images_dir or Path()]
        where = str(given[0]) if images_dir is None else f"{images_dir} (--images)"
        found = find_masks(find_images(given), masks_dir)
        return _require_some(found, f"{masks_dir or given[0].resolve()} has no mask", where)
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
    found = match_masks(images, masks, named=named, order=order)
    if order is CONVERTIBLE:
        found = _share_coco(found, named)
    where = f"{images_dir} (--images)" if images_dir else ""
    by_name = replace(found, orphans=[path for path in found.orphans if path in named])
    found = replace(
        found,
        problems=found.problems + by_name.describe_orphans(where, images_dir),
        orphans=[path for path in found.orphans if path not in named],
        unlabelled=found.unlabelled if folders else [],
    )
    apart = "--images DIR" if order is CONVERTIBLE else _APART
    return _require_some(found, f"{inputs[0].resolve()} has no label map", where, apart)


def _share_coco(found: Matches, named: Container[Path]) -> Matches:
    """Pair the only COCO file, which belongs to no single image, with every image that has nothing else.

    A JSON of no labelling tool is left out, unless it was given by name.
    """
    tools = {path: find_json_tool(path) for path in found.orphans if path.suffix.lower() == ".json"}
    orphans = [path for path in found.orphans if path in named or tools.get(path, "mask")]
    others = [path for path in found.orphans if path not in orphans]
    found = replace(found, orphans=orphans, others=others)
    shared = [path for path, tool in tools.items() if tool == "coco"]
    if len(shared) != 1:
        return found
    pairs = found.pairs + [Pair(shared[0], path) for path in found.unlabelled]
    return replace(found, pairs=pairs, unlabelled=[], orphans=[path for path in found.orphans if path not in shared])


def _require_some(found: Matches, fault: str, where: str, apart: str = _APART) -> Matches:
    """Return what was found, without pairs its orphans as problems; raise MissingInput when there is nothing."""
    if found.pairs:
        return found
    if found.problems or found.orphans:
        return replace(found, problems=found.problems + found.describe_orphans(where), orphans=[])
    n_images = len(found.unlabelled)
    some = f" of the {count_of(n_images, 'image')} ({_list_names(found.unlabelled)})" if n_images else ""
    jpegs = [p for p in found.unlabelled if p.suffix.lower() in JPEG_SUFFIXES and find_mask_words(p.stem)]
    advice = f"; {jpegs[0].name} counts as a photo: give JPEG masks by name to hybridseg convert" if jpegs else ""
    example = found.unlabelled[0].stem if n_images else "NAME"
    raise MissingInput(
        f"{fault}{some}; looked for {describe_wanted(example, order=MASKS)}, beside the image or in a folder of "
        f"its own: {'--masks DIR' if n_images and apart == _APART else apart}{advice}"
    )


def find_masks(image_paths: Sequence[Path], masks_dir: Path | None = None, *, word: str = "") -> Matches:
    """Find the mask of each image, beside it or in a folder of masks.

    The order of preference: ``NAME_mres.mat`` (ours), ``NAME.mat``, a name that says what it is (``NAME_label.png``,
    ``NAME_mask.tif``, ``mask-NAME.png``, ``NAME_gtFine_color.png``), and ``NAME.png`` or ``NAME.tif``. An image
    is never taken for a mask, nor a result by machine.

    Parameters
    ----------
    word : {"mask", "label", ""}
        Where the names of some masks say one and those of others the other, those that say this are taken.

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
    masks = [path for home in homes for path in list_masks(home, image_paths)]
    words = {path: find_mask_words(path.stem) for path in masks if word}
    if any(word in found for found in words.values()):
        masks = [path for path in masks if word in words[path] or not words[path] & {"mask", "label"}]
    return match_masks(image_paths, masks)


def list_masks(folder: Path, image_paths: Iterable[Path] = ()) -> list[Path]:
    """List the files that may be labels, of a folder and of the one in it that `split` has put masks into.

    Where some of the images are in the folder, its photos are left out.
    """
    files, home = list_files(folder, LABEL_SUFFIXES), folder.resolve()
    # Not the links themselves: a photo and its mask may be links to one file.
    images = {path.parent.resolve() / path.name for path in image_paths}
    if any(path.parent == home for path in images):
        images.update(home / path.name for path in list_images(folder))
    masks_dir = find_split_masks(folder)
    apart = list_files(masks_dir, LABEL_SUFFIXES) if masks_dir else []
    return [path for path in files if home / path.name not in images] + apart


def find_split_masks(folder: Path) -> Path | None:
    """Return the folder in ``train/`` or ``test/`` that `split` has put the masks into; None where there is none."""
    home = folder.resolve()
    list_path = home.parent / SPLIT_NAME
    with suppress(BadInput):  # A list of that name may be of another program.
        rows = read_csv(list_path, ("set", "masks_dir")) if list_path.exists() else []
        names = {Path(row["masks_dir"]).name for row in rows if row["set"] == home.name} - {"", ".."}
        return next((folder / name for name in sorted(names) if (folder / name).is_dir()), None)
    return None


def match_masks(
    image_paths: Iterable[Path],
    mask_paths: Iterable[Path],
    *,
    named: Container[Path] = (),
    order: Sequence[str] = MASKS,
) -> Matches:
    """Match masks with images by name alone, see `find_masks`.

    Parameters
    ----------
    named : container of pathlib.Path
        Masks that are taken whatever they are called.
    order : sequence of str
        The kinds of labels that are taken, the best first: `MASKS`, `ANNOTATIONS` or `CONVERTIBLE`.

    Examples
    --------
    >>> found = match_masks([Path("a.jpg"), Path("b.jpg")], [Path("a.png"), Path("a_mres.mat"), Path("c_mres.mat")])
    >>> [pair.labels_path.name for pair in found.pairs], found.unlabelled, found.orphans
    (['a_mres.mat'], [PosixPath('b.jpg')], [PosixPath('c_mres.mat')])
    """
    images: dict[str, list[Path]] = defaultdict(list)
    for path in image_paths:
        images[path.stem].append(path)
    best, orphans = find_best(images, mask_paths, named=named, order=order)
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
    stems: Container[str], paths: Iterable[Path], *, named: Container[Path] = (), order: Sequence[str] = MASKS
) -> tuple[dict[str, list[Path]], list[Path]]:
    """Find the best labels of each image among files.

    Parameters
    ----------
    stems : container of str
        Names of the images, without suffix.
    named, order
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
        kind = _find_kind(path, is_same=compose(path.stem) == compose(stem))
        if kind not in order and path not in named:
            continue
        if stem in stems:
            ranked[stem][-1 if path in named else order.index(kind)].append(path)
        else:
            orphans.append(path)
    return {stem: ranks[min(ranks)] for stem, ranks in ranked.items()}, orphans


def _find_kind(path: Path, *, is_same: bool) -> str:
    """Return which kind of labels a file is by its name, which may be that of the image; "" for what is none."""
    suffix, kind, words = path.suffix.lower(), result_kind(path), find_mask_words(path.stem)
    if suffix not in LABEL_SUFFIXES or is_figure(path):
        return ""
    if suffix in (".json", ".npz"):
        if is_same or (suffix == ".json" and words and kind in (None, "label")):
            return "areas"
        return "strokes" if kind == "doodles" else "person" if suffix == ".npz" else ""
    if suffix in JPEG_SUFFIXES:
        return "" if kind in MACHINE_KINDS else "jpeg"
    if is_same:
        return "mat" if suffix == ".mat" else "plain"
    if kind in MACHINE_KINDS:
        is_copy = path.stem.endswith(("_label", f"_{PREDSEG}", f"_{PREDSEG_CRF}"))
        refined = "refined" if path.stem.endswith(PREDSEG_CRF) else "result"
        return refined if machine_ending(path) else "copy" if is_copy else ""
    # A .png of this name is the figure that goes with it.
    if kind == "mres" and not words:
        return {".mat": "mres", ".png": ""}.get(suffix, "named")
    return "named" if kind in ("mres", "label", "gtfine") or (kind is None and words) else ""


def find_annotations(folder: Path, image_path: Path, *, order: Sequence[str] = ANNOTATIONS) -> Path:
    """Find the file with the labels of an image, made with any tool, in a folder.

    Strokes and areas (``NAME.json`` or ``NAME.npz``, then ``NAME_doodles.json``) come before masks, in the order of
    `find_masks`; then come ``NAME_PERSON.npz`` of Doodler, results by machine, and last the only ``.json`` of the
    folder, as for COCO.

    Parameters
    ----------
    order : sequence of str
        `MASKS` for masks alone.

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
    paths = list_masks(folder, [image_path])
    found = match_masks([image_path], paths, order=order)
    if found.problems:
        raise BadInput(f"{folder}: {found.problems[0]}")
    if found.pairs:
        return found.pairs[0].labels_path
    jsons = [p for p in paths if p.suffix.lower() == ".json"] if order is ANNOTATIONS else []
    if len(jsons) == 1 and result_kind(jsons[0]) is None:
        return jsons[0]
    wanted = describe_wanted(image_path.stem, order=order)
    raise MissingInput(f"{folder} has no labels for {image_path.name}; looked for {wanted}")


def describe_wanted(stem: str, *, order: Sequence[str] = ANNOTATIONS) -> str:
    """Return what `find_annotations` looks for, of an image of this name.

    Examples
    --------
    >>> describe_wanted("a", order=MASKS)
    'a_mres.mat, a.png, a_mask.png ...'
    """
    drawn = f"{stem}.json, {stem}.npz, {stem}_doodles.json, " if order is ANNOTATIONS else ""
    return f"{drawn}{stem}_mres.mat, {stem}.png, {stem}_mask.png ..."
