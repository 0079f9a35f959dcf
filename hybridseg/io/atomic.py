"""Writing a file whole or not at all: a temporary file in the same folder, flushed, then renamed."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hybridseg.errors import HybridSegError, OutputExists, WriteFailed

logger = logging.getLogger(__name__)

_LEFTOVER = re.compile(r"^\.[0-9a-f]{16}\.partial")


@contextmanager
def atomic_path(path: str | os.PathLike[str], *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path to write to; on success it becomes `path`, on any failure it is removed.

    Parameters
    ----------
    path : path-like
        The file to write. Its folder is created.
    durable : bool
        Wait until it is on the disk. Writers of many files that are easily made again (tiles) do not.

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
    temporary = path.with_name(f".{secrets.token_hex(8)}.partial{path.suffix}")
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
    except HybridSegError:
        raise
    except OSError as error:
        raise WriteFailed(
            f"could not write {path}: {error.strerror or error}; "
            "check the free space and your permission there, or choose another folder"
        ) from error


def publish_folder(partial_dir: Path, target: Path) -> None:
    """Move a finished folder to its place; an older one is removed only after that."""
    # A name that nobody else has.
    old_dir = target.with_name(f".{target.name}.{secrets.token_hex(8)}.partial")
    if target.exists():
        target.rename(old_dir)
    partial_dir.rename(target)
    if old_dir.exists():
        shutil.rmtree(old_dir)


def check_replaceable(folder: Path, list_name: str, inputs: Iterable[Path], *, overwrite: bool) -> None:
    """Raise OutputExists unless a folder is one of ours, by the list in it, may be replaced, and holds no input."""
    is_ours = (folder / list_name).is_file()
    if is_ours and not overwrite:
        raise OutputExists(f"{folder} is there already; give --overwrite to replace it, or --out for another place")
    if not is_ours or any(folder in (path.resolve(), *path.resolve().parents) for path in inputs):
        raise OutputExists(f"{folder} is there and was not written by this command; give --out for another place")


def check_nothing_lost(folder: Path, is_ours: Callable[[Path], bool]) -> None:
    """Raise OutputExists for a file in a folder, given by its path below it, that is not one of ours."""
    for path in sorted(folder.rglob("*")):
        if not path.is_dir() and not is_ours(path.relative_to(folder)):
            raise OutputExists(f"{path} was not written by this command and would be lost; move it away first")


def claim_folder(folder: Path) -> None:
    """Make a folder and check that files can be written there, before long work.

    Raises
    ------
    WriteFailed
    """
    probe = folder / f".{secrets.token_hex(8)}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            probe.touch()
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)
    except OSError as error:
        raise _explain_folder(folder, error) from error


def _explain_folder(folder: Path, error: OSError) -> WriteFailed:
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        file = next((path for path in (folder, *folder.parents) if path.is_file()), folder)
        return WriteFailed(f"cannot write in {folder}: {file} is a file; choose another folder")
    return WriteFailed(
        f"cannot write in {folder}: {error.strerror or error}; choose another folder, or fix its permissions"
    )


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of killed runs, in a folder and all below it."""
    for path in folder.rglob(".*.partial*"):
        if _LEFTOVER.match(path.name) and path.is_file():
            path.unlink(missing_ok=True)


@contextmanager
def lock_output(path: Path) -> Iterator[None]:
    """Keep a second run from writing the same result at the same time.

    Raises
    ------
    OutputExists
        When another run is writing it.
    """
    lock_path = path.with_name(f".{path.name}.lock")
    try:
        lock_path.parent.mkdir(parents=True, exist_ok=True)
        file = lock_path.open("w")
    except OSError as error:
        raise _explain_folder(path.parent, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise OutputExists(f"another run is writing {path} now; wait until it has finished") from None
        try:
            yield
        finally:
            lock_path.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike[str], data: bytes, *, durable: bool = True) -> None:
    """Write a file of bytes, whole or not at all."""
    with atomic_path(path, durable=durable) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str, *, durable: bool = True) -> None:
    """Write a UTF-8 file, whole or not at all."""
    # File names that are not UTF-8 keep their bytes.
    write_bytes(path, text.encode("utf-8", "surrogateescape"), durable=durable)


def replace_text(path: str | os.PathLike[str], text: str) -> Path | None:
    """Write a UTF-8 file, and back up what it replaces; return the path of that, None where nothing changed."""
    path = Path(path)
    if path.exists() and path.read_bytes() == text.encode("utf-8", "surrogateescape"):
        return None
    backup = back_up(path)
    write_text(path, text)
    return backup


def back_up(path: Path) -> Path | None:
    """Copy a file, if it is there, to ``NAME.backup``; where that is another one, to ``NAME.backup2`` and so on."""
    if not path.exists():
        return None
    old, number = path.read_bytes(), 1
    while True:
        backup = path.with_name(f"{path.name}.backup{number if number > 1 else ''}")
        if not backup.exists():
            write_bytes(backup, old)
        if backup.read_bytes() == old:
            return backup
        number += 1


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
