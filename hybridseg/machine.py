"""What this machine offers to the program."""

from __future__ import annotations

import ctypes
import math
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hybridseg.errors import TooLittleMemory
from hybridseg.options import Span, check_options, option

GIB = 2**30
# What is left at the least: with less, an image would be read in rows of a few pixels.
_LEAST_ROOM = 128 << 20
# What the process takes at the least once it has read and written an image: the interpreter with its libraries.
_PROCESS = 224 << 20
# Of glibc.
_M_ARENA_MAX = -8


@dataclass(frozen=True)
class MemoryOptions:
    """How much memory the work on an image may take.

    With less than about 1 GiB for a CRF a few pixels in a thousand differ; otherwise the result does not depend on it.
    """

    max_memory: float | None = option(
        None,
        "Memory that a process may take, in GiB, about: it decides how much of a large image is there at a time. Too "
        "little for the program, or for a window of a network, is refused.",
        span=Span(0, 1e6, above=True),
    )
    n_processes: int = 1
    """That share what is free, where nothing is said."""

    def __post_init__(self) -> None:
        check_options(self)

    def find_room(self, *, needed: int = 0, held: int = 0) -> int:
        """Return the bytes that may be taken for an image, beside those that this process has already.

        Parameters
        ----------
        needed : int
            What networks take, however large the image; where nothing is said of the most, it is not checked.
        held : int
            What they have of this already.

        Raises
        ------
        BadInput
            When there are too few.
        """
        resident = read_resident()
        most = int(self.max_memory * GIB) if self.max_memory else resident + count_free() // (2 * self.n_processes)
        taken = max(resident - held, _PROCESS if self.max_memory else 0)
        least = taken + _LEAST_ROOM + (needed if self.max_memory else 0)
        if most < least:
            networks = f" and a window in its networks about {needed / GIB:.2f}" if needed else ""
            raise TooLittleMemory(
                f"{most / GIB:.2f} GiB of memory are too little, because the program itself takes "
                f"{taken / GIB:.2f}{networks}; close other programs, or give --max-memory "
                f"{math.ceil(least / GIB * 100) / 100:.2f} or more"
            )
        return max(most - taken - needed, _LEAST_ROOM)


def count_cores() -> int:
    """Return the number of processor cores that this process may use; OMP_NUM_THREADS lowers it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(limit)) if limit.isdecimal() and int(limit) else cores


def share_freed_memory() -> None:
    """Let the threads of this process use what others have freed: glibc keeps that of each thread apart.

    The page answers in twelve threads, each of which would hold what its largest result took.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def forget_peak() -> None:
    """Measure the most memory of this process from now on, where the system can (Linux)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def read_peak() -> float:
    """Return the most memory, in MB, that this process has held since `forget_peak`; 0 where nobody can tell."""
    with suppress(OSError):
        if match := re.search(rb"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_bytes()):
            return int(match[1]) / 1024
    return 0.0


def count_memory() -> int:
    """Return the bytes of memory of the machine, 0 where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0


def count_free() -> int:
    """Return the bytes of memory that are free, also for the container that this process is in; 2 GiB where unknown."""
    found = [2 * GIB]
    with suppress(OSError):
        if match := re.search(rb"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_bytes()):
            found = [int(match[1]) * 1024]
    with suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        found.append(int((group / "memory.max").read_bytes()) - int((group / "memory.current").read_bytes()))
    return max(min(found), 0)


def read_resident() -> int:
    """Return the bytes of memory that this process holds; 0 where nobody can tell."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
