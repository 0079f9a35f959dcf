from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridseg.classes import VOID, ClassTable
from hybridseg.dense.crops import CropOptions, CropPlan, _start, count_cells, lay_tiles
from hybridseg.errors import BadInput
from hybridseg.io.images import ImageInfo

OPTIONS = CropOptions((32, 64), (0.5, 2.0), n_crops=3)


class Photos:
    """Photos of which only the labels are there."""

    table, limit, size = ClassTable.from_names("abc"), 1000, (32, 64)

    def __init__(self, labels, *, n_bytes=1):
        self.labels, self.n_bytes = labels, n_bytes
        self.infos = [
            ImageInfo(Path(f"p{i}.png"), "PNG", *one.shape, 3, "uint8", 1, None) for i, one in enumerate(labels)
        ]
        self.sources = [info.path.stem for info in self.infos]

    def count_bytes(self, index):
        return self.n_bytes

    def read_labels(self, index):
        return self.labels[index]


def plan(photos, options=OPTIONS, *, indices=None, seed=0):
    return CropPlan(photos, range(len(photos.labels)) if indices is None else indices, options, seed=seed)


@pytest.fixture
def photos():
    """Four photos; the last 1 % of the pixels of the second are of class 1, a row of the third has none."""
    labels = [np.zeros(shape, np.uint8) for shape in ((200, 300), (100, 200), (64, 64), (20, 30))]
    labels[1][98:, 100:] = 1
    labels[2][40] = VOID
    return Photos(labels)


def test_every_photo_has_its_windows_in_every_epoch(photos):
    windows = plan(photos, indices=[0, 1, 3]).list_windows(0)
    assert sorted(index for index, _ in windows) == [0, 0, 0, 1, 1, 1, 3, 3, 3]
    assert [index for index, _ in windows] != sorted(index for index, _ in windows), "in a random order"
    for index, window in windows:
        scale = 32 / window.height
        assert 0.49 < scale < 2.05 and window.width == pytest.approx(64 / scale, abs=2)
        for start, length, side in zip(
            (window.row, window.col), (window.height, window.width), photos.infos[index].shape, strict=True
        ):
            # Within the photo, or all of the photo within it.
            assert 0 <= start <= side - length or side - length <= start <= 0


def test_windows_depend_on_the_seed_and_the_epoch_alone(photos):
    for options in (OPTIONS, replace(OPTIONS, balance=True)):
        first, again = plan(photos, options), plan(photos, options)
        assert first.list_windows(5) == again.list_windows(5) == first.list_windows(5)
        assert first.list_windows(6) != again.list_windows(5) != plan(photos, options, seed=1).list_windows(5)


def test_all_scales_and_places_are_drawn_alike():
    photos = Photos([np.zeros((1000, 1000), np.uint8)])
    windows = [window for _, window in plan(photos, replace(OPTIONS, n_crops=4000)).list_windows(0)]
    scales = np.log2([32 / window.height for window in windows])
    # As often enlarged as reduced.
    assert np.abs(np.histogram(scales, 4, (-1, 1))[0] - 1000).max() < 150
    rows = [window.row / (1000 - window.height) for window in windows]
    assert np.abs(np.histogram(rows, 4, (0, 1))[0] - 1000).max() < 150
    assert max(rows) == 1 and min(rows) == 0, "the borders are seen"


def test_whole_photos_at_a_share_of_their_size():
    """Every window shows all of its photo, once an epoch, at exactly that scale."""
    photos = Photos([np.zeros(shape, np.uint8) for shape in ((640, 1000), (500, 400), (640, 960))])
    options = CropOptions(scale=0.1, n_crops=4, balance=True).fit_to([info.shape for info in photos.infos])
    assert options.crop == (64, 128)
    for epoch in range(3):
        windows = plan(photos, options).list_windows(epoch)
        assert sorted(index for index, _ in windows) == [0, 1, 2]
        for index, window in windows:
            rows, cols = photos.infos[index].shape
            assert (window.height, window.width) == (640, 1280)
            assert window.row <= 0 and window.row + window.height >= rows
            assert window.col <= 0 and window.col + window.width >= cols


@pytest.mark.parametrize(("scale", "shape", "wanted"), [
    (0.02, (1010, 3000), "1010 to 3000, have 20 to 60; give a --scale from 0.032 to 1$"),
    (1.0, (1000, 9000), "have 1000 to 9000; give a --scale from 0.032 to 0.91$"),
    (1.0, (40, 40000), "have 40 to 40000; give --size$"),
])  # fmt: skip
def test_a_scale_at_which_no_network_takes_the_photos(scale, shape, wanted):
    with pytest.raises(BadInput, match=rf"^a network takes .* at the scale {scale:g} .* {wanted}"):
        CropOptions(scale=scale).fit_to([shape])
    assert CropOptions(scale=0.032).fit_to([(1010, 3000)]).crop == (64, 96)


def test_one_scale(photos):
    windows = plan(photos, replace(OPTIONS, crop_scale=(1.0, 1.0))).list_windows(0)
    assert {(window.height, window.width) for _, window in windows} == {(32, 64)}


@given(
    length=st.integers(1, 300), side=st.integers(1, 300), share=st.floats(0, 0.999), draw=st.floats(0, 0.999999),
    is_free=st.booleans(),
)  # fmt: skip
def test_where_a_window_begins(length, side, share, draw, is_free):
    at = None if is_free else int(share * side)
    start = _start(length, side, at, draw)
    assert 0 <= start <= side - length if length <= side else side - length <= start <= 0
    assert at is None or start <= at < start + length


def test_rare_classes_are_drawn_more_often(photos):
    rare, n_pixels = 200, sum(one.size for one in photos.labels) - 64

    def count(options):
        windows = plan(photos, options).list_windows(0)
        shown = [
            photos.labels[i][max(w.row, 0) : w.row + w.height, max(w.col, 0) : w.col + w.width] for i, w in windows
        ]
        return len(windows), sum((one == 1).any() for one in shown)

    n, n_plain = count(replace(OPTIONS, n_crops=300))
    n_balanced = count(replace(OPTIONS, n_crops=300, balance=True))[1]
    share = np.sqrt(rare) / (np.sqrt(rare) + np.sqrt(n_pixels - rare))
    assert n_balanced >= 0.8 * share * n
    # By chance every fourth window is of the second photo; few of them reach its last rows.
    more = {"crop_scale": (2.0, 2.0), "n_crops": 300}
    assert count(replace(OPTIONS, **more, balance=True))[1] > 1.2 * count(replace(OPTIONS, **more))[1] > 0
    assert n_plain > 0


def test_windows_of_rare_classes_lie_around_their_pixels():
    labels = np.full((512, 512), VOID, np.uint8)
    labels[300, 37] = 2
    windows = plan(Photos([labels]), CropOptions((32, 32), (1.0, 1.0), 200, balance=True)).list_windows(0)
    # To the cell: 16 pixels.
    near = [288 - 31 <= w.row <= 303 and 32 - 31 <= w.col <= 47 for _, w in windows]
    assert all(near) and len({(w.row, w.col) for _, w in windows}) > 100
    assert np.mean([w.row <= 300 < w.row + 32 and w.col <= 37 < w.col + 32 for _, w in windows]) > 0.5


def test_photos_without_a_class(photos):
    void = Photos([np.full((40, 40), VOID, np.uint8)] * 2)
    with pytest.raises(BadInput, match="no photo has a pixel of any class"):
        plan(void, replace(OPTIONS, balance=True))
    photos.labels[0][:] = photos.labels[2][:] = VOID
    photos.n_bytes = 600
    # Each is a group of its own.
    windows = plan(photos, replace(OPTIONS, balance=True)).list_windows(0)
    assert sorted(index for index, _ in windows) == sorted([0, 1, 2, 3] * 3)


def test_photos_that_are_kept_together_have_their_turn_together():
    photos = Photos([np.zeros((100, 100), np.uint8)] * 7, n_bytes=400)
    for options in (OPTIONS, replace(OPTIONS, balance=True)):
        orders = [[index for index, _ in plan(photos, options).list_windows(epoch)] for epoch in range(3)]
        for order in orders:
            parts = [set(order[:6]), set(order[6:12]), set(order[12:18]), set(order[18:])]
            assert all(len(part) <= 2 for part in parts) and len(set.union(*parts)) >= 6
            assert sum(map(len, parts)) == len(set.union(*parts)), "no photo has two turns"
        assert orders[0] != orders[1] != orders[2]


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 80), st.integers(1, 80))
def test_every_pixel_is_counted_in_its_cell(n_rows, n_cols):
    labels = np.random.default_rng(0).choice(np.array([0, 1, 2, VOID], np.uint8), (n_rows, n_cols))
    cell, label, n_pixels = count_cells(labels, n_classes=3)
    found = np.zeros((32 * 32, 3), int)
    found[cell, label] = n_pixels
    expected = np.zeros_like(found)
    for row in range(n_rows):
        for col in range(n_cols):
            if labels[row, col] < 3:
                expected[row * 32 // n_rows * 32 + col * 32 // n_cols, labels[row, col]] += 1
    assert np.array_equal(found, expected) and (n_pixels > 0).all()


def test_a_large_map_is_counted_on_a_sample():
    labels = np.zeros((4096, 2048), np.uint8)
    labels[2048:] = 1
    _, label, n_pixels = count_cells(labels, n_classes=2)
    assert np.bincount(label, n_pixels).tolist() == [labels.size / 2] * 2


def test_tiles_cover_every_photo(photos):
    shape, tiles = lay_tiles(photos, [0, 1, 3], scale=1.0, stride=32, n_pixels=10**9, seed=0)
    assert shape == (128, 224), "the median photo, to the next multiple of the stride"
    for index in (0, 1, 3):
        seen = np.zeros(photos.infos[index].shape, int)
        for i, w in tiles:
            seen[w.row : w.row + w.height, w.col : w.col + w.width] += i == index
        assert (seen == 1).all()
    assert [index for index, _ in tiles] == [0, 0, 0, 0, 1, 3]


def test_too_many_tiles_are_thinned_out(photos):
    everything = lay_tiles(photos, [0, 1], scale=4.0, stride=32, n_pixels=10**9, seed=0)[1]
    shape, tiles = lay_tiles(photos, [0, 1], scale=4.0, stride=32, n_pixels=4 * 608 * 1024, seed=0)
    assert shape == (608, 1024) and (tiles[0][1].height, tiles[0][1].width) == (152, 256)
    assert len(everything) == 5 and [i for i, _ in tiles] == [0, 0, 0, 1] and set(tiles) < set(everything)
    assert lay_tiles(photos, [0, 1], scale=4.0, stride=32, n_pixels=4 * 608 * 1024, seed=0)[1] == tiles
    # One of each photo at least.
    assert [i for i, _ in lay_tiles(photos, [0, 1], scale=4.0, stride=32, n_pixels=1, seed=0)[1]] == [0, 1]


@pytest.mark.parametrize(("values", "message"), [
    ({"crop": (33, 64)}, r"crop=\(33, 64\): give \[rows, cols\], each a whole number from 32 to 8,192, a multiple"),
    ({"crop": (32, 32), "crop_scale": (2.0, 1.0)}, "give the smaller scale first"),
    ({"crop": (32, 32), "crop_scale": (0.0, 1.0)}, r"crop_scale=.*: give \[low, high\], each a number from 0.01 to 16"),
    ({"crop": (32, 32), "n_crops": 0}, "n_crops=0: give a whole number of 1 or more"),
])  # fmt: skip
def test_options_without_meaning(values, message):
    with pytest.raises(BadInput, match=message):
        CropOptions(**values)
