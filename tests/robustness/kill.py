"""Kill every command that writes, at random moments, run it again, and compare with a run that nothing disturbed.

    python -m tests.robustness.kill                    # 1,000 kills over all commands
    python -m tests.robustness.kill --n 50 crf split   # 50, over the entries of two commands
    python -m tests.robustness.kill --faults           # full disk, read-only folder, ... in place of kills

A kill is SIGKILL to a whole group of processes: at any time of a run, or at one of its writes. Exit code 1 when a file
was torn or lost, or another run did not give the same.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from hybridseg.cli.main import find_commands
from hybridseg.demo import dense as demo_dense
from hybridseg.models import resunet
from hybridseg.models.encoders import ENCODERS
from hybridseg.study import steps
from tests.conftest import define_small_encoder
from tests.robustness.faults import FAULTS, NEED_DISK, can_mount, fill_disk
from tests.robustness.trees import Tree, compare, find_torn, normalize, read_tree
from tests.robustness.trial import Bench, Run, draw_moment, run_again
from tests.robustness.writers import WRITERS, Writer

QUICK = {
    "demo-scenes": {"n": 6, "size": "96x144"},
    "retile": {"n_jobs": 1},
    "retrain": {"tfhub_module": "module", "input_size": 32, "how_many_training_steps": 60, "learning_rate": 0.3},
    "unet train": {"encoder": "none", "widths": "4,3", "epochs": 2},
}
OUTCOMES = ("equal", "torn", "lost", "differs", "leftovers", "rerun failed")


@dataclass
class Tally:
    """The outcomes of an entry, and what went wrong."""

    writer: Writer
    seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def note(self, outcome: str, fault: str = "") -> None:
        """Count an outcome."""
        self.outcomes[outcome] += 1
        if fault:
            self.faults.append(fault)
            print(f"  {self.writer.words}\n    {fault}", flush=True)


def run_whole(bench: Bench, writer: Writer) -> tuple[Run, Tree]:
    """Run a command that nothing disturbs: how that went, and what it leaves."""
    before = bench.lay_out(writer)
    run = bench.run(writer)
    if run.code or run.find_fault():
        raise SystemExit(f"{writer.words}: exit code {run.code}\n{run.text}")
    whole = normalize(read_tree(bench.folder))
    if "--overwrite" not in writer.words and "--move" not in writer.words:
        changed = [name for name, data in normalize(before).items() if whole.get(name) != data]
        if changed:
            raise SystemExit(f"{writer.words}: changed {', '.join(changed)}")
    return run, whole


def kill_once(bench: Bench, writer: Writer, whole: tuple[Run, Tree], rng: random.Random) -> tuple[int, str, str]:
    """Kill a command at a random moment, once or a few times, and run it again.

    Returns
    -------
    tuple of int and two str
        How often it was killed; the outcome, and in words what was wrong.
    """
    before, n_kills, moments = bench.lay_out(writer), 0, []
    while not n_kills or rng.random() < 0.15:
        moment = draw_moment(rng, whole[0])
        run = bench.run(writer, again=bool(n_kills), disturbed=moment)
        if run.code == 124:
            return n_kills, "rerun failed", f"hung after {moments}"
        if run.code >= 0 and not n_kills:
            # It was over before the moment came; or it failed by itself.
            if run.code:
                return n_kills, "rerun failed", f"failed by itself: {run.text[-300:]}"
            before = bench.lay_out(writer)
            continue
        n_kills += run.code < 0
        moments.append(str(moment))
        if run.left:
            return n_kills, "leftovers", f"{run.left}; killed at {moments}"
        if torn := find_torn(before, read_tree(bench.folder), whole[1], writer.replaces):
            return n_kills, torn.partition(":")[0].replace("input changed", "torn"), f"{torn}; killed at {moments}"
    run = run_again(bench, writer)
    difference = compare(whole[1], normalize(read_tree(bench.folder)))
    if run.code == 1 and not difference and not run.find_fault():
        # It was killed after its last write, and replaces nothing.
        return n_kills, "equal", ""
    if run.code:
        return n_kills, "rerun failed", f"exit code {run.code}: {run.text.strip()[-400:]}; killed at {moments}"
    if difference:
        return n_kills, difference.partition(":")[0].partition(",")[0], f"{difference}; killed at {moments}"
    return n_kills, "equal", ""


def share_kills(seconds: list[float], n: int, least: int = 6) -> list[int]:
    """Divide kills among commands: `least` for each, and more for those that take less time."""
    least = min(least, n // len(seconds))
    rest = n - least * len(seconds)
    weights = [1 / (1 + second) for second in seconds]
    return [least + round(rest * weight / sum(weights)) for weight in weights]


def preload(writers: list[Writer]) -> None:
    """Import what the commands import, and shrink networks; nothing is run here, so that forks are safe."""
    os.environ.update(TF_USE_LEGACY_KERAS="1", TF_CPP_MIN_LOG_LEVEL="2", TF_ENABLE_ONEDNN_OPTS="0")
    for name in ("matplotlib.figure", "rasterio", "scipy.ndimage"):
        importlib.import_module(name)
    commands = find_commands()
    if any(writer.trains for writer in writers):
        for name in ("tensorflow", "tf_keras"):
            importlib.import_module(name)
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # What commands that run others do not say: as small as that which is said here.
    for name, values in QUICK.items():
        for option in commands[name].params:
            option.default = values.get(str(option.name), option.default)
    ENCODERS["mobilenet_v2"] = define_small_encoder()()
    resunet._N_LEVELS = 2
    steps._ENOUGH_TILES = 300
    demo_dense._FCN_EPOCHS, demo_dense._SIZE = 2, (64, 96)
    demo_dense._CHANGES.update(TARGET_SIZE=[64, 96], MAX_EPOCHS=2, AUG_COPIES=1, PATIENCE=2)


def select_writers(names: list[str]) -> list[Writer]:
    """Return the entries whose words begin with one of these, or all."""
    found = [writer for writer in WRITERS if not names or any(writer.words.startswith(name) for name in names)]
    if not found:
        raise SystemExit(f"no entry begins with {' or '.join(names)}")
    return found


def run_kills(bench: Bench, writers: list[Writer], n: int, seed: int) -> list[Tally]:
    """Kill all entries, `n` times together."""
    wholes, tallies = [], []
    for writer in writers:
        wholes.append(run_whole(bench, writer))
        print(f"{wholes[-1][0].seconds:6.1f} s {wholes[-1][0].n_writes:5d} writes  {writer.words}", flush=True)
    for writer, whole, wanted in zip(writers, wholes, share_kills([w[0].seconds for w in wholes], n), strict=True):
        tally, rng, began = Tally(writer), random.Random(f"{seed} {writer.words}"), time.monotonic()
        n_kills = 0
        while n_kills < wanted:
            killed, outcome, fault = kill_once(bench, writer, whole, rng)
            n_kills += max(killed, 1)
            tally.outcomes["kills"] += killed
            tally.note(outcome, fault)
        tally.seconds = time.monotonic() - began
        print(f"{n_kills:4d} kills {tally.seconds:6.0f} s  {dict(tally.outcomes)}  {writer.words}", flush=True)
        tallies.append(tally)
    return tallies


def run_faults(bench: Bench, writers: list[Writer], seed: int) -> int:
    """Disturb each entry in every other way than by kills; print what went wrong, and return the exit code."""
    faults = {name: fault for name, fault in FAULTS.items() if can_mount() or fault not in NEED_DISK}
    print("| " + " | ".join((*faults, "command")) + " |\n" + "|---" * (len(faults) + 1) + "|")
    code = 0
    for writer in writers:
        whole, rng, cells = run_whole(bench, writer), random.Random(f"{seed} {writer.words}"), []
        for name, disturb in faults.items():
            n = 1 if whole[0].seconds > 3 or disturb is not fill_disk else 4
            found = [text for _ in range(n) if (text := disturb(bench, writer, whole, rng))]
            for text in found:
                print(f"  {name}: {writer.words}\n    {text}")
            cells.append(f"{n - len(found)} of {n}")
            code |= bool(found)
        print("| " + " | ".join((*cells, f"`{writer.words}`")) + " |", flush=True)
    return code


def print_table(tallies: list[Tally]) -> int:
    """Print the outcomes of each entry and of all; return the exit code."""
    columns = ("kills", *OUTCOMES)
    total: Counter[str] = Counter()
    print("\n| " + " | ".join((*columns, "command")) + " |")
    print("|" + "---:|" * len(columns) + "---|")
    for tally in tallies:
        total += tally.outcomes
        print("| " + " | ".join(str(tally.outcomes[name]) for name in columns) + f" | `{tally.writer.words}` |")
    print("| " + " | ".join(str(total[name]) for name in columns) + " | all |")
    return int(any(total[name] for name in OUTCOMES if name != "equal"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="the beginnings of the words of entries")
    parser.add_argument("--n", type=int, default=1000, help="kills in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", action="store_true", help="other faults than kills")
    given = parser.parse_args()
    writers = select_writers(given.names)
    preload(writers)
    # Not a TemporaryDirectory, which every fork would remove at its end.
    bench = Bench(Path(tempfile.mkdtemp(prefix="kill-")).resolve())
    try:
        if given.faults:
            return run_faults(bench, writers, given.seed)
        return print_table(run_kills(bench, writers, given.n, given.seed))
    finally:
        shutil.rmtree(bench.root, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
