"""Models that suggest labels to a person who draws them: class probabilities in any window of any image."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.apply import Model
from hybridseg.batch.madeby import leave_out
from hybridseg.dense.predict import PredictJob
from hybridseg.dense.windowprobs import look_by_networks
from hybridseg.hybrid.semseg import SemsegJob
from hybridseg.hybrid.windowprobs import look_by_tiles
from hybridseg.io.images import describe_image
from hybridseg.io.jsonfiles import parse_json_object
from hybridseg.io.lazyimages import open_lazily
from hybridseg.labelling.suggesting import Suggester
from hybridseg.machine import GIB

# Bytes that an image may take while the models look at it: a larger TIFF is read in parts.
_ROOM = 2 * GIB
# What comes after the probabilities, where a model segments by itself.
_NOT_USED = ("smoothing", "crf", "scale", "threshold", "seed_from")
Look = Callable[[slice, slice, tuple[int, int]], np.ndarray]


def open_suggester(model: Model) -> Suggester:
    """Return what a model, tile classifier or dense network, suggests; or several that vote.

    Raises
    ------
    MissingInput, BadInput
        When they cannot be used, or differ in their kind or classes.
    """
    job = model.make_job()
    return Suggester(model.classes, _Predictor(job), lambda shape: _describe(job, shape))


class _Predictor:
    """Keeps the image that was looked at last open. The models see a window at a time, whoever asks."""

    def __init__(self, job: SemsegJob | PredictJob) -> None:
        self._job, self._lock = job, threading.Lock()
        self._key: tuple[Any, ...] = ()
        self._look: Look | None = None

    def __call__(self, path: Path, rows: slice, cols: slice, shape: tuple[int, int]) -> np.ndarray:
        facts = path.stat()
        key = path, facts.st_mtime_ns, facts.st_size
        with self._lock:
            if self._look is None or self._key != key:
                self._look = None
                self._look, self._key = _open(path, self._job), key
            return self._look(rows, cols, shape)


def _open(path: Path, job: SemsegJob | PredictJob) -> Look:
    image = open_lazily(path, room=_ROOM)
    if isinstance(job, SemsegJob):
        return look_by_tiles(image.as_rgb8(), job.load(), options=job.options)
    has_alpha = describe_image(path).has_alpha
    return look_by_networks(image.fill(), job.load(), options=job.options, has_alpha=has_alpha)


def _describe(job: SemsegJob | PredictJob, shape: tuple[int, int]) -> dict[str, Any]:
    """Return the record of how an image of these rows and columns is seen: hashes of the models, and settings."""
    found = parse_json_object(job.record_shape(shape))
    return {"models": found["models"], "settings": leave_out(found["settings"], _NOT_USED)}
