"""What the commands do, as functions: paths may be text, options are keywords with the defaults of the commands."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

from hybridseg.api.calls import for_people, show_progress
from hybridseg.apply import Model, PathLike, SegmentedImage, segment_files, segment_pixels
from hybridseg.batch.jobs import Outputs
from hybridseg.batch.results import BatchResult
from hybridseg.classes import ClassTable
from hybridseg.data.split import SplitResult, split_folder
from hybridseg.data.splitplan import SplitOptions
from hybridseg.dense.smoothing import SmoothingOptions
from hybridseg.dense.windows import DenseOptions
from hybridseg.errors import BadUsage
from hybridseg.evaluation.pairs import find_pairs, find_photos
from hybridseg.evaluation.pixels import PixelsResult, evaluate_pixels
from hybridseg.hybrid.classifier import RetrainOptions, RetrainPaths
from hybridseg.hybrid.head import HeadOptions
from hybridseg.hybrid.retile import RetileResult, place_tiles_dir
from hybridseg.hybrid.retile import retile as cut_tiles
from hybridseg.hybrid.retrain import RetrainResult, draw_curve
from hybridseg.hybrid.retrain import retrain as train_classifier
from hybridseg.hybrid.segmentation import HybridOptions
from hybridseg.hybrid.tileplan import RetileOptions
from hybridseg.io.labels.classfiles import read_class_files, read_colors
from hybridseg.io.masks import find_labelled
from hybridseg.progress import Progress

Labels = PathLike | ClassTable | Sequence[str]
"""A class file, a class list, or the names of the classes in the order of their ids."""
_PATHS = (str, os.PathLike)


@for_people(SplitOptions)
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
    options = SplitOptions(proportion, seed, group_by, stratify, set_aside, action)
    return split_folder(
        photos, masks_dir=masks, out_dir=out, options=options, table=_find_table(labels), overwrite=overwrite,
        progress=progress or show_progress(),
    )  # fmt: skip


@for_people(RetileOptions)
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
        The folder of the masks, if they are not beside their photos.
    out
        The folder of the tiles; by default ``tile_SIZE`` beside the masks, with `masks` beside the photos.
    seed
        Of the random choice of the tiles that are kept.
    labels, colors
        The classes of masks that do not name theirs (a class file, a ClassTable or a list of names), and a file of
        their colours.
    n_jobs
        Processes that work at once. More than one needs ``if __name__ == "__main__":`` in a script.
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
    masks_dir = None if masks is None else Path(masks)
    found = find_labelled(_list_paths(photos), masks_dir=masks_dir)
    place = place_tiles_dir(found.pairs, beside_images=masks is not None, options=options) if out is None else out
    return cut_tiles(
        found.pairs, tiles_dir=place, options=options, table=_find_table(labels, colors), n_jobs=n_jobs,
        overwrite=overwrite, problems=found.problems, progress=progress or show_progress(),
    )  # fmt: skip


@for_people(RetrainOptions, HeadOptions)
def retrain(
    tiles: PathLike,
    *,
    out: PathLike = RetrainPaths.output_graph,
    bottleneck_dir: PathLike = RetrainPaths.bottleneck_dir,
    colors: PathLike | None = RetrainPaths.colors_path,
    tfhub_module: str = RetrainOptions.tfhub_module,
    how_many_training_steps: int = HeadOptions.how_many_training_steps,
    learning_rate: float = HeadOptions.learning_rate,
    testing_percentage: float = RetrainOptions.testing_percentage,
    validation_percentage: float = RetrainOptions.validation_percentage,
    input_size: int = RetrainOptions.input_size,
    class_weights: str = HeadOptions.class_weights,
    fine_tune: bool = RetrainOptions.fine_tune,
    seed: int = HeadOptions.seed,
    progress: Progress | None = None,
) -> RetrainResult:
    """Train a classifier on tiles; whole photos are held out to measure it. The same call resumes where it stopped.

    Parameters
    ----------
    tiles
        Folder of tiles with a folder for each class, as `retile` writes it.
    out
        The model, ``NAME.pb``; beside it come ``labels.txt``, ``NAME.json`` and ``NAME_training.png``.
    bottleneck_dir
        Folder of cached features and checkpoints.
    colors
        A file of colours for the classes.
    seed
        Of every random choice; the same seed, the same result.
    progress
        Wraps what is worked on, as `tqdm` does; by default shown where a person is watching.

    Returns
    -------
    RetrainResult
        The model, `model_path`, its scores on photos that were held out, and the verdict.

    Examples
    --------
    >>> import hybridseg as hs
    >>> result = hs.retrain("train/tile_96", out="coast.pb")  # doctest: +SKIP
    >>> print(result.verdict.text)  # doctest: +SKIP
    Good: 91 % of the tiles are right, ...
    """
    paths = RetrainPaths(
        Path(tiles),
        Path(out),
        colors_path=None if colors is None else Path(colors),
        bottleneck_dir=Path(bottleneck_dir),
    )
    options = RetrainOptions(
        tfhub_module,
        testing_percentage,
        validation_percentage,
        input_size=input_size,
        fine_tune=fine_tune,
        head=HeadOptions(
            how_many_training_steps=how_many_training_steps, learning_rate=learning_rate, class_weights=class_weights,
            seed=seed,
        ),
    )  # fmt: skip
    result = train_classifier(paths, options=options, progress=progress or show_progress())
    return replace(result, written=(*result.written, draw_curve(paths, result)))


@for_people()
def open_model(path: PathLike, *more: PathLike, labels: PathLike | None = None, tile_size: int | None = None) -> Model:
    """Open a model: a tile classifier or a dense network, as its files say.

    Parameters
    ----------
    path
        ``NAME.pb`` of a tile classifier, ``NAME.h5`` of a dense network, or the folder of one.
    more
        Others of the same kind and the same classes, which vote along.
    labels, tile_size
        The class file, and the side of the tiles in pixels, of a ``.pb`` of the classic script that does not say them.

    Returns
    -------
    Model
        With its `classes`. It can be pickled.

    Examples
    --------
    >>> import hybridseg as hs
    >>> hs.open_model("model.pb")  # doctest: +SKIP
    <Model: tile classifier model.pb, tiles of 96 pixels; classes: water, sand, vegetation>
    """
    model = Model(
        tuple(map(Path, (path, *more))), labels_path=None if labels is None else Path(labels), tile_size=tile_size
    )
    model.make_job().load()
    return model


@overload
def segment(
    images: PathLike | Any,
    model: Model | PathLike,
    *,
    out: None = None,
    options: HybridOptions | DenseOptions | None = None,
    smoothing: SmoothingOptions | None = None,
    colors: PathLike | None = None,
    progress: Progress | None = None,
) -> SegmentedImage: ...


@overload
def segment(
    images: PathLike | Iterable[PathLike],
    model: Model | PathLike,
    *,
    out: PathLike,
    options: HybridOptions | DenseOptions | None = None,
    smoothing: SmoothingOptions | None = None,
    colors: PathLike | None = None,
    probabilities: bool = Outputs.probabilities,
    keep_seeds: bool = Outputs.keep_seeds,
    report: bool = Outputs.report,
    n_jobs: int = 1,
    resume: bool = False,
    progress: Progress | None = None,
) -> BatchResult: ...


@for_people(Outputs)
def segment(
    images: PathLike | Iterable[PathLike] | Any,
    model: Model | PathLike,
    *,
    out: PathLike | None = None,
    options: HybridOptions | DenseOptions | None = None,
    smoothing: SmoothingOptions | None = None,
    colors: PathLike | None = None,
    probabilities: bool = Outputs.probabilities,
    keep_seeds: bool = Outputs.keep_seeds,
    report: bool = Outputs.report,
    n_jobs: int = 1,
    resume: bool = False,
    progress: Progress | None = None,
) -> SegmentedImage | BatchResult:
    """Give every pixel of an image a class; with `out`, of any number of images, whose label maps are written there.

    Parameters
    ----------
    images
        A photo, by its path or as an array of (rows, cols, bands). With `out` also a folder, a pattern such as
        ``photos/2016*.jpg``, or several of these.
    model
        As `open_model` returns it, or the path of one.
    out
        Folder of the results: the same files as the commands write.
    options
        HybridOptions for a tile classifier, DenseOptions for a dense network; by default the best settings, with what
        ``hybridseg tune-crf`` found for the model.
    smoothing
        SmoothingOptions: what comes after a dense network.
    colors
        A file of other colours for the classes.
    n_jobs
        Processes that work at once. More than one needs ``if __name__ == "__main__":`` in a script.
    resume
        Leave out images whose result was made by the same model with the same settings.
    progress
        Wraps what is worked on, as `tqdm` does; by default shown where a person is watching.

    Returns
    -------
    SegmentedImage or BatchResult
        Without `out` the result itself: `labels`, `confidence`, `classes`, `georeference`, `save(path)`. With it the
        files that were written, and what could not be used.

    Examples
    --------
    >>> import hybridseg as hs
    >>> found = hs.segment("photo.jpg", "model.pb")  # doctest: +SKIP
    >>> found.save("photo_classes.png")  # doctest: +SKIP
    >>> hs.segment("photos", "model.pb", out="results")  # doctest: +SKIP
    <BatchResult: 12 images done>
    """
    model = model if isinstance(model, Model) else open_model(model)
    table = None if colors is None else read_colors(colors, model.classes, owner=model.paths[0])
    progress = progress or show_progress()
    if out is not None:
        return segment_files(
            _list_paths(images), model, options=options, smoothing=smoothing, table=table, n_jobs=n_jobs, resume=resume,
            outputs=Outputs(Path(out), probabilities=probabilities, keep_seeds=keep_seeds, report=report),
            progress=progress,
        )  # fmt: skip
    if probabilities or keep_seeds or report or resume or n_jobs != 1:
        raise BadUsage(
            "probabilities, keep_seeds, report, resume and n_jobs are for files; say where they go: --out DIR"
        )
    _require_one(images)
    return segment_pixels(images, model.make_job(options=options, smoothing=smoothing, table=table), progress=progress)


@for_people()
def evaluate(
    results: PathLike,
    *,
    masks: PathLike | None = None,
    images: PathLike | None = None,
    truth: str | None = None,
    prediction: str | None = None,
    ignore: Sequence[str] = (),
    out: PathLike | None = None,
    labels: Labels | None = None,
    colors: PathLike | None = None,
    progress: Progress | None = None,
) -> PixelsResult:
    """Compare label maps that a model made with masks made by hand, pixel by pixel, classes matched by name.

    Parameters
    ----------
    results
        The folder of the results.
    masks
        The folder of the masks, if they are not beside the results; they are found by the names of their images.
    images
        The folder of the images: others are left out. The verdict then says, too, what colours alone would tell.
    truth, prediction
        Patterns of the label maps to compare, below `results`: ``"masks/*.png"`` and ``"*_predseg_crf.png"``.
    ignore
        Classes whose true pixels are left out.
    out
        The folder of the scores and figures; by default that of the results.
    labels, colors
        The classes of label maps that do not name theirs (a class file, a ClassTable or a list of names), and a file of
        their colours.
    progress
        Wraps what is worked on, as `tqdm` does; by default shown where a person is watching.

    Returns
    -------
    PixelsResult
        The confusion matrix of each pair (`confusions`) and of all together (`pooled`), and the `verdict`.

    Examples
    --------
    >>> import hybridseg as hs
    >>> scores = hs.evaluate("results", masks="masks")  # doctest: +SKIP
    >>> print(scores.pooled.accuracy, scores.verdict.text)  # doctest: +SKIP
    0.873 Good: 87 % of the pixels are right, ...
    """
    folder, images_dir = Path(results), None if images is None else Path(images)
    pairs, problems = find_pairs(folder, masks_dir=masks, images_dir=images_dir, truth=truth, prediction=prediction)
    return evaluate_pixels(
        pairs, out_dir=folder if out is None else out, table=_find_table(labels, colors), ignore=tuple(ignore),
        problems=problems, image_paths=find_photos(folder, images_dir), progress=progress or show_progress(),
    )  # fmt: skip


def _list_paths(paths: PathLike | Iterable[PathLike]) -> list[Path]:
    return [Path(path) for path in ([paths] if isinstance(paths, _PATHS) else paths)]


def _require_one(image: Any) -> None:
    """Raise unless this is one image: the results of several are files."""
    is_many = isinstance(image, list | tuple) or (isinstance(image, _PATHS) and _is_many(Path(image)))
    if is_many:
        raise BadUsage("the results of several images are files; say where they go: --out DIR")


def _is_many(path: Path) -> bool:
    return path.is_dir() or (any(sign in str(path) for sign in "*?[") and not path.exists())


def _find_table(labels: Labels | None, colors: PathLike | None = None) -> ClassTable | None:
    """Return the classes that were given, in any form."""
    if labels is None:
        if colors is not None:
            raise BadUsage("--colors needs --labels: colours are given in the order of the class names")
        return None
    if isinstance(labels, _PATHS):
        return read_class_files(labels, colors)
    table = labels if isinstance(labels, ClassTable) else ClassTable.from_names(labels)
    return table if colors is None else read_colors(colors, table, owner="labels")
