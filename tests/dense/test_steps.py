from __future__ import annotations

import colorsys

import numpy as np
import pytest

from hybridseg.dense import steps
from hybridseg.dense.clahe import equalize
from hybridseg.dense.steps import STEPS, Draws
from hybridseg.errors import BadInput

MOVING = {"flip-cols", "flip-rows", "shift-scale-rotate", "perspective"}
IDS = np.array([3, 90, 200], np.uint8)


@pytest.fixture(scope="module")
def tf():
    from hybridseg.models.startup import import_tensorflow

    import_tensorflow()
    import tensorflow

    return tensorflow


@pytest.fixture(scope="module")
def scene():
    """Blocks of 12 x 12 pixels, each of one colour by its class, with a little texture inside."""
    rng = np.random.default_rng(0)
    labels = np.kron(rng.choice(IDS, (5, 6)), np.ones((12, 12), np.uint8))
    return np.stack([labels / 255, 0.5 - labels / 510, np.full(labels.shape, 0.4)], -1).astype(np.float32), labels


def run(tf, step, image, labels, seed=0):
    changed, moved = step.change(tf.constant(image), tf.constant(labels), Draws(tf.constant([seed, 1])))
    return np.asarray(changed), np.asarray(moved)


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPS)
def test_every_step_changes_the_image_and_keeps_its_kind(tf, scene, name):
    rng = np.random.default_rng(1)
    image, labels = np.clip(scene[0] + rng.normal(0, 0.05, scene[0].shape), 0, 1).astype(np.float32), scene[1]
    found = [run(tf, STEPS[name](), image, labels, seed) for seed in range(6)]
    for changed, moved in found:
        assert changed.shape == image.shape and changed.dtype == np.float32 and moved.dtype == np.uint8
        assert changed.min() >= 0 and changed.max() <= 1 and np.isfinite(changed).all()
        assert set(np.unique(moved)) <= {*IDS.tolist(), 255}
        assert np.array_equal(moved, labels) or name in MOVING
    assert any(np.abs(changed - image).max() > 0.01 for changed, _ in found)
    # The same draws, the same changes; also in a graph.
    graph = tf.function(lambda i, y: STEPS[name]().change(i, y, Draws(tf.constant([2, 1]))), autograph=False)
    in_graph = graph(image, labels)
    np.testing.assert_allclose(in_graph[0], found[2][0], atol=1e-4)
    assert (in_graph[1].numpy() != found[2][1]).mean() < 0.01


@pytest.mark.parametrize("step", [
    steps.FlipCols(), steps.FlipRows(), steps.Perspective(0.2), steps.ShiftScaleRotate(0.2, 0.3, 40.0),
    steps.ShiftScaleRotate(0.3, 0.2, 90.0, border="mirror"),
], ids=lambda step: step.name)  # fmt: skip
def test_labels_move_with_their_pixels(tf, scene, step):
    for seed in range(5):
        image, labels = run(tf, step, *scene, seed)
        # Away from the borders of the blocks, and from that of the image where nothing lies beyond.
        wide = np.pad(labels, 2, mode="edge")
        around = np.lib.stride_tricks.sliding_window_view(wide, (5, 5)).reshape(*labels.shape, 25)
        inside = (around == labels[..., None]).all(-1) & (labels != 255)
        assert inside.mean() > 0.2
        # But for a corner here and there.
        assert (np.abs(image[inside, 0] - labels[inside] / 255) < 2e-3).mean() > 0.99


def test_what_lies_beyond_the_border(tf, scene):
    for seed in range(4):
        image, labels = run(tf, steps.ShiftScaleRotate(0.3, 0.0, 0.0), *scene, seed)
        void = labels == 255
        # The row next to the image is half of it.
        assert void.any() and (image[void].max(-1) < 0.41).all() and (image[void] == 0).all(-1).mean() > 0.4
        assert not (run(tf, steps.ShiftScaleRotate(0.3, border="mirror"), *scene, seed)[1] == 255).any()
        assert not (run(tf, steps.Perspective(0.2), *scene, seed)[1] == 255).any(), "it looks at a part of the image"


def test_flips_by_hand(tf, scene):
    for step, axis in ((steps.FlipCols(), 1), (steps.FlipRows(), 0)):
        image, labels = run(tf, step, *scene)
        assert np.array_equal(image, np.flip(scene[0], axis)) and np.array_equal(labels, np.flip(scene[1], axis))


def test_colours_by_hand(tf, scene):
    image, labels = scene
    image = np.clip(image, 0.3, 0.6)
    flat, grey = np.full_like(image, 0.4), np.full((12, 12, 3), 0.5, np.float32)
    for seed in range(3):
        added = run(tf, steps.Brightness(0.2), image, labels, seed)[0] - image
        assert np.ptp(added) < 1e-6 and abs(added.mean()) <= 0.2
        ratio = run(tf, steps.Gain(0.2), image, labels, seed)[0] / image
        assert np.ptp(ratio, axis=(0, 1)).max() < 1e-5 and (np.abs(ratio - 1) < 0.21).all()
        assert np.ptp(ratio[0, 0]) > 0.02, "every band by itself"
        power = np.log(run(tf, steps.Gamma(0.2), image, labels, seed)[0]) / np.log(image)
        assert np.ptp(power) < 1e-4 and 0.8 <= power.mean() <= 1.2
        stretched = run(tf, steps.Contrast(0.2), image, labels, seed)[0]
        assert stretched.mean() == pytest.approx(image.mean(), abs=1e-5)
        assert 0.8 <= stretched[..., 0].std() / image[..., 0].std() <= 1.2
        np.testing.assert_allclose(run(tf, steps.Blur(), flat, labels, seed)[0], flat, atol=1e-6)
        np.testing.assert_allclose(run(tf, steps.MotionBlur(), flat, labels, seed)[0], flat, atol=1e-6)
        sharp = run(tf, steps.Sharpen(0.5, lightness=1.0), flat, labels, seed)[0]
        np.testing.assert_allclose(sharp, flat, atol=1e-5)
        noise = run(tf, steps.Noise(0.1), grey, labels[:12, :12], seed)[0] - grey
        assert 0.015 < noise.std() < 0.13 and np.ptp(noise, axis=-1).max() < 1e-6, "the same to all bands"


def test_blur_and_sharpening_of_one_bright_pixel(tf):
    image, labels = np.full((7, 7, 2), 0.3, np.float32), np.zeros((7, 7), np.uint8)
    image[3, 3] = 0.6
    blurred = run(tf, steps.Blur(3), image, labels)[0] - 0.3
    np.testing.assert_allclose(blurred[2:5, 2:5], 0.3 / 9, atol=1e-6)
    lines = {
        tuple(np.argwhere(run(tf, steps.MotionBlur(3), image, labels, s)[0][..., 0] > 0.35).ravel()) for s in range(30)
    }
    assert lines == {(3, 2, 3, 3, 3, 4), (2, 3, 3, 3, 4, 3), (2, 2, 3, 3, 4, 4), (2, 4, 3, 3, 4, 2)}
    sharp = run(tf, steps.Sharpen(0.05, lightness=1.0), image, labels)[0]
    assert sharp[3, 3, 0] > 0.61 and sharp[3, 2, 0] < 0.3


def test_hue_and_saturation_are_those_of_the_colour_wheel(tf):
    image = np.random.default_rng(0).uniform(0.2, 0.8, (4, 5, 4)).astype(np.float32)
    labels = np.zeros((4, 5), np.uint8)
    found = run(tf, steps.HueSaturation(hue=60.0, saturation=0.0, value=0.0), image, labels, 1)[0]
    assert np.array_equal(found[..., 3], image[..., 3]), "a fourth band is no colour"
    turns = []
    for old, new in zip(image.reshape(-1, 4), found.reshape(-1, 4), strict=True):
        before, after = colorsys.rgb_to_hsv(*old[:3]), colorsys.rgb_to_hsv(*new[:3])
        assert before[1:] == pytest.approx(after[1:], abs=1e-4)
        turns.append((after[0] - before[0] + 0.5) % 1 - 0.5)
    assert np.ptp(turns) < 1e-3 and 0.01 < abs(turns[0]) <= 60 / 360
    with pytest.raises(BadInput, match=r"hue-saturation of the augmentation is for images of red, green and blue"):
        steps.HueSaturation().check_bands(1)


def test_equalized_histograms(tf):
    """With one tile and no limit it is the share of the pixels that are not brighter."""
    values = np.random.default_rng(0).beta(2, 5, (40, 50)).astype(np.float32)
    bins = (values * 255).astype(int)
    expected = (np.sort(bins.ravel()).searchsorted(bins.ravel(), side="right") / bins.size).reshape(bins.shape)
    np.testing.assert_allclose(equalize(tf.constant(values), clip=1e6, n_tiles=1), expected, atol=1e-5)
    # The lower the limit, the nearer to the brightness itself.
    changes = [np.abs(equalize(tf.constant(values), clip=clip, n_tiles=1) - values).mean() for clip in (1, 2, 4)]
    assert 0 < changes[0] < changes[1] < changes[2]
    # In two halves of different brightness each is stretched by itself, without a seam in the middle.
    halves = np.concatenate([values * 0.3, 0.7 + values * 0.3], 1)
    found = equalize(tf.constant(halves), clip=50.0, n_tiles=2).numpy()
    assert found[:, :10].std() > 0.2 and found[:, -10:].std() > 0.2


@pytest.mark.parametrize(("make", "message"), [
    (lambda: steps.ShiftScaleRotate(border="black"), "border='black': give one of void, mirror"),
    (lambda: steps.Blur(4), "side=4: give a whole number from 3 to 31, odd"),
    (lambda: steps.Noise(1.0), "strength=1.0: give a number from 0 to below 1"),
])  # fmt: skip
def test_settings_out_of_range(make, message):
    with pytest.raises(BadInput, match=message):
        make()
