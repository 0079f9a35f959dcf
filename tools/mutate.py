"""Break the program on purpose, one place at a time, and see whether its tests notice.

    python tools/mutate.py                 # every break, on all cores
    python tools/mutate.py crf io          # those of two rooms
    python tools/mutate.py --check         # only check that every break can be made

The breaks stand in `mutations.py`. Each one is made in a copy of the tree, where the tests that it names are run. The
exit code is 1 when less than 95 % are noticed, and 2 when a break cannot be made as it stands.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import queue
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
# What the tests read; nothing of it is written in the repository itself.
PARTS = (
    "hybridseg",
    "tests",
    "tools",
    "docs",
    "labels",
    "demo_data",
    "conftest.py",
    "pyproject.toml",
    "setup.py",
    "README.md",
    "SECURITY.md",
)
WANTED_SHARE = 0.95
TIMEOUT = 900
# Exit codes of pytest; all others mean that it could not run the tests.
PASSED, FAILED = 0, 1


@dataclass(frozen=True)
class Break:
    """One place to break: in `file`, the text `old` becomes `new`, which one of the tests should notice."""

    room: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def __str__(self) -> str:
        old, new = (" ".join(text.split()) for text in (self.old, self.new))
        return f"{self.file}: {old} -> {new or '(nothing)'}"

    def find_fault(self) -> str | None:
        """Say why the break cannot be made, if it cannot."""
        if not (REPOSITORY / self.file).is_file():
            return "there is no such file"
        n_places = (REPOSITORY / self.file).read_text(encoding="utf-8").count(self.old)
        if n_places != 1:
            return f"its text occurs {n_places} times, not once"
        missing = [test for test in self.tests if not (REPOSITORY / test.partition("::")[0]).exists()]
        return f"there is no {missing[0]}" if missing or not self.tests else None


def read_breaks() -> list[Break]:
    """Read the table of `mutations.py`."""
    spec = importlib.util.spec_from_file_location("mutations", Path(__file__).with_name("mutations.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [
        Break(room, f"hybridseg/{file}", old, new, tuple(f"tests/{test}" for test in tests.split()))
        for room, rows in module.BREAKS.items()
        for file, old, new, tests in rows
    ]


def copy_tree(folder: Path) -> Path:
    """Copy what the tests need into a folder, and return it."""
    for name in PARTS:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def run_tests(folder: Path, tests: tuple[str, ...], *options: str) -> tuple[int, str]:
    """Run tests in a copy of the tree; return pytest's exit code and the last lines that it printed."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not browser", *options, *tests]
    settings = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(  # nosec B603 # pytest, on files named here
            command, cwd=folder, env=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=TIMEOUT,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return FAILED, "it never ends"
    return done.returncode, "\n".join(done.stdout.splitlines()[-15:])


def is_noticed(item: Break, folder: Path) -> bool:
    """Make the break in a copy of the tree, and return whether a test fails."""
    path = folder / item.file
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(item.old, item.new), encoding="utf-8")
    try:
        code, said = run_tests(folder, item.tests, "-x")
    finally:
        path.write_text(text, encoding="utf-8")
    if code not in (PASSED, FAILED):
        sys.exit(f"{item}\nthe tests could not be run:\n{said}")
    return code == FAILED


def main() -> None:
    """Make every break and print what was noticed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rooms", nargs="*", help="only the breaks of these rooms")
    parser.add_argument("--check", action="store_true", help="only check that every break can be made")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="breaks at the same time")
    words = parser.parse_args()
    breaks = [item for item in read_breaks() if not words.rooms or item.room in words.rooms]
    faults = [f"{item}: {fault}" for item in breaks if (fault := item.find_fault())]
    if faults or not breaks:
        print("\n".join(faults) or "there are no breaks of these rooms", file=sys.stderr)
        sys.exit(2)
    if words.check:
        print(f"{len(breaks)} breaks in {len({item.room for item in breaks})} rooms can be made")
        return
    with tempfile.TemporaryDirectory() as name:
        trees: queue.Queue[Path] = queue.Queue()
        for i in range(words.jobs):
            trees.put(copy_tree(Path(name) / str(i)))
        # Tests that fail by themselves would notice everything.
        code, said = run_tests(Path(name) / "0", tuple(sorted({test for item in breaks for test in item.tests})))
        if code != PASSED:
            sys.exit(f"the tests fail without any break:\n{said}")

        def try_break(item: Break) -> bool:
            tree = trees.get()
            try:
                return is_noticed(item, tree)
            finally:
                trees.put(tree)

        with ThreadPoolExecutor(words.jobs) as pool:
            results = []
            for item, noticed in zip(breaks, pool.map(try_break, breaks), strict=True):
                results.append(noticed)
                print(f"{'noticed ' if noticed else 'SURVIVED'}  {item}", flush=True)
    share = sum(results) / len(results)
    print(f"{sum(results)} of {len(results)} breaks noticed: {share:.1%}")
    sys.exit(share < WANTED_SHARE)


if __name__ == "__main__":
    main()
