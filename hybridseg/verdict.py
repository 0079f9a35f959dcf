"""What scores mean, in a sentence or two: good or poor, the weakest class, on how many photos that rests, what is next.

A result is as good as the lower of its two marks: the skill, which is the share of the errors of always answering the
commonest class that it avoids, and the mean F1 of the classes in the truth. The bands are `SKILL_BANDS`, `F1_BANDS`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from hybridseg.confusion import Confusion, pool_confusions
from hybridseg.markup import count_of

GRADES = ("poor", "fair", "good", "very good")
# From where a result is fair, good and very good.
SKILL_BANDS = (0.4, 0.6, 0.8)
F1_BANDS = (0.5, 0.75, 0.9)
# Fewer photos than this give no figure to rely on; from so many on, drawing among them gives an interval.
FEW_PHOTOS, MANY_PHOTOS = 5, 10
_N_DRAWS = 2000


@dataclass(frozen=True)
class NextSteps:
    """What to do after a result.

    Parameters
    ----------
    good, weak : str
        After one that is good, and one that is not; ``{weakest}`` stands for the weakest class.
    few : str
        After a fair or good one that rests on too few photos.
    beaten : str
        After one that another way equals, see `Verdict.beaten_by`; default: as after any other.
    lone : str
        Where the truth holds one class only.
    """

    good: str
    few: str
    weak: str = "label more photos with {weakest} and train again, or try hybridseg fcn, which learns from whole photos"
    beaten: str = ""
    lone: str = "measure it on photos that show other classes too"


@dataclass(frozen=True)
class Verdict:
    """A judgement of some scores.

    Parameters
    ----------
    grade : str or None
        One of `GRADES`; None where the truth holds one class only.
    skill : float or None
        (accuracy - majority) / (1 - majority).
    majority : float
        Accuracy of always answering the commonest class of the truth.
    weakest : str or None
        The class with the lowest F1, of those in the truth.
    interval : (float, float) or None
        Of the accuracy: its 95 % interval over photos drawn again and again, or, for fewer than `MANY_PHOTOS`, the
        lowest and the highest of a photo. None for one photo.
    beaten_by : tuple of str
        The floors that the result does not exceed.
    floors : dict of str to float
        The accuracy of each.
    text : str
        What is said.
    """

    grade: str | None
    skill: float | None
    majority: float
    weakest: str | None
    n_photos: int
    interval: tuple[float, float] | None
    beaten_by: tuple[str, ...]
    floors: dict[str, float]
    text: str

    def __repr__(self) -> str:
        return f"<Verdict: {self.text}>"

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        interval = list(self.interval) if self.interval else None
        return {**asdict(self), "interval": interval, "beaten_by": list(self.beaten_by)}

    def choose_step(self, steps: NextSteps) -> str:
        """Return what to do next."""
        if self.grade is None:
            return steps.lone
        if self.beaten_by and steps.beaten:
            return steps.beaten
        if self.grade in GRADES[:2]:
            return steps.weak.replace("{weakest}", f"'{self.weakest}'")
        return steps.few if self.n_photos < FEW_PHOTOS else steps.good


def judge(
    photos: Sequence[Confusion],
    *,
    unit: str = "pixels",
    floors: Mapping[str, float | None] = MappingProxyType({}),
) -> Verdict | None:
    """Judge the scores of some photos.

    Parameters
    ----------
    photos : sequence of Confusion
        One for each photo: photos, unlike the pixels of one, are independent of one another.
    unit : str
        What is counted: ``pixels`` or ``tiles``.
    floors : mapping of str to float
        Accuracies that a result should exceed, besides that of the commonest class, each with its name.

    Returns
    -------
    Verdict or None
        None when nothing was compared.

    Examples
    --------
    >>> from hybridseg.classes import ClassTable
    >>> from hybridseg.confusion import count_confusion
    >>> table = ClassTable.from_names(["water", "sand"])
    >>> photo = count_confusion(np.repeat([0, 1], 50), np.repeat([0, 1, 0], [50, 40, 10]), table)
    >>> verdict = judge([photo] * 3)
    >>> print(verdict.text.replace(". ", ".\\n"))
    Good: 90 % of the pixels are right; the same answer everywhere would get 50 %.
    Mean F1 0.90; the weakest class is 'sand' (F1 0.89), most often taken for 'water'.
    Measured on 3 photos (90 % right in each): too few to rely on.
    """
    photos = [photo for photo in photos if photo.n_pixels]
    if not photos:
        return None
    confusion = pool_confusions(photos)
    accuracy, majority = confusion.accuracy or 0.0, float(confusion.support.max() / confusion.n_pixels)
    n_photos, interval = len(photos), measure_interval(photos)
    if majority == 1:
        [only] = (name for name in confusion.table.names if name not in confusion.left_out)
        text = (
            f"No verdict: only '{only}' is in the truth ({_percent(accuracy)} of the {unit} are right), which does not "
            "show how well classes are told apart."
        )
        return Verdict(None, None, majority, None, n_photos, interval, (), {}, text)
    n_commonest = int(confusion.support.max())
    skill = (int(np.trace(confusion.counts)) - n_commonest) / (confusion.n_pixels - n_commonest)
    mark = min(bisect_right(SKILL_BANDS, skill), bisect_right(F1_BANDS, confusion.macro("f1") or 0.0))
    weakest = _find_weakest(confusion)
    sentences = (
        f"{GRADES[mark].capitalize()}: {_compare(confusion, accuracy, majority, floors, unit)}.",
        _describe_class(confusion, weakest),
        _describe_photos(n_photos, interval),
    )
    known = {name: value for name, value in floors.items() if value is not None}
    return Verdict(
        GRADES[mark],
        skill,
        majority,
        confusion.table.names[weakest],
        n_photos,
        interval,
        tuple(name for name, value in known.items() if value >= accuracy),
        known,
        " ".join(filter(None, sentences)),
    )


def measure_interval(photos: Sequence[Confusion]) -> tuple[float, float] | None:
    """Return between what values the accuracy lies, see `Verdict.interval`."""
    if len(photos) < 2:
        return None
    hits = np.array([np.trace(photo.counts) for photo in photos], np.float64)
    counts = np.array([photo.n_pixels for photo in photos], np.float64)
    if len(photos) < MANY_PHOTOS:
        return float((hits / counts).min()), float((hits / counts).max())
    drawn = np.random.default_rng(0).integers(0, len(photos), (_N_DRAWS, len(photos)))
    low, high = np.percentile(hits[drawn].sum(axis=1) / counts[drawn].sum(axis=1), (2.5, 97.5))
    return float(low), float(high)


def _find_weakest(confusion: Confusion) -> int:
    return int(np.argmin([2.0 if score is None else score for score in confusion.scores("f1")]))


def _compare(
    confusion: Confusion, accuracy: float, majority: float, floors: Mapping[str, float | None], unit: str
) -> str:
    """Say how much is right, and how much other ways would get right."""
    text = f"{_percent(accuracy)} of the {unit} are right"
    for name, value in floors.items():
        if value is not None:
            much = (
                "about as many as"
                if abs(accuracy - value) < 0.005
                else "more than"
                if accuracy > value
                else "fewer than"
            )
            text += f", {much} {name} ({_percent(value)})"
    commonest = np.flatnonzero(confusion.support == confusion.support.max())
    answer = f"always answering '{confusion.table.names[commonest[0]]}'"
    if len(commonest) > 1:
        answer = "the same answer everywhere"
    return f"{text}; {answer} would get {_percent(majority)}"


def _describe_class(confusion: Confusion, weakest: int) -> str:
    """Say what the weakest class is taken for, or what is taken for it, whichever is more frequent."""
    names, found = confusion.table.names, np.diag(confusion.counts)
    missed, wrong = confusion.counts[weakest].copy(), confusion.counts[:, weakest].copy()
    missed[weakest] = wrong[weakest] = 0
    n_missed = int(missed.sum() + confusion.n_unpredicted[weakest])
    if not n_missed and not wrong.any():
        return ""
    never = [f"'{name}'" for name, n, hits in zip(names, confusion.support, found, strict=True) if n and not hits]
    mean = f"Mean F1 {confusion.macro('f1'):.2f}"
    if len(never) > 1:
        return f"{mean}: {', '.join(never[:-1])} and {never[-1]} are never found."
    lead = f"{mean}; the weakest class is '{names[weakest]}' (F1 {confusion.scores('f1')[weakest]:.2f})"
    if n_missed < wrong.sum() and not never:
        share = _percent(wrong.max() / confusion.counts[:, weakest].sum())
        return f"{lead}: {share} of what is taken for it is '{names[int(wrong.argmax())]}'."
    nothing = confusion.n_unpredicted[weakest] > missed.max()
    fate = "most often left without a class" if nothing else f"most often taken for '{names[int(missed.argmax())]}'"
    return f"{mean}: {never[0]} is never found, and {fate}." if never else f"{lead}, {fate}."


def _describe_photos(n_photos: int, interval: tuple[float, float] | None) -> str:
    if interval is None:
        return "Measured on one photo: too few to rely on."
    # Both with as many decimals.
    digits = max(map(_count_digits, interval))
    low, high = (_percent(share, digits) for share in interval)
    span = f"{low.removesuffix(' %')} to {high}" if low != high else high
    few = ": too few to rely on" if n_photos < FEW_PHOTOS else ""
    what = f"95 % interval {span}" if n_photos >= MANY_PHOTOS else f"{span} right in each"
    return f"Measured on {count_of(n_photos, 'photo')} ({what}){few}."


def _percent(share: float, digits: int | None = None) -> str:
    """Format a share; one decimal where a whole number would say all or nothing, and less than all is never 100 %.

    Examples
    --------
    >>> _percent(0.456), _percent(0.998), _percent(0.9999), _percent(1.0)
    ('46 %', '99.8 %', '99.9 %', '100 %')
    """
    digits = _count_digits(share) if digits is None else digits
    shown = min(share, 0.999) if digits and share < 1 else share
    return f"{shown:.{digits}%}".replace("%", " %")


def _count_digits(share: float) -> int:
    return 1 if 0 < share < 0.01 or 0.99 < share < 1 else 0
