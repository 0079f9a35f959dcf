"""Tune the constants of the CRF on labelled images, for a classifier and a kind of scene.

The tiles of every image are classified once; then many CRFs are tried on their votes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.classes import VOID, ClassTable, match_names, remap
from hybridseg.confusion import Confusion, count_confusion, pool_confusions
from hybridseg.crf.options import CrfOptions
from hybridseg.errors import (
    BadInput,
    HybridSegError,
    MissingInput,
    OutputExists,
    Problem,
    count_problems,
    join_names,
    located,
)
from hybridseg.forecast import Weighted
from hybridseg.hybrid.segmentation import HybridOptions, reduce_image, refine_votes, vote_on_tiles
from hybridseg.hybrid.votes import TileVotes
from hybridseg.io.images import load_image
from hybridseg.io.jsonfiles import holds_keys, read_json_object
from hybridseg.io.labelled import fit_labels
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.locks import lock_output
from hybridseg.io.pairing import Pair
from hybridseg.io.tables import write_json
from hybridseg.markup import render_text, short_path
from hybridseg.models.cards import hash_file
from hybridseg.models.ensemble import AnyClassifier, list_members
from hybridseg.models.store import tuning_path
from hybridseg.options import Span, check_options, option
from hybridseg.progress import Progress, no_progress
from hybridseg.resample import resize_nearest, take_nearest
from hybridseg.verdict import Verdict, judge

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
SCORES = ("iou", "accuracy")

# Each constant is drawn from its range, uniformly in the logarithm.
SEARCH_RANGES = {
    "theta": (10.0, 100.0),
    "color_scale": (2.0, 12.0),
    "space_compat": (0.5, 10.0),
    "color_compat": (5.0, 100.0),
}
# The weight of a class is 1 / share ** balance: a higher balance favours rare classes.
BALANCES = (0.0, 0.25, 0.5)
# The last third of the trials stays within this factor of the best one so far.
_NEAR = 1.6
_SHARE_NEAR = 1 / 3
# Of a photo of half a megapixel, see docs/benchmarks.md.
_TILES_SECONDS, _CRF_SECONDS = 1.0, 0.5


@dataclass(frozen=True)
class TuneOptions:
    """How the constants are searched.

    The trials come on top of the first CRF, which is tried with every balance.
    """

    n_trials: int = option(24, "Number of random CRFs to try.", span=Span(1))
    score: str = option("iou", "Score to maximize: the mean IoU of all classes, or the pixel accuracy.", choices=SCORES)
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, eq=False)
class Trial:
    """A CRF (None: the tiles alone) with a balance of the classes, and its confusion matrix of each image."""

    crf: CrfOptions | None
    balance: float
    images: tuple[Confusion, ...]

    @cached_property
    def confusion(self) -> Confusion:
        """The confusion matrix of all images together."""
        return pool_confusions(self.images)

    def score(self, name: str) -> float:
        """Return one of `SCORES`."""
        value = self.confusion.macro("iou") if name == "iou" else self.confusion.accuracy
        return 0.0 if value is None else value

    def to_record(self) -> dict[str, Any]:
        """Return the constants and the scores as JSON holds them."""
        constants = {name: getattr(self.crf, name) for name in SEARCH_RANGES} if self.crf else None
        return {"crf": constants, "balance": self.balance, **{name: self.score(name) for name in SCORES}}


@dataclass(frozen=True, eq=False)
class TuneResult:
    """Every trial, the best one, and the file that `semseg` reads.

    `unknown` are the classes of the label maps that the model lacks: no CRF finds them, so their pixels do not count.
    """

    trials: tuple[Trial, ...]
    best: Trial
    verdict: Verdict | None
    path: Path
    problems: tuple[Problem, ...]
    unknown: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<TuneResult: {self._describe()}{count_problems(self.problems)}>"

    def _describe(self) -> str:
        scores = (f"{trial.score('iou'):.3f}" for trial in (self.best, self.trials[0]))
        return "{}, mean IoU {} (the tiles alone {})".format(short_path(self.path), *scores)

    def _repr_html_(self) -> str:
        text = render_text(self._describe(), self.verdict and self.verdict.text)
        return text + self.best.confusion._repr_html_() + render_text(*self.problems)


@dataclass(frozen=True, eq=False)
class _Example:
    """A labelled image at the size at which the CRF works."""

    image: np.ndarray
    votes: TileVotes
    truth: np.ndarray
    shape: tuple[int, int]
    """Rows and columns at its full size."""
    unknown: tuple[str, ...]


def tune_crf(
    pairs: Sequence[Pair],
    classifier: AnyClassifier,
    *,
    start: HybridOptions,
    options: TuneOptions = TuneOptions(),
    table: ClassTable | None = None,
    problems: Sequence[Problem] = (),
    progress: Progress = no_progress,
) -> TuneResult:
    """Try CRFs on labelled images and write the best one beside the model.

    Parameters
    ----------
    pairs : sequence of Pair
        Label maps and their images, preferably not those that the classifier was trained on.
    start : HybridOptions
        The tiles, the scale and the first CRF.
    table : ClassTable or None
        The classes of label maps that do not name theirs.
    problems : sequence of Problem
        Those found while pairing; they are reported with the others.

    Raises
    ------
    MissingInput
        When no image can be used.
    OutputExists
        When a file that is not a result of tuning has its name, or another run writes it now.
    """
    path = tuning_path(classifier.path)
    with lock_output(path):
        if path.exists() and not holds_keys(path, "best", "trials"):
            raise OutputExists(f"{path} is another file, and the result would replace it; rename that file")
        examples, problems = [], list(problems)
        n_trials = len(BALANCES) + options.n_trials
        expected = Weighted(pairs, _TILES_SECONDS, after=n_trials * len(pairs) * _CRF_SECONDS)
        for pair in progress(expected, label="classifying tiles"):
            try:
                examples.append(_prepare_example(pair, classifier, start, table))
            except HybridSegError as error:
                problems.append(Problem.of(pair.labels_path, error))
        if not examples:
            reasons = "".join(f"\n  {problem}" for problem in problems) or " was given"
            raise MissingInput(f"no labelled image to tune on{':' * bool(problems)}{reasons}")
        tiles = [example.votes.spread(example.votes.find_labels(), example.truth.shape) for example in examples]
        alone = [count_confusion(e.truth, labels, classifier.table) for e, labels in zip(examples, tiles, strict=True)]
        trials = [Trial(None, 0.0, tuple(alone))]
        shares = _measure_shares(trials[0].confusion)
        rng = np.random.default_rng(options.seed)
        for number in progress(Weighted(range(n_trials), len(examples) * _CRF_SECONDS), label="trying CRFs"):
            if number < len(BALANCES):
                crf, balance = start.crf, BALANCES[number]
            else:
                crf, balance = _draw_trial(number - len(BALANCES), trials, options, rng)
            tried = replace(start, crf=crf, class_weights=_weigh_classes(shares, balance))
            trials.append(Trial(crf, balance, tuple(_try_crf(e, tried, classifier) for e in examples)))
            logger.info("%s: %.4f", crf, trials[-1].score(options.score))
        best = max(trials[1:], key=lambda trial: trial.score(options.score))
        settings = replace(start, class_weights=_weigh_classes(shares, best.balance))
        verdict = judge(best.images, floors={"the tiles alone": trials[0].confusion.accuracy})
        record = _make_record(classifier, settings, best, trials, len(examples))
        write_json(path, {**record, "verdict": verdict.to_record() if verdict else None})
        unknown = dict.fromkeys(name for example in examples for name in example.unknown)
        return TuneResult(tuple(trials), best, verdict, path, tuple(problems), tuple(unknown))


def read_tuning(model_paths: Sequence[Path]) -> HybridOptions | None:
    """Read the result of `tune_crf` for a classifier, or for several that vote; None when it was never tuned.

    Raises
    ------
    BadInput
        When the file is damaged, or was made for other models.
    """
    path = tuning_path(model_paths[0])
    if not path.exists():
        return None
    remedy = "remove it, or tune again (hybridseg tune-crf)"
    record = read_json_object(path, errors="surrogateescape", remedy=remedy)
    with located(path):
        try:
            if record["format"] != FORMAT_VERSION:
                raise BadInput("it was written by another version of hybridseg; tune again (hybridseg tune-crf)")
            if record["sha256"] != [hash_file(path) for path in model_paths]:
                raise BadInput(
                    f"it was made for {join_names(record['models'])} as they were then, not for these models; "
                    "tune again (hybridseg tune-crf)"
                )
            constants: dict[str, Any] = {name: float(record["best"]["crf"][name]) for name in SEARCH_RANGES}
            settings = {**record["settings"], "class_weights": tuple(record["settings"]["class_weights"])}
            return HybridOptions(**settings, crf=CrfOptions(**constants))
        except BadInput:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise BadInput(f"it is damaged ({error}); {remedy}") from error


def _prepare_example(pair: Pair, classifier: AnyClassifier, start: HybridOptions, table: ClassTable | None) -> _Example:
    labelmap = read_labelmap(pair.labels_path, table=table, with_seeds=False)
    own, known = labelmap.require_table(pair.labels_path), classifier.table
    with located(pair.labels_path):
        unknown, _ = match_names(own.names, known.names, first_is="the label map", second_is="the model")
    image = load_image(pair.image_path)
    truth = fit_labels(remap(own, known, drop=True)[labelmap.labels], pair.labels_path, image.info, image.valid)
    pixels = image.as_rgb8()
    votes, _ = vote_on_tiles(pixels, classifier, options=start, valid=image.valid)
    small = reduce_image(pixels, start.scale_for(image.info.shape, classifier.tile_size))
    return _Example(small, votes, resize_nearest(truth, small.shape[:2]), image.info.shape, unknown)


def _measure_shares(confusion: Confusion) -> np.ndarray:
    """Return the share of every class in the truth, at least 1 in 1,000."""
    return np.maximum(confusion.support / max(confusion.n_pixels, 1), 1e-3)


def _weigh_classes(shares: np.ndarray, balance: float) -> tuple[float, ...]:
    return tuple(float(f"{weight:.4g}") for weight in shares**-balance) if balance else ()


def _draw_trial(
    number: int, trials: Sequence[Trial], options: TuneOptions, rng: np.random.Generator
) -> tuple[CrfOptions, float]:
    """Draw the first trials from the whole ranges, the last ones near the best."""
    first = trials[1].crf or CrfOptions()
    if number < options.n_trials * (1 - _SHARE_NEAR):
        drawn = {name: float(np.exp(rng.uniform(*np.log(bounds)))) for name, bounds in SEARCH_RANGES.items()}
        balance = BALANCES[rng.integers(len(BALANCES))]
    else:
        best = max(trials[1:], key=lambda trial: trial.score(options.score))
        drawn = {name: getattr(best.crf or first, name) * _NEAR ** rng.uniform(-1, 1) for name in SEARCH_RANGES}
        balance = best.balance
    # The search cannot resolve more than three digits.
    rounded: dict[str, Any] = {name: float(f"{value:.3g}") for name, value in drawn.items()}
    return replace(first, **rounded), balance


def _try_crf(example: _Example, options: HybridOptions, classifier: AnyClassifier) -> Confusion:
    fitted = options.fit(example.shape, classifier.tile_size)
    refinement, _ = refine_votes(example.image, example.votes, options=fitted)
    labels = take_nearest(refinement.labels, refinement.labels != VOID)
    return count_confusion(example.truth, labels, classifier.table)


def _make_record(
    classifier: AnyClassifier, settings: HybridOptions, best: Trial, trials: Sequence[Trial], n_images: int
) -> dict[str, Any]:
    paths = [member.path for member in list_members(classifier)]
    return {
        "format": FORMAT_VERSION,
        "models": [path.name for path in paths],
        "sha256": [hash_file(path) for path in paths],
        # The constants are in `best`; threads and memory concern this machine alone.
        "settings": {name: value for name, value in asdict(settings).items() if name != "crf"},
        "n_images": n_images,
        "best": best.to_record(),
        "trials": [trial.to_record() for trial in trials],
    }
