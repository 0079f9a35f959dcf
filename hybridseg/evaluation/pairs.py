"""Which label maps are compared: results of machines with the masks of the same images."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hybridseg.errors import BadInput, BadUsage, MissingInput, Problem
from hybridseg.io.labels.formats import LABELMAP_SUFFIXES
from hybridseg.io.locks import is_in_leftover
from hybridseg.io.masks import find_best, list_masks
from hybridseg.io.pairing import (
    JPEG_SUFFIXES,
    MACHINE_KINDS,
    find_owner,
    image_stem,
    is_figure,
    keep_files,
    list_files,
    list_images,
    machine_ending,
    rank_photo,
    result_kind,
)
from hybridseg.io.rasters import IMAGE_SUFFIXES


@dataclass(frozen=True)
class TruthPair:
    """A label map made by hand and one made by machine, of the same image."""

    truth_path: Path
    prediction_path: Path


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
        Where the masks are, as for `hybridseg.io.masks.find_masks`; default: beside the results, or else beside the
        images.
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
    predictions = _keep_results_of(images_dir, predictions, folder)
    _require_one_kind(folder, predictions)
    if masks_dir is not None:
        return pair_by_stem(_list_truths(Path(masks_dir), is_own=True), predictions)
    stems, place = {image_stem(path) for path in predictions}, Path(images_dir or folder)
    # What lies beside the results comes first.
    best = find_best(stems, list_masks(place, list_images(place)))[0]
    best |= find_best(stems, _list_truths(folder, is_own=False))[0]
    advice = "; say where it is: --images DIR, or --masks DIR" if images_dir is None else ""
    return pair_by_stem(itertools.chain(*best.values()), predictions, advice=advice)


def find_pairs(
    folder: str | os.PathLike[str],
    *,
    masks_dir: str | os.PathLike[str] | None = None,
    images_dir: str | os.PathLike[str] | None = None,
    truth: str | None = None,
    prediction: str | None = None,
) -> tuple[list[TruthPair], list[Problem]]:
    """Pair results with masks by name, see `find_result_pairs`; with `truth`, see `find_glob_pairs`.

    Raises
    ------
    MissingInput, BadInput
        As these.
    BadUsage
        When what was given does not go together.
    """
    if truth is None:
        return find_result_pairs(folder, masks_dir, images_dir, prediction=prediction)
    if prediction is None:
        raise BadUsage("--truth needs --prediction; give both patterns")
    if masks_dir is not None:
        raise BadUsage("--masks finds masks by name; leave out --truth")
    return find_glob_pairs(folder, images_dir, truth=truth, prediction=prediction)


def find_photos(folder: Path, images_dir: Path | None = None) -> list[Path]:
    """List the photos of the results in a folder, in `images_dir` or beside them; none without such a folder."""
    place = images_dir or folder
    return list_images(place) if place.is_dir() else []


def _keep_results_of(images_dir: str | os.PathLike[str] | None, predictions: list[Path], folder: Path) -> list[Path]:
    """Return the results of the images in a folder; None: all of them. MissingInput when there is none."""
    if images_dir is None:
        return predictions
    stems = {path.stem for path in list_images(Path(images_dir))}
    kept = [path for path in predictions if find_owner(path, stems) in stems]
    if not kept:
        raise MissingInput(f"{folder} has no result of an image in {images_dir}; give the folder of its images")
    return kept


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
    folder: str | os.PathLike[str],
    images_dir: str | os.PathLike[str] | None = None,
    *,
    truth: str,
    prediction: str,
) -> tuple[list[TruthPair], list[Problem]]:
    """Pair the label maps that two patterns find, by the name of their image.

    Parameters
    ----------
    folder : path-like
        Where the patterns start.
    images_dir : path-like or None
        Leave out the results of images that are not in this folder.
    truth, prediction : str
        Such as ``masks/*.png`` and ``out/*_label.png``.

    Raises
    ------
    MissingInput, BadInput
        When there is no such folder, a pattern is invalid or finds nothing, or it finds results of several kinds.
    """
    folder = Path(folder)
    truths, predictions = _find_matches(folder, "--truth", truth), _find_matches(folder, "--prediction", prediction)
    predictions = _keep_results_of(images_dir, predictions, folder)
    _require_one_kind(folder, predictions)
    return pair_by_stem(truths, predictions, named=set(truths))


def _find_matches(folder: Path, option: str, pattern: str) -> list[Path]:
    """Find the label maps that a pattern matches, without hidden files, folders and figures of ours."""
    if not folder.is_dir():
        raise MissingInput(f"there is no folder {folder}")
    try:
        matches = list(keep_files(path for path in folder.glob(pattern) if path.suffix.lower() in LABELMAP_SUFFIXES))
    except (ValueError, NotImplementedError) as error:
        raise BadInput(f"{option} {pattern!r}: {error}; give a pattern below {folder}, as 'masks/*.png'") from error
    shown = (path for path in matches if not (path.name.startswith(".") or is_in_leftover(path) or is_figure(path)))
    found = sorted(shown)
    if not found:
        raise MissingInput(f"{option} {pattern!r} finds no .mat, .png or .tif file in {folder}")
    return found


def pair_by_stem(
    truth_paths: Iterable[Path], prediction_paths: Sequence[Path], *, named: Container[Path] = (), advice: str = ""
) -> tuple[list[TruthPair], list[Problem]]:
    """Match predictions with the truth of the same image; report those with none or several.

    Truths in `named` are taken whatever they are called. `advice` says what to do where there is none.
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
            wanted = f"{image_stem(path)}_mres.mat, .png, _mask.png ..."
            problems.append(Problem(str(path), f"has no manual label map ({wanted}){advice}"))
    return pairs, problems
