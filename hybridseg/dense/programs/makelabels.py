"""Paint label maps, smoothed, as the colour pictures that ``hybridseg fcn`` is trained on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridseg.classes import VOID, ClassTable, color_labels, remap
from hybridseg.errors import BadInput, HybridSegError, MissingInput, Problem
from hybridseg.io.atomic import claim_folder
from hybridseg.io.images import write_image
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.labels.labelmaps import match_colors
from hybridseg.io.locks import lock_output
from hybridseg.io.pairing import group_by_stem, list_files, result_kind
from hybridseg.majority import check_radius, filter_majority
from hybridseg.progress import Progress, no_progress

PICTURE_SUFFIX = "_gtFine_color.png"
_BLACK = (0, 0, 0)


@dataclass(frozen=True)
class MakeLabelsResult:
    """Where the pictures are, which were written, which were there already, and which label maps failed."""

    out_dir: Path
    written: tuple[Path, ...]
    skipped: tuple[Path, ...]
    problems: tuple[Problem, ...]


def make_labels(
    label_dir: str | os.PathLike[str],
    *,
    table: ClassTable,
    radius: int = 7,
    out_dir: str | os.PathLike[str] | None = None,
    labels_table: ClassTable | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> MakeLabelsResult:
    """Write every hand-made label map of a folder as ``NAME_gtFine_color.png``, in the colours of its classes.

    A picture that is there is left as it is, so the same call resumes an interrupted one.

    Parameters
    ----------
    label_dir : path-like
        Its ``NAME_mres.mat`` and ``NAME.mat`` are painted; automatic results (``NAME_ares_96.mat``) are not.
    table : ClassTable
        The classes and their colours, of ``labeldefs.txt``. Those of a label map are found in it by name.
    radius : int
        Radius of the majority filter, in pixels; 0 leaves the labels as they are.
    out_dir : path-like or None
        Default: `label_dir`.
    labels_table : ClassTable or None
        The classes of label maps that do not name theirs.
    overwrite : bool
        Also paint the pictures that are there already.

    Returns
    -------
    MakeLabelsResult
        Its `problems` name each label map that could not be used; the others are done.

    Raises
    ------
    MissingInput
        When there is no such folder, or no label map in it.
    BadInput
        When two classes of `table` share a colour, or `radius` is out of range.
    WriteFailed
    """
    label_dir = Path(label_dir)
    out_dir = Path(out_dir) if out_dir is not None else label_dir
    check_radius(radius)
    _check_colors(table)
    targets, problems = _plan_pictures(label_dir, out_dir)
    written, skipped = [], []
    with lock_output(out_dir, inside="make-labels"):
        claim_folder(out_dir)
        for path, target in progress(targets, label="painting label maps"):
            if target.exists() and not overwrite:
                skipped.append(target)
                continue
            try:
                picture = _paint_labelmap(path, table, labels_table, radius)
            except HybridSegError as error:
                problems.append(Problem.of(path, error))
                continue
            write_image(target, picture)
            written.append(target)
    return MakeLabelsResult(out_dir, tuple(written), tuple(skipped), tuple(problems))


def _check_colors(table: ClassTable) -> None:
    """Raise BadInput for colours that could not be told apart when the pictures are read: by reading one pixel."""
    match_colors(color_labels(np.zeros((1, 1), np.uint8), table), table)


def _plan_pictures(label_dir: Path, out_dir: Path) -> tuple[list[tuple[Path, Path]], list[Problem]]:
    """List each label map with its picture; label maps that would become the same picture are problems."""
    paths_by_stem = group_by_stem(p for p in list_files(label_dir, (".mat",)) if result_kind(p) in ("mres", None))
    if not paths_by_stem:
        raise MissingInput(
            f"{label_dir.resolve()} has no label map made by hand (NAME_mres.mat or NAME.mat); give another folder, or "
            "make them of other masks: hybridseg convert --to mat"
        )
    targets, problems = [], []
    for stem, paths in paths_by_stem.items():
        if len(paths) == 1:
            targets.append((paths[0], out_dir / f"{stem}{PICTURE_SUFFIX}"))
        else:
            names = ", ".join(path.name for path in paths)
            problems.append(Problem(stem, f"has {len(paths)} label maps ({names}); keep one of them in the folder"))
    return targets, problems


def _paint_labelmap(path: Path, table: ClassTable, labels_table: ClassTable | None, radius: int) -> np.ndarray:
    labelmap = read_labelmap(path, table=labels_table, with_seeds=False)
    # First the ids of `table`: the filter decides ties by id, and the order of the classes in the file must not matter.
    labels = remap(labelmap.require_table(path), table)[labelmap.labels]
    if _BLACK in table.colors and (labels == VOID).any():
        name = table.names[table.colors.index(_BLACK)]
        raise BadInput(
            f"has pixels without a class, which are painted black, but the class {name!r} is black too; "
            "give that class another colour in labeldefs.txt"
        )
    return color_labels(filter_majority(labels, radius=radius), table)
