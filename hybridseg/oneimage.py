"""One image of any size by any model: its result row by row as it comes, or all of it in memory."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.batch.madeby import check_place
from hybridseg.batch.results import NO_DATA, ResultRows, list_void
from hybridseg.classes import ClassTable
from hybridseg.dense.predict import PredictJob, predict_rows, show_image
from hybridseg.dense.windows import count_held, count_needed
from hybridseg.errors import BadInput, TooLittleMemory
from hybridseg.hybrid.segmentation import segment_image
from hybridseg.hybrid.semseg import SemsegJob, list_warnings
from hybridseg.io.bands import describe_colors
from hybridseg.io.images import ImageInfo, describe_image
from hybridseg.io.labels.formats import write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.picture import draw_labels
from hybridseg.io.lazyimages import ROOM, LazyImage, open_lazily
from hybridseg.machine import GIB
from hybridseg.progress import Progress, no_progress

PathLike = str | os.PathLike[str]
# An array of fewer rows than bands, and few of them, has its bands in the place of the rows.
_FEW_ROWS, _USUAL_BANDS = 32, 4
# Of a pixel of a result in memory: class, confidence and picture.
_RESULT_BYTES = 8


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class SegmentedImage(LabelMap):
    """The class of every pixel of an image. In a notebook it shows the image, its classes, and a legend.

    Parameters
    ----------
    image : numpy.ndarray
        (rows, cols, 3) uint8: the image as it is shown.
    confidence : numpy.ndarray
        (rows, cols) float32: the probability of the class of each pixel; NaN where there is no picture.
    warnings : tuple of str
        What a person should check.
    """

    image: np.ndarray
    confidence: np.ndarray
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        warned = f"; warnings: {len(self.warnings)}, see .warnings" if self.warnings else ""
        return f"{super().__repr__().removesuffix('>')}{warned}>"

    @property
    def classes(self) -> ClassTable:
        """The classes, in the order of the ids."""
        return self.require_table("this result")

    def _repr_png_(self) -> bytes:
        return draw_labels(self.labels, self.table, image=self.image)

    def save(self, path: PathLike) -> Path:
        """Write the label map as ``.png``, ``.tif`` (with its place on Earth) or ``.mat``, and return the path.

        Raises
        ------
        OutputExists
            When there is a file that is no result of this program.
        BadInput, WriteFailed
            As `write_labelmap`.
        """
        path = Path(path)
        check_place(path)
        write_labelmap(path, self)
        return path


@dataclass(frozen=True, eq=False)
class FoundRows:
    """The result for an image of any size, as it comes.

    Parameters
    ----------
    rows : iterator of ResultRows
        From top to bottom; they are worked out as they are taken.
    image : LazyImage
        The image as the models were given it.
    made_by : str
        See `hybridseg.batch.madeby`.
    warnings : tuple of str
        What a person should check.
    remark : str
        `NO_DATA`, or empty.
    """

    rows: Iterator[ResultRows]
    table: ClassTable
    image: LazyImage
    made_by: str
    warnings: tuple[str, ...]
    remark: str = ""


def segment_rows(
    image: LazyImage,
    job: SemsegJob | PredictJob,
    *,
    info: ImageInfo | None = None,
    want_confidence: bool = True,
    room: int = ROOM,
    progress: Progress = no_progress,
) -> FoundRows:
    """Segment one image of any size.

    Parameters
    ----------
    info : ImageInfo or None
        The header of its file.
    room : int
        Bytes that may be taken, see `find_room`.

    Raises
    ------
    MissingInput, BadInput, MissingPackage
        As `segment_image` and `predict_rows`.
    """
    made_by, warnings = job.record_shape(image.shape[:2]), tuple[str, ...]()
    if isinstance(job, SemsegJob):
        classifier, has_alpha = job.load(), info is not None and info.has_alpha
        bands = describe_colors(image.shape[2], model=classifier.path.name, has_alpha=has_alpha)
        image = image.as_rgb8()
        segmented = segment_image(
            image, classifier, options=job.options, want_confidence=want_confidence, room=room, progress=progress
        )
        table, rows = job.table or classifier.table, segmented.list_rows()
        warnings = tuple(list_warnings(segmented, job.options, table, tile_size=classifier.tile_size, bands=bands))
        is_empty = not segmented.n_tiles
    else:
        networks = job.load()
        table = job.table or networks[0].table
        image, warnings, is_empty = show_image(image, networks, info=info, options=job.options)
        rows = predict_rows(
            image, networks, options=job.options, smoothing=job.smoothing, want_confidence=want_confidence,
            room=room, progress=progress,
        )  # fmt: skip
        rows = list_void(image.shape[:2], with_confidence=want_confidence) if is_empty else rows
    return FoundRows(rows, table, image, made_by, warnings, NO_DATA if is_empty else "")


def find_room(job: SemsegJob | PredictJob, image: ImageInfo | LazyImage) -> int:
    """Return the bytes that may be taken for an image beside the models of a job, see `MemoryOptions.find_room`."""
    if isinstance(job, SemsegJob):
        return job.memory.find_room()
    networks = job.load()
    return job.memory.find_room(needed=count_needed(image, networks, job.options), held=count_held(networks))


def segment_pixels(
    image: PathLike | Any, job: SemsegJob | PredictJob, *, progress: Progress = no_progress
) -> SegmentedImage:
    """Segment one image and write nothing: its result is in memory, and no more than that.

    Parameters
    ----------
    image : path-like or array
        An array is (rows, cols) or (rows, cols, bands) of numbers. Values wider than 8 bits are stretched between
        their 1st and 99th percentile.

    Raises
    ------
    MissingInput, BadInput, MissingPackage
        As `segment_rows`, and when the result does not fit into memory.
    """
    info = describe_image(image) if isinstance(image, str | os.PathLike) else None
    known = info or LazyImage.of(_check_array(image))
    room, shape = find_room(job, known), (known.shape[0], known.shape[1])
    n_bytes = math.prod(shape) * _RESULT_BYTES
    if n_bytes > room // 2:
        raise TooLittleMemory(
            f"{info.path if info else 'the image'} has {math.prod(shape) / 1e6:,.0f} megapixels, whose classes, "
            f"confidence and picture take {n_bytes / GIB:.1f} GiB, and {room / 2 / GIB:.1f} are left for them; have "
            "the results written to files, part by part: --out DIR"
        )
    room -= n_bytes
    opened = open_lazily(known.path, room=room) if isinstance(known, ImageInfo) else known
    found = segment_rows(opened, job, info=info, room=room, progress=progress)
    labels, confidence, top = np.empty(shape, np.uint8), np.empty(shape, np.float32), 0
    for part in found.rows:
        own = slice(top, top + len(part.labels))
        labels[own], confidence[own], top = part.labels, part.confidence, own.stop
    warnings = (*found.warnings, *filter(None, [found.remark]))
    return SegmentedImage(
        labels, found.table, georeference=info.georeference if info else None, made_by=found.made_by,
        image=found.image.as_rgb8()[:], confidence=confidence, warnings=warnings,
    )  # fmt: skip


def _check_array(image: Any) -> np.ndarray:
    """Return an array that is an image as (rows, cols, bands)."""
    pixels = np.asarray(image)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.ndim == 3 and pixels.shape[0] < min(pixels.shape[2], _FEW_ROWS) and pixels.shape[2] > _USUAL_BANDS:
        shape = " x ".join(map(str, pixels.shape))
        raise BadInput(
            f"an image is (rows, cols, bands), and this array of {shape} looks like bands first, as rasterio reads "
            "them: give image.transpose(1, 2, 0)"
        )
    if pixels.ndim != 3 or not pixels.size or pixels.dtype.kind not in "uif":
        raise BadInput(f"an image is an array of numbers, (rows, cols, bands), not {pixels.shape} of {pixels.dtype}")
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise BadInput("the image has values that are NaN or infinite; fill them first, for example with its mean")
    return pixels
