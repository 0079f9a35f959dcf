"""Segment image files by dense networks, and write the label maps."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.batch.jobs import Job, Outputs, load_once
from hybridseg.batch.madeby import make_record
from hybridseg.batch.parts import Here, Strip, Work
from hybridseg.batch.results import (
    NO_DATA,
    ImageResult,
    ResultRows,
    explain_large,
    fits_whole,
    is_small,
    list_void,
    writing_result,
)
from hybridseg.batch.workers import MOST_AHEAD
from hybridseg.classes import ClassTable, share_out
from hybridseg.crf.refine import PIXEL_SECONDS
from hybridseg.dense.decisions import Differences, decide, take_rows
from hybridseg.dense.pieces import even_strips, join_pieces
from hybridseg.dense.smoothing import SmoothingOptions, judge_room, smooth_strips
from hybridseg.dense.windows import (
    DenseOptions,
    count_held,
    count_needed,
    find_size,
    plan_image,
    predict_pieces,
    predict_strips,
)
from hybridseg.errors import NoPicture
from hybridseg.figures import DPI
from hybridseg.forecast import UNKNOWN, followed_by
from hybridseg.io.bands import AnyImage, match_bands
from hybridseg.io.images import ImageInfo, describe_image
from hybridseg.io.labels.formats import write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.lazyimages import ROOM, LazyImage, as_lazy, open_lazily
from hybridseg.machine import MemoryOptions
from hybridseg.models.architectures import architecture_record
from hybridseg.models.bundles import DenseCard, DenseModel, load_dense
from hybridseg.panels import fit_page, show_result
from hybridseg.progress import Progress, StopWatch, no_progress
from hybridseg.resample import find_nearest
from hybridseg.sheets import draw_panels

_COMPOSITE, _CONFIDENCE, _ENTROPY = "_composite", "_confidence.tif", "_entropy.tif"


@dataclass(frozen=True)
class PredictJob(Job):
    """Segment an image by dense networks."""

    options: DenseOptions = DenseOptions()
    smoothing: SmoothingOptions = SmoothingOptions()
    memory: MemoryOptions = MemoryOptions()

    too_large = "cut it into parts, or leave the CRF out"

    def load(self) -> list[DenseModel]:
        """Load the networks, and check that the options suit them."""
        models = [load_once(load_dense, path, engine=self.engine) for path in self.model_paths]
        for model in models:
            self.options.choose_scale(model)
        return models

    def describe(self) -> dict[str, Any]:
        """Return all that the results depend on: of the cards what does not tell of the training."""
        return {**super().describe(), "cards": [_describe_card(model.card) for model in self.load()]}

    def list_targets(self, image_path: Path) -> list[Path]:
        """List the label map, and what was asked for beside it."""
        endings = [".png" if is_small(image_path) else ".tif"]
        endings += [_CONFIDENCE, _ENTROPY] if self.outputs.probabilities else []
        targets = [_place(self.outputs, image_path, ending) for ending in endings]
        return [*targets, *self.outputs.list_figures(image_path, f"_{self.outputs.title}{_COMPOSITE}")]

    def list_places(self, image_path: Path) -> list[Path]:
        """List the same, and the label map with its place on Earth."""
        return [*self.list_targets(image_path), _place(self.outputs, image_path, ".tif")]

    def record(self, image_path: Path) -> str:
        """Return the record of how the label map of an image is made: of all alike."""
        return self.record_shape()

    def record_shape(self, _: tuple[int, int] = (0, 0)) -> str:
        """Return the same for an image of any rows and columns."""
        networks = self.load()
        return _make_record(networks, self.options, self.smoothing, self.table or networks[0].table)

    def count_parts(self, shape: tuple[int, int]) -> int:
        """Return the number of windows of an image; 1 for networks that do not see it alike."""
        plan = plan_image(shape, self.load(), self.options)
        return len(plan) if plan else 1

    def count_kept(self, shape: tuple[int, int], n_workers: int) -> int:
        """Return about how many bytes its windows take on the disk: all, or those that the next strips need."""
        models = self.load()
        plan = plan_image(shape, models, self.options)
        if plan is None:
            return 0
        several = len(models) > 1
        window = 4 * (len(models[0].table) + several) * plan.height * plan.width
        if self.smoothing.any or plan.shape != shape:
            return len(plan) * window
        n_windows = min(plan.count_kept() + n_workers + MOST_AHEAD, len(plan))
        return n_windows * window + math.prod(shape) * (1 + 8 * self.outputs.probabilities + 4 * several)

    def segment(self, image_path: Path, *, work: Work | None = None, progress: Progress = no_progress) -> ImageResult:
        """Segment one image and write the result."""
        return predict_file(
            image_path, self.load(), options=self.options, smoothing=self.smoothing, outputs=self.outputs,
            table=self.table, memory=self.memory, work=work, progress=progress,
        )  # fmt: skip

    def share(self, image_path: Path, work: Work, *, progress: Progress = no_progress) -> ImageResult:
        """Segment one image whose windows others compute."""
        return self.segment(image_path, work=work, progress=progress)


def _describe_card(card: DenseCard) -> dict[str, Any]:
    about = {name: value for name, value in asdict(card).items() if name in ("table", "size", "normalization", "view")}
    return {"architecture": architecture_record(card.architecture), **about}


def predict_file(
    image_path: str | os.PathLike[str],
    models: Sequence[DenseModel],
    *,
    options: DenseOptions = DenseOptions(),
    smoothing: SmoothingOptions = SmoothingOptions(),
    outputs: Outputs = Outputs(),
    table: ClassTable | None = None,
    memory: MemoryOptions = MemoryOptions(),
    target: Path | None = None,
    work: Work | None = None,
    progress: Progress = no_progress,
) -> ImageResult:
    """Segment one image of any size by loaded networks and write the result; one without a picture is void everywhere.

    Parameters
    ----------
    target : pathlib.Path or None
        Write the label map alone, as this GeoTIFF.
    work : Work or None
        What computes the windows; None: this process.

    Raises
    ------
    MissingInput, BadInput
        When the image cannot be read, does not have the bands that the network takes, or needs more memory.
    """
    image_path, table = Path(image_path), table or models[0].table
    watch, info = StopWatch(), describe_image(image_path)
    room = memory.find_room(needed=count_needed(info, models, options), held=count_held(models))
    image, notes, is_empty = show_image(open_lazily(image_path, room=room), models, info=info, options=options)
    shape, is_alone = info.shape, target is not None or not fits_whole(info.shape)
    large = "" if target else explain_large(shape)
    size = find_size(image.shape, models[0], options)
    short = "" if is_empty else judge_room(size, len(table), options=smoothing, room=room)
    watch.lap("read")
    if is_empty:
        found = list_void(shape, with_confidence=outputs.probabilities)
    else:
        found = predict_rows(
            image, models, options=options, smoothing=smoothing, want_confidence=outputs.probabilities, room=room,
            work=work, progress=progress,
        )  # fmt: skip
    dpi = outputs.figures.dpi if outputs.figures else DPI
    panel = fit_page(shape, 2, dpi=dpi)
    label_path = target
    if target is None and (info.georeference is not None or is_alone):
        label_path = _place(outputs, image_path, ".tif")
    confidence_path, entropy_path = (
        _place(outputs, image_path, ending) if outputs.probabilities else None for ending in (_CONFIDENCE, _ENTROPY)
    )
    made_by = _make_record(models, options, smoothing, table)
    figures = outputs.list_figures(image_path, f"_{outputs.title}{_COMPOSITE}")
    written = [*figures, *filter(None, [label_path, confidence_path, entropy_path])]
    with writing_result(
        found, shape, table, info.georeference, made_by=made_by, size=panel if is_alone else shape,
        label_path=label_path, confidence_path=confidence_path, entropy_path=entropy_path,
    ) as kept:  # fmt: skip
        watch.lap("predict")
        for path in figures:
            picture = image.as_rgb8().shrink(panel)
            draw_panels(path, show_result(picture, kept.labels, table, shape=panel, heads=("image", "result")), dpi=dpi)
    if is_alone:
        written.sort(key=lambda path: path != label_path)
    else:
        # Last: where it is, the others are too, and the image is done.
        written.insert(0, _place(outputs, image_path, ".png"))
        write_labelmap(written[0], LabelMap(kept.labels, table, georeference=info.georeference, made_by=made_by))
    watch.lap("write")
    shares = share_out(kept.counts, table)
    return ImageResult(
        image_path, tuple(written), shares, (*notes, *filter(None, [large, short])), watch.seconds,
        measures=kept.measures, remark=NO_DATA if is_empty else "",
    )  # fmt: skip


def show_image(
    image: LazyImage, models: Sequence[DenseModel], *, info: ImageInfo | None, options: DenseOptions
) -> tuple[LazyImage, tuple[str, ...], bool]:
    """Return an image as the first network takes it, what a person should know of that, and whether it has no picture.

    Raises
    ------
    BadInput
        When it has not the bands that the network takes.
    """
    is_empty = False
    try:
        image = image.fill()
    except NoPicture:
        is_empty = True
    matched, note = match_image(image, models, has_alpha=info is not None and info.has_alpha)
    far = judge_scale(info, models, options) if info is not None else ()
    return matched, () if is_empty else (*filter(None, [note]), *far), is_empty


def match_image(image: AnyImage, models: Sequence[DenseModel], *, has_alpha: bool) -> tuple[AnyImage, str]:
    """Return an image with the bands that the first network takes, see `hybridseg.io.bands.match_bands`."""
    model = models[0]
    return match_bands(image, model.card.architecture.n_bands, model=model.path.name, has_alpha=has_alpha)


def predict_labels(
    image: np.ndarray | LazyImage,
    models: Sequence[DenseModel],
    *,
    valid: np.ndarray | None = None,
    want_confidence: bool = False,
    **settings: Any,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Compute the class of every pixel of an image, all of which fit into memory.

    Parameters
    ----------
    image : numpy.ndarray or LazyImage
        (rows, cols, bands).
    models : sequence of DenseModel
        Several vote.
    valid : numpy.ndarray or None
        (rows, cols) bool: the pixels of an array that hold a picture. The others become VOID.
    settings
        Those of `predict_rows`.

    Returns
    -------
    labels : numpy.ndarray
        (rows, cols) uint8.
    confidence : numpy.ndarray or None
        (rows, cols) float32: the probability of the most probable class, before any smoothing.
    """
    rows, cols = image.shape[:2]
    labels, top = np.empty((rows, cols), np.uint8), 0
    confidence = np.empty((rows, cols), np.float32) if want_confidence else None
    for found in predict_rows(as_lazy(image, valid), models, want_confidence=want_confidence, **settings):
        own = slice(top, top + len(found.labels))
        labels[own], top = found.labels, own.stop
        if confidence is not None:
            confidence[own] = found.confidence
    return labels, confidence


def predict_rows(
    image: LazyImage,
    models: Sequence[DenseModel],
    *,
    options: DenseOptions = DenseOptions(),
    smoothing: SmoothingOptions = SmoothingOptions(),
    want_confidence: bool = False,
    room: int = ROOM,
    work: Work | None = None,
    progress: Progress = no_progress,
) -> Iterator[ResultRows]:
    """Yield the class of every pixel of an image from top to bottom.

    Parameters
    ----------
    smoothing : SmoothingOptions
        Works at the size at which the first network sees the image.
    want_confidence : bool
        Also the probability of the most probable class, and the entropy, before any smoothing.
    room : int
        Bytes that may be taken.
    work : Work or None
        What computes the windows, where `plan_image` finds a plan; None: this process.
    """
    shape, work, several = image.shape[:2], work or Here(models), len(models) > 1
    settings: dict[str, Any] = {"options": options, "work": work, "with_differences": several}
    aside = None

    def decide_from(n_done: int, *, later: float = 0.0) -> Iterator[Strip]:
        hook = followed_by(progress, later)
        pieces = predict_pieces(image, models, shape=shape, n_done=n_done, progress=hook, **settings)
        return join_pieces((decide(piece, want_confidence, several) for piece in pieces), shape[1])

    if not smoothing.any:
        plan = plan_image(image.shape, models, options)
        # Of another size, what is resized goes on from row to row.
        if plan is not None and plan.shape == shape:
            strips = work.join(decide_from, find_first=plan.find_first)
        else:
            strips = decide_from(0)
        found = (take_rows(rows["label"], rows) for rows in even_strips(strips))
    else:
        picture = image.as_rgb8().resize(find_size(image.shape, models[0], options))
        aside = Differences(picture) if several else None
        smoothed = even_strips(_smooth(image, picture, models, smoothing, room, aside, progress, **settings))
        sure: Iterable[np.ndarray | None] = repeat(None)
        if want_confidence:
            # With the same layers: of windows that are kept, these are read again.
            sure = even_strips(decide_from(0, later=UNKNOWN))
        found = (take_rows(labels, rows) for labels, rows in zip(smoothed, sure, strict=False))
    top = 0
    for rows in found:
        own = rows.blank(image.find_valid(slice(top, top + len(rows.labels))))
        yield own if aside is None else replace(own, differences=aside.take())
        top += len(rows.labels)


def _smooth(
    image: LazyImage,
    picture: LazyImage,
    models: Sequence[DenseModel],
    smoothing: SmoothingOptions,
    room: int,
    aside: Differences | None,
    progress: Progress,
    **settings: Any,
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield smoothed labels of an image, at its size, from a picture of it at that of the first network.

    Parameters
    ----------
    settings
        Those of `predict_strips`.
    """
    shape, size = image.shape[:2], picture.shape[:2]
    hook = followed_by(progress, math.prod(size) * PIXEL_SECONDS * (smoothing.crf_from != "none"))
    probs = predict_strips(image, models, shape=size, progress=hook, **settings)
    probs = probs if aside is None else aside.take_from(probs)
    source = find_nearest(size[0], shape[0])
    for top, labels in smooth_strips(
        picture, probs, n_classes=len(models[0].table), options=smoothing, room=room, progress=progress
    ):
        first, end = np.searchsorted(source, (top, top + len(labels)))
        yield int(first), np.take(labels[source[first:end] - top], find_nearest(size[1], shape[1]), axis=1)


def judge_scale(info: ImageInfo, models: Sequence[DenseModel], options: DenseOptions) -> tuple[str, ...]:
    """Return warnings about an image that is far from the scale at which the networks saw the world."""
    found = [
        model.card.view.judge(info, options.choose_scale(model), size=model.card.size)
        for model in models
        if model.card.view is not None
    ]
    return tuple(dict.fromkeys(filter(None, found)))


def _place(outputs: Outputs, image_path: Path, ending: str) -> Path:
    return outputs.place(image_path, f"_{outputs.title}{ending}")


def _make_record(
    models: Sequence[DenseModel], options: DenseOptions, smoothing: SmoothingOptions, table: ClassTable
) -> str:
    return make_record("dense", [model.path for model in models], table, options=options, smoothing=smoothing)
