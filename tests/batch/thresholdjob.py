"""A job that is no more than a threshold; a file of its own, so that other processes can import it."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridseg.batch.jobs import Job, load_once
from hybridseg.batch.madeby import make_record
from hybridseg.batch.results import ImageResult
from hybridseg.classes import ClassTable, measure_shares
from hybridseg.io.images import read_image
from hybridseg.io.labels.formats import write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.progress import no_progress

TABLE = ClassTable.from_names(["dark", "bright"])


@dataclass(frozen=True)
class Threshold:
    value: int = 100


@dataclass(frozen=True)
class ThresholdJob(Job):
    options: Threshold = Threshold()

    too_large = "buy memory"

    def load(self):
        return [load_once(Path.read_bytes, path) for path in self.model_paths]

    def list_targets(self, image_path):
        return [self.outputs.place(image_path, "_threshold.png")]

    def record(self, image_path):
        return make_record("threshold", self.model_paths, self.table or TABLE, options=self.options)

    def segment(self, image_path, *, progress=no_progress):
        if image_path.stem == "killer":
            os.kill(os.getpid(), signal.SIGKILL)
        if image_path.stem.startswith("slow"):
            time.sleep(0.3)
        labels = (read_image(image_path)[..., 0] > self.options.value).astype(np.uint8)
        for _ in progress(range(2), label="halves"):
            pass
        targets = self.list_targets(image_path)
        write_labelmap(targets[0], LabelMap(labels, TABLE, made_by=self.record(image_path)))
        return ImageResult(image_path, tuple(targets), measure_shares(labels, TABLE), (), {})
