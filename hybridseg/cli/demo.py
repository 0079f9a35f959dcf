"""Commands that show the two methods at work: ``demo`` and ``demo-dense``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hybridseg.cli.console import Console, pass_console
from hybridseg.cli.options import path_type

if TYPE_CHECKING:
    from hybridseg.demo.demonstration import Demonstration

_scenes_option = click.option(
    "--scenes", "scenes_dir", metavar="DIR", type=path_type,
    help="Demo scenes to use; drawn there if there are none.  [default: DIR/scenes]",
)  # fmt: skip


@click.command()
@click.argument("out_dir", metavar="[DIR]", type=path_type, default="demo_out")
@_scenes_option
@pass_console
def demo(console: Console, *, out_dir: Path, scenes_dir: Path | None) -> None:
    """Run the hybrid method on demo scenes, command by command.

    Result: DIR/index.html (default: demo_out), a page with every command, table and picture; beside it train/ and
    test/ with their tiles, a classifier model.pb, and the label maps. The commands are shown as they run.

    \b
    Example:
      hybridseg demo demo_out
    """
    from hybridseg.demo.hybrid import HYBRID

    _show(console, HYBRID, out_dir, scenes_dir)


@click.command("demo-dense")
@click.argument("out_dir", metavar="[DIR]", type=path_type, default="demo_dense_out")
@_scenes_option
@pass_console
def demo_dense(console: Console, *, out_dir: Path, scenes_dir: Path | None) -> None:
    """Run the fully convolutional methods on demo scenes, command by command.

    Result: DIR/index.html (default: demo_dense_out), a page with every command, table and picture; beside it the
    trained networks and the label maps. A few minutes on two cores; the commands are shown as they run.

    \b
    Example:
      hybridseg demo-dense demo_dense_out
    """
    from hybridseg.demo.dense import DENSE

    _show(console, DENSE, out_dir, scenes_dir)


def _show(console: Console, demonstration: Demonstration, out_dir: Path, scenes_dir: Path | None) -> None:
    page = demonstration.run(out_dir, scenes_dir, run_command=console.run_command, say=console.say)
    console.wrote(page, text=f"\nThe page with all pictures and tables: {page.resolve()}")
