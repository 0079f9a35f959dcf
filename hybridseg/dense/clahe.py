"""Contrast-limited adaptive histogram equalization (Zuiderveld, 1994), inside a graph or outside of one."""

from __future__ import annotations

from typing import Any

_N_BINS = 256


def equalize(values: Any, *, clip: Any, n_tiles: int) -> Any:
    """Equalize the histogram around every pixel, interpolated between those of the tiles next to it.

    Parameters
    ----------
    values : tensor
        (rows, cols) float32 from 0 to 1.
    clip : number
        No bin counts more than so many times the mean of all: what is beyond is spread over all bins.
    n_tiles : int
        Along each side.

    Examples
    --------
    >>> import numpy as np
    >>> ramp = np.linspace(0.4, 0.6, 64, dtype=np.float32).reshape(8, 8)
    >>> stretched = equalize(ramp, clip=100, n_tiles=1).numpy()
    >>> bool(stretched.max() - stretched.min() > 0.9)
    True
    """
    import tensorflow as tf

    rows, cols = tf.unstack(tf.shape(values))
    bins = tf.cast(tf.clip_by_value(values, 0.0, 1.0) * (_N_BINS - 1), tf.int32)
    row, col = tf.range(rows), tf.range(cols)
    tile = (row * n_tiles // rows)[:, None] * n_tiles + col * n_tiles // cols
    n_cells = n_tiles * n_tiles * _N_BINS
    counts = tf.math.bincount(tf.reshape(tile * _N_BINS + bins, [-1]), minlength=n_cells, maxlength=n_cells)
    counts = tf.cast(tf.reshape(counts, (n_tiles * n_tiles, _N_BINS)), tf.float32)
    total = tf.maximum(tf.reduce_sum(counts, 1, keepdims=True), 1.0)
    clipped = tf.minimum(counts, clip * total / _N_BINS)
    spread = clipped + (total - tf.reduce_sum(clipped, 1, keepdims=True)) / _N_BINS
    shares = tf.reshape(tf.cumsum(spread, 1) / total, [-1])

    def neighbours(index: Any, n: Any) -> tuple[Any, Any, Any]:
        """Return the tiles before and after the middle of each pixel, and how far it is from the first."""
        place = tf.clip_by_value(
            (tf.cast(index, tf.float32) + 0.5) * n_tiles / tf.cast(n, tf.float32) - 0.5, 0.0, n_tiles - 1.0
        )
        before = tf.cast(tf.floor(place), tf.int32)
        return before, tf.minimum(before + 1, n_tiles - 1), place - tf.floor(place)

    upper, lower, down = neighbours(row, rows)
    left, right, across = neighbours(col, cols)

    def look_up(tile_row: Any, tile_col: Any) -> Any:
        return tf.gather(shares, (tile_row[:, None] * n_tiles + tile_col) * _N_BINS + bins)

    above = look_up(upper, left) * (1 - across) + look_up(upper, right) * across
    below = look_up(lower, left) * (1 - across) + look_up(lower, right) * across
    return above * (1 - down[:, None]) + below * down[:, None]
