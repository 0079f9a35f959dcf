"""What a batch will take, by what the manifest says earlier images took."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hybridseg.batch.manifest import DONE, Manifest
from hybridseg.errors import HybridSegError, WriteFailed
from hybridseg.io.images import describe_image
from hybridseg.io.remote import is_remote

# Of a label map and its figure, where nothing is known: the least that they take, and what they usually take.
_LEAST_BYTES = 10_000
_FIGURE_BYTES, _BYTES_A_PIXEL = 800_000, 0.15
# Of a process with its model, and for each pixel of an image (docs/benchmarks.md).
_PROCESS_MB, _MB_A_MEGAPIXEL = 250, 35
# Megapixels that are there at a time: of a larger image, parts are.
_MOST_DECODED = 50


@dataclass(frozen=True)
class Plan:
    """What is to be done, and what it is expected to take.

    Parameters
    ----------
    n_left, n_done : int
        Images.
    megapixels : float
        Of those that are left.
    seconds : float or None
        With all processes; None where nothing like it was done before.
    memory_mb : float
        Of all processes.
    n_bytes : int
        On the disk.
    is_measured : bool
        Whether this follows from what others of these images took, or only from their sizes.
    n_remote : int
        Images that lie elsewhere, which are not in the other numbers.
    """

    n_left: int
    n_done: int
    megapixels: float
    seconds: float | None
    memory_mb: float
    n_bytes: int
    is_measured: bool = True
    n_remote: int = 0


def make_plan(
    left: Sequence[Path], n_done: int, manifest: Manifest, *, job: str, n_workers: int, with_figures: bool = True
) -> Plan:
    """Return what some images will take; an image whose header cannot be read takes nothing.

    Parameters
    ----------
    job : str
        The fingerprint of models and settings: only what was done with the same is compared.
    """
    n_remote = sum(map(is_remote, left))
    sizes = sorted((measure_megapixels(path) for path in left if not is_remote(path)), reverse=True)
    megapixels = sum(sizes)
    known = [e for e in manifest.entries.values() if e.job == job and e.result == DONE and e.facts.megapixels]
    usual_mb = sum(_PROCESS_MB + _MB_A_MEGAPIXEL * min(size, _MOST_DECODED) for size in sizes[:n_workers])
    if not known:
        n_bytes = _FIGURE_BYTES * with_figures * len(sizes) + _BYTES_A_PIXEL * megapixels * 1e6
        return Plan(len(left), n_done, megapixels, None, usual_mb, math.ceil(n_bytes), False, n_remote)
    n_known = sum(entry.facts.megapixels for entry in known)
    per_megapixel = sum(sum(entry.seconds.values()) for entry in known) / n_known
    n_bytes = sum(entry.bytes_written for entry in known) / n_known * megapixels
    memory = max(entry.facts.peak_mb for entry in known) * n_workers
    if sizes and sizes[0] > max(entry.facts.megapixels for entry in known):
        memory = max(memory, usual_mb)
    seconds = per_megapixel * megapixels / n_workers
    return Plan(len(left), n_done, megapixels, seconds, memory, math.ceil(n_bytes), True, n_remote)


def check_disk(folder: Path, plan: Plan) -> None:
    """Raise WriteFailed where the disk would not hold the results."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    # What is only estimated stops nobody.
    needed = plan.n_bytes if plan.is_measured else min(plan.n_bytes, _LEAST_BYTES * plan.n_left)
    if needed > free:
        raise WriteFailed(
            f"the results need {needed / 1e9:.1f} GB and {folder} has {free / 1e9:.1f}; choose another --out"
        )


def measure_megapixels(image: Path) -> float:
    """Return the megapixels of an image by its header, 0 where that cannot be read."""
    try:
        return math.prod(describe_image(image).shape) / 1e6
    except HybridSegError:
        return 0.0
