"""Steps on arrays do what they do on tensors, without TensorFlow."""

import subprocess
import sys

import numpy as np
import pytest

from hybridseg.dense import steps
from hybridseg.dense.pixelmath import ArrayDraws
from hybridseg.dense.policy import Policy, Turn, read_policy
from hybridseg.errors import BadInput

ON_ARRAYS = [kind() for kind in steps.STEPS.values() if kind.on_arrays]
MORE = [
    steps.ShiftScaleRotate(0.2, 0.3, 90.0, border="mirror"),
    steps.ShiftScaleRotate(0.2, 0.3, 40.0, border="void", apart=True),
    steps.Noise(0.1, apart=True),
    steps.GaussianBlur(0.7),
    steps.Blur(5),
]


class SameDraws:
    """The same random numbers as arrays and as tensors."""

    def __init__(self, seed, wrap):
        self._draws, self._wrap = np.random.default_rng(seed), wrap

    def uniform(self, low, high, shape=()):
        return self._wrap(np.asarray(self._draws.uniform(low, high, shape), np.float32))

    def normal(self, shape):
        return self._wrap(self._draws.standard_normal(tuple(int(side) for side in shape), np.float32))


@pytest.fixture(scope="module")
def scene():
    """A smooth image of four bands, and labels in blocks."""
    rows, cols = np.mgrid[:48, :60] / 10
    image = np.stack([np.sin(rows * k) * np.cos(cols) / 2 + 0.5 for k in range(1, 5)], -1).astype(np.float32)
    return image, np.kron(np.arange(20, dtype=np.uint8).reshape(4, 5), np.ones((12, 12), np.uint8))


@pytest.mark.parametrize("step", [*ON_ARRAYS, *MORE], ids=str)
def test_arrays_change_as_tensors_do(scene, step):
    import tensorflow as tf

    for seed in range(4):
        changed, moved = step.change(*scene, SameDraws(seed, lambda value: value))
        wanted, labels = step.change(*map(tf.constant, scene), SameDraws(seed, tf.constant))
        assert changed.dtype == np.float32 and moved.dtype == np.uint8
        np.testing.assert_allclose(changed, wanted, atol=2e-3)
        assert (moved != labels.numpy()).mean() < 0.01


def test_rows_and_columns_by_shares_of_their_own(scene):
    image, labels = scene

    class Fixed:
        values = iter((0.0, 0.5, 0.0, 0.0, -0.5))

        def uniform(self, low, high):
            return np.float32(next(self.values))

    # Columns 1.5 times as far apart, rows half as far.
    _, moved = steps.ShiftScaleRotate(0.0, 1 - 1e-9, 0.0, "void", apart=True).change(image, labels, Fixed())
    assert (moved[:11] == 255).all() and (moved[37:] == 255).all() and (moved[14:34] != 255).all()
    assert np.bincount(moved[24])[10:].tolist() == [3, 18, 18, 18, 3]


def test_a_bell_curve(scene):
    image = np.zeros((31, 31, 1), np.float32)
    image[15, 15] = 1

    class Widest:
        def uniform(self, low, high):
            return np.float32(high)

    blurred, _ = steps.GaussianBlur(2.0).change(image, np.zeros((31, 31), np.uint8), Widest())
    assert blurred.sum() == pytest.approx(1, abs=1e-3) and blurred.argmax() == 15 * 31 + 15
    rows = (np.arange(31) - 15) ** 2
    assert (blurred[..., 0].sum(1) * rows).sum() == pytest.approx(2.1**2, rel=0.05)
    assert np.allclose(blurred[..., 0], blurred[..., 0].T, atol=1e-6)


def test_draws_follow_from_their_seed():
    first, again = ArrayDraws((1, 2)), ArrayDraws((1, 2))
    assert [first.uniform(0, 1) for _ in range(3)] == [again.uniform(0, 1) for _ in range(3)]
    assert (first.fork(5).normal((3,)) == again.fork(5).normal((3,))).all()
    assert first.fork(5).uniform(0, 1) != first.fork(6).uniform(0, 1)
    # A part does not depend on what else is drawn.
    again.uniform(0, 1)
    assert first.fork(7).uniform(0, 1) == again.fork(7).uniform(0, 1)


def test_the_published_policy_in_its_own_range(scene):
    policy = read_policy("nist")
    policy.check_arrays()
    assert [turn.to_record() for turn in policy.turns] == [
        {"do": "flip-cols", "chance": 0.5}, {"do": "flip-rows", "chance": 0.5},
        {"do": "shift-scale-rotate", "shift": 0.1, "scale": 0.1, "rotate": 180.0, "border": "mirror", "apart": True,
         "chance": 1.0},
        {"do": "noise", "strength": 0.02, "apart": True, "chance": 1.0},
        {"do": "gaussian-blur", "sigma": 2.0, "chance": 1.0},
    ]  # fmt: skip
    image, labels = scene[0] * [1, 1e4, 1, 1e-3] - [0, 3, 0, 0], scene[1]
    image = image.astype(np.float32)
    found = [policy.change_array(image, labels, seed=(0, i), white=None) for i in range(8)]
    for changed, moved in found:
        low, high = image.min((0, 1)), image.max((0, 1))
        span = high - low
        assert (changed >= low - 1e-3 * span).all() and (changed <= high + 1e-3 * span).all()
        assert (changed.max((0, 1)) - changed.min((0, 1)) > 0.3 * span).all(), "each band keeps a range of its own"
        assert set(np.unique(moved)) <= set(range(20))
    assert len({changed.tobytes() for changed, _ in found}) == 8
    again = policy.change_array(image, labels, seed=(0, 3), white=None)
    assert (again[0] == found[3][0]).all() and (again[1] == found[3][1]).all()


def test_a_turn_happens_with_its_chance(scene):
    policy = Policy((Turn((steps.FlipCols(), steps.FlipRows()), 0.5),))
    found = [policy.change_array(*scene, seed=(i,), white=1.0)[1] for i in range(60)]
    kinds = [scene[1], scene[1][:, ::-1], scene[1][::-1]]
    counts = [sum(np.array_equal(moved, kind) for moved in found) for kind in kinds]
    assert sum(counts) == 60 and 20 < counts[0] < 40 and min(counts[1:]) > 6


def test_a_step_that_takes_tensors_only():
    with pytest.raises(BadInput, match=r"perspective of the augmentation is not there for images from a database"):
        read_policy("efficientnet-blog").check_arrays()


def test_no_tensorflow_is_loaded():
    code = (
        "import sys, numpy as np\n"
        "from hybridseg.dense.policy import read_policy\n"
        "image = np.random.default_rng(0).random((40, 40, 2), np.float32)\n"
        "read_policy('nist').change_array(image, np.zeros((40, 40), np.uint8), seed=(0,), white=None)\n"
        "print('tensorflow' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "False\n"
