"""What tile classifiers say of parts of one image, for who asks part by part rather than for all of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hybridseg.hybrid.segmentation import HybridOptions, vote_on_tiles
from hybridseg.hybrid.votes import SpreadCells
from hybridseg.io.lazyimages import LazyImage
from hybridseg.models.ensemble import AnyClassifier, list_members
from hybridseg.resample import resize_image

Look = Callable[[slice, slice, tuple[int, int]], np.ndarray]


def look_by_tiles(image: LazyImage, classifier: AnyClassifier, *, options: HybridOptions = HybridOptions()) -> Look:
    """Return a function that classifies the tiles of parts of an image: the same tiles as of the whole image.

    Parameters
    ----------
    image : LazyImage
        (rows, cols, 3) uint8.

    Returns
    -------
    callable
        ``look(rows, cols, shape)`` returns the mean probabilities of the tiles within two slices, (*shape, classes)
        float32, before any CRF.
    """
    shape = image.shape[:2]
    options = options.fit(shape, classifier.tile_size)
    stride = options.stride_for(shape, classifier.tile_size)
    margin = max(member.tile_size for member in list_members(classifier))

    def look(rows: slice, cols: slice, size: tuple[int, int]) -> np.ndarray:
        down, across = (
            slice(max(part.start - margin, 0) // stride * stride, min(part.stop + margin, whole))
            for part, whole in zip((rows, cols), shape, strict=True)
        )
        pixels, valid = image[down, across], image.find_valid(down)
        valid = None if valid is None else valid[:, across]
        if valid is not None and not valid.any():
            n_classes = len(classifier.table)
            return np.full((*size, n_classes), 1 / n_classes, np.float32)
        # Where hardly anything is valid all tiles are asked: that no tile is mostly valid would be an error.
        is_filled = valid is not None and valid.mean() >= 0.5
        votes, _ = vote_on_tiles(pixels, classifier, options=options, valid=valid if is_filled else None)
        votes = votes.reweigh(options.class_weights) if options.class_weights else votes
        cells = SpreadCells(votes, votes.fill_probs(), (pixels.shape[0], pixels.shape[1]))
        inner = (
            slice(part.start - outer.start, part.stop - outer.start)
            for part, outer in zip((rows, cols), (down, across), strict=True)
        )
        return resize_image(np.ascontiguousarray(cells[next(inner), next(inner)]), size)

    return look
