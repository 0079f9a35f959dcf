"""What a study found: the scores of each method, how sure it is, its best and worst photos, what to label next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.batch.results import read_confidence
from hybridseg.calibration import Calibration, measure_calibration
from hybridseg.classes import VOID, ClassTable
from hybridseg.confusion import Confusion
from hybridseg.errors import BadInput
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.masks import find_masks
from hybridseg.io.pairing import image_stem, list_images
from hybridseg.markup import count_of, spell_command
from hybridseg.models.cards import parse_fields
from hybridseg.ranking import rank_images
from hybridseg.study.inputs import Inputs, StudyOptions, StudyPaths
from hybridseg.study.story import explain_damage, read_scores
from hybridseg.verdict import FEW_PHOTOS, NextSteps, Verdict

# What tells how certain a result is, from 0 to 1. The probabilities of the CRF are close to 1 everywhere: where it had
# to change much of what the tiles say, photos are worst (see docs/benchmarks.md).
CERTAINTIES = {"hybrid": "share of pixels on which tiles and CRF agree", "fcn": "mean probability of the classes found"}
# What the calibration is measured on: more would only take memory.
_MAX_PIXELS = 20_000_000
# Accuracy, multi-label Dice and mistakes of a pair, see `PhotoResult`.
_Pair = tuple[float | None, float | None, dict[str, tuple[int, int]]]
METHOD_TITLES = {"hybrid": "hybrid (tiles and CRF)", "fcn": "fcn (whole photos)"}


@dataclass(frozen=True, eq=False)
class PhotoResult:
    """A photo, the label map that was found, its mask if it has one, and its scores.

    Parameters
    ----------
    accuracy, dice : float or None
        Share of the pixels that are right, and the multi-label Dice; None without a mask.
    certainty : float or None
        See `CERTAINTIES`.
    mistakes : dict of str to (int, int)
        For each class, how many pixels of it were missed, and how many of others taken for it.
    """

    image_path: Path
    result_path: Path
    truth_path: Path | None
    accuracy: float | None
    dice: float | None
    certainty: float | None
    mistakes: dict[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class MethodFindings:
    """What one method reached on the photos for testing, and on those without a mask.

    Parameters
    ----------
    pooled : dict
        The scores of all photos for testing, as `eval-pixels` wrote them.
    tested : tuple of PhotoResult
        The worst first.
    unlabelled : tuple of PhotoResult
        The least certain first.
    """

    name: str
    scores_dir: Path
    pooled: dict[str, Any]
    verdict: Verdict | None
    calibration: Calibration | None
    tested: tuple[PhotoResult, ...]
    unlabelled: tuple[PhotoResult, ...]

    @property
    def mark(self) -> float:
        """By what methods are compared: the mean F1 of the classes."""
        return self.pooled["macro"]["f1"] or 0.0


@dataclass(frozen=True, eq=False)
class Findings:
    """The findings of each method, and what to do next after the best of them."""

    methods: tuple[MethodFindings, ...]
    next_steps: NextSteps

    @property
    def best(self) -> MethodFindings:
        """The method with the highest mean F1."""
        return max(self.methods, key=lambda method: method.mark)


def read_findings(paths: StudyPaths, options: StudyOptions, inputs: Inputs) -> Findings:
    """Read what the commands of a study wrote."""
    methods = tuple(_read_method(paths, name, inputs) for name in options.methods)
    best = max(methods, key=lambda method: method.mark)
    use: tuple[object, ...] = ("semseg", "PHOTOS", "--model", paths.out / "hybrid/model.pb")
    if best.name != "hybrid":
        words = ("--name", "fcn", "--runs-dir", paths.out, "--samples-dir", "PHOTOS", "--output-dir", "RESULTS")
        use = ("fcn", "infer", *words)
    other = "" if len(methods) > 1 else ", or try --method both"
    steps = NextSteps(
        good=spell_command(use),
        few=f"label more photos, so that {FEW_PHOTOS} or more are for testing, and run the same command again",
        weak="label more photos with {weakest} and run the same command again" + other,
        beaten="" if len(methods) > 1 else "try --method both, for the CRF gains nothing over the tiles alone here",
    )
    return Findings(methods, steps)


def _read_method(paths: StudyPaths, name: str, inputs: Inputs) -> MethodFindings:
    home = paths.out / name
    record = read_scores(home / "scores")
    with explain_damage(home / "scores" / "eval_pixels.json"):
        scores = {image_stem(Path(f"{pair}.mat")): _read_pair(found) for pair, found in record["pairs"].items()}
        verdict = record["verdict"]
        if verdict is not None:
            # Scores that an earlier version wrote have no floors.
            verdict = parse_fields(Verdict, {"floors": {}, **verdict}, what="the verdict")
    tested = _list_results(paths, home, "test", scores)
    unlabelled = _list_results(paths, home, "unlabelled", {}) if inputs.sets["unlabelled"] else []
    return MethodFindings(
        name,
        home / "scores",
        record["pooled"],
        verdict,
        _calibrate(tested, inputs.table),
        tuple(sorted(tested, key=lambda photo: (photo.dice or 0.0, photo.accuracy or 0.0, photo.image_path.name))),
        tuple(sorted(unlabelled, key=lambda photo: (photo.certainty or 0.0, photo.image_path.name))),
    )


def _list_results(paths: StudyPaths, home: Path, set_name: str, scores: Mapping[str, _Pair]) -> list[PhotoResult]:
    images = list_images(paths.out / set_name)
    truths = {}
    if set_name == "test":
        masks_dir = paths.out / set_name / paths.masks_name if paths.masks_name else None
        truths = {pair.image_path: pair.labels_path for pair in find_masks(images, masks_dir).pairs}
    photos = []
    for path in images:
        ending = "_ares_*[0-9].mat" if home.name == "hybrid" else "_predseg.png"
        results = [p for p in (home / set_name).glob(f"*{ending}") if image_stem(p) == path.stem]
        if not results:
            continue
        certainty = _measure_agreement(results[0]) if home.name == "hybrid" else _average_confidence(results[0])
        accuracy, dice, mistakes = scores.get(path.stem, (None, None, {}))
        photos.append(PhotoResult(path, results[0], truths.get(path), accuracy, dice, certainty, mistakes))
    return photos


def _read_pair(scores: dict[str, Any]) -> _Pair:
    counts, n_unpredicted = (np.array(scores[name], np.int64) for name in ("confusion", "unpredicted"))
    table = ClassTable.from_names(scores["names"])
    if counts.shape != (len(table), len(table)) or n_unpredicted.shape != (len(table),):
        raise BadInput(f"{count_of(len(table), 'class')}, and counts of {counts.shape}")
    confusion = Confusion(table, counts, n_unpredicted)
    right = np.diag(counts)
    missed, wrong = confusion.support - right, counts.sum(axis=0) - right
    mistakes = {name: (int(m), int(w)) for name, m, w in zip(scores["names"], missed, wrong, strict=True)}
    [image] = rank_images({"": confusion})
    return image.accuracy, image.dice, mistakes


def _measure_agreement(result_path: Path) -> float | None:
    """Return the share of the pixels to which the tiles alone and the CRF give the same class."""
    tiles_path = result_path.with_name("_atiles_".join(result_path.name.rsplit("_ares_", 1)))
    result, tiles = (read_labelmap(path, with_seeds=False) for path in (result_path, tiles_path))
    known = (tiles.labels != VOID) & (result.labels != VOID)
    return float(np.mean((tiles.labels == result.labels)[known])) if known.any() else None


def _average_confidence(result_path: Path) -> float | None:
    confidence = read_confidence(_place_confidence(result_path))
    known = confidence[~np.isnan(confidence)]
    return float(known.mean(dtype=np.float64)) if known.size else None


def _place_confidence(result_path: Path) -> Path:
    return result_path.with_name(f"{result_path.stem}_confidence.tif")


def _calibrate(photos: list[PhotoResult], table: ClassTable) -> Calibration | None:
    """Compare the probability of each pixel with whether it is right; of very many pixels every nth."""
    confidences, hits = [], []
    for photo in photos:
        truth, result = read_both(photo, table)
        confidence = read_confidence(_place_confidence(photo.result_path))
        known = (truth != VOID) & (result != VOID) & ~np.isnan(confidence)
        step = max(1, np.count_nonzero(known) * len(photos) // _MAX_PIXELS)
        confidences.append(confidence[known][::step])
        hits.append((truth == result)[known][::step])
    if not sum(map(len, hits)):
        return None
    return measure_calibration(np.concatenate(confidences), np.concatenate(hits))


def read_both(photo: PhotoResult, table: ClassTable) -> tuple[np.ndarray, np.ndarray]:
    """Read the mask and the result of a photo as ids of one class list, (rows, cols) uint8."""
    assert photo.truth_path is not None
    truth = read_labelmap(photo.truth_path, table=table, with_seeds=False).labels_as(table)
    return truth, read_result(photo, table)


def read_result(photo: PhotoResult, table: ClassTable) -> np.ndarray:
    """Read the result of a photo as ids of a class list that has all of its classes."""
    return read_labelmap(photo.result_path, with_seeds=False).labels_as(table)
