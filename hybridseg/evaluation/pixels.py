"""Compare automatic label maps with manual ones, pixel by pixel and BY CLASS NAME."""

from __future__ import annotations

import json
import os
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.classes import VOID, ClassTable, class_key, match_names, remap
from hybridseg.confusion import SCORES, Confusion, count_confusion, pool_confusions
from hybridseg.errors import BadInput, HybridSegError, Problem, located
from hybridseg.evaluation.floor import measure_floor, take_sample
from hybridseg.evaluation.pairs import TruthPair
from hybridseg.figures import draw_confusion
from hybridseg.forecast import Weighted
from hybridseg.io.images import as_rgb8, read_image
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.pairing import (
    find_owner,
    image_stem,
    result_kind,
)
from hybridseg.io.tables import write_csv, write_json
from hybridseg.progress import Progress, no_progress
from hybridseg.verdict import Verdict, judge

POOLED = "all pairs"
TILES_ALONE = "the tiles alone"
# Of a pair of half a megapixel, and of a figure.
_COMPARISON_SECONDS, _FIGURE_SECONDS = 0.05, 0.3
_CSV_COLUMNS = ("pair", "class", "support", *SCORES)


@dataclass(frozen=True, eq=False)
class PixelsResult:
    """The confusion matrix of each pair and of all together, the files written, and problems.

    Parameters
    ----------
    only_in_truth, only_in_prediction : tuple of str
        Classes that only the lists of one side have.
    verdict : Verdict or None
        None when no pixel was compared.
    """

    confusions: dict[str, Confusion]
    pooled: Confusion
    only_in_truth: tuple[str, ...]
    only_in_prediction: tuple[str, ...]
    verdict: Verdict | None
    written: tuple[Path, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, eq=False)
class Comparison:
    """The confusion matrix of a pair, and the class list of either side."""

    confusion: Confusion
    truth_table: ClassTable
    prediction_table: ClassTable


def compare_pair(pair: TruthPair, *, table: ClassTable | None = None) -> Comparison:
    """Compare two label maps. The classes are those of the truth, then those that only the prediction has.

    Parameters
    ----------
    table : ClassTable or None
        The classes of files that do not name theirs.

    Raises
    ------
    HybridSegError
        When a file cannot be used, the sizes differ, or no class has the same name in both.
    """
    truth = read_labelmap(pair.truth_path, table=table, with_seeds=False)
    prediction = read_labelmap(pair.prediction_path, table=table, with_seeds=False)
    truth_table = truth.require_table(pair.truth_path)
    prediction_table = prediction.require_table(pair.prediction_path)
    both = truth_table.union(prediction_table)
    with located(pair.prediction_path):
        match_names(truth_table.names, prediction_table.names, first_is="the truth", second_is="the prediction")
        confusion = count_confusion(
            remap(truth_table, both)[truth.labels], remap(prediction_table, both)[prediction.labels], both
        )
    return Comparison(confusion, truth_table, prediction_table)


def evaluate_pixels(
    pairs: Sequence[TruthPair],
    *,
    out_dir: str | os.PathLike[str],
    table: ClassTable | None = None,
    ignore: tuple[str, ...] = (),
    problems: Sequence[Problem] = (),
    image_paths: Sequence[Path] = (),
    progress: Progress = no_progress,
) -> PixelsResult:
    """Score every pair and all of them together; write ``eval_pixels.csv``, ``.json`` and a figure for each.

    Parameters
    ----------
    table : ClassTable or None
        The classes of files that do not name theirs.
    ignore : tuple of str
        Pixels of these true classes are left out.
    problems : sequence of Problem
        Those found while pairing; they are reported with the others.
    image_paths : sequence of pathlib.Path
        Photos: where there are no results of the tiles alone, the verdict compares with what colours alone tell.

    Raises
    ------
    BadInput
        When no pair can be compared, or a class to ignore is in none of them.
    """
    out_dir = Path(out_dir)
    compared: dict[str, tuple[TruthPair, Comparison]] = {}
    problems = list(problems)
    expected = Weighted(pairs, _COMPARISON_SECONDS, after=len(pairs) * _FIGURE_SECONDS)
    for pair in progress(expected, label="comparing"):
        try:
            compared[_name_pair(pair, compared)] = pair, compare_pair(pair, table=table)
        except HybridSegError as error:
            problems.append(Problem.of(pair.prediction_path, error))
    if not compared:
        lines = [str(problem) for problem in problems] or ["no pair of label maps was given"]
        raise BadInput("nothing to compare:\n" + "\n".join(f"  {line}" for line in lines))
    confusions = _leave_out({name: found.confusion for name, (_, found) in compared.items()}, ignore)
    pooled = pool_confusions(list(confusions.values()))
    only_in_truth, only_in_prediction = match_names(
        [name for _, found in compared.values() for name in found.truth_table.names],
        [name for _, found in compared.values() for name in found.prediction_table.names],
    )
    tiles = _compare_tiles(compared, ignore, table)
    if tiles:
        floors = {TILES_ALONE: tiles.accuracy}
    else:
        truths = list(dict.fromkeys(pair.truth_path for pair, _ in compared.values()))
        floors = {"colours alone": _measure_floor(truths, image_paths, pooled.table, ignore, table)}
    verdict = _judge({name: pair for name, (pair, _) in compared.items()}, confusions, floors)
    _remove_old_figures(out_dir, keep=set(confusions))
    about_lists = {"only_in_truth": list(only_in_truth), "only_in_prediction": list(only_in_prediction)}
    about = {"ignored": list(ignore), **about_lists, "verdict": verdict.to_record() if verdict else None}
    written = _write_scores(out_dir, confusions, pooled, about)
    for name, confusion in progress(Weighted(list(confusions.items()), _FIGURE_SECONDS), label="drawing"):
        written.append(out_dir / f"{name}_confusion.png")
        draw_confusion(written[-1], confusion, title=name)
    written.append(out_dir / "eval_pixels_confusion.png")
    draw_confusion(written[-1], pooled, title=f"{POOLED} ({len(confusions)})")
    return PixelsResult(confusions, pooled, only_in_truth, only_in_prediction, verdict, tuple(written), tuple(problems))


def _judge(
    pairs: dict[str, TruthPair], confusions: dict[str, Confusion], floors: dict[str, float | None]
) -> Verdict | None:
    """Judge all pairs, of which several may be of one photo."""
    by_photo: dict[Path, list[Confusion]] = {}
    for name, pair in pairs.items():
        by_photo.setdefault(pair.truth_path, []).append(confusions[name])
    photos = [pool_confusions(found) for found in by_photo.values()]
    return judge(photos, floors=floors)


def _measure_floor(
    truth_paths: Sequence[Path],
    image_paths: Sequence[Path],
    classes: ClassTable,
    ignore: tuple[str, ...],
    table: ClassTable | None,
) -> float | None:
    """Measure what colours alone tell; None where a photo is not at hand."""
    images = {path.stem: path for path in image_paths}
    lut_ignored = np.arange(VOID + 1, dtype=np.uint8)
    lut_ignored[[classes.index(name) for name in ignore]] = VOID
    samples = []
    for path in truth_paths:
        image_path = images.get(find_owner(path, images))
        if image_path is None or image_path == path:
            return None
        try:
            truth, image = read_labelmap(path, table=table, with_seeds=False), as_rgb8(read_image(image_path))
            labels = lut_ignored[remap(truth.require_table(path), classes)[truth.labels]]
        except HybridSegError:
            return None
        if labels.shape != image.shape[:2]:
            return None
        samples.append(take_sample(image, labels))
    return measure_floor(samples, n_classes=len(classes))


def _compare_tiles(
    compared: dict[str, tuple[TruthPair, Comparison]], ignore: tuple[str, ...], table: ClassTable | None
) -> Confusion | None:
    """Compare the results of the tiles alone with the same truths; None where one of them is not there."""
    found = {}
    for name, (pair, _) in compared.items():
        stem = image_stem(pair.prediction_path)
        tiles_path = pair.prediction_path.with_name(f"{stem}_atiles{pair.prediction_path.name[len(stem) + 5 :]}")
        if result_kind(pair.prediction_path) != "ares" or not tiles_path.is_file():
            return None
        try:
            found[name] = compare_pair(TruthPair(pair.truth_path, tiles_path), table=table).confusion
        except HybridSegError:
            return None
    return pool_confusions(list(_leave_out(found, ignore).values()))


def _name_pair(pair: TruthPair, taken: Container[str]) -> str:
    """Name a pair after its prediction, with a number when the name is taken."""
    name, number = pair.prediction_path.stem, 2
    while name in taken:
        name, number = f"{pair.prediction_path.stem}_{number}", number + 1
    return name


def _leave_out(confusions: dict[str, Confusion], ignore: tuple[str, ...]) -> dict[str, Confusion]:
    everywhere = pool_confusions(list(confusions.values())).table
    for name in ignore:
        everywhere.index(name)
    return {
        pair: confusion.without(tuple(name for name in ignore if class_key(name) in confusion.table.keys))
        for pair, confusion in confusions.items()
    }


def _remove_old_figures(out_dir: Path, *, keep: set[str]) -> None:
    """Remove the figures of an earlier run whose pairs no longer exist: its scores are replaced too."""
    try:
        earlier = json.loads((out_dir / "eval_pixels.json").read_text(encoding="utf-8"))["pairs"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    for name in earlier:
        if isinstance(name, str) and name not in keep and Path(name).name == name:
            (out_dir / f"{name}_confusion.png").unlink(missing_ok=True)


def _write_scores(
    out_dir: Path, confusions: dict[str, Confusion], pooled: Confusion, about: dict[str, Any]
) -> list[Path]:
    csv_path, json_path = out_dir / "eval_pixels.csv", out_dir / "eval_pixels.json"
    rows: list[dict[str, Any]] = []
    for pair, confusion in [*confusions.items(), (POOLED, pooled)]:
        rows += [{"pair": pair, **row} for row in list_score_rows(confusion)]
    write_csv(csv_path, _CSV_COLUMNS, rows)
    record = {
        **about,
        "pooled": {"names": list(pooled.table.names), **pooled.to_record()},
        "pairs": {
            pair: {"names": list(confusion.table.names), **confusion.to_record()}
            for pair, confusion in confusions.items()
        },
    }
    write_json(json_path, record)
    return [csv_path, json_path]


def list_score_rows(confusion: Confusion) -> list[dict[str, Any]]:
    """Return the rows of a score table: one for each class, then accuracy, macro and weighted means."""
    record = confusion.to_record()
    total = {"support": record["n_pixels"]}
    return [
        *record["classes"],
        {"class": "(macro mean)", **total, **record["macro"]},
        {"class": "(weighted mean)", **total, **record["weighted"]},
        # Accuracy equals precision, recall and F1 of all pixels together.
        {"class": "(accuracy)", **total, "f1": record["accuracy"]},
    ]
