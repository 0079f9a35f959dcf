"""Accepted results and the changes that make them wrong: what is on disk beside an image is never of another state.

A change of an accepted image puts its result aside, into ``.trash``; undoing the change puts it back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hybridseg.errors import BadInput, Conflict, WriteFailed
from hybridseg.io.annotations.doodles import StrokeLog
from hybridseg.labelling.album import Album
from hybridseg.labelling.entries import Aside, ImageEntry, OpenImage
from hybridseg.labelling.shelf import Shelf


@contextmanager
def without_result(shelf: Shelf, entry: ImageEntry, opened: OpenImage, before: StrokeLog) -> Iterator[None]:
    """Put aside the result that a change makes wrong while the strokes are saved; or put back the one that it restores.

    Killed between moving its files and saving the strokes, the image counts as not accepted.

    Parameters
    ----------
    before : StrokeLog
        The strokes before the change.
    """
    if _comes_back(shelf, entry, opened):
        opened.drawing.mark(done=True)
        try:
            yield
        except BaseException:
            shelf.put_aside(entry.path)
            raise
    elif shelf.has_result(entry.path):
        moved = shelf.put_aside(entry.path)
        try:
            yield
        except BaseException:
            shelf.put_back(moved)
            raise
        opened.aside = Aside(moved, before.strokes, opened.labels) if before.done else None
    else:
        yield


def _comes_back(shelf: Shelf, entry: ImageEntry, opened: OpenImage) -> bool:
    """Put back the result that was put aside, if it was made of the strokes that there are now."""
    aside = opened.aside
    if aside is None or opened.drawing.log.strokes != aside.strokes or shelf.has_result(entry.path):
        return False
    try:
        shelf.put_back(aside.moved)
    except WriteFailed:
        # It can be accepted again: no reason to refuse an undo.
        opened.aside = None
        return False
    return True


def withdraw(album: Album, image_id: str, version: int) -> None:
    """Take the accepted result of an image back: its files go to ``.trash``, its strokes stay.

    Raises
    ------
    MissingInput, BadInput
        When there is no such image, or it was not accepted.
    Conflict
        When it has changed since `version`, or a job runs on it.
    WriteFailed
    """
    with _hold_idle(album, image_id, version) as (entry, opened):
        if not album.shelf.has_result(entry.path):
            raise BadInput(f"{entry.path.name} has no accepted result to take back")
        before = opened.drawing.log
        opened.drawing.mark(done=False)
        try:
            with without_result(album.shelf, entry, opened, before):
                album.shelf.save(entry.path, opened)
        except BaseException:
            opened.drawing.restore(before)
            raise
        opened.aside = None
        entry.version += 1
        entry.message = None
        entry.update_state()


def clear(album: Album, image_id: str, version: int) -> None:
    """Start an image anew: its strokes and its result go to ``.trash``. It raises what `withdraw` raises."""
    with _hold_idle(album, image_id, version) as (entry, _):
        if album.shelf.list_results(entry.path):
            album.shelf.put_aside(entry.path, strokes=True)
        entry.opened, entry.parked, entry.message = None, None, None
        entry.version += 1
        entry.result_version += 1
    album.open(image_id)


@contextmanager
def _hold_idle(album: Album, image_id: str, version: int) -> Iterator[tuple[ImageEntry, OpenImage]]:
    """Hold an image of this version on which no job runs."""
    with album.hold(image_id) as (entry, opened):
        if entry.job is not None:
            raise Conflict("a job is running on this image; wait for it, or cancel it")
        entry.check_version(version)
        yield entry, opened
