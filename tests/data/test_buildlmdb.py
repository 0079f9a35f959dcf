"""Databases from images and masks: every image in one part, every pixel in a record, the same bytes after any kill."""

import subprocess
import sys

import numpy as np
import pytest
import rasterio

from hybridseg.classes import ClassTable
from hybridseg.data.buildlmdb import build_lmdb
from hybridseg.data.lmdbplan import LmdbOptions
from hybridseg.errors import BadInput, OutputExists
from hybridseg.io.images import read_image
from hybridseg.io.labels.formats import write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.lmdbstore import DATA_NAME, Database, describe_database
from hybridseg.io.rasters import quiet_rasterio


def write_raster(path, values, *, nodata=None):
    """Write (rows, cols[, bands]) as a TIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = values.reshape(*values.shape[:2], -1).transpose(2, 0, 1)
    profile = {"driver": "GTiff", "count": len(bands), "height": bands.shape[1], "width": bands.shape[2]}
    with quiet_rasterio(), rasterio.open(path, "w", dtype=values.dtype, nodata=nodata, **profile) as dataset:
        dataset.write(bands)


@pytest.fixture
def project(tmp_path):
    """Five images of 12 bands, 40 x 70, whose masks are their first band modulo 3: ``images/`` and ``masks/``."""
    rng = np.random.default_rng(0)
    for i in range(5):
        image = rng.integers(-50, 1000, (40, 70, 12)).astype(np.int16)
        write_raster(tmp_path / f"images/cell{i}.tif", image)
        write_raster(tmp_path / f"masks/cell{i}.tif", (image[..., 0] % 3).astype(np.uint16))
    return tmp_path


def build(project, *, table=None, overwrite=False, out="out", **settings):
    options = LmdbOptions(**{"dataset_name": "cells", **settings})
    folders = (project / name for name in ("images", "masks", out))
    return build_lmdb(*folders, options=options, table=table, overwrite=overwrite)


def read_all(path):
    database = Database(path)
    return [database.read(i) for i in range(len(database.manifest["records"]))]


def read_bytes(result):
    return [(path / DATA_NAME).read_bytes() for path in result.paths]


def test_whole_images_go_to_one_part_each(project):
    result = build(project)
    assert [path.name for path in result.paths] == ["train-cells.lmdb", "test-cells.lmdb"]
    assert result.n_images == result.n_records == (4, 1) and result.were_finished == (False, False)
    train, test = map(read_all, result.paths)
    assert sorted(sample.source for sample in train + test) == [f"cell{i}" for i in range(5)]
    for sample in train + test:
        whole = read_image(project / f"images/{sample.source}.tif")
        assert (sample.image == whole).all() and sample.image.dtype == np.int16
        assert (sample.mask == sample.image[..., 0] % 3).all() and sample.mask.dtype == np.uint16


def test_tiles_cover_every_pixel(project):
    result = build(project, use_tiling=True, tile_size=32)
    # 40 x 70: rows from 0 and 8, columns from 0, 32 and 38.
    assert result.n_records == (24, 6)
    covered = np.zeros((5, 40, 70), bool)
    for path in result.paths:
        for sample in read_all(path):
            number = int(sample.source[-1])
            whole = read_image(project / f"images/{sample.source}.tif")
            part = slice(sample.row, sample.row + 32), slice(sample.col, sample.col + 32)
            assert (sample.image == whole[part]).all() and (sample.mask == whole[part][..., 0] % 3).all()
            covered[number][part] = True
    assert covered.all()


def test_the_manifest_says_all_that_a_training_asks_first(project):
    result = build(project, use_tiling=True, tile_size=32)
    manifest = Database(result.paths[0]).manifest
    assert (manifest["size"], manifest["bands"], manifest["dtype"]) == ([32, 32], 12, "int16")
    assert [one["name"] for one in manifest["classes"]] == ["background", "class 1", "class 2"]
    for sample, (source, row, col), pixels in zip(
        read_all(result.paths[0]), manifest["records"], manifest["pixels"], strict=True
    ):
        assert (manifest["sources"][source]["name"], row, col) == (sample.source, sample.row, sample.col)
        assert manifest["sources"][source]["shape"] == [40, 70]
        assert pixels == [number for i in range(3) for number in (i, int((sample.mask == i).sum()))]


def test_declared_transparency_is_left_out(tmp_path, caplog):
    for i in range(2):
        write_raster(tmp_path / f"images/{i}.tif", np.full((40, 70, 4), 200, np.uint8))
        write_raster(tmp_path / f"masks/{i}.tif", np.eye(40, 70).astype(np.uint8))
    result = build(tmp_path, train_fraction=0.5)
    samples = [sample for path in result.paths for sample in read_all(path)]
    assert [sample.image.shape for sample in samples] == [(40, 70, 3)] * 2
    assert "the transparency of 2 photos (such as 0.tif) is left out" in caplog.text


def test_given_names_groups_and_list(project):
    table = ClassTable.from_names(["none", "cell", "wall", "dirt"])
    result = build(project, table=table, test_list=("cell1", "cell3.tif"))
    assert result.table.names == table.names
    assert sorted(sample.source for sample in read_all(result.paths[1])) == ["cell1", "cell3"]
    result = build(project, dataset_name="groups", group_by="cell([01])|cell", train_fraction=0.6)
    assert result.n_images == (3, 2)


def test_masks_that_name_their_classes_are_matched_by_name(project):
    for i, names in enumerate((["a", "b"], ["b", "a"], ["a", "b"], ["a", "b"], ["a", "b"])):
        (project / f"masks/cell{i}.tif").unlink()
        labels = np.full((40, 70), names.index("b"), np.uint8)
        write_labelmap(project / f"masks/cell{i}.png", LabelMap(labels, ClassTable.from_names(names)))
    result = build(project)
    assert result.table.names == ("a", "b")
    assert all((sample.mask == 1).all() for path in result.paths for sample in read_all(path))


def test_what_is_no_picture_is_void(project):
    image = np.full((40, 70, 12), 7, np.int16)
    image[:10] = -999
    write_raster(project / "images/cell0.tif", image, nodata=-999)
    result = build(project)
    (sample,) = [s for path in result.paths for s in read_all(path) if s.source == "cell0"]
    assert (sample.mask[:10] == 255).all() and (sample.mask[10:] < 3).all() and (sample.image == 7).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((40, 69), np.uint8), r"cell2.tif: has 40 x 69 pixels, but cell2.tif has 40 x 70"),
        (np.full((40, 70), -1, np.int32), r"cell2.tif: has the value -1; class ids are whole numbers from 0"),
        (np.full((40, 70), 1.5, np.float32), r"cell2.tif: has the value 1.5; class ids are whole numbers"),
        (np.full((40, 70), np.nan, np.float32), r"cell2.tif: has the value nan"),
        (np.full((40, 70), 300, np.uint16), r"cell2.tif: has the id 300; classes go from 0 to 254"),
        (np.zeros((40, 70, 2), np.uint8), r"cell2.tif: has 2 bands of uint8; a label map has one band"),
    ],
)
def test_masks_that_are_refused_by_name(project, values, message):
    write_raster(project / "masks/cell2.tif", values)
    with pytest.raises(BadInput, match=message):
        build(project)
    assert not list((project / "out").glob("*.lmdb"))


def test_whole_numbers_of_another_type_are_class_ids(project):
    write_raster(project / "masks/cell2.tif", np.full((40, 70), 2.0, np.float32))
    result = build(project, test_list=("cell2",))
    (sample,) = read_all(result.paths[1])
    assert sample.mask.dtype == np.int32 and (sample.mask == 2).all()


def test_other_data_that_are_refused(project):
    (project / "masks/cell2.tif").rename(project / "other.tif")
    with pytest.raises(BadInput, match=r"cell2.tif: has no mask in .*masks; add cell2.tif or cell2.png"):
        build(project)
    (project / "other.tif").rename(project / "masks/cell2.tif")
    for settings, message in (
        ({"image_format": "png"}, "has no png image; give another --image_format"),
        ({"use_tiling": True}, "less than a tile of 256; give --tile_size 40"),
        ({"tile_size": 64}, "--tile_size is for tiles: give --use_tiling 1"),
        ({"train_fraction": 0.01}, "none would be for the train set"),
        ({"dataset_name": "a/b"}, "give a name of 1 to 100 characters"),
        ({"test_list": ("cell1",), "seed": 1}, "leave out --train_fraction and --seed"),
        ({"test_list": ("cell9",)}, r"names of images that are not there.*cell9"),
    ):
        with pytest.raises(BadInput, match=message):
            build(project, **settings)
    write_raster(project / "images/cell4.tif", np.zeros((40, 71, 12), np.int16))
    with pytest.raises(BadInput, match=r"cell4.tif 40 x 71; without tiles all must be of one size"):
        build(project)
    write_raster(project / "images/cell4.tif", np.zeros((40, 70, 3), np.int16))
    with pytest.raises(BadInput, match=r"cell0.tif has 12 bands of int16, cell4.tif 3 of int16"):
        build(project)


def test_masks_of_0_and_255(project):
    for i in range(5):
        write_raster(project / f"masks/cell{i}.tif", np.eye(40, 70, dtype=np.uint8) * 255)
    with pytest.raises(BadInput, match=r"hold 0 and 255 only, and 255 is void: .*convert --threshold 128"):
        build(project)


def test_again(project):
    first = read_bytes(build(project))
    again = build(project)
    assert again.were_finished == (True, True) and read_bytes(again) == first
    for settings, message in (
        ({"use_tiling": True, "tile_size": 32}, "train-cells.lmdb holds other tiles; --overwrite replaces it"),
        ({"seed": 2}, "holds other or changed images"),
        ({"table": ClassTable.from_names(["x", "y", "z"])}, "holds other classes"),
    ):
        with pytest.raises(OutputExists, match=message):
            build(project, **settings)
    assert build(project, use_tiling=True, tile_size=32, overwrite=True).n_records == (24, 6)
    assert read_bytes(build(project, overwrite=True)) == first


def test_files_in_a_database_that_are_not_its_own(project):
    [path, _] = build(project).paths
    (path / "notes.txt").write_text("mine")
    with pytest.raises(OutputExists, match=r"notes\.txt was not written by this command and would be lost; move it"):
        build(project, seed=2, overwrite=True)
    assert (path / "notes.txt").read_text() == "mine" and describe_database(path)[1]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_small_file_that_is_no_database(project, overwrite):
    path = project / "out/train-cells.lmdb/data.mdb"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"something of mine")
    with pytest.raises(OutputExists, match=r"train-cells\.lmdb holds other files; give another --dataset_name"):
        build(project, overwrite=overwrite)
    assert path.read_bytes() == b"something of mine"


def test_a_folder_of_that_name_with_other_files(project):
    foreign = project / "out/train-cells.lmdb/notes.txt"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("mine")
    with pytest.raises(OutputExists, match="holds other files; give another --dataset_name"):
        build(project, overwrite=True)
    assert foreign.read_text() == "mine"


def test_a_file_or_a_link_to_nothing_where_a_database_goes(project):
    (project / "out").mkdir()
    for i, path in enumerate((project / "out/train-cells.lmdb", project / "out/test-cells.lmdb")):
        path.symlink_to("nowhere") if i else path.write_text("mine")
        with pytest.raises(OutputExists, match=rf"{path.name} is no folder; move it away, or give another"):
            build(project, overwrite=True)
        path.unlink()


# Kills itself in the transaction of that number, before or after its end.
KILLED = """
import os, signal, sys
from pathlib import Path
from hybridseg.data import buildlmdb
from hybridseg.io import lmdbstore
buildlmdb._TRANSACTION_BYTES = 1
n, when = int(sys.argv[2]), sys.argv[3]
write = lmdbstore.DatabaseWriter._write
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
class Dying(dict):
    def items(self):
        yield from super().items()
        die()
def count(self, entries, **more):
    global n
    n -= 1
    write(self, Dying(entries) if n == 0 and when == "inside" else entries, **more)
    if n == 0:
        die()
lmdbstore.DatabaseWriter._write = count
folder = Path(sys.argv[1])
options = buildlmdb.LmdbOptions("cells", use_tiling=True, tile_size=32)
buildlmdb.build_lmdb(folder / "images", folder / "masks", folder / "killed", options=options)
"""


@pytest.mark.slow
def test_a_killed_build_goes_on_to_the_same_bytes(project, monkeypatch):
    monkeypatch.setattr("hybridseg.data.buildlmdb._TRANSACTION_BYTES", 1)
    settings = {"use_tiling": True, "tile_size": 32}
    whole = read_bytes(build(project, **settings))
    # The last one ends with the training database, and before the plan of the other.
    for n, when in ((1, "inside"), (5, "inside"), (9, "after"), (8, "inside"), (6, "after")):
        done = subprocess.run([sys.executable, "-c", KILLED, project, str(n), when], capture_output=True, timeout=60)
        assert done.returncode == -9, done.stderr
        if n in (5, 9, 8):
            with pytest.raises(BadInput, match="was not finished"):
                Database(project / "killed/train-cells.lmdb")
    killed = build(project, out="killed", **settings)
    assert killed.were_finished == (True, False)
    assert read_bytes(killed) == whole
