"""The losses of dense networks. Void pixels count in none of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hybridseg.classes import VOID
from hybridseg.errors import BadInput

LOSSES = ("cross-entropy", "dice", "combo")

# Keeps the Dice of an empty class from being 0 / 0.
_SMOOTH = 1.0

# From class scores, (n, rows, cols, n_classes), and labels, (n, rows, cols) integers, to one number.
Loss = Callable[[Any, Any], Any]


def make_loss(name: str, *, foreground_only: bool = False) -> Loss:
    """Return a loss by its name.

    Parameters
    ----------
    name : {"cross-entropy", "dice", "combo"}
        ``combo`` is the sum of the others.
    foreground_only : bool
        Compute Dice over all classes but the first, as is usual for one class against the rest.

    Returns
    -------
    callable
        From class scores (before the softmax), (n, rows, cols, n_classes) float32, and labels, (n, rows, cols)
        integers, to a number.

    Raises
    ------
    BadInput
        For an unknown name.
    """

    def dice(scores: Any, labels: Any) -> Any:
        return dice_loss(scores, labels, first_class=1 if foreground_only else 0)

    losses: dict[str, Loss] = {
        "cross-entropy": cross_entropy,
        "dice": dice,
        "combo": lambda scores, labels: cross_entropy(scores, labels) + dice(scores, labels),
    }
    if name not in losses:
        raise BadInput(f"there is no loss {name!r}; choose one of {', '.join(LOSSES)}")
    return losses[name]


def cross_entropy(scores: Any, labels: Any) -> Any:
    """Return the mean cross entropy of the pixels that have a class; 0 when none has.

    Examples
    --------
    >>> import tensorflow as tf
    >>> scores = tf.constant([[[[0.0, 0.0], [0.0, 9.0]]]])
    >>> round(float(cross_entropy(scores, tf.constant([[[0, VOID]]]))), 4)
    0.6931
    """
    import tensorflow as tf

    valid, safe = _split_void(labels)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(safe, scores)
    return tf.math.divide_no_nan(tf.reduce_sum(losses * valid), tf.reduce_sum(valid))


def dice_loss(scores: Any, labels: Any, *, first_class: int = 0) -> Any:
    """Return 1 minus the mean soft Dice of the classes, each over the whole batch.

    Parameters
    ----------
    first_class : int
        Classes before it are left out. A class that no pixel of the batch has is left out too, unless it is the
        only one: its Dice could only be 0.

    Examples
    --------
    >>> import tensorflow as tf
    >>> sure = tf.constant([[[[50.0, 0.0], [0.0, 50.0]]]])
    >>> round(float(dice_loss(sure, tf.constant([[[0, 1]]]))), 4)
    0.0
    """
    import tensorflow as tf

    valid, safe = _split_void(labels)
    n_classes = scores.shape[-1]
    probs = tf.nn.softmax(scores)[..., first_class:] * valid[..., None]
    truth = tf.one_hot(safe, n_classes)[..., first_class:] * valid[..., None]
    n_truth = tf.reduce_sum(truth, (0, 1, 2))
    both = tf.reduce_sum(probs * truth, (0, 1, 2))
    dice = (2 * both + _SMOOTH) / (tf.reduce_sum(probs, (0, 1, 2)) + n_truth + _SMOOTH)
    counted = tf.ones_like(dice) if n_classes - first_class == 1 else tf.cast(n_truth > 0, tf.float32)
    return tf.math.divide_no_nan(tf.reduce_sum((1 - dice) * counted), tf.reduce_sum(counted))


def _split_void(labels: Any) -> tuple[Any, Any]:
    """Return which pixels have a class, as float32, and the labels with class 0 in place of void."""
    import tensorflow as tf

    labels = tf.cast(labels, tf.int32)
    known = labels != VOID
    return tf.cast(known, tf.float32), tf.where(known, labels, 0)
