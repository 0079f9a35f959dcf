"""Superpixels follow the borders of what is seen, and areas of a view become polygons on the image."""

import numpy as np
import pytest

from hybridseg.errors import BadInput
from hybridseg.io.annotations.doodles import Stroke
from hybridseg.io.annotations.strokes import draw_strokes, mask_to_points
from hybridseg.io.images import write_image
from hybridseg.io.windows import open_windows
from hybridseg.labelling.newest import Newest
from hybridseg.labelling.wand import MAX_PIXELS, View, find_superpixels, find_superpixels_in


def best_accuracy(superpixels, labels) -> float:
    """The share of pixels that are right if each superpixel gets the label that most of it has."""
    counts = np.zeros((int(superpixels.max()) + 1, int(labels.max()) + 1), int)
    np.add.at(counts, (superpixels.ravel(), labels.ravel()), 1)
    return float(counts.max(axis=1).sum() / labels.size)


@pytest.mark.parametrize("scale", [8, 15, 30])
def test_superpixels_follow_borders(scale):
    rows, cols = np.indices((120, 170))
    labels = (np.hypot(rows - 61, cols - 77) < 40).astype(int)
    noise = np.random.default_rng(0).normal(0, 6, (120, 170, 3))
    image = np.clip(np.array([[90, 120, 60], [60, 80, 140]])[labels] + noise, 0, 255).astype(np.uint8)
    found = find_superpixels(image, scale)
    squares = rows // scale * 100 + cols // scale
    assert found.dtype == np.uint16 and found.shape == labels.shape
    # The error of squares of the same size, divided by four at least.
    assert 1 - best_accuracy(found, labels) < 0.25 * (1 - best_accuracy(squares, labels))
    n_expected = labels.size / scale**2
    assert 0.6 * n_expected < len(np.unique(found)) < 1.7 * n_expected


def test_superpixels_have_no_specks():
    from scipy.ndimage import label

    image = np.random.default_rng(1).normal(128, 12, (90, 90, 3)).astype(np.uint8)
    found = find_superpixels(image, 15)
    for number in np.unique(found):
        pieces, _ = label(found == number)
        assert np.bincount(pieces.ravel())[1:].min() >= 22


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (7, 5)])
def test_tiny_images(shape):
    assert find_superpixels(np.full((*shape, 3), 9, np.uint8), 6).shape == shape


@pytest.mark.parametrize(("scale", "shape"), [(5, (9, 9)), (201, (9, 9)), (20, (2000, 2000))])
def test_what_cannot_be_made(scale, shape):
    with pytest.raises(BadInput, match="superpixels"):
        find_superpixels(np.zeros((*shape, 3), np.uint8), scale)


def view_of(window, shape, whole=(6000, 6000)) -> View:
    return View.parse({"window": list(window), "shape": list(shape)}, whole)


def test_maps_of_views_are_bounded_and_keep_their_size():
    assert view_of((0, 0, 100, 200), (50, 100)).map_shape == (50, 100)
    assert view_of((0, 0, 100, 200), (500, 1000)).map_shape == (100, 200)
    for window, seen in (
        ((0, 0, 6000, 6000), (3000, 5000)),
        ((0, 0, 1, 6000), (1, 9000)),
        ((3, 3, 999, 1001), (999, 1001)),
    ):
        shape = view_of(window, seen).map_shape
        assert np.prod(shape) <= MAX_PIXELS and view_of(window, shape).map_shape == shape


@pytest.mark.parametrize(
    "record",
    [
        {}, {"window": [0, 0, 5, 5]}, {"window": 3, "shape": [5, 5]}, {"window": [0, 0, 5, 5], "shape": [5]},
        {"window": [0, 0, 5, 5], "shape": [0, 5]}, {"window": [0, 0, 0, 5], "shape": [5, 5]},
        {"window": [-1, 0, 5, 5], "shape": [5, 5]}, {"window": [0, 0, 11, 5], "shape": [5, 5]},
        {"window": [0, 0, 5, 5.5], "shape": [5, 5]}, {"window": [0, 0, 5, None], "shape": [5, 5]},
        {"window": [0, 0, 5, 5], "shape": ["5", 5]}, {"window": [0, 0, 5, True], "shape": [5, 5]},
    ],
)  # fmt: skip
def test_views_that_are_none(record):
    with pytest.raises(BadInput):
        View.parse(record, (10, 10))


def test_an_area_becomes_a_polygon_of_exactly_its_pixels():
    """Several pieces, with holes, seen at a third of the size."""
    mask = np.random.default_rng(2).random((20, 30)) < 0.55
    view = view_of((40, 100, 60, 90), (20, 30))
    points = view.outline(mask_to_points(mask))
    seeds = draw_strokes((120, 200), [Stroke("polygon", 0, 1.0, points)])
    expected = np.zeros((120, 200), bool)
    expected[40:100, 100:190] = np.kron(mask, np.ones((3, 3), bool))
    assert np.array_equal(seeds > 0, expected)


def test_a_polygon_on_sides_that_no_pixel_divides():
    view = view_of((7, 9, 101, 203), (17, 31))
    mask = np.zeros((17, 31), bool)
    mask[3:9, 5:20] = True
    seeds = draw_strokes((150, 300), [Stroke("polygon", 0, 1.0, view.outline(mask_to_points(mask)))])
    rows, cols = np.nonzero(seeds)
    ends = [round(n * 101 / 17) + 7 for n in (3, 9)] + [round(n * 203 / 31) + 9 for n in (5, 20)]
    assert [rows.min(), rows.max() + 1, cols.min(), cols.max() + 1] == ends


def test_an_area_outside_of_its_view():
    with pytest.raises(BadInput, match="covers no pixel"):
        view_of((0, 0, 10, 10), (5, 5)).outline(((7.0, 0.0), (7.0, 3.0)))


def test_superpixels_of_a_window_of_a_file(tmp_path):
    image = np.zeros((80, 120, 3), np.uint8)
    image[:, 71:] = 200
    write_image(tmp_path / "a.png", image)
    found = find_superpixels_in(open_windows(tmp_path / "a.png"), view_of((20, 40, 40, 60), (20, 30), (80, 120)), 10)
    assert found.shape == (20, 30)
    # The border lies between the pixels 15 and 16 of the view.
    assert not set(found[:, :15].ravel()) & set(found[:, 16:].ravel())


def test_the_newest_wish_alone_is_granted():
    from threading import Event, Thread

    wishes, begun, go_on, found = Newest(), Event(), Event(), {}

    def slow():
        begun.set()
        go_on.wait(10)
        return "slow"

    threads = [Thread(target=lambda: found.update(first=wishes.ask(slow)))]
    threads[0].start()
    begun.wait(10)
    for name in ("second", "third"):
        threads.append(Thread(target=lambda name=name: found.update({name: wishes.ask(lambda: name)})))
        threads[-1].start()
        while wishes._newest < len(threads):
            pass
    go_on.set()
    for thread in threads:
        thread.join()
    assert found == {"first": None, "second": None, "third": "third"}
