import numpy as np
import pytest

from hybridseg.errors import BadInput
from hybridseg.hybrid.distort import DistortOptions, distort_tiles


def test_each_distortion_does_what_it_says():
    rng = np.random.default_rng(0)
    tiles = rng.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    plain = tiles / np.float32(255)
    assert np.array_equal(distort_tiles(tiles, DistortOptions(), rng), plain)
    flipped = distort_tiles(tiles, DistortOptions(flip_left_right=True), rng)
    mirrored = [np.array_equal(a, b[:, ::-1]) for a, b in zip(flipped, plain, strict=True)]
    kept = [np.array_equal(a, b) for a, b in zip(flipped, plain, strict=True)]
    assert 8 < sum(mirrored) < 32 and sum(mirrored) + sum(kept) == 40
    bright = distort_tiles(np.full_like(tiles, 100), DistortOptions(random_brightness=50), rng)
    levels = bright[:, 0, 0, 0] * 255
    assert levels.min() < 70 and levels.max() > 130 and levels.min() >= 50 and levels.max() <= 150
    ramp = (
        np.arange(8, dtype=np.uint8).repeat(8).reshape(8, 8).T[None, ..., None].repeat(3, axis=3).repeat(40, axis=0)
        * 30
    )
    for options in (DistortOptions(random_crop=50), DistortOptions(random_scale=50)):
        changed = distort_tiles(ramp, options, rng)
        span = changed[:, 0, -1, 0] - changed[:, 0, 0, 0]
        assert changed.shape == (40, 8, 8, 3) and span.min() < 0.72 * 210 / 255 and span.max() <= 210 / 255 + 1e-6
    with pytest.raises(BadInput, match="random_crop=101"):
        DistortOptions(random_crop=101)
