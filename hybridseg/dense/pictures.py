"""Figures of a training run: sample batches, predictions, augmentation, and the curves of loss and scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from hybridseg.classes import ClassTable, color_labels
from hybridseg.confusion import Confusion
from hybridseg.dense.feed import Feed
from hybridseg.dense.fit import Epoch
from hybridseg.dense.policy import Policy, Turn
from hybridseg.figures import DPI, draw_learning_curve, draw_rates
from hybridseg.io.images import as_rgb8
from hybridseg.models.bundles import DenseModel
from hybridseg.panels import Panels, PictureRow, fit_page, list_legend, show_errors
from hybridseg.ranking import rank_images
from hybridseg.sheets import draw_panel_rows, draw_picture_rows

# Inches.
_WIDTH = 10.0
_N_SHOWN, _N_WORST = 6, 3
_VOID = "no class"


@dataclass(frozen=True, eq=False)
class Example:
    """An image as a network sees it, (rows, cols, bands) float32, its labels, (rows, cols) uint8, and its photo."""

    pixels: np.ndarray
    labels: np.ndarray
    source: str

    def list_maps(self, model: DenseModel | None = None) -> list[np.ndarray]:
        """Return its labels and, with a network, the prediction: (rows, cols) uint8 each."""
        predicted = [] if model is None else [model.predict(self.pixels[None])[0].argmax(axis=-1).astype(np.uint8)]
        return [self.labels, *predicted]

    def paint(self, maps: Sequence[np.ndarray], table: ClassTable) -> list[np.ndarray]:
        """Return the image and its label maps as pictures, (rows, cols, 3) uint8 each."""
        return [as_rgb8(self.pixels), *(color_labels(labels, table) for labels in maps)]

    def panel(self, model: DenseModel) -> np.ndarray:
        """Return image, labels and prediction side by side."""
        return np.concatenate(self.paint(self.list_maps(model), model.table), axis=1)


def pick_examples(feed: Feed, n: int) -> list[Example]:
    """Return the first images of a feed, as the network sees them."""
    examples: list[Example] = []
    sources = iter(feed.list_sources())
    for images, labels in feed.batches():
        examples += [
            Example(*one) for one in zip(images.numpy(), labels.numpy(), islice(sources, len(images)), strict=True)
        ]
        if len(examples) >= n:
            break
    return examples[:n]


def draw_examples(
    path: Path, examples: Sequence[Example], table: ClassTable, model: DenseModel | None = None, *, dpi: int = DPI
) -> None:
    """Draw examples, two in a row: the image, called as its photo, truth and, with a network, the prediction."""
    maps = [example.list_maps(model) for example in examples]
    painted = [example.paint(own, table) for example, own in zip(examples, maps, strict=True)]
    others = ("truth", "prediction")[: 1 if model is None else 2]
    rows = []
    for i in range(0, len(examples), 2):
        pictures = [picture for own in painted[i : i + 2] for picture in own]
        heads = [head for example in examples[i : i + 2] for head in (example.source, *others)]
        rows.append(PictureRow("", pictures, tuple(heads)))
    legend = list_legend(table, *(labels for own in maps for labels in own), void=_VOID)
    draw_picture_rows(path, rows, width=_WIDTH, legend=legend, dpi=dpi)


class WorstImages:
    """Keeps the images with the lowest multi-label Dice of those that it is shown, one of each photograph at most."""

    def __init__(self, table: ClassTable, *, dpi: int = DPI) -> None:
        self._table, self._dpi = table, dpi
        self._kept: dict[str, tuple[float, Panels]] = {}

    def look(self, source: str, image: np.ndarray, truth: np.ndarray, result: np.ndarray, confusion: Confusion) -> None:
        """Keep the pictures of an image if it is among the worst: see `hybridseg.dense.scoring.Look`."""
        [score] = rank_images({source: confusion})
        if score.dice is None or score.dice >= self._kept.get(source, (math.inf,))[0]:
            return
        marks = {name: dice for name, (dice, _) in self._kept.items()} | {source: score.dice}
        best = max(marks, key=lambda name: (marks[name], name))
        if len(marks) > _N_WORST and best == source:
            return
        shape = fit_page(truth.shape, 4, dpi=self._dpi)
        self._kept[source] = (score.dice, show_errors(as_rgb8(image), truth, result, self._table, shape=shape))
        if len(marks) > _N_WORST:
            del self._kept[best]

    def draw(self, path: Path) -> list[Path]:
        """Draw image, truth, result and errors of each, the worst first; nothing without an image."""
        ranked = sorted(self._kept.items(), key=lambda item: (item[1][0], item[0]))
        if not ranked:
            return []
        named = {f"{source}: Dice {dice:.3f}": panels for source, (dice, panels) in ranked}
        draw_panel_rows(path, named, self._table, dpi=self._dpi)
        return [path]


def draw_augmentation(
    path: Path,
    photos: Sequence[tuple[np.ndarray, np.ndarray | None]],
    policy: Policy,
    table: ClassTable | None,
    *,
    n: int,
    seed: int = 0,
    dpi: int = DPI,
) -> None:
    """Draw a sheet: `n` versions of each photo, and of the first one what every step does by itself.

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
    shown: list[np.ndarray] = []
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
            shown += [labels, np.asarray(moved)]
    legend = () if table is None else list_legend(table, *shown, void=_VOID)
    draw_picture_rows(path, rows, width=_WIDTH, legend=legend, dpi=dpi)


def draw_history(path: Path, history: Sequence[Epoch], *, dpi: int = DPI) -> None:
    """Draw loss, mean IoU and Dice of every epoch, in training and validation."""
    curves = {
        "loss": ([e.loss for e in history], [e.val_loss for e in history]),
        "mean IoU": ([e.mean_iou or 0.0 for e in history], [e.val_mean_iou for e in history]),
        "Dice": ([e.dice or 0.0 for e in history], [e.val_dice for e in history]),
    }
    draw_learning_curve(path, [e.epoch for e in history], curves, unit="epoch", dpi=dpi)


def draw_start(
    place: Callable[[str], Path], training: Feed, validation: Feed, rates: Sequence[float], *, dpi: int = DPI
) -> list[Path]:
    """Draw what is known before training, sample batches and the learning rate; `place` is from a name to a path."""
    written = [place("train_sample_batch"), place("val_sample_batch"), place("learning_rate")]
    for path, feed in zip(written, (training, validation), strict=False):
        draw_examples(path, pick_examples(feed, _N_SHOWN), feed.pairs.table, dpi=dpi)
    draw_rates(written[2], rates, dpi=dpi)
    return written


def draw_end(
    place: Callable[[str], Path], model: DenseModel, validation: Feed, history: Sequence[Epoch], *, dpi: int = DPI
) -> list[Path]:
    """Draw the course of the training, and predictions."""
    written = [place("training"), place("examples")]
    draw_history(written[0], history, dpi=dpi)
    draw_examples(written[1], pick_examples(validation, _N_SHOWN), model.table, model, dpi=dpi)
    return written
