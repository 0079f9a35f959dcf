"""Overlapping blocks of large images. How they lie follows from the size and the halo alone, so that the result does.

Only where a block does not fit into the memory that may be taken, it is halved.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

# Of a block with its halo. No image of the default settings of the hybrid is larger; a photo takes 0.6 GiB.
_SIDE = 2048
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


def plan_blocks(whole: Block) -> list[Block]:
    """Cut an image into blocks, unless one of their size would have as many pixels.

    Examples
    --------
    >>> [len(plan_blocks(Block.whole(shape, theta=60))) for shape in ((1000, 4000), (3000, 4000))]
    [1, 6]
    """
    if math.prod(whole.shape) <= (find_step(whole.halo) + 2 * whole.halo) ** 2:
        return [whole]
    rows, cols = (cut_side(side, whole.halo) for side in whole.shape)
    return [Block(*row, *col, whole.halo, whole.shape) for row in rows for col in cols]


def find_step(halo: int) -> int:
    """Return the rows, or columns, of a block that are kept: at least as many as those of its halo."""
    return max(_SIDE - 2 * halo, 2 * halo)


def cut_side(n: int, halo: int) -> list[tuple[int, int]]:
    """Return where the blocks along a side of an image begin and end.

    What is cut out of the image with the halo of a block is not cut again.

    Examples
    --------
    >>> cut_side(5000, 100), cut_side(2048, 100)
    ([(0, 1948), (1948, 3796), (3796, 5000)], [(0, 2048)])
    """
    step = find_step(halo)
    starts = [0, *range(step + halo, n - halo, step)] if n > step + 2 * halo else [0]
    return list(zip(starts, [*starts[1:], n], strict=True))
