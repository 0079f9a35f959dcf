import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from hybridseg.classes import VOID
from hybridseg.errors import BadInput
from hybridseg.hybrid.purity import cover_windows, measure_purity, mirror_index, place_windows


def test_windows_lie_wholly_inside():
    assert place_windows(4912, tile_size=96, stride=48)[[0, 1, -1]].tolist() == [0, 48, 4800]
    assert len(place_windows(7360, tile_size=96, stride=48)) == 152
    assert place_windows(95, tile_size=96, stride=48).tolist() == []
    assert place_windows(96, tile_size=96, stride=48).tolist() == [0]


@given(length=st.integers(1, 200), tile_size=st.integers(1, 60), stride=st.integers(1, 60))
def test_windows_cover_with_as_few_as_it_takes(length, tile_size, stride):
    stride = min(stride, tile_size)
    starts = cover_windows(length, tile_size=tile_size, stride=stride)
    covered = np.zeros(length, int)
    for start in starts:
        covered[start : start + tile_size] += 1
    assert covered.min() >= 1 and starts[0] == 0 and (np.diff(starts) == stride).all() and starts[-1] < length
    assert len(starts) == 1 or starts[-2] + tile_size < length, "the last one is needed"


def test_covering_by_hand():
    assert cover_windows(96, tile_size=96, stride=96).tolist() == [0]
    assert cover_windows(97, tile_size=96, stride=48).tolist() == [0, 48]
    assert cover_windows(145, tile_size=96, stride=48).tolist() == [0, 48, 96]
    assert cover_windows(1, tile_size=96, stride=96).tolist() == [0]


@given(start=st.integers(0, 30), n=st.integers(1, 80), length=st.integers(1, 30))
def test_mirroring_is_that_of_numpy(start, n, length):
    line = np.arange(length)
    expected = np.pad(line, (0, max(start + n - length, 0)), mode="reflect")[start : start + n]
    assert mirror_index(start, start + n, length).tolist() == expected.tolist()


def test_by_hand():
    labels = np.array([[0, 0, 1, 1], [0, 1, 1, 1], [2, 2, VOID, VOID], [2, 2, VOID, 1]], np.uint8)
    purity = measure_purity(labels, n_classes=3, tile_size=2, stride=2)
    assert purity.rows.tolist() == purity.cols.tolist() == [0, 2]
    assert purity.classes.tolist() == [[0, 1], [2, 1]]
    assert purity.shares.tolist() == [[0.75, 1.0], [1.0, 0.25]]


@settings(deadline=None)
@given(
    labels=npst.arrays(
        np.uint8,
        npst.array_shapes(min_dims=2, max_dims=2, min_side=3, max_side=23),
        elements=st.sampled_from([0, 1, 2, 3, VOID]),
    ),
    tile_size=st.integers(1, 9),
    stride=st.integers(1, 9),
)
def test_equal_to_counting_each_window(labels, tile_size, stride):
    if min(labels.shape) < tile_size:
        return
    purity = measure_purity(labels, n_classes=4, tile_size=tile_size, stride=stride)
    for i, row in enumerate(purity.rows):
        for j, col in enumerate(purity.cols):
            counts = np.bincount(labels[row : row + tile_size, col : col + tile_size].ravel(), minlength=256)[:4]
            assert purity.classes[i, j] == counts.argmax()
            assert purity.shares[i, j] == counts.max() / tile_size**2


def test_blocks_of_more_rows_than_a_byte_counts():
    labels = np.zeros((1300, 700), np.uint8)
    labels[:, :10] = 1
    purity = measure_purity(labels, n_classes=2, tile_size=600, stride=300)
    assert purity.shares[0].tolist() == [590 / 600]
    assert purity.classes.max() == 0


def test_nine_tenths_exactly_is_not_more_than_nine_tenths():
    labels = np.ones((10, 10), np.uint8)
    labels[0] = 0
    assert measure_purity(labels, n_classes=2, tile_size=10, stride=5).shares[0, 0] == 0.9


def test_too_small():
    with pytest.raises(BadInput, match="is 5 x 9 pixels, smaller than one tile of 6"):
        measure_purity(np.zeros((5, 9), np.uint8), n_classes=1, tile_size=6, stride=3)
