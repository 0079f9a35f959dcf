"""Masks of some images with any model, with pictures to look at: the job of ``hybridseg predict``."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from hybridseg.apply import Model
from hybridseg.batch.jobs import Job, Outputs
from hybridseg.batch.madeby import add_settings, check_place
from hybridseg.batch.results import (
    ImageResult,
    ResultRows,
    explain_large,
    fits_whole,
    is_small,
    resize_rows,
    writing_result,
)
from hybridseg.classes import VOID, ClassTable, color_labels, share_out
from hybridseg.dense.predict import PredictJob
from hybridseg.dense.windows import DenseOptions
from hybridseg.errors import BadInput, BadUsage, OutputExists, TooLittleMemory
from hybridseg.figures import DPI
from hybridseg.hybrid.semseg import SemsegJob
from hybridseg.io.atomic import claim_folder
from hybridseg.io.bands import stack_bands
from hybridseg.io.images import ImageInfo, describe_image
from hybridseg.io.labels.formats import LABELMAP_SUFFIXES, write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.lazyimages import LazyImage, open_lazily
from hybridseg.io.marks import check_ours
from hybridseg.io.pairing import PREDSEG
from hybridseg.machine import GIB, MemoryOptions
from hybridseg.markup import count_of
from hybridseg.oneimage import FoundRows, find_room, segment_rows
from hybridseg.options import Span, check_options, option, setting_of
from hybridseg.palette import ramp_colors
from hybridseg.panels import Panels, fit_page, list_legend, tint_image
from hybridseg.progress import Progress, StopWatch, no_progress
from hybridseg.resample import reduce_shape, resize_nearest, shrink_image
from hybridseg.sheets import draw_panels

REPORTS_DIR = Path("reports/predict")
# As in the published program.
_PAIR_NAME, _OVERLAY_NAME = "image_pair_jet.png", "sample.png"
_NO_CLASS = "no class"
_N_COLORS = 3
# There is a warning where the threshold makes a larger share of the pixels void.
_MUCH = 0.5
# Of a pixel of a mask that is made as a whole: its class, and that of the file.
_WHOLE_BYTES = 4


@dataclass(frozen=True)
class PredictionOptions:
    """At which scale a model sees the images, and how sure it must be."""

    mask_threshold: float | None = option(
        None,
        "Of two classes, the second is where its probability is above this; of more, a pixel whose class is less "
        "probable than this becomes void.",
        span=Span(0, 1),
    )
    scale: float | None = option(
        None,
        "Resize the images by this factor for the model: 0.1 to a tenth of their sides. Masks have the size of their "
        "images all the same.",
        span=setting_of(DenseOptions, "scale").span,
    )

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, kw_only=True)
class PredictionJob(Job):
    """Segment an image by another job, and write the mask and the pictures where they are wanted.

    Parameters
    ----------
    inner : SemsegJob or PredictJob
        Of the method that the models belong to.
    masks : mapping
        The mask of each image, unless it is not written.
    pictures : mapping
        The two pictures of each image that are drawn: image and mask side by side, and the overlay.
    with_tif : bool
        Write ``NAME.tif`` too, beside the mask ``NAME.png`` of an image with a georeference.
    bands : tuple of pathlib.Path
        The files of one band each that are the one image, which goes by the first of them; empty: each is an image.
    """

    inner: SemsegJob | PredictJob
    options: PredictionOptions = PredictionOptions()
    masks: Mapping[Path, Path] = field(default_factory=dict)
    pictures: Mapping[Path, tuple[Path, Path]] = field(default_factory=dict)
    with_tif: bool = False
    bands: tuple[Path, ...] = ()

    too_large = "give a smaller --scale, or less --max-memory"

    def load(self) -> object:
        """Load the models."""
        return self.inner.load()

    def list_targets(self, image_path: Path) -> list[Path]:
        """List the mask and the pictures."""
        masks = [self.masks[image_path]] if image_path in self.masks else []
        return [*masks, *self.pictures.get(image_path, ())]

    def record(self, image_path: Path) -> str:
        """Return the record of how the mask of an image is made."""
        shape = describe_image(image_path).shape
        if self._scale_of_tiles:
            shape = reduce_shape(shape, self._scale_of_tiles)
        return self._extend(self.inner.record_shape(shape))

    def segment(self, image_path: Path, *, progress: Progress = no_progress) -> ImageResult:
        """Segment one image and write the result."""
        watch, room = StopWatch(), find_room(self.inner, describe_image(image_path))
        image, info = self._open(image_path, room)
        tif_path, drawn_path = self._place_mask(image_path, info)
        is_whole = drawn_path is not None or fits_whole(info.shape)
        if drawn_path is not None and math.prod(info.shape) * _WHOLE_BYTES > room:
            raise TooLittleMemory(
                f"{drawn_path} is made as a whole, which takes {math.prod(info.shape) * _WHOLE_BYTES / GIB:.1f} GiB, "
                f"and {room / GIB:.1f} are left for it; name a mask that ends in .tif, which is written part by part, "
                "or give more (--max-memory)"
            )
        watch.lap("read")
        found = self._segment(image, info, room, progress)
        rows = _Thresholded(found.rows, len(found.table), self.options.mask_threshold)
        page, pictures = fit_page(info.shape, 1, dpi=DPI), self.pictures.get(image_path, ())
        with writing_result(
            rows, info.shape, found.table, info.georeference, made_by=found.made_by,
            size=info.shape if is_whole else page, label_path=tif_path,
        ) as kept:  # fmt: skip
            watch.lap("predict")
            if pictures:
                draw_mask(*pictures, found.image, kept.labels, found.table)
                watch.lap("draw pictures")
        if drawn_path is not None:
            # Last: where it is, the others are too, and the image is done.
            result = LabelMap(kept.labels, found.table, georeference=info.georeference, made_by=found.made_by)
            write_labelmap(drawn_path, result)
            watch.lap("write")
        written = (*filter(None, [drawn_path, tif_path]), *pictures)
        # They are worded for `infer`, where --scale needs --native.
        warnings = [warning.replace("--native --scale", "--scale") for warning in found.warnings]
        if rows.n_cut > _MUCH * math.prod(info.shape):
            share = rows.n_cut / math.prod(info.shape)
            warnings.append(
                f"{share:.0%} of the pixels are void: their class is less probable than the --mask-threshold"
            )
        if tif_path is not None and not is_whole and self.with_tif:
            warnings.append(explain_large(info.shape))
        shares = share_out(kept.counts, found.table)
        if rows.n_cut:
            cut = rows.n_cut / (rows.n_cut + int(kept.counts[:VOID].sum()))
            shares = {**{name: share * (1 - cut) for name, share in shares.items()}, _NO_CLASS: cut}
        return ImageResult(image_path, written, shares, tuple(warnings), watch.seconds, remark=found.remark)

    def _place_mask(self, image_path: Path, info: ImageInfo) -> tuple[Path | None, Path | None]:
        """Return the mask that is written part by part, a GeoTIFF, and the one that is made as a whole."""
        mask_path = self.masks.get(image_path)
        if mask_path is None:
            return None, None
        if mask_path.suffix.lower() in (".tif", ".tiff"):
            return mask_path, None
        has_both = self.with_tif and info.georeference is not None
        return mask_path.with_suffix(".tif") if has_both else None, mask_path

    @property
    def _scale_of_tiles(self) -> float | None:
        """The scale that images are brought to before their tiles are classified; networks resize them themselves."""
        return self.options.scale if isinstance(self.inner, SemsegJob) else None

    def _open(self, image_path: Path, room: int) -> tuple[LazyImage, ImageInfo]:
        if self.bands:
            return stack_bands(self.bands, room=room)
        return open_lazily(image_path, room=room), describe_image(image_path)

    def _segment(self, image: LazyImage, info: ImageInfo, room: int, progress: Progress) -> FoundRows:
        """Return the result at the size of the image."""
        shape, scale = info.shape, self._scale_of_tiles
        small = reduce_shape(shape, scale) if scale else shape
        found = segment_rows(
            image.as_rgb8().resize(small) if scale else image, self.inner, info=info, room=room, progress=progress,
            want_confidence=self.options.mask_threshold is not None,
        )  # fmt: skip
        rows = found.rows if small == shape else _enlarge(found.rows, small, image)
        return replace(found, rows=rows, image=image if scale else found.image, made_by=self._extend(found.made_by))

    def _extend(self, record: str) -> str:
        """Return a record with what is set here; the same, where nothing is."""
        given = {name: value for name, value in asdict(self.options).items() if value is not None}
        bands = {"bands": [path.name for path in self.bands]} if self.bands else {}
        return add_settings(record, prediction={**given, **bands}) if given or bands else record


def make_prediction(
    images: Sequence[Path],
    model: Model,
    *,
    outputs: Sequence[Path] = (),
    options: PredictionOptions = PredictionOptions(),
    save: bool = True,
    reports_dir: Path | None = None,
    stack: bool = False,
    memory: MemoryOptions = MemoryOptions(),
) -> PredictionJob:
    """Return the job that predicts images; nothing that a user wrote would be replaced.

    Parameters
    ----------
    outputs : sequence of pathlib.Path
        A mask for each image, or one folder of ``NAME_predseg.png``; none: beside each image.
    save : bool
        Write the masks.
    reports_dir : pathlib.Path or None
        Draw the pictures there.
    stack : bool
        The images are the bands of one.

    Raises
    ------
    BadUsage
        When the outputs are not as many as the images, two images would have the same, or a stack has not the bands.
    BadInput
        As `make_job`, and when an output has no suffix of a label map.
    OutputExists
        When another file is in the place of a result.
    WriteFailed
        When a folder of the results cannot be written.
    """
    if stack and (len(images) < 2 or (model.is_classifier and len(images) != _N_COLORS)):
        wanted = (
            "three files, red, green and blue, for tile classifiers" if model.is_classifier else "two files or more"
        )
        raise BadUsage(f"--stack takes {wanted}, and not {len(images)}")
    chosen = None if model.is_classifier or options.scale is None else DenseOptions(native=True, scale=options.scale)
    job = PredictionJob(
        model.paths,
        Outputs(figures=None),
        inner=replace(model.make_job(options=chosen), memory=memory),
        options=options,
        masks=place_masks(images[:1] if stack else images, outputs) if save else {},
        pictures=place_pictures(images[:1] if stack else images, reports_dir) if reports_dir else {},
        with_tif=not names_masks(outputs),
        bands=tuple(images) if stack else (),
    )
    _check_targets(job, images)
    # Not for a model that cannot be read.
    if model.classes:
        for folder in {target.parent for path in {**job.masks, **job.pictures} for target in job.list_targets(path)}:
            claim_folder(folder)
    return job


def place_masks(images: Sequence[Path], outputs: Sequence[Path]) -> dict[Path, Path]:
    """Return where the mask of each image goes, see `make_prediction`: that of a large one is a GeoTIFF.

    Examples
    --------
    >>> a, b = Path("in/a.jpg"), Path("in/b.jpg")
    >>> [str(path) for path in place_masks([a, b], []).values()]
    ['in/a_predseg.png', 'in/b_predseg.png']
    >>> [str(path) for path in place_masks([a, b], [Path("out")]).values()]
    ['out/a_predseg.png', 'out/b_predseg.png']
    """
    if not names_masks(outputs):
        endings = {path: ".png" if is_small(path) else ".tif" for path in images}
        return {
            path: (outputs[0] if outputs else path.parent) / f"{path.stem}_{PREDSEG}{endings[path]}" for path in images
        }
    if len(outputs) != len(images):
        n_masks, n_images = count_of(len(outputs), "mask"), count_of(len(images), "image")
        raise BadUsage(
            f"--output names {n_masks} for {n_images}; name one for each image, in the same order, or a folder"
        )
    for path in outputs:
        if path.suffix.lower() not in LABELMAP_SUFFIXES:
            raise BadInput(
                f"{path} cannot hold a mask, whose class ids must stay as they are; name it with one of "
                f"{', '.join(LABELMAP_SUFFIXES)}"
            )
    return dict(zip(images, outputs, strict=True))


def names_masks(outputs: Sequence[Path]) -> bool:
    """Return whether outputs are masks, and neither none nor a folder."""
    is_folder = len(outputs) == 1 and (outputs[0].is_dir() or not outputs[0].suffix)
    return bool(outputs) and not is_folder


def place_pictures(images: Sequence[Path], reports_dir: Path) -> dict[Path, tuple[Path, Path]]:
    """Return where the pictures of each image go: those of several are called after their images.

    Examples
    --------
    >>> [str(path) for path in place_pictures([Path("a.jpg")], Path("r"))[Path("a.jpg")]]
    ['r/image_pair_jet.png', 'r/sample.png']
    >>> [str(path) for path in place_pictures([Path("a.jpg"), Path("b.jpg")], Path("r"))[Path("b.jpg")]]
    ['r/b_image_pair_jet.png', 'r/b_sample.png']
    """
    starts = {path: f"{path.stem}_" if len(images) > 1 else "" for path in images}
    return {
        path: (reports_dir / f"{start}{_PAIR_NAME}", reports_dir / f"{start}{_OVERLAY_NAME}")
        for path, start in starts.items()
    }


def _check_targets(job: PredictionJob, images: Iterable[Path]) -> None:
    """Raise unless every result has a place of its own, where nothing is but an earlier result."""
    owners: dict[str, Path] = {}
    # Not `resolve`, which fails for a link to itself.
    inputs = {os.path.realpath(path) for path in images}
    for image_path in {**job.masks, **job.pictures}:
        for target in job.list_targets(image_path):
            other = owners.setdefault(place := os.path.realpath(target), image_path)
            if other != image_path:
                raise BadUsage(f"the results of {other} and {image_path} would both be {target}; give them one by one")
            if place in inputs:
                raise OutputExists(f"{target} is one of the images; give another --output")
    for mask_path in job.masks.values():
        check_place(mask_path)
        if job.with_tif:
            check_place(mask_path.with_suffix(".tif"))
    check_ours((path for pair in job.pictures.values() for path in pair), advice="give --reports DIR")


def apply_threshold(labels: np.ndarray, confidence: np.ndarray, n_classes: int, threshold: float | None) -> np.ndarray:
    """Return labels after a threshold on their probability: the second of two classes, or void of more.

    Examples
    --------
    >>> labels, confidence = np.uint8([0, 0, 1, 1, 255]), np.array([0.9, 0.6, 0.6, 0.9, np.nan])
    >>> [apply_threshold(labels, confidence, 2, threshold).tolist() for threshold in (0.3, 0.7)]
    [[0, 1, 1, 1, 255], [0, 0, 0, 1, 255]]
    >>> apply_threshold(labels, confidence, 3, 0.7).tolist()
    [0, 255, 255, 1, 255]
    """
    if threshold is None:
        return labels
    if n_classes == 2:
        second = np.where(labels == 1, confidence, 1 - confidence)
        found = (second > threshold).astype(np.uint8)
    else:
        found = np.where(confidence < threshold, np.uint8(VOID), labels)
    return np.where(labels == VOID, np.uint8(VOID), found)


class _Thresholded:
    """Rows of a result after `apply_threshold`; once all were taken, `n_cut` says how many pixels it made void."""

    def __init__(self, rows: Iterable[ResultRows], n_classes: int, threshold: float | None) -> None:
        self._rows, self._n_classes, self._threshold = rows, n_classes, threshold
        self.n_cut = 0

    def __iter__(self) -> Iterator[ResultRows]:
        for part in self._rows:
            if part.confidence is None:
                yield part
                continue
            labels = apply_threshold(part.labels, part.confidence, self._n_classes, self._threshold)
            self.n_cut += int(np.count_nonzero((labels == VOID) & (part.labels != VOID)))
            yield replace(part, labels=labels)


def _enlarge(rows: Iterable[ResultRows], old: tuple[int, int], image: LazyImage) -> Iterator[ResultRows]:
    """Yield a result at the size of an image, without a class where that has no picture."""
    top = 0
    for part in resize_rows(rows, old, image.shape[:2]):
        yield part.blank(image.find_valid(slice(top, top + len(part.labels))))
        top += len(part.labels)


def draw_mask(pair_path: Path, overlay_path: Path, image: LazyImage, labels: np.ndarray, table: ClassTable) -> None:
    """Draw an image beside its mask, with its ids from blue to red, and the same with the mask over it.

    Parameters
    ----------
    labels : numpy.ndarray
        (any, any) uint8, of all of the image.
    """
    jet = replace(table, colors=tuple(ramp_colors(len(table), jet=True)))
    picture = image.as_rgb8().shrink(fit_page(image.shape[:2], 1, dpi=DPI))
    shape = fit_page(image.shape[:2], 2, dpi=DPI)
    small, found = shrink_image(picture, *shape), resize_nearest(labels, shape)
    legend = list_legend(jet, found, void=_NO_CLASS)
    draw_panels(pair_path, Panels(("image", "mask"), (small, color_labels(found, jet)), legend))
    found = resize_nearest(labels, picture.shape[:2])
    legend = list_legend(table, found, void=_NO_CLASS)
    draw_panels(overlay_path, Panels(("mask over the image",), (tint_image(picture, found, table),), legend))
