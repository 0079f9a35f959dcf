"""The models that are there: each found by its card, with its scores and with what they were measured on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hybridseg.classes import ClassTable, class_key
from hybridseg.errors import BadInput, HybridSegError, MissingInput, Problem
from hybridseg.io.jsonfiles import holds_keys
from hybridseg.markup import count_of, render_text
from hybridseg.models.bundles import DenseCard, card_path, find_card, read_dense_card
from hybridseg.models.cards import parse_fields
from hybridseg.models.runtimes import runtime_path
from hybridseg.models.savedmodels import GRAPH_NAME
from hybridseg.models.store import ModelCard, read_card, tuning_path
from hybridseg.verdict import Verdict

SCORES = ("mean_iou", "dice", "accuracy", "precision", "recall")
VALIDATION, TEST = "validation", "test"

TILES = "tile classifier"
# By the name of the architecture, where people call it otherwise.
_KINDS = {"fcn8s": "fcn"}
_MEANS = {"mean_iou": "iou", "dice": "f1", "precision": "precision", "recall": "recall"}

_LATEST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()


@dataclass(frozen=True)
class Measured:
    """The scores of a model on one set.

    Parameters
    ----------
    on : str
        `VALIDATION` or `TEST`.
    scores : mapping
        Those of `SCORES` that are known.
    sha256 : str or None
        Of the images and masks of the set; None where an earlier version did not write it down.
    n_photos : int or None
        How many the set has, where that is known.
    """

    on: str
    scores: Mapping[str, float]
    sha256: str | None
    n_photos: int | None = None

    @property
    def photos(self) -> str:
        """What the scores were measured on."""
        return count_of(self.n_photos, f"{self.on} photo") if self.n_photos else f"{self.on} set"


@dataclass(frozen=True, eq=False)
class ModelEntry:
    """A model on disk.

    Parameters
    ----------
    path : pathlib.Path
        Its weights or its graph.
    name : str
        That of the file; of one that is called after nothing (``model``), that of its folder.
    kind : str
        ``tile classifier``, or what its architecture is called.
    sha256 : str
        Of `path`, as the card says.
    measured : tuple of Measured
        First what it was chosen by.
    """

    path: Path
    name: str
    kind: str
    card: ModelCard | DenseCard
    sha256: str
    measured: tuple[Measured, ...]

    def _repr_html_(self) -> str:
        return render_text(repr(self)[1:-1], self.verdict and self.verdict.text)

    def __repr__(self) -> str:
        scores = ", ".join(f"{name} {value:.3f}" for name, value in self.scores.items())
        return f"<ModelEntry: {self.kind} {self.path}, {scores or 'not measured'}>"

    @property
    def scores(self) -> Mapping[str, float]:
        """The scores by name, on the set that the first of `measured` is about."""
        return self.measured[0].scores if self.measured else {}

    @property
    def table(self) -> ClassTable:
        """The classes."""
        return self.card.table

    @property
    def data_sha256(self) -> str | None:
        """The hash of all images and masks that there were to train on."""
        found = self.card.training.get("data_sha256")
        return found if isinstance(found, str) else None

    @property
    def verdict(self) -> Verdict | None:
        """What its scores mean, as it was said after the training."""
        try:
            record = dict(self.card.scores["verdict"])
            return parse_fields(Verdict, record, what="the verdict")
        except (TypeError, ValueError, KeyError):
            return None

    @property
    def card_path(self) -> Path:
        """Its card."""
        return self.path.with_suffix(".json") if self.kind == TILES else find_card(self.path)

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that belong to it and are there: the weights, the card, the runtime graph, tuned CRF parameters."""
        more = [runtime_path(self.path)] if self.card.runtime else []
        more += [tuning_path(self.path)] if self.kind == TILES else []
        return (self.path, self.card_path, *(path for path in more if path.is_file()))

    @property
    def n_bytes(self) -> int:
        """Bytes of all its files."""
        return sum(path.stat().st_size for path in self.files)

    @property
    def written(self) -> datetime:
        """When its weights were written, to the second."""
        # A clock that was wrong may have said any time, also one that a date cannot be.
        return datetime.fromtimestamp(int(min(max(self.path.stat().st_mtime, 0), _LATEST)), UTC)

    def find(self, by: str, on: str | None = None) -> Measured | None:
        """Return where a score was measured: on a set, or on the first that has it."""
        return next((one for one in self.measured if by in one.scores and on in (None, one.on)), None)

    def to_record(self) -> dict[str, Any]:
        """Return the line of a catalog as JSON holds it."""
        return {
            "path": self.path,
            "name": self.name,
            "kind": self.kind,
            "classes": list(self.table),
            "measured": [vars(one) for one in self.measured],
            "data_sha256": self.data_sha256,
            "written": self.written.isoformat(),
            "bytes": self.n_bytes,
            "sha256": self.sha256,
        }


def read_entry(path: Path) -> ModelEntry:
    """Read the card of a model.

    Parameters
    ----------
    path : pathlib.Path
        ``NAME.pb``, ``NAME.h5``, or a folder that holds one of them with its card.

    Raises
    ------
    MissingInput, BadInput
        When there is no such model, it has no card, or the card is damaged.
    """
    if path.is_dir():
        found = [place for place in sorted(path.iterdir()) if _has_card(place)]
        if len(found) != 1:
            names = ", ".join(place.name for place in found) or "none"
            raise MissingInput(f"{path} should hold one model with its card and holds {names}; give the path of one")
        path = found[0]
    if not path.exists():
        raise MissingInput(f"there is no model {path}; `hybridseg models list` shows those that are there")
    stem = path.stem if path.stem != "model" else path.absolute().parent.name or path.stem
    if path.suffix.lower() == ".pb":
        card = read_card(path)
        if card is None:
            raise BadInput(f"{path} has no {path.stem}.json beside it, which says what it is; give a model with a card")
        return ModelEntry(path, stem, TILES, card, card.sha256, _list_tile_scores(card))
    if path.suffix.lower() != ".h5":
        raise BadInput(f"{path} is not a model; give a tile classifier (.pb) or a dense network (.h5, or its folder)")
    dense, sha256 = read_dense_card(path)
    kind = dense.architecture.name
    return ModelEntry(path, stem, _KINDS.get(kind, kind), dense, sha256, _list_dense_scores(dense))


def find_models(places: Sequence[Path]) -> tuple[list[ModelEntry], list[Problem]]:
    """Find models in folders and all that lies below them, and read their cards.

    The checkpoints of a training have no scores and are left out, unless one is given by its path.

    Returns
    -------
    list of ModelEntry
        In the order of their paths, each once.
    list of Problem
        Cards that cannot be read.

    Raises
    ------
    MissingInput
        When a place is not there.
    """
    entries: dict[Path, ModelEntry] = {}
    problems = []
    for place in places:
        if not place.exists():
            raise MissingInput(f"there is no {place}; give a folder with models, or a model")
        for path in sorted(_walk(place)) if place.is_dir() else [place]:
            try:
                entry = read_entry(path)
            except HybridSegError as error:
                problems.append(Problem.of(path, error))
                continue
            if path == place or entry.kind == TILES or entry.card.scores:
                entries.setdefault(path.resolve(), entry)
    return list(entries.values()), problems


def check_score(by: str, on: str | None) -> None:
    """Raise BadInput for a score, or a set, that no card has."""
    if by not in SCORES:
        raise BadInput(f"by={by!r}: give one of {', '.join(SCORES)}")
    if on not in (None, VALIDATION, TEST):
        raise BadInput(f"on={on!r}: give {VALIDATION} or {TEST}, or leave it out")


def sort_models(entries: Iterable[ModelEntry], by: str, on: str | None = None) -> list[ModelEntry]:
    """Return models with the best by a score first; those without it come last."""

    def place(entry: ModelEntry) -> tuple[float, Path]:
        found = entry.find(by, on)
        return (-found.scores[by] if found else 1.0, entry.path)

    return sorted(entries, key=place)


def compare_key(entry: ModelEntry, measured: Measured) -> tuple[Any, ...]:
    """Return what must be the same for two scores to be comparable: the set, its images and masks, and the classes."""
    # Where it is not known what was measured, the score stands alone.
    data = measured.sha256 or entry.path
    return measured.on, data, frozenset(map(class_key, entry.table))


def _walk(folder: Path) -> Iterable[Path]:
    """Find the models below a folder: not in hidden folders, and not the copy that a SavedModel has of its own."""
    for where, folders, names in os.walk(folder):
        if GRAPH_NAME in names:
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (path for path in (Path(where) / name for name in names) if _has_card(path))


def _has_card(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    if path.suffix.lower() == ".pb":
        return holds_keys(path.with_suffix(".json"), "tile_size", "sha256")
    # Earlier versions called it otherwise.
    return path.suffix.lower() == ".h5" and (
        card_path(path).exists() or holds_keys(path.with_suffix(".json"), "kind", "architecture", "sha256")
    )


def _list_tile_scores(card: ModelCard) -> tuple[Measured, ...]:
    known = {"mean_iou": "mean_iou", "dice": "macro_f1", "accuracy": "accuracy"}
    scores = _pick(card.scores, known)
    if not scores:
        return ()
    return (Measured(TEST, scores, _text(card.training.get("test_sha256")), _count(card.scores.get("n_photos"))),)


def _list_dense_scores(card: DenseCard) -> tuple[Measured, ...]:
    found, verdict, sets = card.scores, _inner(card.scores, "verdict"), _inner(card.scores, "sets")
    scores = {**_pick(_inner(found, "macro"), _MEANS), **_pick(found, {"accuracy": "accuracy"})}
    ordered = {name: scores[name] for name in SCORES if name in scores}
    n_photos, test = _count(verdict.get("n_photos")), _pick(_inner(sets, TEST), {name: name for name in SCORES})
    both = (
        Measured(VALIDATION, ordered, _text(card.training.get("validation_sha256")), n_photos),
        Measured(TEST, test, _text(card.training.get("test_sha256"))),
    )
    return tuple(one for one in both if one.scores)


# A card holds scores and training as they were written, by any version.


def _inner(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = record.get(name)
    return found if isinstance(found, dict) else {}


def _pick(record: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, float]:
    """Return the numbers of a record by their new names."""
    # No score lies beyond; a whole number of JSON may be larger than any float.
    return {
        new: float(record[old])
        for new, old in names.items()
        if type(record.get(old)) in (int, float) and 0 <= record[old] <= 1
    }


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: Any) -> int | None:
    return value if type(value) is int else None
