"""Calls of a function on many files, in this process or in others: the caller writes one loop for both."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from hybridseg.errors import BadInput
from hybridseg.interrupts import on_interrupt, shield_children
from hybridseg.machine import count_cores
from hybridseg.progress import Item, say_if_slow

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing.context import SpawnContext, SpawnProcess
    from multiprocessing.synchronize import Event

Result = TypeVar("Result")

MOST_AHEAD = 16
"""How many calls with large arguments are prepared ahead, at most: one for each worker that is busy."""
N_TRIES = 3
"""How often a call is made whose process is killed."""
# Seconds between two looks at whether to stop.
_GLANCE = 0.1


def map_calls(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    n_jobs: int,
    prepare: Callable[[Item], Any] | None = None,
    on_death: Callable[[Item, str], Result] | None = None,
    on_late: Callable[[Result], object] | None = None,
    stop: threading.Event | None = None,
) -> Generator[Result, None, None]:
    """Yield what a function returns for each item, as soon as it is known, in any order.

    With several processes, function, items and results are pickled. Close the generator to drop calls that have not
    begun. So does Ctrl-C, which waits for the others; the second one kills them.

    Parameters
    ----------
    n_jobs : int
        Processes, which share the cores; 1 does the work in this one.
    prepare : callable or None
        Returns what the function takes for an item, while a process still works on the one before. None: the item
        itself, which waits until a process is free for it.
    on_death : callable or None
        Returns the result of an item whose process died each of `N_TRIES` times, given how it ended, in words; None:
        that ends everything.
    on_late : callable or None
        Takes the results of calls that had begun when the generator was closed or interrupted, and were finished.
    stop : threading.Event or None
        Once it is set, the processes are killed and nothing more is yielded.

    Raises
    ------
    BadInput
        When `n_jobs` is below 1, a process could not start or, without `on_death`, was killed.
    """
    if n_jobs == 1:
        yield from map(function, map(prepare, items) if prepare else items)
        return
    waiting = deque((item, 1) for item in items)
    running: dict[Future[Result], tuple[_Worker, Item, int]] = {}
    try:
        with _open_workers(n_jobs, len(items)) as workers:
            free = deque([*workers, *workers[:MOST_AHEAD]] if prepare else workers)
            while waiting or running:
                while waiting and free:
                    worker, (item, n_tries) = free.popleft(), waiting.popleft()
                    running[worker.submit(function, prepare(item) if prepare else item)] = worker, item, n_tries
                wait(running, timeout=None if stop is None else _GLANCE, return_when=FIRST_COMPLETED)
                if stop is not None and stop.is_set():
                    for worker in workers:
                        worker.kill()
                    return
                # In the order in which they were submitted: the first one of a worker is to blame for its death.
                for future in [future for future in running if future.done()]:
                    if future not in running:
                        continue
                    worker, item, n_tries = running.pop(future)
                    free.append(worker)
                    if not worker.has_died(future):
                        yield future.result()
                        continue
                    how = worker.replace(is_end=on_death is None)
                    # The one that waited behind it had not begun.
                    for other in [other for other, (own, *_) in running.items() if own is worker]:
                        _, behind, n_made = running.pop(other)
                        free.append(worker)
                        waiting.appendleft((behind, n_made))
                    if n_tries < N_TRIES:
                        waiting.appendleft((item, n_tries + 1))
                    elif on_death is not None:
                        yield on_death(item, how)
    finally:
        with on_interrupt(_keep_on):
            for future in running:
                if on_late is not None and not future.cancelled() and future.exception() is None:
                    on_late(future.result())


class Mapper(Protocol):
    """Calls a function for each item in processes or on a cluster, as `map_calls` does."""

    @property
    def n_workers(self) -> int:
        """How many calls are made at a time."""
        ...

    def __call__(
        self,
        function: Callable[[Any], Result],
        items: Sequence[Item],
        *,
        prepare: Callable[[Item], Any] = ...,
        on_death: Callable[[Item, str], Result],
        on_late: Callable[[Result], object],
    ) -> Generator[Result, None, None]:
        """Yield the results in any order."""
        ...


@dataclass(frozen=True)
class Processes:
    """Some processes of this machine; call them as `map_calls`."""

    n_workers: int

    def __call__(
        self, function: Callable[[Item], Result], items: Sequence[Item], **settings: Any
    ) -> Generator[Result, None, None]:
        """Yield what a function returns for each item, as soon as it is known."""
        return map_calls(function, items, n_jobs=self.n_workers, **settings)


class _Worker:
    """A process of its own for each of several workers: when it is killed, it is known by which item."""

    def __init__(self, n_threads: int) -> None:
        self._n_threads = n_threads
        self._has_started = False
        self._process: SpawnProcess | None = None
        self._start()

    def _start(self) -> None:
        # Imported on use: one process needs none of it.
        from multiprocessing.context import SpawnContext

        # Not fork: a forked process that had threads or TensorFlow running can hang.
        context = SpawnContext()
        # A pool does not say how its process ended.
        context.Process = self._make_process  # type: ignore[misc, assignment]
        self._started = context.Event()
        self._pool = _make_pool(1, context, self._started, self._n_threads)

    def _make_process(self, **settings: Any) -> SpawnProcess:
        from multiprocessing.context import SpawnProcess

        self._process = SpawnProcess(**settings)
        return self._process

    def submit(self, function: Callable[[Any], Result], item: Any) -> Future[Result]:
        try:
            future = self._pool.submit(function, item)
        except BrokenExecutor as error:
            # It has died since it was last looked at.
            future = Future()
            future.set_exception(error)
            return future
        # Else a process that is killed while it sends a result would be waited for forever: this one could send, too.
        self._pool._result_queue._writer.close()  # type: ignore[attr-defined]
        return future

    @staticmethod
    def has_died(future: Future[Any]) -> bool:
        return isinstance(future.exception(), BrokenExecutor)

    def replace(self, *, is_end: bool) -> str:
        """Start another process in the place of one that died, and return how that ended."""
        # One that is killed while it starts says nothing of those before it.
        self._has_started |= self._started.is_set()
        if is_end or not self._has_started:
            raise _explain_death(has_started=self._has_started)
        # Its exit code is known once the pool has ended.
        self.stop()
        how = describe_end(self._process.exitcode if self._process else None)
        self._start()
        return how

    def kill(self) -> None:
        if self._process is not None and self._process.pid:
            self._process.kill()

    def stop(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


def describe_end(exit_code: int | None) -> str:
    """Return in words how a process ended that was not to end.

    Examples
    --------
    >>> describe_end(-9), describe_end(-11), describe_end(3)
    ('was killed, probably because memory ran out', 'crashed (SIGSEGV)', 'ended with exit code 3')
    """
    if exit_code is None:
        return "ended"
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    if exit_code == -getattr(signal, "SIGKILL", 9):
        return "was killed, probably because memory ran out"
    name = signal.Signals(-exit_code).name if -exit_code in set(signal.Signals) else f"signal {-exit_code}"
    return f"was told to end ({name})" if name in ("SIGTERM", "SIGHUP", "SIGINT") else f"crashed ({name})"


@contextmanager
def _open_workers(n_jobs: int, n_items: int) -> Iterator[list[_Worker]]:
    check_jobs(n_jobs)
    workers = [_Worker(max(1, count_cores() // n_jobs)) for _ in range(min(n_jobs, n_items))]

    def kill() -> None:
        for worker in workers:
            worker.kill()

    try:
        yield workers
    finally:
        # An exception would leave the processes waiting for work, and this one for them.
        with finishing(), on_interrupt(kill):
            for worker in workers:
                worker.stop()


def finishing() -> AbstractContextManager[None]:
    """Say what is waited for, if it takes long, where Ctrl-C was pressed."""
    is_asked = isinstance(sys.exc_info()[1], KeyboardInterrupt | GeneratorExit)
    text = "finishing what is under way; press Ctrl-C again to stop at once"
    return say_if_slow(text) if is_asked else nullcontext()


def check_jobs(n_jobs: int) -> None:
    """Raise BadInput for a number of processes below 1."""
    if n_jobs < 1:
        raise BadInput(f"the number of jobs is {n_jobs}; give 1 or more")


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
    check_jobs(n_jobs)
    if n_jobs == 1:
        yield SerialPool()
        return
    # Imported on use: one process needs none of it.
    import multiprocessing
    from concurrent.futures.process import BrokenProcessPool

    # Not fork: a forked process that had threads or TensorFlow running can hang.
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    pool = _make_pool(n_jobs, context, started)
    try:
        yield pool
    except BrokenProcessPool as error:
        raise _explain_death(has_started=started.is_set()) from error
    finally:
        # A second Ctrl-C would leave the processes waiting for work, and this one for them.
        with on_interrupt(_keep_on):
            pool.shutdown(wait=True, cancel_futures=True)


def _keep_on() -> None:
    """Answer Ctrl-C by nothing."""


def _make_pool(n_jobs: int, context: SpawnContext, *start: Any) -> ProcessPoolExecutor:
    """Return a pool whose processes, which start when they are needed, never hear Ctrl-C."""
    from concurrent.futures import ProcessPoolExecutor

    class Pool(ProcessPoolExecutor):
        def submit(self, *args: Any, **settings: Any) -> Future[Any]:
            with shield_children():
                return super().submit(*args, **settings)

    return Pool(n_jobs, mp_context=context, initializer=_start_worker, initargs=start)


def _explain_death(*, has_started: bool) -> BadInput:
    if not has_started:
        # Each process imports the script of the caller, which must not start processes then.
        return BadInput(
            'no process could start; in a script, put what calls this below `if __name__ == "__main__":`, or work '
            "in one process (--jobs 1)"
        )
    return BadInput(
        "a worker process was killed (out of memory, or a file that crashes its reader); "
        "run again with one process (--jobs 1) to see which file it was"
    )


def _start_worker(started: Event, n_threads: int | None = None) -> None:
    started.set()
    if n_threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(n_threads)
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
