import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as judge

from hybridseg.errors import BadInput
from hybridseg.io.annotations import runlengths
from hybridseg.io.annotations.canvas import Canvas, Mask
from hybridseg.io.annotations.runlengths import decode_rle, encode_rle, pack_counts, parse_rle

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40))


def count_runs(mask: np.ndarray) -> list[int]:
    """Run lengths, column by column, pixel by pixel: slow and plain."""
    counts, inside = [0], False
    for pixel in mask.T.ravel().tolist():
        if pixel != inside:
            counts.append(0)
            inside = pixel
        counts[-1] += 1
    return counts


# The example in the documentation of pycocotools.
KNOWN_COUNTS, KNOWN_TEXT = [6, 1, 40, 4, 5, 4, 5, 4, 21], "61X13mN000`0"


@pytest.mark.parametrize("counts", [KNOWN_COUNTS, KNOWN_TEXT])
def test_the_known_run_lengths(counts):
    rle = parse_rle({"size": [9, 10], "counts": counts})
    assert rle.counts.tolist() == KNOWN_COUNTS and rle.n_inside == 13
    expected = np.zeros((9, 10), bool)
    # 6 down the first column; 47 is 5 columns and 2 pixels; then one column (9 pixels) on, twice.
    expected[6, 0] = True
    expected[2:6, 5:8] = True
    assert np.array_equal(decode_rle(rle), expected)
    assert rle.cols == slice(0, 8)


@given(MASKS)
def test_run_lengths_come_back(mask):
    counts = count_runs(mask)
    for form in (counts, pack_counts(counts)):
        rle = parse_rle({"size": list(mask.shape), "counts": form})
        assert rle.counts.tolist() == counts
        assert rle.n_inside == mask.sum()
        assert np.array_equal(decode_rle(rle), mask)
        seeds = np.zeros(mask.shape, np.uint8)
        with Canvas(seeds) as canvas:
            rle.put_on(canvas, 3)
        assert np.array_equal(seeds, 3 * mask.astype(np.uint8))


@given(MASKS, st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
def test_pixels_as_run_lengths(mask, row, col, rest):
    shape = (mask.shape[0] + row + rest, mask.shape[1] + col + rest)
    image = np.zeros(shape, bool)
    image[row : row + mask.shape[0], col : col + mask.shape[1]] = mask
    rle = encode_rle(Mask(mask, (row, col)), shape)
    assert rle.counts.tolist() == count_runs(image) and rle.shape == shape
    packed = judge.encode(np.asfortranarray(image.astype(np.uint8)))
    assert pack_counts(rle.counts.tolist()) == packed["counts"].decode()


@given(MASKS, st.data())
def test_some_columns_of_run_lengths(mask, data):
    rle = parse_rle({"size": list(mask.shape), "counts": count_runs(mask)})
    first = data.draw(st.integers(0, mask.shape[1]))
    cols = slice(first, data.draw(st.integers(first, mask.shape[1])))
    assert np.array_equal(decode_rle(rle, cols), mask[:, cols])
    used = np.flatnonzero(mask.any(axis=0))
    assert rle.cols == (slice(used[0], used[-1] + 1) if len(used) else slice(0, 0))


def test_runs_of_no_length():
    rle = parse_rle({"size": [1, 4], "counts": [0, 1, 0, 1, 1, 1, 0, 0]})
    assert decode_rle(rle).astype(int).tolist() == [[1, 1, 0, 1]]


@pytest.mark.parametrize("value", [
    {}, {"size": [2, 2]}, {"counts": [4]}, {"size": [2, 2], "counts": [3]}, {"size": [2, 2], "counts": [5]},
    {"size": [2, 2], "counts": [-1, 5]}, {"size": [2, 2], "counts": [2.0, 2.0]}, {"size": [2, 2], "counts": [True] * 4},
    {"size": [2, 2], "counts": None}, {"size": [2, 2], "counts": ["4"]}, {"size": [2, 2], "counts": {"4": 4}},
    {"size": [0, 2], "counts": []}, {"size": [-2, -2], "counts": [4]}, {"size": 4, "counts": [4]},
    {"size": [2, 2, 1], "counts": [4]}, {"size": ["2", 2], "counts": [4]}, {"size": [10**9, 10**9], "counts": [10**18]},
    {"size": [1.5, 2], "counts": [3]}, {"size": [float("inf"), 2], "counts": [3]},
    {"size": [2, 2], "counts": ""}, {"size": [2, 2], "counts": "4X"}, {"size": [2, 2], "counts": "é"},
    {"size": [2, 2], "counts": " 4"}, {"size": [2, 2], "counts": "o" * 1000}, {"size": [2, 2], "counts": "2N"},
    {"size": [2, 2], "counts": "5"}, {"size": [2, 2], "counts": "3"}, {"size": [2, 2], "counts": "0" * 50 + "5"},
], ids=lambda value: str(value)[:40])  # fmt: skip
def test_run_lengths_that_are_none(value):
    with pytest.raises(BadInput):
        parse_rle(value)


@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=30))
def test_any_text_is_run_lengths_or_refused(text):
    try:
        rle = parse_rle({"size": [5, 7], "counts": text})
    except BadInput:
        return
    assert decode_rle(rle).sum() == rle.n_inside


def test_too_many_run_lengths(monkeypatch):
    monkeypatch.setattr(runlengths, "MAX_POINTS", 3)
    for counts, message in (([0, 0, 0, 4], "too ragged"), ("0004", "far too many"), ("o" * 1000, "are damaged;")):
        with pytest.raises(BadInput, match=message):
            parse_rle({"size": [2, 2], "counts": counts})


def test_numbers_that_no_image_needs_are_refused_before_they_are_added():
    """In 9 letters stand numbers whose sum has more than 64 bits."""
    for counts in ("ooooooooO" * 2000, ["o" * 8 + "7"], [2**70], [2**62, 2**62], [True, 3], [None], [[4]]):
        with pytest.raises(BadInput, match=r"damaged;|is not a number of pixels"):
            parse_rle({"size": [2, 2], "counts": counts})
