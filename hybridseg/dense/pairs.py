"""Images with their labels, one by one: what every dense network is trained on, wherever it is stored."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from hybridseg.classes import VOID, ClassTable
from hybridseg.errors import BadInput, HybridSegError, Problem
from hybridseg.io.images import describe_image, load_image
from hybridseg.io.labelled import ReadLabels, check_size, load_labelled
from hybridseg.io.pairing import Pair
from hybridseg.markup import count_of
from hybridseg.models.cards import combine_fingerprint, hash_bytes, hash_file
from hybridseg.options import Span
from hybridseg.progress import Progress, no_progress
from hybridseg.resample import resize_image, resize_nearest

# What was read once stays in memory up to this many bytes, so that later epochs need no disk.
MEMORY_LIMIT = 2 << 30
# The networks halve the sides five times.
SIDES = Span(32, 8192, step=32)


class PairSource(Protocol):
    """Pairs by number; all of one size, one type and one number of bands."""

    @property
    def table(self) -> ClassTable:
        """The classes of the labels."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the images."""
        ...

    @property
    def n_bands(self) -> int:
        """Bands of the images."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """Type of the images."""
        ...

    @property
    def sources(self) -> Sequence[str]:
        """The photograph that each pair comes from: pairs of one photograph are never separated."""
        ...

    @property
    def fingerprint(self) -> str:
        """A hash of everything that the pairs are made of."""
        ...

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return an image, (rows, cols, bands), and its labels, (rows, cols) uint8 with VOID."""
        ...


class FolderPairs:
    """Pairs of files, resized to one size.

    Parameters
    ----------
    read_labels : callable
        From the path of a label map to ids of the classes in `table`, (rows, cols) uint8.

    Raises
    ------
    BadInput
        When there are none, or they differ in bands or type: the message names two that do.
    """

    def __init__(
        self, pairs: Sequence[Pair], read_labels: ReadLabels, *, table: ClassTable, size: tuple[int, int]
    ) -> None:
        if not pairs:
            raise BadInput("there is no image with labels to train on")
        self.pairs, self.table, self.size, self._read_labels = tuple(pairs), table, size, read_labels
        self.infos = tuple(describe_image(pair.image_path) for pair in pairs)
        first = self.infos[0]
        self.n_bands, self.dtype = first.n_colors, np.dtype(first.dtype)
        for info in self.infos[1:]:
            if (info.n_colors, info.dtype) != (first.n_colors, first.dtype):
                raise BadInput(
                    f"{first.path.name} has {count_of(first.n_colors, 'band')} of {first.dtype}, {info.path.name} "
                    f"{info.n_colors} of {info.dtype}; a network is trained on images of one kind"
                )
        self.sources = tuple(pair.image_path.stem for pair in pairs)

    @property
    def fingerprint(self) -> str:
        """A hash of the names, sizes and times of the files, and of the size to which they are brought."""
        text = repr(self.size)
        for pair in self.pairs:
            for path in (pair.image_path, pair.labels_path):
                status = path.stat()
                text += f"{path.name} {status.st_size} {status.st_mtime_ns}"
        return hash_bytes(text.encode("utf-8", "surrogateescape"))

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return an image and its labels."""
        image, labels = load_labelled(self.pairs[index], self._read_labels)
        return resize_image(image.fill_colors(), self.size), resize_nearest(labels, self.size)


class RememberedPairs:
    """The same pairs, kept in memory once they were read: those that fit into `limit` bytes."""

    def __init__(self, pairs: PairSource, *, limit: int = MEMORY_LIMIT) -> None:
        self.pairs, self._room = pairs, limit
        self._kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.table, self.size, self.n_bands, self.dtype = pairs.table, pairs.size, pairs.n_bands, pairs.dtype
        self.sources, self.fingerprint = pairs.sources, pairs.fingerprint

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return an image and its labels."""
        if index in self._kept:
            return self._kept[index]
        image, labels = self.pairs.read(index)
        if image.nbytes + labels.nbytes <= self._room:
            self._room -= image.nbytes + labels.nbytes
            self._kept[index] = image, labels
        return image, labels


class RemappedPairs:
    """The same pairs with other class ids.

    Parameters
    ----------
    lookup : numpy.ndarray
        (256,) uint8: the id in `table` of every label.
    """

    def __init__(self, pairs: PairSource, lookup: np.ndarray, *, table: ClassTable) -> None:
        self._pairs, self._lookup, self.table = pairs, lookup, table
        self.size, self.n_bands, self.dtype, self.sources = pairs.size, pairs.n_bands, pairs.dtype, pairs.sources
        self.fingerprint = hash_bytes(pairs.fingerprint.encode() + lookup.tobytes())

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return an image and its labels."""
        image, labels = self._pairs.read(index)
        return image, self._lookup[labels]


def hash_pairs(pairs: PairSource, indices: Iterable[int], *, progress: Progress = no_progress) -> str:
    """Return a hash that is the same for the same images with the same masks, whatever they are called.

    For records and databases it is the hash of their fingerprint and of the names of the photographs.
    """
    whole = pairs.pairs if isinstance(pairs, RememberedPairs) else pairs
    if not isinstance(whole, FolderPairs):
        return combine_fingerprint(whole.fingerprint, *sorted(whole.sources[i] for i in indices))
    chosen = [whole.pairs[i] for i in indices]
    hashes = (
        (hash_file(pair.image_path), hash_file(pair.labels_path)) for pair in progress(chosen, label="hashing images")
    )
    return combine_fingerprint(*sorted(hashes))


def fit_size(rows: float, cols: float, *, max_area: int) -> tuple[int, int]:
    """Choose the size to train at: near the aspect ratio of an image, not larger, and of at most `max_area` pixels.

    Examples
    --------
    >>> fit_size(3000, 4000, max_area=512 * 768), fit_size(64, 100, max_area=512 * 768)
    ((480, 640), (64, 96))
    """
    least, step, area = int(SIDES.low), SIDES.step, min(max_area, rows * cols)
    heights, widths = (range(least, int(min(side, SIDES.high)) + 1, step) for side in (rows, cols))

    def cost(size: tuple[int, int]) -> float:
        # A ratio that is off by 1 % weighs as much as a tenth of the pixels.
        return abs(math.log(size[1] * rows / (size[0] * cols))) + 0.1 * (1 - size[0] * size[1] / area)

    sizes = ((high, wide) for high in heights for wide in widths if high * wide <= area)
    return min(sizes, key=cost, default=(least, least))


def check_pairs(
    pairs: Sequence[Pair], read_labels: ReadLabels, *, n_classes: int, progress: Progress = no_progress
) -> tuple[list[Problem], dict[Path, list[int]]]:
    """Read every image and label map before long work: all that are damaged are told together.

    Returns
    -------
    problems : list of Problem
        Sizes that differ from the image, labels that are neither a class id below `n_classes` nor VOID, files that
        cannot be read.
    values : dict
        The labels that occur in each label map that could be read.
    """
    problems: list[Problem] = []
    values: dict[Path, list[int]] = {}
    for pair in progress(pairs, label="checking images"):
        path = pair.image_path
        try:
            info = load_image(path).info
            path = pair.labels_path
            labels = read_labels(path)
            check_size(path, labels.shape, info)
        except HybridSegError as error:
            problems.append(Problem.of(path, error))
            continue
        present = values[pair.labels_path] = np.flatnonzero(np.bincount(labels.ravel())).tolist()
        strange = [str(value) for value in present if value >= n_classes and value != VOID]
        if strange:
            problems.append(
                Problem(
                    str(pair.labels_path),
                    f"has the values {', '.join(strange)}; classes go from 0 to {n_classes - 1}, and {VOID} is void; "
                    "name all classes (--labels), or give other masks",
                )
            )
    return problems, values
