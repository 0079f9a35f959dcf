"""What a batch will take, by what the manifest says earlier images took."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from hybridseg.batch.manifest import DONE, Entry, Manifest
from hybridseg.errors import HybridSegError, WriteFailed
from hybridseg.io.images import describe_image

# Of a label map and its figure, where nothing is known: far less than they usually take.
_LEAST_BYTES = 10_000


@dataclass(frozen=True)
class Plan:
    """What is to be done, and what it is expected to take; None where nothing like it was done before.

    Parameters
    ----------
    n_left, n_done : int
        Images.
    megapixels : float
        Of those that are left.
    seconds : float or None
        With all processes.
    memory_mb : float or None
        Of all processes.
    n_bytes : int
        On the disk, at least.
    """

    n_left: int
    n_done: int
    megapixels: float
    seconds: float | None
    memory_mb: float | None
    n_bytes: int


def make_plan(left: Sequence[Path], n_done: int, manifest: Manifest, *, job: str, n_workers: int) -> Plan:
    """Return what some images will take; an image whose header cannot be read takes nothing.

    Parameters
    ----------
    job : str
        The fingerprint of models and settings: only what was done with the same is compared.
    """
    megapixels = sum(map(measure_megapixels, left))
    known = [e for e in manifest.entries.values() if e.job == job and e.result == DONE and e.facts.megapixels]
    if not known:
        return Plan(len(left), n_done, megapixels, None, None, _LEAST_BYTES * len(left))
    per_megapixel = fmean(_rate(entry) for entry in known)
    n_bytes = fmean(entry.bytes_written / entry.facts.megapixels for entry in known) * megapixels
    memory = max(entry.facts.peak_mb for entry in known) * n_workers
    return Plan(len(left), n_done, megapixels, per_megapixel * megapixels / n_workers, memory, math.ceil(n_bytes))


def check_disk(folder: Path, plan: Plan) -> None:
    """Raise WriteFailed where the disk would not hold the results."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if plan.n_bytes > free:
        raise WriteFailed(
            f"the results need {plan.n_bytes / 1e9:.1f} GB and {folder} has {free / 1e9:.1f}; choose another --out"
        )


def measure_megapixels(image: Path) -> float:
    """Return the megapixels of an image by its header, 0 where that cannot be read."""
    try:
        return math.prod(describe_image(image).shape) / 1e6
    except HybridSegError:
        return 0.0


def _rate(entry: Entry) -> float:
    return sum(entry.seconds.values()) / entry.facts.megapixels
