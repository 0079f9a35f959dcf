"""What the ids of all masks of a data set are called: by the masks themselves, by a list, or unknown until named."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

from hybridseg.classes import VOID, ClassTable, class_key
from hybridseg.data.survey import MaskFacts
from hybridseg.errors import BadInput
from hybridseg.palette import choose_colors

_UNKNOWN = re.compile(r"unknown[ _](\d+)")


@dataclass(frozen=True, eq=False)
class LabelNames:
    """The classes of all masks.

    Parameters
    ----------
    table : ClassTable or None
        Every class; the position of one is its id in masks that name none. None: no mask has a class.
    missing : dict of int to list of pathlib.Path
        The ids without a name, and the masks in which they occur.
    placeholders : tuple of str
        Classes of the list that are still called ``unknown_3``.
    counts : dict of pathlib.Path to Counter
        Pixels of each class, by name, in each mask.
    """

    table: ClassTable | None
    missing: dict[int, list[Path]]
    placeholders: tuple[str, ...]
    counts: dict[Path, Counter[str]]

    @property
    def used(self) -> ClassTable | None:
        """The classes that have a name, or pixels."""
        if self.table is None:
            return None
        there = set().union(*self.counts.values())
        named = {
            key for key, name in zip(self.table.keys, self.table.names, strict=True)
            if name in there or not _UNKNOWN.fullmatch(name)
        }  # fmt: skip
        return self.table.only(named) if named else None

    def describe_missing(self) -> str:
        """Say how many names are missing, and what those classes are called meanwhile; nothing if none is."""
        if not self.missing:
            return ""
        assert self.table is not None
        names = [self.table.names[i] for i in sorted(self.missing)]
        first = ", ".join(names[:6]) + (" ..." if len(names) > 6 else "")
        verb, noun = ("name is", "it is") if len(names) == 1 else ("names are", "they are")
        return f"{len(names)} {verb} missing; until {noun} given: {first}"


def name_labels(masks: Mapping[Path, MaskFacts], given: ClassTable | None) -> LabelNames:
    """Name the ids of masks.

    Parameters
    ----------
    given : ClassTable or None
        The names of the ids in masks that name none.

    Raises
    ------
    BadInput
        When there would be more classes than a byte can tell.
    """
    own = [facts.names for facts in masks.values() if facts.names]
    missing: dict[int, list[Path]] = {}
    for path, facts in masks.items():
        for i in facts.ids if facts.names is None else ():
            if given is None or i >= len(given):
                missing.setdefault(i, []).append(path)
    by_id = _add_unknown(given, max(missing, default=-1) + 1)
    tables = [table for table in (by_id, *own) if table]
    table = reduce(ClassTable.union, tables) if tables else None
    spelling = dict(zip(table.keys, table.names, strict=True)) if table else {}
    counts = {}
    for path, facts in masks.items():
        names = facts.names or by_id
        counts[path] = Counter({spelling[names.keys[i]]: facts.counts[i] for i in facts.ids}) if names else Counter()
    placeholders = tuple(name for name in (given.names if given else ()) if _UNKNOWN.fullmatch(name))
    return LabelNames(table, missing, placeholders, counts)


def _add_unknown(given: ClassTable | None, n_ids: int) -> ClassTable | None:
    """Return a list in which each id has a name, or a placeholder."""
    start = len(given) if given else 0
    if n_ids <= start:
        return given
    if n_ids > VOID:
        raise BadInput(f"the masks have ids up to {n_ids - 1}; give masks with ids from 0 to {VOID - 1}")
    taken = set(given.keys if given else ())
    names = []
    for i in range(start, n_ids):
        name = f"unknown_{i}"
        while class_key(name) in taken:
            name += "_x"
        names.append(name)
    colors = choose_colors([class_key(name) for name in names], given.colors if given else ())
    return ClassTable((given.names if given else ()) + tuple(names), (given.colors if given else ()) + tuple(colors))
