"""The parts of one image, which all workers share: windows of a network, or some tiles each.

The process that was started reads the image, hands out one part after the other, joins what comes back and writes the
result, so that a worker needs neither the image nor the folder of the results. What was found is kept on disk until
the image is done: a run that was killed goes on with the parts that are missing.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hybridseg.batch.workers import N_TRIES, Mapper
from hybridseg.errors import BadInput, HybridSegError, MissingInput, WriteFailed
from hybridseg.io.arrays import read_arrays
from hybridseg.io.atomic import atomic_path
from hybridseg.io.locks import KEPT_SUFFIX, explain_folder, hide_name

Function = Callable[[Any, Any], np.ndarray]
"""Takes the loaded models and a part of an image."""
Strip = tuple[int, np.ndarray]
"""Some rows of a result, after the first of them."""

_ALL = "all"
_OURS = re.compile(r"[0-9a-f]{64}\.key|[a-z]+\d*-\d+\.npz|\.[0-9a-f]{16}\.(partial\.npz|hybridseg\.lock)")


class Work(Protocol):
    """Works on the parts of an image, somewhere."""

    def compute(
        self, function: Function, cut: Callable[[int], Any], parts: range, *, name: str = "windows"
    ) -> Iterator[np.ndarray]:
        """Yield what a function returns for each part, in order.

        Parameters
        ----------
        cut : callable
            Returns the part of a number, once it is needed.
        name : str
            What such parts are called.
        """
        ...

    def join(self, make: Callable[[int], Iterator[Strip]], *, find_first: Callable[[int], int]) -> Iterator[Strip]:
        """Yield the strips of a result, which are made of windows.

        Parameters
        ----------
        make : callable
            Returns the strips that follow so many others.
        find_first : callable
            Returns the first window that is needed for what follows so many strips.
        """
        ...


class Here:
    """Works in this process: while one part is used, and the next is cut, another thread goes on."""

    def __init__(self, models: Any) -> None:
        self._models = models

    def compute(
        self, function: Function, cut: Callable[[int], Any], parts: range, *, name: str = ""
    ) -> Iterator[np.ndarray]:
        """Yield what a function returns for each part."""
        with ThreadPoolExecutor(1) as pool:
            current = pool.submit(function, self._models, cut(parts[0]))
            for i in parts[1:]:
                done, current = current, pool.submit(function, self._models, cut(i))
                yield done.result()
            yield current.result()

    def join(self, make: Callable[[int], Iterator[Strip]], *, find_first: Callable[[int], int]) -> Iterator[Strip]:
        """Yield the strips."""
        return make(0)


class EngineFailed(HybridSegError):
    """What does the work has failed, whatever the image."""


@contextmanager
def sharing(load: Callable[[], Any], mapper: Mapper, target: Path, key: str, *, image: str) -> Iterator[Work]:
    """Yield what lets all workers compute the parts of an image; what they find is kept until `drop_parts`.

    Parameters
    ----------
    load : callable
        Returns the models, in any process.
    target : pathlib.Path
        The first result of the image, which nobody else writes meanwhile.
    key : str
        Of all that the parts depend on: what was kept under another one is dropped.
    image : str
        By what `list_parts` finds them.

    Raises
    ------
    EngineFailed
        When no worker is left, none could start, or one could not load the models.
    WriteFailed
        When nothing can be kept.
    """
    with ExitStack() as stack:
        yield _Shared(load, mapper, _Kept(target, key, image), stack)


def measure_parts(target: Path) -> int:
    """Return how many bytes of the parts of an image are kept already."""
    try:
        return sum(path.stat().st_size for path in _place(target).iterdir())
    except OSError:
        return 0


def list_parts(folder: Path) -> dict[str, list[Path]]:
    """Return, for each image, the hidden folders in another one in which parts of it are kept."""
    found = defaultdict(list)
    for mark in folder.glob(f".*{KEPT_SUFFIX}/*.key"):
        with suppress(OSError):
            if _OURS.fullmatch(mark.name) and mark.is_file():
                found[os.fsdecode(mark.read_bytes())].append(mark.parent)
    return found


def drop_parts(target: Path) -> None:
    """Remove what was kept of the parts of an image, and nothing else."""
    drop_kept(_place(target))


def drop_kept(folder: Path) -> None:
    """Remove the same by its hidden folder."""
    if folder.is_symlink() or not folder.is_dir():
        return
    with suppress(OSError):
        # The key first: the others are worth nothing without it.
        for path in sorted(folder.iterdir(), key=lambda path: path.suffix != ".key"):
            if _OURS.fullmatch(path.name):
                path.unlink()
        folder.rmdir()


class _Shared:
    """Lets the workers of a mapper compute."""

    def __init__(self, load: Callable[[], Any], mapper: Mapper, kept: _Kept, stack: ExitStack) -> None:
        self._load, self._mapper, self._kept, self._stack = load, mapper, kept, stack

    def compute(
        self, function: Function, cut: Callable[[int], Any], parts: range, *, name: str = "windows"
    ) -> Iterator[np.ndarray]:
        mine: list[BaseException] = []

        def prepare(i: int) -> tuple[int, Any]:
            try:
                return i, cut(i)
            except Exception as error:
                mine.append(error)
                raise

        def keep(result: tuple[int, np.ndarray | Exception]) -> None:
            number, probs = result
            if isinstance(probs, np.ndarray):
                self._kept.write(name, number, probs)

        left = dict.fromkeys(i for i in parts if not self._kept.has(name, i))
        calls = self._mapper(
            partial(_compute_part, self._load, function), list(left), prepare=prepare, on_death=_report_death,
            on_late=keep,
        )  # fmt: skip
        self._stack.enter_context(closing(calls))
        for i in parts:
            found: np.ndarray | None = None
            while i in left:
                try:
                    number, result = next(calls)
                except HybridSegError as error:
                    if error in mine:
                        raise
                    raise EngineFailed(str(error)) from error
                if isinstance(result, Exception):
                    raise result
                found = result
                self._kept.write(name, number, found)
                del left[number]
            # The result of this part came last, or it is read from disk; a damaged one is computed again, here.
            found = self._kept.read(name, i) if found is None else found
            yield function(self._load(), cut(i)) if found is None else found

    def join(self, make: Callable[[int], Iterator[Strip]], *, find_first: Callable[[int], int]) -> Iterator[Strip]:
        n_rows = n_done = 0
        while (strip := self._kept.read("strips", n_done)) is not None:
            yield n_rows, strip
            n_rows, n_done = n_rows + len(strip), n_done + 1
        for n, found in enumerate(make(n_done), n_done + 1):
            self._kept.write("strips", n - 1, found[1])
            self._kept.drop("windows", find_first(n))
            yield found


class _Kept:
    """Arrays in a hidden folder beside a result."""

    def __init__(self, target: Path, key: str, image: str) -> None:
        self._folder = _place(target)
        if self._folder.is_symlink():
            raise WriteFailed(f"{self._folder} is a link where hybridseg keeps a folder of its own; move it away")
        mark = self._folder / f"{key}.key"
        if not mark.is_file():
            drop_parts(target)
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                mark.write_bytes(os.fsencode(image))
            except OSError as error:
                raise explain_folder(self._folder, error) from error
        self._n_dropped = 0

    def _find(self, name: str, i: int) -> Path:
        return self._folder / f"{name}-{i}.npz"

    def has(self, name: str, i: int) -> bool:
        return self._find(name, i).is_file()

    def write(self, name: str, i: int, values: np.ndarray) -> None:
        # A dead machine may leave half of it under its name: it has a checksum.
        fields: dict[str, Any] = {field: values[field] for field in values.dtype.names or ()} or {_ALL: values}
        with atomic_path(self._find(name, i), durable=False) as temporary:
            np.savez(temporary, **fields)

    def read(self, name: str, i: int) -> np.ndarray | None:
        """Return an array; None where it is not there, or damaged."""
        try:
            fields = read_arrays(self._find(name, i))
        except (MissingInput, BadInput):
            return None
        if _ALL in fields:
            return fields[_ALL]
        values = np.empty(next(iter(fields.values())).shape, [(field, part.dtype) for field, part in fields.items()])
        for field, part in fields.items():
            values[field] = part
        return values

    def drop(self, name: str, end: int) -> None:
        """Remove those below a number."""
        for i in range(self._n_dropped, end):
            self._find(name, i).unlink(missing_ok=True)
        self._n_dropped = max(self._n_dropped, end)


def _compute_part(load: Callable[[], Any], function: Function, part: tuple[int, Any]) -> tuple[int, Any]:
    """Return what a part gives with its number, or what is wrong with it, in whatever process this runs."""
    models = load()
    try:
        return part[0], function(models, part[1])
    except (HybridSegError, MemoryError) as error:
        return part[0], error


def _report_death(i: int, how: str) -> tuple[int, Exception]:
    text = f"the process that worked on a part of it {how}, {N_TRIES} times"
    return i, BadInput(f"{text}; give fewer --jobs, or work on it in one process to see why")


def _place(target: Path) -> Path:
    return target.parent / hide_name(target.name, KEPT_SUFFIX)
