"""Results of segmenting images, and the parts that every method writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridseg.classes import ClassTable
from hybridseg.errors import Problem
from hybridseg.io.images import read_image
from hybridseg.io.rasters import GeoReference, write_band

NO_CONFIDENCE = 255
"""The nodata value of confidence maps, which hold whole percent."""


@dataclass(frozen=True)
class ImageResult:
    """The result of segmenting one image.

    Parameters
    ----------
    written : tuple of pathlib.Path
        The label map first.
    shares : dict
        Share of the labelled pixels of each class that occurs.
    seconds : dict
        Time that each step took.
    replaced : str
        Why a result that was there already was made again, when resuming.
    """

    image_path: Path
    written: tuple[Path, ...]
    shares: dict[str, float]
    warnings: tuple[str, ...]
    seconds: dict[str, float]
    replaced: str = ""


@dataclass(frozen=True)
class BatchResult:
    """The results of all images, the images that were skipped because they were done, and those that failed."""

    images: tuple[ImageResult, ...]
    skipped: tuple[Path, ...]
    problems: tuple[Problem, ...]


def measure_shares(labels: np.ndarray, table: ClassTable) -> dict[str, float]:
    """Return the share of each class that occurs, of all labelled pixels, the largest first."""
    counts = np.bincount(labels.ravel(), minlength=len(table))[: len(table)]
    order = sorted(np.flatnonzero(counts).tolist(), key=lambda i: -counts[i])
    return {table.names[i]: float(counts[i] / counts.sum()) for i in order}


def write_confidence(path: Path, confidence: np.ndarray, georeference: GeoReference | None) -> None:
    """Write the probability of the class of each pixel, in whole percent; NaN becomes nodata."""
    percent = np.where(np.isnan(confidence), NO_CONFIDENCE, np.nan_to_num(confidence) * 100).round().astype(np.uint8)
    write_band(path, percent, georeference, nodata=NO_CONFIDENCE, tags={"UNIT": "percent"})


def read_confidence(path: Path) -> np.ndarray:
    """Read what `write_confidence` wrote: (rows, cols) float32 from 0 to 1, NaN for nodata."""
    percent = read_image(path)[..., 0]
    return np.where(percent == NO_CONFIDENCE, np.float32(np.nan), percent / np.float32(100))
