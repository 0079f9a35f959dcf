"""A command that is run in a folder of its own, in a process of its own, and may be disturbed; and what it leaves.

The processes are forked from this one, which has imported everything and run nothing: a run takes no start.
"""

from __future__ import annotations

import atexit
import mmap
import multiprocessing.shared_memory
import os
import random
import re
import select
import shutil
import signal
import struct
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.robustness.trees import Tree, read_tree
from tests.robustness.writers import MADE, WRITERS, Writer

TIMEOUT = 300.0
# In which the processes of one that was killed must end by themselves.
_SECONDS_TO_END = 20.0
_SHARED = Path("/dev/shm")
_WRITING = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.truncate"}


@dataclass(frozen=True)
class Run:
    """How a process ended: its exit code (negative: the signal that killed it), what it printed, its seconds.

    `left` names the processes that did not end with it, and the shared memory that was not given back.
    """

    code: int
    text: str
    seconds: float
    n_writes: int
    left: str = ""

    def find_fault(self) -> str:
        """Return why this is neither done nor one clear sentence; empty: it is."""
        if self.left:
            return f"it leaves {self.left}"
        if "Traceback (most recent call last)" in self.text:
            return "traceback: " + self.text.strip().splitlines()[-1]
        # A sentence, or a list of the files that could not be used, one sentence each.
        errors = [line for line in self.text.splitlines() if re.match("Error: |\\d+ files? could not be used", line)]
        if self.code == 1 and len(errors) == 1:
            return ""
        return "" if self.code == 0 else f"exit code {self.code} with {len(errors)} errors: {self.text.strip()[-200:]}"


@dataclass(frozen=True)
class Disturbance:
    """When a process is disturbed, and how.

    Parameters
    ----------
    seconds : float or None
        After this time.
    n_writes : int or None
        Before this write (an open for writing, a rename, a removal ...), counted from 1, and `delay` seconds more.
    act : callable
        What is done in the process at that write; by default all its group is killed.
    alone : bool
        After that time the process alone is killed, as where memory is out: its workers end by themselves.
    """

    seconds: float | None = None
    n_writes: int | None = None
    delay: float = 0.0
    act: Callable[[], None] | None = None
    alone: bool = False

    def __str__(self) -> str:
        at = f"{self.seconds:.3f} s" if self.seconds is not None else f"write {self.n_writes}"
        return f"{at} + {1000 * self.delay:.1f} ms" if self.delay else f"{at}, alone" if self.alone else at


def draw_moment(rng: random.Random, whole: Run) -> Disturbance:
    """Draw when to kill a command: at any time of its run, with or without its workers, or at one of its writes."""
    kind = rng.random()
    if kind < 0.4 or not whole.n_writes:
        return Disturbance(seconds=rng.uniform(0, whole.seconds), alone=kind < 0.2)
    delay = rng.uniform(0, 0.002) if kind < 0.7 else 0.0
    return Disturbance(n_writes=rng.randint(1, whole.n_writes), delay=delay)


@dataclass
class Bench:
    """Where commands are run: a folder of inputs that are made once, and one in which each run has its copies."""

    root: Path
    made: dict[str, Tree] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The folder of a run, at the same path each time: some files name it."""
        return self.root / "work"

    @property
    def log(self) -> Path:
        """What a command prints."""
        return self.root / "log.txt"

    def lay_out(self, writer: Writer) -> Tree:
        """Clear the folder of runs and put copies of what a command needs there; return them."""
        stock = self.root / "stock"
        for name in writer.needs.split():
            if not (stock / name).exists():
                self._make(name, stock)
        self.clear()
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in writer.needs.split():
            source, target = stock / name, self.folder / name
            shutil.copytree(source, target, symlinks=True) if source.is_dir() else shutil.copy2(source, target)
        return read_tree(self.folder)

    def clear(self) -> None:
        """Remove all of the latest run."""
        self.forget()
        for path in self.folder.iterdir() if self.folder.exists() else ():
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

    def forget(self) -> None:
        """Forget what a command has promised to keep."""
        (self.root / "promised.json").unlink(missing_ok=True)

    def _make(self, name: str, stock: Path) -> None:
        stock.mkdir(parents=True, exist_ok=True)
        if name in MADE:
            pid = os.fork()
            if not pid:
                _behave(lambda: MADE[name](stock / name), self.root, self.log)
            assert os.waitpid(pid, 0)[1] == 0, self.log.read_text()
            return
        writer = next(writer for writer in WRITERS if writer.makes == name)
        self.lay_out(writer)
        run = self.run(writer)
        assert run.code == 0, f"{writer.words}: {run.text}"
        os.replace(self.folder / name, stock / name)

    def run(self, writer: Writer, *, disturbed: Disturbance | None = None, **how: Any) -> Run:
        """Run a command to its end, its disturbance or the time limit; see `start`."""
        return self.finish(self.start(writer, disturbed=disturbed, **how), disturbed)

    def start(
        self,
        writer: Writer,
        *,
        again: bool = False,
        disturbed: Disturbance | None = None,
        more: str = "",
        prepare: Callable[[], None] | None = None,
        name: str = "",
    ) -> Started:
        """Start a command, in a group of processes of its own.

        Parameters
        ----------
        again : bool
            It was run before.
        more : str
            Words that are added.
        prepare : callable
            What is done in that process first.
        name : str
            Of what it prints, where several run at once.
        """
        words = f"{writer.words} {writer.again if again else ''} {more}".split()
        log = self.log.with_name(f"log{name}.txt")
        log.write_bytes(b"")
        counter = mmap.mmap(-1, 8)
        sys.stdout.flush()
        pid = os.fork()
        if not pid:
            if prepare:
                prepare()
            _behave(lambda: _run_command(words, writer, log, counter, self.folder, disturbed), self.folder, log)
        return Started(pid, time.monotonic(), log, counter)

    def finish(self, started: Started, disturbed: Disturbance | None = None) -> Run:
        """Wait for the end of a process; kill it, with or without its group, at the moment of its disturbance."""
        moment = disturbed.seconds if disturbed and disturbed.seconds is not None else TIMEOUT
        descriptor = os.pidfd_open(started.pid)
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            is_over = bool(poll.poll(max(0.0, started.began + moment - time.monotonic()) * 1000))
        finally:
            os.close(descriptor)
        seconds = time.monotonic() - started.began
        left = ""
        if disturbed and disturbed.alone:
            os.kill(started.pid, signal.SIGKILL)
            left = _find_left(started.pid)
        # Always: a process that is over may leave workers.
        _kill_group(started.pid)
        code = os.waitstatus_to_exitcode(os.waitpid(started.pid, 0)[1])
        if not is_over and moment == TIMEOUT:
            code = 124
        for path in _list_shared(started.pid):
            # Semaphores are left where all is killed, also the process of Python that removes them.
            if not path.name.startswith("sem."):
                left = left or str(path)
            path.unlink(missing_ok=True)
        text = started.log.read_text(errors="replace")
        return Run(code, text, seconds, struct.unpack("q", started.counter[:])[0], left)


@dataclass(frozen=True)
class Started:
    """A process that runs."""

    pid: int
    began: float
    log: Path
    counter: mmap.mmap


def _kill_group(pid: int) -> None:
    for kill in (os.killpg, os.kill):
        with suppress(ProcessLookupError):
            kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 0.5
    with suppress(ProcessLookupError):
        # Without the first, which is waited for.
        while time.monotonic() < deadline and _list_group(pid) - {pid}:
            time.sleep(0.002)


def _find_left(pid: int) -> str:
    """Say what is left of a process that is over, once all that ends by itself has ended."""
    deadline = time.monotonic() + _SECONDS_TO_END
    while left := [*map(_describe, _list_group(pid) - {pid}), *map(str, _list_shared(pid))]:
        if time.monotonic() > deadline:
            return ", ".join(left)
        time.sleep(0.005)
    return ""


def _describe(pid: int) -> str:
    with suppress(OSError):
        return f"process {pid} ({Path(f'/proc/{pid}/cmdline').read_bytes().decode().replace(chr(0), ' ')[:80]})"
    return f"process {pid}"


def _list_shared(pid: int) -> list[Path]:
    """List the shared memory and the semaphores that a process has made, by the names that `_behave` chooses."""
    return [path for start in ("", "sem.") for path in _SHARED.glob(f"{start}k{pid}-*")]


def _list_group(group: int) -> set[int]:
    """List the processes of a group that are not dead yet."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state != "Z":
                found.add(int(path.parent.name))
    return found


# What the child does.


def _behave(call: Callable[[], object], folder: Path, log: Path) -> None:
    """Be a process of its own: run something, and end as Python does."""
    code = 0
    try:
        os.setsid()
        os.chdir(folder)
        multiprocessing.current_process()._config["semprefix"] = f"/k{os.getpid()}"
        multiprocessing.shared_memory._SHM_NAME_PREFIX = f"/k{os.getpid()}-"
        for descriptor, path, flags in ((0, os.devnull, os.O_RDONLY), (1, log, os.O_WRONLY | os.O_APPEND)):
            os.dup2(os.open(path, flags | os.O_CREAT), descriptor)
        os.dup2(1, 2)
        sys.stdin, sys.stdout, sys.stderr = (open(n, mode, closefd=False) for n, mode in enumerate("rww"))  # noqa: SIM115
        # The workers import what they need by themselves.
        sys.modules["__main__"] = types.ModuleType("__main__")
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        # What a shell starts in the background does not hear Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        call()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except BaseException:
        traceback.print_exc()
        code = 70
    with suppress(Exception):
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _run_command(words, writer, log, counter, folder, disturbed) -> None:
    from hybridseg.cli.main import main

    sys.argv = ["hybridseg", *words]
    _watch_writes(folder, counter, disturbed)
    if writer.use:
        threading.Thread(target=_use, args=(writer.use, log), daemon=True).start()
    main(prog_name="hybridseg")


def _use(use: Callable[[Path], None], log: Path) -> None:
    try:
        use(log)
    except Exception:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(70)


def _watch_writes(folder: Path, counter: mmap.mmap, disturbed: Disturbance | None) -> None:
    """Count what this process writes below a folder, and act at the moment of its disturbance."""
    home = os.fspath(folder) + os.sep
    act = (disturbed and disturbed.act) or (lambda: os.killpg(0, signal.SIGKILL))

    def watch(event: str, args: tuple) -> None:
        if event == "open":
            if not isinstance(args[2], int) or not args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
        elif event not in _WRITING:
            return
        if isinstance(args[0], int) or not os.path.abspath(os.fsdecode(args[0])).startswith(home):  # noqa: PTH100
            return
        n_writes = struct.unpack("q", counter[:])[0] + 1
        counter[:] = struct.pack("q", n_writes)
        if disturbed and n_writes == disturbed.n_writes:
            if disturbed.delay:
                signal.setitimer(signal.ITIMER_REAL, disturbed.delay)
            else:
                act()

    # The clock of a delay kills this process, and who waits for it all others.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    sys.addaudithook(watch)


def run_again(bench: Bench, writer: Writer, *, prepare: Callable[[], None] | None = None) -> Run:
    """Run a command that was disturbed again, in the words of the documents, or else in those of its own message."""
    run = bench.run(writer, again=True, prepare=prepare)
    if run.code == 1 and "--overwrite" in run.text and not run.find_fault():
        run = bench.run(writer, more="--overwrite", prepare=prepare)
    return run
