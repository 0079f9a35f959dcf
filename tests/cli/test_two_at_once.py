"""Two commands that write the same: the second is refused or waits, as the page on reliability says."""

import json
import re
import sys
import threading

import pytest

from hybridseg.cli.main import find_commands
from hybridseg.demo.demoscenes import demo_table
from hybridseg.io.labels.classfiles import write_class_files
from hybridseg.io.locks import lock_output
from tests.conftest import REPOSITORY

# The command, and what another run writes meanwhile: a path, or what writes inside of a folder.
REFUSED = {
    "demo-scenes": (("demo-scenes", "new"), "new/scenes.json", ""),
    "demo-dense": (("demo-dense", "new"), "new/DEMO.txt", ""),
    "run": (("run", "photos", "--out", "new"), "new/steps.json", ""),
    "split": (("split", "photos", "--out", "new"), "new/split.csv", ""),
    "review": (("review", "photos", "--out", "new"), "new/review.html", ""),
    "crf": (("crf", "photos/scene_00.jpg", "photos/scene_00_mres.mat", "--out", "new"), "new/scene_00_mres.mat", ""),
    "convert": (("convert", "photos", "--out", "new"), "new", "convert"),
    "coco import": (("coco", "import", "a.json", "--images", "photos", "--out", "new"), "new", ""),
    "coco export": (("coco", "export", "photos", "--out", "new.json"), "new.json", ""),
    "retile": (("retile", "photos", "-t", "16", "--out", "new"), "new", ""),
    "fcn make-labels": (("fcn", "make-labels", "photos", "--labeldefs", "labeldefs.txt", "--out", "new"), "new",
                        "make-labels"),
    "resunet init-config": (("resunet", "init-config", "photos", "--out", "new.json"), "new.json", ""),
    "unet build-lmdb": (("unet", "build-lmdb", "--image_folder", "photos", "--mask_folder", "masks",
                         "--output_folder", "new", "--dataset_name", "a", "--image_format", "jpg"),
                        "new/train-a.lmdb", ""),
    "unet show-augmentation": (("unet", "show-augmentation", "--images", "photos", "--out", "new.png"), "new.png", ""),
    "retrain": (("retrain", "--image_dir", "tiles", "--output_graph", "new/model.pb"), "new/model.pb", ""),
}  # fmt: skip


@pytest.fixture
def place(coast, tmp_path, monkeypatch):
    """The working folder of a command, with photos and what else they need."""
    monkeypatch.chdir(tmp_path)
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "iscrowd": 0, "area": 81}
    annotation["segmentation"] = [[0, 0, 9, 0, 9, 9, 0, 9]]
    images = [{"id": 1, "file_name": "scene_00.jpg", "height": 64, "width": 96}]
    record = {"images": images, "annotations": [annotation], "categories": [{"id": 1, "name": "boat"}]}
    (tmp_path / "a.json").write_text(json.dumps(record))
    write_class_files(demo_table(), labeldefs_path=tmp_path / "labeldefs.txt")
    return tmp_path


def read_files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_a_second_one_is_refused_and_changes_nothing(place, run, name):
    words, path, inside = REFUSED[name]
    if "masks" in words:
        run("convert", "photos", "--out", "masks")
    with lock_output(place / path, inside=inside):
        before = read_files(place)
        result = run(*words)
        assert (result.exit_code, read_files(place)) == (1, before), result.output
    assert re.search(r"another run is writing .*new\S* now; wait until it has finished", result.output)
    assert not list(place.rglob(".*hybridseg.lock"))


@pytest.mark.slow
def test_a_second_comparison_waits_until_the_first_is_written(place, run, quick_charts):
    run("convert", "photos", "--to", "mat", "--out", "new")
    words = ("eval-pixels", ".", "--truth", "photos/*_mres.mat", "--prediction", "new/*_mres.mat", "--out", "scores")
    ended = threading.Event()
    with lock_output(place / "scores", inside="eval_pixels"):
        thread = threading.Thread(target=lambda: (run(*words), ended.set()))
        thread.start()
        assert not ended.wait(1.5) and not (place / "scores/eval_pixels.csv").exists()
    thread.join(60)
    assert ended.is_set() and (place / "scores/eval_pixels.csv").exists()


@pytest.mark.slow
def test_of_two_that_start_together_one_does_the_work(place, launch):
    """And the folder is that of a single run."""
    command = [sys.executable, "-m", "hybridseg", "demo-scenes", "--n", "6", "--size", "192x288"]
    both = [launch([*command, "together"]) for _ in range(2)]
    outcomes = [(process.communicate(), process.returncode) for process in both]
    assert {code for _, code in outcomes} <= {0, 1} and 0 in {code for _, code in outcomes}
    assert all("Traceback" not in text for texts, _ in outcomes for text in texts)
    alone = launch([*command, "alone"])
    alone.communicate()
    assert read_files(place / "together") == read_files(place / "alone")


def list_rows():
    page = (REPOSITORY / "docs/reliability.md").read_text(encoding="utf-8")
    section = page.partition("### Two commands at once")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.+?`(?:, `.+?`)*) \| (.+) \|$", section, re.MULTILINE)
    return {name: what for names, what in rows for name in re.findall("`(.+?)`", names)}


def test_the_page_says_what_every_command_does():
    commands = {name for name, command in find_commands().items() if not hasattr(command, "commands")}
    assert commands == set(list_rows())
    assert all("refused" in list_rows()[name] for name in REFUSED)
