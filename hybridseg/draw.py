"""Random draws that are the same on every machine and with every version of every library.

An item's place in the draw is a hash of the seed and its name. Random number generators may change from one
version of a library to the next; a hash does not, and adding an item does not reshuffle the others.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable

import numpy as np


def shuffle_names(names: Iterable[str], *, seed: int) -> list[str]:
    """Return names in a random order that depends only on the names and the seed.

    Examples
    --------
    >>> shuffle_names(["a", "b", "c"], seed=1) == shuffle_names(["c", "b", "a"], seed=1)
    True
    """
    return sorted(names, key=lambda name: (_draw_key(name, seed), name))


def count_share(n: int, share: float) -> int:
    """Return the whole number nearest to a share of n, halves upwards.

    Examples
    --------
    >>> count_share(5, 0.5), count_share(4, 0.5)
    (3, 2)
    """
    return int(n * share + 0.5)


def draw_numbers(n: int, *, name: str, seed: int) -> np.ndarray:
    """Return n random numbers from 0 to below 1, float64, that depend only on the name and the seed.

    Examples
    --------
    >>> draw_numbers(2, name="a", seed=1).round(3).tolist()
    [0.55, 0.173]
    """
    digest = hashlib.shake_256(_encode(name, seed)).digest(8 * n)
    # As many bits as a float64 holds.
    return (np.frombuffer(digest, "<u8") >> 11) * 2.0**-53


def _draw_key(name: str, seed: int) -> bytes:
    return hashlib.sha256(_encode(name, seed)).digest()


def _encode(name: str, seed: int) -> bytes:
    # File systems differ in the Unicode form of the same name.
    name = unicodedata.normalize("NFC", name)
    return f"{seed}:{name}".encode("utf-8", "surrogateescape")
