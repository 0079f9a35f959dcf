"""One band as a Cloud Optimized GeoTIFF: read back, it is one, and it holds what was written."""

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybridseg.classes import VOID, ClassTable
from hybridseg.errors import BadInput, WriteFailed
from hybridseg.io.cog import writing_band
from hybridseg.io.labels.formats import read_labelmap, read_made_by
from hybridseg.io.labels.labeltiff import writing_labels
from hybridseg.io.rasters import GeoReference, quiet_rasterio
from tests.io.test_lazyimages import cut

TABLE = ClassTable.from_names(["a", "b", "c"])
PLACE = GeoReference("EPSG:32611", (0.5, 0.0, 4e5, 0.0, -0.5, 4e6))


def paint(rows, cols):
    """Fields of 7 x 11 pixels: no block of an overview holds a class that is not in it."""
    ids = np.random.default_rng(0).choice(np.array([0, 2, VOID], np.uint8), (rows // 7 + 1, cols // 11 + 1))
    return ids.repeat(7, axis=0).repeat(11, axis=1)[:rows, :cols]


@pytest.mark.slow
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.integers(1, 1300), cols=st.integers(1, 40), data=st.data())
def test_a_file_does_not_depend_on_how_its_rows_are_handed_over(tmp_path, rows, cols, data):
    labels = paint(rows, cols)
    for name, parts in (("whole.tif", [slice(0, rows)]), ("strips.tif", cut(rows, data))):
        with writing_labels(tmp_path / name, (rows, cols), TABLE, PLACE, made_by="{}") as write:
            for part in parts:
                write(labels[part])
    assert (tmp_path / "whole.tif").read_bytes() == (tmp_path / "strips.tif").read_bytes()
    found = read_labelmap(tmp_path / "strips.tif")
    assert np.array_equal(found.labels, labels) and found.table == TABLE and found.made_by == "{}"
    assert found.georeference.transform == PLACE.transform


@pytest.mark.parametrize("shape", [(1, 1), (300, 200), (1500, 2100)])
def test_it_is_cloud_optimized(tmp_path, shape):
    labels = paint(*shape)
    with writing_labels(tmp_path / "a.tif", shape, TABLE, PLACE) as write:
        write(labels)
    with quiet_rasterio(), rasterio.open(tmp_path / "a.tif") as dataset:
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.block_shapes == [(512, 512)] and dataset.compression.value == "DEFLATE"
        assert dataset.nodata == VOID and dataset.colormap(1)[2] == (*TABLE.colors[2], 255)
        assert dataset.crs.to_epsg() == 32611 and dataset.transform[:6] == PLACE.transform
        overviews = dataset.overviews(1)
    # As many as make the smallest fit into a block; a small map has none.
    assert overviews == {1: [], 300: [], 1500: [2, 4, 8]}[shape[0]]
    for level in range(len(overviews)):
        with quiet_rasterio(), rasterio.open(tmp_path / "a.tif", overview_level=level) as dataset:
            small = dataset.read(1)
        assert set(np.unique(small)) <= {0, 2, VOID}, "only ids that occur"
        if level == 0:
            inside = labels[: 2 * small.shape[0], : 2 * small.shape[1]].reshape(small.shape[0], 2, -1, 2)
            for value in (0, 2):
                n = (inside == value).sum(axis=(1, 3))
                assert (small[n >= 3] == value).all() and (n == 3).sum() > 900, "the commonest"
    # Its directories come before its pixels, the coarse ones before the fine, as the format demands.
    data = (tmp_path / "a.tif").read_bytes()
    assert b"LAYOUT=IFDS_BEFORE_DATA" in data[:400] and b"BLOCK_ORDER=ROW_MAJOR" in data[:400]


def test_the_record_of_a_map_that_is_too_large_to_be_read_at_once(tmp_path, monkeypatch):
    with writing_labels(tmp_path / "a.tif", (600, 700), TABLE, PLACE, made_by='{"a": 1}') as write:
        write(paint(600, 700))
    # A block fits, the whole does not.
    monkeypatch.setenv("HYBRIDSEG_MAX_PIXELS", "300_000")
    with pytest.raises(BadInput, match="more than the cap"):
        read_labelmap(tmp_path / "a.tif")
    assert read_made_by(tmp_path / "a.tif") == '{"a": 1}'
    with quiet_rasterio(), rasterio.open(tmp_path / "a.tif", "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
        dataset.write(paint(600, 700)[::-1], 1)
    with pytest.raises(BadInput, match="its checksum is wrong"):
        read_made_by(tmp_path / "a.tif")


def test_a_file_that_is_not_complete_does_not_appear(tmp_path):
    with pytest.raises(WriteFailed), writing_band(tmp_path / "a.tif", (9, 9), None, nodata=255) as write:
        write(np.ones((5, 9), np.uint8))
    with pytest.raises(ZeroDivisionError), writing_band(tmp_path / "a.tif", (9, 9), None, nodata=255) as write:
        write(np.ones((5, 9), np.uint8))
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
