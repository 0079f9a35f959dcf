"""Synthetic scenes: exact, repeatable, and neither too easy nor too hard."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from hybridseg.demo.scenes.noise import build_tile, make_cells, make_spectral_noise
from hybridseg.demo.scenes.scene import CLASS_COLORS, CLASS_NAMES, Scene, make_scene
from hybridseg.demo.scenes.scribbles import draw_scribbles

N_CLASSES = len(CLASS_NAMES)
SEEDS = range(12)


@cache
def small_scene(seed: int) -> Scene:
    """Make a scene once for all tests."""
    return make_scene(seed, rows=128, cols=192)


def count_classes(values: np.ndarray, n_values: int = N_CLASSES) -> np.ndarray:
    """Count how often each value 0..n_values-1 occurs."""
    return np.bincount(values.ravel(), minlength=n_values)


def test_class_table_is_complete() -> None:
    """There are eleven names, each with a colour of its own."""
    assert CLASS_NAMES[:3] == ("sky", "water", "foam")
    assert len(set(CLASS_NAMES)) == len(set(CLASS_COLORS)) == len(CLASS_COLORS) == 11


def test_shapes_and_dtypes() -> None:
    """All three arrays cover the size asked for."""
    scene = small_scene(0)
    assert scene.image.shape == (128, 192, 3)
    assert scene.labels.shape == scene.seeds.shape == (128, 192)
    assert {scene.image.dtype, scene.labels.dtype, scene.seeds.dtype} == {np.dtype(np.uint8)}


@pytest.mark.parametrize("seed", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_same_seed_gives_same_scene(seed: int) -> None:
    """A scene is a function of its seed and size."""
    again, first = make_scene(seed, rows=128, cols=192), small_scene(seed)
    for name in ("image", "labels", "seeds"):
        np.testing.assert_array_equal(getattr(again, name), getattr(first, name))


def test_different_seeds_differ() -> None:
    """Seeds of the same layout give different pictures and different maps too."""
    for other in (1, 12):
        assert np.mean(make_scene(other, rows=128, cols=192).labels != small_scene(0).labels) > 0.05
        assert np.mean(make_scene(other, rows=128, cols=192).image != small_scene(0).image) > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_labels_are_in_range_and_seeds_agree(seed: int) -> None:
    """Strokes never leave their class; they are sparse; no common class goes without one."""
    scene = small_scene(seed)
    assert scene.labels.max() < N_CLASSES
    drawn = scene.seeds > 0
    np.testing.assert_array_equal(scene.labels[drawn], scene.seeds[drawn] - 1)
    assert 0.003 < drawn.mean() < 0.04
    common = count_classes(scene.labels) > 0.006 * scene.labels.size
    stroked = count_classes(scene.seeds, N_CLASSES + 1)[1:] > 0
    assert not (common & ~stroked).any()


@pytest.mark.parametrize(("rows", "cols"), [(48, 64), (64, 48), (51, 90)])
def test_small_and_odd_sizes_work(rows: int, cols: int) -> None:
    """Any size works, and holds more than one class."""
    scene = make_scene(4, rows=rows, cols=cols)
    assert scene.image.shape == (rows, cols, 3)
    assert len(np.unique(scene.labels)) > 3


def test_a_small_scene_is_the_same_scene_in_small() -> None:
    """Sizes are in units of the image height: the large map, thinned out, is nearly the small map."""
    large = make_scene(7, rows=256, cols=384).labels[1::2, 1::2]
    assert np.mean(large == small_scene(7).labels) > 0.9


@pytest.mark.slow
def test_every_class_occurs_in_most_scenes() -> None:
    """Each class is found in at least six of twelve scenes."""
    occurs = np.array([count_classes(small_scene(seed).labels) > 20 for seed in SEEDS])
    assert occurs.sum(axis=0).min() >= 6, dict(zip(CLASS_NAMES, occurs.sum(axis=0), strict=True))


def test_labels_follow_the_picture() -> None:
    """Colour jumps at class boundaries: the map is drawn where the picture is."""
    scene = small_scene(4)
    step = np.abs(np.diff(scene.image.astype(np.float32), axis=1)).sum(axis=2)
    border = scene.labels[:, 1:] != scene.labels[:, :-1]
    assert step[border].mean() > 2.0 * step[~border].mean()


@pytest.mark.slow
def test_colour_alone_is_not_enough() -> None:
    """The nearest mean colour of a class names fewer than 70 % of the pixels, yet more than chance."""
    colors = np.concatenate([small_scene(seed).image.reshape(-1, 3) for seed in SEEDS]).astype(np.float32)
    labels = np.concatenate([small_scene(seed).labels.ravel() for seed in SEEDS])
    means = np.stack([colors[labels == class_id].mean(axis=0) for class_id in range(N_CLASSES)])
    nearest = ((colors[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    assert 0.2 < np.mean(nearest == labels) < 0.70


def test_scribbles_on_a_map_of_one_class() -> None:
    """A map without any boundary still gets its strokes."""
    seeds = draw_scribbles(np.full((40, 60), 3, np.uint8), rng=np.random.default_rng(0))
    assert set(np.unique(seeds)) == {0, 4}


def test_tile_repeats_and_averages() -> None:
    """A tile wraps at its period, interpolates between texels, and fades to its mean far away."""
    tile = build_tile(np.float32([[0, 4], [4, 0]]))
    here = np.float32([0.0, 1.0, 2.0, 0.5])
    across = np.zeros(4, np.float32)
    np.testing.assert_allclose(tile.sample(here, across, period=2.0), [0, 4, 0, 2])
    np.testing.assert_allclose(tile.sample(here, across, period=2.0, footprint=50.0), 2.0)


def test_noise_has_no_seam() -> None:
    """The step over the tile's edge is like any other step, for soft noise and for cells."""
    rng = np.random.default_rng(3)
    nearest, second, _, _ = make_cells(rng, edge=64, n_cells=6)
    for noise in (make_spectral_noise(rng, edge=64, falloff=1.8), nearest):
        inside = np.abs(np.diff(noise, axis=0)).max()
        assert np.abs(noise[0] - noise[-1]).max() < 1.5 * inside
    assert (second >= nearest).all()
