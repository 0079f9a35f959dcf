"""The commands that prepare data, run as a user runs them: their output is opened and its pixels are checked."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from hybridseg.errors import WriteFailed
from hybridseg.io.images import read_image, write_image
from hybridseg.io.labels.classfiles import write_class_files
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.tables import read_csv


@pytest.mark.slow
def test_from_scenes_to_tiles(run, tmp_path):
    assert "3 scenes of 64 x 96 pixels" in run("demo-scenes", tmp_path / "s", "--n", 3, "--size", "64x96").stdout
    result = run("split", tmp_path / "s", "-p", "0.67")
    assert result.exit_code == 0 and "train: 2 images" in result.stdout and "3 of 3 have a label map" in result.stdout
    result = run("retile", "-t", 16, "-a", "0.8", "-b", "1", "--format", "png", tmp_path / "train")
    assert result.exit_code == 0 and "all classes" in result.stdout
    tiles_dir = tmp_path / "train" / "tile_16"
    rows = read_csv(tiles_dir / "tiles.csv", ("tile", "class", "source", "row", "col", "purity", "kept"))
    assert len(rows) > 20
    for row in rows:
        stem, r, c = row["source"].removesuffix(".jpg"), int(row["row"]), int(row["col"])
        labelmap = read_labelmap(tmp_path / "train" / f"{stem}_mres.mat")
        share = (labelmap.labels[r : r + 16, c : c + 16] == labelmap.table.index(row["class"])).mean()
        assert share > 0.8 and abs(share - float(row["purity"])) < 1e-4
        tile, photo = read_image(tiles_dir / row["tile"]), read_image(tmp_path / "train" / row["source"])
        assert np.array_equal(tile, photo[r : r + 16, c : c + 16])


def test_retile_works_in_the_current_folder(run, coast, monkeypatch):
    monkeypatch.chdir(coast)
    assert run("retile", "-t", 16, "--jobs", 1).exit_code == 0
    assert (coast / "tile_16" / "tiles.csv").exists()


def test_retile_takes_masks_from_elsewhere(run, tmp_path, make_pair):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    make_pair(tmp_path / "images", "a", np.zeros((8, 8), np.uint8))
    (tmp_path / "images" / "a_mres.mat").unlink()
    Image.fromarray(np.ones((8, 8), np.uint8)).save(tmp_path / "masks" / "a.png")
    (tmp_path / "c.txt").write_text("land\nwater\n")
    words = ("retile", "-t", 8, "--jobs", 1, tmp_path / "masks" / "a.png", "--images", tmp_path / "images")
    result = run(*words)
    assert result.exit_code == 1 and "does not name its classes; give the class file" in result.stderr
    assert run(*words, "--labels", tmp_path / "c.txt").exit_code == 0
    assert (tmp_path / "masks" / "tile_8" / "water" / "a_r0_c0.jpg").exists()


@pytest.fixture
def colleague(tmp_path, table):
    """Photos ``jpg/NAME.jpg`` and the masks of a colleague, ids in ``gt/NAME.png``; the classes are in labels.txt."""
    for folder in ("jpg", "gt"):
        (tmp_path / folder).mkdir()
    for name in "abc":
        write_image(tmp_path / "jpg" / f"{name}.jpg", np.full((8, 16, 3), 90, np.uint8))
        Image.fromarray(np.full((8, 16), 1, np.uint8)).save(tmp_path / "gt" / f"{name}.png")
    (tmp_path / "labels.txt").write_text("".join(f"{name}\n" for name in table.names))
    return tmp_path


def test_from_photos_and_masks_of_a_colleague_to_tiles(run, colleague):
    more = ("--labels", colleague / "labels.txt")
    result = run("split", "--images", colleague / "jpg", "--masks", colleague / "gt", "-p", 0.67)
    assert result.exit_code == 0 and "3 of 3 have a label map" in result.stdout
    assert f"{colleague / 'train' / 'gt'}" in result.stdout
    for words in ((), ("--masks", colleague / "train" / "gt")):
        result = run("retile", colleague / "train", *words, *more, "-t", 8, "--jobs", 1, "--overwrite")
        assert result.exit_code == 0 and len(list((colleague / "train" / "tile_8" / "sand").iterdir())) == 6
    result = run("split", colleague / "jpg", *more)
    assert result.exit_code == 2 and "--labels is for --stratify" in result.stderr
    assert run("split", colleague / "jpg", "--images", colleague / "jpg").exit_code == 2
    result = run("retile", colleague / "jpg", "--jobs", "3" * 400)
    assert result.exit_code == 2 and "1<=x<=1024" in result.stderr


@pytest.mark.parametrize("command", [
    ["split"], ["retile", "--masks", "gt"], ["tune-crf", "--masks", "gt"], ["label"], ["resunet", "init-config"],
])  # fmt: skip
def test_images_are_given_once(run, colleague, monkeypatch, command):
    monkeypatch.chdir(colleague)
    result = run(*command, "jpg", "--images", "jpg")
    assert result.exit_code == 2
    assert "the images were given twice, as jpg and as --images jpg; leave one out" in result.stderr


def test_retile_names_masks_of_other_images_whichever_way_they_are_given(run, colleague):
    (colleague / "jpg" / "c.jpg").unlink()
    images, masks = colleague / "jpg", colleague / "gt"
    more = ("--labels", colleague / "labels.txt", "-t", 8, "--jobs", 1, "--overwrite")
    for words in ((images, "--masks", masks), (masks, "--images", images), ("--images", images, "--masks", masks)):
        result = run("retile", *words, *more)
        assert result.exit_code == 0 and "masks without an image (1): c.png" in result.stdout


def test_retile_finds_masks_in_a_folder_of_their_own(run, colleague):
    (colleague / "gt" / "c.png").unlink()
    more = ("--labels", colleague / "labels.txt", "-t", 8, "--jobs", 1)
    result = run("retile", "--images", colleague / "jpg", "--masks", colleague / "gt", *more)
    assert result.exit_code == 0 and "images without a mask (1 of 3): c.jpg" in result.stdout
    tiles = colleague / "jpg" / "tile_8" / "sand"
    assert sorted(path.name for path in tiles.iterdir()) == [f"{n}_r0_c{c}.jpg" for n in "ab" for c in (0, 4, 8)]


def test_retile_finds_masks_beside_their_photos(run, colleague):
    for path in (colleague / "gt").iterdir():
        path.rename(colleague / "jpg" / path.name)
    result = run("retile", colleague / "jpg", "--labels", colleague / "labels.txt", "-t", 8, "--jobs", 1)
    assert result.exit_code == 0 and len(list((colleague / "jpg" / "tile_8" / "sand").iterdir())) == 9


def test_convert(run, colleague, table):
    """JPEG masks in colours become label maps, which every command finds beside the photos."""
    for path in (colleague / "gt").iterdir():
        painted = table.palette()[np.asarray(Image.open(path))]
        Image.fromarray(painted).save(path.with_suffix(".jpg"), quality=50)
        path.unlink()
    write_class_files(table, labeldefs_path=colleague / "defs.txt")
    words = ("convert", colleague / "gt", "--images", colleague / "jpg", "--labels", colleague / "defs.txt")
    assert "--nearest-color for a mask in colours" in run(*words).stderr
    result = run(*words, "--nearest-color", "--to", "mat", "--out", colleague / "jpg")
    assert result.exit_code == 0 and "a_mres.mat: " in result.stdout and "were no exact colour" in result.stdout
    assert f"3 label maps written to {colleague / 'jpg'}" in result.stdout
    one = run("convert", colleague / "gt" / "a.jpg", *words[2:], "--nearest-color", "--out", colleague / "one")
    assert f"1 label map written to {colleague / 'one'}" in one.stdout
    result = run("retile", colleague / "jpg", "-t", 8, "--jobs", 1)
    assert result.exit_code == 0 and len(list((colleague / "jpg" / "tile_8" / "sand").iterdir())) == 9
    (colleague / "gt" / "c.jpg").write_bytes(b"no")
    (colleague / "jpg" / "c_mres.mat").unlink()
    result = run(*words, "--nearest-color", "--to", "mat", "--out", colleague / "jpg")
    assert result.exit_code == 1 and "2 were there already; --overwrite replaces them" in result.stdout
    assert "c.jpg: " in result.stderr


@pytest.mark.slow
def test_retile_sums_up_what_it_could_not_use(run, coast):
    (coast / "scene_00.jpg").unlink()
    (coast / "scene_01_mres.mat").write_bytes(b"no")
    result = run("retile", "-t", 16, coast)
    assert result.exit_code == 1
    assert "scene_01_mres.mat: cannot be read" in result.stderr and "scene_00" not in result.stderr
    assert "masks without an image (1): scene_00_mres.mat" in result.stdout
    assert (coast / "tile_16" / "tiles.csv").exists() and "tiles kept" in result.stdout


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["retile", "nowhere"], 1, "there is no file or folder nowhere"),
        (["retile", "."], 1, "has no label map; looked for NAME_mres.mat, NAME.png"),
        (["retile", "-a", "1.5"], 1, "give a number from 0 to below 1"),
        (["retile", "-t", "big"], 2, "'big' is not a valid integer"),
        (["retile", "--format", "gif"], 2, "'gif' is not one of 'jpg', 'png'"),
        (["split", "nowhere"], 1, "there is no folder"),
        (["split", "--group-by", "["], 1, "is not a regular expression"),
        (["split", "--test", "test.txt", "-p", "0.5"], 2, "--test says which images are for testing"),
        (["split", "--test", "test.txt", "--stratify"], 1, "leaves nothing to --group-by and --stratify"),
        (["demo-scenes", "x", "--size", "12"], 2, "write rows and columns like 768x1152"),
        (["eval-pixels", "."], 1, "has no automatic result"),
        (["eval-pixels", ".", "--truth", "*.png"], 2, "--truth needs --prediction"),
        (["eval-pixels", ".", "--colors", "c.txt"], 1, "has no automatic result"),
        (["no-such-command"], 2, "No such command"),
    ],
)  # fmt: skip
def test_mistakes_end_in_one_clear_sentence(run, tmp_path, monkeypatch, words, code, message):
    monkeypatch.chdir(tmp_path)
    result = run(*words)
    assert result.exit_code == code and message in result.stderr and "Traceback" not in result.output


def test_quiet_says_nothing_but_warnings(run, coast):
    result = run("--quiet", "retile", "-t", 16, "--jobs", 1, coast)
    assert result.stdout == "" and all(line.startswith("warning: ") for line in result.stderr.splitlines())


@pytest.mark.slow
def test_verbose_tells_each_step(coast):
    command = [sys.executable, "-m", "hybridseg", "--verbose", "retile", "-t", "16", "--jobs", "1", str(coast)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"reading {coast / 'scene_00_mres.mat'}" in done.stderr and "pure windows" in done.stderr
    assert "scene_03_r" in done.stderr and "rasterio" not in done.stderr


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_torn_and_the_next_run_goes_on(tmp_path, run, launch, make_pair):
    (tmp_path / "s").mkdir()
    for name in ("a", "b", "c"):
        make_pair(tmp_path / "s", name, np.zeros((400, 400), np.uint8))
    command = [sys.executable, "-m", "hybridseg", "retile", "-t", "16", "-b", "1", "--jobs", "2", str(tmp_path / "s")]
    process = launch(command, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "s").glob(".tile_16.*.partial/*/*.jpg")) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "Stopped." in errors and "Traceback" not in errors
    assert not (tmp_path / "s" / "tile_16").exists()
    [partial] = (tmp_path / "s").glob(".tile_16.*.partial")
    written = {path: path.stat().st_mtime_ns for path in partial.rglob("*.jpg")}
    assert written
    assert run("retile", "-t", 16, "-b", 1, "--jobs", 1, tmp_path / "s").exit_code == 0
    for path, changed in written.items():
        final = tmp_path / "s" / "tile_16" / path.relative_to(partial)
        assert final.stat().st_mtime_ns == changed and read_image(final).shape == (16, 16, 3)


def test_a_full_disk_is_not_the_fault_of_a_photo(coast, run, tmp_path, monkeypatch):
    def fail(path, *_, **__):
        raise WriteFailed(f"could not write {path}: No space left on device")

    monkeypatch.setattr("hybridseg.data.survey.write_json", fail)
    result = run("review", coast, "--out", tmp_path / "out")
    assert result.exit_code == 1 and "would fail" not in result.output
    assert "Error: could not write" in result.output and "No space left on device" in result.output
