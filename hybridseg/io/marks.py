"""The one rule of what may be replaced: a file with the mark of this program. Any other one is a user's, and stays.

A mark is a run of bytes that all files of a kind hold, and that is found also in a damaged one.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from hybridseg.errors import OutputExists
from hybridseg.layout import DRAWN_BY

_DRAWN = "\0".join(DRAWN_BY).encode()
# By the end of the name, the first that fits.
_MARKS: dict[str, tuple[bytes, ...]] = {
    # What commands write under these names.
    "_report.json": (b'"seeded_share"',),
    "_report.txt": (b"\npixels: ",),
    "eval_pixels.csv": (b"pair,class,support,",),
    "eval_pixels_by_image.csv": (b"image,dice,accuracy,pixels,",),
    "eval_pixels.json": (b'"only_in_prediction"',),
    "eval_tiles.csv": (b"class,support,accuracy,precision,",),
    "eval_tiles.json": (b'"expected_calibration_error"',),
    "_scores.json": (b'"image_dice"',),
    "_scores_by_image.csv": (b"image,dice,accuracy,pixels,",),
    # Label maps with a record of how they were made, confidence maps, figures.
    ".mat": (b"MAT-file, written by hybridseg",),
    ".png": (b"hybridseg:made_by", _DRAWN),
    ".tif": (b'name="MADE_BY"', b'name="UNIT" sample="0">percent<'),
    ".pdf": (b"/Creator (hybridseg)",),
    ".svg": (b"<dc:title>hybridseg</dc:title>",),
    # What lies beside a label map that is a GeoTIFF; a style that QGIS saved has no such line.
    ".tif.aux.xml": (b"<Name>Class_Name</Name>",),
    ".qml": (b"<!-- Replaced whenever hybridseg writes the label map",),
}


def is_ours(path: Path, *, marks: tuple[bytes, ...] = ()) -> bool:
    """Return whether a file has the mark of what this program writes under such a name, or one of these others."""
    # To open a pipe would wait for ever.
    if not path.is_file():
        return False
    # Of an empty file, as a full disk leaves it, nothing is lost.
    if not path.stat().st_size:
        return True
    marks += next((marks for ending, marks in _MARKS.items() if path.name.endswith(ending)), ())
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(mark) >= 0 for mark in marks)


def check_ours(paths: Iterable[Path], *, advice: str, marks: tuple[bytes, ...] = ()) -> None:
    """Raise OutputExists where one of these files is there, or a link to nothing is, and is not one of ours."""
    for path in paths:
        if os.path.lexists(path) and not is_ours(path, marks=marks):
            raise _is_foreign(path, advice)


def check_table(path: Path, columns: Sequence[str], *, advice: str) -> None:
    """Raise OutputExists where a file is there, or a link to nothing is, and is no CSV with these columns alone."""
    if os.path.lexists(path) and not _has_header(path, ",".join(columns).encode()):
        raise _is_foreign(path, advice)


def _has_header(path: Path, header: bytes) -> bool:
    # To open a pipe would wait for ever.
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.readline(len(header) + 2).rstrip(b"\r\n") == header


def _is_foreign(path: Path, advice: str) -> OutputExists:
    return OutputExists(f"{path} is there and was not written by hybridseg; move it away, or {advice}")
