"""How far a run is, by the manifest that it writes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hybridseg.batch.manifest import DONE, MANIFEST_NAME, Manifest
from hybridseg.errors import MissingInput, Problem
from hybridseg.io.locks import is_locked


@dataclass(frozen=True)
class RunStatus:
    """The last run of a folder.

    Parameters
    ----------
    seconds_left : float or None
        At the pace so far; None where there is none, or nothing is left.
    """

    n_images: int
    n_done: int
    n_left: int
    failed: tuple[Problem, ...]
    begun: str
    is_running: bool
    images_per_minute: float
    megapixels_per_minute: float
    seconds_left: float | None


def read_status(folder: Path) -> RunStatus:
    """Read how far the last run in a folder is.

    Raises
    ------
    MissingInput
        When there is none.
    BadInput
        When its manifest is damaged.
    """
    manifest = Manifest.read(folder)
    start = manifest.start
    if start is None:
        raise MissingInput(
            f"there is no {folder / MANIFEST_NAME}; give the folder that `hybridseg segment --out` names"
        )
    known = [manifest.entries[image] for image in start.images if image in manifest.entries]
    known = [entry for entry in known if entry.job == start.job]
    failed = tuple(Problem(entry.image, entry.reason) for entry in known if entry.result != DONE)
    n_left = len(start.images) - len(known)
    # What an earlier run did says nothing of the pace of this one, nor does what failed, which takes no time.
    recent = [entry for entry in known if entry.time >= start.time and entry.result == DONE]
    minutes = _seconds_between(start.time, max((e.time for e in recent), default=start.time)) / 60
    pace = len(recent) / minutes if minutes else 0.0
    megapixels = sum(entry.facts.megapixels for entry in recent)
    return RunStatus(
        n_images=len(start.images),
        n_done=len(known) - len(failed),
        n_left=n_left,
        failed=failed,
        begun=start.time,
        is_running=is_locked(manifest.path),
        images_per_minute=pace,
        megapixels_per_minute=megapixels / minutes if minutes else 0.0,
        seconds_left=n_left / pace * 60 if pace and n_left else None,
    )


def _seconds_between(first: str, last: str) -> float:
    return (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds()
