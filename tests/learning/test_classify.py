import numpy as np
import pytest

from hybridseg.learning import features as features_module
from hybridseg.learning.classify import learn_probs, sample_seeds
from hybridseg.learning.features import COLOR, DEEP, PixelFeatures


@pytest.fixture(scope="module")
def strokes():
    seeds = np.zeros((96, 160), np.uint8)
    seeds[20:60, 20:23], seeds[20:60, 130:133] = 4, 2
    return seeds


@pytest.mark.parametrize("kind", [COLOR, DEEP])
def test_what_differs_in_texture_alone(stripes, strokes, kind):
    probs = learn_probs(stripes, strokes, kind=kind, gt_prob=0.9)
    assert probs.shape == (96, 160, 2) and probs.class_ids.tolist() == [1, 3]
    found = probs[0:96, 0:160]
    np.testing.assert_allclose(found.sum(axis=2), 1, atol=1e-5)
    np.testing.assert_allclose(found[30, [21, 131]], [[0.1, 0.9], [0.9, 0.1]], atol=1e-6)
    expected = np.where(np.arange(160) < 80, 1, 0)
    assert (found.argmax(axis=2) == expected).mean() > 0.9


def test_a_part_is_that_of_the_whole(stripes, strokes):
    probs = learn_probs(stripes, strokes, kind=DEEP, gt_prob=0.9)
    np.testing.assert_allclose(probs[10:50, 100:140], probs[0:96, 0:160][10:50, 100:140], atol=1e-5)


def test_windows_give_about_what_one_gives(stripes, monkeypatch):
    whole = PixelFeatures(stripes, DEEP)
    rows, cols = np.array([90, 3, 40, 50]), np.array([100, 3, 31, 159])
    weights = np.random.default_rng(0).normal(size=(1008, 2)).astype(np.float32)
    (samples, around), scores = whole.sample(rows, cols), whole.score(weights, slice(0, 96), slice(0, 160))
    np.testing.assert_allclose(scores[rows, cols], samples @ weights, atol=1e-4)
    monkeypatch.setattr(features_module, "_MOST_SIDE", 64)
    monkeypatch.setattr(features_module, "_HALO", 32)
    parts = whole.score(weights, slice(0, 96), slice(0, 160))
    assert 0 < np.abs(parts - scores).mean() < 0.1 * scores.std()
    # Samples come in the order in which they were asked for.
    np.testing.assert_allclose(parts[rows, cols], whole.sample(rows, cols)[0] @ weights, atol=1e-4)
    deviation, other = (whole.measure_deviation(some) for some in (around, whole.sample(rows, cols)[1]))
    assert np.abs(np.log(other / deviation)).mean() < 0.1


def test_features_vary_by_the_image_and_not_by_the_strokes(stripes):
    """All samples are of one pixel, which does not vary at all; middle strides count more."""
    place = np.array([40, 40, 40]), np.array([30, 30, 30])
    everywhere = np.random.default_rng(1).integers(0, (96, 160), (3000, 2)).T
    features = PixelFeatures(stripes, DEEP)
    samples, around = features.sample(*place)
    deviation = features.measure_deviation(around)
    expected = np.maximum(PixelFeatures(stripes, DEEP).sample(*everywhere)[0].std(axis=0), 0.05)
    expected /= np.repeat([0.5, 1.5, 3, 0.5], [96, 144, 192, 576])
    assert samples.std(axis=0).max() < 1e-6 and np.abs(np.log(deviation / expected)).mean() < 0.1


def test_a_rare_class_is_not_lost_among_many_strokes(stripes):
    seeds = np.ones((96, 160), np.uint8)
    seeds[:, 80:] = 2
    seeds[50, 100:103] = 3
    assert learn_probs(stripes, seeds, kind=COLOR, gt_prob=0.9).class_ids.tolist() == [0, 1, 2]


def test_features_are_computed_once(stripes, strokes, monkeypatch):
    image = stripes[:, ::-1].copy()
    learn_probs(image, strokes, kind=DEEP, gt_prob=0.9)
    monkeypatch.setattr(features_module, "_compute_features", lambda *_: pytest.fail("computed again"))
    # By what is in the pixels, not by which array it is.
    learn_probs(image.copy(), strokes, kind=DEEP, gt_prob=0.9)[0:9, 0:9]


def test_no_more_is_kept_than_fits(stripes, monkeypatch):
    kept = features_module._Kept()
    one = features_module._count_bytes(kept.compute(stripes, COLOR))
    monkeypatch.setattr(features_module, "_MAX_KEPT_BYTES", 2 * one)
    for shift in range(1, 4):
        kept.compute(np.roll(stripes, shift, axis=0), COLOR)
    assert len(kept._found) == 2


def test_strokes_are_counted_wherever_they_lie(stripes):
    """In the part in view and elsewhere; those that touch are one."""

    class Lessons:
        def add(self, features, class_ids, *, n_strokes):
            self.n_strokes = n_strokes
            return features, class_ids, np.full(len(features), 1 / len(features), np.float32)

    seeds = np.zeros(stripes.shape[:2], np.uint8)
    seeds[10, 5:20], seeds[11, 20:30], seeds[60, 10:20], seeds[30, 100:120] = 1, 1, 1, 2
    lessons = Lessons()
    learn_probs(stripes, seeds, kind="color", gt_prob=0.9, lessons=lessons)
    assert lessons.n_strokes == 3 / 2
    other = sample_seeds(stripes, seeds, "color")
    learn_probs(stripes, seeds, kind="color", gt_prob=0.9, lessons=lessons, elsewhere=[other])
    assert lessons.n_strokes == 6 / 2
    assert other.keep(other.ids == 1).n_strokes == pytest.approx(3 * (other.ids == 1).mean())
