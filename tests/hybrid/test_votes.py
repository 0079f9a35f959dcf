import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridseg.hybrid.tiles import PATTERNS, plan_tiles
from hybridseg.hybrid.votes import TileVotes, average_votes, classify_tiles, merge_votes
from hybridseg.resample import resize_nearest, take_nearest

SIDES = st.sampled_from([1, 2, 3, 7, 8, 9, 13, 16, 31, 47])
SIZES = st.tuples(SIDES, SIDES)


class Keeper:
    """Keeps the tiles it was given."""

    def __init__(self, tile_size):
        self.tile_size = tile_size
        self.batches = []

    def classify(self, tiles):
        assert tiles.shape[1:] == (self.tile_size, self.tile_size, 3)
        self.batches.append(tiles)
        return np.full((len(tiles), 2), 0.5, np.float32)


@settings(deadline=None)
@given(shape=SIZES, tile_size=st.integers(1, 12), data=st.data())
def test_votes_are_the_mean_of_all_tiles_at_a_pixel(shape, tile_size, data):
    stride = data.draw(st.integers(1, tile_size))
    decimation = data.draw(st.integers(1, 9))
    pattern = data.draw(st.sampled_from(PATTERNS))
    grid = plan_tiles(shape, tile_size=tile_size, stride=stride, decimation=decimation, pattern=pattern)
    probs = np.random.default_rng(0).dirichlet(np.ones(3), len(grid.chosen)).astype(np.float32)
    votes = average_votes(grid, probs)
    sums, counts = np.zeros((*shape, 3)), np.zeros(shape, int)
    for (i, j), row in zip(grid.chosen, probs, strict=True):
        top, left = i * stride, j * stride
        assert top < shape[0] and left < shape[1]
        sums[top : top + tile_size, left : left + tile_size] += row
        counts[top : top + tile_size, left : left + tile_size] += 1
    if decimation == 1:
        assert counts.min() >= 1, "every pixel is in a tile"
    assert np.array_equal(votes.spread(votes.n_votes, shape), counts)
    expected = sums / np.maximum(counts, 1)[..., None]
    assert np.abs(votes.spread(votes.probs, shape) - expected).max() < 1e-6
    seeds = votes.spread(votes.find_seeds(0.6), shape)
    best = expected.max(axis=2)
    clear = np.abs(best - 0.6) > 1e-5
    assert np.array_equal((seeds > 0)[clear], ((counts > 0) & (best >= 0.6))[clear])
    assert np.array_equal(seeds[seeds > 0] - 1, votes.spread(votes.probs, shape).argmax(axis=2)[seeds > 0])


@settings(deadline=None)
@given(shape=SIZES, tile_size=st.integers(1, 9), scale=st.sampled_from([0.1, 0.25, 0.3, 0.5, 0.77, 1.0]))
def test_cells_at_any_scale_agree_by_pixel_centres(shape, tile_size, scale):
    grid = plan_tiles(shape, tile_size=tile_size, stride=max(1, tile_size // 2))
    cells = average_votes(grid, np.ones((len(grid.chosen), 1), np.float32))
    ids = np.arange(cells.n_votes.size).reshape(cells.n_votes.shape)
    small = tuple(max(1, round(side * scale)) for side in shape)
    assert np.array_equal(cells.spread(ids, small), resize_nearest(cells.spread(ids, shape), small))


def test_cells_are_spread_by_hand():
    votes = average_votes(plan_tiles((2, 10), tile_size=4), np.ones((3, 1), np.float32))
    cells = np.array([[5, 6, 7]])
    assert votes.spread(cells, (2, 10)).tolist() == [[5] * 4 + [6] * 4 + [7] * 2] * 2
    assert votes.spread(cells, (1, 5)).tolist() == [[5, 5, 6, 6, 7]]
    assert votes.spread(cells, (1, 3)).tolist() == [[5, 6, 7]], "centres at 1.7, 5, 8.3"
    assert votes.spread(cells, (1, 1)).tolist() == [[6]]


@settings(deadline=None)
@given(shape=SIZES, tile_size=st.integers(1, 20), stride=st.integers(1, 20))
def test_tiles_are_cut_as_from_a_mirrored_image(shape, tile_size, stride):
    stride = min(stride, tile_size)
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    grid = plan_tiles(shape, tile_size=tile_size, stride=stride)
    keeper = Keeper(tile_size)
    assert len(classify_tiles(image, keeper, grid)) == len(grid.rows) * len(grid.cols)
    tiles = np.concatenate(keeper.batches)
    beyond = [int(starts[-1]) + tile_size - side for starts, side in zip((grid.rows, grid.cols), shape, strict=True)]
    padded = np.pad(image, [(0, max(extra, 0)) for extra in beyond] + [(0, 0)], mode="reflect")
    for (i, j), tile in zip(grid.chosen, tiles, strict=True):
        top, left = grid.rows[i], grid.cols[j]
        assert np.array_equal(tile, padded[top : top + tile_size, left : left + tile_size])


def test_tiles_go_in_batches():
    keeper = Keeper(1)
    classify_tiles(np.zeros((10, 15, 3), np.uint8), keeper, plan_tiles((10, 15), tile_size=1))
    assert [len(batch) for batch in keeper.batches] == [64, 64, 22]


def test_labels_and_probabilities_between_classified_tiles():
    grid = plan_tiles((1, 5), tile_size=1, decimation=4)
    votes = average_votes(grid, np.array([[0.9, 0.1], [0.2, 0.8]], np.float32))
    assert votes.find_labels().tolist() == [[0, 0, 0, 1, 1]]
    assert votes.fill_probs()[0, 1].tolist() == [0.5, 0.5]
    assert votes.fill_probs()[0, 4].tolist() == pytest.approx([0.2, 0.8])
    assert votes.find_seeds(0.85).tolist() == [[1, 0, 0, 0, 0]]
    assert votes.find_seeds(0.8).tolist() == [[1, 0, 0, 0, 2]]
    assert votes.find_seeds(0).tolist() == [[1, 0, 0, 0, 2]], "a cell in no tile seeds nothing"


def test_nearest():
    known = np.zeros((3, 4), bool)
    known[0, 0] = known[2, 3] = True
    labels = np.zeros((3, 4), np.uint8)
    labels[0, 0], labels[2, 3] = 4, 6
    filled = take_nearest(labels, known)
    assert set(np.unique(filled)) == {4, 6} and filled[0, 1] == filled[1, 0] == 4 and filled[2, 2] == filled[1, 3] == 6


def test_a_classifier_without_votes_in_a_cell_does_not_count_there():
    one = TileVotes(np.array([0, 2]), np.array([0, 4]), np.array([[[0.8, 0.2]]]), np.array([[1]]))
    probs, n_votes = np.array([[[0.2, 0.8], [0.0, 0.0]]]), np.array([[3, 0]])
    two = TileVotes(np.array([0, 2]), np.array([0, 2, 4]), probs, n_votes)
    merged = merge_votes([one, two])
    np.testing.assert_allclose(merged.probs, [[[0.5, 0.5], [0.8, 0.2]]], rtol=1e-6)
    assert merged.n_votes.tolist() == [[4, 1]]
    np.testing.assert_array_equal(merged.differences, [[1, np.nan]], "where both have a vote")
    np.testing.assert_allclose(merge_votes([one, two, one]).differences, [[2 / 3, 0]])
