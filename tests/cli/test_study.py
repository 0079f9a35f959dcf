import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hybridseg.io.images import write_image


@pytest.fixture
def data(tmp_path, monkeypatch):
    """The current folder, with photos/ of two classes, masks/ and labels.txt: what the example of the help names."""
    monkeypatch.chdir(tmp_path)
    labels = np.repeat(np.arange(2, dtype=np.uint8), 48)[None].repeat(96, axis=0)
    # One texture in all of them, which makes them alike.
    view = np.where(labels[..., None], 170, 30) + np.random.default_rng(9).integers(0, 60, (*labels.shape, 3))
    for i in range(5):
        noise = np.random.default_rng(i).integers(0, 10, view.shape)
        write_image(tmp_path / f"photos/{i}.jpg", (view + noise).astype(np.uint8))
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(labels).save(tmp_path / f"masks/{i}.png")
    (tmp_path / "labels.txt").write_text("water\nsand\n")
    return tmp_path


GIVEN = ("run", "photos", "--masks", "masks", "--labels", "labels.txt")


def test_everything_is_told_before_and_nothing_is_written(data, run):
    result = run(*GIVEN, "--dry-run")
    assert result.exit_code == 0 and not (data / "photos_run").exists()
    assert "3 for training, 2 for testing, 0 without a mask" in result.stdout and "about" in result.stdout
    report = json.loads(run(*GIVEN, "--dry-run", "--json").stdout)
    assert [step["command"].split()[1] for step in report["result"]["plan"]][:2] == ["split", "retile"]
    assert report["written"] == [] and report["scores"] is None
    result = run(*GIVEN[:-1], "masks/0.png")
    assert result.exit_code == 1 and "is not a text file" in result.stderr and len(list(data.iterdir())) == 3
    result = run(*GIVEN, "--proportion", "1")
    assert result.exit_code == 1 and result.stderr == "Error: --proportion=1.0: give a number above 0 and below 1\n"


def test_what_a_person_typed_is_named(data, run):
    result = run("run", "photos", "--labels", "labels.txt", "--dry-run")
    assert result.exit_code == 1 and result.stderr.endswith("or in a folder of its own: --masks DIR\n")
    result = run(*GIVEN, "--group-by", r"(\d{4}", "--dry-run")
    assert result.stderr.startswith(r"Error: --group-by '(\d{4}' is not a regular expression")
    assert "'abc' is not a valid integer" in run(*GIVEN, "--seed", "abc").stderr


@pytest.mark.slow
@pytest.mark.usefixtures("small_encoder", "quick_panels")
def test_the_commands_their_results_and_the_report(data, run):
    given = (*GIVEN, "--method", "fcn", "--epochs", "1")
    result = run(*given)
    assert result.exit_code == 0, result.output
    assert re.findall(r"\$ hybridseg (fcn \w+|\S+)", result.stdout) == [
        "split",
        "fcn train",
        "fcn infer",
        "eval-pixels",
    ]
    assert re.search(r"\nNext: .*\nThe report: (.*)\n$", result.stdout)[1] == str(data / "photos_run/report.html")
    again = run("--quiet", *given)
    assert again.exit_code == 0 and again.stdout == ""
    assert (
        again.stderr.startswith("warning: ") and "both photos for testing are of nearly the same view" in again.stderr
    )
    assert (data / "photos_run/report.html").exists()
    report = json.loads(run("--json", *given).stdout)
    assert report["written"] == ["photos_run/report.html"] and report["steps"] == [], "nothing was left to be done"
    scores = json.loads((data / "photos_run/fcn/scores/eval_pixels.json").read_text())
    assert report["scores"] == report["result"]["methods"]["fcn"] == scores["pooled"]
    assert report["verdict"] == scores["verdict"] and report["result"]["best"] == "fcn"
    shutil.rmtree(data / "photos_run/fcn/scores")
    report = json.loads(run("--json", *given).stdout)
    [step] = report["steps"]
    assert all(line in report["warnings"] for line in step["warnings"])
    assert step["command"][0] == "eval-pixels" and step["scores"]["accuracy"] == scores["pooled"]["accuracy"]
    assert step["written"] and all(Path(path).exists() for path in step["written"])
