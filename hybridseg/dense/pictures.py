"""Figures of a training run: sample batches, predictions, and the curves of loss, scores and learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridseg.classes import ClassTable, color_labels
from hybridseg.dense.feed import Feed
from hybridseg.dense.fit import Epoch
from hybridseg.figures import PictureRow, draw_learning_curve, draw_picture_rows
from hybridseg.io.images import as_rgb8
from hybridseg.models.bundles import DenseModel


@dataclass(frozen=True, eq=False)
class Example:
    """An image as a network sees it, (rows, cols, bands) float32, and its labels, (rows, cols) uint8."""

    pixels: np.ndarray
    labels: np.ndarray

    def pictures(self, table: ClassTable, model: DenseModel | None = None) -> list[np.ndarray]:
        """Return the image, its labels and, with a network, the prediction: (rows, cols, 3) uint8 each."""
        found = [as_rgb8(self.pixels), color_labels(self.labels, table)]
        if model is not None:
            found.append(color_labels(model.predict(self.pixels[None])[0].argmax(axis=-1).astype(np.uint8), table))
        return found

    def panel(self, model: DenseModel) -> np.ndarray:
        """Return image, labels and prediction side by side."""
        return np.concatenate(self.pictures(model.table, model), axis=1)


def pick_examples(feed: Feed, n: int) -> list[Example]:
    """Return the first images of a feed, as the network sees them."""
    examples: list[Example] = []
    for images, labels in feed.batches():
        examples += [Example(i, t) for i, t in zip(images.numpy(), labels.numpy(), strict=True)]
        if len(examples) >= n:
            break
    return examples[:n]


def draw_examples(path: Path, examples: Sequence[Example], table: ClassTable, model: DenseModel | None = None) -> None:
    """Draw examples, two in a row, as a PNG: image, truth and, with a network, the prediction."""
    rows = []
    heads = ("image", "truth", "prediction")[: 2 if model is None else 3]
    # Two examples in a row are as wide as a page.
    n_side = min(len(examples), 2)
    for i in range(0, len(examples), n_side):
        pictures = [picture for example in examples[i : i + n_side] for picture in example.pictures(table, model)]
        n_missing = n_side * len(heads) - len(pictures)
        pictures += [np.full_like(pictures[0], 255)] * n_missing
        rows.append(PictureRow("", pictures, heads * n_side if i == 0 else ()))
    draw_picture_rows(path, rows, width=14.0, legend=table)


def draw_history(path: Path, history: Sequence[Epoch]) -> None:
    """Draw loss, mean IoU and Dice of every epoch, in training and validation, as a PNG."""
    curves = {
        "loss": ([e.loss for e in history], [e.val_loss for e in history]),
        "mean IoU": ([e.mean_iou or 0.0 for e in history], [e.val_mean_iou for e in history]),
        "Dice": ([e.dice or 0.0 for e in history], [e.val_dice for e in history]),
    }
    draw_learning_curve(path, [e.epoch for e in history], curves, unit="epoch")
