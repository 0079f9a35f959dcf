"""Turn label maps and areas of any tool into label maps of another format, and blurred pictures into classes."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hybridseg.classes import VOID, ClassTable, remap, seeds_to_labels
from hybridseg.data.picturemasks import nearest_classes, threshold_grey
from hybridseg.errors import BadInput, HybridSegError, Problem, count_problems, join_names, located
from hybridseg.io.annotations.areas import ENDINGS, write_mask
from hybridseg.io.annotations.painted import paint_annotations
from hybridseg.io.atomic import claim_folder
from hybridseg.io.images import ImageInfo, describe_image, load_image
from hybridseg.io.labelled import check_size
from hybridseg.io.labels.formats import LABELMAP_SUFFIXES, read_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.locks import lock_output
from hybridseg.io.masks import CONVERTIBLE, find_labelled
from hybridseg.io.pairing import JPEG_SUFFIXES, Pair
from hybridseg.io.rasters import IMAGE_SUFFIXES
from hybridseg.markup import count_of, render_text, short_path, spell_command
from hybridseg.options import Span, check_options, option
from hybridseg.progress import Progress, no_progress

# The share of pixels far from any colour above which the colours may be those of another mask.
_MUCH = 0.5


class _NoAreas(BadInput):
    """A file has scribbles alone."""


@dataclass(frozen=True)
class ConvertOptions:
    """What masks become, and how blurred ones are read."""

    to: str = option(
        "png",
        "Format of the label maps; or files for labelme, for COCO (one of each image), for Doodler (.npz), or polygons "
        "for a GIS (GeoPackage).",
        choices=tuple(ENDINGS),
    )
    threshold: int | None = option(
        None,
        "Read grey pictures, JPEG too: a grey value above this is the second of two classes, any other the first.",
        span=Span(0, 65535),
    )
    nearest_color: bool = option(
        False,
        "Read pictures in colours, JPEG too: each pixel takes the class of the nearest colour (black is none, unless a "
        "class is black).",
    )

    def __post_init__(self) -> None:
        check_options(self)
        if self.threshold is not None and self.nearest_color:
            raise BadInput("a mask is read by its grey values or by its colours: give --threshold or --nearest-color")


@dataclass(frozen=True)
class Converted:
    """A label map that was written, and sentences on what a person should know of it."""

    path: Path
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ConvertResult:
    """What was written, what was there already, sentences on what is alone, and what could not be used."""

    out_dir: Path
    written: tuple[Converted, ...]
    skipped: tuple[Path, ...]
    rest: tuple[str, ...]
    problems: tuple[Problem, ...]

    def __repr__(self) -> str:
        return f"<ConvertResult: {self._describe()}{count_problems(self.problems)}>"

    def _describe(self) -> str:
        skipped = f", {len(self.skipped)} were there already" if self.skipped else ""
        return f"{count_of(len(self.written), 'label map')} written to {short_path(self.out_dir)}{skipped}"

    def _repr_html_(self) -> str:
        notes = (f"{done.path.name}: {note}" for done in self.written for note in done.notes)
        return render_text(self._describe(), *notes, *self.rest, *self.problems)


def convert_masks(
    inputs: Iterable[Path],
    *,
    images_dir: Path | None = None,
    out_dir: Path | None = None,
    options: ConvertOptions = ConvertOptions(),
    table: ClassTable | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> ConvertResult:
    """Write the mask of every image as a label map ``NAME_mres.mat``, ``NAME_label.png`` or ``NAME_label.tif``.

    Or for other programs: ``NAME.json`` (labelme or COCO), ``NAME.npz`` (Doodler) or ``NAME.gpkg`` (GeoPackage).

    Parameters
    ----------
    inputs : iterable of pathlib.Path
        Masks, annotations, or a folder of them: label maps of any kind, JPEG, a JSON of labelme or COCO, a ``.npz`` of
        Doodler, our ``NAME_doodles.json``.
    images_dir : pathlib.Path or None
        Where the images are; default: beside the masks. Sizes and places on Earth are theirs.
    out_dir : pathlib.Path or None
        Default: a folder beside that of the masks, called after it: ``gt_png``.
    table : ClassTable or None
        The classes, in the order that is wanted. A file that names its own is matched by name.
    overwrite : bool
        Also replace label maps that are there already.

    Raises
    ------
    MissingInput, BadInput
        When there is nothing to convert, or nothing could be.
    WriteFailed
    """
    inputs = list(inputs)
    home = inputs[0] if inputs[0].is_dir() else inputs[0].parent
    out_dir = out_dir or home.resolve().with_name(f"{home.resolve().name}_{options.to}")
    found = find_labelled(inputs, images_dir=images_dir, order=CONVERTIBLE)
    problems, written, skipped = list(found.problems), [], []
    unfinished: dict[str, Problem] = {}
    sources = {path.resolve() for pair in found.pairs for path in (pair.image_path, pair.labels_path)}
    is_blurred = options.threshold is not None or options.nearest_color
    if is_blurred and found.pairs and not any(_is_picture(pair.labels_path, options) for pair in found.pairs):
        raise BadInput("no mask is a picture that --threshold or --nearest-color could be for; leave it out")
    with lock_output(out_dir, inside="convert"):
        claim_folder(out_dir)
        for pair in progress(found.pairs, label="converting"):
            target = out_dir / f"{pair.image_path.stem}{ENDINGS[options.to]}"
            if target.exists() and not overwrite and target.resolve() not in sources:
                skipped.append(target)
                continue
            try:
                if target.resolve() in sources:
                    raise BadInput(f"would be replaced by its own copy {target.name}; give --out for another folder")
                labelmap, notes = _read_mask(pair, options, table)
            except _NoAreas as error:
                unfinished[pair.image_path.name] = Problem.of(pair.labels_path, error)
                continue
            except HybridSegError as error:
                problems.append(Problem.of(pair.labels_path, error))
                continue
            write_mask(target, labelmap, pair.image_path, to=options.to)
            written.append(Converted(target, notes))
    rest = found.describe_rest()
    if not (written or skipped):
        with suppress(OSError):
            out_dir.rmdir()
        lines = [f"  {problem}" for problem in (*problems, *unfinished.values())]
        raise BadInput("nothing was converted:\n" + "\n".join(lines))
    if unfinished:
        rest.append(f"in progress, with scribbles alone, and left out: {join_names(unfinished)}")
    return ConvertResult(out_dir, tuple(written), tuple(skipped), tuple(rest), tuple(problems))


def _read_mask(pair: Pair, options: ConvertOptions, table: ClassTable | None) -> tuple[LabelMap, tuple[str, ...]]:
    """Read a mask, or areas, as a label map of the image: in the classes that are wanted, at its size and place."""
    path, info = pair.labels_path, describe_image(pair.image_path)
    notes: tuple[str, ...] = ()
    if (options.threshold is not None or options.nearest_color) and _is_picture(path, options):
        labelmap, notes = _read_picture(path, options, table)
    elif path.suffix.lower() in JPEG_SUFFIXES:
        advice = "give --nearest-color for a mask in colours, or --threshold N for a grey one"
        raise BadInput(f"{path} is a JPEG, which changes class ids; {advice}")
    elif path.suffix.lower() in LABELMAP_SUFFIXES:
        labelmap = read_labelmap(path, table=table)
        if set(np.unique(labelmap.labels)) == {0, VOID}:
            notes = ("holds 0 and 255 only, and 255 is void; if these are two classes, give --threshold 128",)
    else:
        labelmap, notes = _read_areas(path, info, table)
    check_size(path, labelmap.labels.shape, info)
    own = labelmap.require_table(path)
    if table is not None and own.keys != table.keys:
        with located(path):
            labels, seeds = remap(own, table)[labelmap.labels], labelmap.seeds
        seeds = None if seeds is None else remap(own, table, seeds=True)[seeds]
        labelmap = replace(labelmap, labels=labels, seeds=seeds)
    place = info.georeference or labelmap.georeference
    return replace(labelmap, table=table or own, georeference=place), notes


def _is_picture(path: Path, options: ConvertOptions) -> bool:
    """Return whether a file is a picture that the options are for, and not a map of class ids."""
    if path.suffix.lower() in JPEG_SUFFIXES:
        return True
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        return False
    return options.threshold is not None or describe_image(path).bands in (3, 4)


def _read_picture(path: Path, options: ConvertOptions, table: ClassTable | None) -> tuple[LabelMap, tuple[str, ...]]:
    if table is None:
        raise BadInput(f"{path} does not name its classes; give the class file it was made with: --labels labels.txt")
    pixels = load_image(path).pixels
    with located(path):
        if options.threshold is not None:
            if len(table) != 2:
                raise BadInput(f"a threshold divides into two classes, but --labels has {len(table)}")
            if pixels.dtype.kind == "u" and options.threshold >= np.iinfo(pixels.dtype).max:
                raise BadInput(f"no pixel of {pixels.dtype} is above --threshold {options.threshold}; give a lower one")
            return LabelMap(threshold_grey(pixels, options.threshold), table), ()
        if pixels.dtype != np.uint8 or pixels.shape[2] not in (3, 4):
            raise BadInput("it is not in colours; give --threshold N for a grey picture")
        labels, n_inexact, n_far = nearest_classes(pixels[..., :3], table)
    note = (
        f"{count_of(n_inexact, 'pixel')} ({n_inexact / labels.size:.2%}) were no exact colour of a class, {n_far:,} "
        f"({n_far / labels.size:.2%}) far from all of them"
    )
    if n_far > _MUCH * labels.size:
        raise BadInput(f"{note}; give the colours of the mask, in --labels labeldefs.txt or --colors")
    return LabelMap(labels, table), (note,)


def _read_areas(path: Path, info: ImageInfo, table: ClassTable | None) -> tuple[LabelMap, tuple[str, ...]]:
    drawn = paint_annotations(path, shape=info.shape, image_name=info.path.name, table=table)
    if drawn.areas is None:
        command = spell_command(("crf", info.path, path))
        raise _NoAreas(f"{path} has no areas; spread its scribbles over the image: `{command}`")
    n_void = np.count_nonzero(drawn.areas == 0)
    void = (f"{n_void / drawn.areas.size:.1%} of the pixels have no area and became void",) if n_void else ()
    return LabelMap(seeds_to_labels(drawn.areas), drawn.table, drawn.scribbles), drawn.warnings + void
