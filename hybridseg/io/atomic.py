"""Writing a file whole or not at all: a temporary file in the same folder, flushed, then renamed."""

from __future__ import annotations

import ctypes
import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hybridseg.errors import DiskFull, HybridSegError, OutputExists, WriteFailed
from hybridseg.io.locks import FULL, explain_folder, is_leftover, made_folder, own_partial, remove_leftovers

logger = logging.getLogger(__name__)

# Folders from which this process has removed what killed runs left.
_tidied: set[Path] = set()


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
    folder = path.parent
    with explain_writing(path), made_folder(folder):
        if folder not in _tidied:
            remove_leftovers(folder)
            _tidied.add(folder)
        with own_partial(folder, path.suffix) as temporary:
            with _named(temporary, path):
                yield temporary
            if durable:
                _flush(temporary)
            os.replace(temporary, path)
            logger.debug("wrote %s", path)
            if durable:
                _flush(folder)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield a hidden folder, made beside `target`, which takes its place on success, see `publish_folder`.

    Raises
    ------
    WriteFailed
    """
    with explain_writing(target), made_folder(target.parent):
        remove_leftovers(target.parent)
        with own_partial(target.parent) as partial_dir:
            partial_dir.mkdir()
            with _named(partial_dir, target):
                yield partial_dir
            publish_folder(partial_dir, target)


def publish_folder(partial_dir: Path, target: Path) -> None:
    """Move a finished folder to its place; an older one is removed only after that."""
    if not target.exists():
        partial_dir.rename(target)
        return
    with own_partial(target.parent) as old_dir:
        if _exchange(partial_dir, target):
            partial_dir.rename(old_dir)
            return
        target.rename(old_dir)
        try:
            partial_dir.rename(target)
        except OSError:
            old_dir.rename(target)
            raise


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change places in one step, where the system has that: whenever it is killed, one is there."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError):
        return False
    here, exchange = -100, 2
    return bool(rename(here, os.fsencode(one.absolute()), here, os.fsencode(other.absolute()), exchange) == 0)


@contextmanager
def explain_writing(path: Path) -> Iterator[None]:
    """Say in a sentence why something could not be written."""
    try:
        yield
    except HybridSegError:
        raise
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not path.parent.exists():
            raise WriteFailed(f"could not write {path}: its folder is gone; give the command again") from error
        if error.errno in FULL:
            raise DiskFull(f"could not write {path}: {error.strerror}; free some space there") from error
        raise WriteFailed(
            f"could not write {path}: {error.strerror or error}; "
            "check the free space and your permission there, or choose another folder"
        ) from error


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
        place = path.relative_to(folder)
        if not path.is_dir() and not any(map(is_leftover, place.parts)) and not is_ours(place):
            raise OutputExists(f"{path} was not written by this command and would be lost; move it away first")


def claim_folder(folder: Path) -> None:
    """Make a folder, rid it of what killed runs left, and check that files can be written there, before long work.

    Raises
    ------
    WriteFailed
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        with own_partial(folder) as probe:
            probe.touch()
    except HybridSegError:
        raise
    except OSError as error:
        raise explain_folder(folder, error) from error


def check_folder(folder: Path) -> None:
    """Raise WriteFailed where `claim_folder` would; no folder is made."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        tempfile.TemporaryFile(dir=existing).close()
    except OSError as error:
        raise explain_folder(folder, error) from error


@contextmanager
def _named(temporary: Path, path: Path) -> Iterator[None]:
    """Let errors name what was to be written, and not the temporary place of it."""
    try:
        yield
    except WriteFailed as error:
        if str(temporary) not in str(error):
            raise
        raise type(error)(str(error).replace(str(temporary), str(path))) from error.__cause__


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
    path, data = Path(path), text.encode("utf-8", "surrogateescape")
    if path.exists() and path.stat().st_size == len(data) and path.read_bytes() == data:
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
