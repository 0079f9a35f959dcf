"""Batches for training: pairs in a random order, changed at random and normalized, made while the network works.

What a step gets depends on the seed and its number alone, so a run can go on from any step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from hybridseg.dense.augment import AugmentOptions, augment_batch
from hybridseg.dense.pairs import PairSource
from hybridseg.draw import count_share, shuffle_names
from hybridseg.errors import BadInput, HybridSegError
from hybridseg.models.normalization import Normalization

_BATCHES_AHEAD = 3


class Feed:
    """Batches of some of the pairs.

    Parameters
    ----------
    pairs : PairSource
    indices : sequence of int
        Which of them.
    batch_size : int
        The last batch of an epoch may be smaller.
    normalization : Normalization
    augment : AugmentOptions
    shuffle : bool
        A new order in every epoch.
    seed : int

    Examples
    --------
    A source of pairs is anything with their `read`: a folder (`FolderPairs`) or records (`RecordPairs`).
    """

    def __init__(
        self,
        pairs: PairSource,
        indices: Sequence[int] | np.ndarray,
        *,
        batch_size: int,
        normalization: Normalization,
        augment: AugmentOptions = AugmentOptions(),
        shuffle: bool = False,
        seed: int = 0,
    ) -> None:
        """Keep what batches are made of."""
        if batch_size < 1:
            raise BadInput(f"batch_size={batch_size}: give 1 or more")
        self.pairs, self.indices, self.batch_size = pairs, np.asarray(indices, np.int64), batch_size
        self.normalization, self.augment, self.shuffle, self.seed = normalization, augment, shuffle, seed
        self._error: HybridSegError | None = None

    @property
    def n_steps(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.indices) // self.batch_size)

    def dataset(self, *, first_epoch: int = 0, n_epochs: int = 1) -> Any:
        """Give the batches of some epochs as a ``tf.data.Dataset``.

        Returns
        -------
        tf.data.Dataset
            Of images, (n, rows, cols, bands) float32, and labels, (n, rows, cols) uint8.
        """
        import tensorflow as tf

        n_bands, dtype = self.pairs.n_bands, tf.as_dtype(self.pairs.dtype)

        def make_batch(step: Any) -> tuple[Any, Any]:
            # Stateless, which it is: a stateful function would not run ahead of a deterministic network.
            images, labels = tf.numpy_function(self._read_batch, [step], (dtype, tf.uint8), stateful=False)
            images.set_shape((None, None, None, n_bands))
            labels.set_shape((None, None, None))
            images, labels = augment_batch(
                tf.cast(images, tf.float32), labels, self.augment, seed=(np.int64(self.seed), step)
            )
            return self.normalization.apply_batch(images), labels

        steps = tf.data.Dataset.range(first_epoch * self.n_steps, (first_epoch + n_epochs) * self.n_steps)
        return steps.map(make_batch, num_parallel_calls=2, deterministic=True).prefetch(_BATCHES_AHEAD)

    def batches(self, *, first_epoch: int = 0, n_epochs: int = 1) -> Iterator[tuple[Any, Any]]:
        """Give the batches of some epochs, one by one.

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
            # What went wrong while reading comes back through TensorFlow as a text.
            if self._error is not None:
                raise self._error from error
            raise

    def _read_batch(self, step: np.int64) -> tuple[np.ndarray, np.ndarray]:
        epoch, batch = divmod(int(step), self.n_steps)
        order = self.indices
        if self.shuffle:
            order = np.random.default_rng((self.seed, epoch)).permutation(order)
        chosen = order[batch * self.batch_size : (batch + 1) * self.batch_size]
        try:
            read = [self.pairs.read(int(index)) for index in chosen]
        except HybridSegError as error:
            self._error = error
            raise
        return np.stack([image for image, _ in read]), np.stack([labels for _, labels in read])


def hold_out(sources: Sequence[str], *, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide pairs into those to learn from and those to watch; pairs of one photograph stay together.

    Parameters
    ----------
    sources : sequence of str
        The photograph of each pair.
    share : float
        Of the photographs that are watched: at least one, and at least one is left.
    seed : int

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
        raise BadInput("there is only one photograph: none could be held out for validation; add more")
    n_watched = min(max(count_share(len(names), share), 1), len(names) - 1)
    watched = set(shuffle_names(names, seed=seed)[:n_watched])
    is_watched = np.array([name in watched for name in sources])
    return np.flatnonzero(~is_watched), np.flatnonzero(is_watched)
