"""Areas as run lengths, as COCO files hold them: read, unpacked, made of pixels, and packed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridseg.errors import BadInput
from hybridseg.io.annotations.doodles import MAX_POINTS
from hybridseg.io.annotations.items import Mask
from hybridseg.io.rasters import check_pixel_count

# Far more than the pixels of any image need, 5 bits in each letter.
_MAX_SHIFT = 40


@dataclass(frozen=True, eq=False)
class Rle:
    """An area as run lengths.

    Parameters
    ----------
    counts : numpy.ndarray
        (n,) int64: pixels outside and inside by turns, column after column from the first pixel on.
    shape : tuple of int
        Rows and columns of the image.
    """

    counts: np.ndarray
    shape: tuple[int, int]

    @property
    def n_inside(self) -> int:
        """Number of pixels inside."""
        return int(self.counts[1::2].sum())

    @property
    def cols(self) -> slice:
        """The columns outside of which it has no pixel."""
        ends = np.cumsum(self.counts)
        inside = np.flatnonzero(self.counts[1::2])
        if not len(inside):
            return slice(0, 0)
        first, last = ends[2 * inside[0]], ends[2 * inside[-1] + 1] - 1
        return slice(int(first) // self.shape[0], int(last) // self.shape[0] + 1)


def parse_rle(record: Any) -> Rle | None:
    """Read the run lengths of a ``segmentation``, packed in a text or not; None when it has none.

    Raises
    ------
    BadInput
    """
    if not isinstance(record, dict):
        return None
    rows, cols = parse_size(record.get("size"))
    counts = record.get("counts")
    if isinstance(counts, str):
        lengths = _unpack_counts(counts, most=rows * cols)
    elif isinstance(counts, list):
        lengths = counts
    else:
        raise BadInput("run lengths (`counts`) are neither a list nor a text; export it again")
    if len(lengths) > MAX_POINTS:
        raise BadInput(f"an area of more than {MAX_POINTS:,} run lengths is too ragged; smooth it and export it again")
    if not all(type(length) is int and 0 <= length <= rows * cols for length in lengths):
        raise BadInput("a run length is not a number of pixels; export it again")
    if sum(lengths) != rows * cols:
        raise BadInput(f"run lengths add up to {sum(lengths)} pixels, but the size is {rows} x {cols}; export it again")
    return Rle(np.array(lengths, np.int64), (rows, cols))


def decode_rle(rle: Rle, cols: slice | None = None) -> np.ndarray:
    """Return the pixels of run lengths.

    Parameters
    ----------
    cols : slice or None
        Only these columns; None: all.

    Returns
    -------
    numpy.ndarray
        (rows, cols) bool.

    Examples
    --------
    >>> rle = parse_rle({"size": [2, 3], "counts": [1, 3, 2]})
    >>> decode_rle(rle).astype(int).tolist()
    [[0, 1, 0], [1, 1, 0]]
    """
    n_rows, n_cols = rle.shape
    cols = cols or slice(0, n_cols)
    first = cols.start * n_rows
    ends = np.clip(np.cumsum(rle.counts), first, cols.stop * n_rows)
    inside = np.repeat(np.arange(len(ends)) % 2 == 1, np.diff(ends, prepend=first))
    return inside.reshape(cols.stop - cols.start, n_rows).T


def encode_rle(mask: Mask, shape: tuple[int, int]) -> Rle:
    """Return the run lengths of an area in an image of a shape (rows, cols).

    Examples
    --------
    >>> encode_rle(Mask(np.array([[True], [True]]), (1, 2)), (3, 4)).counts.tolist()
    [7, 2, 3]
    """
    (row, col), (rows, cols) = mask.origin, mask.pixels.shape
    padded = np.zeros((cols, rows + 2), bool)
    padded[:, 1:-1] = mask.pixels.T
    at_col, at_row = np.nonzero(padded[:, 1:] != padded[:, :-1])
    # Where a run begins, and one past its end, by turns; one that goes on in the next column is no end.
    places = (at_col + col) * shape[0] + at_row + row
    joined = np.flatnonzero(places[1:-1:2] == places[2::2]) * 2 + 1
    places = np.delete(places, np.concatenate([joined, joined + 1]))
    counts = np.diff(places, prepend=0, append=shape[0] * shape[1])
    return Rle(counts[:-1] if counts[-1] == 0 and len(counts) > 1 else counts, shape)


def pack_counts(counts: Sequence[int]) -> str:
    """Pack run lengths in a text, as pycocotools does, see `parse_rle`.

    Examples
    --------
    >>> pack_counts([6, 1, 40, 4, 5, 4, 5, 4, 21])
    '61X13mN000`0'
    """
    letters = []
    for i, count in enumerate(counts):
        rest = count - counts[i - 2] if i > 2 else count
        is_open = True
        while is_open:
            bits, rest = rest & 31, rest >> 5
            # The fifth bit is the sign: what is left must be no more than its repetition.
            is_open = rest != (-1 if bits & 16 else 0)
            letters.append(chr(48 + bits + 32 * is_open))
    return "".join(letters)


def parse_size(size: Any) -> tuple[int, int]:
    """Read the rows and columns of an image, before anything is made of this size."""
    sides = size if isinstance(size, list) and len(size) == 2 else (None, None)
    rows, cols = (int(s) if type(s) is int or (isinstance(s, float) and s.is_integer()) else 0 for s in sides)
    if rows < 1 or cols < 1:
        raise BadInput(f"{str(size)[:60]} is not the size of an image; export it as COCO again")
    check_pixel_count("an image of it", rows, cols)
    return rows, cols


def _unpack_counts(text: str, *, most: int) -> list[int]:
    """Unpack run lengths: 5 bits a letter, the lowest first; from the fourth on the change to the last but one."""
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > _MAX_SHIFT:
            raise BadInput("packed run lengths are damaged; export it again")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        value += counts[-2] if len(counts) > 2 else 0
        if not 0 <= value <= most or len(counts) >= MAX_POINTS:
            raise BadInput("packed run lengths are damaged, or far too many; export it again")
        counts.append(value)
        value = shift = 0
    if shift:
        raise BadInput("packed run lengths are cut short; export it again")
    return counts
