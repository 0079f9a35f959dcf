"""A Dask cluster does the work: one that runs already, or one that is started on this machine."""

from __future__ import annotations

import logging
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hybridseg.batch.sending import Parcel
from hybridseg.batch.workers import MOST_AHEAD, N_TRIES, check_jobs, describe_end, finishing
from hybridseg.errors import BadInput, MissingInput, MissingPackage
from hybridseg.interrupts import hold_interrupts, shield_children
from hybridseg.io.jsonfiles import read_json_object
from hybridseg.machine import count_cores
from hybridseg.progress import Item

if TYPE_CHECKING:
    from distributed import Client, Future

Result = TypeVar("Result")

_CONNECT_SECONDS = 20
# Of a scheduler. How often a call is made that loses its worker is counted here, for Dask blames all that wait on a
# worker for its death; and one call at a time goes to a worker, so that few do.
_ALLOWED_FAILURES, _WORKER_SATURATION = 0, 1.0
# They have levels of their own, and tell every step, also of errors that Dask deals with.
_LOGGERS = ("distributed", "distributed.client", "distributed.gc")
# A nanny watches over each worker. It keeps its log, which says how the worker ended.
_NANNY_LOGGER = "distributed.nanny"
_LOG_LINES, _LOG_SECONDS = 100, 10.0


@dataclass(frozen=True)
class Cluster:
    """A running cluster; call it as `hybridseg.batch.workers.map_calls`.

    Parameters
    ----------
    n_workers : int
        That it has now; more may join.
    dashboard : str
        The address of the page that shows what it does; empty where it has none.
    resource : str
        What each call takes one of, such as ``GPU``, if any worker says that it has it; empty: nothing.
    """

    client: Client
    n_workers: int
    dashboard: str
    resource: str = ""

    @property
    def n_with_resource(self) -> int:
        """How many workers have the resource."""
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        return sum(worker.get("resources", {}).get(self.resource, 0) >= 1 for worker in workers)

    @property
    def n_per_machine(self) -> int:
        """How many workers share the memory of a machine, at the most."""
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        return max(Counter(worker["host"] for worker in workers).values(), default=1)

    def _count_wanted(self, *, is_ahead: bool, is_shared: bool) -> int:
        """Return how many calls to hand over at a time, so that no worker waits and nothing piles up."""
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        n_places = [int(worker.get("resources", {}).get(self.resource, 0)) if is_shared else 1 for worker in workers]
        n_wanted = max(sum(n_places), 1)
        return n_wanted + is_ahead * min(n_wanted, MOST_AHEAD)

    def send_models(self, model_paths: Sequence[Path]) -> str:
        """Send models to all workers, also to those that join later, and return the hash under which they keep them.

        Raises
        ------
        WriteFailed, BadInput
            As `hybridseg.batch.sending.Parcel.unpack`.
        """
        from distributed import WorkerPlugin

        parcel = Parcel.pack(model_paths)

        class Receiver(WorkerPlugin):
            """Keeps them on the machine of a worker."""

            def setup(self, worker: object) -> None:
                parcel.unpack()

        self.client.register_plugin(Receiver(), name=f"hybridseg-{parcel.sha256}")
        return parcel.sha256

    def _find_end(self, worker: Any) -> str:
        """Return in words how a worker ended, by what the nanny that watched over it has logged."""
        end = time.monotonic() + _LOG_SECONDS
        while worker.nanny is not None and time.monotonic() < end:
            with suppress(OSError):  # A machine that is gone.
                # By the addresses of the workers: the one that takes the place of the dead is on the same machine.
                logs = self.client.get_worker_logs(n=_LOG_LINES, nanny=True)
                here = [lines for address, lines in logs.items() if _find_host(address) == _find_host(worker.address)]
                if how := explain_end(worker.pid, [text for lines in here for _, text in lines]):
                    return how
            time.sleep(0.5)
        return "ended (the log of the worker says more)"

    def __call__(
        self,
        function: Callable[[Any], Result],
        items: Sequence[Item],
        *,
        prepare: Callable[[Item], Any] | None = None,
        on_death: Callable[[Item, str], Result],
        on_late: Callable[[Result], object],
    ) -> Generator[Result, None, None]:
        """Yield what a function returns for each item, as soon as it is known.

        An item whose worker dies is tried `N_TRIES` times, the last time while no other is: it alone is to blame then.

        Parameters
        ----------
        prepare : callable or None
            Returns what the function takes for an item, soon before a worker is free for it. None: the item.

        Raises
        ------
        BadInput
            When the scheduler is gone.
        """
        from concurrent.futures import CancelledError

        from distributed import KilledWorker, as_completed

        # Sent once; what is the same is computed again, since its results are files.
        share = {self.resource: 1} if self.resource and self.n_with_resource else None
        calls: dict[Future, tuple[Item, int]] = {}
        waiting = deque((item, 1) for item in items)
        suspects: deque[tuple[Item, int]] = deque()

        def hand_over() -> list[Future]:
            if suspects and (prepare or not waiting):
                chosen = [] if calls else [suspects.popleft()]
            else:
                # All that take a resource would be given to workers at once, and suffer from the first that ends one.
                few = self._count_wanted(is_ahead=bool(prepare), is_shared=bool(share)) if prepare or share else None
                n = len(waiting) if few is None else min(few - len(calls), len(waiting))
                chosen = [waiting.popleft() for _ in range(n)]
            if not chosen:
                return []
            given = [prepare(item) if prepare else item for item, _ in chosen]
            futures = self.client.map(function, given, pure=False, resources=share)
            calls.update(zip(futures, chosen, strict=True))
            return list(futures)

        try:
            done = as_completed(hand_over())
            for future in done:
                item, n_tries = calls[future]
                results: list[Result] = []
                try:
                    results.append(future.result())
                except KilledWorker as error:
                    if n_tries == N_TRIES:
                        results.append(on_death(item, self._find_end(error.last_worker)))
                    elif n_tries == N_TRIES - 1:
                        suspects.append((item, N_TRIES))
                    else:
                        waiting.appendleft((item, n_tries + 1))
                except CancelledError as error:
                    raise BadInput(
                        "the scheduler of the cluster is gone; start it, and give the same command again to continue"
                    ) from error
                # Otherwise the cluster keeps every result.
                future.release()
                del calls[future]
                # Workers join, and leave.
                done.update(hand_over())
                yield from results
        finally:
            self._finish(list(calls), on_late)

    def _finish(self, futures: Sequence[Future], on_late: Callable[[Result], object]) -> None:
        """Drop calls that have not begun, wait for the others, and hand over their results."""
        from distributed import wait

        if not futures or self.client.status != "running":
            return
        begun = {key for keys in self.client.processing().values() for key in keys}
        kept = [future for future in futures if future.key in begun or future.done()]
        self.client.cancel([future for future in futures if future not in kept])
        with finishing():
            wait(kept)
        for future in kept:
            if future.status == "finished":
                on_late(future.result())


def _find_host(address: str) -> str:
    return address.rpartition(":")[0]


def explain_end(pid: int, logged: Sequence[str]) -> str:
    """Return in words how a worker ended, by what its nanny has logged; empty where it says nothing of it.

    Examples
    --------
    >>> explain_end(7, ["distributed.nanny - INFO - Worker process 7 was killed by signal 9"])
    'was killed, probably because memory ran out'
    >>> explain_end(7, ["Worker tcp://a:1 (pid=7) exceeded 95% memory budget. Restarting..."])
    'was ended by Dask, because it took more than 95% of its memory (--memory-limit)'
    >>> explain_end(8, ["Worker process 7 was killed by signal 9"])
    ''
    """
    for line in logged:
        if found := re.search(rf"\(pid={pid}\) exceeded (\d+%) memory budget", line):
            return f"was ended by Dask, because it took more than {found[1]} of its memory (--memory-limit)"
    for line in logged:
        if found := re.search(rf"Worker process {pid} (?:was killed by signal|exited with status) (\d+)", line):
            return describe_end(-int(found[1]) if "signal" in found[0] else int(found[1]))
    return ""


@contextmanager
def _quiet_dask() -> Iterator[None]:
    """Keep from people what Dask tells of every step, unless they want to know of ours, too."""
    theirs, nanny = [logging.getLogger(name) for name in _LOGGERS], logging.getLogger(_NANNY_LOGGER)
    levels, is_told = [(logger, logger.level) for logger in (*theirs, nanny)], nanny.propagate
    if not logging.getLogger("hybridseg").isEnabledFor(logging.DEBUG):
        for logger in theirs:
            logger.setLevel(logging.CRITICAL)
        nanny.propagate = False
    nanny.setLevel(logging.INFO)
    try:
        yield
    finally:
        nanny.propagate = is_told
        for logger, level in levels:
            logger.setLevel(level)


@contextmanager
def _steering(client: Client) -> Iterator[None]:
    """Use our settings on a running scheduler, and restore its own at the end."""

    # Pickled by value: the scheduler may not have this package installed.
    def steer(dask_scheduler: Any, failures: int, saturation: float) -> tuple[int, float]:
        before = dask_scheduler.allowed_failures, dask_scheduler.WORKER_SATURATION
        dask_scheduler.allowed_failures, dask_scheduler.WORKER_SATURATION = failures, saturation
        for worker in dask_scheduler.workers.values():
            dask_scheduler.check_idle_saturated(worker)
        return before

    before = None
    # A scheduler that refuses works too; it only retries more often what ends its worker.
    with suppress(Exception):
        before = client.run_on_scheduler(steer, failures=_ALLOWED_FAILURES, saturation=_WORKER_SATURATION)
    try:
        yield
    finally:
        if before and client.status == "running":
            with suppress(Exception):
                client.run_on_scheduler(steer, failures=before[0], saturation=before[1])


@contextmanager
def open_cluster(
    *,
    n_jobs: int | None = None,
    scheduler: str | None = None,
    scheduler_file: Path | None = None,
    resource: str = "",
) -> Iterator[Cluster]:
    """Join the cluster of a scheduler, or start one on this machine.

    Parameters
    ----------
    n_jobs : int or None
        Workers that are started, which share the cores; None: one for each core.
    scheduler : str or None
        The address of a running scheduler, ``tcp://host:8786``.
    scheduler_file : pathlib.Path or None
        The file in which a running scheduler says its address.
    resource : str
        See `Cluster`.

    Raises
    ------
    MissingPackage
        When dask is not installed.
    BadInput, MissingInput
        When the scheduler does not answer or has no workers, or there is no such file.
    """
    try:
        import dask
        import distributed  # noqa: F401
    except ImportError as error:
        raise MissingPackage(
            'a cluster needs dask, which is not installed; install it with `pip install "hybridseg[dask]"`'
        ) from error
    if scheduler or scheduler_file:
        opened = _join_cluster(scheduler, scheduler_file)
    else:
        opened = _start_cluster(n_jobs or count_cores())
    # Dask warns of large arguments, and parts of an image are large on purpose.
    large = {"distributed.admin.large-graph-warning-threshold": "1GB"}
    with dask.config.set(large), _quiet_dask(), opened as (client, n_workers):
        yield Cluster(client, n_workers, client.dashboard_link, resource)


@contextmanager
def _join_cluster(scheduler: str | None, scheduler_file: Path | None) -> Iterator[tuple[Client, int]]:
    """Yield a client of a running scheduler, and the number of its workers."""
    from distributed import Client

    if scheduler_file:
        _check_scheduler_file(scheduler_file)
    where = scheduler or str(scheduler_file)
    try:
        client = Client(scheduler, scheduler_file=scheduler_file and str(scheduler_file), timeout=_CONNECT_SECONDS)
    except (OSError, ValueError, TimeoutError) as error:
        raise BadInput(f"no scheduler answers at {where}; start one with `dask scheduler`") from error
    with client:
        n_workers = len(client.scheduler_info(n_workers=-1)["workers"])
        if not n_workers:
            how = f"--scheduler-file {where}" if scheduler_file else where
            raise BadInput(f"the scheduler at {where} has no workers; start some with `dask worker {how}`")
        with _steering(client):
            yield client, n_workers


@contextmanager
def _start_cluster(n_workers: int) -> Iterator[tuple[Client, int]]:
    """Yield a client of a cluster on this machine, and the number of its workers, which end with it."""
    import dask
    from distributed import Client, LocalCluster

    check_jobs(n_workers)
    settings = {
        "distributed.scheduler.allowed-failures": _ALLOWED_FAILURES,
        # It interrupts the work a hundred times a second, for a page of the dashboard that shows functions of Python.
        "distributed.worker.profile.enabled": False,
        "distributed.scheduler.worker-saturation": _WORKER_SATURATION,
        # Ctrl-C reaches every process of a terminal; the driver alone decides what to do.
        "distributed.worker.preload": ["import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"],
        "distributed.nanny.pre-spawn-environ.OMP_NUM_THREADS": max(1, count_cores() // n_workers),
    }
    # A worker that takes much memory is not stopped for it: the images decide how much they need.
    memory = {f"distributed.worker.memory.{name}": False for name in ("target", "spill", "pause", "terminate")}
    with dask.config.set({**settings, **memory}), ExitStack() as stack:
        with hold_interrupts(), shield_children():
            started = LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=":0", silence_logs=50)
            client = stack.enter_context(Client(stack.enter_context(started)))
        yield client, n_workers


def _check_scheduler_file(path: Path) -> None:
    if not path.exists():
        raise MissingInput(f"there is no scheduler file {path}; start `dask scheduler` with it")
    if not isinstance(read_json_object(path).get("address"), str):
        raise BadInput(f"{path} names no address of a scheduler; give the file that `dask scheduler` was started with")
