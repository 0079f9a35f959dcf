"""Seamless noise pictures, and how to look them up without aliasing.

A noise tile repeats without a seam, so one small picture covers a whole landscape. Every tile carries
reduced copies of itself: a far point, of which one image pixel sees several metres, is looked up in a small
copy, which is what keeps distant texture calm instead of sparkling.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

TILE_EDGE = 512
_LIBRARY_SEED = 20240


@dataclass(frozen=True)
class NoiseTile:
    """A square picture that repeats without a seam, together with its reduced copies.

    Parameters
    ----------
    texels : numpy.ndarray
        All levels one after the other, flattened, float32. Level 0 has ``edge * edge`` texels.
    starts : numpy.ndarray
        Where each level starts in `texels`, int32.
    edge : int
        Texels along one side of level 0, a power of two.
    """

    texels: np.ndarray
    starts: np.ndarray
    edge: int

    def sample(
        self,
        east: np.ndarray,
        north: np.ndarray,
        *,
        period: float,
        footprint: np.ndarray | float = 0.0,
        shift: tuple[float, float] = (0.0, 0.0),
    ) -> np.ndarray:
        """Return the values of the tile at points of the plane, interpolated between texels.

        Parameters
        ----------
        east, north : numpy.ndarray
            Positions in metres, float32, any shapes that broadcast.
        period : float
            Metres after which the tile repeats.
        footprint : numpy.ndarray or float
            Metres that one image pixel sees at each point; details smaller than that are averaged away.
        shift : tuple of float
            Offset in the tile, in tile edges, so that two look-ups can differ.

        Returns
        -------
        numpy.ndarray
            float32 values, of the broadcast shape.
        """
        coarseness = np.log2(np.maximum(np.asarray(footprint, np.float32) * (self.edge / period), 1.0))
        level = np.minimum(coarseness + 0.5, len(self.starts) - 1).astype(np.int32)
        edge = np.right_shift(self.edge, level)
        start = self.starts[level]
        row, next_row, row_part = _split_position(north, period, shift[0], edge)
        col, next_col, col_part = _split_position(east, period, shift[1], edge)
        row = row * edge + start
        next_row = next_row * edge + start
        near = self.texels[row + col]
        near += (self.texels[row + next_col] - near) * col_part
        far = self.texels[next_row + col]
        far += (self.texels[next_row + next_col] - far) * col_part
        return near + (far - near) * row_part


def _split_position(
    position: np.ndarray, period: float, shift: float, edge: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Turn a position along one axis into the two neighbouring texels and the fraction between them."""
    turns = np.asarray(position, np.float32) * np.float32(1.0 / period) + np.float32(shift)
    texel = (turns - np.floor(turns)) * edge.astype(np.float32)
    whole = texel.astype(np.int32)
    wrap = edge - 1  # edges are powers of two, so "and" is the remainder
    return whole & wrap, (whole + 1) & wrap, texel - whole.astype(np.float32)


def build_tile(picture: np.ndarray) -> NoiseTile:
    """Make a tile with its reduced copies from one seamless picture.

    Parameters
    ----------
    picture : numpy.ndarray
        (edge, edge) values; `edge` is a power of two.

    Examples
    --------
    >>> tile = build_tile(np.eye(4, dtype=np.float32))
    >>> len(tile.starts), float(tile.texels[-1])
    (3, 0.25)
    """
    level = np.asarray(picture, np.float32)
    edge = level.shape[0]
    levels = [level]
    while level.shape[0] > 1:
        half = level.shape[0] // 2
        level = level.reshape(half, 2, half, 2).mean(axis=(1, 3), dtype=np.float32)
        levels.append(level)
    starts = np.cumsum([0] + [one.size for one in levels[:-1]]).astype(np.int32)
    return NoiseTile(texels=np.concatenate([one.ravel() for one in levels]), starts=starts, edge=edge)


def make_spectral_noise(
    rng: np.random.Generator,
    *,
    edge: int,
    falloff: float,
    slowest: float = 1.0,
    spread: float | None = None,
) -> np.ndarray:
    """Make seamless noise whose amplitude falls with frequency as ``frequency ** -falloff``.

    Parameters
    ----------
    falloff : float
        0 is white noise; 1 is rough like gravel; 2 is soft like clouds.
    slowest : float
        Waves per edge below which the noise is damped.
    spread : float, optional
        Where given, keep only waves that travel within about this angle (radians) of the row axis: crests run
        along the columns' direction, as swell and sand ripples do.

    Returns
    -------
    numpy.ndarray
        (edge, edge) float32, mean 0, standard deviation 1.

    Examples
    --------
    >>> noise = make_spectral_noise(np.random.default_rng(0), edge=32, falloff=1.5)
    >>> noise.shape, bool(abs(noise.std() - 1) < 1e-3)
    ((32, 32), True)
    """
    down = np.fft.fftfreq(edge, 1.0 / edge)[:, None]
    across = np.fft.rfftfreq(edge, 1.0 / edge)[None, :]
    frequency = np.maximum(np.hypot(down, across), 1.0)
    gain = frequency**-falloff / (1.0 + (slowest / frequency) ** 8)
    if spread is not None:
        gain = gain * np.exp(-((np.arctan2(across, np.abs(down)) / spread) ** 2))
    gain[0, 0] = 0.0
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((edge, edge))) * gain, s=(edge, edge))
    return (noise / noise.std()).astype(np.float32)


def make_cells(
    rng: np.random.Generator, *, edge: int, n_cells: int, warp: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Make seamless cellular noise: random points, and what is near them.

    Parameters
    ----------
    n_cells : int
        Points along one side.
    warp : numpy.ndarray, optional
        (edge, edge, 2) displacement in cells, which bends the cells' straight walls.

    Returns
    -------
    tuple of numpy.ndarray
        Distance to the nearest point and to the second nearest (in cells), a random tint in 0..1 for the
        nearest point, each (edge, edge) float32; and the way to the nearest point, (2, edge, edge), in cells.
    """
    points = rng.random((n_cells, n_cells, 2), dtype=np.float32)
    tints = rng.random((n_cells, n_cells), dtype=np.float32)
    axis = (np.arange(edge, dtype=np.float32) + 0.5) * (n_cells / edge)
    row, col = (part.copy() for part in np.broadcast_arrays(axis[:, None], axis[None, :]))
    if warp is not None:
        row += warp[..., 0]
        col += warp[..., 1]
    row_cell, col_cell = np.floor(row).astype(np.int32), np.floor(col).astype(np.int32)
    nearest = np.full((edge, edge), 9.0, np.float32)
    second = nearest.copy()
    tint = np.zeros_like(nearest)
    way = np.zeros((2, edge, edge), np.float32)
    for row_step in (-1, 0, 1):
        for col_step in (-1, 0, 1):
            at_row, at_col = row_cell + row_step, col_cell + col_step
            wrapped = at_row % n_cells, at_col % n_cells
            point = points[wrapped]
            step = np.stack([at_row + point[..., 0] - row, at_col + point[..., 1] - col]).astype(np.float32)
            distance = np.hypot(step[0], step[1])
            closer = distance < nearest
            second = np.where(closer, nearest, np.minimum(second, distance))
            tint = np.where(closer, tints[wrapped], tint)
            way = np.where(closer, step, way)
            nearest = np.where(closer, distance, nearest)
    if warp is not None:
        way += np.moveaxis(warp, -1, 0)  # the way on the unbent plane: the same point for the whole cell
    return nearest, second, tint, way


@dataclass(frozen=True)
class NoiseLibrary:
    """The tiles from which every surface is woven.

    `cloud` is soft and `grain` is rough (both mean 0, standard deviation 1); `swell` holds wave slopes and
    `ripple` narrow parallel ridges; `lace` is 0..1 with bright threads around dark holes; `domes` is 0..1
    with a round hump per cell, `tints` one random number 0..1 per hump, and `to_north` and `to_east` the way
    to the hump's middle, in tile edges.
    """

    cloud: NoiseTile
    grain: NoiseTile
    swell: NoiseTile
    ripple: NoiseTile
    lace: NoiseTile
    domes: NoiseTile
    tints: NoiseTile
    to_north: NoiseTile
    to_east: NoiseTile


DOMES_PER_EDGE = 20


@lru_cache(maxsize=1)
def build_noise_library() -> NoiseLibrary:
    """Build the tiles once; scenes differ in where and at which scale they look them up.

    Examples
    --------
    >>> build_noise_library().cloud.edge
    512
    """
    rng = np.random.default_rng((_LIBRARY_SEED, 0))
    edge = TILE_EDGE
    cloud = make_spectral_noise(rng, edge=edge, falloff=1.7)
    domes, tints, way = _make_domes(rng, edge)
    return NoiseLibrary(
        cloud=build_tile(cloud),
        grain=build_tile(make_spectral_noise(rng, edge=edge, falloff=0.9)),
        swell=build_tile(make_spectral_noise(rng, edge=edge, falloff=1.15, slowest=5.0, spread=0.55)),
        ripple=build_tile(make_spectral_noise(rng, edge=edge, falloff=2.6, slowest=26.0, spread=0.35)),
        lace=build_tile(_make_lace(rng, edge)),
        domes=build_tile(domes),
        tints=build_tile(tints),
        to_north=build_tile(way[0]),
        to_east=build_tile(way[1]),
    )


def _make_lace(rng: np.random.Generator, edge: int) -> np.ndarray:
    """Draw the walls of two sizes of bent cells, as sea foam has holes of several sizes."""
    lace = np.zeros((edge, edge), np.float32)
    for n_cells, thread, weight in ((13, 0.13, 1.0), (31, 0.17, 0.75)):
        bends = [make_spectral_noise(rng, edge=edge, falloff=2.2, slowest=4.0) for _ in range(2)]
        nearest, second, _, _ = make_cells(rng, edge=edge, n_cells=n_cells, warp=0.35 * np.stack(bends, axis=-1))
        lace = np.maximum(lace, weight * np.exp(-(((second - nearest) / thread) ** 2)))
    return lace


def _make_domes(rng: np.random.Generator, edge: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw a round hump per cell, of uneven size, with a bumpy outline."""
    bend = np.stack([make_spectral_noise(rng, edge=edge, falloff=1.9, slowest=24.0) for _ in range(2)], axis=-1)
    nearest, second, tint, way = make_cells(rng, edge=edge, n_cells=DOMES_PER_EDGE, warp=0.06 * bend)
    radius = 0.5 + 0.3 * tint
    dome = np.sqrt(np.maximum(1.0 - (nearest / radius) ** 2, 0.0))
    crease = np.minimum((second - nearest) / 0.14, 1.0)  # where two humps meet, both end
    return dome * crease, tint, way / DOMES_PER_EDGE


def smooth_step(values: np.ndarray, start: float, stop: float) -> np.ndarray:
    """Return a smooth rise from 0 at `start` to 1 at `stop`.

    Parameters
    ----------
    values : numpy.ndarray
        Any shape, float32.
    start, stop : float
        Where the rise begins and ends; `stop` may be the smaller one.

    Returns
    -------
    numpy.ndarray
        Same shape, 0..1.

    Examples
    --------
    >>> smooth_step(np.array([0, 1, 2], np.float32), 0, 2).tolist()
    [0.0, 0.5, 1.0]
    """
    part = np.clip((values - np.float32(start)) * np.float32(1.0 / (stop - start)), 0.0, 1.0)
    return part * part * (np.float32(3.0) - np.float32(2.0) * part)
