"""Areas as run lengths, as COCO files hold them: read, unpacked, made of pixels, and packed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridseg.errors import BadInput
from hybridseg.io.annotations.canvas import Canvas, Mask, Runs
from hybridseg.io.annotations.doodles import MAX_POINTS
from hybridseg.io.rasters import check_pixel_count

# Of a packed number, 5 bits in each: far more than the pixels of any image need.
_MAX_LETTERS = 9


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
    layer: str = "result"

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

    @property
    def origin(self) -> tuple[int, int]:
        """The place of the first of its `pixels` in the image."""
        return 0, self.cols.start

    @property
    def pixels(self) -> np.ndarray:
        """The pixels of its columns, (rows, cols) bool, unpacked each time."""
        return decode_rle(self, self.cols)

    def put_on(self, canvas: Canvas, value: int) -> None:
        """Put it on top of what a canvas of the image has, without unpacking it."""
        canvas.add(_split_runs(self), value, by_cols=True)


def parse_rle(record: Any) -> Rle | None:
    """Read the run lengths of a ``segmentation``, packed in a text or not, or read already; None when it has none.

    Raises
    ------
    BadInput
    """
    if not isinstance(record, dict):
        return record if isinstance(record, Rle) else None
    rows, cols = parse_size(record.get("size"))
    counts = record.get("counts")
    if isinstance(counts, str):
        lengths = _unpack_counts(counts, most=rows * cols)
    elif isinstance(counts, list):
        lengths = _check_counts(counts, most=rows * cols)
    else:
        raise BadInput("run lengths (`counts`) are neither a list nor a text; export it again")
    if lengths.sum() != rows * cols:
        raise BadInput(
            f"run lengths add up to {lengths.sum()} pixels, but the size is {rows} x {cols}; export it again"
        )
    return Rle(lengths, (rows, cols))


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


def _check_counts(counts: list[Any], *, most: int) -> np.ndarray:
    if len(counts) > MAX_POINTS:
        raise BadInput(f"an area of more than {MAX_POINTS:,} run lengths is too ragged; smooth it and export it again")
    try:
        lengths = np.array(counts if set(map(type, counts)) <= {int} else [-1], np.int64)
    except OverflowError:
        lengths = np.array([-1])
    if not 0 <= lengths.min(initial=0) <= lengths.max(initial=0) <= most:
        raise BadInput("a run length is not a number of pixels; export it again")
    return lengths


def _unpack_counts(text: str, *, most: int) -> np.ndarray:
    """Unpack run lengths: 5 bits a letter, the lowest first; from the fourth on the change to the last but one."""
    # What is no letter of ASCII becomes one that means nothing here.
    bits = np.frombuffer(text.encode("ascii") if text.isascii() else b"~", np.uint8) - np.uint8(48)
    is_last = (bits & 32) == 0
    n_counts = int(np.count_nonzero(is_last))
    if (bits >= 64).any() or n_counts > MAX_POINTS:
        raise BadInput("packed run lengths are damaged, or far too many; export it again")
    stops = np.flatnonzero(is_last) + 1
    n_letters = np.diff(stops, prepend=0)
    n_open = len(bits) - (int(stops[-1]) if n_counts else 0)
    if max(n_open, int(n_letters.max(initial=0))) > _MAX_LETTERS:
        raise BadInput("packed run lengths are damaged; export it again")
    if n_open:
        raise BadInput("packed run lengths are cut short; export it again")
    counts = np.zeros(n_counts, np.int64)
    for i in range(int(n_letters.max(initial=0))):
        (own,) = np.nonzero(n_letters > i)
        counts[own] |= (bits[stops[own] - n_letters[own] + i] & 31).astype(np.int64) << 5 * i
    (negative,) = np.nonzero(bits[stops - 1] & 16)
    counts[negative] -= np.int64(1) << 5 * n_letters[negative]
    # Before they are added up: the sum of far larger ones might not fit.
    is_sound = (np.abs(counts) <= most).all()
    for first in (1, 2):
        counts[first::2] = counts[first::2].cumsum()
    if not is_sound or (counts < 0).any() or (counts > most).any():
        raise BadInput("packed run lengths are damaged; export it again")
    return counts


def _split_runs(rle: Rle) -> Runs:
    """Return the runs of pixels of each column."""
    n_rows, ends = rle.shape[0], np.cumsum(rle.counts)
    starts, stops = ends[:-1:2], ends[1::2]
    starts, stops = starts[starts < stops], stops[starts < stops]
    first_cols, last_cols = starts // n_rows, (stops - 1) // n_rows
    n_cols = last_cols - first_cols + 1
    cols = np.arange(n_cols.sum()) - np.repeat(np.cumsum(n_cols) - n_cols - first_cols, n_cols)
    tops, bottoms = np.zeros(len(cols), np.int64), np.full(len(cols), n_rows - 1)
    places = np.cumsum(n_cols)
    tops[places - n_cols] = starts - first_cols * n_rows
    bottoms[places - 1] = stops - 1 - last_cols * n_rows
    return cols, tops, bottoms
