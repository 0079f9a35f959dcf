import numpy as np
import rasterio

from hybridseg.batch.results import read_confidence, write_confidence
from hybridseg.io.rasters import quiet_rasterio


def test_confidence_in_percent(tmp_path):
    write_confidence(tmp_path / "sure.tif", np.array([[0.334, 1.0, np.nan]], np.float32), None)
    with quiet_rasterio(), rasterio.open(tmp_path / "sure.tif") as file:
        assert file.read(1).tolist() == [[33, 100, 255]] and file.nodata == 255
    assert np.allclose(read_confidence(tmp_path / "sure.tif"), [[0.33, 1.0, np.nan]], equal_nan=True)
