"""Propose a first config for a folder of images: what can be read off the files, with the reason for each value."""

from __future__ import annotations

import math
import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.classes import VOID, ClassTable, count_labels
from hybridseg.dense.datasets import enter_places, read_mask
from hybridseg.dense.pairs import SIDES, fit_size
from hybridseg.dense.programs.config import KEYS, NAME_LENGTH, ResunetConfig, config_record
from hybridseg.dense.programs.resunet import describe_network, load_resunet, try_refinement
from hybridseg.draw import count_share, shuffle_names
from hybridseg.errors import BadInput, HybridSegError, MissingInput, Problem, count_problems
from hybridseg.forecast import UNKNOWN, followed_by
from hybridseg.io.images import ImageInfo, describe_image
from hybridseg.io.labels.formats import LABELMAP_SUFFIXES
from hybridseg.io.masks import find_best, find_masks, list_masks
from hybridseg.io.pairing import JPEG_SUFFIXES, find_mask_words, list_images
from hybridseg.io.rasters import IMAGE_SUFFIXES, open_raster
from hybridseg.markup import count_of, render_table, render_text
from hybridseg.progress import Progress, no_progress

_MAX_IMAGES, _MAX_LABEL_MAPS = 200, 50
# As in the run of docs/benchmarks.md, which takes 16 minutes on two cores: 25 epochs of 318 samples. Fewer photographs
# have more copies and epochs, up to these.
MAX_AREA = 256 * 256
_SAMPLES_OF_EPOCH, _MAX_COPIES = 300, 5
_SAMPLES, _MAX_EPOCHS = 8000, 100

# The value of each field that is proposed, and the reason.
Findings = dict[str, tuple[Any, str]]


@dataclass(frozen=True)
class Proposal:
    """A config, the reason for each value that is not just a default (by key), and the files that cannot be read."""

    config: ResunetConfig
    reasons: dict[str, str]
    problems: tuple[Problem, ...] = ()

    def __repr__(self) -> str:
        config = self.config
        size = "TARGET_SIZE {} x {}".format(*config.target_size)
        return f"<Proposal: {size}, NCLASSES {config.nclasses}{count_problems(self.problems)}>"

    def _repr_html_(self) -> str:
        rows = [(key, self.record[key], reason) for key, reason in self.reasons.items()]
        return render_table(("key", "value", "because"), rows) + render_text(*self.problems)

    @property
    def record(self) -> dict[str, Any]:
        """The config as a JSON file has it, by key."""
        return config_record(self.config)


def propose_config(
    images_dir: str | os.PathLike[str],
    masks_dir: str | os.PathLike[str] | None = None,
    weights_path: Path | None = None,
    *,
    table: ClassTable | None = None,
    progress: Progress = no_progress,
) -> Proposal:
    """Inspect a folder of images, and one of masks, and propose how to train on them.

    Parameters
    ----------
    images_dir : path-like
        Only the headers of its images are read, of at most 200 that are drawn by hash.
    masks_dir : path-like or None
        Up to 50 of its masks are read. Default: beside the images, if any are there.
    weights_path : pathlib.Path or None
        A residual U-Net that was trained on these images: the config fits it, and whether the CRF helps is tried on
        images that it was not trained on.
    table : ClassTable or None
        The classes of masks that do not name theirs.

    Raises
    ------
    MissingInput
        When there is no such folder, or no image or label map in it.
    BadInput
        When no file can be read, the images differ in their number of bands, or the network does not fit them.

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
    folder, masks_folder = enter_places(Path(images_dir), None if masks_dir is None else Path(masks_dir))
    image_paths = list_images(folder)
    if not image_paths:
        raise MissingInput(f"{folder} has no image; images end in {', '.join(IMAGE_SUFFIXES)}")
    problems: list[Problem] = []
    infos = _describe_images(image_paths, problems, followed_by(progress, UNKNOWN))
    naming = _propose_word(image_paths, masks_folder)
    masks = _list_masks(image_paths, masks_folder, is_given=masks_dir is not None, naming=naming, problems=problems)
    later = 0.0 if weights_path is None else UNKNOWN
    found = _propose_classes(masks, naming, table, problems, followed_by(progress, later))
    n_images = len(masks) or len(image_paths)
    found |= _propose_bands(infos) | _propose_name(folder) | _propose_training(infos, n_images)
    if weights_path is not None and not masks:
        raise MissingInput(f"{masks_folder} has no mask of the images to try {weights_path} on; give --masks DIR")
    found |= _propose_refinement(found, folder, masks_folder, weights_path, table, progress)
    config = ResunetConfig(**{name: value for name, (value, _) in found.items()})
    reasons = {key: found[key.lower()][1] for key in KEYS if key.lower() in found}
    return Proposal(config, reasons, tuple(problems))


def _draw(paths: Sequence[Path], n: int) -> list[Path]:
    """Draw files at random, the same on every machine, and return them in the order of their names."""
    by_name = {path.name: path for path in paths}
    return [by_name[name] for name in sorted(shuffle_names(by_name, seed=0)[:n])]


def _list_masks(
    image_paths: Sequence[Path], folder: Path, *, is_given: bool, naming: Findings, problems: list[Problem]
) -> list[Path]:
    """List the masks of the images, and those of images that are not there: they tell of the classes too."""
    found = find_masks(image_paths, folder, word="mask" if naming["usemask"][0] else "label")
    problems += found.problems
    orphans = [path for path in found.orphans if path.suffix.lower() not in JPEG_SUFFIXES]
    masks = [pair.labels_path for pair in found.pairs] + orphans
    if not masks and (is_given or found.problems):
        reason = f"; the first that cannot be used: {problems[0]}" if found.problems else ""
        raise MissingInput(f"{folder} has no label map; label maps end in {', '.join(LABELMAP_SUFFIXES)}{reason}")
    return sorted(masks)


def _describe_images(paths: Sequence[Path], problems: list[Problem], progress: Progress) -> list[tuple[ImageInfo, int]]:
    """Read the headers of some images; return each with its number of bands once decoded."""
    infos = []
    for path in progress(_draw(paths, _MAX_IMAGES), label="inspecting images"):
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
        return info.n_colors
    with open_raster(info.path) as dataset:
        # A palette is decoded to red, green and blue.
        return 3 if dataset.colorinterp[0].name == "palette" else 1


def _propose_bands(infos: Sequence[tuple[ImageInfo, int]]) -> Findings:
    first, n_bands = infos[0]
    for info, other in infos:
        if other != n_bands:
            raise BadInput(
                f"the images differ in bands: {first.path} has {n_bands}, {info.path} has {other}; keep images of "
                "one kind in the folder"
            )
    return {"n_data_bands": (n_bands, f"Each of the {len(infos)} images inspected has {count_of(n_bands, 'band')}.")}


def _propose_training(infos: Sequence[tuple[ImageInfo, int]], n_images: int) -> Findings:
    """Propose what follows from the size and the number of the images."""
    rows, cols = (float(np.median([getattr(info, side) for info, _ in infos])) for side in ("rows", "cols"))
    least = int(SIDES.low)
    if min(rows, cols) < least:
        raise BadInput(f"the images have {rows:g} x {cols:g} pixels, but the smallest TARGET_SIZE is {least} x {least}")
    high, wide = fit_size(rows, cols, max_area=MAX_AREA)
    share = 0.5 if n_images < 4 else 0.25 if n_images < 40 else ResunetConfig.validation_split
    # At least one image is left to train on, whatever the share.
    n_train = max(1, n_images - max(1, count_share(n_images, share)))
    batch = min(ResunetConfig.batch_size, n_train)
    copies = min(_MAX_COPIES, math.ceil(_SAMPLES_OF_EPOCH / n_train))
    epochs = min(max(round(_SAMPLES / (copies * n_train)), ResunetConfig.max_epochs), _MAX_EPOCHS)
    peak = ResunetConfig.max_lr if batch == ResunetConfig.batch_size else ResunetConfig.max_lr / 2
    images = count_of(n_images, "image")
    how = "steady enough for" if batch == ResunetConfig.batch_size else "too unsteady for more than"
    return {
        "target_size": (
            (high, wide),
            f"The median image has {rows:g} x {cols:g} pixels (of {len(infos)} inspected); {high} x {wide} is near its "
            f"shape, in multiples of {SIDES.step}, and has at most {MAX_AREA:,} pixels, so that training takes minutes "
            "without a graphics card.",
        ),
        "batch_size": (batch, f"{batch} at a time, of {images}."),
        "validation_split": (share, f"Of {images}, {share:g} for validation leaves about {n_train} to train on."),
        "aug_copies": (
            copies,
            f"{copies} of each of about {count_of(n_train, 'image')} make {count_of(copies * n_train, 'sample')} an "
            "epoch.",
        ),
        "max_epochs": (
            epochs,
            f"There are {count_of(copies * n_train, 'sample')} to train on; few samples need more epochs.",
        ),
        "sustain_epochs": (float(epochs // 2), f"Half of the {count_of(epochs, 'epoch')} at MAX_LR; then it decays."),
        "start_lr": (peak / 10, f"A tenth of MAX_LR={peak:g}, so that training starts gently."),
        "min_lr": (peak / 100, f"A hundredth of MAX_LR={peak:g}."),
        "max_lr": (
            peak,
            f"Training in steps of {count_of(batch, 'image')} is {how} {peak:g}; try a tenth if the loss jumps.",
        ),
    }


def _propose_refinement(
    found: Findings,
    folder: Path,
    masks_folder: Path,
    weights_path: Path | None,
    table: ClassTable | None,
    progress: Progress,
) -> Findings:
    """Propose DO_CRF_REFINE, and with a network what it was trained with."""
    if weights_path is None:
        advice = "train first, then try it on your images with init-config --weights"
        return {"do_crf_refine": (False, f"The CRF made the data sets of docs/benchmarks.md worse; {advice}.")}
    model = load_resunet(weights_path)
    fixed = {name: (value, f"As {weights_path} was trained.") for name, value in describe_network(model).items()}
    config = ResunetConfig(**{name: value for name, (value, _) in (found | fixed).items()})
    n, plain, refined = try_refinement(config, model, folder, masks_folder, table=table, progress=progress)
    helps = (refined.macro("iou") or 0) > (plain.macro("iou") or 0)
    figures = [f"accuracy {c.accuracy or 0:.3f} and mean IoU {c.macro('iou') or 0:.3f}" for c in (plain, refined)]
    reason = (
        f"On {count_of(n, 'image')} that the network was not trained on: {figures[0]} without, {figures[1]} with it."
    )
    return fixed | {"do_crf_refine": (helps, reason)}


def _propose_classes(
    paths: Sequence[Path],
    naming: Findings,
    table: ClassTable | None,
    problems: list[Problem],
    progress: Progress,
) -> Findings:
    """Propose NCLASSES, REMAP_CLASSES and, as it was found from their names, USEMASK from the masks."""
    if not paths:
        return {"nclasses": (1, "No label maps were given or found, so one class against the rest is assumed.")}
    n_named, found, n_read = 0, np.zeros(VOID + 1, bool), 0
    first_problem = len(problems)
    for path in progress(_draw(paths, _MAX_LABEL_MAPS), label="reading label maps"):
        try:
            labelmap = read_mask(path, table)
        except HybridSegError as error:
            problems.append(Problem.of(path, error))
            continue
        n_read += 1
        n_named = max(n_named, len(labelmap.table) if labelmap.table else 0)
        found |= count_labels(labelmap.labels) > 0
    if not n_read:
        raise BadInput(f"no label map can be read; the first: {problems[first_problem]}")
    ids = np.flatnonzero(found).tolist()
    # 0 and 255 without names in the files are nothing and something, whatever the two are called.
    n_given = len(table or ()) if ids != [0, VOID] else 0
    return _interpret_ids(ids, max(n_named, n_given), n_read) | naming


def _interpret_ids(ids: list[int], n_named: int, n_read: int) -> Findings:
    listed = ", ".join(map(str, ids if len(ids) <= 12 else [*ids[:10], "...", ids[-1]]))
    seen = f"{count_of(n_read, 'label map')} read: {'the value' if len(ids) == 1 else 'the values'} {listed}"
    classes = [i for i in ids if i != VOID]
    highest = max([*classes, n_named - 1])
    if VOID in ids and highest < 1 and not n_named:
        reason = f"{seen}; {VOID} is taken for the class and 0 for the rest."
        return {"nclasses": (1, reason), "remap_classes": ({VOID: 1}, reason)}
    n_classes = max(1, highest)
    names = f", and {n_named} named classes" if n_named else ""
    what = "one class against the rest" if n_classes == 1 else f"ids go from 0 to {n_classes}"
    void = f" ({VOID} is void)" if VOID in ids else ""
    absent = n_classes + 1 - len(classes)
    gaps = f" {absent} of these ids did not occur; REMAP_CLASSES can close gaps." if absent and not n_named else ""
    return {"nclasses": (n_classes, f"{seen}{names}; {what}{void}.{gaps}")}


def _propose_word(image_paths: Sequence[Path], folder: Path) -> Findings:
    """Propose USEMASK: whether the names of label files, or of their folder, say 'mask'."""
    best, orphans = find_best({path.stem for path in image_paths}, list_masks(folder, image_paths))
    paths = [*chain.from_iterable(best.values()), *orphans]
    words = [find_mask_words(path.stem) for path in paths]
    n_mask, n_label = (sum(word in found for found in words) for word in ("mask", "label"))
    where = f"{n_mask} of {count_of(len(paths), 'label file')} say 'mask' in the name, {n_label} say 'label'"
    own = sorted(find_mask_words(folder.resolve().name) & {"mask", "label"})
    if not n_mask + n_label and own:
        return {"usemask": (own[-1] == "mask", f"{where}; the folder says {own[-1]!r}.")}
    return {"usemask": (n_mask > n_label, f"{where}.")}


def _propose_name(folder: Path) -> Findings:
    name = folder.resolve().name
    safe = re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", name)).lstrip(".")[: int(NAME_LENGTH.high)].strip("_")
    if not safe:
        return {"root_string": (ResunetConfig.root_string, f"The name of the folder, {name!r}, gives no file name.")}
    return {"root_string": (safe, f"The images are in a folder named {name!r}.")}
