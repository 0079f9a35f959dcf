from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest

import hybridseg as hs
from hybridseg.dense.feed import Feed
from hybridseg.dense.policy import BUILTIN, POLICY_HELP, Policy, Turn, read_policy
from hybridseg.dense.steps import STEPS, Brightness, Clahe, FlipCols, FlipRows, Gamma, HueSaturation
from hybridseg.errors import BadInput, MissingInput
from hybridseg.models.normalization import Normalization


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (6, 24, 20, 3)).astype(np.float32)
    return images, rng.choice(np.array([0, 1, 255], np.uint8), (6, 24, 20))


@cache
def make_graph(policy, white):
    """As training does it, and faster."""
    import tensorflow as tf

    def change_batch(images, labels, *seed):
        return policy.change_batch(images, labels, seed=seed, white=white)

    return tf.function(change_batch, autograph=False)


def change(policy, batch, seed=(0, 0), white=255.0):
    import tensorflow as tf

    images, labels = make_graph(policy, white)(*batch, *map(tf.constant, seed))
    return np.asarray(images), np.asarray(labels)


def write(folder, text):
    path = folder / "policy.toml"
    path.write_text(text)
    return path


def test_the_published_policy():
    policy = read_policy("efficientnet-blog")
    names = [[step.name for step in turn.steps] for turn in policy.turns]
    assert names == [
        ["flip-cols"], ["shift-scale-rotate"], ["noise"], ["perspective"], ["clahe", "brightness", "gamma"],
        ["sharpen", "blur", "motion-blur"], ["contrast", "hue-saturation"],
    ]  # fmt: skip
    assert [turn.chance for turn in policy.turns] == [0.5, 1.0, 0.2, 0.5, 0.9, 0.9, 0.9]
    moved = policy.turns[1].to_record()
    assert moved == {
        "do": "shift-scale-rotate", "shift": 0.1, "scale": 0.25, "rotate": 0.0, "border": "void", "apart": False,
        "chance": 1.0,
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", BUILTIN)
def test_a_policy_of_the_package(batch, name):
    policy = read_policy(name)
    json.dumps(policy.to_record())
    first, again, other = (change(policy, batch, seed) for seed in ((1, 2), (1, 2), (1, 3)))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert all(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    assert first[0].min() >= 0 and first[0].max() <= 255 and set(np.unique(first[1])) <= {0, 1, 255}
    same = tuple(values[:1].repeat(6, axis=0) for values in batch)
    assert len(np.unique(change(policy, same)[0].reshape(6, -1), axis=0)) == 6, "each image in its own way"


@pytest.mark.slow
def test_each_happens_with_its_chance(batch):
    same = tuple(values[:1].repeat(300, axis=0)[:, :4, :4] for values in batch)
    for chance in (0.0, 0.3, 1.0):
        images, _ = change(Policy((Turn((FlipCols(),), chance),)), same)
        assert (~np.isclose(images, same[0])).any((1, 2, 3)).mean() == pytest.approx(chance, abs=0.08)
    # One of several: each as often as the others, and never two of them.
    images, _ = change(Policy((Turn((FlipCols(), FlipRows(), Brightness(0.0)), 0.9),)), same)
    views = (same[0][:1], same[0][:1, :, ::-1], same[0][:1, ::-1])
    ways = [np.isclose(images, view).all((1, 2, 3)).mean() for view in views]
    assert ways == pytest.approx([0.4, 0.3, 0.3], abs=0.09)


def test_a_range_of_values_that_is_not_that_of_bytes(batch):
    """Without a largest value, each band of an image has its own: its values change in proportion."""
    policy = Policy((Turn((Gamma(0.5),)),))
    small = batch[0] / 255
    bounds = small.min((1, 2), keepdims=True), small.max((1, 2), keepdims=True)
    unit = (small - bounds[0]) / (bounds[1] - bounds[0])
    expected = change(policy, (unit, batch[1]), white=1.0)[0]
    found = change(policy, (unit * 3000 - 500, batch[1]), white=None)[0]
    np.testing.assert_allclose(found, expected * 3000 - 500, rtol=1e-3, atol=0.5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", STEPS.values(), ids=list(STEPS))
def test_every_band_has_its_own_range_of_values(kind):
    """An elevation of 0 to 10,000 beside reflectances of 0 to 1: all bands change as if they had one range."""
    rng = np.random.default_rng(0)
    images, labels = rng.random((2, 24, 20, 4)).astype(np.float32), np.zeros((2, 24, 20), np.uint8)
    images[:, 0, 0], images[:, 0, 1] = 0, 1
    policy, factors = Policy((Turn((kind(),)),)), np.array([1, 1, 1e4, 0.01], np.float32)
    plain = change(policy, (images, labels), white=None)[0]
    found = change(policy, (images * factors, labels), white=None)[0]
    np.testing.assert_allclose(found / factors, plain, atol=2e-3)


def test_it_changes_the_batches_of_a_training(make_pairs):
    settings = {"batch_size": 2, "normalization": Normalization("unit"), "seed": 3}
    plain, changed = (
        list(Feed(make_pairs(4), range(4), **settings, **more).batches())
        for more in ({}, {"augment": Policy((Turn((FlipRows(),)),))})
    )
    for (image, labels), (moved, moved_labels) in zip(plain, changed, strict=True):
        np.testing.assert_allclose(moved, image[:, ::-1], atol=1e-6)
        assert np.array_equal(moved_labels, labels[:, ::-1])


def test_a_file_in_which_every_step_is_named(tmp_path):
    text = "\n".join(f'[[step]]\ndo = "{name}"' for name in STEPS)
    policy = read_policy(
        write(tmp_path, text + '\n[[step]]\nchance = 0.25\none-of = [{do="clahe", clip=2}, {do="blur"}]')
    )
    assert [step.name for step in policy.steps] == [*STEPS, "clahe", "blur"]
    assert policy.turns[-1] == Turn((Clahe(clip=2.0), STEPS["blur"]()), 0.25)


def test_no_policy():
    policy = read_policy("none")
    assert policy == Policy() and not policy.any and policy.to_record() == {"step": []}
    images, labels = object(), object()
    assert policy.change_batch(images, labels, seed=(0, 0), white=None) == (images, labels)


def test_bands_that_a_policy_needs():
    Policy((Turn((FlipCols(), Brightness())),)).check_bands(1)
    with pytest.raises(BadInput, match=r"hue-saturation .* these have 2 bands; take it out of the policy"):
        Policy((Turn((FlipCols(), HueSaturation())),)).check_bands(2)


@pytest.mark.parametrize(("text", "message"), [
    ("[[step]", "it is not TOML"),
    ("steps = 3", r"it has 'steps', which means nothing here; give a table \[\[step\]\] with do = .NAME. for each"),
    ("step = 3", r"give a table \[\[step\]\]"),
    ('[[step]]\ndo = "flip-colls"', "step 1: there is no step \"flip-colls\"; .*; did you mean flip-cols?"),
    ("[[step]]\nchance = 1", 'step 1 does not say what to do: give do = "NAME", one of flip-cols, '),
    ('[[step]]\ndo = true', "step 1: there is no step true; do is one of flip-cols"),
    ('[[step]]\none-of = ["blur"]', "step 1, number 1 of one-of does not say what to do"),
    ('[[step]]\ndo = "noise"\nstrenght = 1', "step 1: noise has strength, apart, and no strenght; did you mean"),
    ('[[step]]\ndo = "flip-rows"\nside = 1', "step 1: flip-rows has no settings, and no side"),
    ('[[step]]\ndo = "noise"\nstrength = "big"', "step 1: noise has strength = .big.; give a number from 0 to below 1"),
    ('[[step]]\ndo = "noise"\nstrength = true', "step 1: noise has strength = true; give a number from 0 to below 1"),
    ('[[step]]\ndo = "noise"\nstrength = nan', "step 1: noise has strength = NaN; give a number"),
    ('[[step]]\ndo = "shift-scale-rotate"\nborder = "grey"', "step 1: .* border = .grey.; give one of void, mirror"),
    ('[[step]]\ndo = "blur"\nside = 4', "step 1: blur has side = 4; give a whole number from 3 to 31, odd"),
    ('[[step]]\ndo = "blur"\nside = 3.0', "step 1: blur has side = 3.0; give a whole number"),
    ('[[step]]\ndo = "noise"\nchance = 2', "step 1 has chance = 2; give a number from 0 to 1"),
    ('[[step]]\ndo = "noise"\nchance = "often"', "step 1 has chance = \"often\"; give a number from 0 to 1"),
    ('[[step]]\none-of = []', "step 1 has one-of: give it a list of steps"),
    ('[[step]]\ndo = "noise"\none-of = [{do="blur"}]', "step 1 has one-of"),
    ('[[step]]\none-of = [{do="blur"}, {do="smear"}]', "step 1, number 2 of one-of: there is no step \"smear\""),
    ('[[step]]\none-of = [{do="blur", chance=0.5}]', "step 1, number 1 of one-of: blur has side, and no chance"),
])  # fmt: skip
def test_files_that_cannot_be_used(tmp_path, text, message):
    with pytest.raises(BadInput, match=f"policy.toml: {message}"):
        read_policy(write(tmp_path, text))


def test_a_policy_that_is_not_there():
    with pytest.raises(MissingInput, match=r"policy wild; .* efficientnet-blog, microscope, mild, nist, overhead"):
        read_policy("wild")


def test_help_and_documents_name_every_policy():
    assert all(name in POLICY_HELP for name in ("none", *BUILTIN)) and {"mild", "overhead"} <= set(BUILTIN)
    for function in (hs.train_unet, hs.show_augmentation):
        assert POLICY_HELP in " ".join(function.__doc__.split())
