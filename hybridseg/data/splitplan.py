"""Which image of a folder goes to which set: drawn by hash, in groups, optionally balanced."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hybridseg.classes import ClassTable, count_labels
from hybridseg.draw import count_share, shuffle_names
from hybridseg.errors import BadInput, HybridSegError, MissingInput, Problem, join_names
from hybridseg.io.images import describe_image
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.masks import match_masks
from hybridseg.io.pairing import find_companions, list_images
from hybridseg.io.textfiles import read_lines
from hybridseg.markup import count_of
from hybridseg.options import Span, check_options, option

ACTIONS = ("copy", "move", "link")
SETS = ("train", "test")
ASIDE = "unlabelled"
FOLDERS = (*SETS, ASIDE)


@dataclass(frozen=True)
class SplitOptions:
    """How a folder is divided; the same seed gives the same split on any machine."""

    proportion: float = option(0.5, "Share of the images that goes to train/.", span=Span(0, 1))
    seed: int = 0
    group_by: str | None = option(
        None,
        "Keep images together whose names match this regular expression alike, such as the frames of one flight: "
        "'^(flight\\d+)_'.",
    )
    stratify: bool = option(False, "Give both sets the same mix of classes, as far as there are label maps.")
    set_aside: bool = option(False, "Put images without a label map into neither set, but into unlabelled/.")
    action: str = option("copy", "What is done with the files; links are symbolic.", choices=ACTIONS)
    test_list: Path | tuple[str, ...] | None = option(
        None, "A text file with the names of the images for testing, one per line; all others are for training."
    )

    def __post_init__(self) -> None:
        check_options(self)
        check_group_by(self.group_by)
        drawn = (self.proportion, self.seed) != (SplitOptions.proportion, SplitOptions.seed)
        if self.test_list is not None and drawn:
            raise BadInput("--test says which images are for testing; leave out --proportion and --seed")
        if self.test_list is not None and (self.group_by or self.stratify):
            raise BadInput("a list of the images for testing (--test) leaves nothing to --group-by and --stratify")


def check_group_by(pattern: str | None) -> None:
    """Raise BadInput when a pattern of groups is not a regular expression."""
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise BadInput(f"--group-by '{pattern}' is not a regular expression ({error})") from error


@dataclass(frozen=True)
class SplitEntry:
    """One image, the set and the group it is in, the folder it comes from, and the files that go with it.

    `masks` are those that come from a folder of their own.
    """

    image: str
    set: str
    group: str
    action: str
    source: str
    companions: tuple[str, ...]
    masks_dir: str = ""
    masks: tuple[str, ...] = ()

    def list_files(self) -> list[tuple[Path, str]]:
        """List the files of the image, itself last, each with the name that it gets in the folder of its set."""
        masks = [(Path(self.masks_dir, name), f"{Path(self.masks_dir).name}/{name}") for name in self.masks]
        return masks + [(Path(self.source, name), name) for name in (*self.companions, self.image)]


def plan_split(
    source_dir: Path,
    *,
    masks_dir: Path | None = None,
    target_dir: Path,
    options: SplitOptions,
    table: ClassTable | None = None,
    earlier: Sequence[SplitEntry] = (),
    kept: Mapping[str, str] = {},
) -> tuple[list[SplitEntry], list[Problem]]:
    """Decide the set of every image, without touching a file, and list the images that cannot be opened.

    Files that an interrupted ``move`` has already moved count as if they were still there.

    Parameters
    ----------
    table : ClassTable or None
        The classes of label maps that do not name theirs, to stratify by.
    kept : mapping of str to str
        Images whose set is settled; those of their groups follow them, and the others are drawn.

    Raises
    ------
    BadInput
        When no image can be opened, `group_by` matches none, or there is no label map to stratify by.
    """
    entries, problems = _list_entries(source_dir, masks_dir, target_dir, options.action, earlier)
    homes = {entry.image: target_dir / entry.set for entry in earlier}
    aside = (
        {name for name in entries if find_mask(entries[name], homes.get(name)) is None} if options.set_aside else set()
    )
    if entries.keys() == aside:
        raise BadInput("no image has a label map, so there is nothing to divide")
    groups = group_images(entries.keys() - aside, options.group_by)
    shares = _measure_groups(groups, entries, homes, table) if options.stratify else {}
    if options.test_list is not None:
        chosen = choose_others(groups, options.test_list)
    else:
        sizes = {name: len(members) for name, members in groups.items()}
        settled = {name: kept[image] for name, members in groups.items() for image in members if image in kept}
        chosen = choose_train_groups(sizes, options, shares=shares, settled=settled)
    planned = [
        replace(entries[image], set="train" if group in chosen else "test", group=group)
        for group, members in groups.items()
        for image in sorted(members)
    ]
    planned += [replace(entries[image], set=ASIDE, group=Path(image).stem) for image in sorted(aside)]
    return planned, problems


def _list_entries(
    source_dir: Path, masks_dir: Path | None, target_dir: Path, action: str, earlier: Sequence[SplitEntry]
) -> tuple[dict[str, SplitEntry], list[Problem]]:
    """Return an entry without a set for each image, those included that were moved already, by its name."""
    entries = {
        path.name: SplitEntry(
            path.name,
            set="",
            group="",
            action=action,
            source=str(source_dir),
            companions=tuple(companion.name for companion in companions),
            masks_dir=str(masks_dir or ""),
        )
        for path, companions in find_companions(list_images(source_dir), source_dir).items()
    }
    if masks_dir is not None:
        for path, masks in find_companions([source_dir / name for name in entries], masks_dir).items():
            entries[path.name] = replace(entries[path.name], masks=tuple(mask.name for mask in masks))
    problems = _drop_unusable(entries, source_dir)
    for entry in earlier:
        if entry.action == "move" and (entry.source, entry.masks_dir) == (str(source_dir), str(masks_dir or "")):
            _add_moved(entries, entry, target_dir / entry.set)
    if problems and not entries:
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise BadInput(f"{source_dir} has no image that can be opened:{lines}")
    if not entries:
        raise BadInput(f"{source_dir} has no JPEG, PNG or TIFF images; give the folder of your photos")
    return entries, problems


def _drop_unusable(entries: dict[str, SplitEntry], source_dir: Path) -> list[Problem]:
    """Leave out the images that no later command could open, by their headers."""
    problems = []
    for name in sorted(entries):
        try:
            describe_image(source_dir / name)
        except HybridSegError as error:
            problems.append(Problem.of(source_dir / name, error))
            del entries[name]
    return problems


def _add_moved(entries: dict[str, SplitEntry], earlier: SplitEntry, home: Path) -> None:
    """Add the files of an image that an earlier run has moved to its set."""
    moved = {name for _, name in earlier.list_files() if (home / name).exists()}
    if earlier.image not in entries and earlier.image not in moved:
        return
    now = entries.get(earlier.image, replace(earlier, companions=(), masks=()))
    companions = moved.intersection(earlier.companions).union(now.companions)
    masks = {name for name in earlier.masks if f"{Path(earlier.masks_dir).name}/{name}" in moved}.union(now.masks)
    entries[earlier.image] = replace(now, companions=tuple(sorted(companions)), masks=tuple(sorted(masks)))


def group_images(names: Iterable[str], group_by: str | None) -> dict[str, list[str]]:
    """Group images that belong together; without an expression each is a group of its own.

    They belong together when the expression finds the same in their names: in its parentheses, if it has any.

    Raises
    ------
    BadInput
        When the expression matches no image at all.

    Examples
    --------
    >>> group_images(["a_1.jpg", "a_2.jpg", "b.jpg"], r"(\\w)_")
    {'a': ['a_1.jpg', 'a_2.jpg'], 'b': ['b.jpg']}
    >>> list(group_images(["2018-1006-a.jpg", "2018-10-06-b.jpg"], r"(\\d{4})-(\\d\\d)-?(\\d\\d)"))
    ['2018-10-06']
    """
    groups: dict[str, list[str]] = defaultdict(list)
    n_matches = 0
    for name in sorted(names):
        stem = Path(name).stem
        match = re.search(group_by, stem) if group_by else None
        n_matches += match is not None
        key = ("-".join(filter(None, match.groups())) if match.re.groups else match[0]) if match else None
        groups[key if key else stem].append(name)
    if group_by and not n_matches:
        raise BadInput(
            f"--group-by '{group_by}' matches none of the {count_of(len(groups), 'image')}; try it on {min(groups)!r}"
        )
    return dict(sorted(groups.items()))


def choose_others(groups: Mapping[str, Sequence[str]], test_list: Path | tuple[str, ...]) -> set[str]:
    """Return the images that a list does not name, each a group of its own; names may lack their ending.

    Raises
    ------
    MissingInput, BadInput
        When the list cannot be read, or names an image that is not there.
    """
    names = {line.strip() for line in (test_list if isinstance(test_list, tuple) else _read_lines(test_list))} - {""}
    tested = {group for group, images in groups.items() if {group, *images} & names}
    unknown = sorted(names - tested - {image for group in tested for image in groups[group]})
    if unknown:
        what = "the list (--test)" if isinstance(test_list, tuple) else f"{test_list} (--test)"
        raise BadInput(
            f"{what} has names of images that are not there, or have no label map ({len(unknown)}): "
            f"{join_names(unknown)}"
        )
    return groups.keys() - tested


def _read_lines(test_list: Path) -> list[str]:
    remedy = "give a text file with a name on each line (--test)"
    if not test_list.exists():
        raise MissingInput(f"there is no file {test_list} (--test); give a text file with a name on each line")
    return read_lines(test_list, remedy=remedy, errors="surrogateescape")


def choose_train_groups(
    sizes: dict[str, int],
    options: SplitOptions,
    *,
    shares: dict[str, np.ndarray] | None = None,
    settled: Mapping[str, str] = {},
) -> set[str]:
    """Choose the groups for training, so that their images come closest to the wanted proportion.

    Parameters
    ----------
    sizes : dict of str to int
        Number of images of each group.
    shares : dict of str to numpy.ndarray
        (n_classes,) pixels of each class in each group; with them, the set that is chosen for a group is the one
        that keeps the classes balanced.
    settled : mapping of str to str
        Groups whose set is not chosen, and that set.

    Examples
    --------
    >>> len(choose_train_groups({"a": 1, "b": 1, "c": 1, "d": 1}, SplitOptions(proportion=0.5)))
    2
    """
    order = [name for name in shuffle_names(sizes, seed=options.seed) if name not in settled]
    wanted = count_share(sum(sizes.values()), options.proportion)
    if shares:
        return _balance_groups(order, sizes, shares, wanted, options.proportion, settled)
    chosen = {name for name, set_name in settled.items() if set_name == "train"}
    n_images = sum(sizes[name] for name in chosen)
    for name in order:
        # A group is taken when that brings the count closer to the wanted one.
        if abs(n_images + sizes[name] - wanted) < abs(n_images - wanted):
            chosen.add(name)
            n_images += sizes[name]
    return chosen


def _balance_groups(
    order: list[str],
    sizes: dict[str, int],
    shares: dict[str, np.ndarray],
    wanted: int,
    proportion: float,
    settled: Mapping[str, str],
) -> set[str]:
    """Assign each group, the richest in rare classes first, to the set that lacks its classes most."""
    total = np.maximum(sum(shares.values()), 1)
    relative = {name: shares[name] / total for name in shares}
    room = {"train": wanted, "test": sum(sizes.values()) - wanted}
    target = {"train": proportion, "test": 1 - proportion}
    have = {name: np.zeros_like(total, dtype=float) for name in SETS}
    for name, set_name in settled.items():
        have[set_name] += relative[name]
        room[set_name] -= sizes[name]
    chosen = {name for name, set_name in settled.items() if set_name == "train"}
    for name in sorted(order, key=lambda name: -float(relative[name].max())):
        lack = {s: float(((target[s] - have[s]) * relative[name]).sum()) for s in SETS}
        free = [s for s in SETS if room[s] >= sizes[name]] or [max(SETS, key=lambda s: room[s])]
        best = max(free, key=lambda s: (lack[s], room[s]))
        have[best] += relative[name]
        room[best] -= sizes[name]
        if best == "train":
            chosen.add(name)
    return chosen


def _measure_groups(
    groups: dict[str, list[str]],
    entries: Mapping[str, SplitEntry],
    homes: Mapping[str, Path],
    table: ClassTable | None,
) -> dict[str, np.ndarray]:
    """Count the pixels of each class, over all files by name, in the label maps of each group."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in groups}
    for group, members in groups.items():
        for image in members:
            counts[group].update(_count_classes(entries[image], homes.get(image), table))
    keys = sorted(set().union(*counts.values()))
    if not keys:
        raise BadInput("no image has a label map, so there is nothing to stratify by")
    return {group: np.array([float(count[key]) for key in keys]) for group, count in counts.items()}


def find_mask(entry: SplitEntry, home: Path | None = None) -> Path | None:
    """Return the mask of an image; where an earlier run has moved it, from the folder of its set, `home`."""
    *mask_paths, image_path = (
        home / name if home is not None and not source.exists() else source for source, name in entry.list_files()
    )
    pairs = match_masks([image_path], mask_paths).pairs
    return pairs[0].labels_path if pairs else None


def _count_classes(entry: SplitEntry, home: Path | None, table: ClassTable | None) -> Counter[str]:
    path = find_mask(entry, home)
    if path is None:
        return Counter()
    try:
        labelmap = read_labelmap(path, table=table, with_seeds=False)
        keys = labelmap.require_table(path).keys
    except HybridSegError as error:
        raise BadInput(f"cannot stratify: {error}") from error
    pixels = count_labels(labelmap.labels)
    return Counter({key: int(pixels[i]) for i, key in enumerate(keys)})
