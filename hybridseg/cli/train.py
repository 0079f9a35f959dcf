"""Commands that train and evaluate a tile classifier: ``retrain``, ``eval-tiles``, ``export-module``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hybridseg.cli.console import Console, pass_console
from hybridseg.cli.options import (
    colors_option,
    engine_option,
    figure_options,
    named_as_typed,
    options_of,
    path_type,
    read_options,
    seed_option,
)
from hybridseg.figures import FigureOptions
from hybridseg.hybrid.classifier import RetrainOptions, RetrainPaths
from hybridseg.hybrid.distort import DistortOptions
from hybridseg.hybrid.evaltiles import N_PER_CLASS, evaluate_tiles, find_tile_size, list_tile_rows
from hybridseg.hybrid.finetune import FineTuneOptions
from hybridseg.hybrid.head import HeadOptions
from hybridseg.hybrid.retrain import RetrainResult
from hybridseg.hybrid.retrain import retrain as train_classifier
from hybridseg.hybrid.semseg import SemsegJob
from hybridseg.markup import count_of, spell_command
from hybridseg.models.backbones import DEFAULT_INPUT_SIZE
from hybridseg.verdict import FEW_PHOTOS, NextSteps


@click.command()
@options_of(RetrainPaths, "image_dir", "output_graph", classic=True)
@options_of(RetrainPaths, "output_labels", unset={"output_labels": "labels.txt beside the model"}, classic=True)
@options_of(RetrainPaths, "summaries_dir", "bottleneck_dir", classic=True)
@options_of(RetrainOptions, "tfhub_module", classic=True)
@options_of(HeadOptions, "how_many_training_steps", "learning_rate", classic=True)
@options_of(RetrainOptions, "testing_percentage", "validation_percentage", classic=True)
@options_of(HeadOptions, "eval_step_interval", "train_batch_size", classic=True)
@options_of(RetrainOptions, "test_batch_size", classic=True)
@options_of(HeadOptions, "validation_batch_size", classic=True)
@click.option(
    "--print_misclassified_test_images", "--print-misclassified-test-images", is_flag=True,
    help="List the wrongly classified tiles of the testing set.",
)  # fmt: skip
@options_of(RetrainOptions, "final_tensor_name", classic=True)
@options_of(DistortOptions, "flip_left_right", "random_crop", "random_scale", "random_brightness", classic=True)
@options_of(
    RetrainPaths, "saved_model_dir", "intermediate_output_graphs_dir", "intermediate_store_frequency", classic=True
)
@options_of(RetrainOptions, "input_size", "fine_tune")
@options_of(
    FineTuneOptions, "epochs", "learning_rate", prefix="fine_tune_", flags={"learning_rate": ("--fine-tune-rate",)}
)
@options_of(HeadOptions, "class_weights", "patience")
@colors_option("that of the tiles")
@options_of(RetrainOptions, "trust_model")
@figure_options
@seed_option
@pass_console
def retrain(console: Console, **settings: Any) -> None:
    """Train a classifier on tiles.

    Tiles of one photo overlap, so whole photos are held out: the accuracy that is printed is measured on photos
    that were not used for training. The options of the classic script keep their names, with _ or -.

    Result: model.pb (a frozen graph from Placeholder, pixels in 0..1, to final_result), labels.txt (beside a list of
    other classes: model_labels.txt), model.json (classes, sizes, held-out scores), MODEL_CARD.md and model.mlm.json
    (what the model is, for people and for catalogs) and model_training.png. After an interruption the same command
    resumes.

    \b
    Example:
      hybridseg retrain --image_dir train/tile_96 --output_graph model.pb
    """
    options = read_options(
        RetrainOptions,
        settings,
        head=read_options(HeadOptions, settings),
        distort=read_options(DistortOptions, settings),
        tuning=read_options(FineTuneOptions, settings, prefix="fine_tune_"),
    )
    paths = read_options(RetrainPaths, settings)
    figures = read_options(FigureOptions, settings)
    result = train_classifier(paths, options=options, figures=figures, progress=console.progress)
    _print_result(console, result, show_wrong=settings["print_misclassified_test_images"])
    console.wrote(*result.written)
    console.record(tiles=result.counts, notes=result.notes)
    model = ("--model", paths.output_graph)
    steps = NextSteps(
        good=spell_command(("semseg", "PHOTOS", *model)),
        few=f"{spell_command(('eval-tiles', 'TILES', *model))}, on tiles of other photos",
    )
    console.conclude(result.confusion.to_record() if result.confusion else None, result.verdict, steps)


def _print_result(console: Console, result: RetrainResult, *, show_wrong: bool) -> None:
    for note in result.notes:
        console.say(note)
    console.say("tiles: " + ", ".join(f"{n} {name}" for name, n in result.counts.items()))
    if result.confusion is not None:
        n_photos = result.scores["n_photos"]
        console.say(
            f"held-out accuracy {result.scores['accuracy']:.3f}, macro F1 {result.scores['macro_f1']:.3f} "
            f"on {count_of(result.scores['n_tiles'], 'tile')} of {count_of(n_photos, 'photo')} not used for training"
        )
        console.say_left_out(result.confusion)
    else:
        console.say("held-out accuracy: not measured, no photo was held out; use eval-tiles on tiles of other photos")
    if show_wrong:
        for name, predicted in result.misclassified:
            console.say(f"  {name} was classified as {predicted}")


@click.command("eval-tiles")
@click.argument("folder", metavar="DIR", type=path_type)
@click.option("--model", "model_path", type=path_type, default=Path("model.pb"), show_default=True, help="The model.")
@click.option("--labels", "labels_path", type=path_type, help="The classes of a .pb of the classic script.")
@click.option(
    "-n", "--n-per-class", type=int, default=N_PER_CLASS, show_default=True, help="Random tiles of each class."
)
@click.option("--tile-size", type=int, help="Side of the tiles, in pixels.  [default: from the tiles and the model]")
@options_of(SemsegJob, "input_range")
@engine_option
@click.option("--out", "out_dir", metavar="DIR", type=path_type, help="Write the scores here.  [default: DIR]")
@figure_options
@seed_option
@pass_console
def eval_tiles(console: Console, *, folder: Path, **settings: Any) -> None:
    """Evaluate a tile classifier.

    DIR holds a folder of tiles for each class, preferably of photos that the model was not trained on
    (test/tile_96); folders are matched to the classes of the model by name.

    Result: accuracy, precision, recall, F1 and mean probability of each class, printed and written as
    eval_tiles.csv and eval_tiles.json, with eval_tiles_confusion.png and eval_tiles_calibration.png.

    \b
    Example:
      hybridseg eval-tiles -n 100 test/tile_96 --model model.pb
    """
    from hybridseg.models.store import load_classifier

    size = settings["tile_size"] or find_tile_size(folder)
    classifier = load_classifier(
        settings["model_path"], labels_path=settings["labels_path"], tile_size=size,
        input_range=settings["input_range"], engine=settings["model_engine"],
    )  # fmt: skip
    result = evaluate_tiles(
        folder, classifier, n_per_class=settings["n_per_class"], seed=settings["seed"], out_dir=settings["out_dir"],
        figures=read_options(FigureOptions, settings), progress=console.progress,
    )  # fmt: skip
    columns = ("accuracy", "precision", "recall", "f1", "mean_probability")
    rows = [
        (row["class"], *("" if row[name] is None else f"{row[name]:.3f}" for name in columns), row["support"])
        for row in list_tile_rows(result.confusion, result.mean_probability)
    ]
    console.table(("class", "accuracy", "precision", "recall", "F1", "probability", "tiles"), rows)
    console.say_left_out(result.confusion)
    console.say(f"expected calibration error {result.calibration.error:.3f}")
    console.record(mean_probability=result.mean_probability, calibration_error=result.calibration.error)
    console.wrote(*result.written)
    steps = NextSteps(
        good=spell_command(("semseg", "PHOTOS", "--model", settings["model_path"])),
        few=f"give tiles of {FEW_PHOTOS} photos or more",
    )
    console.conclude(result.confusion.to_record(), result.verdict, steps)
    console.finish(result.problems)


@click.command("export-module")
@click.argument("out_dir", metavar="DIR", type=path_type)
@click.option(
    "--input-size", type=int, default=DEFAULT_INPUT_SIZE, show_default=True,
    help="Side of the images that it takes, in pixels.",
)  # fmt: skip
@pass_console
def export_module(console: Console, *, out_dir: Path, input_size: int) -> None:
    """Write the built-in backbone as a TensorFlow Hub module.

    Result: DIR, a reusable TF2 SavedModel that hub.KerasLayer takes, frozen or trainable, and that retrain
    --tfhub_module DIR takes as well.

    \b
    Example:
      hybridseg export-module mobilenet_v2
    """
    from hybridseg.models.backbones import export_builtin

    with named_as_typed():
        export_builtin(out_dir, input_size=input_size)
    console.wrote(out_dir)
