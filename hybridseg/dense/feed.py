"""Batches for training: pairs in random order, augmented and normalized, made while the network works.

A batch depends only on the seed and the number of its step, so a run can resume at any step.
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
        augment: AugmentOptions = AugmentOptions(),
        shuffle: bool = False,
        seed: int = 0,
    ) -> None:
        if batch_size < 1:
            raise BadInput(f"batch_size={batch_size}: give a whole number of 1 or more")
        self.pairs, self.indices, self.batch_size = pairs, np.asarray(indices, np.int64), batch_size
        self.normalization, self.augment, self.shuffle, self.seed = normalization, augment, shuffle, seed
        self._error: HybridSegError | None = None

    @property
    def n_steps(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.indices) // self.batch_size)

    def dataset(self, *, first_epoch: int = 0, n_epochs: int = 1) -> Any:
        """Return the batches of some epochs as a ``tf.data.Dataset``.

        It yields images, (n, rows, cols, bands) float32, and labels, (n, rows, cols) uint8.
        """
        import tensorflow as tf

        n_bands, dtype = self.pairs.n_bands, tf.as_dtype(self.pairs.dtype)

        def make_batch(step: Any) -> tuple[Any, Any]:
            # A stateful function would not run ahead of a deterministic network, and this one has no state.
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
