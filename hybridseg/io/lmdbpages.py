"""The pages of an LMDB file, walked before its library follows them: of a number that lies it would end the program.

The file is a header of two pages, of which the one with the higher transaction counts, and two trees of pages: the
entries, and the lists of pages that are free again.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

from hybridseg.errors import BadInput

_PAGE = struct.Struct("<QHHHH")  # number, padding, kind, end of the places, begin of the nodes
_NODE = struct.Struct("<HHHH")  # 32 bits of a size or a page, flags, size of the key
_TREE = "IHHQQQQQ"  # size of pages, flags, depth, pages of branches, of leaves and of large values, entries, root
_META = struct.Struct(f"<IIQQ{_TREE}{_TREE}QQ")  # mark, version, address, size; two trees; last page, transaction
_MARK, _VERSION = 0xBEEFC0DE, 1
_BRANCH, _LEAF, _HEADER, _LARGE = 1, 2, 8, 1
# The keys of the lists are whole numbers, ours are bytes.
_LIST_FLAGS, _ENTRY_FLAGS = 8, 0
_NO_ROOT = 2**64 - 1
_MAX_DEPTH = 30
_MAKE_AGAIN = "make it again with unet build-lmdb"


def check_pages(path: Path) -> None:
    """Raise BadInput unless all that a transaction may follow is in the file, and is what it should be."""
    with path.open("rb") as file:
        pages = _Pages(file.fileno())
        for place, n_bytes in pages.walk(pages.lists, _LIST_FLAGS):
            pages.check_list(place, n_bytes)
        for _ in pages.walk(pages.entries, _ENTRY_FLAGS):
            pass


class _Pages:
    def __init__(self, file: int) -> None:
        self._file = file
        first = self._read_header(0)
        self._size = first[4]
        if self._size not in [1 << n for n in range(8, 17)]:
            raise _damaged("the size of its pages")
        second = self._read_header(self._size)
        found = max(first, second, key=lambda header: header[-1])
        if found[4] != self._size:
            raise _damaged("the size of its pages")
        self.lists, self.entries = found[5:12], found[13:20]
        self._n = found[-2] + 1
        if self._n * self._size > os.fstat(file).st_size:
            raise BadInput(f"it is cut short; {_MAKE_AGAIN}")

    def walk(self, tree: tuple[int, ...], flags: int) -> Iterator[tuple[int, int]]:
        """Yield the place and the size of every value of a tree, whose pages are checked on the way."""
        own_flags, depth, *_, root = tree
        if own_flags != flags or depth > _MAX_DEPTH or (root == _NO_ROOT) != (depth == 0):
            raise _damaged("the description of its pages")
        level, n_seen = [root] if depth else [], 0
        for height in range(depth, 0, -1):
            below = []
            for number in level:
                n_seen += 1
                # A page that lies below two others would be gone through again and again.
                if n_seen > self._n:
                    raise _damaged("its tree of pages")
                page, places = self._read_page(number, _LEAF if height == 1 else _BRANCH)
                for place in places:
                    low, high, node_flags, n_key = _NODE.unpack_from(page, place)
                    value, start = low | high << 16, place + _NODE.size + n_key
                    is_large = height == 1 and node_flags == _LARGE
                    end = start + (0 if height > 1 else 8 if is_large else value)
                    if end > self._size or (height == 1 and node_flags not in (0, _LARGE)):
                        raise _damaged(f"page {number}")
                    if height > 1:
                        below.append(value | node_flags << 32)
                    elif is_large:
                        yield self._place_large(struct.unpack_from("<Q", page, start)[0], value), value
                    else:
                        yield number * self._size + start, value
            level = below

    def check_list(self, place: int, n_bytes: int) -> None:
        """Check a list of free pages: how many, and their numbers."""
        n = n_bytes // 8
        numbers = struct.unpack(f"<{n}Q", self._read(place, 8 * n))
        if not n or numbers[0] >= n or not all(2 <= number < self._n for number in numbers[1 : numbers[0] + 1]):
            raise _damaged("its list of free pages")

    def _read_header(self, place: int) -> tuple[int, ...]:
        page = self._read(place, _PAGE.size + _META.size)
        header = _META.unpack_from(page, _PAGE.size)
        if _PAGE.unpack_from(page)[2] != _HEADER or header[:2] != (_MARK, _VERSION):
            raise BadInput(f"it is no LMDB database, or of another version of it; {_MAKE_AGAIN}")
        return header

    def _read_page(self, number: int, kind: int) -> tuple[bytes, tuple[int, ...]]:
        """Return a page of a tree, and where its nodes are."""
        if not 2 <= number < self._n:
            raise _damaged(f"the page {number}, which is not there")
        page = self._read(number * self._size, self._size)
        own, _, own_kind, end, begin = _PAGE.unpack_from(page)
        n = (end - _PAGE.size) // 2
        # Of a branch with one page below it the library makes an end of the program, too.
        if (own, own_kind) != (number, kind) or not end <= begin <= self._size or n < (2 if kind == _BRANCH else 1):
            raise _damaged(f"page {number}")
        places = struct.unpack_from(f"<{n}H", page, _PAGE.size)
        if min(places) < begin or max(places) > self._size - _NODE.size:
            raise _damaged(f"page {number}")
        return page, places

    def _place_large(self, number: int, n_bytes: int) -> int:
        """Return where a value begins that has pages of its own."""
        place = number * self._size + _PAGE.size
        if number < 2 or place + n_bytes > self._n * self._size:
            raise _damaged(f"the page {number}, which is not there")
        return place

    def _read(self, place: int, n_bytes: int) -> bytes:
        found = os.pread(self._file, n_bytes, place)
        if len(found) < n_bytes:
            raise BadInput(f"it is cut short; {_MAKE_AGAIN}")
        return found


def _damaged(what: str) -> BadInput:
    return BadInput(f"it is damaged ({what}); {_MAKE_AGAIN}")
