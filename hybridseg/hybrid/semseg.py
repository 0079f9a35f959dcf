"""Segment photographs: a class for every pixel of each, written in every form in which it is used."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg import __version__
from hybridseg.batch.results import BatchResult, ImageResult, measure_shares, work_through, write_confidence
from hybridseg.classes import ClassTable
from hybridseg.figures import draw_panels
from hybridseg.hybrid.segmentation import HybridOptions, Segmentation, segment_image
from hybridseg.io.atomic import claim_folder
from hybridseg.io.images import as_rgb8, load_image
from hybridseg.io.labels.formats import write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.tables import write_json
from hybridseg.models.ensemble import AnyClassifier, list_members
from hybridseg.progress import Progress, StopWatch, no_progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SemsegOutputs:
    """What is written beside the label map and its pictures.

    Parameters
    ----------
    out_dir : pathlib.Path or None
        None: beside each image.
    probabilities : bool
        A map of how sure the result is.
    report : bool
        Class shares, timings and settings.
    keep_seeds : bool
        What the tiles alone say. It is kept in any case when the CRF may have wiped out a class.
    resume : bool
        Leave out images that have a result.
    """

    out_dir: Path | None = None
    probabilities: bool = False
    report: bool = False
    keep_seeds: bool = False
    resume: bool = False


def segment_files(
    image_paths: Sequence[Path],
    classifier: AnyClassifier,
    *,
    options: HybridOptions = HybridOptions(),
    outputs: SemsegOutputs = SemsegOutputs(),
    table: ClassTable | None = None,
    progress: Progress = no_progress,
    on_done: Callable[[ImageResult], None] = lambda _: None,
) -> BatchResult:
    """Segment images one by one; one that cannot be used does not stop the others.

    Parameters
    ----------
    image_paths : sequence of pathlib.Path
    classifier : TileClassifier or Ensemble
    options : HybridOptions
    outputs : SemsegOutputs
    table : ClassTable or None
        The classes of the classifier with other colours; default: its own.
    progress : Progress
    on_done : callable
        Told of every image as soon as it is done.

    Returns
    -------
    BatchResult

    Raises
    ------
    WriteFailed
        When nothing can be written in the folder of the results.
    MissingPackage
        When there is no CRF engine.
    """
    if outputs.out_dir is not None:
        claim_folder(outputs.out_dir)

    def targets_of(path: Path) -> list[Path]:
        endings = [".mat", "_report.json"] if outputs.report else [".mat"]
        return [_result_path(path, classifier.tile_size, outputs, ending) for ending in endings]

    def work(path: Path) -> ImageResult:
        return segment_file(path, classifier, options=options, outputs=outputs, table=table, progress=progress)

    return work_through(
        image_paths,
        work,
        targets_of=targets_of,
        resume=outputs.resume,
        too_large="give a smaller --scale",
        progress=progress,
        on_done=on_done,
    )


def segment_file(
    image_path: str | os.PathLike[str],
    classifier: AnyClassifier,
    *,
    options: HybridOptions = HybridOptions(),
    outputs: SemsegOutputs = SemsegOutputs(),
    table: ClassTable | None = None,
    progress: Progress = no_progress,
) -> ImageResult:
    """Segment one image and write the result.

    Raises
    ------
    MissingInput, BadInput
        When the image cannot be read, or no tile is sure enough.
    MissingPackage
        When there is no CRF engine.
    """
    image_path, table = Path(image_path), table or classifier.table
    watch = StopWatch()
    loaded = load_image(image_path)
    image, valid, georeference = as_rgb8(loaded.pixels), loaded.valid, loaded.info.georeference
    watch.lap("read")
    found = segment_image(
        image, classifier, options=options, valid=valid, want_confidence=outputs.probabilities, progress=progress
    )
    watch.restart()
    watch.seconds.update(found.seconds)

    def path_of(ending: str, kind: str = "ares") -> Path:
        return _result_path(image_path, classifier.tile_size, outputs, ending, kind)

    warnings = list_warnings(found, table)
    result = LabelMap(found.labels, table, found.seeds, georeference)
    written = [path_of("_label.png"), path_of(".png")]
    write_labelmap(written[0], result)
    watch.lap("write label picture")
    heads = ("image", f"{found.n_tiles:,} tiles", "every pixel, by CRF")
    draw_panels(written[1], image, found.seeds, found.labels, table, heads=heads)
    watch.lap("draw figure")
    if georeference is not None:
        written.append(path_of("_label.tif"))
        write_labelmap(written[-1], result)
    if found.confidence is not None:
        written.append(path_of("_confidence.tif"))
        write_confidence(written[-1], found.confidence, georeference)
    if outputs.keep_seeds or found.lost:
        written.append(path_of(".mat", "atiles"))
        write_labelmap(written[-1], LabelMap(found.tile_labels, table, found.seeds))
    # Last of the maps: where it is, the others are too, and the image is done.
    written.insert(0, path_of(".mat"))
    write_labelmap(written[0], result)
    watch.lap("write maps")
    shares = measure_shares(found.labels, table)
    if outputs.report:
        written.append(path_of("_report.json"))
        write_json(written[-1], _make_report(image_path, classifier, options, found, shares, warnings, watch.seconds))
    return ImageResult(image_path, tuple(written), shares, tuple(warnings), watch.seconds)


def list_warnings(found: Segmentation, table: ClassTable) -> list[str]:
    """Say what a person should look at."""
    warnings = [lost.describe(table) for lost in found.lost]
    if found.filled_share > 0:
        warnings.append(
            f"{max(found.filled_share, 0.001):.1%} of the pixels are so far from every seed that the CRF knew nothing "
            "of them; they have the class of the nearest that it did (a smaller DECIM seeds more)"
        )
    return warnings


def _result_path(image_path: Path, tile_size: int, outputs: SemsegOutputs, ending: str, kind: str = "ares") -> Path:
    folder = image_path.parent if outputs.out_dir is None else outputs.out_dir
    return folder / f"{image_path.stem}_{kind}_{tile_size}{ending}"


def _make_report(
    image_path: Path,
    classifier: AnyClassifier,
    options: HybridOptions,
    found: Segmentation,
    shares: dict[str, float],
    warnings: list[str],
    seconds: dict[str, float],
) -> dict[str, Any]:
    return {
        "image": image_path.name,
        "models": [member.path.name for member in list_members(classifier)],
        "version": __version__,
        "tile_size": classifier.tile_size,
        "settings": asdict(options),
        "class_shares": shares,
        "n_tiles": found.n_tiles,
        "seeded_share": float(np.count_nonzero(found.seeds) / found.seeds.size),
        "crf": {
            "engine": found.refinement.engine,
            "n_iterations": found.refinement.n_iterations,
            "n_blocks": found.refinement.n_blocks,
            "size": list(found.refinement.labels.shape),
        },
        "filled_share": found.filled_share,
        "warnings": warnings,
        "seconds": {step: round(value, 3) for step, value in seconds.items()},
    }
