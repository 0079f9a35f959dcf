"""Score a network on labelled images: photograph by photograph, or all of a feed as it is trained and validated."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridseg.classes import ClassTable
from hybridseg.confusion import Confusion, count_confusion, pool_confusions
from hybridseg.dense.feed import Feed, WindowFeed
from hybridseg.dense.photos import PhotoPairs
from hybridseg.dense.windows import PIXEL_SECONDS, predict_strips
from hybridseg.forecast import Weighted
from hybridseg.models.bundles import DenseModel
from hybridseg.models.engines import class_scores
from hybridseg.models.losses import Loss, LossOptions, make_loss
from hybridseg.progress import Progress, no_progress

if TYPE_CHECKING:
    import tf_keras

Look = Callable[[str, np.ndarray, np.ndarray, np.ndarray, Confusion], None]
"""Looks at a photograph that was compared: its name, an image of it, its truth and the result, uint8."""

# What an epoch says of its pixels, by the name of the score in `Confusion`: means over the classes, and the accuracy.
SCORES = {"mean_iou": "iou", "dice": "f1", "accuracy": "", "recall": "recall"}


def evaluate_feed(
    model: DenseModel, feed: Feed, *, look: Look | None = None, progress: Progress = no_progress
) -> dict[str, Confusion]:
    """Compare predictions with labels, photograph by photograph: for the images of a feed as the network sees them.

    Of a feed of windows, all of each photograph is predicted, as any other image is.
    """
    if isinstance(feed, WindowFeed):
        return evaluate_photos(model, feed.pairs, feed.indices, look=look, progress=progress)
    found: dict[str, list[Confusion]] = {}
    sources = iter(feed.list_sources())
    for images, labels in feed.batches():
        predicted = model.predict(images).argmax(axis=-1).astype(np.uint8)
        for image, truth, own, source in zip(images.numpy(), labels.numpy(), predicted, sources, strict=False):
            confusion = count_confusion(truth, own, model.table)
            found.setdefault(source, []).append(confusion)
            if look is not None:
                look(source, image, truth, own, confusion)
    return {source: pool_confusions(confusions) for source, confusions in found.items()}


def expect_evaluation(feed: Feed) -> float:
    """Return the seconds that `evaluate_feed` is expected to take, as far as it reports its progress."""
    return sum(_expect(feed.pairs, index) for index in feed.indices) if isinstance(feed, WindowFeed) else 0.0


def _expect(photos: PhotoPairs, index: int) -> float:
    return math.prod(photos.infos[index].shape) * PIXEL_SECONDS


def evaluate_photos(
    model: DenseModel,
    photos: PhotoPairs,
    indices: Sequence[int] | np.ndarray,
    *,
    look: Look | None = None,
    progress: Progress = no_progress,
) -> dict[str, Confusion]:
    """Compare the predictions for photographs, at their own size, with their labels, one by one."""
    found = {}
    expected = Weighted([int(index) for index in indices], [_expect(photos, index) for index in indices])
    for index in progress(expected, label="scoring photos"):
        image, labels = photos.read(index)
        shape = (labels.shape[0], labels.shape[1])
        result = np.empty(shape, np.uint8)
        for row, probs in predict_strips(image, [model], shape=shape):
            result[row : row + len(probs)] = probs.argmax(axis=2)
        found[photos.sources[index]] = confusion = count_confusion(labels, result, model.table)
        if look is not None:
            look(photos.sources[index], image, labels, result, confusion)
    return found


def score_feed(network: tf_keras.Model, feed: Feed, loss: LossOptions) -> dict[str, float | None]:
    """Return the loss of a network and `SCORES` on a feed: of one class against the rest, those of the class alone."""
    import tensorflow as tf

    is_one = network.output_shape[-1] == 1
    measure = make_validation_step(network, make_loss(loss, foreground_only=is_one))
    step = tf.function(measure, reduce_retracing=True, autograph=False)
    left_out = feed.pairs.table.names[:1] if is_one else ()
    return measure_feed(step, feed, feed.pairs.table, left_out=left_out)


def measure_feed(
    step: Callable[[Any, Any], Any],
    feed: Feed,
    table: ClassTable,
    *,
    left_out: tuple[str, ...] = (),
    steps: Iterable[Any] = repeat(None),
) -> dict[str, float | None]:
    """Return the mean loss and `SCORES` of a feed.

    Parameters
    ----------
    step : callable
        From a batch to its loss and classes.
    left_out : tuple of str
        Classes that the means leave out.
    steps : iterable
        One item is taken for each batch, to show the progress.
    """
    counts, losses, n_images = [], [], 0
    for _, (images, labels) in zip(steps, feed.batches(), strict=False):
        loss, found = step(images, labels)
        losses.append(float(loss) * len(images))
        counts.append(count_confusion(labels.numpy(), found.numpy(), table))
        n_images += len(images)
    return {"loss": sum(losses) / n_images, **score_classes(counts, left_out)}


def score_classes(counts: list[Confusion], left_out: tuple[str, ...] = ()) -> dict[str, float | None]:
    """Return `SCORES` of the pixels of several images together."""
    whole = pool_confusions(counts)
    return {
        name: _mean_over_classes(whole, score, left_out) if score else whole.accuracy for name, score in SCORES.items()
    }


def _mean_over_classes(confusion: Confusion, score: str, left_out: tuple[str, ...]) -> float | None:
    found = zip(confusion.table.names, confusion.scores(score), strict=True)
    values = [value for name, value in found if value is not None and name not in left_out]
    return sum(values) / len(values) if values else None


def make_validation_step(network: Any, loss: Loss) -> Callable[[Any, Any], Any]:
    """Return a function from a batch to its loss and the best class of every pixel."""

    def validation_step(images: Any, labels: Any) -> Any:
        scores = class_scores(network(images, training=False))
        return loss(scores, labels), choose_class(scores)

    return validation_step


def choose_class(scores: Any) -> Any:
    """Return the class of the highest score, as uint8."""
    import tensorflow as tf

    return tf.cast(tf.argmax(scores, -1), tf.uint8)


def show_score(value: float | None) -> str:
    """Return a score in three digits, of what has none a dash."""
    return "-" if value is None else f"{value:.3f}"
