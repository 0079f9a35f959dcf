"""Prepare data, as `review`, `split`, `convert`, `retile`, `coco import` and `coco export` do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from hybridseg.api.arguments import PATH_TYPES, Labels, find_list, find_names, find_path, find_table, list_paths
from hybridseg.api.calls import public_function, show_progress
from hybridseg.apply import PathLike
from hybridseg.data.cocoexport import CocoExportOptions, CocoExportResult
from hybridseg.data.cocoexport import export_coco as write_coco
from hybridseg.data.cocoimport import CocoImportResult
from hybridseg.data.cocoimport import import_coco as read_coco
from hybridseg.data.cocoplan import CocoImportOptions
from hybridseg.data.convert import ConvertOptions, ConvertResult, convert_masks
from hybridseg.data.review import ReviewOptions, ReviewResult, place_review, review_data
from hybridseg.data.split import SplitResult, split_folder
from hybridseg.data.splitplan import SplitOptions
from hybridseg.figures import FigureOptions
from hybridseg.hybrid.retile import RetileResult, place_tiles_dir
from hybridseg.hybrid.retile import retile as cut_tiles
from hybridseg.hybrid.tileplan import RetileOptions
from hybridseg.io.masks import find_labelled
from hybridseg.options import make_options
from hybridseg.progress import Progress


@public_function(ReviewOptions)
def review(
    photos: PathLike,
    *,
    masks: PathLike | None = None,
    labels: Labels | None = None,
    colors: PathLike | None = None,
    test: PathLike | Sequence[str] | None = ReviewOptions.test,
    split: float = ReviewOptions.split,
    group_by: str | None = ReviewOptions.group_by,
    seed: int = ReviewOptions.seed,
    plots: int = ReviewOptions.plots,
    scale: float | None = ReviewOptions.scale,
    out: PathLike | None = None,
    n_jobs: int = 1,
    progress: Progress | None = None,
) -> ReviewResult:
    """Look over photos and masks before a training: what would stop it, what would falsify its score.

    Parameters
    ----------
    photos
        The folder, or a project with ``data/raw/train/images`` and ``data/raw/train/masks``.
    masks
        The folder of the masks, if they are not beside their photos.
    labels, colors
        The classes of masks that do not name theirs (a class file, a ClassTable or a list of names), and a file of
        their colours.
    test
        The photos for testing: a folder of them, their names as a list, or a text file with one name per line.
    seed
        Of the draw of the photos for validation.
    out
        The folder of the results; by default beside that of the photos, such as ``photos_review``.
    n_jobs
        Processes that work at once; the command takes all cores. More than one needs ``if __name__ == "__main__":`` in
        a script.
    progress
        Wraps what is worked on, as `tqdm` does; by default shown where a person is watching.

    Returns
    -------
    ReviewResult
        The faults, the worst first, those that would stop a training as `breaks`; and the page, `report_path`.

    Examples
    --------
    >>> import hybridseg as hs
    >>> hs.review("photos", masks="masks", labels="labels.txt")  # doctest: +SKIP
    <ReviewResult: nothing stands in the way of a training; 2 things to look at>
    """
    places = place_review(
        find_path(photos), masks_dir=find_path(masks), test=find_list(test), out_dir=find_path(out),
        labels_path=find_path(labels) if isinstance(labels, PATH_TYPES) else None,
    )  # fmt: skip
    options = ReviewOptions(split, seed, group_by, find_list(test), scale, plots)
    table = find_table(labels, colors)
    return review_data(places, options=options, table=table, n_jobs=n_jobs, progress=progress or show_progress())


@public_function(SplitOptions)
def split(
    photos: PathLike,
    *,
    masks: PathLike | None = None,
    out: PathLike | None = None,
    proportion: float = SplitOptions.proportion,
    seed: int = SplitOptions.seed,
    group_by: str | None = SplitOptions.group_by,
    stratify: bool = SplitOptions.stratify,
    set_aside: bool = SplitOptions.set_aside,
    action: str = SplitOptions.action,
    test_list: PathLike | Sequence[str] | None = SplitOptions.test_list,
    labels: Labels | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> SplitResult:
    """Divide a folder of photos into ``train/`` and ``test/``, with everything that carries their names.

    Parameters
    ----------
    photos
        The folder.
    masks
        The folder of the masks, if they are not beside their photos; they go to a folder of the same name in
        ``train/`` and ``test/``.
    out
        Gets ``train/``, ``test/`` and ``split.csv``; by default the folder that holds that of the photos.
    seed
        Of the random draw; the same seed gives the same split on any machine.
    test_list
        The names of the images for testing, as a list or a text file with one per line; all others are for training.
    labels
        The classes of masks that do not name theirs, to stratify by: a class file, a ClassTable or a list of names.
    overwrite
        Replace an earlier split.

    Returns
    -------
    SplitResult
        Counts and folders: `train_dir`, `train_masks` (None where the masks are beside the photos), and so on.

    Examples
    --------
    >>> import hybridseg as hs
    >>> sets = hs.split("photos", masks="masks", proportion=0.75)  # doctest: +SKIP
    >>> sets.train_dir, sets.train_masks  # doctest: +SKIP
    (PosixPath('train'), PosixPath('train/masks'))
    """
    options = SplitOptions(proportion, seed, group_by, stratify, set_aside, action, find_list(test_list))
    return split_folder(
        photos, masks_dir=masks, out_dir=out, options=options, table=find_table(labels), overwrite=overwrite,
        progress=progress or show_progress(),
    )  # fmt: skip


@public_function(ConvertOptions)
def convert(
    masks: PathLike | Iterable[PathLike],
    *,
    photos: PathLike | None = None,
    out: PathLike | None = None,
    to: str = ConvertOptions.to,
    threshold: int | None = ConvertOptions.threshold,
    nearest_color: bool = ConvertOptions.nearest_color,
    labels: Labels | None = None,
    colors: PathLike | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ConvertResult:
    """Turn masks of any tool into label maps of one format.

    Parameters
    ----------
    masks
        A folder or files: label maps, pictures in class colours, annotations of labelme, COCO or Doodler.
    photos
        The folder of the photos, if they are not beside their masks.
    out
        The folder of the label maps; by default beside that of the masks, such as ``masks_png``.
    labels, colors
        The classes in the order that is wanted (a class file, a ClassTable or a list of names), and a file of their
        colours.
    overwrite
        Replace label maps that are there.

    Returns
    -------
    ConvertResult
        The folder, `out_dir`, and what is to be known of each label map.

    Examples
    --------
    >>> import hybridseg as hs
    >>> hs.convert("masks", photos="photos", labels="labels.txt")  # doctest: +SKIP
    <ConvertResult: 12 label maps written to masks_png>
    """
    return convert_masks(
        list_paths(masks), images_dir=find_path(photos), out_dir=find_path(out),
        options=ConvertOptions(to, threshold, nearest_color), table=find_table(labels, colors), overwrite=overwrite,
        progress=progress or show_progress(),
    )  # fmt: skip


@public_function(RetileOptions)
def retile(
    photos: PathLike | Iterable[PathLike],
    *,
    masks: PathLike | None = None,
    out: PathLike | None = None,
    tile_size: int = RetileOptions.tile_size,
    purity: float = RetileOptions.purity,
    keep: float = RetileOptions.keep,
    min_keep: int = RetileOptions.min_keep,
    format: str = RetileOptions.format,
    seed: int = RetileOptions.seed,
    labels: Labels | None = None,
    colors: PathLike | None = None,
    n_jobs: int = 1,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> RetileResult:
    """Cut labelled photos into tiles of one class each, which a classifier is trained on.

    Parameters
    ----------
    photos
        A folder of photos with their masks; with `masks` a folder, files or patterns.
    masks
        The folder of the masks, if they are neither beside their photos nor where `split` has put them.
    out
        The folder of the tiles; by default ``tile_SIZE`` beside the masks, with `masks` beside the photos.
    seed
        Of the random choice of the tiles that are kept.
    n_jobs
        Processes that work at once; the command takes all cores. More than one needs ``if __name__ == "__main__":`` in
        a script.
    overwrite
        Replace tiles that are there.

    Returns
    -------
    RetileResult
        The folder, `tiles_dir`, and the counts of every class.

    Examples
    --------
    >>> import hybridseg as hs
    >>> hs.retile("train", tile_size=96)  # doctest: +SKIP
    <RetileResult: 1,024 tiles of 5 classes in train/tile_96>
    """
    options = RetileOptions(tile_size, purity, keep, min_keep, format, seed)
    masks_dir = find_path(masks)
    found = find_labelled(list_paths(photos), masks_dir=masks_dir)
    place = place_tiles_dir(found.pairs, beside_images=masks is not None, options=options) if out is None else out
    return cut_tiles(
        found.pairs, tiles_dir=place, options=options, table=find_table(labels, colors), n_jobs=n_jobs,
        overwrite=overwrite, problems=found.problems, progress=progress or show_progress(),
    )  # fmt: skip


@public_function(CocoImportOptions)
def import_coco(
    annotations: PathLike,
    *,
    images: PathLike,
    out: PathLike,
    download: bool = CocoImportOptions.download,
    categories: str | Sequence[str] | None = CocoImportOptions.categories,
    layout: str = CocoImportOptions.layout,
    background: str = CocoImportOptions.background,
    crowd: str = CocoImportOptions.crowd,
    keep_empty: bool = CocoImportOptions.keep_empty,
    proportion: float = CocoImportOptions.proportion,
    validation: float = CocoImportOptions.validation,
    seed: int = CocoImportOptions.seed,
    group_by: str | None = CocoImportOptions.group_by,
    link: bool = CocoImportOptions.link,
    n_shown: int = CocoImportOptions.n_shown,
    figures: FigureOptions = FigureOptions(),
    overwrite: bool = False,
    progress: Progress | None = None,
) -> CocoImportResult:
    """Make labelled photos of a COCO file and its images, in sets for training, validation and testing.

    Parameters
    ----------
    annotations
        The COCO file.
    images
        The folder of its images.
    out
        A new folder: ``train/``, ``validation/`` and ``test/`` with every photo and its label map, the class list, a
        figure.
    seed
        Of the random draw; the same seed gives the same sets on any machine.
    overwrite
        Replace an earlier import.

    Returns
    -------
    CocoImportResult
        Counts, and the folders `train_dir`, `validation_dir` and `test_dir`.

    Examples
    --------
    >>> import hybridseg as hs
    >>> hs.import_coco("annotations.json", images="photos", out="labelled")  # doctest: +SKIP
    <CocoImportResult: train 49, validation 21, test 30 in labelled>
    """
    settings = {**locals(), "categories": find_names(categories)}
    return read_coco(
        Path(annotations), images_dir=Path(images), out_dir=Path(out), figures=figures, overwrite=overwrite,
        options=make_options(CocoImportOptions, settings), progress=progress or show_progress(),
    )  # fmt: skip


@public_function(CocoExportOptions)
def export_coco(
    masks: PathLike | Iterable[PathLike],
    *,
    images: PathLike | None = None,
    out: PathLike,
    without: str | Sequence[str] | None = CocoExportOptions.without,
    rle: bool = CocoExportOptions.rle,
    min_area: int = CocoExportOptions.min_area,
    labels: Labels | None = None,
    colors: PathLike | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> CocoExportResult:
    """Write label maps as one COCO file: an annotation for each connected area of a class.

    Parameters
    ----------
    masks
        A folder, files or patterns of label maps, also of those of a model.
    images
        The folder of the images, if they are not beside their label maps.
    out
        The file, ``NAME.json``.
    without
        Classes to leave out, by name, or one; by default ``background`` and ``null``, with ``()`` none.
    overwrite
        Replace the file if it is there.

    Returns
    -------
    CocoExportResult
        Counts of images, and of the annotations of each class.

    Examples
    --------
    >>> import hybridseg as hs
    >>> hs.export_coco("photos", out="annotations.json")  # doctest: +SKIP
    <CocoExportResult: 214 annotations of 12 images in annotations.json>
    """
    found = find_labelled(list_paths(masks), images_dir=find_path(images))
    return write_coco(
        found.pairs, Path(out), options=CocoExportOptions(find_names(without), rle, min_area),
        table=find_table(labels, colors), overwrite=overwrite, problems=found.problems,
        progress=progress or show_progress(),
    )  # fmt: skip
