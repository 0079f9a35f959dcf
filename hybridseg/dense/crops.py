"""Which windows of the photographs a network is trained and validated on: drawn at random, or laid side by side.

The windows of an epoch depend on the seed and its number alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hybridseg.dense.pairs import SIDES, fit_size
from hybridseg.dense.photos import PhotoPairs, Window
from hybridseg.draw import draw_numbers
from hybridseg.errors import BadInput
from hybridseg.models.views import View
from hybridseg.options import Span, check_options, option
from hybridseg.progress import Progress, no_progress

# Classes are counted in so many cells along each side of a photograph, and on about so many of its pixels.
_N_CELLS, _COUNTED_SIDE = 32, 1024
_MAX_TILE_SIDE = 1024
# Pixels of a window by default, and its scales, compared with that at which one shows as much as a whole photo: those
# of the best result in docs/benchmarks.md on coastal photos, which takes less than 20 minutes on two cores.
MAX_AREA = 256 * 384
_NEAR = (0.84, 1.68)


@dataclass(frozen=True)
class CropOptions:
    """Which windows of the photographs a network is trained on; without `crop` all of each is resized."""

    crop: tuple[int, int] | None = option(
        None,
        "Rows and columns of the windows of the photos, at their own resolution, that the network is trained on, "
        "multiples of 32.",
        span=SIDES,
    )
    crop_scale: tuple[float, float] | None = option(
        None,
        "Smallest and largest scale of a window: at 0.5 it shows twice as many rows and columns of the photo.",
        span=Span(0.01, 16),
    )
    n_crops: int | None = option(None, "Windows of each photo in an epoch.", span=Span(1))
    balance: bool = option(
        False,
        "Draw windows around a pixel of a random class, where a class counts as the square root of its share: rare "
        "ones are seen more often.",
    )
    scale: float | None = option(
        None,
        "Train on whole photos shrunk to this share of their rows and columns, in place of windows; new photos are "
        "predicted at the same scale.",
        span=Span(0, 1, above=True),
    )

    def __post_init__(self) -> None:
        check_options(self)
        if self.crop_scale and self.crop_scale[0] > self.crop_scale[1]:
            raise BadInput(f"crop_scale={self.crop_scale}: give the smaller scale first")

    @property
    def scales(self) -> tuple[float, float]:
        """The range of scales, which has a default."""
        return self.crop_scale or (0.5, 2.0)

    def fit_to(self, shapes: Sequence[tuple[int, int]]) -> CropOptions:
        """Return windows with a size; without one, they show from 0.6 to 1.2 times the sides of a photograph.

        With a scale a window shows all of a photograph, the largest included: around a smaller one, and up to a
        multiple of 32, its mirror image without labels.

        Parameters
        ----------
        shapes : sequence of (int, int)
            Rows and columns of the photographs.

        Raises
        ------
        BadInput
            When a network could not have photographs of that scale.

        Examples
        --------
        >>> options = CropOptions().fit_to([(614, 920)])
        >>> options.crop, options.crop_scale
        ((256, 384), (0.35, 0.701))
        >>> CropOptions(scale=0.1).fit_to([(600, 900), (400, 1200)]).crop
        (64, 128)
        """
        if self.scale:
            return self._show_whole(np.array(shapes), self.scale)
        if self.crop:
            return self
        crop = fit_size(*shapes[0], max_area=MAX_AREA)
        whole = math.sqrt(crop[0] * crop[1] / float(np.median([rows * cols for rows, cols in shapes])))
        low, high = (max(round(whole * share, 3), 0.01) for share in _NEAR)
        return replace(self, crop=crop, crop_scale=self.crop_scale or (low, high))

    def _show_whole(self, shapes: np.ndarray, scale: float) -> CropOptions:
        shortest, longest = int(shapes.min()), int(shapes.max())
        if round(shortest * scale) < SIDES.low or longest * scale > SIDES.high:
            least = math.ceil(1000 * SIDES.low / shortest) / 1000
            most = min(math.floor(1000 * SIDES.high / longest) / 1000, 1.0)
            raise BadInput(
                f"a network takes photos of {SIDES.low:.0f} to {SIDES.high:.0f} pixels along each side, and at the "
                f"scale {scale:g} these, of {shortest} to {longest}, have {shortest * scale:.0f} to "
                f"{longest * scale:.0f}; give "
                + (f"a --scale from {least:g} to {most:g}" if least <= most else "--size")
            )
        rows, cols = (math.ceil(round(side * scale / SIDES.step, 6)) * SIDES.step for side in shapes.max(axis=0))
        return replace(self, crop=(rows, cols), crop_scale=(scale, scale), n_crops=1, balance=False)

    def count_windows(self, view: View) -> int:
        """Return how many windows of each photograph there are in an epoch.

        By default as many as show a photograph once at the scale at which it is predicted, up to 4.

        Examples
        --------
        >>> options = CropOptions((256, 384))
        >>> [options.count_windows(View(True, (s, s), (614, 920))) for s in (0.4, 0.6, 1.0)]
        [1, 2, 4]
        """
        assert self.crop is not None
        n_pixels = view.photo[0] * view.photo[1] * view.usual_scale**2
        return self.n_crops or min(max(round(n_pixels / (self.crop[0] * self.crop[1])), 1), 4)


class CropPlan:
    """Random windows of photographs.

    Photographs that are kept in memory together have their turn together: each is decoded once in an epoch.

    Parameters
    ----------
    indices : sequence of int
        Which of the photographs.
    """

    def __init__(
        self,
        photos: PhotoPairs,
        indices: Sequence[int] | np.ndarray,
        options: CropOptions,
        *,
        seed: int,
        progress: Progress = no_progress,
    ) -> None:
        self._photos, self._options, self._seed = photos, options, seed
        self._indices = np.asarray(indices, np.int64)
        self._n_crops = options.count_windows(View.of(photos.infos, size=photos.size, scale=options.scales))
        self._cells = ClassCells.count(photos, self._indices, progress) if options.balance else None

    def list_windows(self, epoch: int) -> list[tuple[int, Window]]:
        """Return the windows of an epoch in their order, each after the index of its photograph."""
        order = np.argsort(draw_numbers(len(self._indices), name=f"photographs of epoch {epoch}", seed=self._seed))
        windows: list[tuple[int, Window]] = []
        for group in self._group(self._indices[order]):
            name = f"windows of epoch {epoch} from {len(windows)}"
            n = len(group) * self._n_crops
            draws = draw_numbers(8 * n, name=name, seed=self._seed).reshape(n, 8)
            if self._cells is None:
                chosen = np.repeat(group, self._n_crops)[np.argsort(draws[:, 0])]
                windows += [(int(i), self._place(i, u)) for i, u in zip(chosen, draws[:, 1:4], strict=True)]
            else:
                for index, place, u in zip(*self._cells.draw_pixels(group, draws[:, 4:]), draws[:, 1:4], strict=True):
                    windows.append((int(index), self._place(index, u, place)))
        return windows

    def _group(self, indices: np.ndarray) -> list[list[int]]:
        """Cut a sequence of photographs into groups that are kept in memory together."""
        groups: list[list[int]] = []
        room = 0
        for index in indices.tolist():
            n_bytes = self._photos.count_bytes(index)
            if not groups or n_bytes > room:
                groups.append([])
                room = self._photos.limit
            groups[-1].append(index)
            room -= n_bytes
        return groups

    def _place(self, index: int, draws: np.ndarray, place: np.ndarray | None = None) -> Window:
        """Return a window of a random scale, anywhere in a photograph or so that it shows a place."""
        assert self._options.crop is not None
        (low, high), shape = self._options.scales, self._photos.infos[index].shape
        # As likely to be enlarged as to be reduced.
        scale = low * (high / low) ** draws[0]
        height, width = (max(round(side / scale), 1) for side in self._options.crop)
        row, col = (None, None) if place is None else (place * shape).astype(int).tolist()
        return Window(_start(height, shape[0], row, draws[1]), _start(width, shape[1], col, draws[2]), height, width)


def _start(length: int, side: int, at: int | None, draw: float) -> int:
    """Return where a window begins along a side: within it, and so that it shows a pixel if one is given."""
    low, high = min(side - length, 0), max(side - length, 0)
    if at is not None and length <= side:
        low, high = max(at - length + 1, low), min(at, high)
    return low + int(draw * (high - low + 1))


@dataclass(frozen=True, eq=False)
class ClassCells:
    """How many pixels of each class there are in the cells of each photograph: an entry for each that has any."""

    photo: np.ndarray
    cell: np.ndarray
    label: np.ndarray
    n_pixels: np.ndarray

    @classmethod
    def count(cls, photos: PhotoPairs, indices: np.ndarray, progress: Progress = no_progress) -> ClassCells:
        """Count the classes of some photographs."""
        found = []
        for index in progress(indices.tolist(), label="counting classes"):
            counts = count_cells(photos.read_labels(index), n_classes=len(photos.table))
            found.append((np.full(len(counts[0]), index), *counts))
        cells = cls(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
        if not len(cells.label):
            raise BadInput("no photo has a pixel of any class, so there is nothing to train on")
        return cells

    def draw_pixels(self, group: Sequence[int], draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Draw a class, then one of its pixels, for each row of four random numbers.

        Returns
        -------
        photo : numpy.ndarray
            (n,) indices.
        place : numpy.ndarray
            (n, 2): row and column, as shares of the sides.
        """
        totals = np.bincount(self.label, self.n_pixels)
        is_here = np.isin(self.photo, group)
        if not is_here.any():
            # Without a class, any pixel will do.
            return np.asarray(group)[(draws[:, 1] * len(group)).astype(int)], draws[:, 2:4]
        there = np.bincount(self.label[is_here], minlength=len(totals)) > 0
        labels = _pick(np.sqrt(totals) * there, draws[:, 0])
        entries = np.zeros(len(draws), np.int64)
        for label in np.unique(labels):
            candidates = np.flatnonzero(is_here & (self.label == label))
            rows = labels == label
            entries[rows] = candidates[_pick(self.n_pixels[candidates], draws[rows, 1])]
        corner = np.stack(np.divmod(self.cell[entries], _N_CELLS), axis=1)
        return self.photo[entries], (corner + draws[:, 2:4]) / _N_CELLS


def count_cells(labels: np.ndarray, *, n_classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count the classes in each cell of a label map.

    Returns
    -------
    cell, label, n_pixels : numpy.ndarray
        An entry for every class of every cell. Of a large map every Nth pixel is counted for all around it.

    Examples
    --------
    >>> [part.tolist() for part in count_cells(np.array([[0, 0], [1, 255]], np.uint8), n_classes=2)]
    [[0, 16, 512], [0, 0, 1], [1, 1, 1]]
    """
    step = max(max(labels.shape) // _COUNTED_SIDE, 1)
    thin = np.asarray(labels[::step, ::step])
    rows, cols = (np.arange(side) * _N_CELLS // side for side in thin.shape)
    cells = rows[:, None] * _N_CELLS + cols
    is_class = thin < n_classes
    counts = np.bincount(cells[is_class] * n_classes + thin[is_class])
    entries = np.flatnonzero(counts)
    cell, label = np.divmod(entries, n_classes)
    return cell, label, counts[entries] * step**2


def _pick(weights: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Return an index for each random number, as likely as its weight."""
    ends = np.cumsum(weights)
    return np.searchsorted(ends, draws * ends[-1], side="right").clip(max=len(ends) - 1)


def lay_tiles(
    photos: PhotoPairs, indices: Sequence[int] | np.ndarray, *, scale: float, stride: int, n_pixels: int, seed: int
) -> tuple[tuple[int, int], list[tuple[int, Window]]]:
    """Lay windows side by side over photographs: what a network is validated on after each epoch.

    Where that would be more pixels than `n_pixels`, some are drawn, as many of each photograph and one at least.

    Returns
    -------
    shape : tuple of int
        To which each is resized: about that of a photograph, where it is not too large.
    tiles : list
        Each after the index of its photograph, which is in order.
    """
    shapes = np.array([photos.infos[index].shape for index in indices]) * scale
    high, wide = (min(int(-(-side // stride)) * stride, _MAX_TILE_SIDE) for side in np.median(shapes, axis=0))
    height, width = max(round(high / scale), 1), max(round(wide / scale), 1)
    ranked = []
    for index in indices:
        n_rows, n_cols = photos.infos[index].shape
        tiles = [Window(row, col, height, width) for row in range(0, n_rows, height) for col in range(0, n_cols, width)]
        order = np.argsort(draw_numbers(len(tiles), name=f"tiles of {photos.sources[index]}", seed=seed))
        ranked += [(rank, int(index), i, tiles[i]) for rank, i in enumerate(order.tolist())]
    n_most = max(len(indices), n_pixels // (high * wide))
    chosen = sorted(ranked, key=lambda tile: tile[0])[:n_most]
    return (high, wide), [(index, tile) for _, index, _, tile in sorted(chosen, key=lambda tile: tile[1:3])]
