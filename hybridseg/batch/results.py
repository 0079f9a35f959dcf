"""What all ways to segment photographs share: a run over many of them, and the parts of a result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridseg.classes import ClassTable
from hybridseg.errors import HybridSegError, MissingPackage, Problem
from hybridseg.io.rasters import GeoReference, write_band
from hybridseg.progress import Progress, no_progress

_NO_CONFIDENCE = 255


@dataclass(frozen=True)
class ImageResult:
    """What came of one image.

    Parameters
    ----------
    image_path : pathlib.Path
    written : tuple of pathlib.Path
        The label map first.
    shares : dict
        Share of the pixels of every class that is there.
    warnings : tuple of str
    seconds : dict
        Of every step.
    """

    image_path: Path
    written: tuple[Path, ...]
    shares: dict[str, float]
    warnings: tuple[str, ...]
    seconds: dict[str, float]


@dataclass(frozen=True)
class BatchResult:
    """What came of all images.

    Parameters
    ----------
    images : tuple of ImageResult
    skipped : tuple of pathlib.Path
        Images that had a result already.
    problems : tuple of Problem
    """

    images: tuple[ImageResult, ...]
    skipped: tuple[Path, ...]
    problems: tuple[Problem, ...]


def work_through(
    image_paths: Sequence[Path],
    work: Callable[[Path], ImageResult],
    *,
    targets_of: Callable[[Path], list[Path]],
    resume: bool = False,
    too_large: str,
    progress: Progress = no_progress,
    on_done: Callable[[ImageResult], None] = lambda _: None,
) -> BatchResult:
    """Segment images one by one; one that cannot be used does not stop the others.

    Parameters
    ----------
    image_paths : sequence of pathlib.Path
    work : callable
        Segments one image and writes its result.
    targets_of : callable
        Gives the files of which all are there when an image is done; the first is its label map.
    resume : bool
        Leave out images that are done.
    too_large : str
        What to do about an image that does not fit into memory.
    progress : Progress
    on_done : callable
        Told of every image as soon as it is done.

    Returns
    -------
    BatchResult

    Raises
    ------
    MissingPackage
        When a package is missing that all images need.
    """
    done, skipped, problems = [], [], []
    taken: dict[Path, Path] = {}
    for path in progress(image_paths, label="images") if len(image_paths) > 1 else image_paths:
        targets = targets_of(path)
        if targets[0] in taken:
            problems.append(Problem(str(path), f"has the same name as {taken[targets[0]]}; give it another, or --out"))
            continue
        taken[targets[0]] = path
        if resume and all(target.exists() for target in targets):
            skipped.append(path)
            continue
        try:
            result = work(path)
            done.append(result)
            on_done(result)
        except MissingPackage:
            raise
        except HybridSegError as error:
            problems.append(Problem.of(path, error))
        except MemoryError:
            problems.append(Problem(str(path), f"is too large for the memory of this machine; {too_large}"))
    return BatchResult(tuple(done), tuple(skipped), tuple(problems))


def measure_shares(labels: np.ndarray, table: ClassTable) -> dict[str, float]:
    """Give the share of every class that is there, of all pixels that have a class, the largest first."""
    counts = np.bincount(labels.ravel(), minlength=len(table))[: len(table)]
    order = sorted(np.flatnonzero(counts).tolist(), key=lambda i: -counts[i])
    return {table.names[i]: float(counts[i] / counts.sum()) for i in order}


def write_confidence(path: Path, confidence: np.ndarray, georeference: GeoReference | None) -> None:
    """Write how sure the result is, in whole percent."""
    percent = np.where(np.isnan(confidence), _NO_CONFIDENCE, np.nan_to_num(confidence) * 100).round().astype(np.uint8)
    write_band(path, percent, georeference, nodata=_NO_CONFIDENCE, tags={"UNIT": "percent"})
