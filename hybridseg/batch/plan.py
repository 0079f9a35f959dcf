"""What a batch has to do, and what that will take, by what the manifest says earlier images took."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hybridseg.batch.manifest import DONE, FAILED, Manifest, find_key, is_other
from hybridseg.batch.parts import measure_parts
from hybridseg.errors import HybridSegError, Problem, WriteFailed
from hybridseg.io.remote import ask_shapes, ask_tags, measure_copy, read_shape
from hybridseg.io.sources import describe_source, is_image_name, is_remote, result_path
from hybridseg.markup import describe_bytes

if TYPE_CHECKING:
    from hybridseg.batch.jobs import Job

Task = tuple[int, Path]
"""An image with its number."""

# For each worker: with more images than this, sharing the last ones gains little; nor does it with fewer parts.
_MANY, _LEAST_PARTS = 10, 2
# Pixels of an image whose parts are shared.
_MOST_SHARED = 100_000_000_000
# Of a label map and its figure, where nothing is known: the least that they take, and what they usually take.
_LEAST_BYTES = 10_000
_FIGURE_BYTES, _BYTES_A_PIXEL = 800_000, 0.15
# Of a process with its model, and for each pixel of an image (docs/benchmarks.md).
_PROCESS_MB, _MB_A_MEGAPIXEL = 250, 35
# Images that lie elsewhere whose size a plan asks for, and bytes of a copy, as a few can say that it has more.
_MOST_ASKED, _MOST_COPIED = 64, 10**12
# Megapixels in memory at a time: a larger image is read in parts.
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
    memory_mb, process_mb : float
        Of all processes, and of the one that takes most.
    n_bytes : int
        On the disk.
    is_measured : bool
        Whether this follows from what others of these images took, or only from their sizes.
    n_remote, n_asked : int
        Images that lie elsewhere, and those of them that stand for all, see `ask_some`.
    n_shared : int
        Images whose parts all processes share, see `divide_tasks`.
    n_replaced : int
        Images whose results are replaced, since they are of another model or of other settings.
    kept_bytes : int
        That the parts of one of the shared images take on the disk, at the most, until it is done.
    copied_bytes : int
        Of temporary copies of images, at the most.
    known_bytes : int
        Of these copies, where their sizes are known: see `count_copied`.
    n_unreadable : int
        Images whose header cannot be read, which are in no other number but `n_left`.
    unreadable : str
        The first of them, and why.
    """

    n_left: int
    n_done: int
    megapixels: float
    seconds: float | None
    memory_mb: float
    n_bytes: int
    is_measured: bool = True
    n_remote: int = 0
    n_asked: int = 0
    n_shared: int = 0
    n_replaced: int = 0
    kept_bytes: int = 0
    n_unreadable: int = 0
    unreadable: str = ""
    process_mb: float = 0.0
    copied_bytes: int = 0
    known_bytes: int = 0


def list_tasks(
    image_paths: Sequence[Path], job: Job, manifest: Manifest | None = None
) -> tuple[list[Task], dict[int, Problem]]:
    """Return the images with their numbers; and, by number, those whose result would take the place of another's.

    That other image is among them, or one that a manifest lists.
    """
    tasks: list[Task] = []
    problems: dict[int, Problem] = {}
    taken: dict[Path, Path] = {}
    owners = manifest.list_owners() if manifest else {}
    for i, path in enumerate(image_paths):
        # Where nothing is written, each stands for itself.
        target = next(iter(job.list_targets(result_path(path))), path)
        other = describe_source(taken[target]) if target in taken else ""
        if target in owners and is_other(path, owners[target]):
            other = owners[target].image
        if other:
            problems[i] = Problem(
                describe_source(path),
                f"has the same name as {other}; rename one of them, or run them apart with another --out",
            )
        else:
            # A file beside an image, such as its header, does not claim the name of the result.
            if is_image_name(path):
                taken[target] = path
            tasks.append((i, path))
    return tasks, problems


def sort_out(
    tasks: Sequence[Task], job: Job, manifest: Manifest, *, retry_failed: bool = False
) -> tuple[list[Task], dict[int, Problem]]:
    """Return of some images those that have to be done by what a manifest says, and those that failed before."""
    fingerprint, left = job.fingerprint(), []
    failed: dict[int, Problem] = {}
    ask_tags(path for _, path in tasks if find_key(path) in manifest.entries)
    for i, path in tasks:
        reason = manifest.find_reason(path, fingerprint, job.list_targets(result_path(path)))
        if reason == FAILED and not retry_failed:
            failure = manifest.entries[find_key(path)].reason
            failed[i] = Problem(describe_source(path), f"{failure} (in an earlier run; --retry-failed tries again)")
        elif reason:
            left.append((i, path))
    return left, failed


def divide_tasks(tasks: Sequence[Task], job: Job, n_workers: int) -> tuple[list[Task], list[Task]]:
    """Return the images that one worker does as a whole, and those whose parts all workers share.

    Images of many parts are done one to a worker as long as there is one for each; the rest, which would leave some
    workers idle, are shared.
    """
    if n_workers == 1 or len(tasks) > _MANY * n_workers:
        return list(tasks), []
    ask_shapes(image for _, image in tasks)
    large = [task for task in tasks if _count_parts(job, task[1]) >= _LEAST_PARTS * n_workers]
    shared = large[len(large) - len(large) % n_workers :]
    return [task for task in tasks if task not in shared], shared


def _count_parts(job: Job, image: Path) -> int:
    try:
        shape = read_shape(image)
        # A few bytes can say that they are a larger one.
        return job.count_parts(shape) if math.prod(shape) <= _MOST_SHARED else 1
    except (HybridSegError, MemoryError):
        return 1


def count_kept(shared: Sequence[Task], job: Job, n_workers: int) -> int:
    """Return the bytes that the parts of any shared image still take on the disk until it is done, at the most."""
    still = (
        job.count_kept(read_shape(image), n_workers) - measure_parts(job.list_targets(result_path(image))[0])
        for _, image in shared
    )
    return max(still, default=0)


def count_copied(left: Sequence[Path], n_workers: int) -> tuple[int, int]:
    """Return the bytes that the temporary copies take on the disk at a time, one for each worker, at the most.

    And the same of those alone whose sizes are known.
    """
    sizes = []
    for image in (*ask_some(left), *(image for image in left if not is_remote(image))):
        # Its own attempt says why.
        with suppress(HybridSegError):
            sizes.append(measure_copy(image))
    likely = sorted((one for one in sizes if one[0] <= _MOST_COPIED), reverse=True)
    known = [size for size, is_known in likely if is_known]
    return sum(size for size, _ in likely[:n_workers]), sum(known[:n_workers])


def ask_some(left: Sequence[Path]) -> list[Path]:
    """Ask for the sizes of images that lie elsewhere, of many only of some that stand for all; return these."""
    remote = list(filter(is_remote, left))
    asked = remote[:: math.ceil(len(remote) / _MOST_ASKED) or 1]
    ask_shapes(asked)
    return asked


def count_replaced(left: Sequence[Path], manifest: Manifest, *, job: str) -> int:
    """Count the images whose results, of another model or of other settings, make room for those of a job."""
    entries = (manifest.entries.get(find_key(path)) for path in left)
    return sum(entry is not None and entry.result == DONE and entry.job != job for entry in entries)


def make_plan(
    left: Sequence[Path], n_done: int, manifest: Manifest, *, job: str, n_workers: int, with_figures: bool = True
) -> Plan:
    """Return what some images will take; an image whose header cannot be read takes nothing.

    Parameters
    ----------
    job : str
        The fingerprint of models and settings: only what was done with the same is compared.
    """
    here, asked = [path for path in left if not is_remote(path)], ask_some(left)
    n_remote = len(left) - len(here)
    each = n_remote / len(asked) if asked else 0.0
    found = {path: measure_megapixels(path) for path in (*here, *asked)}
    sizes, unreadable = sorted(filter(None, found.values()), reverse=True), [path for path in found if not found[path]]
    megapixels = sum(found[path] for path in here) + each * sum(found[path] for path in asked)
    n_readable = sum(found[path] > 0 for path in here) + each * sum(found[path] > 0 for path in asked)
    known = [e for e in manifest.entries.values() if e.job == job and e.result == DONE and e.facts.megapixels]
    usual_mbs = [_PROCESS_MB + _MB_A_MEGAPIXEL * min(size, _MOST_DECODED) for size in sizes[:n_workers]]
    usual_mb = sum(usual_mbs)
    n_bytes = _FIGURE_BYTES * with_figures * n_readable + _BYTES_A_PIXEL * megapixels * 1e6
    by_sizes = Plan(
        len(left), n_done, megapixels, None, usual_mb, math.ceil(n_bytes), False, n_remote, len(asked),
        n_unreadable=len(unreadable), unreadable=_explain_unreadable(unreadable[0]) if unreadable else "",
        process_mb=max(usual_mbs, default=0.0),
    )  # fmt: skip
    if not known:
        return by_sizes
    n_known = sum(entry.facts.megapixels for entry in known)
    per_megapixel = sum(sum(entry.seconds.values()) * entry.facts.n_workers for entry in known) / n_known
    n_bytes = sum(entry.bytes_written for entry in known) / n_known * megapixels
    process_mb = max(entry.facts.peak_mb for entry in known)
    memory = process_mb * n_workers
    if sizes and sizes[0] > max(entry.facts.megapixels for entry in known):
        memory, process_mb = max(memory, usual_mb), max(process_mb, by_sizes.process_mb)
    return replace(
        by_sizes, seconds=per_megapixel * megapixels / n_workers, memory_mb=memory, process_mb=process_mb,
        n_bytes=math.ceil(n_bytes), is_measured=True,
    )  # fmt: skip


def measure_free(folder: Path) -> int:
    """Return how many bytes the disk of a folder, which may have to be made yet, still takes."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free


def check_disk(folder: Path, plan: Plan) -> None:
    """Raise WriteFailed where the disk would not hold the results."""
    free = measure_free(folder)
    # What is only estimated stops nobody.
    needed = plan.n_bytes if plan.is_measured else min(plan.n_bytes, _LEAST_BYTES * plan.n_left)
    if needed + plan.kept_bytes > free:
        parts = f", and the parts of a large image {describe_bytes(plan.kept_bytes)} until it is done"
        raise WriteFailed(
            f"{folder} has {describe_bytes(free)} free, and the results need {describe_bytes(needed)}"
            f"{parts if plan.kept_bytes else ''}; choose another --out"
        )


def check_copies(folder: Path, plan: Plan) -> None:
    """Raise WriteFailed where the disk of the temporary folder would not hold the copies."""
    free = measure_free(folder)
    # What is only estimated stops nobody.
    if plan.known_bytes > free:
        raise WriteFailed(
            f"{folder} has {describe_bytes(free)} free, and temporary copies of images need up to "
            f"{describe_bytes(plan.known_bytes)}; free some space, or set TMPDIR to a folder that has more"
        )


def _explain_unreadable(image: Path) -> str:
    try:
        read_shape(image)
    except HybridSegError as error:
        return str(Problem.of(image, error))
    return ""


def measure_megapixels(image: Path) -> float:
    """Return the megapixels of an image by its header, 0 where that cannot be read."""
    try:
        return math.prod(read_shape(image)) / 1e6
    except HybridSegError:
        return 0.0
