"""Work on a whole image that a person waits for: spreading its scribbles, and writing the result."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress

from hybridseg.errors import BadInput, HybridSegError, MissingInput
from hybridseg.io.images import describe_image
from hybridseg.io.windows import ImageWindows
from hybridseg.labelling.session import LabelSession
from hybridseg.labelling.shelf import Conflict
from hybridseg.labelling.spread import Scribbles, spread_over, write_ground_truth
from hybridseg.labelling.work import ImageEntry, Job, JobCancelled, OpenImage

logger = logging.getLogger(__name__)

KINDS = ("run", "accept")


class JobRunner:
    """Runs the long work of a session in threads of its own, one image at a time.

    Parameters
    ----------
    session : LabelSession
    """

    def __init__(self, session: LabelSession) -> None:
        """Begin with nothing to do."""
        self._session = session
        self._starting, self._working = threading.Lock(), threading.Lock()
        self._threads: list[threading.Thread] = []

    def start(self, image_id: str, version: int, kind: str) -> None:
        """Begin to spread the scribbles over a whole image (``run``), or to write the result too (``accept``).

        Raises
        ------
        MissingInput, BadInput
            When there is no such image, or nothing was drawn on it.
        Conflict
            When it has changed since, or is being worked on.
        """
        with self._session.hold(image_id) as (entry, opened):
            if entry.job is not None:
                raise Conflict("this image is being worked on already; wait for it, or cancel it")
            if version != entry.version:
                raise Conflict("this image was changed in another tab or program; look at it again")
            maps = opened.drawing.maps
            if not maps["scribbles"].any() and (kind == "run" or not maps["result"].any()):
                raise BadInput("nothing was drawn on this image yet; scribble on each class first")
            job = entry.job = Job(kind, label="waiting for other work")
            entry.message = None
        thread = threading.Thread(target=self._work, args=(entry, opened, job), name=f"{kind} {entry.path.name}")
        with self._starting:
            thread.start()
            self._threads = [t for t in self._threads if t.is_alive()] + [thread]

    def cancel(self, image_id: str) -> None:
        """Ask the work on an image to stop; it does before its next step."""
        entry, _ = self._session.open(image_id)
        if entry.job is not None:
            entry.job.cancelled = True

    def close(self) -> None:
        """Stop all work, and wait for its end."""
        self._session.close()
        for thread in self._threads:
            thread.join()

    def _work(self, entry: ImageEntry, opened: OpenImage, job: Job) -> None:
        try:
            with self._working:
                _run_job(self._session, entry, opened, job)
        except JobCancelled:
            entry.message, entry.message_kind = "Stopped, as you asked.", "good"
        except HybridSegError as error:
            entry.message, entry.message_kind = str(error), "bad"
        except MemoryError:
            entry.message = "The image is too large for the memory of this machine; start again with a smaller --scale."
            entry.message_kind = "bad"
        except Exception:
            logger.exception("work on %s failed", entry.path)
            entry.message, entry.message_kind = "The work failed; the terminal says why.", "bad"
        finally:
            entry.job = None


def _check_size(windows: ImageWindows) -> None:
    """Refuse to write the result of an image that was replaced, or turned, while it was open."""
    with suppress(MissingInput):
        info = describe_image(windows.path)
        if (info.rows, info.cols) != windows.shape:
            raise BadInput(
                f"{windows.path.name} has another size than when it was opened, so nothing was written; start the "
                "program again, and look at it"
            )


def _run_job(session: LabelSession, entry: ImageEntry, opened: OpenImage, job: Job) -> None:
    n_steps = 4 if job.kind == "accept" else 2
    job.tell("reading what was drawn", 0, n_steps)
    with opened.lock:
        if entry.opened is not opened:
            raise Conflict("another program wrote the strokes of this image; look at it again")
        version, n_scribblings, stale = entry.version, opened.n_scribblings, opened.stale
        doodles, dense, maps = opened.drawing.doodles, opened.dense, opened.drawing.maps
        painted = maps["result"].copy() if any(s.layer == "result" for s in doodles.strokes) else None
        scribbles = Scribbles(maps["scribbles"].copy(), doodles.table, doodles.seconds, painted)
    if stale or dense is None:
        job.tell("spreading the scribbles over the image", 1, n_steps)
        # VOID, 255, wraps to 0: nothing.
        dense = spread_over(opened.windows, scribbles, options=session.options, progress=job.watch) + 1
        if (valid := opened.windows.valid()) is not None:
            dense[~valid] = 0
        job.tell("showing the result", 2, n_steps)
        with opened.lock:
            if opened.drawing.doodles.table != doodles.table:
                raise Conflict("the classes were changed while it worked; do it again")
            opened.dense, opened.dense_after = dense, n_scribblings
            entry.result_version += 1
    if job.kind != "accept":
        return
    job.tell("writing the files", 3, n_steps)
    _check_size(opened.windows)
    written = write_ground_truth(opened.windows, dense - 1, scribbles, out_dir=session.shelf.out_dir)
    entry.written = tuple(path.name for path in written)
    done = session.mark_accepted(entry, opened, version)
    entry.message = f"Wrote {', '.join(entry.written)}."
    entry.message_kind = "good"
    if not done:
        entry.message += " It was changed in the meantime: accept it once more."
