"""A pool of processes for work on many files, or none at all: the caller writes one loop for both."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from hybridseg.errors import BadInput


class SerialPool:
    """Does the work at once, in this process."""

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Call the function; its result or its error is in the future."""
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def open_pool(n_jobs: int) -> Iterator[SerialPool | ProcessPoolExecutor]:
    """Open a pool of `n_jobs` processes; with 1 the work is done in this one.

    When the caller is interrupted, work that has not begun is dropped, and work that has is finished: nothing
    is torn.
    """
    if n_jobs < 1:
        raise BadInput(f"the number of jobs is {n_jobs}; give 1 or more")
    if n_jobs == 1:
        yield SerialPool()
        return
    # A fresh process for each worker: forking one that has threads or TensorFlow can hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(n_jobs, mp_context=context, initializer=_start_worker)
    try:
        yield pool
    except BrokenProcessPool as error:
        raise BadInput(
            "a process was ended from outside while it worked (too little memory, or a file that no reader survives); "
            "run again with --jobs 1 to see at which file"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    # Ctrl-C reaches every process of a terminal; only the first one decides what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Leave when the first process is gone, however it went: it may have been killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
