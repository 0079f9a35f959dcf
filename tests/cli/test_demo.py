import json
import re
from pathlib import Path

import pytest

SCENES = Path(__file__).parents[2] / "demo_data"


@pytest.mark.slow
def test_the_demo_tells_of_a_crf_that_helps(run, tmp_path):
    out = tmp_path / "demo"
    result = run("demo", out, "--scenes", SCENES)
    assert result.exit_code == 0 and not result.stderr.count("could not be used"), result.output
    page = (out / "index.html").read_text()
    pictures = re.findall(r"<img src='([^']+)'", page)
    assert len(pictures) == 6 and all((out / name).stat().st_size > 10_000 for name in pictures)
    for command in ("demo-scenes", "split", "retile", "retrain", "eval-tiles", "semseg", "eval-pixels"):
        assert f"$ hybridseg {command} " in page
    scores = [
        json.loads((out / folder / "eval_pixels.json").read_text())["pooled"]["accuracy"]
        for folder in ("tiles_alone", "test", "best")
    ]
    assert scores[0] + 0.03 < scores[1] and scores[1] + 0.02 < scores[2]
    assert all(f"<td>{score:.3f}</td>" in page for score in scores)


def test_a_folder_of_somebody_else_is_refused(run, tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    result = run("demo", tmp_path)
    assert result.exit_code == 1 and "not from a demo" in result.stderr
    assert (tmp_path / "mine.txt").read_text() == "precious"
