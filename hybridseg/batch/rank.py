"""Images by how unsure their results are, the least sure first: to label these next helps most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from hybridseg.batch.manifest import DONE, MANIFEST_NAME, Manifest
from hybridseg.batch.results import DISAGREEMENT, ENTROPY, find_disagreement
from hybridseg.classes import VOID
from hybridseg.errors import BadInput, HybridSegError, MissingInput, Problem
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.progress import Progress, no_progress

ORDERS = (ENTROPY, DISAGREEMENT)
COLUMNS = ("image", *ORDERS, "result")


@dataclass(frozen=True)
class RankedImage:
    """How sure the result of an image is.

    Parameters
    ----------
    image : str
        Its absolute path, or its address.
    entropy : float or None
        Mean over its pixels, 0 where the model was sure of all, 1 where it knew nothing.
    disagreement : float or None
        Share of the pixels to which models give different classes, those that voted in one run or those of several
        folders; where one model worked alone, tiles and CRF.
    result : str
        The absolute path of its label map.
    """

    image: str
    entropy: float | None
    disagreement: float | None
    result: str

    def to_record(self) -> dict[str, str | float | None]:
        """Return it as a row of a table."""
        return asdict(self)


@dataclass(frozen=True)
class Ranking:
    """Images in the order of what they are ranked `by`, the least sure first; those without it last."""

    by: str
    images: tuple[RankedImage, ...]
    problems: tuple[Problem, ...] = ()


def rank_results(folders: Sequence[Path], *, by: str | None = None, progress: Progress = no_progress) -> Ranking:
    """Rank the images of a run of `segment`, or those that several runs have in common.

    Parameters
    ----------
    by : str or None
        One of `ORDERS`; None: by disagreement of several folders, and of one by entropy, where it was measured.

    Raises
    ------
    MissingInput, BadInput
        When a folder has no manifest or is given twice, or nothing is known by which its images could be ranked.
    """
    for one, again in combinations(folders, 2):
        if one.resolve() == again.resolve():
            raise BadInput(f"{one} and {again} are the same folder; give results of different models")
    manifests = [Manifest.read(folder) for folder in folders]
    for folder, manifest in zip(folders, manifests, strict=True):
        if manifest.start is None:
            raise MissingInput(
                f"there is no {folder / MANIFEST_NAME}; give the folder that `hybridseg segment --out` names"
            )
    done = [{image for image, entry in one.entries.items() if entry.result == DONE} for one in manifests]
    names = sorted(set.intersection(*done))
    if not names:
        if len(folders) == 1:
            raise BadInput(f"no image in {folders[0]} is done; run segment again, and see hybridseg status for why")
        raise BadInput(f"{', '.join(map(str, folders))} have no image in common that is done in all of them")
    ranked, problems = [], []
    for name in progress(names, label="comparing") if len(folders) > 1 else names:
        try:
            ranked.append(_rank_one(name, manifests))
        except HybridSegError as error:
            problems.append(Problem.of(name, error))
    known = [order for order in ORDERS if any(getattr(image, order) is not None for image in ranked)]
    by = by or (DISAGREEMENT if len(folders) > 1 else next(iter(known), ENTROPY))
    if by not in known:
        if problems and not ranked:
            raise BadInput(f"none of these results can be compared; of the first one: {problems[0]}")
        if by == ENTROPY:
            remedy = "run segment with --probabilities"
        elif len(folders) > 1:
            remedy = "in no image do both say the class of a pixel; look at the results"
        else:
            remedy = "have several models vote (--model twice), or give the folders of several"
        raise BadInput(f"the {by} of these results is not known; {remedy}")
    other = ORDERS[1 - ORDERS.index(by)]

    def urgency(image: RankedImage) -> tuple[float, float, str]:
        return -_or_least(getattr(image, by)), -_or_least(getattr(image, other)), image.image

    return Ranking(by, tuple(sorted(ranked, key=urgency)), tuple(problems))


def _or_least(value: float | None) -> float:
    return -1.0 if value is None else value


def _rank_one(name: str, manifests: Sequence[Manifest]) -> RankedImage:
    entries = [manifest.entries[name] for manifest in manifests]
    paths = [manifest.find_label_map(entry) for manifest, entry in zip(manifests, entries, strict=True)]
    entropies = [entry.measures[ENTROPY] for entry in entries if ENTROPY in entry.measures]
    disagreement = find_disagreement(entries[0].measures) if len(entries) == 1 else _compare_maps(paths)
    return RankedImage(name, float(np.mean(entropies)) if entropies else None, disagreement, str(paths[0].absolute()))


def _compare_maps(paths: Sequence[Path]) -> float | None:
    """Return in how many pixels label maps differ, the mean of all pairs; classes are matched by name."""
    maps = [read_labelmap(path, with_seeds=False) for path in paths]
    table = maps[0].require_table(paths[0])
    for path, found in zip(paths, maps, strict=True):
        table = table.union(found.require_table(path))
    labels = [found.labels_as(table) for found in maps]
    for path, other in zip(paths, labels, strict=True):
        if other.shape != labels[0].shape:
            raise BadInput(f"{path} has another size than {paths[0]}; segment the same image with both models")
    shares = [_compare(one, other) for one, other in combinations(labels, 2)]
    known = [share for share in shares if share is not None]
    return sum(known) / len(known) if known else None


def _compare(labels: np.ndarray, others: np.ndarray) -> float | None:
    """Return the share of pixels that have another class, of those with a class in both; None where there are none."""
    both = (labels != VOID) & (others != VOID)
    return float(np.mean(labels[both] != others[both])) if both.any() else None
