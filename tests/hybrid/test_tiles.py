import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridseg.errors import BadInput
from hybridseg.hybrid.tiles import PATTERNS, choose_pattern, plan_tiles, read_tile
from hybridseg.io.images import write_image
from hybridseg.resample import resize_bilinear


@pytest.mark.parametrize("shape", [(5, 7), (16, 16), (40, 3)])
def test_resizing_is_tensorflows(shape):
    tf = pytest.importorskip("tensorflow")
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    expected = tf.image.resize(image.astype(np.float32), (16, 16)).numpy().round()
    assert np.abs(resize_bilinear(image, 16, 16) - expected).max() <= 1


def test_a_tile_of_the_right_size_is_untouched(tmp_path):
    tile = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    write_image(tmp_path / "a.png", tile)
    assert np.array_equal(read_tile(tmp_path / "a.png", tile_size=8), tile)
    assert read_tile(tmp_path / "a.png", tile_size=4).shape == (4, 4, 3)


def measure_gaps(chosen):
    """Return the distance from each tile to the nearest other one."""
    squares = ((chosen[:, None] - chosen) ** 2).sum(axis=2).astype(float)
    np.fill_diagonal(squares, np.inf)
    return np.sqrt(squares.min(axis=1))


def test_raster_takes_every_nth_from_the_first():
    grid = plan_tiles((40, 50), tile_size=10, decimation=3)
    assert grid.rows.tolist() == [0, 10, 20, 30] and grid.cols.tolist() == [0, 10, 20, 30, 40]
    assert (grid.chosen[:, 0] * 5 + grid.chosen[:, 1]).tolist() == [0, 3, 6, 9, 12, 15, 18]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_one_in_one_is_all_and_one_in_very_many_is_one(pattern):
    grid = plan_tiles((35, 50), tile_size=10, decimation=1, pattern=pattern)
    assert grid.chosen.tolist() == [[i, j] for i in range(4) for j in range(5)]
    for decimation in (20, 21, 10**9, 10**30):
        assert len(plan_tiles((35, 50), tile_size=10, decimation=decimation, pattern=pattern).chosen) == 1


@settings(deadline=None)
@given(rows=st.integers(1, 30), cols=st.integers(1, 40), decimation=st.integers(1, 20))
def test_checker_is_as_many_and_no_closer(rows, cols, decimation):
    raster, checker = (
        plan_tiles((rows, cols), tile_size=1, decimation=decimation, pattern=pattern).chosen for pattern in PATTERNS
    )
    assert len(checker) == len(raster) == len(np.unique(checker, axis=0))
    assert checker.min() >= 0 and (checker < (rows, cols)).all()
    numbers = checker[:, 0] * cols + checker[:, 1]
    assert (np.diff(numbers) > 0).all()
    if len(checker) > 3:
        assert measure_gaps(checker).min() >= measure_gaps(raster).min()


@pytest.mark.parametrize("n_cols", [8, 16, 40])
def test_checker_leaves_no_column_empty(n_cols):
    raster, checker = (
        plan_tiles((160, n_cols * 10), tile_size=10, decimation=8, pattern=pattern).chosen for pattern in PATTERNS
    )
    assert len(np.unique(raster[:, 1])) == n_cols / 8, "raster sees one column in eight"
    assert np.unique(checker[:, 1]).tolist() == list(range(n_cols))
    assert measure_gaps(raster).min() == 1 and measure_gaps(checker).min() == pytest.approx(8**0.5)


def test_checker_is_chosen_where_raster_would_miss_most_columns():
    chosen = {
        (rows, cols): choose_pattern((rows, cols), tile_size=10, stride=10, decimation=8)
        for rows, cols in ((100, 80), (100, 160), (100, 70), (100, 20), (100, 90), (100, 240), (10, 30), (10, 10))
    }
    assert [shape for shape, pattern in chosen.items() if pattern == "checker"] == [(100, 80), (100, 160), (100, 240)]
    assert choose_pattern((100, 80), tile_size=10, stride=10, decimation=1) == "raster"
    assert choose_pattern((100, 85), tile_size=10, stride=5, decimation=4) == "checker"
    assert choose_pattern((100, 80), tile_size=10, stride=10, decimation=10**30) == "raster"
    assert choose_pattern((100, 60), tile_size=10, stride=10, decimation=8) == "raster", "half of them is enough"


def test_checker_sees_a_strip_from_end_to_end():
    chosen = plan_tiles((100, 10), tile_size=10, decimation=4, pattern="checker").chosen
    assert chosen[:, 0].tolist() == [0, 4, 8]
    for n_rows, decimation in ((35, 16), (35, 20), (31, 20)):
        chosen = plan_tiles((n_rows, 5), tile_size=1, decimation=decimation, pattern="checker").chosen
        assert np.diff([-1, *chosen[:, 0], n_rows]).max() <= 8, "no gap of lines, neither within nor at the end"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stride": 0}, "stride=0 must be from 1 to the size of the tiles, 10"),
        ({"stride": 11}, "stride=11 must be"),
        ({"stride": -1}, "stride=-1 must be"),
    ],
)
def test_strides_out_of_range(values, message):
    with pytest.raises(BadInput, match=message):
        plan_tiles((20, 20), tile_size=10, **values)
