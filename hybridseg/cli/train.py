"""Commands that train and check a tile classifier: ``retrain``, ``eval-tiles``, ``export-module``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hybridseg.cli.console import Console, pass_console
from hybridseg.cli.options import read_table, seed_option
from hybridseg.hybrid.classifier import RetrainOptions, RetrainPaths
from hybridseg.hybrid.distort import DistortOptions
from hybridseg.hybrid.finetune import FineTuneOptions
from hybridseg.hybrid.head import HeadOptions
from hybridseg.hybrid.retrain import RetrainResult
from hybridseg.hybrid.retrain import retrain as train_classifier
from hybridseg.models.backbones import BUILTIN, DEFAULT_INPUT_SIZE

path_type = click.Path(path_type=Path)


def classic_option(name: str, **settings: Any) -> Any:
    """Define an option under its classic name, with underscores, and with dashes too."""
    dashed = name.replace("_", "-")
    names = [f"--{name}"] if dashed == name else [f"--{name}", f"--{dashed}"]
    settings.setdefault("show_default", True)
    return click.option(*names, name, **settings)


@click.command()
@classic_option("image_dir", type=path_type, required=True, help="Folder of class folders of tiles, as retile writes.")
@classic_option("output_graph", type=path_type, default=Path("model.pb"), help="The model.")
@classic_option("output_labels", type=path_type, help="Its classes.  [default: labels.txt beside the model]")
@classic_option("summaries_dir", type=path_type, help="Write what TensorBoard shows here.")
@classic_option(
    "bottleneck_dir", type=path_type, default=Path("bottlenecks"), help="Keep features and checkpoints here."
)
@classic_option("tfhub_module", default=BUILTIN, help="Backbone: built in, a Hub address, a folder or a .tar.gz.")
@classic_option("how_many_training_steps", type=int, default=HeadOptions.how_many_training_steps, help="Steps.")
@classic_option("learning_rate", type=float, default=HeadOptions.learning_rate, help="How far a step goes.")
@classic_option("testing_percentage", type=float, default=RetrainOptions.testing_percentage, help="Held out to judge.")
@classic_option(
    "validation_percentage", type=float, default=RetrainOptions.validation_percentage, help="Held out to choose by."
)
@classic_option(
    "eval_step_interval", type=int, default=HeadOptions.eval_step_interval, help="Steps between two measurements."
)
@classic_option("train_batch_size", type=int, default=HeadOptions.train_batch_size, help="Tiles in a step.")
@classic_option(
    "test_batch_size", type=int, default=RetrainOptions.test_batch_size, help="Tiles that judge; -1 for all held out."
)
@classic_option(
    "validation_batch_size", type=int, default=HeadOptions.validation_batch_size,
    help="Tiles in a measurement; -1 for all.",
)  # fmt: skip
@classic_option(
    "print_misclassified_test_images", is_flag=True, help="List the held-out tiles that were taken wrongly."
)
@classic_option("final_tensor_name", default=RetrainOptions.final_tensor_name, help="Name of the output in the graph.")
@classic_option("flip_left_right", is_flag=True, help="Mirror half of the training tiles at random.")
@classic_option("random_crop", type=float, default=DistortOptions.random_crop, help="Percent to crop away at random.")
@classic_option("random_scale", type=float, default=DistortOptions.random_scale, help="Percent to enlarge at random.")
@classic_option(
    "random_brightness", type=float, default=DistortOptions.random_brightness, help="Percent to darken or brighten."
)
@classic_option("saved_model_dir", type=path_type, help="Write a SavedModel here too.")
@classic_option("intermediate_output_graphs_dir", type=path_type, help="Write models of the training here.")
@classic_option("intermediate_store_frequency", type=int, default=0, help="Steps between these; 0 for none.")
@click.option(
    "--input-size", type=int, default=DEFAULT_INPUT_SIZE, show_default=True,
    help="Tiles are enlarged to this inside the model.",
)  # fmt: skip
@click.option("--fine-tune", is_flag=True, help="Train the backbone too, after the head: slow.")
@click.option(
    "--fine-tune-epochs", type=int, default=FineTuneOptions.epochs, show_default=True, help="Times through all tiles."
)
@click.option(
    "--fine-tune-rate",
    type=float,
    default=FineTuneOptions.rate,
    show_default=True,
    help="How far one goes: keep it low.",
)
@click.option(
    "--class-weights", type=click.Choice(["none", "balanced"]), default=HeadOptions.class_weights, show_default=True,
    help="Let rare classes count as much as common ones.",
)  # fmt: skip
@click.option(
    "--patience", type=int, default=HeadOptions.patience, show_default=True,
    help="Stop after so many measurements without progress; 0 never stops.",
)  # fmt: skip
@click.option(
    "--colors", "colors_path", type=path_type, help="labeldefs.txt with the colours of the classes, kept in the model."
)
@click.option("--trust-model", is_flag=True, help="Load a module even if it could reach files or the network.")
@seed_option
@pass_console
def retrain(console: Console, **words: Any) -> None:
    """Train a classifier on tiles.

    Tiles of one photo overlap, so whole photos are held out: the accuracy that is printed is measured on photos
    that were not learned from. The options of the classic script keep their names, with _ or -.

    Result: model.pb (a frozen graph from Placeholder, pixels in 0..1, to final_result), labels.txt, model.json
    (classes, sizes, held-out scores) and model_training.png. Interrupted, the same command goes on.

    \b
    Example:
      hybridseg retrain --image_dir train/tile_96 --output_graph model.pb
    """
    from hybridseg.figures import draw_learning_curve
    from hybridseg.models.startup import import_tensorflow

    import_tensorflow()
    paths = RetrainPaths(
        image_dir=words["image_dir"],
        output_graph=words["output_graph"],
        output_labels=words["output_labels"] or words["output_graph"].with_name("labels.txt"),
        bottleneck_dir=words["bottleneck_dir"],
        summaries_dir=words["summaries_dir"],
        saved_model_dir=words["saved_model_dir"],
        intermediate_output_graphs_dir=words["intermediate_output_graphs_dir"],
        intermediate_store_frequency=words["intermediate_store_frequency"],
    )
    result = train_classifier(
        paths, options=_make_options(words), colors=read_table(words["colors_path"], None), progress=console.progress
    )
    figure_path = paths.output_graph.with_name(f"{paths.output_graph.stem}_training.png")
    draw_learning_curve(
        figure_path,
        [m.step for m in result.curve],
        {
            "accuracy": ([m.train_accuracy for m in result.curve], [m.validation_accuracy for m in result.curve]),
            "cross entropy": (
                [m.train_cross_entropy for m in result.curve],
                [m.validation_cross_entropy for m in result.curve],
            ),
        },
    )
    _print_result(console, result, show_wrong=words["print_misclassified_test_images"])
    for path in (*result.written, figure_path):
        console.say(f"wrote {path}")


def _make_options(words: dict[str, Any]) -> RetrainOptions:
    head_names = HeadOptions.__dataclass_fields__.keys()
    distort_names = DistortOptions.__dataclass_fields__.keys()
    own_names = RetrainOptions.__dataclass_fields__.keys() - {"head", "distort", "tuning"}
    return RetrainOptions(
        **{name: words[name] for name in own_names},
        head=HeadOptions(**{name: words[name] for name in head_names}),
        distort=DistortOptions(**{name: words[name] for name in distort_names}),
        tuning=FineTuneOptions(epochs=words["fine_tune_epochs"], rate=words["fine_tune_rate"]),
    )


def _print_result(console: Console, result: RetrainResult, *, show_wrong: bool) -> None:
    if result.note:
        console.say(result.note)
    console.say("tiles: " + ", ".join(f"{n} {name}" for name, n in result.counts.items()))
    if result.scores:
        console.say(
            f"held-out accuracy {result.scores['accuracy']:.3f}, macro F1 {result.scores['macro_f1']:.3f} "
            f"on {result.scores['n_tiles']} tiles of {result.scores['n_photos']} photos that were not learned from"
        )
    else:
        console.say("held-out accuracy: not measured, no photo was held out; use eval-tiles on tiles of other photos")
    if show_wrong:
        for name, predicted in result.misclassified:
            console.say(f"  {name} was taken for {predicted}")


@click.command("eval-tiles")
@click.argument("folder", metavar="DIR", type=path_type)
@click.option("--model", "model_path", type=path_type, default=Path("model.pb"), show_default=True, help="The model.")
@click.option("--labels", "labels_path", type=path_type, help="Its classes, for a .pb of the classic script.")
@click.option("-n", "--n-per-class", type=int, default=100, show_default=True, help="Random tiles of each class.")
@click.option("--tile-size", type=int, help="Side of the tiles.  [default: as the tiles and the model say]")
@click.option("--out", "out_dir", metavar="DIR", type=path_type, help="Write the scores here.  [default: DIR]")
@seed_option
@pass_console
def eval_tiles(
    console: Console,
    *,
    folder: Path,
    model_path: Path,
    labels_path: Path | None,
    n_per_class: int,
    tile_size: int | None,
    out_dir: Path | None,
    seed: int,
) -> None:
    """Tell how good a tile classifier is.

    DIR holds a folder of tiles for each class, best of photos that the model has not seen (test/tile_96); folders
    are matched to the classes of the model by name.

    Result: accuracy, precision, recall, F1 and mean probability of each class, printed and written as
    eval_tiles.csv and eval_tiles.json, with eval_tiles_confusion.png and eval_tiles_calibration.png.

    \b
    Example:
      hybridseg eval-tiles -n 100 test/tile_96 --model model.pb
    """
    from hybridseg.hybrid.evaltiles import evaluate_tiles, find_tile_size, list_tile_rows
    from hybridseg.models.startup import import_tensorflow
    from hybridseg.models.store import load_classifier

    import_tensorflow()
    size = tile_size or find_tile_size(folder)
    classifier = load_classifier(model_path, labels_path=labels_path, tile_size=size)
    result = evaluate_tiles(
        folder, classifier, n_per_class=n_per_class, seed=seed, out_dir=out_dir, progress=console.progress
    )
    columns = ("accuracy", "precision", "recall", "f1", "mean_probability")
    rows = [
        (row["class"], *("" if row[name] is None else f"{row[name]:.3f}" for name in columns), row["support"])
        for row in list_tile_rows(result.confusion, result.mean_probability)
    ]
    console.table(("class", "accuracy", "precision", "recall", "F1", "probability", "tiles"), rows)
    console.say(f"expected calibration error {result.calibration.error:.3f}")
    for path in result.written:
        console.say(f"wrote {path}")
    console.finish(result.problems)


@click.command("export-module")
@click.argument("out_dir", metavar="DIR", type=path_type)
@click.option("--input-size", type=int, default=DEFAULT_INPUT_SIZE, show_default=True, help="Side of its pictures.")
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
    from hybridseg.models.startup import import_tensorflow

    import_tensorflow()
    export_builtin(out_dir, input_size=input_size)
    console.say(f"wrote {out_dir}")
