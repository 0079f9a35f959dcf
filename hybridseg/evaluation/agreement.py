"""How far people agree who labelled the same images: Cohen's kappa, each class, and where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from hybridseg.classes import VOID, ClassTable, remap
from hybridseg.confusion import Confusion, count_confusion, pool_confusions
from hybridseg.errors import BadInput, HybridSegError, MissingInput, Problem
from hybridseg.io.labels.formats import read_labelmap, write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.locks import lock_output
from hybridseg.io.marks import check_ours, check_table
from hybridseg.io.pairing import PEOPLE_DIR, list_files
from hybridseg.io.tables import write_csv
from hybridseg.progress import Progress, no_progress

COLUMNS = ("image", "first", "second", "pixels", "agreement", "kappa")
_TABLE_NAME, _MAP_ENDING, _TRUTH_ENDING = "agreement.csv", "_agreement.png", "_mres.mat"
_MAP_TABLE = ClassTable(("agree", "differ"), ((225, 225, 225), (230, 30, 90)))
_OURS = (b"hybridseg:made_by",)


@dataclass(frozen=True)
class Agreement:
    """How two people labelled an image, or all their images (then `image` is empty).

    Parameters
    ----------
    confusion : Confusion
        Rows are the classes of the first, columns those of the second; of pixels that both gave a class.
    """

    image: str
    first: str
    second: str
    confusion: Confusion

    @property
    def share(self) -> float | None:
        """Share of the pixels to which both gave the same class."""
        return self.confusion.accuracy

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa, see `Confusion.kappa`."""
        return self.confusion.kappa

    def to_record(self) -> dict[str, str | float | int | None]:
        """Return a row of the table."""
        return {
            "image": self.image, "first": self.first, "second": self.second,
            "pixels": int(self.confusion.counts.sum()), "agreement": self.share, "kappa": self.kappa,
        }  # fmt: skip


@dataclass(frozen=True)
class AgreementResult:
    """Of each pair of people: each image, and all together; the mean Dice of each class; and what was written.

    Parameters
    ----------
    alone : dict of str to list of str
        The images that only one person labelled, by that person.
    """

    images: tuple[Agreement, ...]
    pairs: tuple[Agreement, ...]
    classes: dict[str, float | None]
    written: tuple[Path, ...]
    problems: tuple[Problem, ...]
    alone: dict[str, list[str]]


def measure_agreement(
    folder: Path, *, out_dir: Path | None = None, progress: Progress = no_progress
) -> AgreementResult:
    """Compare the label maps of several people, image by image, classes by name.

    Parameters
    ----------
    folder : pathlib.Path
        It, or its folder ``annotators``, has a folder for each person, with ``NAME_mres.mat`` of the same images.
    out_dir : pathlib.Path or None
        Default: ``agreement`` in `folder`. It gets ``agreement.csv``, and ``NAME_agreement.png`` of each image: 0 where
        all agree, 1 where they differ, void where fewer than two gave a class.

    Raises
    ------
    MissingInput, BadInput
        When fewer than two people labelled the same image.
    OutputExists
        When a file is there that was not written here.
    """
    home = folder / PEOPLE_DIR if (folder / PEOPLE_DIR).is_dir() else folder
    people = _find_people(home)
    stems = sorted({stem for maps in people.values() for stem in maps})
    shared = [stem for stem in stems if sum(stem in maps for maps in people.values()) > 1]
    if not shared:
        raise BadInput(
            f"{home} has no image that two people have labelled; it needs a folder for each person with NAME_mres.mat "
            "of the same images, as label --annotator writes them"
        )
    out_dir = out_dir or folder / "agreement"
    table_path, maps = out_dir / _TABLE_NAME, {stem: out_dir / f"{stem}{_MAP_ENDING}" for stem in shared}
    found: list[Agreement] = []
    written, problems = [], []
    with lock_output(out_dir, inside="agreement"):
        check_table(table_path, COLUMNS, advice="give another --out")
        check_ours(maps.values(), marks=_OURS, advice="give another --out")
        for stem in progress(shared, label="comparing"):
            paths = {name: m[stem] for name, m in people.items() if stem in m}
            try:
                rows, differences = _compare(stem, paths)
            except HybridSegError as error:
                problems.append(Problem.of(_find_named(paths, error), error))
                continue
            found += rows
            write_labelmap(maps[stem], differences)
            written.append(maps[stem])
        pairs = _pool(found)
        if found:
            write_csv(table_path, COLUMNS, [one.to_record() for one in (*found, *pairs)])
            written.insert(0, table_path)
    alone = {name: [stem for stem in maps if stem not in shared] for name, maps in people.items()}
    alone = {name: stems for name, stems in alone.items() if stems}
    return AgreementResult(tuple(found), pairs, _score_classes(pairs), tuple(written), tuple(problems), alone)


def _find_named(paths: dict[str, Path], error: Exception) -> Path:
    """Return the label map of an image that an error is about: the one that it begins with."""
    first = next(iter(paths.values()))
    return next((path for path in paths.values() if str(error).startswith(str(path))), first)


def _find_people(home: Path) -> dict[str, dict[str, Path]]:
    """Return the label maps of each person by the names of their images."""
    if not home.is_dir():
        raise MissingInput(f"there is no folder {home}")
    folders = sorted(path for path in home.iterdir() if path.is_dir() and not path.name.startswith("."))
    found = {
        one.name: {path.name.removesuffix(_TRUTH_ENDING): path for path in list_files(one, (".mat",))
                   if path.name.endswith(_TRUTH_ENDING)}
        for one in folders
    }  # fmt: skip
    return {name: maps for name, maps in found.items() if maps}


def _compare(stem: str, paths: dict[str, Path]) -> tuple[list[Agreement], LabelMap]:
    """Compare the label maps of an image by each pair of people, and map where any two differ."""
    maps = {name: read_labelmap(path, with_seeds=False) for name, path in paths.items()}
    first_path, first = next(iter(paths.values())), next(iter(maps.values()))
    table = first.require_table(first_path)
    for name, found in maps.items():
        if found.labels.shape != first.labels.shape:
            raise BadInput(f"{paths[name]} has another size than {first_path}; were they made of the same image?")
        table = table.union(found.require_table(paths[name]))
    labels = {name: remap(found.require_table(paths[name]), table)[found.labels] for name, found in maps.items()}
    rows, where = [], np.full(first.labels.shape, VOID, np.uint8)
    for one, other in combinations(labels, 2):
        both = (labels[one] != VOID) & (labels[other] != VOID)
        confusion = count_confusion(np.where(both, labels[one], VOID), labels[other], table)
        rows.append(Agreement(stem, one, other, confusion))
        differs = (labels[one] != labels[other]).astype(np.uint8)
        where[both] = np.where(where[both] == VOID, differs[both], where[both] | differs[both])
    return rows, LabelMap(where, _MAP_TABLE, georeference=first.georeference, made_by='{"command": "agreement"}')


def _pool(found: Sequence[Agreement]) -> tuple[Agreement, ...]:
    people = dict.fromkeys((one.first, one.second) for one in found)
    return tuple(
        Agreement("", *pair, pool_confusions([one.confusion for one in found if (one.first, one.second) == pair]))
        for pair in people
    )


def _score_classes(pairs: Sequence[Agreement]) -> dict[str, float | None]:
    """Return the agreement on each class that anyone used: 2 x both / (first + second), its Dice, over all pairs."""
    if not pairs:
        return {}
    pooled = pool_confusions([pair.confusion for pair in pairs])
    return dict(zip(pooled.table.names, pooled.image_dice(), strict=True))
