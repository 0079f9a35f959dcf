"""Features of tiles, kept on disk so that an interrupted run resumes where it stopped.

One folder for each backbone and preprocessing: ``features.npy`` (one row per tile), ``done.npy`` (which rows are
written) and ``tiles.csv`` (name, size and time of each tile). A row is marked done only after it is on disk.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hybridseg.forecast import Weighted
from hybridseg.hybrid.tilefolder import TileFolder
from hybridseg.io.arrays import map_array
from hybridseg.io.atomic import atomic_path
from hybridseg.io.damage import list_damage
from hybridseg.io.locks import lock_output, remove_leftovers
from hybridseg.io.tables import read_csv, write_csv
from hybridseg.progress import Progress, no_progress

_COLUMNS = ("name", "size", "mtime_ns")
_CHUNK = 64
# Of a tile with the built-in backbone, on two cores.
TILE_SECONDS = 0.006


def cache_features(
    folder: TileFolder,
    *,
    tile_size: int,
    n_features: int,
    fingerprint: str,
    compute: Callable[[np.ndarray], np.ndarray],
    cache_dir: str | os.PathLike[str],
    progress: Progress = no_progress,
) -> np.ndarray:
    """Return the features of every tile, computing those that are not on disk yet.

    Parameters
    ----------
    fingerprint : str
        Of the backbone and the preprocessing; each has a cache of its own.
    compute : callable
        (n, tile_size, tile_size, 3) uint8 to (n, n_features) float32.

    Returns
    -------
    numpy.ndarray
        (n_tiles, n_features) float32, read only, on disk.

    Raises
    ------
    BadInput
        When a tile is damaged or of another size.
    WriteFailed
    """
    home = Path(cache_dir) / fingerprint[:16]
    stamps = [_stamp(folder.root / name, name) for name in folder.names]
    # Another training on the same tiles computes what this one needs.
    with lock_output(home, wait=True):
        remove_leftovers(home)
        _prepare(home, stamps, n_features)
        features = map_array(home / "features.npy", "r+")
        done = map_array(home / "done.npy", "r+")
        missing = np.flatnonzero(done == 0)
        chunks = [missing[i : i + _CHUNK] for i in range(0, len(missing), _CHUNK)]
        seconds = [len(chunk) * TILE_SECONDS for chunk in chunks]
        for chunk in progress(Weighted(chunks, seconds), label="computing features"):
            features[chunk] = compute(folder.read_tiles(chunk, tile_size=tile_size))
            features.flush()
            done[chunk] = 1
            done.flush()
    features.flags.writeable = False
    return features


def _prepare(home: Path, stamps: list[dict[str, str]], n_features: int) -> None:
    """Create the arrays for all tiles; rows of tiles that have not changed are kept."""
    index_path = home / "tiles.csv"
    known = _read_index(home, n_features)
    if known is not None and [row for row, _ in known] == stamps:
        return
    features = np.zeros((len(stamps), n_features), np.float32)
    done = np.zeros(len(stamps), np.uint8)
    if known is not None:
        old_features, old_done = map_array(home / "features.npy"), map_array(home / "done.npy")
        place = {tuple(row.values()): i for row, i in known if old_done[i]}
        for i, stamp in enumerate(stamps):
            j = place.get(tuple(stamp.values()))
            if j is not None:
                features[i], done[i] = old_features[j], 1
    # The index is removed first and written last: a run that stops in between leaves no cache rather than a wrong one.
    index_path.unlink(missing_ok=True)
    _save(home / "features.npy", features)
    _save(home / "done.npy", done)
    write_csv(index_path, _COLUMNS, stamps)


def _read_index(home: Path, n_features: int) -> list[tuple[dict[str, str], int]] | None:
    try:
        rows = read_csv(home / "tiles.csv", _COLUMNS)
        features, done = map_array(home / "features.npy"), map_array(home / "done.npy")
    except list_damage():
        return None  # No cache, or a damaged one: it is computed again.
    if features.shape != (len(rows), n_features) or features.dtype != np.float32 or done.shape != (len(rows),):
        return None
    return [({name: row[name] for name in _COLUMNS}, i) for i, row in enumerate(rows)]


def _stamp(path: Path, name: str) -> dict[str, str]:
    status = path.stat()
    return {"name": name, "size": str(status.st_size), "mtime_ns": str(status.st_mtime_ns)}


def _save(path: Path, array: np.ndarray) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, array)
