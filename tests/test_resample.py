import numpy as np
import pytest

from hybridseg.resample import (
    find_neighbours,
    reduce_shape,
    resize_bilinear,
    resize_image,
    resize_labels,
    resize_nearest,
    shrink_image,
    take_nearest,
)


def test_nearest_takes_the_pixel_in_which_the_centre_lies():
    values = np.arange(6).reshape(2, 3)
    assert resize_nearest(values, (1, 1)).tolist() == [[4]]
    assert resize_nearest(values, (4, 3)).tolist() == [[0, 1, 2], [0, 1, 2], [3, 4, 5], [3, 4, 5]]
    assert resize_nearest(np.array([[3, 7]]), (1, 5)).tolist() == [[3, 3, 7, 7, 7]]
    assert resize_nearest(np.arange(12).reshape(1, 6, 2), (1, 2)).tolist() == [[[2, 3], [8, 9]]]


def test_a_label_that_is_reduced_is_that_of_most_of_its_area():
    labels = np.array([[3, 3, 0, 0], [3, 7, 7, 255], [9, 1, 255, 255], [1, 9, 255, 5]], np.uint8)
    assert resize_labels(labels, (2, 2)).tolist() == [[3, 0], [1, 255]]
    assert resize_nearest(labels, (2, 2)).tolist() == [[7, 255], [9, 5]]
    # Two thirds of one pixel and a third of the next.
    assert resize_labels(np.array([[4, 4, 4, 8, 8]], np.uint8), (1, 3)).tolist() == [[4, 4, 8]]


def test_labels_are_enlarged_to_the_nearest_and_each_side_in_its_own_way():
    labels = np.random.default_rng(0).integers(0, 4, (6, 9)).astype(np.uint8)
    for shape in ((6, 9), (7, 9), (12, 31)):
        assert np.array_equal(resize_labels(labels, shape), resize_nearest(labels, shape))
    assert np.array_equal(resize_labels(labels, (3, 18)), resize_nearest(resize_labels(labels, (3, 9)), (3, 18)))
    assert resize_labels(labels, (3, 18)).dtype == np.uint8


def test_the_label_of_most_is_counted_pixel_by_pixel():
    rng = np.random.default_rng(3)
    for _ in range(40):
        labels = rng.choice(np.array([0, 2, 255], np.uint8), rng.integers(6, 40, 2).tolist())
        shape = tuple(rng.integers(1, 7, 2).tolist())
        # A pixel belongs where its centre lies.
        rows, cols = (
            [(2 * i * old + new) // (2 * new) for i in range(new + 1)]
            for old, new in zip(labels.shape, shape, strict=True)
        )
        found = resize_labels(labels, shape)
        for row, col in np.ndindex(shape):
            block = labels[rows[row] : rows[row + 1], cols[col] : cols[col + 1]]
            assert found[row, col] == np.bincount(block.ravel()).argmax()


def test_neighbours_and_the_way_between_them():
    first, second, share = find_neighbours(2, 4)
    assert (first.tolist(), second.tolist(), share.tolist()) == ([0, 0, 0, 1], [1, 1, 1, 1], [0, 0.25, 0.75, 0])
    first, second, share = find_neighbours(4, 2)
    assert (first.tolist(), second.tolist(), share.tolist()) == ([0, 2], [1, 3], [0.5, 0.5])


def test_bilinear_keeps_a_ramp():
    ramp = np.arange(0, 160, 10, np.uint8)[None, :, None].repeat(3, axis=0)
    resized = resize_bilinear(ramp, 6, 32)[..., 0]
    assert resized.shape == (6, 32) and (resized == resized[0]).all()
    assert np.abs(resized[0, 1:-1] - np.arange(2.5, 150, 5)[:30]).max() <= 0.5


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("n_bands", [1, 3, 4])
def test_images_of_any_type_keep_type_and_mean(dtype, n_bands):
    image = np.random.default_rng(0).integers(0, 200, (8, 12, n_bands)).astype(dtype)
    small = resize_image(image, (4, 6))
    assert small.dtype == dtype and small.shape == (4, 6, n_bands)
    assert np.abs(small.mean((0, 1)) - image.mean((0, 1))).max() < 15
    assert resize_image(image, (8, 12)) is image


def test_shrinking_averages():
    image = np.zeros((4, 4, 3), np.uint8)
    image[:2, :2] = [[[100, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 40]]]
    assert shrink_image(image, 2, 2).tolist() == [[[25, 0, 10], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]]


def test_what_is_unknown_takes_what_is_near():
    labels, known = np.array([[7, 0, 0, 0, 9]]), np.array([[True, False, False, False, True]])
    assert take_nearest(labels, known)[0, [0, 1, 3, 4]].tolist() == [7, 7, 9, 9]
    assert take_nearest(labels, np.ones_like(known)) is labels


def test_a_shape_has_at_least_one_pixel():
    assert reduce_shape((100, 31), 0.1) == (10, 3) and reduce_shape((3, 3), 0.01) == (1, 1)
