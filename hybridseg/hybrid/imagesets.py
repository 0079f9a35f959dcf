"""Split tiles into a training, a validation and a testing set, whole photos at a time.

Tiles of one photo overlap and share its light: spread over different sets they would flatter the score.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from hybridseg.draw import shuffle_names
from hybridseg.errors import BadInput

TRAINING, VALIDATION, TESTING = "training", "validation", "testing"


def assign_sets(
    sources: Sequence[str],
    class_ids: np.ndarray,
    *,
    testing_percentage: float,
    validation_percentage: float,
    seed: int = 0,
) -> np.ndarray:
    """Put every source, with all its tiles, into one of three sets.

    Sources are drawn by a hash of their name, first for testing, then for validation, until each set has its
    percentage of the tiles. A source is passed over when a class would have no other source left for training.

    Parameters
    ----------
    sources : sequence of str
        The photo of each tile.
    class_ids : numpy.ndarray
        (n,) class of each tile.
    testing_percentage, validation_percentage : float
        Of the tiles, 0 to 100.

    Returns
    -------
    numpy.ndarray
        (n,) str: ``training``, ``validation`` or ``testing``. A set is empty when there are too few photos.

    Raises
    ------
    BadInput
        When the percentages leave nothing for training.

    Examples
    --------
    >>> sets = assign_sets(list("aabbccdd"), np.array([0, 1] * 4), testing_percentage=25, validation_percentage=25)
    >>> [int((sets == name).sum()) for name in (TRAINING, VALIDATION, TESTING)]
    [4, 2, 2]
    """
    if testing_percentage < 0 or validation_percentage < 0 or testing_percentage + validation_percentage >= 100:
        raise BadInput(
            f"testing_percentage={testing_percentage} and validation_percentage={validation_percentage}: "
            "give two shares of 0 or more that leave something to train on, such as 10 and 10"
        )
    tiles_of: dict[str, list[int]] = defaultdict(list)
    for i, source in enumerate(sources):
        tiles_of[source].append(i)
    n_sources_of_class = _count_sources(tiles_of, class_ids)
    sets = np.full(len(sources), TRAINING, dtype="<U10")
    order = shuffle_names(tiles_of, seed=seed)
    for name, percentage in ((TESTING, testing_percentage), (VALIDATION, validation_percentage)):
        wanted = len(sources) * percentage / 100
        n_taken = 0
        for source in list(order):
            tiles = tiles_of[source]
            classes = set(class_ids[tiles].tolist())
            # The first source is taken whatever its size, the next ones while they bring the set nearer to its share.
            comes_nearer = abs(n_taken + len(tiles) - wanted) < abs(n_taken - wanted)
            leaves_all_classes = all(n_sources_of_class[c] > 1 for c in classes)
            if not percentage or not leaves_all_classes or (n_taken and not comes_nearer):
                continue
            sets[tiles] = name
            n_taken += len(tiles)
            order.remove(source)
            for c in classes:
                n_sources_of_class[c] -= 1
    return sets


def _count_sources(tiles_of: dict[str, list[int]], class_ids: np.ndarray) -> dict[int, int]:
    counts: dict[int, int] = defaultdict(int)
    for tiles in tiles_of.values():
        for class_id in set(class_ids[tiles].tolist()):
            counts[class_id] += 1
    return counts
