import threading
import time

import numpy as np
import pytest

from hybridseg.errors import BadInput, MissingInput
from hybridseg.io import windows
from hybridseg.io.images import as_rgb8, read_image, write_image
from hybridseg.io.rasters import GeoReference, quiet_rasterio
from hybridseg.resample import shrink_image


def write_tiff(path, image, **more):
    import rasterio

    profile = {"driver": "GTiff", "height": image.shape[0], "width": image.shape[1], "count": image.shape[2]}
    with quiet_rasterio(), rasterio.open(path, "w", dtype=image.dtype, **profile, **more) as dataset:
        dataset.write(image.transpose(2, 0, 1))


@pytest.fixture
def smooth():
    """A picture on which a mean of means is near the mean."""
    row, col = np.mgrid[:301, :407]
    return np.stack([row * 255 / 300, col * 255 / 406, (row + col) % 256 / 4], axis=2).astype(np.uint8)


@pytest.fixture(params=["photo", "parts"])
def opened(request, smooth, tmp_path, monkeypatch):
    """The same picture, decoded at once or read in parts."""
    monkeypatch.setattr(windows, "_OVERVIEW_SIDE", 64)
    if request.param == "parts":
        monkeypatch.setattr(windows, "MAX_DECODED_PIXELS", 1000)
    write_tiff(tmp_path / "a.tif", smooth)
    return windows.open_windows(tmp_path / "a.tif")


def test_pixels_at_full_size_are_those_of_the_file(opened, smooth):
    part = opened.read(slice(17, 40), slice(200, 207), (23, 7))
    assert part.dtype == np.uint8 and (part == smooth[17:40, 200:207]).all()
    assert opened.shape == (301, 407)


@pytest.mark.parametrize(
    "part, shape",
    [
        ((0, 301, 0, 407), (60, 81)),
        ((0, 301, 0, 407), (19, 26)),
        ((128, 256, 0, 128), (16, 16)),
        ((3, 103, 5, 205), (10, 20)),
        ((256, 301, 384, 407), (6, 3)),
    ],
)
def test_reduced_pixels_are_means(opened, smooth, part, shape):
    rows, cols = slice(*part[:2]), slice(*part[2:])
    expected = shrink_image(np.ascontiguousarray(smooth[rows, cols]), *shape).astype(int)
    assert np.abs(opened.read(rows, cols, shape) - expected)[..., :2].max() <= 3


def test_all_of_a_photo_is_reduced_in_one_step(smooth, tmp_path):
    write_image(tmp_path / "a.png", smooth)
    found = windows.open_windows(tmp_path / "a.png").read(slice(0, 301), slice(0, 407), (60, 81))
    assert (found == shrink_image(smooth, 60, 81)).all()


def test_parts_of_deep_rasters_are_shown_alike(tmp_path, monkeypatch):
    """One stretch for the whole image: a dark part is not shown as bright as a bright one."""
    image = np.zeros((200, 300, 4), np.uint16)
    image[:, 150:] = 4000
    write_tiff(tmp_path / "a.tif", image)
    monkeypatch.setattr(windows, "MAX_DECODED_PIXELS", 1000)
    monkeypatch.setattr(windows, "_OVERVIEW_SIDE", 64)
    opened = windows.open_windows(tmp_path / "a.tif")
    dark, bright = (opened.read(slice(0, 50), slice(c, c + 50), (50, 50)) for c in (0, 200))
    assert dark.max() == 0 and bright.min() == 255
    assert (opened.read(slice(0, 200), slice(0, 300), (200, 300)) == as_rgb8(read_image(tmp_path / "a.tif"))).all()


@pytest.mark.parametrize("is_large", [True, False])
def test_what_is_no_data_does_not_change_the_brightness(tmp_path, monkeypatch, is_large):
    image = np.random.default_rng(0).integers(0, 256, (200, 300, 3)).astype(np.int16)
    seen = as_rgb8(image[:, 100:])
    image[:, :100] = -9999
    write_tiff(tmp_path / "a.tif", image, nodata=-9999)
    if is_large:
        monkeypatch.setattr(windows, "MAX_DECODED_PIXELS", 1000)
    shown = windows.open_windows(tmp_path / "a.tif").read(slice(0, 200), slice(100, 300), (200, 200))
    assert np.array_equal(shown, seen)
    assert abs(windows.read_small(tmp_path / "a.tif", 30)[:, 11:].mean() - seen.mean()) < 5


def test_where_there_is_no_picture(tmp_path, monkeypatch):
    image = np.full((60, 80, 1), 50, np.uint8)
    image[:, 70:] = 0
    write_tiff(tmp_path / "a.tif", image, nodata=0)
    for most in (10**9, 100):
        monkeypatch.setattr(windows, "MAX_DECODED_PIXELS", most)
        opened = windows.open_windows(tmp_path / "a.tif")
        assert (opened.valid() == (image[..., 0] > 0)).all()
        assert opened.read(slice(0, 60), slice(0, 70), (6, 7)).tolist() == np.full((6, 7, 3), 50).tolist()


def test_a_large_palette_is_read_at_once(tmp_path, monkeypatch):
    from hybridseg.io.cog import write_band

    values = np.zeros((60, 80), np.uint8)
    values[:, 40:] = 2
    place = GeoReference("EPSG:32611", (1.0, 0.0, 5.0, 0.0, -1.0, 9.0))
    write_band(tmp_path / "a.tif", values, place, nodata=255, palette=[(9, 9, 9), (0, 0, 0), (200, 0, 100)])
    monkeypatch.setattr(windows, "MAX_DECODED_PIXELS", 100)
    found = windows.open_windows(tmp_path / "a.tif").read(slice(0, 60), slice(40, 80), (2, 2))
    assert found[0, 0].tolist() == [200, 0, 100]


def test_what_cannot_be_opened(tmp_path, monkeypatch):
    with pytest.raises(MissingInput):
        windows.open_windows(tmp_path / "none.jpg")
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(BadInput, match="not a JPEG"):
        windows.open_windows(tmp_path / "a.jpg")
    write_image(tmp_path / "b.png", np.zeros((40, 50, 3), np.uint8))
    monkeypatch.setenv("HYBRIDSEG_MAX_PIXELS", "1000")
    with pytest.raises(BadInput, match="more than the cap"):
        windows.open_windows(tmp_path / "b.png")


def test_tiles_that_are_asked_for_at_once(tmp_path, monkeypatch):
    """Two threads must not halve the same level: the next one would be of a fourth of its size."""
    path = tmp_path / "a.png"
    image = np.repeat(np.repeat(np.arange(16, dtype=np.uint8).reshape(4, 4) * 16, 64, 0), 64, 1)[..., None].repeat(3, 2)
    write_image(path, image)
    opened = windows.open_windows(path)

    def slow(*args):
        time.sleep(0.05)
        return shrink_image(*args)

    monkeypatch.setattr(windows, "shrink_image", slow)
    part, found = (slice(128, 256), slice(0, 128)), []
    threads = [threading.Thread(target=lambda: found.append(opened.read(*part, (32, 32)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(tile, image[128:256:4, 0:128:4]) for tile in found) and len(found) == 4


@pytest.mark.parametrize("is_large", [False, True])
def test_other_bands_are_shown(tmp_path, monkeypatch, is_large):
    if is_large:
        monkeypatch.setattr(windows, "MAX_DECODED_PIXELS", 10)
    path = tmp_path / "four.tif"
    write_tiff(path, np.tile(np.array([10, 20, 30, 40], np.uint8), (8, 9, 1)))
    whole = slice(0, 8), slice(0, 9), (8, 9)
    assert windows.open_windows(path).read(*whole)[3, 3].tolist() == [10, 20, 30]
    assert windows.open_windows(path, bands=(4, 4, 2)).read(*whole)[3, 3].tolist() == [40, 40, 20]
    with pytest.raises(BadInput, match="bands 1 to 4"):
        windows.open_windows(path, bands=(4, 5, 1))
