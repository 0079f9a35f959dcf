"""Images with their labels, one by one: what every dense network learns from, wherever it is stored."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from hybridseg.classes import VOID
from hybridseg.errors import BadInput, HybridSegError, Problem
from hybridseg.io.images import describe_image
from hybridseg.io.labelled import ReadLabels, check_size, load_labelled
from hybridseg.io.pairing import Pair
from hybridseg.progress import Progress, no_progress
from hybridseg.resample import resize_image, resize_nearest

# What is read once stays in memory up to this many bytes, so that later epochs need no disk.
MEMORY_LIMIT = 2 << 30


class PairSource(Protocol):
    """Pairs by number; all of one size, one type and one number of bands."""

    @property
    def sources(self) -> Sequence[str]:
        """The photograph that each pair comes from: pairs of one photograph are never parted."""
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
    def fingerprint(self) -> str:
        """A hash of everything that the pairs are made of."""
        ...

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Give an image, (rows, cols, bands), and its labels, (rows, cols) uint8 with VOID."""
        ...


class FolderPairs:
    """Pairs of files, brought to one size.

    Parameters
    ----------
    pairs : sequence of Pair
    read_labels : callable
        From the path of a label map to labels, (rows, cols) uint8.
    size : tuple of int

    Raises
    ------
    BadInput
        When there are none, or they differ in bands or type: the message names two that do.
    """

    def __init__(self, pairs: Sequence[Pair], read_labels: ReadLabels, *, size: tuple[int, int]) -> None:
        """Read the headers."""
        if not pairs:
            raise BadInput("there is no image with labels to learn from")
        self.pairs, self.size, self._read_labels = tuple(pairs), size, read_labels
        first = describe_image(pairs[0].image_path)
        self.n_bands, self.dtype = first.bands, np.dtype(first.dtype)
        for pair in pairs[1:]:
            info = describe_image(pair.image_path)
            if (info.bands, info.dtype) != (first.bands, first.dtype):
                raise BadInput(
                    f"{first.path.name} has {first.bands} bands of {first.dtype}, {info.path.name} {info.bands} of "
                    f"{info.dtype}; a network learns from images of one kind"
                )
        self.sources = tuple(pair.image_path.stem for pair in pairs)

    @property
    def fingerprint(self) -> str:
        """A hash of the names, sizes and times of the files, and of the size they are brought to."""
        digest = hashlib.sha256(repr(self.size).encode())
        for pair in self.pairs:
            for path in (pair.image_path, pair.labels_path):
                status = path.stat()
                record = f"{path.name} {status.st_size} {status.st_mtime_ns}"
                digest.update(record.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Give an image and its labels."""
        image, labels = load_labelled(self.pairs[index], self._read_labels)
        return resize_image(image.filled().pixels, self.size), resize_nearest(labels, self.size)


class RememberedPairs:
    """The same pairs, kept in memory once they were read.

    Parameters
    ----------
    pairs : PairSource
    limit : int
        Bytes; what comes after them is read anew each time.
    """

    def __init__(self, pairs: PairSource, *, limit: int = MEMORY_LIMIT) -> None:
        """Remember nothing yet."""
        self._pairs, self._room = pairs, limit
        self._kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.sources, self.n_bands, self.dtype = pairs.sources, pairs.n_bands, pairs.dtype
        self.fingerprint = pairs.fingerprint

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Give an image and its labels."""
        if index in self._kept:
            return self._kept[index]
        image, labels = self._pairs.read(index)
        if image.nbytes + labels.nbytes <= self._room:
            self._room -= image.nbytes + labels.nbytes
            self._kept[index] = image, labels
        return image, labels


def check_pairs(
    pairs: Sequence[Pair], read_labels: ReadLabels, *, n_classes: int, progress: Progress = no_progress
) -> tuple[list[Problem], dict[Path, list[int]]]:
    """Read every label map before long work, and report what is wrong with which.

    Parameters
    ----------
    pairs : sequence of Pair
    read_labels : callable
    n_classes : int
        Labels go from 0 to one less, or are VOID.
    progress : Progress

    Returns
    -------
    problems : list of Problem
        Sizes that differ from the image, labels that are no class, files that cannot be read.
    values : dict
        The labels that occur in each label map that could be read.
    """
    problems: list[Problem] = []
    values: dict[Path, list[int]] = {}
    for pair in progress(pairs, label="checking labels"):
        try:
            labels = read_labels(pair.labels_path)
            check_size(pair.labels_path, labels.shape, describe_image(pair.image_path))
        except HybridSegError as error:
            problems.append(Problem.of(pair.labels_path, error))
            continue
        present = values[pair.labels_path] = np.flatnonzero(np.bincount(labels.ravel())).tolist()
        strange = [str(value) for value in present if value >= n_classes and value != VOID]
        if strange:
            problems.append(
                Problem(
                    str(pair.labels_path),
                    f"has the values {', '.join(strange)}; classes go from 0 to {n_classes - 1}, and {VOID} is none",
                )
            )
    return problems, values
