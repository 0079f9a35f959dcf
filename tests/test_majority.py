import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy.ndimage import median_filter

from hybridseg import majority
from hybridseg.classes import VOID
from hybridseg.errors import BadInput
from hybridseg.majority import MAX_RADIUS, filter_majority, remove_specks


def filter_slowly(labels: np.ndarray, radius: int) -> np.ndarray:
    """What the docstring says, pixel by pixel."""
    filtered = labels.copy()
    all_rows, all_cols = np.indices(labels.shape)
    for row, col in np.argwhere(labels != VOID):
        near = (all_rows - row) ** 2 + (all_cols - col) ** 2 <= radius**2
        count = np.bincount(labels[near], minlength=256)[:VOID]
        if count[labels[row, col]] < count.max():
            filtered[row, col] = count.argmax()
    return filtered


def make_disk(radius: int) -> np.ndarray:
    side = np.arange(-radius, radius + 1)
    return side[:, None] ** 2 + side**2 <= radius**2


def test_a_lonely_pixel_and_a_thin_line_go():
    labels = np.zeros((7, 9), np.uint8)
    labels[2, 2] = 4
    labels[:, 6] = 3
    assert (filter_majority(labels, radius=2) == 0).all()
    assert labels[2, 2] == 4, "the map that was given is as it was"


def test_ties_by_hand():
    # Around the middle pixel each class has one vote of five at radius 1: it keeps its own.
    labels = np.array([[9, 7, 9], [4, 5, 6], [9, 2, 9]], np.uint8)
    assert filter_majority(labels, radius=1)[1, 1] == 5
    # Two votes for 4 and two for 6, one for its own: the lowest id of the winners.
    labels = np.array([[9, 6, 9], [4, 5, 6], [9, 4, 9]], np.uint8)
    assert filter_majority(labels, radius=1)[1, 1] == 4
    # The median of 4, 4, 5, 6, 6 would be 5: ids have no order.
    labels = np.array([[9, 6, 9], [6, 5, 6], [9, 4, 9]], np.uint8)
    assert filter_majority(labels, radius=1)[1, 1] == 6


def test_the_border_by_hand():
    """In the corner three pixels vote at radius 1, in the one-pixel map one does."""
    assert filter_majority(np.array([[0, 1], [1, 2]], np.uint8), radius=1).tolist() == [[1, 1], [1, 1]]
    assert filter_majority(np.array([[3]], np.uint8), radius=5).tolist() == [[3]]


def test_void_stays_and_has_no_vote():
    labels = np.full((5, 5), VOID, np.uint8)
    labels[2, 1:4] = 1, 0, 1
    expected = labels.copy()
    expected[2, 2] = 1
    assert (filter_majority(labels, radius=2) == expected).all()
    labels[2, 1] = labels[2, 3] = VOID
    assert (filter_majority(labels, radius=2) == labels).all()
    assert (filter_majority(np.full((4, 4), VOID, np.uint8), radius=2) == VOID).all()


def test_no_radius_gives_a_copy():
    labels = np.array([[0, 1, 2]], np.uint8)
    filtered = filter_majority(labels, radius=0)
    assert (filtered == labels).all() and not np.shares_memory(filtered, labels)


@settings(deadline=None)
@given(
    labels=npst.arrays(
        np.uint8,
        npst.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=17),
        elements=st.sampled_from([0, 1, 2, 7, 254, VOID]),
    ),
    radius=st.integers(1, 6),
    block=st.sampled_from([(128, 512), (4, 5), (1, 1)]),
)
def test_any_map(labels, radius, block):
    """Whatever the blocks in which it is worked on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(majority, "_BLOCK_SHAPE", block)
        assert (filter_majority(labels, radius=radius) == filter_slowly(labels, radius)).all()


@pytest.mark.parametrize("radius", [1, 3, 7])
def test_two_classes_give_the_median_filter(radius):
    """An odd number of pixels vote in the interior, so that there is no tie."""
    labels = (np.random.default_rng(radius).random((150, 600)) < 0.5).astype(np.uint8)
    inside = np.s_[radius:-radius, radius:-radius]
    expected = median_filter(labels, footprint=make_disk(radius))
    assert (filter_majority(labels, radius=radius)[inside] == expected[inside]).all()
    assert 0.1 < (expected != labels).mean() < 0.9


def test_what_is_refused():
    for radius in (-1, MAX_RADIUS + 1):
        with pytest.raises(BadInput, match=rf"radius={radius} .* from 0 \(no change\) to {MAX_RADIUS}"):
            filter_majority(np.zeros((2, 2), np.uint8), radius=radius)
    for labels in (np.zeros(3, np.uint8), np.zeros((2, 2), np.int64)):
        with pytest.raises(BadInput, match="a label map is"):
            filter_majority(labels, radius=1)
    assert (filter_majority(np.ones((2, 3), np.uint8), radius=MAX_RADIUS) == 1).all()


def test_specks_take_the_class_around_them():
    labels = np.zeros((40, 60), np.uint8)
    labels[:, 30:] = 1
    labels[5:8, 5:8], labels[20:22, 40], labels[35:, :6], labels[0, 0] = 1, 2, 3, VOID
    found = remove_specks(labels, 9)
    # Nine pixels are enough, two are not.
    assert (found != labels).sum() == 2 and (found[20:22, 40] == 1).all()
    found = remove_specks(labels, 10)
    assert (found[5:8, 5:8] == 0).all() and found[0, 0] == VOID and (found[35:, :6] == 3).all()
    assert remove_specks(labels, 1) is labels and (remove_specks(labels, 1e6) == labels).all()
