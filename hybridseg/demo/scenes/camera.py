"""See a landscape of heights through an oblique camera: what is visible where, and what lies in shadow.

The landscape is sampled on a ray grid: one column per image column and, along it, one row per step away from
the camera, spaced so that neighbouring steps land less than a pixel apart on flat ground. Each image column
is then an independent problem: a pixel shows the first step that reaches up to it.

Image positions are in units of the image height, counted from the top; lengths on the ground are in metres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

_STEPS_PER_ROW = 1.35
_CLOSEST_TO_HORIZON = 0.0025


@dataclass(frozen=True)
class Camera:
    """An upright camera above the sea.

    Parameters
    ----------
    height : float
        Metres above the sea.
    horizon : float
        Where the horizon lies, in image heights from the top; negative: above the picture.
    focal : float
        Focal length in image heights.
    """

    height: float
    horizon: float
    focal: float = 1.0


@dataclass(frozen=True)
class RayGrid:
    """Where the landscape is sampled.

    `ahead` is (steps, 1), `east` is (steps, cols) and `footprint` is (steps, 1): metres that a pixel sees.
    """

    ahead: np.ndarray
    east: np.ndarray
    footprint: np.ndarray


@dataclass(frozen=True)
class View:
    """What each pixel shows; all arrays are (rows, cols).

    `step` is the row of the ray grid (its number of rows where the pixel shows sky); `ahead`, `east` and
    `height` are the exact position of what is seen, in metres.
    """

    step: np.ndarray
    ahead: np.ndarray
    east: np.ndarray
    height: np.ndarray


def build_ray_grid(camera: Camera, *, rows: int, cols: int, highest: float) -> RayGrid:
    """Return where to sample the landscape.

    Parameters
    ----------
    highest : float
        Metres above the sea of the highest object near the camera: rays below the lower edge must still meet it.

    Examples
    --------
    >>> grid = build_ray_grid(Camera(height=40, horizon=0.2), rows=48, cols=64, highest=10)
    >>> grid.east.shape[1], bool((np.diff(grid.ahead[:, 0]) > 0).all())
    (64, True)
    """
    below = 1.0 - camera.horizon  # image heights from the horizon down to the lower edge
    reach = camera.height / (camera.height - min(highest, 0.75 * camera.height))
    # Steps beneath the lower edge only matter where the ground is high, hence near: they may grow wider.
    n_beneath = int(np.ceil(np.log(reach) * below * rows * _STEPS_PER_ROW)) + 2
    beneath = below * np.geomspace(reach * 1.02, 1.0, n_beneath, endpoint=False)
    farthest = max(_CLOSEST_TO_HORIZON, -camera.horizon * 0.8)
    n_within = int(np.ceil((below - farthest) * rows * _STEPS_PER_ROW))
    drop = np.concatenate([beneath, np.linspace(below, farthest, n_within)])
    ahead = (camera.focal * camera.height / drop).astype(np.float32)[:, None]
    across = (np.arange(cols, dtype=np.float32) + np.float32(0.5 - cols / 2)) / np.float32(rows)
    return RayGrid(
        ahead=ahead,
        east=across[None, :] * (ahead / np.float32(camera.focal)),
        footprint=ahead / np.float32(camera.focal * rows),
    )


def find_visible(camera: Camera, grid: RayGrid, height: np.ndarray, *, rows: int) -> View:
    """Find what each pixel shows.

    Parameters
    ----------
    height : numpy.ndarray
        (steps, cols) float32, metres above the sea.

    Examples
    --------
    >>> camera = Camera(height=40, horizon=0.25)
    >>> grid = build_ray_grid(camera, rows=40, cols=4, highest=0)
    >>> view = find_visible(camera, grid, np.zeros_like(grid.east), rows=40)
    >>> int((view.step[:, 0] == len(grid.ahead)).sum())  # a quarter of the picture is sky
    10
    """
    n_steps, cols = height.shape
    seen_at = (camera.horizon + (camera.height - height) * (camera.focal / grid.ahead)) * rows - 0.5
    seen_at = seen_at.astype(np.float32)
    skyline = np.minimum.accumulate(seen_at, axis=0)
    first_row = np.clip(np.ceil(skyline), 0, rows).astype(np.int32)
    bins = (first_row * cols + np.arange(cols, dtype=np.int32)).ravel()
    reached = np.bincount(bins, minlength=(rows + 1) * cols)[: rows * cols].reshape(rows, cols)
    step = (n_steps - np.cumsum(reached, axis=0)).astype(np.int32)
    ahead = _interpolate_depth(grid, seen_at, step, rows)
    image_row = (np.arange(rows, dtype=np.float32)[:, None] + np.float32(0.5)) / np.float32(rows)
    across = grid.east[:1] / grid.ahead[0, 0]
    return View(
        step=step,
        ahead=ahead,
        east=ahead * across,
        height=camera.height - (image_row - np.float32(camera.horizon)) * ahead / np.float32(camera.focal),
    )


def _interpolate_depth(grid: RayGrid, seen_at: np.ndarray, step: np.ndarray, rows: int) -> np.ndarray:
    """Interpolate the depth of a pixel between the first step that reaches it and the step before."""
    n_steps, cols = seen_at.shape
    after = np.clip(step, 1, n_steps - 1)
    col = np.arange(cols, dtype=np.int32)[None, :]
    seen_after = seen_at[after, col]
    seen_before = seen_at[after - 1, col]
    gap = np.maximum(seen_before - seen_after, np.float32(1e-4))
    row = np.arange(rows, dtype=np.float32)[:, None]
    part = np.clip((seen_before - row) / gap, 0.0, 1.0)
    ahead = grid.ahead[:, 0]
    return ahead[after - 1] + (ahead[after] - ahead[after - 1]) * part


def cast_shadows(
    grid: RayGrid, height: np.ndarray, sun: np.ndarray, *, reach: float = 70.0, n_marches: int = 16
) -> np.ndarray:
    """Find how much of the sun each sample of the landscape sees.

    Parameters
    ----------
    height : numpy.ndarray
        (steps, cols) float32, metres above the sea.
    sun : numpy.ndarray
        (3,) unit vector towards the sun: east, ahead, up.
    reach : float
        Metres, the longest shadow.
    n_marches : int
        Steps taken from each sample towards the sun.

    Returns
    -------
    numpy.ndarray
        (steps, cols) float32, 0 in shadow, 1 in the sun, in between at soft edges.

    Examples
    --------
    >>> camera, sun = Camera(height=40, horizon=-0.2), np.array([0.6, 0.0, 0.8], np.float32)
    >>> grid = build_ray_grid(camera, rows=40, cols=60, highest=0)
    >>> flat = np.zeros_like(grid.east)
    >>> bool((cast_shadows(grid, flat, sun)[4:-4, 4:-4] > 0.99).all())  # nothing stands in the way
    True
    """
    coarse = (slice(None, None, 2), slice(None, None, 2))  # shadows have soft edges: half the samples do
    low, depth, east = height[coarse], grid.ahead[::2], grid.east[coarse]
    level_sun = sun / np.hypot(sun[0], sun[1])
    n_cols = low.shape[1]
    per_metre = (n_cols - 1) / np.maximum(east[:, -1:] - east[:, :1], 1e-6)
    clearance = np.full(low.shape, 9.0, np.float32)
    for distance in np.geomspace(0.6, reach, n_marches, dtype=np.float32):
        there = np.clip(np.searchsorted(depth[:, 0], depth[:, 0] + distance * level_sun[1]), 0, len(depth) - 1)
        col = (east + distance * level_sun[0] - east[there, :1]) * per_metre[there]
        col = np.clip(col + np.float32(0.5), 0, n_cols - 1).astype(np.int32)
        over = low + distance * level_sun[2] - low[there[:, None], col]
        # far edges blur: the sun is a disk, so the same clearance hides less of it at a distance
        np.minimum(clearance, over / (0.35 + 0.03 * distance), out=clearance)
    lit = ndimage.uniform_filter(np.clip(clearance + 0.75, 0.0, 1.0), 3)
    return np.repeat(np.repeat(lit, 2, axis=0), 2, axis=1)[: height.shape[0], : height.shape[1]]


def measure_sunlight(grid: RayGrid, height: np.ndarray, view: View, sun: np.ndarray) -> np.ndarray:
    """Find how squarely the sun meets the ground that each pixel shows.

    Parameters
    ----------
    height : numpy.ndarray
        (steps, cols) float32, metres above the sea.
    sun : numpy.ndarray
        (3,) unit vector towards the sun: east, ahead, up.

    Returns
    -------
    numpy.ndarray
        (rows, cols) float32, the cosine between the sun and the ground's normal, at least 0.

    Examples
    --------
    >>> camera, sun = Camera(height=40, horizon=-0.2), np.array([0.6, 0.0, 0.8], np.float32)
    >>> grid = build_ray_grid(camera, rows=40, cols=60, highest=0)
    >>> flat = np.zeros_like(grid.east)
    >>> view = find_visible(camera, grid, flat, rows=40)
    >>> bool(np.allclose(measure_sunlight(grid, flat, view, sun), 0.8))
    True
    """
    n_steps, cols = height.shape
    step = np.clip(view.step, 1, n_steps - 2)
    col = np.arange(cols, dtype=np.int32)[None, :]
    left, right = np.maximum(col - 1, 0), np.minimum(col + 1, cols - 1)
    depth = grid.ahead[:, 0]
    width = np.maximum(grid.footprint[:, 0][step] * (right - left), 1e-6)
    slope_east = (height[step, right] - height[step, left]) / width
    # A column of the ray grid widens with distance: remove that part of its slope.
    rise = height[step + 1, col] - height[step - 1, col]
    slope_ahead = rise / (depth[step + 1] - depth[step - 1]) - slope_east * (view.east / view.ahead)
    facing = sun[2] - sun[0] * slope_east - sun[1] * slope_ahead
    return np.maximum(facing / np.sqrt(1.0 + slope_east**2 + slope_ahead**2), 0.0).astype(np.float32)
