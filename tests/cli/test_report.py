"""What a program reads of a command: one JSON object on standard output, however the command ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

from hybridseg.cli.console import Console
from hybridseg.cli.main import find_commands, main
from hybridseg.cli.report import Report

KEYS = ["program", "version", "command", "status", "written", "scores", "verdict", "next", "result", "warnings",
        "problems", "error", "seconds", "steps"]  # fmt: skip


def read(result):
    """Read standard output, which is one JSON object and nothing else."""
    report = json.loads(result.stdout, parse_constant=pytest.fail)
    assert list(report) == KEYS and report["program"] == "hybridseg" and result.stdout.isascii()
    return report


@pytest.mark.parametrize("name", find_commands())
def test_every_command_and_group_takes_the_options_of_all(name, run):
    command = find_commands()[name]
    flags = [parameter.opts[0] for parameter in command.params if isinstance(parameter, click.Option)]
    assert flags[-3:] == ["--quiet", "--json", "--verbose"], "the last in the help"
    for words in (["--json", *name.split(), "--no-such"], [*name.split(), "--no-such", "--json"]):
        result = run(*words)
        report = read(result)
        assert result.exit_code == 2 and report["status"] == "failed" and "No such option" in report["error"]
        assert report["command"] == words


def test_what_was_written(run, coast):
    result = run("split", coast, "--json")
    report = read(result)
    assert report["status"] == "done" and report["result"] == {
        "images": {"train": 2, "test": 2, "unlabelled": 0}, "labelled": 4
    }  # fmt: skip
    assert [Path(path).name for path in report["written"]] == ["train", "test", "split.csv"]
    assert all(Path(path).exists() for path in report["written"]) and 0 < report["seconds"] < 60
    assert "train: 2 images" in result.stderr, "the text is elsewhere"
    # The same again, between the group and its command and quietly.
    assert run("--json", "split", coast, "--quiet").stderr == ""


@pytest.mark.usefixtures("quick_panels")
def test_scores_are_those_of_the_files(run, coast):
    for path in sorted(coast.glob("*_mres.mat")):
        path.with_name(path.name.replace("_mres", "_ares_16")).write_bytes(path.read_bytes())
    report = read(run("eval-pixels", coast, "--json"))
    record = json.loads((coast / "eval_pixels.json").read_text())
    assert report["scores"] == record["pooled"]
    assert report["verdict"] == record["verdict"]
    assert report["next"] == "compare 5 photos or more" and len(report["written"]) == 13
    assert all(Path(path).is_file() for path in report["written"])


def test_an_error(run):
    result = run("split", "nowhere", "--json", "--quiet")
    report = read(result)
    assert result.exit_code == 1 and report["status"] == "failed" and report["written"] == []
    assert report["error"] in result.stderr and report["error"].startswith("there is no folder ")


def test_files_that_cannot_be_used(run, coast):
    (coast / "scene_01_mres.mat").write_bytes(b"no")
    result = run("retile", "-t", 16, coast, "--jobs", 1, "--json", "--quiet")
    report = read(result)
    assert result.exit_code == 1 and report["status"] == "failed" and report["error"] is None
    [problem] = report["problems"]
    assert problem["path"] == str(coast / "scene_01_mres.mat") and problem["message"].startswith("cannot be read")
    assert str(coast / "tile_16") in report["written"] and len(report["warnings"]) > 0
    assert result.stderr.count("warning: ") == len(report["warnings"])


def test_ctrl_c_and_a_bug(coast, monkeypatch, run):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("hybridseg.cli.prepare.split_folder", stop)
    result = run("split", coast, "--json")
    report = read(result)
    assert result.exit_code == 130 and report["status"] == "interrupted" and report["error"] is None
    assert "is complete; give the same command again, and what" in result.stderr
    monkeypatch.setattr("hybridseg.cli.predict.find_images", stop)
    stopped = run("predict", "-m", "model.pb", "-i", coast)
    assert "give the same command again with --resume, and what" in stopped.stderr

    def fail(*_, **__):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("hybridseg.cli.prepare.split_folder", fail)
    result = click.testing.CliRunner().invoke(main, ["split", str(coast), "--json"])
    assert isinstance(result.exception, ZeroDivisionError), "the traceback is shown"
    report = read(result)
    assert report["status"] == "failed" and report["error"] == "ZeroDivisionError: by zero"


def test_commands_that_a_command_runs_are_its_steps(run, tmp_path, monkeypatch):
    @click.command()
    @click.pass_context
    def both(context):
        console = context.ensure_object(Console)
        console.run_command(["demo-scenes", str(tmp_path / "s"), "--n", "1", "--size", "48x64"])
        console.run_command(["split", str(tmp_path / "none")])

    monkeypatch.setattr("hybridseg.cli.demo.demo", both)
    result = run("--json", "demo")
    report = read(result)
    scenes, split = report["steps"]
    assert result.exit_code == 1 and report["error"] == split["error"] and split["status"] == "failed"
    assert scenes["status"] == "done" and list(scenes) == KEYS[2:] and scenes["command"][0] == "demo-scenes"
    assert all(Path(path).is_file() for path in scenes["written"]) and len(scenes["written"]) == 5
    assert report["written"] == []


def test_whatever_is_found_becomes_json():
    report = Report(
        (os.fsdecode(b"na\xefve"),),
        written=[Path(os.fsdecode(b"\xff.png"))],
        result={"nan": float("nan"), "inf": np.float32("inf"), "counts": np.arange(2), "share": np.float32(0.5)},
    )
    found = json.loads(report.to_json(), parse_constant=pytest.fail)
    assert found["command"] == ["na?ve"] and found["written"] == ["?.png"]
    assert found["result"] == {"nan": None, "inf": None, "counts": [0, 1], "share": 0.5}


def test_a_name_that_is_not_utf8(tmp_path):
    (tmp_path / "photos").mkdir()
    for name in (b"a.jpg", b"na\xefve.jpg"):
        Image.new("RGB", (8, 8)).save(tmp_path / "photos" / os.fsdecode(name), "JPEG")
    command = [sys.executable, "-m", "hybridseg", "split", "photos", "--json"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, env=environment)
    report = json.loads(done.stdout.decode("ascii"))
    assert done.returncode == 1 and report["result"]["images"]["train"] == 1
    assert [Path(problem["path"]).name for problem in report["problems"]] == ["na?ve.jpg"]


def test_a_group_without_a_command_is_an_error_in_a_line(run):
    done = run("--json", "fcn")
    assert done.exit_code == 2 and json.loads(done.stdout)["error"] == "Missing command."


def test_the_warnings_of_steps_are_those_of_the_whole(coast):
    console = Console(quiet=True)
    (coast / "labels.txt").write_text("a\n")
    console.run_command(["retile", str(coast), "-t", "16", "-a", "0.99", "--jobs", "1"])
    [step] = console.report.steps
    assert step.warnings and console.report.warnings == step.warnings
