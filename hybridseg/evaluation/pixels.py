"""Compare automatic label maps with manual ones, pixel by pixel and BY CLASS NAME."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybridseg.classes import ClassTable, class_key, match_names, remap
from hybridseg.confusion import SCORES, Confusion, count_confusion, pool_confusions
from hybridseg.errors import BadInput, HybridSegError, MissingInput, Problem, located
from hybridseg.figures import draw_confusion
from hybridseg.io.images import IMAGE_SUFFIXES
from hybridseg.io.labels.formats import LABELMAP_SUFFIXES, read_labelmap
from hybridseg.io.masks import find_best
from hybridseg.io.pairing import (
    JPEG_SUFFIXES,
    MACHINE_KINDS,
    image_stem,
    is_figure,
    list_files,
    list_images,
    machine_ending,
    rank_photo,
    result_kind,
)
from hybridseg.io.tables import write_csv, write_json
from hybridseg.progress import Progress, no_progress
from hybridseg.verdict import Verdict, judge

POOLED = "all pairs"
_CSV_COLUMNS = ("pair", "class", "support", *SCORES)


@dataclass(frozen=True)
class TruthPair:
    """A label map made by hand and one made by machine, of the same image."""

    truth_path: Path
    prediction_path: Path


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


def find_result_pairs(
    folder: str | os.PathLike[str],
    masks_dir: str | os.PathLike[str] | None = None,
    images_dir: str | os.PathLike[str] | None = None,
    *,
    prediction: str | None = None,
) -> tuple[list[TruthPair], list[Problem]]:
    """Pair every result of a folder with the mask of the same image.

    Results are ``*_ares_TILE.mat``, ``*_predseg.png`` and ``*_predseg_crf.png``, of which the folder may have one kind.

    Parameters
    ----------
    masks_dir : path-like or None
        Where the masks are; default: in the same folder. They are found as by `hybridseg.io.masks.find_masks`.
    images_dir : path-like or None
        Leave out the results of images that are not in this folder.
    prediction : str or None
        A pattern of the results below the folder, such as ``*_ares_96.mat``.

    Returns
    -------
    pairs : list of TruthPair
    problems : list of Problem
        Each automatic result that has no manual one, or several.

    Raises
    ------
    MissingInput, BadInput
        When there is no such folder, it has no automatic result, or results of several kinds.
    """
    folder = Path(folder)
    if prediction is not None:
        predictions = _find_matches(folder, "--prediction", prediction)
    else:
        predictions = [path for path in list_files(folder, LABELMAP_SUFFIXES) if machine_ending(path)]
    if not predictions:
        raise MissingInput(
            f"{folder} has no automatic result (NAME_ares_TILE.mat or NAME_predseg.png); give the folder that has them "
            "(the masks beside them, or in a folder of their own: --masks DIR), or the two sides with --truth and "
            "--prediction"
        )
    if images_dir is not None:
        stems = {path.stem for path in list_images(Path(images_dir))}
        predictions = [path for path in predictions if image_stem(path) in stems]
        if not predictions:
            raise MissingInput(f"{folder} has no result of an image in {images_dir}; give the folder of its images")
    _require_one_kind(folder, predictions)
    return pair_by_stem(_list_truths(Path(masks_dir or folder), is_own=masks_dir is not None), predictions)


def _require_one_kind(folder: Path, predictions: Sequence[Path]) -> None:
    """Raise BadInput when the results are of several models or ways: one score of them all would mean nothing."""
    made = [path for path in predictions if result_kind(path) in MACHINE_KINDS]
    kinds = Counter(path.name[len(image_stem(path)) :] for path in made)
    if len(kinds) > 1:
        listed = ", ".join(f"{n} *{ending}" for ending, n in sorted(kinds.items()))
        raise BadInput(
            f"{folder} has results of {len(kinds)} kinds ({listed}), which make no one score; say which: "
            f"--prediction '*{min(kinds)}'"
        )


def _list_truths(folder: Path, *, is_own: bool) -> list[Path]:
    """List what may be a mask: all but the photos. A map of ids without a photo beside it is none.

    Neither is a picture in colours, in a folder that `is_own` to masks: they may be those of classes.
    """
    n_files = Counter(path.stem for path in list_files(folder, IMAGE_SUFFIXES))
    photos = {path for path in list_images(folder) if n_files[path.stem] > 1 or rank_photo(path) < (1 if is_own else 2)}
    found = [path for path in list_files(folder, LABELMAP_SUFFIXES) if path not in photos]
    return found or (list_files(folder, JPEG_SUFFIXES) if is_own else [])


def find_glob_pairs(
    folder: str | os.PathLike[str], *, truth: str, prediction: str
) -> tuple[list[TruthPair], list[Problem]]:
    """Pair the label maps that two patterns find, by the name of their image.

    Parameters
    ----------
    folder : path-like
        Where the patterns start.
    truth, prediction : str
        Such as ``masks/*.png`` and ``out/*_label.png``.

    Raises
    ------
    MissingInput, BadInput
        When there is no such folder, a pattern is invalid or finds nothing, or it finds results of several kinds.
    """
    folder = Path(folder)
    truths, predictions = _find_matches(folder, "--truth", truth), _find_matches(folder, "--prediction", prediction)
    _require_one_kind(folder, predictions)
    return pair_by_stem(truths, predictions, named=set(truths))


def _find_matches(folder: Path, option: str, pattern: str) -> list[Path]:
    """Find the label maps that a pattern matches, without hidden files, folders and figures of ours."""
    if not folder.is_dir():
        raise MissingInput(f"there is no folder {folder}")
    try:
        matches = [path for path in folder.glob(pattern) if path.suffix.lower() in LABELMAP_SUFFIXES and path.is_file()]
    except (ValueError, NotImplementedError) as error:
        raise BadInput(f"{option} {pattern!r}: {error}; give a pattern below {folder}, as 'masks/*.png'") from error
    found = sorted(path for path in matches if not path.name.startswith(".") and not is_figure(path))
    if not found:
        raise MissingInput(f"{option} {pattern!r} finds no .mat, .png or .tif file in {folder}")
    return found


def pair_by_stem(
    truth_paths: Iterable[Path], prediction_paths: Sequence[Path], *, named: Container[Path] = ()
) -> tuple[list[TruthPair], list[Problem]]:
    """Match predictions with the truth of the same image; report those with none or several.

    Truths in `named` are taken whatever they are called.
    """
    best, _ = find_best({image_stem(path) for path in prediction_paths}, truth_paths, named=named)
    pairs, problems = [], []
    for path in prediction_paths:
        found = [truth for truth in best.get(image_stem(path), []) if truth != path]
        if len(found) == 1:
            pairs.append(TruthPair(found[0], path))
        elif found:
            names = ", ".join(p.name for p in found)
            problems.append(Problem(str(path), f"has {len(found)} manual label maps ({names}); keep one of them"))
        else:
            problems.append(
                Problem(str(path), f"has no manual label map ({image_stem(path)}_mres.mat, .png, _mask.png ...)")
            )
    return pairs, problems


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

    Raises
    ------
    BadInput
        When no pair can be compared, or a class to ignore is in none of them.
    """
    out_dir = Path(out_dir)
    compared: dict[str, tuple[TruthPair, Comparison]] = {}
    problems = list(problems)
    for pair in progress(pairs, label="comparing"):
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
    verdict = _judge(
        {name: pair for name, (pair, _) in compared.items()}, confusions, _compare_tiles(compared, ignore, table)
    )
    _remove_old_figures(out_dir, keep=set(confusions))
    about_lists = {"only_in_truth": list(only_in_truth), "only_in_prediction": list(only_in_prediction)}
    about = {"ignored": list(ignore), **about_lists, "verdict": verdict.to_record() if verdict else None}
    written = _write_scores(out_dir, confusions, pooled, about)
    for name, confusion in progress(list(confusions.items()), label="drawing"):
        written.append(out_dir / f"{name}_confusion.png")
        draw_confusion(written[-1], confusion, title=name)
    written.append(out_dir / "eval_pixels_confusion.png")
    draw_confusion(written[-1], pooled, title=f"{POOLED} ({len(confusions)})")
    return PixelsResult(confusions, pooled, only_in_truth, only_in_prediction, verdict, tuple(written), tuple(problems))


def _judge(pairs: dict[str, TruthPair], confusions: dict[str, Confusion], tiles: Confusion | None) -> Verdict | None:
    """Judge all pairs, of which several may be of one photo."""
    by_photo: dict[Path, list[Confusion]] = {}
    for name, pair in pairs.items():
        by_photo.setdefault(pair.truth_path, []).append(confusions[name])
    photos = [pool_confusions(found) for found in by_photo.values()]
    return judge(photos, floors={"the tiles alone": tiles.accuracy if tiles else None})


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
