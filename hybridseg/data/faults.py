"""What is wrong with a data set: what a training would break on, and what makes its result worse; the worst first."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from hybridseg.classes import VOID, ClassTable
from hybridseg.data.labelnames import LabelNames
from hybridseg.data.likeness import Look, list_same_views
from hybridseg.data.suitability import judge_photos
from hybridseg.data.survey import MaskFacts, PhotoFacts, Survey
from hybridseg.errors import BadInput, Problem
from hybridseg.io.labelled import KEEP_ALPHA, MAKE_IDS, check_size
from hybridseg.io.masks import Matches
from hybridseg.io.pairing import Pair, find_owner

TRAIN, VALID, TEST, ASIDE = "train", "valid", "test", "unlabelled"
# What the methods that classify tiles can do without.
ONLY_NETWORKS = ("kinds",)
_LEAST_PAIRS = 2
_N_COLORS = 3
# What is done about photos that are unsuited; `_fit` chooses among the words for one and for several.
_SUITABILITY = {
    "empty": "leave {it|them} out, unless the little that {it shows|they show} is needed",
    "dark": "leave {it|them} out, or use a brighter exposure",
    "over-exposed": "leave {it|them} out, or use a darker exposure",
    "blurred": "leave {it|them} out, or use a sharper photo of the same place",
    "of one colour": "leave {it|them} out",
    "unlike the others": "check that {it belongs|they belong} here; if so, more photos of the kind would help",
}


@dataclass(frozen=True)
class Fault:
    """One kind of fault, in all files that have it.

    Parameters
    ----------
    kind : str
        A word, as `df_data.csv` has it.
    breaks : bool
        Whether a training would end with an error, or learn nothing.
    title : str
        A sentence without its period, with the number of files.
    mend : str
        What to do.
    problems : tuple of Problem
        Each file, and what is wrong with it.
    photos : tuple of pathlib.Path
        The photos that show it, if pictures do.
    """

    kind: str
    breaks: bool
    title: str
    mend: str
    problems: tuple[Problem, ...] = ()
    photos: tuple[Path, ...] = ()

    def __str__(self) -> str:
        """Return the fault in a line."""
        names = [Path(problem.where).name for problem in self.problems]
        listed = f" ({', '.join(names[:3])}{' ...' if len(names) > 3 else ''})" if names else ""
        return f"{self.title}{listed}; {self.mend}"


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of a data set.

    Parameters
    ----------
    sets : dict of pathlib.Path to str
        The set of each photo, where photos have one.
    given : ClassTable or None
        The class list of the user.
    """

    found: Matches
    survey: Survey
    names: LabelNames
    given: ClassTable | None = None
    sets: Mapping[Path, str] = field(default_factory=dict)

    @cached_property
    def pairs(self) -> list[Pair]:
        """The pairs of which both files could be read."""
        return [
            pair
            for pair in self.found.pairs
            if pair.image_path in self.survey.photos and pair.labels_path in self.survey.masks
        ]

    @cached_property
    def mask_of(self) -> dict[Path, MaskFacts]:
        """The mask of each photo that has one."""
        return {pair.image_path: self.survey.masks[pair.labels_path] for pair in self.pairs}

    def list_looks(self, set_name: str) -> list[Look]:
        """Return the looks of the photos of a set."""
        return [facts.look for path, facts in self.survey.photos.items() if self.sets.get(path) == set_name]


def find_faults(known: Evidence) -> list[Fault]:
    """List the faults, the worst first: what breaks a training, what falsifies its score, what makes it worse."""
    found = [*_find_unreadable(known), *_find_unlike_masks(known), *_find_names(known), *_find_kinds(known)]
    found += [*_find_copies(known), *_find_alone(known), *_find_unsuited(known), *_find_alpha(known)]
    # The order within is that of the rules.
    return sorted(found, key=lambda fault: not fault.breaks)


def list_unusable(known: Evidence) -> set[Path]:
    """List the photos that a training cannot use, as they are or with the mask that they have."""
    faults = [*_find_unlike_masks(known), *_find_kinds(known)]
    # Without any list of classes it is the list that is at fault, not each mask.
    faults += _find_names(known) if known.given else []
    named = {problem.where for fault in faults if fault.breaks for problem in fault.problems}
    unusable = {pair.image_path for pair in known.found.pairs} - {pair.image_path for pair in known.pairs}
    unusable |= {pair.image_path for pair in known.pairs if str(pair.labels_path) in named}
    return unusable | {path for path in known.survey.photos if str(path) in named}


def _fit(n: int, text: str) -> str:
    """Return a text with a number in place of ``#``, and the words for one or for several.

    Examples
    --------
    >>> _fit(1, "# mask{|s} {has|have} no photo"), _fit(1200, "# mask{|s} {has|have} no photo")
    ('1 mask has no photo', '1,200 masks have no photo')
    """
    return re.sub(r"{(.*?)\|(.*?)}", r"\1" if n == 1 else r"\2", text).replace("#", f"{n:,}", 1)


def _make(
    kind: str,
    breaks: bool,
    title: str,
    mend: str,
    problems: Sequence[Problem],
    photos: Iterable[Path] = (),
) -> list[Fault]:
    """Return a fault, whose words fit the number of its problems; nothing where there are none."""
    n = len(problems)
    return [Fault(kind, breaks, _fit(n, title), _fit(n, mend), tuple(problems), tuple(photos))] if n else []


def _find_unreadable(known: Evidence) -> list[Fault]:
    problems, unclear = list(known.survey.problems.values()), known.found.problems
    found = _make(
        "unreadable", True, "# file{|s} cannot be read", "copy {it|them} again, or move {it|them} away", problems
    )
    title = "# photo{|s} cannot be paired with one mask"
    found += _make("ambiguous", True, title, "keep one of the files that are named", unclear)
    n_pairs = len(known.pairs)
    if n_pairs < _LEAST_PAIRS and not found:
        title = f"{'no' if not n_pairs else 'a single'} photo has a mask"
        found.append(Fault("few pairs", True, title, "label more of them: hybridseg label"))
    return found


def _find_unlike_masks(known: Evidence) -> list[Fault]:
    sizes: dict[Path, Problem] = {}
    blanks: dict[Path, Problem] = {}
    for pair in known.pairs:
        facts, mask = known.survey.photos[pair.image_path], known.survey.masks[pair.labels_path]
        try:
            check_size(pair.labels_path, mask.shape, facts.info)
        except BadInput as error:
            sizes[pair.image_path] = Problem.of(pair.labels_path, error)
        if not mask.ids:
            text = "has no pixel with a class; label it, or move it away"
            blanks[pair.image_path] = Problem(str(pair.labels_path), text)
    text = "holds no picture: all of its pixels are nodata"
    void = {path: Problem(str(path), text) for path, facts in known.survey.photos.items() if not facts.mean}
    found = []
    for kind, problems, title, mend in (
        ("size", sizes, "# mask{|s} {has|have} another size than the photo", "give the mask of this very photo"),
        ("blank", blanks, "# mask{|s} {has|have} no pixel with a class", "label {it|them}, or move {it|them} away"),
        ("no picture", void, "# photo{|s} {holds|hold} no picture", "move {it|them} away"),
    ):
        found += _make(kind, True, title, mend, list(problems.values()), problems)
    return found


def _find_names(known: Evidence) -> list[Fault]:
    names, found = known.names, []
    by_mask: dict[Path, list[int]] = defaultdict(list)
    for i, paths in sorted(names.missing.items()):
        for path in paths:
            by_mask[path].append(i)
    problems = [Problem(str(path), _explain_ids(ids, known.given)) for path, ids in by_mask.items()]
    if problems:
        mend = "give a list with the name of every class, one per line in the order of the ids: --labels labels.txt"
        if known.given is None:
            title = _fit(len(problems), "# mask{|s} {does|do} not name {its|their} classes")
        else:
            title, count = names.describe_missing(), _fit(len(known.given), "# name{|s}")
            mend = f"the list that was given has {count}, and the masks have ids up to {max(names.missing)}; {mend}"
        found.append(Fault("names", True, title, mend, tuple(problems)))
    if names.placeholders:
        title = _fit(len(names.placeholders), "# class{|es} {has|have} no name yet")
        mend = f"put names in the place of {', '.join(names.placeholders[:6])} in the class list"
        found.append(Fault("placeholders", False, title, mend))
    totals = sum(names.counts.values(), Counter())
    if len(totals) == 1 and len(known.pairs) >= _LEAST_PAIRS:
        masks = known.mask_of.values()
        title, mend = f"all masks show a single class, {next(iter(totals))}", "give masks of two classes or more"
        if any(map(_is_black_and_white, masks)) and all(set(mask.counts) <= {0, VOID} for mask in masks):
            title = "the masks hold 0 and 255 alone, and 255 counts as no class, so that they show a single class"
            mend = f"make 255 a class of its own: {MAKE_IDS}"
        found.append(Fault("one class", True, title, mend))
    else:
        found += _find_black_and_white(known)
    return found


def _find_black_and_white(known: Evidence) -> list[Fault]:
    """Find masks of ids, among others, that were perhaps drawn in black and white."""
    problems = [
        Problem(str(pair.labels_path), "holds 0 and 255 alone, and 255 counts as no class")
        for pair in known.pairs
        if (mask := known.mask_of[pair.image_path]).names is None and _is_black_and_white(mask)
    ]
    title = "# mask{|s} {holds|hold} 0 and 255 alone, unlike the others, and 255 counts as no class"
    mend = (
        "where white is a class, give it the id of that class (hybridseg convert MASK --images PHOTOS --labels FILE "
        "--threshold 128 makes it 1); where it is none, nothing needs to be done"
    )
    return _make("black and white", False, title, mend, problems)


def _is_black_and_white(mask: MaskFacts) -> bool:
    return set(mask.counts) == {0, VOID}


def _explain_ids(ids: Sequence[int], given: ClassTable | None) -> str:
    if given is None:
        return "does not name its classes; give the class file it was made with: --labels labels.txt"
    return (
        f"has the {'id' if len(ids) == 1 else 'ids'} {', '.join(map(str, ids))}, but the classes are 0 to "
        f"{len(given) - 1} ({', '.join(given.names)}); give a list with the name of every class: --labels labels.txt"
    )


def _find_kinds(known: Evidence) -> list[Fault]:
    infos = [facts.info for facts in known.survey.photos.values()]
    kinds = Counter((info.n_colors, info.dtype) for info in infos)
    if len(kinds) < 2:
        return []
    # Of kinds that are equally common, photos in colour are those that were meant.
    usual = max(kinds, key=lambda kind: (kinds[kind], kind[0] == _N_COLORS))
    spelled = {kind: f"{_fit(kind[0], '# band{|s}')} of {kind[1]}" for kind in kinds}
    is_tied = sorted(kinds.values())[-2] == kinds[usual]
    rest = f"{kinds[usual]:,} others" if is_tied else "most photos"
    mend = "convert {it|them}, or move {it|them} away: a network is trained on photos of one kind"
    problems = {
        info.path: Problem(
            str(info.path),
            f"has {spelled[info.n_colors, info.dtype]}, but {rest} {'has' if kinds[usual] == 1 else 'have'} "
            f"{spelled[usual]}; {_fit(1, mend)}",
        )
        for info in infos
        if (info.n_colors, info.dtype) != usual
    }
    title = f"# photo{{|s}} {{is|are}} of another kind than {rest}, which have {spelled[usual]}"
    if is_tied:
        title += f" (such as {next(i for i in infos if i.path not in problems).path.name})"
    return _make("kinds", True, title, mend, list(problems.values()), problems)


def _find_alpha(known: Evidence) -> list[Fault]:
    infos = [facts.info for facts in known.survey.photos.values() if facts.info.has_alpha]
    title = "# photo{|s} {has|have} a band of transparency, which a training leaves out"
    problems = {info.path: Problem(str(info.path), f"has transparency as band {info.bands}") for info in infos}
    mend = f"nothing needs to be done; {KEEP_ALPHA}"
    return _make("transparency", False, title, mend, list(problems.values()), problems)


def group_copies(photos: Mapping[Path, PhotoFacts]) -> tuple[list[list[Path]], list[tuple[Path, Path]]]:
    """Group the photos of the same content, and list the pairs of others that show nearly the same view."""
    by_hash: dict[str, list[Path]] = defaultdict(list)
    for path, facts in photos.items():
        by_hash[facts.sha256].append(path)
    paths = list(photos)
    views = np.array([facts.look.view for facts in photos.values()])
    pairs = [(paths[a], paths[b]) for a, b in list_same_views(views)] if paths else []
    near = [(a, b) for a, b in pairs if photos[a].sha256 != photos[b].sha256]
    return [group for group in by_hash.values() if len(group) > 1], near


def _find_copies(known: Evidence) -> list[Fault]:
    """Find photos of the same content or view: in two sets, with masks that differ, and others."""
    photos, masks, sets = known.survey.photos, known.mask_of, known.sets
    copies, near = group_copies(photos)
    pairs = {pair: "is the same file as" for group in copies for pair in _pair_copies(group, sets)}
    pairs |= dict.fromkeys(near, "shows nearly the same view as")
    leaks: list[tuple[Path, Path, str]] = []
    twice, same, alike = leaks.copy(), leaks.copy(), leaks.copy()
    for (a, b), words in pairs.items():
        # What has a mask but another fault is trained on as soon as that is mended.
        own = {one: sets.get(one) or (TRAIN if one in masks else "") for one in (a, b)}
        if _are_apart(a, b, sets) or set(own.values()) == {TRAIN, TEST}:
            a, b = (a, b) if own[b] == TEST else (b, a)
            leaks.append((a, b, f"({own[b]}) {words} {a} ({own[a]})"))
        elif a in masks and b in masks and words.startswith("is") and not _are_alike(masks[a], masks[b]):
            twice.append((a, b, f"{words} {a}, with another mask"))
        else:
            (same if words.startswith("is") else alike).append((a, b, f"{words} {a}"))
    found = []
    for kind, members, title, mend in (
        ("leak", leaks, "# photo{|s} {is|are} in two sets at once: what was learnt by heart counts as found, so the "
         "score is too good", "move one of each pair away, or both into one set"),
        ("contradiction", twice, "# photo{|s} {is|are} there twice, with masks that differ", "keep the better mask"),
        ("copies", same, "# photo{|s} {is|are} the same file as another", "remove all but one, or they count twice"),
        ("same view", alike, "# photo{|s} {shows|show} nearly the same view as another",
         "keep such photos in one set, or leave some out"),
    ):  # fmt: skip
        problems = [Problem(str(b), text) for _, b, text in members]
        shown = dict.fromkeys(path for a, b, _ in members for path in (a, b))
        found += _make(kind, False, title, mend, problems, shown)
    return found


def _pair_copies(group: Sequence[Path], sets: Mapping[Path, str]) -> Iterable[tuple[Path, Path]]:
    """Pair each copy with the first one of another set, if there is one, or with the first of all."""
    firsts = {sets.get(path): path for path in reversed(group)}
    for path in group[1:]:
        yield next((one for one in firsts.values() if _are_apart(one, path, sets)), group[0]), path


def _are_apart(first: Path, second: Path, sets: Mapping[Path, str]) -> bool:
    return len({sets.get(first), sets.get(second)} & {TRAIN, VALID, TEST}) == 2


def _are_alike(first: MaskFacts, second: MaskFacts) -> bool:
    return first.counts == second.counts and np.array_equal(first.small, second.small)


def _find_alone(known: Evidence) -> list[Fault]:
    orphans = [
        Problem(str(path), f"has no photo; looked for {find_owner(path, ())}.jpg") for path in known.found.orphans
    ]
    title, mend = "# mask{|s} {has|have} no photo", "put the photo{|s} beside the others, or rename {it|them} alike"
    found = _make("orphan", False, title, mend, orphans)
    alone = [path for path in known.found.unlabelled if known.sets.get(path) != TEST]
    title, mend = "# photo{|s} {has|have} no mask", "label {it|them} to train on {it|them}: hybridseg label"
    return found + _make(ASIDE, False, title, mend, [Problem(str(path), "has no mask") for path in alone], alone)


def _find_unsuited(known: Evidence) -> list[Fault]:
    photos = {path: facts.suitability for path, facts in known.survey.photos.items() if facts.mean}
    reasons = dict(zip(photos, judge_photos(list(photos.values())), strict=True))
    found = []
    for kind, mend in _SUITABILITY.items():
        problems = {path: Problem(str(path), own[kind]) for path, own in reasons.items() if kind in own}
        title = "# photo{|s} {is|are} " + ("nearly empty" if kind == "empty" else kind)
        found += _make(kind, False, title, mend, list(problems.values()), problems)
    return found


def warn_of_classes(
    table: ClassTable, in_train: Collection[str], in_test: Collection[str], *, test_is: str = "testing"
) -> list[str]:
    """Say which classes of a list cannot be learnt, or have no score.

    Examples
    --------
    >>> warn_of_classes(ClassTable.from_names(["water", "sand", "cliff"]), ["water", "sand"], ["water"])[1]
    'classes that are in no photo for testing, so they have no score: sand'
    """
    reasons = {
        "are in the class list and in no mask": [n for n in table.names if n not in in_train and n not in in_test],
        "are in no photo for training, so they cannot be found": [n for n in in_test if n not in in_train],
        f"are in no photo for {test_is}, so they have no score": [n for n in in_train if n not in in_test],
    }
    return [f"classes that {reason}: {', '.join(names)}" for reason, names in reasons.items() if names]
