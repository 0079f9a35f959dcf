"""Which files belong together: an image, its label maps, and everything else that carries its name."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hybridseg.errors import BadInput, MissingInput, Problem
from hybridseg.io.images import IMAGE_SUFFIXES
from hybridseg.io.labels.formats import ANNOTATION_SUFFIXES

MANIFEST_NAME = "tiles.csv"

# `photo_mres.mat`, `photo_ares_96.mat`, `photo_mres_SOMEONE.mat`, `photo_label.png`, `photo_gtFine_color.png`
_RESULT_NAME = re.compile(
    r"^(?P<stem>.+?)_(?P<kind>mres|ares|atiles|label|gtFine|report|doodles|predseg)(?=[_.]|$)", re.IGNORECASE
)
# Figures that `eval-pixels` and `eval-tiles` write beside the images.
_FIGURE_PREFIXES = ("eval_pixels_", "eval_tiles_")
# Files that place or describe an image: they travel with it, or its georeference is lost.
_SIDECAR_SUFFIXES = (".aux.xml", ".ovr", ".prj", ".wld", ".tfw", ".tifw", ".jgw", ".jpgw", ".pgw", ".pngw", ".xmp")


@dataclass(frozen=True)
class Pair:
    """A label map and the image it belongs to."""

    labels_path: Path
    image_path: Path


def image_stem(path: Path) -> str:
    """Return the name of the image that a file belongs to: the part before ``_mres``, ``_ares``, ``_label``...

    Examples
    --------
    >>> image_stem(Path("D800_1-0_mres_DJWTNN2.mat")), image_stem(Path("D800_1-0.jpg"))
    ('D800_1-0', 'D800_1-0')
    """
    match = _RESULT_NAME.match(path.stem)
    return match["stem"] if match else path.stem


def result_kind(path: Path) -> str | None:
    """Return the kind of a result file: ``mres`` (by hand), ``ares`` (by machine), ``label``...; None for another file.

    ``atiles`` is the result of the tiles alone, before the CRF.
    """
    match = _RESULT_NAME.match(path.stem)
    return match["kind"].lower() if match else None


def list_files(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    """List the files of a folder with one of these suffixes in any case, sorted by name, hidden ones left out.

    Raises
    ------
    MissingInput
        When there is no such folder.
    """
    if not folder.exists():
        raise MissingInput(f"there is no folder {folder}")
    if not folder.is_dir():
        raise BadInput(f"{folder} is a file; give the folder that it is in")
    wanted = tuple(suffixes)
    found = (p for p in folder.iterdir() if p.name.lower().endswith(wanted) and not p.name.startswith("."))
    return sorted((p for p in found if p.is_file()), key=lambda p: p.name)


def list_results(folder: Path, kind: str) -> list[Path]:
    """List the ``.mat`` results of a kind (see `result_kind`) in a folder."""
    return [path for path in list_files(folder, (".mat",)) if result_kind(path) == kind]


def list_images(folder: Path) -> list[Path]:
    """List the photographs of a folder: image files other than results (``NAME_mres.png``) and figures of ours."""
    return [path for path in list_files(folder, IMAGE_SUFFIXES) if _is_photo(path)]


def _is_photo(path: Path) -> bool:
    return result_kind(path) is None and not path.name.startswith((".", *_FIGURE_PREFIXES))


def find_images(inputs: Iterable[Path]) -> list[Path]:
    """Find the photographs that are given by name, by folder or by a pattern such as ``photos/2016*.jpg``.

    Returns
    -------
    list of pathlib.Path
        Each once, in the order in which they are given. A file that is named is always taken.

    Raises
    ------
    MissingInput, BadInput
        When a name, folder or pattern matches nothing, or is not a valid pattern.
    """
    found: dict[Path, None] = {}
    for path in inputs:
        if path.is_dir():
            images = list_images(path)
        elif path.exists() or not any(sign in str(path) for sign in "*?["):
            images = [path]
        else:
            matches = _match_pattern(path)
            images = [p for p in matches if p.name.lower().endswith(IMAGE_SUFFIXES) and _is_photo(p) and p.is_file()]
        if not images:
            raise MissingInput(f"{path} matches no image; images end in {', '.join(IMAGE_SUFFIXES)}")
        found.update(dict.fromkeys(images))
    return list(found)


def _match_pattern(pattern: Path) -> list[Path]:
    start = Path(pattern.anchor)
    try:
        return sorted(start.glob(str(pattern.relative_to(start))))
    except (ValueError, NotImplementedError) as error:
        raise BadInput(f"{pattern} is neither a file nor a pattern: {error}") from error


def find_label_maps(inputs: Iterable[Path]) -> list[Path]:
    """Find the label maps that are given: files as they are, and of a folder those made by hand.

    Raises
    ------
    MissingInput
        When there is no such file, or a folder has no ``NAME_mres.mat``.
    """
    found: dict[Path, None] = {}
    for path in inputs:
        if not path.exists():
            raise MissingInput(f"there is no file or folder {path}")
        label_paths = list_results(path, "mres") if path.is_dir() else [path]
        if not label_paths:
            raise MissingInput(
                f"{path.resolve()} has no label map (NAME_mres.mat); give another folder, or the label maps "
                "themselves (.mat, .png, .tif)"
            )
        found.update(dict.fromkeys(label_paths))
    return list(found)


def find_images_of(label_paths: Iterable[Path], images_dir: Path | None = None) -> list[Path]:
    """List the candidate images of some label maps: those in a folder, or beside the label maps."""
    label_paths = set(label_paths)
    folders = {images_dir} if images_dir else {path.parent for path in label_paths}
    return [path for folder in sorted(folders) for path in list_images(folder) if path not in label_paths]


def find_companions(image_path: Path) -> list[Path]:
    """Find the files that belong to an image: its label maps, reports, drawings and georeference.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("a.jpg", "a_mres.mat", "a.jgw", "ab_mres.mat"):
    ...     (folder / name).touch()
    >>> [path.name for path in find_companions(folder / "a.jpg")]
    ['a.jgw', 'a_mres.mat']
    """
    stem, sidecar_stems = image_path.stem, (image_path.stem, image_path.name)
    found = []
    for path in image_path.parent.iterdir():
        if path == image_path or path.name.startswith(".") or not path.is_file():
            continue
        is_result = result_kind(path) is not None and image_stem(path) == stem
        is_sidecar = any(path.name.lower() == s.lower() + suffix for s in sidecar_stems for suffix in _SIDECAR_SUFFIXES)
        if is_result or is_sidecar:
            found.append(path)
    return sorted(found, key=lambda p: p.name)


def find_strokes_file(folder: Path, image_path: Path) -> Path:
    """Find the file for an image in a folder of labels.

    The first of these that exists: its name with another suffix (not the image itself), its
    ``_doodles.json``, ``_mres.mat``, ``_ares_TILE.mat``, a picture (``_label``, ``_gtFine_color``, ``_predseg``,
    ``_predseg_crf``), the ``.npz`` of Doodler (``NAME_PERSON.npz``), and last the only ``.json`` of the folder, as for
    COCO.

    Raises
    ------
    MissingInput, BadInput
        When there is none, or several of the same kind.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("a.jpg", "a.json", "a_mres.mat", "b.json"):
    ...     (folder / name).touch()
    >>> find_strokes_file(folder, folder / "a.jpg").name
    'a.json'
    """
    stem = image_path.stem
    paths = [p for p in list_files(folder, ANNOTATION_SUFFIXES) if p.resolve() != image_path.resolve()]
    own = [p for p in paths if image_stem(p) == stem]
    maps = [p for p in own if p.suffix.lower() == ".mat"]
    jsons = [p for p in paths if p.suffix.lower() == ".json"]
    tiers = (
        [p for p in own if p.stem == stem],
        [p for p in own if result_kind(p) == "doodles"],
        [p for p in maps if result_kind(p) == "mres"],
        [p for p in maps if result_kind(p) == "ares"],
        [p for p in own if p not in maps and p.stem.endswith(("_label", "_gtFine_color", "_predseg", "_predseg_crf"))],
        [p for p in paths if p.suffix.lower() == ".npz" and p.stem.startswith(f"{stem}_")],
        jsons if len(jsons) == 1 and result_kind(jsons[0]) is None else [],
    )
    found = next((tier for tier in tiers if tier), [])
    if len(found) > 1:
        names = ", ".join(p.name for p in found[:5])
        raise BadInput(f"{folder} has several files for {image_path.name} ({names}); give one of them by name")
    if not found:
        raise MissingInput(
            f"{folder} has no labels for {image_path.name}; it would be called {stem}.json, {stem}.npz, "
            f"{stem}_mres.mat or {stem}.png"
        )
    return found[0]


def pair_labels_with_images(
    label_paths: Iterable[Path], image_paths: Iterable[Path]
) -> tuple[list[Pair], list[Problem]]:
    """Find the image of each label map by its stem.

    Returns
    -------
    pairs : list of Pair
        In the order of the label maps.
    problems : list of Problem
        Each label map without an image, or with several, and each image with several label maps.

    Examples
    --------
    >>> pairs, problems = pair_labels_with_images(
    ...     [Path("a_mres.mat"), Path("b_mres.mat")], [Path("a.jpg")])
    >>> [pair.image_path.name for pair in pairs], [problem.where for problem in problems]
    (['a.jpg'], ['b_mres.mat'])
    """
    images_by_stem = group_by_stem(image_paths)
    labels_by_stem = group_by_stem(label_paths)
    pairs, problems = [], []
    for stem, labels in labels_by_stem.items():
        images = images_by_stem.get(stem, [])
        if len(labels) > 1:
            names = ", ".join(path.name for path in labels)
            problems.append(Problem(stem, f"has {len(labels)} label maps ({names}); keep one of them in the folder"))
        elif not images:
            wanted = ", ".join(stem + suffix for suffix in IMAGE_SUFFIXES[:3])
            problems.append(
                Problem(str(labels[0]), f"has no image beside it; put it there ({wanted} ...) or give --images DIR")
            )
        elif len(images) > 1:
            names = ", ".join(path.name for path in images)
            problems.append(Problem(str(labels[0]), f"could belong to {names}; keep one of these images"))
        else:
            pairs.append(Pair(labels[0], images[0]))
    return pairs, problems


def group_by_stem(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Group files by the name of their image, see `image_stem`."""
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        groups[image_stem(path)].append(path)
    return groups
