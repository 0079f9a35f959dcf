import numpy as np
import pytest

from hybridseg.classes import VOID
from hybridseg.crf.priors import priors_from_probs, priors_from_seeds
from hybridseg.errors import BadInput


def test_seeds_by_hand():
    """Four classes and the one that nobody seeds: a seed has 0.6, the others share 0.4, without one all have 0.2."""
    priors = priors_from_seeds(np.array([[0, 3], [1, 3]]), n_classes=4, gt_prob=0.6)
    assert priors.table == pytest.approx(np.array([[0.2, 0.2, 0.2], [0.1, 0.6, 0.1], [0.1, 0.1, 0.6]]))
    assert priors.row_of_pixel.tolist() == [[0, 2], [1, 2]] and priors.row_of_pixel.dtype == np.uint8
    assert priors.class_of_lane.tolist() == [VOID, 0, 2]
    # Lane 0 stands for classes 1 and 3 and the extra one; every row sums to 1.
    assert priors.multiplicity.tolist() == [3, 1, 1]
    assert priors.table @ priors.multiplicity == pytest.approx([1, 1, 1])
    assert priors.n_lanes == 3 and priors.shape == (2, 2)


def test_when_every_class_is_seeded_the_first_lane_is_of_the_extra_one_alone():
    priors = priors_from_seeds(np.array([[1, 2]], np.uint8), n_classes=2, gt_prob=0.5)
    assert priors.multiplicity.tolist() == [1, 1, 1]
    assert priors.table[1].tolist() == [0.25, 0.5, 0.25]


def test_one_class():
    priors = priors_from_seeds(np.array([[0, 1]]), n_classes=1, gt_prob=0.75)
    assert priors.table.tolist() == [[0.5, 0.5], [0.25, 0.75]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.uint64, bool])
def test_seeds_of_any_whole_number(dtype):
    priors = priors_from_seeds(np.array([[0, 1, 1]], dtype), n_classes=254, gt_prob=0.5)
    assert priors.row_of_pixel.tolist() == [[0, 1, 1]] and priors.multiplicity.tolist() == [254, 1]


@pytest.mark.parametrize(
    ("seeds", "n_classes", "message"),
    [
        (np.array([[0, 4]]), 3, "the seeds hold 4, but with 3 classes they go from 0 .none. to 3"),
        (np.array([[256 + 1]]), 3, "the seeds hold 257"),
        (np.array([[-1, 1]]), 3, "the seeds hold -1"),
        (np.array([[0, 0]]), 3, "not one seed.*seed at least one pixel"),
        (np.array([[0.0, 1.0]]), 3, "seeds are whole numbers in .rows, cols., not float64"),
        (np.array([0, 1]), 3, r"not int64 in \(2,\)"),
        (np.zeros((0, 5), np.uint8), 3, "the seeds are empty: 0 x 5 pixels"),
        (np.array([[1]]), 0, "n_classes=0: the CRF takes 1 to 254"),
        (np.array([[1]]), 255, "n_classes=255: the CRF takes 1 to 254"),
    ],
)
def test_seeds_that_are_refused(seeds, n_classes, message):
    with pytest.raises(BadInput, match=message):
        priors_from_seeds(seeds, n_classes=n_classes, gt_prob=0.5)


def test_probs_keep_their_order():
    probs = np.array([[[0.25, 0.75], [1, 0]], [[0.5, 0.5], [0, 1]]])
    priors = priors_from_probs(probs)
    assert priors.table.tolist() == [[0.25, 0.75], [1, 0], [0.5, 0.5], [0, 1]] and priors.table.dtype == np.float32
    assert priors.row_of_pixel is None and priors.shape == (2, 2)
    assert priors.class_of_lane.tolist() == [0, 1] and priors.multiplicity.tolist() == [1, 1]
    assert priors.floor == 1e-5


@pytest.mark.parametrize(
    ("probs", "message"),
    [
        (np.full((2, 2, 3), 0.5), "sum to 1 at every pixel; divide them by their sum"),
        (np.full((2, 2, 2), np.nan), "sum to 1"),
        (np.array([[[0.5, 0.5], [np.nan, 1.0]]]), "sum to 1"),
        (np.array([[[1.5, -0.5]]]), "must be 0 or more"),
        (np.array([[0.5, 0.5]]), r"probs are floats in \(rows, cols, classes\), not float64 in \(1, 2\)"),
        (np.ones((2, 2, 1), np.uint8), "probs are floats.*not uint8"),
        (np.zeros((0, 2, 3)), r"in \(0, 2, 3\)"),
        (np.full((1, 1, 256), 1 / 256), "of 256 classes, the CRF takes up to 255"),
    ],
)
def test_probs_that_are_refused(probs, message):
    with pytest.raises(BadInput, match=message):
        priors_from_probs(probs)


def test_crop_of_either_kind():
    seeds = np.arange(12).reshape(3, 4)
    part = priors_from_seeds(seeds, n_classes=11, gt_prob=0.5).crop(slice(1, 3), slice(1, 3))
    assert part.row_of_pixel.tolist() == [[5, 6], [9, 10]] and part.shape == (2, 2)
    probs = np.stack([np.arange(12).reshape(3, 4) / 16, 1 - np.arange(12).reshape(3, 4) / 16], axis=2)
    part = priors_from_probs(probs).crop(slice(1, 3), slice(1, 3))
    assert (part.table[:, 0] * 16).tolist() == [5, 6, 9, 10] and part.shape == (2, 2)
    assert part.table.flags.c_contiguous
