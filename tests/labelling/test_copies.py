"""The images of a run that lie elsewhere are copied when a person first looks at them."""

import json
import os
import signal
import threading
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import rasterio.shutil

from hybridseg.batch.manifest import ImageFacts, Manifest, identify
from hybridseg.batch.results import ImageResult
from hybridseg.errors import BadInput, MissingInput
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.labelpng import write_labelpng
from hybridseg.io.masks import find_labelled
from hybridseg.io.sources import as_source, name_copy
from hybridseg.labelling import copies
from hybridseg.labelling.copies import COPIES_DIR
from hybridseg.labelling.judging import Judging
from hybridseg.labelling.review import ReviewSession

LABELS = np.repeat(np.arange(3, dtype=np.uint8), 20)[:, None].repeat(90, axis=1)


@pytest.fixture
def run(photos, tmp_path, table):
    """The results of `segment` on an image in an archive, one that GDAL is trusted with, and one on this machine."""
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(photos / "a.png", "in/zipped.png")
    rasterio.shutil.copy(photos / "a.png", tmp_path / "bitmap.bmp", driver="BMP")
    sources = (f"/vsizip/{tmp_path}/all.zip/in/zipped.png", f"gdal:{tmp_path}/bitmap.bmp", str(photos / "b.png"))
    (results := tmp_path / "results").mkdir()
    manifest = Manifest.read(results)
    manifest.begin(images := [as_source(one) for one in sources], job="", settings={}, engine="")
    for image in images:
        target = results / f"{image.stem}_predseg.png"
        write_labelpng(target, LabelMap(LABELS, table))
        manifest.add(image, ImageResult(image, (target,), {}, (), {}, measures={"entropy": 0.5}), ImageFacts(), job="")
    return results


def read_here(session):
    return {item["name"]: item["here"] for item in session.list_items()}


def test_they_are_listed_at_once_and_copied_when_they_are_seen(run):
    session = ReviewSession(run, fetch=True)
    assert read_here(session) == {"b.png": True, "bitmap.tif": False, "zipped.png": False}
    assert {(item["rows"], item["cols"]) for item in session.list_items()} == {(60, 90)}
    for item in session.list_items():
        assert session.draw_tile(item["id"], "picture", (0, 0, 0)).startswith(b"\xff\xd8")
        assert session.draw_tile(item["id"], "automatic", (0, 0, 0)).startswith(b"\x89PNG")
    assert set(read_here(session).values()) == {True}
    assert sorted(path.name for path in (run / COPIES_DIR).iterdir()) == ["bitmap.tif", "zipped.png"]
    # What is there is not fetched again.
    (run.parent / "all.zip").unlink()
    again = ReviewSession(run, fetch=True)
    assert set(read_here(again).values()) == {True}
    again.draw_tile(again.list_items()[2]["id"], "picture", (0, 0, 0))


@pytest.mark.slow
def test_ground_truth_lies_beside_the_copy_to_train_with(run):
    judging = Judging(ReviewSession(run, fetch=True))
    ids = {row["name"]: row["id"] for row in judging.list_items()}
    judging.accept(ids["bitmap.tif"])
    judging.mend(ids["zipped.png"])
    assert np.array_equal(read_labelmap(run / COPIES_DIR / "bitmap_mres.mat").labels, LABELS)
    assert [pair.image_path.name for pair in find_labelled([run / COPIES_DIR]).pairs] == ["bitmap.tif"]
    decided = {row["name"]: row["decision"] for row in Judging(ReviewSession(run, fetch=True)).list_items()}
    assert decided == {"b.png": None, "bitmap.tif": "accepted", "zipped.png": "mending"}


@pytest.mark.parametrize("act", ["accept", pytest.param("mend", marks=pytest.mark.slow)])
def test_while_one_is_copied_the_list_is_shown(run, monkeypatch, act):
    judging = Judging(ReviewSession(run, fetch=True))
    copies, seen = judging.review.copies, []
    fetch = copies.fetch

    def look_meanwhile(path):
        if copies.lacks(path):
            looking = threading.Thread(target=lambda: seen.append(judging.list_items()), daemon=True)
            looking.start()
            looking.join(10)
            assert seen, "the list waits"
        fetch(path)

    monkeypatch.setattr(copies, "fetch", look_meanwhile)
    getattr(judging, act)(next(row["id"] for row in judging.list_items() if row["name"] == "zipped.png"))
    assert seen


@pytest.mark.slow
def test_one_that_is_gone_is_told_and_the_others_are_shown(run):
    (run.parent / "all.zip").unlink()
    session = ReviewSession(run, fetch=True)
    by_name = {item["name"]: item["id"] for item in session.list_items()}
    with pytest.raises(MissingInput, match=r"zipped\.png cannot be fetched"):
        session.draw_tile(by_name["zipped.png"], "picture", (0, 0, 0))
    assert session.draw_tile(by_name["bitmap.tif"], "picture", (0, 0, 0))
    assert not (run / COPIES_DIR / name_copy(as_source("/vsizip/all.zip/zipped.png"))).exists()


def test_a_manifest_of_others_makes_nobody_fetch_anything(run):
    session = ReviewSession(run)
    assert [item["name"] for item in session.list_items()] == ["b.png"]
    (problem,) = session.problems
    unseen = "does not show 2 images on the web, in archives or readable only by GDAL"
    assert str(problem).startswith(f"{run}: {unseen}: /vsizip/")
    assert str(problem).endswith("; add --fetch to show them, if you trust whoever made the run")
    (run / "b_predseg.png").unlink()
    with pytest.raises(MissingInput, match=r"does not show .*add --fetch"):
        ReviewSession(run)


@pytest.mark.slow
def test_a_crash_of_gdal_ends_no_session(run, monkeypatch):
    session = ReviewSession(run, fetch=True)
    by_name = {item["name"]: item["id"] for item in session.list_items()}
    monkeypatch.setattr(copies, "_copy", crash)
    with pytest.raises(BadInput, match=r"bitmap\.tif cannot be shown: the process that copied it crashed \(SIGSEGV\)"):
        session.draw_tile(by_name["bitmap.tif"], "picture", (0, 0, 0))
    monkeypatch.undo()
    assert session.draw_tile(by_name["bitmap.tif"], "picture", (0, 0, 0))


def crash(source, path):
    os.kill(os.getpid(), signal.SIGSEGV)


def test_a_copy_of_an_older_image_is_told_and_stays(run):
    session = ReviewSession(run, fetch=True)
    ids = {item["name"]: item["id"] for item in session.list_items()}
    session.draw_tile(ids["bitmap.tif"], "picture", (0, 0, 0))
    copy, image = run / COPIES_DIR / "bitmap.tif", as_source(f"gdal:{run.parent}/bitmap.bmp")
    os.utime(copy, (0, 0))
    before, facts = copy.read_bytes(), identify(copy)
    result = ImageResult(image, (run / "bitmap_predseg.png",), {}, (), {})
    # The same image by another model.
    Manifest.read(run).add(image, result, facts, job="other")
    assert read_here(ReviewSession(run, fetch=True))["bitmap.tif"]
    Manifest.read(run).add(image, result, replace(facts, sha256="0" * 64), job="")
    (problem,) = ReviewSession(run, fetch=True).problems
    assert problem.where == "bitmap.tif" and "was copied before the image changed; move it" in problem.message
    assert copy.read_bytes() == before


@pytest.mark.parametrize("name", ["", "/" + "n" * 300, "/tmp/\0.jpg"])
def test_a_name_that_no_image_can_have(run, photos, name):
    lines = (run / "manifest.jsonl").read_text().splitlines()
    lines.append(json.dumps(json.loads(lines[-1]) | {"image": name}))
    (run / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    assert set(read_here(ReviewSession(run, fetch=True))) == {"b.png", "bitmap.tif", "zipped.png"}
