"""Databases from Python: as the command builds them, and errors name parameters."""

import pytest

import hybridseg as hs
from hybridseg.errors import BadInput
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


def test_errors_name_parameters(cells, tmp_path):
    with pytest.raises(BadInput, match="tile_size= is for tiles: give use_tiling=True"):
        hs.build_lmdb(cells / "images", cells / "masks", dataset_name="cells", out=tmp_path, tile_size=64)
    with pytest.raises(BadInput, match="has no jpg image; give another image_format="):
        hs.build_lmdb(cells / "images", cells / "masks", dataset_name="cells", out=tmp_path, image_format="jpg")
    assert not any(tmp_path.iterdir())
