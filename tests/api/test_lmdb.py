"""Databases from Python: as the command builds them, and errors name parameters."""

import json

import pytest

import hybridseg as hs
from hybridseg.errors import BadInput, BadUsage
from hybridseg.io.lmdbstore import DATA_NAME


def test_databases_as_the_command_builds_them(cells, tmp_path, run):
    found = hs.build_lmdb(
        cells / "images", cells / "masks", dataset_name="cells", out=tmp_path, test_list=["cell_08", "cell_09"]
    )
    assert repr(found) == "<LmdbResult: train-cells.lmdb and test-cells.lmdb, records: 8 and 2>"
    for path in (found.train_path, found.test_path):
        assert (path / DATA_NAME).read_bytes() == (cells / "data" / path.name / DATA_NAME).read_bytes()
    (tmp_path / "labels.txt").write_text("soil\ncell\nspot\n")
    again = hs.build_lmdb(
        cells / "images", cells / "masks", dataset_name="tiles", out=tmp_path, labels=tmp_path / "labels.txt",
        use_tiling=True, tile_size=32, seed=3,
    )  # fmt: skip
    assert again.table.names == ("soil", "cell", "spot") and again.n_records == (8, 2)


@pytest.mark.slow
def test_a_training_on_databases(cells, tmp_path):
    data = hs.build_lmdb(
        cells / "images", cells / "masks", dataset_name="cells", out=tmp_path, test_list=["cell_08", "cell_09"]
    )
    small = {"widths": (4, 3, 2, 2), "epochs": 1, "test_every_n_steps": 3, "n_classes": 5, "batch_size": 2}
    result = hs.train_unet(data, out=tmp_path / "run", **small)
    card = json.loads((tmp_path / "run/model.card.json").read_text())
    assert card["architecture"]["encoder"] == "none", "as the preset says"
    assert (card["architecture"]["n_bands"], card["architecture"]["n_outputs"]) == (2, 5)
    assert card["training"]["epochs"] == 1 and len(result.history) == 1
    found = hs.segment(cells / "images/cell_08.tif", tmp_path / "run")
    assert found.labels.shape == (32, 32) and len(found.classes) == 5


@pytest.mark.parametrize(("settings", "said"), [
    ({"balance": False}, "balance= is for a training on a folder of photos"),
    ({"labels": ["a", "b"]}, "labels= is for a training on a folder of photos"),
])  # fmt: skip
def test_what_is_of_the_other_source(cells, tmp_path, settings, said):
    data = hs.build_lmdb(cells / "images", cells / "masks", dataset_name="cells", out=tmp_path)
    with pytest.raises(BadUsage, match=said):
        hs.train_unet(data, **settings)
    with pytest.raises(BadUsage, match=r"reader_count= is for a training on databases \(give what build_lmdb returns"):
        hs.train_unet(cells, reader_count=2)


def test_errors_name_parameters(cells, tmp_path):
    with pytest.raises(BadInput, match="tile_size= is for tiles: give use_tiling=True"):
        hs.build_lmdb(cells / "images", cells / "masks", dataset_name="cells", out=tmp_path, tile_size=64)
    with pytest.raises(BadInput, match="has no jpg image; give another image_format="):
        hs.build_lmdb(cells / "images", cells / "masks", dataset_name="cells", out=tmp_path, image_format="jpg")
    assert not any(tmp_path.iterdir())
