"""``hybridseg demo``: the main job from end to end, as the very commands that a user would type."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from hybridseg.cli.console import Console, pass_console


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

    Result: in DIR (default: demo_out) the folders train/ and test/ with their tiles, and two pictures: the scenes
    with their label maps, and tiles of every class.

    \b
    Example:
      hybridseg demo demo_out
    """
    from hybridseg.data.retile import MANIFEST_NAME
    from hybridseg.evaluation.overview import draw_scene_overview, draw_tile_overview

    scenes_dir = scenes_dir or out_dir / "scenes"
    tile_dirs = [out_dir / name / "tile_96" for name in ("train", "test")]
    _run(console, "demo-scenes", scenes_dir)
    _run(console, "split", scenes_dir, "-p", "0.5", "--stratify", "--out", out_dir, "--overwrite")
    for tiles_dir in tile_dirs:
        _run(console, "retile", "-t", "96", "-a", "0.9", "-b", "0.5", tiles_dir.parent, "--overwrite")
    console.say("\nSummary")
    pictures = [out_dir / "scenes.png", out_dir / "tiles.png"]
    draw_scene_overview(pictures[0], scenes_dir)
    draw_tile_overview(pictures[1], tile_dirs[0] / MANIFEST_NAME)
    for path, what in zip(pictures, ("the scenes and their label maps", "training tiles of every class"), strict=True):
        console.say(f"  {path.resolve()}: {what}")


def _run(console: Console, *words: object) -> None:
    """Show a command, then run it in this process."""
    from hybridseg.cli.main import main

    arguments = [str(word) for word in words]
    console.say(f"\n$ hybridseg {shlex.join(arguments)}")
    main.main([*(["--quiet"] if console.quiet else []), *arguments], prog_name="hybridseg", standalone_mode=False)
