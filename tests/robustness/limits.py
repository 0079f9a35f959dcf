"""A process that does one piece of work after another within limits on time and memory, and the outcome of each."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import re
import resource
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hybridseg.errors import HybridSegError

KINDS = ("right", "clear", "wrong", "crash", "hang", "memory")
"""What can come of reading a file: the first two are as they should be."""

SECONDS = 10.0
MEMORY_BYTES = 256 << 20
# Address space is more than memory: each thread and each library reserves some that it never uses.
_ADDRESS_BYTES = 3 << 30
# What an error shortens a line of its message to, with the paths of a test in it.
_LONGEST_LINE = 1200
# Control characters, ends of lines, and what turns the direction of a text.
_HARMFUL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_PDEATHSIG = 1


@dataclass(frozen=True)
class Outcome:
    """What came of a piece of work.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    detail : str
        The message, or the exception and its place.
    noise : str
        What was printed to the terminal.
    """

    kind: str
    detail: str = ""
    noise: str = ""
    seconds: float = 0.0

    @property
    def is_failure(self) -> bool:
        return self.kind not in KINDS[:2]


class Worker:
    """A forked process that does what it is asked, and is replaced when it crashes or hangs.

    What this process has imported need not be imported again. A worker leads a session of its own, so that the
    processes that it starts end with it.
    """

    def __init__(self, work: Callable[[Any], Any], *, seconds: float = SECONDS, memory_bytes: int = MEMORY_BYTES):
        self._work, self.seconds, self._memory_bytes = work, seconds, memory_bytes
        self.request: Any = None
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._work, self._memory_bytes), daemon=True)
        self._process.start()
        theirs.close()

    def begin(self, request: Any, *, seconds: float | None = None) -> Outcome | None:
        """Ask for a piece of work, which may take so long; by default as long as any.

        Returns
        -------
        Outcome or None
            What came of the work before, if the process ended after it had answered; another one does this piece.
        """
        late = None
        try:
            self.pipe.send(request)
        except OSError:
            self._process.join()
            late = self._replace("crash", f"{_name_end(self._process.exitcode)} after it had answered")
            self.pipe.send(request)
        self._seconds = seconds or self.seconds
        self.request, self._deadline = request, time.monotonic() + self._seconds
        return late

    def take(self, *, wait: bool = False) -> Outcome | None:
        """Return the outcome, None while it is still being done."""
        left = max(0.0, self._deadline - time.monotonic())
        try:
            if self.pipe.poll(left if wait else 0):
                outcome = self.pipe.recv()
                self.request = None
                return outcome
        except (EOFError, OSError):
            self._process.join()
            return self._replace("crash", _name_end(self._process.exitcode))
        if time.monotonic() < self._deadline:
            return None
        return self._replace("hang", f"took longer than {self._seconds:g} s")

    def do(self, request: Any, *, seconds: float | None = None) -> Outcome:
        """Ask for a piece of work and wait for the outcome."""
        self.begin(request, seconds=seconds)
        while (outcome := self.take(wait=True)) is None:
            pass
        return outcome

    def close(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()
        self.pipe.close()

    def _replace(self, kind: str, detail: str) -> Outcome:
        self.close()
        self._start()
        self.request = None
        return Outcome(kind, detail)


def limit_memory(n_bytes: int) -> None:
    """Let this process reserve no more than so many bytes besides those that it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + n_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def measure_memory() -> tuple[int, int]:
    """Return the bytes of memory that this process has, and the most that it had since `forget_peak`."""
    status = Path("/proc/self/status").read_text()
    now, peak = (int(status.split(f"{name}:")[1].split()[0]) << 10 for name in ("VmRSS", "VmHWM"))
    return now, peak


def forget_peak() -> None:
    """Let the most memory that this process had begin with what it has."""
    Path("/proc/self/clear_refs").write_text("5")


def judge(work: Callable[[], Any], *, memory_bytes: int = MEMORY_BYTES) -> Outcome:
    """Do a piece of work in this process and report the outcome; crashes and hangs are for `Worker` to tell."""
    forget_peak()
    before, _ = measure_memory()
    try:
        work()
        outcome = Outcome("right")
    except HybridSegError as error:
        outcome = judge_message(str(error))
    except MemoryError as error:
        outcome = Outcome("memory", name_place(error))
    except BaseException as error:
        outcome = Outcome("wrong", name_place(error))
    grown = measure_memory()[1] - before
    if grown > memory_bytes:
        return Outcome("memory", f"took more than {memory_bytes >> 20} MB")
    return outcome


def judge_message(message: str) -> Outcome:
    """Tell whether a message is one that can be printed and read."""
    lines = message.split("\n")
    if not message.strip():
        return Outcome("wrong", "the message is empty")
    if max(map(len, lines)) > _LONGEST_LINE:
        return Outcome("wrong", f"the message is long: {message[:60]!a}")
    if _HARMFUL.search(message):
        return Outcome("wrong", f"the message holds what moves the cursor: {message[:60]!a}")
    return Outcome("clear", message)


def name_place(error: BaseException) -> str:
    """Return the type of an exception and the line of ours that it came through last."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "/hybridseg/" in frame.filename]
    place = f" at {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
    return f"{type(error).__name__}{place}: {ascii(str(error))[1:-1][:120]}"


def _serve(pipe: Any, work: Callable[[Any], Any], memory_bytes: int) -> None:
    os.setsid()
    # Whoever kills the parent ends this process too.
    ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    terminal = os.memfd_create("terminal")
    for stream in (1, 2):
        os.dup2(terminal, stream)
    limit_memory(_ADDRESS_BYTES)
    while True:
        try:
            request = pipe.recv()
        except EOFError:
            os._exit(0)
        start = time.monotonic()
        outcome = judge(lambda request=request: work(request), memory_bytes=memory_bytes)
        seconds = time.monotonic() - start
        n_printed = os.lseek(terminal, 0, os.SEEK_END)
        noise = os.pread(terminal, min(n_printed, 500), 0).decode(errors="replace") if n_printed else ""
        os.ftruncate(terminal, 0)
        os.lseek(terminal, 0, os.SEEK_SET)
        pipe.send(replace(outcome, noise=noise, seconds=seconds))


def _name_end(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"the process ended with {code}"
