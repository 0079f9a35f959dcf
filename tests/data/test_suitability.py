"""Photos that are spoilt in one way are told by that; as they came from the camera they raise no alarm."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter

from hybridseg.data.suitability import Suitability, judge_photos, measure_blur, measure_suitability
from hybridseg.io.images import load_image, read_image


@pytest.fixture(scope="module")
def photo():
    """A coast of 240 x 320 pixels: sand with stones, and smooth water."""
    rng = np.random.default_rng(0)
    rows, cols = np.mgrid[:240, :320]
    stones = np.asarray(Image.fromarray(rng.integers(0, 256, (240, 320)).astype(np.uint8)))
    land = cols > 150 + 20 * np.sin(rows / 30)
    grey = np.where(land, 120 + stones // 4, 70 + 3 * np.sin(rows / 3) + stones // 30)
    return np.stack([grey, grey * 0.95, np.where(land, grey * 0.8, grey * 1.2)], axis=2).astype(np.uint8)


def blur(photo, radius):
    return np.asarray(Image.fromarray(photo).filter(ImageFilter.GaussianBlur(radius)))


def tell(photo, others):
    """The words for a photo among others."""
    found = judge_photos([*(measure_suitability(other) for other in others), measure_suitability(photo)])
    assert not any(found[:-1])
    return found[-1]


@pytest.fixture(scope="module")
def others(photo):
    return [np.roll(photo, 20 * i, axis=1) + np.uint8(i) for i in range(8)]


def test_a_photo_like_the_others_is_fine(photo, others):
    assert tell(photo[::-1], others) == {}


def test_each_way_to_spoil_a_photo_is_told(photo, others):
    half_empty = photo.copy()
    half_empty[:, :200] = 0
    spoilt = {
        "blurred": blur(photo, 2.5),
        "dark": photo // 9,
        "over-exposed": np.clip(photo.astype(int) * 4, 0, 255).astype(np.uint8),
        "empty": half_empty,
        "of one colour": np.full_like(photo, 90),
        "unlike the others": photo * np.array((1, 0.2, 1)),
    }
    found = {kind: list(tell(picture.astype(np.uint8), others)) for kind, picture in spoilt.items()}
    assert found == {kind: [kind] for kind in spoilt}
    assert tell(photo // 9, others)["dark"] == "100 % of it is nearly black"
    assert tell(half_empty, others)["empty"].startswith("62 % of it is nodata")


def test_blur_grows_with_the_radius_whatever_is_in_the_photo(photo):
    for part in (photo, photo[:, :140]):
        values = [measure_blur(blur(part, radius).sum(axis=2, dtype=np.int32)) for radius in (0, 1, 2)]
        assert values == sorted(values) and values[0] < 0.3 and values[-1] > 0.5


def test_blur_of_a_step_by_hand():
    """A step of 9 becomes steps of 1 over the mean of 9 pixels, so that 8 of 9 are lost."""
    step = np.repeat(np.array([0, 9], np.int32), 20)[None].repeat(20, axis=0)
    assert measure_blur(step) == measure_blur(step.T) == pytest.approx(1 / 9, abs=1e-4)
    ramp = np.arange(0, 80, 2, dtype=np.int32)[None].repeat(20, axis=0)
    assert 0.8 < measure_blur(ramp) < 1, "but for its ends nothing is lost"
    assert measure_blur(np.zeros((20, 20), np.int32)) == 1


def test_what_is_not_valid_does_not_count(photo):
    valid = np.ones(photo.shape[:2], bool)
    valid[:, :80] = False
    marked = np.where(valid[..., None], photo, np.uint8(255))
    found = measure_suitability(marked, valid)
    assert found.empty == pytest.approx(0.25) and found.bright == 0
    assert found.look == pytest.approx(measure_suitability(photo[:, 80:]).look, abs=0.002)
    assert measure_suitability(photo, np.zeros_like(valid)).empty == 1


def test_other_types_and_bands(photo):
    wide = photo[..., :1].astype(np.uint16) * 10
    found = measure_suitability(wide)
    assert found.dark == found.empty == 0 and found.bright < 0.01
    wide[:150] = 4095
    assert measure_suitability(wide).bright == pytest.approx(150 / 240)
    assert measure_suitability(np.concatenate([photo, photo], axis=2)).blur == measure_suitability(photo).blur


def test_few_photos_are_no_family():
    one = Suitability(0.2, 0.0, 0.0, 0.0, (0.5, 0.1, 0.0, 0.1, 0.0, 0.1))
    odd = replace(one, look=(0.5, 0.1, 0.9, 0.1, 0.0, 0.1))
    assert judge_photos([one] * 3 + [odd]) == [{}] * 4
    assert list(judge_photos([one] * 8 + [odd])[-1]) == ["unlike the others"]
    assert judge_photos([]) == []


@pytest.mark.slow
def test_real_photos_raise_no_alarm(real_data):
    for pattern in ("obx/images/*.jpg", "nist/images/*.tif"):
        paths = sorted(real_data.glob(pattern))[::6]
        found = judge_photos([measure_suitability(load_image(path).pixels) for path in paths])
        assert len(paths) > 10 and not any(found)
    blurred = np.asarray(Image.fromarray(read_image(sorted(real_data.glob("obx/images/*.jpg"))[0])).filter(
        ImageFilter.GaussianBlur(3)))  # fmt: skip
    assert measure_suitability(blurred).blur > 0.5
