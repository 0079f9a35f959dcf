import os
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rasterio.transform import from_origin

from hybridseg.errors import BadInput, MissingInput
from hybridseg.io.images import (
    as_rgb8,
    describe_image,
    encode_image,
    load_image,
    measure_levels,
    read_image,
    read_rgb8,
    read_valid,
    write_image,
)
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.rasters import quiet_rasterio
from hybridseg.resample import resize_image, resize_nearest, shrink_image


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def save_tiff(path, image, **profile):
    rows, cols, bands = image.shape
    profile.update(driver="GTiff", height=rows, width=cols, count=bands, dtype=image.dtype)
    with quiet_rasterio(), rasterio.open(path, "w", **profile) as f:
        f.write(image.transpose(2, 0, 1))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("bands", [1, 3, 4, 12])
def test_tiff_of_any_type_and_number_of_bands(tmp_path, dtype, bands):
    image = (np.random.default_rng(1).random((9, 7, bands)) * 200).astype(dtype)
    save_tiff(tmp_path / "a.tif", image, crs="EPSG:32611", transform=from_origin(10, 20, 2, 2))
    back = read_image(tmp_path / "a.tif")
    assert back.dtype == image.dtype and np.array_equal(back, image)
    info = describe_image(tmp_path / "a.tif")
    assert (info.rows, info.cols, info.bands, info.dtype) == (9, 7, bands, dtype)
    assert info.georeference.transform == (2.0, 0.0, 10.0, 0.0, -2.0, 20.0)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "1", "P"])
def test_png_modes(tmp_path, picture, mode):
    saved = Image.fromarray(picture).convert(mode)
    saved.save(tmp_path / "a.png")
    back = read_image(tmp_path / "a.png")
    expected = np.asarray(saved.convert("RGB") if mode == "P" else saved.convert("L") if mode == "1" else saved)
    assert np.array_equal(back, expected.reshape(20, 30, -1))


def test_png_of_16_bits_keeps_them(tmp_path, picture):
    deep = picture.astype(np.uint16) * 257
    save_tiff(tmp_path / "m.tif", deep)
    with quiet_rasterio():
        rasterio.shutil.copy(tmp_path / "m.tif", tmp_path / "a.png", driver="PNG")
    assert np.array_equal(read_image(tmp_path / "a.png"), deep)
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match="cut short"):
        read_image(tmp_path / "cut.png")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_exif_orientation_is_honoured(tmp_path, orientation, suffix):
    from PIL import ImageOps

    image = np.zeros((16, 32, 3), np.uint8)
    image[:8, :8] = (255, 0, 0)
    image[8:, 16:] = (0, 255, 0)
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"a{suffix}"
    Image.fromarray(image).save(path, exif=exif, **({"quality": 100, "subsampling": 0} if suffix == ".jpg" else {}))
    with Image.open(path) as saved:
        expected = np.asarray(ImageOps.exif_transpose(saved))
    back = read_image(path)
    info = describe_image(path)
    assert (info.rows, info.cols) == back.shape[:2] == expected.shape[:2]
    assert np.abs(back.astype(int) - expected).max() <= 3


def test_cmyk_jpeg_becomes_rgb(tmp_path):
    image = np.full((16, 16, 3), (200, 40, 90), np.uint8)
    Image.fromarray(image).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    back = read_image(tmp_path / "a.jpg")
    assert back.shape == (16, 16, 3) and np.abs(back.astype(int) - image).max() < 12


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9])
def test_cut_files_are_named(tmp_path, picture, suffix, share):
    big = np.tile(picture, (8, 8, 1))
    Image.fromarray(big).save(tmp_path / f"a{suffix}")
    whole = (tmp_path / f"a{suffix}").read_bytes()
    (tmp_path / f"cut{suffix}").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BadInput, match=f"cut{suffix}"):
        read_image(tmp_path / f"cut{suffix}")


def test_the_pixel_cap_comes_before_decoding(tmp_path, picture, monkeypatch):
    write_image(tmp_path / "a.png", picture)
    monkeypatch.setenv("HYBRIDSEG_MAX_PIXELS", "599")
    with pytest.raises(BadInput, match=r"20 x 30 pixels, more than the cap of 599; set .* HYBRIDSEG_MAX_PIXELS"):
        read_image(tmp_path / "a.png")
    monkeypatch.setenv("HYBRIDSEG_MAX_PIXELS", "600")
    assert read_image(tmp_path / "a.png").shape == (20, 30, 3)
    monkeypatch.setenv("HYBRIDSEG_MAX_PIXELS", "many")
    with pytest.raises(BadInput, match="HYBRIDSEG_MAX_PIXELS='many' is not a number"):
        read_image(tmp_path / "a.png")


def test_a_bomb_is_refused_by_its_header(tmp_path):
    """A few hundred bytes that would unpack to four gigapixels."""
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 65_000, 65_000, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(bomb)
    with pytest.raises(BadInput, match="65000 x 65000 pixels, more than the cap"):
        read_image(tmp_path / "bomb.png")


def test_bands_and_wide_samples_count_for_the_cap(tmp_path, monkeypatch):
    save_tiff(tmp_path / "a.tif", np.zeros((20, 30, 12), np.float32))
    monkeypatch.setenv("HYBRIDSEG_MAX_PIXELS", "5000")
    with pytest.raises(BadInput, match="20 x 30 pixels of 48 bytes, more than the cap"):
        read_image(tmp_path / "a.tif")


def test_what_is_no_image(tmp_path):
    (tmp_path / "a.jpg").write_text("<html>")
    with pytest.raises(BadInput, match="is not a JPEG, PNG or TIFF image"):
        read_image(tmp_path / "a.jpg")
    (tmp_path / "a.nc").write_text("CDF")
    with pytest.raises(BadInput, match=r"if GDAL reads it, make a GeoTIFF of it: gdal_translate a\.nc a\.tif"):
        read_image(tmp_path / "a.nc")
    (tmp_path / "e.png").touch()
    with pytest.raises(BadInput, match="is empty"):
        read_image(tmp_path / "e.png")
    with pytest.raises(MissingInput, match="there is no file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(BadInput, match="is a folder"):
        read_image(tmp_path)


def test_a_raster_that_points_elsewhere_is_not_opened(tmp_path):
    """Formats that read other files are never tried, whatever a file is called."""
    (tmp_path / "a.tif").write_text('<VRTDataset rasterXSize="1" rasterYSize="1"></VRTDataset>')
    with pytest.raises(BadInput, match="is not a JPEG"):
        read_image(tmp_path / "a.tif")


def test_content_decides_not_the_name(tmp_path, picture):
    (tmp_path / "really_png.jpg").write_bytes(encode_image(picture, suffix=".png"))
    assert np.array_equal(read_image(tmp_path / "really_png.jpg"), picture)


def test_reading_leaves_no_files_behind(tmp_path, picture):
    save_tiff(tmp_path / "a.tif", picture)
    read_image(tmp_path / "a.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_as_rgb8():
    grey = np.arange(4, dtype=np.uint8).reshape(2, 2, 1)
    assert np.array_equal(as_rgb8(grey)[..., 2], grey[..., 0])
    many = np.zeros((2, 2, 5), np.uint8)
    many[..., 2] = 7
    assert as_rgb8(many)[0, 0].tolist() == [0, 0, 7]
    ramp = np.linspace(-5, 5, 10_000, dtype=np.float32).reshape(100, 100, 1)
    ramp[0, 0] = np.nan
    shown = as_rgb8(ramp)
    assert shown.dtype == np.uint8 and shown[0, 0, 0] == 0 and shown[50, 0, 0] in (127, 128) and shown[-1, -1, 0] == 255
    flat = np.full((3, 3, 3), 500, np.uint16)
    assert as_rgb8(flat).max() == 0


@pytest.mark.parametrize("low", [-3e38, 0.0])
def test_as_rgb8_of_the_largest_numbers(low):
    """Without a warning of numpy, which the tests take for an error."""
    ramp = np.linspace(low, 3e38, 10_000).astype(np.float32).reshape(100, 100, 1)
    shown = as_rgb8(ramp)[..., 0]
    assert shown[0, 0] == 0 and shown[-1, -1] == 255 and shown[50, 0] in (127, 128)
    odd = np.zeros((100, 100, 1), np.float32)
    odd[0, 0], odd[0, 1] = 3e38, -3e38
    assert as_rgb8(odd)[0, :2, 0].tolist() == [255, 0]


def test_shrinking_is_the_mean_of_what_is_covered(picture):
    small = shrink_image(picture, 5, 10)
    expected = picture.reshape(5, 4, 10, 3, 3).mean(axis=(1, 3))
    assert small.shape == (5, 10, 3) and small.dtype == np.uint8 and np.abs(small - expected).max() <= 1
    assert shrink_image(picture, 20, 30) is picture
    assert np.abs(shrink_image(picture, 1, 1)[0, 0] - picture.mean(axis=(0, 1))).max() <= 1
    assert shrink_image(np.full((17, 13, 3), 201, np.uint8), 7, 10).tolist() == [[[201] * 3] * 10] * 7


@settings(deadline=None)
@given(
    old=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    new=st.tuples(st.integers(1, 90), st.integers(1, 90)),
)
def test_nearest_takes_the_pixel_in_which_the_centre_lies(old, new):
    values = np.arange(old[0] * old[1], dtype=np.int32).reshape(old)
    resized = resize_nearest(values, new)
    rows, cols = ([(2 * i + 1) * a // (2 * b) for i in range(b)] for a, b in zip(old, new, strict=True))
    # A centre on the edge between two pixels may go to either.
    on_edge = [[(2 * i + 1) * a % (2 * b) == 0 for i in range(b)] for a, b in zip(old, new, strict=True)]
    inside = np.ix_(~np.array(on_edge[0]), ~np.array(on_edge[1]))
    assert resized.shape == new and resized.dtype == np.int32
    assert np.array_equal(resized[inside], values[np.ix_(rows, cols)][inside])


@pytest.mark.parametrize("scale", [0.1, 0.25, 0.3, 0.5, 0.77, 1.0])
def test_class_ids_survive_being_made_larger(scale):
    shape = (61, 97)
    ids = np.array([0, 7, 254, 255], np.uint8)
    small = np.random.default_rng(0).choice(ids, [max(1, round(side * scale)) for side in shape])
    large = resize_nearest(small, shape)
    assert large.shape == shape and large.dtype == np.uint8 and set(np.unique(large)) <= set(ids.tolist())
    assert np.array_equal(resize_nearest(large, small.shape), small), "and there and back is the same"


def test_nearest_of_many_bands():
    values = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    assert np.array_equal(resize_nearest(values, (4, 2))[2:], values[[1, 1]])


def test_a_name_that_is_not_utf8_is_told(tmp_path, picture):
    path = os.fsencode(tmp_path) + b"/\xff.png"
    try:
        Path(os.fsdecode(path)).write_bytes(encode_image(picture, suffix=".png"))
    except OSError:
        pytest.skip("this file system takes no such names")
    with pytest.raises(BadInput, match="has a name that is not UTF-8"):
        describe_image(os.fsdecode(path))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
@pytest.mark.parametrize("bands", [1, 2, 3, 4, 12])
def test_any_image_can_be_resized(dtype, bands):
    """A ramp stays a ramp: between the centres of pixels when it grows, as their mean when it shrinks."""
    ramp = (np.arange(12)[:, None, None] * 7 + np.arange(16)[:, None] * 4 + np.arange(bands)).astype(dtype)
    for shape in ((24, 32), (6, 8)):
        resized = resize_image(ramp, shape)
        assert resized.shape == (*shape, bands) and resized.dtype == ramp.dtype
        rows, cols = ((np.arange(new) + 0.5) * old / new - 0.5 for new, old in zip(shape, (12, 16), strict=True))
        expected = rows[:, None, None] * 7 + cols[:, None] * 4 + np.arange(bands)
        inside = slice(2, -2)
        # Whole numbers are rounded, along the rows and along the columns.
        allowed = 1.01 if dtype == "uint8" else 0.51 if resized.dtype.kind != "f" else 1e-4
        assert np.abs(resized[inside, inside] - expected[inside, inside]).max() <= allowed


def test_large_values_survive_being_resized(picture):
    assert resize_image(picture, (20, 30)) is picture
    image = np.full((5, 7, 2), 65535, np.uint16)
    assert (resize_image(image, (9, 3)) == 65535).all()
    assert (resize_image(np.full((5, 7, 1), -32768, np.int16), (2, 20)) == -32768).all()
    assert resize_image(np.array([[[0], [255]]], np.uint8), (1, 1)).item() in (127, 128)


def test_an_image_without_gaps_comes_as_it_is(tmp_path, picture):
    write_image(tmp_path / "a.png", picture)
    image = load_image(tmp_path / "a.png")
    assert image.valid is None and image.filled() is image and np.array_equal(image.pixels, picture)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_gaps_get_the_mean_of_the_rest(tmp_path, dtype):
    image = np.zeros((4, 6, 2), dtype)
    image[..., 0], image[..., 1] = 10, 60
    image[2:, :, 0] = 21
    image[:, 0] = 7
    save_tiff(tmp_path / "a.tif", image, nodata=7)
    loaded = load_image(tmp_path / "a.tif")
    filled, valid = loaded.filled().pixels, loaded.valid
    assert np.array_equal(loaded.pixels, image)
    assert filled.dtype == image.dtype and valid.sum() == 20 and not valid[:, 0].any()
    assert np.array_equal(filled[valid], image[valid])
    # The mean of 10 and 21, rounded where there are no fractions.
    assert filled[0, 0].tolist() == ([15.5, 60] if dtype == "float32" else [16, 60])


def test_nan_and_infinity_are_gaps(tmp_path):
    image = np.ones((4, 6, 3), np.float32)
    image[0, 0, 2], image[1, 1, 0], image[2, 2] = np.nan, np.inf, -np.inf
    image[3, 3] = 9
    save_tiff(tmp_path / "a.tif", image, nodata=9)
    loaded = load_image(tmp_path / "a.tif")
    assert (loaded.filled().pixels == 1).all()
    assert np.argwhere(~loaded.valid).tolist() == [[0, 0], [1, 1], [2, 2], [3, 3]]


def test_nothing_but_gaps_is_refused(tmp_path):
    for name, image in (("a", np.full((3, 3, 1), 5, np.uint8)), ("b", np.full((3, 3, 1), np.nan, np.float32))):
        save_tiff(tmp_path / f"{name}.tif", image, nodata=5)
        with pytest.raises(BadInput, match=f"{name}.tif holds no picture: all of its pixels are nodata"):
            load_image(tmp_path / f"{name}.tif").filled()


def test_threads_that_read_at_once_stay_quiet(tmp_path):
    """Warnings are errors here: one thread must not make another loud."""
    from concurrent.futures import ThreadPoolExecutor

    for suffix in (".jpg", ".png"):
        write_image(tmp_path / f"a{suffix}", np.zeros((40, 40, 3), np.uint8))
    paths = [tmp_path / "a.jpg", tmp_path / "a.png"] * 150
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        assert all(image.shape == (40, 40, 3) for image in pool.map(read_image, paths))
    assert warnings.filters == before


def test_one_bright_pixel_in_a_hundred_does_not_darken_the_picture():
    """16-bit rasters are stretched between the first and the last percent of their values."""
    image = np.full((40, 50, 1), 1000, np.uint16)
    image[:20] = 2000
    image[0, :10] = 60_000
    low, high = measure_levels(image)
    assert (low, high) == (1000, 2000)


@pytest.mark.parametrize("nodata", [-9999, 30_000])
def test_what_is_no_data_does_not_darken_the_picture(tmp_path, nodata):
    """-9999 in every second column made all else white, and every tile of one class."""
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.int16)
    seen = as_rgb8(image[:, 1::2])
    image[:, ::2] = nodata
    save_tiff(tmp_path / "a.tif", image, nodata=nodata)
    assert np.array_equal(read_rgb8(tmp_path / "a.tif")[:, 1::2], seen)


def test_damaged_exif_and_profiles_are_no_tracebacks(tmp_path, picture):
    """Pillow fails with whatever it meets in an EXIF or a profile that is cut short; the pixels are whole."""
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for mode in ("RGB", "P"):
        saved = Image.fromarray(picture).convert(mode)
        saved.save(tmp_path / "whole.png")
        whole = (tmp_path / "whole.png").read_bytes()
        (tmp_path / "exif.png").write_bytes(whole[:33] + chunk(b"eXIf", b"MM\0*") + whole[33:])
        (tmp_path / "late.png").write_bytes(whole[:-12] + chunk(b"iCCP", b"icc") + whole[-12:])
        (tmp_path / "short.png").write_bytes(whole[:-12] + chunk(b"iCCP", b"icc\0") + whole[-12:])
        for name in ("exif.png", "late.png", "short.png"):
            assert describe_image(tmp_path / name).orientation == 1
            if mode == "RGB":
                assert np.array_equal(load_image(tmp_path / name).pixels, picture)
            elif name != "exif.png":
                for read in (load_image, read_labelmap):
                    with pytest.raises(BadInput, match=rf"{name} is damaged"):
                        read(tmp_path / name)


def damage_mask(data: bytes) -> bytes:
    """Damage the second directory of a TIFF, that of the mask."""
    (first,) = struct.unpack_from("<I", data, 4)
    (n_entries,) = struct.unpack_from("<H", data, first)
    (second,) = struct.unpack_from("<I", data, first + 2 + 12 * n_entries)
    return data[:second] + b"\xff" * 30 + data[second + 30 :]


def damage_tag(data: bytes) -> bytes:
    """Turn the last tag of a TIFF into one that nobody knows, of no type."""
    (first,) = struct.unpack_from("<I", data, 4)
    (n_entries,) = struct.unpack_from("<H", data, first)
    last = first + 2 + 12 * (n_entries - 1)
    return data[:last] + struct.pack("<HHII", 177, 0, 0, 404) + data[last + 12 :]


@pytest.mark.parametrize("damage", [damage_mask, damage_tag])
def test_all_readers_of_an_image_judge_alike(tmp_path, picture, damage):
    """Whatever is asked first: a mask that is damaged is not taken for none."""
    path = tmp_path / "a.tif"
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        save_tiff(path, picture)
        with quiet_rasterio(), rasterio.open(path, "r+") as dataset:
            dataset.write_mask(np.arange(20)[:, None].repeat(30, axis=1) > 5)
    assert read_valid(path).sum() == 14 * 30 == load_image(path).valid.sum()
    path.write_bytes(damage(path.read_bytes()))
    for read in (read_valid, load_image, read_image, describe_image, read_valid):
        with pytest.raises(BadInput, match=r"a\.tif is damaged or cut short \(TIFF"):
            read(path)
