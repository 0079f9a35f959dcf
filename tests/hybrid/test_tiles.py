import numpy as np
import pytest

from hybridseg.hybrid.tiles import read_tile
from hybridseg.io.images import write_image
from hybridseg.resample import resize_bilinear


@pytest.mark.parametrize("shape", [(5, 7), (16, 16), (40, 3)])
def test_resizing_is_tensorflows(shape):
    tf = pytest.importorskip("tensorflow")
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    expected = tf.image.resize(image.astype(np.float32), (16, 16)).numpy().round()
    assert np.abs(resize_bilinear(image, 16, 16) - expected).max() <= 1


def test_a_tile_of_the_right_size_is_untouched(tmp_path):
    tile = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    write_image(tmp_path / "a.png", tile)
    assert np.array_equal(read_tile(tmp_path / "a.png", tile_size=8), tile)
    assert read_tile(tmp_path / "a.png", tile_size=4).shape == (4, 4, 3)
