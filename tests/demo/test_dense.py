"""The demonstration of the dense networks, with networks that were never trained: `make demo-dense` trains them."""

import json
import re
from itertools import pairwise
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

from hybridseg.cli.main import find_commands, main
from hybridseg.demo.dense import claim_demo, run_dense_demo
from hybridseg.errors import OutputExists
from hybridseg.io.images import write_image
from hybridseg.io.labels.formats import read_labelmap, write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap

COMMANDS = (
    "demo-scenes", "split", "fcn make-labels", "fcn train", "fcn infer", "resunet init-config",
    "resunet make-tfrecords", "resunet train", "resunet segment", "unet train", "unet infer", "eval-pixels",
)  # fmt: skip
WAYS = {"FCN-8s": "fcn", "FCN-8s, CRF": "fcn_crf", "residual U-Net": "resunet", "U-Net": "unet"}


def run_command(words):
    """Parse a command as the program does; run it, or leave what it leaves without a network."""
    n_names = 2 if words[0] in ("fcn", "resunet", "unet") else 1
    name, values = " ".join(words[:n_names]), dict(pairwise(words))
    # Below the main command, as it is used: a command remembers the flags of its help.
    root = click.Context(main, **main.context_settings)
    find_commands()[name].make_context(name, list(words[n_names:]), parent=root)
    if name == "demo-scenes":
        return
    if name in ("fcn train", "unet train"):
        draw_run(Path(values["--runs-dir"]) / values["--name"] / "model")
    elif name == "fcn infer":
        refined = "--crf" in words
        segment_nearly(
            Path(values["--samples-dir"]), Path(values["--output-dir"]), n_wrong=40 + 20 * refined,
            title="predseg_crf" if refined else "predseg",
        )  # fmt: skip
    elif name == "resunet train":
        draw_run(Path(values["--weights-out"]).with_suffix(""))
    elif name == "unet infer":
        segment_nearly(Path(values["--images"]), Path(values["--out"]), n_wrong=20)
    elif name == "resunet segment":
        segment_nearly(Path(values["--images"]), Path(values["--out"]), n_wrong=90)
    else:
        main.main(words, prog_name="hybridseg", standalone_mode=False)


def draw_run(base):
    """Leave the pictures of a training run."""
    base.parent.mkdir(parents=True)
    picture = np.random.default_rng(0).integers(0, 256, (120, 120, 3), np.uint8)
    for name in ("training", "examples", "train_sample_batch", "learning_rate", "network"):
        write_image(base.with_name(f"{base.name}_{name}.png"), picture)


def segment_nearly(images_dir, out_dir, *, n_wrong, title="predseg"):
    """Leave the truth as label maps, but for some rows."""
    out_dir.mkdir()
    for path in images_dir.glob("*_mres.mat"):
        truth = read_labelmap(path)
        labels = truth.labels.copy()
        labels[:n_wrong] = 1
        stem = path.name.removesuffix("_mres.mat")
        write_labelmap(out_dir / f"{stem}_{title}.png", LabelMap(labels, truth.table))


@pytest.fixture(scope="module")
def demo(scenes, tmp_path_factory):
    """The folder of a demo, and the lines that it printed."""
    out, lines = tmp_path_factory.mktemp("dense") / "demo", []
    with pytest.MonkeyPatch.context() as patch:
        # The page shows none of these, and to draw them takes longer than all the rest.
        patch.setattr("hybridseg.evaluation.pixels.draw_confusion", lambda *_, **__: None)
        page = run_dense_demo(out, scenes, run_command=run_command, say=lines.append)
    assert page == out / "report.html"
    return out, "".join(lines)


@pytest.mark.slow
def test_the_page(demo):
    out, lines = demo
    page = re.sub("</?span>", "", (out / "report.html").read_text())
    # Every picture of the page is there and shows something, and every picture that is there is on the page.
    pictures = re.findall(r"<img src='([^']+)'", page)
    assert sorted(pictures) == sorted(path.name for path in out.glob("*.png")) and len(pictures) == 11
    for name in pictures:
        with Image.open(out / name) as picture:
            assert min(picture.size) > 100 and np.asarray(picture.convert("L")).std() > 5, name
    for command in COMMANDS:
        assert f"<code>hybridseg {command} " in page and f"$ hybridseg {command} " in lines
    check_tables(out, page)
    verdicts = re.findall(r"<li><strong>(.*?)</strong>: (.*?)</li>", page)
    assert [way for way, _ in verdicts] == list(WAYS) and all("of the pixels are right" in text for _, text in verdicts)


def test_the_folder_of_an_earlier_demo_is_cleared_of_what_the_demo_makes(tmp_path):
    out = tmp_path / "new" / "demo"
    claim_demo(out)
    (out / "train").mkdir()
    (out / "train/old.png").touch()
    (out / "mine").mkdir()
    claim_demo(out)
    assert sorted(path.name for path in out.iterdir()) == ["DEMO.txt", "mine"]


def test_a_folder_of_somebody_else_is_refused(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train/mine.txt").write_text("precious")
    with pytest.raises(OutputExists, match="not from a demo"):
        claim_demo(tmp_path)
    assert (tmp_path / "train/mine.txt").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["train"]


@pytest.mark.slow
def test_nothing_that_is_evaluated_was_trained_on(demo):
    out, _ = demo
    trained = {path.stem for path in (out / "images").iterdir()}
    tested = {path.name.removesuffix("_predseg.png") for path in (out / "fcn").glob("*_predseg.png")}
    assert tested and trained and not tested & trained and len(tested | trained) == 6
    for folder in ("data/samples/RGB/train/demo", "images"):
        assert {path.stem for path in (out / folder).iterdir()} == trained
    assert json.loads((out / "records/index.json").read_text())


def check_tables(out, page):
    """The tables say what the files of eval-pixels say."""
    totals, classes = (re.findall(r"<tr>(<td>.*?)</tr>", body) for body in re.findall(r"<tbody>(.*?)</tbody>", page))
    cells = [[re.findall(r"<td>(.*?)</td>", row) for row in rows] for rows in (totals, classes)]
    found = {way: json.loads((out / d / "eval_pixels.json").read_text())["pooled"] for way, d in WAYS.items()}
    assert len({scores["accuracy"] for scores in found.values()}) == 4
    assert [row[0] for row in cells[0]] == list(WAYS)
    for way, *shares in cells[0]:
        scores = found[way]
        expected = [scores["accuracy"], scores["macro"]["iou"], scores["macro"]["f1"]]
        assert shares == [f"{value:.3f}" for value in expected]
    assert f"<th>IoU of each class</th>{''.join(f'<th>{way}</th>' for way in WAYS)}" in page
    for i, (name, *shares) in enumerate(cells[1]):
        rows = [record["classes"][i] for record in found.values()]
        assert {row["class"] for row in rows} == {name}
        assert shares == ["" if row["iou"] is None else f"{row['iou']:.3f}" for row in rows]
    assert [row[0] for row in cells[1]] == ["water", "sand", "cliff"]
