"""Measure models and tune them, as `eval-pixels`, `eval-tiles` and `tune-crf` do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from hybridseg.api.arguments import Labels, find_path, find_table, list_paths
from hybridseg.api.calls import public_function, show_progress
from hybridseg.api.use import open_model
from hybridseg.apply import Model, PathLike
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
from hybridseg.io.masks import find_labelled
from hybridseg.models.ensemble import AnyClassifier, list_members
from hybridseg.progress import Progress


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
