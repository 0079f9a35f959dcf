import numpy as np

from hybridseg.learning.pyramids import sample_features, score_pixels


def make_pyramid(shape=(32, 48)):
    rng = np.random.default_rng(0)
    sizes = {stride: (shape[0] // stride, shape[1] // stride) for stride in (1, 4, 16)}
    return {stride: rng.normal(size=(*size, stride + 1)).astype(np.float32) for stride, size in sizes.items()}


def test_scores_are_those_of_the_samples():
    """They are computed on the coarse maps, and only then enlarged."""
    pyramid = make_pyramid()
    weights = np.random.default_rng(1).normal(size=(2 + 5 + 17, 3)).astype(np.float32)
    rows, cols = (places.ravel() for places in np.indices((30, 47)))
    expected = (sample_features(pyramid, rows, cols) @ weights).reshape(30, 47, 3)
    for down, across in ((slice(0, 30), slice(0, 47)), (slice(7, 8), slice(33, 47)), (slice(17, 30), slice(16, 17))):
        found = score_pixels(pyramid, weights, down, across)
        np.testing.assert_allclose(found, expected[down, across], atol=1e-4)


def test_a_plane_stays_a_plane():
    rows, cols = np.mgrid[:3, :4].astype(np.float32)
    plane = (8 * rows + 80 * cols)[..., None]
    found = sample_features({8: plane}, np.array([0, 5, 16]), np.array([3, 12, 24]))
    assert found.ravel().tolist() == [30, 125, 256]
    # Beyond the last value it stays the same.
    assert sample_features({8: plane}, np.array([23]), np.array([31])).tolist() == [[256]]
