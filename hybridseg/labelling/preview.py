"""Preview of the result in a window of an image, while a person draws: the newest request wins."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from hybridseg.classes import VOID, ClassTable, count_labels, labels_to_seeds
from hybridseg.errors import BadInput
from hybridseg.io.labels.labelpng import encode_overlay
from hybridseg.labelling.elsewhere import Elsewhere
from hybridseg.labelling.entries import OpenImage
from hybridseg.labelling.newest import Newest
from hybridseg.labelling.spreading import SpreadOptions, list_seeded, paint_over, reduce_seeds, spread_seeds
from hybridseg.labelling.suggesting import Suggester
from hybridseg.learning.experience import Lessons
from hybridseg.learning.features import NONE
from hybridseg.resample import reduce_shape, resize_nearest

# About a second of the CRF on two cores (docs/benchmarks.md). A wider window is reduced to this.
_MAX_CRF_PIXELS = 400_000
Teach = Callable[[ClassTable], Lessons]


@dataclass(frozen=True)
class Preview:
    """A PNG of a window in reduced size, and how many of its pixels each class has.

    It is the last one if all scribbles on the image, and all other images, have taught the classifier that do;
    otherwise the next one knows more. `teachers` are those other images.
    """

    picture: bytes
    counts: list[int]
    is_last: bool = True
    teachers: tuple[str, ...] = ()


class Previewer:
    """Computes one preview at a time; a newer request ends it."""

    def __init__(self) -> None:
        self._newest, self._elsewhere = Newest(), Elsewhere()

    def preview(
        self,
        opened: OpenImage,
        window: tuple[int, int, int, int],
        options: SpreadOptions,
        *,
        teach: Teach | None = None,
        suggester: Suggester | None = None,
    ) -> Preview | None:
        """Spread the scribbles in a window of an image; a classifier learns from all of them.

        Parameters
        ----------
        window : tuple of int
            First row and column, rows, columns.
        teach : callable or None
            Gives what other images have taught of the classes of a table.
        suggester : Suggester or None
            A model whose suggestion the scribbles correct.

        Returns
        -------
        Preview or None
            None when a newer request came in between, or there is neither a scribble in the window, nor two classes
            elsewhere, nor a suggestion.

        Raises
        ------
        BadInput
            When the window lies outside of the image.
        """
        parts = _clip(opened, window)
        return self._newest.ask(lambda: _draw_preview(opened, parts, options, teach, suggester, self._elsewhere))


def _clip(opened: OpenImage, window: tuple[int, int, int, int]) -> tuple[slice, slice]:
    ends = zip(window[:2], window[2:], opened.windows.shape, strict=True)
    rows, cols = (slice(max(first, 0), min(first + size, whole)) for first, size, whole in ends)
    if rows.start >= rows.stop or cols.start >= cols.stop:
        raise BadInput("that window lies outside of the image; move back to the image")
    return rows, cols


def _draw_preview(
    opened: OpenImage,
    inner: tuple[slice, slice],
    options: SpreadOptions,
    teach: Teach | None,
    suggester: Suggester | None,
    elsewhere: Elsewhere,
) -> Preview | None:
    # Scribbles beside the window influence it too, as far as the CRF reaches.
    usual_scale = options.scale_for(opened.windows.shape)
    margin = round(options.constants.reach / usual_scale)
    outer = _widen(inner[0], margin, opened.windows.shape[0]), _widen(inner[1], margin, opened.windows.shape[1])
    with opened.lock:
        seeds = opened.drawing.seeds["scribbles"][outer].copy()
        painted = opened.drawing.seeds["result"][inner].copy()
        table = opened.table
    scale = min(usual_scale, math.sqrt(_MAX_CRF_PIXELS / seeds.size))
    others, is_last = elsewhere.sample(opened, outer, kind=options.features, scale=scale, usual_scale=usual_scale)
    if not seeds.any() and suggester is None and len(list_seeded(seeds, others)) < 2:
        return None
    read = opened.windows.read if options.features == NONE else opened.windows.read_all
    image = read(*outer, reduce_shape((seeds.shape[0], seeds.shape[1]), scale))
    # The kernel keeps its width in pixels of the image itself.
    crf, share = options.constants, scale / usual_scale
    near = None if crf.space_theta is None else max(crf.space_theta * share, 1.0)
    crf = replace(crf, theta=max(crf.theta * share, 1.0), space_theta=near)
    small_seeds = reduce_seeds(seeds, (image.shape[0], image.shape[1]))
    specks = options.specks * image.shape[0] * image.shape[1] / seeds.size
    suggested = None
    if suggester is not None:
        whole = opened.windows.shape
        size = reduce_shape(whole, usual_scale)
        suggested = suggester.look(opened.windows.path, whole, size, table)
        suggested = suggested.cut(*outer, (image.shape[0], image.shape[1]))
    lessons = teach(table) if teach else None
    labels = spread_seeds(
        image, small_seeds, n_classes=len(table), options=crf, features=options.features, specks=specks,
        lessons=lessons, suggested=suggested, elsewhere=others,
    )  # fmt: skip
    shape = reduce_shape((painted.shape[0], painted.shape[1]), scale)
    rows, cols = (
        _find_samples(part, whole, n_new, n_old)
        for part, whole, n_new, n_old in zip(inner, outer, shape, labels.shape, strict=True)
    )
    labels = paint_over(labels[np.ix_(rows, cols)], resize_nearest(painted, shape))
    if (valid := opened.windows.valid()) is not None:
        labels[~resize_nearest(valid[inner], shape)] = VOID
    counts = count_labels(labels)[: len(table)].tolist()
    picture = encode_overlay(labels_to_seeds(labels), table)
    if lessons is None:
        return Preview(picture, counts, is_last)
    return Preview(picture, counts, is_last and lessons.is_all, tuple(lessons.teachers))


def _widen(part: slice, margin: int, size: int) -> slice:
    return slice(max(part.start - margin, 0), min(part.stop + margin, size))


def _find_samples(inner: slice, outer: slice, n_new: int, n_old: int) -> np.ndarray:
    """Return the pixel of the outer window that holds the centre of each pixel of the inner window's picture."""
    centres = inner.start - outer.start + (np.arange(n_new) + 0.5) * ((inner.stop - inner.start) / n_new)
    return np.minimum((centres * (n_old / (outer.stop - outer.start))).astype(int), n_old - 1)
