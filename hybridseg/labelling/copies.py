"""Images of a run of `segment` that lie elsewhere: each is copied beside its results when it is first looked at."""

from __future__ import annotations

import shutil
import tempfile
import threading
from functools import partial
from pathlib import Path

from hybridseg.batch.manifest import Entry, is_copy
from hybridseg.batch.workers import map_calls
from hybridseg.errors import BadInput, MissingInput
from hybridseg.io.atomic import atomic_path
from hybridseg.io.images import ImageInfo, describe_image
from hybridseg.io.locks import lock_output, remove_leftovers
from hybridseg.io.remote import local_copy
from hybridseg.io.sources import as_source, is_remote, name_copy, needs_copy

COPIES_DIR = "copied_images"
"""Below the folder of the run: with ground truth beside it, each of the images there is one to train with."""


class Copies:
    """Where such images are once they are copied, and what they are copied from.

    Parameters
    ----------
    may_fetch : bool
        Whether a manifest, which others may have written, is trusted to name what is on the web, in archives, and what
        GDAL opens by any driver.

    Attributes
    ----------
    left_out : list of str
        The images for which that would be needed.
    """

    def __init__(self, *, may_fetch: bool = False) -> None:
        self.left_out: list[str] = []
        self._may_fetch = may_fetch
        self._entries: dict[Path, Entry] = {}
        self._lock, self._stop = threading.Lock(), threading.Event()

    def place(self, entry: Entry, folder: Path) -> Path | None:
        """Return the path of an image that a manifest lists, or where its copy belongs; None where it is left out."""
        source = as_source(entry.image)
        if not needs_copy(source):
            return source
        if is_remote(source) and not self._may_fetch:
            self.left_out.append(entry.image)
            return None
        path = folder / COPIES_DIR / name_copy(source)
        self._entries[path] = entry
        return path

    def lacks(self, path: Path) -> bool:
        """Return whether an image has to be copied yet."""
        return path in self._entries and not path.exists()

    def fetch(self, path: Path) -> None:
        """Copy an image, unless it is there.

        Raises
        ------
        MissingInput, BadInput, WriteFailed
        """
        if not self.lacks(path):
            return
        # One after the other, for this program and any other.
        with self._lock, lock_output(path, wait=True):
            if self.lacks(path) and not self._stop.is_set():
                # In another process: GDAL lets no thread run while it waits for a server, and may crash.
                copy = partial(_copy, as_source(self._entries[path].image))
                try:
                    list(map_calls(copy, [path], n_jobs=2, on_death=_report_death, stop=self._stop))
                finally:
                    # Of a process that was killed.
                    for folder in (path.parent, Path(tempfile.gettempdir())):
                        remove_leftovers(folder)
        if self.lacks(path):
            raise MissingInput(f"{path.name} was not copied because the program was stopped; start the program again")

    def stop(self) -> None:
        """End what is being copied: a server may never answer."""
        self._stop.set()

    def describe(self, path: Path) -> ImageInfo | None:
        """Return the header of an image; None where it is not here yet.

        Raises
        ------
        MissingInput, BadInput
            Also where an older image was copied than the one that the run was made of.
        """
        if self.lacks(path):
            return None
        if (entry := self._entries.get(path)) and not is_copy(path, entry):
            raise BadInput(
                f"{path} was copied before the image changed; move it to another folder, with what was drawn on it, "
                "and it is copied again"
            )
        return describe_image(path)


def _copy(source: Path, path: Path) -> None:
    with local_copy(source) as copy, atomic_path(path) as temporary:
        shutil.copyfile(copy, temporary)


def _report_death(path: Path, how: str) -> None:
    raise BadInput(f"{path.name} cannot be shown: the process that copied it {how}; see whether the image is whole")
