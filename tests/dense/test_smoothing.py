from dataclasses import replace

import numpy as np
import pytest

from hybridseg.crf.options import CrfOptions
from hybridseg.dense import smoothing
from hybridseg.dense.smoothing import (
    CRF_SOURCES,
    FCN_SMOOTHING,
    PROBS_SMOOTHING,
    SmoothingOptions,
    smooth_probs,
    thin_seeds,
)
from hybridseg.errors import BadInput
from hybridseg.majority import filter_majority

QUICK = CrfOptions(theta=6, color_scale=20, space_compat=3, color_compat=10, n_iterations=5, tolerance=0.0)


def be_sure(labels, n_classes=3, share=0.8):
    """Probabilities that say `labels`."""
    rest = (1 - share) / (n_classes - 1)
    return np.where(np.arange(n_classes) == np.asarray(labels)[..., None], share, rest).astype(np.float32)


@pytest.fixture
def halves():
    """A picture of two colours, its labels, and the same labels with some wrong pixels."""
    labels = np.zeros((40, 48), np.uint8)
    labels[:, 20:] = 2
    image = np.array([[200, 20, 20], [0, 0, 0], [20, 20, 200]], np.uint8)[labels]
    image += np.random.default_rng(0).integers(0, 9, image.shape, np.uint8)
    spoilt = labels.copy()
    spoilt[[5, 17, 30], [8, 40, 30]] = 1
    return image, labels, spoilt


def test_nothing_to_do_is_the_best_class():
    probs = np.random.default_rng(0).dirichlet(np.ones(4), (9, 11)).astype(np.float32)
    image = np.zeros((9, 11, 3), np.uint8)
    for radius in (0, 1):
        options = SmoothingOptions(radius=radius)
        labels = smooth_probs(image, probs, options=options)
        assert not options.any and labels.dtype == np.uint8 and np.array_equal(labels, probs.argmax(axis=-1))


@pytest.mark.parametrize("source", CRF_SOURCES)
def test_isolated_wrong_pixels_go(halves, source):
    image, labels, spoilt = halves
    options = SmoothingOptions(crf_from=source, radius=3 if source == "none" else 0, crf=QUICK)
    assert options.any
    assert np.array_equal(smooth_probs(image, be_sure(spoilt), options=options), labels)


@pytest.mark.parametrize("source", ["labels", "probabilities"])
def test_a_crf_follows_the_edge_of_the_image(halves, source):
    """A border four pixels off goes where the colours change; the majority filter alone leaves it."""
    image, labels, _ = halves
    wrong = np.zeros_like(labels)
    wrong[:, 24:] = 2
    probs = be_sure(wrong, share=0.6)
    options = SmoothingOptions(crf_from=source, crf=replace(QUICK, color_compat=30.0, n_iterations=20), radius=2)
    assert (smooth_probs(image, probs, options=options) != labels).mean() < 0.01
    alone = smooth_probs(image, probs, options=replace(options, crf_from="none"))
    assert np.array_equal(alone, wrong)


def test_the_majority_filter_comes_last(halves, monkeypatch):
    image, _, spoilt = halves
    calls = []
    monkeypatch.setattr(
        smoothing, "refine_probs", lambda *args, **settings: calls.append("crf") or replace_labels(spoilt)
    )
    options = SmoothingOptions(crf_from="probabilities", radius=3)
    found = smooth_probs(image, be_sure(np.zeros((40, 48), int)), options=options)
    assert calls == ["crf"] and np.array_equal(found, filter_majority(spoilt, radius=3))


def replace_labels(labels):
    from hybridseg.crf.refine import Refinement

    return Refinement(labels, None, "test", 1, 1)


def test_only_the_thinned_pixels_seed_the_crf(halves, monkeypatch):
    image, labels, _ = halves
    given = {}

    def refine(picture, seeds, *, n_classes, options, **_):
        given.update(picture=picture, seeds=seeds, n_classes=n_classes, options=options)
        return replace_labels(np.where(seeds > 0, seeds - 1, 255).astype(np.uint8))

    monkeypatch.setattr(smoothing, "refine_labels", refine)
    options = SmoothingOptions(crf_from="labels", seed=4, crf=QUICK)
    found = smooth_probs(image, be_sure(labels), options=options)
    assert given["picture"] is image and given["n_classes"] == 3 and given["options"] is QUICK
    assert np.array_equal(given["seeds"], thin_seeds(labels + 1, share=0.5, seed=4))
    # What the CRF has not heard of takes the class of its neighbour.
    assert (found != labels).mean() < 0.1 and set(np.unique(found)) == {0, 2}


@pytest.mark.parametrize(("shape", "share", "n_left"), [
    ((10, 20), 0.5, 50), ((11, 21), 0.5, 6 * 11), ((10, 10), 0.0, 100), ((10, 10), 0.25, 64), ((1, 1), 0.9, 1),
])  # fmt: skip
def test_thinning_takes_whole_rows_and_columns(shape, share, n_left):
    seeds = np.full(shape, 7, np.uint8)
    thinned = thin_seeds(seeds, share=share, seed=0)
    kept = thinned > 0
    assert kept.sum() == n_left and set(np.unique(thinned)) <= {0, 7} and (seeds == 7).all()
    assert np.array_equal(kept, kept.any(axis=1)[:, None] & kept.any(axis=0))


def test_thinning_follows_from_the_seed():
    seeds = np.ones((40, 40), np.uint8)
    first, again, other = (thin_seeds(seeds, share=0.5, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_the_classic_program_is_reproduced():
    assert FCN_SMOOTHING.crf_from == "labels" and FCN_SMOOTHING.thinning == 0.5 and FCN_SMOOTHING.radius == 3
    crf = FCN_SMOOTHING.crf
    assert (crf.space_theta, crf.near_theta, crf.theta, crf.n_iterations, crf.tolerance) == (5, 5, 60, 40, 0)
    assert (crf.color_scale, crf.space_compat, crf.color_compat, crf.gt_prob) == (1, 5, 100, 0.5)
    assert PROBS_SMOOTHING.crf_from == "probabilities" and PROBS_SMOOTHING.any


@pytest.mark.parametrize("options", [FCN_SMOOTHING, PROBS_SMOOTHING], ids=["fcn", "probs"])
def test_the_presets_mend_a_picture(halves, options):
    image, labels, spoilt = halves
    assert (smooth_probs(image, be_sure(spoilt), options=options) != labels).mean() < 0.02


@pytest.mark.parametrize(("values", "message"), [
    ({"crf_from": "seeds"}, "crf_from='seeds': give one of none, labels, probabilities"),
    ({"thinning": 1.0}, "thinning=1.0: give a number from 0 to below 1"),
    ({"thinning": -0.1}, "thinning=-0.1"),
    ({"radius": -1}, "radius=-1: give a whole number from 0 to 100"),
    ({"radius": 101}, "radius=101"),
])  # fmt: skip
def test_options_without_meaning(values, message):
    with pytest.raises(BadInput, match=message):
        SmoothingOptions(**values)
