"""What a TIFF says of itself and its reader believes: how large its blocks are, how many bands, pages and texts it has.

Only its directories are read, and nothing is decoded. Of damage nothing is said here; GDAL does that.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from hybridseg.errors import BadInput

_MAX_BLOCK_PIXELS = 1 << 24
# Beside an image, where it is not known how large that is.
_MAX_BLOCK_BESIDE = 1 << 26
# What takes GDAL some seconds: the time grows with the square of bands and of texts.
_MAX_BANDS, _MAX_TEXTS, _MAX_PAGES = 5_000, 10_000, 10_000
_MAX_TAGS, _MAX_TEXT_BYTES = 4_096, 16_000_000
_KIND, _COLS, _ROWS, _BANDS, _STRIP_ROWS, _TILE_COLS, _TILE_ROWS, _METADATA = 254, 256, 257, 277, 278, 322, 323, 42112
# How many bytes each strip, or tile, has in the file.
_PACKED = (279, 325)
# Of pages: a smaller version of the image, and its mask. All others are never looked at.
_REDUCED, _MASK = 1, 4
# By the numbers that TIFF gives to types; signed ones stand for sizes, too.
_CODES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q", 17: "q"}
_BIG = 43


@dataclass
class _Page:
    """The single numbers of a directory by their tags; where its metadata are, and how long.

    And where the sizes of its blocks are in the file, how many they are, and of which type.
    """

    numbers: dict[int, int] = field(default_factory=dict)
    metadata: tuple[int, int] = (0, 0)
    packed: tuple[int, int, str] = (0, 0, "")

    @property
    def block_shape(self) -> tuple[int, int]:
        """Rows and columns of what is unpacked at once."""
        find = self.numbers.get
        tile = find(_TILE_ROWS, 0), find(_TILE_COLS, 0)
        return tile if all(tile) else (min(find(_STRIP_ROWS, find(_ROWS, 0)), find(_ROWS, 0)), find(_COLS, 0))


def check_tiff(path: Path, *, is_beside: bool = False) -> None:
    """Raise BadInput for a TIFF that asks for far more than it holds.

    Parameters
    ----------
    is_beside : bool
        Whether it holds the mask, or the overviews, of another image.
    """
    try:
        with path.open("rb") as file:
            most = _MAX_BLOCK_BESIDE
            for number, page in enumerate(_list_pages(file)):
                if number == 0 and not is_beside:
                    most = max(4 * page.numbers.get(_ROWS, 0) * page.numbers.get(_COLS, 0), _MAX_BLOCK_PIXELS)
                if number >= _MAX_PAGES:
                    raise BadInput(
                        f"{path} has more than {_MAX_PAGES:,} pages; save the ones that you need as separate files"
                    )
                if number == 0 or is_beside or page.numbers.get(_KIND, 0) & (_REDUCED | _MASK):
                    _check_page(path, file, page, most)
    except (OSError, struct.error, OverflowError):
        return


def measure_packed(path: Path) -> int:
    """Return how many bytes the largest strip or tile of the image has in the file, before it is unpacked."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            page = next(_list_pages(file))
            place, count, code = page.packed
            file.seek(place)
            # In parts: there may be millions of them.
            largest, step = 0, 1 << 16
            for done in range(0, count, step):
                n = min(step, count - done)
                values = struct.unpack(f"{code[0]}{n}{code[1]}", file.read(n * struct.calcsize(code)))
                largest = max(largest, *values)
            return min(largest, size)
    except (StopIteration, OSError, struct.error, OverflowError):
        return size


def _list_pages(file: BinaryIO) -> Iterator[_Page]:
    head = file.read(16)
    order = "<" if head.startswith(b"II") else ">"
    is_big = struct.unpack_from(f"{order}H", head, 2)[0] == _BIG
    # A number of tags, a place in the file, and a tag.
    count, offset, entry = (order + code for code in (("Q", "Q", "HHQ8s") if is_big else ("H", "I", "HHI4s")))
    (place,) = struct.unpack_from(offset, head, 8 if is_big else 4)
    seen = set()
    while place and place not in seen:
        seen.add(place)
        file.seek(place)
        (n_tags,) = struct.unpack(count, file.read(struct.calcsize(count)))
        if n_tags > _MAX_TAGS:
            return
        start, entries, page = file.tell(), file.read(n_tags * struct.calcsize(entry)), _Page()
        (place,) = struct.unpack(offset, file.read(struct.calcsize(offset)))
        for number, (tag, kind, n_values, value) in enumerate(struct.iter_unpack(entry, entries), 1):
            if tag == _METADATA:
                page.metadata = (*struct.unpack(offset, value), n_values)
            elif n_values == 1 and kind in _CODES:
                # Of two of one tag the first counts.
                page.numbers.setdefault(tag, struct.unpack_from(order + _CODES[kind], value)[0])
            if tag in _PACKED and kind in _CODES:
                code = order + _CODES[kind]
                # Few of them stand in the entry itself.
                at = start + number * struct.calcsize(entry) - len(value)
                if n_values * struct.calcsize(code) > len(value):
                    (at,) = struct.unpack(offset, value)
                page.packed = at, n_values, code
        yield page


def _check_page(path: Path, file: BinaryIO, page: _Page, most: int) -> None:
    rows, cols = page.block_shape
    if rows * cols > most:
        raise BadInput(
            f"{path} is stored in blocks of {rows} x {cols} pixels, far larger than itself; save it in smaller tiles"
        )
    if (n_bands := page.numbers.get(_BANDS, 1)) > _MAX_BANDS:
        raise BadInput(f"{path} has {n_bands:,} bands, more than the {_MAX_BANDS:,} that are read; leave some out")
    place, length = page.metadata
    # Each takes more than a byte.
    if length > _MAX_TEXTS:
        file.seek(place)
        text = file.read(min(length, _MAX_TEXT_BYTES + 1))
        if len(text) > _MAX_TEXT_BYTES or text.count(b"<Item") > _MAX_TEXTS:
            raise BadInput(f"{path} has more than {_MAX_TEXTS:,} texts in its metadata; save it without them")
