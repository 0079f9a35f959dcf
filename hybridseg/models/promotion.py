"""Promote a model: the best of several by a score is copied, whole, to the folder of the models in use."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hybridseg.errors import BadInput, MissingInput, OutputExists
from hybridseg.io.atomic import atomic_folder, check_nothing_lost, check_replaceable, claim_folder
from hybridseg.io.jsonfiles import read_json_object
from hybridseg.io.labels.classfiles import write_class_files
from hybridseg.io.locks import lock_output
from hybridseg.io.tables import write_json
from hybridseg.markup import count_of, name_some, render_text
from hybridseg.models.cards import FORMAT_VERSION, hash_file
from hybridseg.models.catalog import TILES, Measured, ModelEntry, compare_key, read_entry, sort_models
from hybridseg.models.documents import write_documents
from hybridseg.options import check_file_name

RECORD_NAME = "promoted.json"
_MOST_NAMED = 20


@dataclass(frozen=True, eq=False)
class Contest:
    """The best model by a score, and those that it was compared with.

    Parameters
    ----------
    by : str
        The score.
    measured : Measured
        Of the winner: what the score was measured on.
    beaten : tuple of ModelEntry
        The others, the best first; all were measured on the same.
    left_out : tuple of (ModelEntry, str)
        Models without that score, each with what it lacks.
    """

    by: str
    winner: ModelEntry
    measured: Measured
    beaten: tuple[ModelEntry, ...]
    left_out: tuple[tuple[ModelEntry, str], ...]

    def score_of(self, entry: ModelEntry) -> float:
        """Return the score of one of them."""
        found = entry.find(self.by, self.measured.on)
        assert found is not None
        return found.scores[self.by]

    @property
    def text(self) -> str:
        """Who won against whom, and how far that can be trusted."""
        score, photos = f"{self.score_of(self.winner):.3f}", self.measured.photos
        if not self.beaten:
            return f"{self.winner.path} is the only one with {self.by} ({score} on {photos}): there was no contest."
        others = name_some((f"{self.score_of(entry):.3f} ({entry.path})" for entry in self.beaten), _MOST_NAMED)
        against = f"{self.by} {score} against {others}, all on the same {photos}."
        return f"{self.winner.path} is the best: {against} {self._doubt()}".rstrip()

    def _doubt(self) -> str:
        """Say whether other photos could have given another winner."""
        second = self.beaten[0]
        if self.score_of(second) == self.score_of(self.winner):
            return f"It has the same score as {second.path}; the accuracy, and then the name, decided."
        verdict, found = self.winner.verdict, second.find("accuracy", self.measured.on)
        if verdict is None or verdict.interval is None or found is None or self.measured != self.winner.measured[0]:
            return ""
        low, high = verdict.interval
        if not low <= found.scores["accuracy"] <= high:
            return ""
        return (
            f"The lead is small: the accuracy of {second.path} ({found.scores['accuracy']:.3f}) lies within what "
            f"{count_of(verdict.n_photos, 'photo')} leave open for the winner ({low:.3f} to {high:.3f})."
        )


@dataclass(frozen=True, eq=False)
class Promotion:
    """A model that was promoted.

    Parameters
    ----------
    entry : ModelEntry
        Where it is now.
    written : tuple of pathlib.Path
        Empty where it was there already.
    """

    contest: Contest
    entry: ModelEntry
    written: tuple[Path, ...]

    def _repr_html_(self) -> str:
        return render_text(self.contest.text, self.entry.verdict and self.entry.verdict.text)

    def __repr__(self) -> str:
        return f"<Promotion: {self.entry.path}; {self.contest.text}>"


def choose_best(entries: Sequence[ModelEntry], *, by: str, on: str | None = None) -> Contest:
    """Find the best model by a score; when it was written plays no part.

    Copies of one model count once.

    Raises
    ------
    MissingInput
        When none has that score.
    BadInput
        When the scores were measured on different images, masks or classes: the message lists which go together.
    """
    # One that was promoted earlier is the same as the one that it was copied from.
    unique = {entry.sha256: entry for entry in reversed(entries)}
    known: dict[tuple[Any, ...], list[ModelEntry]] = {}
    left_out = []
    for entry in sort_models(unique.values(), by, on):
        found = entry.find(by, on)
        if found is None:
            left_out.append((entry, f"has no {by}" + (f" on {on} images" if on else "")))
        else:
            known.setdefault(compare_key(entry, found), []).append(entry)
    if not known:
        names = "".join(f"\n  {entry.path} {why}" for entry, why in left_out)
        raise MissingInput(f"there is no model with a score {by} to promote; train one with images held out{names}")
    if len(known) > 1:
        groups = "".join(f"\n  {_describe_group(group, by, on)}" for group in known.values())
        raise BadInput(
            f"these models were measured on different images or classes, so their {by} cannot be compared; name those "
            f"of one line:{groups}"
        )
    [group] = known.values()
    best = max(found.scores[by] for entry in group if (found := entry.find(by, on)))
    tied = [entry for entry in group if (found := entry.find(by, on)) and found.scores[by] == best]
    winner = sort_models(tied, "accuracy", on)[0]
    measured = winner.find(by, on)
    assert measured is not None
    return Contest(by, winner, measured, tuple(entry for entry in group if entry is not winner), tuple(left_out))


def _describe_group(group: Sequence[ModelEntry], by: str, on: str | None) -> str:
    measured = group[0].find(by, on)
    assert measured is not None
    data = f"SHA-256 {measured.sha256[:8]}" if measured.sha256 else "an earlier version did not note of what"
    named = name_some((entry.path for entry in group), _MOST_NAMED)
    return f"{named} ({measured.photos}, {count_of(len(group[0].table), 'class')}, {data})"


def promote_model(contest: Contest, to: Path, *, name: str | None = None, overwrite: bool = False) -> Promotion:
    """Copy the winner with all that belongs to it into a folder in `to`, whole or not at all.

    Parameters
    ----------
    name : str or None
        Of the folder; None: that of the model.
    overwrite : bool
        Replace another model that was promoted under this name.

    Raises
    ------
    OutputExists
        When something else is there.
    WriteFailed
    """
    winner, name = contest.winner, name or contest.winner.name
    check_file_name(name, what="--name")
    folder = to / name
    if os.path.realpath(winner.path.parent) == os.path.realpath(folder):
        return Promotion(contest, winner, ())
    claim_folder(to)
    with lock_output(folder):
        if folder.exists():
            if _holds(folder, winner):
                return Promotion(contest, read_entry(folder), ())
            _check_folder(folder, winner, overwrite)
        # Read anew: what is copied is what its card vouches for.
        if hash_file(winner.path) != winner.sha256:
            raise BadInput(f"{winner.path} is not the file that {winner.card_path.name} describes; copy both again")
        with atomic_folder(folder) as partial_dir:
            _fill(partial_dir, contest, name)
    return Promotion(contest, read_entry(folder / winner.path.name), tuple(sorted(folder.iterdir())))


def _fill(folder: Path, contest: Contest, name: str) -> None:
    winner = contest.winner
    for path in winner.files:
        # With its time: a copy is not a newer model.
        shutil.copy2(path, folder / path.name)
    if winner.kind == TILES:
        write_class_files(winner.table, labels_path=folder / "labels.txt")
    write_documents(replace(read_entry(folder / winner.path.name), name=name))
    record = {
        "format": FORMAT_VERSION,
        "kind": "hybridseg promoted model",
        "from": str(winner.path),
        "by": contest.by,
        "on": contest.measured.on,
        "score": contest.score_of(winner),
        "against": [{"model": str(one.path), "score": contest.score_of(one)} for one in contest.beaten],
        "verdict": contest.text,
        "files": {path.name: hash_file(path) for path in sorted(folder.iterdir())},
    }
    write_json(folder / RECORD_NAME, record)


def _holds(folder: Path, winner: ModelEntry) -> bool:
    """Return whether a folder has the model already, with all that belongs to it: `tune-crf` may have added to that."""
    same = (hash_file(folder / path.name) == hash_file(path) for path in winner.files)
    return (folder / RECORD_NAME).is_file() and all(same)


def _check_folder(folder: Path, winner: ModelEntry, overwrite: bool) -> None:
    """Raise OutputExists unless a folder is a promoted model as it was promoted, and may be replaced."""
    if (folder / RECORD_NAME).is_file() and not overwrite:
        raise OutputExists(
            f"{folder} holds another model, or this one as it was earlier; --overwrite replaces it, or give --name"
        )
    if not (folder / RECORD_NAME).is_file():
        raise OutputExists(
            f"{folder} is there and was not written by this command; give --name, or --to another folder"
        )
    check_replaceable(folder, RECORD_NAME, winner.files, overwrite=overwrite)
    files = read_json_object(folder / RECORD_NAME).get("files")
    known = files if isinstance(files, dict) else {}
    check_nothing_lost(
        folder, lambda path: str(path) == RECORD_NAME or known.get(str(path)) == (hash_file(folder / path) or "")
    )
