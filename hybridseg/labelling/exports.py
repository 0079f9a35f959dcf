"""The result of an open image, as a file for other programs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from hybridseg.classes import seeds_to_labels
from hybridseg.errors import BadInput
from hybridseg.io.annotations.areas import ENDINGS, write_mask
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.labelling.entries import OpenImage

# A `.mat` is what accepting an image writes.
EXPORTS = tuple(to for to in ENDINGS if to != "mat")
# Downloads lie in one folder, where the JSON of labelme has the name of the image.
_ENDINGS = ENDINGS | {"coco": "_coco.json"}


def export_result(opened: OpenImage, to: str) -> tuple[str, bytes]:
    """Return the name and the content of a file with the result as the page shows it.

    Raises
    ------
    BadInput
        When there is no such format, or no result of the whole image.
    """
    if to not in EXPORTS:
        raise BadInput(f"a result can be exported as {', '.join(EXPORTS)}")
    path = opened.windows.path
    with opened.lock:
        if opened.labels is None and not opened.drawing.seeds["result"].any():
            raise BadInput(f"{path.name} has no result to export; label the whole image first (Enter)")
        if opened.labels is not None and opened.stale:
            raise BadInput("the scribbles have changed since the image was labelled; label it again (Enter)")
        rows, cols = opened.windows.shape
        labels = seeds_to_labels(opened.view("result", slice(0, rows), slice(0, cols)))
        seeds = np.array(opened.drawing.seeds["scribbles"])
        result = LabelMap(labels, opened.table, seeds, opened.windows.info.georeference)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / f"{path.stem}{_ENDINGS[to]}"
        write_mask(target, result, path, to=to)
        return target.name, target.read_bytes()
