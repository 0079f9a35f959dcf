"""Who is writing what: locks on empty files, which the system drops with the process that holds them, however it ends.

``.NAME.hybridseg.lock`` is held while NAME is written, here or on another machine that shares the folder. A temporary
file or folder is called ``.TOKEN.partial``, and its lock ``.TOKEN.hybridseg.lock``: where nobody holds that, whoever
wrote it was killed, and it may be removed.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import itertools
import logging
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from hybridseg.errors import DiskFull, HybridSegError, OutputExists, WriteFailed
from hybridseg.progress import say

logger = logging.getLogger(__name__)

LOCK_SUFFIX = ".hybridseg.lock"
KEPT_SUFFIX = ".hybridseg.parts"
"""Of a hidden folder of what a killed run goes on with, see `hybridseg.batch.parts`: it is not removed."""
_LOCK = re.compile(rf"\.(?P<name>.+){re.escape(LOCK_SUFFIX)}")
# Earlier versions called folders ``.NAME.TOKEN.partial``.
_PARTIAL = re.compile(r"\.(?:.+\.)?(?P<token>[0-9a-f]{16})\.partial.*", re.DOTALL)
# Whoever looks for leftovers holds a lock for a moment.
_TRIES, _PAUSE = 20, 0.01
# What file systems without locks answer.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF)
_NOBODYS = -1
FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system answers where a disk is full, or all is taken that a user may have of it."""
# Bytes below which a disk counts as full.
_LITTLE = 2**20
_MAX_NAME, _MANY = 200, 100


@contextmanager
def lock_output(path: Path, *, inside: str = "", wait: bool = False) -> Iterator[None]:
    """Keep a second run, on any machine, from writing the same result at the same time.

    The folder of the lock is made, and rid of what killed runs left, even where nothing is left to be written.

    Parameters
    ----------
    path : pathlib.Path
        The file or folder that is written; the lock lies beside it.
    inside : str
        What writes into a folder that may be no place to write beside: the lock of that name lies in it.
    wait : bool
        Wait for the other run, where its work takes little time or helps this one.

    Raises
    ------
    OutputExists
        When another run is writing it, without `wait`.
    WriteFailed
    """
    path = path if path.name else path.absolute()
    folder, name = (path, inside) if inside else (path.parent, path.name)
    place = f"{folder.absolute()}/{hide_name(name, LOCK_SUFFIX)}"
    with ExitStack() as stack:
        try:
            stack.enter_context(made_folder(folder))
            lock = _take(place, tries=_TRIES)
            if lock is None and wait:
                say(f"another run is writing {path}: waiting until it has finished")
                lock = _take(place, tries=None)
        except HybridSegError:
            raise
        except OSError as error:
            raise explain_folder(folder, error) from error
        if lock is None:
            raise OutputExists(f"another run is writing {path} now; wait until it has finished")
        stack.callback(_give_back, lock, place)
        if lock == _NOBODYS:
            logger.warning("%s has no locks: do not let two commands write there at the same time", folder)
        remove_leftovers(folder)
        yield


def hide_name(name: str, suffix: str) -> str:
    """Return the name of a hidden file that belongs to one of this name, which may be as long as a file system takes.

    Examples
    --------
    >>> hide_name("a.tif", ".hybridseg.lock"), len(hide_name("a" * 255, ".hybridseg.lock"))
    ('.a.tif.hybridseg.lock', 80)
    """
    own = name if len(os.fsencode(name)) <= _MAX_NAME else hashlib.sha256(os.fsencode(name)).hexdigest()
    return f".{own}{suffix}"


@contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Make a folder, with those that it lies in; of these, what is empty at the end is removed."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        for path in missing:
            with suppress(OSError):
                path.rmdir()


def is_locked(path: Path) -> bool:
    """Return whether a run is writing a result, as `lock_output` keeps others from doing."""
    with suppress(OSError, HybridSegError):
        lock = _open(f"{path.parent.absolute()}/{hide_name(path.name, LOCK_SUFFIX)}", create=False)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
    return False


@contextmanager
def own_partial(folder: Path, suffix: str = "") -> Iterator[Path]:
    """Yield a hidden path in a folder that nobody removes meanwhile; a file or folder that is left there is removed."""
    lock = None
    while lock is None:
        token = secrets.token_hex(8)
        place = f"{folder}/.{token}{LOCK_SUFFIX}"
        lock = _take(place, tries=1)
    partial = f"{folder}/.{token}.partial{suffix}"
    try:
        yield Path(partial)
    finally:
        _remove(partial)
        _give_back(lock, place)


def remove_leftovers(folder: Path, *, below: bool = False) -> None:
    """Remove the temporary files, folders and locks of killed runs from a folder, and with `below` from all in it."""
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, below and entry.is_dir(follow_symlinks=False)) for entry in entries]
    except OSError:
        return
    owners: dict[str, list[str]] = {}
    for name, is_folder in found:
        if match := _LOCK.fullmatch(name):
            owners.setdefault(match["name"], [])
        elif match := _PARTIAL.fullmatch(name):
            owners.setdefault(match["token"], []).append(f"{folder}/{name}")
        elif is_folder:
            remove_leftovers(folder / name, below=True)
    for owner, partials in owners.items():
        place = f"{folder}/.{owner}{LOCK_SUFFIX}"
        with suppress(OSError):
            lock = _take(place, tries=1, create=False)
            if lock is not None:
                for partial in partials:
                    _remove(partial)
                _give_back(lock, place)


def is_leftover(name: str) -> bool:
    """Return whether a file or folder is called like a temporary one, a lock, or what a killed run goes on with.

    Examples
    --------
    >>> [is_leftover(name) for name in (".0123456789abcdef.partial.png", ".tile_96.hybridseg.lock", ".me", "a.png")]
    [True, True, False, False]
    """
    is_kept = name.startswith(".") and name.endswith(KEPT_SUFFIX)
    return is_kept or bool(_PARTIAL.fullmatch(name) or _LOCK.fullmatch(name))


def is_in_leftover(path: Path) -> bool:
    """Return whether a path lies in a temporary folder."""
    return any(map(is_leftover, path.parts[:-1]))


def holds_files(folder: Path) -> bool:
    """Return whether there is anything in a folder but what killed runs have left."""
    return folder.is_dir() and not all(is_leftover(path.name) for path in folder.iterdir())


def is_full(folder: Path) -> bool:
    """Return whether a disk is full where a library failed to write, and does not say why."""
    return shutil.disk_usage(folder).free < _LITTLE


def explain_folder(folder: Path, error: OSError) -> WriteFailed:
    """Say why nothing can be written in a folder."""
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        file = next((path for path in (folder, *folder.parents) if path.is_file()), folder)
        return WriteFailed(f"cannot write in {folder}: {file} is a file; choose another folder")
    if error.errno in FULL:
        return DiskFull(f"cannot write in {folder}: {error.strerror}; free some space there")
    return WriteFailed(
        f"cannot write in {folder}: {error.strerror or error}; choose another folder, or fix its permissions"
    )


def _take(place: str, *, tries: int | None, create: bool = True) -> int | None:
    """Return the descriptor of a lock; None when someone else holds it at every one of so many tries.

    Where the file system has no locks it is nobody's, and so is one that is not there and not to be created.
    """
    for i in itertools.count(1):
        try:
            descriptor = _open(place, create=create)
        except FileNotFoundError:
            if not create:
                return _NOBODYS
            # As in /proc, where no file can be made.
            if i >= _MANY:
                raise
            # Whoever made the folder has removed it again: it had come to nothing.
            Path(place).parent.mkdir(parents=True, exist_ok=True)
            continue
        is_held = False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if tries is None else fcntl.LOCK_NB))
        except BlockingIOError:
            is_held = True
        except OSError as error:
            os.close(descriptor)
            if error.errno not in _NO_LOCKS:
                raise
            return _NOBODYS if create else None
        # Whoever had it before may have removed it since.
        if not is_held and _is_still(place, descriptor):
            return descriptor
        os.close(descriptor)
        if is_held:
            if tries is not None and i >= tries:
                break
            time.sleep(_PAUSE)
        elif i >= _MANY:
            # A file system on which no file is twice the same.
            return _NOBODYS if create else None
    return None


def _open(place: str, *, create: bool) -> int:
    """Open a lock, which is an empty file of ours: no link is followed, and nothing of others is ever written to."""
    flags = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(place, flags | os.O_RDWR | (os.O_CREAT if create else 0), 0o666)
    except PermissionError:
        # That of another user, in a shared folder.
        if not Path(place).exists():
            raise
        descriptor = os.open(place, flags | os.O_RDONLY)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise
        raise _refuse(place) from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size:
        os.close(descriptor)
        raise _refuse(place)
    return descriptor


def _refuse(place: str) -> WriteFailed:
    return WriteFailed(f"{place} is in the place of a lock of hybridseg and is none; move it away")


def _is_still(place: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.lstat(place), os.fstat(descriptor))
    except OSError:
        return False


def _give_back(lock: int, place: str) -> None:
    # Removed first: once it is closed it may be the lock of another.
    with suppress(OSError):
        Path(place).unlink()
    if lock >= 0:
        os.close(lock)


def _remove(path: str) -> None:
    try:
        Path(path).unlink()
    except IsADirectoryError:
        shutil.rmtree(path, ignore_errors=True)
    except OSError:
        pass
