"""The machines of one training: which they are, and which of them this is."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from hybridseg.errors import BadInput, BadUsage
from hybridseg.io.jsonfiles import parse_json_object
from hybridseg.markup import count_of
from hybridseg.options import Span, check_options, option

MIRRORED, MULTIWORKER = STRATEGIES = ("mirrored", "multiworker")
_VARIABLE = "TF_CONFIG"
_ADDRESS = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<host>[\w.-]+)):(?P<port>\d{1,5})", re.ASCII)
# Those of the variable that take part as workers; the first of them is the chief.
_JOBS = ("chief", "worker")


@dataclass(frozen=True)
class Share:
    """Which part of every batch is that of one of several workers: as large as that of any other, or smaller by one.

    Of a batch that has fewer images than there are workers, as the last one may, each takes all: a network learns the
    same from it, however often, and TensorFlow stumbles over no images at all.

    Examples
    --------
    >>> [Share(index, 3).of(4) for index in range(3)], Share(1, 3).of(2)
    ([(0, 1), (1, 2), (2, 4)], (0, 2))
    """

    index: int = 0
    count: int = 1

    def of(self, n: int) -> tuple[int, int]:
        """Return the first of `n` images that are in the share, and the first after it."""
        if n < self.count:
            return 0, n
        return n * self.index // self.count, n * (self.index + 1) // self.count


@dataclass(frozen=True)
class Cluster:
    """The machines of a training, ``host:port`` each, and the number of this one; the first is the chief."""

    addresses: tuple[str, ...]
    index: int

    @property
    def share(self) -> Share:
        """What this machine takes of every batch."""
        return Share(self.index, len(self.addresses))

    def name(self, index: int) -> str:
        """Return what a machine is called.

        Examples
        --------
        >>> Cluster(("a:2222", "b:2222"), 1).name(0)
        'worker 0 (the chief, a:2222)'
        """
        return f"worker {index} ({'the chief, ' * (index == 0)}{self.addresses[index]})"


@dataclass(frozen=True)
class MachineOptions:
    """On what a network is trained: several graphics cards, or several machines."""

    strategy: str | None = option(
        None,
        "Train on all graphics cards of this machine (mirrored), or on several machines at once (multiworker), where "
        "each takes its share of every batch: the result is that of one.",
        choices=STRATEGIES,
    )
    cluster: tuple[str, ...] | None = option(
        None, "The machines of multiworker as HOST:PORT; the first is the chief, which writes the result."
    )
    worker: int | None = option(None, "Number of this machine in --cluster, from 0.", span=Span(0))
    start_timeout: int = option(
        300, "Seconds for which the machines of multiworker wait for one another at the start.", span=Span(1, 86400)
    )

    def __post_init__(self) -> None:
        check_options(self)
        for name in ("cluster", "worker"):
            if getattr(self, name) is not None and self.strategy != MULTIWORKER:
                raise BadUsage(f"--{name} is for a training on several machines: give --strategy multiworker too")
        if (self.cluster is None) != (self.worker is None):
            raise BadUsage("--cluster names the machines and --worker says which of them this is: give both")

    def find_cluster(self, environment: Mapping[str, str] = os.environ) -> Cluster | None:
        """Return the machines, from the options or from the variable TF_CONFIG; None without `multiworker`.

        Raises
        ------
        BadInput
            When there is no list, it cannot be used, or the two disagree.

        Examples
        --------
        >>> MachineOptions("multiworker", ("a:2222", "b:2222"), 1).find_cluster({})
        Cluster(addresses=('a:2222', 'b:2222'), index=1)
        """
        if self.strategy != MULTIWORKER:
            return None
        text = environment.get(_VARIABLE, "").strip()
        told = _parse_variable(text) if text else None
        if self.cluster is None:
            if told is None:
                raise BadUsage(
                    "--strategy multiworker needs to know the machines: give --cluster HOST:PORT,HOST:PORT and "
                    f"--worker N on each of them, or set {_VARIABLE}"
                )
            return told
        assert self.worker is not None
        addresses = tuple(part.strip() for text in self.cluster for part in text.split(","))
        given = _make_cluster(addresses, self.worker, "--cluster", f"--worker {self.worker}")
        if told not in (None, given):
            raise BadInput(
                f"--cluster {','.join(given.addresses)} --worker {given.index} and the variable {_VARIABLE} "
                f"({','.join(told.addresses)}, worker {told.index}) disagree; leave one of them out"
            )
        return given


def _make_cluster(addresses: tuple[str, ...], index: int, where: str, which: str) -> Cluster:
    for address in addresses:
        match = _ADDRESS.fullmatch(address)
        if not match or not 0 < int(match["port"]) < 2**16:
            raise BadInput(f"{where}: {address!r} is not the address of a machine; write it like host:2222")
    twice = next((address for i, address in enumerate(addresses) if address in addresses[:i]), None)
    if twice is not None:
        raise BadInput(f"{where} has {twice} twice; give each machine a host or a port of its own")
    if len(addresses) < 2:
        raise BadInput(f"{where} has {count_of(len(addresses), 'machine')}; give two or more, or no --strategy")
    if not 0 <= index < len(addresses):
        raise BadInput(
            f"{which}: {where} has {count_of(len(addresses), 'machine')}; give a number from 0 to {len(addresses) - 1}"
        )
    return Cluster(addresses, index)


def _parse_variable(text: str) -> Cluster:
    """Read the variable as other programs on TensorFlow have it."""
    advice = 'write it like {"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 0}}'
    try:
        record = parse_json_object(text)
        jobs, task = record["cluster"], record["task"]
        kind, others = str(task["type"]), sorted(set(jobs) - set(_JOBS))
        addresses = [address for job in _JOBS for address in jobs.get(job, [])]
        index = int(task["index"]) + (len(jobs.get("chief", [])) if kind == "worker" else 0)
        if not all(isinstance(address, str) for address in addresses):
            raise TypeError("an address is no text")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadInput(f"the variable {_VARIABLE} does not name the machines of a training; {advice}") from error
    if others or kind not in jobs:
        found = ", ".join(others) or f"no {kind!r}"
        raise BadInput(f"{_VARIABLE} has {found} in its cluster; a training has workers, and perhaps a chief")
    return _make_cluster(tuple(addresses), index, _VARIABLE, f"the index {task['index']} of {_VARIABLE}")


def split_address(address: str) -> tuple[str, int]:
    """Return host and port.

    Examples
    --------
    >>> split_address("a:2222"), split_address("[::1]:2222")
    (('a', 2222), ('::1', 2222))
    """
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
