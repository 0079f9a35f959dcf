"""Masks of some images with any model, with pictures to look at: the job of ``hybridseg predict``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from hybridseg.apply import Model, SegmentedImage, segment_pixels
from hybridseg.batch.jobs import Job, Outputs
from hybridseg.batch.madeby import add_settings, check_place
from hybridseg.batch.results import ImageResult
from hybridseg.classes import VOID, color_labels
from hybridseg.dense.predict import PredictJob
from hybridseg.dense.windows import DenseOptions
from hybridseg.errors import BadInput, BadUsage, OutputExists
from hybridseg.figures import DPI
from hybridseg.hybrid.semseg import SemsegJob
from hybridseg.io.atomic import claim_folder
from hybridseg.io.bands import stack_bands
from hybridseg.io.images import LoadedImage, as_rgb8, describe_image, load_image
from hybridseg.io.labels.formats import LABELMAP_SUFFIXES
from hybridseg.io.marks import check_ours
from hybridseg.io.pairing import PREDSEG
from hybridseg.markup import count_of
from hybridseg.options import Span, check_options, option, setting_of
from hybridseg.palette import ramp_colors
from hybridseg.panels import Panels, fit_page, list_legend, tint_image
from hybridseg.progress import Progress, StopWatch, no_progress
from hybridseg.resample import reduce_shape, resize_image, resize_nearest, shrink_image
from hybridseg.sheets import draw_panels

REPORTS_DIR = Path("reports/predict")
# As in the published program.
_PAIR_NAME, _OVERLAY_NAME = "image_pair_jet.png", "sample.png"
_NO_CLASS = "no class"
_N_COLORS = 3
# There is a warning where the threshold makes a larger share of the pixels void.
_MUCH = 0.5


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

    too_large = "cut it into parts, or give a smaller --scale"

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
        watch = StopWatch()
        loaded = self._read(image_path)
        watch.lap("read")
        found = self._segment(loaded, progress)
        watch.lap("predict")
        written: list[Path] = []
        if image_path in self.pictures:
            written += self.pictures[image_path]
            draw_mask(*self.pictures[image_path], found)
            watch.lap("draw pictures")
        if image_path in self.masks:
            mask_path = self.masks[image_path]
            if self.with_tif and found.georeference is not None:
                written.append(found.save(mask_path.with_suffix(".tif")))
            # Last: where it is, the others are too, and the image is done.
            written.insert(0, found.save(mask_path))
            watch.lap("write")
        # They are worded for `infer`, where --scale needs --native.
        warnings = [warning.replace("--native --scale", "--scale") for warning in found.warnings]
        return ImageResult(image_path, tuple(written), self._share_out(found, loaded), tuple(warnings), watch.seconds)

    def _share_out(self, found: SegmentedImage, loaded: LoadedImage) -> dict[str, float]:
        """Return the share of each class; where a threshold leaves pixels without one, their share too."""
        is_void = found.labels == VOID
        cut = float(np.mean(is_void if loaded.valid is None else is_void[loaded.valid])) if is_void.any() else 0.0
        if not cut:
            return found.shares
        return {**{name: share * (1 - cut) for name, share in found.shares.items()}, _NO_CLASS: cut}

    @property
    def _scale_of_tiles(self) -> float | None:
        """The scale that images are brought to before their tiles are classified; networks resize them themselves."""
        return self.options.scale if isinstance(self.inner, SemsegJob) else None

    def _read(self, image_path: Path) -> LoadedImage:
        return stack_bands(self.bands) if self.bands else load_image(image_path)

    def _segment(self, loaded: LoadedImage, progress: Progress) -> SegmentedImage:
        shape, scale = loaded.info.shape, self._scale_of_tiles
        whole = loaded
        if scale:
            small = reduce_shape(shape, scale)
            valid = None if loaded.valid is None else resize_nearest(loaded.valid, small)
            loaded = LoadedImage(loaded.info, resize_image(as_rgb8(loaded.pixels), small), valid)
        found = segment_pixels(loaded, self.inner, progress=progress)
        before, confidence = resize_nearest(found.labels, shape), resize_nearest(found.confidence, shape)
        if whole.valid is not None:
            before[~whole.valid] = VOID
        labels = apply_threshold(before, confidence, len(found.classes), self.options.mask_threshold)
        cut = np.mean((labels == VOID) & (before != VOID))
        warnings = found.warnings
        if cut > _MUCH:
            warnings += (f"{cut:.0%} of the pixels are void: their class is less probable than the --mask-threshold",)
        image = as_rgb8(whole.pixels) if scale else found.image
        assert found.made_by is not None
        made_by = self._extend(found.made_by)
        return replace(found, labels=labels, confidence=confidence, image=image, made_by=made_by, warnings=warnings)

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
        inner=model.make_job(options=chosen),
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
    """Return where the mask of each image goes, see `make_prediction`.

    Examples
    --------
    >>> a, b = Path("in/a.jpg"), Path("in/b.jpg")
    >>> [str(path) for path in place_masks([a, b], []).values()]
    ['in/a_predseg.png', 'in/b_predseg.png']
    >>> [str(path) for path in place_masks([a, b], [Path("out")]).values()]
    ['out/a_predseg.png', 'out/b_predseg.png']
    """
    if not names_masks(outputs):
        return {path: (outputs[0] if outputs else path.parent) / f"{path.stem}_{PREDSEG}.png" for path in images}
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


def draw_mask(pair_path: Path, overlay_path: Path, found: SegmentedImage) -> None:
    """Draw an image beside its mask, with its ids from blue to red, and the same with the mask over it."""
    table = found.classes
    jet = replace(table, colors=tuple(ramp_colors(len(table), jet=True)))
    shape = fit_page(found.labels.shape, 2, dpi=DPI)
    small, labels = shrink_image(found.image, *shape), resize_nearest(found.labels, shape)
    legend = list_legend(jet, labels, void=_NO_CLASS)
    draw_panels(pair_path, Panels(("image", "mask"), (small, color_labels(labels, jet)), legend))
    shape = fit_page(found.labels.shape, 1, dpi=DPI)
    small, labels = shrink_image(found.image, *shape), resize_nearest(found.labels, shape)
    legend = list_legend(table, labels, void=_NO_CLASS)
    draw_panels(overlay_path, Panels(("mask over the image",), (tint_image(small, labels, table),), legend))
