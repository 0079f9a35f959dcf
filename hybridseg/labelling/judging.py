"""What a person does with the automatic results of a review: accept as ground truth, reject, or mend by hand."""

from __future__ import annotations

import json
import threading
import time
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg import __version__
from hybridseg.batch.results import DISAGREEMENT
from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, Conflict
from hybridseg.figures import FigureOptions
from hybridseg.io.annotations.doodles import read_strokes
from hybridseg.io.jsonfiles import parse_json_object
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.locks import lock_output, remove_leftovers
from hybridseg.labelling.album import Album
from hybridseg.labelling.decisions import ACCEPTED, LIST_NAME, MENDED, MENDING, REJECTED, Decision, DecisionList
from hybridseg.labelling.entries import ImageEntry
from hybridseg.labelling.opening import find_own_folder
from hybridseg.labelling.review import ReviewItem, ReviewSession
from hybridseg.labelling.session import LabelSession
from hybridseg.labelling.spread import DrawnSeeds, write_ground_truth
from hybridseg.labelling.spreading import SpreadOptions

_ORIGIN = "accepted"


class Judging:
    """The decisions of a person about the images of a review, and the labelling session in which they are mended.

    Ground truth is written where the labelling page writes it, and only where there is none.

    Parameters
    ----------
    table : ClassTable or None
        The classes; None: those of earlier work and of the results.
    out_dir, annotator
        Where ground truth and the list of decisions go, and who decides, as for `open_session`.
    """

    def __init__(
        self,
        review: ReviewSession,
        *,
        table: ClassTable | None = None,
        out_dir: Path | None = None,
        annotator: str | None = None,
        options: SpreadOptions = SpreadOptions(),
        window: int = 500,
        figures: FigureOptions = FigureOptions(),
    ) -> None:
        self.review, self._by = review, annotator or ""
        person = find_own_folder(annotator)
        image_paths = [item.image_path for item in review.sort_items()]
        album = Album(image_paths, table=table, out_dir=out_dir, person=person, copies=review.copies)
        if album.table is None:
            album.use_classes(review.table, save=False)
        self.session = LabelSession(album, options=options, window=window, figures=figures)
        remove_leftovers((out_dir or review.folder) / person)
        self.decisions = DecisionList((out_dir or review.folder) / person / LIST_NAME)
        self._seen: dict[str, tuple[int, ...] | None] = {}
        self._rewritten: set[str] = set()
        self._lock = threading.RLock()
        self.refresh()

    def list_items(self) -> list[dict[str, Any]]:
        """Return what the page shows of the images, with the decision about each."""
        with self._lock:
            self.refresh()
            rows = self.review.list_items()
            for row in rows:
                item = self.review.find(row["id"])
                found = self._judge(item)
                row |= {"decision": found and found.decision, "by": found and found.by, "when": found and found.when}
                row["may_accept"] = (
                    item.automatic_path is not None and item.manual_path is None and not self._drawn(item)
                )
            return rows

    def export(self) -> str:
        """Return the list of decisions, as it is on disk after a decision."""
        with self._lock:
            self.refresh()
            return self.decisions.format(self._rows())

    def accept(self, image_id: str) -> None:
        """Make the automatic result of an image its ground truth.

        Raises
        ------
        Conflict
            When it has ground truth or strokes already, or a job runs on it.
        MissingInput, BadInput
            When there is no such image or automatic result.
        OutputExists, WriteFailed
        """
        self._fetch(image_id)
        with self._lock:
            item, path = self._find_automatic(image_id)
            album = self.session.album
            with (
                album.hold(image_id) as (entry, opened),
                lock_output(album.shelf.truth_path(item.image_path), wait=True),
            ):
                self._check_untouched(entry, item)
                found = read_labelmap(path, with_seeds=False)
                own = found.require_table(path)
                table = own if album.table is None else album.table.union(own)
                decision = self._decide(ACCEPTED, item)
                origin = {"from": path.name, "by": decision.by, "when": decision.when, "made_by": found.made_by}
                made_by = json.dumps({"command": "label", "version": __version__, _ORIGIN: origin})
                drawn = DrawnSeeds(np.zeros(item.shape, np.uint8), table)
                home = album.shelf.home(item.image_path)
                labels = found.labels_as(table)
                write_ground_truth(
                    opened.windows, labels, drawn, made_by=made_by, out_dir=home, figures=self.session.figures
                )
                self._close(entry)
            self._put(item, decision)

    def reject(self, image_id: str) -> None:
        """Remember that the automatic result of an image is no good; raise `Conflict` where it is accepted."""
        with self._lock:
            item, _ = self._find_automatic(image_id)
            found = self._judge(item)
            if found and found.decision in (ACCEPTED, MENDED):
                raise Conflict(f"{item.image_path.name} is {found.decision}; take that back first")
            if found and found.decision == MENDING:
                self._drop_base(image_id)
            self._put(item, self._decide(REJECTED, item))

    def mend(self, image_id: str) -> None:
        """Prepare an image for the labelling page: nothing was drawn on it, so its automatic result is the base.

        Where this person has work on it, or ground truth, that stays as it is.
        """
        self._fetch(image_id)
        with self._lock:
            item = self.review.find(image_id)
            entry = self.session.album.entries[image_id]
            with self._hold_mending():
                if item.automatic_path is None or self._has_truth(item) or self._drawn(item):
                    return
                # Noted first: a program that is killed in between leaves a decision without strokes, which is none.
                before = self._judge(item)
                self._put(item, self._decide(MENDING, item))
                try:
                    self.session.import_labels(image_id, entry.version, item.automatic_path)
                except BaseException:
                    self._put(item, before)
                    raise

    def take_back(self, image_id: str) -> None:
        """Take a decision back; ground truth that it made goes to ``.trash``.

        Raises
        ------
        Conflict
            When the ground truth was changed since, the image was drawn on to mend it, or a job runs on it.
        """
        with self._lock:
            item = self.review.find(image_id)
            found = self._judge(item)
            name = item.image_path.name
            if found is None:
                raise BadInput(f"there is no decision about {name} yet")
            if found.decision == MENDED:
                raise Conflict(f"{name} was mended by hand: withdraw or clear it on the labelling page")
            if found.decision == MENDING and not self._drop_base(image_id):
                raise Conflict(f"you have already drawn on {name}; to stop mending it, clear it on the labelling page")
            if found.decision == ACCEPTED:
                album = self.session.album
                with album.hold(image_id) as (entry, _):
                    if entry.job is not None or self._drawn(item):
                        raise Conflict("it was changed on the labelling page since: withdraw it there")
                    album.shelf.put_aside(item.image_path)
                    self._close(entry)
            self._put(item, None)

    def refresh(self) -> None:
        """Look at what the labelling page, or another program, has accepted or withdrawn meanwhile."""
        self._look()
        self.decisions.read()
        for item in self.review.sort_items():
            # A killed program may have written ground truth without noting the decision.
            if self._judge(item) != self.decisions.get(item.image_path.name):
                with self._hold_mending():
                    self.decisions.read()
                    if (found := self._judge(item)) != self.decisions.get(item.image_path.name):
                        self.decisions.put(item.image_path.name, found, self._rows())

    def _fetch(self, image_id: str) -> None:
        """Copy an image that lies elsewhere before it is opened: nobody else waits for that."""
        self.review.copies.fetch(self.review.find(image_id).image_path)

    def _hold_mending(self) -> AbstractContextManager[None]:
        """Let no other program take one that is between the decision and its strokes for a killed one."""
        return lock_output(self.decisions.path.with_suffix(".mending"), wait=True)

    def _look(self) -> None:
        """Show the ground truth of each image that is there now."""
        for item in self.review.sort_items():
            path = self.session.album.shelf.truth_path(item.image_path)
            stamp = (path.stat().st_mtime_ns, path.stat().st_ino) if path.exists() else None
            is_first = item.id not in self._seen
            is_known = is_first and (stamp is None or item.manual_path == path)
            if not is_known and self._seen.get(item.id) != stamp:
                self.review.use_manual(item, path if stamp else None)
                if not is_first:
                    self._rewritten.add(item.id)
            self._seen[item.id] = stamp

    def _judge(self, item: ReviewItem) -> Decision | None:
        """Return what holds now: ground truth itself says where it came from."""
        found, origin = self.decisions.get(item.image_path.name), _read_origin(item.manual_made_by)
        if origin is not None:
            return Decision(
                ACCEPTED, str(origin.get("by", "")), str(origin.get("when", "")), str(origin.get("from", ""))
            )
        if found is None or found.decision == REJECTED:
            return found
        if self._has_truth(item):
            # The time of a list from an earlier run stays: a copy of ground truth may be younger.
            is_noted = found.decision == MENDED and item.id not in self._rewritten
            return replace(found, decision=MENDED, when=found.when if is_noted else self._tell_time(item))
        # One that was withdrawn on the labelling page is being mended again.
        is_mended = found.decision in (MENDING, MENDED) and self._drawn(item)
        return replace(found, decision=MENDING) if is_mended else None

    def _tell_time(self, item: ReviewItem) -> str:
        """Return when the ground truth of an image was written."""
        return _write_time(self.session.album.shelf.truth_path(item.image_path).stat().st_mtime)

    def _rows(self) -> list[dict[str, Any]]:
        """Return the scores of all images, and why each is where it is in the list."""
        return [
            {
                "image": item.image_path.name, "disagreement": item.disagreement, "kappa": item.kappa,
                "uncertainty": item.uncertainty, "reason": _explain(item),
            }
            for item in self.review.sort_items()
        ]  # fmt: skip

    def _put(self, item: ReviewItem, decision: Decision | None) -> None:
        self._look()
        self.decisions.put(item.image_path.name, decision, self._rows())

    def _decide(self, decision: str, item: ReviewItem) -> Decision:
        return Decision(
            decision, self._by, _write_time(time.time()), item.automatic_path.name if item.automatic_path else ""
        )

    def _find_automatic(self, image_id: str) -> tuple[ReviewItem, Path]:
        item = self.review.find(image_id)
        if item.automatic_path is None:
            raise BadInput(f"{item.image_path.name} has no automatic result to decide about")
        return item, item.automatic_path

    def _has_truth(self, item: ReviewItem) -> bool:
        """Return whether there is ground truth where this person's goes; that of others may lie elsewhere."""
        return self.session.album.shelf.has_result(item.image_path)

    def _drawn(self, item: ReviewItem) -> bool:
        """Return whether someone has drawn on an image, here or in another program."""
        return self.session.album.shelf.strokes_path(item.image_path).exists()

    def _check_untouched(self, entry: ImageEntry, item: ReviewItem) -> None:
        name = item.image_path.name
        if entry.job is not None:
            raise Conflict("a job is running on this image; wait for it, or cancel it")
        if item.manual_path is not None or self._has_truth(item):
            raise Conflict(f"{name} has ground truth already, which stays; mend that, or withdraw it first")
        if self._drawn(item):
            raise Conflict(f"{name} has strokes already; open it for mending, and accept it there")

    def _drop_base(self, image_id: str) -> bool:
        """Move the base of an image being mended to ``.trash``; return False, and leave it, where that was drawn on."""
        shelf = self.session.album.shelf
        with self.session.album.hold(image_id) as (entry, _):
            path = shelf.strokes_path(entry.path)
            with lock_output(path, wait=True):
                if entry.job is not None:
                    raise Conflict("a job is running on this image; wait for it, or cancel it")
                log = read_strokes(path)
                if not all(stroke.group for stroke in (*log.strokes, *log.undone)) or shelf.has_result(entry.path):
                    return False
                shelf.put_aside(entry.path, strokes=True)
                self._close(entry)
        return True

    def _close(self, entry: ImageEntry) -> None:
        """Let the labelling page read an image anew."""
        entry.opened, entry.parked = None, None
        entry.version += 1
        entry.result_version += 1
        entry.state = self.session.album.shelf.read_state(entry.path)


def _write_time(seconds: float) -> str:
    """Return a time in seconds since the epoch as a decision has it."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")


def _read_origin(made_by: str | None) -> dict[str, Any] | None:
    """Return what the record in ground truth says of the automatic result that it was; None if it was none."""
    if made_by is None or f'"{_ORIGIN}"' not in made_by:
        return None
    try:
        found = parse_json_object(made_by.encode(), remedy="").get(_ORIGIN)
    except BadInput:
        # Written by hand; it is ground truth all the same.
        return None
    return found if isinstance(found, dict) else None


def _explain(item: ReviewItem) -> str:
    if item.disagreement:
        return "the results disagree"
    if item.uncertainty:
        return "the model is unsure"
    return "the models disagree" if item.measures.get(DISAGREEMENT) else ""
