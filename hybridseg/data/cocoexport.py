"""Write label maps as one COCO file: an annotation for each connected area of a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hybridseg.classes import ClassTable, class_key, split_names
from hybridseg.errors import BadInput, HybridSegError, OutputExists, Problem, count_problems
from hybridseg.io.annotations.cocoareas import CocoAreas
from hybridseg.io.images import describe_image
from hybridseg.io.labelled import check_size
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.locks import lock_output
from hybridseg.io.pairing import Pair
from hybridseg.markup import count_of, render_table, render_text, short_path
from hybridseg.options import Span, check_options, option
from hybridseg.progress import Progress, no_progress


@dataclass(frozen=True)
class CocoExportOptions:
    """What becomes an annotation, and in which form."""

    without: tuple[str, ...] | None = option(None, "Classes to leave out, by name.")
    rle: bool = option(False, "Write areas as packed run lengths instead of polygons.")
    min_area: int = option(1, "Leave out areas of fewer pixels.", span=Span(1))

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class CocoExportResult:
    """What was written: the number of images, of annotations of each class, and of areas that were too small."""

    path: Path
    n_images: int
    n_areas: Mapping[str, int]
    n_small: int
    problems: tuple[Problem, ...]

    def __repr__(self) -> str:
        return f"<CocoExportResult: {self.describe()}{count_problems(self.problems)}>"

    def describe(self) -> str:
        """Say in a line what was written."""
        n_areas = sum(self.n_areas.values())
        return f"{count_of(n_areas, 'annotation')} of {count_of(self.n_images, 'image')} in {short_path(self.path)}"

    def _repr_html_(self) -> str:
        table = render_table(("class", "annotations"), self.n_areas.items())
        return render_text(self.describe()) + table + render_text(*self.problems)


def export_coco(
    pairs: Sequence[Pair],
    path: Path,
    *,
    options: CocoExportOptions = CocoExportOptions(),
    table: ClassTable | None = None,
    overwrite: bool = False,
    problems: Sequence[Problem] = (),
    progress: Progress = no_progress,
) -> CocoExportResult:
    """Write the label maps of images as a COCO file.

    Parameters
    ----------
    table : ClassTable or None
        The classes of label maps that do not name theirs.
    problems : sequence of Problem
        Those found while pairing; they are reported with the others.

    Raises
    ------
    OutputExists
        When the file is there and `overwrite` is not set.
    BadInput
        When no label map can be used, or a class to leave out is not there.
    WriteFailed
    """
    if path.suffix.lower() != ".json":
        raise BadInput(f"--out {path}: name it with the suffix .json")
    with lock_output(path):
        if path.exists() and not overwrite:
            raise OutputExists(f"{path} is there already; give --overwrite to replace it, or another --out")
        problems, known = list(problems), None
        areas = CocoAreas(rle=options.rle, min_area=options.min_area)
        for pair in progress(pairs, label="tracing areas"):
            try:
                labelmap = read_labelmap(pair.labels_path, table=table, with_seeds=False)
                own = labelmap.require_table(pair.labels_path)
                info = describe_image(pair.image_path)
                check_size(pair.labels_path, labelmap.labels.shape, info)
            except HybridSegError as error:
                problems.append(Problem.of(pair.labels_path, error))
                continue
            known = own if known is None else known.union(own)
            left_out = None
            if options.without is not None:
                left_out = {class_key(name) for name in split_names(options.without, own.names)}
            areas.add(labelmap.labels, own, info, left_out=left_out)
        if known is None:
            raise BadInput("no label map can be used:" + "".join(f"\n  {problem}" for problem in problems[:5]))
        for name in split_names(options.without or (), known.names):
            known.index(name)
        areas.write(path, known)
        return CocoExportResult(path, areas.n_images, areas.count_areas(known), areas.n_small, tuple(problems))
