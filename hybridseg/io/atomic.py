"""Writing a file whole or not at all: a temporary file in the same folder, flushed, then renamed."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hybridseg.errors import WriteFailed

logger = logging.getLogger(__name__)


@contextmanager
def atomic_path(path: str | os.PathLike[str], *, durable: bool = True) -> Iterator[Path]:
    """Give a temporary path to write to; on success it becomes `path`, on any failure it is removed.

    Parameters
    ----------
    path : path-like
        The file to write. Its folder is created.
    durable : bool
        Wait until the disk has it. Bulk writers of things that are easily made again (tiles) do not.

    Yields
    ------
    pathlib.Path
        Hidden, in the same folder, with the same suffix (writers choose a format by it).

    Raises
    ------
    WriteFailed
        When the folder or the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "hello.txt"
    >>> with atomic_path(target) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> target.read_text()
    'whole'
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem[:80]}.{secrets.token_hex(4)}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            if durable:
                _flush(temporary)
            os.replace(temporary, path)
            logger.debug("wrote %s", path)
            if durable:
                _flush(path.parent)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    except WriteFailed:
        raise
    except OSError as error:
        raise WriteFailed(
            f"could not write {path}: {error.strerror or error}; "
            "check the free space and your permission there, or choose another folder"
        ) from error


def write_bytes(path: str | os.PathLike[str], data: bytes, *, durable: bool = True) -> None:
    """Write a file of bytes, whole or not at all."""
    with atomic_path(path, durable=durable) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 file, whole or not at all."""
    write_bytes(path, text.encode())


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
