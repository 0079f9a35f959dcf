import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from scipy.ndimage import label

from hybridseg.classes import VOID, ClassTable
from hybridseg.data.cocoexport import CocoExportOptions, export_coco
from hybridseg.errors import BadInput, OutputExists
from hybridseg.io.annotations.painted import paint_annotations
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.matfiles import write_matfile
from hybridseg.io.masks import find_labelled

# pycocotools 2.0.11 has not caught up with NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CLASSES = ClassTable(("background", "lake", "wood"), ((0, 0, 0), (0, 0, 255), (0, 120, 0)))
FORMS = [CocoExportOptions(), CocoExportOptions(rle=True)]


@pytest.fixture
def labels():
    """Blots with holes, islands in the holes, and single pixels, also at the border; some of it void."""
    rng = np.random.default_rng(3)
    drawn = (rng.random((12, 17)) * 3.4).astype(np.uint8).repeat(3, axis=0).repeat(3, axis=1)
    drawn[5:14, 20:29], drawn[8:11, 23:26] = 1, 2
    drawn[drawn == 3] = VOID
    return drawn


@pytest.fixture
def folder(tmp_path, make_pair, labels):
    (tmp_path / "photos").mkdir()
    make_pair(tmp_path / "photos", "a", labels, classes=CLASSES)
    make_pair(tmp_path / "photos", "b", np.roll(labels, 10, axis=1), classes=CLASSES)
    return tmp_path / "photos"


def export(folder, options=FORMS[0], **more):
    return export_coco(find_labelled([folder]).pairs, folder.parent / "out.json", options=options, **more)


@pytest.mark.parametrize("options", FORMS, ids=["polygons", "run lengths"])
def test_pycocotools_reads_every_pixel(folder, labels, options):
    result = export(folder, options)
    judge = COCO(str(result.path))
    assert [row["name"] for row in judge.loadCats(judge.getCatIds())] == ["lake", "wood"]
    truth = {"a.png": labels, "b.png": np.roll(labels, 10, axis=1)}
    for image in judge.loadImgs(judge.getImgIds()):
        wanted = truth[image["file_name"]]
        assert (image["height"], image["width"]) == wanted.shape
        for class_id, name in enumerate(CLASSES.names[1:], start=1):
            rows = judge.loadAnns(judge.getAnnIds(imgIds=image["id"], catIds=judge.getCatIds(catNms=[name])))
            masks = [judge.annToMask(row) for row in rows]
            # Each pixel once: the areas are apart.
            assert np.array_equal(np.sum(masks, axis=0), wanted == class_id)
            assert len(rows) == label(wanted == class_id)[1]
            for row, mask in zip(rows, masks, strict=True):
                r, c = np.nonzero(mask)
                assert row["area"] == len(r) and row["iscrowd"] == 0
                assert row["bbox"] == [c.min(), r.min(), np.ptp(c) + 1, np.ptp(r) + 1]
    assert result.n_areas == {"lake": len(judge.getAnnIds(catIds=1)), "wood": len(judge.getAnnIds(catIds=2))}


@pytest.mark.parametrize("options", FORMS, ids=["polygons", "run lengths"])
def test_it_comes_back(folder, labels, options):
    result = export(folder, options)
    found = paint_annotations(result.path, shape=labels.shape, image_name="a.jpg", table=CLASSES)
    # Lakes have islands of wood: the larger area was painted first, and its hole is one.
    assert np.array_equal(found.areas, np.where(labels == VOID, 0, np.where(labels == 0, 0, labels + 1)))


def test_which_classes_and_areas(folder, labels):
    everything = export(folder, CocoExportOptions(without=()))
    assert list(everything.n_areas) == ["background", "lake", "wood"]
    lakes = export(folder, CocoExportOptions(without=("Wood", "background"), min_area=10), overwrite=True)
    areas = [row["area"] for row in json.loads(lakes.path.read_text())["annotations"]]
    assert list(lakes.n_areas) == ["lake"] and min(areas) >= 10
    assert len(areas) + lakes.n_small == everything.n_areas["lake"] and lakes.n_small > 0
    with pytest.raises(BadInput, match="no class is called 'car'"):
        export(folder, CocoExportOptions(without=("car",)), overwrite=True)


def test_a_name_may_have_a_comma(folder, make_pair):
    make_pair(folder, "c", np.arange(3)[None].repeat(3, axis=0), classes=ClassTable.from_names(["a", "b", "A, b"]))
    for without, left in ((("a, B",), ["lake", "wood", "a", "b"]), (("b,a", "wood"), ["lake", "A, b"])):
        result = export(folder, CocoExportOptions(without=(*without, "background")), overwrite=True)
        assert list(result.n_areas) == left


def test_the_file_is_called_as_what_it_is(folder):
    with pytest.raises(BadInput, match=r"--out .*q\.txt: name it with the suffix \.json"):
        export_coco([], folder / "q.txt")


def test_classes_are_joined_by_name(folder, make_pair):
    make_pair(folder, "c", np.ones((4, 4)), classes=ClassTable.from_names(["Wood", "sand"]))
    result = export(folder)
    record = json.loads(result.path.read_text())
    assert [row["name"] for row in record["categories"]] == ["lake", "wood", "sand"]
    assert record["annotations"][-1] == {
        **{"id": len(record["annotations"]), "image_id": 3, "category_id": 3, "area": 16, "iscrowd": 0},
        **{"segmentation": [[0, 0, 0, 4, 4, 4, 4, 0]], "bbox": [0, 0, 4, 4]},
    }


def test_what_cannot_be_used_and_what_is_there(folder):
    write_matfile(folder / "b_mres.mat", LabelMap(np.zeros((3, 3), np.uint8), CLASSES))
    result = export(folder)
    [problem] = result.problems
    assert result.n_images == 1 and "3 x 3 pixels, but b.png has 36 x 51" in problem.message
    with pytest.raises(OutputExists, match="give --overwrite"):
        export(folder)
    write_matfile(folder / "a_mres.mat", LabelMap(np.zeros((3, 3), np.uint8), CLASSES))
    with pytest.raises(BadInput, match=r"no label map can be used:\n.*a_mres.mat: has 3 x 3"):
        export(folder, overwrite=True)
