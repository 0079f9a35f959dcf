"""One bad picture never stops the good ones beside it: they are done, the bad one is named, and the exit code is 1."""

import json
import shutil
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from hybridseg.io.images import read_image, write_image
from hybridseg.io.labels.formats import read_labelmap, write_labelmap


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def forge(path, picture):
    """Write a paletted PNG whose pixels are whole, and whose profile breaks Pillow with an IndexError."""
    Image.fromarray(picture).convert("P").save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-12] + chunk(b"iCCP", b"icc") + whole[-12:])


BAD = ("forged.png", "cut.jpg", "torn.tif")


@pytest.fixture
def photos(coast):
    """Two good photos with label maps, and three bad ones with good label maps."""
    for path in coast.glob("scene_0[23]*"):
        path.unlink()
    picture = read_image(coast / "scene_00.jpg")
    forge(coast / "forged.png", picture)
    whole = (coast / "scene_00.jpg").read_bytes()
    (coast / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(picture).save(coast / "torn.tif", compression="tiff_deflate")
    whole = (coast / "torn.tif").read_bytes()
    (coast / "torn.tif").write_bytes(whole[:300] + b"\xff" * 2000 + whole[2300:])
    for name in BAD:
        shutil.copy(coast / "scene_00_mres.mat", coast / f"{name.partition('.')[0]}_mres.mat")
    return coast


@pytest.fixture
def apart(photos, tmp_path):
    """The same photos with masks as PNG in a folder of their own: that of the second good photo is forged."""
    masks, images = tmp_path / "masks", tmp_path / "images"
    masks.mkdir()
    images.mkdir()
    for path in photos.iterdir():
        if path.name in BAD or path.suffix == ".jpg":
            shutil.copy(path, images)
        elif path.suffix == ".mat":
            write_labelmap(masks / f"{path.stem.removesuffix('_mres')}.png", read_labelmap(path))
    forge(masks / "scene_01.png", read_image(images / "scene_01.jpg"))
    return images, masks


def check(result, *names):
    assert result.exit_code == 1 and "Traceback" not in result.output
    for name in names:
        assert name in result.stderr
    # A sentence or two each, and nothing of what the libraries print.
    assert "Warning" not in result.stderr and "CPLE" not in result.stderr


def test_retile(run, photos, tmp_path):
    result = run("retile", photos, "-t", 16, "-a", 0.6, "--out", tmp_path / "tiles", "--jobs", 1)
    check(result, *BAD)
    assert {path.name[:8] for path in (tmp_path / "tiles").rglob("*.jpg")} == {"scene_00", "scene_01"}


def test_split_takes_what_has_a_header(run, photos):
    (photos / "no.tif").write_bytes(b"II*\0" + bytes(99))
    check(run("split", photos), "no.tif")
    assert len([path for path in photos.parent.rglob("t*/*.*") if path.suffix != ".mat"]) >= 2


def test_eval_pixels(run, photos, quick_panels):
    for path in list(photos.glob("*_mres.mat")):
        shutil.copy(path, photos / path.name.replace("_mres", "_ares_16"))
    whole = (photos / "scene_01_mres.mat").read_bytes()
    (photos / "scene_01_mres.mat").write_bytes(whole[:200])
    result = run("eval-pixels", photos)
    check(result, "scene_01")
    assert "100 %" in result.stdout


def test_convert(run, apart, tmp_path):
    images, masks = apart
    check(run("convert", masks, "--images", images, "--to", "mat", "--out", tmp_path / "out"), "scene_01.png")
    assert read_labelmap(tmp_path / "out" / "scene_00_mres.mat").labels.shape == (64, 96)


def test_review(run, apart, tmp_path):
    images, masks = apart
    check(run("review", images, "--masks", masks, "--out", tmp_path / "review"), *BAD, "scene_01.png")


def test_build_lmdb_names_them_before_it_writes(run, apart, tmp_path):
    """A database is whole: nothing is written while an image is missing."""
    images, masks = apart
    # It takes images of one kind.
    for name in ("forged.png", "torn.tif"):
        (images / name).unlink()
    words = ("--image_folder", images, "--mask_folder", masks, "--output_folder", tmp_path / "db")
    result = run("unet", "build-lmdb", *words, "--dataset_name", "a", "--use_tiling", 0)
    check(result, "scene_01.png")
    assert not list(tmp_path.glob("db/*"))


def test_make_labels(run, photos):
    for path in photos.glob("scene_01_mres.mat"):
        path.write_bytes(path.read_bytes()[:200])
    names = read_labelmap(photos / "scene_00_mres.mat").table.names
    colors = [f"{name}, {i}, {2 * i}, {3 * i}\n" for i, name in enumerate(names, start=1)]
    (photos / "labeldefs.txt").write_text("".join(colors))
    check(run("fcn", "make-labels", photos, "--labeldefs", photos / "labeldefs.txt"), "scene_01_mres.mat")
    assert len(list(photos.glob("*_gtFine_color.png"))) == 4


def test_coco_import(run, photos, tmp_path):
    images = [{"id": i, "file_name": name, "height": 64, "width": 96} for i, name in enumerate((*BAD, "scene_00.jpg"))]
    square = {"segmentation": [[10, 10, 50, 10, 50, 40, 10, 40]], "category_id": 1}
    areas = [{"image_id": image["id"], **square} for image in images]
    (photos / "no.tif").write_bytes(b"II*\0" + bytes(99))
    images.append({"id": 9, "file_name": "no.tif", "height": 64, "width": 96})
    areas.append({"image_id": 9, **square})
    record = {"images": images, "categories": [{"id": 1, "name": "roof"}], "annotations": areas}
    (tmp_path / "a.json").write_text(json.dumps(record))
    check(run("coco", "import", tmp_path / "a.json", "--images", photos, "--out", tmp_path / "out"), "no.tif")
    assert list((tmp_path / "out").rglob("scene_00_label.png"))


def test_semseg_and_predict(run, photos, tiny_model, tmp_path, quick_panels):
    result = run("semseg", photos, "--model", tiny_model, "--out", tmp_path / "results")
    check(result, *BAD)
    assert {path.name[:8] for path in (tmp_path / "results").glob("*.mat")} == {"scene_00", "scene_01"}
    (tmp_path / "masks").mkdir()
    result = run("predict", "-m", tiny_model, "-i", photos, "-o", tmp_path / "masks")
    check(result, *BAD)
    assert {path.name[:8] for path in (tmp_path / "masks").iterdir() if path.is_file()} == {"scene_00", "scene_01"}


def test_tiles_are_scored(run, tile_dir, tiny_model, tmp_path, quick_charts):
    tiles = shutil.copytree(tile_dir, tmp_path / "tile_16")
    forge(tiles / "water" / "p0_r0_c0.png", np.zeros((16, 16, 3), np.uint8))
    check(run("eval-tiles", tiles, "--model", tiny_model, "-n", 99), "p0_r0_c0.png")


def test_the_crf_is_tuned(run, photos, tiny_model, paint_classes):
    for path in photos.iterdir():
        if path.name.startswith("scene"):
            path.unlink()
    from hybridseg.classes import ClassTable
    from hybridseg.io.labels.labelmaps import LabelMap

    table = ClassTable.from_names(["sand", "veg", "water"])
    for name in ("good", *(name.partition(".")[0] for name in BAD)):
        labels = np.repeat(np.arange(3, dtype=np.uint8), 32)[None].repeat(48, axis=0)
        write_labelmap(photos / f"{name}_mres.mat", LabelMap(labels, table))
    write_image(photos / "good.png", paint_classes("sand", "veg", "water"))
    check(run("tune-crf", photos, "--model", tiny_model, "--trials", 1), "forged.png")


def test_coco_export(run, coast, spoil, check_named, tmp_path):
    bad = spoil(coast / "scene_00.jpg")
    # Of an image the header alone is read: those that have one are good here.
    (coast / "scene_03_mres.mat").write_bytes((coast / "scene_03_mres.mat").read_bytes()[:200])
    for name in bad:
        shutil.copy(coast / "scene_00_mres.mat", coast / f"{name.partition('.')[0]}_mres.mat")
    check_named(run("coco", "export", coast, "--out", tmp_path / "a.json"), ("scene_03_mres.mat", "empty_mres.mat"))
    record = json.loads((tmp_path / "a.json").read_text())
    assert {image["file_name"] for image in record["images"]} >= {"scene_00.jpg", "scene_01.jpg", "scene_02.jpg"}
    assert not {"empty.png", "scene_03.jpg"} & {image["file_name"] for image in record["images"]}


def test_coco_import_of_every_kind_of_damage(run, coast, spoil, check_named, tmp_path):
    names = (*spoil(coast / "scene_00.jpg"), "pipe.jpg", "scene_00.jpg", "scene_01.jpg")
    square = {"segmentation": [[10, 10, 50, 10, 50, 40, 10, 40]], "category_id": 1}
    record = {
        "images": [{"id": i, "file_name": name, "height": 64, "width": 96} for i, name in enumerate(names)],
        "categories": [{"id": 1, "name": "roof"}],
        "annotations": [{"image_id": i, **square} for i in range(len(names))],
    }
    (tmp_path / "a.json").write_text(json.dumps(record))
    words = ("--images", coast, "--out", tmp_path / "out")
    check_named(run("coco", "import", tmp_path / "a.json", *words), ("empty.png", "pipe.jpg"))
    for name in ("scene_00", "scene_01"):
        (path,) = (tmp_path / "out").rglob(f"{name}_label.png")
        assert read_labelmap(path).labels[10:40, 10:50].all() and read_labelmap(path).labels.sum() == 30 * 40
