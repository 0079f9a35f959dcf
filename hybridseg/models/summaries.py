"""Summaries of a training run for TensorBoard: scalars and images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from hybridseg.io.atomic import claim_folder


class SummaryWriter:
    """Writes scalars and images under ``train/`` and ``validation/`` of a folder; without one it writes nothing."""

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
