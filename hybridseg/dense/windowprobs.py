"""What dense networks say of parts of one image, for who asks part by part rather than for all of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial

import numpy as np

from hybridseg.batch.parts import Here
from hybridseg.dense.blending import WindowPlan, blend_windows
from hybridseg.dense.windows import DenseOptions, classify_views, find_size, predict_probs
from hybridseg.io.bands import match_bands
from hybridseg.io.lazyimages import LazyImage
from hybridseg.models.bundles import DenseModel
from hybridseg.models.ensemble import order_columns
from hybridseg.resample import resize_image

Look = Callable[[slice, slice, tuple[int, int]], np.ndarray]


def look_by_networks(
    image: LazyImage, models: Sequence[DenseModel], *, options: DenseOptions = DenseOptions(), has_alpha: bool = False
) -> Look:
    """Return a function that predicts parts of an image; several networks vote.

    Parameters
    ----------
    image : LazyImage
        Without gaps, in the type of the training images.
    has_alpha : bool
        See `ImageInfo`.

    Returns
    -------
    callable
        ``look(rows, cols, shape)`` returns the probabilities within two slices, (*shape, classes) float32, with the
        classes of the first network.

    Raises
    ------
    BadInput
        When the image does not have the bands that a network takes.
    """
    views = [_View(image, model, options, has_alpha) for model in models]

    def look(rows: slice, cols: slice, shape: tuple[int, int]) -> np.ndarray:
        votes = [order_columns(view.look(rows, cols, shape), view.model.table, models[0].table) for view in views]
        return votes[0] if len(votes) == 1 else np.stack(votes).mean(axis=0)

    return look


class _View:
    """An image as one network sees it: in windows, or as a whole at the size of its training."""

    def __init__(self, image: LazyImage, model: DenseModel, options: DenseOptions, has_alpha: bool) -> None:
        bands = model.card.architecture.n_bands
        self._image, _ = match_bands(image, bands, model=model.path.name, has_alpha=has_alpha)
        self.model, self._options = model, options
        self._size = find_size(self._image.shape, model, options)
        self._in_windows = options.choose_scale(model) is not None

    def look(self, rows: slice, cols: slice, shape: tuple[int, int]) -> np.ndarray:
        """Return the probabilities of a part at a shape, (*shape, classes) float32."""
        ends = [
            (int(part.start * new / old), max(-(-part.stop * new // old), int(part.start * new / old) + 1))
            for part, new, old in zip((rows, cols), self._size, self._image.shape[:2], strict=True)
        ]
        found = self._predict(*ends) if self._in_windows else self._cut(*ends)
        return resize_image(found, shape)

    def _cut(self, rows: tuple[int, int], cols: tuple[int, int]) -> np.ndarray:
        return self._whole[slice(*rows), slice(*cols)]

    @cached_property
    def _whole(self) -> np.ndarray:
        return predict_probs(self._image, [self.model], options=self._options)

    @cached_property
    def _rule(self) -> tuple[np.ndarray, np.ndarray]:
        # As in training: windows are normalized as the whole photograph is.
        return self.model.card.normalization.measure(self._image)

    def _predict(self, rows: tuple[int, int], cols: tuple[int, int]) -> np.ndarray:
        """Return the probabilities of a part, in pixels of the network, which sees a margin around it."""
        stride, margin = self.model.card.architecture.stride, self._options.overlap // 2
        outer, source, size = [], [], []
        for (start, stop), new, old in zip((rows, cols), self._size, self._image.shape[:2], strict=True):
            first, last = max(start - margin, 0) // stride * stride, min(stop + margin, new)
            outer.append(first)
            size.append(last - first)
            source.append(slice(first * old // new, max(-(-last * old // new), first * old // new + 1)))
        part = LazyImage.of(self._image[source[0], source[1]]).resize((size[0], size[1]))
        plan = WindowPlan.of(
            (size[0], size[1]), window=self._options.window, overlap=self._options.overlap, stride=stride,
            blend=self._options.blend,
        )  # fmt: skip
        table = self.model.table
        classify = partial(classify_views, rules=[self._rule], table=table, flips=self._options.flips)
        probs = np.empty((*plan.shape, len(table)), np.float32)
        for piece in blend_windows([part], classify, plan=plan, work=Here([self.model])):
            own_rows, own_cols = piece.probs.shape[:2]
            probs[piece.row : piece.row + own_rows, piece.col : piece.col + own_cols] = piece.probs
        return probs[rows[0] - outer[0] : rows[1] - outer[0], cols[0] - outer[1] : cols[1] - outer[1]]
