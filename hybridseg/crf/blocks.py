"""Overlapping blocks, for images that are too large for the memory that may be taken."""

from __future__ import annotations

import math
from dataclasses import dataclass

_SMALLEST_SIDE = 64
# Beyond three standard deviations lies less than 0.3 % of the weight of a kernel.
HALO_DEVIATIONS = 3


@dataclass(frozen=True)
class Block:
    """A part of an image: the pixels whose result is kept, and a halo of pixels that is processed with them.

    Parameters
    ----------
    top, bottom, left, right : int
        The pixels that are kept, from `top` to before `bottom`.
    halo : int
        In pixels.
    shape : (int, int)
        Of the whole image.
    """

    top: int
    bottom: int
    left: int
    right: int
    halo: int
    shape: tuple[int, int]

    @classmethod
    def whole(cls, shape: tuple[int, int], *, theta: float) -> Block:
        """Return the whole image as one block, with the halo that its parts need for kernels of this width."""
        return cls(0, shape[0], 0, shape[1], math.ceil(HALO_DEVIATIONS * theta), shape)

    @property
    def inner(self) -> tuple[slice, slice]:
        """Rows and columns whose result is kept."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def outer(self) -> tuple[slice, slice]:
        """Rows and columns that are processed."""
        return (
            slice(max(self.top - self.halo, 0), min(self.bottom + self.halo, self.shape[0])),
            slice(max(self.left - self.halo, 0), min(self.right + self.halo, self.shape[1])),
        )

    @property
    def inner_of_outer(self) -> tuple[slice, slice]:
        """Position of the kept pixels within the processed ones."""
        rows, cols = self.outer
        return (
            slice(self.top - rows.start, self.bottom - rows.start),
            slice(self.left - cols.start, self.right - cols.start),
        )

    @property
    def n_outer_pixels(self) -> int:
        """Number of pixels that are processed."""
        rows, cols = self.outer
        return (rows.stop - rows.start) * (cols.stop - cols.start)

    @property
    def n_inland_pixels(self) -> int:
        """Number of pixels that a block of this size processes where the image border does not cut off its halo."""
        rows, cols = self.bottom - self.top + 2 * self.halo, self.right - self.left + 2 * self.halo
        return min(rows, self.shape[0]) * min(cols, self.shape[1])

    def split(self) -> list[Block]:
        """Return two halves, cut across the longer side; none when it is small already, or halving saves no pixels.

        Examples
        --------
        >>> [(b.top, b.bottom, b.outer[0]) for b in Block.whole((400, 100), theta=10).split()]
        [(0, 200, slice(0, 230, None)), (200, 400, slice(170, 400, None))]
        """
        height, width = self.bottom - self.top, self.right - self.left
        if max(height, width) < 2 * _SMALLEST_SIDE:
            return []
        if height >= width:
            middle = self.top + height // 2
            edges = [(self.top, middle, self.left, self.right), (middle, self.bottom, self.left, self.right)]
        else:
            middle = self.left + width // 2
            edges = [(self.top, self.bottom, self.left, middle), (self.top, self.bottom, middle, self.right)]
        halves = [Block(*sides, self.halo, self.shape) for sides in edges]
        return halves if all(half.n_outer_pixels < self.n_outer_pixels for half in halves) else []


def plan_blocks(whole: Block, *, max_pixels: float) -> list[Block]:
    """Cut a block until no part processes more than `max_pixels`, as far as it can be cut."""
    parts = whole.split() if whole.n_outer_pixels > max_pixels else []
    return [block for part in parts for block in plan_blocks(part, max_pixels=max_pixels)] or [whole]
