"""One call to read or write a label map of any kind: the suffix chooses the format, and the formats are listed here."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, MissingInput, check_path
from hybridseg.io.labels.classfiles import find_table
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.labelpng import read_labelpng, write_labelpng
from hybridseg.io.labels.labeltiff import read_labeltiff, read_tiff_record, write_labeltiff
from hybridseg.io.labels.matfiles import read_matfile, write_matfile

logger = logging.getLogger(__name__)

_FORMATS: dict[str, tuple[Callable[..., LabelMap], Callable[..., None]]] = {
    ".mat": (read_matfile, write_matfile),
    ".png": (read_labelpng, write_labelpng),
    ".tif": (read_labeltiff, write_labeltiff),
    ".tiff": (read_labeltiff, write_labeltiff),
}
LABELMAP_SUFFIXES = tuple(_FORMATS)
# With the files of strokes and areas: `hybridseg.io.annotations.formats` reads all of them.
ANNOTATION_SUFFIXES = (".json", ".npz", *LABELMAP_SUFFIXES)


def read_labelmap(
    path: str | os.PathLike[str],
    *,
    table: ClassTable | str | os.PathLike[str] | Sequence[str] | None = None,
    with_seeds: bool = True,
) -> LabelMap:
    """Read a label map from a ``.mat``, ``.png`` or ``.tif`` file.

    Parameters
    ----------
    table : ClassTable, path-like, sequence of str or None
        The classes of a file that does not name them: a ClassTable, a class file, or a list of names. A file's own
        names always win.
    with_seeds : bool
        Also read the scribbles of a ``.mat`` file.

    Raises
    ------
    MissingInput, BadInput
        As the reader of the format says.
    """
    path = Path(path)
    check_path(path)
    if not path.exists():
        raise MissingInput(f"there is no file {path}")
    logger.debug("reading %s", path)
    suffix = path.suffix.lower()
    if suffix in (".jpg", ".jpeg"):
        raise BadInput(
            f"{path} is a JPEG, which changes class ids; turn it into a PNG first: hybridseg convert --to png, with "
            "--nearest-color for a mask in colours or --threshold N for a grey one"
        )
    if suffix not in _FORMATS:
        raise BadInput(f"{path} is not a label map; give one of {', '.join(LABELMAP_SUFFIXES)}")
    read, _ = _FORMATS[suffix]
    table = None if table is None else find_table(table)
    return read(path, table=table, **({"with_seeds": with_seeds} if read is read_matfile else {}))


def write_labelmap(path: str | os.PathLike[str], labelmap: LabelMap) -> None:
    """Write a label map as ``.mat``, ``.png`` or ``.tif``, whole or not at all.

    Raises
    ------
    BadInput
        When the suffix is none of these, or the label map does not name its classes.
    WriteFailed
    """
    check_path(path)
    suffix = Path(path).suffix.lower()
    if suffix not in _FORMATS:
        raise BadInput(f"{path} has no suffix of a label map; name it with one of {', '.join(LABELMAP_SUFFIXES)}")
    _, write = _FORMATS[suffix]
    write(path, labelmap)


def read_made_by(path: str | os.PathLike[str]) -> str | None:
    """Return the record of how a label map was made; None when it has none.

    The whole file is read, so that a damaged one is noticed.

    Raises
    ------
    MissingInput, BadInput
        As `read_labelmap`.
    """
    path = Path(path)
    if path.exists() and path.suffix.lower() in (".tif", ".tiff"):
        return read_tiff_record(path)
    return read_labelmap(path).made_by
