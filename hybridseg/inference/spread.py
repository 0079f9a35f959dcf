"""Scribbles become a label map: what a person drew is spread to every pixel and written as ground truth."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hybridseg.classes import VOID, ClassTable, remap
from hybridseg.crf.options import CrfOptions
from hybridseg.crf.refine import refine_labels
from hybridseg.data.strokes import draw_strokes
from hybridseg.errors import BadInput, OutputExists
from hybridseg.inference.hybrid import reduce_image
from hybridseg.inference.results import draw_panels, measure_shares
from hybridseg.inference.tiles import take_nearest
from hybridseg.io.atomic import write_text
from hybridseg.io.doodles import read_doodles
from hybridseg.io.files import read_labelmap, write_labelmap
from hybridseg.io.images import as_rgb8, describe_image, read_filled, resize_nearest
from hybridseg.io.labelmaps import LabelMap
from hybridseg.progress import Progress, no_progress


@dataclass(frozen=True)
class SpreadOptions:
    """How scribbles are spread.

    Parameters
    ----------
    scale : float
        Size of the image on which the CRF works, as a share of its own.
    crf : CrfOptions
        Its `gt_prob` is how far a scribble is trusted.

    Raises
    ------
    BadInput
        For a scale out of range.
    """

    scale: float = 0.2
    crf: CrfOptions = field(default_factory=lambda: CrfOptions(color_scale=5.0, gt_prob=0.9))

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if not 0 < self.scale <= 1:
            raise BadInput(f"scale={self.scale} must be above 0 and at most 1 (the image's own size)")


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
    """

    seeds: np.ndarray
    table: ClassTable
    seconds: float | None = None


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
    path, seconds = Path(path), None
    if path.suffix.lower() == ".json":
        doodles = read_doodles(path)
        seeds, own, seconds = draw_strokes(doodles.shape, doodles.strokes), doodles.table, doodles.seconds
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
    if not seeds.any():
        raise BadInput(f"{path} holds no scribble; draw some of each class first")
    if table is not None and own.keys != table.keys:
        seeds, own = remap(own, table)[seeds - np.uint8(1)] + np.uint8(1), table
    return Scribbles(seeds, own, seconds)


def spread_seeds(
    image: np.ndarray,
    seeds: np.ndarray,
    *,
    n_classes: int,
    options: SpreadOptions = SpreadOptions(),
    progress: Progress = no_progress,
) -> np.ndarray:
    """Give every pixel a class from scribbles on some.

    Parameters
    ----------
    image : numpy.ndarray
        (rows, cols, 3) uint8.
    seeds : numpy.ndarray
        (rows, cols) uint8.
    n_classes : int
    options : SpreadOptions
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
    >>> options = SpreadOptions(scale=1.0, crf=CrfOptions(theta=10))
    >>> spread_seeds(image, seeds, n_classes=2, options=options)[0, ::5].tolist()
    [0, 0, 0, 1, 1, 1]
    """
    shape = (image.shape[0], image.shape[1])
    small = reduce_image(image, options.scale)
    small_seeds = reduce_seeds(seeds, (small.shape[0], small.shape[1]))
    found = refine_labels(small, small_seeds, n_classes=n_classes, options=options.crf, progress=progress).labels
    known = found != VOID
    if not known.any():
        raise BadInput("the CRF gave no pixel a class; trust the scribbles more (--gt-prob)")
    labels = resize_nearest(take_nearest(found, known), shape)
    # A person knows better than the CRF.
    return np.where(seeds > 0, seeds - np.uint8(1), labels)


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
        ``NAME_mres.mat`` first; ``NAME_mres_label.png``, ``NAME_mres.png``, ``NAME_report.txt``, and of a GeoTIFF
        ``NAME_mres_label.tif``.

    Raises
    ------
    MissingInput, BadInput
        When the image cannot be read, or has another size than the scribbles.
    OutputExists
        When there is a label map already.
    """
    folder = out_dir or image_path.parent
    target = folder / f"{image_path.stem}_mres.mat"
    if target.exists() and not overwrite:
        raise OutputExists(f"{target} is there already; --overwrite replaces it, --out writes to another folder")
    pixels, valid = read_filled(image_path)
    image, table = as_rgb8(pixels), scribbles.table
    if image.shape[:2] != scribbles.seeds.shape:
        sizes = [f"{shape[0]} x {shape[1]}" for shape in (image.shape, scribbles.seeds.shape)]
        raise BadInput(f"{image_path} has {sizes[0]} pixels, its scribbles {sizes[1]}; they belong to another image")
    labels = spread_seeds(image, scribbles.seeds, n_classes=len(table), options=options, progress=progress)
    if valid is not None:
        labels[~valid] = VOID
    result = LabelMap(labels, table, scribbles.seeds, describe_image(image_path).georeference)
    written = [folder / f"{image_path.stem}_{ending}" for ending in ("mres_label.png", "mres.png", "report.txt")]
    write_labelmap(written[0], result)
    heads = ("image", "scribbles", "every pixel, by CRF")
    draw_panels(written[1], image, scribbles.seeds, labels, table, heads=heads)
    write_text(written[2], _tell(image_path, labels, scribbles))
    if result.georeference is not None:
        written.append(folder / f"{image_path.stem}_mres_label.tif")
        write_labelmap(written[-1], result)
    # Last: where it is, the others are too.
    write_labelmap(target, result)
    return [target, *written]


def _tell(image_path: Path, labels: np.ndarray, scribbles: Scribbles) -> str:
    lines = [f"image: {image_path.name}", f"pixels: {labels.size}"]
    lines.append(f"scribbled: {np.count_nonzero(scribbles.seeds) / labels.size:.2%}")
    if scribbles.seconds is not None:
        lines.append(f"minutes: {scribbles.seconds / 60:.1f}")
    lines += [f"{name}: {share:.2%}" for name, share in measure_shares(labels, scribbles.table).items()]
    return "\n".join(lines) + "\n"
