"""Which images to label next: by what `segment` measured, or by where several models differ."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from hybridseg.batch.manifest import ImageFacts, Manifest
from hybridseg.batch.rank import rank_results
from hybridseg.batch.results import ImageResult
from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, MissingInput, Problem
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.labelpng import write_labelpng

ABC = ClassTable.from_names(["a", "b", "c"])


@pytest.fixture
def survey(tmp_path):
    """Write a folder of results: of each image its class ids, and what was measured."""

    def write(name, results, table=ABC):
        folder = tmp_path / name
        folder.mkdir()
        manifest = Manifest.read(folder)
        images = [tmp_path / f"{stem}.png" for stem in results]
        manifest.begin(images, job="", settings={}, engine="")
        for image, (ids, measures) in zip(images, results.values(), strict=True):
            target = folder / f"{image.stem}_predseg.png"
            write_labelpng(target, LabelMap(np.array([ids], np.uint8), table))
            result = ImageResult(image, (target,), {}, (), {}, measures=measures)
            manifest.add(image, result, ImageFacts(), job="")
        manifest.add(tmp_path / "bad.png", Problem("bad.png", "is bad"), None, job="")
        return folder

    return write


def names(ranking):
    return [image.image.rpartition("/")[2] for image in ranking.images]


def test_by_what_was_measured(survey, tmp_path):
    folder = survey("one", {
        "p": ([0, 1], {"entropy": 0.1, "disagreement": 0.5}),
        "q": ([0, 1], {"entropy": 0.6, "disagreement": 0.2}),
        "r": ([0, 1], {"entropy": 0.6, "disagreement": 0.3}),
        "s": ([0, 1], {"disagreement": 0.9}),
    })  # fmt: skip
    found = rank_results([folder])
    assert found.by == "entropy" and names(found) == ["r.png", "q.png", "p.png", "s.png"]
    found = rank_results([folder], by="disagreement")
    assert names(found) == ["s.png", "p.png", "r.png", "q.png"] and found.images[0].entropy is None
    votes = survey("votes", {"p": ([0], {"disagreement": 0.9, "model_disagreement": 0.1}),
                             "q": ([0], {"disagreement": 0.2, "model_disagreement": 0.4})})  # fmt: skip
    assert names(rank_results([votes])) == ["q.png", "p.png"], "where models vote, they are what is compared"
    with pytest.raises(MissingInput, match="give the folder that `hybridseg segment --out` names"):
        rank_results([tmp_path])


def test_by_where_models_differ(survey):
    one = survey("one", {"p": ([0, 1, 1, 255], {}), "q": ([0, 0, 0, 0], {"entropy": 0.2}), "x": ([0], {})})
    # The same classes in another order.
    other = ClassTable.from_names(["c", "b", "a"])
    two = survey("two", {"p": ([2, 1, 0, 0], {}), "q": ([2, 2, 2, 2], {"entropy": 0.4}), "y": ([0], {})}, other)
    found = rank_results([one, two])
    assert found.by == "disagreement" and names(found) == ["p.png", "q.png"]
    assert found.images[0].disagreement == pytest.approx(1 / 3), "where both have a class"
    assert found.images[1].disagreement == 0 and found.images[1].entropy == pytest.approx(0.3)
    with pytest.raises(BadInput, match="the disagreement of these results is not known; have several models vote"):
        rank_results([one], by="disagreement")
    small = survey("small", {"p": ([0, 1], {}), "q": ([0, 0, 0, 0], {})})
    found = rank_results([one, small])
    assert names(found) == ["q.png"] and "another size than" in found.problems[0].message
    smaller, nothing = survey("smaller", {"p": ([0, 1], {})}), survey("nothing", {"p": ([255] * 4, {})})
    with pytest.raises(BadInput, match=r"can be compared; of the first one: .*p\.png: .*another size than"):
        rank_results([nothing, smaller])
    with pytest.raises(BadInput, match="in no image do both say the class of a pixel"):
        rank_results([one, nothing])
    with pytest.raises(BadInput, match=r"one and .*one are the same folder; give results of different models"):
        rank_results([one, smaller, one / ".." / "one"])
    with pytest.raises(BadInput, match="are the same folder"):
        rank_results([one, one])
    with pytest.raises(BadInput, match="no image in common"):
        rank_results([one, survey("none", {"z": ([0], {})})])


def test_the_command(survey, run, tmp_path):
    folder = survey("one", {f"p{i:02}": ([0, 1], {"entropy": i / 20}) for i in range(12)})
    result = run("rank", folder, "--out", tmp_path / "ranking.csv")
    lines = result.output.splitlines()
    assert lines[0] == "12 images by entropy, the least sure first (the first 10):"
    assert lines[1].split() == ["image", "entropy", "disagreement"] and lines[2].split() == ["p11.png", "0.550", "-"]
    assert f"Next: look at them with hybridseg label --review {folder}" in result.output
    odd = survey("r odd é", {"a": ([0, 1], {"entropy": 0.5})})
    assert run("rank", odd).output.endswith(f"Next: look at them with hybridseg label --review '{odd}'\n")
    with (tmp_path / "ranking.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12 and rows[0]["image"] == str(tmp_path / "p11.png") and rows[0]["disagreement"] == ""
    assert rows[0]["result"] == str(folder / "p11_predseg.png")
    assert run("rank", folder, "--out", tmp_path / "ranking.csv").exit_code == 0, "its own is replaced"
    (tmp_path / "mine.csv").write_text("site,date\n")
    result = run("rank", folder, "--out", tmp_path / "mine.csv")
    assert result.exit_code == 1 and "was not written by hybridseg" in result.output
    assert (tmp_path / "mine.csv").read_text() == "site,date\n"
    # Neither a table that only mentions the columns, nor another result of ours.
    (tmp_path / "mine.csv").write_text("note\nimage,entropy,disagreement,result\n")
    assert run("rank", folder, "--out", tmp_path / "mine.csv").exit_code == 1
    made = folder / "p00_predseg.png"
    before = made.read_bytes()
    result = run("rank", folder, "--out", made)
    assert result.exit_code == 2 and f"--out {made} does not end in .csv" in result.output
    assert made.read_bytes() == before
    found = json.loads(run("rank", folder, "--json").stdout)["result"]
    assert found["by"] == "entropy" and found["images"][11]["entropy"] == 0
    assert run("rank", folder, "--by", "disagreement").exit_code == 1


def test_all_paths_are_absolute(survey, tmp_path, monkeypatch):
    """However the folder was given: the list may be read from anywhere."""
    folder = survey("one", {"a": ([0], {"entropy": 0.5}), "b": ([1], {"entropy": 0.25})})
    monkeypatch.chdir(folder.parent)
    found = rank_results([Path(folder.name)])
    assert [(one.image, one.result) for one in found.images] == [
        (str(tmp_path / f"{stem}.png"), str(folder / f"{stem}_predseg.png")) for stem in "ab"
    ]


def test_a_run_measures_it(run, tiny_model, paint_classes, tmp_path):
    from hybridseg.batch.results import read_confidence
    from hybridseg.io.images import write_image

    photos, out = tmp_path / "photos", tmp_path / "out"
    write_image(photos / "clear.png", paint_classes("water", "sand", "veg"))
    mixed = paint_classes("water", "sand", "veg").astype(int) + paint_classes("veg", "water", "sand")
    write_image(photos / "mixed.png", (mixed // 2).astype(np.uint8))
    words = ("segment", photos, "--model", tiny_model, "--out", out, "--engine", "serial", "--no-figures")
    assert run(*words).exit_code == 0
    before = rank_results([out])
    assert run(*words, "--probabilities").exit_code == 0
    found = rank_results([out])
    assert found == before, "tiles are compared anyway, and only the map is new"
    assert found.by == "entropy" and found.images[0].entropy > found.images[1].entropy
    for image in found.images:
        entropy = read_confidence(tmp_path / "out" / f"{image.result[:-4]}_entropy.tif")
        assert image.entropy == pytest.approx(float(entropy.mean()), abs=0.01) and 0 < image.entropy < 1
        assert 0 <= image.disagreement < 1
