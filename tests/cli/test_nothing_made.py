"""A command that fails before it has made anything leaves no folder behind, however deep it would lie."""

import pytest


@pytest.fixture
def damaged(coast):
    """A photo that is cut short, and a label map that is."""
    for path in coast.iterdir():
        if path.name.startswith("scene_00"):
            path.write_bytes(path.read_bytes()[:40])
        elif path.name != "labels.txt":
            path.unlink()
    return coast


@pytest.mark.parametrize("words", [
    "split {photos} --out {new}", "convert {photos} --to tif --out {new}", "retile {photos} -t 16 -a 0.8 --out {new}",
    "coco export {photos} --out {new}/coco.json", "crf {photos}/scene_00.jpg {photos}/scene_00.jpg --out {new}",
    "fcn make-labels {photos} --labeldefs {defs} --out {new}", "fcn train --name a --images {photos} --runs-dir {new}",
    "resunet init-config {photos} --out {new}/config.json", "predict -m {photos}/none.pb -i {photos} -o {new}",
    "unet build-lmdb --image_folder {photos} --mask_folder {photos} --output_folder {new} --dataset_name a",
    "semseg {photos} --model {photos}/none.pb --out {new}", "run {photos} --out {new}", "demo-scenes {new} --n 0",
])  # fmt: skip
def test_nothing_is_left_where_nothing_was_made(run, damaged, tmp_path, words):
    (tmp_path / "defs.txt").write_text("sand, 1, 2, 3\nwater, 4, 5, 6\n")
    names = {"photos": damaged, "new": tmp_path / "new" / "deep", "defs": tmp_path / "defs.txt"}
    before = sorted(tmp_path.rglob("*"))
    result = run(*words.format(**names).split())
    assert result.exit_code == 1, result.output
    assert sorted(tmp_path.rglob("*")) == before
