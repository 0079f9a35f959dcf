"""A first config for a folder of images: what can be read off the files, with the reason for each value."""

from __future__ import annotations

import math
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from hybridseg.classes import VOID
from hybridseg.dense.programs.resunetconfig import ResunetConfig
from hybridseg.dense.programs.resunetkeys import KEYS, Span, find_key
from hybridseg.draw import count_share, shuffle_names
from hybridseg.errors import BadInput, HybridSegError, MissingInput, Problem
from hybridseg.io.images import IMAGE_SUFFIXES, ImageInfo, describe_image
from hybridseg.io.labels.formats import LABELMAP_SUFFIXES, read_labelmap
from hybridseg.io.pairing import image_stem, list_files, list_images, result_kind
from hybridseg.io.rasters import open_raster
from hybridseg.progress import Progress, no_progress

_MAX_IMAGES, _MAX_LABEL_MAPS = 200, 50
_MAX_AREA = 512 * 768
# As many pixels in a step as four images of the largest area have.
_BATCH_AREA, _MAX_BATCH = 4 * _MAX_AREA, 16
_WANTED_SAMPLES, _MAX_COPIES = 300, 5
_SIDES, _LENGTHS = (cast(Span, find_key(name).span) for name in ("TARGET_SIZE", "ROOT_STRING"))
# As a word of its own: a watermask is no mask, and what is unlabelled has no label.
_NAME_WORD = re.compile(r"(?<![^\W_\d])(mask|label)s?(?![^\W_\d])", re.IGNORECASE)


@dataclass(frozen=True)
class Proposal:
    """A config, the reason for each value that is no mere default (by key), and the files that could not be read."""

    config: ResunetConfig
    reasons: dict[str, str]
    problems: tuple[Problem, ...] = ()


def propose_config(
    images_dir: str | os.PathLike[str],
    labels_dir: str | os.PathLike[str] | None = None,
    *,
    progress: Progress = no_progress,
) -> Proposal:
    """Look at a folder of images, and one of label maps, and propose how to train on them.

    Parameters
    ----------
    images_dir : path-like
        At most 200 of its images are looked at, drawn by hash; none is decoded.
    labels_dir : path-like or None
        Up to 50 of its label maps are read. May be the same folder.
    progress : callable

    Returns
    -------
    Proposal

    Raises
    ------
    MissingInput
        When there is no such folder, or no image or label map in it.
    BadInput
        When no file can be read, or the images differ in their number of bands.

    Examples
    --------
    >>> import tempfile
    >>> from hybridseg.io.images import write_image
    >>> folder = Path(tempfile.mkdtemp()) / "beach"
    >>> folder.mkdir()
    >>> write_image(folder / "a.png", np.zeros((70, 100, 3), np.uint8))
    >>> proposal = propose_config(folder)
    >>> proposal.config.target_size, proposal.config.n_data_bands, proposal.config.root_string
    ((64, 96), 3, 'beach')
    """
    folder = Path(images_dir)
    labels_folder = None if labels_dir is None else Path(labels_dir)
    image_paths = list_images(folder)
    label_paths = [] if labels_folder is None else _list_label_maps(labels_folder, image_paths)
    taken = {path.resolve() for path in label_paths}
    image_paths = [path for path in image_paths if path.resolve() not in taken]
    if not image_paths:
        raise MissingInput(f"{folder} has no image; images end in {', '.join(IMAGE_SUFFIXES)}")
    problems: list[Problem] = []
    infos = _describe_images(image_paths, problems, progress)
    values, reasons = _propose_classes(labels_folder, label_paths, problems, progress)
    n_images = len({image_stem(path) for path in label_paths}) or len(image_paths)
    more_values, more_reasons = _propose_training(infos, n_images)
    name, reason = _propose_name(folder)
    values |= {"N_DATA_BANDS": _find_bands(infos), "ROOT_STRING": name, **more_values}
    reasons |= {
        "N_DATA_BANDS": f"Each of the {len(infos)} images looked at has {_count(values['N_DATA_BANDS'], 'band')}.",
        "ROOT_STRING": reason,
        **more_reasons,
    }
    config = ResunetConfig(**{key.field_name: values[key.name] for key in KEYS if key.name in values})
    return Proposal(config, {key.name: reasons[key.name] for key in KEYS if key.name in reasons}, tuple(problems))


def fit_target_size(rows: float, cols: float) -> tuple[int, int]:
    """Choose the size to train at: near the aspect ratio of an image, not larger than it, and of a bearable area.

    Parameters
    ----------
    rows, cols : float
        Of the image, 32 at least.

    Returns
    -------
    tuple of int
        Rows and columns, valid as TARGET_SIZE.

    Examples
    --------
    >>> fit_target_size(3000, 4000), fit_target_size(64, 100)
    ((480, 640), (64, 96))
    """
    least, step = int(_SIDES.low), _SIDES.step
    cap = min(_MAX_AREA, rows * cols)
    best, best_cost = (least, least), math.inf
    for high in range(least, _floor_side(rows) + 1, step):
        widest = min(_floor_side(cols), _floor_side(cap / high))
        below = min(_floor_side(high * cols / rows), widest)
        for wide in {below, min(below + step, widest)}:
            if wide < least:
                continue
            # A ratio that is off by 1 % weighs as much as a tenth of the pixels.
            cost = abs(math.log(wide * rows / (high * cols))) + 0.1 * (1 - high * wide / cap)
            if cost < best_cost:
                best, best_cost = (high, wide), cost
    return best


def _floor_side(side: float) -> int:
    """Give the largest valid side that is not above one; 0 when there is none."""
    return int(min(side, _SIDES.high)) // _SIDES.step * _SIDES.step


def _count(n: int, thing: str) -> str:
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


def _draw(paths: Sequence[Path], n: int) -> list[Path]:
    """Draw files at random, the same on every machine; given in the order of their names."""
    by_name = {path.name: path for path in paths}
    return [by_name[name] for name in sorted(shuffle_names(by_name, seed=0)[:n])]


def _list_label_maps(folder: Path, image_paths: Iterable[Path]) -> list[Path]:
    """List the label maps of a folder; where it also holds the images, the names tell them apart."""
    found = [p for p in list_files(folder, LABELMAP_SUFFIXES) if result_kind(p) in (None, "mres", "label")]
    images = {path.resolve() for path in image_paths}
    found = [path for path in found if path.resolve() not in images or _NAME_WORD.search(path.stem)]
    if found:
        return found
    hint = ""
    if any(path.resolve() not in images for path in list_files(folder, (".jpg", ".jpeg"))):
        hint = "; JPEG does not keep class ids, so save label maps as PNG"
    raise MissingInput(f"{folder} has no label map; label maps end in {', '.join(LABELMAP_SUFFIXES)}{hint}")


def _describe_images(paths: Sequence[Path], problems: list[Problem], progress: Progress) -> list[tuple[ImageInfo, int]]:
    """Read the headers of some images; give each with the number of its bands once decoded."""
    infos = []
    for path in progress(_draw(paths, _MAX_IMAGES), label="looking at images"):
        try:
            info = describe_image(path)
            infos.append((info, _count_bands(info)))
        except HybridSegError as error:
            problems.append(Problem.of(path, error))
    if not infos:
        raise BadInput(f"no image can be read; the first: {problems[0]}")
    return infos


def _count_bands(info: ImageInfo) -> int:
    if info.bands > 1:
        return info.bands
    with open_raster(info.path) as dataset:
        # Decoded, a palette is red, green and blue.
        return 3 if dataset.colorinterp[0].name == "palette" else 1


def _find_bands(infos: Sequence[tuple[ImageInfo, int]]) -> int:
    first, n_bands = infos[0]
    for info, other in infos:
        if other != n_bands:
            raise BadInput(
                f"the images differ in bands: {first.path} has {n_bands}, {info.path} has {other}; keep images of "
                "one kind in the folder"
            )
    return n_bands


def _propose_training(infos: Sequence[tuple[ImageInfo, int]], n_images: int) -> tuple[dict[str, Any], dict[str, str]]:
    """Propose what follows from the size and the number of the images."""
    rows, cols = (float(np.median([getattr(info, side) for info, _ in infos])) for side in ("rows", "cols"))
    least = int(_SIDES.low)
    if min(rows, cols) < least:
        raise BadInput(f"the images have {rows:g} x {cols:g} pixels, but the smallest TARGET_SIZE is {least} x {least}")
    high, wide = fit_target_size(rows, cols)
    share = 0.5 if n_images < 4 else 0.25 if n_images < 500 else 0.4
    # At least one image stays to learn from, whatever the share.
    n_train = max(1, n_images - max(1, count_share(n_images, share)))
    batch = max(1, min(_BATCH_AREA // (high * wide), _MAX_BATCH, n_train))
    copies = min(_MAX_COPIES, math.ceil(_WANTED_SAMPLES / n_train))
    fastest, slowest = (1e-3, 1e-5) if batch >= 4 else (5e-4, 5e-6)
    values = {
        "TARGET_SIZE": (high, wide),
        "BATCH_SIZE": batch,
        "VALIDATION_SPLIT": share,
        "AUG_COPIES": copies,
        "START_LR": slowest,
        "MIN_LR": slowest,
        "MAX_LR": fastest,
    }
    images = _count(n_images, "image")
    how = "steady enough for" if batch >= 4 else "unsteady, so that it takes no more than"
    return values, {
        "TARGET_SIZE": f"The median image has {rows:g} x {cols:g} pixels (of {len(infos)} looked at); {high} x {wide} "
        f"is near its shape, in multiples of {_SIDES.step}, and has at most {_MAX_AREA:,} pixels.",
        "BATCH_SIZE": f"{batch} x {high} x {wide} pixels fit the memory of a laptop; there are {images}.",
        "VALIDATION_SPLIT": f"Of {images}, {share:g} for validation leaves about {n_train} to learn from.",
        "AUG_COPIES": f"{copies} of each of about {_count(n_train, 'image')} make {copies * n_train} samples an epoch.",
        "START_LR": f"A hundredth of MAX_LR={fastest:g}, so that training begins gently.",
        "MIN_LR": f"The same as START_LR={slowest:g}.",
        "MAX_LR": f"Training in steps of {_count(batch, 'image')} is {how} {fastest:g}; try a tenth if the loss jumps.",
    }


def _propose_classes(
    folder: Path | None, paths: Sequence[Path], problems: list[Problem], progress: Progress
) -> tuple[dict[str, Any], dict[str, str]]:
    """Propose NCLASSES, REMAP_CLASSES and USEMASK from the label maps."""
    if folder is None:
        return {"NCLASSES": 1}, {"NCLASSES": "No label maps were given, so one class against the rest is supposed."}
    n_named, found, n_read, first_problem = 0, np.zeros(VOID + 1, bool), 0, len(problems)
    for path in progress(_draw(paths, _MAX_LABEL_MAPS), label="reading label maps"):
        try:
            labelmap = read_labelmap(path, with_seeds=False)
        except HybridSegError as error:
            problems.append(Problem.of(path, error))
            continue
        n_read += 1
        n_named = max(n_named, len(labelmap.table) if labelmap.table else 0)
        found |= np.bincount(labelmap.labels.ravel(), minlength=VOID + 1) > 0
    if not n_read:
        raise BadInput(f"no label map can be read; the first: {problems[first_problem]}")
    values, reasons = _judge_ids(np.flatnonzero(found).tolist(), n_named, n_read)
    values["USEMASK"], reasons["USEMASK"] = _judge_names(folder, paths)
    return values, reasons


def _judge_ids(ids: list[int], n_named: int, n_read: int) -> tuple[dict[str, Any], dict[str, str]]:
    listed = ", ".join(map(str, ids if len(ids) <= 12 else [*ids[:10], "...", ids[-1]]))
    seen = f"{_count(n_read, 'label map')} read: {'the value' if len(ids) == 1 else 'the values'} {listed}"
    classes = [i for i in ids if i != VOID]
    highest = max([*classes, n_named - 1])
    if VOID in ids and highest < 1 and not n_named:
        reason = f"{seen}; {VOID} is taken for the class and 0 for the rest."
        return {"NCLASSES": 1, "REMAP_CLASSES": {VOID: 1}}, {"NCLASSES": reason, "REMAP_CLASSES": reason}
    n_classes = max(1, highest)
    names = f", and {n_named} named classes" if n_named else ""
    what = "one class against the rest" if n_classes == 1 else f"ids go from 0 to {n_classes}"
    void = f" ({VOID} is no class)" if VOID in ids else ""
    absent = n_classes + 1 - len(classes)
    gaps = f" {absent} of these ids did not occur; REMAP_CLASSES can close gaps." if absent and not n_named else ""
    return {"NCLASSES": n_classes}, {"NCLASSES": f"{seen}{names}; {what}{void}.{gaps}"}


def _judge_names(folder: Path, paths: Sequence[Path]) -> tuple[bool, str]:
    """Tell whether label files say 'mask', and why."""
    words = [match[1].lower() for path in paths if (match := _NAME_WORD.search(path.stem))]
    n_mask, n_label = words.count("mask"), words.count("label")
    where = f"{n_mask} of {_count(len(paths), 'label file')} say 'mask' in the name, {n_label} say 'label'"
    if not words and (match := _NAME_WORD.search(folder.resolve().name)):
        return match[1].lower() == "mask", f"{where}; the folder says {match[1].lower()!r}."
    return n_mask > n_label, f"{where}."


def _propose_name(folder: Path) -> tuple[str, str]:
    name = folder.resolve().name
    safe = re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", name)).lstrip(".")[: int(_LENGTHS.high)].strip("_")
    if not safe:
        return find_key("ROOT_STRING").default, f"The name of the folder, {name!r}, gives no file name."
    return safe, f"The images are in a folder named {name!r}."
