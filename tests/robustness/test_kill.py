"""The harness of `make kill`: every command is in it, it sees what it looks for, and a few kills of cheap commands."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from hybridseg.cli.main import find_commands
from tests.robustness import trial
from tests.robustness.faults import FAULTS, NEED_DISK, can_mount
from tests.robustness.kill import share_kills
from tests.robustness.trees import compare, find_torn
from tests.robustness.writers import DIFFERENCES, MADE, WRITERS, WRITES_NOTHING

REPOSITORY = Path(__file__).parents[2]


def test_every_command_is_registered():
    commands = {name for name, command in find_commands().items() if not isinstance(command, click.Group)}
    writing = {name for name in commands if any(writer.is_named(name) for writer in WRITERS)}
    assert not writing & WRITES_NOTHING.keys()
    assert commands - writing == set(WRITES_NOTHING), "add a new command to tests/robustness/writers.py"
    assert all(any(writer.is_named(name) for name in commands) for writer in WRITERS)
    page = (Path(__file__).parents[2] / "docs/reliability.md").read_text(encoding="utf-8")
    assert all(f": {entry.reason}\n" in page for entry in DIFFERENCES)


@pytest.mark.parametrize("name", ["photos", "people", "labeldefs.txt", "config.json"])
def test_inputs_are_made_where_nothing_is(tmp_path, name):
    MADE[name](tmp_path / name)
    assert (tmp_path / name).exists()


def test_what_counts_as_torn_or_lost():
    whole = {"a.json": b"{}\n", "b.csv": b"x\n1\n", "photo": b"1"}
    assert not find_torn({"photo": b"1"}, {"photo": b"1", "a.json": b"{}\n"}, whole)
    assert not find_torn({"photo": b"1"}, {"photo": b"1", "b.csv": b"x\n"}, whole), "a stage that its reader reads"
    assert not find_torn({"a.json": b"[1]"}, {"a.json": b"[1]", ".12.partial.json": b"{"}, whole), "that of before"
    assert find_torn({"photo": b"1"}, {"photo": b"1", "a.json": b"{"}, whole).startswith("torn: a.json")
    assert find_torn({"photo": b"1"}, {"photo": b"1", "b.csv": b"x\n1"}, whole).startswith("torn: b.csv")
    assert find_torn({"photo": b"1"}, {"photo": b"2"}, whole) == "input changed: photo"
    assert find_torn({"photo": b"1"}, {"a.json": b"{}\n"}, whole) == "lost: photo"
    assert not find_torn({"photo": b"1"}, {"train/photo": b"1"}, {"train/photo": b"1"}), "it was moved"
    assert not find_torn({"photo": b"1"}, {}, whole, "ph"), "it is to be replaced"
    assert not find_torn({"photo": b"0"}, {"photo": b"0"}, whole, "ph"), "and is not yet"


def test_how_another_run_may_differ():
    whole = {"a": b"1", "b": b"2"}
    assert compare(whole, dict(whole)) == ""
    assert compare(whole, {"a": b"1"}) == "lost: b"
    assert compare(whole, {"a": b"1", "b": b"3"}) == "differs: b"
    assert compare(whole, {**whole, "c": b""}) == "differs, more: c"
    assert compare(whole, {**whole, ".c.partial": b""}) == "leftovers: .c.partial"


def test_more_kills_for_those_that_take_less_time():
    few, many = share_kills([20.0, 0.1], 100)
    assert 6 <= few < many and abs(few + many - 100) <= 1


def run_harness(*words):
    """Run the harness as `make kill` does: what it forks may have no threads, and no locks, of other tests."""
    command = [sys.executable, "-m", "tests.robustness.kill", "--seed", "0", *words]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_a_few_kills():
    table = run_harness(
        "--n", "16", "split photos --move", "split photos --link", "label", "coco export", "convert photos --to png",
        "crf photos/photo_0.jpg seeds.png --labels photos/labels.txt --theta",
        "coco import coco.json --images photos --out labelled --seed",
        "unet build-lmdb --image_folder photos --mask_folder masks --output_folder data --dataset_name cells --use",
    )  # fmt: skip
    kills, equal, *failed = [int(cell) for cell in table.splitlines()[-1].strip("| ").split(" | ")[:-1]]
    assert kills >= 16 and equal > 8 and not any(failed)


@pytest.mark.slow
def test_other_faults():
    header, _, row = run_harness("--faults", "convert photos --to tif").splitlines()[-3:]
    assert len(header.split(" | ")) == len(FAULTS) + 1 - (0 if can_mount() else len(NEED_DISK))
    assert row.count(" of ") == len(header.split(" | ")) - 1 and "0 of" not in row


def test_what_a_killed_command_leaves_running(launch, monkeypatch):
    monkeypatch.setattr(trial, "_SECONDS_TO_END", 0.1)
    process = launch(["sh", "-c", "sleep 60 & echo there; wait"], start_new_session=True)
    assert process.stdout.readline() == "there\n"
    process.kill()
    assert re.fullmatch(r"process \d+ \(sleep 60 \)", trial._find_left(process.pid))
    os.killpg(process.pid, signal.SIGKILL)
    assert trial._find_left(process.pid) == ""
