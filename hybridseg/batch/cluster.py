"""A Dask cluster does the work: one that runs already, or one that is started on this machine."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from hybridseg.batch.workers import N_TRIES, check_jobs
from hybridseg.errors import BadInput, MissingInput, MissingPackage
from hybridseg.machine import count_cores
from hybridseg.progress import Item

if TYPE_CHECKING:
    from distributed import Client

Result = TypeVar("Result")

_CONNECT_SECONDS = 20
# They have levels of their own, and tell every step, also of errors that Dask deals with.
_LOGGERS = ("distributed", "distributed.client", "distributed.gc")


@dataclass(frozen=True)
class Cluster:
    """A running cluster; call it as `hybridseg.batch.workers.map_calls`.

    Parameters
    ----------
    n_workers : int
        That it has now; more may join.
    dashboard : str
        The address of the page that shows what it does; empty where it has none.
    """

    client: Client
    n_workers: int
    dashboard: str

    def __call__(
        self, function: Callable[[Item], Result], items: Sequence[Item], *, on_death: Callable[[Item], Result]
    ) -> Generator[Result, None, None]:
        """Yield what a function returns for each item, as soon as it is known.

        Raises
        ------
        BadInput
            When the scheduler is gone.
        """
        from concurrent.futures import CancelledError

        from distributed import KilledWorker, as_completed

        # Sent once; what is the same is computed again, since its results are files.
        futures = self.client.map(function, items, pure=False)
        calls = dict(zip((future.key for future in futures), items, strict=True))
        try:
            for future in as_completed(futures):
                item = calls[future.key]
                try:
                    result = future.result()
                except KilledWorker:
                    result = on_death(item)
                except CancelledError as error:
                    raise BadInput(
                        "the scheduler of the cluster is gone; start it, and give the same command again to continue"
                    ) from error
                # Otherwise the cluster keeps every result.
                future.release()
                yield result
        finally:
            self.client.cancel(futures)


@contextmanager
def open_cluster(
    *, n_jobs: int | None = None, scheduler: str | None = None, scheduler_file: Path | None = None
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

    Raises
    ------
    MissingPackage
        When dask is not installed.
    BadInput, MissingInput
        When the scheduler does not answer or has no workers, or there is no such file.
    """
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise MissingPackage(
            'a cluster needs dask, which is not installed; install it with `pip install "hybridseg[dask]"`'
        ) from error
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if scheduler or scheduler_file:
        if scheduler_file and not scheduler_file.is_file():
            raise MissingInput(f"there is no scheduler file {scheduler_file}; start `dask scheduler` with it")
        where = scheduler or str(scheduler_file)
        try:
            client = Client(scheduler, scheduler_file=scheduler_file and str(scheduler_file), timeout=_CONNECT_SECONDS)
        except (OSError, ValueError, TimeoutError) as error:
            raise BadInput(f"no scheduler answers at {where}; start one with `dask scheduler`") from error
        with client:
            n_workers = len(client.scheduler_info(n_workers=-1)["workers"])
            if not n_workers:
                raise BadInput(f"the scheduler at {where} has no workers; start some with `dask worker {where}`")
            yield Cluster(client, n_workers, client.dashboard_link)
        return
    n_workers = n_jobs or count_cores()
    check_jobs(n_workers)
    settings = {
        "distributed.scheduler.allowed-failures": N_TRIES - 1,
        # One image at a time, so that no other is blamed for the death of a worker.
        "distributed.scheduler.worker-saturation": 1.0,
        "distributed.nanny.pre-spawn-environ.OMP_NUM_THREADS": max(1, count_cores() // n_workers),
    }
    # A worker that takes much memory is not stopped for it: the images decide how much they need.
    memory = {f"distributed.worker.memory.{name}": False for name in ("target", "spill", "pause", "terminate")}
    with (
        dask.config.set({**settings, **memory}),
        LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as cluster,
        Client(cluster) as client,
    ):
        yield Cluster(client, n_workers, client.dashboard_link)
