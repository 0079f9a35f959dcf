"""Damage the files of a few readers of our own, guided by the code that it reaches: ``make fuzz ATHERIS=1``.

    python tests/robustness/fuzzcovered.py --seconds 600 --seed 0

Each reader has its share of the time, in a process of its own: damage that reaches code that none has reached before is
kept and damaged further. An input that fails is kept in ``found/``, as by `fuzz`.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

TARGETS = {
    "io.labels.mat5.read_mat5": "labels/map.mat",
    "io.labels.pngcheck.check_png": "pictures/rgb.png",
    "io.tfrecords.decode_record": "records/record1.bin",
    "io.annotations.doodler.read_doodlernpz": "annotations/plain.npz",
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", choices=TARGETS, help="This reader, in this process.")
    parser.add_argument("--folder", type=Path, help="Where the seeds are.")
    chosen = parser.parse_args(arguments)
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed, so no coverage guides the damage: pip install 'hybridseg[fuzz]'")
        return 0
    if chosen.target:
        return search(chosen.target, chosen.folder, seconds=chosen.seconds, seed=chosen.seed)
    from fuzz import prepare
    from seeds import make_seeds

    failed = []
    with tempfile.TemporaryDirectory(prefix="hybridseg-") as name:
        prepare(Path(name), make_seeds)
        for target in TARGETS:
            share = ["--seconds", str(chosen.seconds / len(TARGETS)), "--seed", str(chosen.seed)]
            command = [sys.executable, __file__, "--target", target, "--folder", name, *share]
            if subprocess.run(command, check=False).returncode:
                failed.append(target)
    print(f"failed: {', '.join(failed)}" if failed else f"{len(TARGETS)} readers, guided by coverage: none failed")
    return 1 if failed else 0


def search(target: str, folder: Path, *, seconds: float, seed: int) -> int:
    """Search for damage that makes a reader fail; libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=[f"hybridseg.{name.rpartition('.')[0]}" for name in TARGETS]):
        from readers import READERS
        from seeds import know_tiny
    know_tiny()
    from fuzz import FOUND_DIR, Case, Failure, keep
    from limits import judge

    reader = next(reader for reader in READERS if reader.name == target)
    path = folder / f"damaged{Path(TARGETS[target]).suffix}"
    corpus = folder / "corpus" / target
    corpus.mkdir(parents=True)
    for seed_path in reader.list_seeds(folder / "seeds"):
        (corpus / seed_path.name).write_bytes(seed_path.read_bytes())
        # What is imported on use is not part of the time of an input.
        reader.read(seed_path)

    def try_input(data: bytes) -> None:
        path.write_bytes(data)
        outcome = judge(lambda: reader.read(path))
        if outcome.is_failure:
            print(f"{outcome.kind}: {outcome.detail}")
            print(keep(Failure(outcome, Case(target, TARGETS[target], data)), FOUND_DIR))
            os._exit(1)

    print(f"\n{target}", flush=True)
    limits = ["-timeout=10", "-rss_limit_mb=4000", "-max_len=20000", f"-artifact_prefix={folder}/"]
    atheris.Setup([target, f"-max_total_time={seconds:.0f}", f"-seed={seed + 1}", *limits, "-verbosity=0",
                   "-print_final_stats=1", str(corpus)], try_input)  # fmt: skip
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
