"""Train models, as `retrain`, `fcn train` and `run` do."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from hybridseg.api.arguments import PATH_TYPES, Labels, find_path, find_table
from hybridseg.api.calls import list_defaults, public_function, run_command, show_progress, speak_python
from hybridseg.apply import PathLike
from hybridseg.cli.console import Console
from hybridseg.dense.crops import CropOptions
from hybridseg.dense.datasets import open_folders
from hybridseg.dense.programs.fcn import FcnOptions
from hybridseg.dense.programs.fcn import train_fcn as train_network
from hybridseg.dense.runs import MODEL_NAME
from hybridseg.dense.trainer import TrainingPaths, TrainingResult
from hybridseg.figures import FigureOptions
from hybridseg.hybrid.classifier import RetrainOptions, RetrainPaths
from hybridseg.hybrid.head import HeadOptions
from hybridseg.hybrid.retrain import RetrainResult, draw_curve
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
    figures
        FigureOptions: resolution and format of the figures.
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
    result = train_classifier(paths, options=options, progress=progress or show_progress())
    return replace(result, written=(*result.written, draw_curve(paths, result, figures=figures)))


@public_function(FcnOptions, CropOptions)
def train_fcn(
    photos: PathLike,
    *,
    masks: PathLike | None = None,
    out: PathLike = "runs/fcn",
    labels: Labels | None = None,
    colors: PathLike | None = None,
    epochs: int = FcnOptions.epochs,
    batch_size: int = FcnOptions.batch_size,
    learning_rate: float = FcnOptions.learning_rate,
    loss: str = FcnOptions.loss,
    size: tuple[int, int] | None = FcnOptions.size,
    crop: tuple[int, int] | None = CropOptions.crop,
    crop_scale: tuple[float, float] | None = CropOptions.crop_scale,
    n_crops: int | None = CropOptions.n_crops,
    balance: bool = CropOptions.balance,
    backbone: str = FcnOptions.backbone,
    best_by: str = FcnOptions.best_by,
    patience: int = FcnOptions.patience,
    seed: int = FcnOptions.seed,
    figures: FigureOptions = FigureOptions(),
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> TrainingResult:
    """Train FCN-8s, a dense network, on whole labelled photos; some are held out to choose the best epoch.

    Parameters
    ----------
    photos
        The folder of the photos.
    masks
        The folder of the masks, if they are not beside their photos.
    out
        The folder of this training: ``model.h5`` with its card, ``log.csv`` and figures.
    labels, colors
        The classes of masks that do not name theirs (a class file, a ClassTable or a list of names), and a file of
        their colours.
    seed
        Of every random choice.
    figures
        FigureOptions: resolution and format of the figures.
    resume
        Continue after the last finished epoch.
    overwrite
        Start over where there is a training already.
    progress
        Wraps what is worked on, as `tqdm` does; by default shown where a person is watching.

    Returns
    -------
    TrainingResult
        The model (`model_path`), the `history` of the epochs, and the `confusion` matrix of the photos held out.

    Examples
    --------
    >>> import hybridseg as hs
    >>> result = hs.train_fcn("photos", masks="masks", labels=["water", "sand"], epochs=20)  # doctest: +SKIP
    >>> hs.segment("photo.jpg", result.model_path)  # doctest: +SKIP
    """
    data = open_folders(Path(photos), find_path(masks), table=find_table(labels, colors))
    paths = TrainingPaths(Path(out) / MODEL_NAME, Path(out), resume=resume, overwrite=overwrite, figures=figures)
    crops = CropOptions(crop, crop_scale, n_crops, balance)
    options = FcnOptions(
        epochs, batch_size, learning_rate, loss, size, backbone, best_by=best_by, patience=patience, seed=seed,
        crops=crops,
    )  # fmt: skip
    return train_network(data, paths=paths, options=options, progress=progress or show_progress())


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
    test_list: PathLike | None = StudyOptions.test_list,
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
    labels, colors
        The classes of masks that do not name theirs (a class file, a ClassTable or a list of names), and a file of
        their colours.
    out
        The folder of everything that is written; by default ``PHOTOS_run``.
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
        options=StudyOptions(method, proportion, group_by, find_path(test_list), tile_size, epochs, seed),
        table=table,
        check_only=dry_run, progress=console.progress,
    )  # fmt: skip
