"""COCO files, there and back, as a user works with them: what is printed, and what the next commands make of it."""

import json
from unicodedata import normalize

import numpy as np
import pytest
from PIL import Image

from hybridseg.dense.datasets import open_folders
from hybridseg.io.images import write_image
from hybridseg.io.labels.formats import read_labelmap


@pytest.fixture
def houses(tmp_path):
    """Ten photos of 64 x 64 pixels, each with two houses that overlap a wood, and their COCO file."""
    (tmp_path / "photos").mkdir()
    images, rows = [], []
    for i in range(10):
        write_image(tmp_path / "photos" / f"p{i}.png", np.full((64, 64, 3), 20 * i, np.uint8))
        images.append({"id": i, "file_name": f"p{i}.png", "height": 64, "width": 64})
        for category_id, (left, right) in ((1, (0, 32)), (1, (40, 60)), (2, (16, 64))):
            area = [left, 0, right, 0, right, 32, left, 32]
            rows.append({"image_id": i, "category_id": category_id, "segmentation": [area], "iscrowd": 0})
    categories = [{"id": 1, "name": "house"}, {"id": 2, "name": "wood"}]
    record = {"images": images, "annotations": rows, "categories": categories}
    (tmp_path / "set.json").write_text(json.dumps(record))
    return tmp_path


def test_what_is_printed(run, houses):
    result = run("coco", "import", houses / "set.json", "--images", houses / "photos", "--out", houses / "out")
    assert result.exit_code == 0 and result.stderr == ""
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["house", "20"] in lines and ["wood", "10"] in lines
    sets = [["train", "5"], ["validation", "2"], ["test", "3"]]
    assert [words for words in lines if words in sets] == sets
    (houses / "photos" / "p3.png").unlink()
    words = ("coco", "import", houses / "set.json", "--images", houses / "photos", "--out", houses / "out")
    assert run(*words).exit_code == 1
    result = run(*words, "--overwrite", "--categories", "wood,", "--categories", "wood,house", "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 1 and "p3.png: it is not in" in result.stderr and "warning" not in result.stderr
    assert report["result"]["images"] == {"train": 4, "validation": 2, "test": 3}
    assert report["result"]["annotations"] == {"wood": 9, "house": 18}
    assert [row["name"] for row in report["result"]["classes"]] == ["background", "wood", "house"]


def test_a_pattern_of_groups_that_is_none(run, houses):
    words = ("coco", "import", houses / "set.json", "--images", houses / "photos", "--out", houses / "out")
    result = run(*words, "--group-by", "(")
    assert result.exit_code == 1 and "--group-by '(' is not a regular expression" in result.stderr


def test_categories_without_annotations_are_named(run, houses):
    record = json.loads((houses / "set.json").read_text())
    record["categories"] += [{"id": 10 + i, "name": f"kind {i}"} for i in range(7)]
    (houses / "set.json").write_text(json.dumps(record))
    result = run("coco", "import", houses / "set.json", "--images", houses / "photos", "--out", houses / "out")
    assert result.exit_code == 0
    assert "warning: no image has an annotation of kind 0, kind 1, kind 2, kind 3, kind 4 and 2 more" in result.stderr


@pytest.mark.slow
def test_the_next_commands_take_it(run, houses):
    more = ("--images", houses / "photos", "-p", 1, "--validation", 0)
    run("coco", "import", houses / "set.json", *more, "--out", houses / "out")
    train = houses / "out" / "train"
    assert run("retile", train, "-t", 16, "--jobs", 1).exit_code == 0
    assert len(list((train / "tile_16" / "house").iterdir())) > 0
    data = open_folders(train)
    data.check()
    assert len(data.parts["train"]) == 10 and data.table.names == ("background", "house", "wood")
    assert run("run", train, "--dry-run", "-t", 16).exit_code == 0
    run("coco", "import", houses / "set.json", *more, "--layout", "masks", "--out", houses / "masks")
    train = houses / "masks" / "train"
    assert open_folders(train, train / "house").table.names == ("background", "house")
    assert run("retile", train, "--masks", train / "wood", "-t", 16, "--jobs", 1).exit_code == 0


@pytest.mark.slow
def test_a_unet_and_a_residual_unet_are_trained_on_its_sets(run, houses):
    out = houses / "out"
    run("coco", "import", houses / "set.json", "--images", houses / "photos", "--out", out)
    sets = ("--images", out / "train", "--validation-images", out / "validation", "--test-images", out / "test")
    small = ("--encoder", "none", "--widths", "4,4,4,4", "--size", "64x64", "--epochs", 1)
    result = run("unet", "train", "--name", "h", "--runs-dir", houses, *sets, *small)
    assert result.exit_code == 0, result.stderr
    card = json.loads((houses / "h" / "model.card.json").read_text())
    assert card["training"]["n_pairs"] == 5 and card["scores"]["sets"].keys() == {"training", "validation", "test"}
    result = run("unet", "infer", "--name", "h", "--runs-dir", houses, "--images", out / "test", "--out", houses / "r")
    assert result.exit_code == 0, result.stderr
    tested = {path.name.replace("_label", "_predseg") for path in (out / "test").glob("*_label.png")}
    assert {path.name for path in (houses / "r").glob("*.png")} == tested and len(tested) == 3
    found = read_labelmap(houses / "r" / min(tested))
    assert found.table.names == ("background", "house", "wood")
    config_path = houses / "houses.json"
    assert run("resunet", "init-config", "--images", out / "train", "--out", config_path).exit_code == 0
    assert json.loads(config_path.read_text())["NCLASSES"] == 2


@pytest.mark.slow
def test_there_and_back(run, houses):
    words = ("--images", houses / "photos", "-p", 1, "--validation", 0, "--out")
    run("coco", "import", houses / "set.json", *words, houses / "first")
    result = run("coco", "export", houses / "first" / "train", "--out", houses / "second.json", "--min-area", 2)
    # What is left of the wood below the houses is in two parts.
    assert result.exit_code == 0 and "40 annotations of 10 images" in result.stdout
    run("coco", "import", houses / "second.json", *words, houses / "second")
    for path in sorted((houses / "first" / "train").glob("*_label.png")):
        first, second = read_labelmap(path), read_labelmap(houses / "second" / "train" / path.name)
        assert np.array_equal(first.labels, second.labels) and first.table == second.table


def test_names_that_macos_has_written(run, houses):
    (houses / "photos" / "p3.png").rename(houses / "photos" / normalize("NFC", "küste.png"))
    record = (houses / "set.json").read_text().replace("p3.png", normalize("NFD", "küste.png"))
    (houses / "set.json").write_text(record, encoding="utf-8")
    words = ("--images", houses / "photos", "--out", houses / "out")
    assert run("coco", "import", houses / "set.json", *words).exit_code == 0
    words = ("--images", houses / "photos", "--to", "png", "--out", houses / "maps")
    result = run("convert", houses / "set.json", *words)
    assert result.exit_code == 0 and len(list((houses / "maps").glob("*.png"))) == 10


def test_masks_in_black_and_white_are_told(run, houses):
    (houses / "masks").mkdir()
    white = np.full((64, 64), 255, np.uint8)
    white[:9] = 0
    Image.fromarray(white).save(houses / "masks" / "p3.png")
    (houses / "two.txt").write_text("land\nwater\n")
    words = ("--masks", houses / "masks", "--labels", houses / "two.txt", "--out", houses / "white.json")
    result = run("coco", "export", houses / "photos", *words)
    assert result.exit_code == 0 and "no mask shows a class other than 'land'; " in result.stderr


def test_results_of_a_network_are_exported_by_name(run, houses):
    words = ("--images", houses / "photos", "-p", 1, "--validation", 0, "--out")
    run("coco", "import", houses / "set.json", *words, houses / "first")
    (houses / "results").mkdir()
    result_path = houses / "results" / "p3_predseg.png"
    (houses / "first" / "train" / "p3_label.png").rename(result_path)
    result = run(
        "coco", "export", result_path, "--images", houses / "photos", "--rle", "--out", houses / "results.json"
    )
    assert result.exit_code == 0
    record = json.loads((houses / "results.json").read_text())
    assert [row["file_name"] for row in record["images"]] == ["p3.png"]
    assert all(isinstance(row["segmentation"]["counts"], str) for row in record["annotations"])


@pytest.mark.real
def test_a_real_file(run, real_data, tmp_path):
    folder = real_data / "geotiff"
    result = run("coco", "import", folder / "coco_sample_2.json", "--images", folder, "--out", tmp_path / "out")
    assert result.exit_code == 0
    found = read_labelmap(tmp_path / "out" / "train" / "sample_geotiff_label.png")
    stated = json.loads((folder / "coco_sample_2.json").read_text())["annotations"]
    # 43 buildings that do not overlap much: as many pixels as the file says.
    assert np.count_nonzero(found.labels) == pytest.approx(sum(row["area"] for row in stated), rel=0.01)
