"""Write the images of a COCO file with their label maps, divided for training, validation and testing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridseg.classes import VOID, ClassTable, class_key, name_folders
from hybridseg.data.cocofetch import fetch_images
from hybridseg.data.cocoplan import (
    SETS,
    Choice,
    Chosen,
    CocoImportOptions,
    choose_classes,
    choose_images,
    divide,
    list_images,
    list_missing,
    make_table,
)
from hybridseg.data.split import place_file
from hybridseg.draw import shuffle_names
from hybridseg.errors import MAX_ECHO, BadInput, Problem, count_problems, list_problems, located, shorten
from hybridseg.figures import FIGURES_DIR, FigureOptions
from hybridseg.forecast import UNKNOWN, followed_by
from hybridseg.io.annotations.canvas import Canvas
from hybridseg.io.annotations.coco import Area, CocoFile, CocoImage, Id, open_coco
from hybridseg.io.atomic import atomic_folder, check_nothing_lost, check_replaceable, claim_folder
from hybridseg.io.images import read_rgb8
from hybridseg.io.jsonfiles import read_json_object
from hybridseg.io.labels.classfiles import write_class_files
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.labelpng import write_labelpng
from hybridseg.io.locks import holds_files, lock_output
from hybridseg.io.pairing import name_sidecars
from hybridseg.io.tables import read_csv, write_csv
from hybridseg.markup import count_of, name_some, render_table, render_text, short_path
from hybridseg.panels import PAGE_WIDTH, PictureRow, fit_page, list_legend, tint_image
from hybridseg.progress import Progress, no_progress
from hybridseg.resample import resize_nearest, shrink_image
from hybridseg.sheets import draw_picture_rows

LIST_NAME = "images.csv"
_LIST_COLUMNS = ("image", "set", "group", "annotations", "source")
_LABELS_NAME, _COLORS_NAME, _FIGURE_NAME = "labels.txt", "colors.txt", "instances"
_ENDING = "_label.png"
# The next annotation after so many has the colour of the first one.
_N_COLORS = 24


@dataclass(frozen=True)
class CocoImportResult:
    """What was written: how many photos into each set, how many annotations of each class, and what is to be told."""

    out_dir: Path
    table: ClassTable
    n_images: Mapping[str, int]
    n_areas: Mapping[str, int]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    problems: tuple[Problem, ...]
    written: tuple[Path, ...]

    def __repr__(self) -> str:
        return f"<CocoImportResult: {self._describe()}{count_problems(self.problems)}>"

    def _describe(self) -> str:
        return f"{', '.join(f'{name} {n:,}' for name, n in self.n_images.items())} in {short_path(self.out_dir)}"

    def _repr_html_(self) -> str:
        return (
            render_text(self._describe())
            + render_table(("class", "annotations"), self.n_areas.items())
            + self.table._repr_html_()
            + render_text(*self.notes, *self.warnings, *self.problems)
        )

    @property
    def train_dir(self) -> Path:
        """The folder of the photos for training."""
        return self.out_dir / "train"

    @property
    def validation_dir(self) -> Path:
        """The folder of the photos for validation."""
        return self.out_dir / "validation"

    @property
    def test_dir(self) -> Path:
        """The folder of the photos for testing."""
        return self.out_dir / "test"


def import_coco(
    path: Path,
    *,
    images_dir: Path,
    out_dir: Path,
    options: CocoImportOptions = CocoImportOptions(),
    figures: FigureOptions = FigureOptions(),
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> CocoImportResult:
    """Write ``train/``, ``validation/`` and ``test/`` with photos and their label maps; they appear at the end.

    Parameters
    ----------
    overwrite : bool
        Replace `out_dir`, if all in it was written by such a call.

    Raises
    ------
    MissingInput, BadInput
        When the file is damaged, or none of its images can be used.
    OutputExists
    WriteFailed
    """
    target = out_dir.resolve()
    record = read_json_object(path)
    with located(path):
        file = open_coco(record)
        names = choose_classes(file, options.categories)
        table, background = make_table(names, options.background)
    claim_folder(target.parent)
    with lock_output(target), ExitStack() as stack:
        _check_target(target, [path, images_dir], overwrite=overwrite)
        taken, hook = list_images(file, names, keep_empty=options.keep_empty), followed_by(progress, UNKNOWN)
        n_fetched, reasons = _fetch_missing(taken, images_dir, progress=hook) if options.download else (0, {})
        choice = choose_images(
            file, taken, images_dir, names, keep_empty=options.keep_empty, reasons=reasons, progress=hook
        )
        choice.n_faults["fetched"] = n_fetched
        _require_some(path, choice)
        homes = divide([chosen.path.name for chosen in choice.chosen], options)
        home = stack.enter_context(atomic_folder(target))
        for name in SETS:
            claim_folder(home / name)
        painter = _Painter(file, names, table, background, options)
        _write_sets(home, choice, homes, painter, link=options.link, progress=progress)
        _require_some(path, choice)
        rows = [_to_row(chosen, *homes[chosen.path.name]) for chosen in choice.chosen]
        write_csv(home / LIST_NAME, _LIST_COLUMNS, rows)
        write_class_files(table, labels_path=home / _LABELS_NAME, colors_path=home / _COLORS_NAME)
        written = [home / name for name in (LIST_NAME, _LABELS_NAME, _COLORS_NAME)]
        written += _draw_instances(figures.place(home, _FIGURE_NAME), painter, choice, figures)
    counts = Counter(name for name, _ in homes.values())
    n_images = {name: counts[name] for name in SETS}
    n_areas = {name: choice.n_areas[name] for name in names}
    return CocoImportResult(
        out_dir,
        table,
        n_images,
        n_areas,
        tuple(choice.describe()),
        tuple(_warn(n_images, n_areas, options)),
        tuple(choice.problems),
        tuple(out_dir / path.relative_to(home) for path in written),
    )


def _fetch_missing(taken: Sequence[CocoImage], images_dir: Path, *, progress: Progress) -> tuple[int, dict[Id, str]]:
    """Fetch the photos that are not there; return how many came, and why the others did not."""
    if not list_missing(taken, images_dir):
        return 0, {}
    with lock_output(images_dir, inside="download", wait=True):
        # Another import may have fetched some meanwhile.
        missing = list_missing(taken, images_dir)
        reasons = fetch_images(missing, images_dir, progress=progress) if missing else {}
    return len(missing) - len(reasons), reasons


def _write_sets(
    home: Path, choice: Choice, homes: dict[str, tuple[str, str]], painter: _Painter, *, link: bool, progress: Progress
) -> None:
    """Write each photo and its label maps into its set; what cannot be drawn leaves the choice, as a problem."""
    for chosen in progress(list(choice.chosen), label="writing label maps"):
        folder = home / homes[chosen.path.name][0]
        try:
            labelmaps = painter.make_labelmaps(chosen)
        except BadInput as error:
            choice.problems.append(Problem.of(shorten(chosen.image.file_name, MAX_ECHO), error))
            choice.chosen.remove(chosen)
            del homes[chosen.path.name]
            continue
        for place, labelmap in labelmaps:
            write_labelpng(folder / place / f"{chosen.path.stem}{_ENDING}", labelmap, durable=False)
        for source in _list_sources(chosen.path):
            place_file(source.resolve(), folder / source.name, action="link" if link else "copy")


def _warn(n_images: Mapping[str, int], n_areas: Mapping[str, int], options: CocoImportOptions) -> Iterator[str]:
    """Yield a sentence for each set that is empty, unless that was asked for, and on categories without annotations."""
    divided = options.validation * options.proportion > 0
    wanted = {"train": True, "validation": divided, "test": options.proportion < 1}
    for name, is_wanted in wanted.items():
        if is_wanted and not n_images[name]:
            yield (
                f"{name}/ is empty: no image went there, by --proportion {options.proportion:g} and --validation "
                f"{options.validation:g} of {count_of(sum(n_images.values()), 'image')}"
            )
    unused = [name for name, n in n_areas.items() if not n]
    if unused:
        yield f"no image has an annotation of {name_some(unused, 5)}; choose others with --categories"


def _require_some(path: Path, choice: Choice) -> None:
    if not choice.chosen:
        rest = "".join(f"\n  {line}" for line in choice.describe())
        raise BadInput(f"{path} has no image that can be used:{list_problems(choice.problems, most=5)}{rest}")


def _check_target(target: Path, inputs: Sequence[Path], *, overwrite: bool) -> None:
    """Refuse to replace a folder unless that was asked for and it holds nothing but what was written here."""
    if not target.exists() or (target.is_dir() and not holds_files(target)):
        return
    check_replaceable(target, LIST_NAME, inputs, overwrite=overwrite)
    known: set[tuple[str, ...]] = {(LIST_NAME,), (_LABELS_NAME,), (_COLORS_NAME,)}
    for row in read_csv(target / LIST_NAME, ("image", "set")):
        names = (row["image"], f"{Path(row['image']).stem}{_ENDING}", *name_sidecars(row["image"]))
        known.update((row["set"], name) for name in names)

    def is_ours(path: Path) -> bool:
        first, *more = path.parts
        # The masks of a category have a folder of their own.
        return (first, *more[-1:]) in known or (first == FIGURES_DIR and path.stem == _FIGURE_NAME)

    check_nothing_lost(target, is_ours)


def _list_sources(path: Path) -> list[Path]:
    """List the files of a photo, itself last."""
    sidecars = (path.with_name(name) for name in name_sidecars(path.name))
    return [*(sidecar for sidecar in sidecars if sidecar.is_file()), path]


def _to_row(chosen: Chosen, set_name: str, group: str) -> dict[str, object]:
    values = chosen.path.name, set_name, group, chosen.n_areas, chosen.path.resolve()
    return dict(zip(_LIST_COLUMNS, values, strict=True))


@dataclass(frozen=True, eq=False)
class _Painter:
    """Makes label maps of annotations."""

    file: CocoFile
    names: Sequence[str]
    table: ClassTable
    background: int
    options: CocoImportOptions

    def list_areas(self, chosen: Chosen) -> list[Area]:
        """List the annotations of a photo in the order in which they are painted."""
        areas = self.file.list_areas(chosen.image, chosen.shape)
        if self.options.crowd == "void":
            # What is known of single things in a crowd lies above it.
            areas.sort(key=lambda area: not area.is_crowd)
        return [area for area in areas if area.name is None or class_key(area.name) in self.table.keys]

    def make_labelmaps(self, chosen: Chosen) -> list[tuple[str, LabelMap]]:
        """Return the label map of a photo, or its mask of each class, with the folder of each."""
        if self.options.layout == "labels":
            return [("", LabelMap(self.paint_classes(chosen), self.table))]
        areas, found = self.list_areas(chosen), []
        for key, folder in name_folders(self.names).items():
            if key != self.table.keys[self.background]:
                table = self.table.only({key, self.table.keys[self.background]})
                class_id = table.keys.index(key)
                own = [area for area in areas if area.name is not None and class_key(area.name) == key]
                mask = self._paint(own, [class_id] * len(own), 1 - class_id, chosen.shape)
                found.append((folder, LabelMap(mask, table)))
        return found

    def paint_classes(self, chosen: Chosen) -> np.ndarray:
        """Return the class id at every pixel of a photo, (rows, cols) uint8."""
        areas = self.list_areas(chosen)
        ids = [self.background if area.name is None else self.table.index(area.name) for area in areas]
        return self._paint(areas, ids, self.background, chosen.shape)

    def _paint(self, areas: Sequence[Area], ids: Sequence[int], base: int, shape: tuple[int, int]) -> np.ndarray:
        labels = np.full(shape, base, np.uint8)
        with Canvas(labels) as canvas:
            for area, class_id in zip(areas, ids, strict=True):
                is_void = area.is_crowd and self.options.crowd == "void"
                area.put_on(canvas, VOID if is_void else class_id)
        return labels

    def number_instances(self, chosen: Chosen) -> np.ndarray:
        """Return the number of the annotation at every pixel of a photo, from 0 on and again; VOID where none is."""
        numbers = np.full(chosen.shape, VOID, np.uint8)
        with Canvas(numbers) as canvas:
            for i, area in enumerate(area for area in self.list_areas(chosen) if area.name is not None):
                area.put_on(canvas, i % _N_COLORS)
        return numbers


def _draw_instances(path: Path, painter: _Painter, choice: Choice, figures: FigureOptions) -> list[Path]:
    """Draw some photos, their annotations in many colours, and their classes; one that is damaged is a problem."""
    by_name = {chosen.path.name: chosen for chosen in choice.chosen if chosen.n_areas}
    shown = shuffle_names(by_name, seed=painter.options.seed)[: painter.options.n_shown]
    colors = ClassTable.from_names([f"n{i}" for i in range(_N_COLORS)])
    rows: list[PictureRow] = []
    maps: list[np.ndarray] = []
    for name in sorted(shown):
        chosen = by_name[name]
        shape = fit_page(chosen.shape, 3, dpi=figures.dpi)
        try:
            small = shrink_image(read_rgb8(chosen.path), *shape)
        except BadInput as error:
            choice.problems.append(Problem.of(chosen.path, error))
            continue
        numbers = resize_nearest(painter.number_instances(chosen), shape)
        over = np.where((numbers == VOID)[..., None], small, tint_image(small, numbers, colors))
        maps.append(resize_nearest(painter.paint_classes(chosen), shape))
        classes = tint_image(small, maps[-1], painter.table)
        rows.append(PictureRow(name, (small, over, classes), () if rows else ("image", "annotations", "classes")))
    if not rows:
        return []
    draw_picture_rows(path, rows, width=PAGE_WIDTH, legend=list_legend(painter.table, *maps), dpi=figures.dpi)
    return [path]
