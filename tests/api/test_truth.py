"""Ground truth from Python: scribbles that are spread, and COCO files there and back."""

import json

import numpy as np
import pytest

import hybridseg as hs
from hybridseg.errors import BadInput, BadUsage, OutputExists
from hybridseg.io.images import write_image


@pytest.fixture
def scribbles():
    """Seeds on the photos of `photos`: water in the dark left half, sand in the bright right one."""
    seeds = np.zeros((60, 90), np.uint8)
    seeds[10:50, 20], seeds[10:50, 70] = 1, 2
    return seeds


@pytest.mark.usefixtures("quick_panels")
def test_scribbles_are_spread(photos, scribbles, run, tmp_path):
    before = set(tmp_path.rglob("*"))
    found = hs.spread(photos / "a.png", scribbles, labels=["water", "sand"])
    assert set(tmp_path.rglob("*")) == before, "nothing is written"
    assert (found.labels[:, :45] == 0).all() and (found.labels[:, 45:] == 1).all()
    assert repr(found) == "<SpreadResult: 60 x 90 pixels, water 50%, sand 50%>" and found._repr_png_()[1:4] == b"PNG"
    path = hs.write_labelmap(tmp_path / "a_mres.mat", found)
    done = hs.spread(str(photos / "a.png"), str(tmp_path / "a_mres.mat"), out=tmp_path / "ours")
    assert done.written[0] == tmp_path / "ours" / "a_mres.mat" and path is None
    assert run("crf", photos / "a.png", tmp_path / "a_mres.mat", "--out", tmp_path / "theirs").exit_code == 0
    for name in ("a_mres_label.png", "a_report.txt"):
        assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes()
    assert np.array_equal(hs.read_labelmap(done.written[0]).labels, found.labels)
    with pytest.raises(OutputExists, match="overwrite=True replaces it, out= writes to another folder"):
        hs.spread(photos / "a.png", tmp_path / "a_mres.mat", out=tmp_path / "ours")
    hs.spread(photos / "a.png", tmp_path / "a_mres.mat", out=tmp_path / "ours", overwrite=True, scale=0.5)


@pytest.mark.parametrize(
    ("seeds", "settings", "message"),
    [
        (np.ones((60, 90), np.uint8), {}, "does not name its classes; give labels="),
        (np.full((60, 90), 3), {"labels": ["a", "b"]}, r"whole numbers from 0, unlabelled, to 2, the last class; not"),
        (np.ones((60, 90)), {"labels": ["a"]}, "not \\(60, 90\\) of float64"),
        (np.zeros((60, 90), int), {"labels": ["a"]}, "there are no scribbles"),
        (np.ones((6, 9), np.uint8), {"labels": ["a"]}, "map of scribbles has 6 x 9 pixels, but a.png has 60 x 90"),
        (np.ones((60, 90), np.uint8), {"labels": ["a", "b"], "scale": 2}, "^scale=2: give a number above 0"),
    ],
)
def test_what_is_no_scribble(photos, seeds, settings, message):
    with pytest.raises((BadInput, BadUsage), match=message):
        hs.spread(photos / "a.png", seeds, **settings)


@pytest.fixture
def houses(tmp_path):
    """Six photos with a house and a wood each, and their COCO file."""
    images, rows = [], []
    for i in range(6):
        write_image(tmp_path / "photos" / f"p{i}.png", np.full((40, 40, 3), 30 * i, np.uint8))
        images.append({"id": i, "file_name": f"p{i}.png", "height": 40, "width": 40})
        for category_id, left in ((1, 0), (2, 20)):
            area = [left, 0, left + 15, 0, left + 15, 30, left, 30]
            rows.append({"image_id": i, "category_id": category_id, "segmentation": [area]})
    categories = [{"id": 1, "name": "house, old"}, {"id": 2, "name": "wood"}]
    (tmp_path / "set.json").write_text(json.dumps({"images": images, "annotations": rows, "categories": categories}))
    return tmp_path


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "model.pb"}, "model= suggests labels to a person who draws"),
        ({"sam_encoder": "e.onnx", "sam_decoder": "d.onnx"}, "are for the smart wand; leave them out with review=True"),
        ({"import_": "labels"}, "import_= is for labelling"),
        ({"masks": "masks"}, "give masks= alone"),
    ],
)
def test_what_a_review_has_no_use_for(photos, settings, message):
    with pytest.raises(BadUsage, match=message):
        hs.label(photos, review=True, **settings)


def test_coco_there_and_back(houses, monkeypatch):
    monkeypatch.chdir(houses)
    sets = hs.import_coco("set.json", images="photos", out="labelled", categories="house, old")
    assert repr(sets) == "<CocoImportResult: train 3, validation 1, test 2 in labelled>"
    assert list(sets.table) == ["background", "house, old"] and "<td>house, old</td><td>6</td>" in sets._repr_html_()
    assert len(list(sets.train_dir.glob("*_label.png"))) == 3 and sets.test_dir.name == "test"
    done = hs.export_coco(sets.train_dir, out="back.json")
    assert repr(done) == "<CocoExportResult: 3 annotations of 3 images in back.json>"
    assert "<td>house, old</td><td>3</td>" in done._repr_html_()
    everything = hs.export_coco(sets.train_dir, out="back.json", without=(), overwrite=True)
    assert list(everything.n_areas) == ["background", "house, old"]
    nothing = hs.export_coco(sets.train_dir, out="back.json", without=["house, old", "background"], overwrite=True)
    assert nothing.n_areas == {}


def test_coco_in_pythons_words(houses, monkeypatch):
    monkeypatch.chdir(houses)
    with pytest.raises(BadInput, match=r"it has no category car \(categories=\)"):
        hs.import_coco("set.json", images="photos", out="labelled", categories=["car"])
    (houses / "photos" / "p0.png").unlink()
    sets = hs.import_coco("set.json", images="photos", out="labelled", proportion=0)
    assert [problem.message for problem in sets.problems] == ["it is not in photos (images=)"]
    assert sets.warnings == ("train/ is empty: no image went there, by proportion=0 and validation=0.3 of 5 images",)
    assert "1 file could not be used, see .problems" in repr(sets)
    with pytest.raises(BadInput, match=r"^out='q\.txt': name it with the suffix \.json"):
        hs.export_coco(sets.test_dir, out="q.txt")
    with pytest.raises(OutputExists, match="give overwrite=True to replace it, or out= for another place"):
        hs.import_coco("set.json", images="photos", out="labelled")
