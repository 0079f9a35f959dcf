"""What a study is given, checked before any work: photos, masks, classes, the folder of the results."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.classes import ClassTable, count_labels
from hybridseg.data.faults import ASIDE, ONLY_NETWORKS, Evidence, Fault, find_faults, warn_of_classes
from hybridseg.data.labelnames import name_labels
from hybridseg.data.likeness import describe_likeness
from hybridseg.data.split import read_split
from hybridseg.data.splitplan import SETS, SplitEntry, SplitOptions, check_group_by, plan_split
from hybridseg.data.survey import survey_files
from hybridseg.errors import BadInput, HybridSegError, MissingInput, OutputExists, Problem
from hybridseg.hybrid.purity import measure_purity
from hybridseg.hybrid.tileplan import RetileOptions
from hybridseg.io.images import ImageInfo
from hybridseg.io.jsonfiles import read_json_object
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.locks import holds_files
from hybridseg.io.masks import Matches, find_labelled
from hybridseg.io.pairing import SPLIT_NAME, Pair, image_stem, list_images
from hybridseg.markup import count_of
from hybridseg.options import Span, check_options, option, option_like
from hybridseg.progress import Progress, no_progress

METHODS = ("hybrid", "fcn")
LOG_NAME, TEST_NAME, CLASSES_NAME = "steps.json", "test.txt", "labeldefs.txt"
LEAST_PHOTOS = 4
# From so many labelled photos on, a quarter of them is enough to test on; of fewer it is a third.
_MANY_PHOTOS = 60
_TILE_SIZES = (96, 64, 48, 32, 16, 8)
_LEAST_TILES = 3
_MAX_PROBLEMS = 8
_NUMBER = re.compile(r"\d[\d.,]*")
# A class of this share of the pixels should have so many tiles.
_MUCH, _FEW_WINDOWS = 0.01, 10


@dataclass(frozen=True)
class StudyOptions:
    """What is trained, and on which of the photos."""

    method: str = option(
        "hybrid", "What is trained: a classifier of tiles with a CRF, a network on whole photos, or both.",
        choices=(*METHODS, "both"),
    )  # fmt: skip
    proportion: float | None = option(
        None, "Share of the labelled photos that is trained on; the rest is for testing.",
        span=Span(0, 1, above=True, below=True),
    )  # fmt: skip
    group_by: str | None = option_like(SplitOptions, "group_by")
    test_list: Path | tuple[str, ...] | None = option_like(SplitOptions, "test_list")
    tile_size: int | None = option(None, "Side of the tiles of the hybrid method, in pixels.", span=Span(8))
    epochs: int | None = option(None, "Epochs of the training of fcn.", span=Span(1))
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(self)
        check_group_by(self.group_by)
        if self.test_list == ():
            raise BadInput("the list of the photos for testing (--test) is empty; leave it out, and they are drawn")
        if self.test_list is not None and (self.group_by or self.proportion):
            raise BadInput("--test says which photos are for testing; leave out --proportion and --group-by")
        if self.method == "hybrid" and self.epochs is not None:
            raise BadInput("--epochs is for the training of fcn; leave it out, or give --method both")
        if self.method == "fcn" and self.tile_size is not None:
            raise BadInput("--tile-size is for the hybrid method; leave it out, or give --method both")

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods, one after the other."""
        return METHODS if self.method == "both" else (self.method,)

    @property
    def draw(self) -> list[Any]:
        """What decides which photos are for testing, as JSON holds it."""
        return [self.proportion, self.seed, self.group_by, str(self.test_list) if self.test_list else None]


@dataclass(frozen=True)
class StudyPaths:
    """Where things are, as the user typed it: the commands name them in the same way."""

    images_dir: Path
    masks_dir: Path | None = None
    labels_path: Path | None = None
    colors_path: Path | None = None
    out_dir: Path | None = None

    @property
    def out(self) -> Path:
        """The folder of everything that is written; by default beside the photos."""
        home = self.images_dir if self.images_dir.name else self.images_dir.resolve()
        return self.out_dir or home.with_name(f"{home.name}_run")

    @property
    def masks_name(self) -> str:
        """What the folder of masks is called in train/ and test/; empty: they are beside the photos."""
        if self.masks_dir is None or self.masks_dir.resolve() == self.images_dir.resolve():
            return ""
        return self.masks_dir.resolve().name


@dataclass(frozen=True, eq=False)
class Inputs:
    """What was found.

    Parameters
    ----------
    sets : dict of str to int
        Number of photos in ``train``, ``test`` and ``unlabelled``.
    shares : dict of str to float
        Share of the labelled pixels of each class, in the order of the list.
    shown : dict of str to int
        How many photos for training show each class.
    n_tiles : int
        Pure windows in the photos for training.
    megapixels : float
        Of all photos.
    alone : tuple of str
        Sentences on the photos without a mask, and the masks without a photo.
    likeness : str
        Which photos for testing are so close to photos for training that their score is too good.
    known : Evidence
        The facts of every photo and mask.
    warnings : tuple of str
        What does not stop the work, and should be known.
    files : tuple of pathlib.Path
        Everything that is read.
    test_names : tuple of str
        The photos for testing, where those of an earlier run are kept; empty: as they are drawn.
    kept : str
        A sentence on that.
    """

    table: ClassTable
    sets: dict[str, int]
    proportion: float
    shares: dict[str, float]
    shown: dict[str, int]
    tile_size: int
    n_tiles: int
    megapixels: float
    alone: tuple[str, ...]
    likeness: str
    known: Evidence = field(repr=False)
    warnings: tuple[str, ...]
    files: tuple[Path, ...]
    test_names: tuple[str, ...] = ()
    kept: str = ""

    @property
    def faults(self) -> list[Fault]:
        """What was found in the photos and masks, and does not stop the work; photos without a mask are no fault."""
        return [fault for fault in find_faults(self.known) if fault.kind != ASIDE]


@dataclass(frozen=True, eq=False)
class _Measured:
    """A labelled photo: its class list, the pixels of each class, and for each size of tiles its pure windows."""

    table: ClassTable
    n_pixels: Counter[str]
    n_windows: dict[int, Counter[str]]


def check_inputs(
    paths: StudyPaths,
    options: StudyOptions,
    *,
    table: ClassTable | None = None,
    n_jobs: int = 1,
    progress: Progress = no_progress,
) -> Inputs:
    """Read every photo and every mask; write nothing.

    Parameters
    ----------
    table : ClassTable or None
        The classes of masks that do not name theirs.

    Raises
    ------
    MissingInput, BadInput, OutputExists
        When something would stop the work later. All files that cannot be used are named at once.
    """
    if not list_images(paths.images_dir):
        raise MissingInput(f"{paths.images_dir} has no JPEG, PNG or TIFF images; give the folder of your photos")
    check_out(paths)
    found = find_labelled([paths.images_dir], masks_dir=paths.masks_dir)
    known = _review(found, options, table, n_jobs, progress)
    infos = {path: facts.info for path, facts in known.survey.photos.items()}
    tile_sizes = [options.tile_size] if options.tile_size else list_tile_sizes(list(infos.values()))
    measured = {
        pair.image_path.name: _measure(pair, table, tile_sizes)
        for pair in progress(found.pairs, label="counting tiles")
    }
    if len(measured) < LEAST_PHOTOS:
        raise BadInput(
            f"{paths.images_dir} has {count_of(len(measured), 'photo')} with a mask, too few to train on some and test "
            f"on others; label {LEAST_PHOTOS} or more (hybridseg label)"
        )
    proportion = options.proportion or (0.75 if len(measured) >= _MANY_PHOTOS else 0.67)
    kept = _read_kept(paths, options)
    entries = _plan(paths, options, proportion, table, kept)
    sets = {name: sum(entry.set == name for entry in entries) for name in ("train", "test", "unlabelled")}
    if not (sets["train"] and sets["test"]):
        raise BadInput(
            f"all {len(measured)} labelled photos would be in one set; choose another --proportion, or a --group-by "
            "that makes more groups"
        )
    own = reduce(ClassTable.union, (photo.table for photo in measured.values()))
    train, test = ([measured[e.image] for e in entries if e.set == name and e.image in measured] for name in SETS)
    in_train, in_test = (_add([photo.n_pixels for photo in photos]) for photos in (train, test))
    everywhere = in_train + in_test
    set_of = {entry.image: entry.set for entry in entries}
    known = replace(known, sets={path: set_of[path.name] for path in infos})
    is_grouped = bool(options.group_by or options.test_list)
    likeness = describe_likeness(*map(known.list_looks, SETS), is_grouped=is_grouped)
    windows = {size: _add([photo.n_windows[size] for photo in train]) for size in tile_sizes}
    tile_size = _choose_tile_size(windows, in_train)
    n_windows = windows[tile_size] if "hybrid" in options.methods else in_train
    warnings = _warn_of_classes(own, in_train, in_test, n_windows, tile_size)
    if len(n_windows) < 2:
        raise BadInput(
            f"no two classes fill a tile of {tile_size} pixels in the {sets['train']} photos for training; give a "
            "smaller --tile-size, or --method fcn, which needs no tiles"
        )
    test_names, told = _keep_sets(paths, entries, kept, is_listed=isinstance(options.test_list, tuple))
    files = {path for pair in found.pairs for path in (pair.image_path, pair.labels_path)} | infos.keys()
    return Inputs(
        own, sets, proportion, tile_size=tile_size, n_tiles=windows[tile_size].total(),
        shares={name: everywhere[name] / everywhere.total() for name in own.names},
        shown={name: sum(photo.n_pixels[name] > 0 for photo in train) for name in own.names},
        megapixels=sum(info.rows * info.cols for info in infos.values()) / 1e6,
        alone=tuple(found.describe_rest()), likeness=likeness, known=known, warnings=tuple(warnings),
        files=tuple(sorted(files)), test_names=test_names, kept=told,
    )  # fmt: skip


def _review(
    found: Matches, options: StudyOptions, table: ClassTable | None, n_jobs: int, progress: Progress
) -> Evidence:
    """Read every photo and mask, as `hybridseg review` does, and refuse what would stop the work."""
    photos, masks = sorted([p.image_path for p in found.pairs] + found.unlabelled), [p.labels_path for p in found.pairs]
    survey = survey_files(photos, masks, table=table, n_jobs=n_jobs, progress=progress)
    known = Evidence(found, survey, name_labels(survey.masks, table), table)
    passed = () if "fcn" in options.methods else ONLY_NETWORKS
    faults = [fault for fault in find_faults(known) if fault.breaks and fault.kind not in passed]
    _refuse([problem for fault in faults for problem in fault.problems], len(photos))
    if lone := next((fault for fault in faults if fault.kind == "one class"), None):
        raise BadInput(f"{masks[0].parent}: {lone}")
    return known


def list_tile_sizes(infos: Sequence[ImageInfo]) -> list[int]:
    """List the usual sides of tiles of which three fit along the shorter side of every photo."""
    shortest = min((min(info.rows, info.cols) for info in infos), default=0)
    return [size for size in _TILE_SIZES if size * _LEAST_TILES <= shortest] or [_TILE_SIZES[-1]]


def _choose_tile_size(windows: dict[int, Counter[str]], n_pixels: Counter[str]) -> int:
    """Choose the largest tile that every class fills now and then; else the one that most classes fill.

    Classes of hardly any pixels do not count.
    """
    large = [name for name, n in n_pixels.items() if n >= _MUCH * n_pixels.total()]
    return max(windows, key=lambda size: (sum(windows[size][name] >= _FEW_WINDOWS for name in large), size))


def check_out(paths: StudyPaths) -> None:
    """Refuse to write among the user's own files, or into a folder that is not from this command."""
    out = paths.out.resolve()
    for what, folder in (("photos", paths.images_dir), ("masks", paths.masks_dir)):
        if folder is not None and (out == folder.resolve() or folder.resolve() in out.parents):
            raise BadInput(f"{paths.out} lies in the folder of the {what}; give another folder for the results")
        if folder is not None and out in folder.resolve().parents:
            raise BadInput(f"{paths.out} holds the folder of the {what}; give another folder for the results")
    if out.is_file():
        raise BadInput(f"{paths.out} is a file; give a folder for the results")
    if holds_files(out) and not (out / LOG_NAME).exists():
        raise OutputExists(f"{paths.out} holds files that are not from hybridseg run; choose another folder")


def _measure(pair: Pair, table: ClassTable | None, tile_sizes: Sequence[int]) -> _Measured:
    labelmap = read_labelmap(pair.labels_path, table=table, with_seeds=False)
    own = labelmap.require_table(pair.labels_path)
    counts = count_labels(labelmap.labels)[: len(own)]
    windows = {size: _count_windows(labelmap.labels, len(own), size) for size in tile_sizes}
    return _Measured(own, _by_name(own, counts), {size: _by_name(own, found) for size, found in windows.items()})


def _count_windows(labels: np.ndarray, n_classes: int, tile_size: int) -> np.ndarray:
    if min(labels.shape) < tile_size:
        return np.zeros(n_classes, np.int64)
    options = RetileOptions(tile_size=tile_size)
    found = measure_purity(labels, n_classes=n_classes, tile_size=tile_size, stride=options.stride)
    return np.bincount(found.classes[found.shares > options.purity], minlength=n_classes)


def _by_name(table: ClassTable, counts: np.ndarray) -> Counter[str]:
    return Counter({table.names[i]: int(counts[i]) for i in np.flatnonzero(counts)})


def _refuse(problems: Sequence[Problem], n_photos: int) -> None:
    """Raise BadInput naming the files that cannot be used."""
    if not problems:
        return
    faults: dict[str, list[Problem]] = {}
    for problem in problems:
        # The same fault, but for the name of the file and what was counted in it.
        fault = _NUMBER.sub("", problem.message.replace(image_stem(Path(problem.where)), ""))
        faults.setdefault(fault, []).append(problem)
    lines = [
        f"\n  {found[0].where}{f' and {len(found) - 1} more' if len(found) > 1 else ''}: {found[0].message}"
        for found in list(faults.values())[:_MAX_PROBLEMS]
    ]
    more = f"\n  ... and {len(faults) - _MAX_PROBLEMS} other faults" if len(faults) > _MAX_PROBLEMS else ""
    raise BadInput(
        f"{count_of(len({p.where for p in problems}), 'file')} of {count_of(n_photos, 'photo')} and their masks cannot "
        f"be used; fix or move them away, then run again (nothing was written):{''.join(lines)}{more}"
    )


def _read_kept(paths: StudyPaths, options: StudyOptions) -> dict[str, str]:
    """Return the sets of the labelled photos of an earlier run that drew them in the same way."""
    try:
        draw = read_json_object(paths.out / LOG_NAME, errors="surrogateescape").get("draw")
    except HybridSegError:
        return {}  # Nothing was done yet; of a damaged record `StepLog` tells.
    if draw != options.draw or options.test_list:
        return {}
    home = str(paths.images_dir.resolve())
    earlier = read_split(paths.out / SPLIT_NAME)
    return {entry.image: entry.set for entry in earlier if entry.source == home and entry.set in SETS}


def _keep_sets(
    paths: StudyPaths, entries: Sequence[SplitEntry], kept: Mapping[str, str], *, is_listed: bool
) -> tuple[tuple[str, ...], str]:
    """Name the photos for testing, listed or not as a new draw has them, and say what is kept of a run before."""
    now = {entry.image: entry.set for entry in entries if entry.set in SETS}
    names = tuple(sorted(image for image, set_name in now.items() if set_name == "test"))
    if is_listed or not kept or (now.keys() == kept.keys() and not (paths.out / TEST_NAME).exists()):
        return names if is_listed else (), ""
    new = Counter(set_name for image, set_name in now.items() if image not in kept)
    text = (
        f"photos of the run before stay in their sets, so that scores can be compared; of {new.total()} new ones "
        f"{new['train']} are for training and {new['test']} for testing"
    )
    return names, text if new else ""


def _plan(
    paths: StudyPaths, options: StudyOptions, proportion: float, table: ClassTable | None, kept: Mapping[str, str]
) -> list[SplitEntry]:
    """Divide the photos as `split` will, without touching a file."""
    entries, _ = plan_split(
        paths.images_dir.resolve(),
        masks_dir=paths.masks_dir.resolve() if paths.masks_dir is not None and paths.masks_name else None,
        target_dir=paths.out.resolve(),
        options=SplitOptions(test_list=options.test_list, set_aside=True)
        if options.test_list
        else SplitOptions(proportion, options.seed, options.group_by, stratify=True, set_aside=True),
        table=table,
        kept=kept,
    )
    return entries


def _add(counters: Sequence[Counter[str]]) -> Counter[str]:
    return sum(counters, Counter())


def _warn_of_classes(
    table: ClassTable, in_train: Counter[str], in_test: Counter[str], n_windows: Counter[str], tile_size: int
) -> list[str]:
    """Say which classes cannot be learnt or measured."""
    lines = warn_of_classes(table, in_train, in_test)
    if tileless := [name for name in in_train if not n_windows[name]]:
        lines.append(
            f"classes that fill no tile of {tile_size} pixels, so the hybrid method cannot find them; give a smaller "
            f"--tile-size, or --method fcn: {', '.join(tileless)}"
        )
    return lines
