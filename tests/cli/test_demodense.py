import json
import re
from pathlib import Path

import hybridseg.cli.demodense as demodense
import numpy as np
import pytest
from PIL import Image

from hybridseg.io.labels.formats import read_labelmap

SCENES = Path(__file__).parents[2] / "demo_data"
SIZE = (64, 96)
COMMANDS = (
    "demo-scenes", "split", "fcn make-labels", "fcn train", "fcn infer", "resunet init-config",
    "resunet make-tfrecords", "resunet train", "resunet segment", "eval-pixels",
)  # fmt: skip


@pytest.mark.slow
def test_the_demo_from_end_to_end(run, tmp_path, monkeypatch):
    small = {"TARGET_SIZE": list(SIZE), "MAX_EPOCHS": 2, "AUG_COPIES": 1, "PATIENCE": 2, "VALIDATION_SPLIT": 0.3}
    monkeypatch.setattr(demodense, "_SIZE", SIZE)
    monkeypatch.setattr(demodense, "_FCN_EPOCHS", 2)
    monkeypatch.setattr(demodense, "_CHANGES", demodense._CHANGES | small)
    out = tmp_path / "demo"
    result = run("demo-dense", out, "--scenes", SCENES)
    assert result.exit_code == 0 and "could not be used" not in result.stderr, result.output
    assert f"The page with all pictures and tables: {out}/index.html" in result.stdout
    page = (out / "index.html").read_text()
    # Every picture of the page is there and shows something, and every picture that is there is on the page.
    pictures = re.findall(r"<img src='([^']+)'", page)
    assert sorted(pictures) == sorted(path.name for path in out.glob("*.png")) and len(pictures) == 8
    for name in pictures:
        with Image.open(out / name) as picture:
            assert min(picture.size) > 100 and np.asarray(picture.convert("L")).std() > 5, name
    for command in COMMANDS:
        assert f"$ hybridseg {command} " in page and f"$ hybridseg {command} " in result.stdout
    check_tables(out, page)
    # Nothing that was judged was learned from.
    learned = {path.stem for path in (out / "images").iterdir()}
    judged = {path.name.removesuffix("_predseg.png") for path in (out / "fcn").glob("*_predseg.png")}
    assert judged and learned and not judged & learned and len(judged | learned) == 12
    for folder in ("fcn", "fcn_crf", "resunet"):
        for stem in judged:
            found = read_labelmap(out / folder / f"{stem}_predseg.png")
            assert found.labels.shape == (768, 1152) and found.labels.max() < len(found.table) == 11


def check_tables(out, page):
    """The tables say what the files of eval-pixels say."""
    totals, classes = (re.findall(r"<tr>(<td>.*?)</tr>", body) for body in re.findall(r"<tbody>(.*?)</tbody>", page))
    cells = [[re.findall(r"<td>(.*?)</td>", row) for row in rows] for rows in (totals, classes)]
    folders = {"FCN-8s": "fcn", "FCN-8s, CRF": "fcn_crf", "residual U-Net, CRF": "resunet"}
    found = {way: json.loads((out / d / "eval_pixels.json").read_text())["pooled"] for way, d in folders.items()}
    assert [row[0] for row in cells[0]] == list(folders)
    for way, *shares in cells[0]:
        scores = found[way]
        expected = [scores["accuracy"], scores["macro"]["iou"], scores["macro"]["f1"]]
        assert shares == [f"{value:.3f}" for value in expected]
    assert f"<th>IoU of each class</th>{''.join(f'<th>{way}</th>' for way in folders)}" in page
    for i, (name, *shares) in enumerate(cells[1]):
        rows = [record["classes"][i] for record in found.values()]
        assert {row["class"] for row in rows} == {name}
        assert shares == ["" if row["iou"] is None else f"{row['iou']:.3f}" for row in rows]
    assert len(cells[1]) == 11


def test_a_folder_of_somebody_else_is_refused(run, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/mine.txt").write_text("precious")
    result = run("demo-dense", tmp_path)
    assert result.exit_code == 1 and "holds files that are not from a demo; give an empty folder" in result.stderr
    assert (tmp_path / "images/mine.txt").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["images"]
