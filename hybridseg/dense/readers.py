"""Processes that read a database and make batches of it in shared memory, ahead of the network.

The process that trains only takes the batch that is there. Batches come in the order of their numbers and depend on
nothing else, however many readers there are.
"""

from __future__ import annotations

import logging
import math
import mmap
import multiprocessing
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path
from typing import Any, Self

import numpy as np

from hybridseg.dense.feed import Feed
from hybridseg.dense.lmdbpairs import BatchMaker
from hybridseg.dense.machines import Share
from hybridseg.dense.replicas import list_devices
from hybridseg.errors import BadInput, HybridSegError
from hybridseg.interrupts import shield_children
from hybridseg.markup import count_of
from hybridseg.options import Span, check_options, option
from hybridseg.progress import say

logger = logging.getLogger(__name__)

STARVED, FED = "Input Queue Starvation !!!!", "Input Queue Starvation Over"
# Batches that each reader makes ahead.
_AHEAD = 2
_SHARED_DIR = Path("/dev/shm")  # nosec B108 # what is made there never has a name
_SECONDS_TO_END = 5.0


@dataclass(frozen=True)
class ReaderOptions:
    """How a training reads its database."""

    test_every_n_steps: int = option(1000, "Training steps between two tests: an epoch.", span=Span(1))
    balance_classes: bool = option(
        False, "Draw a class first, each as often, then an image that has it; 0 shows every image as often."
    )
    reader_count: int = option(1, "Processes that read and augment images, for each graphics card.", span=Span(1, 256))

    def __post_init__(self) -> None:
        check_options(self)


class Readers:
    """A queue of batches that processes fill; after `close` no process and no memory of it is left.

    Parameters
    ----------
    first : int
        Number of the first batch.

    Raises
    ------
    BadInput
        When there is too little shared memory, or a process could not start.
    """

    def __init__(self, maker: BatchMaker, n_readers: int, *, first: int) -> None:
        self.first = self.next = self._asked = first
        self.starved_steps = self.times_starved = 0
        self._is_starved = self._has_begun = self._are_there = False
        self._done: dict[int, int] = {}
        self._free = list(range(_AHEAD * n_readers + 1))
        self._busy: dict[Connection, int] = {}
        self._processes: dict[Connection, BaseProcess] = {}
        shape = (len(self._free), len(maker.own), *maker.pairs.size, maker.pairs.n_bands)
        with _share(_count_bytes(shape)) as memory:
            self._images, self._labels = _lay_out(memory, shape)
            try:
                for _ in range(n_readers):
                    self._start(maker, memory, shape)
                for connection in self._processes:
                    self._receive(connection)
            except BaseException:
                self.close()
                raise
        self._are_there = True

    def get(self) -> tuple[Any, Any]:
        """Return the next batch, images and labels, as arrays of their own.

        Raises
        ------
        BadInput, MissingInput
            When a record cannot be read, or a reader was killed.
        """
        self._ask()
        while ready := wait(self._busy_connections(), timeout=0):
            self._take(ready)
        self._judge()
        while self.next not in self._done:
            self._take(wait(self._busy_connections()))
        self._has_begun = True
        slot = self._done.pop(self.next)
        images, labels = self._images[slot].copy(), self._labels[slot].copy()
        self.next += 1
        self._free.append(slot)
        self._ask()
        return images, labels

    def close(self) -> None:
        """End the processes and give the memory back."""
        for connection in self._processes:
            connection.close()
        for process in self._processes.values():
            # It ends by itself after the batch that it makes, since nobody asks for more.
            process.join(_SECONDS_TO_END)
            if process.is_alive():
                process.kill()
                process.join()
        self._processes, self._busy = {}, {}
        self._images = self._labels = np.empty(0)

    def __enter__(self) -> Self:
        """Enter a context at whose end it is closed."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _start(self, maker: BatchMaker, memory: int, shape: tuple[int, ...]) -> None:
        # Not fork: a forked process that had TensorFlow running can hang.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, maker, shape), daemon=True)
        with shield_children():
            process.start()
        theirs.close()
        self._processes[ours], self._busy[ours] = process, 0
        send_handle(ours, memory, process.pid)

    def _ask(self) -> None:
        """Ask for batches as far as there is room for them, each of the reader that has least to do."""
        while self._free:
            connection = min(self._busy, key=lambda one: self._busy[one])
            slot = self._free.pop()
            try:
                connection.send((self._asked, slot))
            except OSError as error:
                raise self._explain_end(connection) from error
            self._busy[connection] += 1
            self._asked += 1

    def _busy_connections(self) -> list[Connection]:
        return [connection for connection, n in self._busy.items() if n]

    def _take(self, ready: list[Any]) -> None:
        for connection in ready:
            number, slot, error = self._receive(connection)
            self._busy[connection] -= 1
            if error is not None:
                raise error
            self._done[number] = slot

    def _receive(self, connection: Connection) -> Any:
        try:
            return connection.recv()
        except (EOFError, OSError) as error:
            raise self._explain_end(connection) from error

    def _explain_end(self, connection: Connection) -> BadInput:
        process = self._processes[connection]
        process.join(_SECONDS_TO_END)
        if not self._are_there and process.exitcode == 1:
            return BadInput('a reader could not start; in a script, put what trains below `if __name__ == "__main__":`')
        return BadInput(
            f"a reader was killed (exit code {process.exitcode}), perhaps for want of memory; --resume goes on after "
            "the last test, with a smaller --reader_count or --batch_size"
        )

    def _judge(self) -> None:
        """Note, and say once, when the next batch is not there, and when half of the queue is full again."""
        is_there = self.next in self._done
        # The first batch is never there in advance: no step could have hidden it.
        if not is_there and self._has_begun:
            self.starved_steps += 1
            if not self._is_starved:
                self._is_starved = True
                self.times_starved += 1
                logger.warning(STARVED)
        elif self._is_starved and 2 * len(self._done) >= len(self._images) - 1:
            self._is_starved = False
            logger.warning(FED)


class ReaderFeed(Feed):
    """Batches that readers make, while it is `reading`; otherwise this process makes the same ones.

    An epoch is a fixed number of steps.
    """

    def __init__(self, maker: BatchMaker, options: ReaderOptions) -> None:
        pairs = maker.pairs
        super().__init__(
            pairs, range(len(pairs.sources)), batch_size=maker.batch_size, normalization=maker.normalization,
            seed=maker.seed,
        )  # fmt: skip
        self._maker, self._options, self._is_reading = maker, options, False
        self._readers: Readers | None = None

    @property
    def n_samples(self) -> int:
        """Images in an epoch."""
        return self._options.test_every_n_steps * self.batch_size

    @property
    def dtype(self) -> np.dtype:
        """Type of the images that are read: they are normalized."""
        return np.dtype(np.float32)

    def for_share(self, share: Share) -> Feed:
        """Return the same feed for one of several workers, whose readers make its share of every batch."""
        own = super().for_share(share)
        assert isinstance(own, ReaderFeed)
        own._maker = replace(self._maker, share=share)
        return own

    def _list_samples(self, epoch: int) -> list[int]:
        """Return the records of the batches of an epoch."""
        steps = range(epoch * self.n_steps, (epoch + 1) * self.n_steps)
        return [record for step in steps for record in self._maker.choose(step)]

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Let readers make the batches of the steps that follow one another."""
        self._is_reading = True
        try:
            yield
        finally:
            self._is_reading = False
            readers, self._readers = self._readers, None
            if readers is not None:
                readers.close()
                times = "once" if readers.times_starved == 1 else f"{readers.times_starved} times"
                say(
                    f"input queue: starved {times}, in {readers.starved_steps} of "
                    f"{count_of(readers.next - readers.first, 'step')}"
                )

    def batches(self, *, first_epoch: int = 0, n_epochs: int = 1) -> Iterator[tuple[Any, Any]]:
        """Yield the batches of some epochs."""
        first = first_epoch * self.n_steps
        if self._is_reading and self._readers is None:
            n_readers = self._options.reader_count * max(len(list_devices()), 1)
            self._readers = Readers(self._maker, n_readers, first=first)
        if self._readers is None or self._readers.next != first:
            # Those of another time, as for a picture.
            yield from super().batches(first_epoch=first_epoch, n_epochs=n_epochs)
            return
        import tensorflow as tf

        for _ in range(n_epochs * self.n_steps):
            images, labels = self._readers.get()
            yield tf.convert_to_tensor(images), tf.convert_to_tensor(labels)

    def _read_batch(self, step: np.int64) -> tuple[np.ndarray, ...]:
        own = self._maker.own
        shape = (1, len(own), *self.pairs.size, self.pairs.n_bands)
        images, labels = np.empty(shape, np.float32)[0], np.empty(shape[:-1], np.uint8)[0]
        try:
            self._maker.make(int(step), images, labels)
        except HybridSegError as error:
            self._error = error
            raise
        place = np.array([own.start, self.batch_size], np.int32)
        return images, labels, np.empty(0, np.float32), place

    def _normalize(self, images: Any, measured: Any) -> Any:
        return images


def _work(connection: Connection, maker: BatchMaker, shape: tuple[int, ...]) -> None:
    """Make the batches that are asked for, until nobody can ask any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    images, labels = _lay_out(recv_handle(connection), shape)
    connection.send(None)
    while True:
        try:
            number, slot = connection.recv()
        except (EOFError, OSError):
            os._exit(0)
        error: HybridSegError | None = None
        try:
            maker.make(number, images[slot], labels[slot])
        except HybridSegError as caught:
            error = caught
        try:
            connection.send((number, slot, error))
        except OSError:
            os._exit(0)


def _count_bytes(shape: tuple[int, ...]) -> int:
    return math.prod(shape) * 4 + math.prod(shape[:-1])


def _lay_out(memory: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the images, (slots, n, rows, cols, bands) float32, and the labels uint8, of the memory of a descriptor."""
    shared = mmap.mmap(memory, _count_bytes(shape))
    images = np.ndarray(shape, np.float32, shared)
    return images, np.ndarray(shape[:-1], np.uint8, shared, images.nbytes)


@contextmanager
def _share(n_bytes: int) -> Iterator[int]:
    """Yield the descriptor of memory without a name: nothing is left of it when all are gone, however they end."""
    # Where there is less, writing would end the reader without a word.
    if _SHARED_DIR.is_dir() and (free := shutil.disk_usage(_SHARED_DIR).free) < n_bytes:
        raise BadInput(
            f"the readers need {n_bytes >> 20} MB of shared memory, and {_SHARED_DIR} has {free >> 20}; give a smaller "
            "--batch_size or --reader_count, or more to the container (--shm-size)"
        )
    with tempfile.TemporaryFile(dir=_SHARED_DIR if _SHARED_DIR.is_dir() else None) as file:
        file.truncate(n_bytes)
        yield file.fileno()
