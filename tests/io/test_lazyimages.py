"""Images of which parts are read: the same as the whole image, however it is cut."""

from itertools import pairwise

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybridseg.errors import BadInput
from hybridseg.io import lazyimages
from hybridseg.io.images import as_rgb8, describe_image, load_image, write_image
from hybridseg.io.lazyimages import LazyImage, open_lazily
from hybridseg.io.rasters import quiet_rasterio
from hybridseg.resample import resize_image, resize_nearest, resize_strips, shrink_image

MIB = 1 << 20
KINDS = [np.uint8, np.uint16, np.float32]


def write_tiff(path, image, **more):
    profile = {"driver": "GTiff", "height": image.shape[0], "width": image.shape[1], "count": image.shape[2]}
    with quiet_rasterio(), rasterio.open(path, "w", dtype=image.dtype, **profile, **more) as dataset:
        dataset.write(image.transpose(2, 0, 1))


@st.composite
def shapes(draw, most=90):
    return draw(st.integers(1, most)), draw(st.integers(1, most)), draw(st.integers(1, 3))


def cut(rows, data):
    """Cut rows anywhere, into parts from top to bottom."""
    edges = sorted({0, rows, *data.draw(st.lists(st.integers(0, rows), max_size=5), label="cuts")})
    return [slice(a, b) for a, b in pairwise(edges)]


@settings(deadline=None)
@given(
    old=shapes(), new=st.tuples(st.integers(1, 130), st.integers(1, 130)), kind=st.sampled_from(KINDS), data=st.data()
)
def test_resizing_does_not_depend_on_how_the_image_is_cut(old, new, kind, data):
    image = (np.random.default_rng(0).random(old) * 255).astype(kind)
    strips = [image[rows] for rows in cut(old[0], data)]
    found = np.concatenate(list(resize_strips(strips, old[:2], new)))
    assert found.dtype == kind and np.array_equal(found, resize_image(image, new))
    less = min(new[0], old[0]), min(new[1], old[1])
    found = np.concatenate(list(resize_strips(strips, old[:2], less, mean=True)))
    assert np.array_equal(found, shrink_image(image, *less) if kind == np.uint8 else found)


@pytest.mark.slow
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=shapes(), kind=st.sampled_from(KINDS), block=st.sampled_from([None, 16, 32]), nodata=st.booleans(),
    limit=st.sampled_from([0, 3000, MIB]), size=st.tuples(st.integers(1, 99), st.integers(1, 99)), data=st.data(),
)  # fmt: skip
def test_a_file_that_is_read_in_parts_is_the_image(tmp_path, shape, kind, block, nodata, limit, size, data):
    """Pixels, gaps, filling, 8-bit view, other sizes: exactly, whatever the blocks of the file, and the memory."""
    image = np.random.default_rng(1).integers(0, 9, shape).astype(kind)
    tiles = {"tiled": True, "blockxsize": block, "blockysize": block} if block else {}
    path = tmp_path / "a.tif"
    write_tiff(path, image, nodata=3 if nodata else None, **tiles)
    loaded = load_image(path)
    whole = LazyImage.of(loaded.pixels, loaded.valid)
    info = describe_image(path)
    lazy = lazyimages.open_parts(info, limit)
    if loaded.valid is not None and not loaded.valid.any():
        with pytest.raises(BadInput, match="holds no picture"):
            lazy.fill()
        return
    filled, lazy_filled = whole.fill(), lazy.fill()
    assert np.array_equal(lazy_filled.as_rgb8()[:], as_rgb8(filled[:], valid=loaded.valid))
    assert np.array_equal(lazy_filled.resize(size)[:], resize_image(filled[:], size))
    less = min(size[0], shape[0]), min(size[1], shape[1])
    assert np.array_equal(lazy.as_rgb8().shrink(less), shrink_image(loaded.as_rgb8(), *less))
    resized = lazy_filled.resize(size)
    if loaded.valid is not None:
        known = [lazy.resize(size).find_valid(slice(row, row + 1)) for row in range(size[0])]
        known = [np.ones((1, size[1]), bool) if row is None else row for row in known]
        assert np.array_equal(np.concatenate(known), resize_nearest(loaded.valid, size))
        assert np.array_equal(whole.resize(size).find_valid(), resize_nearest(loaded.valid, size))
    pair = [LazyImage.stack([one, one.see(lambda pixels: pixels[..., :1], 1)]) for one in (whole, lazy)]
    for stacked in pair:
        assert np.array_equal(stacked[:], np.concatenate([image, image[..., :1]], axis=2))
        assert np.array_equal(stacked.find_valid() is None, loaded.valid is None)
        assert loaded.valid is None or np.array_equal(stacked.find_valid(), loaded.valid)
    for rows in cut(shape[0], data):
        valid = lazy.find_valid(rows)
        expected = np.ones(shape[:2], bool) if loaded.valid is None else loaded.valid
        assert np.array_equal(
            np.ones((rows.stop - rows.start, shape[1]), bool) if valid is None else valid, expected[rows]
        )
        col = data.draw(st.integers(0, shape[1] - 1), label="col")
        assert np.array_equal(lazy_filled[rows, col:], filled[rows, col:])
        part = slice(rows.start * size[0] // shape[0], rows.stop * size[0] // shape[0])
        if part.stop > part.start:
            assert np.array_equal(resized[part], resize_image(filled[:], size)[part])
    assert np.array_equal(resized[0:1], resize_image(filled[:], size)[0:1]), "from the top again"


def test_what_can_only_be_decoded_at_once_must_fit(tmp_path):
    write_image(tmp_path / "a.jpg", np.zeros((1000, 2000, 3), np.uint8))
    with pytest.raises(BadInput, match=r"has 2 megapixels and a JPEG can only be decoded at once, which takes 0.0 GiB"):
        open_lazily(tmp_path / "a.jpg", room=MIB)
    assert open_lazily(tmp_path / "a.jpg", room=16 * MIB).whole is not None
    write_tiff(tmp_path / "b.tif", np.zeros((992, 2000, 3), np.uint8), tiled=True, blockxsize=2000, blockysize=992)
    with pytest.raises(BadInput, match=r"is stored in blocks of 992 x 2000 pixels"):
        open_lazily(tmp_path / "b.tif", room=MIB)
    write_tiff(tmp_path / "c.tif", np.zeros((1000, 2000, 3), np.uint8), tiled=True)
    assert open_lazily(tmp_path / "c.tif", room=4 * MIB).whole is None


def test_no_row_is_decoded_twice_from_top_to_bottom(tmp_path, monkeypatch):
    image = np.random.default_rng(0).integers(0, 255, (300, 40, 3)).astype(np.uint8)
    write_tiff(tmp_path / "a.tif", image, tiled=True, blockxsize=16, blockysize=16)
    read, n_read = lazyimages.read_part, []
    monkeypatch.setattr(
        lazyimages,
        "read_part",
        lambda info, rows, cols: n_read.append(rows.stop - rows.start) or read(info, rows, cols),
    )
    lazy = lazyimages.open_parts(describe_image(tmp_path / "a.tif"), MIB)
    for row in range(0, 236, 32):
        for col in (0, 10, 20):
            assert np.array_equal(lazy[row : row + 64, col : col + 20], image[row : row + 64, col : col + 20])
    assert sum(n_read) == 288


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_a_part_has_all_bands_as_they_are_stored(tmp_path, dtype):
    image = np.random.default_rng(0).integers(0, 99, (70, 90, 5)).astype(dtype)
    write_tiff(tmp_path / "a.tif", image, tiled=True, blockxsize=32, blockysize=32)
    info = describe_image(tmp_path / "a.tif")
    part = lazyimages.read_part(info, slice(13, 60), slice(30, 33))
    assert lazyimages.can_read_parts(info) and part.valid is None
    assert part.pixels.dtype == dtype and np.array_equal(part.pixels, image[13:60, 30:33])
    thin = lazyimages.read_part(info, slice(0, 70), slice(0, 90), (7, 9)).pixels
    assert thin.shape == (7, 9, 5) and set(thin[..., 4].ravel()) <= set(image[..., 4].ravel())


def test_what_a_part_does_not_show_is_not_valid(tmp_path):
    image = np.ones((40, 40, 2), np.float32)
    image[:10], image[30, 5, 1] = -9, np.nan
    write_tiff(tmp_path / "a.tif", image, nodata=-9)
    info = describe_image(tmp_path / "a.tif")
    valid = lazyimages.read_part(info, slice(5, 35), slice(0, 20)).valid
    expected = np.ones((30, 20), bool)
    expected[:5], expected[25, 5] = False, False
    assert np.array_equal(valid, expected)
    assert lazyimages.read_part(info, slice(31, 40), slice(0, 20)).valid is None


def test_other_files_are_not_read_in_parts(tmp_path):
    write_image(tmp_path / "a.png", np.zeros((5, 6, 3), np.uint8))
    assert not lazyimages.can_read_parts(describe_image(tmp_path / "a.png"))


def test_a_palette_that_is_transparent_is_read_lazily(tmp_path):
    from PIL import Image

    picture = Image.fromarray(np.repeat(np.arange(4, dtype=np.uint8), 5)[None].repeat(6, axis=0), "P")
    picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 0, 0, 0])
    picture.save(tmp_path / "a.png", transparency=1)
    image = lazyimages.open_lazily(tmp_path / "a.png")
    assert image.shape == (6, 20, 3) and image[2:4, 0:1].tolist() == [[[10, 20, 30]], [[10, 20, 30]]]
    assert image.find_valid(slice(0, 1))[0].tolist() == [True] * 5 + [False] * 5 + [True] * 10
