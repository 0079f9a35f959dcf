"""Long work on a whole image: spreading its scribbles, and writing the result."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress

from hybridseg.classes import VOID
from hybridseg.errors import BadInput, Conflict, HybridSegError, MissingInput
from hybridseg.io.images import describe_image
from hybridseg.io.locks import lock_output
from hybridseg.io.windows import ImageWindows
from hybridseg.labelling.entries import ImageEntry, Job, JobCancelled, OpenImage
from hybridseg.labelling.session import LabelSession
from hybridseg.labelling.spread import DrawnSeeds, record_spread, spread_over, write_ground_truth
from hybridseg.progress import ended_by

logger = logging.getLogger(__name__)

_STOPPED = "Stopped, as you asked."
KINDS = ("run", "accept")


class JobRunner:
    """Runs the long work of a session in threads of its own, one image at a time."""

    def __init__(self, session: LabelSession) -> None:
        self._session = session
        self._starting, self._working = threading.Lock(), threading.Lock()
        self._threads: list[threading.Thread] = []

    def start(self, image_id: str, version: int, kind: str) -> None:
        """Start to spread the scribbles over a whole image (``run``), or to write the result as well (``accept``).

        Raises
        ------
        MissingInput, BadInput
            When there is no such image, or nothing was drawn on it.
        Conflict
            When it has changed since, or a job is running on it.
        """
        with self._session.album.hold(image_id) as (entry, opened):
            if entry.job is not None:
                raise Conflict("a job is already running on this image; wait for it, or cancel it")
            entry.check_version(version)
            seeds = opened.drawing.seeds
            # A result that is there needs no strokes: a model may have suggested all of it.
            is_empty = opened.stale and self._session.suggester_for(opened) is None
            if is_empty and not seeds["scribbles"].any() and (kind == "run" or not seeds["result"].any()):
                raise BadInput("nothing was drawn on this image yet; scribble on each class first")
            job = entry.job = Job(kind, label="waiting for other jobs")
            entry.message = None
        thread = threading.Thread(target=self._work, args=(entry, opened, job), name=f"{kind} {entry.path.name}")
        with self._starting:
            thread.start()
            self._threads = [t for t in self._threads if t.is_alive()] + [thread]

    def cancel(self, image_id: str) -> None:
        """Stop the job on an image: at once while it computes, otherwise before its next step."""
        entry, opened = self._session.album.open(image_id)
        with opened.lock:
            job = entry.job
            if job is None:
                return
            job.cancelled = True
            if job.droppable:
                # The thread ends a moment later, wherever it is; nobody waits for it.
                entry.job, entry.message, entry.message_kind = None, _STOPPED, "good"

    def close(self) -> None:
        """Cancel all jobs and wait for them to end. Strokes need no saving: they are on disk."""
        for entry in self._session.album.entries.values():
            if entry.job is not None:
                entry.job.cancelled = True
        for thread in self._threads:
            thread.join()

    def _work(self, entry: ImageEntry, opened: OpenImage, job: Job) -> None:
        told: tuple[str, str] | None = None
        try:
            with self._working:
                _run_job(self._session, entry, opened, job)
        except JobCancelled:
            told = _STOPPED, "good"
        except HybridSegError as error:
            told = str(error), "bad"
        except MemoryError:
            told = "The image is too large for the memory of this machine; start over with a smaller --scale.", "bad"
        except Exception:
            logger.exception("a job on %s failed", entry.path)
            told = "The job failed; the terminal says why.", "bad"
        finally:
            with opened.lock:
                # One that was dropped may have a successor.
                if entry.job is job:
                    if told is not None:
                        entry.message, entry.message_kind = told
                    entry.job = None


def _check_size(windows: ImageWindows) -> None:
    """Raise `BadInput` when the image was replaced, or rotated, while it was open."""
    with suppress(MissingInput):
        info = describe_image(windows.path)
        if (info.rows, info.cols) != windows.shape:
            raise BadInput(
                f"{windows.path.name} has a different size than when it was opened, so nothing was written; restart "
                "the program and check it"
            )


def _run_job(session: LabelSession, entry: ImageEntry, opened: OpenImage, job: Job) -> None:
    n_steps = 4 if job.kind == "accept" else 2
    job.begin("reading the strokes", 0, n_steps)
    with opened.lock:
        if entry.opened is not opened:
            raise Conflict("another program wrote the strokes of this image; check it again")
        version, n_changes, stale = entry.version, opened.n_changes, opened.stale
        suggester, made_by = session.suggester_for(opened), opened.labels_by
        log, labels, seeds = opened.drawing.log, opened.labels, opened.drawing.seeds
        painted = seeds["result"].copy() if any(s.layer == "result" for s in log.strokes) else None
        drawn = DrawnSeeds(seeds["scribbles"].copy(), log.table, log.seconds, painted)
    if stale or labels is None:
        job.begin("spreading the scribbles over the image", 1, n_steps, droppable=True)
        lessons, options = session.teach(entry, log.table, keeps=True), session.options
        with ended_by(job.check):
            labels = spread_over(
                opened.windows, drawn, options=options, lessons=lessons, suggester=suggester, progress=job.watch
            )
        if (valid := opened.windows.valid()) is not None:
            labels[~valid] = VOID
        with opened.lock:
            job.begin("showing the result", 2, n_steps)
            if opened.table != drawn.table:
                raise Conflict("the classes were changed while this job ran; start it again")
            opened.labels, opened.labels_after = labels, n_changes
            teachers = [session.album.entries[image_id].path.name for image_id in lessons.teachers]
            opened.labels_by = record_spread(opened.windows.shape, drawn, options, suggester, taught_by=teachers)
            made_by = opened.labels_by
            entry.result_version += 1
    if job.kind != "accept":
        return
    job.begin("writing the files", 3, n_steps)
    _check_size(opened.windows)
    shelf, path = session.album.shelf, opened.windows.path
    with lock_output(shelf.truth_path(path), wait=True):
        written = write_ground_truth(
            opened.windows, labels, drawn, made_by=made_by or "", out_dir=shelf.home(path), figures=session.figures
        )
        entry.written = tuple(path.relative_to(written[0].parent).as_posix() for path in written)
        done = session.mark_accepted(entry, opened, version)
    if not done:
        shelf.put_aside(entry.path)
    entry.message = f"Wrote {', '.join(entry.written)}."
    entry.message_kind = "good"
    if not done:
        entry.message, entry.written = "It was changed while the files were written: accept it again.", ()
