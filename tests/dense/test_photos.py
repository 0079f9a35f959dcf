import numpy as np
import pytest
import rasterio

from hybridseg.classes import VOID, ClassTable
from hybridseg.dense import photos as module
from hybridseg.dense.photos import PhotoPairs, Window
from hybridseg.dense.programs.unet import UnetOptions
from hybridseg.io.images import write_image
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.pairing import Pair
from hybridseg.io.rasters import quiet_rasterio
from hybridseg.models.normalization import Normalization
from hybridseg.resample import resize_image, resize_labels

THREE = ClassTable.from_names("abc")
SHAPES = ((60, 90), (40, 50), (100, 30))


def read_labels(path):
    return read_labelmap(path, with_seeds=False).labels


@pytest.fixture
def make_photos(tmp_path, make_pair, monkeypatch):
    """Write photos of noise in blocks with their labels; give the source, images and labels, and count what is read."""

    def make(*, limit=1 << 30, scale=1.0, suffix=".png", bands=3, dtype=np.uint8, nodata=None, shapes=SHAPES):
        rng, images, labels, pairs = np.random.default_rng(0), [], [], []
        for i, shape in enumerate(shapes):
            high = rng.integers(1, 200, (shape[0] // 5, shape[1] // 5, bands)).astype(dtype)
            images.append(high.repeat(5, axis=0).repeat(5, axis=1))
            labels.append(rng.integers(0, 3, shape).astype(np.uint8))
            make_pair(tmp_path, f"p{i}", labels[-1], None if suffix == ".tif" else images[-1], THREE)
            path = tmp_path / f"p{i}{suffix}"
            if suffix == ".tif":
                (tmp_path / f"p{i}.png").unlink()
                images[-1][:7] = images[-1][:7] if nodata is None else nodata
                save_tiff(path, images[-1], nodata=nodata)
            else:
                write_image(path, images[-1])
            pairs.append(Pair(tmp_path / f"p{i}_mres.mat", path))
        was_read = []
        load = module.load_labelled
        monkeypatch.setattr(
            module, "load_labelled", lambda *args: was_read.append(args[0].image_path.stem) or load(*args)
        )
        photos = PhotoPairs(pairs, read_labels, table=THREE, size=(32, 48), limit=limit, scale=scale)
        return photos, images, labels, was_read

    return make


def save_tiff(path, image, **more):
    profile = {"driver": "GTiff", "height": image.shape[0], "width": image.shape[1], "count": image.shape[2]}
    with quiet_rasterio(), rasterio.open(path, "w", dtype=image.dtype, **profile, **more) as file:
        file.write(image.transpose(2, 0, 1))


def test_photos_keep_their_own_size(make_photos):
    photos, images, labels, _ = make_photos()
    assert photos.size == (32, 48) and [info.shape for info in photos.infos] == list(SHAPES)
    for i in range(3):
        image, own = photos.read(i)
        assert np.array_equal(image, images[i]) and np.array_equal(own, labels[i])


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("shape", [(20, 30), (10, 15), (41, 33)])
def test_a_window_is_resized_with_its_labels(make_photos, suffix, shape):
    # No room for any: a TIFF is read window by window.
    photos, images, labels, _ = make_photos(limit=1, suffix=suffix)
    image, own = photos.read_window(0, Window(5, 7, 20, 30), shape)
    assert np.array_equal(image, resize_image(np.ascontiguousarray(images[0][5:25, 7:37]), shape))
    assert np.array_equal(own, resize_labels(labels[0][5:25, 7:37], shape))


@pytest.mark.parametrize("limit", [1, 1 << 30])
@pytest.mark.parametrize("window", [
    Window(-10, -20, 40, 60), Window(30, 60, 40, 60), Window(-10, -10, 200, 300), Window(-130, 0, 200, 40),
])  # fmt: skip
def test_beyond_the_border_is_the_mirror_image_without_labels(make_photos, limit, window):
    photos, images, labels, _ = make_photos(limit=limit, suffix=".tif")
    image, own = photos.read_window(0, window, (window.height, window.width))
    padded = np.pad(images[0], [(300, 300), (300, 300), (0, 0)], mode="symmetric")
    void = np.pad(labels[0], 300, constant_values=VOID)
    where = (
        slice(window.row + 300, window.row + 300 + window.height),
        slice(window.col + 300, window.col + 300 + window.width),
    )
    assert np.array_equal(own, void[where])
    if window.height <= 60:
        assert np.array_equal(image, padded[where]), "one side at a time, as at prediction"
    known = own != VOID
    assert known.any() and np.array_equal(image[known], padded[where][known])


def test_photos_are_decoded_once_while_there_is_room(make_photos):
    photos, _, _, was_read = make_photos()
    for _ in range(3):
        for i in range(3):
            photos.read_window(i, Window(0, 0, 20, 20), (20, 20))
            photos.read_labels(i)
            photos.measure(i, Normalization("image"))
    assert was_read == ["p0", "p1", "p2"]


def test_those_that_were_needed_last_are_kept(make_photos):
    photos, _, _, was_read = make_photos(limit=2 * 60 * 90 * 4, shapes=((60, 90), (60, 90), (40, 50)))
    assert [photos.count_bytes(i) for i in range(3)] == [21_600, 21_600, 8_000]
    for i in (0, 1, 0, 2, 0, 1):
        photos.read_window(i, Window(0, 0, 20, 20), (20, 20))
    # The third takes the place of the second, which had not been needed for longest.
    assert was_read == ["p0", "p1", "p2", "p1"]


def test_of_a_large_tiff_only_windows_are_decoded(make_photos, monkeypatch):
    photos, images, labels, was_read = make_photos(limit=60 * 90 * 4, suffix=".tif", bands=5, dtype=np.int16)
    decoded = []
    read_part = module.read_part
    monkeypatch.setattr(module, "read_part", lambda *args: decoded.append(args[1:]) or read_part(*args))
    for _ in range(2):
        image, own = photos.read_window(0, Window(30, 40, 20, 30), (20, 30))
        assert image.dtype == np.int16 and np.array_equal(image, images[0][30:50, 40:70])
        assert np.array_equal(own, labels[0][30:50, 40:70])
    assert decoded == [(slice(30, 50), slice(40, 70))] * 2 and was_read == []
    assert photos.count_bytes(0) == 0, "nothing of it is kept"
    whole, all_labels = photos.read(0)
    assert np.array_equal(whole, images[0]) and np.array_equal(all_labels, labels[0])


def test_what_holds_no_picture_has_no_labels(make_photos):
    for limit in (1, 1 << 30):
        photos, images, _, _ = make_photos(limit=limit, suffix=".tif", nodata=0)
        image, labels = photos.read_window(1, Window(0, 0, 20, 20), (20, 20))
        assert (labels[:7] == VOID).all() and (labels[7:] != VOID).all()
        assert (image[:7] > 0).all() and np.array_equal(image[7:], images[1][7:20, :20])
        nothing, labels = photos.read_window(1, Window(0, 0, 5, 5), (5, 5))
        assert (labels == VOID).all() and nothing.shape == (5, 5, 3)


@pytest.mark.parametrize("kind", ["unit", "image", "photo"])
@pytest.mark.parametrize("limit", [1, 1 << 30])
def test_a_photo_is_measured_as_a_whole(make_photos, kind, limit):
    photos, images, _, _ = make_photos(limit=limit, suffix=".tif")
    for found, expected in zip(
        photos.measure(0, Normalization(kind)), Normalization(kind).measure(images[0]), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("limit", [1, 1 << 30])
def test_a_data_set_is_measured_on_whole_photos(make_photos, limit):
    photos, images, _, _ = make_photos(limit=limit, suffix=".tif")
    plain = UnetOptions("none", "plain", normalization="dataset").choose_normalization(photos)
    assert plain.means == pytest.approx(np.mean([image.mean((0, 1)) for image in images], 0), rel=1e-6)
    assert photos.measure(0, plain)[0] == pytest.approx(plain.means, rel=1e-6)
    # Bytes are as an encoder knows them, unless something else is asked for.
    assert UnetOptions().choose_normalization(photos) == Normalization("unit", 255.0)


def test_where_windows_are_far_smaller_photos_are_kept_so(make_photos):
    photos, images, labels, was_read = make_photos(scale=0.2)
    assert photos.count_bytes(0) == 12 * 18 * 4
    small, own = resize_image(images[0], (12, 18)), resize_labels(labels[0], (12, 18))
    image, found = photos.read_window(0, Window(10, 20, 30, 50), (6, 10))
    assert np.array_equal(image, small[2:8, 4:14]) and np.array_equal(found, own[2:8, 4:14])
    assert photos.read_labels(0).shape == (12, 18) and was_read == ["p0"]
    # Whole, and measured, at their own size.
    assert np.array_equal(photos.read(0)[0], images[0]) and np.array_equal(photos.read(0)[1], labels[0])
    expected = Normalization("image").measure(images[0])
    np.testing.assert_allclose(photos.measure(0, Normalization("image")), expected, rtol=1e-6)


def test_photos_are_kept_as_they_are_where_little_would_be_saved(make_photos):
    photos, images, _, _ = make_photos(scale=0.7)
    assert photos.count_bytes(0) == 60 * 90 * 4
    assert np.array_equal(photos.read_window(0, Window(1, 2, 3, 4), (3, 4))[0], images[0][1:4, 2:6])


@pytest.mark.parametrize("limit", [1 << 30, 1])
def test_windows_have_no_transparency(make_photos, limit):
    photos, images, *_ = make_photos(suffix=".tif", bands=4, limit=limit)
    image, _ = photos.read_window(0, Window(10, 20, 30, 40), (30, 40))
    assert photos.infos[0].has_alpha and photos.n_bands == 3
    assert np.array_equal(image, images[0][10:40, 20:60, :3])
