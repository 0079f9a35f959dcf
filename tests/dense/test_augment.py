import numpy as np
import pytest

from hybridseg.dense.augment import AugmentOptions, augment_batch
from hybridseg.errors import BadInput

SIDE = 33
EVERYTHING = AugmentOptions(
    rotation=40, zoom=0.3, row_shift=0.2, col_shift=0.2, flip_rows=True, flip_cols=True, brightness=0.3
)


@pytest.fixture(scope="module")
def tf():
    from hybridseg.models.startup import import_tensorflow

    import_tensorflow()
    import tensorflow

    return tensorflow


@pytest.fixture
def batch():
    """Six images whose pixels are all different, with ids that an average would not give."""
    rng = np.random.default_rng(0)
    images = rng.random((6, SIDE, SIDE, 2)).astype(np.float32)
    return images, rng.choice(np.array([3, 90, 200, 255], np.uint8), (6, SIDE, SIDE))


def draw(tf, n, seed, column):
    """What an image draws for one of its changes."""
    return tf.random.stateless_uniform((n, 7), seed, -1.0, 1.0).numpy()[:, column]


def change(images, labels, seed=(0, 0), **options):
    moved, moved_labels = augment_batch(images, labels, AugmentOptions(**options), seed=seed)
    return np.asarray(moved), np.asarray(moved_labels)


def test_the_same_seed_gives_the_same_changes(tf, batch):
    first, again, other = (augment_batch(*batch, EVERYTHING, seed=seed) for seed in ((1, 2), (1, 2), (1, 3)))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert all(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    in_graph = tf.function(lambda i, y: augment_batch(i, y, EVERYTHING, seed=(tf.constant(1), tf.constant(2))))(*batch)
    np.testing.assert_allclose(in_graph[0], first[0], atol=1e-4)
    assert (in_graph[1].numpy() != first[1].numpy()).mean() < 0.01


def test_every_image_is_changed_in_its_own_way(batch):
    images, labels = (values[:1].repeat(6, axis=0) for values in batch)
    moved, moved_labels = augment_batch(images, labels, EVERYTHING, seed=(0, 0))
    assert len(np.unique(moved.numpy().reshape(6, -1), axis=0)) == 6
    assert len(np.unique(moved_labels.numpy().reshape(6, -1), axis=0)) == 6


def test_labels_are_never_interpolated(batch):
    for step in range(20):
        moved, moved_labels = augment_batch(*batch, EVERYTHING, seed=(0, step))
        assert moved.dtype == np.float32 and moved_labels.dtype == np.uint8
        assert moved.shape == batch[0].shape and moved_labels.shape == batch[1].shape
        assert set(np.unique(moved_labels)) <= {3, 90, 200, 255}


def test_no_change_gives_the_same_arrays(batch):
    images, labels = augment_batch(*batch, AugmentOptions(), seed=(0, 0))
    assert images is batch[0] and labels is batch[1] and not AugmentOptions().any
    assert AugmentOptions(flip_rows=True).any and AugmentOptions(brightness=0.1).any


@pytest.mark.parametrize(("name", "axis"), [("flip_rows", 1), ("flip_cols", 2)])
@pytest.mark.parametrize("sides", [(SIDE, SIDE), (20, 31)])
def test_flips_are_exact_and_in_pairs(name, axis, sides):
    rng = np.random.default_rng(1)
    images = rng.random((40, *sides, 3)).astype(np.float32)
    labels = rng.integers(0, 256, (40, *sides)).astype(np.uint8)
    moved, moved_labels = change(images, labels, **{name: True})
    flipped = [np.array_equal(moved[i], np.flip(images[i], axis - 1)) for i in range(40)]
    kept = [np.array_equal(moved[i], images[i]) for i in range(40)]
    assert all(a != b for a, b in zip(flipped, kept, strict=True)) and 8 < sum(flipped) < 32
    expected = [np.flip(labels[i], axis - 1) if flipped[i] else labels[i] for i in range(40)]
    assert np.array_equal(moved_labels, expected)


def test_a_quarter_turn_is_a_quarter_turn(tf, batch):
    """Where the draw and the greatest angle make 90 degrees: image and labels are turned alike, and exactly."""
    images, labels = batch
    n_turned = 0
    for i, share in enumerate(draw(tf, 6, (5, 7), 0)):
        if abs(share) < 0.5:
            continue
        moved, moved_labels = change(images, labels, seed=(5, 7), rotation=90 / abs(float(share)))
        turned = [k for k in (1, -1) if np.array_equal(moved_labels[i], np.rot90(labels[i], k))]
        assert turned == [int(np.sign(share))]
        np.testing.assert_allclose(moved[i], np.rot90(images[i], turned[0]), atol=1e-3)
        n_turned += 1
    assert n_turned >= 2


@pytest.mark.parametrize(("name", "column", "axis"), [("col_shift", 4, 1), ("row_shift", 5, 0)])
def test_a_shift_by_whole_pixels(tf, batch, name, column, axis):
    images, labels = batch
    n_moved = 0
    for i, share in enumerate(draw(tf, 6, (0, 1), column)):
        if abs(share) < 0.3:
            continue
        moved, moved_labels = change(images, labels, seed=(0, 1), **{name: 4 / SIDE / abs(float(share))})
        start, end = (4, 0) if share > 0 else (0, 4)
        inner = [slice(None)] * 2
        inner[axis] = slice(end, SIDE - start)
        from_old = [slice(None)] * 2
        from_old[axis] = slice(start, SIDE - end)
        assert np.array_equal(moved_labels[i][tuple(inner)], labels[i][tuple(from_old)])
        np.testing.assert_allclose(moved[i][tuple(inner)], images[i][tuple(from_old)], atol=1e-3)
        n_moved += 1
    assert n_moved >= 3


def test_zoom_keeps_the_centre_and_spreads_the_rest(tf):
    ramp = np.arange(SIDE, dtype=np.float32)[:, None].repeat(SIDE, axis=1)
    images, labels = ramp[None, ..., None].repeat(6, axis=0), ramp[None].astype(np.uint8).repeat(6, axis=0)
    moved, moved_labels = change(images, labels, seed=(0, 0), zoom=0.5)
    for i, share in enumerate(draw(tf, 6, (0, 0), 1)):
        expected = (ramp - 16) / (1 + 0.5 * share) + 16
        inside = (expected >= 0) & (expected <= SIDE - 1)
        np.testing.assert_allclose(moved[i, ..., 0][inside], expected[inside], atol=1e-3)
        assert np.abs(moved_labels[i][inside] - expected[inside]).max() <= 0.51


def test_image_and_labels_stay_together():
    """A disk in the image is where the disk in the labels is, whatever was done to both."""
    rows, cols = np.mgrid[:64, :64]
    labels = (np.hypot(rows - 20, cols - 38) < 14).astype(np.uint8)[None].repeat(8, axis=0)
    moved, moved_labels = augment_batch(labels[..., None].astype(np.float32), labels, EVERYTHING, seed=(0, 0))
    differ = (moved.numpy()[..., 0] > 0.5) != moved_labels.numpy().astype(bool)
    assert differ.mean() < 0.01 and 0.05 < moved_labels.numpy().mean() < 0.4


def test_beyond_the_border_is_the_mirror_image(tf):
    row = np.arange(SIDE, dtype=np.float32)
    images, labels = (
        row[None, None, :, None].repeat(SIDE, axis=1),
        row[None, None].astype(np.uint8).repeat(SIDE, axis=1),
    )
    share = float(draw(tf, 1, (0, 3), 4)[0])
    moved, moved_labels = change(images, labels, seed=(0, 3), col_shift=10 / SIDE / abs(share))
    there = np.concatenate([row[10:], row[:-11:-1]]) if share > 0 else np.concatenate([row[:10][::-1], row[:-10]])
    assert np.array_equal(moved_labels[0, 5], there)
    np.testing.assert_allclose(moved[0, 5, :, 0], there, atol=1e-3)


def test_brightness_leaves_labels_alone(tf, batch):
    moved, moved_labels = change(*batch, seed=(2, 2), brightness=0.5)
    assert np.array_equal(moved_labels, batch[1])
    factor = 1 + 0.5 * draw(tf, 6, (2, 2), 6)
    assert factor.min() > 0.5 and factor.max() < 1.5 and np.ptp(factor) > 0.2
    np.testing.assert_allclose(moved, batch[0] * factor[:, None, None, None], rtol=1e-5)


@pytest.mark.parametrize(("values", "message"), [
    ({"rotation": -1}, "rotation=-1: give a number from 0 to 180"), ({"rotation": 181}, "rotation=181"),
    ({"zoom": 1.0}, "zoom=1.0: give a number from 0 to below 1"), ({"row_shift": -0.1}, "row_shift=-0.1"),
    ({"col_shift": 2}, "col_shift=2"), ({"brightness": float("nan")}, "brightness=nan"),
])  # fmt: skip
def test_changes_without_meaning(values, message):
    with pytest.raises(BadInput, match=message):
        AugmentOptions(**values)
