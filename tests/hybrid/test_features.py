import os

import numpy as np
import pytest

from hybridseg.hybrid.features import cache_features
from hybridseg.hybrid.tilefolder import open_tile_folder
from hybridseg.io.images import write_image


@pytest.fixture
def tiles(tmp_path):
    for i in range(80):
        name = tmp_path / "tiles" / ("a" if i % 2 else "b") / f"{i}.png"
        name.parent.mkdir(parents=True, exist_ok=True)
        write_image(name, np.full((4, 4, 3), i, np.uint8))
    return tmp_path / "tiles"


class Counter:
    """Features are the mean colour; remembers how many tiles it was asked for, and fails when told to."""

    def __init__(self, fail_after=None):
        self.n, self.fail_after = 0, fail_after

    def __call__(self, batch):
        if self.fail_after is not None and self.n >= self.fail_after:
            raise KeyboardInterrupt
        self.n += len(batch)
        return batch.reshape(len(batch), -1).mean(axis=1, keepdims=True).repeat(2, axis=1).astype(np.float32)


def get(tiles, compute, fingerprint="f" * 64):
    folder = open_tile_folder(tiles)
    features = cache_features(
        folder, tile_size=4, n_features=2, fingerprint=fingerprint, compute=compute, cache_dir=tiles.parent / "cache"
    )
    assert [round(float(v)) for v in features[:, 0]] == [
        int(value) for value in folder.read_tiles(np.arange(len(folder.names)), tile_size=4)[:, 0, 0, 0]
    ]
    return compute.n


@pytest.mark.slow
def test_a_second_run_computes_nothing(tiles):
    assert get(tiles, Counter()) == 80 and get(tiles, Counter()) == 0
    assert get(tiles, Counter(), fingerprint="e" * 64) == 80, "another backbone has features of its own"


@pytest.mark.slow
def test_an_interrupted_run_goes_on(tiles):
    with pytest.raises(KeyboardInterrupt):
        get(tiles, Counter(fail_after=64))
    # Killed right after its last file was there, it leaves the lock of that one.
    [home] = (tiles.parent / "cache").iterdir()
    lock = home / ".0123456789abcdef.hybridseg.lock"
    lock.touch()
    assert get(tiles, Counter()) == 80 - 64 and not lock.exists()


@pytest.mark.slow
def test_changed_new_and_removed_tiles_are_noticed(tiles):
    get(tiles, Counter())
    write_image(tiles / "a" / "1.png", np.full((4, 4, 3), 200, np.uint8))
    (tiles / "a" / "3.png").unlink()
    write_image(tiles / "b" / "new.png", np.full((4, 4, 3), 77, np.uint8))
    os.utime(tiles / "b" / "0.png", (1, 1))
    assert get(tiles, Counter()) == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["features.npy", "done.npy", "tiles.csv"])
def test_a_damaged_cache_is_made_anew(tiles, name):
    get(tiles, Counter())
    [path] = (tiles.parent / "cache").glob(f"*/{name}")
    path.write_bytes(path.read_bytes()[:50])
    assert get(tiles, Counter()) == 80
