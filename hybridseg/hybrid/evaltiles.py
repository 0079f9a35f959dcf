"""Evaluate a tile classifier on tiles that it was not trained on."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.calibration import Calibration, measure_calibration
from hybridseg.classes import ClassTable, class_key, match_names
from hybridseg.confusion import SCORES, Confusion, count_by_photo, pool_confusions
from hybridseg.draw import shuffle_names
from hybridseg.errors import BadInput, HybridSegError, Problem, count_problems
from hybridseg.figures import FigureOptions, draw_calibration, draw_confusion
from hybridseg.hybrid.tilefolder import find_sources, list_class_folders, read_class_list
from hybridseg.hybrid.tiles import read_tile
from hybridseg.io.images import describe_image
from hybridseg.io.locks import lock_output
from hybridseg.io.marks import check_ours
from hybridseg.io.pairing import MANIFEST_NAME, list_files
from hybridseg.io.rasters import IMAGE_SUFFIXES
from hybridseg.io.tables import read_csv, write_csv, write_json
from hybridseg.markup import count_of, render_text
from hybridseg.models.store import TileClassifier
from hybridseg.progress import Progress, no_progress
from hybridseg.verdict import Verdict, judge

N_PER_CLASS = 100
_BATCH = 64
_COLUMNS = ("class", "support", "accuracy", *SCORES, "mean_probability")


@dataclass(frozen=True, eq=False)
class TilesResult:
    """Scores of a classifier on tiles, the files that were written, and the tiles that could not be used."""

    confusion: Confusion
    mean_probability: dict[str, float | None]
    calibration: Calibration
    verdict: Verdict | None
    written: tuple[Path, ...]
    problems: tuple[Problem, ...]

    def __repr__(self) -> str:
        n, accuracy = self.confusion.n_pixels, self.confusion.accuracy
        verdict = f"\n{self.verdict.text}" if self.verdict else ""
        return f"<TilesResult: {count_of(n, 'tile')}, accuracy {accuracy:.3f}{count_problems(self.problems)}>{verdict}"

    def _repr_html_(self) -> str:
        text = render_text(self.verdict and self.verdict.text)
        return text + self.confusion._repr_html_() + render_text(*self.problems)


def find_tile_size(folder: str | os.PathLike[str]) -> int | None:
    """Return the side of the tiles in a folder that `retile` wrote; None for a folder of whole pictures."""
    folder = Path(folder)
    if not (folder / MANIFEST_NAME).is_file():
        return None
    kept = (row["tile"] for row in read_csv(folder / MANIFEST_NAME, ("tile", "kept")) if row["kept"] == "1")
    first = next((folder / tile for tile in kept if _is_file(folder / tile)), None)
    return describe_image(first).rows if first else None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        # A name from a table may be longer than any file's.
        return False


def evaluate_tiles(
    folder: str | os.PathLike[str],
    classifier: TileClassifier,
    *,
    n_per_class: int = N_PER_CLASS,
    seed: int = 0,
    out_dir: str | os.PathLike[str] | None = None,
    figures: FigureOptions = FigureOptions(),
    progress: Progress = no_progress,
) -> TilesResult:
    """Classify random tiles of every class folder, and write the scores.

    Parameters
    ----------
    folder : path-like
        Holds a folder of tiles for each class, matched to the classifier's classes by name.
    n_per_class : int
        Tiles of each class; all of them where there are fewer.
    out_dir : path-like or None
        Default: `folder`.

    Raises
    ------
    MissingInput, BadInput
        When there is no such folder, or no tile of a class that the classifier knows.
    """
    if n_per_class < 1:
        raise BadInput(f"--n-per-class {n_per_class} draws no tile; give 1 or more")
    folder = Path(folder)
    paths, truth, problems = _draw_tiles(folder, classifier.table, n_per_class, seed)
    probs = np.zeros((len(paths), len(classifier.table)), np.float32)
    usable = np.zeros(len(paths), bool)
    for start in progress(range(0, len(paths), _BATCH), label="classifying tiles"):
        tiles = _read_batch(paths[start : start + _BATCH], start, classifier.tile_size, usable, problems)
        places = np.flatnonzero(usable[start : start + _BATCH]) + start
        if len(tiles):
            probs[places] = classifier.classify(np.stack(tiles))
    if not usable.any():
        raise BadInput("no tile could be used:\n" + "\n".join(f"  {problem}" for problem in problems[:10]))
    truth, probs = truth[usable], probs[usable]
    used = [path.relative_to(folder).as_posix() for path, use in zip(paths, usable, strict=True) if use]
    photos = count_by_photo(truth, probs.argmax(axis=1).astype(np.uint8), find_sources(folder, used), classifier.table)
    confusion, verdict = pool_confusions(photos), judge(photos, unit="tiles")
    mean_probability = _average_probability(truth, probs, classifier.table)
    calibration = measure_calibration(probs.max(axis=1), probs.argmax(axis=1) == truth)
    target = Path(out_dir) if out_dir is not None else folder
    written = _write_result(target, classifier, confusion, mean_probability, calibration, verdict, figures)
    return TilesResult(confusion, mean_probability, calibration, verdict, tuple(written), tuple(problems))


def list_tile_rows(confusion: Confusion, mean_probability: dict[str, float | None]) -> list[dict[str, Any]]:
    """Return the rows of the score table: one for each class that has tiles, then the summary."""
    rows = []
    for row in confusion.to_record()["classes"]:
        if row["support"]:
            rows.append({**row, "accuracy": row["recall"], "mean_probability": mean_probability[row["class"]]})
    values = [value for value in mean_probability.values() if value is not None]
    means = {name: confusion.macro(name) for name in SCORES}
    overall = {"support": confusion.n_pixels, "accuracy": confusion.accuracy}
    return [*rows, {"class": "(all classes)", **overall, **means, "mean_probability": sum(values) / len(values)}]


def _draw_tiles(
    folder: Path, table: ClassTable, n_per_class: int, seed: int
) -> tuple[list[Path], np.ndarray, list[Problem]]:
    position = {key: i for i, key in enumerate(table.keys)}
    chosen: dict[int, list[Path]] = defaultdict(list)
    problems = []
    homes = {home: name or home.name for home, name in list_class_folders(folder, read_class_list(folder)).items()}
    if homes:
        match_names(homes.values(), table.names, first_is=f"{folder} (its folders)", second_is="the model")
    for home, class_name in homes.items():
        tiles = {path.name: path for path in list_files(home, IMAGE_SUFFIXES)}
        class_id = position.get(class_key(class_name))
        if class_id is None:
            known = ", ".join(table.names)
            problems.append(
                Problem(
                    str(home),
                    f"is not a class of this model ({known}); left out with {count_of(len(tiles), 'tile')}",
                )
            )
            continue
        chosen[class_id] += [tiles[name] for name in shuffle_names(tiles, seed=seed)[:n_per_class]]
    paths = [path for class_id in sorted(chosen) for path in chosen[class_id]]
    if not paths:
        lines = [str(problem) for problem in problems] or ["it has no folders of tiles"]
        raise BadInput(
            f"{folder} has no tile of a class that the model knows:\n" + "\n".join(f"  {line}" for line in lines)
        )
    truth = np.repeat(sorted(chosen), [len(chosen[class_id]) for class_id in sorted(chosen)])
    return paths, truth.astype(np.uint8), problems


def _read_batch(
    paths: list[Path], start: int, tile_size: int, usable: np.ndarray, problems: list[Problem]
) -> list[np.ndarray]:
    tiles = []
    for i, path in enumerate(paths):
        try:
            tile = read_tile(path, tile_size=tile_size)
        except HybridSegError as error:
            problems.append(Problem.of(path, error))
            continue
        tiles.append(tile)
        usable[start + i] = True
    return tiles


def _average_probability(truth: np.ndarray, probs: np.ndarray, table: ClassTable) -> dict[str, float | None]:
    """Return the mean probability of the predicted class over the tiles of each true class, as the classic script."""
    winning = probs.max(axis=1)
    return {
        name: float(winning[truth == i].mean()) if (truth == i).any() else None for i, name in enumerate(table.names)
    }


def _write_result(
    out_dir: Path,
    classifier: TileClassifier,
    confusion: Confusion,
    mean_probability: dict[str, float | None],
    calibration: Calibration,
    verdict: Verdict | None,
    figures: FigureOptions,
) -> list[Path]:
    written = [out_dir / "eval_tiles.csv", out_dir / "eval_tiles.json"]
    written += [figures.name(out_dir / f"eval_tiles_{what}") for what in ("confusion", "calibration")]
    csv_path, json_path, confusion_path, calibration_path = written
    with lock_output(csv_path, wait=True):
        check_ours(written, advice="give --out for another folder")
        write_csv(csv_path, _COLUMNS, list_tile_rows(confusion, mean_probability))
        write_json(
            json_path,
            {
                "model": classifier.path.name,
                "names": list(classifier.table.names),
                **confusion.to_record(),
                "mean_probability": mean_probability,
                "expected_calibration_error": calibration.error,
                "verdict": verdict.to_record() if verdict else None,
            },
        )
        draw_confusion(
            confusion_path,
            confusion,
            title=f"{classifier.path.name}, {count_of(confusion.n_pixels, 'tile')}",
            dpi=figures.dpi,
        )
        draw_calibration(calibration_path, calibration, unit="tiles", dpi=figures.dpi)
    return written
