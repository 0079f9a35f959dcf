"""``hybridseg demo``: the main job from end to end, as the very commands that a user would type."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import click

from hybridseg.cli.console import Console, pass_console
from hybridseg.data.tileplan import MANIFEST_NAME
from hybridseg.errors import OutputExists
from hybridseg.io.atomic import write_text

_MARK = "DEMO.txt"
_PICTURES = {
    "scenes.png": "scenes and their label maps",
    "tiles.png": "training tiles of every class",
    "model_training.png": "how the training went",
    "eval_tiles_confusion.png": "what the classifier takes for what, on scenes that it has not seen",
    "eval_tiles_calibration.png": "how often it is right when it is so sure",
}


@click.command()
@click.argument("out_dir", metavar="[DIR]", type=click.Path(path_type=Path), default="demo_out")
@click.option(
    "--scenes",
    "scenes_dir",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Demo scenes to use; drawn there if there are none.  [default: DIR/scenes]",
)
@pass_console
def demo(console: Console, *, out_dir: Path, scenes_dir: Path | None) -> None:
    """Run the main job on demo scenes, command by command.

    Result: in DIR (default: demo_out) the folders train/ and test/ with their tiles, a classifier model.pb, its
    scores on the scenes of test/, and pictures of all that. The commands are shown as they run.

    \b
    Example:
      hybridseg demo demo_out
    """
    from hybridseg.evaluation.overview import draw_scene_overview, draw_tile_overview

    _claim_folder(out_dir)
    scenes_dir = scenes_dir or out_dir / "scenes"
    model, train, test = out_dir / "model.pb", out_dir / "train", out_dir / "test"
    _run(console, "demo-scenes", scenes_dir)
    _run(console, "split", scenes_dir, "-p", "0.67", "--out", out_dir)
    for folder in (train, test):
        # All tiles are kept (-b 1): a dozen small scenes have none to spare.
        _run(console, "retile", "-t", "96", "-a", "0.9", "-b", "1", folder)
    words = ["--image_dir", train / "tile_96", "--output_graph", model, "--bottleneck_dir", out_dir / "bottlenecks"]
    _run(console, "retrain", *words, "--testing_percentage", "0")
    _run(console, "eval-tiles", "-n", "100", test / "tile_96", "--model", model, "--out", out_dir)
    draw_scene_overview(out_dir / "scenes.png", scenes_dir)
    draw_tile_overview(out_dir / "tiles.png", train / "tile_96" / MANIFEST_NAME)
    console.say("\nThe pictures")
    for name, what in _PICTURES.items():
        console.say(f"  {(out_dir / name).resolve()}: {what}")


def _claim_folder(out_dir: Path) -> None:
    """Make the folder, or clear what an earlier demo left; a folder of somebody else's is refused."""
    mark = out_dir / _MARK
    if out_dir.exists() and any(out_dir.iterdir()) and not mark.exists():
        raise OutputExists(f"{out_dir} holds files that are not from a demo; give an empty folder")
    write_text(mark, "The demo clears this folder when it runs again.\n")
    for name in ("train", "test"):
        shutil.rmtree(out_dir / name, ignore_errors=True)


def _run(console: Console, *words: object) -> None:
    """Show a command, then run it in this process."""
    from hybridseg.cli.main import main

    # A folder whose name begins with a dash is no option.
    arguments = [f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else str(word) for word in words]
    console.say(f"\n$ hybridseg {shlex.join(arguments)}")
    main.main([*(["--quiet"] if console.quiet else []), *arguments], prog_name="hybridseg", standalone_mode=False)
