"""What this machine offers to the program."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path


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
