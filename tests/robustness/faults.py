"""Other faults than kills: a full disk, a folder that is read-only or disappears, a clock set back, two at once.

A command ends with exit code 0, or with 1 and one clear sentence; it tears nothing and leaves nothing behind; and when
the fault is mended, the same command gives what it gives undisturbed.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.robustness.trees import LEFTOVER, Tree, compare, find_torn, normalize, read_tree
from tests.robustness.trial import Bench, Disturbance, Run, draw_moment, run_again
from tests.robustness.writers import Writer

_DAY = 86400.0
# Tiles of an interrupted retile, and parts of an image, which the same command goes on with.
GOES_ON = re.compile(r"(.*/)?\.(tiles\.[0-9a-f]{12}\.partial|.+\.hybridseg\.parts)/")


@contextmanager
def _small_disk(bench: Bench) -> Iterator[Callable[[str], None]]:
    """Put a disk in memory in the place of the folder of runs; yield what changes its options."""
    bench.clear()
    bench.folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o"]
    subprocess.run([*mount, "size=2g", "tmpfs", bench.folder], check=True)
    try:
        yield lambda options: subprocess.run([*mount, f"remount,{options}", "tmpfs", bench.folder], check=True) and None
    finally:
        subprocess.run(["umount", "--lazy", bench.folder], check=True)


def can_mount() -> bool:
    """Return whether this user may put a disk in memory somewhere: a container may not let root do it."""
    if shutil.which("mount") is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True, check=False)
        if done.returncode == 0:
            subprocess.run(["umount", folder], check=True)
    return done.returncode == 0


def fill_disk(bench: Bench, writer: Writer, whole: tuple[Run, Tree], rng: random.Random) -> str:
    """The disk is full somewhere between the beginning and the end."""
    with _small_disk(bench) as change:
        bench.lay_out(writer)
        bench.run(writer)
        full = _count_used(bench.folder)
        before = bench.lay_out(writer)
        empty = _count_used(bench.folder)
        # 0 would be no limit.
        change(f"size={max(empty + int(max(full - empty, 0) * rng.uniform(0, 0.95)) // 4096 * 4096, 4096)}")
        run = bench.run(writer)
        fault = _judge_end(bench, writer, run, before, whole[1])
        change("size=2g")
        return fault or _run_again(bench, writer, whole[1])


def _count_used(folder: Path) -> int:
    status = os.statvfs(folder)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


def forbid_writing(bench: Bench, writer: Writer, whole: tuple[Run, Tree], rng: random.Random) -> str:
    """All is on a disk that is read-only."""
    with _small_disk(bench) as change:
        before = bench.lay_out(writer)
        change("ro")
        run = bench.run(writer)
        fault = "it says that it is done" if run.code == 0 else _judge_end(bench, writer, run, before, whole[1])
        change("rw")
        return fault or _run_again(bench, writer, whole[1])


def remove_results(bench: Bench, writer: Writer, whole: tuple[Run, Tree], rng: random.Random) -> str:
    """What it has made, with its folders, is removed at one of its writes."""
    if "--move" in writer.words:
        return ""  # That would be the only copy.
    before = bench.lay_out(writer)
    own = {name.partition("/")[0] for name in before}

    def remove() -> None:
        for path in bench.folder.iterdir():
            # What is hidden may be the results of before, on their way.
            if path.name not in own and not path.name.startswith("."):
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

    moment = Disturbance(n_writes=rng.randint(1, max(whole[0].n_writes, 1)), act=remove)
    run = bench.run(writer, disturbed=moment)
    fault = _judge_end(bench, writer, run, before, whole[1])
    bench.forget()
    if not fault and (fault := _run_again(bench, writer, whole[1])):
        # What was made after that, of half of a set, is removed as well.
        remove()
        fault = _run_again(bench, writer, whole[1])
    return fault and f"{fault}; removed at {moment}"


def set_clock_back(bench: Bench, writer: Writer, whole: tuple[Run, Tree], rng: random.Random) -> str:
    """It is killed, and run again by a clock of the day before: what it left is of tomorrow."""
    before = bench.lay_out(writer)
    moment = draw_moment(rng, whole[0])
    run = bench.run(writer, disturbed=moment)
    if run.code < 0:
        tomorrow = time.time() + _DAY
        for path in bench.folder.rglob("*"):
            if path.is_file() and path.relative_to(bench.folder).as_posix() not in before:
                # A link may lead to a photo, which is not of tomorrow.
                os.utime(path, (tomorrow, tomorrow), follow_symlinks=False)
    fault = _run_again(bench, writer, whole[1], prepare=_turn_clock)
    return fault and f"{fault}; killed at {moment}"


def _turn_clock() -> None:
    now = time.time
    time.time = lambda: now() - _DAY


def run_two(bench: Bench, writer: Writer, whole: tuple[Run, Tree], rng: random.Random) -> str:
    """The same command is started twice: the second waits, is refused in a sentence, or does no harm."""
    before = bench.lay_out(writer)
    first = bench.start(writer, name="1")
    time.sleep(rng.uniform(0, 0.5) * whole[0].seconds)
    second = bench.start(writer, name="2")
    runs = [bench.finish(first), bench.finish(second)]
    if fault := next(filter(None, (run.find_fault() for run in runs)), ""):
        return fault
    if all(run.code for run in runs):
        return f"both were refused: {runs[0].text[-200:]} | {runs[1].text[-200:]}"
    after = read_tree(bench.folder)
    return find_torn(before, after, whole[1], writer.replaces) or compare(whole[1], normalize(after))


def _judge_end(bench: Bench, writer: Writer, run: Run, before: Tree, whole: Tree) -> str:
    """Say what is wrong with how a command ended, or with what it left."""
    after = read_tree(bench.folder)
    if fault := run.find_fault() or find_torn(before, after, whole, writer.replaces):
        return fault
    if left := [name for name in after if LEFTOVER.search(name) and not GOES_ON.match(name)]:
        return f"leftovers: {', '.join(left[:4])}"
    return ""


def _run_again(bench: Bench, writer: Writer, whole: Tree, *, prepare: Callable[[], None] | None = None) -> str:
    run = run_again(bench, writer, prepare=prepare)
    if run.code:
        return f"another run failed: {run.text.strip()[-300:]}"
    return compare(whole, normalize(read_tree(bench.folder)))


FAULTS: dict[str, Callable[[Bench, Writer, tuple[Run, Tree], random.Random], str]] = {
    "full disk": fill_disk,
    "read-only": forbid_writing,
    "folder gone": remove_results,
    "clock set back": set_clock_back,
    "two at once": run_two,
}
# They put a disk in memory somewhere, which takes the rights of root.
NEED_DISK = (fill_disk, forbid_writing)
