"""The losses of dense networks. Void pixels count in none of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hybridseg.classes import VOID
from hybridseg.models.layers import sum_copies
from hybridseg.options import Span, check_options, option

LOSSES = ("cross-entropy", "dice", "combo", "focal")
DICE_OVER = ("batch", "image")

# Keeps the Dice of an empty class from being 0 / 0.
_SMOOTH = 1.0

# From class scores, (n, rows, cols, n_classes), and labels, (n, rows, cols) integers, to one number.
Loss = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class LossOptions:
    """What is minimized in training.

    Raises
    ------
    BadInput
        When a value is out of range.
    """

    loss: str = option(
        "combo",
        "Loss to minimize; combo is a weighted mean of dice and cross-entropy, focal a cross entropy in which pixels "
        "that are easy count less.",
        choices=LOSSES,
    )
    dice_share: float = option(0.5, "Weight of dice in combo; the rest is that of cross-entropy.", span=Span(0, 1))
    dice_over: str = option(
        "batch", "What the Dice of a class is computed over: each image, or all of a training step.", choices=DICE_OVER
    )
    focal_gamma: float = option(2.0, "How much less easy pixels count in focal; 0: all alike.", span=Span(0, 10))

    def __post_init__(self) -> None:
        check_options(self)


def make_loss(options: LossOptions, *, foreground_only: bool = False) -> Loss:
    """Return the loss that the options describe.

    Parameters
    ----------
    foreground_only : bool
        Compute Dice over all classes but the first, as is usual for one class against the rest.

    Returns
    -------
    callable
        From class scores (before the softmax), (n, rows, cols, n_classes) float32, and labels, (n, rows, cols)
        integers, to a number.
    """

    def dice(scores: Any, labels: Any) -> Any:
        return dice_loss(scores, labels, first_class=1 if foreground_only else 0, by_image=options.dice_over == "image")

    share = options.dice_share
    losses: dict[str, Loss] = {
        "cross-entropy": cross_entropy,
        "dice": dice,
        "combo": lambda scores, labels: (1 - share) * cross_entropy(scores, labels) + share * dice(scores, labels),
        "focal": lambda scores, labels: cross_entropy(scores, labels, gamma=options.focal_gamma),
    }
    return losses[options.loss]


def cross_entropy(scores: Any, labels: Any, *, gamma: float = 0.0) -> Any:
    """Return the mean cross entropy of the pixels that have a class; 0 when none has.

    Parameters
    ----------
    gamma : float
        Each pixel counts by the power of the probability that it is given to be of another class: the focal loss of
        Lin et al. (2017). 0 is the plain cross entropy.

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
    if gamma:
        # Of what is certain the power would have no gradient.
        losses *= tf.maximum(1 - tf.exp(-losses), 1e-6) ** gamma
    return tf.math.divide_no_nan(tf.reduce_sum(losses * valid), tf.reduce_sum(valid))


def dice_loss(scores: Any, labels: Any, *, first_class: int = 0, by_image: bool = False) -> Any:
    """Return 1 minus the mean soft Dice of the classes, each over the whole batch or (`by_image`) over every image.

    Parameters
    ----------
    first_class : int
        Classes before it are left out. A class that no pixel of the batch (or the image) has is left out too, unless
        it is the only one: its Dice could only be 0.

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
    axes = (1, 2) if by_image else (0, 1, 2)
    sums = tf.stack([tf.reduce_sum(values, axes) for values in (truth, probs * truth, probs)])
    # Of a share of a batch too it is the Dice of all of the batch.
    n_truth, both, n_found = tf.unstack(sums if by_image else sum_copies(sums))
    dice = (2 * both + _SMOOTH) / (n_found + n_truth + _SMOOTH)
    counted = tf.ones_like(dice) if n_classes - first_class == 1 else tf.cast(n_truth > 0, tf.float32)
    total, n_counted = tf.reduce_sum((1 - dice) * counted), tf.reduce_sum(counted)
    if by_image:
        total, n_counted = sum_copies(total), sum_copies(n_counted)
    return tf.math.divide_no_nan(total, n_counted)


def _split_void(labels: Any) -> tuple[Any, Any]:
    """Return which pixels have a class, as float32, and the labels with class 0 in place of void."""
    import tensorflow as tf

    labels = tf.cast(labels, tf.int32)
    known = labels != VOID
    return tf.cast(known, tf.float32), tf.where(known, labels, 0)
