"""Prepare data, as `review`, `split`, `convert` and `retile` do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hybridseg.api.arguments import PATH_TYPES, Labels, find_path, find_table, list_paths
from hybridseg.api.calls import public_function, show_progress
from hybridseg.apply import PathLike
from hybridseg.data.convert import ConvertOptions, ConvertResult, convert_masks
from hybridseg.data.review import ReviewOptions, ReviewResult, place_review, review_data
from hybridseg.data.split import SplitResult, split_folder
from hybridseg.data.splitplan import SplitOptions
from hybridseg.hybrid.retile import RetileResult, place_tiles_dir
from hybridseg.hybrid.retile import retile as cut_tiles
from hybridseg.hybrid.tileplan import RetileOptions
from hybridseg.io.masks import find_labelled
from hybridseg.progress import Progress


@public_function(ReviewOptions)
def review(
    photos: PathLike,
    *,
    masks: PathLike | None = None,
    labels: Labels | None = None,
    colors: PathLike | None = None,
    test: PathLike | None = ReviewOptions.test,
    split: float = ReviewOptions.split,
    group_by: str | None = ReviewOptions.group_by,
    seed: int = ReviewOptions.seed,
    plots: int = ReviewOptions.plots,
    scale: float | None = ReviewOptions.scale,
    out: PathLike | None = None,
    n_jobs: int = 1,
    progress: Progress | None = None,
) -> ReviewResult:
    """Look over photos and masks before a training: what would break it, what would falsify its score.

    Parameters
    ----------
    photos
        The folder, or a project with ``data/raw/train/images`` and ``data/raw/train/masks``.
    masks
        The folder of the masks, if they are not beside their photos.
    labels, colors
        The classes of masks that do not name theirs (a class file, a ClassTable or a list of names), and a file of
        their colours.
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
        The faults, the worst first, those that would break a training as `breaks`; and the page, `report_path`.

    Examples
    --------
    >>> import hybridseg as hs
    >>> hs.review("photos", masks="masks", labels="labels.txt")  # doctest: +SKIP
    <ReviewResult: nothing stands in the way of a training; 2 things to look at>
    """
    places = place_review(
        find_path(photos), masks_dir=find_path(masks), test=find_path(test), out_dir=find_path(out),
        labels_path=find_path(labels) if isinstance(labels, PATH_TYPES) else None,
    )  # fmt: skip
    options = ReviewOptions(split, seed, group_by, find_path(test), scale, plots)
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
    progress
        Wraps what is worked on, as `tqdm` does; by default shown where a person is watching.

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
    given = find_path(test_list) if test_list is None or isinstance(test_list, PATH_TYPES) else tuple(test_list)
    options = SplitOptions(proportion, seed, group_by, stratify, set_aside, action, given)
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
    progress
        Wraps what is worked on, as `tqdm` does; by default shown where a person is watching.

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
    labels, colors
        The classes of masks that do not name theirs (a class file, a ClassTable or a list of names), and a file of
        their colours.
    n_jobs
        Processes that work at once; the command takes all cores. More than one needs ``if __name__ == "__main__":`` in
        a script.
    overwrite
        Replace tiles that are there.
    progress
        Wraps what is worked on, as `tqdm` does; by default shown where a person is watching.

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
