"""The first run of a model from elsewhere, in a process of its own: there it may crash, hang or fill the memory.

What was tried is remembered beside the runtime graphs that are kept, so that each model is tried once on a machine; a
model that was trained here is none from elsewhere.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from hybridseg import errors
from hybridseg.errors import BadInput, HybridSegError, WriteFailed
from hybridseg.io.atomic import write_bytes
from hybridseg.io.jsonfiles import parse_json_object
from hybridseg.machine import count_cores, count_memory
from hybridseg.models.cards import combine_fingerprint
from hybridseg.models.startup import import_tensorflow

logger = logging.getLogger(__name__)

MADE_HERE = "made here"
SECONDS = 300
# What a classifier of tiles may take, and the share of the memory that any other network may.
TILE_BYTES, _SHARE = 4 * 2**30, 0.5
_GIBIBYTE = 2**30
_MARK_SUFFIX, _MAX_MARKS = ".tried", 2_000
# Of Linux: the signal for a process whose parent has ended.
_PR_SET_PDEATHSIG, _SIGKILL = 1, 9


def run_apart(
    what: object,
    function: Callable[..., bytes | None],
    *arguments: Any,
    content: bytes = b"",
    max_bytes: int | None = None,
    with_tensorflow: bool = False,
) -> bytes:
    """Return what a function returns that is called in another process, with `content` as its last argument.

    Parameters
    ----------
    what : object
        The model, for messages.
    function : callable
        One of a module, which imports it there.
    arguments
        JSON-ready.
    max_bytes : int or None
        How much more memory it may take than the program itself; None: half of that of the machine.

    Raises
    ------
    HybridSegError
        What the function raises.
    BadInput
        When the process crashes, or takes too much time or memory.
    """
    max_bytes = max_bytes or int(_SHARE * count_memory()) or TILE_BYTES
    job = {
        "function": [function.__module__, function.__qualname__],
        "arguments": arguments,
        "bytes": max_bytes,
        "with_tensorflow": with_tensorflow,
    }
    answer = _start(what, json.dumps(job).encode() + b"\n" + content, max_bytes)
    head, _, result = answer.partition(b"\n")
    failure = parse_json_object(head)
    if failure:
        raise getattr(errors, failure["kind"])(failure["message"])
    return result


def _start(what: object, job: bytes, max_bytes: int) -> bytes:
    """Return the answer of a process to a job."""
    # Imported on use: most models were made here.
    import subprocess

    # Not where the user is: files that came with a model may lie there. Graphics cards are for work, not for trials.
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "CUDA_VISIBLE_DEVICES": "-1"}
    try:
        done = subprocess.run(  # nosec B603 # Python itself, with this module
            [sys.executable, "-P", "-m", __name__],
            input=job, capture_output=True, timeout=SECONDS, env=environment, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise BadInput(f"{what} cannot be used: its first run took more than {SECONDS} seconds") from None
    except OSError as error:
        raise BadInput(f"{what} cannot be tried in a process of its own: {error}") from error
    if done.returncode or not done.stdout:
        logger.debug("the trial of %s: %s", what, done.stderr[-2000:].decode(errors="replace"))
        raise BadInput(
            f"{what} cannot be used: the process that ran it for the first time crashed, or needed more than "
            f"{max_bytes / _GIBIBYTE:.0f} GiB of memory"
        )
    return done.stdout


def is_known(*key: Any) -> bool:
    """Return whether this was tried, or made, on this machine."""
    return recall(*key) is not None


def recall(*key: Any) -> str | None:
    """Return what was noted when this was tried; None when it was not."""
    with suppress(OSError, RuntimeError, ValueError):
        place = _mark_path(key)
        os.utime(place)
        return place.read_bytes().decode()
    return None


def remember(*key: Any, note: str = "") -> None:
    """Remember that this was tried, or made, on this machine; where that is not possible, it is tried again."""
    with suppress(OSError, RuntimeError, WriteFailed):
        place = _mark_path(key)
        if place.is_absolute():
            write_bytes(place, note.encode())
            marks = sorted(place.parent.glob(f"*{_MARK_SUFFIX}"), key=lambda mark: -mark.stat().st_mtime)
            for mark in marks[_MAX_MARKS:]:
                mark.unlink(missing_ok=True)


def _mark_path(key: tuple[Any, ...]) -> Path:
    return kept_dir().expanduser() / f"{combine_fingerprint(*key)}{_MARK_SUFFIX}"


def kept_dir() -> Path:
    """Return the folder of the runtime graphs of models that came without one, and of what was tried."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path("~/.cache")) / "hybridseg"


def _serve() -> None:
    """Do one job, in the process that was started for it."""
    answer = os.fdopen(os.dup(1), "wb")
    # What compiled libraries print must not come between.
    os.dup2(2, 1)
    _end_with_parent()
    job = parse_json_object(sys.stdin.buffer.readline())
    content = sys.stdin.buffer.read()
    failure, result = {}, b""
    try:
        module, name = job["function"]
        function = getattr(importlib.import_module(module), name)
        if job["with_tensorflow"]:
            import_tensorflow()
        _limit(job["bytes"])
        result = function(*job["arguments"], content) or b""
    except HybridSegError as error:
        failure = {"kind": type(error).__name__, "message": str(error)}
    with answer:
        answer.write(json.dumps(failure).encode() + b"\n" + result)
        answer.flush()
        # Without the tidying up of compiled libraries, which may crash after all went well.
        os._exit(0)


def _end_with_parent() -> None:
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL)


def _limit(n_bytes: int) -> None:
    """Limit the memory of this process, beyond what it has, and its time on the processors."""
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_bytes().decode().splitlines()
        used = int(next(line for line in lines if line.startswith("VmData")).split()[1]) * 1024
    limits = {
        resource.RLIMIT_DATA: used + n_bytes,
        resource.RLIMIT_CPU: SECONDS * count_cores(),
        resource.RLIMIT_CORE: 0,
    }
    for kind, limit in limits.items():
        with suppress(OSError, ValueError):
            resource.setrlimit(kind, (limit, limit))


if __name__ == "__main__":
    _serve()
