"""Spread seeds that a person drew to every pixel of an image, and write the result as ground truth."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg import __version__
from hybridseg.batch.madeby import leave_out_machine
from hybridseg.classes import VOID, ClassTable, labels_to_seeds, measure_shares, remap
from hybridseg.crf.refine import PIXEL_SECONDS
from hybridseg.errors import BadInput, OutputExists
from hybridseg.figures import FigureOptions
from hybridseg.forecast import followed_by
from hybridseg.io.annotations.doodles import LAYERS, read_strokes
from hybridseg.io.annotations.formats import is_stroke_log
from hybridseg.io.annotations.painted import paint_annotations
from hybridseg.io.annotations.strokes import draw_strokes
from hybridseg.io.atomic import write_text
from hybridseg.io.images import describe_image
from hybridseg.io.labelled import check_size, void_invalid
from hybridseg.io.labels.formats import LABELMAP_SUFFIXES, read_labelmap, write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.picture import draw_labels
from hybridseg.io.locks import lock_output
from hybridseg.io.marks import check_ours
from hybridseg.io.pairing import image_stem
from hybridseg.io.windows import ImageWindows, open_windows
from hybridseg.labelling.spreading import SpreadOptions, list_seeded, paint_over, reduce_seeds, spread_seeds
from hybridseg.labelling.suggesting import Suggester
from hybridseg.learning.classify import sample_whole
from hybridseg.learning.experience import Found, Lessons
from hybridseg.learning.features import NONE
from hybridseg.panels import fit_page, show_result, shrink_to
from hybridseg.progress import Progress, checkpoint, no_progress
from hybridseg.resample import reduce_shape
from hybridseg.sheets import draw_panels

# Pixels on the longer side of the image that a result shows.
_SHOWN = 1024
# Earlier versions wrote no record beside their label map; their class names tell.
MARKS_OF_EARLIER = (b"hybridseg:classes", b'name="CLASS_NAMES"')
# What is written beside NAME_mres.mat, besides its figure; the last only of a GeoTIFF.
TRUTH_ENDINGS = ("mres_label.png", "report.txt", "mres_label.tif")


@dataclass(frozen=True, eq=False)
class DrawnSeeds:
    """The seeds that a person drew on an image.

    Parameters
    ----------
    seeds : numpy.ndarray
        (rows, cols) uint8: the scribbles, which are to be spread.
    seconds : float or None
        Time of work; None when the file does not say.
    painted : numpy.ndarray or None
        (rows, cols) uint8: seeds that were painted onto the result, and cover it.
    image_stems : tuple of str
        Names, without suffix, of the image that they belong to; empty when the file does not say.
    warnings : tuple of str
        What a person should know of the file: sentences.
    """

    seeds: np.ndarray
    table: ClassTable
    seconds: float | None = None
    painted: np.ndarray | None = None
    image_stems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def within(self, valid: np.ndarray | None) -> DrawnSeeds:
        """Return the seeds on valid pixels, (rows, cols) bool; None: all are valid. BadInput when none is left."""
        if valid is None:
            return self
        seeds, painted = self.seeds * valid, None if self.painted is None else self.painted * valid
        if not (seeds.any() or (painted is not None and painted.any())):
            raise BadInput("everything drawn lies where the image has no picture (nodata); scribble beside that")
        return replace(self, seeds=seeds, painted=painted)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class SpreadResult(LabelMap):
    """The class of every pixel of an image, spread from scribbles. In a notebook it shows the image and its classes.

    Parameters
    ----------
    image : numpy.ndarray
        (any, any, 3) uint8: the image as it is shown.
    written : tuple of pathlib.Path
        The files that were written, the label map first.
    warnings : tuple of str
        What a person should know of the scribbles.
    """

    image: np.ndarray
    written: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()

    def _repr_png_(self) -> bytes:
        return draw_labels(self.labels, self.table, image=self.image)


def read_seeds(
    path: str | os.PathLike[str], image_path: str | os.PathLike[str], *, table: ClassTable | None = None
) -> DrawnSeeds:
    """Read scribbles: the `sparse` of a ``.mat``, a picture of class ids (or colours), or those of any tool.

    Parameters
    ----------
    path : path-like
        Or our ``NAME_doodles.json``, a ``.npz`` of Doodler, or a JSON of labelme or COCO. What a person painted as an
        area is a seed too, but not what a tool derived from scribbles.
    image_path : path-like
        The image that it was drawn on.
    table : ClassTable or None
        The classes of a file that does not name them. One that does is matched by name.

    Raises
    ------
    MissingInput, BadInput
        When it cannot be read, names no classes, or has no scribbles.
    """
    path = Path(path)
    seconds = painted = None
    stems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    if path.suffix.lower() in LABELMAP_SUFFIXES:
        found = read_labelmap(path, table=table)
        own = found.require_table(path)
        if path.suffix.lower() != ".mat":
            seeds = labels_to_seeds(found.labels)
        elif found.seeds is None:
            raise BadInput(f"{path} has no scribbles (no `sparse` in it); give a file that has them")
        else:
            seeds = found.seeds
    elif path.exists() and is_stroke_log(path):
        log = read_strokes(path)
        own, seconds = log.table, log.seconds
        stems = (Path(log.image_name).stem, image_stem(path))
        seeds, painted = (draw_strokes(log.shape, (s for s in log.seen if s.layer == layer)) for layer in LAYERS)
        painted = painted if painted.any() else None
    else:
        info = describe_image(image_path)
        drawn = paint_annotations(path, shape=info.shape, image_name=info.path.name, table=table)
        own, warnings = drawn.table, drawn.warnings
        seeds = np.zeros(info.shape, np.uint8) if drawn.areas is None else drawn.areas
        if drawn.scribbles is not None:
            seeds = drawn.scribbles if drawn.is_derived else np.where(drawn.scribbles > 0, drawn.scribbles, seeds)
    if not seeds.any() and painted is None:
        raise BadInput(f"{path} has no scribbles; draw some of each class first")
    if table is not None and own.keys != table.keys:
        lut = remap(own, table, seeds=True)
        seeds, painted, own = lut[seeds], None if painted is None else lut[painted], table
    return DrawnSeeds(seeds, own, seconds, painted, stems, warnings)


def spread_file(
    image_path: Path,
    drawn: DrawnSeeds,
    *,
    options: SpreadOptions = SpreadOptions(),
    out_dir: Path | None = None,
    write: bool = True,
    overwrite: bool = False,
    figures: FigureOptions = FigureOptions(),
    suggester: Suggester | None = None,
    progress: Progress = no_progress,
) -> SpreadResult:
    """Spread seeds over an image and write the result as ground truth, as `write_ground_truth` does, or only return it.

    `suggester` as for `spread_over`.

    Raises
    ------
    MissingInput, BadInput
        When the image cannot be read, or its size is not that of the seeds.
    OutputExists
        When there is a label map already, without `overwrite`.
    """
    target = ground_truth_path(image_path, out_dir)
    with lock_output(target) if write else nullcontext():
        if write and target.exists() and not overwrite:
            raise OutputExists(f"{target} already exists; --overwrite replaces it, --out writes to another folder")
        if drawn.image_stems and image_path.stem not in drawn.image_stems:
            raise BadInput(
                f"these strokes were drawn on {drawn.image_stems[0]}, not on {image_path.name}; if they belong to it "
                f"anyway, rename the file to {image_path.stem}_doodles.json"
            )
        if write and not overwrite:
            _check_places(image_path, out_dir, figures)
        windows = open_windows(image_path)
        check_size("the map of scribbles", drawn.seeds.shape, windows.info, advice="it belongs to another image")
        drawn = drawn.within(windows.valid())
        labels = spread_over(windows, drawn, options=options, suggester=suggester, progress=progress)
        made_by = record_spread(windows.shape, drawn, options, suggester)
        written = []
        if write:
            written = write_ground_truth(
                windows, labels, drawn, made_by=made_by, out_dir=out_dir, figures=figures, overwrite=overwrite
            )
    truth, shape = _finish(windows, labels, drawn, made_by), shrink_to(windows.shape, _SHOWN)
    return SpreadResult(
        **vars(truth), image=windows.read(slice(0, windows.shape[0]), slice(0, windows.shape[1]), shape),
        written=tuple(written), warnings=drawn.warnings,
    )  # fmt: skip


def _finish(windows: ImageWindows, labels: np.ndarray, drawn: DrawnSeeds, made_by: str) -> LabelMap:
    """Return the label map that a person made: painted areas cover it, and it is VOID where there is no picture."""
    labels = void_invalid(paint_over(labels, drawn.painted), windows.valid())
    is_drawn = drawn.painted is not None or drawn.seeds.any()
    return LabelMap(labels, drawn.table, drawn.seeds if is_drawn else None, windows.info.georeference, made_by)


def spread_over(
    windows: ImageWindows,
    drawn: DrawnSeeds,
    *,
    options: SpreadOptions,
    lessons: Lessons | None = None,
    suggester: Suggester | None = None,
    progress: Progress = no_progress,
) -> np.ndarray:
    """Spread seeds over an open image, of which only a reduced copy is read; `lessons` as for `spread_seeds`.

    Parameters
    ----------
    suggester : Suggester or None
        A model whose suggestion the seeds correct.

    Returns
    -------
    numpy.ndarray
        (rows, cols) uint8 class ids, before anything is painted over them; all VOID without scribbles or suggestion.

    Raises
    ------
    BadInput
        When the image cannot be read.
    """
    if not drawn.seeds.any() and suggester is None:
        return np.full(windows.shape, VOID, np.uint8)
    whole = slice(0, windows.shape[0]), slice(0, windows.shape[1])
    read = windows.read if options.features == NONE else windows.read_all
    small = read(*whole, reduce_shape(windows.shape, options.scale_for(windows.shape)))
    suggested = None
    if suggester is not None:
        size = small.shape[0], small.shape[1]
        suggested = suggester.look(windows.path, windows.shape, size, drawn.table)
        suggested.prepare(followed_by(progress, math.prod(size) * PIXEL_SECONDS))
    return spread_seeds(
        small, drawn.seeds, n_classes=len(drawn.table), options=options.constants, features=options.features,
        specks=options.specks, lessons=lessons, suggested=suggested, progress=progress,
    )  # fmt: skip


def sample_file(image_path: Path, strokes_path: Path, options: SpreadOptions, *, least: int = 2) -> Found | None:
    """Return what the scribbles on an image taught when they were spread, see `Experience`; None with fewer classes.

    Raises
    ------
    MissingInput, BadInput
        When one of the files cannot be read, or their sizes differ.
    """
    windows = open_windows(image_path)
    checkpoint()
    drawn = read_seeds(strokes_path, image_path)
    check_size(strokes_path, drawn.seeds.shape, windows.info, advice="it belongs to another image")
    seeds = drawn.within(windows.valid()).seeds
    shape = reduce_shape(windows.shape, options.scale_for(windows.shape))
    checkpoint()
    image = windows.read_all(slice(0, windows.shape[0]), slice(0, windows.shape[1]), shape)
    small = reduce_seeds(seeds, (image.shape[0], image.shape[1]))
    if len(list_seeded(small, ())) < least:
        return None
    features, ids = sample_whole(image, small, options.features)
    return features, [drawn.table.keys[i] for i in ids]


def record_spread(
    shape: tuple[int, int],
    drawn: DrawnSeeds,
    options: SpreadOptions,
    suggester: Suggester | None,
    *,
    taught_by: Sequence[str] = (),
) -> str:
    """Return the record of how an image of these rows and columns is labelled, as JSON on one line."""
    record: dict[str, Any] = {"command": "label", "version": __version__}
    if drawn.seeds.any() or suggester is not None:
        others = options.others if taught_by else 0.0
        used = replace(options, scale=options.scale_for(shape), crf=options.constants, others=others)
        record["settings"] = leave_out_machine(asdict(used))
    if taught_by:
        record["taught_by"] = list(taught_by)
    if suggester is not None:
        # Not `models`: what a person accepted is no result of a model, which another result may replace.
        record["suggested_by"] = suggester.describe(shape)
    return json.dumps(record)


def ground_truth_path(image_path: Path, out_dir: Path | None) -> Path:
    """Return the path of the label map that a person makes of an image."""
    return (out_dir or image_path.parent) / f"{image_path.stem}_mres.mat"


def write_ground_truth(
    windows: ImageWindows,
    labels: np.ndarray,
    drawn: DrawnSeeds,
    *,
    made_by: str,
    out_dir: Path | None = None,
    figures: FigureOptions = FigureOptions(),
    overwrite: bool = False,
) -> list[Path]:
    """Write labels in every form in which ground truth is used.

    Parameters
    ----------
    labels : numpy.ndarray
        (rows, cols) uint8, as from `spread_over`. They are written as VOID where the image has no picture.
    drawn : DrawnSeeds
        The seeds that they were spread from, and those that cover them.
    made_by : str
        See `record_spread`.
    out_dir : pathlib.Path or None
        None: beside the image.
    overwrite : bool
        Also replace files beside ``NAME_mres.mat`` that were not written here.

    Returns
    -------
    list of pathlib.Path
        ``NAME_mres.mat`` first; ``NAME_mres_label.png``, ``figures/NAME_mres.png``, ``NAME_report.txt``, and of a
        GeoTIFF ``NAME_mres_label.tif``.
    """
    target = ground_truth_path(windows.path, out_dir)
    result = _finish(windows, labels, drawn, made_by)
    labels, stem = result.labels, windows.path.stem
    if not overwrite:
        _check_places(windows.path, out_dir, figures)
    *written, tiff_path = _list_places(target, stem, figures)
    write_labelmap(written[0], result)
    heads = ("image", "scribbles", "every pixel")
    shape = fit_page(windows.shape, len(heads), dpi=figures.dpi)
    small = windows.read(slice(0, windows.shape[0]), slice(0, windows.shape[1]), shape)
    panels = show_result(small, labels, drawn.table, shape=shape, heads=heads, seeds=drawn.seeds)
    draw_panels(written[1], panels, dpi=figures.dpi)
    write_text(written[2], _describe(windows.path, labels, drawn))
    if result.georeference is not None:
        written.append(tiff_path)
        write_labelmap(written[-1], result)
    # Last: where this file is, the others are too.
    write_labelmap(target, result)
    return [target, *written]


def _list_places(target: Path, stem: str, figures: FigureOptions) -> list[Path]:
    """List what is written beside a label map: its picture, the figure, the report, and of a GeoTIFF the raster."""
    label_path, report_path, tiff_path = (target.with_name(f"{stem}_{ending}") for ending in TRUTH_ENDINGS)
    return [label_path, figures.place(target.parent, f"{stem}_mres"), report_path, tiff_path]


def _check_places(image_path: Path, out_dir: Path | None, figures: FigureOptions) -> None:
    """Raise OutputExists where one of those would replace a file that was not written here."""
    target = ground_truth_path(image_path, out_dir)
    marks = MARKS_OF_EARLIER if target.exists() else ()
    check_ours(_list_places(target, image_path.stem, figures), marks=marks, advice="let --out name another folder")


def _describe(image_path: Path, labels: np.ndarray, drawn: DrawnSeeds) -> str:
    lines = [f"image: {image_path.name}", f"pixels: {labels.size}"]
    lines.append(f"scribbled: {np.count_nonzero(drawn.seeds) / labels.size:.2%}")
    if drawn.painted is not None:
        lines.append(f"painted: {np.count_nonzero(drawn.painted) / labels.size:.2%}")
    if drawn.seconds is not None:
        lines.append(f"minutes: {drawn.seconds / 60:.1f}")
    lines += [f"{name}: {share:.2%}" for name, share in measure_shares(labels, drawn.table).items()]
    return "\n".join(lines) + "\n"
