"""Write label maps as one COCO file: an annotation for each connected area of a class."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.classes import ClassTable, class_key, split_names
from hybridseg.errors import BadInput, HybridSegError, OutputExists, Problem, count_problems
from hybridseg.io.annotations.canvas import Mask
from hybridseg.io.annotations.items import find_class
from hybridseg.io.annotations.outlines import join_rings, trace_regions
from hybridseg.io.annotations.runlengths import encode_rle, pack_counts
from hybridseg.io.atomic import write_text
from hybridseg.io.images import describe_image
from hybridseg.io.labelled import check_size
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.locks import lock_output
from hybridseg.io.pairing import Pair
from hybridseg.markup import count_of, render_table, render_text, short_path
from hybridseg.options import Span, check_options, option
from hybridseg.progress import Progress, no_progress

_BACKGROUND = ("background", "null")


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
        names: dict[str, int] = {}
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        n_small = 0
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
            left_out = {class_key(name) for name in split_names(options.without or (), own.names)}
            images.append({"id": len(images) + 1, "file_name": info.path.name, "height": info.rows, "width": info.cols})
            for class_id, name in enumerate(own.names):
                if class_key(name) in left_out or (options.without is None and _is_background(name)):
                    continue
                category_id = names.setdefault(class_key(name), len(names) + 1)
                for row in _list_areas(labelmap.labels == class_id, options):
                    if row is None:
                        n_small += 1
                        continue
                    owner = {"id": len(annotations) + 1, "image_id": len(images), "category_id": category_id}
                    annotations.append({**owner, **row, "iscrowd": 0})
        if known is None:
            raise BadInput("no label map can be used:" + "".join(f"\n  {problem}" for problem in problems[:5]))
        for name in split_names(options.without or (), known.names):
            known.index(name)
        spelled = dict(zip(known.keys, known.names, strict=True))
        categories = [{"id": number, "name": spelled[key]} for key, number in names.items()]
        record = {"images": images, "annotations": annotations, "categories": categories}
        write_text(path, json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")
        counts = Counter(row["category_id"] for row in annotations)
        n_areas = {spelled[key]: counts[number] for key, number in names.items()}
        return CocoExportResult(path, len(images), n_areas, n_small, tuple(problems))


def _is_background(name: str) -> bool:
    return class_key(name) in _BACKGROUND or find_class(name) is None


def _list_areas(mask: np.ndarray, options: CocoExportOptions) -> Iterator[dict[str, Any] | None]:
    """Yield what COCO says of each connected area of a mask, (rows, cols) bool; None for one that is too small."""
    from scipy.ndimage import find_objects, label

    # Pixels that touch at a corner only are apart, as in `trace_regions`.
    regions, n_regions = label(mask)
    sizes = np.bincount(regions.ravel(), minlength=n_regions + 1)
    boxes = find_objects(regions)
    small = sizes < options.min_area
    yield from [None] * int(small[1:].sum())
    small[0] = True
    if options.rle:
        for number in np.flatnonzero(~small).tolist():
            rows, cols = boxes[number - 1]
            area = Mask(regions[rows, cols] == number, (rows.start, cols.start))
            rle = encode_rle(area, (mask.shape[0], mask.shape[1]))
            packed = {"size": list(rle.shape), "counts": pack_counts(rle.counts.tolist())}
            yield _describe(packed, sizes[number], boxes[number - 1])
        return
    for number, rings in trace_regions(np.where(small[regions], 0, regions)):
        polygon = join_rings(rings)[:, ::-1].astype(int).ravel().tolist()
        yield _describe([polygon], sizes[number], boxes[number - 1])


def _describe(segmentation: Any, size: int, box: tuple[slice, slice]) -> dict[str, Any]:
    rows, cols = box
    corner = [cols.start, rows.start, cols.stop - cols.start, rows.stop - rows.start]
    return {"segmentation": segmentation, "area": int(size), "bbox": corner}
