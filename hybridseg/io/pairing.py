"""Which files belong together, by name: an image, its label maps, and everything else that carries its name."""

from __future__ import annotations

import logging
import os
import re
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from hybridseg.errors import BadInput, MissingInput, one_line
from hybridseg.io.archives import list_archived
from hybridseg.io.geotiffs import COPIED_SUFFIXES
from hybridseg.io.images import describe_image
from hybridseg.io.labels.formats import ANNOTATION_SUFFIXES
from hybridseg.io.locks import is_in_leftover
from hybridseg.io.nameforms import compose, list_forms
from hybridseg.io.rasters import IMAGE_SUFFIXES
from hybridseg.io.sources import as_source, describe_source, is_remote, name_for_gdal, needs_copy
from hybridseg.io.textfiles import read_lines
from hybridseg.io.trusted import ADDRESS, PREFIX, as_found, is_trusted

logger = logging.getLogger(__name__)

MANIFEST_NAME, SPLIT_NAME = "tiles.csv", "split.csv"

# `photo_mres.mat`, `photo_ares_96.mat`, `photo_mres_SOMEONE.mat`, `photo_label.png`, `photo_gtFine_color.png`
_RESULT_NAME = re.compile(
    r"^(?P<stem>.+?)_(?P<kind>mres|ares|atiles|label|gtFine|report|doodles|predseg)(?=[_.]|$)", re.IGNORECASE
)
# Kinds of label maps that a program made.
MACHINE_KINDS = ("ares", "predseg")
# What the result of a dense network is called after its image, and with it refined by the CRF.
PREDSEG, PREDSEG_CRF = "predseg", "predseg_crf"
# What a mask is called after its image: `a_mask.png`, `a-labels.tif`, `mask a.png`, `a_mask2.png`. No letter touches
# the word, so a watermask is not a mask; a number behind it is its own: `img1_mask2` is not of `img12`.
_WORD = r"(?<![^\W\d_])(?P<{}>mask|label|gt|annotation)s?"
_MASK_WORD = re.compile(
    rf"^{_WORD.format('first')}(?![^\W\d_])[_\-. ]*|[_\-. ]*{_WORD.format('later')}\d*(?![^\W_])", re.IGNORECASE
)
# Where `label --annotator` keeps what each person made, in a folder of their own.
PEOPLE_DIR = "annotators"
JPEG_SUFFIXES = (".jpg", ".jpeg")
LABEL_SUFFIXES = (*ANNOTATION_SUFFIXES, *JPEG_SUFFIXES)
# Figures that evaluations write beside the images and masks.
_FIGURE_PREFIXES = ("eval_pixels_", "eval_tiles_")
_FIGURE_ENDINGS = ("_confusion", "_calibration", "_errors")
# Files that place or describe an image or a mask: they travel with it, or its georeference and its legend are lost.
_SIDECAR_SUFFIXES = (
    ".aux.xml", ".ovr", ".prj", ".wld", ".tfw", ".tifw", ".jgw", ".jpgw", ".pgw", ".pngw", ".xmp", ".qml",
)  # fmt: skip


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


def machine_ending(path: Path) -> str | None:
    """Return what the result of a model is called after its image; None for another file, such as a copy of one.

    Examples
    --------
    >>> [machine_ending(Path(f"a{end}")) for end in ("_ares_96.mat", "_ares_96_label.png", "_predseg_crf.png")]
    ['_ares_96.mat', None, '_predseg_crf.png']
    """
    kind, ending = result_kind(path), path.name[len(image_stem(path)) :]
    is_result = kind == "ares" and path.suffix.lower() == ".mat"
    return ending if is_result or ending in (f"_{PREDSEG}.png", f"_{PREDSEG_CRF}.png") else None


def is_figure(path: Path) -> bool:
    """Return whether a file is called like the figures of an evaluation."""
    return path.name.startswith(_FIGURE_PREFIXES) or (
        path.stem.endswith(_FIGURE_ENDINGS) and path.suffix in (".png", ".pdf", ".svg")
    )


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
    found = (as_found(p) for p in folder.iterdir() if p.name.lower().endswith(wanted) and not p.name.startswith("."))
    return sorted(keep_files(found), key=lambda p: p.name)


def keep_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the files among these; what is neither that nor a folder is named, for it may be missed."""
    for path in paths:
        if path.is_file():
            yield path
        elif os.path.lexists(path) and not path.is_dir():
            _name_left_out(path)


# A folder is listed several times.
@lru_cache(maxsize=10_000)
def _name_left_out(path: Path) -> None:
    what = "a link to nothing" if path.is_symlink() else "a pipe or device"
    logger.warning("%s is %s, not a file; it is left out", one_line(path), what)


def list_images(folder: Path) -> list[Path]:
    """List the photographs of a folder: image files other than results, figures of ours, and masks of other images."""
    return _leave_masks_out(path for path in list_files(folder, IMAGE_SUFFIXES) if _is_photo(path))


def _is_photo(path: Path) -> bool:
    return result_kind(path) is None and not path.name.startswith(".") and not is_figure(path)


def _leave_masks_out(paths: Iterable[Path]) -> list[Path]:
    """Leave out what is a mask of another of these: ``a_mask.png``, or ``a.png`` where ``a.jpg`` is the photo."""
    paths = list(paths)
    stems = {path: compose(path.stem) for path in paths}
    names: dict[tuple[Path, str], list[Path]] = {(path.parent, stem): [] for path, stem in stems.items()}
    for path, own in stems.items():
        stem = own if path.suffix.lower() in JPEG_SUFFIXES else strip_mask_word(own)
        if stem == own or (path.parent, stem) not in names:
            names[path.parent, own].append(path)
    photos: set[Path] = set()
    for group in names.values():
        ranks = [rank_photo(path) if len(group) > 1 else 0 for path in group]
        photos.update(path for path, rank in zip(group, ranks, strict=True) if rank == min(ranks))
    return [path for path in paths if path in photos]


def rank_photo(path: Path) -> int:
    """Return 0 for what can only be a photo, 1 for a picture in colours, 2 for one band of whole numbers or a palette.

    Of files with one name, the lowest are the photos, and the others are masks: a mask is never JPEG.
    """
    if path.suffix.lower() in JPEG_SUFFIXES:
        return 0
    is_png = path.suffix.lower() == ".png"
    try:
        info = describe_image(path)
    except (BadInput, MissingInput):
        # One in an archive is read in its turn.
        return int(is_png)
    return 2 if info.bands == 1 and "int" in info.dtype else int(is_png)


def find_images(inputs: Iterable[Path], *, remote: bool = False) -> list[Path]:
    """Find the photographs that are given by name, by folder or by a pattern such as ``photos/2016*.jpg``.

    A pattern that matches folders alone stands for the photographs in them.

    A text file (.txt) has a path, folder or pattern on each line, from the current folder or, where nothing is there,
    from that of the text file. A line that begins with ``#`` is a comment.

    Parameters
    ----------
    remote : bool
        Images may lie elsewhere, and be mosaics, see `hybridseg.io.remote`.

    Returns
    -------
    list of pathlib.Path
        Each once, however often it is named, in the order in which they are given. A file that is named is always
        taken.

    Raises
    ------
    MissingInput, BadInput
        When a name, folder or pattern matches nothing, or is not a valid pattern, or a text file names another one.
    """
    found: dict[tuple[str, str], Path] = {}
    for path in inputs:
        is_list = not is_remote(path) and path.suffix.lower() == ".txt" and path.is_file()
        images = _read_list(path) if is_list else _expand(path)
        if not remote and (other := next(filter(needs_copy, images), None)):
            raise BadInput(
                f"{describe_source(other)} is not a JPEG, PNG or TIFF image of this machine; `hybridseg segment` takes "
                "such images"
            )
        if wrong := next((image for image in images if "\0" in str(image)), None):
            raise BadInput(f"{path} names {str(wrong)!r}, as no file can be called; write a path on each line")
        if not images:
            raise _explain_nothing(path)
        for image in images:
            found.setdefault(_identify(image), image)
    return list(found.values())


def _identify(image: Path) -> tuple[str, str]:
    """Return what is the same for all paths to a file by one name: results are called after names."""
    return image.name, str(image) if is_remote(image) else os.path.realpath(image)


def _expand(path: Path) -> list[Path]:
    """Return what a name, a folder or a pattern stands for; nothing where that matches no image."""
    # The question mark of an address is none of a pattern.
    if is_trusted(path) and not ADDRESS.search(name := name_for_gdal(path)) and _is_pattern(pattern := Path(name)):
        return [as_source(f"{PREFIX}{one}") for one in _match_pattern(pattern)]
    if is_remote(path):
        if "*" in path.name and not is_trusted(path):
            raise BadInput(
                f"{describe_source(path)} is a pattern, and patterns work only for files on this machine; name each "
                "image, or a whole zip archive"
            )
        return _expand_archive(path) or [path]
    # First not by methods of Path, which fail for what no file can be called.
    if os.path.lexists(path) and path.is_dir():
        return list_images(path)
    if not _is_pattern(path):
        return [path]
    # Mosaics only where a pattern asks for them: their images lie beside them.
    named = path.suffix.lower()
    suffixes = (named,) if named in COPIED_SUFFIXES else IMAGE_SUFFIXES
    matches = keep_files(p for p in _match_pattern(path) if p.name.lower().endswith(suffixes))
    return _leave_masks_out(p for p in matches if _is_photo(p)) or _list_matched_folders(path)


def _expand_archive(path: Path) -> list[Path]:
    """Return the photographs that lie in an archive, or in a folder of it; nothing for any other path."""
    # A list may name a hundred thousand images, for which no archive is opened.
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return []
    found = [one for one in list_archived(path) if one.name.lower().endswith(IMAGE_SUFFIXES) and _is_photo(one)]
    here = _leave_masks_out(one for one in found if one.parent == path)
    if found and not here:
        raise MissingInput(
            f"{describe_source(path)} has no image itself, but its subfolders do; give "
            f"{describe_source(found[0].parent)}"
        )
    return here


def _is_pattern(path: Path) -> bool:
    return not is_remote(path) and any(sign in str(path) for sign in "*?[") and not os.path.lexists(path)


def _explain_nothing(path: Path, place: str = "") -> MissingInput:
    if path.is_dir() and (below := next(_find_below(path), None)):
        return MissingInput(
            f"{path}{place} has no image itself, but its subfolders do; give '{path}/**/*{below.suffix}', quoted"
        )
    advice = "name another file" if is_trusted(path) else f"images end in {', '.join(IMAGE_SUFFIXES)}"
    return MissingInput(f"{describe_source(path)}{place} matches no image; {advice}")


def _read_list(path: Path) -> list[Path]:
    lines = read_lines(path, remedy="give a text file with the path of an image on each line", errors="surrogateescape")
    texts = (line.strip() for line in lines)
    return [image for text in texts if text and not text.startswith("#") for image in _read_entry(path, text)]


def _read_entry(path: Path, text: str) -> list[Path]:
    """Return what a line of a text file stands for."""
    here = as_source(text)
    if is_remote(here):
        return _expand(here)
    beside = path.parent / here
    named = beside if os.path.lexists(beside) and not os.path.lexists(here) else here
    if named.suffix.lower() == ".txt" and os.path.lexists(named) and named.is_file():
        raise BadInput(f"{path} names another list, {named}; give each of them by itself")
    images = _expand(named) or (_expand(beside) if named == here != beside and _is_pattern(here) else [])
    if not images:
        raise _explain_nothing(named, f", a line of {path},")
    return images


def _list_matched_folders(pattern: Path) -> list[Path]:
    folders = (path for path in _match_pattern(pattern) if path.is_dir() and not path.name.startswith("."))
    return [image for folder in folders for image in list_images(folder)]


def _find_below(folder: Path) -> Iterator[Path]:
    found = (path for path in folder.glob("*/**/*") if path.suffix.lower() in IMAGE_SUFFIXES)
    return (path for path in found if _is_photo(path) and not is_in_leftover(path) and path.is_file())


def _match_pattern(pattern: Path) -> list[Path]:
    start = Path(pattern.anchor)
    try:
        found = sorted(path for path in start.glob(str(pattern.relative_to(start))) if not is_in_leftover(path))
        return list(map(as_found, found))
    except (ValueError, NotImplementedError) as error:
        raise BadInput(f"{pattern} is neither a file nor a pattern: {error}") from error


def find_owner(path: Path, stems: Container[str]) -> str:
    """Return the stem of the image that a mask belongs to: its whole name if there is one, otherwise a part of it."""
    if path.suffix.lower() == ".npz" and path.stem not in stems:
        # Doodler adds the name of the person.
        parts = path.stem.split("_")
        joined = ("_".join(parts[:n]) for n in range(len(parts) - 1, 0, -1))
        return _find_first(joined, stems) or path.stem
    stripped = strip_mask_word(path.stem)
    candidates = (path.stem, stripped, image_stem(path))
    return _find_first(candidates, stems) or candidates[1 if result_kind(path) is None else 2]


def _find_first(names: Iterable[str], stems: Container[str]) -> str | None:
    """Return the first of these names that an image has, in the Unicode form of the image."""
    return next((form for name in names for form in list_forms(name) if form in stems), None)


def strip_mask_word(stem: str) -> str:
    """Return the name of a mask without the word that says that it is one."""
    return _MASK_WORD.sub("", stem) or stem


def find_mask_words(name: str) -> set[str]:
    """Return the words of a name that say that it is one of masks: mask, label, gt or annotation, in the singular."""
    return {(match["first"] or match["later"]).lower() for match in _MASK_WORD.finditer(name)}


def name_sidecars(name: str) -> list[str]:
    """Return what files are called that place or describe an image, whose name is given with its suffix."""
    return [stem + suffix for suffix in _SIDECAR_SUFFIXES for stem in (name, Path(name).stem)]


def find_companions(image_paths: Sequence[Path], folder: Path) -> dict[Path, list[Path]]:
    """Find the files of a folder that belong to each image: label maps, reports, drawings, masks and georeference.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("a.jpg", "a_mres.mat", "a.png", "a.jgw", "ab_mres.mat"):
    ...     (folder / name).touch()
    >>> [path.name for path in find_companions([folder / "a.jpg"], folder)[folder / "a.jpg"]]
    ['a.jgw', 'a.png', 'a_mres.mat']
    """
    found: dict[Path, list[Path]] = {path: [] for path in image_paths}
    stems: dict[str, list[Path]] = defaultdict(list)
    names: dict[str, list[Path]] = defaultdict(list)
    for path in image_paths:
        stems[path.stem].append(path)
        for name in {path.stem.lower(), path.name.lower()}:
            names[name].append(path)
    photos = set(list_images(folder)) if any(path.parent == folder for path in image_paths) else set()
    for path in list_files(folder, ("",)):
        lower = path.name.lower()
        sidecar = next((suffix for suffix in _SIDECAR_SUFFIXES if lower.endswith(suffix)), "")
        if path in photos:
            continue
        owners: list[Path] = []
        if result_kind(path) is not None or lower.endswith(LABEL_SUFFIXES):
            owners = stems.get(find_owner(path, stems), [])
        elif sidecar:
            described = path.name[: -len(sidecar)]
            mask = described if described.lower().endswith(LABEL_SUFFIXES) else f"{described}.tif"
            owners = names.get(described.lower()) or stems.get(find_owner(Path(mask), stems), [])
        for owner in owners:
            found[owner].append(path)
    return found


def group_by_stem(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Group files by the name of their image, see `image_stem`."""
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        groups[image_stem(path)].append(path)
    return groups
