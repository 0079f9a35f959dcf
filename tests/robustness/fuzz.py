"""Damage the files of every reader in thousands of ways, and see that each ends in a value or in a clear error.

    python tests/robustness/fuzz.py --seconds 600 --seed 0

A reader may return, or raise a HybridSegError with a message that can be read and echoes no more than 200 characters of
the file. Any other exception, a crash, more than 10 seconds and more than 256 MB are failures: the input is made as
small as it goes and kept in ``found/``, where it is tried again in every later run.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from multiprocessing.connection import wait
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from discovery import Reader
from limits import KINDS, Outcome, Worker
from mutations import ECHOED, lengthen, mutate
from readers import READERS

from hybridseg.errors import MAX_ECHO, HybridSegError

FOUND_DIR = Path(__file__).parent / "found"
_KEPT_BYTES = 2000
_MOST_LONG = 200
_MOST_KEPT, _MOST_TRIES = 40, 400
# What takes long to import is imported once; none of it may start threads before the workers are forked.
_MODULES = """
    ai_edge_litert.interpreter ai_edge_litert.schema_py_generated h5py imageio.plugins.pillow lmdb onnx onnxruntime
    rasterio scipy.io
    tensorflow tensorflow_hub tf_keras
"""


class Case(NamedTuple):
    """A file of a reader: a seed by its path below the folder of seeds, and the bytes in its place."""

    reader: str
    place: str
    data: bytes


class Failure(NamedTuple):
    """What went wrong, in the first of the cases that failed in the same way."""

    outcome: Outcome
    case: Case

    @property
    def key(self) -> tuple[str, str, str]:
        return self.case.reader, self.outcome.kind, re.sub(r"\d+$", "", self.outcome.detail.split(": ")[0])


class Fuzzer:
    """The readers, their seeds, and the processes that read."""

    def __init__(self, readers: Sequence[Reader], seeds_dir: Path, *, n_workers: int = 2, **limits: Any) -> None:
        self.readers, self._seeds_dir = {reader.name: reader for reader in readers}, seeds_dir
        self._seeds: dict[str, dict[str, bytes]] = {}
        for reader in readers:
            paths = reader.list_seeds(seeds_dir)
            self._seeds[reader.name] = {str(path.relative_to(seeds_dir)): path.read_bytes() for path in paths}
        self._scratch_dir = Path(tempfile.mkdtemp(prefix="fuzz-", dir=seeds_dir.parent))
        self._workers = [Worker(self._read, **limits) for _ in range(n_workers)]
        self.counts: dict[str, Counter[str]] = defaultdict(Counter)
        self.failures: dict[tuple[str, str, str], Failure] = {}

    def make_case(self, name: str, number: int, seed: int) -> Case:
        """Return the same damaged file for the same numbers."""
        rng = Random(f"{name} {number} {seed}")
        seeds = self._seeds[name]
        place = rng.choice(sorted(seeds))
        others = [data for other, data in seeds.items() if Path(other).suffix == Path(place).suffix]
        return Case(name, place, mutate(seeds[place], rng, others))

    def list_whole(self) -> Iterator[Case]:
        """Yield every seed as it is."""
        for name, seeds in self._seeds.items():
            yield from (Case(name, place, data) for place, data in seeds.items())

    def list_long(self, most: int, seed: int) -> Iterator[Case]:
        """Yield so many seeds of each reader with a long text in them."""
        for name, seeds in self._seeds.items():
            cases = [Case(name, place, long) for place, data in seeds.items() for long in lengthen(data)]
            n = min(len(cases), round(most * min(self.readers[name].share, 1.0)))
            yield from Random(f"{name} {seed}").sample(cases, n)

    def run(self, cases: Iterable[Case]) -> None:
        """Try cases on all workers, and count the outcomes."""
        busy: dict[Worker, Case] = {}
        done: dict[Worker, Case] = {}
        idle = list(self._workers)
        while True:
            while idle and (case := next(cases, None)) is not None:
                worker = idle.pop()
                late = worker.begin(case, seconds=self.readers[case.reader].seconds)
                if late is not None:
                    self._note(done[worker], late)
                busy[worker] = done[worker] = case
            if not busy:
                return
            wait([worker.pipe for worker in busy], timeout=0.5)
            for worker, case in list(busy.items()):
                outcome = worker.take()
                if outcome is not None:
                    del busy[worker]
                    idle.append(worker)
                    if outcome.kind in ("hang", "memory"):
                        # It may be what a process does once, or a busy machine.
                        outcome = self.check(case, worker)
                    self._note(case, outcome)

    def check(self, case: Case, worker: Worker) -> Outcome:
        """Try a case on a worker, and wait for the outcome."""
        return worker.do(case, seconds=self.readers[case.reader].seconds)

    def minimise(self, failure: Failure) -> Failure:
        """Return the smallest input found that fails in the same way: without parts, then with zeros in their place."""
        deadline, n_tries = time.monotonic() + 5 * self._workers[0].seconds, 0
        best = failure
        for change in (lambda data, a, b: data[:a] + data[b:], lambda data, a, b: data[:a] + bytes(b - a) + data[b:]):
            size = max(1, len(best.case.data) // 2)
            while size and n_tries < _MOST_TRIES and time.monotonic() < deadline:
                start, was_smaller = 0, False
                while start < len(best.case.data) and n_tries < _MOST_TRIES and time.monotonic() < deadline:
                    data = change(best.case.data, start, min(start + size, len(best.case.data)))
                    tried = best.case._replace(data=data)
                    if data != best.case.data:
                        n_tries += 1
                        found = Failure(self.check(tried, self._workers[0]), tried)
                        if found.key == failure.key:
                            best, was_smaller = found, True
                            continue
                    start += size
                if not was_smaller or size == 1:
                    size //= 2
        return best

    def close(self) -> None:
        for worker in self._workers:
            worker.close()
        shutil.rmtree(self._scratch_dir, ignore_errors=True)

    def _note(self, case: Case, outcome: Outcome) -> None:
        self.counts[case.reader][outcome.kind] += 1
        self.counts[case.reader]["noise"] += bool(outcome.noise)
        self.counts[case.reader]["ms"] += round(1000 * outcome.seconds)
        if outcome.is_failure:
            failure = Failure(outcome, case)
            if failure.key not in self.failures:
                self.failures[failure.key] = failure
                print(f"{outcome.kind}: {case.reader} ({case.place}): {outcome.detail}", flush=True)

    def _read(self, case: Case) -> None:
        """Read a damaged file among whole ones, in a worker: in a folder that is used again where that is possible."""
        reader = self.readers[case.reader]
        group = Path(case.place).parts[0]
        home = self._scratch_dir / str(os.getpid()) / ("new" if reader.writes else "kept")
        if reader.writes:
            shutil.rmtree(home, ignore_errors=True)
        if not (home / group).exists():
            shutil.copytree(self._seeds_dir / group, home / group)
        path = home / case.place
        _replace(path, case.data)
        try:
            reader.read(path)
        except HybridSegError as error:
            check_echo(str(error), case.data)
            raise
        finally:
            if not reader.writes:
                _replace(path, self._seeds[case.reader][case.place])


def check_echo(message: str, data: bytes) -> None:
    """Raise AssertionError for a message that echoes more of a file than it should."""
    text = data.decode("utf-8", "replace")
    for line in message.split("\n"):
        parts = (line[i : i + MAX_ECHO + 1] for i in range(len(line) - MAX_ECHO))
        if line.count(ECHOED) > MAX_ECHO or any(part in text for part in parts):
            raise AssertionError(f"it echoes more than {MAX_ECHO} letters ({line.count(ECHOED)}), {line[-40:]}")


def _replace(path: Path, data: bytes) -> None:
    """Put another file there: one that is mapped into memory must not change."""
    temporary = path.with_name(".new")
    temporary.write_bytes(data)
    temporary.replace(path)


def plan(readers: Sequence[Reader], *, each: int | None, deadline: float) -> Iterator[tuple[str, int]]:
    """Name readers in turn, each with the number of its case, so often or until it is time."""
    for turn in count() if each is None else range(each):
        for reader in readers:
            for number in range(int(turn * reader.share), int((turn + 1) * reader.share)):
                if time.monotonic() > deadline:
                    return
                yield reader.name, number


def list_found(folder: Path = FOUND_DIR) -> list[Case]:
    """List the inputs that once failed: ``READER@SEED-HASH.bin``, with ``!`` for ``/`` in the path of the seed."""
    cases = []
    for path in sorted(folder.glob("*.bin")):
        name, _, rest = path.stem.partition("@")
        cases.append(Case(name, rest.rpartition("-")[0].replace("!", "/"), path.read_bytes()))
    return cases


def keep(failure: Failure, folder: Path) -> Path | None:
    """Keep an input that fails, unless it is large."""
    case = failure.case
    if len(case.data) > _KEPT_BYTES:
        return None
    folder.mkdir(exist_ok=True)
    digest = hashlib.sha256(case.data).hexdigest()[:8]
    path = folder / f"{case.reader}@{case.place.replace('/', '!')}-{digest}.bin"
    path.write_bytes(case.data)
    return path


def print_table(counts: dict[str, Counter[str]]) -> None:
    """Print how often each reader did what, how often anything was printed to the terminal, and the mean time."""
    total = sum(counts.values(), Counter())
    print(f"{'reader':48}", *(f"{kind:>7}" for kind in (*KINDS, "noise", "ms")))
    for name, found in [*sorted(counts.items()), ("all", total)]:
        mean = found["ms"] / max(1, sum(found[kind] for kind in KINDS))
        print(f"{name:48}", *(f"{found[kind]:7}" for kind in (*KINDS, "noise")), f"{mean:7.1f}")


def prepare(folder: Path, make: Callable[[Path], None] | None = None) -> Path:
    """Make the seeds in a process of their own, and import here what all workers need."""
    from seeds import know_tiny, make_seeds

    know_tiny()
    os.environ |= {
        "HYBRIDSEG_MAX_PIXELS": "1e6", "XDG_CACHE_HOME": str(folder / "cache"), "TFHUB_CACHE_DIR": str(folder / "hub"),
    }  # fmt: skip
    maker = multiprocessing.get_context("fork").Process(target=make or make_seeds, args=(folder / "seeds",))
    maker.start()
    for module in _MODULES.split() if make is None else ():
        importlib.import_module(module)
    maker.join()
    if maker.exitcode:
        raise SystemExit("the seeds could not be made")
    return folder / "seeds"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="How long to go on.")
    parser.add_argument("--each", type=int, help="Number of mutations of each reader.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="Readers whose names contain this.")
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args(arguments)
    readers = [reader for reader in READERS if chosen.only in reader.name]
    with tempfile.TemporaryDirectory(prefix="hybridseg-") as name:
        fuzzer = Fuzzer(readers, prepare(Path(name)), n_workers=chosen.workers)
        try:
            return run(fuzzer, each=chosen.each, seconds=chosen.seconds, seed=chosen.seed)
        finally:
            fuzzer.close()


def run(fuzzer: Fuzzer, *, each: int | None, seconds: float, seed: int, found_dir: Path = FOUND_DIR) -> int:
    """Try what was found earlier, then new damage; report the outcome, and keep what failed."""
    start = time.monotonic()
    fuzzer.run(fuzzer.list_whole())
    if idle := [name for name, found in fuzzer.counts.items() if not found["right"]]:
        print(f"no whole file is read by {', '.join(idle)}")
        return 1
    fuzzer.counts.clear()
    fuzzer.run(case for case in list_found(found_dir) if case.reader in fuzzer.readers)
    fuzzer.run(fuzzer.list_long(each or _MOST_LONG, seed))
    plans = plan(list(fuzzer.readers.values()), each=each, deadline=start + seconds)
    fuzzer.run(fuzzer.make_case(name, number, seed) for name, number in plans)
    took = time.monotonic() - start
    for failure in list(fuzzer.failures.values())[:_MOST_KEPT]:
        smallest = fuzzer.minimise(failure)
        print(f"{smallest.case.reader}: {smallest.outcome.detail}")
        print(f"  {keep(smallest, found_dir) or 'too large to keep'}")
    print_table(fuzzer.counts)
    n = sum(found[kind] for found in fuzzer.counts.values() for kind in KINDS)
    n_failed = sum(found[kind] for found in fuzzer.counts.values() for kind in KINDS[2:])
    verdict = f"{n_failed} failed in {len(fuzzer.failures)} ways" if n_failed else "none failed"
    speed = f"{took:.0f} s ({n / took:.0f} a second)"
    print(f"{n:,} mutations of {len(fuzzer.counts)} readers in {speed}, seed {seed}: {verdict}")
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
