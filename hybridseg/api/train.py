"""Train a classifier of tiles, or do all in one, as `retrain` and `run` do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from hybridseg.api.arguments import PATH_TYPES, Labels, find_list, find_path, find_table
from hybridseg.api.calls import list_defaults, public_function, run_command, show_progress
from hybridseg.api.wording import speak_python
from hybridseg.apply import PathLike
from hybridseg.cli.console import Console
from hybridseg.figures import FigureOptions
from hybridseg.hybrid.classifier import RetrainOptions, RetrainPaths
from hybridseg.hybrid.head import HeadOptions
from hybridseg.hybrid.retrain import RetrainResult
from hybridseg.hybrid.retrain import retrain as train_classifier
from hybridseg.progress import Progress
from hybridseg.study.inputs import CLASSES_NAME, StudyOptions, StudyPaths
from hybridseg.study.study import StudyResult, run_study


@public_function(RetrainOptions, HeadOptions)
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
    figures: FigureOptions = FigureOptions(),
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
        colors_path=find_path(colors),
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
    return train_classifier(paths, options=options, figures=figures, progress=progress or show_progress())


@public_function(StudyOptions)
def run(
    photos: PathLike,
    *,
    masks: PathLike | None = None,
    labels: Labels | None = None,
    colors: PathLike | None = None,
    out: PathLike | None = None,
    method: str = StudyOptions.method,
    group_by: str | None = StudyOptions.group_by,
    proportion: float | None = StudyOptions.proportion,
    test_list: PathLike | Sequence[str] | None = StudyOptions.test_list,
    tile_size: int | None = StudyOptions.tile_size,
    epochs: int | None = StudyOptions.epochs,
    seed: int = StudyOptions.seed,
    dry_run: bool = False,
    quiet: bool = False,
) -> StudyResult:
    """Train, test and report on your own photos, all in one. The same call goes on after an interruption.

    What is None suits the number and the size of the photos.

    Parameters
    ----------
    photos
        The folder of the photos, of which some or all have a mask.
    masks
        The folder of the masks, if they are not beside their photos.
    out
        The folder of everything that is written; by default ``PHOTOS_run``.
    test_list
        The names of the photos for testing, as a list or a text file with one per line; all others are for training.
    seed
        Of every random choice.
    dry_run
        Only check everything, and say what would be done and how long it takes.
    quiet
        Print nothing but warnings.

    Returns
    -------
    StudyResult
        The report, `report_path`, and the `verdict`.

    Examples
    --------
    >>> import hybridseg as hs
    >>> hs.run("photos", masks="masks", labels="labels.txt")  # doctest: +SKIP
    <StudyResult: photos_run/report.html>
    """
    console = Console(quiet=quiet)
    table, paths = find_table(labels, colors), StudyPaths(Path(photos), find_path(masks), out_dir=find_path(out))
    if labels is None or isinstance(labels, PATH_TYPES):
        paths = replace(paths, labels_path=find_path(labels), colors_path=find_path(colors))
    else:
        paths = replace(paths, labels_path=paths.out / CLASSES_NAME)
    return run_study(
        paths, run_command=partial(run_command, console), say=console.say,
        warn=lambda text: console.warn(speak_python(text, list_defaults(run))),
        options=StudyOptions(method, proportion, group_by, find_list(test_list), tile_size, epochs, seed),
        table=table,
        check_only=dry_run, progress=console.progress,
    )  # fmt: skip
