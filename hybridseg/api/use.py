"""Use models, measure and tune them, as `semseg`, `fcn infer`, `eval-pixels`, `eval-tiles` and `tune-crf` do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, overload

from hybridseg.api.arguments import PATH_TYPES, Config, Labels, find_config, find_path, find_table, list_paths
from hybridseg.api.calls import public_function, show_progress
from hybridseg.apply import Model, PathLike, SegmentedImage, find_model, segment_files, segment_pixels
from hybridseg.batch.jobs import Outputs
from hybridseg.batch.results import BatchResult
from hybridseg.dense.programs.resunet import choose_smoothing
from hybridseg.dense.smoothing import SmoothingOptions
from hybridseg.dense.windows import DenseOptions
from hybridseg.errors import BadUsage
from hybridseg.evaluation.errorpanels import PanelOptions
from hybridseg.evaluation.pairs import find_pairs, find_photos
from hybridseg.evaluation.pixels import PixelsResult, evaluate_pixels
from hybridseg.figures import FigureOptions
from hybridseg.hybrid.evaltiles import N_PER_CLASS, TilesResult, find_tile_size
from hybridseg.hybrid.evaltiles import evaluate_tiles as score_tiles
from hybridseg.hybrid.segmentation import HybridOptions
from hybridseg.hybrid.semseg import SemsegJob
from hybridseg.hybrid.tuning import TuneOptions, TuneResult
from hybridseg.hybrid.tuning import tune_crf as search_crf
from hybridseg.io.labels.classfiles import read_colors
from hybridseg.io.masks import find_labelled
from hybridseg.models.ensemble import AnyClassifier, list_members
from hybridseg.progress import Progress


@public_function()
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
    model = Model(tuple(map(find_model, (path, *more))), labels_path=find_path(labels), tile_size=tile_size)
    model.make_job().load()
    return model


@overload
def segment(
    images: PathLike | Any,
    model: Model | PathLike,
    *,
    out: None = None,
    options: HybridOptions | DenseOptions | None = None,
    smoothing: SmoothingOptions | Config | None = None,
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
    smoothing: SmoothingOptions | Config | None = None,
    colors: PathLike | None = None,
    probabilities: bool = Outputs.probabilities,
    keep_seeds: bool = Outputs.keep_seeds,
    report: bool = Outputs.report,
    figures: FigureOptions | None = FigureOptions(),
    n_jobs: int = 1,
    resume: bool = False,
    progress: Progress | None = None,
) -> BatchResult: ...


@public_function(Outputs)
def segment(
    images: PathLike | Iterable[PathLike] | Any,
    model: Model | PathLike,
    *,
    out: PathLike | None = None,
    options: HybridOptions | DenseOptions | None = None,
    smoothing: SmoothingOptions | Config | None = None,
    colors: PathLike | None = None,
    probabilities: bool = Outputs.probabilities,
    keep_seeds: bool = Outputs.keep_seeds,
    report: bool = Outputs.report,
    figures: FigureOptions | None = FigureOptions(),
    n_jobs: int = 1,
    resume: bool = False,
    progress: Progress | None = None,
) -> SegmentedImage | BatchResult:
    """Classify every pixel of an image; with `out`, of any number of images, whose label maps are written there.

    Parameters
    ----------
    images
        A photo, by its path or as an array of (rows, cols, bands), of which values wider than 8 bits are stretched
        between their 1st and 99th percentile, as those of files are. With `out` also a folder, a pattern such as
        ``photos/2016*.jpg``, or several of these.
    model
        As `open_model` returns it, or the path of one.
    out
        Folder of the results: the same files as the commands write.
    options
        HybridOptions for a tile classifier, DenseOptions for a dense network; by default the best settings, with what
        ``hybridseg tune-crf`` found for the model.
    smoothing
        SmoothingOptions: what comes after a dense network; or the config of a residual U-Net, which says that.
    colors
        A file of other colours for the classes.
    figures
        FigureOptions: resolution and format of the figure of each image; None for no figures.
    n_jobs
        Processes that work at once. More than one needs ``if __name__ == "__main__":`` in a script.
    resume
        Leave out images whose result was made by the same model with the same settings.

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
    if smoothing is not None and not isinstance(smoothing, SmoothingOptions):
        smoothing = choose_smoothing(find_config(smoothing))
    table = None if colors is None else read_colors(colors, model.classes, owner=model.paths[0])
    progress = progress or show_progress()
    if (keep_seeds or report) and not model.is_classifier:
        raise BadUsage("keep_seeds and report are for tile classifiers; leave them out for a dense network")
    if out is not None:
        if hasattr(images, "shape") or (isinstance(images, list | tuple) and any(hasattr(i, "shape") for i in images)):
            raise BadUsage("files are called after photos, and an array has no name: leave --out out, then save(path)")
        return segment_files(
            list_paths(images), model, options=options, smoothing=smoothing, table=table, n_jobs=n_jobs, resume=resume,
            outputs=Outputs(Path(out), figures, probabilities=probabilities, keep_seeds=keep_seeds, report=report),
            progress=progress,
        )  # fmt: skip
    if probabilities or keep_seeds or report or resume or n_jobs != 1 or figures != FigureOptions():
        raise BadUsage(
            "probabilities, keep_seeds, report, figures, resume and n_jobs are for files; say where they go: --out DIR"
        )
    _require_one(images)
    return segment_pixels(images, model.make_job(options=options, smoothing=smoothing, table=table), progress=progress)


@public_function(PanelOptions)
def evaluate(
    results: PathLike,
    *,
    masks: PathLike | None = None,
    images: PathLike | None = None,
    truth: str | None = None,
    prediction: str | None = None,
    ignore: str | Sequence[str] = (),
    out: PathLike | None = None,
    labels: Labels | None = None,
    colors: PathLike | None = None,
    panels: str = PanelOptions.panels,
    figures: FigureOptions = FigureOptions(),
    progress: Progress | None = None,
) -> PixelsResult:
    """Compare label maps that a model made with masks made by hand, pixel by pixel, classes matched by name.

    Parameters
    ----------
    results
        The folder of the results.
    masks
        The folder of the masks, if they are neither beside the results nor, as `split` has put them, with `images`.
    images
        The folder of the images: others are left out. The verdict then says, too, what colours alone would tell.
    truth, prediction
        Patterns of the label maps to compare, below `results`: ``"masks/*.png"`` and ``"*_predseg_crf.png"``.
    ignore
        Classes whose true pixels are left out, or one.
    out
        The folder of the scores and figures; by default that of the results.
    labels, colors
        The classes of label maps that do not name theirs (a class file, a ClassTable or a list of names), and a file of
        their colours.

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
    folder, images_dir = Path(results), find_path(images)
    ignore = (ignore,) if isinstance(ignore, str) else tuple(ignore)
    pairs, problems = find_pairs(folder, masks_dir=masks, images_dir=images_dir, truth=truth, prediction=prediction)
    return evaluate_pixels(
        pairs, out_dir=folder if out is None else out, table=find_table(labels, colors), ignore=ignore,
        problems=problems, image_paths=find_photos(folder, images_dir), panels=PanelOptions(panels), figures=figures,
        progress=progress or show_progress(),
    )  # fmt: skip


@public_function()
def evaluate_tiles(
    tiles: PathLike,
    model: Model | PathLike,
    *,
    n_per_class: int = N_PER_CLASS,
    out: PathLike | None = None,
    seed: int = 0,
    figures: FigureOptions = FigureOptions(),
    progress: Progress | None = None,
) -> TilesResult:
    """Evaluate a tile classifier on tiles, preferably of photos that it was not trained on.

    Parameters
    ----------
    tiles
        Folder of tiles with a folder for each class, as `retile` writes it.
    model
        As `open_model` returns it, or the path of one.
    n_per_class
        Random tiles of each class.
    out
        The folder of the scores and figures; by default that of the tiles.
    seed
        Of the random choice of tiles.

    Returns
    -------
    TilesResult
        The `confusion` matrix, the `calibration`, and the `verdict`.

    Examples
    --------
    >>> import hybridseg as hs
    >>> hs.evaluate_tiles("test/tile_96", "model.pb")  # doctest: +SKIP
    <TilesResult: 500 tiles, accuracy 0.912>
    """
    model = model if isinstance(model, Model) else open_model(model, tile_size=find_tile_size(tiles))
    [classifier, *others] = list_members(_load_classifier(model))
    if others:
        raise BadUsage("tiles are classified by one model; give one")
    return score_tiles(
        tiles, classifier, n_per_class=n_per_class, seed=seed, out_dir=out, figures=figures,
        progress=progress or show_progress(),
    )  # fmt: skip


@public_function(TuneOptions)
def tune_crf(
    photos: PathLike | Iterable[PathLike],
    model: Model | PathLike,
    *,
    masks: PathLike | None = None,
    n_trials: int = TuneOptions.n_trials,
    score: str = TuneOptions.score,
    options: HybridOptions | None = None,
    labels: Labels | None = None,
    colors: PathLike | None = None,
    seed: int = TuneOptions.seed,
    progress: Progress | None = None,
) -> TuneResult:
    """Tune the constants of the CRF on labelled photos that the model was not trained on; `segment` then uses them.

    Parameters
    ----------
    photos
        A folder of photos with their masks; with `masks` a folder, files or patterns.
    model
        A tile classifier, as `open_model` returns it, or the path of one.
    masks
        The folder of the masks, if they are neither beside their photos nor where `split` has put them.
    options
        HybridOptions: how the tiles lie, the scale, and the CRF that the search starts from.
    seed
        Of the random search.

    Returns
    -------
    TuneResult
        The `best` constants, all `trials`, and the file, `path`, beside the model.

    Examples
    --------
    >>> import hybridseg as hs
    >>> hs.tune_crf("labelled", "model.pb")  # doctest: +SKIP
    <TuneResult: model_crf.json, mean IoU 0.712 (the tiles alone 0.655)>
    """
    classifier = _load_classifier(model if isinstance(model, Model) else open_model(model))
    found = find_labelled(list_paths(photos), masks_dir=find_path(masks))
    return search_crf(
        found.pairs, classifier, start=options or HybridOptions(), options=TuneOptions(n_trials, score, seed),
        table=find_table(labels, colors), problems=found.problems, progress=progress or show_progress(),
    )  # fmt: skip


def _load_classifier(model: Model) -> AnyClassifier:
    job = model.make_job()
    if not isinstance(job, SemsegJob):
        raise BadUsage(f"{model.paths[0]} is a dense network; give a tile classifier (.pb)")
    return job.load()


def _require_one(image: Any) -> None:
    """Raise unless this is one image: the results of several are files."""
    is_many = isinstance(image, list | tuple) or (isinstance(image, PATH_TYPES) and _is_many(Path(image)))
    if is_many:
        raise BadUsage("the results of several images are files; say where they go: --out DIR")


def _is_many(path: Path) -> bool:
    return path.is_dir() or (any(sign in str(path) for sign in "*?[") and not path.exists())
