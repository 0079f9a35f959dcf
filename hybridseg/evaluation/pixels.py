"""Compare automatic label maps with manual ones, pixel by pixel and BY CLASS NAME."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.classes import VOID, ClassTable, class_key, match_names, remap
from hybridseg.confusion import SCORES, Confusion, count_confusion, pool_confusions
from hybridseg.errors import BadInput, HybridSegError, Problem, count_problems, located
from hybridseg.evaluation.errorpanels import (
    PANEL_SECONDS,
    PanelOptions,
    ScoredPhoto,
    draw_all_errors,
    pick_extremes,
)
from hybridseg.evaluation.floor import measure_floor, take_sample
from hybridseg.evaluation.pairs import TruthPair
from hybridseg.figures import FIGURES_DIR, FigureOptions, draw_confusion
from hybridseg.forecast import Weighted
from hybridseg.io.images import describe_image, read_rgb8
from hybridseg.io.jsonfiles import read_json_object
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.locks import lock_output
from hybridseg.io.marks import check_ours, is_ours
from hybridseg.io.pairing import (
    find_owner,
    image_stem,
    is_figure,
    result_kind,
)
from hybridseg.io.tables import write_csv, write_json
from hybridseg.markup import count_of, render_table, render_text
from hybridseg.progress import Progress, no_progress
from hybridseg.ranking import ImageScore, list_image_rows, rank_images, tell_worst
from hybridseg.verdict import Verdict, judge

POOLED = "all pairs"
TILES_ALONE = "the tiles alone"
_TABLES = ("eval_pixels.csv", "eval_pixels.json", "eval_pixels_by_image.csv")
ALL_FIGURE, WORST_FIGURE = "eval_pixels_confusion", "eval_pixels_worst"
# Of a pair of half a megapixel, and its matrix.
_COMPARISON_SECONDS, _FIGURE_SECONDS = 0.03, 0.2
_CSV_COLUMNS = ("pair", "class", "support", *SCORES)


@dataclass(frozen=True, eq=False)
class PixelsResult:
    """The confusion matrix of each pair and of all together, the files written, and problems.

    Parameters
    ----------
    images : tuple of ImageScore
        Of each pair, the lowest multi-label Dice first.
    only_in_truth, only_in_prediction : tuple of str
        Classes that only the lists of one side have.
    verdict : Verdict or None
        None when no pixel was compared.
    not_shown : tuple of str
        Pairs whose errors could not be drawn, because their photo is not at hand.
    """

    confusions: dict[str, Confusion]
    pooled: Confusion
    images: tuple[ImageScore, ...]
    only_in_truth: tuple[str, ...]
    only_in_prediction: tuple[str, ...]
    verdict: Verdict | None
    written: tuple[Path, ...]
    problems: tuple[Problem, ...]
    not_shown: tuple[str, ...] = ()

    def __repr__(self) -> str:
        accuracy = "" if self.pooled.accuracy is None else f", accuracy {self.pooled.accuracy:.3f}"
        n = len(self.confusions)
        verdict = f"\n{self.verdict.text}" if self.verdict else ""
        return f"<PixelsResult: {count_of(n, 'pair')} of label maps{accuracy}{count_problems(self.problems)}>{verdict}"

    def _repr_html_(self) -> str:
        text = self.verdict.text if self.verdict else "no pixel was compared"
        title, *worst = tell_worst(self.images)
        tables = self.pooled._repr_html_() + render_text(title) + render_table(*worst)
        return render_text(text) + tables + render_text(*self.problems)


@dataclass(frozen=True, eq=False)
class Comparison:
    """The confusion matrix of a pair, its rows and columns, and the class list of either side."""

    pair: TruthPair
    confusion: Confusion
    shape: tuple[int, int]
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
    shape = (truth.labels.shape[0], truth.labels.shape[1])
    return Comparison(pair, confusion, shape, truth_table, prediction_table)


def evaluate_pixels(
    pairs: Sequence[TruthPair],
    *,
    out_dir: str | os.PathLike[str],
    table: ClassTable | None = None,
    ignore: tuple[str, ...] = (),
    problems: Sequence[Problem] = (),
    image_paths: Sequence[Path] = (),
    panels: PanelOptions = PanelOptions(),
    figures: FigureOptions = FigureOptions(),
    progress: Progress = no_progress,
) -> PixelsResult:
    """Score every pair and all of them together; write ``eval_pixels.csv``, ``.json`` and figures.

    Parameters
    ----------
    table : ClassTable or None
        The classes of files that do not name theirs.
    ignore : tuple of str
        Pixels of these true classes are left out.
    problems : sequence of Problem
        Those found while pairing; they are reported with the others.
    image_paths : sequence of pathlib.Path
        Photos, on which errors are shown. Where there are no results of the tiles alone, the verdict compares with
        what colours alone tell.

    Raises
    ------
    BadInput
        When no pair can be compared, or a class to ignore is in none of them.
    """
    out_dir = Path(out_dir)
    n_panels = len(panels.choose(pairs[: len(image_paths)]))
    later = len(pairs) * _FIGURE_SECONDS + n_panels * PANEL_SECONDS
    compared, unusable = _compare_pairs(progress(Weighted(pairs, _COMPARISON_SECONDS, later), label="comparing"), table)
    problems = [*problems, *unusable]
    if not compared:
        lines = [str(problem) for problem in problems] or ["no pair of label maps was given"]
        raise BadInput("nothing to compare:\n" + "\n".join(f"  {line}" for line in lines))
    confusions = _leave_out({name: found.confusion for name, found in compared.items()}, ignore)
    pooled = pool_confusions(list(confusions.values()))
    only_in_truth, only_in_prediction = match_names(
        [name for found in compared.values() for name in found.truth_table.names],
        [name for found in compared.values() for name in found.prediction_table.names],
    )
    photos = _find_photos(compared.values(), image_paths)
    verdict = _judge(compared, confusions, _find_floors(compared, photos, pooled.table, ignore, table))
    images = rank_images(confusions, left_out=ignore)
    ranked = [
        ScoredPhoto(image, compared[image.image].pair, image_path)
        for image in images
        if image.dice is not None and (image_path := photos[compared[image.image].pair.truth_path]) is not None
    ]
    shown = panels.choose(ranked)
    paths = {name: figures.place(out_dir, f"{name}_confusion") for name in confusions}
    error_paths = {photo.name: figures.place(out_dir, f"{photo.name}_errors") for photo in shown}
    all_path, worst_path = (figures.name(out_dir / name) for name in (ALL_FIGURE, WORST_FIGURE))
    drawn = [*paths.values(), *error_paths.values(), *([worst_path] if shown else []), all_path]
    about: dict[str, Any] = {
        "ignored": list(ignore),
        "only_in_truth": list(only_in_truth),
        "only_in_prediction": list(only_in_prediction),
        "verdict": verdict.to_record() if verdict else None,
        "figures": [path.name for path in drawn],
    }
    with lock_output(out_dir, inside="eval_pixels", wait=True):
        check_ours([*(out_dir / name for name in _TABLES), *drawn], advice="give --out for another folder")
        _remove_old_figures(out_dir, keep=set(about["figures"]))
        written = [*_write_scores(out_dir, confusions, pooled, images, about), *paths.values()]
        expected = Weighted(list(confusions.items()), _FIGURE_SECONDS, after=len(shown) * PANEL_SECONDS)
        for name, confusion in progress(expected, label="drawing"):
            draw_confusion(paths[name], confusion, title=name, dpi=figures.dpi)
        shown_paths, undrawn = draw_all_errors(
            shown, error_paths, worst_path, worst=pick_extremes(ranked)[0], classes=pooled.table, ignore=ignore,
            table=table, dpi=figures.dpi, progress=progress,
        )  # fmt: skip
        problems += undrawn
        draw_confusion(all_path, pooled, title=f"{POOLED} ({len(confusions)})", dpi=figures.dpi)
        written += [*shown_paths, all_path]
    wants_panels = panels.panels != "none"
    not_shown = [name for name, found in compared.items() if wants_panels and photos[found.pair.truth_path] is None]
    return PixelsResult(
        confusions, pooled, images, only_in_truth, only_in_prediction, verdict, tuple(written), tuple(problems),
        tuple(not_shown),
    )  # fmt: skip


def _compare_pairs(pairs: Iterable[TruthPair], table: ClassTable | None) -> tuple[dict[str, Comparison], list[Problem]]:
    """Compare all pairs, each by its name, and tell which cannot be compared."""
    compared: dict[str, Comparison] = {}
    problems = []
    for pair in pairs:
        try:
            compared[_name_pair(pair, compared)] = compare_pair(pair, table=table)
        except HybridSegError as error:
            problems.append(Problem.of(pair.prediction_path, error))
    return compared, problems


def _judge(
    compared: dict[str, Comparison], confusions: dict[str, Confusion], floors: dict[str, float | None]
) -> Verdict | None:
    """Judge all pairs, of which several may be of one photo."""
    by_photo: dict[Path, list[Confusion]] = {}
    for name, found in compared.items():
        by_photo.setdefault(found.pair.truth_path, []).append(confusions[name])
    return judge([pool_confusions(of_photo) for of_photo in by_photo.values()], floors=floors)


def _find_photos(compared: Iterable[Comparison], image_paths: Sequence[Path]) -> dict[Path, Path | None]:
    """Find the photo of each truth; None where it is not at hand, or has another size."""
    images = {path.stem: path for path in image_paths}
    photos: dict[Path, Path | None] = {}
    for found in compared:
        truth_path = found.pair.truth_path
        path = images.get(find_owner(truth_path, images))
        photos[truth_path] = None
        if path is not None and path != truth_path:
            with suppress(HybridSegError):
                photos[truth_path] = path if describe_image(path).shape == found.shape else None
    return photos


def _find_floors(
    compared: dict[str, Comparison],
    photos: dict[Path, Path | None],
    classes: ClassTable,
    ignore: tuple[str, ...],
    table: ClassTable | None,
) -> dict[str, float | None]:
    """Return what results should exceed: what the tiles alone tell, and where those are not there, colours alone."""
    tiles = _compare_tiles(compared, ignore, table)
    if tiles:
        return {TILES_ALONE: tiles.accuracy}
    return {"colours alone": _measure_floor(photos, classes, ignore, table)}


def _measure_floor(
    photos: dict[Path, Path | None], classes: ClassTable, ignore: tuple[str, ...], table: ClassTable | None
) -> float | None:
    """Measure what colours alone tell; None where a photo is not at hand."""
    lut_ignored = np.arange(VOID + 1, dtype=np.uint8)
    lut_ignored[[classes.index(name) for name in ignore]] = VOID
    samples = []
    for path, image_path in photos.items():
        if image_path is None:
            return None
        try:
            truth, image = read_labelmap(path, table=table, with_seeds=False), read_rgb8(image_path)
        except HybridSegError:
            return None
        samples.append(take_sample(image, lut_ignored[remap(truth.require_table(path), classes)[truth.labels]]))
    return measure_floor(samples, n_classes=len(classes))


def _compare_tiles(
    compared: dict[str, Comparison], ignore: tuple[str, ...], table: ClassTable | None
) -> Confusion | None:
    """Compare the results of the tiles alone with the same truths; None where one of them is not there."""
    confusions = {}
    for name, found in compared.items():
        pair = found.pair
        stem = image_stem(pair.prediction_path)
        tiles_path = pair.prediction_path.with_name(f"{stem}_atiles{pair.prediction_path.name[len(stem) + 5 :]}")
        if result_kind(pair.prediction_path) != "ares" or not tiles_path.is_file():
            return None
        try:
            confusions[name] = compare_pair(TruthPair(pair.truth_path, tiles_path), table=table).confusion
        except HybridSegError:
            return None
    return pool_confusions(list(_leave_out(confusions, ignore).values()))


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
    """Remove the figures that an earlier run listed and this one does not draw: its scores are replaced too."""
    try:
        earlier = read_json_object(out_dir / "eval_pixels.json", errors="surrogateescape").get("figures")
    except HybridSegError:
        return
    for name in earlier if isinstance(earlier, list) else ():
        if isinstance(name, str) and name not in keep and Path(name).name == name and is_figure(Path(name)):
            home = out_dir if Path(name).stem in (ALL_FIGURE, WORST_FIGURE) else out_dir / FIGURES_DIR
            if is_ours(home / name):
                (home / name).unlink()


def _write_scores(
    out_dir: Path,
    confusions: dict[str, Confusion],
    pooled: Confusion,
    images: Sequence[ImageScore],
    about: dict[str, Any],
) -> list[Path]:
    csv_path, json_path, images_path = (out_dir / name for name in _TABLES)
    rows: list[dict[str, Any]] = []
    for pair, confusion in [*confusions.items(), (POOLED, pooled)]:
        rows += [{"pair": pair, **row} for row in list_score_rows(confusion)]
    write_csv(csv_path, _CSV_COLUMNS, rows)
    dice = {image.image: image.dice for image in images}
    record = {
        **about,
        "pooled": {"names": list(pooled.table.names), **pooled.to_record()},
        "pairs": {
            pair: {"names": list(confusion.table.names), **confusion.to_record(), "dice": dice[pair]}
            for pair, confusion in confusions.items()
        },
    }
    write_json(json_path, record)
    write_csv(images_path, *list_image_rows(images))
    return [csv_path, json_path, images_path]


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
