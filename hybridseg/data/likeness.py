"""Which photos show the same view, and which for testing are of the day or the series of photos that are trained on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridseg.data.splitplan import group_images
from hybridseg.errors import BadInput
from hybridseg.io.images import LoadedImage
from hybridseg.resample import resize_image

_THUMBNAIL = (24, 32)
# Different photos of one coast reach 0.92 (see docs/benchmarks.md).
_SAME_VIEW = 0.95
# Of 64 bits of the perceptual hash: copies that are cut, smaller or brighter differ in 12 at most, other photos of one
# coast in 16 or more.
_SAME_HASH, _HASH_SIDE, _BLOCK = 14, 8, 1024
_DAY = re.compile(
    r"(?<!\d)((?:19|20)\d\d)[-_.:]?(0[1-9]|1[0-2])[-_.:]?(0[1-9]|[12]\d|3[01])(?=\D|$|(?:[01]\d|2[0-3])[0-5]\d)"
)
# The simplest first: expressions that may tell the days and the series of names.
_EXPRESSIONS = (r"\d{4}-\d\d-\d\d", r"\d{4}-\d{4}", r"\d{8}", r"(\d{4})[-_.]?(\d\d)[-_.]?(\d\d)", r"^(.+)[-_. ]\d+$")
_OTHER_DAYS = "choose photos for testing that are of other days and places than those for training"
_LEAST_GROUPS, _MOST_IN_A_GROUP = 3, 0.67


@dataclass(frozen=True, eq=False)
class Look:
    """What tells whether a photo belongs with another.

    Parameters
    ----------
    day : str
        When it was taken, ``2018-10-06``, by its EXIF data or its name; empty when neither tells.
    view : numpy.ndarray
        (n,) float32, a thumbnail whose product with another is their correlation.
    """

    name: str
    day: str
    view: np.ndarray

    @classmethod
    def of(cls, name: str, taken: str, view: np.ndarray) -> Look:
        """Make it of the name of a photo, the time that its EXIF data tell, and its view."""
        return cls(name, read_day(taken) or read_day(Path(name).stem), view)


def look_at(photo: LoadedImage) -> Look:
    """Return the look of a photo."""
    # A thumbnail needs no more than some of the pixels.
    step = max(1, min(photo.pixels.shape[:2]) // (8 * _THUMBNAIL[0]))
    view = resize_image(photo.as_rgb8(step=step), _THUMBNAIL).astype(np.float32)
    view -= view.mean(axis=(0, 1))
    unit = view.ravel() / max(float(np.linalg.norm(view)), 1e-6)
    return Look.of(photo.info.path.name, photo.info.taken, unit)


def hash_view(view: np.ndarray) -> np.ndarray:
    """Return the perceptual hash of a view, (64,) bool: which of its lowest frequencies are above their median."""
    grey = view.reshape(*_THUMBNAIL, 3).mean(axis=2)
    waves = [np.cos(np.pi / n * np.outer(np.arange(_HASH_SIDE), np.arange(n) + 0.5)) for n in _THUMBNAIL]
    found = (waves[0] @ grey @ waves[1].T).ravel()
    return found > np.median(found)


def spell_hash(bits: np.ndarray) -> str:
    """Return a hash as 16 hexadecimal digits."""
    return np.packbits(bits).tobytes().hex()


def list_same_views(views: np.ndarray) -> list[tuple[int, int]]:
    """List the pairs of numbers of photos that show nearly the same view, the smaller number first.

    Parameters
    ----------
    views : numpy.ndarray
        (photos, n) float32, as of `Look`. Those whose perceptual hashes differ in few bits are compared.
    """
    signs = np.array([hash_view(view) for view in views], np.float32).reshape(-1, _HASH_SIDE**2) * 2 - 1
    found = []
    for start in range(0, len(views), _BLOCK):
        n_same = signs[start : start + _BLOCK] @ signs.T
        for row, col in np.argwhere(n_same >= signs.shape[1] - 2 * _SAME_HASH):
            first, second = start + int(row), int(col)
            if first < second and views[first] @ views[second] > _SAME_VIEW:
                found.append((first, second))
    return found


def read_day(text: str) -> str:
    """Find a date in the name of a file, or in a time of EXIF.

    Examples
    --------
    >>> [read_day(text) for text in ("2018-1006-135601-DSC04277", "IMG_20180610_1", "2018:10:06 13:56:01", "p0100219")]
    ['2018-10-06', '2018-06-10', '2018-10-06', '']
    """
    match = _DAY.search(text)
    return "-".join(match.groups()) if match else ""


def describe_likeness(train: Sequence[Look], test: Sequence[Look], *, is_grouped: bool = False) -> str:
    """Say what `judge_likeness` finds, in a line."""
    return "; ".join(judge_likeness(train, test, is_grouped=is_grouped))


def judge_likeness(train: Sequence[Look], test: Sequence[Look], *, is_grouped: bool = False) -> tuple[str, ...]:
    """Say how many photos for testing are close to photos for training, so that their score is too good; or nothing.

    What is done about it comes second.

    Parameters
    ----------
    is_grouped : bool
        Whether the user has chosen what is kept together.
    """
    looks, n = (*test, *train), len(test)
    if not (train and test):
        return ()
    names, days = [look.name for look in looks], np.array([look.day for look in looks])
    same_day = (days[:, None] == days) & (days != "")
    same_view = np.eye(len(looks), dtype=bool)
    for first, second in list_same_views(np.array([look.view for look in looks])):
        same_view[first, second] = same_view[second, first] = True
    if same_day.all():
        what = f"all photos are from one day, {days[0]}; how good it is on other days is not measured"
        return what, "add photos of other days, and test on these"
    kinds = {"from the same day as": same_day, "of nearly the same view as": same_view & ~same_day}
    found = [
        f"{_count(alike[:n, n:])} {what} photos for training (such as {names[row]} and {names[n + col]})"
        for what, alike in kinds.items()
        for row, col in np.argwhere(alike[:n, n:])[:1]
    ]
    if found:
        advice = _OTHER_DAYS if is_grouped else _advise(names, same_day | same_view)
        return f"{'; '.join(found)}: on other days and places it may be worse than the score says", advice
    if is_grouped or not (expression := _find_series(names)):
        return ()
    group_of = _name_groups(names, expression)
    groups = np.array([group_of[name] for name in names])
    alike = groups[:n, None] == groups[n:]
    if not alike.any():
        return ()
    series = ", ".join(sorted(set(groups))[:3])
    return (
        f"{_count(alike)} named like photos for training ({series}, ...)",
        f"if these are flights or places, --group-by '{expression}' keeps each in one set, so that the score holds for "
        "others",
    )


def _count(alike: np.ndarray) -> str:
    """Count the photos for testing, the rows, that are like any photo for training."""
    n, n_all = int(np.count_nonzero(alike.any(axis=1))), len(alike)
    every = {1: "the photo", 2: "both photos"}.get(n, f"all {n} photos")
    photos = every if n == n_all else f"{n} of the {n_all} photos"
    return f"{photos} for testing {'is' if n == 1 else 'are'}"


def _advise(names: list[str], alike: np.ndarray) -> str:
    """Name an expression that keeps together all that is alike."""
    pairs = [(names[row], names[col]) for row, col in np.argwhere(alike)]
    for expression in _EXPRESSIONS:
        group_of = _name_groups(names, expression)
        if _divides(group_of) and all(group_of[a] == group_of[b] for a, b in pairs):
            return f"--group-by '{expression}' keeps such photos in one set"
    return "keep such photos in one set, with --group-by"


def _find_series(names: list[str]) -> str:
    """Return the expression for the series that names show: several, most of them of more than one photo."""
    group_of = _name_groups(names, _EXPRESSIONS[-1])
    groups = list(group_of.values())
    n_together = sum(groups.count(group) > 1 for group in groups)
    return _EXPRESSIONS[-1] if _divides(group_of) and n_together > len(names) / 2 else ""


def _name_groups(names: list[str], expression: str) -> dict[str, str]:
    try:
        return {name: group for group, members in group_images(names, expression).items() for name in members}
    except BadInput:
        return {}


def _divides(group_of: dict[str, str]) -> bool:
    """Return whether there are enough groups to test on some and train on others."""
    groups = list(group_of.values())
    sizes = [groups.count(group) for group in set(groups)]
    return len(sizes) >= _LEAST_GROUPS and max(sizes) <= _MOST_IN_A_GROUP * len(groups)
