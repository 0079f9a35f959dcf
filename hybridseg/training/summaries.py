"""What TensorBoard shows of a training run."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from hybridseg.training.head import Measurement


class _Writers:
    """Writes scalars and pictures under ``train/`` and ``validation/``; without a folder it writes nothing.

    Parameters
    ----------
    folder : pathlib.Path or None
    """

    def __init__(self, folder: Path | None) -> None:
        """Open the two runs."""
        self._writers: dict[str, Any] = {}
        if folder is not None:
            import tensorflow as tf

            self._writers = {
                name: tf.summary.create_file_writer(str(folder / name)) for name in ("train", "validation")
            }

    def __enter__(self) -> Self:
        """Use as a context, so that everything is on disk at the end."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files."""
        for writer in self._writers.values():
            writer.close()

    def _write(self, run: str, write: Any) -> None:
        if run in self._writers:
            import tensorflow as tf

            with self._writers[run].as_default():
                write(tf)


class SummaryWriter(_Writers):
    """What is shown of the training of a tile classifier."""

    def write_measurement(self, measurement: Measurement) -> None:
        """Write one point of the learning curve."""
        self._write_scalars("train", measurement.step, measurement.train_accuracy, measurement.train_cross_entropy)
        if measurement.validation_accuracy is not None and measurement.validation_cross_entropy is not None:
            self._write_scalars(
                "validation", measurement.step, measurement.validation_accuracy, measurement.validation_cross_entropy
            )

    def write_epoch(self, epoch: int, cross_entropy: float) -> None:
        """Write the result of an epoch of fine-tuning."""
        self._write("train", lambda tf: tf.summary.scalar("fine_tune_cross_entropy", cross_entropy, step=epoch))

    def write_misclassified(self, tiles: np.ndarray) -> None:
        """Show held-out tiles that got another class, (n, size, size, 3) uint8."""
        if len(tiles):
            self._write(
                "validation",
                lambda tf: tf.summary.image("misclassified_test_tiles", tiles, step=0, max_outputs=len(tiles)),
            )

    def _write_scalars(self, run: str, step: int, accuracy: float, cross_entropy: float) -> None:
        self._write(run, lambda tf: tf.summary.scalar("accuracy", accuracy, step=step))
        self._write(run, lambda tf: tf.summary.scalar("cross_entropy", cross_entropy, step=step))


class DenseSummaries(_Writers):
    """What is shown of the training of a dense network."""

    def write_scalars(self, epoch: dict[str, Any]) -> None:
        """Write the numbers of an epoch: those of the validation under the same names as those of the training."""
        for name, value in epoch.items():
            if value is not None and name != "epoch":
                run = "validation" if name.startswith("val_") else "train"
                self._write_scalar(run, name.removeprefix("val_"), value, epoch["epoch"])

    def write_picture(self, epoch: int, panels: list[np.ndarray]) -> None:
        """Show examples: image, truth and prediction side by side, (rows, cols, 3) uint8 each."""
        pictures = np.stack(panels)
        self._write(
            "validation",
            lambda tf: tf.summary.image("image, truth, prediction", pictures, step=epoch, max_outputs=len(panels)),
        )

    def _write_scalar(self, run: str, name: str, value: float, step: int) -> None:
        self._write(run, lambda tf: tf.summary.scalar(name, value, step=step))
