import numpy as np
import pytest

from hybridseg.errors import BadInput
from hybridseg.models.normalization import KINDS, Normalization

HIGHEST = {"uint8": 255, "uint16": 65535, "float32": 1.0}


def make_images(dtype, shape=(2, 20, 30, 3)):
    """Two images of their own brightness each, and bands of their own."""
    rng = np.random.default_rng(0)
    spread = rng.uniform(0.1, 0.4, (shape[0], 1, 1, shape[3]))
    values = 0.3 + spread * rng.random(shape) + np.linspace(0, 0.2, shape[2])[None, None, :, None]
    return (values * HIGHEST[dtype]).astype(dtype)


def make_rule(kind, scale, n_bands):
    given = {"means": (0.4 * scale,) * n_bands, "deviations": (0.2 * scale,) * n_bands} if kind == "dataset" else {}
    return Normalization(kind, scale, **given)


@pytest.mark.parametrize("dtype", HIGHEST)
@pytest.mark.parametrize("kind", KINDS)
def test_training_and_prediction_see_the_same_numbers(kind, dtype):
    images = make_images(dtype)
    normalization = make_rule(kind, float(HIGHEST[dtype]), 3)
    batch = normalization.apply_batch(images.astype(np.float32))
    alone = [normalization.apply(image) for image in images]
    assert all(image.dtype == np.float32 for image in alone)
    np.testing.assert_allclose(batch, np.stack(alone), atol=1e-4)


@pytest.mark.parametrize(("dtype", "scale"), [("uint8", 255.0), ("uint16", 65535.0), ("float32", 1.0)])
def test_the_highest_value_of_a_type_becomes_one(dtype, scale):
    normalization = Normalization.unit_of(np.dtype(dtype))
    assert normalization == Normalization("unit", scale)
    image = np.array([[[0], [HIGHEST[dtype]]]], dtype)
    assert normalization.apply(image).ravel().tolist() == [0, 1]


@pytest.mark.parametrize(("kind", "mean", "deviation"), [("image", 0, 1), ("photo", 0.45, 0.225)])
@pytest.mark.parametrize("dtype", HIGHEST)
def test_every_band_gets_the_same_mean_and_deviation(kind, mean, deviation, dtype):
    for image in make_images(dtype):
        normalized = Normalization(kind).apply(image)
        assert normalized.mean(axis=(0, 1)) == pytest.approx([mean] * 3, abs=1e-4)
        assert normalized.std(axis=(0, 1)) == pytest.approx([deviation] * 3, rel=1e-3)


@pytest.mark.parametrize(("as_photo", "mean", "deviation"), [(False, 0, 1), (True, 0.45, 0.225)])
@pytest.mark.parametrize("dtype", HIGHEST)
def test_a_data_set_gets_the_mean_and_deviation_that_its_images_do_not_have(as_photo, mean, deviation, dtype):
    images = make_images(dtype, (5, 20, 30, 3))
    rule = Normalization.of_dataset(map(Normalization("image").measure, images), as_photo=as_photo)
    found = np.stack([rule.apply(image) for image in images])
    assert found.mean((0, 1, 2)) == pytest.approx([mean] * 3, abs=1e-4)
    assert found.std((0, 1, 2)) == pytest.approx([deviation] * 3, rel=1e-3)
    # What tells an image of plain background from one full of cells, however bright: nothing is taken from it.
    rng = np.random.default_rng(0)
    plain, cells = (HIGHEST[dtype] * rng.normal(0.5, spread, (64, 64, 3)) for spread in (0.03, 0.2))
    ratio = rule.apply(cells).std((0, 1)) / rule.apply(plain).std((0, 1))
    assert ratio == pytest.approx([0.2 / 0.03] * 3, rel=0.05)


def test_by_hand():
    image = np.array([[[0], [4]], [[0], [4]]], np.uint8)
    assert Normalization("unit", 8.0).apply(image).ravel().tolist() == [0, 0.5, 0, 0.5]
    assert Normalization("image").apply(image).ravel().tolist() == pytest.approx([-1, 1, -1, 1])
    assert Normalization("photo").apply(image).ravel().tolist() == pytest.approx([0.225, 0.675, 0.225, 0.675])


@pytest.mark.slow
@pytest.mark.parametrize("value", [0, 77, 60001, 65535])
@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_image_stays_plain(kind, value):
    """Also where the mean, in float32, is not quite the value that all pixels have."""
    image = np.full((301, 257, 2), value, np.uint16)
    expected = {"unit": value / 65535, "image": 0, "photo": 0.45, "dataset": (value / 65535 - 0.4) / 0.2}[kind]
    normalization = make_rule(kind, 65535.0, 2)
    assert normalization.apply(image) == pytest.approx(expected, abs=5e-3)
    batch = np.asarray(normalization.apply_batch(image[None].astype(np.float32)))
    assert batch == pytest.approx(expected, abs=5e-3)


@pytest.mark.parametrize("n_rows", [255, 256, 257, 600])
def test_a_tall_image_is_measured_in_strips(n_rows):
    image = np.random.default_rng(1).integers(0, 65536, (n_rows, 5, 2)).astype(np.uint16)
    image[256:] //= 4  # The strips differ from one another.
    offset, factor = Normalization("image").measure(image)
    assert offset == pytest.approx(image.mean(axis=(0, 1)), rel=1e-5)
    assert factor == pytest.approx(1 / image.std(axis=(0, 1)), rel=1e-5)


def test_measuring_takes_little_memory():
    import tracemalloc

    image = np.zeros((5000, 400, 1), np.uint8)
    tracemalloc.start()
    Normalization("image").measure(image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6_000_000, "in float64 the image would be 16 MB"


@pytest.mark.parametrize(("kind", "scale", "message"), [
    ("minmax", 255.0, "kind='minmax': .* unit, image, photo, dataset"),
    ("unit", 0.0, "scale=0.0: .* from 1e-06"),
    ("unit", -1.0, "scale=-1.0"),
    ("unit", float("inf"), "scale=inf"),
    ("unit", float("nan"), "scale=nan"),
])  # fmt: skip
def test_rules_without_meaning(kind, scale, message):
    with pytest.raises(BadInput, match=message):
        Normalization(kind, scale)


@pytest.mark.parametrize(("kind", "means", "deviations"), [
    ("dataset", (), ()), ("dataset", (1.0,), ()), ("dataset", (1.0,), (0.0,)), ("dataset", (float("nan"),), (1.0,)),
    ("dataset", (1.0,), (float("inf"),)), ("image", (1.0,), (1.0,)),
])  # fmt: skip
def test_no_measures_of_a_data_set(kind, means, deviations):
    with pytest.raises(BadInput, match="are not those of a data set"):
        Normalization(kind, means=means, deviations=deviations)
