"""Scribbles become a label map: what a person drew is spread to every pixel and written as ground truth."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hybridseg.batch.results import measure_shares
from hybridseg.classes import VOID, ClassTable, remap
from hybridseg.crf.options import CrfOptions
from hybridseg.crf.refine import refine_labels
from hybridseg.errors import BadInput, OutputExists
from hybridseg.figures import PANEL_PIXELS, draw_panels
from hybridseg.io.annotations.doodles import LAYERS, read_doodles
from hybridseg.io.atomic import write_text
from hybridseg.io.labelled import check_size, void_invalid
from hybridseg.io.labels.formats import LABELMAP_SUFFIXES, read_labelmap, write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.pairing import image_stem
from hybridseg.io.windows import ImageWindows, open_windows
from hybridseg.labelling.strokes import draw_strokes
from hybridseg.progress import Progress, no_progress
from hybridseg.resample import reduce_shape, resize_nearest, take_nearest

# The classic scale was made for photos of 36 megapixels; small ones turn into blocks by it (docs/benchmarks.md).
_USUAL_SCALE, _LEAST_CRF_PIXELS = 0.2, 250_000
SPREAD_CRF = CrfOptions(color_scale=5.0, gt_prob=0.9)


@dataclass(frozen=True)
class SpreadOptions:
    """How scribbles are spread.

    Parameters
    ----------
    scale : float or None
        Size of the image on which the CRF works, as a share of its own. None: 0.2, and more where that would leave
        fewer than 250,000 pixels.
    crf : CrfOptions
        Its `gt_prob` is how far a scribble is trusted.

    Raises
    ------
    BadInput
        For a scale out of range.
    """

    scale: float | None = None
    crf: CrfOptions = SPREAD_CRF

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if self.scale is not None and not 0 < self.scale <= 1:
            raise BadInput(f"scale={self.scale} must be above 0 and at most 1 (the image's own size)")

    def scale_for(self, shape: tuple[int, int]) -> float:
        """Give the scale for an image of so many rows and columns.

        Examples
        --------
        >>> SpreadOptions().scale_for((4912, 7360)), SpreadOptions().scale_for((500, 500))
        (0.2, 1.0)
        >>> SpreadOptions(scale=0.3).scale_for((500, 500))
        0.3
        """
        if self.scale is not None:
            return self.scale
        return min(max(_USUAL_SCALE, math.sqrt(_LEAST_CRF_PIXELS / (shape[0] * shape[1]))), 1.0)


@dataclass(frozen=True, eq=False)
class Scribbles:
    """What a person knows of an image.

    Parameters
    ----------
    seeds : numpy.ndarray
        (rows, cols) uint8: 0 = unlabelled, class k is k + 1.
    table : ClassTable
    seconds : float or None
        That the person worked; None when the file does not say.
    paint : numpy.ndarray or None
        (rows, cols) uint8, as the seeds: what was painted onto the dense result.
    image_stems : tuple of str
        Names, without suffix, of the image that they belong to; empty when the file does not say.
    """

    seeds: np.ndarray
    table: ClassTable
    seconds: float | None = None
    paint: np.ndarray | None = None
    image_stems: tuple[str, ...] = ()

    def within(self, valid: np.ndarray | None) -> Scribbles:
        """Give those that lie where the image holds a picture, (rows, cols) bool; None: all of it."""
        if valid is None:
            return self
        seeds, paint = self.seeds * valid, None if self.paint is None else self.paint * valid
        if not (seeds.any() or (paint is not None and paint.any())):
            raise BadInput("all that is drawn lies where the image holds no picture (nodata); scribble beside that")
        return replace(self, seeds=seeds, paint=paint)


def read_scribbles(path: str | os.PathLike[str], *, table: ClassTable | None = None) -> Scribbles:
    """Read scribbles: the `sparse` of a ``.mat``, a picture of class ids (or colours), or ``_doodles.json``.

    Parameters
    ----------
    path : path-like
    table : ClassTable or None
        The classes of a file that does not name them. One that does is matched by name.

    Returns
    -------
    Scribbles

    Raises
    ------
    MissingInput, BadInput
        When it cannot be read, names no classes, or holds no scribble.
    """
    path = Path(path)
    if path.suffix.lower() not in (".json", *LABELMAP_SUFFIXES):
        raise BadInput(f"{path} holds no scribbles; give NAME_doodles.json, or one of {', '.join(LABELMAP_SUFFIXES)}")
    seconds = paint = None
    stems: tuple[str, ...] = ()
    if path.suffix.lower() == ".json":
        doodles = read_doodles(path)
        own, seconds = doodles.table, doodles.seconds
        stems = (Path(doodles.image_name).stem, image_stem(path))
        seeds, drawn = (
            draw_strokes(doodles.shape, (s for s in doodles.strokes if s.layer == layer)) for layer in LAYERS
        )
        paint = drawn if drawn.any() else None
    else:
        found = read_labelmap(path, table=table)
        own = found.require_table(path)
        if path.suffix.lower() != ".mat":
            # VOID, 255, wraps to 0: unlabelled.
            seeds = found.labels + np.uint8(1)
        elif found.seeds is None:
            raise BadInput(f"{path} has no scribbles (no `sparse` in it); give a file that has them")
        else:
            seeds = found.seeds
    if not seeds.any() and paint is None:
        raise BadInput(f"{path} holds no scribble; draw some of each class first")
    if table is not None and own.keys != table.keys:
        lut = remap(own, table)
        seeds, own = lut[seeds - np.uint8(1)] + np.uint8(1), table
        paint = None if paint is None else lut[paint - np.uint8(1)] + np.uint8(1)
    return Scribbles(seeds, own, seconds, paint, stems)


def spread_seeds(
    image: np.ndarray,
    seeds: np.ndarray,
    *,
    n_classes: int,
    options: CrfOptions = SPREAD_CRF,
    progress: Progress = no_progress,
) -> np.ndarray:
    """Give every pixel a class from scribbles on some.

    Parameters
    ----------
    image : numpy.ndarray
        (any, any, 3) uint8: of the size at which the CRF works, not larger than the seeds.
    seeds : numpy.ndarray
        (rows, cols) uint8.
    n_classes : int
    options : CrfOptions
    progress : Progress

    Returns
    -------
    numpy.ndarray
        (rows, cols) uint8 class ids. What was scribbled is as it was scribbled.

    Examples
    --------
    >>> image = np.zeros((20, 30, 3), np.uint8)
    >>> image[:, 15:] = 200
    >>> seeds = np.zeros((20, 30), np.uint8)
    >>> seeds[5, 3], seeds[5, 25] = 1, 2
    >>> spread_seeds(image, seeds, n_classes=2, options=CrfOptions(theta=10))[0, ::5].tolist()
    [0, 0, 0, 1, 1, 1]
    """
    small_seeds = reduce_seeds(seeds, (image.shape[0], image.shape[1]))
    found = refine_labels(image, small_seeds, n_classes=n_classes, options=options, progress=progress).labels
    known = found != VOID
    if not known.any():
        raise BadInput("the CRF gave no pixel a class; trust the scribbles more (--gt-prob)")
    return cover(resize_nearest(take_nearest(found, known), (seeds.shape[0], seeds.shape[1])), seeds)


def reduce_seeds(seeds: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Make a map of seeds smaller; a pixel gets the class that has most seeds in it, so that no thin line is lost.

    Parameters
    ----------
    seeds : numpy.ndarray
        (rows, cols) uint8.
    shape : tuple of int

    Returns
    -------
    numpy.ndarray
        (*shape,) uint8.

    Examples
    --------
    >>> reduce_seeds(np.array([[0, 0, 3, 3], [0, 1, 3, 2]], np.uint8), (1, 2)).tolist()
    [[1, 3]]
    """
    rows, cols = np.nonzero(seeds)
    cells = (rows * shape[0] // seeds.shape[0]) * shape[1] + cols * shape[1] // seeds.shape[1]
    pairs, counts = np.unique(cells * 256 + seeds[rows, cols], return_counts=True)
    # The last of a cell stays: of equal counts that with the lowest id.
    order = np.lexsort((-(pairs % 256), counts))
    small = np.zeros(shape, np.uint8)
    small.flat[pairs[order] // 256] = pairs[order] % 256
    return small


def spread_file(
    image_path: Path,
    scribbles: Scribbles,
    *,
    options: SpreadOptions = SpreadOptions(),
    out_dir: Path | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> list[Path]:
    """Spread scribbles over an image, and write the result as ground truth.

    Parameters
    ----------
    image_path : pathlib.Path
    scribbles : Scribbles
    options : SpreadOptions
    out_dir : pathlib.Path or None
        None: beside the image.
    overwrite : bool
    progress : Progress

    Returns
    -------
    list of pathlib.Path
        As `write_ground_truth`.

    Raises
    ------
    MissingInput, BadInput
        When the image cannot be read, or has another size than the scribbles.
    OutputExists
        When there is a label map already.
    """
    target = ground_truth_path(image_path, out_dir)
    if target.exists() and not overwrite:
        raise OutputExists(f"{target} is there already; --overwrite replaces it, --out writes to another folder")
    if scribbles.image_stems and image_path.stem not in scribbles.image_stems:
        raise BadInput(
            f"these strokes were drawn on {scribbles.image_stems[0]}, not on {image_path.name}; if they belong to it "
            f"all the same, call the file {image_path.stem}_doodles.json"
        )
    windows = open_windows(image_path)
    check_size("the drawing", scribbles.seeds.shape, windows.info, advice="it belongs to another image")
    scribbles = scribbles.within(windows.valid())
    labels = spread_over(windows, scribbles, options=options, progress=progress)
    return write_ground_truth(windows, labels, scribbles, out_dir=out_dir)


def spread_over(
    windows: ImageWindows, scribbles: Scribbles, *, options: SpreadOptions, progress: Progress = no_progress
) -> np.ndarray:
    """Spread scribbles over an open image, of which only a reduced copy is read.

    Returns
    -------
    numpy.ndarray
        (rows, cols) uint8 class ids, before anything is painted over; VOID everywhere without a scribble.

    Raises
    ------
    BadInput
        When the image cannot be read.
    """
    if not scribbles.seeds.any():
        return np.full(windows.shape, VOID, np.uint8)
    whole = slice(0, windows.shape[0]), slice(0, windows.shape[1])
    small = windows.read(*whole, reduce_shape(windows.shape, options.scale_for(windows.shape)))
    return spread_seeds(small, scribbles.seeds, n_classes=len(scribbles.table), options=options.crf, progress=progress)


def ground_truth_path(image_path: Path, out_dir: Path | None) -> Path:
    """Name the label map that a person makes of an image."""
    return (out_dir or image_path.parent) / f"{image_path.stem}_mres.mat"


def write_ground_truth(
    windows: ImageWindows, labels: np.ndarray, scribbles: Scribbles, *, out_dir: Path | None = None
) -> list[Path]:
    """Write what came of scribbles in every form in which it is used.

    Parameters
    ----------
    windows : ImageWindows
    labels : numpy.ndarray
        (rows, cols) uint8, as `spread_over` gives it. Void where the image holds no picture, whatever it says there.
    scribbles : Scribbles
    out_dir : pathlib.Path or None
        None: beside the image.

    Returns
    -------
    list of pathlib.Path
        ``NAME_mres.mat`` first; ``NAME_mres_label.png``, ``NAME_mres.png``, ``NAME_report.txt``, and of a GeoTIFF
        ``NAME_mres_label.tif``.
    """
    target = ground_truth_path(windows.path, out_dir)
    labels = cover(labels, scribbles.paint)
    labels = void_invalid(labels, windows.valid())
    result = LabelMap(labels, scribbles.table, scribbles.seeds, windows.info.georeference)
    endings = ("mres_label.png", "mres.png", "report.txt")
    written = [target.with_name(f"{windows.path.stem}_{ending}") for ending in endings]
    write_labelmap(written[0], result)
    shape = reduce_shape(windows.shape, min(1.0, PANEL_PIXELS / max(windows.shape)))
    small = windows.read(slice(0, windows.shape[0]), slice(0, windows.shape[1]), shape)
    heads = ("image", "scribbles", "every pixel")
    draw_panels(written[1], small, scribbles.seeds, labels, scribbles.table, heads=heads)
    write_text(written[2], _tell(windows.path, labels, scribbles))
    if result.georeference is not None:
        written.append(target.with_name(f"{windows.path.stem}_mres_label.tif"))
        write_labelmap(written[-1], result)
    # Last: where it is, the others are too.
    write_labelmap(target, result)
    return [target, *written]


def cover(labels: np.ndarray, painted: np.ndarray | None) -> np.ndarray:
    """Put what a person painted, class k as k + 1, on labels: a person knows better than the CRF."""
    return labels if painted is None else np.where(painted > 0, painted - np.uint8(1), labels)


def _tell(image_path: Path, labels: np.ndarray, scribbles: Scribbles) -> str:
    lines = [f"image: {image_path.name}", f"pixels: {labels.size}"]
    lines.append(f"scribbled: {np.count_nonzero(scribbles.seeds) / labels.size:.2%}")
    if scribbles.paint is not None:
        lines.append(f"painted: {np.count_nonzero(scribbles.paint) / labels.size:.2%}")
    if scribbles.seconds is not None:
        lines.append(f"minutes: {scribbles.seconds / 60:.1f}")
    lines += [f"{name}: {share:.2%}" for name, share in measure_shares(labels, scribbles.table).items()]
    return "\n".join(lines) + "\n"
