"""Summaries of a training run for TensorBoard: scalars, images, histograms and the graph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from hybridseg.io.atomic import claim_folder


class SummaryWriter:
    """Writes summaries under ``train/`` and ``validation/`` of a folder; without one it writes nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._writers: dict[str, Any] = {}
        if folder is not None:
            claim_folder(folder)
            import tensorflow as tf

            self._writers = {
                name: tf.summary.create_file_writer(str(folder / name)) for name in ("train", "validation")
            }

    def __enter__(self) -> Self:
        """Enter a context at whose end everything is on disk."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files."""
        for writer in self._writers.values():
            writer.close()

    def write_scalars(self, run: str, step: int, values: Mapping[str, float | None]) -> None:
        """Write the scalars of one step of ``train`` or ``validation``, except those that are None."""
        if run in self._writers:
            import tensorflow as tf

            with self._writers[run].as_default():
                for name, value in values.items():
                    if value is not None:
                        tf.summary.scalar(name, value, step=step)

    def write_images(self, name: str, step: int, images: np.ndarray) -> None:
        """Write images of the validation set, (n, rows, cols, 3) uint8."""
        if self._writers and len(images):
            import tensorflow as tf

            with self._writers["validation"].as_default():
                tf.summary.image(name, images, step=step, max_outputs=len(images))

    def write_histograms(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        """Write the histogram of each array."""
        if self._writers:
            import tensorflow as tf

            with self._writers["train"].as_default():
                for name, array in values.items():
                    tf.summary.histogram(name, array, step=step)

    def write_graph(self, network: Any) -> None:
        """Write the graph of a network."""
        if self._writers:
            import tensorflow as tf

            specification = tf.TensorSpec(network.input_shape, tf.float32)
            classify = tf.function(lambda pixels: network(pixels, training=False), autograph=False)
            with self._writers["train"].as_default():
                tf.summary.graph(classify.get_concrete_function(specification).graph)
