import math

import numpy as np
import pytest

from hybridseg.classes import VOID
from hybridseg.errors import BadInput
from hybridseg.models.losses import LOSSES, LossOptions, cross_entropy, dice_loss
from hybridseg.models.losses import make_loss as make_loss_of


@pytest.fixture(scope="module")
def tf():
    from hybridseg.models.startup import import_tensorflow

    import_tensorflow()
    import tensorflow

    return tensorflow


def make_loss(name, *, foreground_only=False, **options):
    return make_loss_of(LossOptions(name, **options), foreground_only=foreground_only)


def scores_of(probs):
    """Scores whose softmax is `probs`, (n, rows, cols, n_classes)."""
    return np.log(np.asarray(probs, np.float32))


def labels_of(values):
    return np.asarray(values, np.uint8)


# Two pixels of class 0, one of class 1, one void, and what a network of three classes says of them.
PROBS = [[[[0.5, 0.25, 0.25], [0.8, 0.1, 0.1]], [[0.2, 0.7, 0.1], [0.1, 0.1, 0.8]]]]
LABELS = labels_of([[[0, 0], [1, VOID]]])


def test_cross_entropy_by_hand():
    expected = -(math.log(0.5) + math.log(0.8) + math.log(0.7)) / 3
    assert float(cross_entropy(scores_of(PROBS), LABELS)) == pytest.approx(expected, rel=1e-5)


def test_dice_by_hand():
    # (2 * overlap + 1) / (sum of the probabilities + pixels of the class + 1), over the pixels with a class.
    first = (2 * (0.5 + 0.8) + 1) / ((0.5 + 0.8 + 0.2) + 2 + 1)
    second = (2 * 0.7 + 1) / ((0.25 + 0.1 + 0.7) + 1 + 1)
    # Class 2 is nowhere in the labels: it is left out, and not counted as 0 (or as nearly 1).
    assert float(dice_loss(scores_of(PROBS), LABELS)) == pytest.approx(1 - (first + second) / 2, rel=1e-5)


def test_dice_of_one_class_against_the_rest():
    scores = scores_of([[[[0.4, 0.6], [0.9, 0.1]]]])
    labels = labels_of([[[1, 0]]])
    there = (2 * 0.6 + 1) / (0.7 + 1 + 1)
    assert float(dice_loss(scores, labels, first_class=1)) == pytest.approx(1 - there, rel=1e-5)
    assert float(make_loss("dice", foreground_only=True)(scores, labels)) == pytest.approx(1 - there, rel=1e-5)
    rest = (2 * 0.9 + 1) / (1.3 + 1 + 1)
    assert float(make_loss("dice")(scores, labels)) == pytest.approx(1 - (there + rest) / 2, rel=1e-5)
    # Where the one class is not, finding none of it is right, and finding some is not.
    nowhere = labels_of([[[0, 0]]])
    assert float(dice_loss(scores, nowhere, first_class=1)) == pytest.approx(1 - 1 / 1.7, rel=1e-5)
    none_found = scores_of([[[[1 - 1e-7, 1e-7]] * 2]])
    assert float(dice_loss(none_found, nowhere, first_class=1)) == pytest.approx(0, abs=1e-5)


def test_dice_is_counted_over_the_whole_batch():
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(2, 3, 4, 3)).astype(np.float32), labels_of(rng.integers(0, 3, (2, 3, 4)))
    as_one = float(dice_loss(scores.reshape(1, 6, 4, 3), labels.reshape(1, 6, 4)))
    assert float(dice_loss(scores, labels)) == pytest.approx(as_one, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_right_answers_cost_nothing_and_wrong_ones_much(name):
    labels = labels_of([[[0, 1, 2], [2, 1, 0]]])
    right = np.eye(3, dtype=np.float32)[labels] * 60
    loss = make_loss(name)
    assert float(loss(right, labels)) == pytest.approx(0, abs=1e-5)
    assert float(loss(np.roll(right, 1, axis=-1), labels)) > 0.6


@pytest.mark.parametrize("share", [0, 0.05, 0.5, 1])
def test_combo_is_the_mean_of_two(share):
    ours = make_loss("combo", dice_share=share)(scores_of(PROBS), LABELS)
    first, second = (make_loss(name)(scores_of(PROBS), LABELS) for name in ("cross-entropy", "dice"))
    assert float(ours) == pytest.approx((1 - share) * float(first) + share * float(second), rel=1e-6)


def test_the_published_loss():
    """0.05 x binary cross entropy - 0.95 x Dice of sigmoids, by image: ours is larger by 0.95."""
    rng = np.random.default_rng(0)
    logits, truth = rng.normal(size=(3, 4, 5, 1)).astype(np.float32), rng.integers(0, 2, (3, 4, 5))
    truth[1] = 0
    probs = 1 / (1 + np.exp(-logits[..., 0].astype(float)))
    entropy = -(truth * np.log(probs) + (1 - truth) * np.log(1 - probs)).mean()
    dice = ((2 * (truth * probs).sum((1, 2)) + 1) / (truth.sum((1, 2)) + probs.sum((1, 2)) + 1)).mean()
    scores = np.concatenate([np.zeros_like(logits), logits], -1)
    loss = make_loss("combo", foreground_only=True, dice_share=0.95, dice_over="image")
    assert float(loss(scores, labels_of(truth))) - 0.95 == pytest.approx(0.05 * entropy - 0.95 * dice, rel=1e-5)


def test_dice_of_every_image_by_itself():
    """A class counts in the images that have it."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(2, 3, 4, 3)).astype(np.float32)
    labels = labels_of(rng.integers(0, 3, (2, 3, 4)))
    labels[0][labels[0] == 2] = 0
    single = [float(dice_loss(scores[i : i + 1], labels[i : i + 1])) for i in range(2)]
    expected = (2 * single[0] + 3 * single[1]) / 5
    assert float(make_loss("dice", dice_over="image")(scores, labels)) == pytest.approx(expected, rel=1e-5)
    assert float(make_loss("dice")(scores, labels)) != pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("gamma", [0, 1, 2.5])
def test_focal_by_hand(gamma):
    expected = -sum((1 - p) ** gamma * math.log(p) for p in (0.5, 0.8, 0.7)) / 3
    assert float(make_loss("focal", focal_gamma=gamma)(scores_of(PROBS), LABELS)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("foreground_only", [False, True])
def test_void_pixels_have_no_part_in_value_or_gradient(tf, name, foreground_only):
    rng = np.random.default_rng(1)
    n_classes = 2 if foreground_only else 3
    labels = labels_of(rng.integers(0, n_classes, (2, 4, 5)))
    void = rng.random(labels.shape) < 0.4
    labels[void] = VOID
    scores = rng.normal(size=(*labels.shape, n_classes)).astype(np.float32)
    other = np.where(void[..., None], rng.normal(size=scores.shape) * 30, scores).astype(np.float32)
    loss = make_loss(name, foreground_only=foreground_only)
    assert float(loss(scores, labels)) == pytest.approx(float(loss(other, labels)), rel=1e-6)
    variable = tf.Variable(scores)
    with tf.GradientTape() as tape:
        value = loss(variable, labels)
    gradient = tape.gradient(value, variable).numpy()
    assert (gradient[void] == 0).all() and (gradient[~void] != 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_but_void_is_no_loss_and_no_nan(tf, name):
    variable = tf.Variable(np.ones((1, 2, 2, 3), np.float32))
    with tf.GradientTape() as tape:
        value = make_loss(name)(variable, np.full((1, 2, 2), VOID, np.uint8))
    assert float(value) == 0
    assert (tape.gradient(value, variable).numpy() == 0).all()


@pytest.mark.parametrize(("values", "message"), [
    ({"loss": "l2"}, "loss='l2': give one of cross-entropy, dice, combo, focal"),
    ({"dice_share": 1.1}, "dice_share=1.1"),
    ({"dice_over": "class"}, "dice_over='class': give one of batch, image"),
    ({"focal_gamma": -1.0}, "focal_gamma=-1.0"),
], ids=str)  # fmt: skip
def test_options_out_of_range(values, message):
    with pytest.raises(BadInput, match=message):
        LossOptions(**values)
