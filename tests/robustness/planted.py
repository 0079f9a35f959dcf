"""Readers that fail in every way there is: the harness must notice each, and make the input small."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import fuzz
from discovery import Reader
from limits import Worker

from hybridseg.errors import BadInput


class Untidy(BadInput):
    """An error that says what it was given as it stands."""

    def __str__(self) -> str:
        return self.args[0]


def end_late(request: bool) -> None:
    """Let the process end after it has answered."""
    if request:
        threading.Timer(0.1, os.abort).start()


def fail(path: Path, kind: str) -> None:
    """Fail in some way for any file with another first byte than it should have."""
    data = path.read_bytes()
    if data[:1] == b"a":
        return
    if kind == "clear" or not data:
        raise BadInput(f"{path} is damaged")
    if kind == "wrong":
        raise KeyError(data)
    if kind == "message":
        raise Untidy("\x1b[2J" + "x" * 5000)
    if kind == "crash":
        os.abort()
    if kind == "hang":
        time.sleep(60)
    if kind == "memory":
        bytearray(100 << 20)
    if kind == "address":
        bytearray(1 << 40)


def make_planted(folder: Path) -> None:
    (folder / "home").mkdir(parents=True)
    (folder / "home" / "whole.txt").write_text("a" * 500)


def main() -> int:
    kinds = ("clear", "wrong", "message", "crash", "hang", "memory", "address")
    readers = [Reader(kind, "home/whole.txt", lambda path, kind=kind: fail(path, kind)) for kind in kinds]
    with tempfile.TemporaryDirectory() as name:
        seeds_dir = fuzz.prepare(Path(name), make_planted)
        fuzzer = fuzz.Fuzzer(readers, seeds_dir, n_workers=2, seconds=2.0, memory_bytes=50 << 20)
        code = fuzz.run(fuzzer, each=8, seconds=60, seed=0, found_dir=Path(sys.argv[1]))
        fuzzer.close()
    worker = Worker(end_late)
    worker.do(True)
    time.sleep(0.5)
    print(f"late: {worker.begin(False)}")
    worker.close()
    return code


if __name__ == "__main__":
    sys.exit(main())
