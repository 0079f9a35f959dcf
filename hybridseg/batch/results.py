"""Results of segmenting images, and the parts that every method writes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hybridseg.classes import VOID
from hybridseg.errors import Problem, count_problems
from hybridseg.io.images import as_rgb8, read_image
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.labels.picture import draw_labels
from hybridseg.io.rasters import GeoReference, write_band
from hybridseg.markup import render_table, render_text

NO_CONFIDENCE = 255
"""The nodata value of confidence maps, which hold whole percent."""

ENTROPY, DISAGREEMENT = "entropy", "disagreement"


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
    measures : dict
        How sure the result is, where that was measured: mean `ENTROPY`, and `DISAGREEMENT` of tiles and CRF.
    """

    image_path: Path
    written: tuple[Path, ...]
    shares: dict[str, float]
    warnings: tuple[str, ...]
    seconds: dict[str, float]
    replaced: str = ""
    measures: dict[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<ImageResult: {self.image_path.name} in {self.written[0]}, {self._describe_shares()}>"

    def _describe_shares(self) -> str:
        return ", ".join(f"{name} {share:.0%}" for name, share in self.shares.items())

    def _repr_png_(self) -> bytes:
        found = read_labelmap(self.written[0], with_seeds=False)
        return draw_labels(found.labels, found.table, image=as_rgb8(read_image(self.image_path)))


@dataclass(frozen=True)
class BatchResult:
    """The results of all images, the images that were skipped because they were done, and those that failed."""

    images: tuple[ImageResult, ...]
    skipped: tuple[Path, ...]
    problems: tuple[Problem, ...]

    def __repr__(self) -> str:
        return f"<BatchResult: {self._describe()}>"

    def _describe(self) -> str:
        skipped = f", {len(self.skipped)} skipped" if self.skipped else ""
        return f"{len(self.images)} images done{skipped}{count_problems(self.problems)}"

    def _repr_html_(self) -> str:
        rows = [(image.image_path.name, image.written[0], image._describe_shares()) for image in self.images]
        return (
            render_text(self._describe())
            + (render_table(("image", "label map", "classes"), rows) if rows else "")
            + render_text(*self.problems)
        )


def average_known(values: np.ndarray) -> float | None:
    """Return the mean of what is not NaN; None where all is.

    Examples
    --------
    >>> average_known(np.array([0.5, np.nan, 1.0])), average_known(np.array([np.nan]))
    (0.75, None)
    """
    known = values[~np.isnan(values)]
    return float(known.mean(dtype=np.float64)) if known.size else None


def measure_disagreement(labels: np.ndarray, others: np.ndarray) -> float | None:
    """Return the share of pixels that have another class, of those with a class in both; None where there are none.

    Examples
    --------
    >>> measure_disagreement(np.array([0, 1, 1, 255]), np.array([0, 1, 2, 2]))
    0.3333333333333333
    """
    both = (labels != VOID) & (others != VOID)
    return float(np.mean(labels[both] != others[both])) if both.any() else None


def write_confidence(path: Path, confidence: np.ndarray, georeference: GeoReference | None) -> None:
    """Write the probability of the class of each pixel, or its entropy, in whole percent; NaN becomes nodata."""
    percent = np.where(np.isnan(confidence), NO_CONFIDENCE, np.nan_to_num(confidence) * 100).round().astype(np.uint8)
    write_band(path, percent, georeference, nodata=NO_CONFIDENCE, tags=lambda: {"UNIT": "percent"})


def read_confidence(path: Path) -> np.ndarray:
    """Read what `write_confidence` wrote: (rows, cols) float32 from 0 to 1, NaN for nodata."""
    percent = read_image(path)[..., 0]
    return np.where(percent == NO_CONFIDENCE, np.float32(np.nan), percent / np.float32(100))
