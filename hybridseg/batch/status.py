"""How far a folder of results is, by the manifest that each run adds to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hybridseg.batch.manifest import DONE, MANIFEST_NAME, Manifest, is_there
from hybridseg.batch.results import NO_DATA
from hybridseg.errors import MissingInput, Problem
from hybridseg.io.locks import is_locked


@dataclass(frozen=True)
class RunStatus:
    """A folder of results: every image that any run was asked for, and the pace of the last run.

    Parameters
    ----------
    n_empty : int
        Those that are done and hold no data.
    n_left : int
        Images that are there and not done as they were last asked for.
    n_left_now : int
        Those of them that the last run was asked for.
    seconds_left : float or None
        Of the last run, at its pace so far; None where there is none, or nothing is left.
    """

    n_images: int
    n_done: int
    n_empty: int
    n_left: int
    n_left_now: int
    failed: tuple[Problem, ...]
    begun: str
    is_running: bool
    images_per_minute: float
    megapixels_per_minute: float
    seconds_left: float | None


def read_status(folder: Path) -> RunStatus:
    """Read how far a folder is.

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
    now = set(start.images)

    def is_wanted(image: str) -> bool:
        """Return false for what an earlier run did not do, and nobody can do any more."""
        return image in now or is_there(image)

    refused = {image: why for image, why in manifest.refused.items() if is_wanted(image)}
    asked = {image: job for image, job in manifest.asked.items() if image not in manifest.refused}
    known = [entry for image, entry in manifest.entries.items() if entry.job == asked.get(image)]
    known = [entry for entry in known if entry.result == DONE or is_wanted(entry.image)]
    failed = [Problem(entry.image, entry.reason) for entry in known if entry.result != DONE]
    settled = {entry.image for entry in known}
    left = [image for image in asked if image not in settled and is_wanted(image)]
    n_left_now = sum(image in now for image in left)
    # What an earlier run did says nothing of the pace of this one, nor does what failed, which takes no time.
    recent = [e for e in known if e.image in now and e.time >= start.time and e.result == DONE]
    minutes = _seconds_between(start.time, max((e.time for e in recent), default=start.time)) / 60
    pace = len(recent) / minutes if minutes else 0.0
    megapixels = sum(entry.facts.megapixels for entry in recent)
    return RunStatus(
        n_images=len(known) + len(refused) + len(left),
        n_done=len(known) - len(failed),
        n_empty=sum(entry.remark == NO_DATA for entry in known),
        n_left=len(left),
        n_left_now=n_left_now,
        failed=(*failed, *(Problem(image, why) for image, why in refused.items())),
        begun=start.time,
        is_running=is_locked(manifest.path),
        images_per_minute=pace,
        megapixels_per_minute=megapixels / minutes if minutes else 0.0,
        seconds_left=n_left_now / pace * 60 if pace and n_left_now else None,
    )


def _seconds_between(first: str, last: str) -> float:
    return (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds()
