"""One call to read or write a label map of any kind: the suffix chooses the format."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, MissingInput
from hybridseg.io.labels.labelmaps import LabelMap

logger = logging.getLogger(__name__)

LABELMAP_SUFFIXES = (".mat", ".png", ".tif", ".tiff")


def read_labelmap(
    path: str | os.PathLike[str], *, table: ClassTable | None = None, with_seeds: bool = True
) -> LabelMap:
    """Read a label map from a ``.mat``, ``.png`` or ``.tif`` file.

    Parameters
    ----------
    path : path-like
    table : ClassTable or None
        The classes of a file that does not name them. A file's own names always win.
    with_seeds : bool
        Also read the scribbles of a ``.mat`` file.

    Returns
    -------
    LabelMap

    Raises
    ------
    MissingInput, BadInput
        As the reader of the format says.
    """
    from hybridseg.io.labels.labelpng import read_labelpng
    from hybridseg.io.labels.labeltiff import read_labeltiff
    from hybridseg.io.labels.matfiles import read_matfile

    path = Path(path)
    if not path.exists():
        raise MissingInput(f"there is no file {path}")
    logger.debug("reading %s", path)
    suffix = path.suffix.lower()
    if suffix == ".mat":
        return read_matfile(path, table=table, with_seeds=with_seeds)
    if suffix == ".png":
        return read_labelpng(path, table=table)
    if suffix in (".tif", ".tiff"):
        return read_labeltiff(path, table=table)
    raise BadInput(f"{path} is no label map; give one of {', '.join(LABELMAP_SUFFIXES)}")


def write_labelmap(path: str | os.PathLike[str], labelmap: LabelMap) -> None:
    """Write a label map as ``.mat``, ``.png`` or ``.tif``, whole or not at all.

    Raises
    ------
    BadInput
        When the suffix is none of these, or the label map does not name its classes.
    WriteFailed
    """
    from hybridseg.io.labels.labelpng import write_labelpng
    from hybridseg.io.labels.labeltiff import write_labeltiff
    from hybridseg.io.labels.matfiles import write_matfile

    writers = {".mat": write_matfile, ".png": write_labelpng, ".tif": write_labeltiff, ".tiff": write_labeltiff}
    writer = writers.get(Path(path).suffix.lower())
    if writer is None:
        raise BadInput(f"{path} has no suffix of a label map; name it with one of {', '.join(LABELMAP_SUFFIXES)}")
    writer(path, labelmap)


def read_made_by(path: str | os.PathLike[str]) -> str | None:
    """Return the record of how a label map was made; None when it has none.

    The whole file is read, so that a damaged one is noticed.

    Raises
    ------
    MissingInput, BadInput
        As `read_labelmap`.
    """
    return read_labelmap(path).made_by
