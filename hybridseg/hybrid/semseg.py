"""Segment image files by tile classifiers and the CRF, and write the label maps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg import __version__
from hybridseg.batch.jobs import Job, Outputs, load_once
from hybridseg.batch.madeby import make_record
from hybridseg.batch.parts import Work
from hybridseg.batch.results import (
    NO_DATA,
    ImageResult,
    KeptMaps,
    explain_large,
    fits_whole,
    is_small,
    writing_result,
)
from hybridseg.classes import ClassTable, share_out
from hybridseg.figures import DPI
from hybridseg.hybrid.segmentation import HybridOptions, plan_votes, segment_image
from hybridseg.hybrid.segmented import Segmentation
from hybridseg.hybrid.tiles import HALF
from hybridseg.hybrid.votes import count_batches
from hybridseg.io.bands import describe_colors
from hybridseg.io.images import describe_image
from hybridseg.io.labels.formats import write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.lazyimages import open_lazily
from hybridseg.io.rasters import GeoReference
from hybridseg.io.tables import write_json
from hybridseg.machine import MemoryOptions
from hybridseg.markup import count_of
from hybridseg.models.ensemble import AnyClassifier, Ensemble, list_members
from hybridseg.models.graphs import INPUT_RANGES
from hybridseg.models.store import load_classifier
from hybridseg.options import option
from hybridseg.panels import fit_page, show_result
from hybridseg.progress import Progress, StopWatch, no_progress
from hybridseg.resample import shrink_image
from hybridseg.sheets import draw_panels


@dataclass(frozen=True)
class SemsegJob(Job):
    """Segment an image by tile classifiers and the CRF.

    Parameters
    ----------
    labels_path : pathlib.Path or None
        The classes of a ``.pb`` of the classic script.
    tile_size : int or None
        Needed when a graph does not say.
    input_range : str or None
        The values that a ``.pb`` without a card takes; None: as its input is called.
    """

    labels_path: Path | None = None
    tile_size: int | None = None
    input_range: str | None = option(
        None,
        "Values that a model without a card takes: those of tensorflow-for-poets take -1..1.  [default: by its input]",
        choices=INPUT_RANGES,
    )
    options: HybridOptions = HybridOptions()
    memory: MemoryOptions = MemoryOptions()

    too_large = "give a smaller --scale"

    def load(self) -> AnyClassifier:
        """Load the classifiers."""
        return load_classifiers(
            self.model_paths, labels_path=self.labels_path, tile_size=self.tile_size, input_range=self.input_range,
            engine=self.engine,
        )  # fmt: skip

    def describe(self) -> dict[str, Any]:
        """Return all that the results depend on: in place of a list of classes, those that it holds."""
        settings = super().describe()
        del settings["labels_path"], settings["tile_size"]
        cards = [{"table": asdict(model.table), "tile_size": model.tile_size} for model in list_members(self.load())]
        return {**settings, "cards": cards}

    def list_targets(self, image_path: Path) -> list[Path]:
        """List the label map, and what was asked for beside it."""
        small = is_small(image_path)
        places = self._find_places(image_path, is_large=not small)
        targets = [places.label_map if small else places.raster, *places.figures]
        if self.outputs.probabilities:
            targets += [places.confidence, places.entropy]
        if self.outputs.keep_seeds:
            targets.append(places.tiles)
        if self.outputs.report:
            targets.append(places.report)
        return targets

    def list_places(self, image_path: Path) -> list[Path]:
        """List the same, the label map as a picture, and that of the tiles, which is written for lost ones too."""
        places = self._find_places(image_path, is_large=not is_small(image_path))
        return [*self.list_targets(image_path), places.picture, places.raster, places.tiles]

    def _find_places(self, image_path: Path, *, is_large: bool) -> _Places:
        return _Places(self.outputs, image_path, self.load().tile_size, is_large=is_large)

    def record(self, image_path: Path) -> str:
        """Return the record of how the label map of an image is made."""
        return self.record_shape(describe_image(image_path).shape)

    def record_shape(self, shape: tuple[int, int]) -> str:
        """Return the same for an image of these rows and columns."""
        classifier = self.load()
        options = self.options.fit(shape, classifier.tile_size)
        return _make_record(classifier, options, self.table or classifier.table)

    def count_parts(self, shape: tuple[int, int]) -> int:
        """Return in how many batches tiles are classified."""
        grids = plan_votes(shape, self.load(), self.options)
        return sum(map(count_batches, grids))

    def count_kept(self, shape: tuple[int, int], n_workers: int) -> int:
        """Return about how many bytes the probabilities of the tiles take on the disk."""
        classifier = self.load()
        grids = plan_votes(shape, classifier, self.options)
        return 4 * len(classifier.table) * sum(len(grid.chosen) for grid in grids)

    def segment(self, image_path: Path, *, work: Work | None = None, progress: Progress = no_progress) -> ImageResult:
        """Segment one image and write the result."""
        return segment_file(
            image_path, self.load(), options=self.options, outputs=self.outputs, table=self.table, memory=self.memory,
            work=work, progress=progress,
        )  # fmt: skip

    def share(self, image_path: Path, work: Work, *, progress: Progress = no_progress) -> ImageResult:
        """Segment one image whose tiles others classify."""
        return self.segment(image_path, work=work, progress=progress)


class _Places:
    """The files of the result of an image, by what they hold."""

    def __init__(self, outputs: Outputs, image_path: Path, tile_size: int, *, is_large: bool) -> None:
        def place(ending: str, kind: str = "ares") -> Path:
            return outputs.place(image_path, f"_{kind}_{tile_size}{ending}")

        self.label_map, self.picture, self.raster = place(".mat"), place("_label.png"), place("_label.tif")
        self.figures = outputs.list_figures(image_path, f"_ares_{tile_size}")
        self.confidence, self.entropy = place("_confidence.tif"), place("_entropy.tif")
        self.tiles = place(".tif" if is_large else ".mat", "atiles")
        self.report = place("_report.json")


def load_classifiers(paths: Sequence[Path], **settings: Any) -> AnyClassifier:
    """Load a classifier, or several that vote; the second call in a process is free.

    Parameters
    ----------
    settings
        Those of `load_classifier`.

    Raises
    ------
    MissingInput, BadInput
        As `load_classifier`, and when their classes differ.
    """
    models = [load_once(load_classifier, path, **settings) for path in paths]
    return models[0] if len(models) == 1 else Ensemble(tuple(models))


def segment_file(
    image_path: str | os.PathLike[str],
    classifier: AnyClassifier,
    *,
    options: HybridOptions = HybridOptions(),
    outputs: Outputs = Outputs(),
    table: ClassTable | None = None,
    memory: MemoryOptions = MemoryOptions(),
    work: Work | None = None,
    progress: Progress = no_progress,
) -> ImageResult:
    """Segment one image of any size by a loaded classifier and write the result.

    Parameters
    ----------
    work : Work or None
        What classifies the tiles; None: this process.

    Raises
    ------
    MissingInput, BadInput
        When the image cannot be read, no tile is sure enough, or it needs more memory.
    MissingPackage
        When there is no CRF engine.
    """
    image_path, table = Path(image_path), table or classifier.table
    watch, room = StopWatch(), memory.find_room()
    info, image = describe_image(image_path), open_lazily(image_path, room=room).as_rgb8()
    watch.lap("read")
    found = segment_image(
        image, classifier, options=options, want_confidence=outputs.probabilities, room=room, work=work,
        progress=progress,
    )  # fmt: skip
    watch.restart()
    watch.seconds.update(found.seconds)

    bands = describe_colors(info.bands, model=classifier.path.name, has_alpha=info.has_alpha)
    warnings = list_warnings(found, options, table, tile_size=classifier.tile_size, bands=bands)
    warnings += filter(None, [explain_large(info.shape)])
    places = _Places(outputs, image_path, classifier.tile_size, is_large=not fits_whole(info.shape))
    made_by = _make_record(classifier, found.options, table)
    kept, written = _write_maps(found, table, info.georeference, made_by, outputs=outputs, places=places, watch=watch)
    shares = share_out(kept.counts, table)
    if outputs.report:
        report = _make_report(
            image_path, classifier, found, kept.n_seeds, shares=shares, warnings=warnings, seconds=watch.seconds
        )
        write_json(places.report, report)
        written.append(places.report)
    return ImageResult(
        image_path, tuple(written), shares, tuple(warnings), watch.seconds,
        measures=kept.measures, remark="" if found.n_tiles else NO_DATA,
    )  # fmt: skip


def list_warnings(
    found: Segmentation, options: HybridOptions, table: ClassTable, *, tile_size: int, bands: str = ""
) -> list[str]:
    """Describe what a person should check in the result; nothing where there is no picture.

    Parameters
    ----------
    bands : str
        What is to be said of the bands of the image.
    """
    if not found.n_tiles:
        return []
    warnings = [*filter(None, [bands]), *(lost.describe(table) for lost in found.lost)]
    rows, cols = found.shape
    if min(rows, cols) < tile_size:
        warnings.append(
            f"the image has {rows} x {cols} pixels, less than a tile of {tile_size}, so its result should not be "
            "trusted; give a larger image, or a model of smaller tiles"
        )
    if found.votes.shown < HALF:
        warnings.append(
            f"every tile is mostly nodata or transparent (at best {found.votes.shown:.0%} of one is valid), so the "
            "result should not be trusted; segment the image together with those around it"
        )
    if options.pattern is None and found.options.pattern == "checker":
        warnings.append(
            f"of every {options.decimation} tiles one is classified; picked row by row, they would leave most columns "
            "of the image without any, so they are spread evenly (--pattern checker; --pattern raster picks them row "
            "by row all the same)"
        )
    if found.refinement.n_blocks > found.refinement.n_planned:
        warnings.append(
            f"memory was short, so the CRF worked in {found.refinement.n_blocks} overlapping blocks instead of "
            f"{found.refinement.n_planned}; a few pixels in a thousand may differ; to avoid that, "
            "remove the result and give more (--max-memory)"
        )
    if found.filled_share > 0:
        warnings.append(
            f"{max(found.filled_share, 0.001):.1%} of the pixels are so far from every seed that the CRF knew nothing "
            "of them; they take the class of the nearest pixel that it labelled (a smaller DECIM seeds more)"
        )
    return warnings


def _write_maps(
    found: Segmentation,
    table: ClassTable,
    georeference: GeoReference | None,
    made_by: str,
    *,
    outputs: Outputs,
    places: _Places,
    watch: StopWatch,
) -> tuple[KeptMaps, list[Path]]:
    """Write the label map, what was asked for beside it and the figure; return their paths, the label map first."""
    shape, is_large = found.shape, not fits_whole(found.shape)
    heads = ("image", f"{count_of(found.n_tiles, 'tile')}", "every pixel, by CRF")
    dpi = outputs.figures.dpi if outputs.figures else DPI
    panel = fit_page(shape, len(heads), dpi=dpi)
    raster_path = places.raster if georeference is not None or is_large else None
    confidence_path, entropy_path = (places.confidence, places.entropy) if outputs.probabilities else (None, None)
    tiles_path = places.tiles if outputs.keep_seeds or found.lost else None
    written = [*places.figures, *filter(None, [raster_path, confidence_path, entropy_path, tiles_path])]
    about: dict[str, Any] = {"made_by": made_by, "size": panel if is_large else shape}
    with writing_result(
        found.list_rows(), shape, table, georeference, label_path=raster_path, confidence_path=confidence_path,
        entropy_path=entropy_path, **about,
    ) as kept:  # fmt: skip
        watch.lap("write maps")
        for path in places.figures:
            has_enough = min(np.subtract(found.picture.shape[:2], panel)) >= 0
            picture = shrink_image(found.picture, *panel) if has_enough else found.image.shrink(panel)
            seen = show_result(picture, kept.labels, table, shape=panel, heads=heads, seeds=kept.seeds)
            draw_panels(path, seen, dpi=dpi)
            watch.lap("draw figure")
        if tiles_path is not None:
            _write_tiles(tiles_path, found, table, georeference, **about)
    if is_large:
        written.sort(key=lambda path: path != raster_path)
    else:
        result = LabelMap(kept.labels, table, kept.seeds, georeference, made_by)
        write_labelmap(places.picture, result)
        watch.lap("write label picture")
        # Last of the maps: where it is, the others are too, and the image is done.
        write_labelmap(places.label_map, result)
        written = [places.label_map, places.picture, *written]
    watch.lap("write maps")
    return kept, written


def _write_tiles(
    path: Path,
    found: Segmentation,
    table: ClassTable,
    georeference: GeoReference | None,
    *,
    made_by: str,
    size: tuple[int, int],
) -> None:
    """Write the label map of the tiles alone, without the CRF; as a GeoTIFF part by part."""
    is_raster = path.suffix == ".tif"
    with writing_result(
        found.list_tile_rows(), found.shape, table, georeference, label_path=path if is_raster else None,
        made_by=made_by, size=size,
    ) as kept:  # fmt: skip
        if not is_raster:
            write_labelmap(path, LabelMap(kept.labels, table, kept.seeds, made_by=made_by))


def _make_record(classifier: AnyClassifier, options: HybridOptions, table: ClassTable) -> str:
    return make_record("semseg", [member.path for member in list_members(classifier)], table, options=options)


def _make_report(
    image_path: Path,
    classifier: AnyClassifier,
    found: Segmentation,
    n_seeds: int,
    *,
    shares: dict[str, float],
    warnings: list[str],
    seconds: dict[str, float],
) -> dict[str, Any]:
    return {
        "image": image_path.name,
        "models": [member.path.name for member in list_members(classifier)],
        "version": __version__,
        "tile_size": classifier.tile_size,
        "settings": asdict(found.options),
        "class_shares": shares,
        "n_tiles": found.n_tiles,
        "seeded_share": n_seeds / (found.shape[0] * found.shape[1]),
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
