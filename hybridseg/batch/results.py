"""Results of segmenting images, and the parts that every method writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hybridseg.classes import VOID, ClassTable, count_labels
from hybridseg.errors import HybridSegError, Problem, count_problems
from hybridseg.io.cog import writing_band
from hybridseg.io.images import describe_image, read_image, read_rgb8
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.labels.labeltiff import writing_labels
from hybridseg.io.labels.picture import draw_labels
from hybridseg.io.rasters import GeoReference
from hybridseg.markup import count_of, render_table, render_text
from hybridseg.resample import find_nearest

MOST_WHOLE_PIXELS = 100_000_000
"""Of an image whose label map is also written in formats that are made of a whole one: .png and .mat."""
NO_CONFIDENCE = 255
"""The nodata value of confidence maps, which hold whole percent."""
NO_DATA = "no data"
"""The remark on an image every pixel of which is nodata or transparent: its label map is void everywhere."""
_VOID_ROWS = 128

ENTROPY, DISAGREEMENT, MODEL_DISAGREEMENT = "entropy", "disagreement", "model_disagreement"


def find_disagreement(measures: Mapping[str, float]) -> float | None:
    """Return how far the models differ by the measures of an image, or else tiles and CRF; None where neither is known.

    Examples
    --------
    >>> find_disagreement({"disagreement": 0.2}), find_disagreement({"disagreement": 0.2, "model_disagreement": 0.4})
    (0.2, 0.4)
    """
    return measures.get(MODEL_DISAGREEMENT, measures.get(DISAGREEMENT))


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
        How sure the result is, where that was measured: mean `ENTROPY`, `DISAGREEMENT` of tiles and CRF, and
        `MODEL_DISAGREEMENT` of the models that vote.
    remark : str
        `NO_DATA`, or empty.
    """

    image_path: Path
    written: tuple[Path, ...]
    shares: dict[str, float]
    warnings: tuple[str, ...]
    seconds: dict[str, float]
    replaced: str = ""
    measures: dict[str, float] = field(default_factory=dict)
    remark: str = ""

    def __repr__(self) -> str:
        return f"<ImageResult: {self.image_path.name} in {self.written[0]}, {self._describe_shares()}>"

    def _describe_shares(self) -> str:
        return self.remark or ", ".join(f"{name} {share:.0%}" for name, share in self.shares.items())

    def _repr_png_(self) -> bytes:
        found = read_labelmap(self.written[0], with_seeds=False)
        return draw_labels(found.labels, found.table, image=read_rgb8(self.image_path))


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
        return f"{self.count_done()}{skipped}{count_problems(self.problems)}"

    def count_done(self) -> str:
        """Return in words how many images were done, and how many of them hold no data."""
        n_empty = sum(image.remark == NO_DATA for image in self.images)
        return f"{count_of(len(self.images), 'image')} done{count_empty(n_empty)}"

    def _repr_html_(self) -> str:
        rows = [(image.image_path.name, image.written[0], image._describe_shares()) for image in self.images]
        return (
            render_text(self._describe())
            + (render_table(("image", "label map", "classes"), rows) if rows else "")
            + render_text(*self.problems)
        )


def count_empty(n_images: int) -> str:
    """Return how a line on what is done ends where some of it holds no data.

    Examples
    --------
    >>> count_empty(2), count_empty(0)
    (', 2 of them with no data (void everywhere)', '')
    """
    return f", {n_images:,} of them with {NO_DATA} (void everywhere)" if n_images else ""


def average_known(values: np.ndarray) -> float | None:
    """Return the mean of what is not NaN; None where all is.

    Examples
    --------
    >>> average_known(np.array([0.5, np.nan, 1.0])), average_known(np.array([np.nan]))
    (0.75, None)
    """
    known = values[~np.isnan(values)]
    return float(known.mean(dtype=np.float64)) if known.size else None


@dataclass(frozen=True, eq=False)
class ResultRows:
    """The next rows of a result, (any, cols) each.

    Parameters
    ----------
    labels : numpy.ndarray
        uint8; VOID where there is no picture.
    confidence : numpy.ndarray or None
        float32; NaN where there is no picture.
    seeds : numpy.ndarray or None
        uint8: 0 = unlabelled, class k is k + 1.
    entropy : numpy.ndarray or None
        float32: how undecided the model is, before any CRF, from 0 to 1; NaN where there is no picture.
    tiles : numpy.ndarray or None
        uint8: the class of the tiles alone.
    differences : numpy.ndarray or None
        float32: how far the models differ, before any CRF, see `hybridseg.models.ensemble.find_differences`; NaN where
        there is no picture. Of other rows, at another size, where they see the image so.
    """

    labels: np.ndarray
    confidence: np.ndarray | None = None
    seeds: np.ndarray | None = None
    entropy: np.ndarray | None = None
    tiles: np.ndarray | None = None
    differences: np.ndarray | None = None

    def blank(self, valid: np.ndarray | None) -> ResultRows:
        """Return the same without a class where there is no picture."""
        if valid is None:
            return self
        confidence, entropy, differences = (
            None if values is None else np.where(valid, values, np.float32(np.nan))
            for values in (self.confidence, self.entropy, self.differences)
        )
        seeds = None if self.seeds is None else np.where(valid, self.seeds, np.uint8(0))
        labels = np.where(valid, self.labels, np.uint8(VOID))
        return ResultRows(labels, confidence, seeds, entropy, self.tiles, differences)


def list_void(shape: tuple[int, int], *, with_confidence: bool) -> Iterator[ResultRows]:
    """Yield the result for an image of these rows and columns that has no picture."""
    for row in range(0, shape[0], _VOID_ROWS):
        part = min(_VOID_ROWS, shape[0] - row), shape[1]
        unknown = np.full(part, np.nan, np.float32) if with_confidence else None
        yield ResultRows(np.full(part, VOID, np.uint8), unknown, entropy=unknown)


def resize_rows(found: Iterable[ResultRows], old: tuple[int, int], new: tuple[int, int]) -> Iterator[ResultRows]:
    """Yield classes and confidence at another size, where each pixel has those of the nearest.

    Examples
    --------
    >>> rows = [ResultRows(np.uint8([[3, 7]])), ResultRows(np.uint8([[5, 9]]))]
    >>> [part.labels.tolist() for part in resize_rows(rows, (2, 2), (3, 4))]
    [[[3, 3, 7, 7]], [[5, 5, 9, 9], [5, 5, 9, 9]]]
    """
    sources, cols = (find_nearest(*sides) for sides in zip(old, new, strict=True))
    top = 0
    for part in found:
        first, end = np.searchsorted(sources, (top, top + len(part.labels)))
        at = np.ix_(sources[first:end] - top, cols)
        if first < end:
            yield ResultRows(part.labels[at], None if part.confidence is None else part.confidence[at])
        top += len(part.labels)


class KeptMaps:
    """What is kept of a result while it is written: counts, and its maps at a size that fits into memory.

    Parameters
    ----------
    shape, size : (int, int)
        Rows and columns of the image, and of the maps, which are resized to the nearest.
    """

    def __init__(self, shape: tuple[int, int], size: tuple[int, int]) -> None:
        self._rows, self._cols = (find_nearest(old, new) for old, new in zip(shape, size, strict=True))
        self._top, self._is_whole = 0, shape == size
        self.labels, self.seeds = np.empty(size, np.uint8), np.empty(size, np.uint8)
        self.counts, self.n_seeds = np.zeros(VOID + 1, np.int64), 0
        self._sums = dict.fromkeys((ENTROPY, DISAGREEMENT, MODEL_DISAGREEMENT), (0.0, 0))

    @property
    def measures(self) -> dict[str, float]:
        """How sure the result is, see `ImageResult`."""
        return {name: total / n for name, (total, n) in self._sums.items() if n}

    def add(self, found: ResultRows) -> None:
        """Take the next rows."""
        first, end = np.searchsorted(self._rows, (self._top, self._top + len(found.labels)))
        kept = self._rows[first:end] - self._top
        for target, values in ((self.labels, found.labels), (self.seeds, found.seeds)):
            if values is not None:
                target[first:end] = values if self._is_whole else values[np.ix_(kept, self._cols)]
        self.counts += count_labels(found.labels)
        self.n_seeds += 0 if found.seeds is None else int(np.count_nonzero(found.seeds))
        self._top += len(found.labels)
        for name, values in ((ENTROPY, found.entropy), (MODEL_DISAGREEMENT, found.differences)):
            if values is not None:
                known = values[~np.isnan(values)]
                self._sum(name, float(known.sum(dtype=np.float64)), known.size)
        if found.tiles is not None:
            differs = (found.labels != found.tiles)[found.labels != VOID]
            self._sum(DISAGREEMENT, float(differs.sum()), differs.size)

    def _sum(self, name: str, total: float, n: int) -> None:
        before, n_before = self._sums[name]
        self._sums[name] = before + total, n_before + n


def fits_whole(shape: tuple[int, int]) -> bool:
    """Return whether an image of these rows and columns has no more than `MOST_WHOLE_PIXELS`."""
    return shape[0] * shape[1] <= MOST_WHOLE_PIXELS


def is_small(path: Path) -> bool:
    """Return the same of a file; true for one that cannot be read, which has no result."""
    try:
        return fits_whole(describe_image(path).shape)
    except HybridSegError:
        return True


def explain_large(shape: tuple[int, int]) -> str:
    """Return a warning that the result of an image is a GeoTIFF alone; empty where it is not."""
    if fits_whole(shape):
        return ""
    return (
        f"it has {shape[0] * shape[1] / 1e6:,.0f} megapixels: above {MOST_WHOLE_PIXELS / 1e6:.0f} the label map is "
        "written as a GeoTIFF alone"
    )


@contextmanager
def writing_result(
    found: Iterable[ResultRows],
    shape: tuple[int, int],
    table: ClassTable,
    georeference: GeoReference | None,
    *,
    made_by: str,
    size: tuple[int, int],
    label_path: Path | None,
    confidence_path: Path | None = None,
    entropy_path: Path | None = None,
) -> Iterator[KeptMaps]:
    """Write the label map of an image as it comes, its confidence and entropy; what is kept of it is then there.

    The files have their names when the block of code ends, the label map last: where it is, all else is too.
    """
    kept = KeptMaps(shape, size)
    with ExitStack() as stack:
        write_labels, writers = None, []
        if label_path is not None:
            write_labels = stack.enter_context(writing_labels(label_path, shape, table, georeference, made_by=made_by))
        for name, path in (("confidence", confidence_path), ("entropy", entropy_path)):
            if path is not None:
                writers.append((name, stack.enter_context(writing_confidence(path, shape, georeference))))
        for rows in found:
            kept.add(rows)
            if write_labels is not None:
                write_labels(rows.labels)
            for name, write_percent in writers:
                write_percent(getattr(rows, name))
        yield kept


@contextmanager
def writing_confidence(
    path: Path, shape: tuple[int, int], georeference: GeoReference | None
) -> Iterator[Callable[[np.ndarray], None]]:
    """Write the probability of the class of each pixel, or its entropy, in whole percent; NaN becomes nodata."""

    def write(confidence: np.ndarray) -> None:
        percent = np.where(np.isnan(confidence), NO_CONFIDENCE, np.nan_to_num(confidence) * 100)
        write_rows(percent.round().astype(np.uint8))

    tags = {"UNIT": "percent"}
    with writing_band(path, shape, georeference, nodata=NO_CONFIDENCE, tags=lambda _: tags) as write_rows:
        yield write


def write_confidence(path: Path, confidence: np.ndarray, georeference: GeoReference | None) -> None:
    """Write a confidence that is in memory, (rows, cols) float32, as `writing_confidence` does."""
    with writing_confidence(path, (confidence.shape[0], confidence.shape[1]), georeference) as write:
        write(confidence)


def read_confidence(path: Path) -> np.ndarray:
    """Read what `write_confidence` wrote: (rows, cols) float32 from 0 to 1, NaN for nodata."""
    percent = read_image(path)[..., 0]
    return np.where(percent == NO_CONFIDENCE, np.float32(np.nan), percent / np.float32(100))
