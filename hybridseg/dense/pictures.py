"""Figures of a training run: sample batches, predictions, augmentation, and the curves of loss and scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridseg.classes import ClassTable, color_labels
from hybridseg.dense.feed import Feed
from hybridseg.dense.fit import Epoch
from hybridseg.dense.policy import Policy, Turn
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


def draw_augmentation(
    path: Path,
    photos: Sequence[tuple[np.ndarray, np.ndarray | None]],
    policy: Policy,
    table: ClassTable | None,
    *,
    n: int,
    seed: int = 0,
) -> None:
    """Draw a sheet as a PNG: `n` versions of each photo, and of the first one what every step does by itself.

    Parameters
    ----------
    photos : sequence of (numpy.ndarray, numpy.ndarray or None)
        Images, (rows, cols, bands), and their labels, (rows, cols) uint8, which are drawn below them where they move.
    table : ClassTable or None
        The classes of the labels.
    """  # fmt: skip
    parts = [("", policy, *photo) for photo in photos]
    parts += [(step.name, Policy((Turn((step,)),)), *photos[0]) for step in policy.steps]
    rows: list[PictureRow] = []
    for number, (title, own, image, labels) in enumerate(parts):
        known = np.zeros(image.shape[:2], np.uint8) if labels is None else labels
        images, moved = own.change_batch(
            np.repeat(image[None], n, 0).astype(np.float32), np.repeat(known[None], n, 0), seed=(seed, number),
            white=255.0 if image.dtype == np.uint8 else None,
        )  # fmt: skip
        versions = [image, *np.asarray(images).astype(image.dtype)]
        heads = () if rows else ("photo", *(f"version {i}" for i in range(1, n + 1)))
        rows.append(PictureRow(title, [as_rgb8(version) for version in versions], heads))
        # What a step by itself leaves where it is need not be shown.
        if labels is not None and table is not None and (number < len(photos) or (np.asarray(moved) != labels).any()):
            rows.append(PictureRow("", [color_labels(version, table) for version in (labels, *np.asarray(moved))]))
    draw_picture_rows(path, rows, width=14.0, legend=table)


def draw_history(path: Path, history: Sequence[Epoch]) -> None:
    """Draw loss, mean IoU and Dice of every epoch, in training and validation, as a PNG."""
    curves = {
        "loss": ([e.loss for e in history], [e.val_loss for e in history]),
        "mean IoU": ([e.mean_iou or 0.0 for e in history], [e.val_mean_iou for e in history]),
        "Dice": ([e.dice or 0.0 for e in history], [e.val_dice for e in history]),
    }
    draw_learning_curve(path, [e.epoch for e in history], curves, unit="epoch")
