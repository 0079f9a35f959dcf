"""Score a network on labelled images, photograph by photograph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hybridseg.confusion import Confusion, count_confusion, pool_confusions
from hybridseg.dense.feed import Feed, WindowFeed
from hybridseg.dense.photos import PhotoPairs
from hybridseg.dense.windows import predict_strips
from hybridseg.models.bundles import DenseModel
from hybridseg.progress import Progress, no_progress


def evaluate_feed(model: DenseModel, feed: Feed, *, progress: Progress = no_progress) -> list[Confusion]:
    """Compare predictions with labels, photograph by photograph: for the images of a feed as the network sees them.

    Of a feed of windows, all of each photograph is predicted, as any other image is.
    """
    if isinstance(feed, WindowFeed):
        return evaluate_photos(model, feed.pairs, feed.indices, progress=progress)
    found: dict[str, list[Confusion]] = {}
    sources = iter(feed.indices.tolist())
    for images, labels in feed.batches():
        predicted = model.predict(images).argmax(axis=-1).astype(np.uint8)
        for truth, own, index in zip(labels.numpy(), predicted, sources, strict=False):
            found.setdefault(feed.pairs.sources[index], []).append(count_confusion(truth, own, model.table))
    return [pool_confusions(confusions) for confusions in found.values()]


def evaluate_photos(
    model: DenseModel, photos: PhotoPairs, indices: Sequence[int] | np.ndarray, *, progress: Progress = no_progress
) -> list[Confusion]:
    """Compare the predictions for photographs, at their own size, with their labels, one by one."""
    found = []
    for index in progress([int(index) for index in indices], label="scoring photos"):
        image, labels = photos.read(index)
        shape = (labels.shape[0], labels.shape[1])
        strips = [
            count_confusion(labels[row : row + len(probs)], probs.argmax(axis=2).astype(np.uint8), model.table)
            for row, probs in predict_strips(image, [model], shape=shape)
        ]
        found.append(pool_confusions(strips))
    return found
