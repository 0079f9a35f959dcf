"""Calls of a function on many files, in this process or in others: the caller writes one loop for both."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, as_completed
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from hybridseg.errors import BadInput
from hybridseg.progress import Item

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing.synchronize import Event

Result = TypeVar("Result")


def map_calls(
    function: Callable[[Item], Result], items: Sequence[Item], *, n_jobs: int
) -> Generator[Result, None, None]:
    """Yield what a function returns for each item, as soon as it is known, in any order.

    With several processes, function, items and results are pickled. Close the generator to drop calls that have not
    begun.
    """
    if n_jobs == 1:
        yield from map(function, items)
        return
    with open_pool(n_jobs) as pool:
        for future in as_completed([pool.submit(function, item) for item in items]):
            yield future.result()


class _Call(Future[Any]):
    """A call that is made when its result is asked for: there the caller shows its progress."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__()
        self._call = call

    def result(self, timeout: float | None = None) -> Any:
        if not self.done():
            try:
                self.set_result(self._call())
            except Exception as error:
                self.set_exception(error)
        return super().result(timeout)


class SerialPool:
    """An executor that calls each function in this process."""

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Return a future of the result or the error of a function."""
        return _Call(partial(function, *args))


@contextmanager
def open_pool(n_jobs: int) -> Iterator[SerialPool | ProcessPoolExecutor]:
    """Open a pool of `n_jobs` processes; with 1 the work is done in this one.

    When the caller is interrupted, calls that have not begun are dropped and the others are finished, so that no
    result is left half done.

    Raises
    ------
    BadInput
        When `n_jobs` is below 1, or a process could not start or was killed.
    """
    if n_jobs < 1:
        raise BadInput(f"the number of jobs is {n_jobs}; give 1 or more")
    if n_jobs == 1:
        yield SerialPool()
        return
    # Imported on use: one process needs none of it.
    import multiprocessing
    from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor

    # Not fork: a forked process that had threads or TensorFlow running can hang.
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    pool = ProcessPoolExecutor(n_jobs, mp_context=context, initializer=_start_worker, initargs=(started,))
    try:
        yield pool
    except BrokenProcessPool as error:
        if not started.is_set():
            # Each process imports the script of the caller, which must not start processes then.
            raise BadInput(
                'no process could start; in a script, put what calls this below `if __name__ == "__main__":`, or work '
                "in one process (--jobs 1)"
            ) from error
        raise BadInput(
            "a worker process was killed (out of memory, or a file that crashes its reader); "
            "run again with one process (--jobs 1) to see which file it was"
        ) from error
    finally:
        # A second Ctrl-C would leave the processes waiting for work, and this one for them.
        with _ignore_interrupts():
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _ignore_interrupts() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, earlier)


def _start_worker(started: Event) -> None:
    started.set()
    # Ctrl-C reaches every process of a terminal; the parent alone decides what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Exit when the parent is gone, even if it was killed."""
    import multiprocessing

    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
