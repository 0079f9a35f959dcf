"""A study from end to end, with a backbone that takes no time."""

import base64
import io
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hybridseg.cli.main import main
from hybridseg.errors import BadInput
from hybridseg.io.images import read_image
from hybridseg.io.labels.formats import read_labelmap

# Each runs the commands of a whole study: too long, all together, for the everyday tests.
pytestmark = [pytest.mark.usefixtures("quick_panels"), pytest.mark.slow]


def read_scores(folder):
    return json.loads((Path(folder) / "scores/eval_pixels.json").read_text())


def list_commands(page):
    found = re.findall(r"<pre>.*?</pre>", re.sub("</?span>", "", page))
    lines = re.findall(r"<code>hybridseg (.*?)</code>", "".join(found))
    return [shlex.split(line.replace("&#x27;", "'")) for line in lines]


def test_a_study(study, data, words):
    own = {path: path.read_bytes() for path in (*data.glob("photos/*"), *data.glob("masks/*"), data / "labels.txt")}
    ran = study()
    steps = study.result.findings.next_steps
    assert "--method both" in steps.weak and "--method both" in steps.beaten
    out = data / "photos_run"
    assert [given[0] for given in ran] == ["split", "retile", "retrain", "semseg", "eval-pixels", "semseg"]
    assert {path: path.read_bytes() for path in own} == own and len(list(data.iterdir())) == 4
    check_sets(out)
    assert (out / "hybrid/labels.txt").read_text() == "water\nsand\ncliff\n"
    scores = read_scores(out / "hybrid")
    check_report(study, out, scores)
    check_that_nothing_is_repeated(study, ran, data)
    # Each command of the report gives the same alone, in a folder of its own.
    label, *commands = list_commands((out / "report.html").read_text())
    assert commands == ran
    assert label[0] == "label" and label[-2:] == ["--labels", "labels.txt"]
    assert {Path(path).name for path in label[1:-2]} == {"flight2_6.jpg", "flight3_7.jpg"}
    assert all(Path(path).exists() for path in label[1:-2]), "those of the user, not links to them"
    shutil.rmtree(out)
    for given in commands:
        main.main(["--quiet", *given, *words.get(given[0], [])], prog_name="hybridseg", standalone_mode=False)
    assert read_scores(out / "hybrid") == scores


def check_sets(out):
    """No photo for testing was trained on, and those without a mask are apart."""
    sets = {name: {p.stem for p in (out / name).glob("*.jpg")} for name in ("train", "test", "unlabelled")}
    assert [len(sets[name]) for name in sets] == [4, 2, 2] and len(set.union(*sets.values())) == 8
    tiles = {path.name.rpartition("_r")[0] for path in (out / "hybrid/tiles").rglob("*.jpg")}
    assert tiles == sets["train"]
    assert {p.name.partition("_ares")[0] for p in (out / "hybrid/test").glob("*_ares_32.mat")} == sets["test"]
    assert {p.name.partition("_ares")[0] for p in (out / "hybrid/unlabelled").glob("*.mat")} >= sets["unlabelled"]


def check_report(study, out, scores):
    page = (out / "report.html").read_text()
    assert study.result.report_path == Path("photos_run/report.html") and "src='data:image" in page
    assert not re.findall(r"(?:src|href)='(?!data:)", page), "one file holds everything"
    assert study.result.findings.best.verdict.text.replace("'", "&#x27;").replace(" %", "&nbsp;%") in page
    for row in scores["pooled"]["classes"]:
        assert f"<tr><td>{row['class']}</td><td>{row['precision']:.3f}</td><td>{row['recall']:.3f}</td>" in page
    results, _, review = page.partition("What a review of the photos and masks found")
    assert results.count("<div class='strip'>") == 4 and ">errors</figcaption>" in page
    # The photos are drawn so alike that those for testing show what was trained on.
    assert re.search(r"<h2>\d photos are in two sets at once", review) and "<span class='stack'>" in review
    shares = re.findall(r"<h3>(best|worst) by Dice: .*? <small>Dice ([\d.]+), ([\d.]+) % right</small>", page)
    assert [kind for kind, *_ in shares] == ["best", "worst"] and float(shares[0][1]) >= float(shares[1][1])
    assert {(dice, f"{float(share) / 100:.3f}") for _, dice, share in shares} == {
        (f"{p['dice']:.3f}", f"{p['accuracy']:.3f}") for p in scores["pairs"].values()
    }
    check_what_to_label(out, page)
    assert len(page) < 2e6


def check_what_to_label(out, page):
    """The photos without a mask, the least certain first."""
    shares = {}
    for path in (out / "hybrid/unlabelled").glob("*_ares_32.mat"):
        tiles, result = (read_labelmap(p).labels for p in (str(path).replace("_ares_", "_atiles_"), path))
        shares[f"{path.name.partition('_ares')[0]}.jpg"] = np.mean((tiles == result)[tiles != 255])
    rows = re.findall(r"<td>(flight\d_[67]\.jpg)</td><td>([\d.]+)</td>", page)
    assert [name for name, _ in rows] == sorted(shares, key=shares.get) and len(rows) == 2
    assert all(float(share) == pytest.approx(shares[name], abs=0.001) for name, share in rows)


def check_that_nothing_is_repeated(study, ran, data):
    assert study() == [] and "6 of 6 steps were done before, with the same photos and settings" in study.lines
    # A new mask changes all that follows; another training only what follows it.
    assert [given[0] for given in study(tile_size=16)] == [given[0] for given in ran[1:]]
    assert not list((data / "photos_run/hybrid/test").glob("*_ares_32*")), "results of before are gone"
    assert [given[0] for given in study()] == [given[0] for given in ran[1:]], "nor is the first training there now"
    path = data / "masks/flight0_0.png"
    path.write_bytes(path.read_bytes())
    assert [given[0] for given in study()] == [given[0] for given in ran]


@pytest.mark.parametrize("command", ["retile", "retrain", "semseg", "eval-pixels"])
def test_the_same_command_goes_on(study, data, command):
    with pytest.raises(KeyboardInterrupt):
        study(stop_at=command)
    assert not (data / "photos_run/report.html").exists()
    names = ["split", "retile", "retrain", "semseg", "eval-pixels", "semseg"]
    assert [given[0] for given in study()] == names[names.index(command) :]
    assert (data / "photos_run/report.html").exists()


def test_only_checked(study, data):
    assert study(check_only=True) == [] and not (data / "photos_run").exists() and study.result.report_path is None
    assert any(re.match(r"6 steps, about \d+ s", line) for line in study.lines)
    assert study.lines[-1].startswith("hybridseg semseg photos_run/unlabelled --model ")


@pytest.mark.usefixtures("small_encoder")
def test_both_methods(study, data):
    ran = [given[:2] if given[0] == "fcn" else given[:1] for given in study(method="both", epochs=1)]
    steps = study.result.findings.next_steps
    assert "--method" not in steps.weak and not steps.beaten
    assert ran[6:] == [["fcn", "train"], ["fcn", "infer"], ["eval-pixels"], ["fcn", "infer"]]
    page = (data / "photos_run/report.html").read_text()
    for name in ("hybrid", "fcn"):
        pooled = read_scores(data / "photos_run" / name)["pooled"]
        assert re.search(rf"<td>{name} \(.*?\)</td><td>{pooled['accuracy']:.3f}</td>", page)
    assert "The better of the two methods on these photos is hybrid" in page
    assert study(method="fcn", epochs=1) == study(method="hybrid") == [], "each was done with the other"
    # Interrupted within the training, it goes on after the last epoch.
    with pytest.raises(KeyboardInterrupt):
        study(method="fcn", epochs=2, stop_at="fcn")
    assert "--resume" in study(method="fcn", epochs=2)[0]


def test_a_list_of_the_photos_for_testing(study, data):
    Path("test.txt").write_text("flight0_0\nflight1_5\n")
    assert "--test" in study(test_list=Path("test.txt"))[0]
    out = data / "photos_run"
    assert {path.stem for path in (out / "test").glob("*.jpg")} == {"flight0_0", "flight1_5"}
    assert read_scores(out / "hybrid")["pairs"].keys() == {"flight0_0_ares_32", "flight1_5_ares_32"}
    # Another list is another split.
    Path("test.txt").write_text("flight0_0\n")
    assert study(test_list=Path("test.txt"))[0][0] == "split"


def list_sets(out):
    return {name: {path.name for path in (out / name).glob("*.jpg")} for name in ("train", "test")}


def test_photos_that_are_labelled_later_leave_the_others_in_their_sets(study, data):
    """A new draw would move photos from one set to the other: scores before and after could not be compared."""
    study()
    before = list_sets(data / "photos_run")
    for name in ("flight2_6", "flight3_7"):
        shutil.copy(data / "masks/flight0_0.png", data / f"masks/{name}.png")
    study(check_only=True)
    [told] = [line for line in study.lines if line.startswith("photos of the run before stay in their sets")]
    out = data / "photos_run/test.txt"
    assert told.endswith("of 2 new ones 1 are for training and 1 for testing") and not out.exists()
    assert study()[0][-5:] == ["--test", "photos_run/test.txt", "--link", "--out", "photos_run"]
    after = list_sets(data / "photos_run")
    assert before["train"] < after["train"] and before["test"] < after["test"] and len(after["test"]) == 3
    assert set(out.read_text().split()) == after["test"] and told[1:] in (out.parent / "report.html").read_text()
    assert study() == [], "and the same again is done already"
    # Interrupted while the photos are divided, they are still known.
    shutil.rmtree(data / "photos_run/train")
    with pytest.raises(KeyboardInterrupt):
        study(stop_at="split")
    study(stop_at=None)
    assert list_sets(data / "photos_run") == after
    # Another draw was asked for.
    assert "--seed" in study(seed=3)[0] and not out.exists()


def test_classes_that_are_no_file_become_one(study, data):
    path = Path("photos_run/labeldefs.txt")
    study(check_only=True, labels_path=path)
    assert not path.parent.exists()
    with pytest.raises(KeyboardInterrupt):
        study(stop_at="retrain", labels_path=path)
    assert [line.split(",")[0] for line in path.read_text().splitlines()] == ["water", "sand", "cliff"]
    assert study(labels_path=path)[0][0] == "retrain", "the file is the same, so what was done is done"


def test_masks_beside_the_photos(study, data):
    for path in data.glob("masks/*"):
        path.rename(data / "photos" / f"{path.stem}_mask.png")
    assert "--masks" not in study(masks_dir=None)[0]
    assert read_scores(data / "photos_run/hybrid")["pooled"]["accuracy"] > 0.9


def test_the_errors_are_where_result_and_mask_differ(study, data):
    study()
    page = (data / "photos_run/report.html").read_text()
    strip = re.search(r"<h3>worst by Dice: (.*?)\.jpg.*?</div>", page, re.DOTALL)
    pictures = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).astype(int)
        for data in re.findall(r"base64,([^']+)'", strip[0])
    ]
    photo, mask, result, errors = pictures
    differs = (mask != result).any(axis=2)
    assert differs.any() and np.array_equal((errors == (135, 0, 255)).all(axis=2), differs)
    assert np.abs(photo - read_image(data / f"photos/{strip[1]}.jpg")).mean() < 12


def test_a_damaged_record_is_told(study, data):
    (data / "photos_run").mkdir()
    (data / "photos_run/steps.json").write_text('{"steps": 3}')
    with pytest.raises(
        BadInput, match=r"photos_run/steps\.json is damaged .*; remove photos_run, or give another --out"
    ):
        study()
