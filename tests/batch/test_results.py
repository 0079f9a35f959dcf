import numpy as np
import rasterio

from hybridseg.batch.results import measure_shares, read_confidence, write_confidence
from hybridseg.io.rasters import quiet_rasterio


def test_shares_by_hand(table):
    labels = np.array([[2, 2, 0, 2, 255]], np.uint8)
    assert list(measure_shares(labels, table).items()) == [("cliff", 0.75), ("water", 0.25)]


def test_confidence_in_percent(tmp_path):
    write_confidence(tmp_path / "sure.tif", np.array([[0.334, 1.0, np.nan]], np.float32), None)
    with quiet_rasterio(), rasterio.open(tmp_path / "sure.tif") as file:
        assert file.read(1).tolist() == [[33, 100, 255]] and file.nodata == 255
    assert np.allclose(read_confidence(tmp_path / "sure.tif"), [[0.33, 1.0, np.nan]], equal_nan=True)
