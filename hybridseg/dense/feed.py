"""Batches for training: pairs in random order, augmented and normalized, made while the network works.

A batch depends only on the seed and the number of its step, so a run can resume at any step.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from hybridseg.dense.augment import Augmentation, AugmentOptions
from hybridseg.dense.machines import Share
from hybridseg.dense.pairs import PairSource
from hybridseg.dense.photos import PhotoPairs, Window
from hybridseg.draw import count_share, shuffle_names
from hybridseg.errors import BadInput, HybridSegError
from hybridseg.models.normalization import Normalization

_BATCHES_AHEAD = 3


class Feed:
    """Batches of some of the pairs.

    Parameters
    ----------
    indices : sequence of int
        Which of the pairs.
    batch_size : int
        The last batch of an epoch may be smaller.
    shuffle : bool
        A new order in every epoch.
    """

    def __init__(
        self,
        pairs: PairSource,
        indices: Sequence[int] | np.ndarray,
        *,
        batch_size: int,
        normalization: Normalization,
        augment: Augmentation = AugmentOptions(),
        shuffle: bool = False,
        seed: int = 0,
    ) -> None:
        if batch_size < 1:
            raise BadInput(f"batch_size={batch_size}: give a whole number of 1 or more")
        self.pairs, self.indices, self.batch_size = pairs, np.asarray(indices, np.int64), batch_size
        self.normalization, self.augment, self.shuffle, self.seed = normalization, augment, shuffle, seed
        self.share = Share()
        self._error: HybridSegError | None = None

    def for_share(self, share: Share) -> Feed:
        """Return the same feed for one of several workers, which is given its share of every batch."""
        if share.count == 1:
            return self
        own = copy.copy(self)
        own.share = share
        own.__dict__.pop("_make_batch", None)
        return own

    def count_images(self, step: int) -> int:
        """Return how many images a step of an epoch, from 0, has: those of all workers."""
        return min(self.batch_size, self.n_samples - step * self.batch_size)

    @property
    def n_steps(self) -> int:
        """Batches in an epoch."""
        return -(-self.n_samples // self.batch_size)

    @property
    def n_samples(self) -> int:
        """Images in an epoch."""
        return len(self.indices)

    @property
    def dtype(self) -> np.dtype:
        """Type of the images that are read."""
        return self.pairs.dtype

    def reading(self) -> AbstractContextManager[None]:
        """Return a context in which one epoch after the other is asked for."""
        return nullcontext()

    def dataset(self, *, first_epoch: int = 0, n_epochs: int = 1) -> Any:
        """Return the batches of some epochs as a ``tf.data.Dataset``.

        It yields images, (n, rows, cols, bands) float32, and labels, (n, rows, cols) uint8.
        """
        import tensorflow as tf

        steps = tf.data.Dataset.range(first_epoch * self.n_steps, (first_epoch + n_epochs) * self.n_steps)
        return steps.map(self._make_batch, num_parallel_calls=2, deterministic=True).prefetch(_BATCHES_AHEAD)

    @cached_property
    def _make_batch(self) -> Any:
        """From the number of a step to its batch: traced once for all epochs."""
        import tensorflow as tf

        n_bands, dtype = self.pairs.n_bands, tf.as_dtype(self.dtype)
        white = 255.0 if self.pairs.dtype == np.uint8 else None

        def make_batch(step: Any) -> tuple[Any, Any]:
            # A stateful function would not run ahead of a deterministic network, and this one has no state.
            kinds = (dtype, tf.uint8, tf.float32, tf.int32)
            images, labels, measured, place = tf.numpy_function(self._read_batch, [step], kinds, stateful=False)
            place.set_shape((2,))
            images.set_shape((None, None, None, n_bands))
            labels.set_shape((None, None, None))
            images, labels = self.augment.change_batch(
                tf.cast(images, tf.float32),
                labels,
                seed=(np.int64(self.seed), step),
                white=white,
                place=(place[0], place[1]),
            )
            return self._normalize(images, measured), labels

        return tf.function(make_batch, input_signature=[tf.TensorSpec([], tf.int64)], autograph=False)

    def batches(self, *, first_epoch: int = 0, n_epochs: int = 1) -> Iterator[tuple[Any, Any]]:
        """Yield the batches of some epochs.

        Raises
        ------
        BadInput, MissingInput
            When a pair cannot be read.
        """
        import tensorflow as tf

        self._error = None
        try:
            yield from self.dataset(first_epoch=first_epoch, n_epochs=n_epochs)
        except tf.errors.OpError as error:
            # TensorFlow passes an error of reading on as a text only.
            if self._error is not None:
                raise self._error from error
            raise

    def list_sources(self, epoch: int = 0) -> list[str]:
        """Return the photograph of each image of an epoch, in the order of its batches."""
        return [self.pairs.sources[self._find_pair(sample)] for sample in self._list_samples(epoch)]

    def _read_batch(self, step: np.int64) -> tuple[np.ndarray, ...]:
        """Return images, labels, what `_normalize` needs; which of the batch is the first, and its size."""
        epoch, batch = divmod(int(step), self.n_steps)
        chosen = self._list_samples(epoch)[batch * self.batch_size : (batch + 1) * self.batch_size]
        first, end = self.share.of(len(chosen))
        try:
            read = [self._read_sample(sample) for sample in chosen[first:end]]
        except HybridSegError as error:
            self._error = error
            raise
        parts = [np.stack(part) for part in zip(*read, strict=True)]
        return *parts, np.array([first, len(chosen)], np.int32)

    def _list_samples(self, epoch: int) -> Sequence[Any] | np.ndarray:
        """Return what `_read_sample` takes, in the order of an epoch."""
        if not self.shuffle:
            return self.indices
        return np.random.default_rng((self.seed, epoch)).permutation(self.indices)

    def _find_pair(self, sample: Any) -> int:
        """Return the number of the pair of a sample."""
        return int(sample)

    def _read_sample(self, sample: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return an image, its labels, and what `_normalize` needs of it: float32."""
        return *self.pairs.read(int(sample)), np.empty(0, np.float32)

    def _normalize(self, images: Any, measured: Any) -> Any:
        """Normalize a batch inside a graph."""
        return self.normalization.apply_batch(images)


class WindowFeed(Feed):
    """Batches of windows of photographs, normalized as all of their photograph is.

    Parameters
    ----------
    indices : sequence of int
        The photographs.
    list_windows : callable
        From the number of an epoch to its windows, each after the index of its photograph: always as many.
    shape : tuple of int
        Rows and columns to which a window is resized.
    """

    pairs: PhotoPairs

    def __init__(
        self,
        photos: PhotoPairs,
        indices: Sequence[int] | np.ndarray,
        list_windows: Callable[[int], Sequence[tuple[int, Window]]],
        *,
        shape: tuple[int, int],
        batch_size: int,
        normalization: Normalization,
        augment: Augmentation = AugmentOptions(),
        seed: int = 0,
    ) -> None:
        super().__init__(
            photos, indices, batch_size=batch_size, normalization=normalization, augment=augment, seed=seed
        )
        self.shape = shape
        # Two batches at once, which may be of two epochs.
        self._list_windows = lru_cache(maxsize=2)(list_windows)
        self._n_samples = len(self._list_windows(0))

    @property
    def n_samples(self) -> int:
        """Windows in an epoch."""
        return self._n_samples

    def _list_samples(self, epoch: int) -> Sequence[tuple[int, Window]]:
        return self._list_windows(epoch)

    def _find_pair(self, sample: tuple[int, Window]) -> int:
        return sample[0]

    def _read_sample(self, sample: tuple[int, Window]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        index, window = sample
        image, labels = self.pairs.read_window(index, window, self.shape)
        return image, labels, np.stack(self.pairs.measure(index, self.normalization))

    def _normalize(self, images: Any, measured: Any) -> Any:
        return (images - measured[:, 0, None, None]) * measured[:, 1, None, None]


def time_batches(batches: Iterator[Any]) -> Iterator[tuple[float, Any]]:
    """Yield every batch after the seconds that it took to arrive."""
    since = time.perf_counter()
    for batch in batches:
        yield time.perf_counter() - since, batch
        since = time.perf_counter()


def hold_out(sources: Sequence[str], *, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split pairs into a training and a validation set; pairs of one photograph stay together.

    Parameters
    ----------
    sources : sequence of str
        The photograph of each pair.
    share : float
        Of the photographs, for validation: at least one, and at least one is left.

    Returns
    -------
    training, validation : numpy.ndarray
        Indices.

    Raises
    ------
    BadInput
        When there are fewer than two photographs.

    Examples
    --------
    >>> training, validation = hold_out(["a", "a", "b", "b"], share=0.5, seed=0)
    >>> sorted([*training.tolist(), *validation.tolist()]), len(validation)
    ([0, 1, 2, 3], 2)
    """
    names = sorted(set(sources))
    if len(names) < 2:
        raise BadInput("there is only one photograph, so none can be held out for validation; add more")
    n_held_out = min(max(count_share(len(names), share), 1), len(names) - 1)
    held_out = set(shuffle_names(names, seed=seed)[:n_held_out])
    is_held_out = np.array([name in held_out for name in sources])
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)
