"""Label maps as COCO has them: an annotation for each connected area of a class."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Container, Iterator
from typing import Any

import numpy as np

from hybridseg.classes import ClassTable, class_key
from hybridseg.io.annotations.canvas import Mask
from hybridseg.io.annotations.items import find_class
from hybridseg.io.annotations.outlines import join_rings, trace_regions
from hybridseg.io.annotations.runlengths import encode_rle, pack_counts
from hybridseg.io.atomic import write_text
from hybridseg.io.images import ImageInfo, describe_image
from hybridseg.io.labels.labelmaps import LabelMap

_BACKGROUND = ("background", "null")


class CocoAreas:
    """The images, areas and categories of a COCO file in the making.

    Parameters
    ----------
    rle : bool
        Areas are packed run lengths instead of polygons.
    min_area : int
        Areas of fewer pixels are left out, and counted.
    """

    def __init__(self, *, rle: bool = False, min_area: int = 1) -> None:
        self.n_small = 0
        self._rle, self._min_area = rle, min_area
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._numbers: dict[str, int] = {}

    @property
    def n_images(self) -> int:
        """Number of images so far."""
        return len(self._images)

    def add(self, labels: np.ndarray, table: ClassTable, info: ImageInfo, *, left_out: Container[str] | None) -> None:
        """Add an image with its label map.

        Parameters
        ----------
        labels : numpy.ndarray
            (rows, cols) uint8 class ids of `table`.
        left_out : container of str or None
            Keys of classes that get no annotations; None: those called background, null, or like no class.
        """
        image_id = len(self._images) + 1
        self._images.append({"id": image_id, "file_name": info.path.name, "height": info.rows, "width": info.cols})
        for class_id, name in enumerate(table.names):
            if _is_background(name) if left_out is None else class_key(name) in left_out:
                continue
            category_id = self._numbers.setdefault(class_key(name), len(self._numbers) + 1)
            for row in self._list_areas(labels == class_id):
                owner = {"id": len(self._annotations) + 1, "image_id": image_id, "category_id": category_id}
                self._annotations.append({**owner, **row, "iscrowd": 0})

    def count_areas(self, table: ClassTable) -> dict[str, int]:
        """Return the number of annotations of each class, by the names of a table that has all of them."""
        counts = Counter(row["category_id"] for row in self._annotations)
        spelled = dict(zip(table.keys, table.names, strict=True))
        return {spelled[key]: counts[number] for key, number in self._numbers.items()}

    def write(self, path: str | os.PathLike[str], table: ClassTable) -> None:
        """Write the file, with the names of a table that has all classes."""
        spelled = dict(zip(table.keys, table.names, strict=True))
        categories = [{"id": number, "name": spelled[key]} for key, number in self._numbers.items()]
        record = {"images": self._images, "annotations": self._annotations, "categories": categories}
        write_text(path, json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")

    def _list_areas(self, mask: np.ndarray) -> Iterator[dict[str, Any]]:
        """Yield what COCO says of each connected area of a mask, (rows, cols) bool, that is large enough."""
        from scipy.ndimage import find_objects, label

        # Pixels that touch at a corner only are apart, as in `trace_regions`.
        regions, n_regions = label(mask)
        # numpy counts in int64, of which a whole image would take twice the memory of its regions.
        counts = [np.bincount(rows.ravel(), minlength=n_regions + 1) for rows in np.array_split(regions, 16)]
        sizes = np.sum(counts, axis=0)
        boxes = find_objects(regions)
        small = sizes < self._min_area
        self.n_small += int(small[1:].sum())
        small[0] = True
        if self._rle:
            for number in np.flatnonzero(~small).tolist():
                rows, cols = boxes[number - 1]
                area = Mask(regions[rows, cols] == number, (rows.start, cols.start))
                rle = encode_rle(area, (mask.shape[0], mask.shape[1]))
                packed = {"size": list(rle.shape), "counts": pack_counts(rle.counts.tolist())}
                yield _describe(packed, sizes[number], boxes[number - 1])
            return
        regions[small[regions]] = 0
        for number, rings in trace_regions(regions):
            polygon = join_rings(rings)[:, ::-1].astype(int).ravel().tolist()
            yield _describe([polygon], sizes[number], boxes[number - 1])


def write_coco(path: str | os.PathLike[str], labelmap: LabelMap, image_path: str | os.PathLike[str]) -> None:
    """Write a COCO file of one image; every class is a category, also one that is called background."""
    table, areas = labelmap.require_table(path), CocoAreas()
    areas.add(labelmap.labels, table, describe_image(image_path), left_out=())
    areas.write(path, table)


def _is_background(name: str) -> bool:
    return class_key(name) in _BACKGROUND or find_class(name) is None


def _describe(segmentation: Any, size: int, box: tuple[slice, slice]) -> dict[str, Any]:
    rows, cols = box
    corner = [cols.start, rows.start, cols.stop - cols.start, rows.stop - rows.start]
    return {"segmentation": segmentation, "area": int(size), "bbox": corner}
