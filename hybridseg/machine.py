"""What this machine offers to the program."""

from __future__ import annotations

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


@dataclass(frozen=True)
class MemoryOptions:
    """How much memory the work on an image may take.

    The result depends on it only where the CRF has to work in parts: some pixels in a thousand.
    """

    max_memory: float | None = option(
        None,
        "Memory that a process may take, in GiB: it decides how much of a large image is there at a time.",
        span=Span(0, 1e6, above=True),
    )
    n_processes: int = 1
    """That share what is free, where nothing is said."""

    def __post_init__(self) -> None:
        check_options(self)

    def find_room(self) -> int:
        """Return the bytes that may be taken beside those that this process has already.

        Raises
        ------
        BadInput
            When there are too few.
        """
        taken = read_resident()
        most = int(self.max_memory * GIB) if self.max_memory else taken + count_free() // (2 * self.n_processes)
        if most - taken < _LEAST_ROOM:
            least = math.ceil((taken + _LEAST_ROOM) / GIB * 100) / 100
            raise TooLittleMemory(
                f"{most / GIB:.2f} GiB of memory are too little, because the program itself takes {taken / GIB:.2f}; "
                f"close other programs, or give --max-memory {least:.2f} or more"
            )
        return most - taken


def count_cores() -> int:
    """Return the number of processor cores that this process may use; OMP_NUM_THREADS lowers it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(limit)) if limit.isdecimal() and int(limit) else cores


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
